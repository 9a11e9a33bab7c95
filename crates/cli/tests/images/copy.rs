//! `copy` between registries and archives, without the store.

use super::*;
use testkit::Output;
use testkit::image::{Compression, INDEX, MANIFEST, Repository, digest};
use testkit::registry::{Demands, LOGIN, Registry};

fn registry(host: &Host, name: &str, demands: Demands) -> Registry {
    let dir = host.path(name);
    std::fs::create_dir_all(&dir).unwrap();
    Registry::start(&dir, demands)
}

fn copy(host: &Host, args: &[&str]) -> Output {
    host.berth([&["copy"], args].concat()).env("BERTH_CONFIG", host.path("config")).run()
}

/// Copies, and answers the digest that it tells.
#[track_caller]
fn digest_of(host: &Host, args: &[&str]) -> String {
    let text = copy(host, args).ok().text();
    let line = text.lines().find_map(|line| line.strip_prefix("Digest: "));
    assert_eq!(text.lines().last(), args.last().copied(), "{text}");
    line.unwrap_or_else(|| panic!("no digest in {text}")).to_owned()
}

fn manifest(host: &Host, name: &str) -> testkit::Value {
    host.berth(["manifest", "inspect", name]).run().ok().json()
}

/// A repository whose `latest` is an index of two machines' images; the digests of it and of this machine's.
fn two_machines() -> (Repository, String, String) {
    let mut repository = Repository::default();
    let mut entries = Vec::new();
    let own = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let mut own_digest = String::new();
    for (architecture, user) in [("amd64", "web"), ("arm64", "guest")] {
        let image = rich().set("User", json!(user));
        let parts = image.config(|config| config["architecture"] = json!(architecture)).parts();
        repository.put_parts(&parts);
        let digest = repository.tag(architecture, &parts.manifest);
        entries.push(json!({
            "mediaType": MANIFEST, "digest": digest, "size": parts.manifest_bytes().len(),
            "platform": { "os": "linux", "architecture": architecture },
        }));
        if architecture == own {
            own_digest = digest;
        }
    }
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries, "annotations": { "a": "b" } });
    let index_digest = repository.tag("latest", &index);
    (repository, index_digest, own_digest)
}

#[test]
fn an_index_goes_all_the_way_round_byte_for_byte() {
    let host = Host::new();
    let real = registry(&host, "registry", Demands::default());
    let (repository, index, _) = two_machines();
    let served = repository.serve();
    let at = |name: &str| host.path(name).display().to_string();
    let (dir, tar) = (format!("oci:{}:v1", at("layout")), format!("oci-archive:{}:v1", at("layout.tar")));
    let (first, second) =
        (format!("docker://{}/a:one", real.host()), format!("docker://{}/b/c:two", real.host()));
    let source = format!("docker://{}", served.name());
    let way = [&source, &first, &dir, &tar, &second];
    for step in way.windows(2) {
        assert_eq!(digest_of(&host, &["--all", step[0], step[1]]), index, "{step:?}");
    }
    for name in ["a:one", "b/c:two"] {
        let name = format!("{}/{name}", real.host());
        let shown = manifest(&host, &name);
        assert_eq!(shown["manifests"].as_array().unwrap().len(), 2);
        host.berth(["pull", "-q", &format!("{name}@{index}")]).run().ok();
    }
    // Nothing is sent twice, and within one registry not at all.
    let again = copy(&host, &["-a", &source, &first]).ok().text();
    assert!(again.contains(": Already exists") && !again.contains(": Copied"), "{again}");
    let third = format!("docker://{}/d", real.host());
    let mounted = copy(&host, &["--all", &first, &third]).ok().text();
    assert!(!mounted.contains(": Copied"), "{mounted}");
    // By its tag or its digest, and not under another.
    assert_eq!(digest_of(&host, &["-a", &first, &format!("docker://{}/e@{index}", real.host())]), index);
    let wrong = format!("docker://{}/e@sha256:{}", real.host(), "ab".repeat(32));
    copy(&host, &["-a", &first, &wrong]).code(1).stderr_has(&[&index]);
}

#[test]
fn one_machines_image_is_taken_out_of_an_index() {
    let host = Host::new();
    let (repository, _, own) = two_machines();
    let served = repository.serve();
    let source = format!("docker://{}", served.name());
    let layout = |tag: &str| format!("oci:{}:{tag}", host.path("layout").display());
    assert_eq!(digest_of(&host, &[&source, &layout("own")]), own);
    let arm = digest_of(&host, &["--platform", "linux/arm64", &source, &layout("arm")]);
    let copied = digest_of(&host, &[&layout("arm"), &layout("again")]);
    assert_eq!(copied, arm);
    copy(&host, &["--platform", "linux/s390x", &source, &layout("none")])
        .code(1)
        .stderr_has(&["linux/s390x"]);
    let other = copy(&host, &["--platform", "linux/s390x", &layout("arm"), &layout("none")]).code(1);
    other.stderr_has(&["it is for linux/arm64"]);
    copy(&host, &["--all", "--platform", "linux/arm64", &source, &layout("x")])
        .code(1)
        .stderr_has(&["conflict"]);
    // A name that is given again is another image's then; without a name there are several.
    digest_of(&host, &["--platform", "linux/amd64", &source, &layout("arm")]);
    let unnamed = format!("oci:{}", host.path("layout").display());
    copy(&host, &[&unnamed, &layout("x")]).code(1).stderr_has(&["it has several images", "own", "again"]);
    copy(&host, &[&layout("nix"), &layout("x")]).code(1).stderr_has(&["no image called \"nix\""]);
    assert!(!host.root_dir().join("store.db").exists(), "the store has no part in it");
}

#[test]
fn dockers_archives_are_those_of_save() {
    let host = Host::new();
    let real = registry(&host, "registry", Demands::default());
    let name = format!("{}/app:1", real.host());
    load(&host, &rich(), &name);
    let saved = host.path("saved.tar");
    host.berth(["save", "-o"]).arg(&saved).arg(&name).text();
    let (from, to) = (format!("docker-archive:{}", saved.display()), format!("docker://{name}"));
    let pushed = digest_of(&host, &[&from, &to]);
    let shown = manifest(&host, &name);
    let kinds = shown["layers"].as_array().unwrap().iter();
    assert!(kinds.map(|layer| &layer["mediaType"]).all(|kind| kind.as_str().unwrap().ends_with("tar+gzip")));
    // What was packed on the way is unpacked on the way back, to the same bytes.
    let back = host.path("back.tar");
    digest_of(&host, &[&to, &format!("docker-archive:{}:{name}", back.display())]);
    assert!(std::fs::read(&saved).unwrap() == std::fs::read(&back).unwrap());
    let plain = format!("docker-archive:{}:{name}", host.path("plain.tar").display());
    digest_of(&host, &[&from, &plain]);
    assert!(std::fs::read(&saved).unwrap() == std::fs::read(host.path("plain.tar")).unwrap());
    // The other forms of such an archive.
    rich().write_docker_archive(&host.path("old.tar"), &["a:1", "b:2"]);
    let old = |name: &str| format!("docker-archive:{}:{name}", host.path("old.tar").display());
    assert_eq!(digest_of(&host, &[&old("b:2"), &to]), pushed);
    copy(&host, &[&old("c"), &to]).code(1).stderr_has(&["no image called c:latest"]);
    copy(&host, &["--all", &to, &plain]).code(1).stderr_has(&["--all"]);
    for bad in ["oci", "oci-archive", "docker-archive"] {
        let place = format!("{bad}:{}", host.path("nix").display());
        copy(&host, &[&place, &to]).code(1).stderr_has(&["nix"]);
    }
    copy(&host, &["app", &to]).code(1).stderr_has(&["\"app\" is none of docker://REF"]);
}

#[test]
fn credentials_are_those_of_pull_and_push() {
    let host = Host::new();
    let closed = registry(&host, "closed", Demands { password: true, ..Demands::default() });
    let served = Repository::of(&rich().compression(Compression::Zstd)).serve();
    let (from, to) = (format!("docker://{}", served.name()), format!("docker://{}/x:1", closed.host()));
    copy(&host, &[&from, &to]).code(1).stderr_has(&["push access denied"]);
    let login = host.berth(["login", "-u", LOGIN.0, "--password-stdin", &closed.host()]);
    login.env("BERTH_CONFIG", host.path("config")).stdin(LOGIN.1).run().ok();
    let there = digest_of(&host, &[&from, &to]);
    assert_eq!(there, digest(&rich().compression(Compression::Zstd).parts().manifest_bytes()));
    let archive = format!("docker-archive:{}:x:1", host.path("x.tar").display());
    copy(&host, &["-q", &to, &archive]).ok().stdout_is(&archive);
    host.berth(["load", "-q", "-i"]).arg(host.path("x.tar")).text();
    assert_eq!(host.berth(["images", "-q", "--no-trunc"]).text(), rich().id());
}

#[test]
fn what_is_not_its_digest_does_not_arrive() {
    let host = Host::new();
    let served = Repository::of(&rich()).serve_changed(|request, mut answer| {
        if request.target.contains("/blobs/") && answer.body.len() > 100_000 {
            let middle = answer.body.len() / 2;
            answer.body[middle] ^= 1;
        }
        answer
    });
    let source = format!("docker://{}", served.name());
    let blob = digest(&rich().parts().layers[0]);
    for target in ["oci:DIR/layout:a", "oci-archive:DIR/layout.tar", "docker-archive:DIR/docker.tar:a"] {
        let target = target.replace("DIR", &host.dir().display().to_string());
        copy(&host, &[&source, &target]).code(1).stderr_has(&[&blob]);
    }
    assert!(!host.path("layout/index.json").exists());
    assert!(names_in(&host.path("layout/blobs/sha256")).iter().all(|name| !blob.ends_with(name.as_str())));
    let left: Vec<String> = names_in(host.dir()).into_iter().filter(|name| name.ends_with("tar")).collect();
    assert_eq!(left, [""; 0]);
    // A layout that has rotted.
    let good = Repository::of(&rich()).serve();
    let layout = format!("oci:{}:a", host.path("layout").display());
    digest_of(&host, &[&format!("docker://{}", good.name()), &layout]);
    let path = host.path("layout/blobs/sha256").join(blob.trim_start_matches("sha256:"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let archive = format!("oci-archive:{}", host.path("layout.tar").display());
    copy(&host, &[&layout, &archive]).code(1).stderr_has(&[&blob, "isn't what its name says"]);
    bytes.truncate(2000);
    std::fs::write(&path, &bytes).unwrap();
    copy(&host, &[&layout, &archive]).code(1).stderr_has(&[&blob, "shorter"]);
    assert!(!host.path("layout.tar").exists());
}

/// Source: image-spec manifest.md (`config`, `layers`, `artifactType`), image-index.md (`manifests`): who copies fails at no
/// type that it doesn't know.
#[test]
fn what_is_not_known_is_copied_as_it_is() {
    let host = Host::new();
    let real = registry(&host, "registry", Demands::default());
    let (blob, cache) = (b"not json".to_vec(), b"some cache".to_vec());
    let unknown = |kind: &str, bytes: &[u8]| testkit::image::descriptor(kind, bytes);
    let artifact = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example+type",
        "config": unknown("application/vnd.example.config.v1+json", &blob),
        "layers": [unknown("application/vnd.example.data.v1", &blob)],
        "later": { "x": 1 },
    });
    let image = rich();
    let mut repository = Repository::of(&image);
    for bytes in [&blob, &cache] {
        repository.put_blob(&digest(bytes), bytes.clone());
    }
    repository.tag("artifact", &artifact);
    let entry = |document: &testkit::Value| unknown(MANIFEST, document.to_string().as_bytes());
    let mut own = entry(&image.parts().manifest);
    own["platform"] = json!({ "os": "linux", "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" } });
    let mut future = unknown("application/vnd.example.cache.v0", &cache);
    future["platform"] = own["platform"].clone();
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [future, entry(&artifact), own] });
    let all = repository.tag("all", &index);
    let served = repository.serve();
    let from = |tag: &str| format!("docker://{}:{tag}", served.name());
    let layout = |name: &str| format!("oci:{}:{name}", host.path("layout").display());
    let archive = format!("oci-archive:{}:all", host.path("all.tar").display());
    assert_eq!(digest_of(&host, &["--all", &from("all"), &layout("all")]), all);
    for bytes in [&blob, &cache] {
        let path = digest(bytes).replacen("sha256:", "layout/blobs/sha256/", 1);
        assert_eq!(&std::fs::read(host.path(&path)).unwrap(), bytes);
    }
    assert_eq!(digest_of(&host, &["--all", &layout("all"), &archive]), all);
    let there = format!("docker://{}/artifact:1", real.host());
    let alone = digest_of(&host, &[&from("artifact"), &there]);
    assert_eq!(alone, digest(artifact.to_string().as_bytes()));
    // The image out of it is the one of a known type; what is no image isn't read.
    host.berth(["pull", "-q", &format!("{}:all", served.name())]).run().ok();
    assert_eq!(host.berth(["images", "-q", "--no-trunc"]).text(), image.id());
    host.berth(["rmi", "-f", &image.id()]).run().ok();
    let requests = served.requests().len();
    let refused = host.berth(["pull", &format!("{}:artifact", served.name())]).run().code(1);
    refused.stderr_has(&["application/vnd.example.config.v1+json", "it isn't a container image"]);
    assert!(served.requests()[requests..].iter().all(|request| !request.target.contains("/blobs/")));
    let loaded = host.berth(["load", "-i"]).arg(host.path("all.tar")).run().ok().text();
    assert_eq!(loaded, format!("Loaded image ID: {}", image.id()));
}

/// Docker's manifests go as what they say that they are, which the registry checks. Source: distribution-spec, Pushing
/// Manifests.
#[test]
fn dockers_documents_keep_their_media_types() {
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let host = Host::new();
    let real = registry(&host, "registry", Demands::default());
    let mut parts = rich().parts();
    parts.manifest["mediaType"] = json!(DOCKER);
    parts.manifest["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
    for layer in parts.manifest["layers"].as_array_mut().unwrap() {
        layer["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
    }
    let mut repository = Repository::default();
    repository.put_parts(&parts);
    let own = repository.tag("latest", &parts.manifest);
    let served = repository.serve();
    let copied = format!("{}/copied:1", real.host());
    let source = format!("docker://{}", served.name());
    assert_eq!(digest_of(&host, &[&source, &format!("docker://{copied}")]), own);
    host.berth(["pull", "-q", &served.name()]).run().ok();
    let pushed = format!("{}/pushed:1", real.host());
    host.berth(["tag", &served.name(), &pushed]).run().ok();
    host.berth(["push", "-q", &pushed]).run().ok();
    for name in [copied, pushed] {
        assert_eq!(manifest(&host, &name), parts.manifest, "{name}");
    }
}
