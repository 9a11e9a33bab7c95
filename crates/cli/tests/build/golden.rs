//! What a build made, as text, so that engines can be compared. xtask reads this file too: it knows nothing but the standard
//! library.
//!
//! ```text
//! warning TEXT          a build check
//! error TEXT            what the build failed with; further lines begin with `error` too
//! config JSON           the image's configuration, without times and layers
//! - PATH                a path of the base's that is gone
//! d|f|l|… PATH …        a path that is new or other than in the base (`listing.rs`)
//! ```

use std::collections::BTreeMap;

/// The lines of the final tree that aren't the base's, sorted by path, and what is gone. `layers` are lines of the layers
/// above the base, the lowest first.
pub fn merged(base: &[String], layers: &[Vec<String>]) -> Vec<String> {
    let mut tree: BTreeMap<String, String> = base.iter().map(|line| (path(line), line.clone())).collect();
    for layer in layers {
        // What a layer hides is below it, wherever its line stands.
        for line in layer.iter().filter(|line| line.starts_with("- ") || line.starts_with("o ")) {
            let below = path(line) + "/";
            tree.retain(|path, _| !path.starts_with(&below));
            if line.starts_with("- ") {
                tree.remove(&path(line));
            }
        }
        for line in layer.iter().filter(|line| !line.starts_with("- ") && !line.starts_with("o ")) {
            if !line.starts_with("d ") {
                let below = path(line) + "/";
                tree.retain(|path, _| !path.starts_with(&below));
            }
            tree.insert(path(line), line.clone());
        }
    }
    let known: BTreeMap<String, &String> = base.iter().map(|line| (path(line), line)).collect();
    let gone =
        known.keys().filter(|path| !tree.contains_key(*path)).map(|path| (path.clone(), format!("- {path}")));
    let new = tree
        .iter()
        .filter(|(path, line)| known.get(*path) != Some(line))
        .map(|(path, line)| (path.clone(), line.clone()));
    let lines: BTreeMap<String, String> = gone.chain(new).collect();
    lines.into_values().collect()
}

/// The path in a line.
fn path(line: &str) -> String {
    line.split(' ').nth(1).unwrap_or_default().to_owned()
}
