//! Containers that ended and are started again, by their restart policy. The keeper waits, in the same directory and under
//! the same lock; then it starts the container, with a holder of its own, and goes.

use crate::cell::{self, Cell, CellLock, Ended, NextStart, ProcessName, Restarts, Running, now_ns};
use crate::request::{RestartPolicy, RunRequest};
use crate::run::{self, Ready};
use crate::{Config, Error, Home, attach, events, find, network, teardown, volumes};
use linux::Errno;
use linux::fault::{self, Role};
use linux::process::{self, Fork};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Docker's pauses: the first, the longest, and how long a container must have run for the next to be the first again.
const PAUSE_MS: u64 = 100;
const PAUSE_MS_MAX: u64 = 60_000;
const RAN_WELL_NS: i64 = 10_000_000_000;
/// Before a start is tried again whose holder was killed.
const LOST_PAUSE: Duration = Duration::from_secs(1);

/// When a container that has ended is started again.
pub(super) fn decide(
    cell: &Cell,
    config: &Config,
    running: &Running,
    code: Option<u8>,
    finished_ns: i64,
) -> Option<NextStart> {
    // It may have been changed meanwhile.
    let policy = cell.config().map_or(config.request.restart, |config| config.request.restart);
    let Restarts { count, pause_ms } = running.restarts;
    let wanted = match policy {
        RestartPolicy::No => false,
        RestartPolicy::OnFailure(max) => code != Some(0) && max.is_none_or(|max| count < max),
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
    };
    if !wanted || cell.stop_requested() {
        return None;
    }
    let pause_ms = match finished_ns - running.started_ns >= RAN_WELL_NS || pause_ms == 0 {
        true => PAUSE_MS,
        false => (pause_ms * 2).min(PAUSE_MS_MAX),
    };
    let at_ns = finished_ns.saturating_add((pause_ms * 1_000_000) as i64);
    Some(NextStart { at_ns, restarts: Restarts { count: count + 1, pause_ms } })
}

/// Waits, then starts the container; the lock on its directory is the caller's. `holder` is who made the caller, and
/// would make another one if it were killed.
pub(super) fn start(
    home: &Home,
    config: &Config,
    cell: &Cell,
    lock: CellLock,
    next: NextStart,
    holder: Option<ProcessName>,
) -> ! {
    fault::play(Role::Restarter);
    wait(cell, next);
    fault::point("pause over");
    // From here on the next holder looks after the container, and nobody else may.
    dismiss(holder);
    fault::point("earlier holder dismissed");
    if cell.removal_requested() || cell.stop_requested() {
        let rm = cell.removal_requested();
        if rm {
            forget_row(home, cell, config);
        }
        if !rm && let Some(ended) = cell.ended() {
            let _ = cell::write_ended(
                home,
                &config.id,
                &Ended { stopped: cell.stopped_by_user(), next: None, ..ended },
            );
        }
        // Whoever saw the end may have been killed before it removed the control group.
        teardown::ended(home, config, cell, teardown::find_group(home, cell), rm);
        process::exit(0);
    }
    let config = cell.config().unwrap_or_else(|| config.clone());
    if config.user_namespace == crate::config::UserNamespace::Host
        && !linux::own_file::is_sealed().unwrap_or(false)
    {
        start_sealed(home, &config, cell, lock);
    }
    if let Err(error) = start_now(home, &config, cell, lock, next.restarts) {
        if matches!(error, Error::HolderLost) {
            fault::play(Role::Successor);
            std::thread::sleep(LOST_PAUSE);
            // Unless its keeper does, which lives on.
            find::recover(home, cell);
            process::exit(0)
        }
        let now = now_ns();
        let ended = Ended {
            code: Some(error.kind().run_exit_code()),
            restarts: next.restarts.count,
            ..Ended::unseen(now, now, &error.to_string())
        };
        let _ = cell::write_ended(home, &config.id, &ended);
    }
    process::exit(0)
}

fn start_now(
    home: &Home,
    config: &Config,
    cell: &Cell,
    lock: CellLock,
    restarts: Restarts,
) -> Result<(), Error> {
    let claimed = run::claim_again(home, config, cell, lock, restarts, None)?;
    let request = RunRequest { detach: true, ..config.request.clone() };
    let mut ready = attach::Streams::prepare(&request)
        .and_then(|client| Ready::new(home, client))
        .inspect_err(|_| teardown::not_started(home, cell, None))?;
    run::launch(home, claimed, &mut ready, true, None).map(drop)
}

/// Ends the holder of the run that is over.
fn dismiss(holder: Option<ProcessName>) {
    let Some(pidfd) = holder.and_then(ProcessName::open) else { return };
    let _ = process::pidfd_signal(pidfd.as_fd(), 9);
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let _ = poll(&mut fds, Some(&Timespec { tv_sec: 5, tv_nsec: 0 }));
}

/// A keeper that some command of berth's left behind has an executable that a container with the host's ids could
/// overwrite. It becomes a command that sees to that.
fn start_sealed(home: &Home, config: &Config, cell: &Cell, lock: CellLock) -> ! {
    teardown::ended(home, config, cell, None, false);
    drop(lock);
    let words = ["berth", "start", &config.id].map(std::ffi::OsString::from);
    let _ = linux::own_file::start_sealed(words.into_iter());
    process::exit(1)
}

/// Waits until it's time, or until a user wants something else.
fn wait(cell: &Cell, next: NextStart) {
    // Never longer than the pause itself, wherever the clock has gone meanwhile.
    let left = (next.at_ns - now_ns()).clamp(0, (next.restarts.pause_ms * 1_000_000) as i64);
    let deadline = Instant::now() + Duration::from_nanos(left as u64);
    let watch = || {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, &cell.path, inotify::WatchFlags::CREATE)?;
        Ok::<_, Errno>(watch)
    };
    let watch = watch();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || cell.removal_requested() || cell.stop_requested() {
            return;
        }
        match &watch {
            Ok(watch) => {
                let mut fds = [PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)];
                let _ = poll(&mut fds, Timespec::try_from(left).ok().as_ref());
                if !fds[0].revents().is_empty() {
                    let mut events = [0; 4096];
                    let _ = rustix::io::read(watch, &mut events[..]);
                }
            }
            // No more watches are to be had.
            Err(_) => std::thread::sleep(left.min(Duration::from_millis(100))),
        }
    }
}

/// For a container whose processes were all killed, the first one too: what its keeper would have done.
pub fn take_over(home: &Home, cell: &Cell, config: Config, running: &Running, lock: CellLock) {
    let now = now_ns();
    let Some(next) = decide(cell, &config, running, None, now) else { return find::reap(home, cell) };
    let why = "nobody saw it end: its holder and its keeper were killed";
    let ended = Ended { restarts: running.restarts.count, ..Ended::unseen(running.started_ns, now, why) };
    if let Some(group) = teardown::find_group(home, cell) {
        let _ = group.kill();
        let _ = group.wait_empty(Duration::from_secs(5));
        let _ = group.remove();
    }
    crate::log::recorder::settle(home, &config);
    let _ = cell.write("exit.json", &Ended { next: Some(next), ..ended.clone() });
    // While it's still written down which run this was the end of.
    events::ended_unseen(home, cell, &config);
    let _ = cell::write_ended(home, &config.id, &ended);
    volumes::container_ended(home, &config);
    release_claims(home, cell, &config);
    cell.clear_run();
    adopt(home, cell, config, lock);
}

/// Of a container that goes: its row, if it has one. Whoever wished that it goes removes the row himself, unless he was
/// killed right after the wish.
pub(super) fn forget_row(home: &Home, cell: &Cell, config: &Config) {
    let has_row = config.rm() && config.made_first;
    if has_row || cell.removal_requested() && find::is_recorded(home, &config.id, None) {
        find::forget_record(home, &config.id);
    }
}

/// Gives back ids, addresses and ports of a container that will get others with its next start.
pub(super) fn release_claims(home: &Home, cell: &Cell, config: &Config) {
    network::detach(home, cell);
    if let Ok(claims) = crate::claims::Claims::open(home) {
        config.user_namespace.slots().iter().for_each(|slot| claims.release_range(*slot, &config.id));
    }
}

/// Goes on waiting for a container whose processes were all killed while it was waited for, by a process that stays behind.
pub fn adopt(home: &Home, cell: &Cell, config: Config, lock: CellLock) {
    let Some(next) = cell.ended().and_then(|ended| ended.next) else { return find::reap(home, cell) };
    events::ended_unseen(home, cell, &config);
    // The start may have been begun, and cut short.
    teardown::attempt(home, cell, None);
    volumes::container_ended(home, &config);
    cell.clear_run();
    if let Ok(Fork::Child) = process::fork() {
        crate::inherited::become_keeper();
        process::close_others(&[lock.raw()]);
        start(home, &config, cell, lock, next, None)
    }
}
