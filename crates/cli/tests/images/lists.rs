//! `images`, `tag`, `rmi`, `history`, `image inspect`, in docker 28's words.

use super::*;

#[test]
fn images_are_listed_as_docker_lists_them() {
    let host = Host::new();
    let empty = "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE";
    assert_eq!(host.berth(["images"]).text(), empty);
    let dated = |at: &'static str| move |config: &mut testkit::Value| config["created"] = json!(at);
    let (old, new) = (rich(), Image::busybox().config(dated("2011-01-01T00:00:00Z")));
    load(&host, &old, "app:1");
    host.berth(["tag", "app:1", "reg.example:5000/team/app:v1"]).text();
    load(&host, &new, "web");
    let text = host.berth(["images"]).text();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    let short = |image: &Image| image.id()["sha256:".len()..][..12].to_owned();
    assert_eq!(lines[1][..3], ["web", "latest", &short(&new)]);
    assert_eq!(lines[2][..3], ["app", "1", &short(&old)]);
    assert_eq!(lines[3][..3], ["reg.example:5000/team/app", "v1", &short(&old)]);
    assert_eq!(lines[1][4..6], ["years", "ago"]);

    let names = |args: &[&str]| {
        host.berth(["images", "--format", "{{.Repository}}:{{.Tag}}"].iter().chain(args)).text()
    };
    let (web, app, far) = ("web:latest", "app:1", "reg.example:5000/team/app:v1");
    let both = format!("{app}\n{far}");
    for (args, expected) in [
        (&["app"][..], app),
        (&["app:1"], app),
        (&["app:2"], ""),
        (&["docker.io/library/app"], app),
        (&["reg.example:5000/team/app"], far),
        (&["nix"], ""),
        (&["-f", "reference=*b"], web),
        (&["-f", "reference=*:latest"], web),
        (&["-f", "reference=*/*/app:v?"], far),
        (&["-f", "reference=web", "-f", "reference=app"], "web:latest\napp:1"),
        (&["-f", "label=colour"], &both),
        (&["-f", "label=colour=blue"], &both),
        (&["-f", "label=colour=red"], ""),
        (&["-f", "label=colour", "-f", "label=kind=image", "app"], app),
        (&["-f", "before=web"], &both),
        (&["-f", "since=app:1"], web),
        (&["-f", "since=web"], ""),
        (&["-f", "dangling=true"], ""),
        (&["-f", "dangling=false", "web"], web),
        (&["-f", "until=2005-01-01"], &both),
    ] {
        assert_eq!(names(args), expected, "{args:?}");
    }
    let ids = host.berth(["images", "-q", "--no-trunc"]).text();
    assert_eq!(ids.lines().collect::<Vec<_>>(), [new.id(), old.id(), old.id()]);
    let digests = host.berth(["images", "--digests", "web"]).text();
    assert!(digests.starts_with("REPOSITORY   TAG       DIGEST    IMAGE ID"), "{digests}");
    assert!(digests.contains("web          latest    <none>"), "{digests}");
    let line = host.berth(["images", "--format", "json", "web"]).run().ok().json();
    assert_eq!(
        (&line["Repository"], &line["Tag"], &line["Digest"], &line["CreatedAt"]),
        (&json!("web"), &json!("latest"), &json!("<none>"), &json!("2011-01-01 00:00:00 +0000 UTC"))
    );
    host.berth(["images", "-f", "colour=blue"]).run().code(1).stderr_has(&["invalid filter", "colour"]);
    host.berth(["images", "-f", "dangling=maybe"]).run().code(1).stderr_has(&["invalid filter", "dangling"]);
    host.berth(["images", "-f", "colour"]).run().code(125).stderr_has(&["bad format of filter"]);
    host.berth(["images", "--format", "{{.Nope}}"]).run().code(1).stderr_has(&["Nope"]);
    host.berth(["images", "--format", "{{"]).run().code(1).stderr_has(&["unclosed action"]);
    host.berth(["image", "inspect", "-f", "{{", "web"]).run().code(64).stderr_has(&["unclosed action"]);
    host.berth(["inspect", "--type", "thing", "web"]).run().code(1).stderr_has(&["thing"]);
    host.berth(["image", "prune", "-f", "--filter", "until=x"]).run().code(1).stderr_has(&["until=x"]);
    host.berth(["images", "-f", "before=nix"]).run().code(1).stderr_has(&["no such image: nix"]);
}

#[test]
fn names_come_and_go_and_the_last_takes_the_image_along() {
    let host = Host::new();
    let image = rich();
    load(&host, &image, "app:1");
    assert_eq!(host.berth(["tag", "app:1", "b"]).text(), "");
    assert_eq!(host.berth(["tag", &image.id()[7..20], "reg.example/c:2"]).text(), "");
    for (source, target, why) in [
        ("nix", "a", "no such image: nix"),
        ("app:1", "A:b", "lower case"),
        ("app:1", "a@sha256:0000000000000000000000000000000000000000000000000000000000000000", "digest"),
    ] {
        host.berth(["tag", source, target]).run().code(1).stdout_is("").stderr_has(&[why]);
    }
    let by_id = host.berth(["rmi", &image.id()]).run().code(1).stdout_is("");
    by_id.stderr_has(&["cannot remove image", "app:1", "b:latest", "reg.example/c:2"]);
    assert_eq!(host.berth(["rmi", "b"]).text(), "Untagged: b:latest");
    let mixed = host.berth(["rmi", "nix", "reg.example/c:2"]).run().code(1);
    mixed.stdout_is("Untagged: reg.example/c:2").stderr_has(&["no such image: nix"]);
    let last = host.berth(["rmi", "app:1"]).text();
    let deleted = deleted(&image);
    assert_eq!(last, format!("Untagged: app:1\n{deleted}"));
    host.berth(["rmi", "-f", "nix"]).run().code(0).stdout_is("").stderr_has(&["no such image: nix:latest"]);
    assert_eq!(host.berth(["images", "-q"]).text(), "");
    assert_eq!(layers(&host), [""; 0]);
    assert_eq!(names_in(&host.root_dir().join("blobs/sha256")), [""; 0]);

    load(&host, &image, "app:1");
    host.berth(["tag", "app:1", "b"]).text();
    let forced = host.berth(["rmi", "-f", &image.id()]).text();
    assert_eq!(forced, format!("Untagged: app:1\nUntagged: b:latest\n{deleted}"));
}

/// What docker prints of an image that is gone with all its layers, the topmost first.
fn deleted(image: &Image) -> String {
    let plain = image.clone().compression(testkit::image::Compression::Plain).parts();
    let mut chains: Vec<String> = Vec::new();
    for layer in &plain.layers {
        let diff = testkit::image::digest(layer);
        chains.push(match chains.last() {
            None => diff,
            Some(below) => testkit::image::digest(format!("{below} {diff}").as_bytes()),
        });
    }
    let lines = chains.iter().rev().map(|chain| format!("\nDeleted: {chain}"));
    format!("Deleted: {}{}", image.id(), lines.collect::<String>())
}

#[test]
fn containers_are_found_by_the_image_below() {
    let host = Host::new();
    let base = Image::busybox();
    load(&host, &base, "base");
    load(&host, &base.clone().layer(&Layer::new().file("more", 0o644, "more")), "more:1");
    load(&host, &base.clone().set("User", json!("guest")), "sister");
    for (name, image) in [("one", "base"), ("two", "more:1"), ("three", "sister")] {
        host.berth(["run", "--name", name, "--network", "none", image, "true"]).text();
    }
    let id = base.id();
    for (given, names) in [
        ("base", "two\none"),
        ("base:latest", "two\none"),
        (&id, "two\none"),
        (&id[7..19], "two\none"),
        ("more:1", "two"),
        ("sister", "two\nthree"),
        ("nix", ""),
        ("@host", ""),
    ] {
        let mut shown: Vec<String> = Vec::new();
        let filter = format!("ancestor={given}");
        let text = host.berth(["ps", "-a", "--format", "{{.Names}}", "-f", &filter]).text();
        shown.extend(text.lines().map(str::to_owned));
        shown.sort_unstable();
        let mut expected: Vec<&str> = names.lines().collect();
        expected.sort_unstable();
        assert_eq!(shown, expected, "{given}");
    }
    host.berth(["rm", "one", "two", "three"]).text();
    host.berth(["ps", "-f", "ancester=x"]).run().code(1).stderr_has(&["did you mean ancestor?"]);
}

#[test]
fn an_image_in_use_stays() {
    let host = Host::new();
    let image = Image::busybox();
    load(&host, &image, "app");
    host.berth(["run", "-d", "--name", "it", "--network", "none", "app", "sleep", "100"]).text();
    let refused = host.berth(["rmi", "app"]).run().code(1).stdout_is("");
    refused.stderr_has(&["cannot remove image app", "container it"]);
    let refused = host.berth(["rmi", "-f", &image.id()]).run().code(1).stdout_is("");
    refused.stderr_has(&["cannot remove image sha256:", "container it"]);
    // With another name, one may go.
    host.berth(["tag", "app", "other"]).text();
    assert_eq!(host.berth(["rmi", "other"]).text(), "Untagged: other:latest");
    host.berth(["stop", "-t", "0", "it"]).text();
    host.berth(["rmi", "app"]).run().code(1).stderr_has(&["container it uses it"]);
    assert_eq!(host.berth(["rmi", "-f", "app"]).text(), "Untagged: app:latest");
    assert_eq!(host.berth(["images", "-q", "--no-trunc"]).text(), image.id());
    host.berth(["rm", "it"]).text();
    assert_eq!(host.berth(["rmi", &image.id()]).text(), deleted(&image));
    assert_eq!(layers(&host), [""; 0]);
    // A name is no use to a container that runs.
    load(&host, &image, "app");
    host.berth(["run", "-d", "--rm", "--name", "it", "--network", "none", "app", "sleep", "100"]).text();
    assert_eq!(host.berth(["rmi", "-f", "app"]).text(), "Untagged: app:latest");
    assert_eq!(host.berth(["images", "-q", "--no-trunc"]).text(), image.id());
    host.berth(["rm", "-f", "it"]).text();
}

#[test]
fn a_history_is_dockers() {
    let host = Host::new();
    let image = rich();
    load(&host, &image, "app");
    let id = &image.id()["sha256:".len()..][..12];
    let text = host.berth(["history", "app"]).text();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let head =
        "IMAGE          CREATED        CREATED BY                                      SIZE      COMMENT";
    assert_eq!(lines[0], head);
    let copied = format!("COPY {}…", "x".repeat(39));
    assert!(lines[1].starts_with(&format!("{id}   ")), "{text}");
    assert!(lines[1].contains(&format!(" {copied}   ")), "{text}");
    assert!(lines[3].starts_with("<missing>      ") && lines[3].contains("ENV FROM=image"), "{text}");
    assert!(lines[3].ends_with("0B"), "{text}");
    assert!(lines[4].ends_with("buildkit.dockerfile.v0"), "{text}");
    let quiet = host.berth(["history", "-q", "app"]).text();
    assert_eq!(quiet, format!("{id}\n<missing>\n<missing>\n<missing>"));
    let raw =
        host.berth(["history", "-H=false", "--no-trunc", "--format", "{{.CreatedAt}} {{.Size}}", "app"]);
    assert_eq!(raw.text().lines().nth(2), Some("2001-09-09T01:46:40Z 0"));
    host.berth(["history", "nix"]).run().code(1).stderr_has(&["no such image: nix"]);
}

#[test]
fn an_inspected_image_reads_as_dockers() {
    let host = Host::new();
    let image = rich();
    load(&host, &image, "app:1");
    host.berth(["tag", "app:1", "reg.example/b:2"]).text();
    let document = host.berth(["image", "inspect", "app:1"]).run().ok().json();
    assert_eq!(host.berth(["inspect", "app:1"]).run().ok().json(), document);
    let document = &document[0];
    assert_eq!(document["Id"], json!(image.id()));
    assert_eq!(document["RepoTags"], json!(["app:1", "reg.example/b:2"]));
    assert_eq!(document["RepoDigests"], json!([]));
    assert_eq!(document["Created"], json!("2001-09-09T01:46:40Z"));
    assert_eq!(document["Author"], json!("berth's tests"));
    assert_eq!(document["Os"], json!("linux"));
    let config = &document["Config"];
    for (member, value) in [
        ("User", json!("guest")),
        ("WorkingDir", json!("/made/when/missing")),
        ("Entrypoint", json!(["/bin/sh", "-c"])),
        ("Cmd", json!(["echo from the image"])),
        ("Env", json!(["PATH=/bin:/usr/bin", "FROM=image", "BOTH=image"])),
        ("Labels", json!({ "colour": "blue", "kind": "image" })),
        ("StopSignal", json!("SIGUSR1")),
        ("ExposedPorts", json!({ "80/tcp": {}, "53/udp": {} })),
        ("Volumes", json!({ "/srv/web": {} })),
        ("Healthcheck", json!({ "Test": ["CMD", "true"], "Interval": 1_000_000_000 })),
    ] {
        assert_eq!(config[member], value, "{member}");
    }
    let size: u64 = document["Size"].as_u64().unwrap();
    let busybox = std::fs::metadata("/bin/busybox").unwrap().len();
    assert!((busybox..busybox + 100_000).contains(&size), "{size} beside {busybox}");
    let shown = host.berth(["image", "inspect", "-f", "{{.Config.User}} {{index .RepoTags 0}}", "app:1"]);
    assert_eq!(shown.text(), "guest app:1");
    // What an image doesn't set is there as well, as with docker.
    load(&host, &Image::busybox(), "plain");
    let plain = host.berth(["image", "inspect", "-f", "[{{.Config.User}}][{{.Config.WorkingDir}}]", "plain"]);
    assert_eq!(plain.text(), "[][]");
    let missing = host.berth(["image", "inspect", "nix"]).run().code(1).stdout_is("[]");
    missing.stderr_has(&["no such image: nix"]);
    host.berth(["inspect", "nix"]).run().code(1).stdout_is("[]").stderr_has(&["no such object: nix"]);
}

#[test]
fn verify_compares_the_trees_with_their_archives() {
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};
    let host = Host::new();
    load(&host, &rich(), "rich");
    let verify = || host.berth(["image", "verify"]).run();
    assert!(verify().ok().text().ends_with("0 faults"));
    let layers: Vec<_> =
        layers(&host).iter().map(|name| host.root_dir().join("layers").join(name).join("fs")).collect();
    let of = |path: &str| {
        layers.iter().map(|tree| tree.join(path)).find(|at| at.symlink_metadata().is_ok()).unwrap()
    };
    let set_mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap()
    };
    let time =
        std::fs::FileTimes::new().set_modified(of("data/kept").metadata().unwrap().modified().unwrap());
    let write = |path: &std::path::Path, text: &str| {
        std::fs::write(path, text).unwrap();
        std::fs::File::options().write(true).open(path).unwrap().set_times(time).unwrap();
    };
    let (kept, link, high) = (of("data/kept"), of("pointing"), of("data/high"));
    type Change<'a> = &'a dyn Fn();
    let changes: [(Change<'_>, Change<'_>, &str); 7] = [
        (&|| write(&kept, "KEPT"), &|| write(&kept, "kept"), "data/kept has another content"),
        (&|| write(&kept, "longer"), &|| write(&kept, "kept"), "data/kept has another length"),
        (&|| set_mode(&kept, 0o600), &|| set_mode(&kept, 0o644), "data/kept has another mode"),
        (
            &|| lchown(&high, Some(7), None).unwrap(),
            &|| lchown(&high, Some(70_000), None).unwrap(),
            "data/high belongs to somebody else",
        ),
        (&|| std::fs::remove_file(&kept).unwrap(), &|| write(&kept, "kept"), "data/kept is missing"),
        (
            &|| {
                std::fs::remove_file(&link).unwrap();
                symlink("/elsewhere", &link).unwrap();
            },
            &|| {
                std::fs::remove_file(&link).unwrap();
                symlink("data/kept", &link).unwrap();
            },
            "pointing leads elsewhere",
        ),
        (
            &|| {
                std::fs::remove_file(&link).unwrap();
                std::fs::create_dir(&link).unwrap();
            },
            &|| {
                std::fs::remove_dir(&link).unwrap();
                symlink("data/kept", &link).unwrap();
            },
            "pointing is of another kind",
        ),
    ];
    for (change, back, told) in changes {
        change();
        verify().code(1).stderr_has(&["layer sha256:", told]);
        back();
        verify().ok();
    }
}
