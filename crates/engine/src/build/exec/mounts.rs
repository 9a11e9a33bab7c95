//! The mounts of a program of a build: what is known before its user namespace is there, and then the mounts themselves.
//!
//! Each has a descriptor from the beginning, by which the configuration names it ([`Mounts::sources`]); what it stands for
//! takes its place once there are ids to show it with ([`Mounts::make`]).

use super::{Step, hidden};
use crate::config::UserNamespace;
use crate::request::mount::clean_target;
use crate::request::{MountKind as RequestKind, MountRequest, TmpfsOption};
use crate::{Error, binds, snapshot};
use build::op::{Mount, MountKind, Sharing, Tree};
use linux::Errno;
use linux::mount::{self, attr};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, openat, openat2};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use store::{Cache, CacheRequest, CacheUse, ChainId, Draft, Ids, Place, Store};

/// The mounts of one program.
#[derive(Debug, Default)]
pub struct Mounts {
    /// As a container's request has them.
    pub requests: Vec<MountRequest>,
    /// By target, the paths of their descriptors.
    pub sources: BTreeMap<PathBuf, String>,
    /// Variables that secrets are.
    pub variables: Vec<(String, String)>,
    held: Vec<Held>,
    /// Targets of files of this host.
    files: Vec<PathBuf>,
    spare: Vec<OwnedFd>,
}

/// A mount that has a descriptor.
#[derive(Debug)]
struct Held {
    target: PathBuf,
    is_writable: bool,
    what: What,
    descriptor: OwnedFd,
}

/// What it stands for.
#[derive(Debug)]
enum What {
    /// What is at a path in a tree.
    Part(Source, String),
    Cache(Cache),
    File(File),
}

#[derive(Debug)]
enum Source {
    Nothing,
    /// The lowest first.
    Layers(Vec<PathBuf>),
    /// With paths in it that aren't shown.
    Directory(PathBuf, Vec<Vec<u8>>),
}

/// A file in memory.
#[derive(Debug)]
struct File {
    content: Vec<u8>,
    mode: u32,
    uid: u32,
    gid: u32,
    is_secret: bool,
}

/// What a program's ids are on this host.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its user namespace, and its root there.
    pub ids: Ids<'a>,
    /// Its maps.
    pub userns: &'a UserNamespace,
}

impl Mounts {
    /// Finds out what is mounted. Waits for caches that somebody else has alone; `None` if that was given up.
    pub fn plan(
        store: &Store,
        step: &Step<'_>,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<Option<Mounts>, Error> {
        let mut mounts = Mounts::default();
        for wanted in &step.exec.mounts {
            let bad = |why: &str| Error::invalid(format!("--mount=target={}", wanted.target), why);
            let target = clean_target(&wanted.target).ok_or_else(|| bad("nothing is mounted on /"))?;
            let kind = match &wanted.kind {
                MountKind::Tmpfs { size } => {
                    // As with BuildKit, programs in it are executed.
                    let options = vec![TmpfsOption::Flag("exec".to_owned())];
                    RequestKind::Tmpfs { size_bytes: *size, mode: None, options }
                }
                kind => {
                    let Some(what) = mounts.what(store, step, wanted, kind, keep_waiting)? else {
                        return Ok(None);
                    };
                    // A secret may be a variable only, or not be there.
                    let Some(what) = what else { continue };
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let descriptor = openat(CWD, "/", flags, Mode::empty())
                        .map_err(|errno| Error::system("open", "/", errno))?;
                    let source = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
                    mounts.sources.insert(target.clone(), source);
                    let is_writable = !wanted.read_only;
                    mounts.held.push(Held { target: target.clone(), is_writable, what, descriptor });
                    RequestKind::Image { reference: String::new(), subpath: None, layers: Vec::new() }
                }
            };
            // As with docker, the last one on a place counts.
            mounts.requests.retain(|other| other.target != target);
            mounts.requests.push(MountRequest { kind, target, read_only: wanted.read_only });
        }
        Ok(Some(mounts))
    }

    #[expect(clippy::option_option, reason = "waiting was given up; or there is nothing to mount")]
    fn what(
        &mut self,
        store: &Store,
        step: &Step<'_>,
        wanted: &Mount,
        kind: &MountKind,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<Option<Option<What>>, Error> {
        Ok(Some(match kind {
            MountKind::Tmpfs { .. } => None,
            MountKind::Bind { input, source } => {
                Some(What::Part(Source::of(store, step, *input)?, source.clone()))
            }
            MountKind::Cache { id, sharing, from, mode, uid, gid } => {
                let open = match from {
                    None => None,
                    Some((input, path)) => Some((Source::of(store, step, *input)?, path.clone())),
                };
                let from = || open_content(&open);
                let request = CacheRequest {
                    name: &cache_name(step, id, from_of(kind)),
                    sharing: match sharing {
                        Sharing::Shared => CacheUse::Shared,
                        Sharing::Private => CacheUse::Private,
                        Sharing::Locked => CacheUse::Locked,
                    },
                    mode: *mode,
                    uid: *uid,
                    gid: *gid,
                    from: open.is_some().then_some(&from),
                    description: &format!("cached mount {} with id {id:?}", wanted.target),
                    now_ns: crate::cell::now_ns(),
                    keep_waiting,
                };
                match store.open_cache(&request)? {
                    Some(cache) => Some(What::Cache(cache)),
                    None => return Ok(None),
                }
            }
            MountKind::Secret { id, mode, uid, gid, is_required, env, is_file } => {
                let Some(content) = step.secrets.get(id) else {
                    if *is_required {
                        return Err(Error::Refused {
                            what: format!("mount secret {id}"),
                            why: "it wasn't given".to_owned(),
                            hint: format!("berth build --secret id={id},src=FILE"),
                        });
                    }
                    return Ok(Some(None));
                };
                if let Some(name) = env {
                    let value = String::from_utf8(content.clone()).map_err(|_| {
                        Error::invalid(format!("secret {id}"), "it's no text, as a variable is")
                    })?;
                    self.variables.push((name.clone(), value));
                }
                let file =
                    File { content: content.clone(), mode: *mode, uid: *uid, gid: *gid, is_secret: true };
                is_file.then_some(What::File(file))
            }
            MountKind::File { content, mode } => Some(What::File(File {
                content: content.clone().into_bytes(),
                mode: *mode,
                uid: 0,
                gid: 0,
                is_secret: false,
            })),
        }))
    }

    /// Binds a file of this host, unless something else is mounted there, or on a directory above it.
    pub fn bind_file(&mut self, target: &str, path: &Path) {
        let target = PathBuf::from(target);
        if self.requests.iter().any(|other| target.starts_with(&other.target)) {
            return;
        }
        self.sources.insert(target.clone(), path.to_string_lossy().into_owned());
        self.files.push(target.clone());
        let kind = RequestKind::Image { reference: String::new(), subpath: None, layers: Vec::new() };
        self.requests.push(MountRequest { kind, target, read_only: true });
    }

    /// Puts the mounts in the places of their descriptors, and says where they are mounted.
    pub fn make(&mut self, draft: &Draft, shown: Shown<'_>) -> Result<Vec<Place>, Error> {
        let place =
            |path: &Path, is_directory| Place { path: path.to_string_lossy().into_owned(), is_directory };
        let mut places: Vec<Place> = self.files.iter().map(|path| place(path, false)).collect();
        let mut memory = Memory::default();
        for held in &self.held {
            let failed = |errno| Error::system("mount on", held.target.display(), errno);
            let made = match &held.what {
                What::Part(source, path) => part(source, path, held, draft, shown, &mut self.spare)?,
                What::Cache(cache) => shown.ids.show(&cache.data).map_err(failed)?,
                What::File(file) => memory.file(file, shown.userns).map_err(failed)?,
            };
            places.push(place(&held.target, is_directory(&made).map_err(failed)?));
            linux::process::replace_fd(made.as_fd(), held.descriptor.as_raw_fd()).map_err(failed)?;
            self.spare.push(made);
        }
        let memory_only = self.requests.iter().filter(|own| matches!(own.kind, RequestKind::Tmpfs { .. }));
        places.extend(
            memory_only
                .map(|own| Place { path: own.target.to_string_lossy().into_owned(), is_directory: true }),
        );
        self.spare.extend(memory.spare());
        Ok(places)
    }
}

impl Source {
    fn of(store: &Store, step: &Step<'_>, input: usize) -> Result<Source, Error> {
        match step.inputs.get(input) {
            None => Err(Error::invalid("--mount", format!("the step has no input {input}"))),
            Some(Tree::Scratch) => Ok(Source::Nothing),
            Some(Tree::Directory(path)) => {
                let patterns = step.ignored.get(input).copied().unwrap_or_default();
                Ok(Source::Directory(path.clone(), hidden::paths(path, patterns)?))
            }
            Some(Tree::Layers(chain)) => {
                let layers = store.layers_of(&parse_chain(chain)?)?;
                Ok(Source::Layers(layers.into_iter().map(|layer| layer.tree).collect()))
            }
        }
    }
}

/// A chain id as a tree has it.
pub fn parse_chain(text: &str) -> Result<ChainId, Error> {
    ChainId::parse(text).ok_or_else(|| Error::invalid("build", format!("{text:?} is no chain id")))
}

fn from_of(kind: &MountKind) -> Option<&(usize, String)> {
    match kind {
        MountKind::Cache { from, .. } => from.as_ref(),
        _ => None,
    }
}

/// What tells a cache from others: its id, and what it begins as.
fn cache_name(step: &Step<'_>, id: &str, from: Option<&(usize, String)>) -> String {
    match from.and_then(|(input, path)| Some((step.inputs.get(*input)?, path))) {
        Some((Tree::Layers(chain), path)) => format!("{id}\n{chain}\n{path}"),
        Some((Tree::Directory(directory), path)) => format!("{id}\n{}\n{path}", directory.display()),
        _ => id.to_owned(),
    }
}

/// Opens what a cache begins as, files owned by ids as in the image.
fn open_content(from: &Option<(Source, String)>) -> Result<OwnedFd, store::Error> {
    let failed = |path: &str, errno: Errno| store::Error::Files {
        doing: "open",
        path: path.into(),
        source: errno.into(),
    };
    let Some((source, path)) = from else { return Err(failed("", Errno::NOENT)) };
    let open = || -> Result<OwnedFd, Errno> {
        let tree = match source {
            Source::Nothing => mount::detached("tmpfs", &[("mode".to_owned(), "755".to_owned())], 0)?,
            Source::Directory(path, _) => open_directory(path)?,
            Source::Layers(layers) => snapshot::view_of(layers, None).map_err(|error| match error {
                Error::System { errno, .. } => errno,
                _ => Errno::IO,
            })?,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&tree, relative(path), flags, Mode::empty(), confined())
    };
    open().map_err(|errno| failed(path, errno))
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn confined() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS
}

/// A path below a root.
fn relative(path: &str) -> &str {
    match path.trim_start_matches('/') {
        "" => ".",
        path => path,
    }
}

fn is_directory(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

/// A mount of part of a tree, whose ids are those of the program.
fn part(
    source: &Source,
    path: &str,
    held: &Held,
    draft: &Draft,
    shown: Shown<'_>,
    spare: &mut Vec<OwnedFd>,
) -> Result<OwnedFd, Error> {
    let failed = |errno| Error::system("mount on", held.target.display(), errno);
    let tree = match source {
        Source::Nothing => {
            let options = [("mode", "755".to_owned()), ("uid", shown.ids.root.to_string())];
            let options = options.map(|(key, value)| (key.to_owned(), value));
            mount::detached("tmpfs", &options, attr::NODEV | attr::NOSUID).map_err(failed)?
        }
        Source::Layers(layers) => snapshot::view_of(layers, shown.ids.userns)?,
        Source::Directory(path, hidden) => {
            let tree =
                directory(path, shown).map_err(|errno| Error::system("mount", path.display(), errno))?;
            match hidden[..] {
                [] => tree,
                _ => {
                    let mounted = draft.mount_spare(tree, &shown.ids, hidden)?;
                    spare.extend(mounted.spare);
                    mounted.mount
                }
            }
        }
    };
    let within = |tree: &OwnedFd, path: &Path| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        openat2(tree, path, flags, Mode::empty(), confined()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => Error::invalid(
                format!("--mount=target={}", held.target.display()),
                format!("there is no {} in what it's to be mounted from", path.display()),
            ),
            errno => failed(errno),
        })
    };
    let at = within(&tree, Path::new(relative(path)))?;
    // What is written goes with the draft already.
    let is_spare = match source {
        Source::Nothing => true,
        Source::Layers(_) => false,
        Source::Directory(_, hidden) => !hidden.is_empty(),
    };
    let made = match held.is_writable && !is_spare {
        false => mount::clone_tree(at.as_fd(), Path::new(""), false).map_err(failed)?,
        true => {
            // A file is written to in its directory.
            let (directory, name) = match is_directory(&at).map_err(failed)? {
                true => (at, None),
                false => {
                    let path = Path::new(relative(path));
                    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                    (within(&tree, parent.unwrap_or(Path::new(".")))?, path.file_name())
                }
            };
            let lower = mount::clone_tree(directory.as_fd(), Path::new(""), false).map_err(failed)?;
            let mounted = draft.mount_spare(lower, &shown.ids, &[])?;
            spare.extend(mounted.spare);
            match name {
                None => mounted.mount,
                Some(name) => {
                    let file = within(&mounted.mount, Path::new(name))?;
                    let made = mount::clone_tree(file.as_fd(), Path::new(""), false).map_err(failed)?;
                    spare.push(mounted.mount);
                    made
                }
            }
        }
    };
    spare.push(tree);
    Ok(made)
}

/// A directory of this host, its owner shown as root.
fn directory(path: &Path, shown: Shown<'_>) -> Result<OwnedFd, Errno> {
    let tree = mount::clone_tree(CWD, path, true)?;
    mount::set_propagation(tree.as_fd(), MS_PRIVATE, true)?;
    mount::set_attributes(tree.as_fd(), attr::NODEV | attr::NOSUID, 0, true)?;
    if shown.ids.userns.is_some() {
        let stat = rustix::fs::fstat(&tree)?;
        let maps = shown.userns.mappings();
        let (users, groups) = (binds::id_map(0, stat.st_uid, &maps), binds::id_map(0, stat.st_gid, &maps));
        let userns = runtime::userns::for_mount(&users, &groups).map_err(|_| Errno::INVAL)?;
        match mount::set_idmap(tree.as_fd(), userns.as_fd(), true) {
            // A file system mounted below it can't map ids; it's shown as it is.
            Err(Errno::INVAL) => mount::set_idmap(tree.as_fd(), userns.as_fd(), false)?,
            other => other?,
        }
    }
    Ok(tree)
}

/// Source: mount(2).
const MS_PRIVATE: u64 = 1 << 18;

/// File systems in memory for single files: one that secrets are in, and one for what may be executed.
#[derive(Debug, Default)]
struct Memory {
    secrets: Option<OwnedFd>,
    files: Option<OwnedFd>,
    count: u32,
}

impl Memory {
    /// A mount of a new file.
    fn file(&mut self, file: &File, userns: &UserNamespace) -> Result<OwnedFd, Errno> {
        let place = if file.is_secret { &mut self.secrets } else { &mut self.files };
        if place.is_none() {
            *place = Some(file_system(file.is_secret)?);
        }
        let Some(place) = place.as_ref() else { return Err(Errno::NOENT) };
        self.count += 1;
        let name = self.count.to_string();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let made = openat(place, &name, flags, Mode::RUSR)?;
        std::fs::File::from(made.try_clone().map_err(errno_of)?)
            .write_all(&file.content)
            .map_err(errno_of)?;
        let on_host = |id| userns.host_id(id).unwrap_or(userns.base());
        let owner = (Some(Uid::from_raw(on_host(file.uid))), Some(Gid::from_raw(on_host(file.gid))));
        rustix::fs::fchown(&made, owner.0, owner.1)?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(file.mode & 0o7777))?;
        mount::clone_tree(place.as_fd(), Path::new(&name), false)
    }

    fn spare(self) -> impl Iterator<Item = OwnedFd> {
        self.secrets.into_iter().chain(self.files)
    }
}

/// A new one; that of secrets is never swapped out, where the kernel (6.4) can see to that.
fn file_system(is_secret: bool) -> Result<OwnedFd, Errno> {
    let plain = [("mode".to_owned(), "700".to_owned())];
    let attributes = attr::NODEV | attr::NOSUID;
    if !is_secret {
        return mount::detached("tmpfs", &plain, attributes);
    }
    let attributes = attributes | attr::NOEXEC;
    let unswapped = [plain[0].clone(), ("noswap".to_owned(), String::new())];
    mount::detached("tmpfs", &unswapped, attributes).or_else(|_| mount::detached("tmpfs", &plain, attributes))
}

fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
