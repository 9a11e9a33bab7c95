//! `mode=non-blocking`: the keeper writes what a container says to a journal in memory, and another process, its writer,
//! writes it from there to the disk. If that lags by more than `max-buffer-size`, the keeper drops what comes, in whole lines,
//! counts it, and goes on: neither it nor the container ever waits for the disk.
//!
//! ```text
//! keeper ──frames──▶ <run>/containers/<id>/log/<n> ──▶ writer ──▶ local's frames, or docker's lines
//!    │  a byte: there is more; hang-up: write what there is, and end         │
//!    └──◀── <run>/containers/<id>/written: how far that is ─────────────────┘
//! ```
//!
//! Whoever writes holds the lock on `written`: a writer whose keeper was killed ends when it has written what there is, and
//! the next one waits for that. One that was killed is followed by another with the next output, and at the container's end the
//! keeper writes the rest itself.

use super::export::Export;
use super::json_file::JsonFile;
use super::plan::{Driver, Plan, attributes};
use super::{Cursor, Recorder, compress, dir, journal_dir, json, json_path, number};
use crate::cell::Cell;
use crate::{Config, Error, Home};
use linux::fault::{self, Role};
use linux::process::{self, Exit, Fork};
use linux::{Errno, socket};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use std::os::fd::{AsRawFd, OwnedFd};

/// The file of how far a writer has got.
const WRITTEN: &str = "written";

/// Bytes read from the journal at once.
const BATCH_BYTES: usize = 64 << 10;

/// Numbers in that file, and where the last one is, which is the keeper's to write.
const NUMBERS: usize = 7;
const ENDED_AT: u64 = (NUMBERS as u64 - 1) * 8;

/// What it says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Written {
    /// Bytes of each stream.
    bytes: [u64; 2],
    /// Times of the last gaps that were written.
    told: [u64; 2],
    /// Number of the journal's first file that is still needed.
    file: u64,
    /// Whether writing has begun since the journal did.
    begun: bool,
    /// Whether the container has ended.
    ended: bool,
}

impl Written {
    fn encode(&self) -> [u8; NUMBERS * 8] {
        let Written { bytes, told, file, begun, ended } = *self;
        let numbers = [bytes[0], bytes[1], told[0], told[1], file, begun.into(), ended.into()];
        let mut text = [0; NUMBERS * 8];
        for (place, number) in text.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        text
    }

    fn decode(text: &[u8; NUMBERS * 8]) -> Written {
        let at = |n: usize| number(&text[n * 8..n * 8 + 8]);
        Written {
            bytes: [at(0), at(1)],
            told: [at(2), at(3)],
            file: at(4),
            begun: at(5) != 0,
            ended: at(6) != 0,
        }
    }
}

/// The file, in memory: it's never waited for.
#[derive(Debug)]
struct Notes(OwnedFd);

impl Notes {
    fn open(home: &Home, config: &Config) -> Result<Notes, Error> {
        let path = Cell::of(home, &config.id).path.join(WRITTEN);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        openat(CWD, &path, flags, Mode::from_raw_mode(0o600))
            .map(Notes)
            .map_err(|errno| Error::system("open", path.display(), errno))
    }

    fn read(&self) -> Written {
        let mut text = [0; NUMBERS * 8];
        match rustix::io::pread(&self.0, &mut text[..], 0) {
            Ok(read) if read == text.len() => Written::decode(&text),
            _ => Written::default(),
        }
    }

    fn write(&self, written: &Written) {
        let _ = rustix::io::pwrite(&self.0, &written.encode()[..ENDED_AT as usize], 0);
    }

    fn write_ended(&self, ended: bool) {
        let _ = rustix::io::pwrite(&self.0, &u64::from(ended).to_le_bytes(), ENDED_AT);
    }

    fn lock(&self) {
        while flock(&self.0, FlockOperation::LockExclusive) == Err(Errno::INTR) {}
    }
}

/// The keeper's side.
#[derive(Debug)]
pub struct Behind {
    home: Home,
    config: Box<Config>,
    buffer_bytes: u64,
    notes: Notes,
    writer: Option<(i32, OwnedFd)>,
}

impl Behind {
    /// Begins to write behind a journal that holds so many bytes of each stream, and is `fresh` or goes on.
    pub fn start(
        home: &Home,
        config: &Config,
        buffer_bytes: u64,
        totals: [u64; 2],
        fresh: bool,
    ) -> Result<Behind, Error> {
        let notes = Notes::open(home, config)?;
        if fresh {
            notes.write(&Written { bytes: totals, ..Written::default() });
        }
        notes.write_ended(false);
        let config = Box::new(config.clone());
        let mut behind = Behind { home: home.clone(), config, buffer_bytes, notes, writer: None };
        behind.spawn();
        Ok(behind)
    }

    fn spawn(&mut self) {
        let Ok((ours, theirs)) = socket::pair() else { return };
        match process::fork() {
            Ok(Fork::Child) => {
                process::set_name(c"berth-log");
                process::close_others(&[theirs.as_raw_fd()]);
                fault::play(Role::LogWriter);
                write_behind(&self.home, &self.config, Some(&theirs));
                process::exit(0)
            }
            Ok(Fork::Parent(pid)) => {
                let _ = rustix::io::ioctl_fionbio(&ours, true);
                self.writer = Some((pid, ours));
            }
            Err(_) => {}
        }
    }

    /// How many more bytes the journal may take, where it has so many of each stream. One that waits for nothing takes
    /// any number, as docker's does.
    pub fn room(&self, totals: [u64; 2]) -> u64 {
        let written = self.notes.read().bytes;
        let waiting: u64 = [0, 1].map(|n: usize| totals[n].saturating_sub(written[n])).iter().sum();
        if waiting == 0 { u64::MAX } else { self.buffer_bytes.saturating_sub(waiting) }
    }

    /// Number of the journal's first file that is still needed.
    pub fn first_file(&self) -> u64 {
        self.notes.read().file
    }

    /// Says that there is more.
    pub fn wake(&mut self) {
        let is_gone = match &self.writer {
            // One that lags has been told so often that it will look again.
            Some((_, socket)) => !matches!(socket::send(socket, b".", &[]), Ok(()) | Err(Errno::AGAIN)),
            None => true,
        };
        if is_gone {
            if let Some((pid, _)) = self.writer.take() {
                let _ = process::wait_child(pid);
            }
            self.spawn();
        }
    }

    /// The container has ended: waits until all is written.
    pub fn finish(mut self) {
        self.notes.write_ended(true);
        let done = self.writer.take().map(|(pid, socket)| {
            drop(socket);
            process::wait_child(pid)
        });
        if !matches!(done, Some(Ok(Exit::Code(0)))) {
            write_behind(&self.home, &self.config, None);
        }
    }
}

/// Writes what a journal holds whose keeper and writer are gone, with its end.
pub fn settle(home: &Home, config: &Config) {
    if let Ok(notes) = Notes::open(home, config) {
        notes.write_ended(true);
        write_behind(home, config, None);
    }
}

/// Writes what there is, and what comes as long as the keeper is there.
fn write_behind(home: &Home, config: &Config, keeper: Option<&OwnedFd>) {
    let Ok(notes) = Notes::open(home, config) else { return };
    notes.lock();
    let mut written = notes.read();
    let Ok(mut disk) = Disk::open(home, config, &written) else { return };
    written.begun = true;
    notes.write(&written);
    loop {
        disk.write(&mut written);
        notes.write(&written);
        fault::point("written behind");
        if !keeper.is_some_and(is_there) {
            break;
        }
    }
    let has_ended = notes.read().ended;
    if has_ended && let Disk::Frames { journal, .. } = &mut disk {
        journal.settle();
    }
    // What came between the last look and the hang-up.
    disk.write(&mut written);
    notes.write(&written);
    if has_ended {
        disk.finish();
        if Plan::of_container(config).compress {
            drop(compress::lock(&dir(&home.state_dir(&config.id))));
        }
    }
}

/// Waits for a word from the keeper; whether there was one.
fn is_there(keeper: &OwnedFd) -> bool {
    let mut word = [0; 8];
    if !matches!(socket::recv(keeper, &mut word), Ok((1.., _))) {
        return false;
    }
    // All that it has said by now means the same.
    while matches!(rustix::io::ioctl_fionread(keeper), Ok(1..)) {
        if !matches!(socket::recv(keeper, &mut word), Ok((1.., _))) {
            return false;
        }
    }
    true
}

/// What a journal is written to.
enum Disk {
    Lines {
        export: Box<Export>,
        /// The journal's file in which the line of each stream begins that has no end yet.
        begin: [Option<u64>; 2],
    },
    Frames {
        journal: Box<Cursor>,
        recorder: Box<Recorder>,
        buffer: Vec<u8>,
    },
}

impl Disk {
    fn open(home: &Home, config: &Config, written: &Written) -> Result<Disk, Error> {
        let plan = Plan::of_container(config);
        let journal = Cursor::new(journal_dir(&Cell::of(home, &config.id)));
        if plan.driver == Driver::JsonFile {
            let state = dir(&home.state_dir(&config.id));
            let json = JsonFile::open(json_path(home, &config.id), state, &plan, !written.begun);
            let attributes = json::attributes(&attributes::of_container(config));
            return Ok(Disk::Lines {
                export: Box::new(Export::new(journal, json, attributes)),
                begin: [None; 2],
            });
        }
        let recorder = Recorder::of_frames(dir(&home.state_dir(&config.id)), &plan)?;
        Ok(Disk::Frames {
            journal: Box::new(journal.told(written.told)),
            recorder: Box::new(recorder),
            buffer: vec![0; BATCH_BYTES],
        })
    }

    /// Writes what the journal has by now.
    fn write(&mut self, written: &mut Written) {
        match self {
            Disk::Lines { export, begin } => {
                let file = export.file();
                let _ = export.run();
                let open = export.open_lines();
                for (begin, (_, _, text)) in begin.iter_mut().zip(open) {
                    *begin = if text.is_empty() { None } else { Some(begin.unwrap_or(file)) };
                }
                written.bytes = open.map(|(taken, _, _)| taken);
                written.file = begin.iter().flatten().copied().fold(export.file(), u64::min);
            }
            Disk::Frames { journal, recorder, buffer } => {
                while let Ok(next) = journal.next_piece() {
                    while let Some((stream, gap)) = journal.take_gap() {
                        recorder.take_gap(stream, gap);
                    }
                    let Some((header, there)) = next else { break };
                    let index = header.stream.index();
                    let at = header.offset + u64::from(header.length) - u64::from(journal.left());
                    let had = recorder.totals()[index].saturating_sub(at).min(there.into()) as u32;
                    if had > 0 {
                        journal.skip(had);
                        continue;
                    }
                    let length = buffer.len().min(there as usize);
                    let Ok(read @ 1..) = journal.read(&mut buffer[..length]) else { break };
                    recorder.take_earlier(&buffer[..read], header.stream, header.time_ns);
                }
                written.bytes = recorder.totals();
                written.told = journal.gaps_told();
                written.file = journal.number();
            }
        }
    }

    /// Nothing comes any more.
    fn finish(&mut self) {
        match self {
            Disk::Lines { export, .. } => export.finish(),
            Disk::Frames { recorder, .. } => recorder.finish(),
        }
    }
}
