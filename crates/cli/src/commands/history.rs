//! `berth history`.

use std::time::SystemTime;

use super::print;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::{Format, colour, images};
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] IMAGE",
    about: "Show the steps that made an image",
    flags: &[(
        "Options",
        &[
            Flag::one("format", "string", "table, table TEMPLATE, json, or a Go template"),
            Flag::switch("human", "Show sizes and dates for people (--human=false: bytes and moments)")
                .short('H'),
            Flag::switch("no-trunc", "Show ids and commands whole"),
            Flag::switch("quiet", "Show ids only").short('q'),
        ],
    )],
    unsupported: unsupported::HISTORY,
    args: (1, 1),
    trailing: false,
};

/// Prints the steps, the newest first.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let steps = backend::history(&parsed.args()[0])?;
    let format = Format::parse(parsed.one("format").unwrap_or_default(), images::HISTORY_DEFAULT);
    let how = images::How {
        quiet: parsed.switch("quiet"),
        full: parsed.switch("no-trunc"),
        human: parsed.switch_or("human", true),
        digests: false,
    };
    let text = images::history_text(&steps, &format, &how, SystemTime::now())?;
    print(&colour::with_titles(text, &format.or_quiet(how.quiet, "")))?;
    Ok(0)
}
