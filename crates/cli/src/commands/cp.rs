//! `berth cp`.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use engine::request::{CopyEnd, CopyRequest};

use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::size;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tberth cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files between a container and this host",
    flags: &[(
        "Options",
        &[
            Flag::switch("archive", "Keep user and group of the source").short('a'),
            Flag::switch("follow-link", "Follow a link at the end of SRC_PATH").short('L'),
            Flag::switch("quiet", "Show nothing; the default where no terminal is").short('q'),
        ],
    )],
    unsupported: &[],
    args: (2, 2),
    trailing: false,
};

/// Copies, and says so on a terminal.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let args = parsed.args();
    for (word, what) in args.iter().zip(["source", "destination"]) {
        if word.is_empty() {
            return Err(Failure::new(format!("{what} can not be empty")));
        }
    }
    let request = CopyRequest {
        source: end(&args[0]),
        destination: end(&args[1]),
        archive: parsed.switch("archive"),
        follow_link: parsed.switch("follow-link"),
    };
    let quiet = parsed.switch_or("quiet", !std::io::stdout().is_terminal());
    let progress = Progress::new(quiet, matches!(request.source, CopyEnd::Of { .. }));
    let copied = backend::copy(&request, &|bytes| progress.show(bytes));
    progress.clear();
    if let (Some(copied), false) = (copied?, quiet) {
        eprintln!("Successfully copied {} to {}", size::human(copied.bytes), engine::inert(&copied.to));
    }
    Ok(0)
}

/// Docker's grammar: what begins with `/` or `.` is a path here, a colon ends a name.
fn end(word: &str) -> CopyEnd {
    if word == "-" {
        return CopyEnd::Stream;
    }
    match word.split_once(':') {
        Some((name, path)) if !word.starts_with(['/', '.']) && !name.is_empty() => {
            CopyEnd::Of { name: name.to_owned(), path: path.to_owned() }
        }
        _ => CopyEnd::Local(word.to_owned()),
    }
}

/// Pause between two drawings, as docker's.
const REDRAW: Duration = Duration::from_millis(75);

/// The line on a terminal that tells how much has been copied.
struct Progress {
    header: Option<&'static str>,
    drawn: Mutex<Option<Instant>>,
}

impl Progress {
    fn new(quiet: bool, is_from: bool) -> Progress {
        let header = if is_from { "Copying from container - " } else { "Copying to container - " };
        let shown = !quiet && std::io::stderr().is_terminal();
        Progress { header: shown.then_some(header), drawn: Mutex::new(None) }
    }

    fn show(&self, bytes: u64) {
        let (Some(header), Ok(mut drawn)) = (self.header, self.drawn.lock()) else { return };
        if drawn.is_none_or(|last| last.elapsed() >= REDRAW) {
            *drawn = Some(Instant::now());
            let _ = write!(std::io::stderr(), "\r\x1b[K{header}{}", size::human(bytes));
        }
    }

    fn clear(&self) {
        if self.drawn.lock().is_ok_and(|drawn| drawn.is_some()) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_ends_a_name_unless_a_path_begins() {
        let of = |name: &str, path: &str| CopyEnd::Of { name: name.to_owned(), path: path.to_owned() };
        let local = |path: &str| CopyEnd::Local(path.to_owned());
        for (word, meant) in [
            ("box:/x", of("box", "/x")),
            ("box:", of("box", "")),
            ("repo/image:tag:/x", of("repo/image", "tag:/x")),
            ("./a:b", local("./a:b")),
            ("/a:b", local("/a:b")),
            (".a:b", local(".a:b")),
            ("a", local("a")),
            (":x", local(":x")),
            ("-", CopyEnd::Stream),
        ] {
            assert_eq!(end(word), meant, "{word}");
        }
    }
}
