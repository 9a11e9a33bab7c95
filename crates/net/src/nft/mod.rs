//! berth's table of nftables, by messages of our own. It never touches another's, but for the one rule of [`beside`].
//!
//! ```text
//! table inet berth {
//!   set br { type ifname }  set inner { type ifname }         # bridges; those without a way out
//!   set pair { type ifname . ifname }                         # bridge . bridge, unless enable_icc=false
//!   set sub4 { type ipv4_addr; flags interval }  sub6         # their subnets
//!   set near4 { type ifname . ipv4_addr; flags interval }  near6          # bridge . subnet
//!   map a4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }  a6   # published ports
//!   map w4 { type inet_proto . inet_service : ipv4_addr . inet_service }  w6               # on every address
//!   chain raw { type filter hook prerouting priority -300;
//!     iifname "bth*" drop                                     # not by way of a bridge
//!     iifname != "lo" ip daddr 127.0.0.0/8 drop               # ::1 likewise
//!     iifname != "lo" ip saddr 127.0.0.0/8 drop
//!     iifname != "lo" iifname != @br ip daddr @sub4 drop      # direct routing
//!     iifname @inner meta pkttype host iifname . ip daddr != @near4 drop
//!     meta mark set meta mark | 0x00b00000 }                  # closed without: see crate::bridge
//!   chain pre { type nat hook prerouting priority -105; fib daddr type local jump pub }
//!   chain out { type nat hook output priority -105; fib daddr type local jump pub }
//!   chain pub {
//!     dnat ip to ip daddr . meta l4proto . th dport map @a4
//!     dnat ip to meta l4proto . th dport map @w4 }
//!   chain post { type nat hook postrouting priority 95;
//!     oifname @br ip saddr 127.0.0.0/8 masquerade
//!     ct status dnat oifname . ip saddr @near4 masquerade     # hairpin
//!     oifname != @br ip saddr @sub4 masquerade }
//!   chain forward { type filter hook forward priority 0;
//!     ct state established,related accept
//!     iifname @br ct state invalid drop
//!     iifname . oifname @pair accept
//!     iifname @inner drop
//!     oifname @inner drop
//!     oifname @br ct status dnat accept
//!     oifname @br drop
//!     iifname @br accept }
//! }
//! ```
//!
//! and the same for IPv6 wherever it says 4. Publishing a port is adding an element: no rule is added ever, and cost stays
//! flat at 10,000 ports. What a frame may say about its sender is in a second table, of family bridge (`guard`).
//!
//! Invariants:
//!
//! 1. A change is one transaction: all of it is there, or nothing.
//! 2. A change made twice is a change made once; a port goes only while it is its owner's.
//! 3. Nothing here is remembered: what the kernel says is so ([`Firewall::dump`]).
//!
//! Modules: `wire` messages, `expr` rules, `ruleset` and `guard` the tables, `read` what is there, [`watch`] who notices
//! that it's gone, `flows` connections that outlive a change, [`beside`] other firewalls.
//!
//! Closing a socket of NETLINK_NETFILTER waits 5–24 ms for what was deleted by anybody just before. So a [`Firewall`] is
//! dropped after success was reported, or kept.

pub mod beside;
mod error;
mod expr;
mod flows;
mod guard;
mod read;
mod ruleset;
pub mod server;
#[cfg(test)]
mod tests;
pub mod watch;
mod wire;

pub use error::Error;
pub use read::Found;

use crate::netlink::{Protocol as NetlinkProtocol, Refused, Socket, number_be};
use crate::route::LINK_NAME_BYTES_MAX;
use crate::subnet::Subnet;
use rustix::io::Errno;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use wire::{Element, Msg, Set, Table, Transaction};

pub use wire::TableFamily;

/// Tries of a change while others change the rules.
const TRIES_MAX: u32 = 100;

/// Room for one port in a batch, in bytes: to remove and to add it takes some 350.
const PORT_BYTES_MAX: usize = 512;

/// Room for a [`State`] in one batch, in bytes: 100,000 ports.
const STATE_BYTES_MAX: usize = 16 << 20;

/// How berth's things are called on this host: tests, and berths beside each other, have names of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The tables' name.
    pub table: String,
    /// How names of bridges begin.
    pub bridges: String,
    /// How names of the host's ends of veths begin. Frames at devices called so that no [`EndpointRules`] allow are dropped.
    pub ports: String,
    /// Whether other firewalls decide about what comes from outside to published ports: then nothing is put into their chains
    /// for it, nor advised.
    pub host_decides: bool,
}

/// What the table knows about a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkRules {
    /// Name of its bridge.
    pub bridge: String,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// `--internal`: no way out, and none in.
    pub internal: bool,
    /// `com.docker.network.bridge.enable_icc`: whether its containers reach each other. Without it the ports of the
    /// bridge have to be isolated as well ([`crate::route::Veth::isolated`]): frames within a bridge don't come by here.
    pub icc: bool,
    /// `com.docker.network.bridge.enable_ip_masquerade`: whether containers are seen with the host's address outside.
    pub masquerade: bool,
}

/// What an endpoint may say about itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointRules {
    /// Name of the host's end of its veth.
    pub port: String,
    /// Hardware address of the container's end.
    pub mac: [u8; 6],
    /// The container's addresses. Its link-local address comes with any of IPv6.
    pub addresses: Vec<std::net::IpAddr>,
    /// Anything: for containers that route for others, or move addresses among each other.
    pub free: bool,
}

/// What carries a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// IPPROTO_*.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    fn of(number: u8) -> Option<Protocol> {
        [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A published port. Both addresses are of one family; a port published on IPv4 and IPv6 is two of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// Where it's reached: on one address of the host's, or on all of the family for 0.0.0.0 and ::.
    pub host: SocketAddr,
    /// What carries it.
    pub protocol: Protocol,
    /// Where it goes: a container's address.
    pub target: SocketAddr,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.protocol)
    }
}

/// All that the tables should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Networks that are up.
    pub networks: Vec<NetworkRules>,
    /// Ports that are published.
    pub ports: Vec<Port>,
    /// Endpoints.
    pub endpoints: Vec<EndpointRules>,
}

/// Whether the tables were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// They were.
    There,
    /// They were made, and are empty: if there should have been networks, they need [`Firewall::restore`].
    Made,
    /// They are of another version of berth's: they need [`Firewall::restore`].
    Outdated,
}

/// berth's tables in one network namespace: that of the thread that opened it.
#[derive(Debug)]
pub struct Firewall {
    names: Names,
    socket: Socket,
}

impl Firewall {
    /// Opens a socket to nftables.
    pub fn open(names: &Names) -> Result<Firewall, Error> {
        let socket = Socket::open(NetlinkProtocol::Netfilter).map_err(|errno| Error::Open { errno })?;
        let firewall = Firewall { names: names.clone(), socket };
        for prefix in [&names.bridges, &names.ports] {
            firewall.check_name(prefix)?;
        }
        if names.bridges.starts_with(&names.ports) {
            return Err(firewall.impossible(&format!("bridges called as ports are, {:?},", names.ports)));
        }
        if names.table.is_empty() || names.table.len() > 100 || names.table.contains('\0') {
            return Err(firewall.impossible(&format!("the name {:?}", names.table)));
        }
        Ok(firewall)
    }

    /// Makes the tables, if they aren't there. Costs one question if they are.
    pub fn ensure_table(&mut self) -> Result<Ensured, Error> {
        match self.version(TableFamily::Inet)? {
            Some(version) if version == ruleset::VERSION => return Ok(Ensured::There),
            Some(_) => return Ok(Ensured::Outdated),
            None => {}
        }
        // The guard first: who finds the other table relies on both.
        self.make_guard(&State::default(), false)?;
        let name = self.names.table.clone();
        let at = Table { family: TableFamily::Inet, name: &name };
        let mut transaction = Transaction::new(None);
        transaction.table(at, ruleset::VERSION);
        ruleset::make(&mut transaction, at, &self.names.ports);
        match self.commit(transaction) {
            // Somebody else was faster.
            Err(refused) if refused.errno == Errno::EXIST => Ok(Ensured::There),
            other => other.map(|()| Ensured::Made).map_err(|r| self.refused("make the rules", r)),
        }
    }

    /// Makes the tables anew and puts everything into them: for repair after a flush. Other elements are gone then.
    pub fn restore(&mut self, state: &State) -> Result<(), Error> {
        self.check_state(state)?;
        self.socket
            .widen(STATE_BYTES_MAX)
            .map_err(|errno| self.refused("make room for the rules", errno.into()))?;
        self.make_guard(state, true)?;
        let name = self.names.table.clone();
        let at = Table { family: TableFamily::Inet, name: &name };
        let mut transaction = Transaction::new(None);
        transaction.table_anew(at, ruleset::VERSION);
        ruleset::make(&mut transaction, at, &self.names.ports);
        let networks = state.networks.iter().flat_map(ruleset::network);
        let ports = state.ports.iter().map(ruleset::port);
        add_by_set(&mut transaction, at, networks.chain(ports));
        self.commit(transaction).map_err(|r| self.refused("restore the rules", r))
    }

    /// Removes the tables, if they are there: after the last network.
    pub fn remove_table(&mut self) -> Result<(), Error> {
        let name = self.names.table.clone();
        for family in [TableFamily::Inet, guard::FAMILY] {
            let mut transaction = Transaction::new(None);
            transaction.delete_table(Table { family, name: &name });
            match self.commit(transaction) {
                Err(refused) if is_gone(refused.errno) => {}
                other => other.map_err(|r| self.refused("remove the rules", r))?,
            }
        }
        Ok(())
    }

    /// Whether there's the table that checks frames: not where the kernel has no nftables for bridges.
    pub fn is_guarded(&mut self) -> Result<bool, Error> {
        Ok(self.version(guard::FAMILY)?.is_some())
    }

    /// Adds a network.
    pub fn add_network(&mut self, network: &NetworkRules) -> Result<(), Error> {
        self.check_name(&network.bridge)?;
        self.add("add a network", TableFamily::Inet, ruleset::network(network))
    }

    /// Removes a network. Its ports are its containers' to remove.
    pub fn remove_network(&mut self, network: &NetworkRules) -> Result<(), Error> {
        self.remove("remove a network", TableFamily::Inet, ruleset::network(network))
    }

    /// Lets frames of an endpoint pass. False where the kernel can't check frames, and all of them do.
    pub fn add_endpoint(&mut self, endpoint: &EndpointRules) -> Result<bool, Error> {
        self.check_name(&endpoint.port)?;
        match self.add("allow an endpoint", guard::FAMILY, guard::endpoint(endpoint)) {
            Err(Error::Refused { errno, .. }) if is_gone(errno) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Takes that back.
    pub fn remove_endpoint(&mut self, endpoint: &EndpointRules) -> Result<(), Error> {
        self.remove("forget an endpoint", guard::FAMILY, guard::endpoint(endpoint))
    }

    /// Publishes ports, all or none. Those of UDP take over what talks to them already.
    ///
    /// Errors: [`Error::PortTaken`] for the first that goes to somebody else.
    pub fn publish(&mut self, ports: &[Port]) -> Result<(), Error> {
        self.check_ports(ports)?;
        self.make_room(ports)?;
        let name = self.names.table.clone();
        let at = Table { family: TableFamily::Inet, name: &name };
        let mut transaction = Transaction::new(None);
        for port in ports {
            let (set, element) = ruleset::port(port);
            transaction.add(at, &set, &[element]);
        }
        match self.commit(transaction) {
            Err(Refused { message: Some(number), errno: Errno::BUSY | Errno::EXIST }) if number > 0 => {
                // Message 0 is the batch's beginning.
                let Some(port) = ports.get(number - 1) else {
                    return Err(self.impossible("more ports than were given"));
                };
                Err(Error::PortTaken { port: *port, holder: self.holder(port)? })
            }
            other => other.map_err(|r| self.refused("publish ports", r)),
        }?;
        flows::forget(&mut self.socket, ports).map_err(|e| self.refused("renew connections", e.into()))
    }

    /// Publishes ports, all or none, taking them from whoever has them: nobody finds a port unpublished meanwhile.
    pub fn take_over(&mut self, ports: &[Port]) -> Result<(), Error> {
        self.check_ports(ports)?;
        self.make_room(ports)?;
        let name = self.names.table.clone();
        let at = Table { family: TableFamily::Inet, name: &name };
        for _ in 0..TRIES_MAX {
            let generation = self.generation()?;
            let mut transaction = Transaction::new(Some(generation));
            for port in ports {
                let (set, element) = ruleset::port(port);
                if self.holder(port)?.is_some() {
                    transaction.remove(at, &set, &element);
                }
                transaction.add(at, &set, &[element]);
            }
            match self.commit(transaction) {
                Err(refused) if is_outdated(refused) => continue,
                other => other.map_err(|r| self.refused("publish ports", r))?,
            }
            return flows::forget(&mut self.socket, ports)
                .map_err(|e| self.refused("renew connections", e.into()));
        }
        Err(Error::Restless { doing: "publish ports", tries: TRIES_MAX })
    }

    /// Unpublishes those of the ports that still go where they say: one that was taken over stays. Connections of UDP
    /// to them end; those of TCP end with their container.
    pub fn unpublish(&mut self, ports: &[Port]) -> Result<(), Error> {
        self.make_room(ports)?;
        let name = self.names.table.clone();
        let at = Table { family: TableFamily::Inet, name: &name };
        for _ in 0..TRIES_MAX {
            let generation = self.generation()?;
            let mut transaction = Transaction::new(Some(generation));
            for port in ports {
                if self.holder(port)? == Some(port.target) {
                    let (set, element) = ruleset::port(port);
                    transaction.remove(at, &set, &element);
                }
            }
            if !transaction.is_empty() {
                match self.commit(transaction) {
                    Err(refused) if is_outdated(refused) => continue,
                    other => other.map_err(|r| self.refused("unpublish ports", r))?,
                }
            }
            return flows::forget(&mut self.socket, ports)
                .map_err(|e| self.refused("end connections", e.into()));
        }
        Err(Error::Restless { doing: "unpublish ports", tries: TRIES_MAX })
    }

    /// Lets so many ports be changed at once.
    fn make_room(&mut self, ports: &[Port]) -> Result<(), Error> {
        self.socket
            .widen(ports.len().saturating_mul(PORT_BYTES_MAX))
            .map_err(|errno| self.refused("make room for the rules", errno.into()))
    }

    /// Where a published port goes now, by its host's side alone; `None` if it goes nowhere.
    pub fn holder(&mut self, port: &Port) -> Result<Option<SocketAddr>, Error> {
        let (set, element) = ruleset::port(port);
        let wanted = Element { data: Vec::new(), ..element };
        let question = wire::request(Msg::GetElement, 0, TableFamily::Inet as u8, |body| {
            wire::write_elements(&self.names.table, &set, &[wanted], false, body);
        });
        match self.socket.get(&question) {
            Ok((_, payload)) => Ok(read::elements(&payload).next().and_then(|found| read::target(&found))),
            Err(errno) if is_gone(errno) => Ok(None),
            Err(errno) => Err(self.refused("look for a port", errno.into())),
        }
    }

    /// Adds elements in one transaction.
    fn add(
        &mut self,
        doing: &'static str,
        family: TableFamily,
        elements: Vec<(Set, Element)>,
    ) -> Result<(), Error> {
        let name = self.names.table.clone();
        let at = Table { family, name: &name };
        let mut transaction = Transaction::new(None);
        add_by_set(&mut transaction, at, elements.into_iter());
        self.commit(transaction).map_err(|r| self.refused(doing, r))
    }

    /// Removes those elements that are there, in one transaction.
    fn remove(
        &mut self,
        doing: &'static str,
        family: TableFamily,
        mut elements: Vec<(Set, Element)>,
    ) -> Result<(), Error> {
        let name = self.names.table.clone();
        let at = Table { family, name: &name };
        while !elements.is_empty() {
            let mut transaction = Transaction::new(None);
            for (set, element) in &elements {
                transaction.remove(at, set, element);
            }
            match self.commit(transaction) {
                // It isn't there: on without it. Each turn leaves one less.
                Err(Refused { message: Some(number), errno }) if is_gone(errno) && number > 0 => {
                    elements.remove((number - 1).min(elements.len() - 1));
                }
                other => return other.map_err(|r| self.refused(doing, r)),
            }
        }
        Ok(())
    }

    /// Makes the table that checks frames, if the kernel can.
    fn make_guard(&mut self, state: &State, anew: bool) -> Result<(), Error> {
        let name = self.names.table.clone();
        let at = Table { family: guard::FAMILY, name: &name };
        let mut transaction = Transaction::new(None);
        if anew {
            transaction.table_anew(at, ruleset::VERSION);
        } else {
            transaction.table(at, ruleset::VERSION);
        }
        guard::make(&mut transaction, at, &self.names.ports);
        add_by_set(&mut transaction, at, state.endpoints.iter().flat_map(guard::endpoint));
        match self.commit(transaction) {
            Err(refused) if refused.errno == Errno::EXIST && !anew => Ok(()),
            Err(refused) if [Errno::OPNOTSUPP, Errno::AFNOSUPPORT].contains(&refused.errno) => Ok(()),
            other => other.map_err(|r| self.refused("make the rules for frames", r)),
        }
    }

    /// The comment of a table of ours; `None` if it isn't there.
    fn version(&mut self, family: TableFamily) -> Result<Option<String>, Error> {
        let question = wire::request(Msg::GetTable, 0, family as u8, |body| {
            body.string(1, &self.names.table);
        });
        match self.socket.get(&question) {
            Ok((_, payload)) => Ok(Some(read::table_comment(&payload).unwrap_or_default())),
            Err(errno) if is_gone(errno) => Ok(None),
            Err(errno) => Err(self.refused("look for the rules", errno.into())),
        }
    }

    /// The number that changes with each change of any rules.
    fn generation(&mut self) -> Result<u32, Error> {
        let question = wire::request(Msg::GetGeneration, 0, 0, |_| {});
        let (_, payload) =
            self.socket.get(&question).map_err(|e| self.refused("look at the rules", e.into()))?;
        let id = crate::netlink::Attributes::after(&payload, wire::HEADER).find_kind(1);
        id.and_then(number_be).ok_or_else(|| self.refused("look at the rules", Errno::PROTO.into()))
    }

    fn commit(&mut self, transaction: Transaction) -> Result<(), Refused> {
        if transaction.is_empty() {
            return Ok(());
        }
        let (batch, last) = transaction.finish();
        self.socket.exchange_until(&batch, last)
    }

    fn check_state(&self, state: &State) -> Result<(), Error> {
        let bridges = state.networks.iter().map(|network| &network.bridge);
        let ports = state.endpoints.iter().map(|endpoint| &endpoint.port);
        bridges.chain(ports).try_for_each(|name| self.check_name(name))?;
        self.check_ports(&state.ports)?;
        let mut targets = HashMap::new();
        for port in &state.ports {
            match targets.insert((port.host, port.protocol), port.target) {
                Some(holder) if holder != port.target => {
                    return Err(Error::PortTaken { port: *port, holder: Some(holder) });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A name that fits into a register without losing its end.
    fn check_name(&self, name: &str) -> Result<(), Error> {
        let fits = !name.is_empty() && name.len() <= LINK_NAME_BYTES_MAX && !name.contains('\0');
        if fits { Ok(()) } else { Err(self.impossible(&format!("the device {name:?}"))) }
    }

    fn check_ports(&self, ports: &[Port]) -> Result<(), Error> {
        let mixed = ports.iter().find(|port| port.host.is_ipv4() != port.target.is_ipv4());
        match mixed {
            Some(port) => Err(self.impossible(&format!("port {port}, which goes to {},", port.target))),
            None => Ok(()),
        }
    }

    fn impossible(&self, what: &str) -> Error {
        Error::Impossible { what: what.to_owned(), table: self.names.table.clone() }
    }

    fn refused(&self, doing: &'static str, refused: Refused) -> Error {
        Error::Refused { doing, table: self.names.table.clone(), errno: refused.errno }
    }
}

/// Adds elements, as few messages as can be.
fn add_by_set(transaction: &mut Transaction, at: Table<'_>, elements: impl Iterator<Item = (Set, Element)>) {
    let mut by_set: Vec<(Set, Vec<Element>)> = Vec::new();
    for (set, element) in elements {
        match by_set.iter_mut().find(|(known, _)| known.name == set.name) {
            Some((_, list)) => list.push(element),
            None => by_set.push((set, vec![element])),
        }
    }
    for (set, list) in &by_set {
        transaction.add(at, set, list);
    }
}

/// No such table, set or element.
fn is_gone(errno: Errno) -> bool {
    errno == Errno::NOENT
}

/// Somebody changed rules after we looked.
fn is_outdated(refused: Refused) -> bool {
    refused.errno.raw_os_error() == ERESTART
}

/// The kernel's own, which programs never see but here.
const ERESTART: i32 = 85;
