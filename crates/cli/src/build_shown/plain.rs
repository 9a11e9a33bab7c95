//! Plain lines: `#5 [2/3] RUN make`, `#5 0.312 cc -c main.c`, `#5 DONE 0.4s`.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use engine::build::Event;

use super::seconds;

#[derive(Debug)]
struct Work {
    since: Instant,
    /// A line that isn't complete yet, of each stream.
    partial: [Vec<u8>; 2],
}

/// What is under way.
#[derive(Debug)]
pub struct Plain {
    works: BTreeMap<usize, Work>,
    /// Whose lines came last: others begin with a line of their own.
    last: Option<usize>,
    names: BTreeMap<usize, String>,
    /// Told at the end.
    warnings: Vec<String>,
}

impl Plain {
    /// Nothing yet.
    pub fn new() -> Plain {
        Plain { works: BTreeMap::new(), last: None, names: BTreeMap::new(), warnings: Vec::new() }
    }

    /// Writes an event's lines.
    pub fn tell(&mut self, event: &Event, now: Instant) {
        let text = self.lines(event, now);
        if !text.is_empty() {
            // A reader that went away is told nothing more.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
    }

    /// What is told at the end.
    pub fn end(&mut self) {
        let text = warned(&self.warnings);
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// Names whose lines follow, if others came between.
    fn turn_to(&mut self, id: usize, out: &mut String) {
        if self.last == Some(id) {
            return;
        }
        if self.last.is_some() {
            out.push('\n');
        }
        let name = self.names.get(&id).map_or("", String::as_str);
        out.push_str(&format!("#{id} {}\n", engine::inert(name)));
        self.last = Some(id);
    }

    fn lines(&mut self, event: &Event, now: Instant) -> String {
        let mut out = String::new();
        match event {
            Event::Begun { id, name } => {
                self.names.insert(*id, name.clone());
                self.works.insert(*id, Work { since: now, partial: Default::default() });
                self.turn_to(*id, &mut out);
            }
            Event::Cached { id, name } => {
                self.names.insert(*id, name.clone());
                self.turn_to(*id, &mut out);
                out.push_str(&format!("#{id} CACHED\n"));
            }
            Event::Status { id, text } => {
                self.turn_to(*id, &mut out);
                out.push_str(&format!("#{id} {}\n", engine::inert(text)));
            }
            Event::Output { id, stream, bytes } => {
                let Some(work) = self.works.get_mut(id) else { return out };
                let partial = &mut work.partial[usize::from(*stream == 2)];
                partial.extend_from_slice(bytes);
                let Some(end) = partial.iter().rposition(|byte| *byte == b'\n') else { return out };
                let whole: Vec<u8> = partial.drain(..=end).collect();
                let since = work.since;
                self.turn_to(*id, &mut out);
                output(&mut out, *id, &whole, since, now);
            }
            Event::Done { id, error } => {
                let Some(work) = self.works.remove(id) else { return out };
                self.turn_to(*id, &mut out);
                for rest in &work.partial {
                    output(&mut out, *id, rest, work.since, now);
                }
                match error {
                    None => out.push_str(&format!("#{id} DONE {}\n", seconds(work.since, now))),
                    Some(error) => out.push_str(&format!("#{id} ERROR: {}\n", engine::inert(error))),
                }
            }
            Event::Warning { text, .. } => self.warnings.push(engine::inert(text).into_owned()),
        }
        out
    }
}

/// Warnings of checks, as buildx lists them.
pub fn warned(warnings: &[String]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let plural = if warnings.len() == 1 { "" } else { "s" };
    let mut text = format!("\n {} warning{plural} found (berth build --check shows more):\n", warnings.len());
    warnings.iter().for_each(|warning| text.push_str(&format!(" - {warning}\n")));
    text
}

fn output(out: &mut String, id: usize, bytes: &[u8], since: Instant, now: Instant) {
    let at = now.saturating_duration_since(since).as_secs_f64();
    for line in String::from_utf8_lossy(bytes).lines() {
        // What overwrites a line on a terminal is one of its own here.
        for part in line.split('\r').filter(|part| !part.is_empty() || line.is_empty()) {
            out.push_str(&format!("#{id} {at:.3} {}\n", engine::inert(part)));
        }
        if line.is_empty() {
            out.push_str(&format!("#{id} {at:.3} \n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines_are_buildkits() {
        let mut plain = Plain::new();
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut text = String::new();
        let mut tell = |event: Event, ms: u64| text.push_str(&plain.lines(&event, at(ms)));
        tell(Event::Begun { id: 1, name: "[1/2] RUN a".to_owned() }, 0);
        tell(Event::Output { id: 1, stream: 1, bytes: b"one\ntw".to_vec() }, 100);
        tell(Event::Begun { id: 2, name: "[2/2] RUN b".to_owned() }, 150);
        tell(Event::Output { id: 1, stream: 1, bytes: b"o\n".to_vec() }, 200);
        tell(Event::Output { id: 1, stream: 2, bytes: b"end".to_vec() }, 210);
        tell(Event::Done { id: 1, error: None }, 250);
        tell(Event::Done { id: 2, error: Some("no".to_owned()) }, 260);
        tell(Event::Cached { id: 3, name: "c".to_owned() }, 270);
        let expected = "#1 [1/2] RUN a\n#1 0.100 one\n\n#2 [2/2] RUN b\n\n#1 [1/2] RUN a\n#1 0.200 two\n#1 0.250 end\n\
            #1 DONE 0.2s\n\n#2 [2/2] RUN b\n#2 ERROR: no\n\n#3 c\n#3 CACHED\n";
        assert_eq!(text, expected);
    }
}
