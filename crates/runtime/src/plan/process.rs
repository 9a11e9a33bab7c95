//! The process: what is executed, as whom, with which rights.

use crate::Error;
use crate::seccomp::Program;
use linux::process::CStrings;
use linux::seccomp::SockFilter;
use std::ffi::CString;
use types::caps::CapSet;
use types::oci::{Capabilities, ConsoleSize, Process, User};

/// A process to start, in a new container or in one that runs.
#[derive(Debug)]
pub struct ProcessPlan {
    pub(crate) terminal: bool,
    pub(crate) console_size: Option<ConsoleSize>,
    pub(crate) user: User,
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: CString,
    pub(crate) rlimits: Vec<Limit>,
    pub(crate) caps: CapSets,
    pub(crate) no_new_privs: bool,
    pub(crate) apparmor: Option<String>,
    pub(crate) selinux: Option<String>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) seccomp: Option<Filter>,
    /// Whether speculation side channels are closed (`--isolation strict`).
    pub(crate) guard_speculation: bool,
    /// Whether berth's own init runs first and the program below it.
    pub(crate) init: bool,
    /// Whether it's killed when who made it ends.
    pub(crate) dies_with_parent: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CapSets {
    pub bounding: u64,
    pub effective: u64,
    pub inheritable: u64,
    pub permitted: u64,
    pub ambient: u64,
}

#[derive(Debug)]
pub(crate) struct Filter {
    pub program: Vec<SockFilter>,
    pub flags: u32,
}

/// One resource limit, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub name: &'static str,
    pub resource: rustix::process::Resource,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

const RESOURCES: [(&str, rustix::process::Resource); 16] = {
    use rustix::process::Resource::*;
    [
        ("RLIMIT_AS", As),
        ("RLIMIT_CORE", Core),
        ("RLIMIT_CPU", Cpu),
        ("RLIMIT_DATA", Data),
        ("RLIMIT_FSIZE", Fsize),
        ("RLIMIT_LOCKS", Locks),
        ("RLIMIT_MEMLOCK", Memlock),
        ("RLIMIT_MSGQUEUE", Msgqueue),
        ("RLIMIT_NICE", Nice),
        ("RLIMIT_NOFILE", Nofile),
        ("RLIMIT_NPROC", Nproc),
        ("RLIMIT_RSS", Rss),
        ("RLIMIT_RTPRIO", Rtprio),
        ("RLIMIT_RTTIME", Rttime),
        ("RLIMIT_SIGPENDING", Sigpending),
        ("RLIMIT_STACK", Stack),
    ]
};

impl ProcessPlan {
    /// Decides everything for `process`. What the specification says to warn of goes to `warnings`.
    pub fn new(process: &Process, warnings: &mut Vec<String>) -> Result<ProcessPlan, Error> {
        if process.args.is_empty() || process.args[0].is_empty() {
            return Err(Error::field("process.args", "is empty: there is nothing to execute"));
        }
        if !process.cwd.starts_with('/') {
            return Err(Error::field("process.cwd", format!("{:?} is no absolute path", process.cwd)));
        }
        for (n, variable) in process.env.iter().enumerate() {
            if variable.starts_with('=') {
                return Err(Error::field(format!("process.env[{n}]"), format!("{variable:?} has no name")));
            }
        }
        let text =
            |field: String, s: &str| CString::new(s).map_err(|_| Error::field(field, "holds a NUL byte"));
        let list = |field: &str, strings: &[String]| -> Result<Vec<CString>, Error> {
            strings.iter().enumerate().map(|(n, s)| text(format!("{field}[{n}]"), s)).collect()
        };
        if let Some(adj) = process.oom_score_adj.filter(|adj| !(-1000..=1000).contains(adj)) {
            return Err(Error::field("process.oomScoreAdj", format!("{adj} isn't within -1000 to 1000")));
        }
        if let Some(umask) = process.user.umask.filter(|umask| *umask > 0o777) {
            return Err(Error::field("process.user.umask", format!("{umask} is more than 0777 (511)")));
        }
        // (uid_t)-1 means "unchanged" to the kernel: a request for it would keep root.
        let ids = [process.user.uid, process.user.gid];
        if ids.iter().chain(&process.user.additional_gids).any(|id| *id == u32::MAX) {
            return Err(Error::field("process.user", "4294967295 is no id"));
        }
        Ok(ProcessPlan {
            terminal: process.terminal,
            console_size: process.console_size,
            user: process.user.clone(),
            args: list("process.args", &process.args)?,
            env: list("process.env", &process.env)?,
            cwd: text("process.cwd".to_owned(), &process.cwd)?,
            rlimits: plan_rlimits(process)?,
            caps: CapSets::plan(process.capabilities.as_ref(), warnings),
            no_new_privs: process.no_new_privileges,
            apparmor: process.apparmor_profile.clone().filter(|p| !p.is_empty()),
            selinux: process.selinux_label.clone().filter(|l| !l.is_empty()),
            oom_score_adj: process.oom_score_adj,
            seccomp: None,
            guard_speculation: false,
            init: false,
            dies_with_parent: false,
        })
    }

    /// Puts the process under a system call filter.
    pub fn set_seccomp(&mut self, program: &Program, warnings: &mut Vec<String>) {
        if !program.unknown.is_empty() {
            warnings.push(format!("linux.seccomp names calls unknown here: {}", program.unknown.join(" ")));
        }
        let convert = |i: &crate::seccomp::Insn| SockFilter { code: i.code, jt: i.jt, jf: i.jf, k: i.k };
        self.seccomp =
            Some(Filter { program: program.insns.iter().map(convert).collect(), flags: program.flags });
    }

    /// Has the kernel close speculation side channels, where it can.
    pub fn guard_speculation(&mut self) {
        self.guard_speculation = true;
    }

    /// Runs the program below berth's init ([`crate::init`]).
    pub fn run_under_init(&mut self) {
        self.init = true;
    }

    /// Has the kernel kill the process when who made it ends. A program that gains rights by execve, as a set-user-ID one,
    /// is let off that. Source: PR_SET_PDEATHSIG(2const).
    pub fn die_with_parent(&mut self) {
        self.dies_with_parent = true;
    }

    /// Whether the process gets a terminal.
    pub fn terminal(&self) -> bool {
        self.terminal
    }

    /// The user that the process runs as, in ids of the container.
    pub fn user(&self) -> &User {
        &self.user
    }

    pub(crate) fn env_value(&self, name: &str) -> Option<&[u8]> {
        self.env.iter().rev().find_map(|entry| {
            entry.as_bytes().strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
        })
    }

    pub(crate) fn c_strings(&self) -> (CStrings, CStrings) {
        (CStrings::new(self.args.clone()), CStrings::new(self.env.clone()))
    }
}

impl CapSets {
    fn plan(capabilities: Option<&Capabilities>, warnings: &mut Vec<String>) -> CapSets {
        let Some(caps) = capabilities else { return CapSets::default() };
        let mut set = |names: &[String]| {
            names.iter().fold(CapSet(0), |set, name| match types::caps::number(name) {
                Some(n) => set.with(n),
                None => {
                    let warning = format!("process.capabilities: unknown capability {name:?}");
                    if !warnings.contains(&warning) {
                        warnings.push(warning);
                    }
                    set
                }
            })
        };
        CapSets {
            bounding: set(&caps.bounding).0,
            effective: set(&caps.effective).0,
            inheritable: set(&caps.inheritable).0,
            permitted: set(&caps.permitted).0,
            ambient: set(&caps.ambient).0,
        }
    }
}

fn plan_rlimits(process: &Process) -> Result<Vec<Limit>, Error> {
    let mut limits: Vec<Limit> = Vec::new();
    for (n, rlimit) in process.rlimits.iter().enumerate() {
        let field = format!("process.rlimits[{n}]");
        let (name, resource) = *RESOURCES.iter().find(|(name, _)| *name == rlimit.typ).ok_or_else(|| {
            Error::field(format!("{field}.type"), format!("unknown limit {:?}", rlimit.typ))
        })?;
        if limits.iter().any(|limit| limit.name == name) {
            return Err(Error::field(field, format!("a second limit for {name}")));
        }
        if rlimit.soft > rlimit.hard {
            return Err(Error::field(
                field,
                format!("soft limit {} is above hard limit {}", rlimit.soft, rlimit.hard),
            ));
        }
        let finite = |value: u64| (value != u64::MAX).then_some(value);
        limits.push(Limit { name, resource, soft: finite(rlimit.soft), hard: finite(rlimit.hard) });
    }
    Ok(limits)
}
