//! `berth doctor`, `berth system check`.

use engine::doctor::{Diagnosis, Finding, Status};
use serde_json::Value as Json;

use super::print;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::colour::{self, Colour};
use crate::format::template;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Look at what the kernel offers, and whether all that berth keeps is sound",
    flags: &[(
        "Options",
        &[
            Flag::one("format", "string", "json, or a Go template").short('f'),
            Flag::switch("quiet", "Show only what is wrong").short('q'),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Prints the findings; 1 if something is wrong.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    show(parsed, &backend::doctor()?)
}

/// Prints findings as the flags `format` and `quiet` say; 1 if something is wrong.
pub fn show(parsed: &Parsed, found: &Diagnosis) -> Result<u8, Failure> {
    let document = || serde_json::to_value(found).unwrap_or(Json::Null);
    let text = match parsed.one("format").unwrap_or_default() {
        "" => text(found, parsed.switch("quiet"), colour::of_results()),
        "json" => document().to_string() + "\n",
        source => template::one(source, &document())? + "\n",
    };
    print(&text)?;
    Ok(u8::from(!found.sound))
}

fn titled(area: &str, coloured: bool) -> String {
    match coloured {
        true => Colour::Head.paint(heading(area)),
        false => heading(area).to_owned(),
    }
}

fn heading(area: &str) -> &str {
    match area {
        "kernel" => "Kernel",
        "host" => "Host",
        "network" => "Networks",
        "firewall" => "Firewall",
        "container" => "Containers",
        "name" => "Names",
        "port" => "Published ports",
        "open" => "Open",
        _ => "State",
    }
}

/// Widest name that the next column is aligned behind.
const NAME_CHARS_MAX: usize = 40;

fn text(found: &Diagnosis, quiet: bool, coloured: bool) -> String {
    let shown: Vec<&Finding> =
        found.findings.iter().filter(|finding| !quiet || finding.status == Status::Wrong).collect();
    let width =
        shown.iter().map(|finding| finding.name.chars().count().min(NAME_CHARS_MAX)).max().unwrap_or(0);
    let (mut text, mut area) = (String::new(), "");
    for finding in shown {
        if finding.area != area {
            area = finding.area;
            text += &format!("{}{}\n", if text.is_empty() { "" } else { "\n" }, titled(area, coloured));
        }
        let status = match finding.status {
            Status::Ok => "ok",
            Status::Lacking => "lacking",
            Status::Wrong => "WRONG",
        };
        // Names and paths are what others have made (security.md T18).
        let (name, detail) = (engine::inert(&finding.name), engine::inert(&finding.detail));
        let padded = format!("{status:<8}");
        let status = match finding.status {
            _ if !coloured => padded,
            Status::Ok => Colour::Good.paint(&padded),
            Status::Lacking => Colour::Watch.paint(&padded),
            Status::Wrong => Colour::Bad.paint(&padded),
        };
        text += format!("  {status} {name:<width$}  {detail}").trim_end();
        text.push('\n');
        if !finding.advice.is_empty() {
            text += &format!("  {:<8} {:<width$}  -> {}\n", "", "", engine::inert(&finding.advice));
        }
    }
    let wrong = found.findings.iter().filter(|finding| finding.status == Status::Wrong).count();
    let gap = if text.is_empty() { "" } else { "\n" };
    match wrong {
        0 if quiet => {}
        0 => text += &format!("{gap}Nothing is wrong.\n"),
        1 => text += &format!("{gap}One thing is wrong. Nothing was changed.\n"),
        wrong => text += &format!("{gap}{wrong} things are wrong. Nothing was changed.\n"),
    }
    text
}
