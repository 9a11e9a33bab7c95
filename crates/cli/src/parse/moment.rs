//! `--since` and `--until`: a moment, or how long ago it was.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::failure::BadValue;

/// A moment: seconds since 1970 with decimals, RFC 3339 with a zone, a bare date (UTC), or a duration before `now`
/// such as `1m30s`. Source: docker/cli `logs --since`.
pub fn parse(text: &str, now: SystemTime) -> Result<SystemTime, BadValue> {
    types::duration::parse(text)
        .and_then(|ago| now.checked_sub(ago))
        .or_else(|| seconds(text).and_then(|since| UNIX_EPOCH.checked_add(since)))
        .or_else(|| rfc3339(text))
        .ok_or_else(|| {
            BadValue::new("not a moment").hint("write it as in 10m, 2026-11-25T08:00:00Z or 1795593600")
        })
}

/// Seconds with up to nine decimals.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 9 || !plain(whole) || !plain(fraction) {
        return None;
    }
    Some(Duration::new(whole.parse().ok()?, format!("{fraction:0<9}").parse().ok()?))
}

fn rfc3339(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00:00Z"));
    let [year, month, day] = numbers::<3>(date, '-')?;
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [hour, minute, second] = numbers::<3>(clock, ':')?;
    let offset_secs = match zone.split_at(1) {
        ("Z" | "z", "") => 0,
        (sign, hours) => {
            let [hours, minutes] = numbers::<2>(hours, ':')?;
            (hours * 3600 + minutes * 60) * if sign == "-" { -1 } else { 1 }
        }
    };
    let fields_fit = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if !fields_fit || second > 60 {
        return None;
    }
    let secs = crate::format::time::days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
        - offset_secs;
    let nanos = seconds(&format!("0.{fraction}"))?;
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(secs).ok()?))?.checked_add(nanos)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let number = |part: &str| match part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit()) {
        true => part.parse::<i64>().ok(),
        false => None,
    };
    text.split(separator).map(number).collect::<Option<Vec<_>>>()?.try_into().ok()
}
