//! What the server knows, as new as the files are.
//!
//! The files are held open: as long as one is, no other can have its inode, and the kernel says of it how many names it
//! has left. So one fstat(2) tells whether it was replaced, without a walk along its path, without inotify, and though
//! file times are coarse.

use super::host::{Followed, RESOLV_CONF, RESOLVED_CONF};
use super::names::{FILE_BYTES_MAX, Resolver, UPSTREAMS_MAX};
use super::zone::{Found, Zone};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// A file in parsed form.
#[derive(Debug)]
struct Watched<T> {
    path: PathBuf,
    /// The file that was read last.
    file: Option<(File, Stamp)>,
    /// Nothing if there is no file, or a broken one.
    value: Option<T>,
}

/// What changes if somebody writes into the file, or replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    names: u64,
    bytes: i64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> Option<Stamp> {
        let stat = fstat(file).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(Stamp {
            names: stat.st_nlink as u64,
            bytes: stat.st_size,
            changed: (stat.st_mtime, stat.st_mtime_nsec as i64),
        })
    }
}

impl<T> Watched<T> {
    fn new(path: PathBuf) -> Self {
        Watched { path, file: None, value: None }
    }

    /// Looks whether the file has changed, and reads it if so: whether anything is new.
    fn refresh(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> bool {
        if let Some((file, stamp)) = &self.file
            && stamp.names > 0
            && Stamp::of(file) == Some(*stamp)
        {
            return false;
        }
        let before = self.value.is_some();
        self.file = open(&self.path);
        self.value = self.file.as_mut().and_then(|(file, stamp)| parse(&read(file, *stamp)?));
        before || self.value.is_some()
    }
}

/// Opens a file; anything else at its place can't hold us up.
fn open(path: &Path) -> Option<(File, Stamp)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let stamp = Stamp::of(&file)?;
    Some((file, stamp))
}

fn read(file: &mut File, stamp: Stamp) -> Option<String> {
    let bytes = usize::try_from(stamp.bytes).ok().filter(|bytes| *bytes <= FILE_BYTES_MAX)?;
    let mut text = String::with_capacity(bytes + 1);
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).ok()?;
    Some(text)
}

/// All that the server knows.
#[derive(Debug)]
pub(super) struct Known {
    resolver: Watched<Resolver>,
    hosts: Zone,
    networks: Vec<Watched<Zone>>,
    /// Whom the host asks, if the container's file names nobody.
    pub(super) host: Followed,
}

/// Whether somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup<T> {
    /// Yes.
    Found(T),
    /// No, and it's not for others to say.
    Denied,
    /// No.
    Unknown,
    /// One of the files that would say is broken.
    Broken,
}

impl Known {
    /// Knows nothing until it's refreshed.
    pub(super) fn new(path: PathBuf) -> Self {
        let host = Followed::new(RESOLV_CONF.into(), RESOLVED_CONF.into());
        Known { resolver: Watched::new(path), hosts: Zone::default(), networks: Vec::new(), host }
    }

    /// Knows what the files say now: whether the container's own has changed.
    pub(super) fn refresh(&mut self) -> bool {
        let changed = self.resolver.refresh(|text| Resolver::parse(text).ok());
        if changed {
            let mut old = std::mem::take(&mut self.networks);
            let resolver = self.resolver.value.as_ref();
            self.hosts = resolver.map(|resolver| Zone::of_hosts(&resolver.hosts)).unwrap_or_default();
            for network in resolver.iter().flat_map(|resolver| &resolver.networks) {
                let known = old.iter().position(|old| old.path == network.path);
                let watched = known.map(|index| old.swap_remove(index));
                self.networks.push(watched.unwrap_or_else(|| Watched::new(network.path.clone())));
            }
        }
        for network in &mut self.networks {
            network.refresh(|text| Zone::parse(text).ok());
        }
        changed
    }

    /// Whether the container's own file is whole.
    pub(super) fn is_sound(&self) -> bool {
        self.resolver.value.is_some()
    }

    /// Looks who the host's resolvers are, if that matters: whether they are others.
    pub(super) fn refresh_ways_out(&mut self) -> bool {
        let follows = |resolver: &Resolver| resolver.forward && resolver.upstreams.is_empty();
        self.resolver.value.as_ref().is_some_and(follows) && self.host.refresh()
    }

    /// Whom questions are passed to.
    pub(super) fn ways_out(&self) -> &[SocketAddr] {
        let servers = match &self.resolver.value {
            Some(resolver) if !resolver.forward => &[],
            Some(resolver) if resolver.upstreams.is_empty() => self.host.servers(),
            Some(resolver) => &resolver.upstreams,
            None => &[],
        };
        &servers[..servers.len().min(UPSTREAMS_MAX)]
    }

    /// The zones, in the order in which their names count; of a broken one, nothing.
    fn zones(&self) -> impl Iterator<Item = Option<&Zone>> {
        std::iter::once(Some(&self.hosts)).chain(self.networks.iter().map(|network| network.value.as_ref()))
    }

    /// What a name in small letters stands for. `wanted` says whether that is what was asked for: the first such counts.
    pub(super) fn find(&self, name: &[u8], wanted: impl Fn(&Found<'_>) -> bool) -> Lookup<Found<'_>> {
        let links = self.resolver.value.iter().flat_map(|resolver| &resolver.links);
        for (_, name) in links.filter(|(alias, _)| alias.as_bytes().eq_ignore_ascii_case(name)) {
            // Nobody may be called so just now.
            match self.find_itself(&name.to_ascii_lowercase().into_bytes(), &wanted) {
                Lookup::Unknown => {}
                found => return found,
            }
        }
        self.find_itself(name, &wanted)
    }

    fn find_itself(&self, name: &[u8], wanted: &impl Fn(&Found<'_>) -> bool) -> Lookup<Found<'_>> {
        let mut best = Lookup::Unknown;
        for zone in self.zones() {
            let Some(zone) = zone else {
                best = match best {
                    Lookup::Unknown => Lookup::Broken,
                    other => other,
                };
                continue;
            };
            match zone.find(name) {
                Some(found) if wanted(&found) => return Lookup::Found(found),
                Some(found) => best = Lookup::Found(found),
                None => {}
            }
        }
        best
    }

    /// Who has an address: the name of a container, and that of the network.
    pub(super) fn name_of(&self, address: IpAddr) -> Lookup<(&[u8], &[u8])> {
        let mut best = Lookup::Unknown;
        for zone in self.zones() {
            let Some(zone) = zone else {
                best = Lookup::Broken;
                continue;
            };
            if let Some(names) = zone.name_of(address) {
                return Lookup::Found(names);
            }
            if zone.has(address) && best == Lookup::Unknown {
                best = Lookup::Denied;
            }
        }
        best
    }
}
