//! `berth import`: an image from the archive of a root file system.

use crate::request::{ImportRequest, ImportSource};
use crate::{Error, Home};
use std::fs::File;
use std::io::Read;

/// Makes an image of a tar; its id, as `sha256:…`.
pub fn import(home: &Home, request: &ImportRequest) -> Result<String, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let reference = store::Reference::parse(&request.name).map_err(store::Error::Reference)?;
    if reference.digest().is_some() {
        let (text, reason) = (request.name.clone(), "a name for a new image can't say its digest");
        return Err(store::Error::Reference(types::reference::Invalid { text, reason }).into());
    }
    let (mut input, from): (Box<dyn Read + Send>, String) = match &request.source {
        ImportSource::Stdin => (Box::new(std::io::stdin()), "-".to_owned()),
        ImportSource::File(path) => {
            let shown = path.display().to_string();
            let file = File::open(path).map_err(|error| Error::io("open", &shown, &error))?;
            (Box::new(file), shown)
        }
    };
    if let Some(above) = home.root.parent() {
        crate::claims::make_private_dir(above)?;
    }
    let store = store::Store::open(&home.root)?;
    let created_by = format!("berth import {from} {}", request.name);
    let id = store.import(&mut input, Some(&reference), &created_by, &|_| {})?;
    Ok(id.to_string())
}
