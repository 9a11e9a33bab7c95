//! `berth unshare`: util-linux's flags. Source: unshare(1).

use engine::request::{MapOne, MapRange, NamespaceType, Propagation, UnshareRequest};

use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::{clock, number};
use crate::{backend, unsupported};

/// What stands for a namespace flag without `=FILE`.
pub const NEW: &str = "\0new";

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] [COMMAND [ARG...]]",
    about: "Run a command in new namespaces of its own, piece by piece",
    flags: &[
        (
            "Namespaces",
            &[
                Flag::maybe("user", "file", NEW, "User and group ids").short('U'),
                Flag::maybe("mount", "file", NEW, "Mount points").short('m'),
                Flag::maybe("pid", "file", NEW, "Process ids; with --fork the command is pid 1").short('p'),
                Flag::maybe("net", "file", NEW, "Network").short('n'),
                Flag::maybe("uts", "file", NEW, "Host name").short('u'),
                Flag::maybe("ipc", "file", NEW, "System V IPC, POSIX message queues").short('i'),
                Flag::maybe("cgroup", "file", NEW, "Root of the cgroup tree").short('C'),
                Flag::maybe("time", "file", NEW, "Monotonic and boot clocks").short('T'),
            ],
        ),
        (
            "Users",
            &[
                Flag::switch("map-root-user", "Be root inside (implies --user)").short('r'),
                Flag::switch("map-current-user", "Be oneself inside (implies --user)").short('c'),
                Flag::one("map-user", "user", "Be this user inside (implies --user)"),
                Flag::one("map-group", "group", "Be this group inside (implies --user)"),
                Flag::many(
                    "map-users",
                    "map",
                    "Map user ids, INNER:OUTER:COUNT, auto or all (implies --user)",
                ),
                Flag::many("map-groups", "map", "Map group ids likewise (implies --user)"),
                Flag::switch("map-auto", "Map the caller's subordinate ids (implies --user)"),
                Flag::one("setgroups", "string", "allow or deny setgroups(2) inside"),
                Flag::one("setuid", "uid", "User id of the command").short('S'),
                Flag::one("setgid", "gid", "Group id of the command").short('G'),
            ],
        ),
        (
            "Process",
            &[
                Flag::switch("fork", "Run the command as a child").short('f'),
                Flag::maybe(
                    "kill-child",
                    "signal",
                    "KILL",
                    "Kill the child when berth dies (implies --fork)",
                ),
                Flag::maybe("mount-proc", "dir", "/proc", "Mount a new proc (implies --mount)"),
                Flag::one("propagation", "mode", "private, shared, slave or unchanged (default private)"),
                Flag::one("root", "dir", "Root directory").short('R'),
                Flag::one("wd", "dir", "Working directory").short('w'),
                Flag::one("monotonic", "seconds", "Offset of the monotonic clock (needs --time)"),
                Flag::one("boottime", "seconds", "Offset of the boot clock (needs --time)"),
            ],
        ),
    ],
    unsupported: unsupported::UNSHARE,
    args: (0, usize::MAX),
    trailing: true,
};

/// Namespace flags and what they stand for.
pub const NAMESPACES: [(&str, NamespaceType); 8] = [
    ("user", NamespaceType::User),
    ("mount", NamespaceType::Mount),
    ("pid", NamespaceType::Pid),
    ("net", NamespaceType::Network),
    ("uts", NamespaceType::Uts),
    ("ipc", NamespaceType::Ipc),
    ("cgroup", NamespaceType::Cgroup),
    ("time", NamespaceType::Time),
];

/// The namespaces that flags name; a file is refused by name.
pub fn namespaces(parsed: &Parsed) -> Result<Vec<NamespaceType>, Failure> {
    let mut all = Vec::new();
    for (name, kind) in NAMESPACES {
        match parsed.one(name) {
            None => {}
            Some(NEW) => all.push(kind),
            Some(file) => return Err(parsed.bad(name, file, "namespaces by file aren't supported yet")),
        }
    }
    Ok(all)
}

fn id(text: &str) -> Result<u32, BadValue> {
    text.parse::<u32>().ok().filter(|id| *id != u32::MAX).ok_or_else(|| BadValue::new("not an id"))
}

/// Reads a user or group id for `--setuid` and `--setgid`.
pub fn ids(parsed: &Parsed) -> Result<(Option<u32>, Option<u32>), Failure> {
    Ok((parsed.parsed("setuid", id)?, parsed.parsed("setgid", id)?))
}

fn range(text: &str) -> Result<MapRange, BadValue> {
    let wrong = || BadValue::new("not a map").hint("write INNER:OUTER:COUNT, auto or all");
    match text {
        "auto" | "subids" => return Ok(MapRange::Auto),
        "all" => return Ok(MapRange::All),
        _ => {}
    }
    let numbers: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
    let Some([inner, outer, count]) = numbers.as_deref() else { return Err(wrong()) };
    let fits = |first: u32| first.checked_add(*count - 1).is_some_and(|last| last != u32::MAX);
    match *count > 0 && fits(*inner) && fits(*outer) {
        true => Ok(MapRange::Block { inner: *inner, outer: *outer, count: *count }),
        false => Err(BadValue::new("the block is empty or leaves the range of ids")),
    }
}

fn propagation(text: &str) -> Result<Option<Propagation>, BadValue> {
    Ok(match text {
        "private" => Some(Propagation::RPrivate),
        "shared" => Some(Propagation::RShared),
        "slave" => Some(Propagation::RSlave),
        "unchanged" => None,
        _ => return Err("not one of private, shared, slave, unchanged".into()),
    })
}

fn setgroups(text: &str) -> Result<bool, BadValue> {
    match text {
        "allow" => Ok(true),
        "deny" => Ok(false),
        _ => Err("neither allow nor deny".into()),
    }
}

/// Refuses flags that contradict one another, as unshare(1) does.
fn check(parsed: &Parsed, request: &UnshareRequest) -> Result<(), Failure> {
    let has = |kind| request.namespaces.contains(&kind);
    let clash = if (request.monotonic.is_some() || request.boottime.is_some()) && !has(NamespaceType::Time) {
        "--monotonic and --boottime need --time as well"
    } else if request.setgroups.is_some() && !has(NamespaceType::User) {
        "--setgroups needs --user as well"
    } else if request.setgroups == Some(true) && request.map_group.is_some() && request.map_groups.is_empty()
    {
        "conflicting options: --setgroups allow and a map of one group"
    } else if parsed.switch("map-root-user") && parsed.switch("map-current-user") {
        "conflicting options: --map-root-user and --map-current-user"
    } else {
        return Ok(());
    };
    Err(parsed.wrong(clash))
}

fn request(parsed: &Parsed) -> Result<UnshareRequest, Failure> {
    let named = |name| parsed.one(name).map(|text| MapOne::To(text.to_owned()));
    let both = match (parsed.switch("map-root-user"), parsed.switch("map-current-user")) {
        (true, _) => Some(MapOne::Root),
        (_, true) => Some(MapOne::Current),
        _ => None,
    };
    let auto = parsed.switch("map-auto").then_some(MapRange::Auto);
    let ranges = |name| Ok::<_, Failure>(parsed.each(name, range)?.into_iter().chain(auto).collect());
    let (setuid, setgid) = ids(parsed)?;
    let path = |name| parsed.one(name).map(Into::into);
    let kill_child = parsed.parsed("kill-child", number::signal)?;
    let mut request = UnshareRequest {
        namespaces: namespaces(parsed)?,
        fork: parsed.switch("fork") || kill_child.is_some(),
        kill_child,
        mount_proc: path("mount-proc"),
        propagation: parsed.parsed("propagation", propagation)?.unwrap_or(Some(Propagation::RPrivate)),
        map_user: named("map-user").or(both.clone()),
        map_group: named("map-group").or(both),
        map_users: ranges("map-users")?,
        map_groups: ranges("map-groups")?,
        setgroups: parsed.parsed("setgroups", setgroups)?,
        root: path("root"),
        workdir: path("wd"),
        setuid,
        setgid,
        monotonic: parsed.parsed("monotonic", clock::seconds)?,
        boottime: parsed.parsed("boottime", clock::seconds)?,
        command: parsed.args(),
    };
    let maps = request.map_user.is_some()
        || request.map_group.is_some()
        || !request.map_users.is_empty()
        || !request.map_groups.is_empty();
    let implied = [(maps, NamespaceType::User), (request.mount_proc.is_some(), NamespaceType::Mount)];
    for (implied, kind) in implied {
        if implied && !request.namespaces.contains(&kind) {
            request.namespaces.push(kind);
        }
    }
    check(parsed, &request)?;
    Ok(request)
}

/// Runs a command in new namespaces.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    backend::unshare(&request(parsed)?)
}

#[cfg(test)]
mod tests;
