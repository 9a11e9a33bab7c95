//! Blobs from a server that breaks off, lies or stalls.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use registry::{Error, RegistrySettings};
use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use testkit::http::{Answer, Request, Server};
use types::digest::Digest;
use types::image::Descriptor;

const LENGTH: usize = 300_000;

fn read(host: &str, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut blob = client().blob(reference(host).repository(), descriptor)?;
    match blob.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => {
            assert!(blob.read(&mut [0]).is_err(), "a failed blob goes on");
            assert!(bytes.len() < descriptor.size as usize, "all was handed out in spite of {error}");
            Err(*error.into_inner().unwrap().downcast().unwrap())
        }
    }
}

/// What a server that knows ranges answers.
fn rest_of(bytes: &[u8], request: &Request) -> Answer {
    match request.range_start() {
        None => Answer::new(200, bytes),
        Some(start) => Answer::new(206, &bytes[start..])
            .with("content-range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len())),
    }
}

#[test]
fn a_blob_is_streamed() {
    let bytes = content(LENGTH);
    for chunked in [false, true] {
        let server = always(Answer { chunked, ..Answer::new(200, bytes.clone()) });
        assert_eq!(read(&server.host(), &descriptor_of(&bytes)).unwrap(), bytes);
        let target = format!("/v2/r/blobs/{}", Digest::of(&bytes));
        assert_eq!(server.requests().iter().map(|request| &request.target).collect::<Vec<_>>(), [&target]);
    }
    let server = always(Answer::new(200, ""));
    assert_eq!(read(&server.host(), &descriptor_of(b"")).unwrap(), b"");
    // The other algorithms that a descriptor may name.
    let mut hasher = types::digest::Hasher::new(types::digest::Algorithm::Sha512);
    hasher.update(&bytes);
    let descriptor = Descriptor::new("", hasher.finish(), LENGTH as u64);
    let server = always(Answer::new(200, bytes.clone()));
    assert_eq!(read(&server.host(), &descriptor).unwrap(), bytes);
}

#[test]
fn a_broken_blob_is_resumed_where_it_broke() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let server = Server::start(move |request| {
        let answer = rest_of(&served, request);
        match request.range_start().unwrap_or(0) {
            start if start < 200_000 => answer.cut_at(70_000),
            _ => answer,
        }
    });
    assert_eq!(read(&server.host(), &descriptor_of(&bytes)).unwrap(), bytes);
    let ranges: Vec<_> = server.requests().iter().map(|request| request.range_start()).collect();
    assert_eq!(ranges, [None, Some(70_000), Some(140_000), Some(210_000)]);
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let bytes = content(LENGTH);
    let (served, count) = (bytes.clone(), AtomicU32::new(0));
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::new(200, served.clone()).cut_at(100_000),
        _ => Answer::new(200, served.clone()),
    });
    assert_eq!(read(&server.host(), &descriptor_of(&bytes)).unwrap(), bytes);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn without_progress_it_ends() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let server = Server::start(move |request| match request.range_start() {
        None => Answer::new(200, served.clone()).cut_at(1000),
        Some(_) => rest_of(&served, request).cut_at(0),
    });
    let error = read(&server.host(), &descriptor_of(&bytes)).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_stalled_blob_is_asked_for_again() {
    let bytes = content(LENGTH);
    let (served, count) = (bytes.clone(), AtomicU32::new(0));
    let server = Server::start(move |request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer { stall: Some((50_000, Duration::from_millis(900))), ..Answer::new(200, served.clone()) },
        _ => rest_of(&served, request),
    });
    assert_eq!(read(&server.host(), &descriptor_of(&bytes)).unwrap(), bytes);
    assert_eq!(server.requests()[1].range_start(), Some(50_000));
}

/// CVE-2014-9358's class. Whatever a registry sends, only what was asked for comes out.
#[test]
fn lies_about_content_and_size_are_found() {
    let bytes = content(LENGTH);
    let descriptor = descriptor_of(&bytes);
    let check = |answer: Answer, is_right: fn(&Error) -> bool| {
        let server = always(answer);
        let error = read(&server.host(), &descriptor).unwrap_err();
        assert!(is_right(&error), "{error:?}");
        assert_eq!(server.requests().len(), 1, "asked again after {error}");
    };
    let mut flipped = bytes.clone();
    flipped[LENGTH / 2] ^= 1;
    let mut longer = bytes.clone();
    longer.push(0);
    let chunked = |bytes: &[u8]| Answer { chunked: true, ..Answer::new(200, bytes) };
    check(Answer::new(200, flipped.clone()), |error| matches!(error, Error::WrongDigest { .. }));
    check(chunked(&flipped), |error| matches!(error, Error::WrongDigest { .. }));
    check(Answer::new(200, longer.clone()), |error| matches!(error, Error::WrongSize { .. }));
    check(chunked(&longer), |error| matches!(error, Error::WrongSize { .. }));
    check(Answer::new(200, &bytes[1..]), |error| matches!(error, Error::WrongSize { .. }));
    check(chunked(&bytes[1..]), |error| matches!(error, Error::WrongSize { .. }));
    check(Answer::new(404, ""), |error| matches!(error, Error::BlobUnknown { .. }));
    check(Answer::new(206, bytes.clone()), |error| matches!(error, Error::Refused { status: 206, .. }));
}

#[test]
fn a_wrong_range_is_refused() {
    let bytes = content(LENGTH);
    for range in ["bytes 0-299999/300000", "bytes 1000-299999/300001", "bytes x", "bytes 1000-299999"] {
        let served = bytes.clone();
        let server = Server::start(move |request| match request.range_start() {
            None => Answer::new(200, served.clone()).cut_at(1000),
            Some(start) => Answer::new(206, &served[start..]).with("content-range", range),
        });
        let error = read(&server.host(), &descriptor_of(&bytes)).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{range}: {error}");
    }
}

#[test]
fn a_store_elsewhere_is_followed_and_resumed_from_the_registry() {
    let bytes = content(LENGTH);
    let (served, count) = (bytes.clone(), AtomicU32::new(0));
    let store = Server::start(move |request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::new(200, served.clone()).cut_at(100_000),
        _ => rest_of(&served, request),
    });
    let location = format!("http://{}/signed?key=secret", store.host());
    let registry = always(Answer::new(307, "").with("location", location));
    assert_eq!(read(&registry.host(), &descriptor_of(&bytes)).unwrap(), bytes);
    // The signature may have run out: it is the registry that is asked again.
    assert_eq!((registry.requests().len(), store.requests().len()), (2, 2));
    assert_eq!(store.requests()[1].range_start(), Some(100_000));
}

#[test]
fn a_mirror_that_fails_in_the_middle_is_left() {
    let bytes = content(LENGTH);
    let (served, whole) = (bytes.clone(), bytes.clone());
    let mirror = Server::start(move |request| match request.range_start() {
        None => Answer::new(200, served.clone()).cut_at(1000),
        Some(_) => Answer::new(500, ""),
    });
    let origin = Server::start(move |request| rest_of(&whole, request));
    let entry = RegistrySettings { mirrors: vec![format!("http://{}", mirror.host())], ..Default::default() };
    let client = registry::Client::new(settings().with(&origin.host(), entry), registry::Credentials::none());
    let mut found = Vec::new();
    let reference = reference(&origin.host());
    client.blob(reference.repository(), &descriptor_of(&bytes)).unwrap().read_to_end(&mut found).unwrap();
    assert_eq!(found, bytes);
    assert_eq!(origin.requests().last().unwrap().range_start(), Some(1000));
}

#[test]
fn small_blobs_come_whole() {
    let bytes = content(100_000);
    let server = always(Answer::new(200, bytes.clone()));
    let reference = reference(&server.host());
    let client = client();
    let get = |max| client.small_blob(reference.repository(), &descriptor_of(&bytes), max);
    assert_eq!(get(100_000).unwrap(), bytes);
    assert!(matches!(get(99_999).unwrap_err(), Error::Unsupported { .. }));
    let mut blob = client.blob(reference.repository(), &descriptor_of(&bytes)).unwrap();
    blob.read_exact(&mut [0; 10]).unwrap();
    blob.finish().unwrap();
    assert_eq!(blob.offset(), 100_000);
}

#[test]
fn several_blobs_come_at_once_with_one_token() {
    let tokens = always(Answer::new(200, r#"{"token": "t", "expires_in": 300}"#));
    let realm = format!(r#"Bearer realm="http://{}/""#, tokens.host());
    let blobs: Vec<Vec<u8>> = (0..8).map(|number| content(LENGTH + number)).collect();
    let served: std::collections::HashMap<_, _> =
        blobs.iter().map(|bytes| (format!("/v2/r/blobs/{}", Digest::of(bytes)), bytes.clone())).collect();
    let server = Server::start(move |request| match request.header("authorization") {
        Some("Bearer t") => {
            served.get(&request.target).map_or(Answer::new(404, ""), |bytes| Answer::new(200, &bytes[..]))
        }
        _ => Answer::new(401, "").with("www-authenticate", &realm),
    });
    let (client, reference) = (client(), reference(&server.host()));
    assert!(client.document(&reference).is_err());
    let fetch = &|bytes: &Vec<u8>| {
        let mut found = Vec::new();
        client.blob(reference.repository(), &descriptor_of(bytes)).unwrap().read_to_end(&mut found).unwrap();
        found == *bytes
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = blobs.iter().map(|bytes| scope.spawn(move || fetch(bytes))).collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    });
    assert_eq!(tokens.requests().len(), 1);
}
