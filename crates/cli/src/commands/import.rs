//! `berth import`.

use engine::request::{ImportRequest, ImportSource};

use super::print;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "FILE|- NAME",
    about: "Make an image of a tar of a root file system",
    flags: &[],
    unsupported: unsupported::IMPORT,
    args: (2, 2),
    trailing: false,
};

/// Makes the image and prints its id.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let mut args = parsed.args();
    let name = args.remove(1);
    let source = args.remove(0);
    if name.is_empty() || name.starts_with('@') {
        return Err(parsed.wrong(format!("{name:?} can't name an image")));
    }
    if source.starts_with("http://") || source.starts_with("https://") {
        return Err(parsed
            .wrong("importing from a URL isn't supported yet")
            .hint(format!("curl -fsSL {source} | berth import - {name}")));
    }
    let source = match source.as_str() {
        "-" => ImportSource::Stdin,
        _ => ImportSource::File(source.into()),
    };
    print(&(backend::import(&ImportRequest { source, name })? + "\n"))?;
    Ok(0)
}
