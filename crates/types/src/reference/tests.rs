use super::*;
use proptest::prelude::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn short_names_get_dockers_defaults() {
    let check = |text: &str, full: &str, familiar: &str| {
        let (full, familiar) = (full.replace("DIGEST", DIGEST), familiar.replace("DIGEST", DIGEST));
        let reference = Reference::parse(&text.replace("DIGEST", DIGEST)).unwrap();
        assert_eq!(reference.to_string(), full);
        assert_eq!(reference.familiar(), familiar);
        assert_eq!(Reference::parse(&full).unwrap(), reference);
        assert_eq!(Reference::parse(&familiar).unwrap(), reference);
    };
    check("alpine", "docker.io/library/alpine:latest", "alpine:latest");
    check("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20");
    check("library/alpine", "docker.io/library/alpine:latest", "alpine:latest");
    check("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest");
    check("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest");
    check("docker.io/me/app", "docker.io/me/app:latest", "me/app:latest");
    check("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest");
    check("index.docker.io/me/app", "docker.io/me/app:latest", "me/app:latest");
    check("me/app:v1", "docker.io/me/app:v1", "me/app:v1");
    check("localhost/app", "localhost/app:latest", "localhost/app:latest");
    check("localhost", "docker.io/library/localhost:latest", "localhost:latest");
    check("localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000/a/b:latest");
    check("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000/a:latest");
    check("ghcr.io/x/y__z.w--v:T_1", "ghcr.io/x/y__z.w--v:T_1", "ghcr.io/x/y__z.w--v:T_1");
    check("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest");
    check("[2001:db8::1]/x:t", "[2001:db8::1]/x:t", "[2001:db8::1]/x:t");
    check("HOST/app", "HOST/app:latest", "HOST/app:latest");
    check(
        "xn--n3h.com/myimage:xn--n3h.com",
        "xn--n3h.com/myimage:xn--n3h.com",
        "xn--n3h.com/myimage:xn--n3h.com",
    );
    check("alpine@DIGEST", "docker.io/library/alpine@DIGEST", "alpine@DIGEST");
    check("alpine:3@DIGEST", "docker.io/library/alpine:3@DIGEST", "alpine:3@DIGEST");
    check("h.io:80/a/b:3@DIGEST", "h.io:80/a/b:3@DIGEST", "h.io:80/a/b:3@DIGEST");
    let tag = "t".repeat(128);
    check(&format!("a:{tag}"), &format!("docker.io/library/a:{tag}"), &format!("a:{tag}"));
    let path = format!("a/{}", "a".repeat(253));
    check(&format!("h.io/{path}"), &format!("h.io/{path}:latest"), &format!("h.io/{path}:latest"));
}

#[test]
fn the_parts_are_what_was_given() {
    let reference = Reference::parse(&format!("h.io/a/b:c@{DIGEST}")).unwrap();
    assert_eq!((reference.host(), reference.path(), reference.tag()), ("h.io", "a/b", Some("c")));
    assert_eq!(reference.digest().unwrap().as_str(), DIGEST);
    let bare = Reference::parse(&format!("a@{DIGEST}")).unwrap();
    assert_eq!(bare.tag(), None);
    assert_eq!(
        Reference::parse("a").unwrap().with_digest(Digest::of(b"")).familiar(),
        format!("a:latest@{DIGEST}")
    );
}

#[test]
fn names_that_break_a_rule_are_refused() {
    let digits = "a".repeat(64);
    let long = format!("h.io/{}", "a".repeat(256));
    let long_host = format!("{}/a", "a.".repeat(150));
    let long_tag = format!("a:{}", "t".repeat(129));
    let cases: [(&str, &str); 39] = [
        ("", "it is empty"),
        (":tag", "between slashes"),
        ("alpine:", "a tag is"),
        ("Alpine", "it must be lower case"),
        ("me/App:v1", "it must be lower case"),
        ("docker.io/Alpine", "it must be lower case"),
        ("a b", "between slashes"),
        ("a//b", "between slashes"),
        ("/a", "between slashes"),
        ("a/", "between slashes"),
        ("-a", "between slashes"),
        ("a-", "between slashes"),
        ("a..b", "between slashes"),
        ("a___b", "between slashes"),
        ("a._b", "between slashes"),
        ("../a", "its host is not valid"),
        ("a:b:c", "a tag is"),
        ("a:-x", "a tag is"),
        ("a:.x", "a tag is"),
        ("a:x y", "a tag is"),
        ("a@", "a digest is"),
        ("a@sha256:00", "a digest has"),
        ("a@sha256:E3B0C44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "a digest has"),
        ("a@md5:d41d8cd98f00b204e9800998ecf8427e", "digests are made by"),
        ("@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "between slashes"),
        ("host.io:x/a", "its host has a port"),
        ("host.io:/a", "its host has a port"),
        ("host.io:65536/a", "its host has a port"),
        ("host..io/a", "its host is not valid"),
        ("-host.io/a", "its host is not valid"),
        ("[::1/a", "its host"),
        ("[fe80::1%eth0]:5000/a", "its host is not valid"),
        ("a\n", "between slashes"),
        ("é", "between slashes"),
        ("host.io/", "between slashes"),
        (&digits, "64 hexadecimal digits"),
        (&long, "it is longer than 255"),
        (&long_host, "its host is longer"),
        (&long_tag, "a tag is"),
    ];
    for (bad, reason) in cases {
        let error = Reference::parse(bad).unwrap_err();
        assert!(error.reason.starts_with(reason), "{bad:?}: {error}");
        assert_eq!(error.text, bad);
    }
}

#[test]
fn a_repository_has_neither_tag_nor_digest() {
    let check = |text: &str, full: &str| assert_eq!(Repository::parse(text).unwrap().to_string(), full);
    check("alpine", "docker.io/library/alpine");
    check("localhost:5000/a", "localhost:5000/a");
    for bad in ["alpine:latest", &format!("alpine@{DIGEST}"), "Alpine", ""] {
        assert!(Repository::parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn what_parses_prints_and_parses_back(text in "[a-zA-Z0-9._:/@-]{0,40}(@sha256:[0-9a-f]{64})?") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference.clone());
            prop_assert_eq!(Reference::parse(&reference.familiar()).unwrap(), reference);
        }
    }
}
