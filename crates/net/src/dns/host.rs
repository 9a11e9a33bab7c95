//! What the host's `/etc/resolv.conf` says. Source: resolv.conf(5).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// Where systemd-resolved says whom it asks itself.
pub const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";

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

/// The index of a link of the current network namespace.
fn link_index(name: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    netdevice::name_to_index(&socket, name).ok()
}
