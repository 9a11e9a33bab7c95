//! Digests of files that were read before.
//!
//! One file for each tree, sorted by keys, which are spread evenly. It's replaced as a whole: of two processes that scan the
//! same tree at once, what the later one has read stays. It is never synced: its end says whether it is whole, and one
//! that isn't is as good as none.

use super::Sum;
use rustix::fs::{Stat, StatFs};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// The identity of a file's content: equal ones are the same bytes and attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; KEY_BYTES]);

const KEY_BYTES: usize = 16;

impl Key {
    /// Of a file on `device`, or on the one that the kernel names.
    pub fn of(stat: &Stat, device: Option<u64>) -> Key {
        let mut hasher = Sha256::new();
        hasher.update(b"seen");
        hasher.update(device.unwrap_or(stat.st_dev).to_le_bytes());
        for number in [stat.st_ino, stat.st_size as u64, stat.st_mtime as u64, stat.st_ctime as u64] {
            hasher.update(number.to_le_bytes());
        }
        for nanoseconds in [stat.st_mtime_nsec, stat.st_ctime_nsec] {
            hasher.update(nanoseconds.to_le_bytes());
        }
        let sum: Sum = hasher.finalize().into();
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&sum[..KEY_BYTES]);
        Key(key)
    }
}

const MAGIC: &[u8; 16] = b"berth seen 1\0\0\0\0";
const RECORD_BYTES: usize = KEY_BYTES + 32;

/// Records kept that the last scans of the tree had no use for, at least.
const UNUSED_MIN: usize = 16_384;

/// What is remembered of one tree's files.
#[derive(Debug, Default)]
pub struct Seen {
    /// Sorted records as they are in the file.
    records: Vec<u8>,
    /// Read since.
    fresh: BTreeMap<Key, Sum>,
    /// How often something was found.
    hits: usize,
    path: Option<PathBuf>,
}

impl Seen {
    /// Remembers nothing.
    pub fn nothing() -> Seen {
        Seen::default()
    }

    /// What the file at `path` has; nothing if there is none, or it is damaged.
    pub fn load(path: &Path) -> Seen {
        let records = std::fs::read(path).ok().and_then(checked).unwrap_or_default();
        Seen { records, path: Some(path.to_owned()), ..Seen::default() }
    }

    /// The digest that goes with `key`.
    pub fn get(&mut self, key: &Key) -> Option<Sum> {
        let found = self.find(key).or_else(|| self.fresh.get(key).copied());
        self.hits += usize::from(found.is_some());
        found
    }

    /// Remembers a digest.
    pub fn put(&mut self, key: Key, sum: Sum) {
        self.fresh.insert(key, sum);
    }

    fn key_at(&self, index: usize) -> &[u8] {
        &self.records[index * RECORD_BYTES..][..KEY_BYTES]
    }

    /// Keys are spread evenly, so that where one is can be guessed well.
    fn find(&self, key: &Key) -> Option<Sum> {
        let (mut low, mut high) = (0, self.records.len() / RECORD_BYTES);
        let wanted = u64::from_be_bytes(key.0[..8].try_into().ok()?);
        let first = ((u128::from(wanted) * high as u128) >> 64) as usize;
        // A window around the guess: its error grows with the root of the number of records.
        let reach = (high as f64).sqrt() as usize + 8;
        let (from, to) = (first.saturating_sub(reach), (first + reach).min(high));
        if from < to && self.key_at(from) <= &key.0[..] && self.key_at(to - 1) >= &key.0[..] {
            (low, high) = (from, to);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key_at(middle).cmp(&key.0[..]) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    return self.records[middle * RECORD_BYTES + KEY_BYTES..][..32].try_into().ok();
                }
            }
        }
        None
    }

    /// Writes down what was read since, if anything was. That it fails costs time at the next build and nothing else.
    pub fn save(&mut self) -> std::io::Result<()> {
        let Some(path) = self.path.clone().filter(|_| !self.fresh.is_empty()) else { return Ok(()) };
        // Files change, and their old records are of no use any more.
        let old = self.records.len() / RECORD_BYTES;
        let keeps_old = old <= UNUSED_MIN.max(2 * (self.hits + self.fresh.len()));
        let old: &[u8] = if keeps_old { &self.records } else { &[] };
        let bytes = merged(old, &self.fresh);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let dir = std::fs::File::open(parent)?;
        linux::durable::place(dir.into(), name, &bytes, 0o600)?;
        self.records = bytes[MAGIC.len()..bytes.len() - 32].to_vec();
        self.fresh.clear();
        Ok(())
    }
}

/// Both, sorted, as a file.
fn merged(old: &[u8], fresh: &BTreeMap<Key, Sum>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + old.len() + fresh.len() * RECORD_BYTES + 32);
    bytes.extend_from_slice(MAGIC);
    let mut old = old.chunks_exact(RECORD_BYTES).peekable();
    for (key, sum) in fresh {
        while let Some(record) = old.next_if(|record| record[..KEY_BYTES] < key.0[..]) {
            bytes.extend_from_slice(record);
        }
        old.next_if(|record| record[..KEY_BYTES] == key.0[..]);
        bytes.extend_from_slice(&key.0);
        bytes.extend_from_slice(sum);
    }
    old.for_each(|record| bytes.extend_from_slice(record));
    let end: Sum = Sha256::digest(&bytes).into();
    bytes.extend_from_slice(&end);
    bytes
}

/// The records of a whole file.
fn checked(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.len().checked_sub(32)?;
    let sum: Sum = Sha256::digest(&bytes[..end]).into();
    if !bytes.starts_with(MAGIC) || bytes[end..] != sum || !(end - MAGIC.len()).is_multiple_of(RECORD_BYTES) {
        return None;
    }
    bytes.truncate(end);
    bytes.drain(..MAGIC.len());
    Some(bytes)
}

/// Nanoseconds in which a file may change twice and have the same time of change: some ticks of the kernel's clock.
const TICK_NS: i128 = 50_000_000;
/// The same where times are whole seconds.
const SECOND_NS: i128 = 2_000_000_000;

/// Whether a file that was read at `now_ns` may have been changed since without showing it.
pub fn is_racy(stat: &Stat, now_ns: i128) -> bool {
    let ns = |seconds: i64, nanoseconds: i128| i128::from(seconds) * 1_000_000_000 + nanoseconds;
    let window = if stat.st_ctime_nsec == 0 { SECOND_NS } else { TICK_NS };
    let changed =
        ns(stat.st_ctime, stat.st_ctime_nsec.into()).max(ns(stat.st_mtime, stat.st_mtime_nsec.into()));
    changed > now_ns - window
}

/// The time that files' times are compared with.
pub fn now_ns() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

/// Whether the times of change of the file system that `dir` lies in can be trusted: those that this kernel keeps itself.
pub fn is_trusted(dir: BorrowedFd<'_>) -> bool {
    // Source: linux/magic.h, and zfs's sys/zfs_vfsops.h.
    const EXT: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const TMPFS: u64 = 0x0102_1994;
    const OVERLAY: u64 = 0x794c_7630;
    const F2FS: u64 = 0xf2f5_2010;
    const BCACHEFS: u64 = 0xca45_1a4e;
    const ZFS: u64 = 0x2fc1_2fc1;
    let of = |stat: StatFs| (stat.f_type as u64) & 0xffff_ffff;
    let kind = rustix::fs::fstatfs(dir).map(of);
    kind.is_ok_and(|kind| [EXT, XFS, BTRFS, TMPFS, OVERLAY, F2FS, BCACHEFS, ZFS].contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: u64) -> Key {
        let sum: Sum = Sha256::digest(number.to_le_bytes()).into();
        Key(sum[..KEY_BYTES].try_into().unwrap())
    }

    #[test]
    fn what_was_put_is_found_by_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen");
        let mut seen = Seen::load(&path);
        (0..5000).for_each(|number| seen.put(key(number), [number as u8; 32]));
        seen.save().unwrap();
        let mut again = Seen::load(&path);
        for number in 0..5000 {
            assert_eq!(again.get(&key(number)), Some([number as u8; 32]), "{number}");
        }
        assert_eq!(again.get(&key(5001)), None);
        again.put(key(7), [99; 32]);
        again.put(key(5001), [98; 32]);
        again.save().unwrap();
        let mut third = Seen::load(&path);
        assert_eq!(third.get(&key(7)), Some([99; 32]));
        assert_eq!(third.get(&key(8)), Some([8; 32]));
        assert_eq!(third.get(&key(5001)), Some([98; 32]));
        assert_eq!(third.records.len(), 5001 * RECORD_BYTES);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen");
        let mut seen = Seen::load(&path);
        seen.put(key(1), [1; 32]);
        seen.save().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(Seen::load(&path).get(&key(1)), None, "{at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(Seen::load(&path).get(&key(1)), None, "{at}");
        }
    }

    #[test]
    fn old_records_go_when_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen");
        let mut seen = Seen::load(&path);
        (0..40_000).for_each(|number| seen.put(key(number), [1; 32]));
        seen.save().unwrap();
        let mut again = Seen::load(&path);
        again.put(key(50_000), [2; 32]);
        again.save().unwrap();
        assert_eq!(Seen::load(&path).records.len(), RECORD_BYTES);
    }

    proptest! {
        #[test]
        fn any_keys_are_found(keys in proptest::collection::btree_map(any::<[u8; 16]>(), any::<[u8; 32]>(), 0..60)) {
            let fresh: BTreeMap<Key, Sum> = keys.iter().map(|(key, sum)| (Key(*key), *sum)).collect();
            let mut seen = Seen { records: checked(merged(&[], &fresh)).unwrap(), ..Seen::default() };
            for (key, sum) in &keys {
                prop_assert_eq!(seen.get(&Key(*key)), Some(*sum));
            }
        }
    }
}
