//! What the tests of this crate share: an image, and clients that are quick to give up.
#![allow(dead_code, clippy::unwrap_used)]

use registry::{Client, Credentials, Login, Secret, Settings, Timing};
use std::time::Duration;
use testkit::http::{Answer, Server};
use testkit::json;
use types::digest::Digest;
use types::image::{Descriptor, media};
use types::reference::Reference;

/// Patience for tests: three attempts, hardly any wait.
pub fn settings() -> Settings {
    Settings::default().with_timing(Timing {
        attempts: 3,
        backoff: Duration::from_millis(5),
        wait_max: Duration::from_secs(2),
        connect: Duration::from_secs(5),
        stall: Duration::from_millis(400),
        finish: Duration::from_secs(5),
    })
}

pub fn client() -> Client {
    Client::new(settings(), Credentials::none())
}

pub fn client_as(host: &str, user: &str, password: &str) -> Client {
    Client::new(settings(), Credentials::none().with(host, login(user, password)))
}

pub fn login(user: &str, password: &str) -> Login {
    Login::Password { user: user.into(), password: Secret::new(password) }
}

/// The tag `t` of the repository `r` at `host`.
pub fn reference(host: &str) -> Reference {
    Reference::parse(&format!("{host}/r:t")).unwrap()
}

pub fn descriptor_of(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media::OCI_LAYER, Digest::of(bytes), bytes.len() as u64)
}

/// Bytes that differ everywhere.
pub fn content(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(step).collect()
}

pub fn manifest() -> Vec<u8> {
    let config = json!({"mediaType": media::OCI_CONFIG, "digest": Digest::of(b"{}").as_str(), "size": 2});
    json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": []})
        .to_string()
        .into_bytes()
}

pub fn index_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let entry = |(architecture, bytes): &(&str, &[u8])| {
        json!({"mediaType": media::OCI_MANIFEST, "digest": Digest::of(bytes).as_str(), "size": bytes.len(),
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": entries}).to_string().into_bytes()
}

/// A server's answer with a manifest.
pub fn manifest_answer(bytes: &[u8], media_type: &str) -> Answer {
    Answer::new(200, bytes).with("content-type", media_type)
}

/// A server that answers everything alike.
pub fn always(answer: Answer) -> Server {
    Server::start(move |_| answer.clone())
}

/// The `Authorization` headers that `server` saw.
pub fn proofs(server: &Server) -> Vec<String> {
    server
        .requests()
        .iter()
        .filter_map(|request| request.header("authorization").map(str::to_owned))
        .collect()
}
