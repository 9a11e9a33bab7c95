//! The holder: the parent of a container's first process. It makes the container, then does nothing that can fail: it
//! waits for its two children, the first process and the keeper, and makes a new keeper should that one die.
//!
//! ```text
//! Setup ──start()──▶ running ──first process ended──▶ the keeper is told; it records, announces, tears down
//!    │                  │
//!    │ failed           └─ keeper died: fork a new one, with all that it needs
//!    ▼
//! everything made so far is removed, the client told
//! ```

use crate::cell::{self, Cell, CellLock, Ended, ProcessName, Restarts, Running, now_ns};
use crate::config::RootSource;
use crate::keeper::{self, Streams, Task};
use crate::wire::{self, FromClient, InitEnded, ToClient};
use crate::{Config, Error, Home, events, find, inherited, log, network, root, shm, teardown, volumes};
use linux::fault::{self, Role};
use linux::process::{self, Exit, Fork};
use runtime::cgroup::{self, Cgroup, Hierarchy};
use runtime::{Launch, Plan, Root, Started, Stdio, Steps};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What the creator hands over.
#[derive(Debug)]
pub struct Setup {
    /// Where.
    pub home: Home,
    /// What.
    pub config: Config,
    /// How.
    pub plan: Plan,
    /// Its directory.
    pub cell: Cell,
    /// And its lock.
    pub lock: CellLock,
    /// The creator's end to talk to.
    pub client: OwnedFd,
    /// Pipes to the creator for stdout and stderr, if it wants the output.
    pub client_pipes: Option<[OwnedFd; 2]>,
    /// The container's stdin; `None` is its `/dev/null`.
    pub stdin: Option<OwnedFd>,
    /// The other end of that, to be held while nobody writes (`-d -i`).
    pub stdin_writer: Option<OwnedFd>,
    /// Keep its volumes from being removed until its configuration is written down.
    pub pins: Vec<store::VolumePin>,
    /// What it has of networks; the sockets keep its ports.
    pub reserved: network::Reserved,
    /// Whether the creator records the container in the store meanwhile.
    pub await_record: bool,
    /// How often its restart policy has started it.
    pub restarts: Restarts,
    /// Whether the container was there before this start.
    pub again: bool,
}

/// Pause before a keeper is made anew, times the number of its deaths: one that dies at once mustn't spin.
const REFORK_PAUSE_MS: u64 = 2;
/// Longest such pause.
const REFORK_PAUSE_MS_MAX: u64 = 1000;

/// Forks the holder; a descriptor for it. The child never returns.
pub fn spawn(setup: Setup, keepers: Option<&Cgroup>) -> Result<OwnedFd, Error> {
    use linux::process::Cloned;
    let failed = |errno| Error::system("make", "the holder", errno);
    let cloned = process::clone3(0, keepers.and_then(Cgroup::v2_dir_fd)).map_err(failed)?;
    match cloned {
        Cloned::Parent(_, pidfd) => {
            setup.release_sources(None);
            Ok(pidfd)
        }
        Cloned::Child => run(setup),
    }
}

fn run(mut setup: Setup) -> ! {
    fault::play(if setup.restarts.count == 0 { Role::Holder } else { Role::HolderAgain });
    process::set_name(c"berth-holder");
    inherited::reset();
    inherited::close_streams();
    let _ = process::set_subreaper();
    setup.keep_only_own_descriptors();
    match start(&mut setup) {
        Ok(live) => watch(setup, live),
        Err(error) => {
            let report =
                ToClient::Failed { message: error.to_string(), hint: error.hint(), kind: error.kind() };
            setup.undo(&error);
            // Whoever hears of it may take the ports.
            setup.reserved.sockets.clear();
            let _ = wire::send(&setup.client, &report, &[]);
            process::exit(1)
        }
    }
}

impl Setup {
    /// After a start that failed: a new container goes, one that was there before keeps why it didn't start.
    fn undo(&self, error: &Error) {
        if !self.again {
            if self.await_record {
                // By a creator that may have been killed right after.
                find::forget_record(&self.home, &self.config.id);
            }
            return teardown::failed_start(&self.home, &self.config, &self.cell);
        }
        let now = now_ns();
        let ended = Ended {
            code: Some(error.kind().run_exit_code()),
            restarts: self.restarts.count,
            ..Ended::unseen(now, now, &error.to_string())
        };
        let _ = cell::write_ended(&self.home, &self.config.id, &ended);
        volumes::release(&self.home, &self.config);
        teardown::not_started(&self.home, &self.cell, None);
    }

    fn keep_only_own_descriptors(&self) {
        let mut keep = vec![self.lock.raw(), self.client.as_raw_fd()];
        keep.extend(self.client_pipes.iter().flatten().map(AsRawFd::as_raw_fd));
        keep.extend(self.stdin.iter().chain(&self.stdin_writer).map(AsRawFd::as_raw_fd));
        keep.extend(self.sources());
        keep.extend(self.reserved.sockets.iter().map(AsRawFd::as_raw_fd));
        keep.extend(self.pins.iter().map(|pin| pin.descriptor().as_raw_fd()));
        process::close_others(&keep);
    }

    /// The descriptors by which the configuration names the sources of bind mounts.
    fn sources(&self) -> impl Iterator<Item = i32> {
        self.config
            .spec
            .mounts
            .iter()
            .filter_map(|mount| mount.source.as_deref()?.strip_prefix("/proc/self/fd/")?.parse::<i32>().ok())
    }

    /// Closes them, but for one, once they're mounted: open, they would keep the host from unmounting what they are on.
    fn release_sources(&self, but: Option<i32>) {
        let closed = self.sources().filter(|number| Some(*number) != but);
        closed.for_each(|number| drop(process::inherited_fd(number)));
    }
}

/// What lives once the container runs.
struct Live {
    task: Task,
    init: i32,
    keeper: i32,
    /// Our end of the keeper's socket.
    to_keeper: OwnedFd,
}

fn start(setup: &mut Setup) -> Result<Live, Error> {
    let config = &setup.config;
    let cell = &setup.cell;
    let name = config.name.clone();
    let failed = |source| Error::Start { name: name.clone(), source };
    let again = setup.again;
    // Whoever copies from or to a container that has ended mounts its files: not meanwhile.
    let _alone = if again { Some(root::lock(&setup.home, config)?) } else { None };
    if !again {
        root::prepare(&setup.home, config)?;
    }
    fault::point("upper and work made");
    let log_begin = match again {
        true => log::recorder::totals(&setup.home, config)?,
        false => [0; 2],
    };
    let (streams, stdio) = open_streams(cell, config, setup.stdin.take())?;
    fault::point("FIFOs made");
    let group = make_group(&setup.home, config).map_err(|error| failed(error.into()))?;

    fault::point("control group made");
    let (home, client, await_record) = (&setup.home, &setup.client, setup.await_record);
    let reserved = &setup.reserved;
    let mut attaching = network::Attaching::default();
    let attached = &mut attaching;
    let mut spare_mounts = Vec::new();
    let spare = &mut spare_mounts;
    let starting = runtime::launch(Launch {
        plan: &setup.plan,
        root: Root::Made(Box::new(|pid, userns, steps| {
            if !reserved.attached.endpoints.is_empty() {
                *attached = steps.group("netlink", "links and rules", "put it on its networks", || {
                    network::attach(home, config, &reserved.attached, pid)
                        .map_err(|error| runtime::Error::field("network", error.to_string()))
                })?;
            }
            let mask = match config.root {
                RootSource::Host => await_mask(client, steps)?,
                _ => None,
            };
            if await_record {
                await_recorded(client)?;
            }
            let made = root::make(home, config, userns, mask, spare, steps)?;
            volumes::attach::show_images(config, userns)
                .map_err(|error| runtime::Error::field("mounts", error.to_string()))?;
            Ok(made)
        })),
        mountpoint: cell.path.clone(),
        stdio,
        cgroup: Some(&group),
        start_socket: None,
        tasks_max: config.tasks_max,
        preserve_fds: 0,
        idmap_optional: true,
        trace: config.request.explain,
    })
    .map_err(&failed)?;
    let shm_fd = shm::descriptor(config);
    setup.release_sources(shm_fd);
    fault::point("first process launched");
    inherited::protect_from_oom();

    let init = ProcessName::of(starting.pid)
        .ok_or_else(|| failed(runtime::Error::Lost { how: "while it was mounting".to_owned() }))?;
    let own = ProcessName::of(std::process::id() as i32).unwrap_or(init);
    let running = Running {
        init,
        holder: own,
        started_ns: now_ns(),
        cgroup: group.paths().clone(),
        groups_to_come: None,
        shm_fd,
        stdin_fd: setup.stdin_writer.as_ref().map(AsRawFd::as_raw_fd),
        warnings: starting.warnings.clone(),
        restarts: setup.restarts,
    };
    let init_fd = starting
        .pidfd
        .try_clone()
        .map_err(|error| Error::io("keep", "the first process's descriptor", &error))?;
    let mut task = Task {
        home: setup.home.clone(),
        config: config.clone(),
        cell: cell.clone(),
        running,
        streams,
        init_fd,
        client: None,
        ended: None,
        lock_fd: setup.lock.raw(),
        shm: shm_fd.and_then(|number| process::inherited_fd(number).ok()),
        stdin_writer: setup.stdin_writer.take(),
        ports: setup.reserved.sockets.iter().map(AsRawFd::as_raw_fd).collect(),
        name_server: attaching.server.take(),
        log_begin,
        generation: 0,
    };
    task.client = Some(keeper::Client::new(&setup.client, setup.client_pipes.take())?);
    // Without a terminal, whose master comes only later, the keeper is made while the first process is mounting.
    let early = if config.request.tty { None } else { Some(fork_keeper(&task)?) };
    fault::point("keeper forked");
    let finished = cell
        .write("config.json", config)
        .inspect(|()| {
            fault::point("config.json written");
            setup.pins.clear();
        })
        .and_then(|()| cell.write("run.json", &task.running))
        .inspect(|()| {
            fault::point("run.json written");
            if again {
                // From here on it's this start that counts; until here, its policy would have it started again.
                cell::forget_ended(&setup.home, cell);
                fault::point("earlier end forgotten");
            }
        })
        .and_then(|()| starting.finish().map_err(&failed));
    fault::point("first process executed");
    let Started { terminal, steps, pid, .. } = match finished {
        Ok(started) => started,
        Err(error) => {
            if let Some((keeper, _)) = &early {
                let _ = process::kill(*keeper, 9);
                let _ = process::wait_child(*keeper);
            }
            let _ = group.kill();
            return Err(error);
        }
    };
    events::started(&setup.home, config);
    fault::point("start told to all");
    let started = ToClient::Started { pid, steps };
    if let Some(master) = terminal {
        let _ = wire::send(&setup.client, &started, &[master.as_fd()]);
        task.streams = Streams::Terminal(master);
    } else {
        let _ = wire::send(&setup.client, &started, &[]);
    }
    fault::point("start told");
    drop(attaching);
    drop(spare_mounts);
    let (keeper, to_keeper) = match early {
        Some(made) => made,
        None => fork_keeper(&task)?,
    };
    Ok(Live { task, init: pid, keeper, to_keeper })
}

/// Makes a container's control group, with its limits.
pub(crate) fn make_group(home: &Home, config: &Config) -> Result<Cgroup, cgroup::Error> {
    let path = config.cgroup(home);
    let resources = config.spec.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
    // Whoever names a parent wants to be under all of its limits.
    if config.request.resources.cgroup_parent.is_some() {
        return cgroup::plan_everywhere(&resources, &path, &Hierarchy::detect()?)?.create();
    }
    let hierarchy = Hierarchy::detect_for(&resources, &path)?;
    cgroup::plan(&resources, &path, &hierarchy)?.create()
}

/// The mask layer that the creator makes meanwhile; `None` if it couldn't, or is gone.
fn await_mask(client: &OwnedFd, steps: &mut Steps) -> Result<Option<OwnedFd>, runtime::Error> {
    steps.group("recvmsg", "mask layer", "get what hides the host's secrets, made meanwhile", || {
        Ok(match wire::receive::<FromClient>(client) {
            Ok(Some((FromClient::Masked, mut fds))) => fds.pop(),
            _ => None,
        })
    })
}

fn await_recorded(client: &OwnedFd) -> Result<(), runtime::Error> {
    match wire::receive::<FromClient>(client) {
        Ok(Some((FromClient::Recorded, _))) => Ok(()),
        _ => Err(runtime::Error::Lost { how: "its creator could not record it".to_owned() }),
    }
}

fn open_streams(
    cell: &Cell,
    config: &Config,
    stdin: Option<OwnedFd>,
) -> Result<(Streams, Option<Stdio>), Error> {
    if config.request.tty {
        return Ok((Streams::None, None));
    }
    let on_host = |id| config.user_namespace.host_id(id).unwrap_or(config.user_namespace.base());
    let user = config.spec.process.as_ref().map(|p| (p.user.uid, p.user.gid)).unwrap_or_default();
    let mut readers = Vec::new();
    let mut writers = Vec::new();
    for name in ["stdout", "stderr"] {
        cell.make_fifo(name, on_host(user.0), on_host(user.1))?;
        readers.push(cell.open_fifo_reader(name)?);
        writers.push(cell.open_fifo_writer(name)?);
    }
    // Two were pushed to each.
    let (Some(stderr), Some(stdout)) = (writers.pop(), writers.pop()) else { unreachable!() };
    let (Some(err), Some(out)) = (readers.pop(), readers.pop()) else { unreachable!() };
    for pipe in [&out, &err] {
        // Fewer turns for bulk output; the default is fine where the limit for all pipes is reached.
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, crate::log::FRAME_BYTES_MAX);
    }
    let staging = keeper::Staging::new().map_err(|errno| Error::system("make", "a pipe", errno))?;
    Ok((Streams::Pipes(out, err, staging), Some(Stdio { stdin, stdout, stderr })))
}

/// Forks a keeper; its process id and our end of its socket.
fn fork_keeper(task: &Task) -> Result<(i32, OwnedFd), Error> {
    let failed = |errno| Error::system("make", "the keeper", errno);
    let (ours, theirs) = linux::socket::pair().map_err(failed)?;
    match process::fork().map_err(failed)? {
        Fork::Parent(pid) => Ok((pid, ours)),
        Fork::Child => {
            process::set_name(c"berth-keeper");
            keeper::run(task, theirs)
        }
    }
}

/// Waits for both children for as long as there is something to wait for.
fn watch(mut setup: Setup, mut live: Live) -> ! {
    process::release_program();
    let mut deaths = 0;
    loop {
        match process::wait_any() {
            Ok((pid, exit)) if pid == live.init => {
                fault::point("first process reaped");
                live.task.ended = Some(InitEnded { code: exit.shell_code() });
                // The keeper has the ports until the rules about them are gone: no longer, for who starts the container at
                // once wants them.
                live.task.ports.clear();
                setup.reserved.sockets.clear();
                if let Some(ended) = &live.task.ended {
                    let _ = wire::send(&live.to_keeper, ended, &[]);
                    fault::point("end told");
                }
            }
            Ok((pid, exit)) if pid == live.keeper => {
                // It has finished its work, which includes the removal of all that there was to remove.
                if exit == Exit::Code(0) && live.task.ended.is_some() {
                    process::exit(0);
                }
                deaths += 1;
                if deaths > 1 {
                    let pause = (REFORK_PAUSE_MS * deaths).min(REFORK_PAUSE_MS_MAX);
                    std::thread::sleep(std::time::Duration::from_millis(pause));
                }
                live.task.generation += 1;
                match fork_keeper(&live.task) {
                    Ok((keeper, socket)) => (live.keeper, live.to_keeper) = (keeper, socket),
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(REFORK_PAUSE_MS_MAX)),
                }
            }
            // An orphan of the container's that it left outside its pid namespace.
            Ok(_) => {}
            Err(_) => process::exit(0),
        }
        let _ = &setup.lock;
    }
}
