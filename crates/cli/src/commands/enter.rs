//! `berth enter`: nsenter's job, by container. Source: nsenter(1).

use engine::request::{EnterRequest, EnterTarget};

use super::unshare::{NEW, ids, namespaces};
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER|PID [COMMAND [ARG...]]",
    about: "Run a command in the namespaces of a container or process",
    flags: &[
        (
            "Namespaces (default all)",
            &[
                Flag::switch("all", "All that differ from the caller's").short('a'),
                Flag::maybe("user", "file", NEW, "User and group ids").short('U'),
                Flag::maybe("mount", "file", NEW, "Mount points").short('m'),
                Flag::maybe("pid", "file", NEW, "Process ids").short('p'),
                Flag::maybe("net", "file", NEW, "Network").short('n'),
                Flag::maybe("uts", "file", NEW, "Host name").short('u'),
                Flag::maybe("ipc", "file", NEW, "System V IPC, POSIX message queues").short('i'),
                Flag::maybe("cgroup", "file", NEW, "Root of the cgroup tree").short('C'),
                Flag::maybe("time", "file", NEW, "Monotonic and boot clocks").short('T'),
            ],
        ),
        (
            "Options",
            &[
                Flag::one("target", "pid", "The process, instead of an argument").short('t'),
                Flag::maybe("root", "dir", NEW, "Take its root directory too").short('r'),
                Flag::maybe("wd", "dir", NEW, "Take its working directory too").short('w'),
                Flag::one("setuid", "uid", "User id of the command").short('S'),
                Flag::one("setgid", "gid", "Group id of the command").short('G'),
                Flag::switch("preserve-credentials", "Keep user and group ids"),
                Flag::switch("no-fork", "Replace berth by the command").short('F'),
            ],
        ),
    ],
    unsupported: unsupported::ENTER,
    args: (0, usize::MAX),
    trailing: true,
};

fn pid(text: &str) -> Result<u32, BadValue> {
    text.parse::<i32>()
        .ok()
        .filter(|pid| *pid > 0)
        .map(|pid| pid as u32)
        .ok_or_else(|| BadValue::new("not a process id"))
}

fn request(parsed: &Parsed, target: EnterTarget, command: Vec<String>) -> Result<EnterRequest, Failure> {
    let whole = |name| match parsed.one(name) {
        None => Ok(false),
        Some(NEW) => Ok(true),
        Some(dir) => Err(parsed.bad(name, dir, "only the target's own is supported yet")),
    };
    let (setuid, setgid) = ids(parsed)?;
    Ok(EnterRequest {
        target,
        namespaces: if parsed.switch("all") { Vec::new() } else { namespaces(parsed)? },
        root: whole("root")?,
        workdir: whole("wd")?,
        no_fork: parsed.switch("no-fork"),
        preserve_credentials: parsed.switch("preserve-credentials"),
        setuid,
        setgid,
        command,
    })
}

fn read(parsed: &Parsed) -> Result<EnterRequest, Failure> {
    let mut args = parsed.args();
    if let Some(pid) = parsed.parsed("target", pid)? {
        return request(parsed, EnterTarget::Pid(pid), args);
    }
    if args.is_empty() {
        let usage = format!("usage: {} {}", parsed.command, SPEC.usage);
        return Err(parsed.wrong("requires at least 1 argument").hint(usage).code(1));
    }
    let target = EnterTarget::Named(args.remove(0));
    request(parsed, target, args)
}

/// Runs a command in another's namespaces.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    backend::enter(&read(parsed)?)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use engine::request::NamespaceType;

    use super::*;
    use crate::flags::{self, Asked};

    fn line(line: &str) -> Result<EnterRequest, Failure> {
        let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        match flags::parse(&SPEC, "berth enter", &words)? {
            Asked::Work(parsed) => read(&parsed),
            Asked::Help => panic!("help"),
        }
    }

    #[test]
    fn targets_and_namespaces_are_read() {
        let web = line("-m -n web ip -br addr").expect("valid");
        assert_eq!(web.target, EnterTarget::Named("web".into()));
        assert_eq!(web.namespaces, [NamespaceType::Mount, NamespaceType::Network]);
        assert_eq!(web.command, ["ip", "-br", "addr"]);
        let pid = line("-t 5 -a -r -w -S 0 -G 0 -F").expect("valid");
        assert_eq!(pid.target, EnterTarget::Pid(5));
        assert!(pid.namespaces.is_empty() && pid.root && pid.workdir && pid.no_fork);
        assert_eq!((pid.setuid, pid.setgid), (Some(0), Some(0)));
        for wrong in ["", "-t x", "-t 0", "--net=/x web", "-e web"] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
    }
}
