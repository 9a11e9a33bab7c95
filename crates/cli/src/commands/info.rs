//! `berth info`.

use super::{inspect, print};
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::template;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Show what this host offers, and what falls back",
    flags: &[("Options", &[Flag::one("format", "string", "json, or a Go template").short('f')])],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Prints the host's features.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let info = backend::info()?;
    let text = match parsed.one("format").unwrap_or_default() {
        "" => inspect::pretty(&info)?,
        "json" => info.to_string(),
        source => template::one(source, &info)?,
    };
    print(&(text + "\n"))?;
    Ok(0)
}
