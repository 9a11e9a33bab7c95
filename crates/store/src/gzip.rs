//! gzip by several threads: always the same bytes, however many there are.
//!
//! ```text
//! read a block ──▶ deflate it, the end of the block before as dictionary (worker threads) ──▶ write in order
//! ```
//!
//! What comes out is one member of RFC 1952, each block of it ended at a byte's border (RFC 1951 3.2.4).

use flate2::{Compress, Compression, Crc, FlushCompress};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// What is compressed at once.
const BLOCK_BYTES: usize = 256 << 10;

/// How far back deflate looks.
const WINDOW_BYTES: usize = 32 << 10;

/// The fastest: twice as fast as level 3, for a fifth more bytes. Who wants few has zstd.
const LEVEL: u32 = 1;

/// Blocks under way for each thread: one in work, one ready, one done.
const BLOCKS_PER_THREAD: usize = 3;

/// Most threads: further ones wait for the one that reads.
const THREADS_MAX: usize = 8;

/// No name, no time, system unknown. Source: RFC 1952 2.3.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The last block of a stream, empty. Source: RFC 1951 3.2.3, fixed codes.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

struct Job {
    block: Vec<u8>,
    dictionary: Vec<u8>,
    done: SyncSender<io::Result<Done>>,
}

struct Done {
    compressed: Vec<u8>,
    crc: Crc,
}

/// Compresses all of `input` in a thread for each processor beside the caller's, which reads and writes.
pub fn compress(input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    compress_by(input, output, threads.min(THREADS_MAX))
}

fn compress_by(input: &mut dyn Read, output: &mut dyn Write, threads: usize) -> io::Result<()> {
    let most = threads * BLOCKS_PER_THREAD;
    let (jobs, queue) = sync_channel::<Job>(most);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&queue));
        }
        // Dropped at its end, with which the workers end.
        let jobs = jobs;
        let mut under_way: VecDeque<Receiver<io::Result<Done>>> = VecDeque::new();
        let mut crc = Crc::new();
        let mut dictionary = Vec::new();
        output.write_all(&HEADER)?;
        loop {
            let block = read_block(input)?;
            let is_last = block.len() < BLOCK_BYTES;
            if !block.is_empty() {
                let tail = block[block.len().saturating_sub(WINDOW_BYTES)..].to_vec();
                let (done, receiver) = sync_channel(1);
                let job = Job { block, dictionary: std::mem::replace(&mut dictionary, tail), done };
                jobs.send(job).map_err(|_| io::Error::other("the threads that compress are gone"))?;
                under_way.push_back(receiver);
            }
            while under_way.len() > if is_last { 0 } else { most - 1 } {
                let Some(receiver) = under_way.pop_front() else { break };
                let done = receiver.recv().map_err(io::Error::other)??;
                output.write_all(&done.compressed)?;
                crc.combine(&done.crc);
            }
            if is_last {
                break;
            }
        }
        output.write_all(&LAST_BLOCK)?;
        output.write_all(&crc.sum().to_le_bytes())?;
        // The length modulo 2^32, as the format has it.
        output.write_all(&crc.amount().to_le_bytes())
    })
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, dictionary, done }) = job else { return };
        let mut crc = Crc::new();
        crc.update(&block);
        let result = deflate_block(&block, &dictionary);
        // Who waits for it may have failed.
        let _ = done.send(result.map(|compressed| Done { compressed, crc }));
    }
}

fn deflate_block(block: &[u8], dictionary: &[u8]) -> io::Result<Vec<u8>> {
    // A new one for each: zlib-rs's, reset, gives bytes that depend on what it had before.
    let mut deflate = Compress::new(Compression::new(LEVEL), false);
    if !dictionary.is_empty() {
        deflate.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    let mut compressed = Vec::with_capacity(block.len() + (block.len() >> 8) + 64);
    loop {
        let read = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX).min(block.len());
        deflate
            .compress_vec(&block[read..], &mut compressed, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        // Room that is left tells that nothing waits for some.
        if compressed.len() < compressed.capacity() {
            return Ok(compressed);
        }
        compressed.reserve(4096);
    }
}

fn read_block(input: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    input.take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(plain: &[u8]) {
        let packed = |threads| {
            let mut packed = Vec::new();
            compress_by(&mut &plain[..], &mut packed, threads).unwrap();
            packed
        };
        let one = packed(1);
        assert!(one == packed(7), "the number of threads changes nothing");
        let mut unpacked = Vec::new();
        // One member, and nothing after it.
        let mut decoder = flate2::bufread::GzDecoder::new(&one[..]);
        decoder.read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain, "{} bytes came back as {}", plain.len(), unpacked.len());
        assert!(decoder.into_inner().is_empty());
    }

    #[test]
    fn what_is_packed_comes_out() {
        let mut state = 1u64;
        let noise: Vec<u8> = (0..3 * BLOCK_BYTES)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            })
            .collect();
        let text: Vec<u8> = b"the same again ".iter().copied().cycle().take(9 * BLOCK_BYTES + 5).collect();
        for plain in [&noise[..], &text] {
            for length in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, plain.len()] {
                check(&plain[..length]);
            }
        }
    }

    #[test]
    fn a_block_looks_back_into_the_one_before() {
        let noise: Vec<u8> =
            (0..20_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let mut plain = vec![0; BLOCK_BYTES - 20_000];
        plain.extend(&noise[..20_000]);
        plain.extend(&noise[..20_000]);
        let mut packed = Vec::new();
        compress_by(&mut &plain[..], &mut packed, 2).unwrap();
        assert!(packed.len() < 30_000, "{}", packed.len());
    }

    #[test]
    fn an_input_that_fails_ends_it() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("rotten"))?;
                Ok(buffer.len())
            }
        }
        let error = compress_by(&mut Failing(5), &mut io::sink(), 3).unwrap_err();
        assert_eq!(error.to_string(), "rotten");
    }
}
