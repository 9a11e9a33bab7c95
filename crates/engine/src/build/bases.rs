//! Images that stages begin with, and named contexts.

use super::context::{self, Context, Named};
use super::events::{Event, Told};
use super::request::BuildRequest;
use super::source::Source;
use crate::images::{self, open_store};
use crate::{Error, Home};
use ::build::lower::{self, Base};
use ::build::op::Tree;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use types::image::{ImageConfig, Platform};
use types::reference::Reference;

/// Finds them, and keeps what was found from being removed.
pub(super) struct Bases<'a, 't> {
    home: &'a Home,
    request: &'a BuildRequest,
    source: &'a Source,
    told: &'a mut Told<'t>,
    known: BTreeMap<(String, String), Base>,
    /// Hold the layers of images in their places.
    pub pins: Vec<OwnedFd>,
    /// Hold what was unpacked.
    pub opened: Vec<Context>,
}

impl<'a, 't> Bases<'a, 't> {
    pub fn new(
        home: &'a Home,
        request: &'a BuildRequest,
        source: &'a Source,
        told: &'a mut Told<'t>,
    ) -> Self {
        Bases { home, request, source, told, known: BTreeMap::new(), pins: Vec::new(), opened: Vec::new() }
    }

    fn find(&mut self, name: &str, reference: &Reference, platform: &Platform) -> Result<Base, Error> {
        let shown = reference.to_string();
        let home = self.home;
        let wants = self.request.pull;
        let pins = &mut self.pins;
        self.told.work(&format!("[internal] load metadata for {shown}"), |told, id| {
            let machine = platform.to_string();
            if wants || !images::pull::is_here(home, name, Some(&machine))? {
                told.tell(&Event::Status { id, text: format!("pulling {shown}") });
                let request = images::PullRequest { image: name.to_owned(), platform: Some(machine) };
                images::pull::pull_apart(home, &request, &images::progress::Silent)?;
            }
            // Closed before anything is forked.
            let store = open_store(home)?;
            let image = store.resolve_image(name)?;
            let config = ImageConfig::parse(image.config_json.as_bytes())
                .map_err(|error| Error::Image { image: name.to_owned(), why: error.to_string() })?;
            let chain = image.layers.last().map(|layer| layer.chain);
            if let Some(chain) = &chain {
                pins.extend(store.pin_chain(chain)?);
            }
            let chain = chain.map(|chain| chain.to_string());
            Ok(Base::Image { reference: shown.clone(), chain, config: Box::new(config) })
        })
    }
}

impl lower::Bases for Bases<'_, '_> {
    type Error = Error;

    fn image(&mut self, name: &str, platform: &Platform) -> Result<Base, Error> {
        let key = (name.to_owned(), platform.to_string());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let reference = images::reference(name)?;
        let base = self.find(name, &reference, platform)?;
        self.known.insert(key, base.clone());
        Ok(base)
    }

    fn context(&mut self, name: &str, platform: &Platform) -> Result<Option<Base>, Error> {
        if name == "context" {
            return Ok(directory(&self.source.context));
        }
        // `busybox` is given for `docker.io/library/busybox:latest` as well.
        let complete = |name: &str| images::reference(name).map(|reference| reference.to_string());
        let is_it = |given: &&String| match (complete(given), complete(name)) {
            _ if given.as_str() == name => true,
            (Ok(given), Ok(name)) => given == name,
            _ => false,
        };
        let Some(value) =
            self.request.contexts.iter().find(|(given, _)| is_it(given)).map(|(_, value)| value)
        else {
            return Ok(None);
        };
        match context::open_named(self.home, value, &self.request.here)? {
            Named::Image(image) => lower::Bases::image(self, &image, platform).map(Some),
            Named::Files(files) => {
                let base = directory(&files);
                self.opened.push(files);
                Ok(base)
            }
            Named::Layout(..) | Named::Target(_) => {
                Err(Error::invalid("--build-context", format!("{name}={value} isn't supported by berth yet")))
            }
        }
    }
}

fn directory(context: &Context) -> Option<Base> {
    let Tree::Directory(directory) = &context.tree else { return None };
    Some(Base::Directory {
        directory: directory.clone(),
        ignored: context.ignored.clone(),
        keeps_owner: context.keeps_owner,
    })
}
