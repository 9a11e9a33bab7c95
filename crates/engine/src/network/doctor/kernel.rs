//! What the kernel has of networks: bridges, routing rules, the table, other firewalls.

use super::super::{Network, rules, up};
use super::{FIREWALL, NETWORK, REPAIR};
use crate::Home;
use crate::doctor::{Finding, Status, count};
use net::bridge;
use net::nft::State;
use net::route::Links;

/// How a network's bridge is. `used` says that containers are on it.
pub(super) fn network(home: &Home, network: &Network, links: &mut Links, used: bool) -> Vec<Finding> {
    let name = network.bridge(home);
    if network.driver != "bridge" {
        let detail = format!("driver {}: there is nothing to be looked at", network.driver);
        return vec![Finding::new(NETWORK, network.name.clone(), Status::Ok, detail)];
    }
    if up::read(home, &network.name).is_none() {
        let found = Finding::new(NETWORK, format!("{}: bridge", network.name), Status::Ok, "");
        return vec![match used {
            false => Finding { detail: "isn't up: the first container brings it up".to_owned(), ..found },
            true => {
                let detail = "isn't known to be up, though containers are on it".to_owned();
                Finding { status: Status::Wrong, detail, ..found }
                    .advise("start one more container on it, or those that are on it anew")
            }
        }];
    }
    let mut findings = vec![bridge_of(network, &name, links)];
    let title = |what: &str| format!("{}: {what}", network.name);
    let failed = |what: &str, error: String| Finding::new(NETWORK, title(what), Status::Wrong, error);
    findings.push(match bridge::missing_rules(links, &name, &up::addresses(network)) {
        Ok(missing) if missing.is_empty() => {
            let detail = "nothing is forwarded while berth's table isn't there";
            Finding::new(NETWORK, title("routing rules"), Status::Ok, detail)
        }
        Ok(missing) => {
            let detail = format!("not there: {}", missing.join(", "));
            failed("routing rules", detail).advise(REPAIR)
        }
        Err(errno) => failed("routing rules", format!("can't be listed: {errno}")),
    });
    findings.push(forwarding(network, &name));
    findings
}

/// The link and its addresses.
fn bridge_of(network: &Network, name: &str, links: &mut Links) -> Finding {
    let wrong = |detail: String| {
        Finding::new(NETWORK, format!("{}: bridge", network.name), Status::Wrong, detail).advise(REPAIR)
    };
    let link = match links.link(name) {
        Ok(Some(link)) => link,
        Ok(None) => return wrong(format!("{name} isn't there: somebody has removed it")),
        Err(errno) => return wrong(format!("{name} can't be looked for: {errno}")),
    };
    if link.kind.as_deref() != Some("bridge") {
        let kind = link.kind.as_deref().unwrap_or("no virtual link");
        return wrong(format!("{name} is none, but {kind}"))
            .advise(format!("rename that link: ip link set {name} down name OTHER; then {REPAIR}"));
    }
    if !link.up {
        return wrong(format!("{name} is down"));
    }
    if link.alias.as_deref() != Some(&up::note(network)) {
        return wrong(format!("{name} doesn't bear the note of this network: it isn't whole, or another's"));
    }
    let own = links.addresses_of(link.index).unwrap_or_default();
    let missing: Vec<String> =
        up::addresses(network).into_iter().filter(|a| !own.contains(a)).map(|a| a.to_string()).collect();
    if !missing.is_empty() {
        return wrong(format!("{name} lacks the address {}", missing.join(", ")));
    }
    let all: Vec<String> = up::addresses(network).iter().map(ToString::to_string).collect();
    Finding::new(
        NETWORK,
        format!("{}: bridge", network.name),
        Status::Ok,
        format!("{name} is up with {}", all.join(", ")),
    )
}

/// The sysctls that let packets pass.
fn forwarding(network: &Network, bridge: &str) -> Finding {
    let reads = |below: &str| std::fs::read_to_string(format!("/proc/sys/net/{below}")).unwrap_or_default();
    let mut off = Vec::new();
    let mut needs = |below: String| {
        if reads(&below).trim_end() != "1" {
            off.push(format!("net.{}", below.replace('/', ".")));
        }
    };
    needs(format!("ipv4/conf/{bridge}/route_localnet"));
    if !network.internal {
        needs("ipv4/ip_forward".to_owned());
        if network.pools.iter().any(|pool| pool.subnet.is_v6()) {
            needs("ipv6/conf/all/forwarding".to_owned());
        }
    }
    let name = format!("{}: forwarding", network.name);
    if off.is_empty() {
        let detail = if network.internal { "none: the network is internal" } else { "the host forwards" };
        return Finding::new(NETWORK, name, Status::Ok, detail);
    }
    let advice = format!("{REPAIR}; and find out who switches it off, as in /etc/sysctl.d");
    Finding::new(NETWORK, name, Status::Wrong, format!("not 1: {}", off.join(", "))).advise(advice)
}

/// The table of rules, and those of others.
pub(super) fn rules(home: &Home) -> Vec<Finding> {
    let mut findings = vec![table(home)];
    let name = "other firewalls";
    match rules::obstacles(home) {
        Ok(obstacles) if obstacles.is_empty() => {
            let detail = "none drops what networks forward";
            findings.push(Finding::new(FIREWALL, name, Status::Ok, detail));
        }
        Ok(obstacles) => findings.extend(obstacles.iter().map(|obstacle| {
            // What can't be read isn't known to be wrong.
            let status = if obstacle.does.starts_with("may") { Status::Lacking } else { Status::Wrong };
            let detail = format!("{} {}", obstacle.chain, obstacle.does);
            Finding::new(FIREWALL, name, status, detail).advise(obstacle.advice.join("; "))
        })),
        Err(error) => {
            findings.push(Finding::new(FIREWALL, name, Status::Wrong, error.to_string()));
        }
    }
    let title = "published ports";
    match rules::undecided(home) {
        Ok(None) => {}
        Ok(Some(why)) => findings.push(
            Finding::new(FIREWALL, title, Status::Wrong, why)
                .advise("add a chain at forward that drops what it doesn't know, as docs/firewall.md shows"),
        ),
        Err(error) => findings.push(Finding::new(FIREWALL, title, Status::Wrong, error.to_string())),
    }
    findings
}

fn table(home: &Home) -> Finding {
    let name = format!("table inet {}", home.table());
    let wrong = |detail: String| Finding::new(FIREWALL, name.clone(), Status::Wrong, detail).advise(REPAIR);
    let found = match rules::found(home) {
        Ok(Some(found)) => found,
        Ok(None) => return wrong("isn't there: somebody has flushed the rules".to_owned()),
        Err(error) => return wrong(format!("can't be read: {error}")),
    };
    if !found.broken.is_empty() {
        return wrong(format!("somebody has changed its chains {}", found.broken.join(", ")));
    }
    let (wanted, state) = (rules::wanted(home).normalized(), found.state);
    let differences = differences(&wanted, &state);
    if !differences.is_empty() {
        return wrong(differences);
    }
    let detail = format!(
        "knows {}, {}, {}",
        count(state.networks.len(), "network"),
        count(state.endpoints.len(), "endpoint"),
        count(state.ports.len(), "port")
    );
    match found.guarded {
        true => Finding::new(FIREWALL, name, Status::Ok, detail),
        false => Finding::new(FIREWALL, name, Status::Lacking, detail)
            .advise("the kernel has no nftables for bridges: a container may pretend to be its neighbour"),
    }
}

/// What the table lacks and what it has too much, in words; empty if nothing.
fn differences(wanted: &State, found: &State) -> String {
    fn of<T: PartialEq>(wanted: &[T], found: &[T], word: impl Fn(&T) -> String) -> [Vec<String>; 2] {
        let less = wanted.iter().filter(|one| !found.contains(one)).map(&word);
        [less.collect(), found.iter().filter(|one| !wanted.contains(one)).map(word).collect()]
    }
    let all = [
        of(&wanted.networks, &found.networks, |network| format!("network {}", network.bridge)),
        of(&wanted.endpoints, &found.endpoints, |endpoint| format!("endpoint {}", endpoint.port)),
        sorted_of(&wanted.ports, &found.ports),
    ];
    let words = |index: usize, begin: &str| {
        let mut words: Vec<&str> = all.iter().flat_map(|two| &two[index]).map(String::as_str).collect();
        let more = words.len().saturating_sub(super::OPEN_MAX);
        words.truncate(super::OPEN_MAX);
        match (words.is_empty(), more) {
            (true, _) => None,
            (false, 0) => Some(format!("{begin} {}", words.join(", "))),
            (false, more) => Some(format!("{begin} {}, and {more} more", words.join(", "))),
        }
    };
    let both: Vec<String> =
        [words(0, "doesn't know"), words(1, "still knows")].into_iter().flatten().collect();
    both.join("; ")
}

/// The same of ports, of which there may be very many: both are sorted.
fn sorted_of(wanted: &[net::nft::Port], found: &[net::nft::Port]) -> [Vec<String>; 2] {
    let less = |all: &[net::nft::Port], of: &[net::nft::Port]| {
        let missing = all.iter().filter(|port| of.binary_search(port).is_err());
        missing.map(|port| format!("port {port}")).collect()
    };
    [less(wanted, found), less(found, wanted)]
}
