//! The files that say what the server knows. Text, a line each, made anew and renamed into place at each change.
//!
//! One file a container, which only its own server reads:
//!
//! ```text
//! berth-resolver 1
//! forward yes                                   or no: then nothing leaves, whatever is asked
//! upstream 192.0.2.1:53                         in order; the first three are asked. Without one: the host's
//! network external /run/berth/networks/f00/names   or internal; their names, in order of precedence
//! host host.docker.internal 172.17.0.1 fd00::1     names for this container alone
//! link www web                                  another name, for this container alone, of who is called so
//! end
//! ```
//!
//! One file a network:
//!
//! ```text
//! berth-names 1
//! network mynet
//! subnet 172.18.0.0/16                          addresses whose names nobody else knows
//! name web 172.18.0.2 fd00::2                   a container: what its addresses are called, too
//! alias db 172.18.0.3                           may be there several times: all of its addresses count
//! id 0123456789ab 172.18.0.2
//! end
//! ```
//!
//! A name may have no address: then it exists, and is never asked for elsewhere. A file that has anything else in it, or
//! doesn't end with `end`, is broken as a whole: half a truth would send names of ours to strangers.

use super::message::is_sendable;
use crate::subnet::Subnet;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Longest file.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// Most networks of one container.
pub const NETWORKS_MAX: usize = 256;
/// Most resolvers of one container; more are read over. glibc and docker ask three.
pub const UPSTREAMS_MAX: usize = 3;

const CONTAINER_HEAD: &str = "berth-resolver 1";
const NETWORK_HEAD: &str = "berth-names 1";
const END: &str = "end";

/// A file can't be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("broken file of names, line {line}")]
pub struct Broken {
    /// Which line, from 1.
    pub line: usize,
}

/// What a container's server is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Whether questions about names that aren't ours may leave. They mayn't if all of the container's networks are
    /// internal, those included whose names it isn't told.
    pub forward: bool,
    /// Whom they're passed to, in order, from the namespace that the server runs in. Without any: the host's, whoever
    /// they are at that time.
    pub upstreams: Vec<SocketAddr>,
    /// The container's networks, in the order in which their names count.
    pub networks: Vec<NetworkFile>,
    /// Names for this container alone, which come first: links, `host.docker.internal`.
    pub hosts: Vec<(String, Vec<IpAddr>)>,
    /// Other names for this container alone, and what they stand for on its networks.
    pub links: Vec<(String, String)>,
}

/// A network of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFile {
    /// Its file.
    pub path: PathBuf,
    /// Whether it has no way out. It's told for people: `forward` is what counts.
    pub internal: bool,
}

/// Who is in a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name, for `name.network`.
    pub name: String,
    /// Its addresses.
    pub subnets: Vec<Subnet>,
    /// The names in it.
    pub names: Vec<Name>,
}

/// A name in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// As it was given; upper and lower case are the same.
    pub name: String,
    /// What it stands for.
    pub addresses: Vec<IpAddr>,
    /// What it is.
    pub kind: Kind,
}

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The name of a container, by which its addresses are known as well.
    Name,
    /// An alias, which several containers may have.
    Alias,
    /// The beginning of a container's id.
    Id,
}

impl Kind {
    const ALL: [(Kind, &str); 3] = [(Kind::Name, "name"), (Kind::Alias, "alias"), (Kind::Id, "id")];

    fn word(self) -> &'static str {
        Kind::ALL[self as usize].1
    }

    fn of(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|(_, known)| *known == word).map(|(kind, _)| kind)
    }
}

/// Whether a name can be in a file: what no DNS message can carry, nobody can ask for.
pub fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
    is_sendable(name.as_bytes()) && (plain || !name.contains(|c: char| c.is_whitespace() || c.is_control()))
}

impl Resolver {
    /// The file's text. Names that no DNS message can carry are left out.
    pub fn to_text(&self) -> String {
        let mut text = format!("{CONTAINER_HEAD}\nforward {}\n", if self.forward { "yes" } else { "no" });
        for upstream in &self.upstreams {
            _ = writeln!(text, "upstream {upstream}");
        }
        for network in &self.networks {
            let way = if network.internal { "internal" } else { "external" };
            _ = writeln!(text, "network {way} {}", escape(&network.path));
        }
        for (name, addresses) in &self.hosts {
            push_name(&mut text, "host", name, addresses);
        }
        for (alias, name) in self.links.iter().filter(|(alias, name)| is_name(alias) && is_name(name)) {
            _ = writeln!(text, "link {alias} {name}");
        }
        text + END + "\n"
    }

    /// Reads what [`Resolver::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        let mut resolver = Resolver::default();
        let mut forward = None;
        each_line(text, CONTAINER_HEAD, |word, rest| match word {
            "forward" if forward.is_none() => {
                forward = Some(match rest {
                    "yes" => true,
                    "no" => false,
                    _ => return None,
                });
                Some(())
            }
            "upstream" => {
                resolver.upstreams.push(rest.parse().ok()?);
                Some(())
            }
            "network" if resolver.networks.len() < NETWORKS_MAX => {
                let (way, path) = rest.split_once(' ')?;
                let internal = match way {
                    "internal" => true,
                    "external" => false,
                    _ => return None,
                };
                resolver.networks.push(NetworkFile { path: unescape(path)?, internal });
                Some(())
            }
            "host" => {
                let (name, addresses) = parse_name(rest)?;
                resolver.hosts.push((name.to_owned(), addresses.collect::<Option<_>>()?));
                Some(())
            }
            "link" => {
                let (alias, name) = rest.split_once(' ')?;
                if !is_name(alias) || !is_name(name) {
                    return None;
                }
                resolver.links.push((alias.to_owned(), name.to_owned()));
                Some(())
            }
            _ => None,
        })?;
        resolver.forward = forward.ok_or(Broken { line: 1 })?;
        Ok(resolver)
    }
}

impl Network {
    /// The file's text. Names that no DNS message can carry are left out.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(64 + 48 * self.names.len());
        _ = writeln!(text, "{NETWORK_HEAD}");
        if is_name(&self.name) {
            _ = writeln!(text, "network {}", self.name);
        }
        for subnet in &self.subnets {
            _ = writeln!(text, "subnet {subnet}");
        }
        for name in &self.names {
            push_name(&mut text, name.kind.word(), &name.name, &name.addresses);
        }
        text + END + "\n"
    }

    /// Reads what [`Network::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        let mut network = Network::default();
        read_network(text, |item| match item {
            Item::Network(name) => name.clone_into(&mut network.name),
            Item::Subnet(subnet) => network.subnets.push(subnet),
            Item::Name(kind, name, addresses) => {
                network.names.push(Name { name: name.to_owned(), addresses: addresses.to_owned(), kind });
            }
        })?;
        Ok(network)
    }
}

/// What a line of a network's file says.
pub(super) enum Item<'a> {
    Network(&'a str),
    Subnet(Subnet),
    Name(Kind, &'a str, &'a [IpAddr]),
}

/// Reads a network's file, item by item. What was told of a broken file before the break is to be forgotten.
pub(super) fn read_network(text: &str, mut tell: impl FnMut(Item<'_>)) -> Result<(), Broken> {
    let (mut named, mut addresses) = (false, Vec::new());
    each_line(text, NETWORK_HEAD, |word, rest| {
        match word {
            "network" if !named && is_name(rest) => {
                named = true;
                tell(Item::Network(rest));
            }
            "subnet" => tell(Item::Subnet(rest.parse().ok()?)),
            _ => {
                let (kind, (name, found)) = (Kind::of(word)?, parse_name(rest)?);
                addresses.clear();
                for address in found {
                    addresses.push(address?);
                }
                tell(Item::Name(kind, name, &addresses));
            }
        }
        Some(())
    })
}

/// Takes a file apart: its head, lines of a word and the rest, its end.
fn each_line(text: &str, head: &str, mut take: impl FnMut(&str, &str) -> Option<()>) -> Result<(), Broken> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Broken { line: 1 });
    }
    let mut lines = text.split('\n').enumerate();
    if lines.next().is_none_or(|(_, line)| line != head) {
        return Err(Broken { line: 1 });
    }
    for (index, line) in lines.by_ref() {
        if line == END {
            break;
        }
        line.split_once(' ').and_then(|(word, rest)| take(word, rest)).ok_or(Broken { line: index + 1 })?;
    }
    // After the end there is the empty rest behind its line break, and no more.
    match (lines.next(), lines.next()) {
        (Some((_, "")), None) => Ok(()),
        _ => Err(Broken { line: text.split('\n').count() }),
    }
}

fn push_name(text: &mut String, word: &str, name: &str, addresses: &[IpAddr]) {
    if !is_name(name) {
        return;
    }
    _ = write!(text, "{word} {name}");
    for address in addresses {
        _ = write!(text, " {address}");
    }
    text.push('\n');
}

fn parse_name(rest: &str) -> Option<(&str, impl Iterator<Item = Option<IpAddr>>)> {
    let mut words = rest.split(' ');
    let name = words.next().filter(|name| is_name(name))?;
    Some((name, words.map(|word| word.parse().ok())))
}

/// A path as one word of plain characters.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(byte.into());
        } else {
            _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

fn unescape(word: &str) -> Option<PathBuf> {
    let (mut bytes, mut path) = (word.bytes(), Vec::with_capacity(word.len()));
    while let Some(byte) = bytes.next() {
        path.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                (high << 4 | low) as u8
            }
            graphic if graphic.is_ascii_graphic() => graphic,
            _ => return None,
        });
    }
    let path = PathBuf::from(std::ffi::OsString::from_vec(path));
    (path.is_absolute() && !path.as_os_str().as_bytes().contains(&0)).then_some(path)
}
