//! A container's links, and what it reaches from within.

use super::super::endpoint::{Endpoint, netns, within};
use super::super::{NAMES_FILE, files};
use super::{CONTAINER, NAME, PROBE, Patience, Patient, REPAIR};
use crate::doctor::{Finding, Status};
use net::dns::{self, Resolver, ask::ask};
use net::route::Links;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};

/// A port where nobody listens: who refuses a connection there has been reached. The service "discard".
const DISCARD: u16 = 9;

/// Port of name servers.
const DNS: u16 = 53;

/// Most resolvers that are asked.
const RESOLVERS_MAX: usize = 3;

/// ATF_COM of `/proc/net/arp`: the neighbour has answered.
const ARP_COMPLETE: u32 = 2;

/// All of one container.
pub(super) fn findings(patient: &Patient, links: &mut Links, patience: Patience) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        patient.attached.endpoints.iter().map(|endpoint| outer(patient, endpoint, links)).collect();
    let entered = netns(patient.pid).and_then(|inside| within(&inside, || inside_of(patient, patience)));
    match entered {
        Ok(found) => findings.extend(found),
        Err(error) => {
            let name = format!("{}: network namespace", patient.config.name);
            findings.push(Finding::new(CONTAINER, name, Status::Wrong, error.to_string()));
        }
    }
    findings.extend(upstreams(patient, patience));
    findings
}

fn title(patient: &Patient, endpoint: &Endpoint, what: &str) -> String {
    format!("{}: {what} on {}", patient.config.name, endpoint.network)
}

/// Its link's end on the host.
pub(super) fn outer(patient: &Patient, endpoint: &Endpoint, links: &mut Links) -> Finding {
    let name = title(patient, endpoint, "link");
    let wrong = |detail: String| Finding::new(CONTAINER, name.clone(), Status::Wrong, detail);
    let own = &endpoint.link;
    let link = match links.link(own) {
        Ok(Some(link)) => link,
        Ok(None) => {
            return wrong(format!("{own} isn't there: somebody has removed it")).advise(again(patient));
        }
        Err(errno) => return wrong(format!("{own} can't be looked for: {errno}")),
    };
    let bridge = links.link(&endpoint.bridge).ok().flatten();
    if link.master.is_none() || link.master != bridge.map(|bridge| bridge.index) {
        return wrong(format!("{own} is no port of {}", endpoint.bridge)).advise(REPAIR);
    }
    if !link.up {
        return wrong(format!("{own} is down")).advise(format!("ip link set {own} up"));
    }
    Finding::new(CONTAINER, name, Status::Ok, format!("{own} is up, a port of {}", endpoint.bridge))
}

fn again(patient: &Patient) -> String {
    format!("berth restart {}", patient.config.name)
}

/// In its network namespace.
fn inside_of(patient: &Patient, patience: Patience) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut links = match Links::open() {
        Ok(links) => links,
        Err(errno) => {
            let name = format!("{}: network namespace", patient.config.name);
            let detail = format!("no netlink socket can be opened in it: {errno}");
            return vec![Finding::new(CONTAINER, name, Status::Wrong, detail)];
        }
    };
    for endpoint in &patient.attached.endpoints {
        findings.push(inner(patient, endpoint, &mut links));
        for gateway in &endpoint.gateways {
            findings.push(reaches(patient, endpoint, *gateway, patience));
        }
    }
    if files::has_server(&patient.attached) {
        findings.push(own_name(patient, patience));
    }
    findings
}

/// Its end of a link, its addresses and its default routes.
fn inner(patient: &Patient, endpoint: &Endpoint, links: &mut Links) -> Finding {
    let name = title(patient, endpoint, "addresses");
    let own = &endpoint.inner;
    let wrong =
        |detail: String| Finding::new(CONTAINER, name.clone(), Status::Wrong, detail).advise(again(patient));
    let link = match links.link(own) {
        Ok(Some(link)) => link,
        Ok(None) => return wrong(format!("the container has no link {own}")),
        Err(errno) => return wrong(format!("{own} can't be looked for in the container: {errno}")),
    };
    if !link.up {
        return wrong(format!("{own} is down in the container"));
    }
    if link.mac != endpoint.mac {
        return wrong(format!(
            "{own} has another hardware address than {}: what it sends is dropped",
            endpoint.mac_text()
        ));
    }
    let has = links.addresses_of(link.index).unwrap_or_default();
    if let Some(missing) = endpoint.addresses().find(|address| !has.contains(address)) {
        return wrong(format!("{own} has lost its address {missing}"));
    }
    let routes = links.routes().unwrap_or_default();
    for gateway in endpoint.gateways.iter().filter(|_| endpoint.is_default) {
        if !routes.iter().any(|route| route.to.prefix() == 0 && route.gateway == Some(*gateway)) {
            return wrong(format!("it has no default route over {gateway}"));
        }
    }
    let addresses: Vec<String> = endpoint.addresses().map(|address| address.to_string()).collect();
    let route = if endpoint.is_default { ", with the default route" } else { "" };
    Finding::new(CONTAINER, name, Status::Ok, format!("{own} has {}{route}", addresses.join(", ")))
}

/// Whether it reaches the host's address on its network.
fn reaches(patient: &Patient, endpoint: &Endpoint, gateway: IpAddr, patience: Patience) -> Finding {
    let name = title(patient, endpoint, &format!("gateway {gateway}"));
    let found = |status, detail: String| Finding::new(CONTAINER, name.clone(), status, detail);
    let Some(limit) = patience.next() else { return found(Status::Lacking, NOT_TRIED.to_owned()) };
    let error = match TcpStream::connect_timeout(&SocketAddr::new(gateway, DISCARD), limit) {
        Err(error) if error.kind() != ErrorKind::ConnectionRefused => error,
        _ => return found(Status::Ok, "answers from within the container".to_owned()),
    };
    let is_neighbour = std::fs::read_to_string(format!("/proc/{}/net/arp", patient.pid))
        .is_ok_and(|text| has_answered(&text, gateway));
    if is_neighbour {
        let detail = "answers ARP; the host drops what containers send to the host itself";
        return found(Status::Ok, detail.to_owned());
    }
    found(Status::Wrong, format!("isn't reached from within the container: {}", words(&error)))
        .advise("what is wrong with the bridge and the links above is why; else a filter of the host's")
}

pub(super) const NOT_TRIED: &str = "not tried: what was tried before took too long";

/// Whether a neighbour has answered, by the text of `/proc/net/arp`.
fn has_answered(text: &str, neighbour: IpAddr) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_it = words.next().and_then(|word| word.parse().ok()) == Some(neighbour);
        let flags = words.nth(1).and_then(|word| u32::from_str_radix(word.trim_start_matches("0x"), 16).ok());
        is_it && flags.is_some_and(|flags| flags & ARP_COMPLETE != 0)
    })
}

/// An error of a probe, in words.
pub(super) fn words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => format!("no answer within {} s", PROBE.as_secs()),
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => linux::Errno::from_io_error(error).map_or_else(|| error.to_string(), |errno| errno.to_string()),
    }
}

/// Whether its name server knows it.
fn own_name(patient: &Patient, patience: Patience) -> Finding {
    let config = &patient.config;
    let title = format!("{}: name server", config.name);
    let found = |status, detail: String| Finding::new(NAME, title.clone(), status, detail);
    let named = patient.attached.endpoints.iter().filter(|endpoint| endpoint.has_names);
    let Some(address) = named.flat_map(Endpoint::addresses).next() else {
        return found(Status::Ok, "has nothing to say of it".to_owned());
    };
    let Some(limit) = patience.next() else { return found(Status::Lacking, NOT_TRIED.to_owned()) };
    let server = SocketAddr::new(dns::ADDRESS.into(), DNS);
    let mends = format!("`berth ps` gives it a new keeper if it has none; else {}", again(patient));
    match ask(server, &config.name, address.is_v6(), limit) {
        Ok(answered) if answered.addresses.contains(&address.address()) => {
            found(Status::Ok, format!("{server} says that {} is {}", config.name, address.address()))
        }
        Ok(answered) => {
            let detail = format!(
                "{server} doesn't know the container's own name {}: code {}, {} addresses",
                config.name,
                answered.rcode,
                answered.addresses.len()
            );
            found(Status::Wrong, detail).advise(again(patient))
        }
        Err(error) => {
            found(Status::Wrong, format!("{server} doesn't answer: {}", words(&error))).advise(mends)
        }
    }
}

/// Whether those answer who are asked for names of elsewhere.
fn upstreams(patient: &Patient, patience: Patience) -> Vec<Finding> {
    let has_server = files::has_server(&patient.attached);
    let known = std::fs::read_to_string(patient.cell.path.join(NAMES_FILE)).ok();
    let resolver = known.and_then(|text| Resolver::parse(&text).ok()).unwrap_or_default();
    if has_server && !resolver.forward {
        return Vec::new();
    }
    let asked = &patient.config.request.net.dns;
    let mut servers = match (has_server && !resolver.upstreams.is_empty(), asked.is_empty()) {
        (true, _) => resolver.upstreams,
        (false, false) => asked.iter().map(|server| SocketAddr::new(*server, DNS)).collect(),
        (false, true) => files::host_resolvers().servers,
    };
    servers.truncate(RESOLVERS_MAX);
    let title = format!("{}: resolvers", patient.config.name);
    let found = |status, detail: String| vec![Finding::new(NAME, title.clone(), status, detail)];
    if servers.is_empty() {
        let detail = "nobody is named in /etc/resolv.conf: only names of containers are known".to_owned();
        return found(Status::Lacking, detail);
    }
    let ask_all = || {
        let answer = |server: &SocketAddr| {
            let answer = patience.next().map(|limit| ask(*server, "", false, limit));
            let word = match &answer {
                None => "not tried".to_owned(),
                Some(Ok(_)) => "answers".to_owned(),
                Some(Err(error)) => words(error),
            };
            (format!("{server}: {word}"), matches!(answer, Some(Ok(_))))
        };
        servers.iter().map(answer).collect::<Vec<_>>()
    };
    // Its own server asks from the host's network; a program without one from the container's.
    let asked = match has_server {
        true => Ok(ask_all()),
        false => netns(patient.pid).and_then(|inside| within(&inside, ask_all)),
    };
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return found(Status::Wrong, error.to_string()),
    };
    let detail = asked.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("; ");
    if asked.iter().any(|(_, answers)| *answers) {
        return found(Status::Ok, detail);
    }
    let whence = if has_server { "from the host" } else { "from within the container" };
    vec![
        Finding::new(NAME, title, Status::Wrong, format!("nobody answers {whence}: {detail}"))
            .advise("see to /etc/resolv.conf and the host's own way out, or name others: --dns"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_answered_are_told_from_those_that_did_not() {
        let text = "IP address       HW type     Flags       HW address            Mask     Device\n\
                    10.0.0.1         0x1         0x2         02:42:0a:00:00:01     *        eth0\n\
                    10.0.0.9         0x1         0x0         00:00:00:00:00:00     *        eth0\n";
        assert!(has_answered(text, IpAddr::from([10, 0, 0, 1])));
        assert!(!has_answered(text, IpAddr::from([10, 0, 0, 9])));
        assert!(!has_answered(text, IpAddr::from([10, 0, 0, 2])));
    }
}
