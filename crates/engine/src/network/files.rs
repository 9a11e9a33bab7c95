//! `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf` of a container: files in its directory of this boot, bound over the
//! image's. They belong to its root, and are made anew at each start.

use super::endpoint::Attached;
use crate::Error;
use crate::cell::Cell;
use crate::request::{HostAddress, NetworkMode, RunRequest};
use net::dns::{self, Resolvers};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchown, ftruncate, openat};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Names of the files, here and below `/etc`.
pub(crate) const NAMES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// Where a container's own name server listens, in its network namespace.
pub(crate) const DNS: &str = "127.0.0.11";

/// What the host is called by containers, whatever its name.
pub(crate) const HOST: &str = "host.docker.internal";

/// Longest file of the host's that is read, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What the files are made of.
#[derive(Debug)]
pub(crate) struct About<'a> {
    /// What was asked for.
    pub request: &'a RunRequest,
    /// What it has of networks.
    pub attached: &'a Attached,
    /// Its host name.
    pub hostname: &'a str,
    /// The id on the host of its root.
    pub owner: u32,
}

/// A container's host name: that of the host where it has none of its own.
pub(crate) fn hostname(own: Option<String>) -> String {
    own.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// Writes the files, and says what is bound where: target and source.
pub(crate) fn write(cell: &Cell, about: &About<'_>) -> Result<Vec<(String, PathBuf)>, Error> {
    let texts = [hosts(about)?, format!("{}\n", about.hostname), resolv_conf(about)];
    let mut bound = Vec::new();
    for (name, text) in NAMES.iter().zip(texts) {
        let path = cell.path.join(name);
        put(&path, &text, Some(about.owner))?;
        bound.push((format!("/etc/{name}"), path));
    }
    Ok(bound)
}

/// The files of another container's directory, for one that shares its network.
pub(crate) fn of_neighbour(cell: &Cell) -> Vec<(String, PathBuf)> {
    let bound = NAMES.iter().map(|name| (format!("/etc/{name}"), cell.path.join(name)));
    bound.filter(|(_, path)| path.exists()).collect()
}

/// Writes the files that name addresses anew, over what is bound into the container.
pub(super) fn rewrite(cell: &Cell, about: &About<'_>) -> Result<(), Error> {
    put(&cell.path.join(NAMES[0]), &hosts(about)?, None)?;
    put(&cell.path.join(NAMES[2]), &resolv_conf(about), None)
}

fn put(path: &Path, text: &str, owner: Option<u32>) -> Result<(), Error> {
    let failed = |errno| Error::system("write", path.display(), errno);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::from_raw_mode(0o644)).map_err(failed)?;
    if let Some(id) = owner.filter(|id| *id != 0) {
        fchown(&file, Some(Uid::from_raw(id)), Some(Gid::from_raw(id))).map_err(failed)?;
    }
    rustix::io::write(&file, text.as_bytes()).map_err(failed)?;
    ftruncate(&file, text.len() as u64).map_err(failed)
}

fn read_host(path: &str) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..bytes.len().min(FILE_BYTES_MAX)]).into_owned()
}

fn hosts(about: &About<'_>) -> Result<String, Error> {
    let mut text = match about.request.network {
        NetworkMode::Host => read_host("/etc/hosts"),
        _ => "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
              ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
            .to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let gateway = gateway(about.attached);
    let mut line = |address: IpAddr, names: &str| {
        let _ = writeln!(text, "{address}\t{names}");
    };
    for (name, address) in &about.request.net.hosts {
        match (*address, gateway) {
            (HostAddress::Ip(address), _) | (HostAddress::Gateway, Some(address)) => {
                line(address, name);
            }
            (HostAddress::Gateway, None) => {
                return Err(Error::invalid(
                    "--add-host",
                    format!("{name}: host-gateway is an address on a network, and the container is on none"),
                ));
            }
        }
    }
    if let Some(gateway) = gateway
        && !about.request.net.hosts.iter().any(|(name, _)| name == HOST)
    {
        line(gateway, HOST);
    }
    for (names, address) in &about.attached.links {
        line(*address, &names.join(" "));
    }
    let names = match &about.request.domainname {
        Some(domain) if !domain.is_empty() => format!("{0}.{domain} {0}", about.hostname),
        _ => match about.hostname.split_once('.') {
            Some((short, _)) => format!("{} {short}", about.hostname),
            None => about.hostname.to_owned(),
        },
    };
    for endpoint in &about.attached.endpoints {
        for address in endpoint.addresses() {
            line(address.address(), &names);
        }
    }
    Ok(text)
}

/// The host as a container sees it.
pub(super) fn gateway(attached: &Attached) -> Option<IpAddr> {
    let endpoints = &attached.endpoints;
    let endpoint = endpoints.iter().find(|endpoint| endpoint.is_default).or(endpoints.first())?;
    endpoint.gateway(false).or(endpoint.gateway(true))
}

/// Whether a container has a name server of its own: names of other containers are there, or the host's servers are only
/// to be reached by the host.
pub(super) fn has_server(attached: &Attached) -> bool {
    attached.endpoints.iter().any(|endpoint| endpoint.has_names)
}

fn resolv_conf(about: &About<'_>) -> String {
    let host = host_resolvers();
    let net = &about.request.net;
    let own = |wanted: &[String], hosts: &[String]| match wanted {
        [] => hosts.to_vec(),
        [dot] if dot == "." => Vec::new(),
        wanted => wanted.to_vec(),
    };
    let search = own(&net.dns_search, &host.search);
    let mut options = own(&net.dns_options, &host.options);
    let servers: Vec<String> = if has_server(about.attached) {
        if !options.iter().any(|option| option.starts_with("ndots:")) {
            options.push("ndots:0".to_owned());
        }
        vec![DNS.to_owned()]
    } else if net.dns.is_empty() {
        host.servers.iter().map(|server| server.ip().to_string()).collect()
    } else {
        net.dns.iter().map(ToString::to_string).collect()
    };
    let mut text = String::from("# Made by berth at each start of the container.\n");
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (word, values) in [("search", search), ("options", options)] {
        if !values.is_empty() {
            let _ = writeln!(text, "{word} {}", values.join(" "));
        }
    }
    text
}

/// The host's resolv.conf(5), that of systemd-resolved instead of its stub.
pub(super) fn host_resolvers() -> Resolvers {
    dns::host_resolvers(&read_host("/etc/resolv.conf"), || {
        std::fs::read_to_string(dns::host::RESOLVED_CONF).ok()
    })
}
