//! Ids of the host's that belong to one test alone.

use rustix::fs::FlockOperation;
use std::fs::File;

/// First id of the first slot: above berth's default base, 0x70000000, and below 2^31.
const BASE: u32 = 0x7800_0000;

/// Ids of a slot: enough for 32 containers.
const SLOT_IDS: u32 = 32 * 65_536;

/// Slots, one for each test that runs at a time.
const SLOTS: u32 = 64;

/// A range that no other test has while this lives.
#[derive(Debug)]
pub(crate) struct Slot {
    pub base: u32,
    pub count: u32,
    /// Its lock dies with the process, and isn't inherited by execve.
    _lock: File,
}

impl Slot {
    /// Takes a free slot.
    pub fn take() -> Slot {
        let dir = std::path::Path::new("/run/lock/testkit-ids");
        std::fs::create_dir_all(dir).expect("make /run/lock/testkit-ids: tests run as root");
        for slot in 0..SLOTS {
            let path = dir.join(slot.to_string());
            let lock = File::create(&path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Slot { base: BASE + slot * SLOT_IDS, count: SLOT_IDS, _lock: lock };
            }
        }
        panic!("all {SLOTS} id slots are taken: more tests at a time than testkit provides for");
    }

    /// Whether `id` is one of these.
    pub fn holds(&self, id: u32) -> bool {
        (self.base..self.base + self.count).contains(&id)
    }
}
