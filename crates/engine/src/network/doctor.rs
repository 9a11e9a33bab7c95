//! `berth network doctor`: why a packet of a network or a container arrives, or doesn't. Everything is tried where it can be
//! tried: connections from the host and from within containers, questions to name servers.
//!
//! It changes nothing, and what it finds wrong it has found twice: see [`crate::doctor`].
//!
//! - [`kernel`]: the table of rules, bridges, routing rules, other firewalls
//! - [`container`]: links, addresses, routes, names
//! - [`ports`]: published ports; [`listen`]: who listens in a container

use super::endpoint::{self, Attached};
use super::{Network, up};
use crate::cell::Cell;
use crate::doctor::{self, Diagnosis, Finding, Status};
use crate::request::NetworkMode;
use crate::{Config, Error, Home};
use net::route::Links;
use std::time::{Duration, Instant};

mod container;
mod kernel;
mod listen;
mod ports;

/// How long one thing is waited for.
const PROBE: Duration = Duration::from_secs(1);

/// How long all of them may take: after that nothing more is tried.
const PROBES: Duration = Duration::from_secs(20);

/// Most open ports that are named.
const OPEN_MAX: usize = 20;

const NETWORK: &str = "network";
const FIREWALL: &str = "firewall";
const CONTAINER: &str = "container";
const NAME: &str = "name";
const PORT: &str = "port";
const OPEN: &str = "open";

const REPAIR: &str = "berth network repair";

/// What is looked at.
enum Subject {
    /// A network with all that is on it.
    Network(Box<Network>),
    /// A running container with its networks.
    Container(Box<Patient>),
}

/// A running container.
struct Patient {
    cell: Cell,
    config: Config,
    attached: Attached,
    pid: i32,
}

impl Patient {
    /// `None` unless it runs.
    fn of(cell: Cell) -> Option<Patient> {
        let config = cell.config()?;
        let init = cell.running()?.init;
        init.open()?;
        let attached = endpoint::attached(&cell).unwrap_or_default();
        Some(Patient { pid: init.pid, cell, config, attached })
    }

    /// All that run. They are only read: a command that brought them in order would hide what is wrong.
    fn all(home: &Home) -> Vec<Patient> {
        Cell::all(home).into_iter().filter_map(Patient::of).collect()
    }
}

/// Until when things are tried.
#[derive(Clone, Copy)]
struct Patience(Instant);

impl Patience {
    /// How long the next thing may be waited for; `None` if nothing is to be tried any more.
    fn next(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| left.min(PROBE))
    }
}

/// Tries all of the network or container that a user calls `given`. A network comes before a container of the same name, a
/// name before the beginning of an id.
pub fn doctor(home: &Home, given: &str) -> Result<Diagnosis, Error> {
    let subject = subject(home, given)?;
    let patience = Patience(Instant::now() + PROBES);
    Ok(Diagnosis::of(doctor::lasting(|| look(home, &subject, patience))))
}

fn subject(home: &Home, given: &str) -> Result<Subject, Error> {
    let mut running = Patient::all(home);
    let named = running.iter().position(|own| own.config.name == given || own.config.id == given);
    match (super::find(home, given), named) {
        (Ok(network), named) if named.is_none() || network.name == given || network.id == given => {
            return Ok(Subject::Network(Box::new(network)));
        }
        (_, Some(index)) => return Ok(Subject::Container(Box::new(running.swap_remove(index)))),
        (Ok(_) | Err(Error::NoNetwork { .. }), None) => {}
        (Err(error), None) => return Err(error),
    }
    let is_prefix = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_hexdigit());
    running.retain(|own| is_prefix && own.config.id.starts_with(given));
    match (running.pop(), running.len()) {
        (Some(only), 0) => Ok(Subject::Container(Box::new(only))),
        (Some(last), _) => {
            let ids: Vec<&str> = running.iter().chain([&last]).map(|own| &own.config.id[..12]).collect();
            Err(Error::Ambiguous { given: given.to_owned(), matches: ids.join(", ") })
        }
        (None, _) => match crate::find::container(home, given) {
            Ok(found) => Err(Error::Refused {
                what: format!("try the network of {}", found.config.name),
                why: "the container is not running".to_owned(),
                hint: format!("berth start {}", found.config.name),
            }),
            Err(Error::NoContainer { given }) => Err(Error::Refused {
                what: format!("try the network of {given}"),
                why: "there is neither a network nor a container of that name".to_owned(),
                hint: "`berth network ls` lists networks, `berth ps` running containers".to_owned(),
            }),
            Err(error) => Err(error),
        },
    }
}

fn look(home: &Home, subject: &Subject, patience: Patience) -> Vec<Finding> {
    let mut links = match Links::open() {
        Ok(links) => links,
        Err(errno) => {
            let why = format!("no netlink socket can be opened: {errno}");
            return vec![Finding::new(NETWORK, "netlink", Status::Wrong, why)];
        }
    };
    let all = Patient::all(home);
    let is_subject = |patient: &&Patient| match subject {
        Subject::Network(network) => patient.attached.endpoints.iter().any(|e| e.network_id == network.id),
        Subject::Container(own) => patient.config.id == own.config.id,
    };
    let patients: Vec<&Patient> = all.iter().filter(is_subject).collect();
    let networks: Vec<Network> = match subject {
        Subject::Network(network) => {
            vec![up::read(home, &network.name).unwrap_or_else(|| (**network).clone())]
        }
        Subject::Container(own) => {
            own.attached.endpoints.iter().filter_map(|e| up::read(home, &e.network)).collect()
        }
    };
    let mut findings = Vec::new();
    if let Subject::Container(own) = subject {
        match patients.first() {
            None => {
                let why = "has ended meanwhile";
                return vec![Finding::new(CONTAINER, own.config.name.clone(), Status::Wrong, why)];
            }
            Some(own) if own.attached.endpoints.is_empty() => return vec![without_networks(own)],
            Some(_) => {}
        }
    }
    for network in &networks {
        findings.extend(kernel::network(home, network, &mut links, !patients.is_empty()));
    }
    if !up::networks(home).is_empty() {
        findings.extend(kernel::rules(home));
    }
    for patient in &patients {
        findings.extend(container::findings(patient, &mut links, patience));
    }
    for patient in &patients {
        findings.extend(ports::findings(home, patient, patience));
    }
    findings.push(open(patients.iter().copied()));
    // By what was looked at; within that as it was.
    const ORDER: [&str; 6] = [NETWORK, FIREWALL, CONTAINER, NAME, PORT, OPEN];
    findings.sort_by_key(|finding| ORDER.iter().position(|area| *area == finding.area));
    findings
}

/// A container that has no link of its own.
fn without_networks(patient: &Patient) -> Finding {
    let detail = match &patient.config.request.network {
        NetworkMode::Host => "is in the host's network: what the host reaches it reaches".to_owned(),
        NetworkMode::None => "has no network but its own loopback, as was asked for".to_owned(),
        _ => "has no link of its own: the network that it's in is another's".to_owned(),
    };
    Finding::new(CONTAINER, patient.config.name.clone(), Status::Ok, detail)
}

/// What others reach from outside.
fn open<'p>(patients: impl Iterator<Item = &'p Patient>) -> Finding {
    let mut all = Vec::new();
    for patient in patients {
        let open = patient.attached.ports.iter().filter(|port| !port.host.is_loopback());
        all.extend(open.map(|port| {
            let host = std::net::SocketAddr::new(port.host, port.host_port);
            format!("{host}/{} ({})", port.protocol.word(), patient.config.name)
        }));
    }
    let more = all.len().saturating_sub(OPEN_MAX);
    all.truncate(OPEN_MAX);
    let detail = match (&all[..], more) {
        ([], _) => "no published port".to_owned(),
        (all, 0) => all.join(", "),
        (all, more) => format!("{}, and {more} more", all.join(", ")),
    };
    Finding::new(OPEN, "to other machines", Status::Ok, detail)
}

/// For `berth doctor`: whether all that should be up is up, by reading alone, and what is open.
pub(crate) fn state(home: &Home) -> Vec<Finding> {
    let networks = up::networks(home);
    if networks.is_empty() {
        return vec![Finding::new(NETWORK, "networks", Status::Ok, "none is up")];
    }
    let Ok(mut links) = Links::open() else { return Vec::new() };
    let patients = Patient::all(home);
    let found = networks.iter().flat_map(|network| kernel::network(home, network, &mut links, true));
    let mut findings: Vec<Finding> = found.collect();
    findings.extend(kernel::rules(home));
    for patient in &patients {
        findings.extend(patient.attached.endpoints.iter().filter_map(|endpoint| {
            Some(container::outer(patient, endpoint, &mut links)).filter(|f| f.status != Status::Ok)
        }));
    }
    let up = doctor::count(networks.len(), "network");
    findings.retain(|finding| finding.status != Status::Ok);
    if findings.is_empty() {
        let on = patients.iter().filter(|patient| !patient.attached.endpoints.is_empty()).count();
        let detail = format!("{up} up, {} on them", doctor::count(on, "container"));
        findings.push(Finding::new(NETWORK, "networks", Status::Ok, detail));
    }
    findings.push(open(patients.iter()));
    findings.into_iter().map(|finding| Finding { area: NETWORK, ..finding }).collect()
}
