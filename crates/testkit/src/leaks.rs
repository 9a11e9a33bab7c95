//! What one test left on the host.
//!
//! Teardown may end after the command that asked for it: everything is looked at until it's gone or [`PATIENCE`] is.

use crate::{Host, until};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long asynchronous teardown may take.
///
/// The kernel takes network namespaces down one after another, with all that they hold: where many tests end at once, each
/// waits for those before.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bound on how deep the control group trees are searched.
const CGROUP_DEPTH_MAX: usize = 5;

/// Directories of the state that are empty without containers, below BERTH_ROOT, BERTH_RUN or `--root`.
const EMPTY: [&str; 9] = [
    "root/containers",
    "root/tmp",
    "run/containers",
    "run/names",
    "run/ranges",
    "run/intents",
    "run/pids",
    "run/runtime",
    "oci",
];

/// Everything that is left, as lines that name it; `devices` are the network devices that were there before.
pub(crate) fn after(host: &Host, devices: &[String], patient: bool) -> Vec<String> {
    let mut left = Vec::new();
    let limit = if patient { PATIENCE } else { Duration::ZERO };
    until(limit, || {
        left = look(host, devices);
        left.is_empty()
    });
    left
}

fn look(host: &Host, devices: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(mounts(host.dir()).into_iter().map(|point| format!("mount {}", point.display())));
    left.extend(processes(host).into_iter().map(|(_, line)| line));
    for parent in cgroup_parents(host) {
        let groups = children(&parent).into_iter().filter(|dir| !is_standing(dir));
        left.extend(groups.map(|dir| format!("cgroup {}", dir.display())));
    }
    for name in EMPTY {
        let dir = host.dir().join(name);
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            left.push(format!("state {}", entry.path().display()));
        }
    }
    let new = net_devices().into_iter().filter(|name| !devices.contains(name));
    left.extend(new.map(|name| format!("network device {name}")));
    left
}

/// Whether it's one of the groups of berth's own processes, which are made once and stay, without any process.
fn is_standing(dir: &Path) -> bool {
    dir.file_name().is_some_and(|name| name == "keepers" || name == "unlimited")
        && std::fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|pids| pids.is_empty())
}

/// Network devices of the host.
pub(crate) fn net_devices() -> Vec<String> {
    // Those of the test's own network namespace, in which nobody else makes any.
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let names = table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    // The default network's bridge stays until somebody prunes networks, or the test's namespace goes.
    let is_default = |name: &str| {
        let digits = name.strip_prefix('n').and_then(|rest| rest.strip_suffix('0'));
        name == "berth0"
            || digits.is_some_and(|tag| tag.len() == 5 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    names.filter(|name| !is_default(name)).collect()
}

/// Mount points below `dir`.
fn mounts(dir: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(dir)).collect()
}

/// Control groups by the parent's name, in each hierarchy: at the top, or below the group that berth was started in.
fn cgroup_parents(host: &Host) -> Vec<PathBuf> {
    fn search(dir: &Path, name: &str, depth: usize, found: &mut Vec<PathBuf>) {
        for child in children(dir) {
            if child.file_name().is_some_and(|last| last == name) {
                found.push(child);
            } else if depth > 0 {
                search(&child, name, depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    search(Path::new("/sys/fs/cgroup"), host.cgroup(), CGROUP_DEPTH_MAX, &mut found);
    found
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Processes of the test: by ids, control group, command line or open files. Zombies are their parents' business.
fn processes(host: &Host) -> Vec<(u32, String)> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc is mounted").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == own {
            continue;
        }
        if let Some(why) = belongs(host, &entry.path()) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            found.push((pid, format!("process {pid} ({why}): {}", line.trim_end())));
        }
    }
    found
}

/// Why the process at `proc` is one of the test's, if it is.
fn belongs(host: &Host, proc: &Path) -> Option<String> {
    let dir = host.dir().to_string_lossy();
    let status = std::fs::read_to_string(proc.join("status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    if field("State:").trim_start().starts_with(['Z', 'X']) {
        return None;
    }
    let mut ids = field("Uid:").split_whitespace().filter_map(|id| id.parse().ok());
    if let Some(id) = ids.find(|id| host.owns_id(*id)) {
        return Some(format!("user {id}"));
    }
    let cgroups = std::fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
    if cgroups.contains(host.cgroup()) {
        return Some("control group".to_owned());
    }
    for name in ["cmdline", "environ"] {
        let bytes = std::fs::read(proc.join(name)).unwrap_or_default();
        if String::from_utf8_lossy(&bytes).contains(&*dir) {
            return Some(name.to_owned());
        }
    }
    let mut links = vec![proc.join("cwd"), proc.join("root")];
    links
        .extend(std::fs::read_dir(proc.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path()));
    let held = |link: &PathBuf| std::fs::read_link(link).is_ok_and(|target| target.starts_with(host.dir()));
    links.iter().find(|link| held(link)).map(|link| link.display().to_string())
}

/// Ends and removes whatever is left, so that one failure isn't the next test's.
pub(crate) fn clean(host: &Host) {
    until(PATIENCE, || {
        let processes = processes(host);
        for (pid, _) in &processes {
            if let Some(pid) = rustix::process::Pid::from_raw(*pid as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        processes.is_empty()
    });
    for point in mounts(host.dir()).iter().rev() {
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
    for parent in cgroup_parents(host) {
        until(PATIENCE, || remove_cgroups(&parent));
    }
}

fn remove_cgroups(dir: &Path) -> bool {
    // Frozen processes don't die.
    let _ = std::fs::write(dir.join("freezer.state"), "THAWED");
    let _ = std::fs::write(dir.join("cgroup.freeze"), "0");
    let below = children(dir).iter().all(|child| remove_cgroups(child));
    below && std::fs::remove_dir(dir).is_ok()
}
