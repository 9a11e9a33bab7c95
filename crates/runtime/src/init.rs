//! berth's own init: process 1 of a container that was made with `--init`. It runs the program as its child, passes
//! signals on, reaps orphans, and leaves with the program's status.
//!
//! It's the same executable under the name `berth-init`, executed inside the container as the container's user, under
//! its filter: it opens no file and needs no right.

use linux::Errno;
use linux::process::{self, CStrings, Exit, Fork};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Signals that a fault of our own raises; all others that can be caught go to the program.
const NOT_FORWARDED: [i32; 8] = [4, 5, 7, 8, 9, 11, 19, 31];
const SIGCHLD: i32 = 17;

/// Where programs are looked for without `PATH`.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs `-- PROGRAM ARG…` until it ends; answers the status to leave with: the program's, 128 and the number of the
/// signal that ended it, 127 if it's missing, 126 if it can't be executed.
pub fn main(args: &[OsString]) -> u8 {
    let args = match args.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => args,
    };
    let Some(program) = args.first() else {
        eprintln!("berth-init: no program given");
        return 127;
    };
    match supervise(program, args) {
        Ok(exit) => exit.shell_code(),
        Err((call, errno)) => {
            eprintln!("berth-init: {call}: {}", crate::errno_text(errno));
            126
        }
    }
}

fn supervise(program: &OsStr, args: &[OsString]) -> Result<Exit, (&'static str, Errno)> {
    let signals: Vec<i32> = (1..=64).filter(|signal| !NOT_FORWARDED.contains(signal)).collect();
    // Before the program is there: none of its signals may be lost, and none may end us.
    linux::signal::set_blocked(&signals).map_err(|e| ("sigprocmask", e))?;
    let descriptor = linux::signal::signalfd(&signals).map_err(|e| ("signalfd", e))?;
    // Not clone3(2), which docker's filter answers with ENOSYS.
    let child = match process::fork().map_err(|e| ("fork", e))? {
        Fork::Child => process::exit(become_program(program, args)),
        Fork::Parent(pid) => pid,
    };
    loop {
        let mut fds = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(("poll", errno)),
        }
        while let Some(signal) = linux::signal::read_signalfd(descriptor.as_fd()).map_err(|e| ("read", e))? {
            if signal.number != SIGCHLD {
                // The program has ended, if at all, without having been reaped: the number is still its own.
                let _ = process::kill(child, signal.number);
            } else if let Some(exit) = reap(child) {
                return Ok(exit);
            }
        }
    }
}

/// Reaps every ended process; says how the program ended if it was among them.
fn reap(child: i32) -> Option<Exit> {
    let mut ours = None;
    while let Ok(Some((pid, exit))) = process::try_wait_any() {
        if pid == child {
            ours = Some(exit);
        }
    }
    ours
}

/// In the child: leads a process group of its own, in the foreground of the terminal if there is one, and becomes the
/// program. Returns the status to leave with if it can't.
fn become_program(program: &OsStr, args: &[OsString]) -> i32 {
    let _ = rustix::process::setpgid(None, None);
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        // SIGTTOU, which this would raise from the background, is still blocked.
        let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp());
    }
    linux::signal::reset_all();
    let strings = |list: Vec<Vec<u8>>| {
        // Arguments and variables come from execve: no NUL bytes.
        CStrings::new(list.into_iter().filter_map(|bytes| CString::new(bytes).ok()).collect())
    };
    let argv = strings(args.iter().map(|arg| arg.as_bytes().to_vec()).collect());
    let environment =
        std::env::vars_os().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='));
    let envp = strings(environment.collect());
    let mut error = Errno::NOENT;
    for candidate in candidates(program, std::env::var_os("PATH").as_deref()) {
        match process::execve(&candidate, &argv, &envp) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => error = Errno::ACCESS,
            other => {
                error = other;
                break;
            }
        }
    }
    eprintln!("berth-init: exec {program:?}: {}", crate::errno_text(error));
    if error == Errno::NOENT { 127 } else { 126 }
}

/// The paths to try, as execvp(3) does.
fn candidates(program: &OsStr, path: Option<&OsStr>) -> Vec<CString> {
    let program = program.as_bytes();
    if program.contains(&b'/') {
        return CString::new(program).into_iter().collect();
    }
    let path = path.map(OsStr::as_bytes).filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH);
    let dirs = path.split(|b| *b == b':').map(|dir| if dir.is_empty() { b"." } else { dir });
    dirs.filter_map(|dir| CString::new([dir, b"/", program].concat()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_along_the_path() {
        let tried = |program: &str, path: Option<&str>| -> Vec<String> {
            let found = candidates(OsStr::new(program), path.map(OsStr::new));
            found.into_iter().map(|c| c.into_string().unwrap()).collect()
        };
        assert_eq!(tried("./x", Some("/bin")), ["./x"]);
        assert_eq!(tried("x", Some("/a::/b")), ["/a/x", "./x", "/b/x"]);
        assert_eq!(tried("x", None).len(), 6);
    }
}
