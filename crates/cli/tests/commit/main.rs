//! `berth commit` makes the layers that docker's makes of the same changes.
//!
//! `docker.txt` has random changes of random trees, with the layers that docker made of them. `cargo xtask goldens` records
//! it; `cargo xtask soak images --only commit` compares with a living docker, and each one's images in the other.
//! Deliberately different: extended attributes, of which docker keeps those with a file's capabilities; we keep `user.` and
//! access control lists too, as the image specification wants (layer.md, File Attributes). And marks of emptied directories
//! that hide nothing, which we leave out.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

mod listing;

use testkit::image::{Image, Layer};
use testkit::{Host, program};

/// Where changes are made.
const ROOTS: [&str; 4] = ["w", "x0", "x1", "x2"];

/// Changes that were made in a container of docker's, and the lines of the layer that its commit made.
struct Step {
    changes: String,
    layer: Vec<String>,
}

/// A tree, and how it was changed.
struct Case {
    name: String,
    /// Whether it takes the ids and rights of the host's root.
    of_host: bool,
    steps: Vec<Step>,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut in_layer = false;
    for line in include_str!("docker.txt").lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("case ") {
            let of_host = name.ends_with("host");
            cases.push(Case { name: name.to_owned(), of_host, steps: Vec::new() });
            continue;
        }
        let steps = &mut cases.last_mut().unwrap().steps;
        match line {
            "changes" => {
                in_layer = false;
                steps.push(Step { changes: String::new(), layer: Vec::new() });
            }
            "layer" => in_layer = true,
            _ if in_layer => steps.last_mut().unwrap().layer.push(line.to_owned()),
            _ => steps.last_mut().unwrap().changes += &format!("{line}\n"),
        }
    }
    cases
}

/// A host with the image `change`.
fn host() -> Host {
    let host = Host::new();
    let program = program::compile(&host.path("program"), "change", include_str!("change.c"));
    let layer = Layer::new().file("change", 0o755, std::fs::read(program).unwrap());
    let archive = host.path("change.tar");
    Image::empty().layer(&layer).write_docker_archive(&archive, &["change"]);
    host.berth(["load", "-q", "-i"]).arg(&archive).run().ok();
    host
}

/// Runs changes in the container `box` of `image`, which stays; the tree afterwards.
fn change(host: &Host, image: &str, of_host: bool, changes: &str) -> String {
    let userns: &[&str] = if of_host { &["--userns", "host"] } else { &[] };
    let start = ["run", "-i", "--name", "box", "--network", "none"];
    let program = [image, "/change"];
    let command = start.iter().chain(userns).chain(&program).chain(&ROOTS);
    host.berth(command).stdin(changes).run().ok().text()
}

/// The lines of an image's topmost layer.
fn topmost(host: &Host, image: &str) -> Vec<String> {
    let saved = host.berth(["save", image]).run().ok().stdout;
    let read =
        |name: &str| testkit::Cmd::new("tar", ["-xOf", "-", name]).stdin(saved.as_slice()).run().ok().stdout;
    let manifest: testkit::Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    let layers = manifest[0]["Layers"].as_array().unwrap();
    listing::of_tar(&read(layers.last().unwrap().as_str().unwrap())).unwrap()
}

#[test]
fn layers_are_those_of_docker() {
    let host = host();
    let cases = cases();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    for case in cases {
        let mut image = "change".to_owned();
        let mut tree = String::new();
        for (at, step) in case.steps.iter().enumerate() {
            tree = change(&host, &image, case.of_host, &step.changes);
            image = format!("made:{at}");
            host.berth(["commit", "box", &image]).run().ok();
            host.berth(["rm", "box"]).run().ok();
            let own: Vec<String> =
                topmost(&host, &image).iter().map(|line| listing::as_docker(line)).collect();
            let below = at.checked_sub(1).map_or(&[][..], |below| &case.steps[below].layer);
            let (name, layer) = (&case.name, listing::without_idle_marks(&step.layer, below));
            let missing: Vec<&String> = layer.iter().filter(|line| !own.contains(line)).collect();
            let more: Vec<&String> = own.iter().filter(|line| !layer.contains(line)).collect();
            assert!(own == layer, "case {name}, layer {at}: missing {missing:#?}, more {more:#?}");
        }
        // All attributes come back, those too that docker leaves out.
        assert_eq!(change(&host, &image, case.of_host, ""), tree, "case {}", case.name);
        host.berth(["rm", "box"]).run().ok();
        host.berth(["rmi", "made:0", "made:1"]).run().ok();
    }
}
