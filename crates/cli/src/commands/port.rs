//! `berth port`: where the ports of a container are published.

use super::print;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};
use engine::network::ShownPort;
use std::net::SocketAddr;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "Show where the ports of a container are published",
    flags: &[],
    unsupported: &[],
    args: (1, 2),
    trailing: false,
};

/// Prints where each is published; or the one that is asked for, which fails if it isn't.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let args = parsed.args();
    let published = backend::published_ports(&args[0])?;
    let host = |port: &ShownPort| port.host.map(|(address, port)| SocketAddr::new(address, port).to_string());
    let Some(wanted) = args.get(1) else {
        let lines = published
            .iter()
            .filter_map(|port| Some(format!("{}/{} -> {}\n", port.port, port.protocol, host(port)?)));
        print(&lines.collect::<String>())?;
        return Ok(0);
    };
    let (number, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let number: u16 =
        number.parse().map_err(|error| Failure::new(format!("invalid port ({number}): {error}")))?;
    let found: String = published
        .iter()
        .filter(|port| port.port == number && port.protocol == protocol)
        .filter_map(|port| Some(format!("{}\n", host(port)?)))
        .collect();
    if found.is_empty() {
        return Err(Failure::new(format!("no public port '{wanted}' published for {}", args[0])));
    }
    print(&found)?;
    Ok(0)
}
