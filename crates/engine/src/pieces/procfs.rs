//! Bounded reads of `/proc`. Processes may vanish at any moment: what is gone reads as nothing.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest `status`, `uid_map` or `cgroup` file that is read, in bytes: the kernel's own are below a few KiB, but a
/// process may list 65536 groups.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// At most the first `most` bytes of a file; `None` if it can't be read.
pub fn read(path: impl AsRef<Path>, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A file of process `pid` as text.
pub fn text(pid: i32, name: &str) -> Option<String> {
    let bytes = read(format!("/proc/{pid}/{name}"), FILE_BYTES_MAX)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Number of the namespace behind `/proc/PID/ns/FILE`; `pid` may be `self`.
pub fn namespace(pid: &str, file: &str) -> std::io::Result<u64> {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/{file}"))?;
    parse_namespace(&link.to_string_lossy()).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn parse_namespace(link: &str) -> Option<u64> {
    link.rsplit_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// What `/proc/PID/status` says. Source: proc_pid_status(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Name of the command, with the kernel's escapes for line feed and backslash.
    pub name: String,
    /// Letter of the state: `R`, `S`, `Z`, …
    pub state: char,
    /// The parent.
    pub parent: i32,
    /// Effective user id.
    pub uid: u32,
    /// Its process id in each pid namespace, from the one of this `/proc` inwards.
    pub pids: Vec<i32>,
    /// Blocked signals, bit 0 for signal 1.
    pub blocked: u64,
}

/// Parses a `status` file; `None` if a field that every living process has is missing. The name stands in the first
/// line and holds no line feed, so that a hostile one can't pass for another field.
pub fn parse_status(text: &str) -> Option<Status> {
    let (first, rest) = text.split_once('\n')?;
    let mut status = Status { name: first.strip_prefix("Name:\t")?.to_owned(), ..Status::default() };
    let mut found = 0;
    for line in rest.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let mut words = value.split_ascii_whitespace();
        match key {
            "State" => status.state = words.next()?.chars().next()?,
            "PPid" => status.parent = words.next()?.parse().ok()?,
            "Uid" => status.uid = words.nth(1)?.parse().ok()?,
            "NSpid" => status.pids = words.map(|word| word.parse().ok()).collect::<Option<_>>()?,
            "SigBlk" => status.blocked = u64::from_str_radix(words.next()?, 16).ok()?,
            _ => continue,
        }
        found += 1;
    }
    (found == 5 && !status.pids.is_empty()).then_some(status)
}

/// The parsed `status` of process `pid`.
pub fn status(pid: i32) -> Option<Status> {
    parse_status(&text(pid, "status")?)
}

/// Every process that this `/proc` shows.
pub fn processes() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tsleep\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t42\nPid:\t42\nPPid:\t41\n\
                          Uid:\t1000\t1001\t1002\t1003\nGroups:\t \nNSpid:\t42\t7\t1\nSigBlk:\t0000000000004002\n";

    #[test]
    fn status_is_parsed() {
        let status = parse_status(STATUS).expect("complete");
        assert_eq!((status.name.as_str(), status.state, status.parent, status.uid), ("sleep", 'S', 41, 1001));
        assert_eq!(status.pids, [42, 7, 1]);
        assert_eq!(status.blocked, 0x4002);
        let own = super::status(std::process::id() as i32).expect("own");
        assert_eq!(own.pids.first(), Some(&(std::process::id() as i32)));
    }

    #[test]
    fn hostile_and_cut_ones_are_no_surprise() {
        // As the kernel shows a command called "x\nPPid:\t1".
        let hostile = STATUS.replace("Name:\tsleep", "Name:\tx\\nPPid:\t1\\nNSpid:\t9");
        let status = parse_status(&hostile).expect("complete");
        assert_eq!((status.name.as_str(), status.parent), ("x\\nPPid:\t1\\nNSpid:\t9", 41));
        for cut in 0..STATUS.len() - 18 {
            assert_eq!(parse_status(&STATUS[..cut]), None, "{cut}");
        }
        assert_eq!(parse_status(&STATUS.replace("41", "x")), None);
    }

    #[test]
    fn namespace_links_are_parsed() {
        assert_eq!(parse_namespace("pid:[4026531836]"), Some(4_026_531_836));
        assert_eq!(parse_namespace("pid:[x]"), None);
        assert_eq!(parse_namespace(""), None);
    }
}
