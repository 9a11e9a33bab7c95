//! overlayfs's marks on disk, and what a stack of layers shows. Source: kernel, Documentation/filesystems/overlayfs.rst.

use crate::confined;
use rustix::fs::{AtFlags, Dir, FileType, Mode, Stat, XattrFlags};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The attribute of directories that hide all that lower layers have there, with the value `y`.
pub const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// Hides `name` in `parent`: a character device 0:0.
pub fn make_whiteout(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Whether this is the mark of something removed.
pub fn is_whiteout(stat: &Stat) -> bool {
    is(stat, FileType::CharacterDevice) && stat.st_rdev == 0
}

/// Whether this is a file of type `kind`.
pub fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

/// Marks a directory, open for reading, as hiding all of lower layers.
pub fn make_opaque(dir: impl AsFd) -> Result<(), Errno> {
    rustix::fs::fsetxattr(dir, OPAQUE_XATTR, b"y", XattrFlags::empty())
}

/// Whether the directory `name` in `parent` hides all that lower layers have there.
pub fn is_opaque(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    let dir = confined::open_directory(parent, name)?;
    has_xattr(dir.as_fd(), OPAQUE_XATTR, b"y")
}

/// Whether the file has this attribute with this value.
pub fn has_xattr(fd: BorrowedFd<'_>, name: &str, value: &[u8]) -> Result<bool, Errno> {
    let mut buffer = [0u8; 16];
    match rustix::fs::fgetxattr(fd, name, &mut buffer) {
        Ok(length) => Ok(&buffer[..length] == value),
        Err(Errno::NODATA | Errno::RANGE | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A directory that a stack of layers shows: the same path in each of some of them.
#[derive(Debug, Clone)]
pub struct Merged<'a> {
    path: Vec<u8>,
    /// Topmost first.
    layers: Vec<BorrowedFd<'a>>,
}

/// What a stack of layers shows by one name.
#[derive(Debug)]
pub enum Shown<'a> {
    /// A directory, with the attributes of the topmost layer that has it.
    Directory(Merged<'a>, Stat),
    /// Something else, which lies in one layer.
    Other(Lone<'a>),
}

/// A file, link, device or FIFO of one layer.
#[derive(Debug)]
pub struct Lone<'a> {
    /// The layer's tree.
    pub layer: BorrowedFd<'a>,
    /// The path in it.
    pub path: Vec<u8>,
    /// What it is.
    pub stat: Stat,
}

/// Symbolic links followed on one path, as many as the kernel does.
const LINKS_MAX: usize = 40;

impl<'a> Merged<'a> {
    /// The root of these layers, topmost first. That one's root is opaque means nothing to overlayfs.
    pub fn root(layers: &[BorrowedFd<'a>]) -> Merged<'a> {
        Merged { path: Vec::new(), layers: layers.to_vec() }
    }

    /// Opens the directory in each of its layers.
    pub fn open(&self) -> Result<Opened<'a, '_>, Errno> {
        let open = |layer: &BorrowedFd<'a>| confined::open_directory(*layer, &self.path);
        Ok(Opened { merged: self, directories: self.layers.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// What is shown by this name; `directories` are what [`Merged::open`] opens.
    fn lookup_in(&self, directories: &[OwnedFd], name: &[u8]) -> Result<Option<Shown<'a>>, Errno> {
        let path = match self.path.as_slice() {
            b"" => name.to_vec(),
            path => [path, b"/", name].concat(),
        };
        let mut layers = Vec::new();
        let mut topmost = None;
        for (layer, directory) in self.layers.iter().zip(directories) {
            match rustix::fs::statat(directory, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT | Errno::NAMETOOLONG) => {}
                Err(error) => return Err(error),
                Ok(stat) if is(&stat, FileType::Directory) => {
                    layers.push(*layer);
                    topmost.get_or_insert(stat);
                    if is_opaque(directory.as_fd(), name)? {
                        break;
                    }
                }
                Ok(stat) if topmost.is_none() && !is_whiteout(&stat) => {
                    return Ok(Some(Shown::Other(Lone { layer: *layer, path, stat })));
                }
                Ok(_) => break,
            }
        }
        Ok(topmost.map(|stat| Shown::Directory(Merged { path, layers }, stat)))
    }

    /// The directory as its topmost layer has it, to read attributes from.
    pub fn open_topmost(&self) -> Result<OwnedFd, Errno> {
        confined::open_directory(*self.layers.first().ok_or(Errno::NOENT)?, &self.path)
    }

    /// What is at a clean `path` below this root; links before the last component are followed, and lead nowhere but
    /// below it.
    pub fn find(&self, path: &[u8]) -> Result<Option<Shown<'a>>, Errno> {
        self.walk(path, false)
    }

    fn walk(&self, path: &[u8], follow_last: bool) -> Result<Option<Shown<'a>>, Errno> {
        let components = |path: &[u8]| -> Vec<Vec<u8>> {
            let all = path.split(|byte| *byte == b'/').rev();
            all.filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect()
        };
        let mut todo = components(path);
        let (mut here, mut above, mut links) = (self.clone(), Vec::new(), 0);
        while let Some(name) = todo.pop() {
            if name == b".." {
                here = above.pop().unwrap_or_else(|| self.clone());
                continue;
            }
            let found = here.open()?.lookup(&name)?;
            match found {
                Some(Shown::Directory(..)) | None if todo.is_empty() => return Ok(found),
                Some(Shown::Other(ref other))
                    if todo.is_empty() && !(follow_last && is(&other.stat, FileType::Symlink)) =>
                {
                    return Ok(found);
                }
                Some(Shown::Directory(below, _)) => above.push(std::mem::replace(&mut here, below)),
                Some(Shown::Other(link)) if is(&link.stat, FileType::Symlink) && links < LINKS_MAX => {
                    links += 1;
                    let target = link.target()?;
                    if target.starts_with(b"/") {
                        here = self.clone();
                        above.clear();
                    }
                    todo.append(&mut components(&target));
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The layers that have it, topmost first: never none, below a root.
    pub fn layers(&self) -> &[BorrowedFd<'a>] {
        &self.layers
    }

    /// The path that it was found at, without links.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// A finder of what this root shows that remembers what it has seen.
    pub fn finder(&self) -> Finder<'a> {
        Finder { root: self.clone(), opened: HashMap::new(), seen: HashMap::new() }
    }

    /// The directory at a clean `path` below this root, if it is one.
    pub fn find_directory(&self, path: &[u8]) -> Result<Option<Merged<'a>>, Errno> {
        match path {
            b"" => Ok(Some(self.clone())),
            path => Ok(self.find(path)?.and_then(Shown::into_directory)),
        }
    }

    /// The directory that `path` leads to, links in the last place included.
    pub fn follow(&self, path: &[u8]) -> Result<Option<Merged<'a>>, Errno> {
        Ok(self.walk(path, true)?.and_then(Shown::into_directory))
    }
}

impl<'a> Shown<'a> {
    fn into_directory(self) -> Option<Merged<'a>> {
        match self {
            Shown::Directory(directory, _) => Some(directory),
            Shown::Other(_) => None,
        }
    }
}

impl Lone<'_> {
    /// Opens it as a path.
    pub fn open(&self) -> Result<OwnedFd, Errno> {
        confined::open_path(self.layer, &self.path)
    }

    /// What a symbolic link holds.
    pub fn target(&self) -> Result<Vec<u8>, Errno> {
        Ok(rustix::fs::readlinkat(self.open()?, "", Vec::new())?.into_bytes())
    }
}

/// Looks names up, each once.
#[derive(Debug)]
pub struct Finder<'a> {
    /// Where it looks.
    pub root: Merged<'a>,
    /// By path: what [`Merged::open`] opens.
    opened: HashMap<Vec<u8>, Vec<OwnedFd>>,
    seen: HashMap<Vec<u8>, Option<Shown<'a>>>,
}

impl<'a> Finder<'a> {
    /// What a directory shows by a name.
    pub fn lookup(&mut self, directory: &Merged<'a>, name: &[u8]) -> Result<Option<&Shown<'a>>, Errno> {
        let path = match directory.path.as_slice() {
            b"" => name.to_vec(),
            path => [path, b"/", name].concat(),
        };
        if !self.seen.contains_key(&path) {
            if !self.opened.contains_key(&directory.path) {
                let directories = directory.open()?.directories;
                self.opened.insert(directory.path.clone(), directories);
            }
            let directories = self.opened.get(&directory.path).map_or(&[][..], Vec::as_slice);
            let found = directory.lookup_in(directories, name)?;
            self.seen.insert(path.clone(), found);
        }
        Ok(self.seen.get(&path).and_then(Option::as_ref))
    }
}

/// An open [`Merged`].
#[derive(Debug)]
pub struct Opened<'a, 'm> {
    merged: &'m Merged<'a>,
    directories: Vec<OwnedFd>,
}

impl<'a> Opened<'a, '_> {
    /// What is shown by this name.
    pub fn lookup(&self, name: &[u8]) -> Result<Option<Shown<'a>>, Errno> {
        self.merged.lookup_in(&self.directories, name)
    }

    /// All names that are shown, sorted.
    pub fn names(&self) -> Result<BTreeSet<Vec<u8>>, Errno> {
        let (mut shown, mut hidden) = (BTreeSet::new(), BTreeSet::new());
        for directory in &self.directories {
            let mut hidden_here = Vec::new();
            for name in names(directory.as_fd())? {
                if shown.contains(&name) || hidden.contains(&name) {
                    continue;
                }
                let stat =
                    rustix::fs::statat(directory, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW)?;
                match is_whiteout(&stat) {
                    true => hidden_here.push(name),
                    false => drop(shown.insert(name)),
                }
            }
            hidden.extend(hidden_here);
        }
        Ok(shown)
    }
}

/// The names in an open directory, sorted, without `.` and `..`.
pub fn names(directory: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a directory stands for one of another name in lower layers, as `redirect_dir` has it.
pub fn is_redirected(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    is_there(dir, "trusted.overlay.redirect")
}

/// Whether a file's content is in a lower layer, as `metacopy` has it.
pub fn is_metacopy(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    is_there(file, "trusted.overlay.metacopy")
}

fn is_there(fd: BorrowedFd<'_>, xattr: &str) -> Result<bool, Errno> {
    let mut nothing = [0u8; 0];
    match rustix::fs::fgetxattr(fd, xattr, &mut nothing) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}
