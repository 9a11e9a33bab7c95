//! `COPY`, `ADD` and `WORKDIR`: which files they take, what the digest of that is, and how they land.
//!
//! A copy is done twice, in the same way: [`select`] finds and digests what would be copied, which is part of the step's key;
//! [`copy`] finds and digests it again, now mostly by what is remembered, and copies exactly that. The caller compares the
//! two digests: they differ if the context was changed meanwhile.
//!
//! Rules to the letter are BuildKit's: tonistiigi/fsutil `copy`, moby/buildkit `solver/llbsolver/file`.
//!
//! - `sources`: what patterns find; `missing`: what to say of what they don't
//! - `chmod`, `owner`: `--chmod` and `--chown`
//! - `step`: the same between trees as steps have them

mod chmod;
mod missing;
mod owner;
mod sources;
mod step;

pub use step::{Held, copied, made_directory, selected, tree_of};

use super::context::Ignore;
use super::fault;
use super::fetch::{self, Fetched};
use super::notes::Notes;
use crate::Error;
use build::op::{self, CopySource, Unpack};
use chmod::Change;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use sha2::{Digest as _, Sha256};
use sources::{FindError, Match};
use std::cell::RefCell;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use store::Limits;
use store::listing::{self, List, Listing, NodeKind, Reading, Sum, Take, Tree};
use store::tar::Reader;
use store::transfer::{Attributes, Target};
use store::unpack::{Owners, unpack_over};
use types::kind::Kind;

/// A copy's second input, open.
#[derive(Debug)]
pub struct Origin {
    tree: Tree,
    ignore: Ignore,
    /// The file that says what is left out.
    ignore_file: String,
    /// What it is, for messages: `the build context`.
    label: String,
    /// Under which name its files are remembered.
    seen: String,
}

impl Origin {
    /// A directory of this host, of which `ignored` is left out.
    ///
    /// Errors: [`Error::Store`]; [`Error::Copy`] for a pattern that is none.
    pub fn directory(path: &Path, ignored: &[String]) -> Result<Origin, Error> {
        Ok(Origin {
            tree: Tree::of_host(path)?,
            ignore: Ignore::new(ignored, ".dockerignore")?,
            ignore_file: ".dockerignore".to_owned(),
            label: "the build context".to_owned(),
            seen: Notes::name_of(path),
        })
    }

    /// Layers of the store, of which `view` shows the whole tree; `chain` names them, and `device` is the one they lie on.
    pub fn layers(view: OwnedFd, chain: &str, device: u64) -> Origin {
        Origin {
            tree: Tree::of_layers(view, device),
            ignore: Ignore::default(),
            ignore_file: String::new(),
            label: "the image or stage that it copies from".to_owned(),
            seen: chain.trim_start_matches("sha256:").to_owned(),
        }
    }

    /// With another name in messages.
    pub fn called(self, label: impl Into<String>) -> Origin {
        Origin { label: label.into(), ..self }
    }
}

/// What a copy takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its digest: `sha256:…`. Equal ones over equal trees are equal results.
    pub digest: String,
    /// Its paths, to tell later what changed.
    pub list: List,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Digest of what was taken, as [`Selected`] has it.
    pub digest: String,
    /// What the user should know, a sentence each.
    pub warnings: Vec<String>,
}

/// Finds what a copy takes, and digests it.
///
/// Errors: [`Error::Copy`] for what isn't there, with what is near; [`Error::Store`] for what can't be read; those of fetching.
pub fn select(copy: &op::Copy, origin: Option<&Origin>, notes: &Notes) -> Result<Selected, Error> {
    let parts = gather(copy, origin, notes, false)?;
    let owners = counts_owners(copy);
    let mut list = List::default();
    for part in &parts {
        match part {
            Part::Files { found, listing, .. } => list.add(&found.at, listing, owners),
            Part::Text { name, content } => {
                list.add_other(&format!("<<{name}"), &Sha256::digest(content).into())
            }
            Part::Url { url, sum, .. } => {
                list.add_other(url.split(['?', '#']).next().unwrap_or_default(), sum);
            }
        }
    }
    Ok(Selected { digest: digest(&parts), list })
}

/// Copies into the tree below `target`, which nobody else changes. Names of `--chown` are looked up in the tree below
/// `accounts`, which is the same but for a linked copy.
///
/// Errors: as [`select`]; what is in the way, as [`store::Error::Occupied`]; [`store::Error::Changing`] if a file is changed
/// while it's copied.
pub fn copy(
    copy: &op::Copy,
    origin: Option<&Origin>,
    target: &Target,
    accounts: BorrowedFd<'_>,
    notes: &Notes,
) -> Result<Copied, Error> {
    let change = match copy.chmod.as_str() {
        "" => None,
        text => Some(Change::parse(text).map_err(|why| fault(Kind::Invalid, why, None))?),
    };
    let (owner, warning) = owner_of(&copy.chown, accounts)?;
    let parts = gather(copy, origin, notes, true)?;
    let apply = change.as_ref().map(|change| |mode, is_directory| change.apply(mode, is_directory));
    let landing = Landing {
        copy,
        target,
        owner,
        apply: apply.as_ref().map(|apply| apply as &dyn Fn(u32, bool) -> u32),
        parents_mode: change.as_ref().map_or(0o755, Change::of_parents),
        made: RefCell::default(),
    };
    for part in &parts {
        landing.land(part, origin)?;
    }
    if let Some(seconds) = copy.mtime {
        // What was made in them changed their times.
        for path in landing.made.take().iter().rev() {
            target.set_time(path, seconds)?;
        }
    }
    Ok(Copied { digest: digest(&parts), warnings: warning.into_iter().collect() })
}

/// Makes a directory, and those above it, if it isn't there (`WORKDIR`); what to warn of.
///
/// Errors: [`store::Error::Occupied`].
pub fn make_directory(path: &str, owner: &str, target: &Target) -> Result<Vec<String>, Error> {
    let (owner, warning) = owner_of(owner, target.root())?;
    let attributes = Attributes { owner, ..Attributes::default() };
    target.make_directories(&target.resolve(path.as_bytes())?, 0o755, &attributes)?;
    Ok(warning.into_iter().collect())
}

/// Whose files become, if anybody's, and what to warn of.
type Owner = (Option<(u32, u32)>, Option<String>);

fn owner_of(text: &str, accounts: BorrowedFd<'_>) -> Result<Owner, Error> {
    if text.is_empty() {
        return Ok((None, None));
    }
    let resolved = owner::resolve(text, &owner::accounts(accounts));
    let (owner, warning) = resolved.map_err(|why| Error::invalid(format!("--chown={text}"), why))?;
    Ok((Some(owner), warning))
}

/// Whether owners of sources are copied.
fn counts_owners(copy: &op::Copy) -> bool {
    copy.keeps_owner && copy.chown.is_empty()
}

/// Something that is copied.
#[derive(Debug)]
enum Part {
    /// What a pattern found.
    Files {
        found: Match,
        listing: Listing,
    },
    Text {
        name: String,
        content: String,
    },
    Url {
        url: String,
        sum: Sum,
        fetched: Option<Fetched>,
    },
}

/// All that is copied, in order; URLs are fetched if their digest isn't known, or with `fetches`.
fn gather(
    copy: &op::Copy,
    origin: Option<&Origin>,
    notes: &Notes,
    fetches: bool,
) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let mut seen = origin.map(|origin| notes.seen(&origin.seen));
    for source in &copy.sources {
        match source {
            CopySource::Text { name, content } => {
                parts.push(Part::Text { name: name.clone(), content: content.clone() });
            }
            CopySource::Url { url, checksum } => {
                let expected = match checksum.as_str() {
                    "" => None,
                    text => Some(fetch::checksum(text)?),
                };
                let fetched = match (expected, fetches) {
                    (Some(_), false) => None,
                    _ => Some(fetch::fetch(url, expected.as_ref(), notes)?),
                };
                let sum = fetched.as_ref().map(|fetched| fetched.sum).or(expected).unwrap_or_default();
                parts.push(Part::Url { url: url.clone(), sum, fetched });
            }
            CopySource::Input { pattern } => {
                let (Some(origin), Some(seen)) = (origin, &mut seen) else {
                    let message = format!("{pattern:?} not found: there are no files to copy from");
                    let hint = "with a Dockerfile from standard input there is no build context".to_owned();
                    return Err(fault(Kind::NotFound, message, Some(hint)));
                };
                files(copy, origin, pattern, seen, &mut parts)?;
            }
        }
    }
    if let Some(mut seen) = seen {
        // It's only a matter of speed.
        let _ = seen.save();
    }
    Ok(parts)
}

/// Most threads that read files.
const THREADS_MAX: usize = 8;

fn files(
    copy: &op::Copy,
    origin: &Origin,
    pattern: &str,
    seen: &mut listing::Seen,
    parts: &mut Vec<Part>,
) -> Result<(), Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let reading = Reading { owners: counts_owners(copy), contents: true, threads };
    let excludes = Ignore::new(&copy.excludes, "--exclude")?;
    // With `--parents` a pattern selects below a pivot, by default the root.
    let (root, within) = match copy.has_parents {
        false => (pattern, None),
        true => match pattern.split_once("/./") {
            Some((pivot, rest)) => (pivot, Some(sources::clean(rest).join("/"))),
            None => ("/", Some(sources::clean(pattern).join("/"))),
        },
    };
    let includes = within.as_deref().map(|within| Ignore::all_but(within, "--parents")).transpose()?;
    let found = sources::find(&origin.tree, &origin.ignore, root);
    let mut found = found.map_err(|error| missing::error(origin, pattern, error))?;
    if let Some(within) = within.as_deref().filter(|within| !build::dockerfile::glob::has_wildcards(within)) {
        // Without wildcards it must be there.
        for directory in &found {
            let path = [&directory.at, &b"/"[..], within.as_bytes()].concat();
            let path: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
            sources::follow(&origin.tree, &origin.ignore, &path)
                .map_err(|error| missing::error(origin, pattern, FindError::Missing(error)))?;
        }
    }
    for found in found.drain(..) {
        let at = found.at.clone();
        let selection = |path: &[u8], is_directory: bool| {
            let whole = if at.is_empty() { path.to_vec() } else { [&at, &b"/"[..], path].concat() };
            let mut take = origin.ignore.take(&whole, is_directory);
            for ignore in [Some(&excludes), includes.as_ref()].into_iter().flatten() {
                take = both(take, ignore.take(path, is_directory));
            }
            take
        };
        let listing = origin.tree.scan(&found.at, &selection, &reading, seen)?;
        let is_empty = found.is_directory && listing.children(0).next().is_none();
        if found.is_uncertain && is_empty {
            let missing = sources::Missing::Ignored(found.at);
            return Err(missing::error(origin, pattern, FindError::Missing(missing)));
        }
        parts.push(Part::Files { found, listing });
    }
    Ok(())
}

fn both(one: Take, other: Take) -> Take {
    match (one, other) {
        (Take::No, _) | (_, Take::No) => Take::No,
        (Take::IfBelow, _) | (_, Take::IfBelow) => Take::IfBelow,
        (Take::Yes, Take::Yes) => Take::Yes,
    }
}

/// The digest of what is copied: of what counts for the result, in order.
fn digest(parts: &[Part]) -> String {
    let mut hasher = Sha256::new();
    let mut add = |kind: &[u8], name: &[u8], sum: &Sum| {
        hasher.update(kind);
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update(sum);
    };
    for part in parts {
        match part {
            // A directory's own name is nowhere copied to.
            Part::Files { found, listing } if found.is_directory => add(b"d", b"", &listing.sum()),
            Part::Files { found, listing } => add(b"f", &found.name, &listing.sum()),
            Part::Text { name, content } => add(b"t", name.as_bytes(), &Sha256::digest(content).into()),
            Part::Url { url, sum, .. } => add(b"u", fetch::name_of(url).as_bytes(), sum),
        }
    }
    listing::written(&hasher.finalize().into())
}

/// Where parts of a copy go.
struct Landing<'a> {
    copy: &'a op::Copy,
    target: &'a Target,
    /// What `--chown` says.
    owner: Option<(u32, u32)>,
    apply: Option<&'a dyn Fn(u32, bool) -> u32>,
    /// Mode of directories that lead there.
    parents_mode: u32,
    /// Those that were made.
    made: RefCell<Vec<Vec<u8>>>,
}

impl Landing<'_> {
    fn land(&self, part: &Part, origin: Option<&Origin>) -> Result<(), Error> {
        match part {
            Part::Files { found, listing } => {
                // They were found in it.
                let Some(origin) = origin else { return Ok(()) };
                if self.copy.unpack != Unpack::Never
                    && listing.node(0).kind == NodeKind::File
                    && let Some(archive) = archive_at(&origin.tree, &found.at)?
                {
                    return self.unpack(archive);
                }
                self.files(origin, found, listing)
            }
            Part::Text { name, content } => {
                let to = self.place(name.as_bytes())?;
                let attributes = self.attributes(self.copy.mtime);
                self.target.write_file(&to, &mut content.as_bytes(), 0o644, &attributes)?;
                Ok(())
            }
            Part::Url { url, sum, fetched } => {
                // It was fetched, as all are that are to be copied.
                let Some(fetched) = fetched else { return Ok(()) };
                let clone = fetched.file.try_clone().and_then(|mut file| {
                    std::io::Seek::rewind(&mut file)?;
                    Ok(file)
                });
                let mut file = clone.map_err(|error| Error::io("read", url, &error))?;
                let is_archive = self.copy.unpack == Unpack::Always && store::is_archive(&mut file);
                std::io::Seek::rewind(&mut file).map_err(|error| Error::io("read", url, &error))?;
                if is_archive {
                    return self.unpack(file);
                }
                let to = self.place(fetch::name_of(url).as_bytes())?;
                let mtime = self.copy.mtime.or(fetched.last_modified).unwrap_or(0);
                let written = self.target.write_file(&to, &mut file, 0o600, &self.attributes(Some(mtime)))?;
                match written == *sum {
                    true => Ok(()),
                    false => Err(fault(Kind::System, "what was fetched was damaged meanwhile", None)),
                }
            }
        }
    }

    fn attributes(&self, mtime: Option<i64>) -> Attributes<'_> {
        let root = (!counts_owners(self.copy)).then_some((0, 0));
        Attributes { owner: self.owner.or(root), mode: self.apply, mtime }
    }

    /// Attributes of directories that lead to the target.
    fn of_parents(&self) -> Attributes<'_> {
        Attributes { owner: self.owner, mode: None, mtime: self.copy.mtime }
    }

    fn make(&self, path: &[u8]) -> Result<(), Error> {
        let made = self.target.make_directories(path, self.parents_mode, &self.of_parents())?;
        self.made.borrow_mut().extend(made);
        Ok(())
    }

    /// The target, resolved, with what is to be there before anything is copied.
    fn ensured(&self) -> Result<Vec<u8>, Error> {
        let to = self.copy.to.as_bytes();
        let is_directory = to.ends_with(b"/") || to.ends_with(b"/.");
        let parent = match to.iter().rposition(|byte| *byte == b'/') {
            _ if is_directory => to,
            Some(slash) => &to[..slash],
            None => b"",
        };
        self.make(&self.target.resolve(parent)?)?;
        Ok(self.target.resolve(to)?)
    }

    /// Where a file called `name` goes.
    fn place(&self, name: &[u8]) -> Result<Vec<u8>, Error> {
        let to = self.ensured()?;
        let to = match self.is_directory(&to)? {
            Some(true) if to.is_empty() => name.to_vec(),
            Some(true) => [&to, &b"/"[..], name].concat(),
            _ => to,
        };
        if let Some(slash) = to.iter().rposition(|byte| *byte == b'/') {
            self.make(&to[..slash])?;
        }
        Ok(to)
    }

    fn is_directory(&self, path: &[u8]) -> Result<Option<bool>, Error> {
        let stat = self.target.stat(path)?;
        Ok(stat.map(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
    }

    fn files(&self, origin: &Origin, found: &Match, listing: &Listing) -> Result<(), Error> {
        let attributes = self.attributes(self.copy.mtime);
        let from = (&origin.tree, found.at.as_slice());
        if listing.node(0).kind != NodeKind::Directory {
            let to = self.place(&found.name)?;
            return Ok(self.target.copy(from, listing, &to, &attributes)?);
        }
        let to = self.ensured()?;
        match self.is_directory(&to)? {
            Some(true) => {}
            Some(false) => {
                let message = format!("cannot copy to non-directory: /{}", to.escape_ascii());
                return Err(fault(Kind::Invalid, message, None));
            }
            None => self.make(&to)?,
        }
        Ok(self.target.copy(from, listing, &to, &attributes)?)
    }

    fn unpack(&self, archive: File) -> Result<(), Error> {
        let to = self.target.resolve(self.copy.to.as_bytes())?;
        let made = self.target.make_directories(&to, 0o755, &self.of_parents())?;
        self.made.borrow_mut().extend(made);
        let root = store::transfer::open_directory(self.target, &to)?;
        let plain = store::plain(BufReader::with_capacity(256 << 10, archive))?;
        let mut reader = Reader::new(BufReader::with_capacity(256 << 10, plain));
        let owners = self.owner.map_or(Owners::Archived, |(uid, gid)| Owners::One(uid, gid));
        unpack_over(&mut reader, std::os::fd::AsFd::as_fd(&root), owners, &Limits::default())?;
        Ok(())
    }
}

/// The file at `at`, if it is a tar archive, compressed or not.
fn archive_at(tree: &Tree, at: &[u8]) -> Result<Option<File>, Error> {
    let open = || {
        let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(at);
        rustix::fs::openat2(tree.root(), path, flags, Mode::empty(), straight).map(File::from)
    };
    let failed = |errno| Error::system("open", at.escape_ascii(), errno);
    let mut file = open().map_err(failed)?;
    if !store::is_archive(Read::by_ref(&mut file)) {
        return Ok(None);
    }
    open().map(Some).map_err(failed)
}

#[cfg(test)]
mod tests;
