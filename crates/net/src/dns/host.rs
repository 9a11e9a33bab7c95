//! What the host's `/etc/resolv.conf` says. Source: resolv.conf(5).

use rustix::fs::stat;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};

/// Where the host says whom it asks.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where systemd-resolved says whom it asks itself.
pub const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// As much of a file as is read.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Most words of each kind that are read.
const WORDS_MAX: usize = 32;

const PORT: u16 = 53;

/// A host's resolvers, and how to ask them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// Whom to ask, in order.
    pub servers: Vec<SocketAddr>,
    /// Domains that names are looked for in.
    pub search: Vec<String>,
    /// Options, as in `ndots:1`.
    pub options: Vec<String>,
}

impl Resolvers {
    /// Reads the text of a resolv.conf. Lines that make no sense are read over, as glibc does. `index_of` tells the index
    /// of a link by its name, for `fe80::1%eth0`.
    pub fn parse(text: &str, index_of: impl Fn(&str) -> Option<u32>) -> Self {
        let mut resolvers = Resolvers::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            // A keyword begins its line.
            let Some(keyword) = words.next().filter(|word| line.starts_with(word)) else { continue };
            match keyword {
                "nameserver" => {
                    let server = words.next().and_then(|word| parse_server(word, &index_of));
                    resolvers.servers.extend(server.filter(|_| resolvers.servers.len() < WORDS_MAX));
                }
                // The last of either counts.
                "search" => resolvers.search = words.take(WORDS_MAX).map(str::to_owned).collect(),
                "domain" => resolvers.search = words.take(1).map(str::to_owned).collect(),
                "options" => {
                    let room = WORDS_MAX - resolvers.options.len();
                    resolvers.options.extend(words.take(room).map(str::to_owned));
                }
                _ => {}
            }
        }
        resolvers
    }

    /// Whether there is nobody but systemd-resolved's stub.
    fn is_stub(&self) -> bool {
        const STUBS: [IpAddr; 2] =
            [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];
        !self.servers.is_empty() && self.servers.iter().all(|server| STUBS.contains(&server.ip()))
    }
}

fn parse_server(word: &str, index_of: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, scope)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse().ok()?, PORT));
    };
    let index = scope.parse().ok().or_else(|| index_of(scope))?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, index).into())
}

/// A host's resolvers by the text of its `/etc/resolv.conf`; those behind systemd-resolved's stub if only that is named
/// there, and [`RESOLVED_CONF`], which `behind_stub` is to read, names any.
pub fn host_resolvers(resolv_conf: &str, behind_stub: impl FnOnce() -> Option<String>) -> Resolvers {
    let mut resolvers = Resolvers::parse(resolv_conf, link_index);
    if resolvers.is_stub()
        && let Some(text) = behind_stub()
    {
        let real = Resolvers::parse(&text, link_index);
        if !real.servers.is_empty() {
            resolvers.servers = real.servers;
        }
    }
    resolvers
}

/// What of a file changes with its content. It may be a link to another, which may be changed for a third: so it's looked at
/// by its path each time.
type Mark = Option<[i64; 7]>;

fn mark(path: &Path) -> Mark {
    let stat = stat(path).ok()?;
    let (changed, made) = ((stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec));
    let which = [stat.st_dev as i64, stat.st_ino as i64, stat.st_size];
    Some([which[0], which[1], which[2], changed.0, changed.1 as i64, made.0, made.1 as i64])
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The host's resolvers, whoever they are: a laptop that's carried elsewhere has others.
#[derive(Debug)]
pub(super) struct Followed {
    resolv_conf: PathBuf,
    behind_stub: PathBuf,
    seen: Option<[Mark; 2]>,
    servers: Vec<SocketAddr>,
}

impl Followed {
    pub(super) fn new(resolv_conf: PathBuf, behind_stub: PathBuf) -> Self {
        Followed { resolv_conf, behind_stub, seen: None, servers: Vec::new() }
    }

    /// Looks whether they are others now.
    pub(super) fn refresh(&mut self) -> bool {
        let now = [mark(&self.resolv_conf), mark(&self.behind_stub)];
        if self.seen == Some(now) {
            return false;
        }
        self.seen = Some(now);
        let text = read(&self.resolv_conf).unwrap_or_default();
        let servers = host_resolvers(&text, || read(&self.behind_stub)).servers;
        let changed = servers != self.servers;
        self.servers = servers;
        changed
    }

    pub(super) fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }
}

/// The index of a link of the current network namespace.
fn link_index(name: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    netdevice::name_to_index(&socket, name).ok()
}
