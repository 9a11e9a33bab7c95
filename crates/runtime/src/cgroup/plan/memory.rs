//! Memory and swap.

use types::oci::Memory;

use super::{Builder, UsageCheck, Write, invalid, unsupported};
use crate::cgroup::error::Error;
use crate::cgroup::hierarchy::Tree;

const LIMIT: &str = "linux.resources.memory.limit";
const RESERVATION: &str = "linux.resources.memory.reservation";
const SWAP: &str = "linux.resources.memory.swap";
const SWAPPINESS: &str = "linux.resources.memory.swappiness";
const OOM_KILLER: &str = "linux.resources.memory.disableOOMKiller";
const USE_HIERARCHY: &str = "linux.resources.memory.useHierarchy";

/// Smallest limit: the kernel rounds down to whole pages, and no process fits into none.
const LIMIT_MIN_BYTES: i64 = 4096;
const SWAPPINESS_MAX: u64 = 100;

pub(super) fn plan(memory: &Memory, builder: &mut Builder<'_>) -> Result<(), Error> {
    // As with runc, 0 is unset.
    let limit = checked(LIMIT, memory.limit)?;
    let reservation = checked(RESERVATION, memory.reservation)?;
    let swap = plan_swap(limit, checked(SWAP, memory.swap)?)?;
    for (field, value) in [(LIMIT, limit), (SWAP, swap), (RESERVATION, reservation)] {
        let Some(value) = value else { continue };
        match builder.need(field, "memory")? {
            Tree::V2 => write_v2(field, value, limit, builder),
            tree @ Tree::V1(_) => write_v1(field, value, memory.swap, &tree, builder),
        }
    }
    if memory.check_before_update == Some(true) {
        plan_checks(limit, swap, builder)?;
    }
    plan_v1_only(memory, builder)
}

fn checked(field: &str, value: Option<i64>) -> Result<Option<i64>, Error> {
    match value {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(-1)),
        Some(bytes) if bytes < -1 => {
            Err(invalid(field, bytes, "must be -1 (unlimited) or a number of bytes"))
        }
        Some(bytes) if bytes < LIMIT_MIN_BYTES && field != RESERVATION => Err(invalid(
            field,
            format!("{bytes} bytes"),
            "is less than a page (4096 bytes); give the limit in bytes",
        )),
        Some(bytes) => Ok(Some(bytes)),
    }
}

/// The limit of memory and swap together, in version 1's sense. Unlimited memory without a word on swap means
/// unlimited swap, as with runc.
fn plan_swap(limit: Option<i64>, swap: Option<i64>) -> Result<Option<i64>, Error> {
    match (limit, swap) {
        (Some(-1), None) => Ok(Some(-1)),
        (None | Some(-1), Some(swap)) if swap != -1 => Err(invalid(
            SWAP,
            swap,
            "counts memory and swap together, so it needs linux.resources.memory.limit",
        )),
        (Some(limit), Some(swap)) if swap != -1 && swap < limit => Err(invalid(
            SWAP,
            swap,
            "counts memory and swap together, so it can't be below linux.resources.memory.limit",
        )),
        _ => Ok(swap),
    }
}

fn max_or(value: i64) -> String {
    if value == -1 { "max".to_owned() } else { value.to_string() }
}

fn write_v2(field: &'static str, value: i64, limit: Option<i64>, builder: &mut Builder<'_>) {
    let (file, value) = match field {
        LIMIT => ("memory.max", max_or(value)),
        RESERVATION => ("memory.low", max_or(value)),
        // Version 2 counts swap alone; `plan_swap` has made sure that there is a limit below it.
        _ if value == -1 => ("memory.swap.max", max_or(value)),
        _ => ("memory.swap.max", (value - limit.unwrap_or(0)).to_string()),
    };
    // A kernel without swap accounting has no swap to forbid, and no limit to lift.
    let may_lack = file == "memory.swap.max" && matches!(value.as_str(), "max" | "0");
    builder.writes.push(Write { may_lack, ..Write::new(field, &Tree::V2, file, value) });
}

fn write_v1(
    field: &'static str,
    value: i64,
    asked_swap: Option<i64>,
    tree: &Tree,
    builder: &mut Builder<'_>,
) {
    let file = match field {
        LIMIT => "memory.limit_in_bytes",
        RESERVATION => "memory.soft_limit_in_bytes",
        _ => "memory.memsw.limit_in_bytes",
    };
    // Without swap accounting there is nothing to lift.
    let may_lack = field == SWAP && value == -1 && asked_swap.unwrap_or(-1) == -1;
    builder.writes.push(Write { may_lack, ..Write::new(field, tree, file, value.to_string()) });
}

fn plan_checks(limit: Option<i64>, swap: Option<i64>, builder: &mut Builder<'_>) -> Result<(), Error> {
    let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let Some(limit_bytes) = bytes(limit) else { return Ok(()) };
    let tree = builder.need(LIMIT, "memory")?;
    // Version 1's kernel refuses such a limit itself, after trying to reclaim.
    if tree == Tree::V2 {
        let check =
            |field: &str, file, limit| UsageCheck { field: field.to_owned(), tree: Tree::V2, file, limit };
        builder.checks.push(check(LIMIT, "memory.current", limit_bytes));
        if let Some(swap_bytes) = bytes(swap) {
            builder.checks.push(check(SWAP, "memory.swap.current", swap_bytes - limit_bytes));
        }
    }
    Ok(())
}

fn plan_v1_only(memory: &Memory, builder: &mut Builder<'_>) -> Result<(), Error> {
    if let Some(swappiness) = memory.swappiness {
        if swappiness > SWAPPINESS_MAX {
            return Err(invalid(SWAPPINESS, swappiness, "must be between 0 and 100"));
        }
        let tree = builder.need_v1(SWAPPINESS, "memory")?;
        builder.write(SWAPPINESS, &tree, "memory.swappiness", swappiness);
    }
    if memory.disable_oom_killer == Some(true) {
        let tree = builder.need_v1(OOM_KILLER, "memory")?;
        builder.write(OOM_KILLER, &tree, "memory.oom_control", 1);
    }
    // Every kernel since 5.11 accounts hierarchically, and can't do otherwise.
    if memory.use_hierarchy == Some(false) {
        return Err(unsupported(
            USE_HIERARCHY,
            "the kernel always accounts hierarchically; remove it or set true",
        ));
    }
    Ok(())
}
