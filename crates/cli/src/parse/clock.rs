//! Offsets of clocks: `--time-offset monotonic=SECS`, `boottime=SECS`.

use engine::request::{TimeOffset, TimeOffsets};

use crate::failure::BadValue;
use crate::suggest;

/// Seconds with a sign and up to nine decimals.
pub fn seconds(text: &str) -> Result<TimeOffset, BadValue> {
    let wrong = || BadValue::new("not a number of seconds").hint("write it as in 86400, -60 or 0.5");
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > 9 {
        return Err(wrong());
    }
    let secs: i64 = whole.parse().map_err(|_| wrong())?;
    let nanos: u32 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    Ok(match (negative, nanos) {
        (false, _) => TimeOffset { secs, nanosecs: nanos },
        (true, 0) => TimeOffset { secs: -secs, nanosecs: 0 },
        (true, _) => TimeOffset { secs: -secs - 1, nanosecs: 1_000_000_000 - nanos },
    })
}

/// All `--time-offset`s, also several in one, with commas; each clock once.
pub fn offsets(texts: &[&str]) -> Result<TimeOffsets, BadValue> {
    let mut offsets = TimeOffsets::default();
    for text in texts.iter().flat_map(|text| text.split(',')) {
        let Some((clock, value)) = text.split_once('=') else {
            return Err(BadValue::new("not CLOCK=SECONDS").hint("write it as in boottime=86400"));
        };
        let slot = match clock {
            "monotonic" => &mut offsets.monotonic,
            "boottime" => &mut offsets.boottime,
            _ => {
                return Err(BadValue::new(format!("no clock {clock:?}: monotonic and boottime can be set"))
                    .did_you_mean(suggest::nearest(clock, ["monotonic", "boottime"])));
            }
        };
        if slot.replace(seconds(value)?).is_some() {
            return Err(BadValue::new(format!("{clock} is given twice")));
        }
    }
    Ok(offsets)
}
