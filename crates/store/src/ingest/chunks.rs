//! An archive on its way from the thread that inflates it to the one that unpacks it: a few buffers that go round.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Size of a buffer: small enough to stay in the processor's cache.
const CHUNK_BYTES: usize = 256 << 10;

/// Buffers under way at once.
const CHUNKS_MAX: usize = 4;

struct Chunk {
    buffer: Box<[u8]>,
    filled: usize,
}

/// What goes over the channel; it ends with `End`, or its writer has failed.
enum Piece {
    Chunk(Chunk),
    End,
}

/// The end that is written to.
pub(super) struct Writer {
    pieces: SyncSender<Piece>,
    empty: Receiver<Box<[u8]>>,
    made: usize,
}

/// The end that is read from.
pub(super) struct Reader {
    pieces: Receiver<Piece>,
    empty: Sender<Box<[u8]>>,
    current: Option<Chunk>,
    at: usize,
    ended: bool,
}

/// The reader has gone: it has failed, and says why itself.
#[derive(Debug)]
pub(super) struct Gone;

pub(super) fn pair() -> (Writer, Reader) {
    let (pieces, received) = sync_channel(CHUNKS_MAX);
    let (back, empty) = channel();
    let writer = Writer { pieces, empty, made: 0 };
    (writer, Reader { pieces: received, empty: back, current: None, at: 0, ended: false })
}

impl Writer {
    /// A buffer to be filled and sent.
    pub fn buffer(&mut self) -> Result<Box<[u8]>, Gone> {
        if let Ok(buffer) = self.empty.try_recv() {
            return Ok(buffer);
        }
        if self.made < CHUNKS_MAX {
            self.made += 1;
            return Ok(vec![0; CHUNK_BYTES].into_boxed_slice());
        }
        self.empty.recv().map_err(|_| Gone)
    }

    pub fn send(&mut self, buffer: Box<[u8]>, filled: usize) -> Result<(), Gone> {
        self.pieces.send(Piece::Chunk(Chunk { buffer, filled })).map_err(|_| Gone)
    }

    /// Says that this was all. Without it the reader fails.
    pub fn finish(self) -> Result<(), Gone> {
        self.pieces.send(Piece::End).map_err(|_| Gone)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let used_up = self.current.as_ref().is_none_or(|chunk| self.at == chunk.filled);
        if used_up && !self.ended {
            if let Some(chunk) = self.current.take() {
                // Nobody waits for it once the writer has finished.
                let _ = self.empty.send(chunk.buffer);
            }
            self.at = 0;
            match self.pieces.recv() {
                Ok(Piece::Chunk(chunk)) => self.current = Some(chunk),
                Ok(Piece::End) => self.ended = true,
                // It says why itself.
                Err(_) => return Err(io::Error::other("the input failed")),
            }
        }
        Ok(self.current.as_ref().map(|chunk| &chunk.buffer[self.at..chunk.filled]).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_in_order() {
        let (mut writer, mut reader) = pair();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..100u8 {
                    let mut buffer = writer.buffer().unwrap();
                    buffer[..3].fill(number);
                    writer.send(buffer, 3).unwrap();
                }
                writer.finish().unwrap();
            });
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            let expected: Vec<u8> = (0..100).flat_map(|number| [number; 3]).collect();
            assert_eq!(read, expected);
        });
    }

    #[test]
    fn a_writer_that_fails_ends_the_reader_in_error() {
        let (mut writer, mut reader) = pair();
        let buffer = writer.buffer().unwrap();
        writer.send(buffer, 5).unwrap();
        drop(writer);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_reader_that_leaves_ends_the_writer() {
        let (mut writer, reader) = pair();
        drop(reader);
        let buffer = writer.buffer().unwrap();
        assert!(writer.send(buffer, 5).is_err());
    }
}
