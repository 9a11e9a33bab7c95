//! The names of one network, to be found fast: sorted by what they hash to, in few allocations, a few dozen bytes a name.

use super::names::{Broken, Item, Kind, read_network};
use crate::subnet::Subnet;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// The names of a network, or those of a container alone.
#[derive(Debug, Default)]
pub struct Zone {
    network: Box<[u8]>,
    /// All names, in small letters.
    letters: Vec<u8>,
    /// Sorted by hash, then by name; each there once.
    entries: Vec<Entry>,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    /// Sorted by address; of several containers with the same, the first.
    reverse: Vec<(IpAddr, Letters)>,
    subnets: Vec<Subnet>,
}

/// Where a name lies within the letters.
#[derive(Debug, Clone, Copy)]
struct Letters {
    begin: u32,
    length: u8,
}

impl Letters {
    fn of(self, letters: &[u8]) -> &[u8] {
        &letters[self.begin as usize..self.begin as usize + usize::from(self.length)]
    }
}

/// FNV-1a. Names begin alike, and are cheaper to sort by this than by their letters. Who makes names that hash alike only makes
/// it as slow as sorting those.
fn hash(letters: &[u8]) -> u32 {
    letters.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[derive(Debug)]
struct Entry {
    hash: u32,
    name: Letters,
    v4: Range<u32>,
    v6: Range<u32>,
    turns: Turns,
}

/// How often a name's addresses were told: each time another one comes first. By name and kind, since programs ask for both
/// kinds, and for one name after another, in patterns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turns {
    v4: Cell<u32>,
    v6: Cell<u32>,
}

impl Turns {
    /// Counts IPv4 addresses that are told.
    pub fn next_v4(&self) -> u32 {
        self.v4.replace(self.v4.get().wrapping_add(1))
    }

    /// Counts IPv6 addresses that are told.
    pub fn next_v6(&self) -> u32 {
        self.v6.replace(self.v6.get().wrapping_add(1))
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its IPv4 addresses.
    pub v4: &'a [Ipv4Addr],
    /// Its IPv6 addresses.
    pub v6: &'a [Ipv6Addr],
    /// How often they were told.
    pub turns: &'a Turns,
}

impl Zone {
    /// Reads a network's file.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        let mut builder = Builder::default();
        // Memory that grows is fetched, copied and given back in steps, which took a fifth of the time.
        let lines = text.bytes().filter(|&byte| byte == b'\n').count();
        builder.zone.letters.reserve(text.len() / 2);
        builder.zone.entries.reserve(lines);
        builder.zone.v4.reserve(lines);
        read_network(text, |item| match item {
            Item::Network(name) => builder.zone.network = name.to_ascii_lowercase().into_bytes().into(),
            Item::Subnet(subnet) => builder.zone.subnets.push(subnet),
            Item::Name(kind, name, addresses) => builder.push(kind, name, addresses),
        })?;
        Ok(builder.finish())
    }

    /// Of names that belong to no network.
    pub fn of_hosts(hosts: &[(String, Vec<IpAddr>)]) -> Self {
        let mut builder = Builder::default();
        for (name, addresses) in hosts {
            builder.push(Kind::Alias, name, addresses);
        }
        builder.finish()
    }

    /// What a name in small letters stands for: as it is, or with the network's behind it.
    pub fn find(&self, name: &[u8]) -> Option<Found<'_>> {
        self.find_exactly(name).or_else(|| {
            let name = name.strip_suffix(&*self.network)?.strip_suffix(b".")?;
            self.find_exactly(name)
        })
    }

    fn find_exactly(&self, name: &[u8]) -> Option<Found<'_>> {
        let hash = hash(name);
        let order = |entry: &Entry| entry.hash.cmp(&hash).then_with(|| self.text(entry.name).cmp(name));
        let index = self.entries.binary_search_by(order).ok()?;
        let entry = &self.entries[index];
        let range = |range: &Range<u32>| range.start as usize..range.end as usize;
        Some(Found { v4: &self.v4[range(&entry.v4)], v6: &self.v6[range(&entry.v6)], turns: &entry.turns })
    }

    /// The container that has an address, and the network's name.
    pub fn name_of(&self, address: IpAddr) -> Option<(&[u8], &[u8])> {
        let index = self.reverse.binary_search_by_key(&address, |(address, _)| *address).ok()?;
        Some((self.text(self.reverse[index].1), &self.network))
    }

    /// Whether an address is one of the network's.
    pub fn has(&self, address: IpAddr) -> bool {
        self.subnets.iter().any(|subnet| subnet.contains(address))
    }

    fn text(&self, name: Letters) -> &[u8] {
        name.of(&self.letters)
    }
}

/// A zone of which the names are in order of the file still, and maybe there several times.
#[derive(Default)]
struct Builder {
    zone: Zone,
}

/// Leaves of the values from `begin` on each once.
fn unique<T: Ord>(values: &mut Vec<T>, begin: usize) {
    if values.len() - begin < 2 {
        return;
    }
    let mut tail = values.split_off(begin);
    tail.sort_unstable();
    tail.dedup();
    values.append(&mut tail);
}

impl Builder {
    /// `name` has passed [`super::names::is_name`], or is never asked for.
    fn push(&mut self, kind: Kind, name: &str, addresses: &[IpAddr]) {
        let zone = &mut self.zone;
        // A file is at most 4 MiB, so that all of these fit.
        let Ok(length) = u8::try_from(name.len()) else { return };
        let name_at = Letters { begin: zone.letters.len() as u32, length };
        zone.letters.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
        let hash = hash(name_at.of(&zone.letters));
        let (v4, v6) = (zone.v4.len() as u32, zone.v6.len() as u32);
        for &address in addresses {
            match address {
                IpAddr::V4(address) => zone.v4.push(address),
                IpAddr::V6(address) => zone.v6.push(address),
            }
            if kind == Kind::Name {
                zone.reverse.push((address, name_at));
            }
        }
        let (v4, v6) = (v4..zone.v4.len() as u32, v6..zone.v6.len() as u32);
        zone.entries.push(Entry { hash, name: name_at, v4, v6, turns: Turns::default() });
    }

    fn finish(self) -> Zone {
        let mut zone = self.zone;
        // Stable: the first container of an address keeps it.
        zone.reverse.sort_by_key(|(address, _)| *address);
        zone.reverse.dedup_by_key(|(address, _)| *address);
        let letters = std::mem::take(&mut zone.letters);
        let mut entries = std::mem::take(&mut zone.entries);
        entries.sort_unstable_by(|a, b| {
            a.hash.cmp(&b.hash).then_with(|| a.name.of(&letters).cmp(b.name.of(&letters)))
        });
        let (old_v4, old_v6) = (std::mem::take(&mut zone.v4), std::mem::take(&mut zone.v6));
        zone.v4.reserve_exact(old_v4.len());
        zone.v6.reserve_exact(old_v6.len());
        zone.entries.reserve_exact(entries.len());
        // Sorted, so that those of one name are together.
        let same = |a: &Entry, b: &Entry| a.hash == b.hash && a.name.of(&letters) == b.name.of(&letters);
        for same in entries.chunk_by(same) {
            let (v4, v6) = (zone.v4.len(), zone.v6.len());
            for entry in same {
                zone.v4.extend(&old_v4[entry.v4.start as usize..entry.v4.end as usize]);
                zone.v6.extend(&old_v6[entry.v6.start as usize..entry.v6.end as usize]);
            }
            unique(&mut zone.v4, v4);
            unique(&mut zone.v6, v6);
            let (v4, v6) = (v4 as u32..zone.v4.len() as u32, v6 as u32..zone.v6.len() as u32);
            zone.entries.push(Entry {
                hash: same[0].hash,
                name: same[0].name,
                v4,
                v6,
                turns: Turns::default(),
            });
        }
        zone.entries.shrink_to_fit();
        zone.letters = letters;
        zone.letters.shrink_to_fit();
        zone
    }
}
