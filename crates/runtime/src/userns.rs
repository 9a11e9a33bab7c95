//! User namespaces: id maps, and namespaces that exist only for the sake of their map.

use crate::Error;
use linux::process::{self, Cloned};
use std::os::fd::OwnedFd;
use types::oci::IdMapping;

/// The lines of an `uid_map` file. Source: user_namespaces(7).
pub fn map_lines(mappings: &[IdMapping]) -> String {
    mappings.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect()
}

/// The outside id of inside id `id`; `None` if it isn't mapped.
pub fn to_host(mappings: &[IdMapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|m| {
        let offset = id.checked_sub(m.container_id)?;
        (offset < m.size).then(|| m.host_id.checked_add(offset))?
    })
}

/// The inside id of outside id `id`; `None` if it isn't mapped.
pub fn to_container(mappings: &[IdMapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|m| {
        let offset = id.checked_sub(m.host_id)?;
        (offset < m.size).then(|| m.container_id.checked_add(offset))?
    })
}

/// Parses the content of an `uid_map` file.
pub fn parse_map(text: &str) -> Option<Vec<IdMapping>> {
    text.lines()
        .map(|line| {
            let mut words = line.split_ascii_whitespace().map(|w| w.parse().ok());
            let line =
                IdMapping { container_id: words.next()??, host_id: words.next()??, size: words.next()?? };
            words.next().is_none().then_some(line)
        })
        .collect()
}

/// Checks an id map as the kernel will: non-empty ranges that don't overlap, at most 340 of them.
/// Source: user_namespaces(7).
pub fn check(field: &str, mappings: &[IdMapping]) -> Result<(), Error> {
    const LINES_MAX: usize = 340;
    if mappings.len() > LINES_MAX {
        return Err(Error::field(field, format!("{} lines, the kernel takes {LINES_MAX}", mappings.len())));
    }
    for (n, m) in mappings.iter().enumerate() {
        let overflows = m.size == 0
            || m.container_id.checked_add(m.size - 1).is_none()
            || m.host_id.checked_add(m.size - 1).is_none();
        if overflows {
            return Err(Error::field(
                format!("{field}[{n}]"),
                "size must be at least 1, and ids end at 4294967295",
            ));
        }
        for (before, other) in mappings[..n].iter().enumerate() {
            let meet =
                |a: u32, b: u32| a <= b.saturating_add(other.size - 1) && b <= a.saturating_add(m.size - 1);
            if meet(m.container_id, other.container_id) || meet(m.host_id, other.host_id) {
                return Err(Error::field(
                    format!("{field}[{n}]"),
                    format!("overlaps with {field}[{before}]"),
                ));
            }
        }
    }
    Ok(())
}

/// Writes the maps of the new user namespace that process `pid` is in.
pub fn write_maps(pid: i32, uid_lines: &str, gid_lines: &str) -> Result<(), Error> {
    for (file, lines) in [("uid_map", uid_lines), ("gid_map", gid_lines)] {
        let path = format!("/proc/{pid}/{file}");
        std::fs::write(&path, lines).map_err(|error| {
            let errno = linux::Errno::from_io_error(&error).unwrap_or(linux::Errno::IO);
            Error::step(
                "map the container's user ids",
                "write",
                format!("{path} {:?}", lines.trim_end()),
                errno,
            )
        })?;
    }
    Ok(())
}

/// A user namespace with the given maps and no process, for the id maps of mounts.
pub fn for_mount(uid: &[IdMapping], gid: &[IdMapping]) -> Result<OwnedFd, Error> {
    let failed =
        |call: &'static str, errno| Error::step("make a mount's id map", call, "user namespace", errno);
    let (stay, leave) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed("pipe2", e))?;
    match process::clone3(process::ns::USER, None).map_err(|e| failed("clone3", e))? {
        Cloned::Child => {
            drop(leave);
            let _ = rustix::io::read(&stay, &mut [0u8; 1]);
            process::exit(0)
        }
        Cloned::Parent(pid, _pidfd) => {
            let made = write_maps(pid, &map_lines(uid), &map_lines(gid)).and_then(|()| open_of(pid));
            drop(leave);
            let _ = process::wait_child(pid);
            made
        }
    }
}

/// The user namespace that process `pid` is in.
pub fn open_of(pid: i32) -> Result<OwnedFd, Error> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let path = format!("/proc/{pid}/ns/user");
    openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::step("find the container's user namespace", "open", &path, errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn ids_translate_both_ways() {
        let maps = [map(0, 1000, 10), map(100, 5, 1)];
        assert_eq!(to_host(&maps, 9), Some(1009));
        assert_eq!(to_host(&maps, 10), None);
        assert_eq!(to_container(&maps, 5), Some(100));
        assert_eq!(parse_map(" 0 1000 10\n100 5 1\n").unwrap(), maps);
        assert_eq!(parse_map("0 1000\n"), None);
        assert_eq!(parse_map("0 1 2 3\n"), None);
    }

    #[test]
    fn overlaps_and_overflows_are_refused() {
        assert!(check("f", &[map(0, 0, 10), map(10, 10, 1)]).is_ok());
        for bad in [
            vec![map(0, 0, 0)],
            vec![map(u32::MAX, 0, 2)],
            vec![map(0, 0, 10), map(9, 100, 1)],
            vec![map(0, 0, 10), map(20, 9, 1)],
        ] {
            assert!(check("f", &bad).is_err(), "{bad:?}");
        }
    }
}
