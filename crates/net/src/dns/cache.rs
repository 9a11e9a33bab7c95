//! What upstream resolvers have said, for as long as they said. Whole replies, each for its very question, so that nothing
//! said in passing is believed.

use super::message::{Lifetime, MESSAGE_BYTES_MAX, Query, readdress};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Longest reply that is kept.
const REPLY_BYTES_MAX: usize = 4096;
/// Most bytes of all of them, with what it takes to find them.
const CACHE_BYTES_MAX: usize = 128 << 10;
/// Rough bytes of an entry besides what it holds.
const ENTRY_BYTES: usize = 160;
/// Longest time that anything is kept.
const KEEP_MAX: Duration = Duration::from_secs(3600);

const _: () = assert!(REPLY_BYTES_MAX <= MESSAGE_BYTES_MAX);

#[derive(Debug)]
struct Entry {
    reply: Box<[u8]>,
    lifetime: Lifetime,
    since: Instant,
    until: Instant,
    used: u64,
}

/// Replies by question.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Vec<u8>, Entry>,
    bytes: usize,
    clock: u64,
}

fn size(key: &[u8], entry: &Entry) -> usize {
    ENTRY_BYTES + key.len() + entry.reply.len() + 2 * entry.lifetime.ttls_at.len()
}

impl Cache {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Cache::default();
    }

    /// Writes what is known as the answer to `query` over `out`; false if nothing is.
    pub(super) fn answer(&mut self, out: &mut Vec<u8>, query: &Query<'_>, now: Instant) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let Some(entry) = query.key().and_then(|key| self.entries.get_mut(&key)) else { return false };
        if now >= entry.until {
            return false;
        }
        self.clock += 1;
        entry.used = self.clock;
        out.clear();
        out.extend(&entry.reply);
        // At most an hour.
        entry.lifetime.count_down(out, now.duration_since(entry.since).as_secs() as u32);
        readdress(out, query);
        true
    }

    /// Keeps a reply to `query`, if that's allowed.
    pub(super) fn keep(&mut self, query: &Query<'_>, reply: &[u8], now: Instant) {
        if reply.len() > REPLY_BYTES_MAX {
            return;
        }
        let (Some(key), Some(lifetime)) = (query.key(), Lifetime::of(reply)) else { return };
        let keep = Duration::from_secs(lifetime.seconds.into()).min(KEEP_MAX);
        self.clock += 1;
        let entry = Entry { reply: reply.into(), lifetime, since: now, until: now + keep, used: self.clock };
        let bytes = size(&key, &entry);
        if let Some(old) = self.entries.get(&key) {
            self.bytes -= size(&key, old);
        }
        self.bytes += bytes;
        self.entries.insert(key, entry);
        if self.bytes > CACHE_BYTES_MAX {
            self.evict(now);
        }
    }

    /// Makes room: what is over goes, then what hasn't been asked for the longest time, until a quarter is free.
    fn evict(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.until > now);
        let mut ages: Vec<(u64, usize)> =
            self.entries.iter().map(|(key, entry)| (entry.used, size(key, entry))).collect();
        ages.sort_unstable();
        self.bytes = ages.iter().map(|(_, bytes)| bytes).sum();
        let mut oldest = 0;
        for (used, bytes) in ages {
            if self.bytes <= CACHE_BYTES_MAX * 3 / 4 {
                break;
            }
            self.bytes -= bytes;
            oldest = used;
        }
        self.entries.retain(|_, entry| entry.used > oldest);
    }
    /// What it takes up.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let sum: usize = self.entries.iter().map(|(key, entry)| size(key, entry)).sum();
        assert_eq!(sum, self.bytes);
        sum
    }
}
