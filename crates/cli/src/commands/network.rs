//! `berth network create`, `ls`, `inspect`, `rm`, `prune`, `connect`, `disconnect`, `take-over`, `repair`, `doctor`.

use engine::request::{
    EndpointRequest, NetworkConnectRequest, NetworkCreateRequest, NetworkFilter, NetworkPruneRequest,
    PoolRequest,
};
use net::subnet::Subnet;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{inspect, print, print_outcomes};
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed, parse_bool};
use crate::format::{Format, colour, networks};
use crate::parse::{env, filter, network};
use crate::{backend, suggest, unsupported};

/// Flags and arguments of `create`.
pub static CREATE: CommandSpec = CommandSpec {
    usage: "[OPTIONS] NETWORK",
    about: "Make a network",
    flags: &[(
        "Options",
        &[
            Flag::one("driver", "string", "Driver: bridge").short('d'),
            Flag::many("subnet", "strings", "Subnet, such as 10.1.0.0/16 or fd00:1::/64"),
            Flag::many("ip-range", "strings", "Part of the subnet that containers get addresses from"),
            Flag::many("gateway", "strings", "The host's address in the subnet"),
            Flag::many("aux-address", "map", "Address that is somebody else's, NAME=IP"),
            Flag::switch("internal", "No way out of it, and none in"),
            Flag::switch("ipv4", "Give containers addresses of IPv4 (default true)"),
            Flag::switch("ipv6", "Give containers addresses of IPv6"),
            Flag::switch("attachable", "Has no effect: every container may be put on it"),
            Flag::many("label", "list", "Label, KEY=VALUE"),
            Flag::many("opt", "map", "Option of the driver: com.docker.network.bridge.enable_icc=false, …")
                .short('o'),
            Flag::one("ipam-driver", "string", "Who gives out addresses: default"),
            Flag::one("scope", "string", "local"),
        ],
    )],
    unsupported: unsupported::NETWORK_CREATE,
    args: (1, 1),
    trailing: false,
};

/// Flags and arguments of `ls`.
pub static LIST: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "List networks",
    flags: &[(
        "Options",
        &[
            Flag::many(
                "filter",
                "filter",
                "Show those with KEY=VALUE: driver, id, label, name, scope, type, dangling",
            )
            .short('f'),
            Flag::one("format", "string", "table, table TEMPLATE, json, or a Go template"),
            Flag::switch("no-trunc", "Show ids whole"),
            Flag::switch("quiet", "Show ids only").short('q'),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Flags and arguments of `inspect`.
pub static INSPECT: CommandSpec = CommandSpec {
    usage: "[OPTIONS] NETWORK [NETWORK...]",
    about: "Show all about networks",
    flags: &[(
        "Options",
        &[
            Flag::one("format", "string", "json, or a Go template").short('f'),
            Flag::switch("verbose", "Has no effect: there are no services of a swarm").short('v'),
        ],
    )],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `rm`.
pub static REMOVE: CommandSpec = CommandSpec {
    usage: "[OPTIONS] NETWORK [NETWORK...]",
    about: "Remove networks that no container is on",
    flags: &[("Options", &[Flag::switch("force", "Pass over those that don't exist").short('f')])],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `prune`.
pub static PRUNE: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Remove networks that no container has",
    flags: &[(
        "Options",
        &[
            Flag::many(
                "filter",
                "filter",
                "Remove only those with until=…, label=KEY[=VALUE], or label!=KEY[=VALUE]",
            ),
            Flag::switch("force", "Don't ask").short('f'),
            Flag::switch("dry-run", "Tell what would be removed, and remove nothing"),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Flags and arguments of `connect`.
pub static CONNECT: CommandSpec = CommandSpec {
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Put a container on a network, running or not",
    flags: &[(
        "Options",
        &[
            Flag::many("alias", "strings", "Another name of it on the network"),
            Flag::one("ip", "ip", "Address of IPv4"),
            Flag::one("ip6", "ip", "Address of IPv6"),
            Flag::many("link", "list", "Another container, by a name of this one's own"),
            Flag::many("link-local-ip", "strings", "Link-local address"),
            Flag::many("driver-opt", "strings", "Option of the driver for this endpoint"),
            Flag::one("gw-priority", "int", "The highest of a container's networks gives the default route"),
        ],
    )],
    unsupported: &[],
    args: (2, 2),
    trailing: false,
};

/// Flags and arguments of `disconnect`.
pub static DISCONNECT: CommandSpec = CommandSpec {
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Take a container off a network, running or not",
    flags: &[(
        "Options",
        &[Flag::switch("force", "Has no effect: a container that is gone is on no network").short('f')],
    )],
    unsupported: &[],
    args: (2, 2),
    trailing: false,
};

/// Flags and arguments of `take-over`.
pub static TAKE_OVER: CommandSpec = CommandSpec {
    usage: "CONTAINER",
    about: "Lead the published ports that a container waits for to it (run --publish-from)",
    flags: &[],
    unsupported: &[],
    args: (1, 1),
    trailing: false,
};

/// Flags and arguments of `repair`.
pub static REPAIR: CommandSpec = CommandSpec {
    usage: "",
    about: "Make bridges and rules anew that somebody has taken away",
    flags: &[],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Flags and arguments of `doctor`.
pub static DOCTOR: CommandSpec = CommandSpec {
    usage: "[OPTIONS] NETWORK|CONTAINER",
    about: "Try why packets of a network or a container arrive or don't",
    flags: &[(
        "Options",
        &[
            Flag::one("format", "string", "json, or a Go template").short('f'),
            Flag::switch("quiet", "Show only what is wrong").short('q'),
        ],
    )],
    unsupported: &[],
    args: (1, 1),
    trailing: false,
};

/// What networks are filtered by.
pub const LIST_KEYS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/// Makes a network and prints its id.
pub fn create(parsed: &Parsed) -> Result<u8, Failure> {
    print(&format!("{}\n", backend::create_network(&create_request(parsed)?)?))?;
    Ok(0)
}

/// What the flags of `create` ask for.
pub fn create_request(parsed: &Parsed) -> Result<NetworkCreateRequest, Failure> {
    for (flag, only) in [("ipam-driver", "default"), ("scope", "local")] {
        if let Some(other) = parsed.one(flag).filter(|text| !text.is_empty() && *text != only) {
            return Err(parsed.bad(flag, other, BadValue::new(format!("{only} is the only one"))));
        }
    }
    let ipv6 = parsed.switch("ipv6");
    // What is wrong with them, docker's daemon says: an ordinary failure.
    let subnets: Vec<Subnet> = parsed.each("subnet", subnet).map_err(|failure| failure.code(1))?;
    Ok(NetworkCreateRequest {
        name: parsed.args().pop().unwrap_or_default(),
        driver: parsed.one("driver").map(str::to_owned),
        options: parsed.each("opt", env::label)?.into_iter().collect(),
        labels: parsed.each("label", env::label)?.into_iter().collect(),
        pools: pools(parsed, &subnets).map_err(|failure| failure.code(1))?,
        internal: parsed.switch("internal"),
        attachable: parsed.switch("attachable"),
        ipv4: parsed.switch_or("ipv4", true),
        // A subnet of IPv6 asks for it, as with docker.
        ipv6: ipv6 || subnets.iter().any(|subnet| subnet.is_v6()) && parsed.one("ipv6").is_none(),
    })
}

fn subnet(text: &str) -> Result<Subnet, BadValue> {
    text.parse().map_err(|error: net::subnet::NoSubnet| BadValue::new(error.to_string()))
}

/// Each range, gateway and reserved address goes to the subnet that it lies in.
fn pools(parsed: &Parsed, subnets: &[Subnet]) -> Result<Vec<PoolRequest>, Failure> {
    let mut pools: Vec<PoolRequest> = subnets
        .iter()
        .map(|subnet| PoolRequest { subnet: Some(*subnet), ..PoolRequest::default() })
        .collect();
    let none = |what: &str, value: &dyn std::fmt::Display| {
        parsed.wrong(format!("no matching subnet for {what} {value}"))
    };
    for range in parsed.each("ip-range", subnet)? {
        let pool = pools.iter_mut().find(|pool| pool.subnet.is_some_and(|subnet| subnet.covers(range)));
        match pool {
            Some(pool) if pool.range.is_none() => pool.range = Some(range),
            Some(_) => return Err(parsed.wrong("cannot configure multiple ranges on the same subnet")),
            None => return Err(none("range", &range)),
        }
    }
    let at = |pools: &mut Vec<PoolRequest>, address: IpAddr| {
        pools.iter().position(|pool| pool.subnet.is_some_and(|subnet| subnet.contains(address)))
    };
    for gateway in parsed.each("gateway", network::ip)? {
        let Some(index) = at(&mut pools, gateway) else { return Err(none("gateway", &gateway)) };
        if pools[index].gateway.replace(gateway).is_some() {
            return Err(parsed.wrong("cannot configure multiple gateways for the same subnet"));
        }
    }
    for (name, address) in parsed.each("aux-address", aux)? {
        let Some(index) = at(&mut pools, address) else { return Err(none("aux-address", &address)) };
        pools[index].reserved.insert(name, address);
    }
    Ok(pools)
}

fn aux(text: &str) -> Result<(String, IpAddr), BadValue> {
    let (name, address) =
        text.split_once('=').ok_or_else(|| BadValue::new("it's not of the form NAME=IP"))?;
    Ok((name.to_owned(), network::ip(address)?))
}

fn list_filter(key: &str, value: &str) -> Result<NetworkFilter, BadValue> {
    Ok(match key {
        "dangling" => NetworkFilter::Dangling(
            parse_bool(value).ok_or_else(|| BadValue::new("dangling is true or false"))?,
        ),
        "driver" => NetworkFilter::Driver(value.to_owned()),
        "id" => NetworkFilter::Id(value.to_owned()),
        "label" => {
            let (key, value) = filter::label(value);
            NetworkFilter::Label(key, value)
        }
        "name" => NetworkFilter::Name(value.to_owned()),
        "scope" => NetworkFilter::Scope(value.to_owned()),
        "type" if matches!(value, "builtin" | "custom") => NetworkFilter::Type(value.to_owned()),
        "type" => return Err(BadValue::new("type is builtin or custom")),
        key => {
            return Err(BadValue::new(format!("unknown filter {key:?}"))
                .did_you_mean(suggest::nearest(key, LIST_KEYS)));
        }
    })
}

/// Lists networks.
pub fn list(parsed: &Parsed) -> Result<u8, Failure> {
    let listed = backend::networks(&filter::each(parsed, list_filter)?)?;
    let format = Format::parse(parsed.one("format").unwrap_or_default(), networks::DEFAULT);
    let quiet = parsed.switch("quiet");
    let text = networks::text(&listed, &format, quiet, parsed.switch("no-trunc"))?;
    print(&colour::with_titles(text, &format.or_quiet(quiet, "")))?;
    Ok(0)
}

/// Prints the documents of those that exist, the failures of the others.
pub fn inspect(parsed: &Parsed) -> Result<u8, Failure> {
    let inspect = |given: String| (given.clone(), backend::inspect_network(&given));
    inspect::show(parsed, parsed.args().into_iter().map(inspect).collect())
}

/// Removes networks, and prints the names of those that are gone.
pub fn remove(parsed: &Parsed) -> Result<u8, Failure> {
    print_outcomes(backend::remove_networks(&parsed.args(), parsed.switch("force"))?)
}

/// Asks, removes, and prints what is gone.
pub fn prune(parsed: &Parsed) -> Result<u8, Failure> {
    let (limits, _) = filter::prune(parsed, false)?;
    let request = NetworkPruneRequest {
        labels: limits.labels,
        labels_not: limits.labels_not,
        until_ns: limits.until_ns,
        dry_run: parsed.switch("dry-run"),
    };
    let warning = "WARNING! This will remove all custom networks not used by at least one container.";
    if !request.dry_run && !parsed.switch("force") && !super::confirm(warning)? {
        return Ok(0);
    }
    let pruned = backend::prune_networks(&request)?;
    if !pruned.removed.is_empty() {
        let title = if request.dry_run { "Would delete networks" } else { "Deleted Networks" };
        print(&format!("{title}:\n{}\n\n", pruned.removed.join("\n")))?;
    }
    Ok(0)
}

/// Leads ports of another container to one that waits for them.
pub fn take_over(parsed: &Parsed) -> Result<u8, Failure> {
    backend::take_over_ports(&parsed.args()[0])?;
    Ok(0)
}

/// Makes what the kernel should have of networks, and prints their names.
pub fn repair(_: &Parsed) -> Result<u8, Failure> {
    for name in backend::repair_networks()? {
        print(&format!("{name}\n"))?;
    }
    Ok(0)
}

/// Prints what was tried; 1 if something is wrong.
pub fn doctor(parsed: &Parsed) -> Result<u8, Failure> {
    super::doctor::show(parsed, &backend::network_doctor(&parsed.args()[0])?)
}

/// Puts a container on a network.
pub fn connect(parsed: &Parsed) -> Result<u8, Failure> {
    let mut args = parsed.args();
    let container = args.pop().unwrap_or_default();
    let endpoint = EndpointRequest {
        network: args.pop().unwrap_or_default(),
        aliases: parsed.many("alias").into_iter().map(str::to_owned).collect(),
        ipv4: parsed.parsed("ip", network::ipv4)?,
        ipv6: parsed.parsed("ip6", network::ipv6)?,
        link_local: parsed.each("link-local-ip", network::ip)?,
        options: parsed.each("driver-opt", env::label)?.into_iter().collect::<BTreeMap<_, _>>(),
        gateway_priority: parsed
            .parsed("gw-priority", |text: &str| {
                text.parse().map_err(|_| BadValue::new("it's no whole number"))
            })?
            .unwrap_or_default(),
        mac: None,
    };
    let links = parsed.each("link", network::link)?;
    backend::connect_network(&NetworkConnectRequest { container, endpoint, links })?;
    Ok(0)
}

/// Takes a container off a network.
pub fn disconnect(parsed: &Parsed) -> Result<u8, Failure> {
    let args = parsed.args();
    backend::disconnect_network(&args[0], &args[1])?;
    Ok(0)
}
