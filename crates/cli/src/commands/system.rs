//! `berth system df`, `berth system prune`, `berth container prune`.

use engine::system::PruneRequest;
use std::time::SystemTime;

use super::{image_prune, print};
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::{Format, size, usage};
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
    about: "Remove containers that have ended, and images that nothing uses",
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
        false => usage::text(&measured, &Format::parse(given, usage::DEFAULT))?,
    };
    print(&text)?;
    Ok(0)
}

/// Asks, removes, and prints what is gone.
pub fn prune(parsed: &Parsed) -> Result<u8, Failure> {
    let (filter, _) = filter::prune(parsed, false)?;
    let request = PruneRequest { all: parsed.switch("all"), volumes: parsed.switch("volumes"), filter };
    if request.volumes && request.filter.until_ns.is_some() {
        return Err(Failure::new("the \"until\" filter is not supported with \"--volumes\""));
    }
    let mut warning = "WARNING! This will remove:\n  - all stopped containers\n".to_owned();
    if request.volumes {
        warning += "  - all anonymous volumes not used by at least one container\n";
    }
    warning += match request.all {
        true => "  - all images without at least one container associated to them\n",
        false => "  - all dangling images\n",
    };
    let filters = parsed.many("filter");
    if !filters.is_empty() {
        warning += "\n  Items to be pruned will be filtered with:\n";
        warning.extend(filters.iter().map(|filter| format!("  - {filter}\n")));
    }
    if !parsed.switch("force") && !super::confirm(&warning)? {
        return Ok(0);
    }
    let pruned = backend::prune(&request)?;
    let list = |what: &str, names: &[String]| match names.is_empty() {
        true => String::new(),
        false => format!("Deleted {what}:\n{}\n\n", names.join("\n")),
    };
    print(&list("Containers", &pruned.containers))?;
    print(&list("Volumes", &pruned.volumes))?;
    print(&image_prune::gone(&pruned.images))?;
    print(&format!("Total reclaimed space: {}\n", size::sum(pruned.reclaimed_bytes)))?;
    Ok(0)
}

/// The same for containers alone.
pub fn container_prune(parsed: &Parsed) -> Result<u8, Failure> {
    let (filter, _) = filter::prune(parsed, false)?;
    let warning = "WARNING! This will remove all stopped containers.";
    if !parsed.switch("force") && !super::confirm(warning)? {
        return Ok(0);
    }
    let pruned = backend::prune_containers(&filter)?;
    if !pruned.containers.is_empty() {
        print(&format!("Deleted Containers:\n{}\n\n", pruned.containers.join("\n")))?;
    }
    print(&format!("Total reclaimed space: {}\n", size::sum(pruned.reclaimed_bytes)))?;
    Ok(0)
}
