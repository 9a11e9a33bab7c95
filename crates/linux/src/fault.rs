//! Fault points: places between two steps at which tests kill the process. In a release build they are nothing.
//!
//! `BERTH_FAULT=holder:7` kills the holder at the seventh point that it comes to, and `holder:7:stop` stops it there until
//! somebody lets it go on; several are separated by commas. With `BERTH_FAULT_LIST=FILE` each
//! process appends a line for each point: `holder:7 config written`. Numbers are counted for each role by itself, and
//! the same command comes to the same points in the same order.
//!
//! `BERTH_CLOCK=FILE` moves the clock by as many seconds as the file says, at any time.

/// What part a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The command that somebody typed; each process begins as one.
    Client,
    /// A container's holder.
    Holder,
    /// A container's first keeper.
    Keeper,
    /// A container's first process, before it executes the user's program.
    First,
    /// A keeper that waits to start its container again.
    Restarter,
    /// The holder that it makes.
    HolderAgain,
    /// Who writes a container's log to the disk, where its keeper doesn't.
    LogWriter,
    /// Who takes over from one that was killed: it has no points, or it would be killed as well.
    Successor,
}

/// From here on this process plays `role`, and counts from 1.
#[cfg(not(debug_assertions))]
pub fn play(_role: Role) {}

/// A point between two steps, the first of which is `done`.
#[cfg(not(debug_assertions))]
pub fn point(_done: &str) {}

/// How far the clock is to be wrong, in nanoseconds.
#[cfg(not(debug_assertions))]
pub fn clock_skew_ns() -> i64 {
    0
}

#[cfg(debug_assertions)]
pub use armed::{clock_skew_ns, play, point};

#[cfg(debug_assertions)]
mod armed {
    use super::Role;
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

    const NAMES: [&str; 7] =
        ["client", "holder", "keeper", "first", "restarter", "holder-again", "log-writer"];
    /// Index into [`NAMES`]; beyond it for a successor.
    static ROLE: AtomicU8 = AtomicU8::new(0);
    static PASSED: AtomicU32 = AtomicU32::new(0);
    /// SIGSTOP.
    const STOP: i32 = 19;

    /// From here on this process plays `role`, and counts from 1; a successor remains one, and so do its children.
    pub fn play(role: Role) {
        if ROLE.load(Relaxed) == Role::Successor as u8 {
            return;
        }
        ROLE.store(role as u8, Relaxed);
        PASSED.store(0, Relaxed);
    }

    /// How far the clock is to be wrong, in nanoseconds.
    pub fn clock_skew_ns() -> i64 {
        let text = std::env::var_os("BERTH_CLOCK").and_then(|file| std::fs::read_to_string(file).ok());
        let seconds: i64 = text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000)
    }

    /// A point between two steps, the first of which is `done`.
    pub fn point(done: &str) {
        let Some(role) = NAMES.get(usize::from(ROLE.load(Relaxed))) else { return };
        let number = PASSED.fetch_add(1, Relaxed) + 1;
        if let Some(list) = std::env::var_os("BERTH_FAULT_LIST") {
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
            if let Ok(list) = openat(CWD, list, flags, Mode::from_raw_mode(0o666)) {
                let _ = rustix::io::write(&list, format!("{role}:{number} {done}\n").as_bytes());
            }
        }
        let Ok(wanted) = std::env::var("BERTH_FAULT") else { return };
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let (here, stop) = (format!("{role}:{number}"), format!("{role}:{number}:stop"));
        if wanted.split(',').any(|wanted| wanted == stop) {
            let _ = crate::process::kill(own, STOP);
        } else if wanted.split(',').any(|wanted| wanted == here) {
            // The first process of a pid namespace can't kill itself.
            let _ = crate::process::kill(own, 9);
            crate::process::exit(137);
        }
    }
}
