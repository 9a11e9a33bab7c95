//! The log of a container piece by piece, in whichever form it's kept.

use crate::find::Container;
use crate::log::index::{Backwards, Spot};
use crate::log::json_reader::JsonReader;
use crate::log::{self, Cursor, Driver, Gap, Stream};
use crate::{Error, Home};
use std::collections::BTreeMap;
use std::path::PathBuf;
use types::kind::Kind;

/// Bytes read from the log at once.
pub const READ_BYTES: usize = 64 << 10;

/// Some bytes that a container wrote to one stream.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Which stream.
    pub stream: Stream,
    /// When, in nanoseconds since the epoch.
    pub time_ns: u64,
    /// Place of the bytes in their stream.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// What log options added.
    pub attributes: Option<&'a BTreeMap<String, String>>,
    /// What is missing here, instead of bytes.
    pub gap: Option<Gap>,
}

/// The log, piece by piece.
#[derive(Debug)]
pub struct Pieces {
    source: Source,
    /// End of what was read of each stream.
    ends: [u64; 2],
}

#[derive(Debug)]
enum Source {
    Frames { dir: PathBuf, cursor: Box<Cursor>, buffer: Vec<u8> },
    Json { reader: Box<JsonReader>, record: Option<log::json::Record> },
}

/// Where a log is, and how much of it is wanted.
#[derive(Debug, Clone)]
pub struct Place {
    driver: Driver,
    frames: PathBuf,
    json: PathBuf,
    state: PathBuf,
}

impl Place {
    /// Of a container.
    ///
    /// Errors: docker's for one whose log isn't kept.
    pub fn of(home: &Home, container: &Container) -> Result<Place, Error> {
        let config = &container.config;
        let driver = log::Plan::of_container(config).driver;
        if driver == Driver::None {
            return Err(Error::Reported {
                message: "configured logging driver does not support reading".to_owned(),
                hint: Some(format!(
                    "{} keeps no log (--log-driver none); `berth attach` shows what it writes from now on",
                    config.name
                )),
                kind: Kind::Conflict,
            });
        }
        Ok(Place {
            driver,
            frames: log::kept_of(home, config),
            json: log::json_path(home, &config.id),
            state: log::dir(&home.state_dir(&config.id)),
        })
    }

    /// Frames in a directory, for tests.
    #[cfg(test)]
    pub fn of_frames(frames: PathBuf) -> Place {
        Place { driver: Driver::Local, frames, json: PathBuf::new(), state: PathBuf::new() }
    }

    /// Places in the frames from their end backwards.
    pub fn backwards(&self) -> Backwards {
        Backwards::new(self.frames.clone())
    }

    /// Whether the last lines are found from the end.
    pub fn has_quick_tail(&self) -> bool {
        self.driver == Driver::JsonFile
    }
}

impl Pieces {
    /// All there is; `tail` lines from the end where those are found quickly.
    pub fn new(place: &Place, tail: Option<u64>) -> Result<Pieces, Error> {
        let source = match (place.driver, tail) {
            (Driver::JsonFile, Some(lines)) => Source::Json {
                reader: Box::new(JsonReader::of_tail(place.json.clone(), place.state.clone(), lines)?),
                record: None,
            },
            (Driver::JsonFile, None) => Source::Json {
                reader: Box::new(JsonReader::new(place.json.clone(), place.state.clone())),
                record: None,
            },
            _ => return Ok(Pieces::from_spot(place, None)),
        };
        Ok(Pieces { source, ends: [0; 2] })
    }

    /// Frames from that place on, or all.
    pub fn from_spot(place: &Place, spot: Option<&Spot>) -> Pieces {
        let dir = place.frames.clone();
        let cursor = match spot {
            Some(spot) => Cursor::at_spot(dir.clone(), spot),
            None => Cursor::new(dir.clone()),
        };
        let source =
            Source::Frames { dir, cursor: Box::new(cursor.held().buffered()), buffer: vec![0; READ_BYTES] };
        Pieces { source, ends: spot.map_or([0; 2], |spot| spot.totals) }
    }

    /// Nothing is written any more, or nobody waits for it.
    pub fn settle(&mut self) {
        if let Source::Frames { cursor, .. } = &mut self.source {
            cursor.settle();
        }
    }

    /// The next piece; `None` at the log's end, for now.
    pub fn next(&mut self) -> Result<Option<Piece<'_>>, Error> {
        match &mut self.source {
            Source::Json { reader, record } => {
                *record = reader.next_record()?;
                let Some(record) = record else { return Ok(None) };
                let end = &mut self.ends[record.stream.index()];
                let offset = *end;
                *end += record.text.len() as u64;
                Ok(Some(Piece {
                    stream: record.stream,
                    time_ns: record.time_ns,
                    offset,
                    bytes: &record.text,
                    attributes: Some(&record.attributes),
                    gap: None,
                }))
            }
            Source::Frames { dir, cursor, buffer } => {
                let next = cursor.next_piece()?;
                if let Some((stream, gap)) = cursor.take_gap() {
                    let time_ns = cursor.gaps_told()[stream.index()];
                    let offset = self.ends[stream.index()];
                    let bytes = &[][..];
                    return Ok(Some(Piece {
                        stream,
                        time_ns,
                        offset,
                        bytes,
                        attributes: None,
                        gap: Some(gap),
                    }));
                }
                let Some((header, there)) = next else { return Ok(None) };
                let length = buffer.len().min(there as usize);
                let read = cursor
                    .read(&mut buffer[..length])
                    .map_err(|errno| Error::system("read", dir.display(), errno))?;
                if read == 0 {
                    return Ok(None);
                }
                let end = &mut self.ends[header.stream.index()];
                // Of a frame that is read in parts, the header is that of the first.
                let offset = header.offset.max(*end);
                *end = offset + read as u64;
                Ok(Some(Piece {
                    stream: header.stream,
                    time_ns: header.time_ns,
                    offset,
                    bytes: &buffer[..read],
                    attributes: None,
                    gap: None,
                }))
            }
        }
    }
}
