//! What the keeper hands a container's output to: it goes to the frames, and from there into docker's lines if those were
//! asked for. What can't be written is dropped in whole lines, and counted.

use super::behind::{self, Behind};
use super::export::Export;
use super::json_file::JsonFile;
use super::loss::{Gap, Loss};
use super::plan::attributes;
use super::{
    Cursor, Driver, FRAME_BYTES_MAX, JOURNAL_FILE_BYTES, JOURNAL_FILES, JOURNAL_FILES_HELD, Limits, Plan,
    Stream, Writer, compress, dir, file_numbers, frames_dir, index, json, json_path,
};
use crate::{Config, Error, Home};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// Bytes read at once of what is dropped, or may be.
const DROP_BYTES: usize = 64 << 10;

/// A container's log, being written.
#[derive(Debug)]
pub struct Recorder {
    writer: Writer,
    journalled: bool,
    export: Option<Export>,
    /// Who writes it to the disk, where this one mustn't wait for that.
    behind: Option<Behind>,
    losses: [Loss; 2],
    /// Where files may be being compressed.
    compressing: Option<PathBuf>,
}

impl Plan {
    /// Whether the frames are but a journal.
    pub fn is_journalled(&self) -> bool {
        self.driver != Driver::Local || self.buffer_bytes.is_some()
    }

    /// How much is kept of the frames.
    pub fn limits(&self) -> Limits {
        match self.is_journalled() {
            true => Limits {
                file_bytes: JOURNAL_FILE_BYTES,
                files: JOURNAL_FILES,
                files_held: Some(JOURNAL_FILES_HELD),
                compress: false,
                index_bytes: None,
            },
            false => self.frame_limits(),
        }
    }

    /// How much is kept of those that stay.
    fn frame_limits(&self) -> Limits {
        Limits {
            file_bytes: self.file_bytes.unwrap_or(u64::MAX),
            files: self.files,
            files_held: None,
            compress: self.compress,
            index_bytes: Some(index::EVERY_BYTES),
        }
    }
}

/// Bytes of each stream that the frames of a container have.
pub fn totals(home: &Home, config: &Config) -> Result<[u64; 2], Error> {
    let plan = Plan::of_container(config);
    let journal = frames_dir(home, &config.id, &plan);
    // A journal that is yet to begin goes on where the frames end that stay.
    let is_to_begin = plan.is_written_behind() && plan.driver == Driver::Local;
    if is_to_begin && file_numbers(&journal).is_empty() {
        return Writer::open(dir(&home.state_dir(&config.id)), plan.frame_limits())
            .map(|writer| writer.totals());
    }
    Writer::open(journal, plan.limits()).map(|writer| writer.totals())
}

/// After the end of a container whose keeper was killed: writes what the journal has and docker's lines lack.
pub fn settle(home: &Home, config: &Config) {
    let plan = Plan::of_container(config);
    if plan.is_written_behind() {
        if frames_dir(home, &config.id, &plan).exists() {
            behind::settle(home, config);
        }
        return;
    }
    if plan.driver == Driver::JsonFile
        && frames_dir(home, &config.id, &plan).exists()
        && let Ok(mut recorder) = Recorder::open(home, config)
    {
        recorder.finish();
    }
}

impl Recorder {
    /// Goes on with a container's log, or begins it.
    pub fn open(home: &Home, config: &Config) -> Result<Recorder, Error> {
        let plan = Plan::of_container(config);
        let frames = frames_dir(home, &config.id, &plan);
        let state = dir(&home.state_dir(&config.id));
        let fresh = file_numbers(&frames).is_empty();
        let begin = if fresh && plan.is_written_behind() { Some(totals(home, config)?) } else { None };
        let mut recorder = Recorder {
            writer: Writer::open(frames.clone(), plan.limits())?,
            journalled: plan.is_journalled(),
            export: None,
            behind: None,
            losses: Default::default(),
            compressing: plan.compress.then(|| state.clone()),
        };
        if let Some(buffer_bytes) = plan.buffer_bytes {
            if let Some(totals) = begin {
                let _ = recorder.writer.begin_at(totals);
            }
            let behind = Behind::start(home, config, buffer_bytes, recorder.totals(), fresh)?;
            recorder.behind = Some(behind);
            recorder.compressing = None;
            return Ok(recorder);
        }
        if plan.driver == Driver::JsonFile {
            let json = JsonFile::open(json_path(home, &config.id), state, &plan, fresh);
            let attributes = json::attributes(&attributes::of_container(config));
            recorder.export = Some(Export::new(Cursor::new(frames), json, attributes));
            recorder.export();
        }
        Ok(recorder)
    }

    /// Frames in `dir` that stay, for who writes behind a keeper.
    pub(super) fn of_frames(dir: PathBuf, plan: &Plan) -> Result<Recorder, Error> {
        Ok(Recorder {
            writer: Writer::open(dir.clone(), plan.frame_limits())?,
            journalled: false,
            export: None,
            behind: None,
            losses: Default::default(),
            compressing: plan.compress.then_some(dir),
        })
    }

    /// Bytes of each stream that the frames have.
    pub fn totals(&self) -> [u64; 2] {
        self.writer.totals()
    }

    /// Number of the frames' first file that somebody still needs.
    pub fn keep_from(&mut self, number: Option<u64>) {
        let behind = self.behind.as_ref().map(Behind::first_file);
        self.writer.keep_from(number.into_iter().chain(behind).min());
    }

    /// Removes what is more than should be kept, but for files from `number` on.
    pub fn trim(&mut self, number: Option<u64>) {
        self.keep_from(number);
        self.writer.remove_old();
    }

    /// Takes `length` bytes that are ready in `pipe`.
    pub fn take(&mut self, pipe: BorrowedFd<'_>, stream: Stream, length: usize) {
        let mut left = length;
        while left > 0 {
            self.make_room();
            let room = self.room();
            let is_slow = room < left as u64 || self.losses[stream.index()].is_torn();
            let taken = match is_slow || !self.note_loss(stream) {
                true => self.take_slowly(pipe, stream, left, room),
                false => match self.writer.append_from(pipe, stream, left) {
                    Ok(taken) => {
                        self.losses[stream.index()].close();
                        taken
                    }
                    Err(not_kept) => {
                        self.close_if_kept(stream, not_kept.kept);
                        let errno = not_kept.errno.raw_os_error();
                        self.losses[stream.index()].count_part(not_kept.taken, not_kept.lines, errno);
                        self.drop_from(pipe, stream, left, errno);
                        0
                    }
                },
            };
            if taken == 0 {
                break;
            }
            left -= taken.min(left);
        }
        self.export();
    }

    /// Takes bytes.
    pub fn take_bytes(&mut self, bytes: &[u8], stream: Stream) {
        self.make_room();
        self.append_within(bytes, stream, self.room());
        self.export();
    }

    /// Takes bytes that came at an earlier time.
    pub(super) fn take_earlier(&mut self, bytes: &[u8], stream: Stream, time_ns: u64) {
        self.writer.set_time(Some(time_ns));
        self.append(bytes, stream);
        self.writer.set_time(None);
    }

    /// Puts on record what was dropped of a stream by somebody else.
    pub(super) fn take_gap(&mut self, stream: Stream, gap: Gap) {
        self.losses[stream.index()].add(gap);
        self.note_loss(stream);
    }

    /// Bytes that may be written now.
    fn room(&self) -> u64 {
        self.behind.as_ref().map_or(u64::MAX, |behind| behind.room(self.writer.totals()))
    }

    /// Takes bytes of which some, or all, are to be dropped; how many.
    fn take_slowly(&mut self, pipe: BorrowedFd<'_>, stream: Stream, length: usize, room: u64) -> usize {
        let mut buffer = vec![0; length.min(DROP_BYTES)];
        let read = rustix::io::read(pipe, &mut buffer[..]).unwrap_or(0);
        self.append_within(&buffer[..read], stream, room);
        read
    }

    /// Appends as many whole lines as there is room for, and drops the rest.
    fn append_within(&mut self, bytes: &[u8], stream: Stream, room: u64) {
        if room >= bytes.len() as u64 {
            return self.append(bytes, stream);
        }
        let mut end = bytes[..room as usize].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if end == 0 && self.losses[stream.index()].gap().is_none() {
            // A line may have begun that was kept: it's kept to its end.
            end = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        }
        let (kept, dropped) = bytes.split_at(end);
        self.append(kept, stream);
        self.losses[stream.index()].count(dropped, 0);
        self.note_loss(stream);
    }

    /// Appends bytes, but for the rest of a line whose beginning was dropped.
    fn append(&mut self, mut bytes: &[u8], stream: Stream) {
        let loss = &mut self.losses[stream.index()];
        if loss.is_torn() {
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            loss.count(&bytes[..end], 0);
            bytes = &bytes[end..];
        }
        if bytes.is_empty() {
            return;
        }
        let errno = match self.note_loss(stream) {
            true => match self.writer.append(bytes, stream) {
                Ok(()) => return self.losses[stream.index()].close(),
                Err((kept, errno)) => {
                    self.close_if_kept(stream, kept as u64);
                    bytes = &bytes[kept..];
                    errno.raw_os_error()
                }
            },
            false => 0,
        };
        self.losses[stream.index()].count(bytes, errno);
        self.note_loss(stream);
    }

    fn close_if_kept(&mut self, stream: Stream, kept: u64) {
        if kept > 0 {
            self.losses[stream.index()].close();
        }
    }

    /// Drops up to `length` bytes.
    fn drop_from(&mut self, pipe: BorrowedFd<'_>, stream: Stream, length: usize, errno: i32) {
        let ready = rustix::io::ioctl_fionread(pipe).unwrap_or(0) as usize;
        let mut left = ready.min(length).min(FRAME_BYTES_MAX);
        let mut buffer = vec![0; left.min(DROP_BYTES)];
        while left > 0 {
            let most = left.min(buffer.len());
            let Ok(read @ 1..) = rustix::io::read(pipe, &mut buffer[..most]) else { break };
            self.losses[stream.index()].count(&buffer[..read], errno);
            left -= read;
        }
        self.note_loss(stream);
    }

    /// Puts on record what was dropped of a stream; whether it is.
    fn note_loss(&mut self, stream: Stream) -> bool {
        let writer = std::cell::RefCell::new(&mut self.writer);
        self.losses[stream.index()].note(
            |gap| writer.borrow_mut().append_gap(stream, gap).ok(),
            |place, gap| writer.borrow().replace_gap(place, gap),
        )
    }

    /// Begins another file of the journal, if it's time.
    fn make_room(&mut self) {
        if self.journalled && self.writer.is_full() {
            let totals = self.writer.totals();
            let nothing = [(totals[0], 0, &[][..]), (totals[1], 0, &[][..])];
            let repeated = self.export.as_ref().map_or(nothing, Export::open_lines);
            let _ = self.writer.rotate(repeated);
        }
    }

    /// The frames stay the truth: what fails here is tried again with the next output.
    fn export(&mut self) {
        if let Some(export) = &mut self.export {
            let _ = export.run();
        }
        if let Some(behind) = &mut self.behind {
            behind.wake();
        }
    }

    /// The container has ended.
    pub fn finish(&mut self) {
        for stream in Stream::BOTH {
            self.losses[stream.index()].end();
            self.note_loss(stream);
        }
        if let Some(export) = &mut self.export {
            export.finish();
        }
        if let Some(behind) = self.behind.take() {
            behind.finish();
        }
        if let Some(dir) = &self.compressing {
            drop(compress::lock(dir));
        }
    }
}
