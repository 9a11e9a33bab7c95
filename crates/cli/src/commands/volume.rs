//! `berth volume create`, `ls`, `inspect`, `rm`, `prune`.

use engine::request::{VolumeCreateRequest, VolumeFilter, VolumePruneRequest};

use super::{inspect, print, print_outcomes, system};
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed, parse_bool};
use crate::format::{Format, colour, volumes};
use crate::parse::{env, filter};
use crate::{backend, suggest, unsupported};

/// Flags and arguments of `create`.
pub static CREATE: CommandSpec = CommandSpec {
    usage: "[OPTIONS] [VOLUME]",
    about: "Make a volume",
    flags: &[(
        "Options",
        &[
            Flag::one("driver", "string", "Driver: local").short('d'),
            Flag::many("label", "list", "Label, KEY=VALUE"),
            Flag::many("opt", "map", "Option of the driver: type=tmpfs, or type=none with o=bind; device=")
                .short('o'),
        ],
    )],
    unsupported: unsupported::VOLUME_CREATE,
    args: (0, 1),
    trailing: false,
};

/// Flags and arguments of `ls`.
pub static LIST: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "List volumes",
    flags: &[(
        "Options",
        &[
            Flag::many("filter", "filter", "Show those with KEY=VALUE: dangling, driver, label, name")
                .short('f'),
            Flag::one("format", "string", "table, table TEMPLATE, json, or a Go template"),
            Flag::switch("quiet", "Show names only").short('q'),
        ],
    )],
    unsupported: unsupported::VOLUME_LIST,
    args: (0, 0),
    trailing: false,
};

/// Flags and arguments of `inspect`.
pub static INSPECT: CommandSpec = CommandSpec {
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Show all about volumes",
    flags: &[("Options", &[Flag::one("format", "string", "json, or a Go template").short('f')])],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `rm`.
pub static REMOVE: CommandSpec = CommandSpec {
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove volumes that no container has, with all that is in them",
    flags: &[("Options", &[Flag::switch("force", "Pass over those that don't exist").short('f')])],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `prune`.
pub static PRUNE: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Remove volumes that no container has",
    flags: &[(
        "Options",
        &[
            Flag::switch("all", "Remove those that were named too").short('a'),
            Flag::many("filter", "filter", "Remove only those with label=KEY[=VALUE], or label!=KEY[=VALUE]"),
            Flag::switch("force", "Don't ask").short('f'),
            Flag::one("unused-for", "duration", "Remove only what nothing has used for so long: 12h, 14d"),
            Flag::switch("dry-run", "Tell what would be removed, and remove nothing"),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// What volumes are filtered by.
pub const LIST_KEYS: [&str; 4] = ["dangling", "driver", "label", "name"];
/// The same for a `prune`.
pub const PRUNE_KEYS: [&str; 3] = ["label", "label!", "all"];

/// Makes a volume and prints its name.
pub fn create(parsed: &Parsed) -> Result<u8, Failure> {
    let request = VolumeCreateRequest {
        name: parsed.args().pop(),
        driver: parsed.one("driver").map(str::to_owned),
        labels: parsed.each("label", env::label)?.into_iter().collect(),
        options: parsed.each("opt", env::label)?.into_iter().collect(),
    };
    let asked = request.labels.len() + request.options.len() > 0;
    let (name, made) = backend::create_volume(&request)?;
    if !made && asked {
        // Docker says nothing.
        eprintln!("Warning: volume {name} exists and stays as it is; `berth volume inspect {name}` shows it");
    }
    print(&format!("{name}\n"))?;
    Ok(0)
}

fn truth(key: &str, value: &str) -> Result<bool, BadValue> {
    parse_bool(value).ok_or_else(|| BadValue::new(format!("{key} is true or false")))
}

fn list_filter(key: &str, value: &str) -> Result<VolumeFilter, BadValue> {
    Ok(match key {
        "dangling" => VolumeFilter::Dangling(truth(key, value)?),
        "driver" => VolumeFilter::Driver(value.to_owned()),
        "label" => {
            let (key, value) = filter::label(value);
            VolumeFilter::Label(key, value)
        }
        "name" => VolumeFilter::Name(value.to_owned()),
        key => return Err(unknown(key, LIST_KEYS)),
    })
}

fn unknown<const N: usize>(key: &str, keys: [&'static str; N]) -> BadValue {
    BadValue::new(format!("unknown filter {key:?}")).did_you_mean(suggest::nearest(key, keys))
}

/// Lists volumes.
pub fn list(parsed: &Parsed) -> Result<u8, Failure> {
    let listed = backend::volumes(&filter::each(parsed, list_filter)?)?;
    let format = Format::parse(parsed.one("format").unwrap_or_default(), volumes::DEFAULT);
    let quiet = parsed.switch("quiet");
    let text = volumes::text(&listed, &format, quiet)?;
    print(&colour::with_titles(text, &format.or_quiet(quiet, "")))?;
    Ok(0)
}

/// Prints the documents of those that exist, the failures of the others.
pub fn inspect(parsed: &Parsed) -> Result<u8, Failure> {
    let inspect = |given: String| (given.clone(), backend::inspect_volume(&given));
    inspect::show(parsed, parsed.args().into_iter().map(inspect).collect())
}

/// Removes volumes, and prints the names of those that are gone.
pub fn remove(parsed: &Parsed) -> Result<u8, Failure> {
    print_outcomes(backend::remove_volumes(&parsed.args(), parsed.switch("force"))?)
}

/// A change of the request.
enum PruneFilter {
    Label(String, Option<String>),
    LabelNot(String, Option<String>),
    All(bool),
}

fn prune_filter(key: &str, value: &str) -> Result<PruneFilter, BadValue> {
    let (name, of_label) = filter::label(value);
    Ok(match key {
        "label" => PruneFilter::Label(name, of_label),
        "label!" => PruneFilter::LabelNot(name, of_label),
        "all" => PruneFilter::All(truth(key, value)?),
        key => return Err(unknown(key, PRUNE_KEYS)),
    })
}

/// Asks, removes, and prints what is gone.
pub fn prune(parsed: &Parsed) -> Result<u8, Failure> {
    let mut request = VolumePruneRequest {
        all: parsed.switch("all"),
        unused_since_ns: filter::unused_since(parsed)?,
        dry_run: parsed.switch("dry-run"),
        ..VolumePruneRequest::default()
    };
    for filter in filter::each(parsed, prune_filter)? {
        match filter {
            PruneFilter::Label(key, value) => request.labels.push((key, value)),
            PruneFilter::LabelNot(key, value) => request.labels_not.push((key, value)),
            PruneFilter::All(all) => request.all |= all,
        }
    }
    let what = if request.all { "all" } else { "anonymous" };
    let warning =
        format!("WARNING! This will remove {what} local volumes not used by at least one container.");
    if !request.dry_run && !parsed.switch("force") && !super::confirm(&warning)? {
        return Ok(0);
    }
    let pruned = backend::prune_volumes(&request)?;
    print(&system::gone("Volumes", &pruned.removed, request.dry_run))?;
    print(&system::total(pruned.reclaimed_bytes, request.dry_run))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_parse_as_dockers() {
        assert_eq!(list_filter("dangling", "1"), Ok(VolumeFilter::Dangling(true)));
        assert_eq!(list_filter("label", "a=b"), Ok(VolumeFilter::Label("a".into(), Some("b".into()))));
        assert!(list_filter("foo", "x").is_err() && list_filter("dangling", "x").is_err());
        assert!(matches!(prune_filter("label!", "b=c"), Ok(PruneFilter::LabelNot(_, Some(_)))));
        assert!(prune_filter("foo", "x").is_err() && prune_filter("all", "x").is_err());
    }
}
