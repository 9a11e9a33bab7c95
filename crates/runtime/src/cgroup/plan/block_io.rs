//! Block I/O: weights and throttles.

use types::oci::{BlockIo, ThrottleDevice, WeightDevice};

use super::{Builder, invalid};
use crate::cgroup::error::Error;
use crate::cgroup::hierarchy::Tree;

const WEIGHT_MIN: u16 = 10;
const WEIGHT_MAX: u16 = 1000;

pub(super) fn plan(block_io: &BlockIo, builder: &mut Builder<'_>) -> Result<(), Error> {
    if let Some(weight) = checked_weight("linux.resources.blockIO.weight", block_io.weight)? {
        write_weight("linux.resources.blockIO.weight", "", weight, builder)?;
    }
    if let Some(weight) = checked_weight("linux.resources.blockIO.leafWeight", block_io.leaf_weight)? {
        let field = "linux.resources.blockIO.leafWeight";
        let tree = builder.need_v1(field, "blkio")?;
        builder.write(field, &tree, "blkio.leaf_weight", weight);
    }
    for (index, device) in block_io.weight_device.iter().enumerate() {
        plan_weight_device(index, device, builder)?;
    }
    let throttles = [
        (
            "throttleReadBpsDevice",
            &block_io.throttle_read_bps_device,
            "blkio.throttle.read_bps_device",
            "rbps",
        ),
        (
            "throttleWriteBpsDevice",
            &block_io.throttle_write_bps_device,
            "blkio.throttle.write_bps_device",
            "wbps",
        ),
        (
            "throttleReadIOPSDevice",
            &block_io.throttle_read_iops_device,
            "blkio.throttle.read_iops_device",
            "riops",
        ),
        (
            "throttleWriteIOPSDevice",
            &block_io.throttle_write_iops_device,
            "blkio.throttle.write_iops_device",
            "wiops",
        ),
    ];
    for (name, devices, v1_file, v2_key) in throttles {
        for (index, device) in devices.iter().enumerate() {
            let field = format!("linux.resources.blockIO.{name}[{index}]");
            plan_throttle(&field, device, v1_file, v2_key, builder)?;
        }
    }
    Ok(())
}

/// As with runc, 0 is unset.
fn checked_weight(field: &str, weight: Option<u16>) -> Result<Option<u16>, Error> {
    match weight {
        None | Some(0) => Ok(None),
        Some(weight) if (WEIGHT_MIN..=WEIGHT_MAX).contains(&weight) => Ok(Some(weight)),
        Some(weight) => Err(invalid(field, weight, "must be between 10 and 1000")),
    }
}

/// io.weight (1 to 10,000) for a blkio weight (10 to 1000), linearly, as runc and crun convert it. BFQ's own file takes
/// the weight as it is.
pub(in crate::cgroup) fn io_weight_from_blkio(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}

/// `device` is empty for the default weight, else `8:0 `.
fn write_weight(field: &str, device: &str, weight: u16, builder: &mut Builder<'_>) -> Result<(), Error> {
    match builder.need(field, "blkio")? {
        Tree::V2 => {
            let choices = [
                ("io.bfq.weight", format!("{device}{weight}")),
                ("io.weight", format!("{device}{}", io_weight_from_blkio(weight))),
            ];
            builder.write_first(field, &Tree::V2, choices);
        }
        tree @ Tree::V1(_) => {
            let suffix = if device.is_empty() { "" } else { "_device" };
            let (plain, bfq) = (format!("blkio.weight{suffix}"), format!("blkio.bfq.weight{suffix}"));
            let value = format!("{device}{weight}");
            builder.write_first(field, &tree, [(&plain, value.clone()), (&bfq, value)]);
        }
    }
    Ok(())
}

fn plan_weight_device(index: usize, device: &WeightDevice, builder: &mut Builder<'_>) -> Result<(), Error> {
    let field = format!("linux.resources.blockIO.weightDevice[{index}]");
    let number = device_number(&field, device.major, device.minor)?;
    if let Some(weight) = checked_weight(&field, device.weight)? {
        write_weight(&format!("{field}.weight"), &format!("{number} "), weight, builder)?;
    }
    if let Some(weight) = checked_weight(&field, device.leaf_weight)? {
        let field = format!("{field}.leafWeight");
        let tree = builder.need_v1(&field, "blkio")?;
        builder.write(&field, &tree, "blkio.leaf_weight_device", format!("{number} {weight}"));
    }
    Ok(())
}

fn plan_throttle(
    field: &str,
    device: &ThrottleDevice,
    v1_file: &str,
    v2_key: &str,
    builder: &mut Builder<'_>,
) -> Result<(), Error> {
    let number = device_number(field, device.major, device.minor)?;
    match builder.need(field, "blkio")? {
        Tree::V2 => {
            // Version 1 lifts the limit with 0, version 2 refuses 0.
            let rate = if device.rate == 0 { "max".to_owned() } else { device.rate.to_string() };
            builder.write(field, &Tree::V2, "io.max", format!("{number} {v2_key}={rate}"));
        }
        tree @ Tree::V1(_) => builder.write(field, &tree, v1_file, format!("{number} {}", device.rate)),
    }
    Ok(())
}

fn device_number(field: &str, major: i64, minor: i64) -> Result<String, Error> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(format!("{major}:{minor}")),
        _ => Err(invalid(field, format!("{major}:{minor}"), "must be a device number")),
    }
}
