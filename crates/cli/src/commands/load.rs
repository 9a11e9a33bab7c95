//! `berth load`.

use engine::request::ImportSource;

use super::print;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::progress;
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Load images from an archive",
    flags: &[(
        "Options",
        &[
            Flag::one("input", "string", "Read this file instead of standard input").short('i'),
            Flag::switch("quiet", "Show no progress").short('q'),
        ],
    )],
    unsupported: unsupported::LOAD,
    args: (0, 0),
    trailing: false,
};

/// Loads the images and prints their names.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let source = match parsed.one("input").filter(|path| !path.is_empty()) {
        Some(path) => ImportSource::File(path.into()),
        None if std::io::IsTerminal::is_terminal(&std::io::stdin()) => {
            return Err(parsed
                .wrong("standard input is a terminal, not an archive")
                .hint("berth load -i FILE, or berth load < FILE"));
        }
        None => ImportSource::Stdin,
    };
    let shown = progress::Shown::new(parsed.switch("quiet"));
    for image in backend::load(&source, &shown)? {
        shown.end();
        let moved: String = image
            .moved
            .iter()
            .map(|(name, id)| {
                format!(
                    "The image {name} already exists, renaming the old one with ID {id} to empty string\n"
                )
            })
            .collect();
        print(&moved)?;
        match image.names.is_empty() {
            true => print(&format!("Loaded image ID: {}\n", image.id))?,
            false => {
                let lines: String =
                    image.names.iter().map(|name| format!("Loaded image: {name}\n")).collect();
                print(&lines)?;
            }
        }
    }
    Ok(0)
}
