//! `berth cp`: files between this host and a container, or out of an image.
//!
//! Docker's rules, to the letter where they can be seen: names, what lands where, words of failures. Different from its
//! implementation, which changes its root into the container's: here nothing of the container is ever the root of a process
//! of ours, and what is written into a container is written with the rights of its root only.
//!
//! - `names`: what the text of a path says
//! - `landing`: what is called how at the destination
//! - `end`: what a copy comes from and goes to; `tree`: finding files there; `stopped`: the tree of a container that
//!   doesn't run
//! - `writer`: the process that writes

mod end;
mod landing;
mod names;
mod stopped;
mod tree;
mod writer;

use crate::request::{CopyEnd, CopyRequest};
use crate::{Error, Home, events, find, output};
use end::{Access, End, Source};
use landing::{Landing, There};
use linux::Errno;
use rustix::fs::FileType;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::fd::AsFd;
use store::Limits;
use store::tar::Reader;
use store::unpack::{self, Destination, Owners};
use tree::Found;
use types::kind::Kind;

/// Archives are read in pieces of this size.
const BUFFER_BYTES: usize = 256 << 10;

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of the archive that docker would have sent: without exact times.
    pub bytes: u64,
    /// Where it went, as docker shows it.
    pub to: String,
}

/// Copies. `watch` hears how many bytes have gone over. `None` for a copy to standard output.
pub fn copy(home: &Home, request: &CopyRequest, watch: &dyn Fn(u64)) -> Result<Option<Copied>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let copied = between(home, request, watch)?;
    tell(home, request);
    Ok(copied)
}

/// Tells of a copy from or to a container, in docker's words; nobody is told of those from images.
fn tell(home: &Home, request: &CopyRequest) {
    let (action, name, path) = match (&request.source, &request.destination) {
        (CopyEnd::Of { name, path }, _) => ("archive-path", name, path),
        (_, CopyEnd::Of { name, path }) => ("extract-to-dir", name, path),
        _ => return,
    };
    if let Ok(container) = find::container(home, name) {
        events::container(home, &container.config, action, &[("path", path.as_str())]);
    }
}

fn between(home: &Home, request: &CopyRequest, watch: &dyn Fn(u64)) -> Result<Option<Copied>, Error> {
    match (&request.source, &request.destination) {
        (CopyEnd::Of { name, path }, CopyEnd::Local(to)) => {
            let host = End::host(to)?;
            check_output(&host)?;
            let from = End::of(home, name, path, Access::Read)?;
            out(request, &from, &host, watch).map(Some)
        }
        (CopyEnd::Of { name, path }, CopyEnd::Stream) => {
            let from = End::of(home, name, path, Access::Read)?;
            let source = from.source(request.follow_link)?;
            // The link's own name is only for what is written here.
            let name = source.name_of_target.as_deref().unwrap_or(&source.name);
            let mut out = std::io::stdout().lock();
            source.write(&from, name, &mut out)?;
            out.flush().map_err(|error| Error::io("write to", "standard output", &error))?;
            Ok(None)
        }
        (CopyEnd::Local(from), CopyEnd::Of { name, path }) => {
            let to = End::of(home, name, path, Access::Write)?;
            into(request, Some(&End::host(from)?), name, &to, watch).map(Some)
        }
        (CopyEnd::Stream, CopyEnd::Of { name, path }) => {
            let to = End::of(home, name, path, Access::Write)?;
            into(request, None, name, &to, watch).map(Some)
        }
        (CopyEnd::Of { .. }, CopyEnd::Of { .. }) => Err(refused(
            "copying between containers is not supported",
            "copy to this host first, or pipe: berth cp A:/x - | berth cp - B:/",
        )),
        _ => Err(refused(
            "must specify at least one container source",
            "a container's path is CONTAINER:PATH; a local one with a colon begins with ./ or /",
        )),
    }
}

fn refused(message: &str, hint: &str) -> Error {
    Error::Copy { message: message.to_owned(), kind: Kind::Invalid, hint: Some(hint.to_owned()) }
}

fn plain(message: String, kind: Kind) -> Error {
    Error::Copy { message, kind, hint: None }
}

/// Out of a container or an image.
fn out(request: &CopyRequest, from: &End, host: &End, watch: &dyn Fn(u64)) -> Result<Copied, Error> {
    let source = from.source(request.follow_link)?;
    let (destination, there) =
        host.tree.follow(&host.path).map_err(|errno| host.missing(&host.path, errno))?;
    let landing = land(&source, &destination, there.as_ref())?;
    let directory = directory_of(host, &landing, there)?;
    let owners = match (request.archive, output::caller()) {
        (true, _) => Owners::Archived,
        (false, Some((uid, gid))) => Owners::One(uid.as_raw(), gid.as_raw()),
        (false, None) => Owners::One(0, 0),
    };
    let destination = Destination { directory: directory.file.as_fd(), links: None, owners, devices: true };
    let bytes = writer::apart(
        None,
        |archive| place(archive, false, &destination),
        |out| source.write(from, &landing.name, out),
        watch,
    )?;
    Ok(Copied { bytes, to: String::from_utf8_lossy(&host.path).into_owned() })
}

/// Into the container `name`; `from` is a path of this host, or none for standard input.
fn into(
    request: &CopyRequest,
    from: Option<&End>,
    name: &str,
    to: &End,
    watch: &dyn Fn(u64),
) -> Result<Copied, Error> {
    let shown = format!("{name}:{}", to.given);
    // As docker: a destination that can't be looked at is one that isn't there.
    let (destination, there) = to.tree.follow(&to.path).unwrap_or((to.path.clone(), None));
    if let Some(found) = &there {
        to.admits(&destination, found)?;
        if is_device(found) {
            let message =
                format!("destination \"{shown}\" must be a directory or a regular file: got a device");
            return Err(plain(message, Kind::Invalid));
        }
    }
    let source = match from {
        Some(from) => Some((from, from.source(request.follow_link)?)),
        None => None,
    };
    let landing = match &source {
        // Docker doesn't take an empty path for the root here.
        Some((_, source)) if to.given.is_empty() && !source.found.is_directory() => {
            return Err(plain(landing::Refusal::NoSuchDirectory.words().to_owned(), Kind::Invalid));
        }
        Some((_, source)) => land(source, &destination, there.as_ref())?,
        None if there.as_ref().is_some_and(Found::is_directory) => {
            Landing { directory: destination, name: b".".to_vec() }
        }
        None => return Err(plain(format!("destination \"{shown}\" must be a directory"), Kind::Invalid)),
    };
    let directory = directory_of(to, &landing, there)?;
    to.admits(&landing.directory, &directory)?;
    to.check_writable(&directory)?;
    let own = names::clean(&landing.directory);
    let is_foreign = source.is_none();
    let destination = Destination {
        directory: directory.file.as_fd(),
        links: is_foreign.then_some((to.tree.root(), own.as_slice())),
        owners: if request.archive || is_foreign { Owners::Archived } else { Owners::One(0, 0) },
        devices: false,
    };
    let bytes = writer::apart(
        to.tree.user_namespace.as_ref().map(AsFd::as_fd),
        |archive| place(archive, is_foreign, &destination),
        |out| match &source {
            Some((from, source)) => source.write(from, &landing.name, out),
            None => feed_stdin(out),
        },
        watch,
    )?;
    Ok(Copied { bytes, to: shown })
}

fn land(source: &Source, destination: &[u8], there: Option<&Found>) -> Result<Landing, Error> {
    let there = match there {
        None => There::Nothing,
        Some(found) if found.is_directory() => There::Directory,
        Some(_) => There::File,
    };
    landing::plan(source.found.is_directory(), &source.name, destination, there)
        .map_err(|refusal| plain(refusal.words().to_owned(), Kind::Invalid))
}

/// The directory in which a copy lands, which must be there.
fn directory_of(end: &End, landing: &Landing, there: Option<Found>) -> Result<Found, Error> {
    match there {
        Some(found) if found.is_directory() => Ok(found),
        _ => end.tree.directory(&landing.directory).map_err(|errno| end.missing(&landing.directory, errno)),
    }
}

fn is_device(found: &Found) -> bool {
    matches!(found.kind(), FileType::CharacterDevice | FileType::BlockDevice)
}

/// Docker's check of a path on this host that is written to.
fn check_output(host: &End) -> Result<(), Error> {
    let (directory, _) = names::split(&names::clean(&host.path));
    if matches!(host.tree.directory(&directory), Err(Errno::NOENT)) {
        let directory = String::from_utf8_lossy(&directory);
        let message = format!("invalid output path: directory {directory:?} does not exist");
        return Err(plain(message, Kind::NotFound));
    }
    match host.tree.follow(&host.path) {
        Ok((_, Some(found))) if is_device(&found) => {
            let path = String::from_utf8_lossy(&host.path);
            let message =
                format!("invalid output path: {path:?} must be a directory or a regular file: got a device");
            Err(plain(message, Kind::Invalid))
        }
        Ok(_) => Ok(()),
        Err(errno) => Err(host.missing(&host.path, errno)),
    }
}

/// Unpacks an archive of our own making, or of somebody else's, which may be compressed and is held to limits.
fn place(archive: BufReader<File>, is_foreign: bool, destination: &Destination<'_>) -> Result<(), Error> {
    if is_foreign {
        let (plain, _) = store::decompress(archive)?;
        let plain = BufReader::with_capacity(BUFFER_BYTES, plain);
        unpack::unpack_into(&mut Reader::new(plain), destination, &Limits::default())?;
    } else {
        let limits = Limits { bytes_max: u64::MAX, entries_max: u64::MAX, ..Limits::default() };
        unpack::unpack_into(&mut Reader::new(archive), destination, &limits)?;
    }
    Ok(())
}

/// Passes standard input on; how much it was.
fn feed_stdin(out: &mut dyn Write) -> Result<u64, Error> {
    let mut stdin = std::io::stdin().lock();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = stdin.read(&mut buffer).map_err(|error| Error::io("read", "standard input", &error))?;
        if read == 0 {
            return Ok(bytes);
        }
        bytes += read as u64;
        out.write_all(&buffer[..read]).map_err(|error| Error::io("write", "the copy", &error))?;
    }
}
