//! When to ask again.

use crate::settings::Timing;
use std::time::Duration;

/// Whether an answer of this status may be another one soon.
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long to wait before attempt `next` (1 is the first repetition): what the registry said, or twice as long each time.
/// `None` if there have been enough attempts, or the registry wants more patience than [`Timing::wait_max`].
pub(crate) fn wait(timing: &Timing, next: u32, retry_after: Option<Duration>) -> Option<Duration> {
    if next >= timing.attempts {
        return None;
    }
    let doubled = timing.backoff.saturating_mul(1 << (next - 1).min(16));
    match retry_after {
        Some(asked) if asked > timing.wait_max => None,
        Some(asked) => Some(asked.max(timing.backoff)),
        None => Some(doubled.min(timing.wait_max)),
    }
}

/// `Retry-After`: seconds, or a date, relative to the server's own `Date`. Source: RFC 9110 10.2.3.
pub(crate) fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let (then, now) = (http_date(value)?, http_date(date?)?);
    Some(Duration::from_secs(then.saturating_sub(now)))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`. Source: RFC 9110 5.6.7, IMF-fixdate.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = words[..] else { return None };
    let clock: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = clock[..] else { return None };
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let month = MONTHS.iter().position(|known| *known == month)? as u64 + 1;
    if !(1970..10_000).contains(&year)
        || !(1..=31).contains(&day)
        || hours > 23
        || minutes > 59
        || seconds > 60
    {
        return None;
    }
    // Howard Hinnant's days_from_civil: years begin in March, so that the leap day is the last.
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let check = |value: &str, date: Option<&str>, seconds: Option<u64>| {
            assert_eq!(retry_after(value, date), seconds.map(Duration::from_secs), "{value}");
        };
        check("3", None, Some(3));
        check("0", None, Some(0));
        check("99999999999999999999", None, None);
        check("-1", None, None);
        check("soon", Some("Sun, 06 Nov 1994 08:49:37 GMT"), None);
        check("Sun, 06 Nov 1994 08:49:40 GMT", Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some(3));
        check("Sun, 06 Nov 1994 08:49:30 GMT", Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        check("Sun, 06 Nov 1994 08:49:40 GMT", None, None);
    }

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        for bad in [
            "",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn waits_double_up_to_a_bound_and_end() {
        let second = Duration::from_secs(1);
        let timing = Timing { attempts: 5, backoff: second, wait_max: 3 * second, ..Timing::default() };
        let waits: Vec<_> = (1..=5).map(|next| wait(&timing, next, None)).collect();
        assert_eq!(waits, [Some(second), Some(2 * second), Some(3 * second), Some(3 * second), None]);
        assert_eq!(wait(&timing, 1, Some(2 * second)), Some(2 * second));
        assert_eq!(wait(&timing, 1, Some(Duration::ZERO)), Some(second));
        assert_eq!(wait(&timing, 1, Some(4 * second)), None);
    }
}
