//! `berth image prune`.

use engine::images::keep::PruneRequest;

use super::print;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::size;
use crate::{backend, suggest};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Remove images that nothing uses",
    flags: &[(
        "Options",
        &[
            Flag::switch("all", "Remove images with names too, unless a container was made from them")
                .short('a'),
            Flag::many("filter", "filter", "Remove only those with until=MOMENT, label=KEY[=VALUE]"),
            Flag::switch("force", "Don't ask").short('f'),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

const KEYS: [&str; 2] = ["until", "label"];

fn filter(request: &mut PruneRequest, text: &str) -> Result<(), BadValue> {
    let (key, value) = text.split_once('=').ok_or_else(|| BadValue::new("not KEY=VALUE"))?;
    match key {
        "until" => {
            let at = crate::parse::moment::parse(value, std::time::SystemTime::now())?;
            let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            request.until_ns = Some(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        }
        "label" => request.labels.push(match value.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (value.to_owned(), None),
        }),
        key => {
            return Err(
                BadValue::new(format!("unknown filter {key:?}")).did_you_mean(suggest::nearest(key, KEYS))
            );
        }
    }
    Ok(())
}

/// Asks, removes, and prints what is gone.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let mut request = PruneRequest { all: parsed.switch("all"), ..PruneRequest::default() };
    for text in parsed.many("filter") {
        filter(&mut request, text).map_err(|bad| parsed.bad("filter", text, bad))?;
    }
    let what = match request.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    if !parsed.switch("force") && !super::confirm(&format!("WARNING! This will remove {what}."))? {
        return Ok(0);
    }
    let pruned = backend::prune_images(&request)?;
    if !pruned.removed.is_empty() {
        let mut text = "Deleted Images:\n".to_owned();
        for removed in &pruned.removed {
            text.extend(removed.untagged.iter().map(|name| format!("untagged: {name}\n")));
            text.extend(removed.deleted.iter().map(|id| format!("deleted: {id}\n")));
        }
        print(&(text + "\n"))?;
    }
    print(&format!("Total reclaimed space: {}\n", size::human(pruned.reclaimed_bytes)))?;
    Ok(0)
}
