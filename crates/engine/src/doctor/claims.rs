//! Whether what belongs to this boot fits together: directories of containers, names, id ranges, control groups, mounts.

use super::{Finding, count, or_sound};
use crate::Home;
use crate::cell::{self, Cell};
use crate::claims::Claims;
use runtime::cgroup::Hierarchy;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use store::ContainerRecord;

/// Control groups below the parent that are no container's.
const OWN_GROUPS: [&str; 2] = ["keepers", "unlimited"];

/// The findings. Names are compared with the rows of containers if those could be read.
pub(super) fn findings(home: &Home, records: Option<&[ContainerRecord]>) -> Vec<Finding> {
    if !Claims::exist(home) {
        // What another boot has left in there is cleared by the first command of this one that needs it.
        let mut findings = vec![Finding::ok("this boot", "nothing has been started yet")];
        findings.extend(control_groups(home, &BTreeSet::new()));
        findings.extend(mounts(home));
        return findings;
    }
    let cells = Cell::all(home);
    let ids: BTreeSet<String> = cells.iter().map(|cell| cell.id.clone()).collect();
    let mut findings = or_sound(
        "directories of this boot",
        format!("{} looked after", count(cells.len(), "container")),
        cells.iter().filter_map(of_cell).collect(),
    );
    findings.extend(names(home, &cells, records));
    findings.extend(ranges(home, &ids));
    findings.extend(control_groups(home, &ids));
    findings.extend(mounts(home));
    findings
}

fn short(id: &str) -> &str {
    &id[..id.floor_char_boundary(12)]
}

/// Whether nobody looks after a container. The lock is taken for an instant and shared, which stops nobody who waits for
/// it.
fn is_left(cell: &Cell) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    match openat(CWD, cell.path.join("lock"), flags, Mode::empty()) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockShared).is_ok(),
        Err(_) => cell.path.is_dir(),
    }
}

/// What is wrong with a container's directory.
fn of_cell(cell: &Cell) -> Option<Finding> {
    let config = cell.config();
    let name = config.as_ref().map_or_else(|| short(&cell.id).to_owned(), |config| config.name.clone());
    let mends = "any command that looks at containers puts it right, such as berth ps";
    if is_left(cell) {
        let detail = match cell.running() {
            Some(running) if running.init.open().is_some() => {
                "runs, and nobody looks after it: its keeper was killed"
            }
            Some(_) => "has ended, and its keeper was killed before it was taken down",
            None => "was being made when whoever made it was killed",
        };
        return Some(Finding::wrong(format!("container {name}"), detail, mends));
    }
    let file = cell.path.join("config.json");
    if config.is_none() && file.exists() {
        let advice = format!("end it with its control group, then remove {}", cell.path.display());
        return Some(Finding::wrong(format!("container {name}"), "its config.json can't be read", advice));
    }
    let is_gone = |running: cell::Running| running.init.open().is_none();
    if cell.running().is_some_and(is_gone) && cell.ended().is_none() {
        let detail = "has ended, and its keeper doesn't record how";
        return Some(Finding::wrong(
            format!("container {name}"),
            detail,
            "end the process berth-keeper of it",
        ));
    }
    None
}

/// Links of a directory: their names and where they lead.
fn links(dir: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let link = |entry: std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok()?;
        Some((entry.file_name().into_string().ok()?, target))
    };
    entries.filter_map(link).collect()
}

/// Whether each name leads to a container that has it, and each container has its name.
fn names(home: &Home, cells: &[Cell], records: Option<&[ContainerRecord]>) -> Vec<Finding> {
    let links = links(&home.run.join("names"));
    let own_name = |id: &str| -> Option<String> {
        let recorded = records.into_iter().flatten().find(|record| record.id.as_str() == id);
        let of_cell = |cell: &Cell| cell.config().map(|config| config.name);
        recorded
            .map(|record| record.name.clone())
            .or_else(|| cells.iter().find(|cell| cell.id == id).and_then(of_cell))
    };
    let mut faults = Vec::new();
    for (name, id) in &links {
        let has_cell = cells.iter().any(|cell| cell.id == *id);
        let detail = match own_name(id) {
            Some(own) if own == *name => continue,
            Some(own) => format!("leads to the container {own}"),
            // Being made, or rows can't be read.
            None if has_cell || records.is_none() => continue,
            None => format!("leads to container {}, which isn't there", short(id)),
        };
        let advice = format!("the next command that uses the name gives it back, such as berth rm -f {name}");
        faults.push(Finding::wrong(format!("name {name}"), detail, advice));
    }
    for record in records.into_iter().flatten() {
        let id = record.id.as_str();
        if !links.iter().any(|(name, target)| *name == record.name && target == id) {
            let link = home.run.join("names").join(&record.name);
            faults.push(Finding::wrong(
                format!("name {}", record.name),
                format!("doesn't lead to its container {}", short(id)),
                format!("another container could be given it: ln -sn {id} {}", link.display()),
            ));
        }
    }
    or_sound("names", count(links.len(), "name"), faults)
}

/// Whether each range that is claimed has a container, and ranges that containers have are claimed.
fn ranges(home: &Home, ids: &BTreeSet<String>) -> Vec<Finding> {
    let links = links(&home.run.join("ranges"));
    let left = links.iter().filter(|(_, id)| !ids.contains(id));
    let left = left.map(|(slot, id)| {
        let link = home.run.join("ranges").join(slot);
        Finding::wrong(
            format!("id range {slot}"),
            format!("is claimed by container {}, which isn't running", short(id)),
            format!("no container gets it until it's given back: rm {}", link.display()),
        )
    });
    let mut faults: Vec<Finding> = left.collect();
    for id in ids {
        let cell = Cell::of(home, id);
        let Some(config) = cell.config().filter(|_| cell.ended().is_none()) else { continue };
        for slot in config.user_namespace.slots() {
            if !links.iter().any(|(claimed, by)| *claimed == slot.to_string() && by == id) {
                faults.push(Finding::wrong(
                    format!("id range {slot}"),
                    format!("is that of container {}, and isn't claimed by it", config.name),
                    format!(
                        "another container may get the same ids: restart it soon, with berth restart {}",
                        config.name
                    ),
                ));
            }
        }
    }
    or_sound("id ranges", format!("{} of {} in use", links.len(), home.ranges), faults)
}

/// Directories of containers' control groups, in all trees.
fn groups(home: &Home) -> Vec<PathBuf> {
    let Ok(hierarchy) = Hierarchy::detect() else { return Vec::new() };
    let parent = home.cgroup_parent.trim_start_matches('/');
    let v1 = hierarchy.v1_mountpoints().map(|(_, mount)| mount);
    let parents: BTreeSet<PathBuf> =
        v1.chain(hierarchy.v2_mountpoint()).map(|mount| mount.join(parent)).collect();
    let below = |dir: PathBuf| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
    };
    parents.into_iter().flat_map(below).collect()
}

fn control_groups(home: &Home, ids: &BTreeSet<String>) -> Vec<Finding> {
    let groups = groups(home);
    let name = |path: &Path| path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let of_containers: Vec<&PathBuf> =
        groups.iter().filter(|path| !OWN_GROUPS.contains(&&*name(path))).collect();
    let left = of_containers.iter().filter(|path| !ids.contains(&name(path))).map(|path| {
        let tasks = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        let detail = match tasks.lines().count() {
            0 => "no container has it, and nothing is in it".to_owned(),
            tasks => format!(
                "no container has it, and {} is in it",
                count(tasks, "process").replace("processs", "processes")
            ),
        };
        let advice = format!("end what is in it, then: rmdir {}", path.display());
        Finding::wrong(format!("control group {}", path.display()), detail, advice)
    });
    or_sound("control groups", "each has a container", left.collect())
}

/// Containers' mounts are in their own namespaces: none is to be seen on the host.
fn mounts(home: &Home) -> Vec<Finding> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own: Vec<PathBuf> = ["layers", "containers", "tmp"]
        .into_iter()
        .map(|name| home.root.join(name))
        .chain(["names", "ranges", "containers"].into_iter().map(|name| home.run.join(name)))
        .collect();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let left =
        points.filter(|point| own.iter().any(|dir| point.starts_with(dir) && point != dir)).map(|point| {
            let advice = format!("unmount it: umount {}", point.display());
            Finding::wrong(
                format!("mount {}", point.display()),
                "berth makes no mounts that the host sees",
                advice,
            )
        });
    or_sound("mounts", "none is left on the host", left.collect())
}
