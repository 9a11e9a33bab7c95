//! Who kills.

use super::boxes::OneBox;
use super::{Camp, Random};
use std::path::Path;
use std::time::Duration;
use testkit::cmd::kill_if;

/// Between two kills, in milliseconds at most.
const PAUSE_MS_MAX: u64 = 80;

/// A process of berth's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Holder,
    Keeper,
    Follower,
    Exec,
    Other,
}

/// One that was killed.
#[derive(Debug, Clone)]
pub struct Kill {
    pub role: Role,
    /// The container's id, where it had one's directory open.
    pub id: String,
    /// How often the container had been run by then.
    pub run: u32,
}

/// Kills until the storm is over.
pub fn run(camp: &Camp, mut random: Random) {
    while !camp.is_over() {
        std::thread::sleep(Duration::from_millis(random.below(PAUSE_MS_MAX)));
        let roles = [Role::Holder, Role::Keeper, Role::Keeper, Role::Follower, Role::Exec, Role::Other];
        let role = roles[random.below(roles.len() as u64) as usize];
        let all = processes(camp, role);
        if all.is_empty() {
            continue;
        }
        let victim = all[random.below(all.len() as u64) as usize];
        let kill = kill_of(camp, victim, role);
        // Written down before it's true: who looks at a log meanwhile must know.
        let written = kill.is_some();
        if let Some(kill) = kill {
            camp.kills.lock().unwrap().push(kill);
        }
        if kill_if(victim, || role_of(camp, victim) == Some(role)) {
            camp.count(&format!("killed: {role:?}"));
        } else if written {
            camp.kills.lock().unwrap().pop();
        }
    }
}

fn processes(camp: &Camp, role: Role) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| role_of(camp, *pid) == Some(role)).collect()
}

fn role_of(camp: &Camp, pid: u32) -> Option<Role> {
    let proc = Path::new("/proc").join(pid.to_string());
    let line = std::fs::read(proc.join("cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line);
    if !line.starts_with(&*camp.dir.join("bin/berth").to_string_lossy()) {
        return None;
    }
    // A container's own, before it becomes the container's program.
    if std::fs::read_link(proc.join("ns/user")).ok()? != std::fs::read_link("/proc/self/ns/user").unwrap() {
        return None;
    }
    let name = std::fs::read_to_string(proc.join("comm")).ok()?;
    match (name.trim(), line.split('\0').nth(1)) {
        (_, Some("events")) => None,
        ("berth-holder", _) => Some(Role::Holder),
        ("berth-keeper", _) => Some(Role::Keeper),
        (_, Some("logs")) if line.contains("\0-f\0") => Some(Role::Follower),
        (_, Some("exec")) => Some(Role::Exec),
        _ => Some(Role::Other),
    }
}

/// Which container's it is, by the files that it has open.
fn kill_of(camp: &Camp, pid: u32, role: Role) -> Option<Kill> {
    let cells = camp.dir.join("run/containers");
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let mut targets = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let cell = targets.find_map(|path| {
        let rest = path.strip_prefix(&cells).ok()?;
        Some(rest.components().next()?.as_os_str().to_str()?.to_owned())
    })?;
    let config = std::fs::read_to_string(cells.join(&cell).join("config.json")).unwrap_or_default();
    // The directory that it notes in is the source of its volume.
    let work = format!("{}/box", camp.dir.join("work").display());
    let ctl = config.split('"').find(|word| word.starts_with(&work));
    let run = ctl.map_or(0, |ctl| OneBox::runs(Path::new(ctl.trim_end_matches(":/ctl"))));
    Some(Kill { role, id: cell, run })
}

impl Camp {
    /// Who of a container's was killed, in which run of its.
    pub fn killed(&self, id: &str) -> String {
        let kills = self.kills.lock().unwrap();
        let of_it = kills.iter().filter(|kill| kill.id == id);
        of_it.map(|kill| format!("{:?} in {}", kill.role, kill.run)).collect::<Vec<_>>().join(", ")
    }

    /// Whether a container may have been without both of its processes in a run of its.
    pub fn was_alone(&self, id: &str, run: u32) -> bool {
        let kills = self.kills.lock().unwrap();
        let killed = |role: Role| {
            // A run is counted only when its program has begun.
            kills.iter().any(|kill| {
                kill.role == role && kill.id == id && (run.saturating_sub(1)..=run).contains(&kill.run)
            })
        };
        killed(Role::Holder) && killed(Role::Keeper)
    }
}
