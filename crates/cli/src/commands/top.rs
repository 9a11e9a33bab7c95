//! `berth top`.

use super::print;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};
use crate::format::table;

/// Docker's least width of a column.
const COLUMN_CHARS_MIN: usize = 20;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "CONTAINER [ps OPTIONS]",
    about: "Show a container's processes, as ps -ef or with its options (-o, aux, -F, …)",
    flags: &[],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: true,
};

/// Prints a line for each process.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let args = parsed.args();
    let top = backend::top(&args[0], &args[1..])?;
    let lines: Vec<String> =
        std::iter::once(&top.titles).chain(&top.rows).map(|cells| cells.join("\t")).collect();
    print(&table::align_wide(&lines, COLUMN_CHARS_MIN))?;
    Ok(0)
}
