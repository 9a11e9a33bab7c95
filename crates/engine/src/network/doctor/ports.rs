//! Published ports, each along its way: the host's port is taken, the table leads it on, somebody listens, a connection comes
//! through.

use super::super::{PublishedPort, ports, rules};
use super::container::{NOT_TRIED, words};
use super::{PORT, Patience, Patient, REPAIR, listen};
use crate::Home;
use crate::doctor::{Finding, Status, count};
use crate::request::Protocol;
use linux::Errno;
use net::nft::Port;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

/// Ports of one container whose sound findings are told singly.
const SHOWN_MAX: usize = 16;

/// All of one container.
pub(super) fn findings(home: &Home, patient: &Patient, patience: Patience) -> Vec<Finding> {
    let own = &patient.attached.ports;
    if own.is_empty() {
        return Vec::new();
    }
    let led: BTreeMap<(SocketAddr, u8), SocketAddr> = match rules::reopen(home).map(|mut f| f.list_ports()) {
        Ok(Ok(ports)) => ports.into_iter().map(|p| ((p.host, p.protocol.number()), p.target)).collect(),
        // The table's own finding says why.
        _ => BTreeMap::new(),
    };
    let host: [Vec<SocketAddr>; 2] = [Protocol::Tcp, Protocol::Udp].map(|p| listen::of("self", p));
    let pid = patient.pid.to_string();
    let inside: [Vec<SocketAddr>; 2] = [Protocol::Tcp, Protocol::Udp].map(|p| listen::of(&pid, p));
    let of = |all: &[Vec<SocketAddr>; 2], protocol| match protocol {
        Protocol::Tcp => all[0].clone(),
        Protocol::Udp => all[1].clone(),
    };
    let (mut findings, mut folded) = (Vec::new(), 0);
    for (index, port) in own.iter().enumerate() {
        let way = Way { patient, port: *port, patience };
        let found =
            [way.taken(&of(&host, port.protocol)), way.led(&led), way.listener(&of(&inside, port.protocol))];
        let is_sound = found.iter().all(|finding| finding.status == Status::Ok);
        let mut found = Vec::from(found);
        // Who isn't there can't be reached: one fault is told once.
        if is_sound && port.protocol == Protocol::Tcp {
            found.push(way.through());
        }
        if index >= SHOWN_MAX && found.iter().all(|finding| finding.status == Status::Ok) {
            folded += 1;
        } else {
            findings.extend(found);
        }
    }
    if folded > 0 {
        let name = format!("{}: {} more", patient.config.name, count(folded, "port"));
        findings.push(Finding::new(PORT, name, Status::Ok, "taken, led on, listened to and reached"));
    }
    findings
}

/// The way to one port.
struct Way<'p> {
    patient: &'p Patient,
    port: PublishedPort,
    patience: Patience,
}

impl Way<'_> {
    fn found(&self, what: &str, status: Status, detail: impl Into<String>) -> Finding {
        let (port, name) = (&self.port, &self.patient.config.name);
        let host = SocketAddr::new(port.host, port.host_port);
        Finding::new(PORT, format!("{name}: {host}/{} {what}", port.protocol.word()), status, detail)
    }

    /// Whether the container's socket keeps the host's port from others; `listening` are the host's programs.
    fn taken(&self, listening: &[SocketAddr]) -> Finding {
        let (what, port) = ("taken", &self.port);
        let again = format!("berth restart {}", self.patient.config.name);
        let is_others = |own: &&SocketAddr| {
            own.port() == port.host_port
                && (own.ip() == port.host
                    || own.ip().is_unspecified() && own.is_ipv4() == port.host.is_ipv4())
        };
        if port.protocol == Protocol::Tcp
            && let Some(other) = listening.iter().find(is_others)
        {
            return self
                .found(what, Status::Wrong, format!("a program of this host listens at {other} itself"))
                .advise(format!("end it: ss -lntp 'sport = :{}'; then {again}", port.host_port));
        }
        match ports::hold(port.protocol, SocketAddr::new(port.host, port.host_port)) {
            Err(Errno::ADDRINUSE) => self.found(what, Status::Ok, "no other program can have it"),
            Ok(_) => self
                .found(what, Status::Wrong, "nobody holds it: holder and keeper were killed")
                .advise(format!("packets pass as before, but another program could take it; {again}")),
            Err(Errno::ADDRNOTAVAIL) => self
                .found(what, Status::Wrong, format!("this host doesn't have the address {}", port.host))
                .advise(format!("ip addr add {} dev LINK, or publish it elsewhere", port.host)),
            Err(errno) => self.found(what, Status::Lacking, format!("can't be tried: {errno}")),
        }
    }

    /// Whether the table leads it to the container.
    fn led(&self, led: &BTreeMap<(SocketAddr, u8), SocketAddr>) -> Finding {
        let Port { host, protocol, target } = rules::of_port(&self.port);
        match led.get(&(host, protocol.number())) {
            Some(to) if *to == target => self.found("rule", Status::Ok, format!("leads to {target}")),
            Some(to) => self
                .found("rule", Status::Wrong, format!("leads to {to}, not to the container's {target}"))
                .advise(REPAIR),
            None => self.found("rule", Status::Wrong, "nothing leads it to the container").advise(REPAIR),
        }
    }

    /// Whether somebody listens in the container; `listening` are its programs.
    fn listener(&self, listening: &[SocketAddr]) -> Finding {
        let (what, port) = ("listener", &self.port);
        let target = SocketAddr::new(port.to, port.port);
        let hears = listening.iter().any(|own| listen::hears(*own, port.to, port.port));
        if port.protocol == Protocol::Udp {
            // Nobody can be made to answer.
            return match hears {
                true => self.found(what, Status::Ok, "a program has the port; by UDP no more can be tried"),
                false => self.nobody(listening),
            };
        }
        let Some(limit) = self.patience.next() else {
            return self.found(what, Status::Lacking, NOT_TRIED);
        };
        match TcpStream::connect_timeout(&target, limit) {
            Ok(_) => self.found(what, Status::Ok, format!("{target} accepts connections from the host")),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.nobody(listening),
            Err(error) => {
                let also = if hears { ", though a program listens" } else { "" };
                let detail = format!("{target} isn't reached from the host: {}{also}", words(&error));
                self.found(what, Status::Wrong, detail).advise(
                    "what is wrong with the bridge and the links is why; else a filter in the container",
                )
            }
        }
    }

    /// That nobody listens, or who does elsewhere.
    fn nobody(&self, listening: &[SocketAddr]) -> Finding {
        let port = self.port.port;
        let mut there: Vec<String> =
            listening.iter().filter(|own| own.port() == port).map(ToString::to_string).collect();
        there.sort();
        there.dedup();
        let loopback =
            !there.is_empty() && listening.iter().all(|own| own.port() != port || own.ip().is_loopback());
        let what = "listener";
        match (&there[..], loopback) {
            ([], _) => {
                let others: Vec<String> = others(listening);
                let detail = format!("nothing listens on {port} in the container{}", others.concat());
                self.found(what, Status::Wrong, detail).advise(format!(
                    "see whether the program has started, and on which port: berth logs {}",
                    self.patient.config.name
                ))
            }
            (there, true) => self
                .found(
                    what,
                    Status::Wrong,
                    format!("listens on {} only, the container's own loopback", there.join(", ")),
                )
                .advise("let the program listen on 0.0.0.0 (or [::])"),
            (there, false) => self
                .found(
                    what,
                    Status::Wrong,
                    format!("listens on {}, not on {}", there.join(", "), self.port.to),
                )
                .advise("let the program listen on 0.0.0.0 (or [::])"),
        }
    }

    /// Whether a connection to the host's port comes through.
    fn through(&self) -> Finding {
        let what = "connection";
        let own = self.patient.attached.endpoints.iter().find_map(|endpoint| endpoint.gateway(true));
        let host = match (self.port.host, own) {
            (IpAddr::V4(any), _) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            // docs/firewall.md: there ::1 isn't reached, but the host's other addresses are.
            (IpAddr::V6(any), Some(own)) if any.is_unspecified() && bridges_call_tables() => own,
            (IpAddr::V6(any), _) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            (own, _) => own,
        };
        let address = SocketAddr::new(host, self.port.host_port);
        let Some(limit) = self.patience.next() else {
            return self.found(what, Status::Lacking, NOT_TRIED);
        };
        match TcpStream::connect_timeout(&address, limit) {
            Ok(_) => self.found(what, Status::Ok, format!("{address} leads into the container")),
            Err(error) if host == Ipv6Addr::LOCALHOST && bridges_call_tables() => self
                .found(what, Status::Lacking, format!("{address} isn't reached: {}", words(&error)))
                .advise("net.bridge.bridge-nf-call-ip6tables is 1, as Docker sets it: ask for 127.0.0.1"),
            Err(error) => {
                let detail = format!("{address} doesn't lead into the container: {}", words(&error));
                self.found(what, Status::Wrong, detail).advise(format!(
                    "if all else is well, rules of others change or drop it: nft list ruleset; {REPAIR}"
                ))
            }
        }
    }
}

/// Whether frames on bridges pass through rules for routed packets of IPv6: module br_netfilter.
fn bridges_call_tables() -> bool {
    let path = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";
    std::fs::read_to_string(path).is_ok_and(|text| text.trim_end() == "1")
}

/// On which ports programs listen that others reach, for who has published the wrong one.
fn others(listening: &[SocketAddr]) -> Vec<String> {
    let mut ports: Vec<u16> =
        listening.iter().filter(|own| !own.ip().is_loopback()).map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.truncate(SHOWN_MAX);
    let words: Vec<String> = ports.iter().map(ToString::to_string).collect();
    match words.is_empty() {
        true => Vec::new(),
        false => vec![format!("; programs listen on {}", words.join(", "))],
    }
}
