//! `berth image prune`.

use engine::images::Removed;
use engine::images::keep::PruneRequest;

use super::print;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::size;
use crate::parse::filter;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Remove images that nothing uses",
    flags: &[(
        "Options",
        &[
            Flag::switch("all", "Remove images with names too, unless a container was made from them")
                .short('a'),
            Flag::many(
                "filter",
                "filter",
                "Remove only those with until=MOMENT, label=KEY[=VALUE], label!=KEY[=VALUE]",
            ),
            Flag::switch("force", "Don't ask").short('f'),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Asks, removes, and prints what is gone.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let (filter, dangling) = filter::prune(parsed, true)?;
    let request = PruneRequest { all: parsed.switch("all") || dangling == Some(false), filter };
    let what = match request.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    if !parsed.switch("force") && !super::confirm(&format!("WARNING! This will remove {what}."))? {
        return Ok(0);
    }
    let pruned = backend::prune_images(&request)?;
    print(&gone(&pruned.removed))?;
    print(&format!("Total reclaimed space: {}\n", size::sum(pruned.reclaimed_bytes)))?;
    Ok(0)
}

/// What is gone of images, in docker's words; nothing if nothing is.
pub fn gone(images: &[Removed]) -> String {
    if images.is_empty() {
        return String::new();
    }
    let mut text = "Deleted Images:\n".to_owned();
    for removed in images {
        text.extend(removed.untagged.iter().map(|name| format!("untagged: {name}\n")));
        text.extend(removed.deleted.iter().map(|id| format!("deleted: {id}\n")));
    }
    text + "\n"
}
