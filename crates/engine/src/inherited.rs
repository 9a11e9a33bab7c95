//! Nothing leaks in from the caller (design.md 1): a container is the same whoever started it.

use linux::process::{self, Fork};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Limits of every container, soft and hard; `None` is unlimited. What the caller's hard limits forbid, and berth may
/// not raise, stays at those.
const LIMITS: [(Resource, Option<u64>, Option<u64>); 14] = [
    (Resource::As, None, None),
    (Resource::Core, None, None),
    (Resource::Cpu, None, None),
    (Resource::Data, None, None),
    (Resource::Fsize, None, None),
    (Resource::Locks, None, None),
    (Resource::Memlock, Some(8 << 20), Some(8 << 20)),
    (Resource::Msgqueue, Some(819_200), Some(819_200)),
    (Resource::Nice, Some(0), Some(0)),
    (Resource::Nofile, Some(1 << 20), Some(1 << 20)),
    (Resource::Nproc, None, None),
    (Resource::Rss, None, None),
    (Resource::Rtprio, Some(0), Some(0)),
    (Resource::Stack, Some(8 << 20), None),
];

/// Resets what a process inherits: limits, umask, working directory, niceness, processors, signals, session. What it may
/// not reset stays as it is.
pub fn reset() {
    let _ = rustix::process::setsid();
    linux::signal::reset_all();
    linux::signal::ignore(13);
    rustix::process::umask(rustix::fs::Mode::empty());
    let _ = rustix::process::chdir("/");
    for (resource, soft, hard) in LIMITS {
        let now = getrlimit(resource);
        if now == (Rlimit { current: soft, maximum: hard }) {
            continue;
        }
        if setrlimit(resource, Rlimit { current: soft, maximum: hard }).is_err() {
            let within = |value: Option<u64>| match (value, now.maximum) {
                (Some(value), Some(max)) => Some(value.min(max)),
                (value, max) => value.or(max),
            };
            let _ = setrlimit(resource, Rlimit { current: within(soft), maximum: now.maximum });
        }
    }
    let _ = rustix::process::setpriority_process(None, 0);
    let mut all = rustix::thread::CpuSet::new();
    (0..rustix::thread::CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    let _ = rustix::thread::sched_setaffinity(None, &all);
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
}

/// Signals of the terminal's, and those that end a command.
const ENDING: [i32; 4] = [1, 2, 3, 15];

/// Forks a process that lives on whatever becomes of the caller: what is sent to the caller's group meanwhile, when its
/// terminal is interrupted or hangs up, doesn't end the child.
pub fn fork_apart() -> Result<Fork, linux::Errno> {
    linux::signal::set_blocked(&ENDING)?;
    let forked = process::fork();
    if !matches!(forked, Ok(Fork::Child)) {
        linux::signal::set_blocked(&[])?;
        return forked;
    }
    let _ = rustix::process::setsid();
    // What is pending is thrown away; only then is nothing blocked any more.
    ENDING.into_iter().for_each(linux::signal::ignore);
    reset();
    close_streams();
    forked
}

/// What a fork of some command does first that stays behind as a container's keeper.
pub fn become_keeper() {
    process::set_name(c"berth-keeper");
    reset();
    close_streams();
    protect_from_oom();
}

/// Keeps the OOM killer away from berth's own processes, where that is allowed.
pub fn protect_from_oom() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "-999");
}

/// Connects the standard streams to `/dev/null`: the caller's may be a pipe whose end somebody waits for.
pub fn close_streams() {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    if let Ok(null) = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        for number in 0..3 {
            let _ = linux::process::dup_onto(std::os::fd::AsFd::as_fd(&null), number);
        }
    }
}
