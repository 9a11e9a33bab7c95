//! The tags of a repository. Source: distribution-spec, "Listing Tags"; RFC 8288 for `Link`.

use crate::client::{Client, Request, read_bounded, registry_words};
use crate::error::Error;
use crate::headers::next_link;
use crate::manifest::{Action, refusal};
use crate::transport::Payload;
use types::reference::{Repository, check_tag};

/// Tags asked for at once.
const PAGE: usize = 1000;

/// Largest page, in bytes. Registries that know no pages send everything at once.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// Most pages.
const PAGES_MAX: usize = 10_000;

/// Most tags.
const TAGS_MAX: usize = 1_000_000;

#[derive(serde::Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags, in the registry's order. What is no tag by its grammar is left out.
    ///
    /// Errors: [`Error::RepositoryUnknown`], [`Error::PullDenied`], and those of the connection.
    pub fn tags(&self, repository: &Repository) -> Result<Vec<String>, Error> {
        let endpoint = self.origin(repository)?;
        let doing = format!("list the tags of {}", repository.familiar());
        let mut url = endpoint.origin.url(&format!("/v2/{}/tags/list?n={PAGE}", endpoint.path));
        let mut tags = Vec::new();
        for _ in 0..PAGES_MAX {
            let request = Request {
                method: "GET",
                url: url.clone(),
                headers: vec![("accept", "application/json".to_owned())],
                payload: Payload::None,
                scopes: vec![format!("repository:{}:pull", endpoint.path)],
                doing: &doing,
                stall: self.shared.transport.settings.timing.stall,
            };
            let mut reply = self.send(&endpoint, request)?;
            match reply.status {
                200 => {}
                404 => {
                    let reason = registry_words(&mut reply);
                    return Err(Error::RepositoryUnknown { repository: repository.familiar(), reason });
                }
                _ => return Err(refusal(&mut reply, repository, &doing, Action::Pull)),
            }
            let fault = |reason: String| Error::Protocol {
                doing: doing.clone(),
                host: reply.url.origin.authority(),
                reason,
            };
            let bytes = read_bounded(&mut reply.body, PAGE_BYTES_MAX).map_err(fault)?;
            let page: Page =
                serde_json::from_slice(&bytes).map_err(|_| fault("answers with no list of tags".into()))?;
            let page = page.tags.unwrap_or_default();
            let is_empty = page.is_empty();
            tags.extend(page.into_iter().filter(|tag| check_tag(tag).is_ok()));
            if tags.len() > TAGS_MAX {
                return Err(fault(format!("has more than {TAGS_MAX} tags")));
            }
            let next = reply.header("link").and_then(next_link).filter(|_| !is_empty);
            let Some(next) = next else { return Ok(tags) };
            url = reply
                .url
                .follow(next)
                .map_err(|reason| fault(format!("names a next page that will not be asked for: {reason}")))?;
        }
        let host = endpoint.origin.authority();
        Err(Error::Protocol { doing, host, reason: format!("has more than {PAGES_MAX} pages") })
    }
}
