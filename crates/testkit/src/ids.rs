//! Ids of the host's that belong to one test alone.

use rustix::fs::FlockOperation;
use std::fs::File;

/// First id of the first slot: above berth's default base, 0x70000000, and below 2^31.
const BASE: u32 = 0x7800_0000;

/// Containers for which a slot has ids.
pub(crate) const SLOT_CONTAINERS: u32 = 32;

/// Ids of a slot.
const SLOT_IDS: u32 = SLOT_CONTAINERS * 65_536;

/// Slots, one for each test that runs at a time.
const SLOTS: u32 = 64;

/// A range that no other test has while this lives.
#[derive(Debug)]
pub(crate) struct Slot {
    pub base: u32,
    pub count: u32,
    /// Its locks die with the process, and aren't inherited by execve.
    _locks: Vec<File>,
}

impl Slot {
    /// Takes so many slots as one that are free and beside each other.
    pub fn take(slots: u32) -> Slot {
        let dir = std::path::Path::new("/run/lock/testkit-ids");
        std::fs::create_dir_all(dir).expect("make /run/lock/testkit-ids: tests run as root");
        let lock = |slot: u32| {
            let path = dir.join(slot.to_string());
            let lock = File::create(&path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
            rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(lock)
        };
        for first in 0..=SLOTS - slots {
            if let Some(locks) = (first..first + slots).map(lock).collect() {
                return Slot { base: BASE + first * SLOT_IDS, count: slots * SLOT_IDS, _locks: locks };
            }
        }
        panic!("all {SLOTS} id slots are taken: more tests at a time than testkit provides for");
    }

    /// Whether `id` is one of these.
    pub fn holds(&self, id: u32) -> bool {
        (self.base..self.base + self.count).contains(&id)
    }
}
