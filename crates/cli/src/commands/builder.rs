//! `berth builder du`, `prune`, `ls`: what builds keep. `berth buildx` has the same.

use engine::build::cache::{Filter, PruneRequest, Record};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::print;
use crate::backend;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::{size, table, time};
use crate::parse::{moment, number};

const FILTERS: &str = "Only those with KEY=VALUE, KEY!=VALUE or KEY~=REGEX: until, id, type, inuse, …";

const BUILDER: Flag = Flag::one("builder", "string", "Has no effect: there is one, this host");

/// Flags and arguments of `du`.
pub static DU: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Show what builds keep, and what it takes",
    flags: &[(
        "Options",
        &[
            BUILDER,
            Flag::many("filter", "filter", FILTERS),
            Flag::switch("verbose", "Show all about each record"),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Flags and arguments of `prune`.
pub static PRUNE: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Remove what builds keep",
    flags: &[(
        "Options",
        &[
            Flag::switch("all", "Remove records whose layers images have, too").short('a'),
            BUILDER,
            Flag::many("filter", "filter", FILTERS),
            Flag::switch("force", "Don't ask").short('f'),
            Flag::one("keep-storage", "bytes", "The same as --reserved-space"),
            Flag::one("max-used-space", "bytes", "Remove until all records together take no more than that"),
            Flag::one("min-free-space", "bytes", "Remove until so much of the disk is free"),
            Flag::one(
                "reserved-space",
                "bytes",
                "Keep records, those used last, that take no more than that",
            ),
            Flag::switch("verbose", "Show all about each record"),
            Flag::switch("dry-run", "Tell what would be removed, and remove nothing"),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Flags and arguments of `ls`.
pub static LIST: CommandSpec = CommandSpec {
    usage: "",
    about: "List builders: there is one, this host",
    flags: &[],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

fn filters(parsed: &Parsed) -> Result<Vec<Filter>, Failure> {
    let until = |text: &str| {
        let at = moment::parse(text, SystemTime::now()).map_err(|bad| bad.why)?;
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    };
    let given = parsed.many("filter").into_iter().filter(|text| !text.is_empty());
    let one = |text: &str| {
        Filter::parse(text, until).map_err(|why| Failure::new(format!("invalid filter {text:?}: {why}")))
    };
    given.map(one).collect()
}

/// Lists records, and what they take together.
pub fn du(parsed: &Parsed) -> Result<u8, Failure> {
    let records = backend::build_records(&filters(parsed)?)?;
    let mut text = shown(&records, parsed.switch("verbose"));
    let sum = |is: &dyn Fn(&Record) -> bool| {
        size::human(records.iter().filter(|record| is(record)).map(|record| record.size_bytes).sum())
    };
    // Of filtered ones docker tells no sums.
    if parsed.many("filter").is_empty() {
        let shared = records.iter().any(|record| record.is_shared);
        if shared {
            text += &format!("Shared:\t\t{}\n", sum(&|record| record.is_shared));
            text += &format!("Private:\t{}\n", sum(&|record| !record.is_shared));
        }
        text += &format!("Reclaimable:\t{}\n", sum(&|record| !record.is_in_use));
        text += &format!("Total:\t\t{}\n", sum(&|_| true));
    }
    print(&text)?;
    Ok(0)
}

/// Asks, removes, and prints what is gone.
pub fn prune(parsed: &Parsed) -> Result<u8, Failure> {
    let bytes = |name| parsed.given::<u64, BadValue>(name, number::bytes);
    let request = PruneRequest {
        all: parsed.switch("all"),
        filters: filters(parsed)?,
        reserved_bytes: bytes("reserved-space")?.or(bytes("keep-storage")?),
        max_used_bytes: bytes("max-used-space")?,
        min_free_bytes: bytes("min-free-space")?,
        dry_run: parsed.switch("dry-run"),
    };
    let what = if request.all { "all build cache" } else { "all dangling build cache" };
    if !request.dry_run
        && !parsed.switch("force")
        && !super::confirm(&format!("WARNING! This will remove {what}."))?
    {
        return Ok(0);
    }
    let pruned = backend::prune_build_records(&request)?;
    let mut text = match pruned.removed[..] {
        [] => String::new(),
        _ => shown(&pruned.removed, parsed.switch("verbose")),
    };
    text += &format!("Total:\t{}\n", size::human(pruned.reclaimed_bytes));
    print(&text)?;
    Ok(0)
}

/// Prints the one builder.
pub fn list(_: &Parsed) -> Result<u8, Failure> {
    let platforms: Vec<String> = backend::build_platforms().iter().map(ToString::to_string).collect();
    let lines = [
        "NAME/NODE\tDRIVER/ENDPOINT\tSTATUS\tBUILDKIT\tPLATFORMS".to_owned(),
        "default*\tberth\t\t\t".to_owned(),
        format!(
            " \\_ default\t \\_ default\trunning\t{}\t{}",
            env!("CARGO_PKG_VERSION"),
            platforms.join(", ")
        ),
    ];
    print(&table::align(&lines))?;
    Ok(0)
}

fn at(ns: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap_or_default())
}

/// Docker's table, or with `verbose` a paragraph for each.
fn shown(records: &[Record], verbose: bool) -> String {
    let now = SystemTime::now();
    let since = |ns: i64| format!("{} ago", time::words_since(at(ns), now));
    if verbose {
        return records.iter().map(|record| paragraph(record, &since)).collect();
    }
    let row = |record: &Record| {
        let mutable = if record.is_mutable { "*" } else { "" };
        let shared = if record.is_shared { "*" } else { "" };
        let (id, size) = (&record.id, size::human(record.size_bytes));
        format!("{id}{mutable}\t{}\t{size}{shared}\t{}", !record.is_in_use, since(record.used_ns))
    };
    let title = "ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED".to_owned();
    let lines: Vec<String> = std::iter::once(title).chain(records.iter().map(row)).collect();
    table::align(&lines)
}

fn paragraph(record: &Record, since: &dyn Fn(i64) -> String) -> String {
    let mut text = format!("ID:\t\t{}\n", record.id);
    if let [parent] = &record.parents[..] {
        text += &format!("Parent:\t\t{parent}\n");
    } else if !record.parents.is_empty() {
        text += &format!("Parents:\t{}\n", record.parents.join(", "));
    }
    let lines = [
        ("Created at:\t", time::go_utc(at(record.created_ns))),
        ("Mutable:\t", record.is_mutable.to_string()),
        ("Reclaimable:\t", (!record.is_in_use).to_string()),
        ("Shared:\t\t", record.is_shared.to_string()),
        ("Size:\t\t", size::human(record.size_bytes)),
        ("Description:\t", engine::inert(&record.description).into_owned()),
        ("Usage count:\t", record.uses.to_string()),
        ("Last used:\t", since(record.used_ns)),
        ("Type:\t\t", record.kind.clone()),
    ];
    lines.iter().for_each(|(name, value)| text += &format!("{name}{value}\n"));
    text + "\n"
}
