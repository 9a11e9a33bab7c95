//! Where a build's files come from, and its Dockerfile.
//!
//! A directory of this host is used in place: nothing is copied, and no link leads out of it. An archive, from a file, a URL or
//! standard input, is unpacked into a directory of the store that goes when the [`Context`] is dropped; what isn't an
//! archive there is a Dockerfile, with no files beside it. As with docker, `.dockerignore` counts for directories only, and
//! files of archives keep their owners.

use super::fault;
use super::fetch;
use super::notes::Notes;
use crate::{Error, Home};
use build::dockerfile::ignore::{self, Matched, Matcher};
use build::op;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::cell::RefCell;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use store::listing::Take;
use store::tar::Reader;
use store::unpack::{Limits, Owners, unpack_over};
use store::{Paths, WorkDir};
use types::kind::Kind;

/// Most bytes of a Dockerfile or an ignore file. Source: BuildKit's limit for both is 16 MiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What a build's files are.
#[derive(Debug)]
pub struct Context {
    /// The tree: nothing, or a directory.
    pub tree: op::Tree,
    /// What is left out of it, as patterns.
    pub ignored: op::Ignored,
    /// The file that says so, if there is one.
    pub ignore_file: Option<String>,
    /// Whether its files' owners are copied.
    pub keeps_owner: bool,
    /// An archive that was unpacked.
    _unpacked: Option<WorkDir>,
}

/// A Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// As messages call it.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// What a build was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// A directory, an archive's file, a URL, or `-`.
    pub context: &'a str,
    /// `--file`: a path from here, or in an archive; `-` is standard input. Empty: the context's.
    pub file: &'a str,
    /// The Dockerfile's text, if it is in no file.
    pub text: Option<&'a str>,
    /// Where the command was called.
    pub here: &'a Path,
}

/// A context by another name (`--build-context NAME=…`).
#[derive(Debug)]
pub enum Named {
    /// Files.
    Files(Context),
    /// An image: `docker-image://`.
    Image(String),
    /// An image in a layout of OCI's: its directory, and tag or digest.
    Layout(PathBuf, String),
    /// A stage of another target: `target:`.
    Target(String),
}

/// Opens a build's context and reads its Dockerfile.
///
/// Errors: [`Error::Copy`], with docker's words where it has some; those of fetching and unpacking.
pub fn open(home: &Home, asked: &Asked<'_>, stdin: Option<File>) -> Result<(Context, Dockerfile), Error> {
    if asked.context == "-" && asked.file == "-" {
        return Err(invalid("invalid argument: can't use stdin for both build context and dockerfile"));
    }
    let mut stdin = stdin;
    let mut standard_input = || stdin.take().ok_or_else(|| invalid("standard input is closed"));
    let of_file = match asked.file {
        _ if asked.text.is_some() => {
            asked.text.map(|text| Dockerfile { name: "Dockerfile".to_owned(), text: text.to_owned() })
        }
        "-" => Some(read_dockerfile("-", standard_input()?)?),
        url if is_url(url) => Some(read_dockerfile(url, fetch::fetch(url, None, &Notes::of(home)?)?.file)?),
        _ => None,
    };
    match place_of(asked.context)? {
        Place::Input => of_stream(home, asked, standard_input()?, of_file),
        Place::Url(url) => of_stream(home, asked, fetch::fetch(url, None, &Notes::of(home)?)?.file, of_file),
        Place::Path(path) => {
            let path = asked.here.join(path);
            let stat = std::fs::metadata(&path);
            let missing = || {
                let message = format!("unable to prepare context: path {:?} not found", asked.context);
                fault(
                    Kind::NotFound,
                    message,
                    Some("the last argument is a directory, a URL, or -".to_owned()),
                )
            };
            match stat.map_err(|_| missing())?.file_type() {
                kind if kind.is_dir() => of_directory(asked, &path, of_file),
                kind if kind.is_file() => of_archive(home, asked, open_file(&path)?, of_file),
                _ => Err(missing()),
            }
        }
    }
}

/// Opens what `--build-context NAME=VALUE` names.
///
/// Errors: as [`open`].
pub fn open_named(home: &Home, value: &str, here: &Path) -> Result<Named, Error> {
    if let Some(image) = value.strip_prefix("docker-image://") {
        return Ok(Named::Image(image.to_owned()));
    }
    if let Some(rest) = value.strip_prefix("oci-layout://") {
        // A tag or digest follows the path.
        let name = rest.rsplit('/').next().unwrap_or_default();
        let (path, reference) = match (rest.split_once('@'), name.rsplit_once(':')) {
            (Some((path, digest)), _) => (path, digest),
            (None, Some((_, tag))) => (&rest[..rest.len() - tag.len() - 1], tag),
            (None, None) => (rest, "latest"),
        };
        return Ok(Named::Layout(here.join(path), reference.to_owned()));
    }
    if let Some(target) = value.strip_prefix("target:") {
        return Ok(Named::Target(target.to_owned()));
    }
    let files = match place_of(value)? {
        Place::Input => return Err(invalid("a named context can't be standard input")),
        Place::Url(url) => unpacked(home, fetch::fetch(url, None, &Notes::of(home)?)?.file)?,
        Place::Path(path) => {
            let path = here.join(path);
            let stat = std::fs::metadata(&path);
            let missing =
                || fault(Kind::NotFound, format!("failed to get build context path {value:?}"), None);
            match stat.map_err(|_| missing())?.file_type() {
                kind if kind.is_dir() => {
                    let root = open_directory(&path)?;
                    of_root(&path, read_ignore(root.as_fd(), ".dockerignore")?)
                }
                kind if kind.is_file() => unpacked(home, open_file(&path)?)?,
                _ => return Err(missing()),
            }
        }
    };
    Ok(Named::Files(files))
}

enum Place<'a> {
    Input,
    Url(&'a str),
    Path(&'a str),
}

fn place_of(text: &str) -> Result<Place<'_>, Error> {
    if text == "-" {
        return Ok(Place::Input);
    }
    let is_git = ["git://", "git@", "ssh://", "github.com/"].iter().any(|start| text.starts_with(start))
        || (is_url(text) && text.split(['#', '?']).next().is_some_and(|path| path.ends_with(".git")));
    if is_git {
        return Err(fault(
            Kind::Unsupported,
            format!("cannot use {text}: contexts of git are not supported yet"),
            Some("clone it, and build in the clone".to_owned()),
        ));
    }
    Ok(if is_url(text) { Place::Url(text) } else { Place::Path(text) })
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn invalid(message: &str) -> Error {
    fault(Kind::Invalid, message, None)
}

/// A directory, used where it is.
fn of_directory(
    asked: &Asked<'_>,
    path: &Path,
    given: Option<Dockerfile>,
) -> Result<(Context, Dockerfile), Error> {
    let root = open_directory(path)?;
    let (dockerfile, own) = match (given, asked.file) {
        (Some(given), _) => (given, None),
        (None, "") => {
            let (name, file) = default_dockerfile(root.as_fd(), path)?;
            let own = read_ignore(root.as_fd(), &format!("{name}.dockerignore"))?;
            (read_dockerfile(&name, file)?, own)
        }
        (None, name) => {
            // From here; docker takes one in the context as well.
            let (path, file) = match open_file(&asked.here.join(name)) {
                Ok(file) => (asked.here.join(name), file),
                Err(error) => match open_in(root.as_fd(), name) {
                    Ok(file) => (path.join(name), file),
                    Err(_) => return Err(no_dockerfile(name, &error.to_string())),
                },
            };
            let (parent, file_name) = (path.parent().unwrap_or(Path::new("/")), path.file_name());
            let file_name = file_name.unwrap_or_default().to_string_lossy().into_owned();
            let own = read_ignore(open_directory(parent)?.as_fd(), &format!("{file_name}.dockerignore"))?;
            (read_dockerfile(name, file)?, own)
        }
    };
    let ignored = match own {
        Some(own) => Some(own),
        None => read_ignore(root.as_fd(), ".dockerignore")?,
    };
    Ok((of_root(path, ignored), dockerfile))
}

fn of_root(path: &Path, ignored: Option<(String, op::Ignored)>) -> Context {
    let (ignore_file, ignored) = ignored.map_or((None, Vec::new()), |(name, lines)| (Some(name), lines));
    let tree = op::Tree::Directory(path.to_owned());
    Context { tree, ignored, ignore_file, keeps_owner: false, _unpacked: None }
}

/// A Dockerfile or an archive, as its first bytes tell.
fn of_stream(
    home: &Home,
    asked: &Asked<'_>,
    file: File,
    given: Option<Dockerfile>,
) -> Result<(Context, Dockerfile), Error> {
    let mut input = BufReader::with_capacity(64 << 10, file);
    let failed = |error| Error::io("read", "the build's context", &error);
    let start = fill(&mut input).map_err(failed)?;
    let is_archive = !start.is_empty() && store::is_archive(&start[..]);
    if is_archive {
        let input = std::io::Cursor::new(start).chain(input);
        return of_archive(home, asked, input, given);
    }
    if given.is_some() || !asked.file.is_empty() {
        return Err(invalid("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles"));
    }
    if start.is_empty() {
        let hint = "a Dockerfile or a tar archive is expected there".to_owned();
        return Err(fault(
            Kind::Invalid,
            "failed to read dockerfile: there is nothing to be read",
            Some(hint),
        ));
    }
    let dockerfile = read_dockerfile("Dockerfile", std::io::Cursor::new(start).chain(input))?;
    let tree = op::Tree::Scratch;
    let context =
        Context { tree, ignored: Vec::new(), ignore_file: None, keeps_owner: true, _unpacked: None };
    Ok((context, dockerfile))
}

/// Bytes that are enough to tell an archive by.
const START_BYTES: u64 = 1 << 20;

fn fill(input: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    input.take(START_BYTES).read_to_end(&mut start)?;
    Ok(start)
}

fn of_archive(
    home: &Home,
    asked: &Asked<'_>,
    archive: impl Read,
    given: Option<Dockerfile>,
) -> Result<(Context, Dockerfile), Error> {
    let context = unpacked(home, archive)?;
    if let Some(given) = given {
        return Ok((context, given));
    }
    let op::Tree::Directory(path) = &context.tree else { return Err(no_dockerfile("Dockerfile", "")) };
    let root = open_directory(path)?;
    let (name, file) = match asked.file {
        "" => default_dockerfile(root.as_fd(), path)?,
        name => {
            let opened = open_in(root.as_fd(), name);
            (name.to_owned(), opened.map_err(|error| no_dockerfile(name, &error.to_string()))?)
        }
    };
    let dockerfile = read_dockerfile(&name, file)?;
    Ok((context, dockerfile))
}

/// Unpacks an archive into a directory that goes with the context.
fn unpacked(home: &Home, archive: impl Read) -> Result<Context, Error> {
    // The store makes its directories.
    drop(crate::images::open_store(home)?);
    let tmp = Paths::of(&home.root).tmp();
    let work = WorkDir::create(&tmp)?;
    let plain = store::plain(BufReader::with_capacity(256 << 10, archive))?;
    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, plain));
    unpack_over(&mut reader, work.fd(), Owners::Archived, &Limits::default())?;
    let tree = op::Tree::Directory(tmp.join(work.name()));
    Ok(Context { tree, ignored: Vec::new(), ignore_file: None, keeps_owner: true, _unpacked: Some(work) })
}

fn default_dockerfile(root: BorrowedFd<'_>, path: &Path) -> Result<(String, File), Error> {
    for name in ["Dockerfile", "dockerfile"] {
        match open_in(root, name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            opened => {
                let opened = opened.map_err(|error| no_dockerfile(name, &error.to_string()))?;
                return Ok((name.to_owned(), opened));
            }
        }
    }
    let why = format!("there is none in {}", path.display());
    Err(no_dockerfile("Dockerfile", &why))
}

fn no_dockerfile(name: &str, why: &str) -> Error {
    let message = format!("failed to read dockerfile: open {name}: {why}");
    fault(Kind::NotFound, message, Some("--file says where it is; - is standard input".to_owned()))
}

fn read_dockerfile(name: &str, file: impl Read) -> Result<Dockerfile, Error> {
    let text = read_text(name, file)?;
    Ok(Dockerfile { name: name.to_owned(), text })
}

fn read_text(name: &str, file: impl Read) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::io("read", name, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(invalid(&format!("{name} has more than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| invalid(&format!("{name} is not text: it isn't UTF-8")))
}

/// The patterns of an ignore file of the context, if there is one; a link in its place leads nowhere but in there.
fn read_ignore(root: BorrowedFd<'_>, name: &str) -> Result<Option<(String, op::Ignored)>, Error> {
    match open_in(root, name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => {
            let file = opened.map_err(|error| invalid(&format!("cannot read {name}: {error}")))?;
            let patterns = ignore::patterns(&read_text(name, file)?);
            Matcher::new(&patterns).map_err(|error| invalid(&format!("{name}: {error}")))?;
            Ok(Some((name.to_owned(), patterns)))
        }
    }
}

fn open_file(path: &Path) -> Result<File, Error> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty());
    file.map(File::from).map_err(|errno| Error::system("open", path.display(), errno))
}

fn open_directory(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::system("open", path.display(), errno))
}

/// Opens a regular file below `root`, which is the root of all links.
fn open_in(root: BorrowedFd<'_>, name: &str) -> std::io::Result<File> {
    let confined = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat2(root, name, flags, Mode::empty(), confined)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file.into()),
        _ => Err(std::io::Error::other("it is no regular file")),
    }
}

/// What an ignore file leaves of a tree.
#[derive(Debug, Default)]
pub struct Ignore {
    matcher: Matcher,
    /// A directory, and what is known of it: those in it are asked for one after the other.
    last: RefCell<(String, Matched)>,
}

impl Ignore {
    /// Leaves out what these patterns match.
    ///
    /// Errors: [`Error::Copy`] for a pattern that is none.
    pub fn new(patterns: &[String], what: &str) -> Result<Ignore, Error> {
        let matcher = Matcher::new(patterns).map_err(|error| invalid(&format!("{what}: {error}")))?;
        Ok(Ignore { matcher, last: RefCell::default() })
    }

    /// Takes only what the pattern matches, and what lies below that.
    ///
    /// Errors: as [`Ignore::new`].
    pub fn all_but(pattern: &str, what: &str) -> Result<Ignore, Error> {
        Ignore::new(&["**".to_owned(), format!("!{pattern}")], what)
    }

    /// What becomes of a path, relative to the root of the tree.
    pub fn take(&self, path: &[u8], is_directory: bool) -> Take {
        if self.matcher.is_empty() {
            return Take::Yes;
        }
        let path = String::from_utf8_lossy(path);
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let mut last = self.last.borrow_mut();
        if last.0 != parent {
            let ends = parent.match_indices('/').map(|(at, _)| at).chain([parent.len()]);
            let known = ends
                .filter(|end| *end != 0)
                .fold(Matched::default(), |above, end| self.matcher.step(&above, &parent[..end]));
            *last = (parent.to_owned(), known);
        }
        match self.matcher.step(&last.1, &path).is_ignored {
            false => Take::Yes,
            true if is_directory && self.matcher.may_except_below(&path) => Take::IfBelow,
            true => Take::No,
        }
    }
}

#[cfg(test)]
mod tests;
