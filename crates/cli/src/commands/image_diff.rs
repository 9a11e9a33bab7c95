//! `berth image diff`.

use engine::images::diff::{ChangeKind, FileDifference};
use engine::{inert, inert_json};
use serde_json::json;

use super::print;
use crate::backend;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::{size, table};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] IMAGE_A IMAGE_B",
    about: "Show in which files two images differ, and by which layers",
    flags: &[(
        "Options",
        &[
            Flag::one("format", "string", "table, or json: an object a line").short('f'),
            Flag::switch("no-trunc", "Show what made a layer whole"),
        ],
    )],
    unsupported: &[],
    args: (2, 2),
    trailing: false,
};

/// Characters of what made a layer, as in `history`.
const CREATED_BY_CHARS: usize = 45;

/// Prints a difference a line: A is only in the second image, D only in the first, C in both and not the same.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let as_json = match parsed.one("format").unwrap_or("table") {
        "table" | "" => false,
        "json" => true,
        other => return Err(parsed.bad("format", other, BadValue::new("neither table nor json"))),
    };
    let found = backend::diff_images(&parsed.args()[0], &parsed.args()[1])?;
    let text = if as_json { lines(&found) } else { columns(&found, parsed.switch("no-trunc")) };
    print(&text)?;
    Ok(0)
}

fn lines(found: &[FileDifference]) -> String {
    let line = |one: &FileDifference| {
        let layer = &one.layer;
        let object = json!({
            "change": one.kind.letter().to_string(),
            "path": one.path,
            "differs": one.aspects,
            "old_size": one.old_bytes,
            "new_size": one.new_bytes,
            "layer": {
                "image": layer.image.to_string(),
                "number": layer.number,
                "diff_id": layer.diff_id,
                "created_by": layer.created_by,
            },
        });
        inert_json(&object.to_string()).into_owned() + "\n"
    };
    found.iter().map(line).collect()
}

fn columns(found: &[FileDifference], whole: bool) -> String {
    if found.is_empty() {
        return String::new();
    }
    let row = |one: &FileDifference| {
        let layer = &one.layer;
        let created_by = match whole {
            true => layer.created_by.clone(),
            false => table::ellipsis(&layer.created_by, CREATED_BY_CHARS),
        };
        format!(
            "{}\t{}\t{}\t{}\t{}{}\t{}",
            one.kind.letter(),
            inert(&one.path),
            one.aspects.join(","),
            sizes(one),
            layer.image,
            layer.number,
            inert(&created_by).replace(['\t', '\n'], " ")
        )
    };
    let mut rows = vec!["CHANGE\tPATH\tDIFFERS IN\tSIZE\tLAYER\tCREATED BY".to_owned()];
    rows.extend(found.iter().map(row));
    table::align(&rows)
}

fn sizes(one: &FileDifference) -> String {
    match (one.kind, one.old_bytes, one.new_bytes) {
        (ChangeKind::Modified, Some(old), Some(new)) if old != new => {
            format!("{} -> {}", size::human(old), size::human(new))
        }
        (_, old, new) => new.or(old).map(size::human).unwrap_or_default(),
    }
}
