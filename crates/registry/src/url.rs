//! Addresses, as far as registries need them: absolute `http` and `https` URLs, and references relative to one.

use std::fmt;

/// Longest URL that is followed, in bytes. Signed ones of object stores have some 2,000.
const URL_BYTES_MAX: usize = 16 << 10;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// Whom one talks to. Credentials belong to an origin. Source: RFC 6454.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    /// Lower case; an IPv6 address is in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    /// The origin of `HOST[:PORT]` by `scheme`.
    pub(crate) fn of(scheme: Scheme, authority: &str) -> Result<Origin, &'static str> {
        types::reference::check_host(authority).map_err(|_| "its host is not valid")?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| "its port is no number")?)
            }
            _ => (authority, scheme.default_port()),
        };
        Ok(Origin { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// `HOST[:PORT]`, the port only where it isn't the usual one.
    pub(crate) fn authority(&self) -> String {
        match self.port == self.scheme.default_port() {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether it is this machine by its name alone.
    pub(crate) fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<std::net::IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
        }
    }

    /// The URL of `path`, which begins with a slash and is escaped.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url { origin: self.clone(), path: path.to_owned() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

/// An absolute URL without fragment and without user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Path and query; begins with a slash.
    path: String,
}

impl Url {
    /// Errors: the rule that `text` breaks, as the end of a sentence about it.
    pub(crate) fn parse(text: &str) -> Result<Url, &'static str> {
        check_characters(text)?;
        let (scheme, rest) = text.split_once("://").ok_or("it is not absolute")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err("its scheme is neither http nor https"),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("it carries a user");
        }
        let origin = Origin::of(scheme, authority)?;
        let path = without_fragment(path);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { origin, path })
    }

    /// The URL that `reference` means in a document at this one. Source: RFC 3986 5.2, without dot segments.
    pub(crate) fn join(&self, reference: &str) -> Result<Url, &'static str> {
        check_characters(reference)?;
        let at = |path: String| Ok(Url { origin: self.origin.clone(), path });
        let is_absolute =
            reference.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['/', '?', '#']));
        if is_absolute {
            return Url::parse(reference);
        }
        let reference = without_fragment(reference);
        let path = self.path.split('?').next().unwrap_or("/");
        if let Some(rest) = reference.strip_prefix("//") {
            Url::parse(&format!("{}://{rest}", self.origin.scheme.name()))
        } else if reference.starts_with('/') {
            at(reference.to_owned())
        } else if reference.starts_with('?') {
            at(format!("{path}{reference}"))
        } else if reference.is_empty() {
            at(self.path.clone())
        } else {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            at(format!("{directory}/{reference}"))
        }
    }

    /// The URL that whoever is at this one points to by `reference`, if one may go there. A registry must not make its clients
    /// speak in the clear, nor to services of their own machine that it can't reach itself.
    ///
    /// Errors: the rule that it breaks, as the end of a sentence about it.
    pub(crate) fn follow(&self, reference: &str) -> Result<Url, &'static str> {
        let next = self.join(reference)?;
        match (self.origin.scheme, next.origin.scheme) {
            (Scheme::Https, Scheme::Http) => Err("it is plain HTTP"),
            _ if next.origin.is_loopback() && !self.origin.is_loopback() => Err("it is on this machine"),
            _ => Ok(next),
        }
    }

    /// The same with one more parameter.
    pub(crate) fn with_query(&self, name: &str, value: &str) -> Url {
        let joint = if self.path.contains('?') { '&' } else { '?' };
        Url { origin: self.origin.clone(), path: format!("{}{joint}{name}={}", self.path, escape(value)) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

fn check_characters(text: &str) -> Result<(), &'static str> {
    if text.len() > URL_BYTES_MAX {
        return Err("it is too long");
    }
    match text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        true => Ok(()),
        false => Err("it has characters that no URL has"),
    }
}

fn without_fragment(text: &str) -> &str {
    text.split('#').next().unwrap_or_default()
}

/// `text` as a value in a query. Source: RFC 3986 2.3.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte as char),
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn absolute_urls_are_read() {
        let check =
            |text: &str, shown: &str| assert_eq!(Url::parse(text).unwrap().to_string(), shown, "{text}");
        check("https://a.io", "https://a.io/");
        check("HTTPS://A.io:443/X?y=1#z", "https://a.io/X?y=1");
        check("http://a.io:443/", "http://a.io:443/");
        check("http://[::1]:5000/v2/", "http://[::1]:5000/v2/");
        check("https://a.io?q", "https://a.io/?q");
        for bad in [
            "",
            "a.io/x",
            "/x",
            "ftp://a.io/",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "https://u:p@a.io/",
            "https://a.io:x/",
            "https://a.io:99999/",
            "https://a b/",
            "https://a.io/\r\nX: y",
            "https://a.io/é",
            "https://a.io\\@b.io/",
            "https://a..io/",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Url::parse(&format!("https://a.io/{}", "x".repeat(20_000))).is_err());
    }

    #[test]
    fn references_are_resolved() {
        let base = Url::parse("https://a.io:8443/v2/x/blobs/uploads/?k=1").unwrap();
        let check =
            |text: &str, shown: &str| assert_eq!(base.join(text).unwrap().to_string(), shown, "{text}");
        check("https://b.io/x", "https://b.io/x");
        check("//b.io/x", "https://b.io/x");
        check("/v2/y?last=a", "https://a.io:8443/v2/y?last=a");
        check("?n=2", "https://a.io:8443/v2/x/blobs/uploads/?n=2");
        check("uuid", "https://a.io:8443/v2/x/blobs/uploads/uuid");
        check("/v2/u?next=http://c.io/", "https://a.io:8443/v2/u?next=http://c.io/");
        check("", "https://a.io:8443/v2/x/blobs/uploads/?k=1");
        assert!(base.join("https://u@b.io/x").is_err());
        assert!(base.join("javascript://b.io/x").is_err());
    }

    /// CVE-2026-33540's class: where a registry points to.
    #[test]
    fn a_registry_cannot_point_everywhere() {
        let check = |from: &str, to: &str, expected: Result<&str, &str>| {
            let next = Url::parse(from).unwrap().follow(to).map(|url| url.to_string());
            assert_eq!(next.as_deref().map_err(|reason| *reason), expected, "{from} {to}");
        };
        check("https://a.io/x", "https://b.io/y", Ok("https://b.io/y"));
        check("https://a.io/x", "/y", Ok("https://a.io/y"));
        check("https://a.io/x", "http://a.io/y", Err("it is plain HTTP"));
        check("http://a.io/x", "https://a.io/y", Ok("https://a.io/y"));
        check("http://localhost:5000/x", "http://127.0.0.1:6000/y", Ok("http://127.0.0.1:6000/y"));
        for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "x.localhost", "127.1.2.3:8443"]
        {
            check("https://a.io/x", &format!("https://{host}/y"), Err("it is on this machine"));
            check("http://10.0.0.1/x", &format!("//{host}/y"), Err("it is on this machine"));
        }
    }

    #[test]
    fn parameters_are_escaped() {
        let url = Url::parse("https://s3.io/b?X-Amz-Signature=secret").unwrap();
        assert_eq!(
            url.with_query("a", "b c/d").to_string(),
            "https://s3.io/b?X-Amz-Signature=secret&a=b%20c%2Fd"
        );
    }

    proptest! {
        #[test]
        fn what_parses_prints_and_parses_back(text in "(https?://)?[a-z0-9.:@/?#\\[\\]-]{0,30}") {
            if let Ok(url) = Url::parse(&text) {
                prop_assert_eq!(Url::parse(&url.to_string()), Ok(url.clone()));
                prop_assert_eq!(url.join(&url.to_string()), Ok(url));
            }
        }
    }
}
