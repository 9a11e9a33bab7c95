//! Names of images, as docker normalises them: `alpine` is `docker.io/library/alpine:latest`.
//!
//! Source: distribution/reference, "Grammar". References with a digest come with pull.

use crate::error::Error;
use std::fmt;

/// Longest repository, host included, in bytes; docker's bound.
const REPOSITORY_BYTES_MAX: usize = 255;

/// Longest tag, in bytes; docker's bound.
const TAG_BYTES_MAX: usize = 128;

const DEFAULT_HOST: &str = "docker.io";
const OFFICIAL: &str = "library/";

/// An image's full name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    path: String,
    tag: String,
}

impl Reference {
    /// Parses `[HOST[:PORT]/]PATH[:TAG]`.
    ///
    /// Errors: [`Error::Reference`], naming the rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Reference, Error> {
        let error = |reason| Error::Reference { text: text.to_owned(), reason };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        if text.contains('@') {
            return Err(error("digests are not supported here, only tags"));
        }
        if text.len() == 64 && crate::containers::is_id_prefix(text) {
            return Err(error("64 hexadecimal digits are an id"));
        }
        let (host, rest) = split_host(text);
        let (path, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        let official = host == DEFAULT_HOST && !path.contains('/');
        let path = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
        check_host(host).and_then(|()| check_path(&path)).and_then(|()| check_tag(tag)).map_err(error)?;
        if host.len() + 1 + path.len() > REPOSITORY_BYTES_MAX {
            return Err(error("it is longer than 255 bytes"));
        }
        Ok(Reference { host: host.to_owned(), path, tag: tag.to_owned() })
    }

    /// The shortest name that means the same: without docker's host and `library/`, the tag always shown.
    pub fn familiar(&self) -> String {
        if self.host != DEFAULT_HOST {
            return self.to_string();
        }
        let official = self.path.strip_prefix(OFFICIAL).filter(|rest| !rest.contains('/'));
        let short = official.unwrap_or(&self.path);
        match split_host(short) {
            (DEFAULT_HOST, rest) if rest == short => format!("{short}:{}", self.tag),
            _ => self.to_string(),
        }
    }

    /// Host and port of the registry, `docker.io` by default.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository in its registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, `latest` by default.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.host, self.path, self.tag)
    }
}

/// The host if the first component looks like one, else docker's.
fn split_host(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_HOST, rest),
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_HOST, text),
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("its host has a port that is no number");
    }
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let valid = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }),
    };
    if valid { Ok(()) } else { Err("its host is not valid") }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("it must be lower case");
    }
    match path.split('/').all(is_component) {
        true => Ok(()),
        false => Err("between slashes stand a-z and 0-9, joined by one '.', one or two '_', or any '-'"),
    }
}

fn is_component(component: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separators = component.split(|c: char| c.is_ascii() && word(c as u8)).filter(|s| !s.is_empty());
    component.bytes().next().is_some_and(word)
        && component.bytes().last().is_some_and(word)
        && separators.all(|joint| matches!(joint, "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-'))
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let bytes = tag.as_bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid = bytes.len() <= TAG_BYTES_MAX
        && bytes.first().is_some_and(|byte| word(*byte))
        && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'-'));
    if valid { Ok(()) } else { Err("a tag is [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_names_get_dockers_defaults() {
        let check = |text: &str, full: &str, familiar: &str| {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(Reference::parse(full).unwrap(), reference);
            assert_eq!(Reference::parse(familiar).unwrap(), reference);
        };
        check("alpine", "docker.io/library/alpine:latest", "alpine:latest");
        check("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20");
        check("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest");
        check("index.docker.io/me/app", "docker.io/me/app:latest", "me/app:latest");
        check("me/app:v1", "docker.io/me/app:v1", "me/app:v1");
        check("localhost/app", "localhost/app:latest", "localhost/app:latest");
        check("localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000/a/b:latest");
        check("ghcr.io/x/y__z.w--v:T_1", "ghcr.io/x/y__z.w--v:T_1", "ghcr.io/x/y__z.w--v:T_1");
        check("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest");
    }

    #[test]
    fn names_that_break_a_rule_are_refused() {
        let digits = "a".repeat(64);
        let long = "a".repeat(300);
        for bad in [
            "",
            ":tag",
            "alpine:",
            "Alpine",
            "a b",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "../a",
            "a:b:c",
            "a:-x",
            "a@sha256:00",
            "host.io:x/a",
            "host..io/a",
            "a\n",
            "é",
            "host.io/",
            &digits,
            &long,
        ] {
            assert!(matches!(Reference::parse(bad), Err(Error::Reference { .. })), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_and_parses_back(text in "[a-zA-Z0-9._:/@-]{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference.clone());
                prop_assert_eq!(Reference::parse(&reference.familiar()).unwrap(), reference);
            }
        }
    }
}
