//! `berth system df`, `berth system prune`, `berth container prune`.

use engine::system::PruneRequest;
use std::time::SystemTime;

use super::{image_prune, print};
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::{Format, colour, size, usage};
use crate::parse::filter;

/// Flags and arguments of `df`.
pub static DF: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Show what images, containers and volumes take",
    flags: &[(
        "Options",
        &[
            Flag::one("format", "string", "table, table TEMPLATE, json, or a Go template"),
            Flag::switch("verbose", "Show each of them").short('v'),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Flags and arguments of `prune`.
pub static PRUNE: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Remove containers that have ended, images that nothing uses, and what builds keep",
    flags: &[(
        "Options",
        &[
            Flag::switch("all", "Remove images with names too, unless a container was made from them")
                .short('a'),
            Flag::many(
                "filter",
                "filter",
                "Remove only those with until=MOMENT, label=KEY[=VALUE], label!=…",
            ),
            Flag::switch("force", "Don't ask").short('f'),
            Flag::switch("volumes", "Remove anonymous volumes too"),
            Flag::one("unused-for", "duration", "Remove only what nothing has used for so long: 12h, 14d"),
            Flag::switch("dry-run", "Tell what would be removed, and remove nothing"),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Flags and arguments of `container prune`.
pub static CONTAINER_PRUNE: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Remove containers that have ended",
    flags: &[(
        "Options",
        &[
            Flag::many(
                "filter",
                "filter",
                "Remove only those with until=MOMENT, label=KEY[=VALUE], label!=…",
            ),
            Flag::switch("force", "Don't ask").short('f'),
            Flag::one("unused-for", "duration", "Remove only what nothing has used for so long: 12h, 14d"),
            Flag::switch("dry-run", "Tell what would be removed, and remove nothing"),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Measures, and prints docker's tables.
pub fn df(parsed: &Parsed) -> Result<u8, Failure> {
    let given = parsed.one("format").unwrap_or_default();
    let measured = backend::usage()?;
    let text = match parsed.switch("verbose") {
        true => usage::verbose(&measured, given, SystemTime::now())?,
        false => {
            let format = Format::parse(given, usage::DEFAULT);
            colour::with_titles(usage::text(&measured, &format)?, &format)
        }
    };
    print(&text)?;
    Ok(0)
}

/// Asks, removes, and prints what is gone.
pub fn prune(parsed: &Parsed) -> Result<u8, Failure> {
    let (filter, _) = filter::prune(parsed, false)?;
    let (all, volumes) = (parsed.switch("all"), parsed.switch("volumes"));
    let request = PruneRequest { all, volumes, filter, dry_run: parsed.switch("dry-run") };
    if request.volumes && request.filter.until_ns.is_some() {
        return Err(Failure::new("the \"until\" filter is not supported with \"--volumes\""));
    }
    let mut warning = "WARNING! This will remove:\n  - all stopped containers\n\
                       \u{20} - all networks not used by at least one container\n"
        .to_owned();
    if request.volumes {
        warning += "  - all anonymous volumes not used by at least one container\n";
    }
    warning += match request.all {
        true => "  - all images without at least one container associated to them\n",
        false => "  - all dangling images\n",
    };
    warning += "  - unused build cache\n";
    let filters = parsed.many("filter");
    if !filters.is_empty() {
        warning += "\n  Items to be pruned will be filtered with:\n";
        warning.extend(filters.iter().map(|filter| format!("  - {filter}\n")));
    }
    if !request.dry_run && !parsed.switch("force") && !super::confirm(&warning)? {
        return Ok(0);
    }
    let pruned = backend::prune(&request)?;
    print(&gone("Containers", &pruned.containers, request.dry_run))?;
    print(&gone("Networks", &pruned.networks, request.dry_run))?;
    print(&gone("Volumes", &pruned.volumes, request.dry_run))?;
    print(&image_prune::gone(&pruned.images, request.dry_run))?;
    print(&gone("build cache objects", &pruned.builds, request.dry_run))?;
    print(&total(pruned.reclaimed_bytes, request.dry_run))?;
    Ok(0)
}

/// What is gone, or would be, in docker's words; nothing if nothing is.
pub fn gone(what: &str, names: &[String], dry_run: bool) -> String {
    let done = if dry_run { "Would delete" } else { "Deleted" };
    match names.is_empty() {
        true => String::new(),
        false => format!("{done} {what}:\n{}\n\n", names.join("\n")),
    }
}

/// How much that is.
pub fn total(bytes: u64, dry_run: bool) -> String {
    let what = if dry_run { "Total reclaimable space" } else { "Total reclaimed space" };
    format!("{what}: {}\n", size::sum(bytes))
}

/// The same for containers alone.
pub fn container_prune(parsed: &Parsed) -> Result<u8, Failure> {
    let (filter, _) = filter::prune(parsed, false)?;
    let warning = "WARNING! This will remove all stopped containers.";
    let dry_run = parsed.switch("dry-run");
    if !dry_run && !parsed.switch("force") && !super::confirm(warning)? {
        return Ok(0);
    }
    let pruned = backend::prune_containers(&filter, dry_run)?;
    print(&gone("Containers", &pruned.containers, dry_run))?;
    print(&total(pruned.reclaimed_bytes, dry_run))?;
    Ok(0)
}
