//! Which name lands where: `semantics.sh` says the same with berth as with docker.

use super::{host, inside, remove, start};
use testkit::Cmd;

/// Recorded with docker 28.5.2: `semantics.sh docker CONTAINER DIRECTORY`.
const DOCKERS: &str = include_str!("semantics.docker-28.5.2.txt");

#[test]
fn copies_land_where_dockers_do() {
    let host = host();
    let here = host.path("here");
    std::fs::create_dir_all(here.join("in")).unwrap();
    start(&host, &["-v", &format!("{}:/w", here.join("in").display())]);
    assert_eq!(inside(&host, "ls /w"), "");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/copy/semantics.sh");
    let engine = testkit::host::binary();
    let words = [script, engine.to_str().unwrap(), "box", here.to_str().unwrap()];
    let mut run = Cmd::new("sh", words).timeout(std::time::Duration::from_secs(180));
    for (name, value) in host.env() {
        run = run.env(name, value);
    }
    let found = run.run().ok().text();
    let rows = |text: &str| -> Vec<String> {
        let mut rows: Vec<String> = Vec::new();
        for line in text.lines() {
            match (line.starts_with("    "), rows.last_mut()) {
                (true, Some(row)) => *row += &format!("\n{line}"),
                _ => rows.push(line.to_owned()),
            }
        }
        rows
    };
    let (found, dockers) = (rows(&found), rows(DOCKERS));
    let different: Vec<String> = found
        .iter()
        .zip(&dockers)
        .filter(|(found, docker)| found != docker)
        .map(|(found, docker)| format!("berth: {found}\ndocker: {docker}"))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n\n"));
    assert_eq!(found.len(), dockers.len());
    remove(&host);
}
