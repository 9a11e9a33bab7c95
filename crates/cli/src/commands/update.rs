//! `berth update`.

use engine::request::{Resources, UpdateRequest};

use super::{print, run};
use crate::backend;
use crate::failure::{Failure, report};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::{mount, mount_option, restart};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Change limits and restart policy of containers, at once where they run",
    flags: &[
        ("Limits", run::LIMITS),
        (
            "Mounts",
            &[
                Flag::many(
                    "mount-add",
                    "mount",
                    "Mount a bind or volume, at once where it runs, as run's --mount",
                ),
                Flag::many("mount-rm", "target", "Take the mount at this path away"),
            ],
        ),
        (
            "Life",
            &[Flag::one(
                "restart",
                "string",
                "Start it again: no, on-failure[:TIMES], always, unless-stopped",
            )],
        ),
    ],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Changes containers. As with docker, warnings go to standard output.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    if !SPEC.all_flags().any(|flag| parsed.one(flag.name).is_some()) {
        return Err(Failure::new("you must provide one or more flags when using this command"));
    }
    // Only relative sources need it, and it may have been deleted.
    let cwd = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let request = UpdateRequest {
        containers: parsed.args(),
        resources: resources(parsed)?,
        // As with docker, a wrong one is no wrong use of the command.
        restart: parsed.given("restart", restart::parse).map_err(|failure| failure.code(1))?,
        mount_add: parsed.each("mount-add", |text| mount_option::parse(text, &cwd))?,
        mount_rm: parsed.each("mount-rm", mount::target)?,
    };
    let (mut status, mut warnings) = (0, Vec::new());
    for (name, result) in backend::update(&request)? {
        match result {
            Ok(more) => {
                print(&format!("{name}\n"))?;
                warnings.extend(more);
            }
            Err(failure) => {
                report(&failure);
                status = 1;
            }
        }
    }
    warnings.iter().try_for_each(|warning| print(&format!("{warning}\n")))?;
    Ok(status)
}

/// What is to change: as with docker, 0 isn't a limit of processes but none that is given.
fn resources(parsed: &Parsed) -> Result<Resources, Failure> {
    let resources = run::resources(parsed)?;
    match parsed.one("pids-limit") {
        Some("0") => Ok(Resources { pids_limit: None, ..resources }),
        _ => Ok(resources),
    }
}
