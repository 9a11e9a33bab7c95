//! How far the layers of an image are: a line for each on a terminal, plain lines of docker's in a pipe, or JSON.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use engine::images::progress::LayerState;
use engine::images::{Progress, Pulled};
use serde_json::json;

use crate::failure::BadValue;
use crate::format::size;

/// Pause between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Most layers drawn at once: those that are done make room.
const LINES_MAX: usize = 12;
/// Characters of a bar.
const BAR_CHARS: u64 = 30;
/// Digits of a layer's digest that are shown.
const DIGITS: usize = 12;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nothing,
    Terminal,
    Plain,
    Json,
}

/// What is done with layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Pull,
    Copy,
}

/// Where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Of commands whose result it is.
    Stdout,
    /// Of commands whose result is another one.
    Stderr,
}

impl To {
    fn is_terminal(self) -> bool {
        match self {
            To::Stdout => stdout().is_terminal(),
            To::Stderr => stderr().is_terminal(),
        }
    }

    /// A reader that went away is told nothing more.
    pub fn write(self, text: &str) {
        let _ = match self {
            To::Stdout => stdout().lock().write_all(text.as_bytes()).and_then(|()| stdout().flush()),
            To::Stderr => stderr().lock().write_all(text.as_bytes()),
        };
    }
}

/// Shows layers as they come.
#[derive(Debug)]
pub struct Shown {
    verb: Verb,
    mode: Mode,
    to: To,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lines: Vec<Line>,
    /// Lines on the screen that the next drawing replaces.
    drawn: usize,
    last_drawing: Option<Instant>,
}

#[derive(Debug)]
struct Line {
    verb: Verb,
    name: String,
    total: Option<u64>,
    state: Option<LayerState>,
    /// When its first byte came.
    since: Option<Instant>,
    /// What a pipe was told already.
    told: BTreeSet<&'static str>,
}

impl Shown {
    /// Bars on a terminal, nothing elsewhere; nothing at all if `quiet`.
    pub fn new(quiet: bool) -> Shown {
        let terminal = !quiet && To::Stdout.is_terminal();
        Shown::with(if terminal { Mode::Terminal } else { Mode::Nothing }, To::Stdout)
    }

    /// Bars on a terminal, docker's plain lines elsewhere, or as `wanted`: auto, tty, plain, json; nothing if `quiet`.
    pub fn of_pull(quiet: bool, wanted: &str, to: To) -> Result<Shown, BadValue> {
        let mode = match wanted {
            _ if quiet => Mode::Nothing,
            "" | "auto" if to.is_terminal() => Mode::Terminal,
            "" | "auto" | "plain" => Mode::Plain,
            "tty" => Mode::Terminal,
            "quiet" | "none" => Mode::Nothing,
            "json" | "rawjson" => Mode::Json,
            _ => return Err(BadValue::new("neither auto, tty, plain, json nor quiet")),
        };
        Ok(Shown::with(mode, to))
    }

    /// As [`Shown::of_pull`], in words for blobs that are copied.
    pub fn of_copy(quiet: bool, wanted: &str, to: To) -> Result<Shown, BadValue> {
        Ok(Shown { verb: Verb::Copy, ..Shown::of_pull(quiet, wanted, to)? })
    }

    fn with(mode: Mode, to: To) -> Shown {
        let state = State { lines: Vec::new(), drawn: 0, last_drawing: None };
        Shown { verb: Verb::Pull, mode, to, state: Mutex::new(state) }
    }

    /// Tells something that is about no single layer, such as what is pulled from where.
    pub fn say(&self, text: &str) {
        match self.mode {
            Mode::Nothing => {}
            Mode::Terminal | Mode::Plain => self.to.write(&format!("{text}\n")),
            Mode::Json => self.to.write(&format!("{}\n", json!({ "status": text }))),
        }
    }

    /// Tells what came of a pull, in docker's words.
    pub fn pulled(&self, pulled: &Pulled) {
        self.end();
        self.say(&format!("Digest: {}", pulled.digest));
        let name = pulled.reference.familiar();
        self.say(&match pulled.was_here {
            true => format!("Status: Image is up to date for {name}"),
            false => format!("Status: Downloaded newer image for {name}"),
        });
    }

    /// Draws the last state, and leaves it on the screen.
    pub fn end(&self) {
        if let (Mode::Terminal, Ok(mut state)) = (self.mode, self.state.lock()) {
            state.draw(Instant::now(), self.to);
            state.drawn = 0;
            state.lines.clear();
        }
    }
}

/// Docker's words for a state, or ones like them.
fn words(verb: Verb, state: LayerState) -> &'static str {
    match state {
        LayerState::Reading { .. } if verb == Verb::Copy => "Copying",
        LayerState::Done if verb == Verb::Copy => "Copied",
        LayerState::Exists => "Already exists",
        LayerState::Waiting => "Waiting",
        LayerState::Reading { .. } => "Downloading",
        LayerState::Unpacked => "Extracting",
        LayerState::Done => "Pull complete",
    }
}

impl Progress for Shown {
    fn begin(&self, layers: &[(String, Option<u64>)]) {
        let verb = self.verb;
        let line = |(digest, total): &(String, Option<u64>)| {
            let digits = digest.split_once(':').map_or(&digest[..], |(_, digits)| digits);
            Line {
                verb,
                name: digits.chars().take(DIGITS).collect(),
                total: *total,
                state: None,
                since: None,
                told: BTreeSet::new(),
            }
        };
        if let Ok(mut state) = self.state.lock() {
            state.lines = layers.iter().map(line).collect();
            if self.mode == Mode::Plain && self.verb == Verb::Pull {
                let text: String =
                    state.lines.iter().map(|line| format!("{}: Pulling fs layer\n", line.name)).collect();
                self.to.write(&text);
            }
        }
    }

    fn layer(&self, at: usize, now: LayerState) {
        let Ok(mut state) = self.state.lock() else { return };
        let Some(line) = state.lines.get_mut(at) else { return };
        // What was here already is done at once.
        if line.state == Some(LayerState::Exists) {
            return;
        }
        if matches!(now, LayerState::Reading { .. }) {
            line.since.get_or_insert_with(Instant::now);
        }
        line.state = Some(now);
        match self.mode {
            Mode::Nothing => {}
            Mode::Plain => {
                let worth = !matches!(now, LayerState::Reading { .. } | LayerState::Unpacked);
                let words = words(self.verb, now);
                if worth && line.told.insert(words) {
                    self.to.write(&format!("{}: {words}\n", line.name));
                }
            }
            Mode::Json => {
                let (current, total) = match now {
                    LayerState::Reading { read_bytes, .. } => (Some(read_bytes), line.total),
                    _ => (None, None),
                };
                let detail = json!({ "current": current, "total": total });
                self.to.write(&format!(
                    "{}\n",
                    json!({ "status": words(self.verb, now), "id": line.name, "progressDetail": detail })
                ));
            }
            Mode::Terminal => {
                let instant = Instant::now();
                if state.last_drawing.is_none_or(|last| instant - last >= REDRAW) {
                    state.draw(instant, self.to);
                }
            }
        }
    }
}

impl State {
    fn draw(&mut self, now: Instant, to: To) {
        self.last_drawing = Some(now);
        let mut text = String::new();
        if self.drawn > 0 {
            text += &format!("\x1b[{}A", self.drawn);
        }
        let is_done = |line: &&Line| matches!(line.state, Some(LayerState::Done | LayerState::Exists));
        let done = self.lines.iter().filter(is_done).count();
        let mut shown = Vec::new();
        if self.lines.len() <= LINES_MAX {
            shown.extend(self.lines.iter().map(|line| line.text(now)));
        } else {
            shown.push(format!("{done} of {} layers are complete", self.lines.len()));
            let under_way = self.lines.iter().filter(|line| line.state.is_some() && !is_done(line));
            shown.extend(under_way.take(LINES_MAX - 1).map(|line| line.text(now)));
        }
        for line in &shown {
            text += &format!("\x1b[2K{line}\n");
        }
        for _ in shown.len()..self.drawn {
            text += "\x1b[2K\n";
        }
        self.drawn = self.drawn.max(shown.len());
        to.write(&text);
    }
}

impl Line {
    fn text(&self, now: Instant) -> String {
        let name = &self.name;
        let Some(state) = self.state else { return format!("{name}: Waiting") };
        let (LayerState::Reading { read_bytes, .. }, Some(total)) = (state, self.total) else {
            return format!("{name}: {}", words(self.verb, state));
        };
        let filled = (read_bytes * BAR_CHARS).checked_div(total).unwrap_or(BAR_CHARS).min(BAR_CHARS);
        let bar = "=".repeat(filled as usize) + ">";
        let seconds = self.since.map_or(0.0, |since| (now - since).as_secs_f64());
        let per_second = if seconds > 0.0 { read_bytes as f64 / seconds } else { 0.0 };
        let left = if per_second > 0.0 { total.saturating_sub(read_bytes) as f64 / per_second } else { 0.0 };
        let width = BAR_CHARS as usize + 1;
        format!(
            "{name}: {} [{bar:<width$}] {}/{}  {}/s  {left:.0}s",
            words(self.verb, state),
            size::human(read_bytes),
            size::human(total),
            size::human(per_second as u64),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_size_speed_and_time_left() {
        let begun = Instant::now();
        let line = Line {
            verb: Verb::Pull,
            name: "0123456789ab".into(),
            total: Some(100_000_000),
            state: Some(LayerState::Reading { read_bytes: 50_000_000, unpacked_bytes: 0 }),
            since: Some(begun),
            told: BTreeSet::new(),
        };
        assert_eq!(
            line.text(begun + Duration::from_secs(2)),
            "0123456789ab: Downloading [===============>               ] 50MB/100MB  25MB/s  2s"
        );
    }
}
