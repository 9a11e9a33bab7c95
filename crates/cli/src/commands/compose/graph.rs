//! `berth compose graph`: the project as a drawing.

use super::asked::Compose;
use crate::commands::print;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[SERVICE...]",
    about: "Draw services, networks, ports and volumes as text",
    flags: &[],
    unsupported: &[],
    args: (0, usize::MAX),
    trailing: false,
};

/// Prints the drawing.
pub fn work(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let loaded = compose.load(&parsed.args())?;
    let graph = loaded.project.graph();
    let text: String = graph.lines().map(|line| format!("{}\n", engine::inert(line))).collect();
    print(&text).map(|()| 0)
}
