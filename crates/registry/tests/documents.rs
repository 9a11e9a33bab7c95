//! Manifests and indexes from a server that may be hostile.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use registry::{Client, Credentials, Error, RegistrySettings};
use testkit::http::{Answer, Server};
use types::digest::Digest;
use types::image::{Document, Platform, media};
use types::reference::Reference;

fn amd64() -> Platform {
    Platform::linux("amd64", "")
}

#[test]
fn a_tag_gives_the_manifest_with_its_bytes() {
    let bytes = manifest();
    let server = always(manifest_answer(&bytes, media::OCI_MANIFEST));
    let found = client().resolve(&reference(&server.host()), &amd64()).unwrap();
    assert_eq!((found.index.is_none(), &found.manifest.bytes), (true, &bytes));
    assert_eq!(found.top().digest, Digest::of(&bytes));
    assert_eq!(
        (found.top().media_type.as_str(), found.top().size),
        (media::OCI_MANIFEST, bytes.len() as u64)
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].target, "/v2/r/manifests/t");
    let accept = requests[0].header("accept").unwrap();
    assert!(media::MANIFESTS.iter().all(|kind| accept.contains(kind)), "{accept}");
}

#[test]
fn an_index_gives_the_manifest_of_the_platform() {
    let (amd, mut arm) = (manifest(), manifest());
    arm.push(b'\n');
    let index = index_of(&[("amd64", &amd), ("arm64", &arm)]);
    let (top, chosen) = (index.clone(), arm.clone());
    let server = Server::start(move |request| match request.target.as_str() {
        "/v2/r/manifests/t" => manifest_answer(&top, media::OCI_INDEX),
        target if target.ends_with(Digest::of(&chosen).as_str()) => {
            manifest_answer(&chosen, media::OCI_MANIFEST)
        }
        _ => Answer::new(404, ""),
    });
    let reference = reference(&server.host());
    let found = client().resolve(&reference, &Platform::linux("arm64", "")).unwrap();
    assert_eq!(
        (found.index.as_ref().unwrap().bytes.as_slice(), found.manifest.bytes.as_slice()),
        (&index[..], &arm[..])
    );
    assert_eq!(found.top().digest, Digest::of(&index));
    let error = client().resolve(&reference, &Platform::linux("s390x", "")).unwrap_err();
    let host = server.host();
    assert_eq!(
        error.to_string(),
        format!("no matching manifest for linux/s390x in the manifest list entries of {host}/r:t")
    );
    assert_eq!(error.hint().unwrap(), "it is there for linux/amd64, linux/arm64");
    assert!(matches!(client().document(&reference).unwrap().document, Document::Index(_)));
}

/// CVE-2014-5282, CVE-2026-48769: what a digest names is that and nothing else.
#[test]
fn other_bytes_than_the_digests_are_refused() {
    let bytes = manifest();
    let server = always(manifest_answer(&bytes, media::OCI_MANIFEST));
    let reference = reference(&server.host());
    let right = reference.with_digest(Digest::of(&bytes));
    assert_eq!(client().resolve(&right, &amd64()).unwrap().manifest.bytes, bytes);
    assert!(server.requests().iter().all(|request| request.target.ends_with(Digest::of(&bytes).as_str())));
    let wrong = reference.with_digest(Digest::of(b"other"));
    assert!(matches!(client().resolve(&wrong, &amd64()).unwrap_err(), Error::WrongDigest { .. }));

    let lying = always(
        manifest_answer(&bytes, media::OCI_MANIFEST).with("docker-content-digest", Digest::of(b"other")),
    );
    let error = client().resolve(&common::reference(&lying.host()), &amd64()).unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");

    let index = index_of(&[("amd64", &bytes)]);
    let swapping = Server::start(move |request| match request.target.as_str() {
        "/v2/r/manifests/t" => manifest_answer(&index, media::OCI_INDEX),
        _ => manifest_answer(b"{}", media::OCI_MANIFEST),
    });
    let error = client().resolve(&common::reference(&swapping.host()), &amd64()).unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
}

#[test]
fn what_is_no_image_is_refused_by_name() {
    let check = |answer: Answer, expected: &str| {
        let server = always(answer);
        let error = client().resolve(&reference(&server.host()), &amd64()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let schema_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    check(manifest_answer(br#"{"schemaVersion": 1, "fsLayers": []}"#, schema_1), "docker's schema 1");
    check(manifest_answer(b"<html>", "text/html"), "is not valid: not a manifest");
    check(manifest_answer(&manifest(), media::OCI_INDEX), "its media type is");
    check(
        manifest_answer(&vec![b' '; 5 << 20], media::OCI_MANIFEST),
        "answered with more than 4194304 bytes",
    );
    let endless = Answer { chunked: true, ..manifest_answer(&vec![b' '; 5 << 20], media::OCI_MANIFEST) };
    check(endless, "answered with more than 4194304 bytes");
    check(manifest_answer(&manifest(), media::OCI_MANIFEST).cut_at(20), "broke off");
    // An index that contains itself can't be made; one that contains another can.
    let inner = index_of(&[]);
    let outer = String::from_utf8(index_of(&[("amd64", &inner)])).unwrap();
    let outer = outer.replace(media::OCI_MANIFEST, media::OCI_INDEX).into_bytes();
    let server = Server::start(move |request| match request.target.as_str() {
        "/v2/r/manifests/t" => manifest_answer(&outer, media::OCI_INDEX),
        _ => manifest_answer(&inner, media::OCI_INDEX),
    });
    let error = client().resolve(&reference(&server.host()), &amd64()).unwrap_err();
    assert!(error.to_string().contains("an index inside an index"), "{error}");
}

#[test]
fn refusals_are_told_in_dockers_words() {
    let check = |status: u16, code: &str, expected: &str| {
        let body = format!(r#"{{"errors": [{{"code": "{code}", "message": "what\u001b[31m it says"}}]}}"#);
        let server = always(Answer::new(status, body));
        let error = client().resolve(&reference(&server.host()), &amd64()).unwrap_err();
        let text = error.to_string().replace(&server.host(), "HOST");
        assert_eq!(text, expected);
    };
    check(404, "MANIFEST_UNKNOWN", "manifest for HOST/r:t not found: manifest unknown");
    check(404, "NAME_UNKNOWN", r"repository HOST/r not found: name unknown: what\u{1b}[31m it says");
    let denied = "pull access denied for HOST/r, repository does not exist or may require 'berth login': ";
    check(403, "DENIED", &format!(r"{denied}denied: what\u{{1b}}[31m it says"));
    check(401, "UNAUTHORIZED", &format!(r"{denied}unauthorized: what\u{{1b}}[31m it says"));
    check(418, "TEAPOT", r"cannot pull HOST/r:t: HOST answered 418: teapot: what\u{1b}[31m it says");
}

#[test]
fn nobody_there_is_told_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = client().resolve(&reference(&host), &amd64()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach registry {host}: connection refused"));
    let name = Reference::parse("no-such-host.invalid/r").unwrap();
    let error = client().resolve(&name, &amd64()).unwrap_err();
    assert!(error.to_string().contains("cannot look up no-such-host.invalid"), "{error}");
}

#[test]
fn a_head_tells_what_a_tag_is_now() {
    let bytes = manifest();
    let digest = Digest::of(&bytes);
    let server = always(manifest_answer(&bytes, media::OCI_MANIFEST).with("docker-content-digest", &digest));
    let found = client().head(&reference(&server.host())).unwrap().unwrap();
    assert_eq!(
        (found.digest, found.size, found.media_type.as_str()),
        (digest, bytes.len() as u64, media::OCI_MANIFEST)
    );
    assert_eq!(server.requests()[0].method, "HEAD");
    let silent = always(manifest_answer(&bytes, media::OCI_MANIFEST));
    assert_eq!(client().head(&reference(&silent.host())).unwrap(), None);
    let missing = always(Answer::new(404, ""));
    assert!(matches!(client().head(&reference(&missing.host())), Err(Error::ManifestUnknown { .. })));
}

/// Source: distribution-spec, Warnings; Pulling manifests (registries of older versions name no digest).
#[test]
fn warnings_and_headers_that_are_missing_change_nothing() {
    let bytes = manifest();
    let plain = manifest_answer(&bytes, media::OCI_MANIFEST);
    let warned = plain.clone().with("warning", r#"299 - "this registry ends; delete all your images""#);
    let coded = manifest_answer(&bytes, &format!("{}; charset=utf-8", media::OCI_MANIFEST));
    for answer in [plain.clone(), warned, coded] {
        let server = always(answer);
        let found = client().resolve(&reference(&server.host()), &amd64()).unwrap();
        assert_eq!(
            (found.manifest.descriptor.digest, found.manifest.bytes),
            (Digest::of(&bytes), bytes.clone())
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn throttling_is_waited_out_as_long_as_the_registry_says() {
    let count = std::sync::atomic::AtomicU32::new(0);
    let bytes = manifest();
    let server = Server::start(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Answer::new(429, "").with("retry-after", 1),
        1 => Answer::new(503, ""),
        _ => manifest_answer(&bytes, media::OCI_MANIFEST),
    });
    let start = std::time::Instant::now();
    client().resolve(&reference(&server.host()), &amd64()).unwrap();
    assert!(start.elapsed().as_secs_f64() >= 1.0);
    assert_eq!(server.requests().len(), 3);

    let busy = always(Answer::new(429, "").with("retry-after", 3600));
    let error = client().resolve(&reference(&busy.host()), &amd64()).unwrap_err();
    assert!(matches!(error, Error::Throttled { wait_seconds: Some(3600), .. }), "{error}");
    assert_eq!((busy.requests().len(), error.hint().unwrap().as_str()), (1, "try again in 3600 seconds"));
    let broken = always(Answer::new(500, ""));
    assert!(matches!(
        client().resolve(&reference(&broken.host()), &amd64()),
        Err(Error::Refused { status: 500, .. })
    ));
    assert_eq!(broken.requests().len(), 3);
}

#[test]
fn a_registry_that_says_nothing_is_given_up() {
    let silent = Server::start(|_| Answer { status: 0, ..Answer::default() });
    let error = client().resolve(&reference(&silent.host()), &amd64()).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
    assert_eq!(silent.requests().len(), 3);
    let large = always(Answer::new(200, "").with("x", "y".repeat(100_000)));
    let error = client().resolve(&reference(&large.host()), &amd64()).unwrap_err();
    assert!(error.to_string().contains("the head of its answer is too large"), "{error}");
}

#[test]
fn mirrors_are_asked_first_and_may_fail() {
    let bytes = manifest();
    let good = always(manifest_answer(&bytes, media::OCI_MANIFEST));
    let empty = always(Answer::new(404, ""));
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = refused.local_addr().unwrap().to_string();
    drop(refused);
    let with = |mirrors: &[String]| {
        let entry = RegistrySettings { mirrors: mirrors.to_vec(), ..RegistrySettings::default() };
        Client::new(settings().with("registry.invalid", entry), Credentials::none())
    };
    let reference = Reference::parse("registry.invalid/r:t").unwrap();
    let mirrors = [
        format!("http://{gone}"),
        format!("http://{}", empty.host()),
        format!("http://{}/proxy/hub", good.host()),
    ];
    let client = with(&mirrors);
    assert_eq!(client.resolve(&reference, &amd64()).unwrap().manifest.bytes, bytes);
    assert_eq!(good.requests()[0].target, "/v2/proxy/hub/r/manifests/t");
    let error = with(&mirrors[..2]).resolve(&reference, &amd64()).unwrap_err();
    assert!(error.to_string().contains("cannot look up registry.invalid"), "{error}");
}

#[test]
fn a_proxy_is_asked_to_connect() {
    let bytes = manifest();
    // After its own answer to CONNECT it plays the registry on the same connection.
    let proxy = Server::start(move |request| match request.method.as_str() {
        "CONNECT" => Answer::new(200, ""),
        _ => manifest_answer(&bytes, media::OCI_MANIFEST),
    });
    let address = format!("http://u:p@{}", proxy.host());
    let with = |none: &'static str| {
        let environment = |name: &str| match name {
            "HTTP_PROXY" => Some(address.clone()),
            "NO_PROXY" => Some(none.to_owned()),
            _ => None,
        };
        let plain = RegistrySettings { http: true, ..RegistrySettings::default() };
        let settings = registry::Settings::load(&environment).unwrap().with("registry.invalid", plain);
        Client::new(
            settings.with_timing(registry::Timing { attempts: 1, ..registry::Timing::default() }),
            Credentials::none(),
        )
    };
    let reference = Reference::parse("registry.invalid/r:t").unwrap();
    with("").resolve(&reference, &amd64()).unwrap();
    let asked = proxy.requests();
    assert_eq!((asked[0].method.as_str(), asked[0].target.as_str()), ("CONNECT", "registry.invalid:80"));
    assert_eq!(asked[0].header("proxy-authorization"), Some("Basic dTpw"));
    assert_eq!(asked[1].target, "/v2/r/manifests/t");
    let error = with("invalid").resolve(&reference, &amd64()).unwrap_err();
    assert!(error.to_string().contains("cannot look up registry.invalid"), "{error}");
}
