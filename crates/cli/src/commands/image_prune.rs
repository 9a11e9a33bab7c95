//! `berth image prune`.

use engine::images::keep::PruneRequest;

use super::print;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::size;
use crate::parse::filter;
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
            Flag::many(
                "filter",
                "filter",
                "Remove only those with until=MOMENT, label=KEY[=VALUE], label!=KEY[=VALUE]",
            ),
            Flag::switch("force", "Don't ask").short('f'),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

const KEYS: [&str; 4] = ["until", "label", "label!", "dangling"];

enum PruneFilter {
    Until(i64),
    Label(String, Option<String>),
    NotLabel(String, Option<String>),
    Dangling(bool),
}

fn filter(key: &str, value: &str) -> Result<PruneFilter, BadValue> {
    let (label, of_label) = filter::label(value);
    Ok(match key {
        "until" => {
            let at = crate::parse::moment::parse(value, std::time::SystemTime::now())?;
            let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            PruneFilter::Until(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
        }
        "label" => PruneFilter::Label(label, of_label),
        "label!" => PruneFilter::NotLabel(label, of_label),
        "dangling" => match crate::flags::parse_bool(value) {
            Some(dangling) => PruneFilter::Dangling(dangling),
            None => return Err(BadValue::new("dangling is true or false")),
        },
        key => {
            return Err(
                BadValue::new(format!("unknown filter {key:?}")).did_you_mean(suggest::nearest(key, KEYS))
            );
        }
    })
}

/// Asks, removes, and prints what is gone.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let mut request = PruneRequest { all: parsed.switch("all"), ..PruneRequest::default() };
    for filter in filter::each(parsed, filter)? {
        match filter {
            PruneFilter::Until(until) => request.until_ns = Some(until),
            PruneFilter::Label(key, value) => request.labels.push((key, value)),
            PruneFilter::NotLabel(key, value) => request.labels_not.push((key, value)),
            PruneFilter::Dangling(dangling) => request.all |= !dangling,
        }
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
