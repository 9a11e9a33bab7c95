//! Whether a layer's tree is what its archive says, entry by entry.
//!
//! The archive is read once, nothing is made. What a later entry says of a path counts. Entries that lie below a link of a
//! layer beneath were moved where it leads (`unpack::relocate`), and aren't looked for; what no entry speaks of isn't either.

use crate::archive::LayerArchive;
use crate::error::Error;
use crate::tar::{Entry, EntryKind, Reader};
use crate::unpack::{placed_path, split_path};
use crate::{Layer, attributes, confined, overlay};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Faults of one layer that are told.
const FAULTS_MAX: usize = 5;

/// Bytes that are compared at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Reads a layer's archive to its end, and compares its tree with it: the first few paths that differ, and how.
///
/// Errors: [`Error::Archive`], [`Error::ReadArchive`] for an archive that isn't what the layer's diff id names;
/// [`Error::ReadTree`] if the tree isn't there.
pub fn check_tree(layer: &Layer, archive: LayerArchive) -> Result<Vec<(String, &'static str)>, Error> {
    let tree = File::open(&layer.tree).map_err(|source| Error::ReadTree {
        entry: layer.tree.display().to_string(),
        call: "open",
        source,
    })?;
    let mut archive = Reader::new(BufReader::with_capacity(BUFFER_BYTES, archive));
    let mut wrong: BTreeMap<Vec<u8>, &'static str> = BTreeMap::new();
    while let Some(entry) = archive.next_entry().map_err(crate::import::archive_error)? {
        let Some(path) = placed_path(&entry.name) else { continue };
        match compare(tree.as_fd(), &path, &entry, &mut archive)? {
            Some(how) => drop(wrong.insert(path, how)),
            None => {
                wrong.remove(&path);
                if entry.kind != EntryKind::Directory {
                    // What was there before, if it was a directory, is gone with all that was in it.
                    let below = [&path[..], b"/"].concat();
                    wrong.retain(|other, _| !other.starts_with(&below));
                }
            }
        }
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(Error::ReadArchive)?;
    let told = wrong.into_iter().take(FAULTS_MAX);
    Ok(told.map(|(path, how)| (path.escape_ascii().to_string(), how)).collect())
}

/// How what is at `path` differs from an entry; `None` if it doesn't.
fn compare<R: BufRead>(
    tree: BorrowedFd<'_>,
    path: &[u8],
    entry: &Entry,
    archive: &mut Reader<R>,
) -> Result<Option<&'static str>, Error> {
    let found = match confined::open_path(tree, path) {
        Ok(found) => found,
        Err(_) if !has_parent(tree, path) => return Ok(None),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Some("is missing")),
        Err(_) => return Ok(Some("can't be opened")),
    };
    let Ok(stat) = rustix::fs::fstat(&found) else { return Ok(Some("can't be read")) };
    let kind = match &entry.kind {
        EntryKind::HardLink { .. } => {
            return Ok(overlay::is(&stat, FileType::Directory).then_some("is a directory"));
        }
        EntryKind::File { .. } => FileType::RegularFile,
        EntryKind::Directory => FileType::Directory,
        EntryKind::Symlink { .. } => FileType::Symlink,
        EntryKind::CharDevice { .. } => FileType::CharacterDevice,
        EntryKind::BlockDevice { .. } => FileType::BlockDevice,
        EntryKind::Fifo => FileType::Fifo,
    };
    if !overlay::is(&stat, kind) {
        return Ok(Some("is of another kind"));
    }
    let how = match &entry.kind {
        EntryKind::File { size } => content(&found, &stat, *size, archive)?,
        EntryKind::Symlink { target } => {
            let link = rustix::fs::readlinkat(&found, "", Vec::new()).map(|link| link.into_bytes());
            (link.as_deref() != Ok(target)).then_some("leads elsewhere")
        }
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            let own = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            (own != (*major, *minor)).then_some("is another device")
        }
        _ => None,
    };
    Ok(how.or_else(|| of_attributes(&found, &stat, entry)))
}

/// Whether the directory that `path` lies in is one of the tree's own.
fn has_parent(tree: BorrowedFd<'_>, path: &[u8]) -> bool {
    split_path(path).is_none_or(|(parent, _)| confined::open_directory(tree, parent).is_ok())
}

fn of_attributes(found: &OwnedFd, stat: &Stat, entry: &Entry) -> Option<&'static str> {
    if (stat.st_uid, stat.st_gid) != (entry.uid, entry.gid) {
        return Some("belongs to somebody else");
    }
    if !matches!(entry.kind, EntryKind::Symlink { .. }) && stat.st_mode & 0o7777 != entry.mode & 0o7777 {
        return Some("has another mode");
    }
    if !matches!(entry.kind, EntryKind::File { .. } | EntryKind::Directory) {
        return None;
    }
    if entry.kind != EntryKind::Directory && stat.st_mtime != entry.mtime.0 {
        return Some("has another time");
    }
    let Ok(own) = confined::reopen(found.as_fd()).and_then(|file| attributes::portable_xattrs(file.as_fd()))
    else {
        return Some("has attributes that can't be read");
    };
    let mut wanted: Vec<_> =
        entry.xattrs.iter().filter(|(name, _)| attributes::is_portable(name)).cloned().collect();
    wanted.sort();
    (own != wanted).then_some("has other attributes")
}

/// Compares a file's content with the entry's that the archive stands at.
fn content<R: BufRead>(
    found: &OwnedFd,
    stat: &Stat,
    size: u64,
    archive: &mut Reader<R>,
) -> Result<Option<&'static str>, Error> {
    const ANOTHER: Option<&str> = Some("has another content");
    if u64::try_from(stat.st_size) != Ok(size) {
        return Ok(Some("has another length"));
    }
    let Ok(file) = confined::reopen(found.as_fd()).map(File::from) else {
        return Ok(Some("can't be opened"));
    };
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut read = |at: u64, count: usize, is_as_wanted: &dyn Fn(&[u8]) -> bool| {
        let part = &mut buffer[..count];
        match file.read_exact_at(part, at) {
            Ok(()) => is_as_wanted(part),
            Err(_) => false,
        }
    };
    let mut at = 0;
    loop {
        // Past the last piece, what is left is a hole.
        let is_last = archive.fill().map_err(crate::import::archive_error)?.is_empty();
        let next = if is_last { size } else { archive.position() };
        while at < next {
            let count = usize::try_from(next - at).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            if !read(at, count, &|part| part.iter().all(|byte| *byte == 0)) {
                return Ok(ANOTHER);
            }
            at += count as u64;
        }
        if is_last {
            return Ok(None);
        }
        let piece = archive.fill().map_err(crate::import::archive_error)?;
        let piece = &piece[..piece.len().min(BUFFER_BYTES)];
        let count = piece.len();
        if !read(at, count, &|part| part == piece) {
            return Ok(ANOTHER);
        }
        archive.consume(count);
        at += count as u64;
    }
}
