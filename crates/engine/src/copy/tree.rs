//! The trees between which files are copied: this host's, a running container's, others' as they would be mounted.
//!
//! Paths of a container are resolved by the kernel, below the container's root (`RESOLVE_IN_ROOT`), in one call for each:
//! whatever a process inside does to names and links meanwhile, what is found is the container's. All that follows works
//! on what was found, by descriptor.

use super::names;
use linux::Errno;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, openat2};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use types::oci::IdMapping;

/// How often the kernel is asked again when it couldn't tell whether a path stayed inside, because something was renamed.
const TRIES_MAX: usize = 128;

/// Links followed at the end of one path, as many as the kernel does.
const LINKS_MAX: usize = 40;

/// A user namespace's maps of users and of groups.
pub type Maps = (Vec<IdMapping>, Vec<IdMapping>);

/// A tree of files.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    resolve: ResolveFlags,
    /// Maps of users and groups, where ids are those of a user namespace's inside.
    pub ids: Option<Maps>,
    /// The user namespace with whose rights files are written.
    pub user_namespace: Option<OwnedFd>,
}

/// A file of a tree.
#[derive(Debug)]
pub struct Found {
    /// Open as a path.
    pub file: OwnedFd,
    /// What it is.
    pub stat: Stat,
}

impl Found {
    /// Its type.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Whether it's a directory.
    pub fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    fn link_target(&self) -> Result<Vec<u8>, Errno> {
        Ok(rustix::fs::readlinkat(&self.file, "", Vec::new())?.into_bytes())
    }
}

impl Tree {
    /// This host's, as the caller sees it.
    pub fn host() -> Result<Tree, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty())?;
        Ok(Tree { root, resolve: ResolveFlags::empty(), ids: None, user_namespace: None })
    }

    /// One whose root is `root`, out of which nothing leads.
    pub fn confined(root: OwnedFd, ids: Option<Maps>, user_namespace: Option<OwnedFd>) -> Tree {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Tree { root, resolve, ids, user_namespace }
    }

    /// Its root.
    pub fn root(&self) -> std::os::fd::BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut tries = 0;
        loop {
            tries += 1;
            let path = OsStr::from_bytes(path);
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), self.resolve) {
                Err(Errno::AGAIN | Errno::INTR) if tries < TRIES_MAX => {}
                opened => return opened,
            }
        }
    }

    /// What is at an absolute path; a link at its end is followed only if the path says that it's a directory.
    pub fn look(&self, path: &[u8]) -> Result<Found, Errno> {
        let last = match names::asserts_directory(path) {
            true => OFlags::DIRECTORY,
            false => OFlags::NOFOLLOW,
        };
        let file = self.open(path, OFlags::PATH | last)?;
        let stat = rustix::fs::fstat(&file)?;
        Ok(Found { file, stat })
    }

    /// The path that links at the end of an absolute `path` lead to, and what is there; the path of what isn't there, if
    /// the last link points at nothing.
    pub fn follow(&self, path: &[u8]) -> Result<(Vec<u8>, Option<Found>), Errno> {
        let mut path = path.to_vec();
        for _ in 0..LINKS_MAX {
            let found = match self.look(&path) {
                Err(Errno::NOENT) => return Ok((path, None)),
                found => found?,
            };
            if found.kind() != FileType::Symlink {
                return Ok((path, Some(found)));
            }
            let target = found.link_target()?;
            // Not cleaned: what `..` means depends on the links before it.
            path = match target.starts_with(b"/") {
                true => target,
                false => [&names::split(&path).0, b"/".as_slice(), &target].concat(),
            };
        }
        Err(Errno::LOOP)
    }

    /// Opens a directory, links followed.
    pub fn directory(&self, path: &[u8]) -> Result<Found, Errno> {
        let file = self.open(path, OFlags::PATH | OFlags::DIRECTORY)?;
        let stat = rustix::fs::fstat(&file)?;
        Ok(Found { file, stat })
    }
}
