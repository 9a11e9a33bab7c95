//! The keeper: copies what the container writes to its log and on to the client, records how it ended, tears down.
//!
//! One process, one loop over epoll, no timers once the container is settled. It can be killed at any instant: the
//! holder makes a new one ([`Task::generation`]), which finds what was copied in the log and asks the client how much of it
//! has arrived. If the holder dies instead, the keeper waits for the first process by its pidfd.

pub mod again;
mod checks;
mod client;
mod sources;

pub use client::Client;
pub use sources::{Staging, Streams};

use crate::cell::{self, Cell, CellLock, Ended, Running, now_ns};
use crate::log::{self, Plan, Recorder};
use crate::network::{self, ServerSockets};
use crate::request::RestartPolicy;
use crate::wire::InitEnded;
use crate::{Config, Home, events, last_use, teardown, volumes};
use checks::Checks;
use linux::fault::{self, Role};
use linux::{Errno, process};
use rustix::event::{Timespec, epoll};
use sources::Source;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Everything that a keeper needs; the holder has it, to make another one.
#[derive(Debug)]
pub struct Task {
    /// Where.
    pub home: Home,
    /// What.
    pub config: Config,
    /// Its directory.
    pub cell: Cell,
    /// Its processes.
    pub running: Running,
    /// Our ends of its output.
    pub streams: Streams,
    /// Its first process.
    pub init_fd: OwnedFd,
    /// Who sees the output.
    pub client: Option<Client>,
    /// How it ended, if that is known already.
    pub ended: Option<InitEnded>,
    /// The lock, shared with the holder.
    pub lock_fd: i32,
    /// Its `/dev/shm`, held for who joins it.
    pub shm: Option<OwnedFd>,
    /// The writing end of its stdin, held for who attaches later.
    pub stdin_writer: Option<OwnedFd>,
    /// The sockets of its name server, if it has one.
    pub name_server: Option<ServerSockets>,
    /// The sockets that keep its ports, by number.
    pub ports: Vec<i32>,
    /// Bytes of each stream that the log had when the container was started.
    pub log_begin: [u64; 2],
    /// How many keepers were there before.
    pub generation: u32,
}

impl Task {
    fn descriptors(&self) -> Vec<i32> {
        let mut fds = vec![self.init_fd.as_raw_fd(), self.lock_fd];
        fds.extend(self.streams.raw());
        fds.extend(self.client.iter().flat_map(Client::raw));
        fds.extend(self.stdin_writer.iter().chain(&self.shm).map(AsRawFd::as_raw_fd));
        fds.extend(&self.ports);
        fds.extend(self.name_server.iter().flatten().map(AsRawFd::as_raw_fd));
        fds
    }
}

/// Output that a client may lag behind before the container is made to wait: that much of the log is kept for it.
const LAG_BYTES_MAX: u64 = 64 << 20;
/// The same where the log is a journal, in memory.
const JOURNAL_LAG_BYTES_MAX: u64 = 4 << 20;

/// When the container's processes leave the caller's version 1 control groups. A migration waits up to 10 ms for the
/// kernel, and every exit and fork waits with it, so it's kept away from containers that end at once.
const SETTLE_AFTER: Duration = Duration::from_millis(200);

/// How long whoever is the first process's parent may take to reap it, where the holder was killed.
const REAP_PATIENCE: Duration = Duration::from_secs(5);

/// What an epoll event is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Stdout = 0,
    Stderr = 1,
    Client = 2,
    Pipe = 3,
    Holder = 4,
    Init = 5,
    Probe = 6,
    Names = 7,
    Rules = 8,
}

impl Token {
    fn of(number: u64) -> Option<Token> {
        use Token::{Client, Holder, Init, Names, Pipe, Probe, Rules, Stderr, Stdout};
        let all = [Stdout, Stderr, Client, Pipe, Holder, Init, Probe, Names, Rules];
        all.into_iter().find(|token| *token as u64 == number)
    }
}

/// How the container ended, as far as anybody can tell.
#[derive(Clone, Copy)]
enum End {
    Code(u8),
    Unknown,
}

/// Keeps the container until it has ended and is recorded; never returns.
pub fn run(task: &Task, holder: OwnedFd) -> ! {
    let mut keep = task.descriptors();
    keep.push(holder.as_raw_fd());
    process::close_others(&keep);
    let Ok(keeper) = Keeper::new(task, Some(holder)) else { process::exit(1) };
    keeper.run()
}

/// As [`run`] without a holder: for a container whose both processes were killed.
pub fn run_alone(task: &Task) -> ! {
    process::close_others(&task.descriptors());
    let Ok(keeper) = Keeper::new(task, None) else { process::exit(1) };
    keeper.run()
}

/// The container's name server, over copies of the sockets: the next keeper may need them as well.
fn serve_names(task: &Task, [udp, tcp]: &ServerSockets) -> Option<net::dns::Server> {
    let (udp, tcp) = (udp.try_clone().ok()?, tcp.try_clone().ok()?);
    net::dns::Server::new(udp, tcp, task.cell.path.join(network::NAMES_FILE)).ok()
}

struct Keeper<'a> {
    task: &'a Task,
    epoll: OwnedFd,
    holder: Option<OwnedFd>,
    sources: Vec<Source<'a>>,
    log: Option<Recorder>,
    lag_bytes_max: u64,
    client: Option<client::Feed<'a>>,
    end: Option<End>,
    /// Whether reading stops until the client has caught up.
    throttled: bool,
    settle_at: Option<Instant>,
    checks: Option<Checks<'a>>,
    /// Its name server.
    names: Option<net::dns::Server>,
    /// Its part in watching the rules.
    rules: Option<network::Watcher>,
    /// How long it's waited until somebody has reaped the first process, which has ended.
    reaped_by: Option<Instant>,
}

impl<'a> Keeper<'a> {
    fn new(task: &'a Task, holder: Option<OwnedFd>) -> Result<Keeper<'a>, Errno> {
        fault::play(if task.generation == 0 { Role::Keeper } else { Role::Successor });
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let plan = Plan::of_container(&task.config);
        let dir = log::frames_dir(&task.home, &task.config.id, &plan);
        let mut keeper = Keeper {
            task,
            epoll,
            holder,
            sources: task.streams.sources(),
            // Without a log the output is thrown away: the container mustn't block on it.
            log: Recorder::open(&task.home, &task.config).ok(),
            lag_bytes_max: if plan.is_journalled() { JOURNAL_LAG_BYTES_MAX } else { LAG_BYTES_MAX },
            client: task.client.as_ref().map(|client| client.feed(dir, task.log_begin, task.generation)),
            end: task.ended.map(|ended| End::Code(ended.code)),
            throttled: false,
            settle_at: (task.generation == 0).then(|| Instant::now() + SETTLE_AFTER),
            checks: Checks::of(task),
            names: task.name_server.as_ref().and_then(|sockets| serve_names(task, sockets)),
            rules: None,
            reaped_by: None,
        };
        if task.generation > 0 {
            let log = &mut keeper.log;
            keeper.sources.iter_mut().for_each(|source| source.resume(log.as_mut()));
            keeper.watch_rules();
        }
        keeper.watch()?;
        fault::point("watching");
        Ok(keeper)
    }

    fn watch(&mut self) -> Result<(), Errno> {
        let add = |fd: &dyn AsFd, token: Token| {
            epoll::add(
                &self.epoll,
                fd.as_fd(),
                epoll::EventData::new_u64(token as u64),
                epoll::EventFlags::IN,
            )
        };
        for source in &self.sources {
            add(
                &source.fd(),
                if source.stream() == log::Stream::Stdout { Token::Stdout } else { Token::Stderr },
            )?;
        }
        if let Some(client) = &self.client {
            add(&client.socket(), Token::Client)?;
        }
        if let Some(names) = &self.names {
            add(names, Token::Names)?;
        }
        match &self.holder {
            Some(holder) => add(holder, Token::Holder),
            None => self.watch_init(),
        }
    }

    /// Without a holder, who is the first process's parent, only its reaping by whoever is now can tell the status: that
    /// shows as a hang-up of the pidfd. That may take that one a while, and isn't waited for without end.
    fn watch_init(&self) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(Token::Init as u64);
        epoll::add(&self.epoll, &self.task.init_fd, data, epoll::EventFlags::IN | epoll::EventFlags::HUP)
    }

    /// The first process has ended, and may have been reaped.
    fn hear_init(&mut self) {
        if let Some(exit) = process::pidfd_exit(self.task.init_fd.as_fd()) {
            self.end = Some(End::Code(exit.shell_code()));
        } else if self.reaped_by.is_some() {
            self.end = Some(End::Unknown);
        } else {
            self.reaped_by = Some(Instant::now() + REAP_PATIENCE);
            let data = epoll::EventData::new_u64(Token::Init as u64);
            let _ = epoll::modify(&self.epoll, &self.task.init_fd, data, epoll::EventFlags::HUP);
        }
    }

    fn run(mut self) -> ! {
        let mut events = Vec::with_capacity(8);
        while self.end.is_none() {
            let check_at = self.checks.as_ref().and_then(Checks::due);
            let names_at = self.names.as_ref().and_then(net::dns::Server::deadline);
            let at = [self.settle_at, check_at, self.reaped_by, names_at].into_iter().flatten().min();
            let timeout = at.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => process::exit(1),
            }
            if self.settle_at.is_some_and(|at| Instant::now() >= at) {
                let settled = crate::settle::leave_callers_groups(&self.task.home, &self.task.cell);
                // Somebody moves the container's processes just now.
                self.settle_at = (!settled).then(|| Instant::now() + SETTLE_AFTER);
                self.watch_rules();
                process::release_program();
            }
            self.begin_check();
            if names_at.is_some_and(|at| Instant::now() >= at) {
                self.answer();
            }
            if self.reaped_by.is_some_and(|by| Instant::now() >= by) {
                self.hear_init();
            }
            let tokens: Vec<Token> = events.iter().filter_map(|event| Token::of(event.data.u64())).collect();
            for token in tokens {
                self.handle(token);
            }
        }
        self.finish()
    }

    /// Begins a health check that is due.
    fn begin_check(&mut self) {
        if let Some(pipe) = self.checks.as_mut().and_then(Checks::begin) {
            let data = epoll::EventData::new_u64(Token::Probe as u64);
            let _ = epoll::add(&self.epoll, pipe, data, epoll::EventFlags::IN);
        }
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Stdout | Token::Stderr => self.copy(token),
            Token::Client => self.hear_client(),
            Token::Pipe => self.feed(),
            Token::Holder => self.hear_holder(),
            Token::Probe => self.checks.iter_mut().for_each(Checks::hear),
            Token::Init => self.hear_init(),
            Token::Names => self.answer(),
            Token::Rules => self.hear_rules(),
        }
    }

    /// Takes part in watching the rules, if the container is on a network and has lived for a while.
    fn watch_rules(&mut self) {
        if self.rules.is_none() && network::attached(&self.task.cell).is_some() {
            self.rules = network::Watcher::new(&self.task.home);
            self.poll_rules();
        }
    }

    fn poll_rules(&self) {
        if let Some(rules) = &self.rules {
            let data = epoll::EventData::new_u64(Token::Rules as u64);
            let _ = epoll::add(&self.epoll, rules.as_fd(), data, epoll::EventFlags::IN);
        }
    }

    fn hear_rules(&mut self) {
        match self.rules.as_mut().map(network::Watcher::turn) {
            // The old descriptor left the epoll when it was closed.
            Some(Ok(true)) => self.poll_rules(),
            Some(Err(())) => self.rules = None,
            Some(Ok(false)) | None => {}
        }
    }

    /// Answers what the container has asked.
    fn answer(&mut self) {
        if self.names.as_mut().is_some_and(|names| names.turn().is_err()) {
            self.names = None;
        }
    }

    fn copy(&mut self, token: Token) {
        let Some(at) = self.sources.iter().position(|source| source.stream().index() == token as usize)
        else {
            return;
        };
        if let Some(log) = &mut self.log {
            log.keep_from(self.client.as_ref().and_then(client::Feed::first_file));
        }
        if self.sources[at].copy(self.log.as_mut()) == sources::Copied::Ended {
            let _ = epoll::delete(&self.epoll, self.sources[at].fd());
            self.sources.remove(at);
        }
        self.feed();
    }

    /// Passes on to the client what is in the log; watches its pipe if that is full, and makes the container wait if the
    /// client lags too far.
    fn feed(&mut self) {
        let Some(client) = &mut self.client else { return };
        let was_blocked = client.blocked_on();
        if client.pump().is_err() {
            return self.drop_client();
        }
        let blocked = client.blocked_on();
        let totals = self.log.as_ref().map_or([0; 2], Recorder::totals);
        let lag = client.lag(totals);
        if was_blocked.map(|fd| fd.as_raw_fd()) != blocked.map(|fd| fd.as_raw_fd()) {
            if let Some(fd) = was_blocked {
                let _ = epoll::delete(&self.epoll, fd);
            }
            if let Some(fd) = blocked {
                let data = epoll::EventData::new_u64(Token::Pipe as u64);
                let _ = epoll::add(&self.epoll, fd, data, epoll::EventFlags::OUT);
            }
        }
        self.throttle(lag > self.lag_bytes_max);
    }

    fn throttle(&mut self, on: bool) {
        if self.throttled == on {
            return;
        }
        self.throttled = on;
        let flags = if on { epoll::EventFlags::empty() } else { epoll::EventFlags::IN };
        for source in &self.sources {
            let token = source.stream().index() as u64;
            let _ = epoll::modify(&self.epoll, source.fd(), epoll::EventData::new_u64(token), flags);
        }
    }

    fn drop_client(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = epoll::delete(&self.epoll, client.socket());
            if let Some(fd) = client.blocked_on() {
                let _ = epoll::delete(&self.epoll, fd);
            }
        }
        self.throttle(false);
    }

    fn hear_client(&mut self) {
        let heard = self.client.as_mut().map(client::Feed::hear);
        match heard {
            Some(Ok(())) => self.feed(),
            Some(Err(_)) => self.drop_client(),
            None => {}
        }
    }

    fn hear_holder(&mut self) {
        let Some(holder) = &self.holder else { return };
        match crate::wire::receive::<InitEnded>(holder) {
            Ok(Some((ended, _))) => self.end = Some(End::Code(ended.code)),
            _ => {
                let _ = epoll::delete(&self.epoll, holder);
                self.holder = None;
                if self.task.cell.running().is_none() {
                    // Killed before it wrote down that the container runs: as that is a start that failed, and by no
                    // command could it be ended.
                    let _ = process::pidfd_signal(self.task.init_fd.as_fd(), 9);
                }
                let _ = self.watch_init();
            }
        }
    }

    /// The container has ended: the rest of its output, the record, the announcement, the teardown.
    fn finish(mut self) -> ! {
        fault::point("end heard");
        let task = self.task;
        let Ok(lock) = CellLock::inherited(task.lock_fd) else { process::exit(1) };
        if lock.is_void() {
            // An earlier keeper was killed when it was done.
            process::exit(0);
        }
        if let Some(next) = task.cell.ended().and_then(|ended| ended.next) {
            // An earlier keeper was killed while it waited to start the container again.
            events::ended_unseen(&task.home, &task.cell, &task.config);
            self.start_again(lock, next);
        }
        let health = self.checks.take().map(Checks::end);
        // Which may have become more since the start.
        let running = task.cell.running().unwrap_or_else(|| task.running.clone());
        let group = runtime::cgroup::Cgroup::open(&running.groups());
        if let Ok(group) = &group {
            // Without a pid namespace of its own, its other processes live on.
            let shares_pids = !matches!(
                task.config.request.pid,
                crate::request::NamespaceMode::Unset | crate::request::NamespaceMode::Private
            );
            if shares_pids || group.populated().unwrap_or(true) {
                let _ = group.kill();
                let _ = group.wait_empty(Duration::from_secs(5));
            }
        }
        for source in &mut self.sources {
            source.drain(self.log.as_mut());
        }
        if let Some(log) = &mut self.log {
            log.finish();
        }
        fault::point("output copied");
        let code = match self.end {
            Some(End::Code(code)) => Some(code),
            _ => None,
        };
        let oom_killed = group.as_ref().is_ok_and(|group| group.oom_killed().unwrap_or(false));
        let finished_ns = now_ns();
        let rm = task.config.rm() || task.cell.removal_requested();
        let ended = Ended {
            code,
            oom_killed,
            started_ns: task.running.started_ns,
            finished_ns,
            error: code
                .is_none()
                .then(|| "its holder was killed and the kernel can't tell how it ended".to_owned()),
            stopped: task.cell.stopped_by_user(),
            restarts: task.running.restarts.count,
            next: if rm {
                None
            } else {
                again::decide(&task.cell, &task.config, &task.running, code, finished_ns)
            },
            health,
        };
        if rm {
            again::forget_row(&task.home, &task.cell, &task.config);
            crate::claims::Claims::open(&task.home)
                .map(|claims| claims.release_name(&task.cell.name_now(&task.config), &task.config.id))
                .unwrap_or_default();
        } else {
            let _ = task.cell.write("exit.json", &ended);
        }
        fault::point("end written");
        let death = events::Death {
            name: task.cell.intent().map_or_else(|| task.config.name.clone(), |intent| intent.name),
            code,
            oom_killed,
            started_ns: ended.started_ns,
            finished_ns: ended.finished_ns,
        };
        events::ended(&task.home, &task.config, &death, task.generation > 0 || self.holder.is_none());
        fault::point("end told to all");
        // Whoever waits for the end finds them gone.
        let config = task.cell.config().unwrap_or_else(|| task.config.clone());
        volumes::container_ended(&task.home, &config);
        let totals = self.log.as_ref().map_or([0; 2], Recorder::totals);
        let client_has_output = self.client.as_ref().and_then(client::Feed::first_file).is_some();
        if let Some(client) = &mut self.client {
            let pumped = client.pump();
            if let Some(log) = &mut self.log {
                log.trim(client.first_file());
            }
            let told = pumped.is_ok()
                && client.tell_end(code, oom_killed, totals).is_ok()
                && client.deliver_rest().is_ok();
            if !told {
                self.client = None;
            }
            if client_has_output && let Some(log) = &mut self.log {
                log.trim(None);
            }
        }
        fault::point("client told");
        drop(self.client.take());
        last_use::note(&task.home, &config);
        let record = Ended { next: None, ..ended.clone() };
        let id = &task.config.id;
        let recorded = match config.request.restart {
            _ if rm => Ok(None),
            // Nothing depends on it but what is shown: it's synced when nobody waits for this process any more.
            RestartPolicy::No => cell::place_ended(&task.home, id, &record).map(Some),
            // It says what starts after the next boot.
            _ => cell::write_ended(&task.home, id, &record).map(|()| None),
        };
        fault::point("end recorded");
        if let Some(next) = ended.next {
            if let Ok(group) = group {
                let _ = group.remove();
            }
            self.start_again(lock, next);
        }
        let Ok(placed) = recorded else {
            // The disk is full, say. What is in its directory of this boot tells how it ended; the next command that
            // touches the container tries again.
            process::exit(0)
        };
        network::detach(&task.home, &task.cell);
        self.release_ports();
        teardown::ended(&task.home, &config, &task.cell, group.ok(), rm);
        if let Some(placed) = placed {
            lock.give_up();
            let _ = placed.sync();
        }
        process::exit(0)
    }

    /// Lets go of the container's ports, once no rule leads from them any more: the next start may come before this process
    /// has ended.
    fn release_ports(&self) {
        self.task.ports.iter().for_each(|number| drop(process::inherited_fd(*number)));
    }

    /// The container ended, and is to be started again: waits for that, and does it.
    fn start_again(self, lock: CellLock, next: cell::NextStart) -> ! {
        let task = self.task;
        again::release_claims(&task.home, &task.cell, &task.config);
        self.release_ports();
        drop(self.sources);
        task.cell.clear_run();
        again::start(&task.home, &task.config, &task.cell, lock, next, Some(task.running.holder))
    }
}
