//! Lengths of time: `90m`, `1d12h`, `2w`.

use std::time::Duration;

use crate::failure::BadValue;

/// One or several whole numbers with a unit: `s`, `m`, `h`, `d`, `w`.
pub fn parse(text: &str) -> Result<Duration, BadValue> {
    let wrong = || BadValue::new("not a length of time").hint("write it as in 12h, 14d or 1w2d");
    let (mut total, mut number) = (0u64, String::new());
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let seconds: u64 = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let count: u64 = std::mem::take(&mut number).parse().map_err(|_| wrong())?;
        total = count.checked_mul(seconds).and_then(|more| total.checked_add(more)).ok_or_else(wrong)?;
    }
    match number.is_empty() && !text.is_empty() {
        true => Ok(Duration::from_secs(total)),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        for (text, seconds) in [("0s", 0), ("90m", 5400), ("14d", 1_209_600), ("1w2d3h", 788_400)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "5", "d", "5x", "-5d", "5d3", "99999999999999999999d", "999999999999999999w"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
