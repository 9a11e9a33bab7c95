//! `berth exec`: a process in a container that runs, whose parent is the caller, or for `-d` a process that stays behind.

pub(crate) mod record;

pub use record::inspect;

use crate::attach::{self, Outcome};
use crate::cell::{Cell, Running};
use crate::request::{EnvChange, ExecRequest};
use crate::users::{self, UserFiles};
use crate::wire::{self, ToClient};
use crate::{Config, Error, Home, events, find, inherited, pause, root, spec};
use linux::Errno;
use linux::process::{self, Fork};
use record::Record;
use runtime::cgroup::Cgroup;
use runtime::exec::Exec;
use runtime::{ProcessPlan, Started, Stdio};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use types::caps::CapSet;
use types::oci::{Process, User};

/// Runs the process, attached unless detached. `None` if it was left running.
pub fn exec(home: &Home, request: &ExecRequest) -> Result<Option<Outcome>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let container = find::container(home, &request.container)?;
    let not_running = || Error::State { id: request.container.clone(), why: "is not running".to_owned() };
    let find::State::Running(running) = &container.state else { return Err(not_running()) };
    if pause::is_paused(running) {
        let why = "is paused, unpause the container before exec".to_owned();
        return Err(Error::State { id: request.container.clone(), why });
    }
    if container.config.user_namespace == crate::config::UserNamespace::Host {
        crate::run::seal()?;
    }
    let told = events::Exec::created(home, &container.config, &request.command);
    let command =
        Command { config: &container.config, cell: container.cell(home), running, request, told: &told };
    match request.detach {
        true => command.leave().map(|()| None),
        false => command.attend().map(Some),
    }
}

/// A command, about to be executed.
struct Command<'a> {
    config: &'a Config,
    cell: Cell,
    running: &'a Running,
    request: &'a ExecRequest,
    told: &'a events::Exec<'a>,
}

impl Command<'_> {
    fn start(&self, stdio: Option<Stdio>) -> Result<(Started, Record), Error> {
        self.told.started();
        let started =
            start(self.config, self.running, self.request, stdio).inspect_err(|_| self.told.died(127))?;
        let record = Record::begin(&self.cell, self.told.id(), self.request, started.pid);
        Ok((started, record))
    }

    /// Runs it attached.
    fn attend(&self) -> Result<Outcome, Error> {
        let mut streams = attach::Streams::for_exec(self.request)?;
        let stdio = match (self.request.tty, streams.take_writers()) {
            (false, Some([stdout, stderr])) => Some(Stdio { stdin: streams.take_stdin(), stdout, stderr }),
            _ => None,
        };
        let (started, record) = self.start(stdio)?;
        let kept = started.terminal.as_ref().map(OwnedFd::try_clone).transpose();
        let kept = kept.map_err(|error| Error::io("keep", "the terminal", &error))?;
        let outcome = attach::attach_child(streams, started.terminal, started.pid, started.pidfd)?;
        match outcome {
            Outcome::Detached => drop(kept.map(keep).transpose()?),
            Outcome::Exited(code) => {
                record.forget(&self.cell);
                self.told.died(code.unwrap_or(255));
            }
            Outcome::Interrupted(_) => {}
        }
        Ok(outcome)
    }

    /// Leaves it to a process that stays behind, which tells how it ends. Returns once its program runs.
    fn leave(&self) -> Result<(), Error> {
        let failed = |errno| Error::system("leave", "a process behind", errno);
        let (ours, theirs) = linux::socket::pair().map_err(failed)?;
        if let Fork::Child = inherited::fork_apart().map_err(failed)? {
            process::set_name(c"berth-exec");
            process::close_others(&[theirs.as_raw_fd()]);
            self.stay(theirs)
        }
        drop(theirs);
        match wire::receive::<ToClient>(&ours) {
            Ok(Some((ToClient::Started { .. }, _))) => Ok(()),
            Ok(Some((ToClient::Failed { message, hint, kind }, _))) => {
                Err(Error::Reported { message, hint, kind })
            }
            _ => Err(failed(Errno::CHILD)),
        }
    }

    fn stay(&self, client: OwnedFd) -> ! {
        let null = || {
            let opened = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
            opened.map_err(|errno| Error::system("open", "/dev/null", errno))
        };
        let started = match self.request.tty {
            true => self.start(None),
            false => null()
                .and_then(|stdout| Ok(Stdio { stdin: None, stdout, stderr: null()? }))
                .and_then(|stdio| self.start(Some(stdio))),
        };
        let (started, record) = match started {
            Ok(started) => started,
            Err(error) => {
                let report =
                    ToClient::Failed { message: error.to_string(), hint: error.hint(), kind: error.kind() };
                let _ = wire::send(&client, &report, &[]);
                process::exit(1)
            }
        };
        let _ = wire::send(&client, &ToClient::Started { pid: started.pid, steps: Vec::new() }, &[]);
        drop(client);
        process::release_program();
        if let Some(master) = started.terminal {
            drain(&master);
        }
        let code = process::wait_child(started.pid).map_or(255, |exit| exit.shell_code());
        record.end(&self.cell, code);
        self.told.died(code);
        process::exit(0)
    }
}

/// Starts the process; it has become its program when this returns, and is a child of the caller's.
pub(crate) fn start(
    config: &Config,
    running: &Running,
    request: &ExecRequest,
    stdio: Option<Stdio>,
) -> Result<Started, Error> {
    let not_running = || Error::State { id: request.container.clone(), why: "is not running".to_owned() };
    let pidfd = running.init.open().ok_or_else(not_running)?;
    let started = start_beside(pidfd.as_fd(), config, running, request, stdio);
    // Whatever has failed because it ended meanwhile.
    started.map_err(|error| if process::is_ending(running.init.pid) { not_running() } else { error })
}

fn start_beside(
    pidfd: BorrowedFd<'_>,
    config: &Config,
    running: &Running,
    request: &ExecRequest,
    stdio: Option<Stdio>,
) -> Result<Started, Error> {
    let root = root_of(running.init.pid)?;
    let plan = plan(config, request, &root)?;
    drop(root);
    let group = Cgroup::open(&running.cgroup).map_err(|error| Error::Runtime(error.into()))?;
    let exec = Exec {
        pid: running.init.pid,
        pidfd,
        process: &plan,
        cgroup: Some(&group),
        stdio,
        preserve_fds: 0,
        trace: false,
    };
    runtime::exec::exec(exec).map_err(|source| Error::Exec { container: request.container.clone(), source })
}

/// Leaves a process behind that holds a terminal's master, which would otherwise end with this one, and with it those who
/// have the terminal. What they write is thrown away, as in docker; it ends with the last of them.
fn keep(master: OwnedFd) -> Result<(), Error> {
    let failed = |errno| Error::system("keep", "the terminal", errno);
    if let Fork::Child = inherited::fork_apart().map_err(failed)? {
        process::set_name(c"berth-exec");
        process::close_others(&[master.as_raw_fd()]);
        drain(&master);
        process::exit(0)
    }
    Ok(())
}

/// Reads until nobody has the terminal any more.
fn drain(master: &OwnedFd) {
    let _ = rustix::io::ioctl_fionbio(master, false);
    let mut buffer = [0; 4096];
    while matches!(rustix::io::read(master, &mut buffer[..]), Ok(1..) | Err(Errno::INTR)) {}
}

/// The root of a running container, as a reference beneath which its files are found.
fn root_of(pid: i32) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{pid}/root");
    openat(CWD, path.as_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::system("find the root of process", pid, errno))
}

fn plan(config: &Config, request: &ExecRequest, root: &OwnedFd) -> Result<ProcessPlan, Error> {
    let template = config.spec.process.clone().unwrap_or_default();
    let user = match &request.user {
        None => template.user.clone(),
        Some(text) => {
            let files = UserFiles {
                passwd: root::read_beneath(root, "/etc/passwd").unwrap_or_default(),
                group: root::read_beneath(root, "/etc/group").unwrap_or_default(),
            };
            let identity = users::resolve(text, &[], &files)?;
            User {
                uid: identity.uid,
                gid: identity.gid,
                umask: None,
                additional_gids: identity.groups,
                username: None,
            }
        }
    };
    let caps = if request.privileged {
        CapSet(CapSet::ALL.0 & (u64::MAX >> (63 - linux::creds::last_cap().min(63))))
    } else {
        spec::capabilities(&config.request)?
    };
    let process = Process {
        terminal: request.tty,
        console_size: attach::terminal_size()
            .filter(|_| request.tty)
            .map(|(height, width)| types::oci::ConsoleSize { height, width }),
        user,
        args: request.command.clone(),
        env: environment(template.env, request),
        cwd: request.workdir.clone().unwrap_or(template.cwd),
        capabilities: Some(spec::capability_sets(caps)),
        ..template
    };
    let mut plan = ProcessPlan::new(&process, &mut Vec::new())?;
    if let Some(program) = spec::seccomp_program(&config.request, caps)? {
        plan.set_seccomp(&program, &mut Vec::new());
    }
    if config.request.isolation == crate::request::Isolation::Strict {
        plan.guard_speculation();
    }
    Ok(plan)
}

fn environment(mut env: Vec<String>, request: &ExecRequest) -> Vec<String> {
    let mut set = |name: &str, value: Option<&str>| {
        let same = |entry: &String| entry.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        env.retain(|entry| !same(entry));
        env.extend(value.map(|value| format!("{name}={value}")));
    };
    if request.tty {
        set("TERM", Some("xterm"));
    }
    for change in &request.env {
        match change {
            EnvChange::Set(name, value) => set(name, Some(value)),
            EnvChange::Unset(name) => set(name, None),
        }
    }
    env
}
