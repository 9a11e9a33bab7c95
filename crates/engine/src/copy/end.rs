//! What a copy comes from or goes to: a path of this host, of a container, or of an image.

use super::tree::{Found, Tree};
use super::{names, plain, refused, stopped};
use crate::find::{self, Container, State};
use crate::{Error, Home, cell, images, snapshot};
use linux::Errno;
use rustix::fs::{CWD, FileType, Mode, OFlags, StatVfsMountFlags, openat};
use std::fmt::Display;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use store::pack::{self, Resource};
use types::kind::Kind;

/// Whose files they are.
#[derive(Debug)]
enum Whose {
    Host,
    Container(String),
    Image(String),
}

/// One end of a copy, open.
#[derive(Debug)]
pub struct End {
    /// The files.
    pub tree: Tree,
    whose: Whose,
    /// The path, absolute and cleaned; it says at its end what it said of a directory.
    pub path: Vec<u8>,
    /// As it was given.
    pub given: String,
    /// What must stay as it is meanwhile.
    _held: Vec<OwnedFd>,
}

/// What is copied.
#[derive(Debug)]
pub struct Source {
    /// The file or directory.
    pub found: Found,
    /// What it's called, `.` for the content of a directory.
    pub name: Vec<u8>,
    /// What it's called itself, if that's another name because links were followed.
    pub name_of_target: Option<Vec<u8>>,
}

/// What is done to a container's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// They are read.
    Read,
    /// They are written.
    Write,
}

impl End {
    /// A path of this host.
    pub fn host(given: &str) -> Result<End, Error> {
        let tree = Tree::host().map_err(|errno| Error::system("open", "/", errno))?;
        let here = std::env::current_dir();
        let here = here.map_err(|error| Error::io("find", "the working directory", &error))?;
        let path = names::absolute(here.as_os_str().as_bytes(), given.as_bytes());
        Ok(End { tree, whose: Whose::Host, path, given: given.to_owned(), _held: Vec::new() })
    }

    /// A path of the container `name` or, if there is none, of an image. Of an image's name `name` may be a part only: it
    /// ends where the path begins.
    pub fn of(home: &Home, name: &str, path: &str, access: Access) -> Result<End, Error> {
        let container = match find::container(home, name) {
            Err(Error::NoContainer { given }) => {
                let image = End::of_image(home, name, path, access)?;
                return image.ok_or(Error::NoContainer { given });
            }
            container => container?,
        };
        let (tree, held) = match &container.state {
            State::Running(running) => (of_running(&container, running)?, Vec::new()),
            State::Created | State::Restarting(_) | State::Exited(_) => {
                stopped::open(home, &container, access)?
            }
            State::Starting => {
                return Err(Error::State { id: name.to_owned(), why: "is being started".to_owned() });
            }
        };
        let path_of = names::absolute(b"/", path.as_bytes());
        let whose = Whose::Container(name.to_owned());
        Ok(End { tree, whose, path: path_of, given: path.to_owned(), _held: held })
    }

    fn of_image(home: &Home, name: &str, path: &str, access: Access) -> Result<Option<End>, Error> {
        let word = format!("{name}:{path}");
        // A tag has no slash, and a port is followed by no path from a root.
        let Some((name, path)) = word.split_once(":/").or_else(|| word.rsplit_once(':')) else {
            return Ok(None);
        };
        let path = if word.contains(":/") { format!("/{path}") } else { path.to_owned() };
        let Some(store) = images::look_at_store(home)? else { return Ok(None) };
        let image = match store.resolve_image(name) {
            Err(store::Error::NoImage { .. } | store::Error::Reference(_)) => return Ok(None),
            image => image?,
        };
        if access == Access::Write {
            let hint = format!(
                "copy into a container that is made of it: berth run -d --name NAME {name}; then commit that"
            );
            return Err(refused(&format!("cannot copy into image {name}: images don't change"), &hint));
        }
        let held = store.pin_layers(&image)?;
        let layers: Vec<_> = image.layers.into_iter().map(|layer| layer.tree).collect();
        if layers.is_empty() {
            return Err(refused(&format!("image {name} has no files"), "it has no layers"));
        }
        let tree = Tree::confined(snapshot::view_of(&layers, None)?, None, None);
        let path_of = names::absolute(b"/", path.as_bytes());
        let whose = Whose::Image(name.to_owned());
        Ok(Some(End { tree, whose, path: path_of, given: path, _held: held }))
    }

    /// The failure to find what is at `path`.
    pub fn missing(&self, path: &[u8], errno: Errno) -> Error {
        let path = String::from_utf8_lossy(path);
        let of: &dyn Display = match &self.whose {
            Whose::Host => &"",
            Whose::Container(name) => &format!(" in container {name}"),
            Whose::Image(name) => &format!(" in image {name}"),
        };
        let kind = match errno {
            Errno::NOENT => Kind::NotFound,
            Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => Kind::Invalid,
            _ => Kind::System,
        };
        plain(
            match (&self.whose, errno) {
                (Whose::Container(_) | Whose::Image(_), Errno::NOENT) => {
                    format!("could not find the file {path}{of}")
                }
                (_, errno) => format!("cannot look at {path}{of}: {}", runtime::errno_text(errno)),
            },
            kind,
        )
    }

    /// What is to be copied from here.
    pub fn source(&self, follow_link: bool) -> Result<Source, Error> {
        if self.given.is_empty() {
            return Err(refused("the source's path is empty", "the root of a container is CONTAINER:/"));
        }
        let path = &self.path;
        let mut source = Source {
            found: self.tree.look(path).map_err(|errno| self.missing(path, errno))?,
            name: names::split(path).1,
            name_of_target: None,
        };
        if follow_link && source.found.kind() == FileType::Symlink {
            let (target, found) = self.tree.follow(path).map_err(|errno| self.missing(path, errno))?;
            source.found = found.ok_or_else(|| self.missing(&target, Errno::NOENT))?;
            source.name_of_target = Some(names::split(&target).1);
        }
        self.admits(path, &source.found)?;
        Ok(source)
    }

    /// Refuses what is the kernel's, where reading and writing mean something else.
    pub fn admits(&self, path: &[u8], found: &Found) -> Result<(), Error> {
        let Whose::Container(name) = &self.whose else { return Ok(()) };
        match pack::is_of_kernel(found.file.as_fd()) {
            Ok(false) => Ok(()),
            Ok(true) => {
                let path = String::from_utf8_lossy(path);
                Err(Error::Copy {
                    message: format!(
                        "cannot copy {name}:{path}: it is the kernel's, not a file of the container"
                    ),
                    kind: Kind::Unsupported,
                    hint: Some(format!("try berth exec {name} cat {path}")),
                })
            }
            Err(errno) => Err(self.missing(path, errno)),
        }
    }

    /// Docker's words for a destination that can't be written to.
    pub fn check_writable(&self, directory: &Found) -> Result<(), Error> {
        let vfs = rustix::fs::fstatvfs(&directory.file);
        if !vfs.is_ok_and(|vfs| vfs.f_flag.contains(StatVfsMountFlags::RDONLY)) {
            return Ok(());
        }
        let root = rustix::fs::fstat(self.tree.root());
        let message = match root.is_ok_and(|root| root.st_dev == directory.stat.st_dev) {
            true => "container rootfs is marked read-only",
            false => "mounted volume is marked read-only",
        };
        Err(plain(message.to_owned(), Kind::Invalid))
    }
}

/// The tree that the processes of a running container see.
fn of_running(container: &Container, running: &cell::Running) -> Result<Tree, Error> {
    let ended = || Error::State { id: container.config.name.clone(), why: "has just ended".to_owned() };
    let pidfd = running.init.open().ok_or_else(ended)?;
    let path = format!("/proc/{}/root", running.init.pid);
    let root: Result<OwnedFd, Errno> =
        openat(CWD, path.as_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let user_namespace = match container.config.user_namespace {
        crate::config::UserNamespace::Host => None,
        _ => Some(runtime::userns::open_of(running.init.pid)?),
    };
    // What was opened by number was its own, unless it has ended.
    if cell::has_ended(pidfd.as_fd()) {
        return Err(ended());
    }
    let root = root.map_err(|errno| Error::system("open the root of", &container.config.name, errno))?;
    let ids = match &user_namespace {
        None => None,
        Some(_) => Some(maps_of(running.init.pid).ok_or_else(ended)?),
    };
    Ok(Tree::confined(root, ids, user_namespace))
}

/// The id maps of a process.
fn maps_of(pid: i32) -> Option<super::tree::Maps> {
    let map = |file: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        runtime::userns::parse_map(&text)
    };
    Some((map("uid_map")?, map("gid_map")?))
}

impl Source {
    /// Archives it as `name`; the bytes of that, as docker counts them.
    pub fn write(&self, end: &End, name: &[u8], out: &mut dyn Write) -> Result<u64, Error> {
        let ids = end.tree.ids.as_ref().map(|(users, groups)| (users.as_slice(), groups.as_slice()));
        let written = pack::write_resource(&Resource { file: self.found.file.as_fd(), name, ids }, out)?;
        Ok(written.archive_bytes - written.extended_bytes)
    }
}
