//! A registry that has what a test gave it, and may say something else about it.

use super::{Image, Parts, digest};
use crate::Value;
use crate::http::{Answer, Request, Server};
use std::collections::BTreeMap;

/// One repository: manifests by tag and digest, blobs by digest.
#[derive(Debug, Clone, Default)]
pub struct Repository {
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
}

/// A running registry with the repository `app`.
pub struct Served {
    server: Server,
}

impl Repository {
    /// A repository in which the tag `latest` is that image.
    pub fn of(image: &Image) -> Repository {
        let parts = image.parts();
        let mut repository = Repository::default();
        repository.put_parts(&parts);
        repository.tag("latest", &parts.manifest);
        repository
    }

    /// Puts an image's blobs there.
    pub fn put_parts(&mut self, parts: &Parts) {
        for blob in parts.layers.iter().chain([&parts.config]) {
            self.blobs.insert(digest(blob), blob.clone());
        }
    }

    /// Puts a blob there under a digest, which may be wrong.
    pub fn put_blob(&mut self, digest: &str, bytes: Vec<u8>) {
        self.blobs.insert(digest.to_owned(), bytes);
    }

    /// Puts a manifest or an index there by its digest, which it returns, and under a tag.
    pub fn tag(&mut self, tag: &str, document: &Value) -> String {
        let bytes = document.to_string().into_bytes();
        let media_type = document["mediaType"].as_str().unwrap_or(super::MANIFEST).to_owned();
        let own = digest(&bytes);
        for name in [tag, &own] {
            self.manifests.insert(name.to_owned(), (media_type.clone(), bytes.clone()));
        }
        own
    }

    /// What a registry answers to a request.
    pub fn answer(&self, request: &Request) -> Answer {
        let path = request.target.split('?').next().unwrap_or_default();
        if path == "/v2/" {
            return Answer::new(200, "{}");
        }
        if let Some(name) = path.strip_prefix("/v2/app/manifests/")
            && let Some((media_type, bytes)) = self.manifests.get(name)
        {
            let answer = Answer::new(200, bytes.clone()).with("content-type", media_type);
            return answer.with("docker-content-digest", digest(bytes));
        }
        if let Some(bytes) = path.strip_prefix("/v2/app/blobs/").and_then(|name| self.blobs.get(name)) {
            let Some(start) = request.range_start().filter(|start| *start < bytes.len()) else {
                return Answer::new(200, bytes.clone());
            };
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            return Answer::new(206, &bytes[start..]).with("content-range", range);
        }
        let unknown = r#"{"errors": [{"code": "NAME_UNKNOWN", "message": "not there"}]}"#;
        Answer::new(404, unknown).with("content-type", "application/json")
    }

    /// Serves it as it is.
    pub fn serve(self) -> Served {
        self.serve_changed(|_, answer| answer)
    }

    /// Serves it with each answer changed.
    pub fn serve_changed(
        self,
        change: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
    ) -> Served {
        Served { server: Server::start(move |request| change(request, self.answer(request))) }
    }
}

impl Served {
    /// `127.0.0.1:PORT/app`.
    pub fn name(&self) -> String {
        format!("{}/app", self.server.host())
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.server.host()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// How often each blob was asked for by GET, by its digest.
    pub fn blob_requests(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.server.requests().iter().filter(|request| request.method == "GET") {
            if let Some(name) = request.target.strip_prefix("/v2/app/blobs/") {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}
