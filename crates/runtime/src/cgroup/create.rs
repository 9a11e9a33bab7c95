//! A plan's effects: make the directories, hand controllers down, write the limits, attach the device filter.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use linux::bpf::{self, BpfInsn};

use super::error::Error;
use super::group::{Cgroup, CgroupPaths, is_frozen_dir, open_dir, pids_below, read_file, write_file};
use super::hierarchy::{GroupPath, Hierarchy, Tree};
use super::plan::{Devices, Plan, UsageCheck, V1Group, V2Group, Write};

impl Plan {
    /// Every directory that [`Self::create`] may make: the intent to record before it. Removing one that wasn't made is
    /// no error.
    pub fn paths(&self) -> CgroupPaths {
        let mut paths = self.paths_of(&self.v1);
        if let Devices::Program { fallback: Some((group, _)), .. } = &self.devices {
            paths.v1.insert("devices".to_owned(), text(&group.dir));
        }
        paths
    }

    fn paths_of(&self, v1: &BTreeMap<String, V1Group>) -> CgroupPaths {
        CgroupPaths {
            v2: self.v2.as_ref().map(|group| text(&group.dir)),
            v1: v1.iter().map(|(name, group)| (name.clone(), text(&group.dir))).collect(),
        }
    }

    /// Makes the group, with all limits in force. Nobody is in it yet.
    ///
    /// A group that exists already is taken over as it is, with limits and device filters that it may have, if nobody is
    /// in it or below it and it isn't frozen; whoever wants a fresh one removes it first. On error, directories made here are removed again;
    /// parents stay. Errors: [`Error::InUse`], [`Error::Frozen`], [`Error::Write`] with the field, [`Error::NoFile`], [`Error::Enable`],
    /// [`Error::DeviceFilter`], [`Error::Io`].
    pub fn create(&self) -> Result<Cgroup, Error> {
        let mut made = Vec::new();
        let result = self.create_recording(&mut made);
        if result.is_err() {
            for dir in made.iter().rev() {
                // The error that led here is the one to tell; an empty group left behind harms nobody.
                let _ = rustix::fs::rmdir(dir);
            }
        }
        result
    }

    fn create_recording(&self, made: &mut Vec<PathBuf>) -> Result<Cgroup, Error> {
        let mut v1 = self.v1.clone();
        for (controller, group) in &v1 {
            ensure_v1(controller, group, made)?;
        }
        let mut v2_fd = None;
        if let Some(group) = &self.v2 {
            ensure_empty(&group.mount, &group.dir, made)?;
            hand_down(group)?;
            v2_fd = Some(open_dir(&group.dir)?);
        }
        self.write_all(&self.writes, &v1)?;
        if let (Devices::Program { insns, fallback }, Some(group), Some(fd)) =
            (&self.devices, &self.v2, &v2_fd)
        {
            match (attach(fd.as_fd(), insns), fallback) {
                (Ok(()), _) => {}
                (Err(_), Some((devices, writes))) => {
                    ensure_v1("devices", devices, made)?;
                    v1.insert("devices".to_owned(), devices.clone());
                    self.write_all(writes, &v1)?;
                }
                (Err(source), None) => {
                    return Err(Error::DeviceFilter { dir: group.dir.clone(), source });
                }
            }
        }
        Ok(Cgroup::new(self.paths_of(&v1), v2_fd))
    }

    /// Writes the limits to a group that runs already; device rules stay as they are. `group` must be at this plan's
    /// path.
    ///
    /// A version 1 controller that the group wasn't joined to gets a directory now, and all processes move into it once
    /// its limits stand; [`Cgroup::paths`] is then longer than before, so it must be recorded again, and
    /// [`Self::paths`] beforehand. Errors: as [`Self::create`]; [`Error::BelowUse`]. What was written before an error
    /// stays.
    pub fn update(&self, group: &mut Cgroup) -> Result<(), Error> {
        if let Some(v2) = &self.v2 {
            hand_down(v2)?;
        }
        for check in &self.checks {
            self.check_usage(check)?;
        }
        let known = group.paths().v1.clone();
        let new: Vec<_> = self.v1.iter().filter(|(controller, _)| !known.contains_key(*controller)).collect();
        let mut made = Vec::new();
        let result = (|| {
            for (controller, v1) in &new {
                // Controllers that are mounted together share a directory, whose processes are the container's own.
                if !known.values().any(|dir| Path::new(dir) == v1.dir) {
                    match ensure_v1(controller, v1, &mut made) {
                        // Whoever began to move them here was killed.
                        Err(Error::InUse { .. })
                            if pids_below(&v1.dir)?.is_subset(&group.pids()?.into_iter().collect()) =>
                        {
                            if controller.as_str() == "cpuset" {
                                inherit_cpuset(v1)?;
                            }
                        }
                        result => result?,
                    }
                }
            }
            self.write_all(&self.writes, &self.v1)?;
            new.iter().try_for_each(|(controller, v1)| group.extend_v1(controller, &v1.dir))
        })();
        if result.is_err() {
            for dir in made.iter().rev() {
                // Fails on one that processes were moved into, which stays, as [`Self::paths`] says it may.
                let _ = rustix::fs::rmdir(dir);
            }
        }
        result
    }

    fn dir_of<'a>(&'a self, tree: &Tree, v1: &'a BTreeMap<String, V1Group>) -> Result<&'a Path, Error> {
        let dir = match tree {
            Tree::V2 => self.v2.as_ref().map(|group| group.dir.as_path()),
            Tree::V1(controller) => v1.get(controller).map(|group| group.dir.as_path()),
        };
        dir.ok_or_else(|| Error::Detect(format!("the plan has a write to {tree:?}, but no group there")))
    }

    fn check_usage(&self, check: &UsageCheck) -> Result<(), Error> {
        let dir = self.dir_of(&check.tree, &self.v1)?;
        let used =
            read_file(&dir.join(check.file))?.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
        if used > check.limit {
            return Err(Error::BelowUse {
                field: check.field.clone(),
                limit: check.limit,
                used,
                dir: dir.to_owned(),
            });
        }
        Ok(())
    }

    fn write_all(&self, writes: &[Write], v1: &BTreeMap<String, V1Group>) -> Result<(), Error> {
        let mut again = Vec::new();
        for write in writes {
            match write_one(write, self.dir_of(&write.tree, v1)?) {
                Err(Error::Write { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
                    again.push(write)
                }
                result => result?,
            }
        }
        for write in again {
            write_one(write, self.dir_of(&write.tree, v1)?)?;
        }
        Ok(())
    }
}

/// Tries to make a group whose parents others remove meanwhile.
const ENSURE_TRIES_MAX: u32 = 100;

fn write_one(write: &Write, dir: &Path) -> Result<(), Error> {
    for (file, value) in &write.choices {
        let file = dir.join(file);
        match write_file(&file, value) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(Error::Write { field: write.field.clone(), file, value: value.clone(), source });
            }
        }
    }
    if write.may_lack {
        return Ok(());
    }
    let files = write.choices.iter().map(|(file, _)| file.clone()).collect();
    Err(Error::NoFile { field: write.field.clone(), files, dir: dir.to_owned() })
}

pub(super) fn attach(group: BorrowedFd<'_>, insns: &[BpfInsn]) -> io::Result<()> {
    let program = bpf::prog_load_cgroup_device(insns)?;
    // Programs of the groups above stay in force, and groups below may add their own.
    bpf::prog_attach_cgroup_device(group, program.as_fd(), bpf::ATTACH_ALLOW_MULTI)
}

fn ensure_v1(controller: &str, group: &V1Group, made: &mut Vec<PathBuf>) -> Result<(), Error> {
    // Controllers that are mounted together share a directory.
    if !made.contains(&group.dir) {
        ensure_empty(&group.mount, &group.dir, made)?;
    }
    if controller == "cpuset" {
        inherit_cpuset(group)?;
    }
    Ok(())
}

/// Makes the group, or takes over an existing one that is empty.
fn ensure_empty(mount: &Path, dir: &Path, made: &mut Vec<PathBuf>) -> Result<(), Error> {
    if ensure_dir(mount, dir)? {
        made.push(dir.to_owned());
        return Ok(());
    }
    if let Some(pid) = pids_below(dir)?.first() {
        return Err(Error::InUse { dir: dir.to_owned(), pid: *pid });
    }
    // As with runc: the container would stand still from its first instruction.
    if is_frozen_dir(dir)? {
        return Err(Error::Frozen { dir: dir.to_owned() });
    }
    Ok(())
}

/// Makes a directory below a mount point, with its parents; says whether it's new.
fn ensure_dir(mount: &Path, dir: &Path) -> Result<bool, Error> {
    let mut tries = 0;
    loop {
        match make_dir(dir) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            // Whoever removes the last group of a parent removes that as well: see [`Cgroup::remove_parent`].
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < ENSURE_TRIES_MAX => {}
            Err(source) => return Err(Error::Io { what: "make cgroup", path: dir.to_owned(), source }),
        }
        tries += 1;
        for ancestor in ancestors(mount, dir) {
            match make_dir(ancestor) {
                Ok(()) => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
                Err(source) => {
                    return Err(Error::Io { what: "make cgroup", path: ancestor.to_owned(), source });
                }
            }
        }
    }
}

/// Makes one directory, writable for its owner alone whatever the caller's umask.
fn make_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o755).create(dir)
}

/// The directories between a mount point and a group, both excluded, outermost first.
fn ancestors<'a>(mount: &Path, dir: &'a Path) -> Vec<&'a Path> {
    let mut all: Vec<&Path> = dir.ancestors().skip(1).take_while(|ancestor| *ancestor != mount).collect();
    all.reverse();
    all
}

/// A version 1 cpuset starts empty, and takes neither processes nor children until both its sets have members.
fn inherit_cpuset(group: &V1Group) -> Result<(), Error> {
    let mut parent = group.mount.as_path();
    for dir in ancestors(&group.mount, &group.dir).into_iter().chain([group.dir.as_path()]) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = dir.join(file);
            if read_file(&own)?.is_some_and(|set| !set.trim().is_empty()) {
                continue;
            }
            let inherited = read_file(&parent.join(file))?.unwrap_or_default();
            write_file(&own, inherited.trim()).map_err(|source| Error::Io {
                what: "inherit the parent's set in",
                path: own,
                source,
            })?;
        }
        parent = dir;
    }
    Ok(())
}

/// Enables the controllers in every ancestor, so that the group has their files.
fn hand_down(group: &V2Group) -> Result<(), Error> {
    if group.enable.is_empty() && group.accounting.is_empty() {
        return Ok(());
    }
    let above = ancestors(&group.mount, &group.dir);
    let parent = above.last().copied().unwrap_or(group.mount.as_path());
    // Each level can only hand down what it was given, so the innermost one speaks for all.
    if missing(group, &enabled_in(parent)?).is_empty() {
        return Ok(());
    }
    for dir in [group.mount.as_path()].into_iter().chain(above) {
        let file = dir.join("cgroup.subtree_control");
        for controller in missing(group, &enabled_in(dir)?) {
            // One write each: a single one that names several fails as a whole.
            match (write_file(&file, &format!("+{controller}")), group.enable.get(controller)) {
                (Ok(()), _) | (Err(_), None) => {}
                (Err(source), Some(field)) => {
                    let (field, controller) = (field.clone(), controller.to_owned());
                    return Err(Error::Enable { field, controller, file, source });
                }
            }
        }
    }
    Ok(())
}

fn enabled_in(dir: &Path) -> Result<BTreeSet<String>, Error> {
    let text = read_file(&dir.join("cgroup.subtree_control"))?.unwrap_or_default();
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

fn missing<'a>(group: &'a V2Group, enabled: &BTreeSet<String>) -> Vec<&'a str> {
    let wanted = group.enable.keys().chain(&group.accounting);
    wanted.filter(|controller| !enabled.contains(*controller)).map(String::as_str).collect()
}

/// The group for berth's own processes, `<parent>/keepers`, made if it's absent. A sibling of the containers: none of
/// their limits, kills or freezes reach it.
///
/// `None` on a machine without version 2, where a process that stays where its caller was costs nothing, and joining
/// would cost 10 ms. Processes are to be cloned into it ([`Cgroup::v2_dir_fd`]), for the same reason.
pub fn keeper_dir(parent: &str, hierarchy: &Hierarchy) -> Result<Option<Cgroup>, Error> {
    let Some(mount) = hierarchy.v2_mountpoint() else { return Ok(None) };
    let dir = hierarchy.place(&Tree::V2, &GroupPath::parse(&format!("{parent}/keepers"))?)?;
    ensure_dir(mount, &dir)?;
    let fd = open_dir(&dir)?;
    let paths = CgroupPaths { v2: Some(text(&dir)), v1: BTreeMap::new() };
    Ok(Some(Cgroup::new(paths, Some(fd))))
}

/// Mount points come from text and group paths are text, so nothing is lost.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
