//! Files that are written to no more, compressed by a process of its own, as docker does.
//!
//! It holds an exclusive lock on a file beside them, so that nobody renames them meanwhile, whoever was killed. Killed
//! itself, it leaves the plain file, which counts.

use linux::Errno;
use linux::process::{self, Fork};
use rustix::fs::{CWD, FlockOperation, MemfdFlags, Mode, OFlags, flock, memfd_create, openat, unlinkat};
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What the name of a compressed file ends with.
pub const SUFFIX: &str = ".gz";

/// Most bytes that a compressed file is taken to hold.
const PLAIN_BYTES_MAX: u64 = 4 << 30;

/// The name of `path`'s compressed file.
pub fn name_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// Waits until nothing is being compressed; as long as the lock is held, nothing will be.
pub fn lock(dir: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let lock = openat(CWD, dir.join("compressing"), flags, Mode::from_raw_mode(0o600)).ok()?;
    while let Err(errno) = flock(&lock, FlockOperation::LockExclusive) {
        if errno != Errno::INTR {
            return None;
        }
    }
    Some(lock)
}

/// Compresses `path`, which nobody writes to, by a process that stays behind; `dir` has the lock. Without one, or a
/// process, it stays as it is.
pub fn start(path: PathBuf, dir: &Path) {
    let Some(lock) = lock(dir) else { return };
    let Ok(Fork::Child) = process::fork().inspect(|fork| {
        if let Fork::Parent(pid) = fork {
            let _ = process::wait_child(*pid);
        }
    }) else {
        return;
    };
    // Another one, whom somebody else waits for.
    if let Ok(Fork::Child) = process::fork() {
        process::close_others(&[lock.as_raw_fd()]);
        process::set_name(c"berth-compress");
        let _ = rustix::process::nice(10);
        let _ = compress(&path);
    }
    process::exit(0)
}

/// The same at once.
pub fn compress(path: &Path) -> std::io::Result<()> {
    let mut plain = File::open(path)?;
    let new = path.with_added_extension("gz.tmp");
    let done = File::create(&new).and_then(|file| {
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        std::io::copy(&mut plain, &mut encoder)?;
        encoder.finish()?.flush()
    });
    if let Err(error) = done {
        let _ = unlinkat(CWD, &new, rustix::fs::AtFlags::empty());
        return Err(error);
    }
    rustix::fs::renameat(CWD, &new, CWD, name_of(path))?;
    unlinkat(CWD, path, rustix::fs::AtFlags::empty())?;
    Ok(())
}

/// What a compressed file holds, in memory that goes when it's closed.
pub fn open(dir: Option<&OwnedFd>, path: &Path) -> Result<OwnedFd, Errno> {
    let packed = super::open_at(dir, &name_of(path), OFlags::RDONLY)?;
    let plain = memfd_create(c"log", MemfdFlags::CLOEXEC)?;
    let mut decoder = flate2::bufread::MultiGzDecoder::new(BufReader::new(File::from(packed)));
    let mut file = File::from(plain);
    let mut limited = std::io::Read::take(&mut decoder, PLAIN_BYTES_MAX);
    // Of a file that is damaged, what comes before the damage.
    let _ = std::io::copy(&mut limited, &mut file);
    Ok(file.into())
}
