//! `image diff`: which files, and by which layers.

use crate::load;
use testkit::image::{Image, Layer};
use testkit::{Host, Value, json};

/// Two images on one base; each has two layers of its own.
fn images(host: &Host) {
    let base = Layer::new()
        .dir("d", 0o755)
        .file("d/same", 0o644, "same")
        .file("d/text", 0o644, "old text")
        .file("d/mode", 0o644, "mode")
        .file("gone", 0o644, "gone")
        .dir("tree", 0o755)
        .file("tree/one", 0o644, "1")
        .file("tree/two", 0o644, "2")
        .dir("hidden", 0o755)
        .file("hidden/below", 0o644, "below")
        .symlink("link", "d/same")
        .file("turns", 0o644, "a file");
    let a = Layer::new().file("only-a", 0o644, "of a").file("both", 0o644, "the same in both");
    let b = [
        Layer::new()
            .file("d/text", 0o644, "new text")
            .file("d/mode", 0o4755, "mode")
            .file("both", 0o644, "the same in both")
            .whiteout("tree")
            .symlink("link", "d/text"),
        Layer::new()
            .whiteout("gone")
            .opaque("hidden")
            .file("hidden/above", 0o644, "above")
            .owner(5, 6)
            .file("d/same", 0o644, "same")
            .owner(0, 0)
            .whiteout("turns")
            .dir("turns", 0o700)
            .file("turns/inside", 0o644, "inside"),
    ];
    let history =
        |steps: &[&str]| json!(steps.iter().map(|step| json!({"created_by": step})).collect::<Vec<_>>());
    let steps_a = history(&["busybox", "COPY base", "COPY a"]);
    load(host, &Image::busybox().layer(&base).layer(&a).config(|config| config["history"] = steps_a), "a");
    let steps_b =
        history(&["busybox", "COPY base", "COPY b", "RUN make the rest, by a command that is too long"]);
    let image = Image::busybox().layer(&base).layer(&b[0]).layer(&b[1]);
    load(host, &image.config(|config| config["history"] = steps_b), "b");
}

#[test]
fn differences_of_images_name_the_layers_that_made_them() {
    let host = Host::new();
    images(&host);
    let text = host.berth(["image", "diff", "a", "b"]).run().ok().text();
    let rows: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        rows,
        [
            "CHANGE PATH DIFFERS IN SIZE LAYER CREATED BY",
            "C /d/mode mode 4B B3 COPY b",
            "C /d/same owner 4B B4 RUN make the rest, by a command that is too …",
            "C /d/text content 8B B3 COPY b",
            "D /gone 4B B4 RUN make the rest, by a command that is too …",
            "A /hidden/above 5B B4 RUN make the rest, by a command that is too …",
            "D /hidden/below 5B B4 RUN make the rest, by a command that is too …",
            "C /link content B3 COPY b",
            "D /only-a 4B A3 COPY a",
            "D /tree B3 COPY b",
            "C /turns type 6B B4 RUN make the rest, by a command that is too …",
            "A /turns/inside 6B B4 RUN make the rest, by a command that is too …",
        ]
    );
    // The other way round: what B brought is what A's lacks.
    let back = host.berth(["image", "diff", "b", "a"]).run().ok().text();
    let letters: Vec<String> = back
        .lines()
        .skip(1)
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {}", words[0], words[1])
        })
        .collect();
    assert_eq!(
        letters,
        [
            "C /d/mode",
            "C /d/same",
            "C /d/text",
            "A /gone",
            "D /hidden/above",
            "A /hidden/below",
            "C /link",
            "A /only-a",
            "A /tree",
            "A /tree/one",
            "A /tree/two",
            "C /turns",
        ]
    );
    host.berth(["image", "diff", "a", "a"]).run().ok().silent();
    let whole = host.berth(["image", "diff", "--no-trunc", "a", "b"]).run().ok().text();
    assert!(whole.contains("is too long"));
    let lines = host.berth(["image", "diff", "--format", "json", "a", "b"]).run().ok().text();
    let first: Value = serde_json_of(lines.lines().next().unwrap());
    assert_eq!(
        (&first["change"], &first["path"], &first["differs"], &first["old_size"], &first["new_size"]),
        (&json!("C"), &json!("/d/mode"), &json!(["mode"]), &json!(4), &json!(4))
    );
    assert_eq!((&first["layer"]["image"], &first["layer"]["number"]), (&json!("B"), &json!(3)));
    assert!(first["layer"]["diff_id"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(lines.lines().count(), rows.len() - 1);
    host.berth(["image", "diff", "a", "none"]).run().code(1).stderr_has(&["no such image"]);
    host.berth(["image", "diff", "--format", "xml", "a", "b"]).run().code(125).stderr_has(&["xml"]);
}

fn serde_json_of(line: &str) -> Value {
    line.parse().unwrap()
}

#[test]
fn a_commit_differs_from_its_image_in_what_diff_shows() {
    let host = Host::new();
    images(&host);
    let script = "mkdir -p /new/sub; echo x >/new/sub/x; rm -r /d /only-a; echo more >>/both; chmod 700 /bin; ln -s x /y";
    host.berth(["run", "--name", "box", "--network", "none", "a", "sh", "-c", script]).run().ok();
    host.berth(["commit", "box", "made"]).run().ok();
    let of_images = host.berth(["image", "diff", "a", "made"]).run().ok().text();
    let of_images: Vec<String> = of_images
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let of_container = host.berth(["diff", "box"]).run().ok().text();
    assert_eq!(of_images, of_container.lines().collect::<Vec<_>>());
    host.berth(["rm", "box"]).run().ok();
}

#[test]
fn layers_of_both_images_are_not_read() {
    let host = Host::new();
    images(&host);
    let trees = std::fs::read_dir(host.root_dir().join("layers")).unwrap();
    let mut files = trees.flatten().map(|entry| entry.path().join("fs/bin/busybox"));
    let file = files.find(|file| file.exists()).unwrap();
    // Whoever read it would be at it for a while.
    std::fs::File::options().write(true).open(file).unwrap().set_len(1 << 40).unwrap();
    let run = host.berth(["image", "diff", "a", "b"]).timeout(std::time::Duration::from_secs(20)).run().ok();
    assert!(!run.text().contains("busybox"));
}
