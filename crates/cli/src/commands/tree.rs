//! `berth tree`.

use engine::request::TreeRequest;

use super::print;
use crate::backend;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER",
    about: "Draw a container's namespaces, id maps and processes, as seen outside and inside",
    flags: &[("Options", &[Flag::one("format", "string", "text or json (default text)")])],
    unsupported: &[],
    args: (1, 1),
    trailing: false,
};

fn json(text: &str) -> Result<bool, BadValue> {
    match text {
        "json" => Ok(true),
        "text" | "" => Ok(false),
        _ => Err(BadValue::new("neither text nor json")),
    }
}

/// Draws the tree.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let json = parsed.parsed("format", json)?.unwrap_or(false);
    print(&backend::tree(&TreeRequest { container: parsed.args().remove(0), json })?)?;
    Ok(0)
}
