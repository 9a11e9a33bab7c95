//! The columns of ps(1): their names, their titles, and how a process reads in them.

use super::process::Process;
use crate::cell::now_ns;
use crate::pieces::procfs;
use crate::users::{self, UserFiles};
use types::moment::rfc3339;
use types::oci::IdMapping;

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Process id.
    Pid,
    /// The parent's.
    Parent,
    /// The process group's.
    Group,
    /// The session's.
    Session,
    /// Effective user by name.
    User,
    /// Effective user by number.
    UserId,
    /// Real user by name.
    RealUser,
    /// Real user by number.
    RealUserId,
    /// Effective group by name.
    UserGroup,
    /// Effective group by number.
    UserGroupId,
    /// The command line.
    Command,
    /// The program's name.
    Name,
    /// Share of a processor over its life, in percent, with a decimal.
    Cpu,
    /// The same without, 99 at most.
    CpuWhole,
    /// Share of the machine's memory, in percent, with a decimal.
    Memory,
    /// Size of its address space in KiB.
    VirtualSize,
    /// Size of its address space in pages.
    VirtualPages,
    /// Memory in KiB.
    Resident,
    /// Terminal.
    Terminal,
    /// State with its additions.
    State,
    /// Letter of the state.
    StateLetter,
    /// Start, as short as its distance lets it be.
    Start,
    /// Start, to the second today.
    StartClock,
    /// Start in full.
    StartFull,
    /// Processor time, hours, minutes and seconds.
    Time,
    /// Processor time, minutes and seconds.
    TimeShort,
    /// Time since the start.
    Elapsed,
    /// Seconds since the start.
    ElapsedSeconds,
    /// Threads.
    Threads,
    /// Niceness.
    Nice,
    /// Priority.
    Priority,
    /// Processor.
    Processor,
}

/// What `-o` takes: names, title, column. Source: ps(1), STANDARD FORMAT SPECIFIERS; procps-ng 4.0.
pub const FORMATS: [(&[&str], &str, Column); 42] = [
    (&["pid", "tgid"], "PID", Column::Pid),
    (&["ppid"], "PPID", Column::Parent),
    (&["pgid", "pgrp"], "PGID", Column::Group),
    (&["sid"], "SID", Column::Session),
    (&["sess", "session"], "SESS", Column::Session),
    (&["user", "uname"], "USER", Column::User),
    (&["euser"], "EUSER", Column::User),
    (&["uid"], "UID", Column::UserId),
    (&["euid"], "EUID", Column::UserId),
    (&["ruser"], "RUSER", Column::RealUser),
    (&["ruid"], "RUID", Column::RealUserId),
    (&["group"], "GROUP", Column::UserGroup),
    (&["egroup"], "EGROUP", Column::UserGroup),
    (&["gid"], "GID", Column::UserGroupId),
    (&["egid"], "EGID", Column::UserGroupId),
    (&["args", "command"], "COMMAND", Column::Command),
    (&["cmd"], "CMD", Column::Command),
    (&["comm", "ucomm"], "COMMAND", Column::Name),
    (&["ucmd"], "CMD", Column::Name),
    (&["pcpu", "%cpu"], "%CPU", Column::Cpu),
    (&["c"], "C", Column::CpuWhole),
    (&["pmem", "%mem"], "%MEM", Column::Memory),
    (&["vsz", "vsize"], "VSZ", Column::VirtualSize),
    (&["sz"], "SZ", Column::VirtualPages),
    (&["rss", "rssize"], "RSS", Column::Resident),
    (&["rsz"], "RSZ", Column::Resident),
    (&["tty", "tt"], "TT", Column::Terminal),
    (&["tname"], "TTY", Column::Terminal),
    (&["stat"], "STAT", Column::State),
    (&["s", "state"], "S", Column::StateLetter),
    (&["start_time", "bsdstart"], "START", Column::Start),
    (&["stime"], "STIME", Column::Start),
    (&["start"], "STARTED", Column::StartClock),
    (&["lstart"], "STARTED", Column::StartFull),
    (&["time", "cputime"], "TIME", Column::Time),
    (&["bsdtime"], "TIME", Column::TimeShort),
    (&["etime"], "ELAPSED", Column::Elapsed),
    (&["etimes"], "ELAPSED", Column::ElapsedSeconds),
    (&["nlwp", "thcount"], "NLWP", Column::Threads),
    (&["ni", "nice"], "NI", Column::Nice),
    (&["pri"], "PRI", Column::Priority),
    (&["psr"], "PSR", Column::Processor),
];

/// Ticks a second of what `/proc` counts in: USER_HZ, which is 100 on all machines that berth runs on.
const TICKS: u64 = 100;
const PAGE_BYTES: u64 = 4096;
/// The kernel's priority of one that is neither nice nor urgent, as ps counts from it.
const PRIORITY_BASE: i64 = 39;

/// What the machine and the container say of processes.
#[derive(Debug)]
pub struct Context {
    mappings: Vec<IdMapping>,
    files: UserFiles,
    now_ns: i64,
    /// Ticks since the machine's start.
    now_ticks: u64,
    memory_bytes: u64,
}

impl Context {
    /// Of a container with these ids, none for the host's, and these names.
    pub fn new(mappings: Vec<IdMapping>, files: UserFiles) -> Context {
        let memory = rustix::system::sysinfo();
        let uptime = procfs::read("/proc/uptime", 64).unwrap_or_default();
        let uptime = String::from_utf8_lossy(&uptime);
        let seconds: f64 = uptime.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        Context {
            mappings,
            files,
            now_ns: now_ns(),
            now_ticks: (seconds * TICKS as f64) as u64,
            memory_bytes: u64::from(memory.mem_unit.max(1)).saturating_mul(memory.totalram as u64).max(1),
        }
    }

    /// A process in a column.
    pub fn cell(&self, column: Column, process: &Process) -> String {
        let [real, effective] = process.uids.map(|id| self.own_id(id));
        let group = self.own_id(process.gids[1]);
        let resident_bytes = process.resident_pages * PAGE_BYTES;
        match column {
            Column::Pid => process.pid.to_string(),
            Column::Parent => process.parent.to_string(),
            Column::Group => process.group.to_string(),
            Column::Session => process.session.to_string(),
            Column::User => self.user(effective),
            Column::UserId => effective.to_string(),
            Column::RealUser => self.user(real),
            Column::RealUserId => real.to_string(),
            Column::UserGroup => {
                users::name_of(&self.files.group, group).unwrap_or_else(|| group.to_string())
            }
            Column::UserGroupId => group.to_string(),
            Column::Command if process.command.is_empty() => format!("[{}]", process.name),
            Column::Command => process.command.clone(),
            Column::Name => process.name.clone(),
            Column::Cpu => tenths(self.cpu_permille(process)),
            Column::CpuWhole => (self.cpu_permille(process) / 10).min(99).to_string(),
            Column::Memory => tenths(resident_bytes.saturating_mul(1000) / self.memory_bytes),
            Column::VirtualSize => (process.virtual_bytes / 1024).to_string(),
            Column::VirtualPages => (process.virtual_bytes / PAGE_BYTES).to_string(),
            Column::Resident => (resident_bytes / 1024).to_string(),
            Column::Terminal => terminal(process.tty),
            Column::State => state(process),
            Column::StateLetter => process.state.to_string(),
            Column::Start | Column::StartClock | Column::StartFull => self.start(column, process),
            Column::Time => clock(process.cpu_ticks / TICKS),
            Column::TimeShort => {
                let seconds = process.cpu_ticks / TICKS;
                format!("{}:{:02}", seconds / 60, seconds % 60)
            }
            Column::Elapsed => {
                let text = clock(self.elapsed_ticks(process) / TICKS);
                // Without hours where there are none.
                text.strip_prefix("00:").map(str::to_owned).unwrap_or(text)
            }
            Column::ElapsedSeconds => (self.elapsed_ticks(process) / TICKS).to_string(),
            Column::Threads => process.threads.to_string(),
            Column::Nice => process.nice.to_string(),
            Column::Priority => (PRIORITY_BASE - process.priority).to_string(),
            Column::Processor => process.processor.to_string(),
        }
    }

    /// The id in the container of one on the host; one from outside stays what it is.
    fn own_id(&self, id: u32) -> u32 {
        let within = |line: &&IdMapping| id >= line.host_id && id - line.host_id < line.size;
        self.mappings.iter().find(within).map_or(id, |line| line.container_id + (id - line.host_id))
    }

    fn user(&self, uid: u32) -> String {
        users::name_of(&self.files.passwd, uid).unwrap_or_else(|| uid.to_string())
    }

    fn elapsed_ticks(&self, process: &Process) -> u64 {
        self.now_ticks.saturating_sub(process.start_ticks)
    }

    /// Thousandths of a processor over its life, which is at least a second.
    fn cpu_permille(&self, process: &Process) -> u64 {
        let seconds = self.elapsed_ticks(process) / TICKS;
        match seconds {
            0 => 0,
            seconds => process.cpu_ticks * 1000 / TICKS / seconds,
        }
    }

    fn start(&self, column: Column, process: &Process) -> String {
        const DAY_NS: i64 = 86_400_000_000_000;
        let since = i64::try_from(self.elapsed_ticks(process)).unwrap_or(i64::MAX);
        let start_ns = self.now_ns.saturating_sub(since.saturating_mul(1_000_000_000 / TICKS as i64));
        let (start, now) = (rfc3339(start_ns), rfc3339(self.now_ns));
        let month = || month(&start[5..7]);
        match column {
            Column::StartFull => {
                let days = start_ns.div_euclid(DAY_NS);
                // 1970 began on a Thursday.
                let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days.rem_euclid(7) as usize];
                let day = start[8..10].trim_start_matches('0');
                format!("{weekday} {} {day:>2} {} {}", month(), &start[11..19], &start[..4])
            }
            Column::StartClock if self.now_ns - start_ns < DAY_NS => start[11..19].to_owned(),
            Column::StartClock => format!("{} {}", month(), &start[8..10]),
            _ if start[..10] == now[..10] => start[11..16].to_owned(),
            _ if start[..4] == now[..4] => format!("{}{}", month(), &start[8..10]),
            _ => start[..4].to_owned(),
        }
    }
}

fn month(number: &str) -> &'static str {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    number.parse().ok().and_then(|number: usize| NAMES.get(number.wrapping_sub(1))).copied().unwrap_or("?")
}

fn tenths(permille: u64) -> String {
    format!("{}.{}", permille / 10, permille % 10)
}

/// `[DD-]HH:MM:SS`.
fn clock(seconds: u64) -> String {
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match seconds / 86_400 {
        0 => text,
        days => format!("{days:02}-{text}"),
    }
}

/// Source: proc_pid_stat(5), tty_nr; devices.txt of the kernel.
fn terminal(number: u32) -> String {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    match major {
        0 => "?".to_owned(),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        _ => "?".to_owned(),
    }
}

/// Source: ps(1), PROCESS STATE CODES.
fn state(process: &Process) -> String {
    let additions = [
        (process.nice < 0, '<'),
        (process.nice > 0, 'N'),
        (process.locked, 'L'),
        (process.session == process.pid, 's'),
        (process.threads > 1, 'l'),
        (process.foreground == process.group, '+'),
    ];
    std::iter::once(process.state).chain(additions.iter().filter(|(is, _)| *is).map(|(_, c)| *c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_625_974_000_000_000;

    fn context() -> Context {
        Context {
            mappings: vec![IdMapping { container_id: 0, host_id: 1_000_000, size: 65_536 }],
            files: UserFiles {
                passwd: b"root:x:0:0::/:\nweb:x:33:33::/:\n".to_vec(),
                group: b"root:x:0:\n".to_vec(),
            },
            now_ns: NOW,
            now_ticks: 10_000_000_000,
            memory_bytes: 1 << 30,
        }
    }

    fn process(seconds: u64, cpu_ticks: u64) -> Process {
        Process {
            pid: 42,
            session: 42,
            group: 42,
            state: 'S',
            threads: 1,
            cpu_ticks,
            start_ticks: 10_000_000_000 - seconds * TICKS,
            uids: [1_000_033, 1_000_000],
            gids: [1_000_000, 1_000_007],
            resident_pages: 2622,
            priority: 20,
            name: "sh".to_owned(),
            ..Process::default()
        }
    }

    #[test]
    fn cells_read_as_in_ps() {
        let context = context();
        let cell = |column, process: &Process| context.cell(column, process);
        let young = process(3, 290);
        for (column, text) in [
            (Column::User, "root"),
            (Column::RealUser, "web"),
            (Column::RealUserId, "33"),
            (Column::UserGroup, "7"),
            (Column::Command, "[sh]"),
            (Column::Cpu, "96.6"),
            (Column::CpuWhole, "96"),
            (Column::Memory, "1.0"),
            (Column::Resident, "10488"),
            (Column::State, "Ss"),
            (Column::Time, "00:00:02"),
            (Column::TimeShort, "0:02"),
            (Column::Elapsed, "00:03"),
            (Column::Start, "16:59"),
            (Column::StartClock, "16:59:31"),
            (Column::StartFull, "Wed Nov 25 16:59:31 2026"),
            (Column::Priority, "19"),
        ] {
            assert_eq!(cell(column, &young), text, "{column:?}");
        }
        let old = process(3 * 86_400 + 61, 9_000_000);
        for (column, text) in [
            (Column::Elapsed, "03-00:01:01"),
            (Column::Start, "Nov22"),
            (Column::StartClock, "Nov 22"),
            (Column::Time, "01-01:00:00"),
            (Column::TimeShort, "1500:00"),
        ] {
            assert_eq!(cell(column, &old), text, "{column:?}");
        }
        assert_eq!(cell(Column::Start, &process(400 * 86_400, 0)), "2025");
        assert_eq!(cell(Column::Cpu, &process(0, 5)), "0.0");
    }

    #[test]
    fn terminals_have_names() {
        for (number, name) in
            [(0, "?"), (34816, "pts/0"), (34817 + 1, "pts/2"), (1025, "tty1"), (1088, "ttyS0")]
        {
            assert_eq!(terminal(number), name);
        }
    }
}
