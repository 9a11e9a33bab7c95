//! Against Debian's docker-registry, which is distribution's own: plain, with a password, with TLS.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use registry::{Client, Credentials, Error, Kept, Pushed, RegistrySettings, Secret, Settings};
use std::io::{self, Cursor, Read};
use std::path::Path;
use testkit::json;
use testkit::registry::{Demands, LOGIN, Registry};
use types::digest::Digest;
use types::image::{Descriptor, Platform, media};
use types::reference::{Reference, Repository};

fn push(client: &Client, repository: &Repository, bytes: &[u8], elsewhere: &[Repository]) -> Pushed {
    let mut open = |offset: u64| -> io::Result<Box<dyn Read>> {
        Ok(Box::new(Cursor::new(bytes[offset as usize..].to_vec())))
    };
    client.push_blob(repository, &descriptor_of(bytes), elsewhere, &mut open).unwrap()
}

/// Pushes an image of one layer and two tags; its manifest.
fn push_image(client: &Client, host: &str, layer: &[u8]) -> Vec<u8> {
    let repository = Repository::parse(&format!("{host}/a/b")).unwrap();
    let config = br#"{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}"#;
    push(client, &repository, layer, &[]);
    push(client, &repository, config, &[]);
    let entry = |kind: &str, bytes: &[u8]| {
        serde_json::to_value(Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64)).unwrap()
    };
    let document = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": entry(media::OCI_CONFIG, config), "layers": [entry(media::OCI_LAYER, layer)]});
    let bytes = document.to_string().into_bytes();
    for tag in ["one", "two"] {
        let reference = Reference::parse(&format!("{repository}:{tag}")).unwrap();
        assert_eq!(
            client.push_manifest(&reference, media::OCI_MANIFEST, &bytes).unwrap(),
            Digest::of(&bytes)
        );
    }
    bytes
}

/// What was pushed comes back, byte for byte.
fn check_image(client: &Client, host: &str, manifest: &[u8], layer: &[u8]) {
    let reference = Reference::parse(&format!("{host}/a/b:two")).unwrap();
    let found = client.resolve(&reference, &Platform::linux("amd64", "")).unwrap();
    assert_eq!(found.manifest.bytes, manifest);
    assert_eq!(client.head(&reference).unwrap().unwrap(), *found.top());
    let mut bytes = Vec::new();
    let descriptor = &found.manifest.document.layers[0];
    client.blob(reference.repository(), descriptor).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes == layer, "the layer has changed");
    assert_eq!(client.tags(reference.repository()).unwrap(), ["one", "two"]);
}

#[test]
fn an_image_is_pushed_and_pulled() {
    let dir = tempfile::tempdir().unwrap();
    let server = Registry::start(dir.path(), Demands::default());
    let (client, layer) = (client(), content(5_000_000));
    let manifest = push_image(&client, &server.host(), &layer);
    check_image(&client, &server.host(), &manifest, &layer);

    let other = Repository::parse(&format!("{}/other", server.host())).unwrap();
    let first = Repository::parse(&format!("{}/a/b", server.host())).unwrap();
    let mounted = push(&client, &other, &layer, std::slice::from_ref(&first));
    assert_eq!(mounted, Pushed::Mounted(first.clone()));
    assert_eq!(push(&client, &other, &layer, &[first]), Pushed::Existed);

    let missing = Reference::parse(&format!("{}/a/b:three", server.host())).unwrap();
    let error = client.document(&missing).unwrap_err();
    assert_eq!(error.to_string(), format!("manifest for {missing} not found: manifest unknown"));
    let error = client.blob(&other, &descriptor_of(b"nothing")).unwrap_err();
    assert!(matches!(error, Error::BlobUnknown { .. }), "{error}");
    let index = index_of(&[("amd64", &manifest)]);
    let both = Reference::parse(&format!("{}/a/b:index", server.host())).unwrap();
    assert_eq!(client.push_manifest(&both, media::OCI_INDEX, &index).unwrap(), Digest::of(&index));
    let found = client.resolve(&both, &Platform::linux("amd64", "")).unwrap();
    assert_eq!((found.index.unwrap().bytes, found.manifest.bytes), (index, manifest));
}

/// distribution 2.8 forgets a session whose request broke off, so that it is begun anew; `push.rs` has one that doesn't.
#[test]
fn an_upload_whose_wire_is_cut_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let server = Registry::start(dir.path(), Demands::default());
    let relay = testkit::relay::Relay::cut_after(&server.host(), 3_000_000);
    let (client, layer) = (client(), content(5_000_000));
    let repository = Repository::parse(&format!("{}/a/b", relay.host())).unwrap();
    let mut begun = Vec::new();
    let mut open = |offset: u64| -> io::Result<Box<dyn Read>> {
        begun.push(offset);
        Ok(Box::new(Cursor::new(layer[offset as usize..].to_vec())))
    };
    let pushed = client.push_blob(&repository, &descriptor_of(&layer), &[], &mut open).unwrap();
    assert_eq!((pushed, relay.cuts()), (Pushed::Uploaded, 1));
    assert!(begun.len() == 2 && begun[0] == 0, "{begun:?}");
    let mut bytes = Vec::new();
    client.blob(&repository, &descriptor_of(&layer)).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes == layer, "the layer has changed");
}

#[test]
fn a_blob_that_is_read_from_the_middle_comes_by_range() {
    let dir = tempfile::tempdir().unwrap();
    let server = Registry::start(dir.path(), Demands::default());
    let (client, layer) = (client(), content(3_000_000));
    push_image(&client, &server.host(), &layer);
    // A server between the two that breaks each answer after a megabyte.
    let behind = server.host();
    let relay = testkit::http::Server::start(move |request| {
        let range = request.header("range").map(|range| format!("Range: {range}\r\n")).unwrap_or_default();
        let (status, headers, body) = fetch(&behind, &request.target, &range);
        let mut answer = testkit::http::Answer::new(status, body).cut_at(1_000_000);
        answer.headers = headers;
        answer
    });
    let repository = Repository::parse(&format!("{}/a/b", relay.host())).unwrap();
    let mut bytes = Vec::new();
    client.blob(&repository, &descriptor_of(&layer)).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes == layer, "the layer has changed");
    let starts: Vec<_> = relay.requests().iter().map(|request| request.range_start()).collect();
    assert_eq!(starts, [None, Some(1_000_000), Some(2_000_000)]);
}

/// A request as simple as they come.
fn fetch(host: &str, target: &str, headers: &str) -> (u16, Vec<(String, String)>, Vec<u8>) {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let wanted = |name: &str| {
        name.eq_ignore_ascii_case("content-range") || name.eq_ignore_ascii_case("content-length")
    };
    let headers = head.lines().filter_map(|line| line.split_once(": ")).filter(|(name, _)| wanted(name));
    (status, headers.map(|(name, value)| (name.into(), value.into())).collect(), answer[end + 4..].to_vec())
}

#[test]
fn a_password_is_needed_and_can_be_kept() {
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Registry::start(dir.path(), Demands { password: true, ..Demands::default() });
    let host = server.host();
    let layer = content(400_000);
    let reference = Reference::parse(&format!("{host}/a/b:one")).unwrap();
    let error = client().document(&reference).unwrap_err();
    assert!(matches!(error, Error::PullDenied { .. }), "{error}");
    let client = client_as(&host, LOGIN.0, LOGIN.1);
    let manifest = push_image(&client, &host, &layer);
    check_image(&client, &host, &manifest, &layer);

    let home_text = home.path().display().to_string();
    let environment = |name: &str| (name == "HOME").then(|| home_text.clone());
    let credentials = Credentials::of_caller(&environment);
    let wrong = credentials.login(settings(), &host, LOGIN.0, Secret::new("wrong")).unwrap_err();
    assert!(matches!(wrong, Error::Unauthorized { .. }), "{wrong}");
    assert!(wrong.to_string().starts_with(&format!("{host}: unauthorized")), "{wrong}");
    assert!(!home.path().join(".docker").exists());
    let kept = credentials.login(settings(), &host, LOGIN.0, Secret::new(LOGIN.1)).unwrap();
    assert_eq!(kept, Kept::File(home.path().join(".docker/config.json")));
    check_image(&Client::new(settings(), Credentials::of_caller(&environment)), &host, &manifest, &layer);
    assert!(credentials.logout(&host).unwrap());
    let client = Client::new(settings(), Credentials::of_caller(&environment));
    assert!(matches!(client.document(&reference).unwrap_err(), Error::PullDenied { .. }));
}

fn with_ca(host: &str, entry: RegistrySettings) -> Settings {
    settings().with(host, entry)
}

#[test]
fn tls_is_verified_by_the_issuer_that_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let server = Registry::start(dir.path(), Demands { tls: true, password: true, ..Demands::default() });
    let host = server.host();
    let credentials = || Credentials::none().with(&host, login(LOGIN.0, LOGIN.1));
    let ca = |path: &Path| RegistrySettings { ca: vec![path.into()], ..RegistrySettings::default() };
    let client = Client::new(with_ca(&host, ca(&server.ca())), credentials());
    let layer = content(400_000);
    let manifest = push_image(&client, &host, &layer);
    check_image(&client, &host, &manifest, &layer);

    // As docker has it: a directory called as the registry.
    let certs = tempfile::tempdir().unwrap();
    std::fs::create_dir(certs.path().join(&host)).unwrap();
    std::fs::copy(server.ca(), certs.path().join(&host).join("ca.crt")).unwrap();
    let client = Client::new(settings().with_certs_dirs(vec![certs.path().into()]), credentials());
    check_image(&client, &host, &manifest, &layer);

    // Another issuer of the same name is another.
    let other = tempfile::tempdir().unwrap();
    let stranger = Registry::start(other.path(), Demands { tls: true, ..Demands::default() });
    let client = Client::new(with_ca(&host, ca(&stranger.ca())), credentials());
    let reference = Reference::parse(&format!("{host}/a/b:one")).unwrap();
    let error = client.document(&reference).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("/etc/berth/certs.d/")), "{error}");

    // Without a word about it, loopback is trusted; a name that isn't one would not be.
    check_image(&Client::new(settings(), credentials()), &host, &manifest, &layer);
    let insecure = RegistrySettings { insecure: true, ..RegistrySettings::default() };
    check_image(&Client::new(with_ca(&host, insecure), credentials()), &host, &manifest, &layer);
    let broken = dir.path().join("log");
    let error = Client::new(
        with_ca(
            &host,
            RegistrySettings { cert: Some(broken.clone()), key: Some(broken), ..Default::default() },
        ),
        credentials(),
    );
    assert!(matches!(error.document(&reference), Err(Error::Certificate { .. })));
}

#[test]
fn a_client_certificate_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let server = Registry::start(dir.path(), Demands { client_certificate: true, ..Demands::default() });
    let host = server.host();
    let (cert, key) = server.client_certificate();
    let entry = RegistrySettings {
        ca: vec![server.ca()],
        cert: Some(cert.clone()),
        key: Some(key),
        ..RegistrySettings::default()
    };
    let client = Client::new(with_ca(&host, entry.clone()), Credentials::none());
    let layer = content(400_000);
    let manifest = push_image(&client, &host, &layer);
    check_image(&client, &host, &manifest, &layer);
    let without = RegistrySettings { cert: None, key: None, ..entry.clone() };
    let reference = Reference::parse(&format!("{host}/a/b:one")).unwrap();
    let error = Client::new(with_ca(&host, without), Credentials::none()).document(&reference).unwrap_err();
    assert!(matches!(error, Error::Tls { .. } | Error::Broken { .. }), "{error}");
    let error = common::client().document(&reference).unwrap_err();
    assert!(matches!(error, Error::Tls { .. } | Error::Broken { .. }), "{error}");
    // A certificate in the place of the key.
    let wrong = RegistrySettings { key: Some(cert), ..entry };
    let error = Client::new(with_ca(&host, wrong), Credentials::none()).document(&reference).unwrap_err();
    assert!(matches!(error, Error::Certificate { .. }), "{error}");
}
