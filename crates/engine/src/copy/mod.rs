//! `berth cp`: files between this host and a container.
//!
//! Docker's rules, to the letter where they can be seen: names, what lands where, words of failures. Different from its
//! implementation, which changes its root into the container's: here nothing of the container is ever the root of a process
//! of ours, and what is written into a container is written with the rights of its root only.
//!
//! - `names`: what the text of a path says
//! - `landing`: what is called how at the destination
//! - `tree`: finding files
//! - `writer`: the process that writes

mod landing;
mod names;
mod tree;
mod writer;

use crate::find::{self, Container, State};
use crate::request::{CopyEnd, CopyRequest};
use crate::{Error, Home, cell, output};
use landing::{Landing, There};
use linux::Errno;
use rustix::fs::{CWD, FileType, Mode, OFlags, StatVfsMountFlags, openat};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use store::Limits;
use store::pack::{self, Resource};
use store::tar::Reader;
use store::unpack::{self, Destination, Owners};
use tree::{Found, Tree};
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
    match (&request.source, &request.destination) {
        (CopyEnd::Of { name, path }, CopyEnd::Local(to)) => {
            out(home, request, name, path, to, watch).map(Some)
        }
        (CopyEnd::Of { name, path }, CopyEnd::Stream) => {
            let end = End::of_container(home, name)?;
            let source = end.source(path, request.follow_link)?;
            // The link's own name is only for what is written here.
            let name = source.name_of_target.as_deref().unwrap_or(&source.name);
            let mut out = std::io::stdout().lock();
            source.write(&end, name, &mut out)?;
            out.flush().map_err(|error| Error::io("write to", "standard output", &error))?;
            Ok(None)
        }
        (CopyEnd::Local(from), CopyEnd::Of { name, path }) => {
            into(home, request, Some(from), name, path, watch).map(Some)
        }
        (CopyEnd::Stream, CopyEnd::Of { name, path }) => {
            into(home, request, None, name, path, watch).map(Some)
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

fn kind_of(errno: Errno) -> Kind {
    match errno {
        Errno::NOENT => Kind::NotFound,
        Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => Kind::Invalid,
        _ => Kind::System,
    }
}

/// One end of a copy, open.
struct End {
    tree: Tree,
    /// The container's name; none for this host.
    name: Option<String>,
}

/// What is copied.
struct Source {
    found: Found,
    /// What it's called, `.` for the content of a directory.
    name: Vec<u8>,
    /// What it's called itself, if that's another name because links were followed.
    name_of_target: Option<Vec<u8>>,
}

impl End {
    fn host() -> Result<End, Error> {
        let tree = Tree::host().map_err(|errno| Error::system("open", "/", errno))?;
        Ok(End { tree, name: None })
    }

    fn of_container(home: &Home, given: &str) -> Result<End, Error> {
        let container = find::container(home, given)?;
        let tree = match &container.state {
            State::Running(running) => of_running(&container, running)?,
            _ => return Err(Error::State { id: given.to_owned(), why: "is not running".to_owned() }),
        };
        Ok(End { tree, name: Some(given.to_owned()) })
    }

    /// The absolute path that is meant by `given`.
    fn absolute(&self, given: &str) -> Result<Vec<u8>, Error> {
        if self.name.is_some() {
            return Ok(names::absolute(b"/", given.as_bytes()));
        }
        let here = std::env::current_dir();
        let here = here.map_err(|error| Error::io("find", "the working directory", &error))?;
        Ok(names::absolute(here.as_os_str().as_bytes(), given.as_bytes()))
    }

    fn missing(&self, path: &[u8], errno: Errno) -> Error {
        let path = String::from_utf8_lossy(path);
        let message = match (&self.name, errno) {
            (Some(name), Errno::NOENT) => format!("could not find the file {path} in container {name}"),
            (Some(name), errno) => {
                format!("cannot look at {path} in container {name}: {}", runtime::errno_text(errno))
            }
            (None, errno) => format!("cannot look at {path}: {}", runtime::errno_text(errno)),
        };
        plain(message, kind_of(errno))
    }

    fn source(&self, given: &str, follow_link: bool) -> Result<Source, Error> {
        if given.is_empty() {
            return Err(refused("the source's path is empty", "the root of a container is CONTAINER:/"));
        }
        let path = self.absolute(given)?;
        let mut source = Source {
            found: self.tree.look(&path).map_err(|errno| self.missing(&path, errno))?,
            name: names::split(&path).1,
            name_of_target: None,
        };
        if follow_link && source.found.kind() == FileType::Symlink {
            let (target, found) = self.tree.follow(&path).map_err(|errno| self.missing(&path, errno))?;
            source.found = found.ok_or_else(|| self.missing(&target, Errno::NOENT))?;
            source.name_of_target = Some(names::split(&target).1);
        }
        self.admits(&path, &source.found)?;
        Ok(source)
    }

    /// Refuses what is the kernel's, where reading and writing mean something else.
    fn admits(&self, path: &[u8], found: &Found) -> Result<(), Error> {
        let Some(name) = &self.name else { return Ok(()) };
        let path = String::from_utf8_lossy(path);
        match pack::is_of_kernel(found.file.as_fd()) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Error::Copy {
                message: format!(
                    "cannot copy {name}:{path}: it is a file of the kernel's, not of the container's"
                ),
                kind: Kind::Unsupported,
                hint: Some(format!("try berth exec {name} cat {path}")),
            }),
            Err(errno) => Err(self.missing(path.as_bytes(), errno)),
        }
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
    let maps = container.config.spec.linux.as_ref();
    let ids =
        user_namespace.as_ref().and(maps).map(|maps| (maps.uid_mappings.clone(), maps.gid_mappings.clone()));
    Ok(Tree::confined(root, ids, user_namespace))
}

impl Source {
    /// Archives it as `name`; the bytes of that, as docker counts them.
    fn write(&self, end: &End, name: &[u8], out: &mut dyn Write) -> Result<u64, Error> {
        let ids = end.tree.ids.as_ref().map(|(users, groups)| (users.as_slice(), groups.as_slice()));
        let written = pack::write_resource(&Resource { file: self.found.file.as_fd(), name, ids }, out)?;
        Ok(written.archive_bytes - written.extended_bytes)
    }
}

/// Out of a container.
fn out(
    home: &Home,
    request: &CopyRequest,
    name: &str,
    path: &str,
    to: &str,
    watch: &dyn Fn(u64),
) -> Result<Copied, Error> {
    let host = End::host()?;
    let shown = host.absolute(to)?;
    let text = String::from_utf8_lossy(&shown).into_owned();
    check_output(&host, &shown, &text)?;
    let end = End::of_container(home, name)?;
    let source = end.source(path, request.follow_link)?;
    let (destination, there) = host.tree.follow(&shown).map_err(|errno| host.missing(&shown, errno))?;
    let landing = land(source.found.is_directory(), &source.name, &destination, there.as_ref())?;
    let directory = match there {
        Some(found) if found.is_directory() => found,
        _ => host
            .tree
            .directory(&landing.directory)
            .map_err(|errno| host.missing(&landing.directory, errno))?,
    };
    let owners = match (request.archive, output::caller()) {
        (true, _) => Owners::Archived,
        (false, Some((uid, gid))) => Owners::One(uid.as_raw(), gid.as_raw()),
        (false, None) => Owners::One(0, 0),
    };
    let destination = Destination { directory: directory.file.as_fd(), links: None, owners, devices: true };
    let bytes = writer::apart(
        None,
        |archive| place(archive, false, &destination),
        |out| source.write(&end, &landing.name, out),
        watch,
    )?;
    Ok(Copied { bytes, to: text })
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

fn land(
    is_directory: bool,
    name: &[u8],
    destination: &[u8],
    there: Option<&Found>,
) -> Result<Landing, Error> {
    let there = match there {
        None => There::Nothing,
        Some(found) if found.is_directory() => There::Directory,
        Some(_) => There::File,
    };
    landing::plan(is_directory, name, destination, there)
        .map_err(|refusal| plain(refusal.words().to_owned(), Kind::Invalid))
}

/// Docker's check of a path on this host that is written to.
fn check_output(host: &End, path: &[u8], text: &str) -> Result<(), Error> {
    let (directory, _) = names::split(&names::clean(path));
    if matches!(host.tree.directory(&directory), Err(Errno::NOENT)) {
        let directory = String::from_utf8_lossy(&directory);
        let message = format!("invalid output path: directory {directory:?} does not exist");
        return Err(plain(message, Kind::NotFound));
    }
    match host.tree.follow(path) {
        Ok((_, Some(found))) if matches!(found.kind(), FileType::CharacterDevice | FileType::BlockDevice) => {
            let message =
                format!("invalid output path: {text:?} must be a directory or a regular file: got a device");
            Err(plain(message, Kind::Invalid))
        }
        Ok(_) => Ok(()),
        Err(errno) => Err(host.missing(path, errno)),
    }
}

/// Into a container; `from` is a path of this host, or none for standard input.
fn into(
    home: &Home,
    request: &CopyRequest,
    from: Option<&str>,
    name: &str,
    path: &str,
    watch: &dyn Fn(u64),
) -> Result<Copied, Error> {
    let end = End::of_container(home, name)?;
    let given = names::absolute(b"/", path.as_bytes());
    // As docker: a destination that can't be looked at is one that isn't there.
    let (destination, there) = end.tree.follow(&given).unwrap_or((given.clone(), None));
    if let Some(found) = &there {
        end.admits(&destination, found)?;
        if matches!(found.kind(), FileType::CharacterDevice | FileType::BlockDevice) {
            let message =
                format!("destination \"{name}:{path}\" must be a directory or a regular file: got a device");
            return Err(plain(message, Kind::Invalid));
        }
    }
    let host = End::host()?;
    let source = match from {
        Some(from) => Some(host.source(from, request.follow_link)?),
        None => None,
    };
    let landing = match &source {
        Some(source) if path.is_empty() && !source.found.is_directory() => {
            return Err(plain(landing::Refusal::NoSuchDirectory.words().to_owned(), Kind::Invalid));
        }
        Some(source) => land(source.found.is_directory(), &source.name, &destination, there.as_ref())?,
        None if there.as_ref().is_some_and(Found::is_directory) => {
            Landing { directory: destination, name: b".".to_vec() }
        }
        None => {
            let message = format!("destination \"{name}:{path}\" must be a directory");
            return Err(plain(message, Kind::Invalid));
        }
    };
    let directory = match there {
        Some(found) if found.is_directory() => found,
        _ => {
            end.tree.directory(&landing.directory).map_err(|errno| end.missing(&landing.directory, errno))?
        }
    };
    end.admits(&landing.directory, &directory)?;
    check_writable(&end, &directory)?;
    let own = names::clean(&landing.directory);
    let destination = Destination {
        directory: directory.file.as_fd(),
        links: source.is_none().then_some((end.tree.root(), own.as_slice())),
        owners: if request.archive || source.is_none() { Owners::Archived } else { Owners::One(0, 0) },
        devices: false,
    };
    let bytes = writer::apart(
        end.tree.user_namespace.as_ref().map(AsFd::as_fd),
        |archive| place(archive, source.is_none(), &destination),
        |out| match &source {
            Some(source) => source.write(&host, &landing.name, out),
            None => feed_stdin(out),
        },
        watch,
    )?;
    Ok(Copied { bytes, to: format!("{name}:{path}") })
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

/// Docker's words for a destination that can't be written to.
fn check_writable(end: &End, directory: &Found) -> Result<(), Error> {
    let vfs = rustix::fs::fstatvfs(&directory.file);
    if !vfs.is_ok_and(|vfs| vfs.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return Ok(());
    }
    let root = rustix::fs::fstat(end.tree.root());
    let message = match root.is_ok_and(|root| root.st_dev == directory.stat.st_dev) {
        true => "container rootfs is marked read-only",
        false => "mounted volume is marked read-only",
    };
    Err(plain(message.to_owned(), Kind::Invalid))
}
