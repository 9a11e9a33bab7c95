//! A build as it goes on: plain lines as BuildKit's, a drawing on a terminal, or BuildKit's JSON; and how it failed.

mod excerpt;
mod plain;
mod rawjson;
mod terminal;

use std::io::{IsTerminal, stderr};
use std::time::Instant;

use engine::build::Event;
use engine::build::Failure as BuildFailure;

use crate::failure::{BadValue, Failure};

pub use excerpt::failed;

/// Shows a build.
#[derive(Debug)]
pub enum Shown {
    /// Nothing.
    Quiet,
    /// Lines.
    Plain(plain::Plain),
    /// A drawing that changes.
    Terminal(terminal::Terminal),
    /// A line of JSON for each event.
    RawJson(rawjson::RawJson),
}

impl Shown {
    /// As `wanted`: auto, plain, tty, rawjson, quiet.
    pub fn new(wanted: &str) -> Result<Shown, BadValue> {
        Ok(match wanted {
            "" | "auto" if stderr().is_terminal() => Shown::Terminal(terminal::Terminal::new()),
            "tty" => Shown::Terminal(terminal::Terminal::new()),
            "" | "auto" | "plain" => Shown::Plain(plain::Plain::new()),
            "rawjson" => Shown::RawJson(rawjson::RawJson::new()),
            "quiet" | "none" => Shown::Quiet,
            _ => return Err(BadValue::new("neither auto, plain, tty, rawjson nor quiet")),
        })
    }

    /// Shows an event.
    pub fn tell(&mut self, event: &Event) {
        match self {
            Shown::Quiet => {}
            Shown::Plain(plain) => plain.tell(event, Instant::now()),
            Shown::Terminal(terminal) => terminal.tell(event, Instant::now()),
            Shown::RawJson(json) => json.tell(event),
        }
    }

    /// The build is over.
    pub fn end(&mut self) {
        match self {
            Shown::Terminal(terminal) => terminal.end(Instant::now()),
            Shown::Plain(plain) => plain.end(),
            Shown::Quiet | Shown::RawJson(_) => {}
        }
    }
}

/// Seconds as BuildKit writes them: `0.1s`.
fn seconds(from: Instant, to: Instant) -> String {
    format!("{:.1}s", to.saturating_duration_since(from).as_secs_f64())
}
