//! `berth version`.

use serde_json::json;

use super::print;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::template;

/// Version of berth.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Version of the OCI runtime specification that berth follows.
pub const SPEC_VERSION: &str = "1.3.0";

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Show the version",
    flags: &[("Options", &[Flag::one("format", "string", "json, or a Go template").short('f')])],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// What `berth --version` prints.
pub fn line() -> String {
    format!("berth version {VERSION}\n")
}

/// Prints the version. There is no server: `.Client` and `.Server` are the same.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let part = json!({
        "Version": VERSION,
        "Os": std::env::consts::OS,
        "Arch": arch(),
        "RuntimeSpec": SPEC_VERSION,
    });
    let text = match parsed.one("format").unwrap_or_default() {
        "" => format!(
            "berth\n Version:       {VERSION}\n OS/Arch:       {}/{}\n Runtime spec:  {SPEC_VERSION}",
            std::env::consts::OS,
            arch()
        ),
        "json" => json!({"Client": part, "Server": part}).to_string(),
        source => template::one(source, &json!({"Client": part, "Server": part}))?,
    };
    print(&(text + "\n"))?;
    Ok(0)
}

/// The architecture by OCI's name.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
