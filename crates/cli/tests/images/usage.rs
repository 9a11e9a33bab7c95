//! `images --tree`, `system df`, `system prune`, `container prune`, in docker 28's words.

use super::*;

#[test]
fn what_is_taken_is_told_as_docker_tells_it() {
    let host = Host::new();
    let empty = "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
                 Images          0         0         0B        0B\n\
                 Containers      0         0         0B        0B\n\
                 Local Volumes   0         0         0B        0B\n\
                 Build Cache     0         0         0B        0B";
    assert_eq!(host.berth(["system", "df"]).text(), empty);
    let base = Image::busybox();
    let more = base.clone().layer(&Layer::new().file("more", 0o644, vec![1; 500_000]));
    load(&host, &base, "base");
    load(&host, &more, "more:1");
    let write = "head -c 123456 /dev/zero > /tmp/big";
    let run = ["run", "--name", "one", "--network", "none", "-v", "vol:/vol", "base", "sh", "-c", write];
    host.berth(run).text();
    host.berth([
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "vol:/vol",
        "base",
        "sh",
        "-c",
        "echo 12345 > /vol/f",
    ])
    .text();
    host.berth(["volume", "create", "unused"]).text();
    let rows = |args: &[&str]| host.berth(["system", "df"].iter().chain(args)).text();
    let count = |kind: &str| {
        rows(&["--format", "{{.Type}}:{{.TotalCount}}:{{.Active}}:{{.Size}}"])
            .lines()
            .find_map(|line| line.strip_prefix(kind).map(str::to_owned))
    };
    assert!(count("Images:").unwrap().starts_with("2:1:"), "{}", rows(&[]));
    assert_eq!(count("Containers:").unwrap(), "1:0:123.5kB");
    assert_eq!(count("Local Volumes:").unwrap(), "2:1:6B");
    let containers = rows(&[]).lines().nth(2).unwrap().to_owned();
    assert!(containers.ends_with("123.5kB (100%)"), "{containers}");
    let images: testkit::Value =
        serde_json::from_str(rows(&["--format", "json"]).lines().next().unwrap()).unwrap();
    assert_eq!((&images["Type"], &images["TotalCount"]), (&json!("Images"), &json!("2")));
    // What both images have is the used one's; the other's own layer could go.
    let reclaimable = images["Reclaimable"].as_str().unwrap();
    assert!(reclaimable.starts_with("500") && reclaimable.contains("kB ("), "{reclaimable}");

    let verbose = rows(&["-v"]);
    for head in [
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage: 0B",
    ] {
        assert!(verbose.contains(head), "{verbose}");
    }
    let line = |start: &str| {
        let found = verbose.lines().find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("{start} in {verbose}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(line("more").contains(" 500kB 0"), "{}", line("more"));
    assert!(line("base").ends_with(" 0B 1"), "{}", line("base"));
    assert_eq!(line("vol "), "vol 1 6B");
    assert_eq!(line("unused"), "unused 0 0B");
    assert!(verbose.contains("123kB") && verbose.contains(" one\n"), "{verbose}");
    let names = rows(&["-v", "--format", "{{range .Containers}}{{.Names}} {{.LocalVolumes}}{{end}}"]);
    assert_eq!(names, "one 1");
    let document: testkit::Value = serde_json::from_str(&rows(&["-v", "--format", "json"])).unwrap();
    assert_eq!(document["Volumes"].as_array().unwrap().len(), 2);

    let tree = host.berth(["images", "--tree"]).text();
    let cells: Vec<Vec<&str>> = tree.lines().map(|line| line.split_whitespace().collect()).collect();
    let own = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
    let short = |image: &Image| image.id()["sha256:".len()..][..12].to_owned();
    assert_eq!(cells[0], ["Info", "->", "U", "In", "Use"]);
    let of = |name: &str| cells.iter().find(|line| line.first() == Some(&name)).unwrap().clone();
    assert_eq!((of("base:latest")[1], of("base:latest").last()), (&*short(&base), Some(&"U")));
    assert_ne!(of("more:1").last(), Some(&"U"));
    assert_eq!(cells.iter().filter(|line| line.get(1) == Some(&own)).count(), 2, "{tree}");
    assert!(!host.berth(["images", "--tree", "-f", "reference=more"]).text().contains("base"));
    host.berth(["images", "--tree", "-q"]).run().code(1).stderr_has(&["--quiet can't be used with --tree"]);
    host.berth(["rm", "one"]).text();
}

#[test]
fn prune_takes_what_nothing_uses_and_asks_first() {
    let host = Host::new();
    let image = Image::busybox().set("Labels", json!({ "kind": "image" }));
    load(&host, &image, "app");
    load(&host, &Image::busybox(), "other");
    let run = |options: &[&str]| {
        let run = ["run", "-d", "--network", "none"];
        let id = host.berth(run.iter().chain(options).chain(&["app", "true"])).text();
        host.berth(["stop", "-t", "0", &id]).run();
        id
    };
    let (kept, gone) = (run(&["--label", "keep=yes"]), run(&["-v", "/anonymous"]));
    let live = host.berth(["run", "-d", "--network", "none", "app", "sleep", "100"]).text();

    let asked =
        host.berth(["system", "prune", "--volumes", "-a", "--filter", "label!=keep"]).stdin("n\n").text();
    assert_eq!(
        asked,
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  \
         - all anonymous volumes not used by at least one container\n  - all images without at least one container associated to them\n  \
         - unused build cache\n\n  Items to be pruned will be \
         filtered with:\n  - label!=keep\n\nAre you sure you want to continue? [y/N]"
    );
    let asked = host.berth(["container", "prune"]).stdin("\n").text();
    assert_eq!(
        asked,
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N]"
    );
    assert_eq!(host.berth(["ps", "-aq"]).text().lines().count(), 3);
    host.berth(["system", "prune", "-f", "--filter", "x=y"]).run().code(1).stderr_has(&["x"]);
    host.berth(["system", "prune", "-f", "--volumes", "--filter", "until=1h"])
        .run()
        .code(1)
        .stderr_has(&["until"]);
    let none = host.berth(["container", "prune", "-f", "--filter", "until=1h"]).text();
    assert_eq!(none, "Total reclaimed space: 0B");

    let pruned = host.berth(["system", "prune", "-f", "--filter", "label!=keep"]).text();
    let expected = format!("Deleted Containers:\n{gone}\n\nTotal reclaimed space: 0B");
    assert_eq!(pruned, expected);
    let volumes = host.berth(["volume", "ls", "-q"]).text();
    assert_eq!(volumes.lines().count(), 1, "without --volumes they stay");
    let pruned = host.berth(["system", "prune", "-af", "--volumes", "--filter", "label!=keep"]).text();
    let head =
        format!("Deleted Volumes:\n{volumes}\n\nDeleted Images:\nuntagged: other:latest\ndeleted: sha256:");
    assert!(pruned.starts_with(&head), "{pruned}");
    // Its one layer is the other image's as well.
    assert_eq!(pruned.lines().filter(|line| line.starts_with("deleted: ")).count(), 1, "{pruned}");
    assert_eq!(host.berth(["images", "--format", "{{.Repository}}"]).text(), "app");
    let pruned = host.berth(["container", "prune", "-f"]).text();
    assert!(pruned.starts_with(&format!("Deleted Containers:\n{kept}\n\n")), "{pruned}");
    assert_eq!(host.berth(["ps", "-aq", "--no-trunc"]).text(), live);
    host.berth(["rm", "-f", &live]).text();
    let pruned = host.berth(["system", "prune", "-af"]).text();
    assert!(pruned.contains("untagged: app:latest\n") && !pruned.contains("space: 0B"), "{pruned}");
    assert_eq!(layers(&host), [""; 0]);
}
