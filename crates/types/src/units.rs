//! Sizes as docker writes them.

/// A number as it's written, and which power of the unit's base it's to be multiplied by: `64` and 2 for `64m`.
fn split(text: &str) -> Option<(&str, u32)> {
    let text = text.trim();
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = unit.trim_start().to_ascii_lowercase();
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == letter)?;
    (unit != "ib" && !number.is_empty()).then_some((number, power as u32))
}

fn parse(text: &str, base: i64) -> Option<i64> {
    let (number, power) = split(text)?;
    let factor = base.pow(power);
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(factor);
    }
    let value = number.parse::<f64>().ok()? * factor as f64;
    (value.is_finite() && value < i64::MAX as f64).then_some(value as i64)
}

/// Parses a size as docker's `--memory` does: a decimal number, then `b`, `k`, `m`, `g`, `t` or `p`, also as `kb` or
/// `KiB`, all powers of 1,024. `None` for anything else, and for what doesn't fit.
pub fn parse_bytes(text: &str) -> Option<i64> {
    parse(text, 1024)
}

/// Parses a size as docker's `max-size` of logs does: like [`parse_bytes`], in powers of 1,000.
/// Source: docker/go-units, FromHumanSize.
pub fn parse_decimal_bytes(text: &str) -> Option<u64> {
    parse(text, 1000).map(i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_sizes_are_decimal() {
        for (text, bytes) in [("10m", 10_000_000), ("1.5k", 1_500), ("2GiB", 2_000_000_000), ("7", 7)] {
            assert_eq!(parse_decimal_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "1x", "-1", "99999999p"] {
            assert_eq!(parse_decimal_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_parse_as_dockers() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1b", 1),
            ("1k", 1024),
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("2GiB", 2 << 30),
            ("2 GB", 2 << 30),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "1x", "-1", "1kk", "9999999999g", "ib", "1ib", "1.2.3"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
