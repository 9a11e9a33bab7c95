//! A process that stays outside a new user namespace and writes its id maps: only somebody with rights over the outer
//! ids may. Root writes them itself; for others newuidmap(1) and newgidmap(1) do. Source: user_namespaces(7).

use super::Error;
use super::command;
use super::maps::Map;
use linux::Errno;
use linux::process::{self, Exit, Fork};
use std::os::fd::OwnedFd;
use types::oci::IdMapping;

/// User ids, group ids: what they are called, their file, the program that writes it for unprivileged callers.
const SIDES: [(&str, &str, &str); 2] = [("user", "uid_map", "newuidmap"), ("group", "gid_map", "newgidmap")];

/// Status of the process that should have become such a program.
const NOT_RUN: i32 = 127;

/// The helper, waiting. Dropped, it goes without having done anything.
#[derive(Debug)]
pub struct MapHelper {
    pid: i32,
    socket: OwnedFd,
}

/// The helper's answer: 0, or what failed (1: writing, 2: the program), at which side, and the kernel's answer.
type Answer = [u8; 6];

impl MapHelper {
    /// Forks the helper if either map needs it.
    pub fn start(users: &Map, groups: &Map) -> Result<Option<MapHelper>, Error> {
        let lines = [users, groups].map(|map| match map {
            Map::Ranges(lines) => Some(lines.as_slice()),
            _ => None,
        });
        if lines == [None, None] {
            return Ok(None);
        }
        let failed = |errno| Error::step("make the process that maps ids", errno);
        let target = std::process::id() as i32;
        let (socket, theirs) = linux::socket::pair().map_err(failed)?;
        match process::fork().map_err(failed)? {
            Fork::Parent(pid) => Ok(Some(MapHelper { pid, socket })),
            Fork::Child => {
                drop(socket);
                if matches!(linux::socket::recv(&theirs, &mut [0; 1]), Ok((1, _))) {
                    let _ = linux::socket::send(&theirs, &work(target, lines), &[]);
                }
                process::exit(0)
            }
        }
    }

    /// Has the maps written: the caller is in the new namespace now.
    pub fn finish(self) -> Result<(), Error> {
        let mut answer: Answer = [0; 6];
        let told = linux::socket::send(&self.socket, &[1], &[])
            .and_then(|()| linux::socket::recv(&self.socket, &mut answer));
        let _ = process::wait_child(self.pid);
        let lost = |errno| Error::step("hear from the process that maps ids", errno);
        if told.map_err(lost)?.0 != answer.len() {
            return Err(lost(Errno::PIPE));
        }
        let [what, side, errno @ ..] = answer;
        let (ids, file, program) = SIDES[usize::from(side.min(1))];
        match what {
            0 => Ok(()),
            1 => {
                let errno = Errno::from_raw_os_error(i32::from_le_bytes(errno));
                Err(Error::step(format!("map {ids} ids: write /proc/PID/{file}"), errno))
            }
            _ if i32::from_le_bytes(errno) == NOT_RUN => Err(Error::Step {
                what: format!("map {ids} ids: run {program}"),
                errno: Errno::NOENT,
                hint: Some(
                    "install it (package uidmap): it maps ids for callers that aren't root".to_owned(),
                ),
            }),
            _ => Err(Error::MapProgram { ids, program }),
        }
    }
}

fn work(target: i32, lines: [Option<&[IdMapping]>; 2]) -> Answer {
    for (n, lines) in lines.into_iter().enumerate() {
        let Some(lines) = lines else { continue };
        let (_, file, program) = SIDES[n];
        let (what, code) = if rustix::process::geteuid().is_root() {
            match std::fs::write(format!("/proc/{target}/{file}"), runtime::userns::map_lines(lines)) {
                Ok(()) => continue,
                Err(error) => (1, error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())),
            }
        } else {
            match by_program(program, target, lines) {
                Ok(Exit::Code(0)) => continue,
                Ok(exit) => (2, i32::from(exit.shell_code())),
                Err(errno) => (1, errno.raw_os_error()),
            }
        };
        let code = code.to_le_bytes();
        return [what, n as u8, code[0], code[1], code[2], code[3]];
    }
    [0; 6]
}

fn by_program(program: &str, target: i32, lines: &[IdMapping]) -> Result<Exit, Errno> {
    let mut words = vec![program.to_owned(), target.to_string()];
    words.extend(lines.iter().flat_map(|m| [m.container_id, m.host_id, m.size]).map(|id| id.to_string()));
    match process::fork()? {
        Fork::Parent(pid) => process::wait_child(pid),
        Fork::Child => {
            command::execvp(&words);
            process::exit(NOT_RUN)
        }
    }
}
