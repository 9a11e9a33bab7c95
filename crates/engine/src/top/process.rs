//! What `/proc` says of one process.

use crate::pieces::procfs;

/// Longest command line that is shown, in bytes: as ps.
const COMMAND_BYTES_MAX: u64 = 128 << 10;

/// One process. Source: proc_pid_stat(5), proc_pid_status(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Its id on the host.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its process group's.
    pub group: i32,
    /// Its session's.
    pub session: i32,
    /// Number of its terminal; 0 for none.
    pub tty: u32,
    /// The process group in the terminal's foreground.
    pub foreground: i32,
    /// Letter of its state.
    pub state: char,
    /// Ticks of processor time, in the program and in the kernel.
    pub cpu_ticks: u64,
    /// The kernel's priority, 0 to 39 for ordinary ones.
    pub priority: i64,
    /// Niceness.
    pub nice: i64,
    /// Threads.
    pub threads: u64,
    /// Ticks from the machine's start to its own.
    pub start_ticks: u64,
    /// Bytes of its address space.
    pub virtual_bytes: u64,
    /// Pages in memory.
    pub resident_pages: u64,
    /// The processor that it ran on last.
    pub processor: u32,
    /// Real and effective user id on the host.
    pub uids: [u32; 2],
    /// Real and effective group id on the host.
    pub gids: [u32; 2],
    /// Whether pages of it are locked in memory.
    pub locked: bool,
    /// The program's name, as the kernel has it.
    pub name: String,
    /// The command line, with spaces between its words; empty where the process has none any more.
    pub command: String,
}

impl Process {
    /// Reads it; `None` if it's gone.
    pub fn read(pid: i32) -> Option<Process> {
        let mut process = parse_stat(&procfs::text(pid, "stat")?)?;
        parse_status(&procfs::text(pid, "status")?, &mut process);
        let line = procfs::read(format!("/proc/{pid}/cmdline"), COMMAND_BYTES_MAX).unwrap_or_default();
        let words = line.strip_suffix(b"\0").unwrap_or(&line);
        process.command = String::from_utf8_lossy(words).replace('\0', " ");
        Some(process)
    }
}

/// Everything but ids of users, which `stat` hasn't. The name may hold anything, spaces and parentheses too.
fn parse_stat(text: &str) -> Option<Process> {
    let (pid, rest) = text.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // As proc_pid_stat(5) numbers them, from 1; the state is the third.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |at: usize| field(at)?.parse::<u64>().ok();
    let signed = |at: usize| field(at)?.parse::<i64>().ok();
    let id = |at: usize| field(at)?.parse::<i32>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        state: field(3)?.chars().next()?,
        parent: id(4)?,
        group: id(5)?,
        session: id(6)?,
        tty: id(7)? as u32,
        foreground: id(8)?,
        cpu_ticks: number(14)? + number(15)?,
        priority: signed(18)?,
        nice: signed(19)?,
        threads: number(20)?,
        start_ticks: number(22)?,
        virtual_bytes: number(23)?,
        resident_pages: number(24)?,
        processor: field(39)?.parse().ok()?,
        ..Process::default()
    })
}

fn parse_status(text: &str, process: &mut Process) {
    // The name stands in the first line, and holds no line feed.
    for line in text.lines().skip(1) {
        let Some((key, value)) = line.split_once(':') else { continue };
        let mut numbers = value.split_ascii_whitespace().map_while(|word| word.parse().ok());
        let mut two = || [numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(u32::MAX)];
        match key {
            "Uid" => process.uids = two(),
            "Gid" => process.gids = two(),
            "VmLck" => process.locked = two()[0] > 0,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let rest = "S 41 42 40 34817 42 4194304 160 0 0 0 12 3 0 0 20 0 2 0 123456 2322432 379 18446744073709551615 1 1 0 \
                    0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";
        for name in ["sleep", "a) R 1 (b", "", "x y"] {
            let process = parse_stat(&format!("42 ({name}) {rest}\n")).expect("complete");
            assert_eq!((process.pid, process.name.as_str(), process.state), (42, name, 'S'));
            assert_eq!((process.parent, process.group, process.session), (41, 42, 40));
            assert_eq!((process.tty, process.foreground, process.cpu_ticks), (34817, 42, 15));
            assert_eq!((process.priority, process.nice, process.threads), (20, 0, 2));
            assert_eq!((process.start_ticks, process.virtual_bytes), (123_456, 2_322_432));
            assert_eq!((process.resident_pages, process.processor), (379, 1));
        }
        for cut in ["", "42", "42 (x", "42 (x) S 1", "x (y) S 1"] {
            assert_eq!(parse_stat(cut), None, "{cut}");
        }
        let own = Process::read(std::process::id() as i32).expect("own");
        assert!(own.threads > 0 && !own.command.is_empty());
    }

    #[test]
    fn users_are_read() {
        let mut process = Process::default();
        let status = "Name:\tUid: 5\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t6\t7\t8\nVmLck:\t       4 kB\n";
        parse_status(status, &mut process);
        assert_eq!((process.uids, process.gids, process.locked), ([1000, 1001], [5, 6], true));
    }
}
