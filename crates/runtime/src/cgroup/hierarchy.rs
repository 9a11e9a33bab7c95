//! How this machine arranges control groups: version 1, version 2, or both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use types::oci::Resources;

use super::error::Error;

/// Arrangement of the machine's control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Version 1 only.
    V1,
    /// Controllers on version 1, beside a version 2 tree.
    Hybrid,
    /// Version 2 only.
    V2,
}

impl Mode {
    /// The words for messages.
    pub fn name(self) -> &'static str {
        match self {
            Mode::V1 => "cgroup v1",
            Mode::Hybrid => "cgroup v1 and v2, hybrid",
            Mode::V2 => "cgroup v2",
        }
    }
}

/// One mounted control group tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where it's mounted.
    pub point: PathBuf,
    /// Which group of the tree shows at the mount point; `/` unless bind-mounted.
    pub root: String,
}

/// The tree that a controller lives on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tree {
    /// The version 2 tree.
    V2,
    /// The version 1 tree of this controller.
    V1(String),
}

/// The caller's own groups, as /proc/self/cgroup tells them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Own {
    v1: BTreeMap<String, String>,
    v2: Option<String>,
}

/// The machine's control groups: mount points, controllers, and the caller's own place in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    mode: Mode,
    v1: BTreeMap<String, Mount>,
    v2: Option<Mount>,
    v2_controllers: BTreeSet<String>,
    own: Option<Own>,
}

/// `f_type` of statfs(2) on a version 2 tree.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

impl Hierarchy {
    /// Reads the whole arrangement: three files of /proc and /sys, about 60 µs, more on a host with many mounts.
    ///
    /// Errors: [`Error::Detect`] if no control groups are mounted, [`Error::Io`] if /proc can't be read.
    pub fn detect() -> Result<Self, Error> {
        let mounts = read("/proc/self/mountinfo")?;
        let own = read("/proc/self/cgroup")?;
        let mut hierarchy = Self::parse(&mounts, &own)?;
        hierarchy.read_v2_controllers()?;
        Ok(hierarchy)
    }

    fn read_v2_controllers(&mut self) -> Result<(), Error> {
        if let Some(v2) = &self.v2 {
            let file = v2.point.join("cgroup.controllers");
            let list = std::fs::read_to_string(&file).map_err(|source| Error::Io {
                what: "read",
                path: file,
                source,
            })?;
            self.set_v2_controllers(&list);
        }
        Ok(())
    }

    /// What a container needs to know that has no limit and an absolute path: only where version 2 is mounted, found by
    /// two statfs(2) at most. On pure version 2 also its controllers, for accounting. Falls back to [`Self::detect`].
    ///
    /// Version 1 isn't looked at, so device rules have only the eBPF filter, without a fallback.
    pub fn detect_for(resources: &Resources, path: &str) -> Result<Self, Error> {
        if path.starts_with('/') && !needs_controllers(resources) {
            for (point, mode) in [("/sys/fs/cgroup", Mode::V2), ("/sys/fs/cgroup/unified", Mode::Hybrid)] {
                if is_cgroup2(point) {
                    let mount = Mount { point: PathBuf::from(point), root: "/".to_owned() };
                    let mut hierarchy = Hierarchy {
                        mode,
                        v1: BTreeMap::new(),
                        v2: Some(mount),
                        v2_controllers: BTreeSet::new(),
                        own: None,
                    };
                    if mode == Mode::V2 {
                        hierarchy.read_v2_controllers()?;
                    }
                    return Ok(hierarchy);
                }
            }
        }
        Self::detect()
    }

    /// The arrangement that the text of /proc/self/mountinfo and /proc/self/cgroup describes; pure.
    pub fn parse(mountinfo: &str, own_cgroup: &str) -> Result<Self, Error> {
        let own = parse_own(own_cgroup)?;
        let mut v1: BTreeMap<String, Mount> = BTreeMap::new();
        let mut v2: Option<Mount> = None;
        for line in mountinfo.lines() {
            let Some((mount, fs_type, options)) = parse_mount(line)? else { continue };
            if fs_type == "cgroup2" {
                prefer(&mut v2, mount);
                continue;
            }
            // The super options also name things that aren't controllers (rw, xattr, release_agent); only
            // /proc/self/cgroup knows which are.
            for option in options.split(',').filter(|option| own.v1.contains_key(*option)) {
                let mut slot = v1.remove(option);
                prefer(&mut slot, mount.clone());
                v1.extend(slot.map(|mount| (option.to_owned(), mount)));
            }
        }
        let has_v1_controllers = v1.keys().any(|name| !name.starts_with("name="));
        let mode = match (&v2, has_v1_controllers) {
            (Some(_), false) => Mode::V2,
            (Some(_), true) => Mode::Hybrid,
            (None, true) => Mode::V1,
            (None, false) => {
                return Err(Error::Detect(
                    "no control group file system is mounted (see /proc/self/mountinfo); mount cgroup2 on \
                     /sys/fs/cgroup"
                        .to_owned(),
                ));
            }
        };
        Ok(Hierarchy { mode, v1, v2, v2_controllers: BTreeSet::new(), own: Some(own) })
    }

    /// Sets what version 2 offers, from the text of the mount point's `cgroup.controllers`.
    pub fn set_v2_controllers(&mut self, list: &str) {
        self.v2_controllers = list.split_whitespace().map(str::to_owned).collect();
    }

    /// Arrangement of the machine.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Mount point of version 2, if it's mounted.
    pub fn v2_mountpoint(&self) -> Option<&Path> {
        self.v2.as_ref().map(|mount| mount.point.as_path())
    }

    /// Mount points of version 1 by controller (`memory`, `name=systemd`). Empty if [`Self::detect_for`] didn't look.
    pub fn v1_mountpoints(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.v1.iter().map(|(name, mount)| (name.as_str(), mount.point.as_path()))
    }

    /// Whether a limit of this controller can be set here at all.
    pub fn has_controller(&self, controller: &str) -> bool {
        self.locate(controller).is_some()
    }

    /// The tree that serves a controller. A controller is on one tree at a time, so version 1 first is no preference.
    pub(super) fn locate(&self, controller: &str) -> Option<Tree> {
        if self.v1.contains_key(controller) {
            return Some(Tree::V1(controller.to_owned()));
        }
        self.v2_controllers.contains(controller).then_some(Tree::V2)
    }

    pub(super) fn mount(&self, tree: &Tree) -> Option<&Mount> {
        match tree {
            Tree::V2 => self.v2.as_ref(),
            Tree::V1(controller) => self.v1.get(controller),
        }
    }

    /// Directory of the group `path` in a tree, as runc's cgroupfs driver places it: an absolute path below the mount
    /// point, a relative one below the caller's own group; on version 2 below that group's *parent*, because the own
    /// group has processes and so can't have children with limits.
    pub(super) fn place(&self, tree: &Tree, path: &GroupPath) -> Result<PathBuf, Error> {
        let mount =
            self.mount(tree).ok_or_else(|| Error::Detect(format!("the tree for {tree:?} isn't mounted")))?;
        if path.absolute {
            return Ok(mount.point.join(&path.relative));
        }
        let own = self.own.as_ref().and_then(|own| match tree {
            Tree::V2 => own.v2.as_deref(),
            Tree::V1(controller) => own.v1.get(controller).map(String::as_str),
        });
        let own = own.ok_or_else(|| Error::BadPath {
            path: path.relative.clone(),
            why: "is relative, and /proc/self/cgroup doesn't say below what; give an absolute path"
                .to_owned(),
        })?;
        let inside = beneath(own, &mount.root).ok_or_else(|| Error::BadPath {
            path: path.relative.clone(),
            why: format!(
                "is relative to the caller's own group {own}, which isn't visible at {}; give an absolute path",
                mount.point.display()
            ),
        })?;
        let base = match (tree, self.mode) {
            (Tree::V2, Mode::V2) => inside.rsplit_once('/').map_or("", |(parent, _)| parent),
            _ => inside,
        };
        Ok(mount.point.join(base.trim_start_matches('/')).join(&path.relative))
    }
}

/// A checked path of a group: no `..`, no control characters, at least one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupPath {
    absolute: bool,
    /// Components joined by single slashes.
    relative: String,
}

/// Longest name of a group, NAME_MAX.
const COMPONENT_BYTES_MAX: usize = 255;
/// Longest path of a group: what still fits into PATH_MAX behind a mount point and before a file name.
const PATH_BYTES_MAX: usize = 3072;

impl GroupPath {
    pub(super) fn parse(path: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::BadPath { path: path.to_owned(), why: why.to_owned() };
        if path.len() > PATH_BYTES_MAX {
            return Err(bad("is longer than 3072 bytes"));
        }
        if path.chars().any(char::is_control) {
            return Err(bad("contains a control character"));
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(bad("contains '..'"));
        }
        if parts.iter().any(|part| part.len() > COMPONENT_BYTES_MAX) {
            return Err(bad("has a component longer than 255 bytes"));
        }
        if parts.is_empty() {
            return Err(bad("names the root group, which takes no limits"));
        }
        Ok(GroupPath { absolute: path.starts_with('/'), relative: parts.join("/") })
    }
}

/// Whether anything but device rules, which version 2 serves without a controller, is asked for.
fn needs_controllers(resources: &Resources) -> bool {
    let Resources { devices: _, memory, cpu, pids, block_io, hugepage_limits, network, rdma, unified } =
        resources;
    memory.is_some()
        || cpu.is_some()
        || pids.is_some()
        || block_io.is_some()
        || hugepage_limits.is_some()
        || network.is_some()
        || rdma.is_some()
        || !unified.is_empty()
}

fn is_cgroup2(point: &str) -> bool {
    rustix::fs::statfs(point).is_ok_and(|stat| stat.f_type == CGROUP2_SUPER_MAGIC)
}

fn read(path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Io {
        what: "read",
        path: PathBuf::from(path),
        source,
    })
}

/// A tree may be mounted several times: the usual place wins, then the whole tree over a part, then the first.
fn prefer(slot: &mut Option<Mount>, new: Mount) {
    let rank = |mount: &Mount| (mount.point.starts_with("/sys/fs/cgroup"), mount.root == "/");
    if slot.as_ref().is_none_or(|old| rank(&new) > rank(old)) {
        *slot = Some(new);
    }
}

/// One line of mountinfo, if it's a control group's: the mount, the file system type and the super options.
/// Source: proc_pid_mountinfo(5).
fn parse_mount(line: &str) -> Result<Option<(Mount, &str, &str)>, Error> {
    // Most lines are of other file systems: look before splitting.
    let Some((left, right)) = line.split_once(" - cgroup") else { return Ok(None) };
    let malformed = || Error::Detect(format!("/proc/self/mountinfo: {line:?} isn't a mount"));
    let mut right = right.split(' ');
    let fs_type = match right.next() {
        Some("2") => "cgroup2",
        Some("") => "cgroup",
        _ => return Ok(None),
    };
    let options = right.nth(1).ok_or_else(malformed)?;
    let mut left = left.split(' ');
    let root = left.nth(3).ok_or_else(malformed)?;
    let point = left.next().ok_or_else(malformed)?;
    Ok(Some((Mount { point: PathBuf::from(unescape(point)), root: unescape(root) }, fs_type, options)))
}

/// Undoes mountinfo's octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let byte = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match byte.filter(u8::is_ascii) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Source: cgroups(7), /proc/pid/cgroup.
fn parse_own(text: &str) -> Result<Own, Error> {
    let mut own = Own::default();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Error::Detect(format!(
                "/proc/self/cgroup: {line:?} isn't hierarchy:controllers:path"
            )));
        };
        if id == "0" && controllers.is_empty() {
            own.v2 = Some(path.to_owned());
        } else {
            own.v1.extend(controllers.split(',').map(|name| (name.to_owned(), path.to_owned())));
        }
    }
    Ok(own)
}

/// `path` below `root`, without the leading slash lost: `/a/b` below `/a` is `/b`. None if it lies outside.
fn beneath<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    // Seen from a control group namespace, what lies outside starts with `/..`.
    if path == "/.." || path.starts_with("/../") {
        return None;
    }
    if root == "/" {
        return Some(path);
    }
    let rest = path.strip_prefix(root)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}
