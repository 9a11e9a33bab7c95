//! `berth manifest inspect`.

use engine::images::manifest::ManifestRequest;
use engine::inert_json;

use super::print;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::json;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] MANIFEST",
    about: "Show a manifest, or a list of them, as a registry has it",
    flags: &[(
        "Options",
        &[
            Flag::switch("insecure", "Take any certificate, and plain HTTP where there is no TLS"),
            Flag::switch("verbose", "Show layers and platform of each manifest").short('v'),
        ],
    )],
    unsupported: &[],
    args: (1, 1),
    trailing: false,
};

/// Prints the document with docker's indentation.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let request = ManifestRequest {
        image: parsed.args().remove(0),
        verbose: parsed.switch("verbose"),
        insecure: parsed.switch("insecure"),
    };
    let found = backend::inspect_manifest(&request)?;
    let text = json::indent(&found.json, if found.is_index { "   " } else { "\t" });
    print(&(inert_json(&text).into_owned() + "\n"))?;
    Ok(0)
}
