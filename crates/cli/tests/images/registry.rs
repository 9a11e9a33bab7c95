//! Pull, push, login against Debian's docker-registry, and what is asked of a registry.

use super::*;
use testkit::Cmd;
use testkit::image::{Compression, Repository};
use testkit::registry::{Demands, LOGIN, Registry};

/// A registry with its files in the host's directory.
fn registry(host: &Host, demands: Demands) -> Registry {
    let dir = host.path("registry");
    std::fs::create_dir_all(&dir).unwrap();
    Registry::start(&dir, demands)
}

/// `berth ARGS…` with credentials and settings of the host's own.
fn berth(host: &Host, args: &[&str]) -> Cmd {
    let settings = host.path("registries.json");
    let cmd = host.berth(args).env("BERTH_CONFIG", host.path("config"));
    if settings.exists() { cmd.env("BERTH_REGISTRIES", settings) } else { cmd }
}

/// The digest in the output of a pull or push.
fn digest_in(text: &str) -> String {
    let at = text.find("sha256:").unwrap_or_else(|| panic!("no digest in {text}"));
    text[at..at + 71].to_owned()
}

fn remove_all(host: &Host) {
    let ids = berth(host, &["images", "-q", "--no-trunc"]).text();
    for id in ids.lines() {
        // One with several names is listed as often.
        berth(host, &["rmi", "-f", id]).run();
    }
    assert_eq!(berth(host, &["images", "-q"]).text(), "");
    assert_eq!(layers(host), [""; 0]);
}

#[test]
fn what_is_pushed_comes_back_with_its_digest() {
    let host = Host::new();
    let registry = registry(&host, Demands::default());
    let name = format!("{}/team/app:v1", registry.host());
    let repository = format!("{}/team/app", registry.host());
    load(&host, &rich(), &name);
    let pushed = berth(&host, &["push", &name]).text();
    let lines: Vec<&str> = pushed.lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{repository}]"));
    assert_eq!(lines.iter().filter(|line| line.ends_with(": Pushed")).count(), 3, "{pushed}");
    assert!(lines.last().unwrap().starts_with("v1: digest: sha256:"), "{pushed}");
    let digest = digest_in(&pushed);
    let again = berth(&host, &["push", &name]).text();
    assert_eq!(again.lines().filter(|line| line.ends_with(": Layer already exists")).count(), 3, "{again}");
    assert_eq!(digest_in(&again), digest);
    assert_eq!(berth(&host, &["push", "-q", &name]).text(), name);
    // A name without a tag is said to be completed, and with the last tag of a repository goes the digest there.
    let other = format!("{}/team/other", registry.host());
    berth(&host, &["tag", &name, &other]).text();
    let pushed = berth(&host, &["push", &other]).text();
    let head = format!("Using default tag: latest\nThe push refers to repository [{other}]\n");
    assert!(pushed.starts_with(&head), "{pushed}");
    let pulled = berth(&host, &["pull", &other]).text();
    assert!(pulled.starts_with("Using default tag: latest\nlatest: Pulling from team/other\n"), "{pulled}");
    assert_eq!(berth(&host, &["pull", "-q", &other]).text(), format!("{other}:latest"));
    let untagged = format!("Untagged: {other}:latest\nUntagged: {other}@{digest}");
    assert_eq!(berth(&host, &["rmi", &other]).text(), untagged);
    let missing = berth(&host, &["push", &other]).run().code(1);
    missing.stderr_has(&[&format!("an image does not exist locally with the tag: {other}:latest")]);

    remove_all(&host);
    let pulled = berth(&host, &["pull", &name]).text();
    let lines: Vec<&str> = pulled.lines().collect();
    assert_eq!(lines[0], "v1: Pulling from team/app");
    for words in [": Pulling fs layer", ": Pull complete"] {
        assert_eq!(lines.iter().filter(|line| line.ends_with(words)).count(), 3, "{pulled}");
    }
    let end = format!("Digest: {digest}\nStatus: Downloaded newer image for {name}\n{name}");
    assert!(pulled.ends_with(&end), "{pulled}");
    assert_eq!(berth(&host, &["images", "-q", "--no-trunc"]).text(), rich().id());
    assert_eq!(
        berth(&host, &["image", "inspect", "-f", "{{json .RepoDigests}}", &name]).run().ok().json(),
        json!([format!("{repository}@{digest}")])
    );
    let again = berth(&host, &["pull", &name]).text();
    let end = format!("Digest: {digest}\nStatus: Image is up to date for {name}\n{name}");
    assert!(again.ends_with(&end), "{again}");
    assert_eq!(berth(&host, &["pull", "-q", &name]).text(), name);
    assert_eq!(berth(&host, &["run", "--rm", &name]).text(), "from the image");
    // The manifest that came is the one that goes.
    assert_eq!(digest_in(&berth(&host, &["push", &name]).text()), digest);

    remove_all(&host);
    let by_digest = format!("{repository}@{digest}");
    berth(&host, &["pull", "-q", &by_digest]).text();
    assert_eq!(
        berth(&host, &["images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]).text(),
        format!("{repository} <none> {digest}")
    );
    assert_eq!(berth(&host, &["run", "--rm", &by_digest]).text(), "from the image");
}

#[test]
fn layers_that_came_plain_go_as_gzip_and_others_as_they_came() {
    let host = Host::new();
    let registry = registry(&host, Demands::default());
    let named = |name: &str| format!("{}/{name}", registry.host());
    let manifest = |name: &str| berth(&host, &["manifest", "inspect", name]).run().ok().json();
    let kinds = |name: &str| -> Vec<String> {
        let manifest = manifest(name);
        let layers = manifest["layers"].as_array().unwrap().iter();
        let kind = |layer: &testkit::Value| {
            layer["mediaType"].as_str().unwrap().replace("application/vnd.oci.image.layer.v1.", "")
        };
        layers.map(kind).collect()
    };
    let plain = named("plain:1");
    load(&host, &rich(), &plain);
    let first = digest_in(&berth(&host, &["push", &plain]).text());
    assert_eq!(kinds(&plain), ["tar+gzip"; 3]);
    // The second time nothing is packed: what was made is kept, and found again.
    let blobs = || names_in(&host.root_dir().join("blobs/sha256"));
    let kept = blobs();
    assert_eq!(kept.len(), 6, "as they are kept, and as they went");
    assert_eq!(digest_in(&berth(&host, &["push", &plain]).text()), first);
    berth(&host, &["image", "prune", "-f"]).text();
    assert_eq!(blobs(), kept);
    berth(&host, &["image", "verify"]).run().ok();
    // Asked for, zstd goes, which changes nothing of what goes by default.
    let zstd = named("plain:zstd");
    berth(&host, &["tag", &plain, &zstd]).text();
    assert_ne!(digest_in(&berth(&host, &["push", "--compression", "zstd", &zstd]).text()), first);
    assert_eq!(kinds(&zstd), ["tar+zstd"; 3]);
    assert_eq!(digest_in(&berth(&host, &["push", &plain]).text()), first);
    assert_eq!(blobs(), kept);
    berth(&host, &["push", "--compression", "xz", &plain]).run().failed().stderr_has(&["xz"]);

    // Pulled ones go as they came, whatever is asked for, also below a layer of a commit's.
    remove_all(&host);
    assert_eq!(blobs(), [""; 0]);
    berth(&host, &["pull", "-q", &zstd]).text();
    let pulled = manifest(&zstd);
    let again = named("again");
    berth(&host, &["tag", &zstd, &again]).text();
    for options in [&[][..], &["--compression", "gzip"], &["--compression", "zstd"]] {
        berth(&host, &[&["push", "-q"], options, &[&again]].concat()).text();
        assert_eq!(manifest(&again), pulled, "{options:?}");
    }
    let script = ["sh", "-c", "echo new > /tmp/new"];
    let run = ["run", "--name", "it", "--network", "none", "-u", "root", "--entrypoint", "", &again];
    berth(&host, &[&run[..], &script].concat()).text();
    let more = named("more");
    berth(&host, &["commit", "it", &more]).text();
    berth(&host, &["rm", "it"]).text();
    berth(&host, &["push", "-q", &more]).text();
    assert_eq!(kinds(&more), ["tar+zstd", "tar+zstd", "tar+zstd", "tar+gzip"]);
    assert_eq!(manifest(&more)["layers"][0], pulled["layers"][0]);
    remove_all(&host);
    berth(&host, &["pull", "-q", &more]).text();
    assert_eq!(berth(&host, &["run", "--rm", "--entrypoint", "cat", &more, "/tmp/new"]).text(), "new");
}

#[test]
fn all_tags_go_and_come_together() {
    let host = Host::new();
    let registry = registry(&host, Demands::default());
    let repository = format!("{}/app", registry.host());
    for (tag, user) in [("one", "web"), ("two", "guest"), ("three", "root")] {
        load(&host, &Image::busybox().set("User", json!(user)), &format!("{repository}:{tag}"));
    }
    berth(&host, &["push", "-q", "-a", &repository]).text();
    // In the registry's own order.
    let tags = berth(&host, &["tags", &repository]).text();
    let mut tags: Vec<&str> = tags.lines().collect();
    tags.sort_unstable();
    assert_eq!(tags, ["one", "three", "two"]);
    remove_all(&host);
    berth(&host, &["pull", "-q", "-a", &repository]).text();
    let names = berth(&host, &["images", "--format", "{{.Tag}}", &repository]).text();
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["one", "three", "two"]);
    assert_eq!(sh(&host, &format!("{repository}:two"), "id -un"), "guest");
    let missing = berth(&host, &["pull", &format!("{repository}:four")]).run().code(1);
    missing.stderr_has(&["four"]);
    berth(&host, &["push", "-a", "nix"]).run().code(1).stderr_has(&["does not exist locally"]);
    berth(&host, &["pull", "-a", "nix:1"])
        .run()
        .code(1)
        .stderr_has(&["tag can't be used with --all-tags/-a"]);
}

#[test]
fn who_signs_in_may_pull_and_push_and_who_signs_out_may_not() {
    let host = Host::new();
    let registry = registry(&host, Demands { password: true, ..Demands::default() });
    let server = registry.host();
    let name = format!("{server}/app:1");
    load(&host, &Image::busybox(), &name);
    let (user, password) = LOGIN;
    let refused = |output: testkit::Output| {
        let output = output.code(1).stderr_has(&[&server]);
        assert!(!output.err().contains(password), "{}", output.err());
    };
    refused(berth(&host, &["push", &name]).run());
    refused(berth(&host, &["pull", &name]).run());
    let login = |password: &str| {
        berth(&host, &["login", "-u", user, "--password-stdin", &server]).stdin(format!("{password}\n"))
    };
    refused(login("wrong").run());
    assert!(!host.path("config").join("config.json").exists(), "a wrong password isn't kept");
    assert_eq!(login(password).run().ok().text().lines().last(), Some("Login Succeeded"));
    let kept = std::fs::read_to_string(host.path("config").join("config.json")).unwrap();
    assert!(kept.contains(&server), "{kept}");
    berth(&host, &["push", "-q", &name]).text();
    remove_all(&host);
    berth(&host, &["pull", "-q", &name]).text();
    assert_eq!(berth(&host, &["tags", &name]).text(), "1");
    assert_eq!(berth(&host, &["logout", &server]).text(), format!("Removing login credentials for {server}"));
    refused(berth(&host, &["pull", &name]).run());
    let flag = berth(&host, &["login", "-u", user, "-p", password, &server]).run().ok();
    flag.stdout_is("Login Succeeded").stderr_has(&["WARNING! Using --password via the CLI is insecure."]);
}

#[test]
fn a_certificate_is_trusted_only_by_its_issuer() {
    let host = Host::new();
    let registry = registry(&host, Demands { tls: true, ..Demands::default() });
    let server = registry.host();
    let settings = |entry: testkit::Value| {
        let text = json!({ "registries": { &server: entry } }).to_string();
        std::fs::write(host.path("registries.json"), text).unwrap();
    };
    let name = format!("{server}/app");
    load(&host, &Image::busybox(), &name);
    settings(json!({ "ca": [registry.ca()] }));
    berth(&host, &["push", "-q", &name]).text();
    remove_all(&host);
    berth(&host, &["pull", "-q", &name]).text();
    // Another issuer's.
    let other = Host::new();
    let _stranger = self::registry(&other, Demands { tls: true, ..Demands::default() });
    settings(json!({ "ca": [_stranger.ca()] }));
    berth(&host, &["pull", &name]).run().code(1).stderr_has(&[&server, "certificate"]);
}

#[test]
fn run_pulls_what_is_missing_and_as_it_is_told() {
    let host = Host::new();
    let old = Repository::of(&Image::busybox().set("Env", json!(["PATH=/bin", "A=old"])));
    let new = Repository::of(&Image::busybox().set("Env", json!(["PATH=/bin", "A=new"])));
    let renewed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_new = std::sync::Arc::clone(&renewed);
    let served =
        old.serve_changed(move |request, answer| match is_new.load(std::sync::atomic::Ordering::SeqCst) {
            true => new.answer(request),
            false => answer,
        });
    let name = served.name();
    let run = |options: &[&str]| {
        berth(&host, &["run", "--rm", "--network", "none"])
            .arg("--pull")
            .arg(options[0])
            .arg(&name)
            .arg("sh")
            .arg("-c")
            .arg("echo $A")
    };
    run(&["never"]).run().code(125).stdout_is("").stderr_has(&[&format!("no such image: {name}")]);
    let first = run(&["missing"]).run().ok().stdout_is("old");
    first.stderr_has(&[&format!("Unable to find image '{name}:latest' locally"), "Pulling from app"]);
    run(&["missing"]).run().ok().silent().stdout_is("old");
    renewed.store(true, std::sync::atomic::Ordering::SeqCst);
    run(&["missing"]).run().ok().silent().stdout_is("old");
    run(&["never"]).run().ok().silent().stdout_is("old");
    run(&["always"]).run().ok().stdout_is("new").stderr_has(&["Downloaded newer image"]);
    let quiet = berth(&host, &["run", "--rm", "--network", "none", "-q", "--pull", "always", &name, "true"]);
    quiet.run().ok().silent();
    berth(&host, &["run", "--rm", "--pull", "sometimes", &name, "true"])
        .run()
        .code(125)
        .stderr_has(&["sometimes"]);
}

#[test]
fn of_an_index_the_machines_image_is_taken_or_the_one_asked_for() {
    let host = Host::new();
    let mut repository = Repository::default();
    let mut entries = Vec::new();
    for (architecture, user) in [("amd64", "web"), ("arm64", "guest")] {
        let image = Image::busybox().set("User", json!(user));
        let image = image.config(|config| config["architecture"] = json!(architecture));
        let parts = image.parts();
        repository.put_parts(&parts);
        let digest = repository.tag(architecture, &parts.manifest);
        entries.push(json!({
            "mediaType": testkit::image::MANIFEST, "digest": digest, "size": parts.manifest_bytes().len(),
            "platform": { "os": "linux", "architecture": architecture },
        }));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": testkit::image::INDEX, "manifests": entries });
    let index_digest = repository.tag("latest", &index);
    let served = repository.serve();
    let name = served.name();
    let pulled = berth(&host, &["pull", &name]).text();
    assert_eq!(digest_in(&pulled[pulled.find("Digest:").unwrap()..]), index_digest);
    let own = if cfg!(target_arch = "x86_64") { ("amd64", "web") } else { ("arm64", "guest") };
    let architecture =
        |name: &str| berth(&host, &["image", "inspect", "-f", "{{.Architecture}}", name]).text();
    assert_eq!(architecture(&name), own.0);
    assert_eq!(sh(&host, &name, "id -un"), own.1);
    berth(&host, &["pull", "-q", "--platform", "linux/arm64", &name]).text();
    assert_eq!(architecture(&name), "arm64");
    let none = berth(&host, &["pull", "--platform", "linux/s390x", &name]).run().code(1);
    none.stderr_has(&["linux/s390x"]);
    berth(&host, &["pull", "--platform", "what/is/this/now", &name])
        .run()
        .failed()
        .stderr_has(&["--platform"]);
}

#[test]
fn layers_that_are_here_are_not_asked_for_again() {
    let host = Host::new();
    let base = Image::busybox();
    load(&host, &base, "base");
    let more = base.layer(&Layer::new().file("more", 0o644, "more"));
    let served = Repository::of(&more).serve();
    let pulled = berth(&host, &["pull", &served.name()]).text();
    assert_eq!(pulled.lines().filter(|line| line.ends_with(": Already exists")).count(), 1, "{pulled}");
    let parts = more.parts();
    let counts = served.blob_requests();
    assert_eq!(counts.get(&testkit::image::digest(&parts.layers[0])), None, "{counts:?}");
    assert_eq!(counts.get(&testkit::image::digest(&parts.layers[1])), Some(&1), "{counts:?}");
    assert_eq!(sh(&host, &served.name(), "cat /more"), "more");
}

#[test]
fn zstd_and_plain_layers_are_pulled() {
    for compression in [Compression::Zstd, Compression::Plain] {
        let host = Host::new();
        let served = Repository::of(&rich().compression(compression)).serve();
        berth(&host, &["pull", "-q", &served.name()]).text();
        assert_eq!(
            berth(&host, &["run", "--rm", &served.name()]).text(),
            "from the image",
            "{compression:?}"
        );
        assert_eq!(berth(&host, &["images", "-q", "--no-trunc"]).text(), rich().id());
    }
}

#[test]
fn progress_is_json_for_programs() {
    let host = Host::new();
    let served = Repository::of(&rich()).serve();
    let text = berth(&host, &["pull", "--progress", "json", &served.name()]).text();
    let (lines, name) = text.rsplit_once('\n').unwrap();
    assert_eq!(name, format!("{}:latest", served.name()));
    let states: Vec<testkit::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let complete = states.iter().filter(|state| state["status"] == json!("Pull complete")).count();
    assert_eq!(complete, 3, "{text}");
    berth(&host, &["pull", "--progress", "loud", &served.name()]).run().failed().stderr_has(&["loud"]);
}

/// Source: image-spec layer.md, Non-Distributable Layers.
#[test]
fn layers_that_are_not_to_be_passed_on_are_pulled() {
    for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
        let host = Host::new();
        let mut parts = rich().compression(compression).parts();
        for layer in parts.manifest["layers"].as_array_mut().unwrap() {
            let kind = layer["mediaType"].as_str().unwrap();
            layer["mediaType"] = json!(kind.replace("layer.v1", "layer.nondistributable.v1"));
        }
        let mut repository = Repository::default();
        repository.put_parts(&parts);
        repository.tag("latest", &parts.manifest);
        let served = repository.serve();
        berth(&host, &["pull", "-q", &served.name()]).run().ok();
        assert_eq!(berth(&host, &["run", "--rm", &served.name(), "cat /data/kept"]).text(), "kept");
    }
}
