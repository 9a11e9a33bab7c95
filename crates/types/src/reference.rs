//! Names of images, as docker normalises them: `alpine` is `docker.io/library/alpine:latest`.
//!
//! Source: distribution/reference, "Grammar" and `ParseNormalizedNamed`.

use crate::digest::Digest;
use std::fmt;

/// Longest path of a repository, in bytes; docker's bound.
const PATH_BYTES_MAX: usize = 255;

/// Longest tag, in bytes; docker's bound.
const TAG_BYTES_MAX: usize = 128;

/// Longest host, in bytes: a full domain name and a port.
const HOST_BYTES_MAX: usize = 255 + 6;

const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const OFFICIAL: &str = "library/";

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The text given.
    pub text: String,
    /// Which rule it breaks, as the end of a sentence about it.
    pub reason: &'static str,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an image name: {}", self.text, self.reason)
    }
}

impl std::error::Error for Invalid {}

/// A repository of a registry: `docker.io/library/alpine`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    host: String,
    path: String,
}

impl Repository {
    /// Parses `[HOST[:PORT]/]PATH`, without tag or digest.
    ///
    /// Errors: the rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Repository, Invalid> {
        let invalid = |reason| Invalid { text: text.to_owned(), reason };
        match Parts::of(text) {
            Parts { tag: None, digest: None, .. } => {}
            _ => return Err(invalid("a repository is meant, without tag or digest")),
        }
        parse(text).map(|reference| reference.repository).map_err(invalid)
    }

    /// Host and port of the registry, `docker.io` by default.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its name in that registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The shortest name that means the same: without docker's host and `library/`.
    pub fn familiar(&self) -> String {
        if self.host != DEFAULT_HOST {
            return self.to_string();
        }
        let official = self.path.strip_prefix(OFFICIAL).filter(|rest| !rest.contains('/'));
        let short = official.unwrap_or(&self.path);
        match split_host(short) {
            (DEFAULT_HOST, rest) if rest == short => short.to_owned(),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

/// An image's full name. It has a tag, or a digest, or both; the digest is what counts then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`. Without tag and digest the tag is `latest`.
    ///
    /// Errors: the rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Reference, Invalid> {
        parse(text).map_err(|reason| Invalid { text: text.to_owned(), reason })
    }

    /// The repository without tag and digest.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Host and port of the registry, `docker.io` by default.
    pub fn host(&self) -> &str {
        &self.repository.host
    }

    /// The repository in its registry.
    pub fn path(&self) -> &str {
        &self.repository.path
    }

    /// The tag; `None` only if there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository by this digest, keeping the tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { digest: Some(digest), ..self.clone() }
    }

    /// The shortest name that means the same: without docker's host and `library/`, the tag always shown.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.repository.familiar(), self.suffix())
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.repository, self.suffix())
    }
}

/// A reference cut at its separators, unchecked.
struct Parts<'a> {
    host: &'a str,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl Parts<'_> {
    fn of(text: &str) -> Parts<'_> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (host, rest) = split_host(name);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        Parts { host, path, tag, digest }
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("64 hexadecimal digits are an id");
    }
    let Parts { host, path, tag, digest } = Parts::of(text);
    let official = host == DEFAULT_HOST && !path.contains('/');
    let path = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    check_host(host)?;
    check_path(&path)?;
    tag.map_or(Ok(()), check_tag)?;
    let digest = digest.map(Digest::parse).transpose()?;
    let default = digest.is_none().then_some(DEFAULT_TAG);
    let tag = tag.or(default).map(str::to_owned);
    Ok(Reference { repository: Repository { host: host.to_owned(), path }, tag, digest })
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

/// Whether `text` is a repository's name alone, with neither a tag nor a digest: a colon before a slash is a port's.
pub fn is_bare(text: &str) -> bool {
    !text.contains('@') && text.rsplit_once(':').is_none_or(|(_, after)| after.contains('/'))
}

/// Checks `HOST[:PORT]`, where the host is a domain name, an IPv4 address, or an IPv6 address in brackets.
pub fn check_host(host: &str) -> Result<(), &'static str> {
    if host.len() > HOST_BYTES_MAX {
        return Err("its host is longer than any name");
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if port.is_some_and(|port| !is_port(port)) {
        return Err("its host has a port that is no number up to 65535");
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
    if path.len() > PATH_BYTES_MAX {
        return Err("it is longer than 255 characters");
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

/// Checks a tag by its grammar.
pub fn check_tag(tag: &str) -> Result<(), &'static str> {
    let bytes = tag.as_bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid = bytes.len() <= TAG_BYTES_MAX
        && bytes.first().is_some_and(|byte| word(*byte))
        && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'-'));
    if valid { Ok(()) } else { Err("a tag is [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}") }
}

#[cfg(test)]
mod tests;
