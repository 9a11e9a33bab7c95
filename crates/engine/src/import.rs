//! `berth import`: an image from the archive of a root file system.

use crate::images::{name, open_store};
use crate::request::{ImportRequest, ImportSource};
use crate::{Error, Home};
use std::fs::File;

/// Opens what is read.
pub(crate) fn open(source: &ImportSource) -> Result<File, Error> {
    match source {
        ImportSource::Stdin => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
            .map(File::from)
            .map_err(|errno| Error::system("read", "standard input", errno)),
        ImportSource::File(path) => {
            File::open(path).map_err(|error| Error::io("open", path.display(), &error))
        }
    }
}

/// Makes an image of a tar; its id, as `sha256:…`.
pub fn import(home: &Home, request: &ImportRequest) -> Result<String, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let reference = name::new_name(&request.name)?;
    let mut input = open(&request.source)?;
    let from = match &request.source {
        ImportSource::Stdin => "-".to_owned(),
        ImportSource::File(path) => path.display().to_string(),
    };
    let created_by = format!("berth import {from} {}", request.name);
    let id = open_store(home)?.import(&mut input, Some(&reference), &created_by, &|_| {})?;
    Ok(id.to_string())
}
