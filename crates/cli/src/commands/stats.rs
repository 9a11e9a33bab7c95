//! `berth stats`.

use std::io::{ErrorKind, IsTerminal, Write, stdout};
use std::thread::sleep;
use std::time::Duration;

use engine::request::StatsRequest;

use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::{Format, stats};

/// Between the two samples of the first figures: long enough for a share of the processor to be one.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);
/// Between further ones.
const INTERVAL: Duration = Duration::from_secs(1);

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Show what containers use, again and again",
    flags: &[(
        "Options",
        &[
            Flag::switch("all", "Show those that don't run too").short('a'),
            Flag::one("format", "string", "table, table TEMPLATE, json, or a Go template"),
            Flag::switch("no-stream", "Show it once"),
            Flag::switch("no-trunc", "Show ids whole"),
        ],
    )],
    unsupported: &[],
    args: (0, usize::MAX),
    trailing: false,
};

/// Prints the figures, on a terminal over the ones before.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let names = parsed.args();
    let is_named = !names.is_empty();
    let request = StatsRequest { containers: names, all: parsed.switch("all") };
    let format = Format::parse(parsed.one("format").unwrap_or_default(), stats::DEFAULT);
    let mut sampler = backend::stats(request)?;
    let once = parsed.switch("no-stream");
    let redraws = !once && stdout().is_terminal();
    backend::sample(&mut sampler)?;
    sleep(FIRST_INTERVAL);
    loop {
        let rows = backend::sample(&mut sampler)?;
        let text = stats::text(&rows, &format, parsed.switch("no-trunc"))?;
        let went_on = show(&if redraws { over(&text) } else { text })?;
        if once || !went_on || (is_named && rows.is_empty()) {
            return Ok(0);
        }
        sleep(INTERVAL);
    }
}

/// `text` over what the terminal shows: from its upper left corner, with the rest of each line and of the screen erased.
fn over(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

/// Prints; whether anybody reads on.
fn show(text: &str) -> Result<bool, Failure> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("cannot write to standard output: {error}"))),
    }
}
