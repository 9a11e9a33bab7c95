//! `berth load`: every form that an archive of images has in the field, and what isn't one.

use super::*;
use testkit::http::{Answer, Server};
use testkit::image::{self, Compression, compress};

/// Loads an archive that `write` wrote; what it printed.
fn loaded(host: &Host, write: impl FnOnce(&std::path::Path)) -> String {
    let path = host.path("archive");
    write(&path);
    host.berth(["load", "-i"]).arg(&path).text()
}

#[test]
fn layouts_of_all_compressions_are_the_same_image() {
    for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
        let host = Host::new();
        let image = rich().compression(compression);
        let text = loaded(&host, |path| image.write_layout(path, "docker.io/library/app:1"));
        assert_eq!(text, "Loaded image: app:1", "{compression:?}");
        assert_eq!(host.berth(["images", "-q", "--no-trunc"]).text(), image.id());
        let inspected = host.berth(["image", "inspect", "app:1"]).run().ok().json();
        assert_eq!(inspected[0]["RootFS"]["Layers"].as_array().unwrap().len(), 3);
        assert_eq!(host.berth(["run", "--rm", "app:1", "cat /data/kept"]).text(), "kept");
    }
}

#[test]
fn dockers_archives_load_plain_compressed_and_from_a_pipe() {
    let host = Host::new();
    let image = rich();
    let tar = image.docker_archive(&["app:1", "reg.example/b/c:x"]).tar();
    for (compression, piped) in [
        (Compression::Plain, false),
        (Compression::Gzip, false),
        (Compression::Zstd, false),
        (Compression::Plain, true),
        (Compression::Zstd, true),
    ] {
        let bytes = compress(&tar, compression);
        let text = match piped {
            true => host.berth(["load"]).stdin(bytes).text(),
            false => loaded(&host, |path| std::fs::write(path, bytes).unwrap()),
        };
        assert_eq!(text, "Loaded image: app:1\nLoaded image: reg.example/b/c:x");
        assert_eq!(host.berth(["run", "--rm", "app:1"]).text(), "from the image");
        host.berth(["rmi", "-f", &image.id()]).text();
        assert_eq!(layers(&host), [""; 0], "rmi leaves no layer");
    }
}

#[test]
fn an_image_without_a_name_is_told_by_its_id() {
    let host = Host::new();
    let image = Image::busybox();
    let text = loaded(&host, |path| image.write_docker_archive(path, &[]));
    assert_eq!(text, format!("Loaded image ID: {}", image.id()));
    assert_eq!(host.berth(["images", "--format", "{{.Repository}}:{{.Tag}}"]).text(), "<none>:<none>");
    let short = &image.id()["sha256:".len()..][..12];
    assert_eq!(sh(&host, short, "echo ran"), "ran");
}

#[test]
fn a_name_moves_to_the_image_loaded_last() {
    let host = Host::new();
    let (old, new) = (Image::busybox(), Image::busybox().set("User", json!("web")));
    load(&host, &old, "app:1");
    let text = loaded(&host, |path| new.write_docker_archive(path, &["app:1"]));
    // docker 28's words.
    let expected = format!(
        "The image app:1 already exists, renaming the old one with ID {} to empty string\nLoaded image: app:1",
        old.id()
    );
    assert_eq!(text, expected);
    assert_eq!(host.berth(["images", "-q", "--no-trunc", "app:1"]).text(), new.id());
    let dangling = host.berth(["images", "-q", "--no-trunc", "-f", "dangling=true"]).text();
    assert_eq!(dangling, old.id());
    assert_eq!(layers(&host).len(), 1, "both have the same layer");
}

#[test]
fn several_images_of_one_archive_share_layers() {
    let host = Host::new();
    let (one, two) = (Image::busybox(), rich());
    let names = |at: usize| format!("app:{at}");
    let mut tar = Layer::new();
    let mut manifest = Vec::new();
    for (at, image) in [&one, &two].into_iter().enumerate() {
        let parts = image.clone().compression(Compression::Plain).parts();
        let file = |bytes: &[u8]| image::digest(bytes).replace(':', "-");
        tar = tar.file(&file(&parts.config), 0o644, &parts.config);
        let mut layers = Vec::new();
        for layer in &parts.layers {
            tar = tar.file(&file(layer), 0o644, layer);
            layers.push(file(layer));
        }
        manifest.push(json!({"Config": file(&parts.config), "RepoTags": [names(at)], "Layers": layers}));
    }
    let tar = tar.file("manifest.json", 0o644, json!(manifest).to_string()).tar();
    let text = host.berth(["load"]).stdin(tar).text();
    assert_eq!(text, "Loaded image: app:0\nLoaded image: app:1");
    assert_eq!(layers(&host).len(), 3);
}

#[test]
fn what_is_no_archive_of_images_is_refused_by_name() {
    let host = Host::new();
    let image = rich();
    let full = image.docker_archive(&["app:1"]).tar();
    let no_manifest = Layer::new().file("a", 0o644, "b").tar();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"#!/bin/sh\n".to_vec(), "not a tar archive"),
        (Vec::new(), "not a tar archive"),
        (no_manifest, "neither manifest.json (docker) nor index.json (OCI)"),
        (full[..full.len() / 2].to_vec(), "cannot load"),
        (compress(&full, Compression::Gzip)[..100_000].to_vec(), "cannot load"),
        (b"\xfd7zXZ\0garbage".to_vec(), "xz"),
    ];
    for (bytes, why) in cases {
        let path = host.path("bad.tar");
        std::fs::write(&path, bytes).unwrap();
        let output = host.berth(["load", "-i"]).arg(&path).run().code(1).stdout_is("");
        output.stderr_has(&["bad.tar", why]);
        assert_eq!(host.berth(["images", "-q"]).text(), "");
    }
    host.berth(["load", "-i", "/nowhere"]).run().code(1).stderr_has(&["/nowhere", "no such file"]);
}

#[test]
fn an_archive_that_lies_about_a_layer_leaves_nothing() {
    let host = Host::new();
    let image = rich();
    let mut tar = image.docker_archive(&["app:1"]).tar();
    // One byte of a file in the second layer.
    let at = tar.windows(15).position(|bytes| bytes == b"a file that bec").unwrap();
    tar[at] = b'A';
    host.berth(["load"]).stdin(tar).run().code(1).stdout_is("").stderr_has(&["layer sha256:", "digest"]);
    assert_eq!(host.berth(["images", "-q"]).text(), "");
    // The next try takes the good one.
    load(&host, &image, "app:1");
    assert_eq!(host.berth(["run", "--rm", "app:1"]).text(), "from the image");
}

#[test]
fn what_is_imported_is_changed_as_told() {
    let host = Host::new();
    let tar = Layer::busybox().file("own", 0o644, "imported").tar();
    let path = host.path("root.tar");
    std::fs::write(&path, &tar).unwrap();
    let served = tar.clone();
    let server = Server::start(move |request| match request.target.as_str() {
        "/root.tar?token=canary" => Answer::new(200, served.clone()),
        "/moved" => Answer::new(302, "").with("location", "/root.tar?token=canary"),
        "/cut" => Answer::new(200, served.clone()).cut_at(100_000),
        _ => Answer::new(404, "nothing here"),
    });
    let url = |name: &str| format!("http://{}/{name}", server.host());
    let import = |args: &[&str]| host.berth(["import"].iter().chain(args)).run();
    let file = path.display().to_string();
    let show = |name: &str, template: &str| host.berth(["image", "inspect", "-f", template, name]).text();
    import(&[&file, "plain"]).ok();
    let own = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    assert_eq!(
        show("plain", "{{.Comment}} {{.Os}}/{{.Architecture}}"),
        format!("Imported from {file} linux/{own}")
    );
    let changes = ["-c", "CMD cat /own", "--change", "ENV A=b", "-c", "WORKDIR /tmp", "-m", "hello"];
    import(&[&changes[..], &["--platform", "linux/arm64/v8", &file, "changed"]].concat()).ok();
    assert_eq!(show("changed", "{{.Comment}} {{.Architecture}}"), "hello arm64");
    assert_eq!(
        show("changed", "{{json .Config.Env}} {{json .Config.Cmd}}"),
        r#"["A=b"] ["/bin/sh","-c","cat /own"]"#
    );
    import(&[&["-c", "CMD cat own", "-c", "WORKDIR /"], &[url("moved").as_str(), "fetched"][..]].concat())
        .ok();
    assert_eq!(host.berth(["run", "--rm", "--network", "none", "fetched"]).text(), "imported");
    // No name is as good; a secret of the URL isn't kept.
    let id = import(&[&url("root.tar?token=canary")]).ok().text();
    assert_eq!(show(&id, "{{.Comment}}"), format!("Imported from {}", url("root.tar")));
    let before = host.berth(["images", "-aq"]).text();
    for (args, why) in [
        (&["-c", "RUN x", &file, "bad"][..], "RUN changes no configuration"),
        (&["--platform", "no/such/machine/at/all", &file, "bad"], "--platform"),
        (&[&url("nix"), "bad"], "404"),
        (&[&url("cut"), "bad"], "broke off"),
        (&["http:///x", "bad"], "cannot fetch"),
        (&["http://example.invalid/x", "bad"], "example.invalid"),
        (&[&file, "a", "b"], "requires at most 2 arguments"),
    ] {
        import(args).code(1).stderr_has(&[why]);
    }
    assert_eq!(host.berth(["images", "-aq"]).text(), before);
    assert_eq!(names_in(&host.root_dir().join("tmp")), [""; 0]);
}

/// Source: image-spec image-layout.md.
#[test]
fn a_saved_archive_is_an_image_layout() {
    let host = Host::new();
    load(&host, &rich(), "app:1");
    host.berth(["tag", "app:1", "reg.example/other:2"]).run().ok();
    let (tar, dir) = (host.path("saved.tar"), host.path("layout"));
    host.berth(["save", "-o"]).arg(&tar).arg("app:1").arg("reg.example/other:2").run().ok();
    std::fs::create_dir(&dir).unwrap();
    let names = testkit::Cmd::new("tar", ["-xvf", tar.to_str().unwrap(), "-C", dir.to_str().unwrap()]).text();
    let once: std::collections::BTreeSet<&str> = names.lines().collect();
    assert_eq!(once.len(), names.lines().count(), "{names}");
    let read = |name: &str| -> testkit::Value {
        serde_json::from_slice(&std::fs::read(dir.join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("oci-layout")["imageLayoutVersion"], "1.0.0");
    let index = read("index.json");
    assert_eq!(index["schemaVersion"], 2);
    let blobs = names_in(&dir.join("blobs"));
    assert_eq!(blobs, ["sha256"]);
    for name in names_in(&dir.join("blobs/sha256")) {
        let bytes = std::fs::read(dir.join("blobs/sha256").join(&name)).unwrap();
        assert_eq!(image::digest(&bytes), format!("sha256:{name}"));
    }
    // All that is named is there, as large as is said, and every annotation is a text.
    let mut todo: Vec<testkit::Value> = index["manifests"].as_array().unwrap().clone();
    assert_eq!(todo.len(), 2);
    while let Some(descriptor) = todo.pop() {
        let path = descriptor["digest"].as_str().unwrap().replacen("sha256:", "blobs/sha256/", 1);
        assert_eq!(std::fs::metadata(dir.join(&path)).unwrap().len(), descriptor["size"].as_u64().unwrap());
        let annotations = descriptor["annotations"].as_object().cloned().unwrap_or_default();
        assert!(annotations.values().all(testkit::Value::is_string), "{descriptor}");
        if descriptor["mediaType"] == image::MANIFEST {
            let manifest = read(&path);
            assert_eq!(
                (&manifest["schemaVersion"], &manifest["mediaType"]),
                (&json!(2), &json!(image::MANIFEST))
            );
            todo.push(manifest["config"].clone());
            todo.extend(manifest["layers"].as_array().unwrap().iter().cloned());
        }
    }
}
