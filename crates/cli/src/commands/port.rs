//! `berth port`: where the ports of a container are published. None are until networks come.

use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "Show where the ports of a container are published",
    flags: &[],
    unsupported: &[],
    args: (1, 2),
    trailing: false,
};

/// Prints nothing for all of them; fails for the one that is asked for, as docker does when it isn't published.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let args = parsed.args();
    backend::container_id(&args[0])?;
    let Some(wanted) = args.get(1) else { return Ok(0) };
    let port = wanted.split_once('/').map_or(wanted.as_str(), |(port, _)| port);
    match port.parse::<u16>() {
        Ok(_) => Err(Failure::new(format!("no public port '{wanted}' published for {}", args[0]))),
        Err(error) => Err(Failure::new(format!("invalid port ({port}): {error}"))),
    }
}
