//! A drawing on a terminal: a line for each piece of work, the last lines of what runs below it.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use engine::build::Event;

use super::plain::warned;
use super::seconds;
use crate::format::colour;

/// Pause between two drawings.
const REDRAW: Duration = Duration::from_millis(80);
/// Lines of output that are shown of what runs.
const OUTPUT_LINES: usize = 6;
/// Columns and rows where the terminal says nothing.
const SIZE: (usize, usize) = (80, 24);

#[derive(Debug)]
struct Work {
    id: usize,
    name: String,
    since: Instant,
    until: Option<Instant>,
    is_cached: bool,
    has_failed: bool,
    output: VecDeque<String>,
}

/// The drawing.
#[derive(Debug)]
pub struct Terminal {
    begun: Instant,
    works: Vec<Work>,
    drawn: usize,
    last: Option<Instant>,
    warnings: Vec<String>,
}

impl Terminal {
    /// Nothing yet.
    pub fn new() -> Terminal {
        Terminal { begun: Instant::now(), works: Vec::new(), drawn: 0, last: None, warnings: Vec::new() }
    }

    /// Draws what has changed, not too often.
    pub fn tell(&mut self, event: &Event, now: Instant) {
        self.take(event, now);
        if self.last.is_none_or(|last| now.saturating_duration_since(last) >= REDRAW) {
            self.draw(now, false);
        }
    }

    /// Draws the last state, and leaves it there.
    pub fn end(&mut self, now: Instant) {
        self.draw(now, true);
        let _ = std::io::stderr().lock().write_all(warned(&self.warnings).as_bytes());
    }

    fn find(&mut self, id: usize) -> Option<&mut Work> {
        self.works.iter_mut().rev().find(|own| own.id == id)
    }

    fn take(&mut self, event: &Event, now: Instant) {
        let new = |id: usize, name: &str, is_cached: bool| Work {
            id,
            name: engine::inert(name).into_owned(),
            since: now,
            until: is_cached.then_some(now),
            is_cached,
            has_failed: false,
            output: VecDeque::new(),
        };
        match event {
            Event::Begun { id, name } => self.works.push(new(*id, name, false)),
            Event::Cached { id, name } => self.works.push(new(*id, name, true)),
            Event::Output { id, bytes, .. } => {
                let Some(work) = self.find(*id) else { return };
                for line in String::from_utf8_lossy(bytes).lines() {
                    let last = line.rsplit('\r').next().unwrap_or_default();
                    work.output.push_back(engine::inert(last).into_owned());
                }
                while work.output.len() > OUTPUT_LINES {
                    work.output.pop_front();
                }
            }
            Event::Done { id, error } => {
                let Some(work) = self.find(*id) else { return };
                work.until = Some(now);
                work.has_failed = error.is_some();
            }
            Event::Warning { text, .. } => self.warnings.push(engine::inert(text).into_owned()),
            Event::Status { .. } => {}
        }
    }

    fn lines(&self, now: Instant, is_over: bool, columns: usize, rows: usize) -> Vec<String> {
        let done = self.works.iter().filter(|own| own.until.is_some()).count();
        let (blue, red, off) = match colour::are_allowed() {
            true => ("\x1b[34m", "\x1b[31m", "\x1b[0m"),
            false => ("", "", ""),
        };
        let state = if is_over { " FINISHED" } else { "" };
        let mut lines =
            vec![format!("[+] Building {} ({done}/{}){state}", seconds(self.begun, now), self.works.len())];
        for work in &self.works {
            let (time, colour) = match (work.until, work.has_failed) {
                (Some(until), false) => (seconds(work.since, until), blue),
                (Some(until), true) => (seconds(work.since, until), red),
                (None, _) => (seconds(work.since, now), ""),
            };
            let mark = match (work.is_cached, work.has_failed) {
                (true, _) => " => CACHED ",
                (_, true) => " => ERROR ",
                _ => " => ",
            };
            let room = columns.saturating_sub(mark.len() + time.len() + 2);
            let name: String = work.name.chars().take(room).collect();
            let gap = room.saturating_sub(name.chars().count());
            let off = if colour.is_empty() { "" } else { off };
            lines.push(format!("{colour}{mark}{name}{:gap$} {time}{off}", ""));
            if work.until.is_none() {
                let short = |line: &String| line.chars().take(columns.saturating_sub(8)).collect::<String>();
                lines.extend(work.output.iter().map(|line| format!(" => => {}", short(line))));
            }
        }
        // What doesn't fit is what has been done longest.
        if !is_over && lines.len() > rows.saturating_sub(1) {
            let excess = lines.len() - rows.saturating_sub(1).max(1);
            lines.drain(1..=excess);
        }
        lines
    }

    fn draw(&mut self, now: Instant, is_over: bool) {
        let (columns, rows) = engine::attach::terminal_size()
            .map_or(SIZE, |(rows, columns)| (usize::from(columns), usize::from(rows)));
        let lines = self.lines(now, is_over, columns, rows);
        let mut out = String::new();
        if self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for line in &lines {
            out.push_str(&format!("\r{line}\x1b[K\n"));
        }
        out.push_str("\x1b[J");
        let _ = std::io::stderr().lock().write_all(out.as_bytes());
        self.drawn = lines.len();
        self.last = Some(now);
    }
}
