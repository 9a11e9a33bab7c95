//! `berth image prune`.

use engine::images::Removed;
use engine::images::keep::PruneRequest;

use super::{print, system};
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::filter;

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
            Flag::one("unused-for", "duration", "Remove only what nothing has used for so long: 12h, 14d"),
            Flag::switch("dry-run", "Tell what would be removed, and remove nothing"),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Asks, removes, and prints what is gone.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let (filter, dangling) = filter::prune(parsed, true)?;
    let all = parsed.switch("all") || dangling == Some(false);
    let request = PruneRequest { all, filter, dry_run: parsed.switch("dry-run") };
    let what = match request.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    if !request.dry_run
        && !parsed.switch("force")
        && !super::confirm(&format!("WARNING! This will remove {what}."))?
    {
        return Ok(0);
    }
    let pruned = backend::prune_images(&request)?;
    print(&gone(&pruned.removed, request.dry_run))?;
    print(&system::total(pruned.reclaimed_bytes, request.dry_run))?;
    Ok(0)
}

/// What is gone of images, in docker's words; nothing if nothing is.
pub fn gone(images: &[Removed], dry_run: bool) -> String {
    if images.is_empty() {
        return String::new();
    }
    let mut text = if dry_run { "Would delete Images:\n" } else { "Deleted Images:\n" }.to_owned();
    for removed in images {
        text.extend(removed.untagged.iter().map(|name| format!("untagged: {name}\n")));
        text.extend(removed.deleted.iter().map(|id| format!("deleted: {id}\n")));
    }
    text + "\n"
}
