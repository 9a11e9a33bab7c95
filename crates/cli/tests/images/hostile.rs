//! Registries that lie, break off, never end: each is told plainly, and leaves nothing that anybody sees.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use testkit::http::{Answer, Request};
use testkit::image::{self, Compression, INDEX, MANIFEST, Repository, Served, compress, digest};

/// Longest that a pull from any of them may take: what waits for a registry has an end.
const PATIENCE: Duration = Duration::from_secs(60);

fn pull(host: &Host, served: &Served) -> testkit::Output {
    host.berth(["pull", &served.name()]).timeout(PATIENCE).run()
}

/// Nothing of it can be seen.
fn assert_empty(host: &Host) {
    assert_eq!(host.berth(["images", "-aq"]).text(), "");
    assert_eq!(names_in(&host.root_dir().join("tmp")), [""; 0]);
}

/// The pull fails with these words, `run` does so with 125, and nothing is there.
fn check(served: &Served, words: &[&str]) {
    let host = Host::new();
    pull(&host, served).code(1).stderr_has(words).stderr_has(&["berth: "]);
    assert_empty(&host);
    host.berth(["run", "--rm", &served.name(), "true"]).timeout(PATIENCE).run().code(125).stderr_has(words);
    assert_empty(&host);
}

fn is_blob(request: &Request, blob: &str) -> bool {
    request.target.ends_with(&format!("/blobs/{blob}"))
}

/// An image whose second layer has some hundred kilobytes that don't compress.
fn noisy() -> Image {
    let mut state = 1u64;
    let noise: Vec<u8> = (0..300_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .collect();
    Image::busybox().layer(&Layer::new().file("noise", 0o644, noise))
}

/// The registry of [`noisy`], with the answers about its second layer changed.
fn with_layer(change: impl Fn(Answer) -> Answer + Send + Sync + 'static) -> (Served, String) {
    let image = noisy();
    let blob = digest(&image.parts().layers[1]);
    let wanted = blob.clone();
    let served =
        Repository::of(&image).serve_changed(move |request, answer| match is_blob(request, &wanted) {
            true => change(answer),
            false => answer,
        });
    (served, blob)
}

#[test]
fn a_changed_byte_is_a_wrong_digest() {
    let (served, blob) = with_layer(|mut answer| {
        let middle = answer.body.len() / 2;
        answer.body[middle] ^= 1;
        answer
    });
    check(&served, &[&blob]);
}

#[test]
fn a_layer_that_ends_early_or_late_is_refused() {
    let (served, blob) = with_layer(|mut answer| {
        answer.body.truncate(answer.body.len() - 10);
        answer
    });
    check(&served, &[&blob]);
    let (served, blob) = with_layer(|mut answer| {
        answer.body.extend([0; 10]);
        answer
    });
    check(&served, &[&blob]);
}

#[test]
fn a_layer_without_end_is_stopped_at_its_size() {
    let (served, blob) = with_layer(|answer| {
        let mut body = answer.body;
        body.extend(std::iter::repeat_n(0, 8 << 20));
        Answer { chunked: true, ..Answer::new(200, body) }
    });
    check(&served, &[&blob]);
}

#[test]
fn a_layer_that_is_gone_is_named() {
    let (served, blob) = with_layer(|_| Answer::new(404, r#"{"errors": [{"code": "BLOB_UNKNOWN"}]}"#));
    check(&served, &[&blob]);
}

/// A registry whose documents were changed before they got their digests.
fn with_documents(change: impl FnOnce(&mut testkit::image::Parts)) -> Served {
    let mut parts = noisy().parts();
    change(&mut parts);
    let mut repository = Repository::default();
    repository.put_parts(&parts);
    repository.tag("latest", &parts.manifest);
    repository.serve()
}

#[test]
fn documents_that_contradict_each_other_are_refused() {
    // The configuration says another diff id than the layer has.
    let wrong = format!("sha256:{}", "ab".repeat(32));
    let served = with_documents(|parts| {
        let mut config: testkit::Value = serde_json::from_slice(&parts.config).unwrap();
        config["rootfs"]["diff_ids"][1] = json!(wrong);
        parts.config = config.to_string().into_bytes();
        parts.manifest["config"] = image::descriptor(image::CONFIG, &parts.config);
    });
    check(&served, &["layer sha256:", "digest", &wrong]);

    let served = with_documents(|parts| parts.manifest["layers"][1]["size"] = json!(1000));
    check(&served, &["1000"]);

    let served = with_documents(|parts| {
        parts.manifest["layers"].as_array_mut().unwrap().pop();
    });
    check(&served, &["its manifest has 1 layers, its configuration 2"]);

    let served = with_documents(|parts| {
        parts.manifest["layers"][1]["mediaType"] = json!("application/vnd.example.song+ogg");
    });
    check(&served, &["application/vnd.example.song+ogg"]);

    let served = with_documents(|parts| {
        parts.manifest["layers"][1]["mediaType"] =
            json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    });
    check(&served, &["foreign"]);

    let served = with_documents(|parts| parts.manifest["schemaVersion"] = json!(1));
    check(&served, &["schema"]);

    let served = with_documents(|parts| {
        parts.config = b"not json".to_vec();
        parts.manifest["config"] = image::descriptor(image::CONFIG, &parts.config);
    });
    check(&served, &["app"]);
}

#[test]
fn a_manifest_that_is_not_its_digest_is_refused() {
    let served = Repository::of(&noisy()).serve_changed(|request, mut answer| {
        if request.target.contains("/manifests/sha256:") {
            answer.body.extend(b" ");
        }
        answer
    });
    let host = Host::new();
    let own = digest(&noisy().parts().manifest_bytes());
    let name = format!("{}@{own}", served.name());
    host.berth(["pull", &name]).run().code(1).stderr_has(&[&own]);
    assert_empty(&host);
}

#[test]
fn indexes_that_go_in_circles_end() {
    // No index can name itself by digest; a registry that answers any digest with an index can.
    let entry = json!({ "mediaType": INDEX, "digest": format!("sha256:{}", "cd".repeat(32)), "size": 300,
        "platform": { "os": "linux", "architecture": "amd64" } });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    let served = Repository::default().serve_changed(move |request, answer| {
        match request.target.contains("/manifests/") {
            true => Answer::new(200, index.clone()).with("content-type", INDEX),
            false => answer,
        }
    });
    check(&served, &["its digest is", &"cd".repeat(32)]);
    // And honest ones, nested deep.
    let mut repository = Repository::default();
    let parts = noisy().parts();
    repository.put_parts(&parts);
    let mut inner = repository.tag("0", &parts.manifest);
    let (mut media_type, mut size) = (MANIFEST, parts.manifest_bytes().len());
    for depth in 1..40 {
        let entry = json!({ "mediaType": media_type, "digest": inner, "size": size,
            "platform": { "os": "linux", "architecture": "amd64" } });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        inner = repository.tag(if depth == 39 { "latest" } else { "x" }, &index);
        (media_type, size) = (INDEX, index.to_string().len());
    }
    check(&repository.serve(), &["index"]);
}

#[test]
fn a_bomb_goes_off_at_its_limit() {
    // 1.5 GB of zeroes in 48 kB of zstd within the free gigabyte's reach.
    let zeroes = vec![0; 16 << 20];
    let frame = compress(&zeroes, Compression::Zstd);
    let blob: Vec<u8> = frame.iter().copied().cycle().take(frame.len() * 96).collect();
    let mut parts = Image::busybox().layer(&Layer::new()).compression(Compression::Zstd).parts();
    parts.layers[1] = blob;
    let entry = image::descriptor("application/vnd.oci.image.layer.v1.tar+zstd", &parts.layers[1]);
    parts.manifest["layers"][1] = entry;
    let mut repository = Repository::default();
    repository.put_parts(&parts);
    repository.tag("latest", &parts.manifest);
    let served = repository.serve();
    let host = Host::new();
    let output = host.berth(["pull", &served.name()]).timeout(PATIENCE).run().code(1);
    output.stderr_has(&["layer sha256:", "more than"]);
    assert_empty(&host);
}

#[test]
fn a_name_out_of_the_root_is_refused_and_changes_nothing() {
    for (layer, why) in [
        (Layer::new().file("../escaped", 0o644, "x"), ".."),
        (Layer::new().symlink("out", "/tmp").file("out/../../escaped", 0o644, "x"), ".."),
        (Layer::new().hard_link("in", "../../../../../etc/passwd"), "leaves the archive"),
    ] {
        let host = Host::new();
        let served = Repository::of(&Image::busybox().layer(&layer)).serve();
        pull(&host, &served).code(1).stderr_has(&["layer sha256:", why]);
        assert_empty(&host);
    }
    // A link may point anywhere: what is written through it stays inside.
    let host = Host::new();
    let outside = host.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let target = outside.display().to_string();
    let layer = Layer::new().symlink("out", &target).file("out/escaped", 0o644, "x");
    let served = Repository::of(&Image::busybox().layer(&layer)).serve();
    pull(&host, &served);
    assert_eq!(names_in(&outside), [""; 0]);
}

#[test]
fn a_wire_that_breaks_is_taken_up_where_it_broke() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let (served, _) = with_layer(move |answer| match counted.fetch_add(1, SeqCst) {
        0..3 => answer.cut_at(70_000),
        _ => answer,
    });
    let host = Host::new();
    pull(&host, &served).ok();
    assert_eq!(tries.load(SeqCst), 4);
    assert_eq!(sh(&host, &served.name(), "wc -c < /noise"), "300000");
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let (served, _) = with_layer(move |answer| match counted.fetch_add(1, SeqCst) {
        0 => Answer::new(429, "slow down").with("retry-after", 0),
        1 => Answer::new(503, "").with("retry-after", 0),
        _ => answer,
    });
    let host = Host::new();
    pull(&host, &served).ok();
    assert_eq!(tries.load(SeqCst), 3);

    let (served, _) = with_layer(|_| Answer::new(429, "slow down").with("retry-after", 100_000));
    let host = Host::new();
    pull(&host, &served).code(1).stderr_has(&["too many requests", "100000 seconds"]);
    assert_empty(&host);
}

#[test]
fn what_was_verified_is_kept_for_the_next_try() {
    let image = noisy();
    let (first, second) = (digest(&image.parts().layers[0]), digest(&image.parts().layers[1]));
    let host = Host::new();
    let tries = Arc::new(AtomicUsize::new(0));
    let (counted, wanted, other) = (Arc::clone(&tries), second.clone(), first.clone());
    let placed = host.root_dir().join("layers");
    let served = Repository::of(&image).serve_changed(move |request, answer| {
        if is_blob(request, &wanted) && counted.fetch_add(1, SeqCst) == 0 {
            // The other layer has its place before this one fails.
            testkit::until(testkit::cmd::TIMEOUT, || !names_in(&placed).is_empty());
            return Answer::new(404, "");
        }
        assert!(other.starts_with("sha256:"));
        answer
    });
    pull(&host, &served).code(1).stderr_has(&[&second]);
    assert_empty(&host);
    pull(&host, &served).ok();
    let counts = served.blob_requests();
    assert_eq!((counts.get(&first), counts.get(&second)), (Some(&1), Some(&2)), "{counts:?}");
    assert_eq!(sh(&host, &served.name(), "wc -c < /noise"), "300000");
}

#[test]
fn a_redirect_is_followed_without_the_password() {
    let image = noisy();
    let blob = digest(&image.parts().layers[1]);
    let store = Arc::new(Repository::of(&image).serve());
    let (there, wanted) = (store.host(), blob.clone());
    let front = Repository::of(&image).serve_changed(move |request, answer| {
        let authorised = request.header("authorization").is_some();
        match (authorised, is_blob(request, &wanted)) {
            (false, _) => Answer::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
            (true, true) => {
                Answer::new(307, "").with("location", format!("http://{there}{}", request.target))
            }
            (true, false) => answer,
        }
    });
    let host = Host::new();
    let config = host.path("config");
    let login = host.berth(["login", "-u", "u", "--password-stdin", &front.host()]);
    login.env("BERTH_CONFIG", &config).stdin("canary").run().ok();
    host.berth(["pull", "-q", &front.name()]).env("BERTH_CONFIG", &config).text();
    let followed = store.requests();
    assert!(followed.iter().any(|request| is_blob(request, &blob)), "the redirect was followed");
    assert!(followed.iter().all(|request| request.header("authorization").is_none()), "{followed:?}");
}

/// A pull with little patience, and settings of the registry's.
fn impatient(host: &Host, name: &str, entry: testkit::Value) -> testkit::Output {
    let server = name.split('/').next().unwrap();
    let settings = json!({
        "registries": { server: entry },
        "patience": { "attempts": 2, "connect_seconds": 2, "stall_seconds": 1 },
    });
    let path = host.path("registries.json");
    std::fs::write(&path, settings.to_string()).unwrap();
    let pull = host.berth(["pull", name]).env("BERTH_REGISTRIES", path);
    let output = pull.timeout(PATIENCE).run().code(1).stderr_has(&["berth: ", server]);
    assert_empty(host);
    output
}

#[test]
fn a_registry_that_never_answers_is_given_up() {
    let host = Host::new();
    // The kernel takes connections, and nobody reads them.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/app", listener.local_addr().unwrap());
    impatient(&host, &name, json!({ "http": true })).stderr_has(&["cannot pull"]);
    // Nor is there a handshake.
    impatient(&host, &name, json!({}));
    let silent = Repository::of(&noisy()).serve_changed(|_, _| Answer { status: 0, ..Answer::default() });
    impatient(&host, &silent.name(), json!({ "http": true })).stderr_has(&["cannot pull"]);
}

#[test]
fn a_registry_that_dribbles_is_given_up() {
    let host = Host::new();
    let (served, blob) = with_layer(|answer| Answer { drip: Some(Duration::from_millis(20)), ..answer });
    let output = impatient(&host, &served.name(), json!({}));
    output.stderr_has(&[&blob, "bytes in 1 seconds"]);
    // And one that falls silent in the middle.
    let (served, blob) = with_layer(|answer| match answer.status {
        200 => Answer { stall: Some((1000, Duration::from_secs(3))), ..answer },
        _ => Answer { stall: Some((0, Duration::from_secs(3))), ..answer },
    });
    impatient(&host, &served.name(), json!({})).stderr_has(&[&blob]);
}

#[test]
fn a_false_digest_in_the_head_is_refused() {
    let wrong = format!("sha256:{}", "ab".repeat(32));
    let said = wrong.clone();
    let served = Repository::of(&noisy()).serve_changed(move |request, mut answer| {
        if request.target.contains("/manifests/") {
            answer.headers.retain(|(name, _)| name != "docker-content-digest");
            return answer.with("docker-content-digest", &said);
        }
        answer
    });
    check(&served, &["its digest is", &wrong]);
}

#[test]
fn a_handshake_that_fails_is_told() {
    use testkit::registry::{Demands, Registry};
    let host = Host::new();
    let dir = host.path("registry");
    std::fs::create_dir(&dir).unwrap();
    let demands = Demands { tls: true, client_certificate: true, ..Demands::default() };
    let registry = Registry::start(&dir, demands);
    let name = format!("{}/app", registry.host());
    impatient(&host, &name, json!({ "ca": [registry.ca()] }))
        .stderr_has(&["client certificate", "client.key"]);
    // No TLS at all where there must be some.
    let plain = Repository::of(&noisy()).serve();
    let output = impatient(&host, &plain.name(), json!({ "ca": [registry.ca()] }));
    output.stderr_has(&["it does not speak TLS", "\"http\": true"]);
}
