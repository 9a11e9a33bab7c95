//! What is at a URL, which needn't be a registry's: [`Client::download`].

use crate::client::{Client, Endpoint, Reply, Request};
use crate::error::Error;
use crate::transport::{Payload, body_reason};
use crate::url::Url;
use std::io::{self, Read};

/// A body that is being read. It ends in an error if it breaks off.
pub struct Download {
    reply: Reply,
    host: String,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Client {
    /// Begins to fetch what is at `url`; settings of hosts, proxies and certificates are those of registries.
    ///
    /// Errors: [`Error::Url`], [`Error::Refused`], and those of the connection.
    pub fn download(&self, url: &str) -> Result<Download, Error> {
        match self.download_unless(url, None)? {
            Some(download) => Ok(download),
            None => {
                let host = Url::parse(url).map(|url| url.origin.authority()).unwrap_or_default();
                let reason = "answers that it is unchanged, which was not asked".to_owned();
                Err(Error::Protocol { doing: format!("fetch {}", shown(url)), host, reason })
            }
        }
    }

    /// The same, unless what is there still has this entity tag: then `None`. Source: RFC 9110 13.1.2.
    ///
    /// Errors: as [`Client::download`].
    pub fn download_unless(&self, url: &str, etag: Option<&str>) -> Result<Option<Download>, Error> {
        let parsed = Url::parse(url).map_err(|reason| Error::Url { url: shown(url), reason })?;
        let endpoint = Endpoint {
            host: parsed.origin.authority(),
            origin: parsed.origin.clone(),
            path: String::new(),
            is_mirror: false,
        };
        let doing = format!("fetch {}", shown(url));
        let request = Request {
            method: "GET",
            url: parsed,
            headers: etag.map(|etag| ("if-none-match", etag.to_owned())).into_iter().collect(),
            payload: Payload::None,
            scopes: Vec::new(),
            doing: &doing,
            stall: self.shared.transport.settings.timing.stall,
        };
        let reply = self.send(&endpoint, request)?;
        let host = reply.host();
        match reply.status {
            200 => Ok(Some(Download { reply, host })),
            304 if etag.is_some() => Ok(None),
            status => Err(Error::Refused { doing, host, status, reason: String::new() }),
        }
    }
}

impl Download {
    /// The entity tag, if there is one: a strong one or not.
    pub fn etag(&self) -> Option<&str> {
        self.reply.header("etag").filter(|etag| etag.len() <= ETAG_BYTES_MAX)
    }

    /// `Last-Modified`, in seconds since the epoch.
    pub fn last_modified(&self) -> Option<i64> {
        i64::try_from(crate::headers::http_date(self.reply.header("last-modified")?)?).ok()
    }
}

/// Longest entity tag that is remembered.
const ETAG_BYTES_MAX: usize = 1024;

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reply.body.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => io::Error::other(format!("{} broke off: {}", self.host, body_reason(&error))),
        })
    }
}

/// A URL without what may be secret in it: name and password, and the query.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let shown = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
        None => url.to_owned(),
    };
    types::inert::inert(&shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_url_is_shown() {
        assert_eq!(shown("https://u:canary@h.io:1/a/b.tar?token=canary"), "https://h.io:1/a/b.tar");
        assert_eq!(shown("http://h.io"), "http://h.io/");
    }
}
