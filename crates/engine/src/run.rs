//! `berth run`: from a request to a container, by the process that asks.

use crate::attach::{self, Outcome};
use crate::cell::{Cell, CellLock, Intent, Restarts, now_ns};
use crate::claims::Claims;
use crate::config::{IdBlock, RootSource, UserNamespace};
use crate::health::Check;
use crate::holder::{self, Setup};
use crate::home::RANGE_IDS;
use crate::request::{NetworkMode, OnUnhealthy, RunRequest, Source};
use crate::shm::Shm;
use crate::spec::{self, Given, Neighbour, WantedUserns};
use crate::stop::kill_hard;
use crate::wire::{self, FromClient, ToClient};
use crate::{Config, Error, Home, events, find, host_image, names, network, root, teardown, volumes};
use linux::fault;
use runtime::Step;
use runtime::cgroup::{self, Hierarchy};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use types::id::ContainerId;
use types::image::ImageConfig;
use types::image::config::Execution;

/// A container that was started.
#[derive(Debug)]
pub struct Ran {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How the attached part ended; `None` if it wasn't attached to.
    pub outcome: Option<Outcome>,
    /// Steps of the start, if they were asked for.
    pub steps: Vec<Step>,
}

/// Most blocks of ids of one container, the first among them. Source: user_namespaces(7), 340 lines of a map; a bind mount's
/// may have a few more than the container's.
const ID_BLOCKS_MAX: usize = 330;

/// Tries to find a free name before giving up.
const NAME_TRIES_MAX: u32 = 100;

/// Makes and starts a container; attached to it unless detached, until it ends or the client leaves it. What isn't as it
/// should be, and keeps nobody from starting, goes to `warn`.
pub fn run(home: &Home, request: RunRequest, warn: &mut dyn FnMut(&str)) -> Result<Ran, Error> {
    check_caller(&request)?;
    let detach = request.detach;
    let cidfile = request.cidfile.clone();
    let claimed = claim(home, request, true)?;
    claimed.reserved.warnings.iter().for_each(|warning| warn(warning));
    events::made(home, &claimed.config, !detach);
    let streams = |config: &Config| {
        if let Some(path) = &cidfile {
            write_cidfile(path, &config.id)?;
        }
        attach::Streams::prepare(&config.request)
    };
    let mut ready = match streams(&claimed.config).and_then(|client| Ready::new(home, client)) {
        Ok(ready) => ready,
        Err(error) => {
            teardown::failed_start(home, &claimed.config, &claimed.cell);
            return Err(error);
        }
    };
    let terminal = claimed.config.request.tty;
    let record = (!claimed.config.rm()).then(|| claimed.record(true));
    let (id, name) = (claimed.config.id.clone(), claimed.config.name.clone());
    let has_own_volumes = claimed.config.volumes().any(|(_, volume)| volume.anonymous);
    let own_mounts = has_own_volumes.then(|| claimed.config.mounts.clone());
    let started = launch(home, claimed, &mut ready, detach, record.as_ref());
    let Launched { pid, steps, master } = match started {
        Ok(launched) => launched,
        Err(error) => {
            // A holder that waits for this process hears that it won't be told any more.
            drop(ready);
            forget(home, &id, &name, record.is_some());
            volumes::remove_own_of(home, &id, &own_mounts.unwrap_or_default());
            if let Some(path) = &cidfile {
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
    };
    fault::point("started");
    if detach {
        return Ok(Ran { id, name, outcome: None, steps });
    }
    let outcome =
        attach::attach(home, &id, ready.ours, ready.client, terminal.then_some(master).flatten(), pid)?;
    Ok(Ran { id, name, outcome: Some(outcome), steps })
}

/// Refuses what can't begin: without rights, or with a `--cidfile` that is there.
pub(crate) fn check_caller(request: &RunRequest) -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    crate::log::Plan::of(&request.log)?;
    match request.cidfile.as_deref().filter(|path| path.exists()) {
        Some(path) => Err(Error::invalid(
            "--cidfile",
            format!("{} exists; make sure that it isn't in use", path.display()),
        )),
        None => Ok(()),
    }
}

/// A container whose program runs.
pub(crate) struct Launched {
    /// Its first process.
    pub pid: i32,
    /// Steps of the start, if they were asked for.
    pub steps: Vec<Step>,
    /// Its terminal's master.
    pub master: Option<OwnedFd>,
}

/// Has a holder start a container that was claimed, and waits until its program runs. Meanwhile it's recorded, if that
/// is still to be done. With `hold_stdin` the holder keeps its stdin open for who attaches later.
pub(crate) fn launch(
    home: &Home,
    claimed: Claimed,
    ready: &mut Ready,
    hold_stdin: bool,
    record: Option<&store::ContainerRecord>,
) -> Result<Launched, Error> {
    let Claimed { config, plan, cell, lock, pins, reserved, restarts, again, .. } = claimed;
    let of_host = config.root == RootSource::Host;
    let setup = Setup {
        home: home.clone(),
        config,
        plan,
        cell,
        lock,
        client: ready.theirs.take().ok_or_else(|| Error::invalid("start", "has been tried before"))?,
        client_pipes: ready.client.take_writers(),
        stdin: ready.client.take_stdin(),
        stdin_writer: if hold_stdin { ready.client.take_stdin_writer() } else { None },
        await_record: record.is_some(),
        pins,
        reserved,
        restarts,
        again,
    };
    fault::point("streams made");
    let holder = holder::spawn(setup, ready.keepers.as_ref())?;
    fault::point("holder forked");
    let ours = &ready.ours;
    if of_host {
        // While the holder makes the namespaces. If it can't be made here, the holder tries, and says why not.
        let mask = host_image::mask_layer(home, 0).ok();
        let fds: Vec<BorrowedFd<'_>> = mask.iter().map(AsFd::as_fd).collect();
        let _ = wire::send(ours, &FromClient::Masked, &fds);
        fault::point("mask sent");
    }
    if let Some(record) = record {
        let store = store::Store::open(&home.root)?;
        store.insert_container(record, store::Durability::Synced)?;
        fault::point("recorded");
        let _ = wire::send(ours, &FromClient::Recorded, &[]);
    }
    await_start(ours, &holder)
}

/// A container that was claimed, and not started.
pub(crate) struct Claimed {
    /// What it will be.
    pub config: Config,
    plan: runtime::Plan,
    /// Its directory.
    pub cell: Cell,
    lock: CellLock,
    image: Option<store::ImageId>,
    /// Keep its volumes until its configuration is written down.
    pins: Vec<store::VolumePin>,
    /// What it has of networks.
    reserved: network::Reserved,
    /// How often its restart policy has started it.
    pub restarts: Restarts,
    /// Whether it was there before.
    again: bool,
}

impl Claimed {
    /// What the store keeps of it.
    pub fn record(&self, started: bool) -> store::ContainerRecord {
        let config = &self.config;
        store::ContainerRecord {
            // The id was made by ContainerId itself.
            id: ContainerId::parse(&config.id).unwrap_or_else(|| ContainerId::from_random([0; 32])),
            name: config.name.clone(),
            image: self.image,
            created_ns: config.created_ns,
            config_json: serde_json::to_string(config).unwrap_or_default(),
            started,
        }
    }
}

/// What is needed besides: the streams, both ends of the socket, the control group of berth's own processes.
pub(crate) struct Ready {
    /// The client's streams.
    pub client: attach::Streams,
    /// Our end of the socket.
    pub ours: OwnedFd,
    theirs: Option<OwnedFd>,
    keepers: Option<cgroup::Cgroup>,
}

impl Ready {
    /// Makes the rest.
    pub fn new(home: &Home, client: attach::Streams) -> Result<Ready, Error> {
        let (ours, theirs) =
            linux::socket::pair().map_err(|errno| Error::system("make", "a socket", errno))?;
        let keepers = Hierarchy::detect_for(&Default::default(), &home.cgroup_parent)
            .and_then(|hierarchy| cgroup::keeper_dir(&home.cgroup_parent, &hierarchy))
            .map_err(|error| Error::Runtime(error.into()))?;
        Ok(Ready { client, ours, theirs: Some(theirs), keepers })
    }
}

/// Claims a new container's id, name, ids and directory, and decides all about it; if it `starts` at once, addresses and ports
/// as well.
pub(crate) fn claim(home: &Home, request: RunRequest, starts: bool) -> Result<Claimed, Error> {
    let found = find_source(home, &request.source)?;
    let claims = Claims::open(home)?;
    let neighbours = find_neighbours(home, &request)?;
    let shares_ids = match spec::wanted_userns(&request)? {
        WantedUserns::Host => true,
        WantedUserns::Own => false,
        WantedUserns::Of(name) => {
            neighbours.get(&name).is_some_and(|neighbour| neighbour.ids == UserNamespace::Host)
        }
    };
    if shares_ids {
        seal()?;
    }
    let mut random = [0u8; 34];
    rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::system("make", "a random id", errno))?;
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&random[..32]);
    let id = ContainerId::from_random(bytes).as_str().to_owned();
    let (name, named) = claim_name(home, &claims, request.name.as_deref(), &id, [random[32], random[33]])?;
    let mut intent = Intent {
        name: name.clone(),
        rm: request.rm,
        slots: Vec::new(),
        again: false,
        cgroup: foreign_cgroup(home, &request, &id),
    };
    let (cell, lock) = Cell::create(home, &id, &intent).inspect_err(|_| claims.release_name(&name, &id))?;
    drop(named);
    let claiming = Claiming {
        claims: &claims,
        name: &name,
        id: &id,
        slots: Vec::new(),
        cell: &cell,
        again: None,
        starts,
    };
    let image = found.image;
    let Filled { config, plan, pins, reserved } =
        claiming.fill(home, request, found, neighbours, |slots| {
            intent.slots = slots.to_vec();
            lock.intend(&intent).map_err(|errno| Error::system("write to", cell.path.display(), errno))
        })?;
    Ok(Claimed {
        config,
        plan,
        cell,
        lock,
        image,
        pins,
        reserved,
        restarts: Restarts::default(),
        again: false,
    })
}

/// Claims ids for a container that there is, in a directory of this boot that the caller has made, and decides anew
/// about what may have changed: ids, neighbours, users' names. With `instead` it gets another program this time. If it
/// fails, the directory is removed.
pub(crate) fn claim_again(
    home: &Home,
    config: &Config,
    cell: &Cell,
    lock: CellLock,
    restarts: Restarts,
    instead: Option<&[String]>,
) -> Result<Claimed, Error> {
    let claims = Claims::open(home)?;
    let neighbours = find_neighbours(home, &config.request);
    let mut intent = Intent {
        name: config.name.clone(),
        rm: config.rm(),
        slots: Vec::new(),
        again: true,
        cgroup: foreign_cgroup(home, &config.request, &config.id),
    };
    let claiming = Claiming {
        claims: &claims,
        name: &config.name,
        id: &config.id,
        slots: Vec::new(),
        cell,
        again: Some(config),
        starts: true,
    };
    let image = config.image_id.as_deref().and_then(store::ImageId::parse);
    let found = Found {
        root: config.root.clone(),
        shown: config.image.clone(),
        image,
        config: config.image_config.clone(),
        id_blocks: config.user_namespace.blocks(),
    };
    let asked = match instead {
        None => config.request.clone(),
        Some(program) => {
            RunRequest { entrypoint: Some(program.to_vec()), command: Vec::new(), ..config.request.clone() }
        }
    };
    let made = config;
    let Filled { mut config, plan, pins, reserved } =
        claiming.fill(home, asked, found, neighbours?, |slots| {
            intent.slots = slots.to_vec();
            lock.intend(&intent).map_err(|errno| Error::system("write to", cell.path.display(), errno))
        })?;
    config.request = made.request.clone();
    config.started_as = instead.map(<[String]>::to_vec);
    Ok(Claimed { config, plan, cell: cell.clone(), lock, image, pins, reserved, restarts, again: true })
}

/// The control group of a container that is to have it elsewhere than below berth's own parent.
pub(crate) fn foreign_cgroup(home: &Home, request: &RunRequest, id: &str) -> Option<String> {
    let parent = request.resources.cgroup_parent.as_deref()?;
    Some(home.cgroup_below(Some(parent), id))
}

/// Where the container's root is the host's, it must not find berth's own binary behind `/proc/PID/exe`. Nothing has been
/// made yet: the program may start again from the beginning.
pub(crate) fn seal() -> Result<(), Error> {
    linux::own_file::ensure_sealed()
        .map_err(|errno| Error::system("run berth from", "where nobody can overwrite it", errno))
}

struct Found {
    root: RootSource,
    shown: String,
    image: Option<store::ImageId>,
    config: Execution,
    /// Blocks of ids above the first that its files' owners are in.
    id_blocks: BTreeSet<u32>,
}

fn find_source(home: &Home, source: &Source) -> Result<Found, Error> {
    match source {
        Source::Host => Ok(Found {
            root: RootSource::Host,
            shown: "@host".to_owned(),
            image: None,
            config: Execution::default(),
            id_blocks: BTreeSet::new(),
        }),
        Source::Rootfs(dir) => {
            let shown = dir.display().to_string();
            let absolute =
                std::fs::canonicalize(dir).map_err(|error| Error::io("find the root", &shown, &error))?;
            if !absolute.is_dir() {
                return Err(Error::invalid("--rootfs", format!("{shown} is no directory")));
            }
            Ok(Found {
                root: RootSource::Directory(absolute),
                shown,
                image: None,
                config: Execution::default(),
                id_blocks: BTreeSet::new(),
            })
        }
        Source::Image(reference) => {
            let store = store::Store::open(&home.root)?;
            let image = store.resolve_image(reference)?;
            let config = ImageConfig::parse(image.config_json.as_bytes())
                .map_err(|error| Error::Image { image: reference.clone(), why: error.to_string() })?;
            let config = config.config;
            Ok(Found {
                id_blocks: image.layers.iter().flat_map(|layer| layer.id_blocks.iter().copied()).collect(),
                root: RootSource::Layers(image.layers.into_iter().map(|layer| layer.tree).collect()),
                shown: reference.clone(),
                image: Some(image.id),
                config,
            })
        }
    }
}

fn find_neighbours(home: &Home, request: &RunRequest) -> Result<BTreeMap<String, Neighbour>, Error> {
    let mut neighbours = BTreeMap::new();
    for name in spec::container_names(request) {
        let cell = find::running(home, &name)?;
        let not_running = || Error::State {
            id: name.clone(),
            why: "is not running: cannot join its namespaces".to_owned(),
        };
        let (config, running) =
            (cell.config().ok_or_else(not_running)?, cell.running().ok_or_else(not_running)?);
        running.init.open().ok_or_else(not_running)?;
        let neighbour = Neighbour {
            pid: running.init.pid,
            ids: config.user_namespace.joined(),
            hostname: config.spec.hostname.clone(),
            shm: Shm::of(&config, &running),
            net_files: network::of_neighbour(&cell),
        };
        neighbours.insert(name, neighbour);
    }
    Ok(neighbours)
}

/// The name, and what keeps it from being taken for one that was left until the container has a directory.
fn claim_name(
    home: &Home,
    claims: &Claims<'_>,
    wanted: Option<&str>,
    id: &str,
    random: [u8; 2],
) -> Result<(String, OwnedFd), Error> {
    let mut named = claims.share_names()?;
    if let Some(name) = wanted {
        match claims.claim_name(name, id) {
            Err(Error::NameInUse { .. }) => {
                // Unless whoever had it is gone without a trace, or about to go.
                drop(named);
                find::reap_named(home, name);
                named = claims.share_names()?;
                claims.claim_name(name, id)?;
            }
            other => other?,
        }
        return Ok((name.to_owned(), named));
    }
    for attempt in 0..NAME_TRIES_MAX {
        let name = names::make([random[0].wrapping_add(attempt as u8), random[1]], attempt);
        match claims.claim_name(&name, id) {
            Err(Error::NameInUse { .. }) => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok((name, named)),
        }
    }
    Err(Error::invalid("--name", "no free name was found; give one"))
}

/// Claims a range for container `id`, and one more for each block of ids above its; `slots` are those that were claimed, also
/// if it fails. `intend` writes them down before they are.
pub(crate) fn claim_ids(
    home: &Home,
    claims: &Claims<'_>,
    id: &str,
    slots: &mut Vec<u32>,
    blocks: &BTreeSet<u32>,
    intend: &mut impl FnMut(&[u32]) -> Result<(), Error>,
) -> Result<UserNamespace, Error> {
    if blocks.len() >= ID_BLOCKS_MAX {
        return Err(Error::invalid(
            "user ids",
            format!(
                "those of the image lie in more than {ID_BLOCKS_MAX} blocks of {RANGE_IDS}: --userns=host takes any"
            ),
        ));
    }
    let mut claim = || {
        let mut wanted = slots.clone();
        let slot = claims.claim_range(id, |slot| {
            wanted.truncate(slots.len());
            wanted.push(slot);
            intend(&wanted)
        })?;
        slots.push(slot);
        Ok::<_, Error>((slot, home.range_base(slot)))
    };
    let (slot, base) = claim()?;
    let mut further = Vec::new();
    for block in blocks {
        let (slot, base) = claim()?;
        further.push(IdBlock { first: block * RANGE_IDS, slot, base });
    }
    Ok(UserNamespace::Own { slot, base, further })
}

/// What was claimed so far, given back if the rest fails.
struct Claiming<'a> {
    claims: &'a Claims<'a>,
    name: &'a str,
    id: &'a str,
    slots: Vec<u32>,
    cell: &'a Cell,
    /// The container as it was, if there was one.
    again: Option<&'a Config>,
    /// Whether it starts now: otherwise it's on no network yet.
    starts: bool,
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        self.slots.iter().for_each(|slot| self.claims.release_range(*slot, self.id));
        if self.again.is_none() {
            self.claims.release_name(self.name, self.id);
        }
        network::detach(self.claims.home(), self.cell);
        self.cell.remove();
    }
}

impl Claiming<'_> {
    fn fill(
        mut self,
        home: &Home,
        request: RunRequest,
        found: Found,
        neighbours: BTreeMap<String, Neighbour>,
        mut intend: impl FnMut(&[u32]) -> Result<(), Error>,
    ) -> Result<Filled, Error> {
        let identity = spec::identity(&request, &found.root, &found.config)?;
        let user_namespace = match spec::wanted_userns(&request)? {
            WantedUserns::Host => UserNamespace::Host,
            WantedUserns::Own => {
                let high = identity.ids().map(|id| id / RANGE_IDS).filter(|block| *block > 0);
                let blocks: BTreeSet<u32> = found.id_blocks.iter().copied().chain(high).collect();
                claim_ids(home, self.claims, self.id, &mut self.slots, &blocks, &mut intend)?
            }
            WantedUserns::Of(name) => match neighbours.get(&name) {
                Some(neighbour) => neighbour.ids.clone(),
                None => return Err(Error::NoContainer { given: name }),
            },
        };
        let terminal_size = if request.tty { attach::terminal_size() } else { None };
        let attached = match self.again {
            None => volumes::attach::attach(home, self.id, &request, &found.root, &found.config)?,
            Some(config) => volumes::attach::attach_again(home, config)?,
        };
        let exposed: BTreeSet<String> =
            found.config.exposed_ports.iter().chain(&request.expose).cloned().collect();
        let (mut reserved, mut net_files) = (network::Reserved::default(), Vec::new());
        if self.starts {
            reserved = network::claim(home, self.cell, self.name, &request, &exposed)?;
            net_files = self.net_files(&request, &found, &neighbours, &reserved, &user_namespace)?;
        } else {
            network::check(home, &request)?;
        }
        let given = Given {
            net_files,
            link_environment: reserved.link_environment.clone(),
            id: self.id.to_owned(),
            name: self.name.to_owned(),
            created_ns: self.again.map_or_else(now_ns, |config| config.created_ns),
            image: found.shown,
            image_id: found.image.as_ref().map(ToString::to_string),
            image_config: found.config,
            root: found.root,
            mounts: &attached.mounts,
            sources: &attached.sources,
            user_namespace,
            identity,
            neighbours,
            cgroup: home.cgroup_below(request.resources.cgroup_parent.as_deref(), self.id),
            terminal_size,
        };
        let (mut config, plan) = spec::resolve(request, given)?;
        if config.request.health.on_failure != OnUnhealthy::Nothing && Check::of(&config).is_none() {
            return Err(Error::invalid(
                "--health-on-failure",
                "nothing is probed: give --health-cmd as well",
            ));
        }
        config.made_first = self.again.is_some_and(|config| config.made_first);
        let pins = attached.keep();
        // From here on the directory stands for the claims.
        std::mem::forget(self);
        Ok(Filled { config, plan, pins, reserved })
    }

    /// The files of names and addresses that are bound into the container.
    fn net_files(
        &self,
        request: &RunRequest,
        found: &Found,
        neighbours: &BTreeMap<String, Neighbour>,
        reserved: &network::Reserved,
        ids: &UserNamespace,
    ) -> Result<Vec<(String, PathBuf)>, Error> {
        let mut files = match &request.network {
            NetworkMode::Container(name) => {
                neighbours.get(name).map(|neighbour| neighbour.net_files.clone()).unwrap_or_default()
            }
            _ => {
                let hostname = spec::hostname(request, self.id, neighbours);
                let about = network::About {
                    request,
                    attached: &reserved.attached,
                    hostname: &network::hostname(hostname),
                    owner: ids.base(),
                };
                network::write_files(self.cell, &about)?
            }
        };
        if let RootSource::Directory(_) = &found.root {
            // It's used in place: nothing is made in it.
            files.retain(|(target, _)| root::has_file(&found.root, target));
        }
        Ok(files)
    }
}

/// What [`Claiming::fill`] decided and took.
struct Filled {
    config: Config,
    plan: runtime::Plan,
    pins: Vec<store::VolumePin>,
    reserved: network::Reserved,
}

fn await_start(socket: &OwnedFd, holder: &OwnedFd) -> Result<Launched, Error> {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        // The keeper has the socket as well: that it isn't closed doesn't mean that somebody will tell.
        let mut fds = [socket, holder].map(|fd| PollFd::new(fd, PollFlags::IN));
        match poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().is_empty() => {}
            Ok(_) => return Err(Error::HolderLost),
            Err(linux::Errno::INTR) => continue,
            Err(errno) => return Err(Error::system("hear from", "the holder", errno)),
        }
        let message = wire::receive::<ToClient>(socket)
            .map_err(|errno| Error::system("hear from", "the holder", errno))?;
        match message {
            Some((ToClient::Started { pid, steps }, fds)) => {
                return Ok(Launched { pid, steps, master: fds.into_iter().next() });
            }
            Some((ToClient::Failed { message, hint, kind }, _)) => {
                return Err(Error::Reported { message, hint, kind });
            }
            Some(_) => {}
            None => {
                return Err(Error::HolderLost);
            }
        }
    }
}

/// Removes what a start that failed may have left: its holder has done so already, unless it was killed.
fn forget(home: &Home, id: &str, name: &str, recorded: bool) {
    let cell = Cell::of(home, id);
    if let Some(running) = cell.running()
        && let Some(init) = running.init.open()
    {
        // It may even run; who was told that it couldn't be started doesn't expect that.
        let _ = cell.request_removal();
        kill_hard(&init, &running);
    }
    if let Ok(lock) = cell.wait_lock() {
        // Without one, a keeper that outlived its holder has buried the container itself.
        if lock.is_some() {
            find::reap(home, &cell);
        }
        // Both keep what one that has run leaves behind.
        let _ = root::remove(home, &cell);
    }
    if recorded
        && let Ok(store) = store::Store::open(&home.root)
        && let Some(id) = ContainerId::parse(id)
    {
        let _ = store.remove_container(&id, store::Durability::Synced);
    }
    events::destroyed_unseen(home, id);
    if let Ok(claims) = Claims::open(home) {
        claims.release_name(name, id);
    }
}

/// Writes the id for the caller; under sudo the file belongs to the user who called.
pub(crate) fn write_cidfile(path: &Path, id: &str) -> Result<(), Error> {
    use rustix::fs::{CWD, Mode, OFlags, fchown, openat};
    let failed = |errno| Error::system("write the cidfile", path.display(), errno);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::from_raw_mode(0o644)).map_err(failed)?;
    rustix::io::write(&file, id.as_bytes()).map_err(failed)?;
    if let Some((uid, gid)) = crate::output::caller() {
        let _ = fchown(&file, Some(uid), Some(gid));
    }
    Ok(())
}
