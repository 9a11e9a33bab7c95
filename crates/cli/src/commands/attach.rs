//! `berth attach`.

use engine::request::AttachRequest;

use super::run::leaving_keys;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER",
    about: "Connect this terminal to a running container",
    flags: &[(
        "Options",
        &[
            Flag::one("detach-keys", "string", "Keys that leave the terminal (default ctrl-p,ctrl-q)"),
            Flag::switch("no-stdin", "Pass nothing on to the container"),
            Flag::switch("sig-proxy", "Pass signals on to it, unless it has a terminal (default true)"),
        ],
    )],
    unsupported: &[],
    args: (1, 1),
    trailing: false,
};

/// Stays with the container; leaves with its status.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    backend::attach(&AttachRequest {
        container: parsed.args().remove(0),
        detach_keys: leaving_keys(parsed)?,
        stdin: !parsed.switch("no-stdin"),
        sig_proxy: parsed.switch_or("sig-proxy", true),
    })
}
