//! What the keeper hands a container's output to: it goes to the frames, and from there into docker's lines if those were
//! asked for. What can't be written is dropped in whole lines, and counted.

use super::export::Export;
use super::json_file::JsonFile;
use super::loss::Loss;
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
    losses: [Loss; 2],
    /// Where files may be being compressed.
    compressing: Option<PathBuf>,
}

impl Plan {
    /// Whether the frames are but a journal.
    pub fn is_journalled(&self) -> bool {
        self.driver != Driver::Local
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
            false => Limits {
                file_bytes: self.file_bytes.unwrap_or(u64::MAX),
                files: self.files,
                files_held: None,
                compress: self.compress,
                index_bytes: Some(index::EVERY_BYTES),
            },
        }
    }
}

/// Bytes of each stream that the frames of a container have.
pub fn totals(home: &Home, config: &Config) -> Result<[u64; 2], Error> {
    let plan = Plan::of_container(config);
    Writer::open(frames_dir(home, &config.id, &plan), plan.limits()).map(|writer| writer.totals())
}

/// After the end of a container whose keeper was killed: writes what the journal has and docker's lines lack.
pub fn settle(home: &Home, config: &Config) {
    let plan = Plan::of_container(config);
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
        let mut recorder = Recorder {
            writer: Writer::open(frames.clone(), plan.limits())?,
            journalled: plan.is_journalled(),
            export: None,
            losses: Default::default(),
            compressing: plan.compress.then(|| state.clone()),
        };
        if plan.driver == Driver::JsonFile {
            let json = JsonFile::open(json_path(home, &config.id), state, &plan, fresh);
            let attributes = json::attributes(&attributes::of_container(config));
            recorder.export = Some(Export::new(Cursor::new(frames), json, attributes));
            recorder.export();
        }
        Ok(recorder)
    }

    /// Bytes of each stream that the frames have.
    pub fn totals(&self) -> [u64; 2] {
        self.writer.totals()
    }

    /// Number of the frames' first file that somebody still needs.
    pub fn keep_from(&mut self, number: Option<u64>) {
        self.writer.keep_from(number);
    }

    /// Removes what is more than should be kept, but for files from `number` on.
    pub fn trim(&mut self, number: Option<u64>) {
        self.writer.keep_from(number);
        self.writer.remove_old();
    }

    /// Takes `length` bytes that are ready in `pipe`.
    pub fn take(&mut self, pipe: BorrowedFd<'_>, stream: Stream, length: usize) {
        let mut left = length;
        while left > 0 {
            self.make_room();
            let taken = match self.losses[stream.index()].is_torn() || !self.note_loss(stream) {
                true => self.take_slowly(pipe, stream, left),
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
        self.append(bytes, stream);
        self.export();
    }

    /// Takes bytes of which some, or all, are to be dropped; how many.
    fn take_slowly(&mut self, pipe: BorrowedFd<'_>, stream: Stream, length: usize) -> usize {
        let mut buffer = vec![0; length.min(DROP_BYTES)];
        let read = rustix::io::read(pipe, &mut buffer[..]).unwrap_or(0);
        self.append(&buffer[..read], stream);
        read
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
        if let Some(dir) = &self.compressing {
            drop(compress::lock(dir));
        }
    }
}
