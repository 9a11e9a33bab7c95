//! `--device-read-bps /dev/sda:1mb` and its like, `--blkio-weight-device /dev/sda:200`. Source: docker/cli
//! opts/throttledevice.go and weightdevice.go.

use engine::request::{DeviceRate, DeviceWeight};

use crate::failure::BadValue;
use types::units;

/// The device, and what follows it.
fn split(text: &str) -> Result<(&str, &str), BadValue> {
    match text.split_once(':') {
        Some((path, rest)) if !path.is_empty() => match path.starts_with("/dev/") {
            true => Ok((path, rest)),
            false => Err(BadValue::new(format!("bad format for device path: {text}"))
                .hint("name the device by its node, as in /dev/sda")),
        },
        _ => Err(BadValue::new(format!("bad format: {text}"))),
    }
}

/// Bytes a second.
pub fn bytes_rate(text: &str) -> Result<DeviceRate, BadValue> {
    let (path, rate) = split(text)?;
    let wrong = || {
        BadValue::new(format!("invalid rate for device: {text}")).hint(
            "the correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is \
             optional and can be kb, mb, or gb",
        )
    };
    let rate = units::parse_bytes(rate).and_then(|rate| u64::try_from(rate).ok()).ok_or_else(wrong)?;
    Ok(DeviceRate { path: path.into(), rate })
}

/// Operations a second.
pub fn operations_rate(text: &str) -> Result<DeviceRate, BadValue> {
    let (path, rate) = split(text)?;
    let wrong = |_| {
        BadValue::new(format!("invalid rate for device: {text}"))
            .hint("the correct format is <device-path>:<number>. Number must be a positive integer")
    };
    Ok(DeviceRate { path: path.into(), rate: rate.parse().map_err(wrong)? })
}

/// A weight: 10 to 1000; 0 is none.
pub fn weight(text: &str) -> Result<DeviceWeight, BadValue> {
    let (path, weight) = split(text)?;
    match weight.parse() {
        Ok(weight @ (0 | 10..=1000)) => Ok(DeviceWeight { path: path.into(), weight }),
        _ => Err(BadValue::new(format!("invalid weight for device: {text}"))
            .hint("write a weight from 10 to 1000, or 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_weights_are_dockers() {
        assert_eq!(bytes_rate("/dev/sda:1mb"), Ok(DeviceRate { path: "/dev/sda".into(), rate: 1 << 20 }));
        assert_eq!(operations_rate("/dev/sda:0").map(|rate| rate.rate), Ok(0));
        assert_eq!(weight("/dev/sda:500").map(|device| device.weight), Ok(500));
        for bad in ["", "/dev/sda", ":1", "sda:1", "/dev/sda:", "/dev/sda:-1", "/dev/sda:x"] {
            assert!(
                bytes_rate(bad).is_err() && operations_rate(bad).is_err() && weight(bad).is_err(),
                "{bad}"
            );
        }
        for bad in ["/dev/sda:9", "/dev/sda:1001", "/dev/sda:1k"] {
            assert!(weight(bad).is_err(), "{bad}");
        }
        assert!(operations_rate("/dev/sda:1k").is_err());
    }
}
