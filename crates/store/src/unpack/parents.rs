//! The directories that entries lie in: the ones on the way to the last entry stay open.

use super::{Fault, Place, Whiteouts, call, mark_opaque};
use crate::overlay;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// Directories kept open.
const OPEN_MAX: usize = 16;

pub struct Parents<'a> {
    place: Place<'a>,
    /// A path below the root.
    path: Vec<u8>,
    /// Directories on the way of `path`, by how many bytes of it lead to them, longer ones last.
    open: Vec<(usize, Rc<OwnedFd>)>,
}

impl<'a> Parents<'a> {
    pub fn new(place: Place<'a>) -> Parents<'a> {
        Parents { place, path: Vec::new(), open: Vec::new() }
    }

    /// To be called when something may have been removed.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// The directory at the clean `path`, made with its parents where missing; `implied` gets the paths of those.
    pub fn open(
        &mut self,
        path: &[u8],
        whiteouts: Whiteouts,
        implied: &mut Vec<Vec<u8>>,
    ) -> Result<Rc<OwnedFd>, Fault> {
        let leads = |known: &[u8]| {
            path.starts_with(known) && (known.is_empty() || path.get(known.len()).is_none_or(|b| *b == b'/'))
        };
        while let Some((length, _)) = self.open.last()
            && !leads(&self.path[..*length])
        {
            self.open.pop();
        }
        let known = self.open.last();
        if let Some((length, fd)) = known
            && *length == path.len()
        {
            return Ok(Rc::clone(fd));
        }
        let below = known.and_then(|(length, fd)| {
            let rest = &path[*length + usize::from(*length != 0)..];
            // A symbolic link is refused, and is left to `resolve`: what it means depends on the whole path.
            (!rest.contains(&b'/')).then(|| open_component(fd, OsStr::from_bytes(rest)).ok()).flatten()
        });
        let fd = match below.map_or_else(|| self.place.resolve(path), Ok) {
            Err(Errno::NOENT | Errno::NOTDIR) => self.make(path, whiteouts, implied)?,
            resolved => call("openat2", resolved)?,
        };
        call("openat2", self.place.admits(&fd))?;
        let fd = Rc::new(fd);
        self.path.clear();
        self.path.extend_from_slice(path);
        if self.open.len() == OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push((path.len(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// Walks down `path`, one component at a time, making what is missing as 0755 of root.
    fn make(&self, path: &[u8], whiteouts: Whiteouts, implied: &mut Vec<Vec<u8>>) -> Result<OwnedFd, Fault> {
        let mut dir = call("openat2", self.place.resolve(b""))?;
        let mut end = 0;
        for component in path.split(|byte| *byte == b'/') {
            end += component.len() + usize::from(end != 0);
            let name = OsStr::from_bytes(component);
            dir = match open_component(&dir, name) {
                Ok(next) => next,
                Err(Errno::NOENT) => {
                    implied.push(path[..end].to_vec());
                    make_directory(&dir, name)?
                }
                Err(Errno::NOTDIR | Errno::LOOP)
                    if whiteouts == Whiteouts::OfLayer && is_whiteout(&dir, name) =>
                {
                    call("unlinkat", rustix::fs::unlinkat(&dir, name, AtFlags::empty()))?;
                    let next = make_directory(&dir, name)?;
                    mark_opaque(dir.as_fd(), name)?;
                    next
                }
                // A symbolic link: what it means depends on the whole path.
                Err(Errno::NOTDIR | Errno::LOOP) => call("openat2", self.place.resolve(&path[..end]))?,
                Err(error) => return Err(Fault::Call("openat", error)),
            };
        }
        Ok(dir)
    }
}

fn make_directory(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Fault> {
    call("mkdirat", rustix::fs::mkdirat(dir, name, Mode::RWXU))?;
    let made = call("openat", open_component(dir, name))?;
    call("fchmodat", rustix::fs::chmodat(dir, name, Mode::from_raw_mode(0o755), AtFlags::empty()))?;
    Ok(made)
}

fn is_whiteout(dir: &OwnedFd, name: &OsStr) -> bool {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| overlay::is_whiteout(&stat))
}

fn open_component(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}
