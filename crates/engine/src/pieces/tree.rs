//! `berth tree`: a container's namespaces, id maps, control groups and processes, as the kernel shows them from outside.
//!
//! Nothing here is remembered from the start: all is read from `/proc`, while processes come and go. Commands and names
//! are the container's own words: whoever prints them escapes them.

use super::accounts::{self, SubIds};
use super::enter::not_running;
use super::{Error, KINDS, procfs};
use crate::Home;
use crate::cell::{Cell, Running};
use crate::find::{self, Container, State};
use crate::request::{NamespaceType, TreeRequest};
use runtime::cgroup::Cgroup;
use runtime::userns;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use types::oci::IdMapping;

/// Most processes that a tree holds.
const PROCESSES_MAX: usize = 10_000;

/// Longest command that is read, in bytes.
const COMMAND_BYTES_MAX: u64 = 4096;

/// Most descriptors of a process that are looked at for the container's lock.
const DESCRIPTORS_MAX: usize = 256;

/// A running container, as seen from outside and inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// What it was made from.
    pub image: String,
    /// The namespaces of its first process.
    pub namespaces: Vec<NamespaceRow>,
    /// User ids, inside and outside.
    pub users: Vec<MapRow>,
    /// Group ids, inside and outside.
    pub groups: Vec<MapRow>,
    /// Where it is in the trees of control groups.
    pub cgroups: Vec<CgroupRow>,
    /// Its processes and berth's for it; each one's children follow it, one level deeper.
    pub processes: Vec<Process>,
    /// Whether there are more processes than a tree holds.
    pub cut: bool,
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamespaceRow {
    /// Kind.
    #[serde(rename = "type")]
    pub kind: NamespaceType,
    /// The number that tells it from others: the inode of `/proc/PID/ns/FILE`.
    pub inode: u64,
    /// Whose it is.
    #[serde(flatten)]
    pub whose: Whose,
}

/// Whose a namespace is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "whose", content = "with", rename_all = "lowercase")]
pub enum Whose {
    /// The container's alone.
    Own,
    /// The same as the caller's, which is the host's.
    Host,
    /// The same as that of these containers.
    Shared(Vec<String>),
}

/// A block of ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MapRow {
    /// First id inside.
    pub inside: u32,
    /// First id on the host.
    pub host: u32,
    /// How many.
    pub count: u32,
    /// Whose they are by the host's `/etc/subuid` or `/etc/subgid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A place in one tree of control groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CgroupRow {
    /// Controllers of a version 1 tree; empty for the version 2 tree.
    pub controllers: String,
    /// Path from the tree's root.
    pub path: String,
}

/// What a process is for berth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Parent of the first process.
    Holder,
    /// Keeps log and record.
    Keeper,
    /// The container's first process.
    First,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// How many of its ancestors are in the tree.
    pub depth: usize,
    /// Process id on the host.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Process id in the container; `None` for berth's own processes.
    pub inside_pid: Option<i32>,
    /// Effective user id on the host.
    pub uid: u32,
    /// The same in the container; `None` for berth's own processes, and where the container has no such user.
    pub inside_uid: Option<u32>,
    /// Letter of the state: `R`, `S`, `Z`, …
    pub state: char,
    /// What it is for berth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Program and arguments, or in brackets the name of a process that has none.
    pub command: String,
}

/// The tree of a running container.
///
/// Errors: [`Error::Engine`] if there is no such container or it isn't running; [`Error::Step`] if `/proc` can't be read.
pub fn tree(home: &Home, request: &TreeRequest) -> Result<Tree, Error> {
    let container = find::container(home, &request.container)?;
    let State::Running(running) = &container.state else { return Err(not_running(&request.container)) };
    let pid = running.init.pid;
    let read = |name: &str| procfs::text(pid, name).ok_or_else(|| not_running(&request.container));
    let maps = [read("uid_map")?, read("gid_map")?].map(|text| userns::parse_map(&text).unwrap_or_default());
    let cgroups = parse_cgroup(&read("cgroup")?);
    let namespaces = namespaces(home, &container, pid)?;
    let own_pids = namespaces.iter().any(|row| row.kind == NamespaceType::Pid && row.whose == Whose::Own);
    let (processes, cut) = processes(&container.cell(home), running, &maps[0], own_pids);
    if running.init.open().is_none() {
        return Err(not_running(&request.container));
    }
    let [users, groups] = maps;
    Ok(Tree {
        id: container.config.id.clone(),
        name: container.config.name.clone(),
        image: container.config.image.clone(),
        namespaces,
        users: rows(&users, &accounts::subordinate("/etc/subuid")),
        groups: rows(&groups, &accounts::subordinate("/etc/subgid")),
        cgroups,
        processes,
        cut,
    })
}

fn namespaces(home: &Home, container: &Container, pid: i32) -> Result<Vec<NamespaceRow>, Error> {
    let others: Vec<(String, i32)> = find::present(home)
        .into_iter()
        .filter(|other| other.config.id != container.config.id)
        .filter_map(|other| match other.state {
            State::Running(running) => Some((other.config.name, running.init.pid)),
            _ => None,
        })
        .collect();
    let mut rows = Vec::new();
    for (kind, file, _) in KINDS {
        // The kernel doesn't have this kind.
        let Ok(host) = procfs::namespace("self", file) else { continue };
        let inode = procfs::namespace(&pid.to_string(), file)
            .map_err(|error| Error::io(format!("look at the {file} namespace of process {pid}"), &error))?;
        let same = |(name, pid): &(String, i32)| {
            (procfs::namespace(&pid.to_string(), file).ok() == Some(inode)).then(|| name.clone())
        };
        let whose = if inode == host {
            Whose::Host
        } else {
            let with: Vec<String> = others.iter().filter_map(same).collect();
            if with.is_empty() { Whose::Own } else { Whose::Shared(with) }
        };
        rows.push(NamespaceRow { kind, inode, whose });
    }
    Ok(rows)
}

fn rows(map: &[IdMapping], subordinate: &[SubIds]) -> Vec<MapRow> {
    map.iter()
        .map(|m| MapRow {
            inside: m.container_id,
            host: m.host_id,
            count: m.size,
            owner: accounts::owner_of(subordinate, m.host_id, m.size).map(str::to_owned),
        })
        .collect()
}

/// The lines of a `cgroup` file. Source: cgroups(7).
fn parse_cgroup(text: &str) -> Vec<CgroupRow> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?.to_owned(), fields.next()?.to_owned());
            Some(CgroupRow { controllers, path })
        })
        .collect()
}

/// A process as found, before its place in the tree is known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    pid: i32,
    status: procfs::Status,
}

/// The container's processes in the order of the tree, and whether some were left out.
fn processes(cell: &Cell, running: &Running, users: &[IdMapping], own_pids: bool) -> (Vec<Process>, bool) {
    let init = running.init.pid;
    let all: Vec<Found> =
        procfs::processes().filter_map(|pid| Some(Found { pid, status: procfs::status(pid)? })).collect();
    let Some(level) = all.iter().find(|found| found.pid == init).map(|found| found.status.pids.len()) else {
        return (Vec::new(), false);
    };
    let group: BTreeSet<i32> = Cgroup::open(&running.cgroup)
        .and_then(|group| group.pids())
        .map(|pids| pids.into_iter().map(|pid| pid as i32).collect())
        .unwrap_or_default();
    let space = procfs::namespace(&init.to_string(), "pid").ok().filter(|_| own_pids);
    let own = |found: &Found| {
        matches!(found.status.name.as_str(), "berth-holder" | "berth-keeper")
            && found.status.pids.len() < level.max(2)
    };
    let keepers: BTreeSet<i32> = all
        .iter()
        .filter(|found| found.status.name == "berth-keeper" && own(found))
        .filter(|found| looks_after(found.pid, cell))
        .map(|found| found.pid)
        .collect();
    let seed = |found: &Found| {
        group.contains(&found.pid)
            || (space.is_some()
                && found.status.pids.len() >= level
                && procfs::namespace(&found.pid.to_string(), "pid").ok() == space)
    };
    // Another container's process that lives below this one's, or berth's own for it, is none of the container's.
    let seeds: BTreeSet<i32> =
        all.iter().filter(|f| !own(f) && seed(f)).map(|f| f.pid).chain([init]).collect();
    let inside = with_descendants(&all, seeds);
    let role = |pid: i32| match pid {
        _ if pid == init => Some(Role::First),
        _ if pid == running.holder.pid => Some(Role::Holder),
        _ if keepers.contains(&pid) => Some(Role::Keeper),
        _ => None,
    };
    let shown = all.into_iter().filter(|f| inside.contains(&f.pid) || role(f.pid).is_some()).collect();
    let (ordered, cut) = order(shown);
    let process = |(depth, found): (usize, Found)| {
        let role = role(found.pid);
        let of_container = !matches!(role, Some(Role::Holder | Role::Keeper));
        Process {
            depth,
            pid: found.pid,
            parent: found.status.parent,
            inside_pid: found.status.pids.get(level - 1).copied().filter(|_| of_container),
            uid: found.status.uid,
            inside_uid: userns::to_container(users, found.status.uid).filter(|_| of_container),
            state: found.status.state,
            role,
            command: if of_container { command(&found) } else { found.status.name },
        }
    };
    (ordered.into_iter().map(process).collect(), cut)
}

/// Whether a process of berth's holds the lock of the container.
fn looks_after(pid: i32, cell: &Cell) -> bool {
    let lock = cell.path.join("lock");
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries.flatten().take(DESCRIPTORS_MAX).any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == lock))
}

fn command(found: &Found) -> String {
    let bytes = procfs::read(format!("/proc/{}/cmdline", found.pid), COMMAND_BYTES_MAX).unwrap_or_default();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if end == 0 {
        return format!("[{}]", found.status.name);
    }
    let words: Vec<_> = bytes[..end].split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ")
}

/// Children of each process.
fn children(all: &[Found]) -> BTreeMap<i32, Vec<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for found in all {
        children.entry(found.status.parent).or_default().push(found.pid);
    }
    children
}

/// The processes and all below them.
fn with_descendants(all: &[Found], seeds: BTreeSet<i32>) -> BTreeSet<i32> {
    let children = children(all);
    let mut left: Vec<i32> = seeds.iter().copied().collect();
    let mut inside = seeds;
    while let Some(pid) = left.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if inside.insert(*child) {
                left.push(*child);
            }
        }
    }
    inside
}

/// Parents before their children, siblings by process id, each with its depth; the second tells whether some were left
/// out. Without recursion: a container chooses how deep its tree is. What was seen at different moments may even be a
/// ring: then the lowest process id is its beginning.
fn order(mut all: Vec<Found>) -> (Vec<(usize, Found)>, bool) {
    all.sort_by_key(|found| found.pid);
    all.dedup_by_key(|found| found.pid);
    let children = children(&all);
    let mut left: BTreeMap<i32, Found> = all.into_iter().map(|found| (found.pid, found)).collect();
    let is_root = |found: &&Found, left: &BTreeMap<i32, Found>| !left.contains_key(&found.status.parent);
    let roots: Vec<i32> =
        left.values().filter(|found| is_root(found, &left)).map(|found| found.pid).collect();
    let mut ordered = Vec::new();
    let mut starts = roots.into_iter();
    while let Some(start) = starts.next().or_else(|| left.keys().next().copied()) {
        let mut stack = vec![(0, start)];
        while let Some((depth, pid)) = stack.pop() {
            let Some(found) = left.remove(&pid) else { continue };
            if ordered.len() == PROCESSES_MAX {
                return (ordered, true);
            }
            ordered.push((depth, found));
            stack.extend(children.get(&pid).into_iter().flatten().rev().map(|child| (depth + 1, *child)));
        }
    }
    (ordered, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pid: i32, parent: i32) -> Found {
        let status = procfs::Status { parent, pids: vec![pid], state: 'S', ..procfs::Status::default() };
        Found { pid, status }
    }

    fn shape(all: Vec<Found>) -> Vec<(usize, i32)> {
        order(all).0.into_iter().map(|(depth, found)| (depth, found.pid)).collect()
    }

    #[test]
    fn children_follow_their_parents() {
        let all =
            vec![found(30, 20), found(20, 10), found(25, 10), found(10, 1), found(40, 1), found(41, 40)];
        assert_eq!(shape(all), [(0, 10), (1, 20), (2, 30), (1, 25), (0, 40), (1, 41)]);
        assert_eq!(shape(Vec::new()), []);
    }

    #[test]
    fn rings_and_depths_are_no_surprise() {
        assert_eq!(shape(vec![found(5, 6), found(6, 5), found(7, 7)]), [(0, 5), (1, 6), (0, 7)]);
        let deep: Vec<Found> = (2..30_000).map(|pid| found(pid, pid - 1)).collect();
        let (ordered, cut) = order(deep);
        assert_eq!((ordered.len(), cut), (PROCESSES_MAX, true));
        assert_eq!(ordered[PROCESSES_MAX - 1].0, PROCESSES_MAX - 1);
    }

    #[test]
    fn descendants_belong_to_the_container() {
        let all = [found(10, 1), found(11, 10), found(12, 11), found(20, 1)];
        assert_eq!(with_descendants(&all, BTreeSet::from([10])), BTreeSet::from([10, 11, 12]));
        let ring = [found(5, 6), found(6, 5)];
        assert_eq!(with_descendants(&ring, BTreeSet::from([5])), BTreeSet::from([5, 6]));
    }

    #[test]
    fn cgroup_files_are_parsed() {
        let rows = parse_cgroup("4:cpu,cpuacct:/berth/a:b\n1:name=systemd:/\n0::/x\nbad\n");
        let shown: Vec<(&str, &str)> =
            rows.iter().map(|row| (row.controllers.as_str(), row.path.as_str())).collect();
        assert_eq!(shown, [("cpu,cpuacct", "/berth/a:b"), ("name=systemd", "/"), ("", "/x")]);
    }

    #[test]
    fn id_blocks_name_their_owners() {
        let subordinate = [SubIds { owner: "web".to_owned(), first: 1000, count: 10 }];
        let map = [
            IdMapping { container_id: 0, host_id: 1000, size: 10 },
            IdMapping { container_id: 10, host_id: 2000, size: 1 },
        ];
        let owners: Vec<Option<String>> = rows(&map, &subordinate).into_iter().map(|row| row.owner).collect();
        assert_eq!(owners, [Some("web".to_owned()), None]);
    }
}
