//! Forking, waiting, and becoming the command.

use super::{Error, procfs};
use linux::Errno;
use linux::process::{self, CStrings, Change, Exit, Fork};
use linux::signal;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

const SIGINT: i32 = 2;
const SIGPIPE: i32 = 13;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;

/// Where programs are looked for if PATH isn't set. Source: confstr(3), _CS_PATH.
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// The shell if SHELL isn't set.
const SHELL_DEFAULT: &str = "/bin/sh";

/// Forks. In the parent, waits for the child and answers how it ended: `SIGINT` and `SIGTERM` wait until then, as in
/// unshare(1), because a terminal sends them to the child too; if the child stops, so does the parent, as in nsenter(1).
/// In the child, with the signals as before: `None`.
pub fn fork_and_wait() -> Result<Option<Exit>, Error> {
    let mask = procfs::status(std::process::id() as i32).map_or(0, |status| status.blocked);
    let blocked: Vec<i32> = SIGNALS.filter(|signal| mask >> (signal - 1) & 1 == 1).collect();
    let failed = |errno| Error::step("make a child process", errno);
    let mut held = blocked.clone();
    held.extend([SIGINT, SIGTERM]);
    signal::reset(17); // an ignored SIGCHLD would have the kernel reap the child
    signal::set_blocked(&held).map_err(failed)?;
    let forked = process::fork().map_err(|errno| {
        let hint = "a pid namespace whose first process has ended takes no further ones";
        failed(errno).with_hint((errno == Errno::NOMEM).then_some(hint))
    });
    let pid = match forked {
        Ok(Fork::Parent(pid)) => pid,
        other => {
            signal::set_blocked(&blocked).map_err(failed)?;
            return other.map(|_| None);
        }
    };
    loop {
        match process::wait_child_or_stop(pid).map_err(|errno| Error::step("wait for the command", errno))? {
            Change::Ended(exit) => return Ok(Some(exit)),
            Change::Stopped => {
                let _ = process::kill(std::process::id() as i32, SIGSTOP);
                let _ = process::kill(pid, SIGCONT);
            }
        }
    }
}

/// Ends the calling process by the signal that ended its command, so that a shell sees the same. Returns if the signal
/// can't end it, as with the first process of a pid namespace.
pub fn die_of(number: i32) {
    let others: Vec<i32> = SIGNALS.filter(|signal| *signal != number).collect();
    signal::reset(number);
    let _ = signal::set_blocked(&others);
    let _ = process::kill(std::process::id() as i32, number);
}

/// Becomes the command, or the caller's shell if there is none; returns only on failure.
pub fn become_command(command: &[String]) -> Error {
    // Rust ignores it; the command shall not inherit that.
    signal::reset(SIGPIPE);
    let (program, errno) = match command.first() {
        Some(program) => (program.clone(), execvp(command)),
        None => {
            let shell = std::env::var("SHELL").ok().filter(|shell| !shell.is_empty());
            let shell = shell.unwrap_or_else(|| SHELL_DEFAULT.to_owned());
            let name = format!("-{}", shell.rsplit('/').next().unwrap_or_default());
            let errno = execve(shell.as_bytes(), &[name]);
            (shell, errno)
        }
    };
    Error::Command { program: program.escape_debug().to_string(), errno }
}

/// Becomes the program that PATH finds; returns only on failure. A file without a format that the kernel knows is a
/// script of the shell's. Source: execvp(3).
pub fn execvp(words: &[String]) -> Errno {
    let Some(program) = words.first().filter(|program| !program.is_empty()) else { return Errno::NOENT };
    if program.contains('/') {
        return execve(program.as_bytes(), words);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(PATH_DEFAULT)).into_vec();
    let mut result = Errno::NOENT;
    for dir in path.split(|byte| *byte == b':') {
        let mut file = dir.to_vec();
        if !file.is_empty() {
            file.push(b'/');
        }
        file.extend_from_slice(program.as_bytes());
        match execve(&file, words) {
            Errno::ACCESS => result = Errno::ACCESS,
            Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::TIMEDOUT => {}
            other => return other,
        }
    }
    result
}

fn execve(file: &[u8], words: &[String]) -> Errno {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::INVAL);
    let all =
        |words: &[String]| words.iter().map(|word| text(word.as_bytes())).collect::<Result<Vec<_>, _>>();
    let environment = std::env::vars_os().map(|(name, value)| {
        let mut line = name.into_vec();
        line.push(b'=');
        line.extend(value.into_vec());
        text(&line)
    });
    let made = (|| Ok::<_, Errno>((text(file)?, all(words)?, environment.collect::<Result<Vec<_>, _>>()?)))();
    let (file, words, environment) = match made {
        Ok(made) => made,
        Err(errno) => return errno,
    };
    let environment = CStrings::new(environment);
    let errno = process::execve(&file, &CStrings::new(words.clone()), &environment);
    if errno != Errno::NOEXEC {
        return errno;
    }
    let mut script = vec![c"/bin/sh".to_owned(), file];
    script.extend(words.into_iter().skip(1));
    process::execve(c"/bin/sh", &CStrings::new(script), &environment)
}
