//! Pushing to a registry that forgets, takes parts and points elsewhere.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use registry::{Client, Error, Pushed};
use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex};
use testkit::http::{Answer, Request, Server};
use types::digest::Digest;
use types::image::media;
use types::reference::{Reference, Repository};

/// Large enough to be sent in sessions.
const LARGE: usize = 600_000;

/// A registry in memory, with uploads as the specification has them.
#[derive(Default)]
struct Store {
    blobs: HashMap<String, Vec<u8>>,
    sessions: HashMap<String, Vec<u8>>,
}

impl Store {
    fn answer(&mut self, request: &Request) -> Answer {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let digest =
            query.split('&').find_map(|pair| pair.strip_prefix("digest=")).map(|d| d.replace("%3A", ":"));
        let session = path.rsplit('/').next().unwrap_or_default().to_owned();
        match request.method.as_str() {
            "HEAD" if self.blobs.contains_key(&session) => Answer::new(200, ""),
            "POST" => {
                let name = format!("s{}", self.sessions.len());
                self.sessions.insert(name.clone(), Vec::new());
                self.accepted(202, &name)
            }
            "PATCH" => {
                let Some(bytes) = self.sessions.get_mut(&session) else { return Answer::new(404, "") };
                let start = request
                    .header("content-range")
                    .map_or(0, |range| range.split('-').next().unwrap().parse().unwrap());
                if start != bytes.len() {
                    return Answer::new(416, "");
                }
                bytes.extend(&request.body);
                self.accepted(202, &session)
            }
            "GET" if self.sessions.contains_key(&session) => self.accepted(204, &session),
            "PUT" => {
                let Some(mut bytes) = self.sessions.remove(&session) else { return Answer::new(404, "") };
                bytes.extend(&request.body);
                let digest = digest.unwrap();
                if Digest::of(&bytes).as_str() != digest {
                    return Answer::new(400, r#"{"errors": [{"code": "DIGEST_INVALID"}]}"#);
                }
                self.blobs.insert(digest.clone(), bytes);
                Answer::new(201, "").with("docker-content-digest", digest)
            }
            _ => Answer::new(404, ""),
        }
    }

    fn accepted(&self, status: u16, session: &str) -> Answer {
        let length = self.sessions[session].len();
        let range = format!("0-{}", length.saturating_sub(1));
        Answer::new(status, "")
            .with("location", format!("/v2/r/blobs/uploads/{session}"))
            .with("range", range)
    }
}

/// A registry that answers by the specification, except where `rude` knows better.
fn registry(
    rude: impl Fn(&Request, &mut Store) -> Option<Answer> + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Store>>) {
    let store = Arc::new(Mutex::new(Store::default()));
    let shared = Arc::clone(&store);
    let server = Server::start(move |request| {
        let mut store = shared.lock().unwrap();
        rude(request, &mut store).unwrap_or_else(|| store.answer(request))
    });
    (server, store)
}

fn push(client: &Client, host: &str, bytes: &[u8]) -> Result<Pushed, Error> {
    push_from(client, host, bytes, &[])
}

fn push_from(client: &Client, host: &str, bytes: &[u8], elsewhere: &[Repository]) -> Result<Pushed, Error> {
    let own = bytes.to_vec();
    let mut open = move |offset: u64| -> io::Result<Box<dyn Read>> {
        Ok(Box::new(Cursor::new(own[offset as usize..].to_vec())))
    };
    client.push_blob(reference(host).repository(), &descriptor_of(bytes), elsewhere, &mut open)
}

fn methods(server: &Server) -> Vec<String> {
    server.requests().iter().map(|request| request.method.clone()).collect()
}

#[test]
fn blobs_are_sent_once() {
    for (length, expected) in [(0, "POST PUT"), (1000, "POST PUT"), (LARGE, "POST PATCH PUT")] {
        let bytes = content(length);
        let (server, store) = registry(|_, _| None);
        let client = client();
        assert_eq!(push(&client, &server.host(), &bytes).unwrap(), Pushed::Uploaded);
        assert_eq!(store.lock().unwrap().blobs[Digest::of(&bytes).as_str()], bytes);
        assert_eq!(push(&client, &server.host(), &bytes).unwrap(), Pushed::Existed);
        assert_eq!(methods(&server).join(" "), format!("HEAD {expected} HEAD"));
        // A session is begun without a body, which is said, and closed with the digest of the whole.
        let requests = server.requests();
        assert_eq!(requests[1].header("content-length"), Some("0"));
        // What is sent has its length and no type of its own.
        let sent =
            requests.iter().find(|request| request.method == expected.split(' ').nth(1).unwrap()).unwrap();
        assert_eq!(sent.header("content-length"), Some(length.to_string().as_str()));
        if length > 0 {
            assert_eq!(sent.header("content-type"), Some("application/octet-stream"));
        }
        let (put, head) = (&requests[requests.len() - 2], Digest::of(&bytes).as_str().replace(':', "%3A"));
        assert!(put.target.ends_with(&format!("?digest={head}")), "{}", put.target);
        assert!(client.has_blob(reference(&server.host()).repository(), &Digest::of(&bytes)).unwrap());
        assert!(!client.has_blob(reference(&server.host()).repository(), &Digest::of(b"other")).unwrap());
    }
}

#[test]
fn an_upload_goes_on_where_it_broke() {
    let bytes = content(LARGE);
    let (server, store) = registry(|request, store| {
        let is_first = request.method == "PATCH" && request.header("content-range").is_none();
        is_first.then(|| {
            store.sessions.get_mut("s0").unwrap().extend(&request.body[..123_456]);
            Answer { status: 0, ..Answer::default() }
        })
    });
    assert_eq!(push(&client(), &server.host(), &bytes).unwrap(), Pushed::Uploaded);
    assert_eq!(store.lock().unwrap().blobs[Digest::of(&bytes).as_str()], bytes);
    assert_eq!(methods(&server).join(" "), "HEAD POST PATCH GET PATCH PUT");
    let resumed = server.requests()[4].clone();
    assert_eq!(resumed.header("content-range").unwrap(), format!("123456-{}", LARGE - 1));
    assert_eq!(resumed.body.len(), LARGE - 123_456);
}

#[test]
fn a_registry_that_takes_a_part_gets_the_rest() {
    let bytes = content(LARGE);
    let (server, store) = registry(|request, store| {
        let part = 250_000;
        (request.method == "PATCH" && request.body.len() > part).then(|| {
            let session = request.target.rsplit('/').next().unwrap().to_owned();
            store.sessions.get_mut(&session).unwrap().extend(&request.body[..part]);
            store.accepted(202, &session)
        })
    });
    push(&client(), &server.host(), &bytes).unwrap();
    assert_eq!(store.lock().unwrap().blobs[Digest::of(&bytes).as_str()], bytes);
}

#[test]
fn a_forgotten_session_is_begun_anew() {
    let bytes = content(LARGE);
    let (server, store) = registry(|request, store| {
        (request.method == "PATCH" && request.target.ends_with("/s0")).then(|| {
            store.sessions.remove("s0");
            store.sessions.insert("gone".into(), Vec::new());
            Answer::new(404, r#"{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}"#)
        })
    });
    push(&client(), &server.host(), &bytes).unwrap();
    assert_eq!(store.lock().unwrap().blobs[Digest::of(&bytes).as_str()], bytes);
    assert_eq!(methods(&server).join(" "), "HEAD POST PATCH GET POST PATCH PUT");
    let (never, _) = registry(|request, _| (request.method == "PATCH").then(|| Answer::new(503, "")));
    let error = push(&client(), &never.host(), &bytes).unwrap_err();
    assert!(matches!(error, Error::Refused { status: 503, .. }), "{error}");
    assert_eq!(methods(&never).iter().filter(|method| *method == "PATCH").count(), 3);
}

#[test]
fn a_blob_of_a_neighbour_is_mounted() {
    let bytes = content(LARGE);
    let (server, _) = registry(|request, _| {
        request
            .target
            .contains("from=good%2Fbase")
            .then(|| Answer::new(201, "").with("location", "/v2/r/blobs/x"))
    });
    let at = |path: &str| Repository::parse(&format!("{}/{path}", server.host())).unwrap();
    let elsewhere =
        [Repository::parse("other.io/x").unwrap(), at("r"), at("bad"), at("good/base"), at("unasked")];
    assert_eq!(
        push_from(&client(), &server.host(), &bytes, &elsewhere).unwrap(),
        Pushed::Mounted(at("good/base"))
    );
    let asked: Vec<_> = server.requests().iter().skip(1).map(|request| request.target.clone()).collect();
    assert_eq!(asked.len(), 2);
    assert!(
        asked[0].contains(&format!("mount={}&from=bad", Digest::of(&bytes).as_str().replace(':', "%3A")))
    );
    // Without a mount the session that the registry opened is used.
    let (server, _) = registry(|_, _| None);
    let elsewhere = [Repository::parse(&format!("{}/bad", server.host())).unwrap()];
    assert_eq!(push_from(&client(), &server.host(), &bytes, &elsewhere).unwrap(), Pushed::Uploaded);
    assert_eq!(methods(&server).join(" "), "HEAD POST PATCH PUT");
}

/// CVE-2026-33540's class: the place of an upload gets the bytes and no proof.
#[test]
fn an_upload_elsewhere_gets_no_proof() {
    let bytes = content(LARGE);
    let (elsewhere, _) = registry(|request, _| match request.method.as_str() {
        "PATCH" => Some(Answer::new(202, "").with("location", "/next")),
        _ => Some(Answer::new(201, "")),
    });
    let location = format!("http://{}/put?key=x", elsewhere.host());
    let (server, _) =
        registry(move |request, _| match (request.header("authorization"), request.method.as_str()) {
            (None, _) => Some(Answer::new(401, "").with("www-authenticate", r#"Basic realm="x""#)),
            (Some(_), "POST") => Some(Answer::new(202, "").with("location", &location)),
            _ => None,
        });
    let client = client_as(&server.host(), "u", "canary-password");
    assert_eq!(push(&client, &server.host(), &bytes).unwrap(), Pushed::Uploaded);
    assert_eq!(methods(&elsewhere).join(" "), "PATCH PUT");
    assert!(!format!("{:?}", elsewhere.requests()).contains("authorization"));
    assert!(server.requests().iter().skip(1).all(|request| request.header("authorization").is_some()));
}

#[test]
fn a_token_that_runs_out_on_the_way_is_replaced() {
    let bytes = content(LARGE);
    let tokens = {
        let count = Mutex::new(0);
        Server::start(move |_| {
            let mut count = count.lock().unwrap();
            *count += 1;
            Answer::new(200, format!(r#"{{"token": "t{count}"}}"#))
        })
    };
    let realm = format!(r#"Bearer realm="http://{}/""#, tokens.host());
    let (server, store) = registry(move |request, _| {
        let wanted =
            if matches!(request.method.as_str(), "HEAD" | "POST") { "Bearer t1" } else { "Bearer t2" };
        let is_good = request.header("authorization") == Some(wanted)
            || request.header("authorization") == Some("Bearer t2");
        (!is_good).then(|| Answer::new(401, "").with("www-authenticate", &realm))
    });
    push(&client(), &server.host(), &bytes).unwrap();
    assert_eq!(store.lock().unwrap().blobs.len(), 1);
    assert_eq!(tokens.requests().len(), 2);
    assert!(tokens.requests()[0].target.contains("scope=repository%3Ar%3Apull%2Cpush"));
}

#[test]
fn refusals_end_a_push() {
    let bytes = content(1000);
    let check = |method: &'static str, answer: Answer, is_right: fn(&Error) -> bool| {
        let (server, _) = registry(move |request, _| (request.method == method).then(|| answer.clone()));
        let error = push(&client(), &server.host(), &bytes).unwrap_err();
        assert!(is_right(&error), "{error:?}");
    };
    let denied =
        r#"{"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]}"#;
    check("POST", Answer::new(403, denied), |error| {
        let Error::PushDenied { reason, .. } = error else { return false };
        reason == "denied: requested access to the resource is denied"
    });
    check("HEAD", Answer::new(401, ""), |error| matches!(error, Error::PushDenied { .. }));
    check("POST", Answer::new(202, ""), |error| error.to_string().contains("names no place"));
    check("POST", Answer::new(202, "").with("location", "ftp://x"), |error| {
        error.to_string().contains("where it may not go")
    });
    check("PUT", Answer::new(201, "").with("docker-content-digest", Digest::of(b"x")), |error| {
        matches!(error, Error::WrongDigest { .. })
    });
    check("PUT", Answer::new(400, r#"{"errors": [{"code": "DIGEST_INVALID"}]}"#), |error| {
        error.to_string().ends_with("answered 400: digest invalid")
    });
    check("PUT", Answer::new(307, "").with("location", "/x"), |error| {
        error.to_string().contains("in its midst")
    });
}

#[test]
fn a_source_that_fails_is_told_apart_from_the_connection() {
    let bytes = content(LARGE);
    let (server, _) = registry(|_, _| None);
    let reference = reference(&server.host());
    let push = |open: &mut registry::push::Opener<'_>| {
        client().push_blob(reference.repository(), &descriptor_of(&bytes), &[], open).unwrap_err()
    };
    let short = bytes[..1000].to_vec();
    let error = push(&mut |_| Ok(Box::new(Cursor::new(short.clone()))));
    assert!(error.to_string().ends_with("it is shorter than its size"), "{error}");
    let error = push(&mut |_| Err(io::Error::other("the disk is gone")));
    assert!(error.to_string().ends_with("the disk is gone"), "{error}");
    assert!(matches!(error, Error::Source { .. }));
}

#[test]
fn manifests_are_put_by_tag_or_digest() {
    let bytes = manifest();
    let server = always(Answer::new(201, "").with("docker-content-digest", Digest::of(&bytes)));
    let by_tag = reference(&server.host());
    let client = client();
    assert_eq!(client.push_manifest(&by_tag, media::OCI_MANIFEST, &bytes).unwrap(), Digest::of(&bytes));
    let by_digest = Reference::parse(&format!("{}/r@{}", server.host(), Digest::of(&bytes))).unwrap();
    client.push_manifest(&by_digest, media::OCI_MANIFEST, &bytes).unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].target, "/v2/r/manifests/t");
    assert_eq!(requests[1].target, format!("/v2/r/manifests/{}", Digest::of(&bytes)));
    assert_eq!((requests[0].header("content-type"), &requests[0].body), (Some(media::OCI_MANIFEST), &bytes));
    let error = client.push_manifest(&by_tag, media::OCI_MANIFEST, b"{}").unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
}

#[test]
fn tags_come_in_pages() {
    let server = Server::start(|request| match request.target.as_str() {
        "/v2/r/tags/list?n=1000" => Answer::new(200, r#"{"name": "r", "tags": ["a", "b", "no tag", "-"]}"#)
            .with("link", r#"</v2/r/tags/list?n=1000&last=b>; rel="next""#),
        "/v2/r/tags/list?n=1000&last=b" => {
            Answer::new(200, r#"{"tags": ["c"]}"#).with("link", r#"<?last=c>; rel="next""#)
        }
        "/v2/r/tags/list?last=c" => {
            Answer::new(200, r#"{"tags": null}"#).with("link", r#"<?last=c>; rel="next""#)
        }
        _ => Answer::new(404, ""),
    });
    assert_eq!(client().tags(reference(&server.host()).repository()).unwrap(), ["a", "b", "c"]);
    let missing = always(Answer::new(404, r#"{"errors": [{"code": "NAME_UNKNOWN", "message": "m"}]}"#));
    let error = client().tags(reference(&missing.host()).repository()).unwrap_err();
    assert_eq!(error.to_string(), format!("repository {}/r not found: name unknown: m", missing.host()));
}

#[test]
fn a_page_elsewhere_gets_no_proof() {
    let elsewhere = always(Answer::new(200, r#"{"tags": ["z"]}"#));
    let link = format!(r#"<http://{}/tags>; rel="next""#, elsewhere.host());
    let server = Server::start(move |request| match request.header("authorization") {
        None => Answer::new(401, "").with("www-authenticate", "Basic"),
        Some(_) => Answer::new(200, r#"{"tags": ["a"]}"#).with("link", &link),
    });
    let client = client_as(&server.host(), "u", "canary-password");
    assert_eq!(client.tags(reference(&server.host()).repository()).unwrap(), ["a", "z"]);
    assert!(!format!("{:?}", elsewhere.requests()).contains("authorization"));
}
