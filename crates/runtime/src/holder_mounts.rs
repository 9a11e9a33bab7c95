//! Mounts that the holder makes: the root, bind mounts, `/dev` with its nodes. Each is detached until the first process
//! attaches it, so that the host's own mount table never shows one.

use crate::launch::Root;
use crate::mount_options::libc_ms;
use crate::plan::{DeviceNode, IdmapPlan, MountKind, MountPlan, NodeKind, Plan};
use crate::{Error, Steps, userns};
use linux::Errno;
use linux::mount::{self, attr};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, makedev, mkdirat, mknodat, openat, symlinkat,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use types::oci::IdMapping;

/// The container's user namespace, `None` if it's the caller's, and its maps.
pub(crate) struct Ids<'a> {
    pub userns: Option<BorrowedFd<'a>>,
    pub uid: &'a [IdMapping],
    pub gid: &'a [IdMapping],
}

impl Ids<'_> {
    /// Owner on the host of what the container's `uid`:`gid` owns; ids that aren't mapped become root's there.
    fn host(&self, uid: u32, gid: u32) -> (u32, u32) {
        if self.userns.is_none() {
            return (uid, gid);
        }
        let map = |maps: &[IdMapping], id| {
            userns::to_host(maps, id).or_else(|| userns::to_host(maps, 0)).unwrap_or(id)
        };
        (map(self.uid, uid), map(self.gid, gid))
    }
}

/// The order in which descriptors cross: the root, then one for each bind mount and `/dev`, then the
/// nodes that aren't in a `/dev` of the holder's.
pub(crate) fn make(
    plan: &Plan,
    root: Root<'_>,
    pid: i32,
    ids: &Ids<'_>,
    idmap_optional: bool,
    steps: &mut Steps,
    warnings: &mut Vec<String>,
) -> Result<Vec<OwnedFd>, Error> {
    let mut made = vec![make_root(plan, root, pid, ids, steps)?];
    let mut dev_made = false;
    for mount in &plan.mounts {
        match &mount.kind {
            MountKind::Bind { .. } => made.push(make_bind(mount, ids, idmap_optional, steps, warnings)?),
            MountKind::Dev => {
                dev_made = true;
                made.push(steps.group("fsopen, mknod", "/dev", "make /dev with its device nodes", || {
                    make_dev(plan, mount, ids)
                })?);
            }
            _ => {}
        }
    }
    let loose: Vec<&DeviceNode> = plan.loose_devices(dev_made).collect();
    if !loose.is_empty() {
        made.extend(
            steps.group("fsopen, mknod", "devices", "make device nodes", || make_loose(&loose, ids))?,
        );
    }
    if made.len() > linux::socket::FDS_MAX {
        let max = linux::socket::FDS_MAX;
        return Err(Error::field(
            "mounts",
            format!("{} bind mounts and devices, at most {max} fit", made.len()),
        ));
    }
    Ok(made)
}

/// A bind mount, detached.
pub(crate) fn make_bind(
    mount: &MountPlan,
    ids: &Ids<'_>,
    idmap_optional: bool,
    steps: &mut Steps,
    warnings: &mut Vec<String>,
) -> Result<OwnedFd, Error> {
    let MountKind::Bind { source, recursive, idmap } = &mount.kind else {
        return Err(Error::field("mounts", format!("{} isn't a bind", mount.target)));
    };
    let bind = Bind { source, recursive: *recursive, idmap: idmap.as_ref(), mount };
    bind.make(ids, idmap_optional, steps, warnings)
}

impl Plan {
    /// Nodes that need a mount of their own: those outside a `/dev` that the holder makes, and all without one.
    pub(crate) fn loose_devices(&self, dev_made: bool) -> impl Iterator<Item = &DeviceNode> {
        self.devices.iter().filter(move |node| self.fill_dev && !(dev_made && node.in_dev().is_some()))
    }
}

impl DeviceNode {
    /// The path below `/dev`, if it's there.
    pub(crate) fn in_dev(&self) -> Option<&str> {
        self.path.strip_prefix("/dev/")
    }
}

fn make_root(
    plan: &Plan,
    root: Root<'_>,
    pid: i32,
    ids: &Ids<'_>,
    steps: &mut Steps,
) -> Result<OwnedFd, Error> {
    match root {
        Root::Made(make) => make(pid, ids.userns, steps),
        Root::Directory(path) => {
            let what = "take the root file system";
            let fd = steps.run("open_tree", path.display(), what, || mount::clone_tree(CWD, &path, true))?;
            if plan.root_propagation.is_none_or(|(flag, _)| flag != libc_ms::SHARED) {
                steps.run(
                    "mount_setattr",
                    path.display(),
                    "keep its mounts from spreading to the host",
                    || mount::set_propagation(fd.as_fd(), libc_ms::SLAVE, true),
                )?;
            }
            Ok(fd)
        }
    }
}

/// The name of a source that may be given by a descriptor, for people.
fn named(source: &Path) -> PathBuf {
    match source.starts_with("/proc/self/fd") {
        true => std::fs::read_link(source).unwrap_or_else(|_| source.to_owned()),
        false => source.to_owned(),
    }
}

struct Bind<'a> {
    source: &'a Path,
    recursive: bool,
    idmap: Option<&'a IdmapPlan>,
    mount: &'a MountPlan,
}

impl Bind<'_> {
    fn make(
        &self,
        ids: &Ids<'_>,
        idmap_optional: bool,
        steps: &mut Steps,
        warnings: &mut Vec<String>,
    ) -> Result<OwnedFd, Error> {
        let object = format!("{} for {}", named(self.source).display(), self.mount.target);
        let fd = steps.run("open_tree", &object, "bind a part of the host", || {
            mount::clone_tree(CWD, self.source, self.recursive)
        })?;
        if let Some(idmap) = self.idmap {
            let own = idmap.maps.as_ref().map(|(uid, gid)| userns::for_mount(uid, gid)).transpose()?;
            let userns = own.as_ref().map(|fd| fd.as_fd()).or(ids.userns);
            let Some(userns) = userns else {
                return Err(Error::field(
                    "mounts",
                    format!("{}: idmap without a user namespace", self.mount.target),
                ));
            };
            let what = "map the ids of a bind mount";
            let mapped = steps.run("mount_setattr", &object, what, || {
                map_ids(
                    fd.as_fd(),
                    userns,
                    idmap.recursive || self.recursive && idmap_optional,
                    idmap_optional,
                )
            })?;
            match mapped {
                Mapped::All => {}
                Mapped::TopOnly => warnings.push(format!("{object}: a file system below it can't map ids")),
                Mapped::Nothing => warnings.push(format!("{object}: its file system can't map ids")),
            }
        }
        let options = &self.mount.options;
        steps.run("mount_setattr", &object, "set its attributes", || {
            if options.recursive_set | options.recursive_clear != 0 {
                set_or_clear(fd.as_fd(), options.recursive_set, options.recursive_clear, true)?;
            }
            if options.set | options.clear != 0 {
                set_or_clear(fd.as_fd(), options.set, options.clear, false)?;
            }
            if options.propagation.is_empty() {
                mount::set_propagation(fd.as_fd(), libc_ms::SLAVE, true)?;
            }
            for (flag, recursive) in &options.propagation {
                mount::set_propagation(fd.as_fd(), *flag, *recursive)?;
            }
            Ok(())
        })?;
        Ok(fd)
    }
}

fn set_or_clear(fd: BorrowedFd<'_>, set: u64, clear: u64, recursive: bool) -> Result<(), Errno> {
    // A change of the access time mode must clear the whole field.
    let clear = if (set | clear) & attr::ATIME_MASK != 0 { clear | attr::ATIME_MASK } else { clear };
    mount::set_attributes(fd, set, clear, recursive)
}

enum Mapped {
    All,
    TopOnly,
    Nothing,
}

fn map_ids(
    fd: BorrowedFd<'_>,
    userns: BorrowedFd<'_>,
    recursive: bool,
    optional: bool,
) -> Result<Mapped, Errno> {
    match mount::set_idmap(fd, userns, recursive) {
        Ok(()) => return Ok(Mapped::All),
        Err(errno) if !optional => return Err(errno),
        Err(_) => {}
    }
    if recursive && mount::set_idmap(fd, userns, false).is_ok() {
        return Ok(Mapped::TopOnly);
    }
    Ok(Mapped::Nothing)
}

/// Links of every `/dev`. Source: runtime-spec runtime-linux.md, Dev symbolic links; `ptmx` as in runc.
pub(crate) const DEV_LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
    ("/proc/kcore", "core"),
];

fn make_dev(plan: &Plan, mount: &MountPlan, ids: &Ids<'_>) -> Result<OwnedFd, Error> {
    let failed = |call: &str, object: &str, errno| Error::step("make /dev", call, object, errno);
    let (root_uid, root_gid) = ids.host(0, 0);
    let mut data = mount.options.data.clone();
    data.insert(0, ("source".to_owned(), "tmpfs".to_owned()));
    for (key, id) in [("uid", root_uid), ("gid", root_gid)] {
        if !data.iter().any(|(known, _)| known == key) {
            data.push((key.to_owned(), id.to_string()));
        }
    }
    let fd = mount::detached("tmpfs", &data, mount.options.set).map_err(|e| failed("fsopen", "tmpfs", e))?;
    for node in &plan.devices {
        if let Some(name) = node.in_dev() {
            make_parents(fd.as_fd(), name, (root_uid, root_gid))
                .map_err(|e| failed("mkdirat", &node.path, e))?;
            make_node(fd.as_fd(), name, node, ids).map_err(|e| failed("mknodat", &node.path, e))?;
        }
    }
    for (target, name) in DEV_LINKS {
        symlinkat(target, &fd, name)
            .and_then(|()| own(fd.as_fd(), name, (root_uid, root_gid)))
            .map_err(|e| failed("symlinkat", name, e))?;
    }
    if plan.process.terminal {
        openat(&fd, "console", OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o620))
            .and_then(|_| own(fd.as_fd(), "console", (root_uid, root_gid)))
            .map_err(|e| failed("openat", "console", e))?;
    }
    Ok(fd)
}

fn make_parents(dir: BorrowedFd<'_>, name: &str, owner: (u32, u32)) -> Result<(), Errno> {
    for (at, _) in name.match_indices('/') {
        match mkdirat(dir, &name[..at], Mode::from_raw_mode(0o755)) {
            Ok(()) => own(dir, &name[..at], owner)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn own(dir: BorrowedFd<'_>, name: &str, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    chownat(dir, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
}

fn make_node(dir: BorrowedFd<'_>, name: &str, node: &DeviceNode, ids: &Ids<'_>) -> Result<(), Errno> {
    let kind = match node.kind {
        NodeKind::Char => FileType::CharacterDevice,
        NodeKind::Block => FileType::BlockDevice,
        NodeKind::Fifo => FileType::Fifo,
    };
    mknodat(dir, name, kind, Mode::from_raw_mode(node.mode), makedev(node.major, node.minor))?;
    let owner = ids.host(node.uid, node.gid);
    if owner != (0, 0) {
        own(dir, name, owner)?;
    }
    // mknod is subject to the umask, which the holder has reset to 0 or not.
    rustix::fs::chmodat(dir, name, Mode::from_raw_mode(node.mode), AtFlags::empty())
}

/// Nodes in a tmpfs that nobody sees; each is handed over as a mount of its own.
fn make_loose(nodes: &[&DeviceNode], ids: &Ids<'_>) -> Result<Vec<OwnedFd>, Error> {
    let failed = |call: &str, object: &str, errno| Error::step("make a device node", call, object, errno);
    let dir = mount::detached("tmpfs", &[("mode".to_owned(), "755".to_owned())], attr::NOEXEC | attr::NOSUID)
        .map_err(|e| failed("fsopen", "tmpfs", e))?;
    let mut made = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        let name = n.to_string();
        make_node(dir.as_fd(), &name, node, ids).map_err(|e| failed("mknodat", &node.path, e))?;
        let fd = mount::clone_tree(dir.as_fd(), Path::new(&name), false)
            .map_err(|e| failed("open_tree", &node.path, e))?;
        made.push(fd);
    }
    Ok(made)
}
