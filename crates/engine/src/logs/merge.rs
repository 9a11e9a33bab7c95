//! The logs of several containers at once, merged by time, each line with the name of its container before it.

use super::follow::Follower;
use super::select::{Grep, Out};
use super::{Log, Sinks, Stop};
use crate::find::Container;
use crate::log::Stream;
use crate::request::LogsRequest;
use crate::{Error, Home};
use std::collections::VecDeque;

/// Colours of names, one after the other: cyan, yellow, green, magenta, blue, red.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// A line that waits for earlier ones of other containers.
struct Line {
    stream: Stream,
    time_ns: u64,
    text: Vec<u8>,
}

/// One of the logs.
struct Source {
    log: Log,
    prefix: String,
    waiting: VecDeque<Line>,
    /// Whether nothing comes any more.
    over: bool,
    /// Whether all that was asked for is read.
    done: bool,
}

impl Source {
    /// Reads until a line waits, or there is none for now.
    fn fill(&mut self) -> Result<(), Error> {
        while self.waiting.is_empty() && !self.done {
            let waiting = &mut self.waiting;
            let mut keep = |out: Out<'_>| {
                let Out { stream, time_ns, bytes } = out;
                waiting.push_back(Line { stream, time_ns, text: bytes.to_vec() });
                Ok(())
            };
            match self.log.take(&mut keep) {
                Ok(true) => {}
                Ok(false) if self.over => {
                    self.done = true;
                    let _ = self.log.lines.finish(&mut keep);
                }
                Ok(false) => return Ok(()),
                Err(Stop::Done) => self.done = true,
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Copies the logs of `containers`, line by line: those that `grep` wants.
pub fn copy(
    home: &Home,
    request: &LogsRequest,
    containers: &[Container],
    grep: Option<&Grep>,
    sinks: &mut Sinks<'_>,
) -> Result<(), Stop> {
    let mut sources = containers
        .iter()
        .zip(prefixes(containers, request.colour))
        .map(|(container, prefix)| {
            let mut log = Log::open(home, request, container)?;
            log.lines = log.lines.whole(grep.cloned());
            Ok(Source { log, prefix, waiting: VecDeque::new(), over: false, done: false })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    loop {
        for source in &mut sources {
            source.over = source.log.is_over(request);
            if source.over {
                source.log.pieces.settle();
            }
        }
        pass_on(&mut sources, sinks)?;
        sinks.flush()?;
        if sources.iter().all(|source| source.done) {
            return Ok(());
        }
        let live = sources.iter_mut().filter(|source| !source.done);
        let mut followers: Vec<&mut Follower> =
            live.filter_map(|source| source.log.follower.as_mut()).collect();
        Follower::wait_any(&mut followers, request.until)?;
    }
}

/// Passes on all lines that there are, the earliest first.
fn pass_on(sources: &mut [Source], sinks: &mut Sinks<'_>) -> Result<(), Stop> {
    loop {
        sources.iter_mut().try_for_each(Source::fill)?;
        let time_of = |source: &Source| source.waiting.front().map(|line| line.time_ns);
        let earliest = sources.iter_mut().filter(|source| !source.waiting.is_empty());
        // The first of those that are equally early.
        let Some(source) = earliest.min_by_key(|source| time_of(source)) else { return Ok(()) };
        let Some(line) = source.waiting.pop_front() else { return Ok(()) };
        sinks.write(line.stream, source.prefix.as_bytes())?;
        sinks.write(line.stream, &line.text)?;
    }
}

/// What stands before the lines: nothing for one container alone.
fn prefixes(containers: &[Container], colour: bool) -> Vec<String> {
    if let [_] = containers {
        return vec![String::new()];
    }
    let width = containers.iter().map(|container| container.config.name.chars().count()).max().unwrap_or(0);
    let one = |(container, colour_of): (&Container, &u8)| match colour {
        true => format!("\x1b[{colour_of}m{:<width$} |\x1b[0m ", container.config.name),
        false => format!("{:<width$} | ", container.config.name),
    };
    containers.iter().zip(COLOURS.iter().cycle()).map(one).collect()
}
