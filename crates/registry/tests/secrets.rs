//! Who is told a password or a token, and who isn't (security.md T8). A canary is searched for in everything that the wrong
//! servers were sent.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use registry::{Client, Credentials, Error, Login, RegistrySettings, Secret};
use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::http::{Answer, Request, Server};
use types::image::{Platform, media};

const PASSWORD: &str = "canary-password";
/// `u:canary-password` in base64.
const BASIC: &str = "Basic dTpjYW5hcnktcGFzc3dvcmQ=";

fn platform() -> Platform {
    Platform::linux("amd64", "")
}

/// A token server that makes `token-N`.
fn token_server() -> Server {
    let count = AtomicU32::new(0);
    Server::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Answer::new(200, format!(r#"{{"token": "token-{number}", "expires_in": 300}}"#))
    })
}

/// A registry that wants a token of `realm`, and takes those that `is_good` likes.
fn registry(realm: String, is_good: fn(&str) -> bool) -> Server {
    let bytes = manifest();
    Server::start(move |request| match request.header("authorization") {
        Some(proof) if is_good(proof) => manifest_answer(&bytes, media::OCI_MANIFEST),
        _ => Answer::new(
            401,
            r#"{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}"#,
        )
        .with(
            "www-authenticate",
            format!(r#"Bearer realm="{realm}",service="s v",scope="repository:r:pull""#),
        ),
    })
}

fn leaks(server: &Server) -> bool {
    let is_leak = |request: &Request| {
        let all = format!("{request:?} {}", String::from_utf8_lossy(&request.body));
        request.header("authorization").is_some() || all.contains("canary") || all.contains(&BASIC[6..])
    };
    server.requests().iter().any(is_leak)
}

#[test]
fn an_anonymous_token_is_fetched_once_and_kept() {
    let tokens = token_server();
    let server = registry(format!("http://{}/token?a=b", tokens.host()), |proof| proof == "Bearer token-0");
    let client = client();
    for _ in 0..3 {
        client.resolve(&reference(&server.host()), &platform()).unwrap();
    }
    let asked = tokens.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, "/token?a=b&service=s%20v&scope=repository%3Ar%3Apull");
    assert_eq!((server.requests().len(), proofs(&server).len()), (4, 3));
}

#[test]
fn a_token_that_ran_out_is_replaced_once() {
    let tokens = token_server();
    let realm = format!("http://{}/", tokens.host());
    let (bytes, count) = (manifest(), AtomicU32::new(0));
    let server = Server::start(move |request| {
        let good = format!("Bearer token-{}", count.load(Ordering::SeqCst) / 2);
        if request.header("authorization") == Some(&good) {
            count.fetch_add(1, Ordering::SeqCst);
            return manifest_answer(&bytes, media::OCI_MANIFEST);
        }
        Answer::new(401, "")
            .with("www-authenticate", format!(r#"Bearer realm="{realm}",error="invalid_token""#))
    });
    let client = client();
    for _ in 0..4 {
        client.resolve(&reference(&server.host()), &platform()).unwrap();
    }
    assert_eq!(tokens.requests().len(), 2);

    let never = registry(format!("http://{}/", tokens.host()), |_| false);
    let error = client.resolve(&reference(&never.host()), &platform()).unwrap_err();
    assert!(matches!(error, Error::PullDenied { .. }), "{error}");
    assert!(never.requests().len() <= 3);
}

#[test]
fn a_password_buys_tokens_at_the_registrys_own_server() {
    let tokens = token_server();
    let server =
        registry(format!("http://{}/token", tokens.host()), |proof| proof.starts_with("Bearer token-"));
    client_as(&server.host(), "u", PASSWORD).resolve(&reference(&server.host()), &platform()).unwrap();
    let asked = tokens.requests();
    assert_eq!(asked[0].header("authorization"), Some(BASIC));
    assert!(asked[0].target.contains("account=u") && !asked[0].target.contains("canary"));
    assert!(proofs(&server).iter().all(|proof| proof.starts_with("Bearer ")));
}

#[test]
fn an_identity_token_is_posted() {
    let tokens = token_server();
    let server = registry(format!("http://{}/token", tokens.host()), |proof| proof == "Bearer token-0");
    let login = Login::Identity { user: String::new(), token: Secret::new("refresh+me") };
    let client = Client::new(settings(), Credentials::none().with(&server.host(), login));
    client.resolve(&reference(&server.host()), &platform()).unwrap();
    let asked = &tokens.requests()[0];
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str(), asked.header("authorization")),
        ("POST", "/token", None)
    );
    assert_eq!(
        String::from_utf8_lossy(&asked.body),
        "grant_type=refresh_token&client_id=berth&refresh_token=refresh%2Bme&service=s%20v&scope=repository%3Ar%3Apull"
    );
}

#[test]
fn basic_is_sent_only_when_asked_for() {
    let bytes = manifest();
    let server = Server::start(move |request| match request.header("authorization") {
        Some(BASIC) => manifest_answer(&bytes, media::OCI_MANIFEST),
        _ => Answer::new(401, "").with("www-authenticate", r#"Basic realm="x""#),
    });
    let client = client_as(&server.host(), "u", PASSWORD);
    client.resolve(&reference(&server.host()), &platform()).unwrap();
    client.resolve(&reference(&server.host()), &platform()).unwrap();
    let seen: Vec<_> =
        server.requests().iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(seen, [false, true, true]);
    let error =
        client_as(&server.host(), "u", "wrong").resolve(&reference(&server.host()), &platform()).unwrap_err();
    assert!(matches!(error, Error::PullDenied { .. }), "{error}");
    assert!(!format!("{client:?}").contains("canary"));
}

/// CVE-2020-15157, CVE-2019-10214, CVE-2024-3727: credentials don't follow to where the registry points.
#[test]
fn a_foreign_token_server_gets_no_password() {
    // The same machine by another name: another host, as far as names tell.
    let tokens = token_server();
    let foreign = tokens.host().replace("127.0.0.1", "localhost");
    let server = registry(format!("http://{foreign}/token"), |proof| proof.starts_with("Bearer token-"));
    let error = client_as(&server.host(), "u", PASSWORD)
        .resolve(&reference(&server.host()), &platform())
        .unwrap_err();
    assert!(matches!(&error, Error::ForeignRealm { realm, .. } if *realm == foreign), "{error}");
    assert!(error.hint().unwrap().contains("\"realms\""));
    assert_eq!(tokens.requests().len(), 0);
    // Without a password there is nothing to steal.
    client().resolve(&reference(&server.host()), &platform()).unwrap();
    // Named in the settings it is trusted.
    let entry = RegistrySettings { realms: vec![foreign], ..RegistrySettings::default() };
    let credentials = Credentials::none().with(&server.host(), login("u", PASSWORD));
    let client = Client::new(settings().with(&server.host(), entry), credentials);
    client.resolve(&reference(&server.host()), &platform()).unwrap();
    assert_eq!(tokens.requests().last().unwrap().header("authorization"), Some(BASIC));
}

/// CVE-2021-41092's and CVE-2022-23538's class.
#[test]
fn redirects_lose_every_proof() {
    for challenge in [r#"Basic realm="x""#, "bearer"] {
        let tokens = token_server();
        let challenge = challenge.replace("bearer", &format!(r#"Bearer realm="http://{}/""#, tokens.host()));
        let bytes = content(1000);
        let other = always(Answer::new(200, bytes.clone()));
        let location = format!("http://{}/elsewhere", other.host());
        let server = Server::start(move |request| match request.header("authorization") {
            Some(_) => Answer::new(302, "").with("location", &location),
            None => Answer::new(401, "").with("www-authenticate", &challenge),
        });
        let client = client_as(&server.host(), "u", PASSWORD);
        let reference = reference(&server.host());
        let mut found = Vec::new();
        client.blob(reference.repository(), &descriptor_of(&bytes)).unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(found, bytes);
        assert_eq!(other.requests().len(), 1);
        assert!(!leaks(&other), "{:?}", other.requests());
    }
}

#[test]
fn a_store_that_asks_for_a_password_gets_none() {
    let greedy = always(Answer::new(401, "").with("www-authenticate", r#"Basic realm="x""#));
    let location = format!("http://{}/", greedy.host());
    let server = always(Answer::new(307, "").with("location", location));
    let credentials = Credentials::none()
        .with(&server.host(), login("u", PASSWORD))
        .with(&greedy.host(), login("u", PASSWORD));
    let client = Client::new(settings(), credentials);
    let error = client.resolve(&reference(&server.host()), &platform()).unwrap_err();
    assert!(matches!(error, Error::PullDenied { .. }), "{error}");
    assert!(!leaks(&greedy));
}

#[test]
fn mirrors_get_their_own_credentials_only() {
    let mirror = always(Answer::new(401, "").with("www-authenticate", r#"Basic realm="x""#));
    let bytes = manifest();
    let server = always(manifest_answer(&bytes, media::OCI_MANIFEST));
    let entry = RegistrySettings { mirrors: vec![format!("http://{}", mirror.host())], ..Default::default() };
    let credentials = Credentials::none().with(&server.host(), login("u", PASSWORD));
    let client = Client::new(settings().with(&server.host(), entry), credentials);
    client.resolve(&reference(&server.host()), &platform()).unwrap();
    assert_eq!(mirror.requests().len(), 1);
    assert!(!leaks(&mirror));
}

#[test]
fn redirects_end() {
    let server = Server::start(|request| {
        let next = format!("{}x", request.target);
        Answer::new(302, "").with("location", next)
    });
    let error = client().resolve(&reference(&server.host()), &platform()).unwrap_err();
    assert!(error.to_string().contains("redirects more than 5 times"), "{error}");
    assert_eq!(server.requests().len(), 6);
    for bad in ["ftp://a.io/", "http://u:p@a.io/", "http://a b/", ""] {
        let server = always(Answer::new(302, "").with("location", bad));
        let result = client().resolve(&reference(&server.host()), &platform());
        assert!(result.is_err(), "{bad}");
    }
    let nowhere = always(Answer::new(302, ""));
    let error = client().resolve(&reference(&nowhere.host()), &platform()).unwrap_err();
    assert!(error.to_string().contains("redirects to nowhere"), "{error}");
}

/// CVE-2025-6032's class: what isn't on this machine is never spoken to in the clear, whoever asks for it.
#[test]
fn plain_http_stays_on_this_machine() {
    let server = always(Answer::new(302, "").with("location", "http://192.0.2.1/x"));
    let error = client().resolve(&reference(&server.host()), &platform()).unwrap_err();
    assert!(matches!(&error, Error::Plaintext { host } if host == "192.0.2.1"), "{error}");
    let realm = registry("http://192.0.2.1/token".into(), |_| true);
    let error = client().resolve(&reference(&realm.host()), &platform()).unwrap_err();
    assert!(matches!(&error, Error::Plaintext { host } if host == "192.0.2.1"), "{error}");
}

#[test]
fn a_token_server_that_misbehaves_is_an_error() {
    let check = |answer: Answer, expected: &str| {
        let tokens = always(answer);
        let server = registry(format!("http://{}/", tokens.host()), |_| true);
        let error = client_as(&server.host(), "u", PASSWORD)
            .resolve(&reference(&server.host()), &platform())
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("canary"));
    };
    check(
        Answer::new(401, r#"{"details": "incorrect username or password"}"#),
        "unauthorized: incorrect username",
    );
    check(Answer::new(200, "{}"), "without a token");
    check(Answer::new(200, r#"{"token": "a\r\nX: y"}"#), "without a token");
    check(Answer::new(200, "<html>"), "something else than a token");
    check(Answer::new(200, vec![b' '; 1 << 20]), "answered with more than");
    check(Answer::new(302, "").with("location", "http://localhost/"), "answered 302");
    check(Answer::new(500, ""), "answered 500");
}

#[test]
fn a_missing_helper_matters_only_where_a_password_is_needed() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(home.path().join(".docker")).unwrap();
    std::fs::write(home.path().join(".docker/config.json"), r#"{"credsStore": "no-such-helper"}"#).unwrap();
    let text = home.path().display().to_string();
    let credentials = || Credentials::of_caller(&|name: &str| (name == "HOME").then(|| text.clone()));
    let tokens = token_server();
    let open = registry(format!("http://{}/token", tokens.host()), |proof| proof == "Bearer token-0");
    Client::new(settings(), credentials()).resolve(&reference(&open.host()), &platform()).unwrap();
    let closed = registry(format!("http://{}/token", tokens.host()), |_| false);
    let error =
        Client::new(settings(), credentials()).resolve(&reference(&closed.host()), &platform()).unwrap_err();
    assert!(error.to_string().ends_with("docker-credential-no-such-helper: it is not installed"), "{error}");
}
