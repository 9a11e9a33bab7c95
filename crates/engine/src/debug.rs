//! `berth debug`: tools beside a container that has none.
//!
//! The tools are a container of their own, removed when it ends, that joins every namespace of the other one but the mount
//! namespace: it sees its processes, network, IPC objects and names as they do, and has the rights of its root on its files.
//! Those it finds at `/container`, a link to the root of the other's first process, which leads into that one's mount
//! namespace. Nothing is mounted, written or executed in the container that is looked at.
//!
//! What keeps that one from looking back into the tools (security.md T1, T2): to follow `/proc/PID/root` of a process, or
//! its descriptors, one needs all the capabilities that it has, and the tools have SYS_PTRACE, which containers don't
//! unless they are given it.

use crate::find::{self, State};
use crate::pause::is_paused;
use crate::request::{
    DebugRequest, IpcMode, LogRequest, NamespaceMode, NetworkMode, RunRequest, Security, Source,
};
use crate::{Error, Home, config};

/// Name of the link, at the root of the tools, to the root of the container.
const LINK: &str = "container";

/// Label with the id of the container that is looked at.
const LABEL: &str = "berth.debug";

/// A shell that most images of tools have.
const SHELL: &str = "for shell in bash zsh ash; do \
                     command -v $shell >/dev/null && exec $shell; done; exec sh";

/// What is run for the request. Errors: [`Error::NoContainer`], [`Error::State`] for one that doesn't run or is paused.
pub fn plan(home: &Home, request: &DebugRequest) -> Result<RunRequest, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let given = &request.container;
    let container = find::container(home, given)?;
    let State::Running(running) = &container.state else {
        return Err(Error::Refused {
            what: format!("debug container {given}"),
            why: "it is not running, so it has no processes and namespaces to join".to_owned(),
            hint: format!("berth start {given}; its files are had by berth cp and berth export all the same"),
        });
    };
    if is_paused(running) {
        let why = "is paused, unpause the container before debug".to_owned();
        return Err(Error::State { id: given.clone(), why });
    }
    let pid = running.init.pid;
    let inside = pid_inside(pid).filter(|_| running.init.open().is_some());
    let inside =
        inside.ok_or_else(|| Error::State { id: given.clone(), why: "is not running".to_owned() })?;
    let id = container.config.id.clone();
    let join = || NamespaceMode::Container(id.clone());
    let own_userns = container.config.user_namespace != config::UserNamespace::Host;
    let caps = if request.privileged { "ALL" } else { "SYS_PTRACE" };
    let shell = || ["/bin/sh", "-c", SHELL].map(str::to_owned).to_vec();
    Ok(RunRequest {
        entrypoint: Some(Vec::new()),
        command: if request.command.is_empty() { shell() } else { request.command.clone() },
        env: request.env.clone(),
        workdir: request.workdir.clone(),
        user: Some(request.user.clone().unwrap_or_else(|| "0:0".to_owned())),
        security: Security { cap_add: vec![caps.to_owned()], ..Security::default() },
        // Where the container has the host's, so have the tools.
        userns: if own_userns { join() } else { NamespaceMode::Host },
        pid: join(),
        // Its shared memory files are found below the link.
        ipc: IpcMode::Path(format!("/proc/{pid}/ns/ipc").into()),
        uts: join(),
        cgroupns: join(),
        network: NetworkMode::Container(id.clone()),
        labels: vec![(LABEL.to_owned(), id.clone())],
        name: Some(format!("{}-debug-{}", container.config.name, std::process::id())),
        root_links: vec![(LINK.to_owned(), format!("/proc/{inside}/root"))],
        interactive: request.interactive,
        tty: request.tty,
        rm: true,
        log: LogRequest { driver: Some("none".to_owned()), ..LogRequest::default() },
        detach_keys: request.detach_keys.clone(),
        ..RunRequest::new(request.source.clone().unwrap_or(Source::Host))
    })
}

/// The number of a process in its own pid namespace: the last of those that it has.
fn pid_inside(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().next_back()?.parse().ok()
}
