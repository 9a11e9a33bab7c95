//! `exec`: another process in a container.

use super::console;
use super::create::{load_spec, open_group};
use super::dir::read_bounded;
use super::foreground::{Signals, supervise, terminal_size};
use super::io_step;
use super::status::{find, open_first, status, word};
use crate::exec::Exec;
use crate::{Error, ProcessPlan};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use types::oci::{Capabilities, Process, Status};

/// A process for [`exec`]: a document, or changes of the container's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// File with an OCI process document; else `merge` changes the container's own.
    pub process: Option<PathBuf>,
    /// The changes.
    pub merge: Merge,
    /// Whether to return once the process runs.
    pub detach: bool,
    /// File to write the process id to.
    pub pid_file: Option<PathBuf>,
    /// Unix socket to which the pty's master is sent.
    pub console_socket: Option<PathBuf>,
    /// Unix socket to which a pidfd of the process is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 up are passed on.
    pub preserve_fds: u32,
    /// Control group below the container's.
    pub cgroup: Option<String>,
    /// Whether a paused container is no error.
    pub ignore_paused: bool,
}

/// Changes to the container's own process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merge {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Further variables, `KEY=value`.
    pub env: Vec<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// User id and group id.
    pub user: Option<(u32, Option<u32>)>,
    /// Further groups.
    pub additional_gids: Vec<u32>,
    /// SELinux label.
    pub process_label: Option<String>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// Whether gaining privileges is barred, in addition to what the container bars.
    pub no_new_privs: bool,
    /// Further capabilities, as `CAP_CHOWN`.
    pub caps: Vec<String>,
}

/// The container's process with changes. Source: runc exec.go, getProcess.
pub fn merge_process(own: &Process, merge: &Merge) -> Process {
    let mut process = own.clone();
    process.args = merge.args.clone();
    process.terminal = merge.tty;
    process.console_size = None;
    if let Some(cwd) = &merge.cwd {
        process.cwd.clone_from(cwd);
    }
    for variable in &merge.env {
        let name = variable.split('=').next().unwrap_or_default();
        process.env.retain(|known| known.split('=').next() != Some(name));
        process.env.push(variable.clone());
    }
    if let Some((uid, gid)) = merge.user {
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
    }
    process.user.additional_gids.extend(&merge.additional_gids);
    if merge.process_label.is_some() {
        process.selinux_label.clone_from(&merge.process_label);
    }
    if merge.apparmor.is_some() {
        process.apparmor_profile.clone_from(&merge.apparmor);
    }
    process.no_new_privileges |= merge.no_new_privs;
    if !merge.caps.is_empty() {
        add_caps(process.capabilities.get_or_insert_default(), &merge.caps);
    }
    process
}

fn add_caps(sets: &mut Capabilities, caps: &[String]) {
    // Ambient ones need inheritable ones, which are never added.
    let ambient = !sets.inheritable.is_empty();
    let Capabilities { bounding, effective, permitted, ambient: ambient_set, .. } = sets;
    for set in [bounding, effective, permitted] {
        set.extend_from_slice(caps);
    }
    if ambient {
        ambient_set.extend_from_slice(caps);
    }
}

/// Runs a process in a container. In the foreground answers the status to leave with, detached 0. With warnings.
///
/// Errors: [`Error::NotFound`]; [`Error::Status`] if it has stopped, or is paused; as [`crate::exec::exec`].
pub fn exec(root: &Path, id: &str, options: &ExecOptions) -> Result<(u8, Vec<String>), Error> {
    let (_, dir, record) = find(root, id)?;
    let status = status(&dir, &record)?;
    let refused = || Error::Status { id: id.to_owned(), status: word(status).to_owned(), what: "exec in it" };
    match status {
        Status::Created | Status::Running => {}
        Status::Paused if options.ignore_paused => {}
        _ => return Err(refused()),
    }
    let (_, spec) = load_spec(&dir.path.join("config.json"))?;
    let mut process = match (&options.process, &spec.process) {
        (Some(path), _) => {
            let file = std::fs::File::open(path).map_err(io_step("read the process", "open", path))?;
            serde_json::from_slice(&read_bounded(file, path)?).map_err(|error| Error::Document {
                path: path.display().to_string(),
                why: error.to_string(),
            })?
        }
        (None, Some(own)) => merge_process(own, &options.merge),
        (None, None) => return Err(Error::field("process", "is missing")),
    };
    let proxied = process.terminal && !options.detach && options.console_socket.is_none();
    if process.terminal && options.detach && options.console_socket.is_none() {
        let why = "is needed: there is nobody to pass the terminal through (--tty)";
        return Err(Error::field("--console-socket", why));
    }
    if proxied {
        process.console_size = terminal_size().or(process.console_size);
    }
    let own_users = |ns: &types::oci::Namespace| ns.typ == types::oci::NamespaceType::User;
    if !spec.linux.as_ref().is_some_and(|linux| linux.namespaces.iter().any(own_users)) {
        super::seal()?;
    }
    let mut warnings = Vec::new();
    let mut plan = ProcessPlan::new(&process, &mut warnings)?;
    if let Some(seccomp) = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()) {
        plan.set_seccomp(&crate::seccomp::compile(seccomp)?, &mut warnings);
    }
    let console = options.console_socket.as_deref().map(|path| console::connect("--console-socket", path));
    let console = console.transpose()?;
    let to_pidfd = options.pidfd_socket.as_deref().map(|path| console::connect("--pidfd-socket", path));
    let to_pidfd = to_pidfd.transpose()?;
    let group = open_group(&record, options.cgroup.as_deref())?;
    let signals = if options.detach { None } else { Some(Signals::take()?) };
    let pidfd = open_first(&record)?.ok_or_else(refused)?;
    let mut started = crate::exec::exec(Exec {
        pid: record.process.map_or(0, |process| process.pid),
        pidfd: pidfd.as_fd(),
        process: &plan,
        cgroup: Some(&group),
        stdio: None,
        preserve_fds: options.preserve_fds,
        trace: false,
    })?;
    if let Some(receiver) = console
        && let Some(master) = started.terminal.take()
    {
        receiver.send("/dev/ptmx", master.as_fd())?;
    }
    if let Some(receiver) = to_pidfd {
        receiver.send("pidfd", started.pidfd.as_fd())?;
    }
    if let Some(path) = &options.pid_file {
        console::write_pid_file(path, started.pid)?;
    }
    let Some(signals) = signals else { return Ok((0, warnings)) };
    let exit = supervise(&signals, started.pid, started.pidfd.as_fd(), started.terminal)?;
    Ok((exit.shell_code(), warnings))
}
