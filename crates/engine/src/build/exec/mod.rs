//! Programs that a build runs (`RUN`), each in a container of its own that nobody sees and that ends with its build.
//!
//! ```text
//! the build ──fork──▶ the step's process: claims ids and addresses, makes the mounts, waits
//!                         └──clone3──▶ the program; the kernel kills it when its parent ends
//! ```
//!
//! There is neither holder nor keeper: whoever runs the step waits for it. If the build is killed, the step's process hears
//! that by its end of a pipe, kills the program, and takes everything down. If that is killed too, the kernel kills the
//! program, and the next command that looks at containers removes the rest.
//!
//! The tree is a draft of the store, written to by the ids of the container. What is mounted is mounted on places that are
//! there already, or are made in a layer of their own (`store::Draft::make_places`): nothing of them is in the result.

mod hidden;
mod mounts;
mod request;
mod sandbox;

use super::adopted;
use crate::config::{RootSource, UserNamespace};
use crate::home::RANGE_IDS;
use crate::spec::{self, Given, WantedUserns};
use crate::{Error, Home, holder, inherited, network, run};
use build::op::{Exec, Made, Tree};
use linux::process::{self, Exit};
use mounts::{Mounts, Shown, parse_chain};
use runtime::{Launch, Root, Stdio};
use rustix::event::{PollFd, PollFlags, poll};
use sandbox::Sandbox;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use store::{Ids, Place, Store};
use types::image::config::Execution;

/// Where the kernel's file systems are mounted.
const KERNEL_PLACES: [&str; 3] = ["/proc", "/dev", "/sys"];

/// A program to be run.
#[derive(Debug)]
pub struct Step<'a> {
    /// What is run.
    pub exec: &'a Exec,
    /// The trees of the step's inputs; the first is that which it's run on.
    pub inputs: &'a [Tree],
    /// Patterns of what isn't shown of each input that is a directory, as `.dockerignore` has them.
    pub ignored: &'a [&'a [String]],
    /// Contents of secrets, by id.
    pub secrets: &'a BTreeMap<String, Vec<u8>>,
    /// Where its output goes.
    pub stdout: OwnedFd,
    /// Where its error output goes.
    pub stderr: OwnedFd,
    /// Files that it makes or changes aren't younger than this, in seconds since the epoch (`SOURCE_DATE_EPOCH`).
    pub epoch: Option<i64>,
    /// Once something is to be read from it, or nobody has its other end any more, the program is killed.
    pub cancel: BorrowedFd<'a>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ended well.
    Made(Made),
    /// It failed.
    Failed {
        /// Its status, or 128 and the signal that killed it.
        status: u8,
        /// Whether the kernel killed one of its processes for want of memory.
        oom_killed: bool,
    },
    /// It was killed, or never begun, because that was asked for.
    Cancelled,
}

/// A program that has run. Dropping it gives back what it had of this host; nobody has to wait for that.
#[derive(Debug)]
pub struct Ran {
    /// What came of it.
    pub outcome: Outcome,
    _sandbox: Option<Sandbox>,
    _spare: Vec<OwnedFd>,
}

impl Ran {
    fn cancelled() -> Ran {
        Ran { outcome: Outcome::Cancelled, _sandbox: None, _spare: Vec::new() }
    }
}

/// Makes sure that a program which is given all rights (`--security=insecure`) can't overwrite berth's own: for the
/// beginning of a build that may have such, since it may start berth again with the same arguments.
pub fn prepare_for_privileged() -> Result<(), Error> {
    run::seal()
}

/// Runs a program, in a process of one thread that was made for it: session, signals, limits and working directory of the
/// caller's are reset.
///
/// Errors: [`Error::Start`] where the program can't be executed, [`Error::Invalid`] for a user that isn't known,
/// [`Error::Refused`] for a secret that is missing; those of the store.
pub fn exec(home: &Home, step: Step<'_>) -> Result<Ran, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    inherited::reset();
    let store = Store::open(&home.root)?;
    let base = match step.inputs.first() {
        Some(Tree::Layers(chain)) => Some(parse_chain(chain)?),
        Some(Tree::Scratch) | None => None,
        Some(Tree::Directory(path)) => {
            return Err(Error::invalid("build", format!("{} can't be run on", path.display())));
        }
    };
    let keep_waiting = || !is_over(step.cancel);
    let Some(mut mounts) = Mounts::plan(&store, &step, &keep_waiting)? else { return Ok(Ran::cancelled()) };
    let request = request::request(step.exec, std::mem::take(&mut mounts.variables))?;
    let draft = store.draft(base.as_ref())?;
    let root = RootSource::Layers(draft.base().iter().map(|layer| layer.tree.clone()).collect());
    let mut sandbox = Sandbox::new(home, &request)?;
    let identity = spec::identity(&request, &root, &Execution::default())?;
    let user_namespace = match spec::wanted_userns(&request)? {
        WantedUserns::Host => UserNamespace::Host,
        WantedUserns::Own | WantedUserns::Of(_) => {
            let of_layers = draft.base().iter().flat_map(|layer| layer.id_blocks.iter().copied());
            let own = identity.ids().map(|id| id / RANGE_IDS).filter(|block| *block > 0);
            sandbox.claim_ids(&of_layers.chain(own).collect())?
        }
    };
    if user_namespace == UserNamespace::Host && !linux::own_file::is_sealed().unwrap_or(false) {
        return Err(Error::invalid("--security=insecure", "berth wasn't started so that it can be allowed"));
    }
    let reserved = network::claim(home, &sandbox.cell, "", &request, &BTreeSet::new())?;
    let files = {
        let about = network::About {
            request: &request,
            attached: &reserved.attached,
            hostname: request.hostname.as_deref().unwrap_or_default(),
            owner: user_namespace.base(),
        };
        network::write_files(&sandbox.cell, &about)?
    };
    // With BuildKit the host's name isn't in a file, and these can't be written to.
    for (target, path) in files.iter().filter(|(target, _)| target != "/etc/hostname") {
        mounts.bind_file(target, path);
    }
    let cgroup = home.cgroup_below(request.resources.cgroup_parent.as_deref(), &sandbox.cell.id);
    let given = Given {
        id: sandbox.cell.id.clone(),
        name: String::new(),
        created_ns: crate::cell::now_ns(),
        image: String::new(),
        image_id: None,
        image_config: Execution::default(),
        root,
        mounts: &mounts.requests,
        sources: &mounts.sources,
        user_namespace,
        identity,
        neighbours: BTreeMap::new(),
        net_files: Vec::new(),
        link_environment: Vec::new(),
        cgroup,
        terminal_size: None,
    };
    let (config, mut plan) = spec::resolve(request, given)?;
    plan.process_mut().die_with_parent();
    let name = config.args.first().cloned().unwrap_or_default();
    let failed = |source| Error::Start { name: name.clone(), source };
    sandbox.group = Some(holder::make_group(home, &config).map_err(|error| failed(error.into()))?);
    let mut spare = Vec::new();
    let mut attaching = network::Attaching::default();
    let starting = {
        let (spare, attaching, mounts, draft) = (&mut spare, &mut attaching, &mut mounts, &draft);
        let (config, reserved) = (&config, &reserved);
        let make_root = move |pid: i32, userns: Option<BorrowedFd<'_>>, _: &mut runtime::Steps| {
            let failed = |what| move |error: Error| runtime::Error::field(what, error.to_string());
            *attaching = network::attach(home, config, &reserved.attached, pid).map_err(failed("network"))?;
            let ids = Ids { userns, root: config.user_namespace.base() };
            let shown = Shown { ids, userns: &config.user_namespace };
            let mut places = mounts.make(draft, shown).map_err(failed("mounts"))?;
            places.extend(KERNEL_PLACES.map(|path| Place { path: path.to_owned(), is_directory: true }));
            draft.make_places(&outermost(&places)).map_err(|error| failed("mounts")(error.into()))?;
            let made = draft.mount_root(&ids).map_err(|error| failed("root")(error.into()))?;
            spare.extend(made.spare);
            Ok(made.mount)
        };
        runtime::launch(Launch {
            plan: &plan,
            root: Root::Made(Box::new(make_root)),
            mountpoint: sandbox.cell.path.clone(),
            stdio: Some(Stdio { stdin: None, stdout: step.stdout, stderr: step.stderr }),
            cgroup: sandbox.group.as_ref(),
            start_socket: None,
            tasks_max: config.tasks_max,
            preserve_fds: 0,
            idmap_optional: true,
            trace: false,
        })
        .map_err(&failed)?
    };
    let started = starting.finish().map_err(&failed)?;
    let exit = await_end(started.pid, &started.pidfd, step.cancel)?;
    let outcome = match exit {
        None => Outcome::Cancelled,
        Some(Exit::Code(0)) => Outcome::Made(adopted(&store, draft, step.epoch)?),
        Some(exit) => {
            let oom_killed = sandbox.group.as_ref().is_some_and(|group| group.oom_killed().unwrap_or(false));
            Outcome::Failed { status: exit.shell_code(), oom_killed }
        }
    };
    Ok(Ran { outcome, _sandbox: Some(sandbox), _spare: spare })
}

/// Those that don't lie in what is mounted on others.
fn outermost(places: &[Place]) -> Vec<Place> {
    let lies_in = |place: &Place, other: &Place| {
        place.path.strip_prefix(&other.path).is_some_and(|rest| rest.starts_with('/'))
    };
    let is_outer = |place: &&Place| !places.iter().any(|other| lies_in(place, other));
    places.iter().filter(is_outer).cloned().collect()
}

/// Whether the program is to be killed.
fn is_over(cancel: BorrowedFd<'_>) -> bool {
    use rustix::event::Timespec;
    let mut fds = [PollFd::from_borrowed_fd(cancel, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

/// Waits for the program's end; `None` if it was killed because that was asked for.
fn await_end(pid: i32, pidfd: &OwnedFd, cancel: BorrowedFd<'_>) -> Result<Option<Exit>, Error> {
    let failed = |errno| Error::system("wait for", "the program", errno);
    let mut fds = [PollFd::new(pidfd, PollFlags::IN), PollFd::from_borrowed_fd(cancel, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, None)).map_err(failed)?;
    let has_ended = !fds[0].revents().is_empty();
    if !has_ended {
        let _ = process::pidfd_signal(pidfd.as_fd(), 9);
    }
    let exit = process::wait_child(pid).map_err(failed)?;
    Ok(has_ended.then_some(exit))
}
