//! The Dockerfile's text, and the context.

use super::context::{self, Asked, Context, Dockerfile};
use super::events::{Event, Told};
use super::request::BuildRequest;
use crate::{Error, Home};
use std::fs::File;

/// What a build reads at its begin.
#[derive(Debug)]
pub(super) struct Source {
    /// What the Dockerfile is called.
    pub shown: String,
    /// Its text.
    pub text: String,
    /// Where files come from.
    pub context: Context,
}

impl Source {
    /// Reads them.
    pub fn open(home: &Home, request: &BuildRequest, told: &mut Told<'_>) -> Result<Source, Error> {
        let asked = Asked {
            context: &request.context,
            file: &request.file,
            text: request.text.as_deref(),
            here: &request.here,
        };
        let file = if request.file.is_empty() { "Dockerfile" } else { &request.file };
        told.work(&format!("[internal] load build definition from {file}"), |told, id| {
            let stdin = rustix::io::dup(rustix::stdio::stdin()).ok().map(File::from);
            let (context, Dockerfile { name, text }) = context::open(home, &asked, stdin)?;
            told.tell(&Event::Status { id, text: format!("transferring dockerfile: {}B done", text.len()) });
            Ok(Source { shown: name, text, context })
        })
    }
}
