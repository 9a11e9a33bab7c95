//! Moments and spans in docker's words.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECS: i64 = 86_400;

/// Days from 1970-01-01 to a date of the Gregorian calendar. Source: Hinnant, chrono-compatible date algorithms.
pub fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of the day `days` after 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn split(at: SystemTime) -> ((i64, i64, i64), (i64, i64, i64)) {
    let secs = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    let of_day = secs % DAY_SECS;
    (date_of(secs / DAY_SECS), (of_day / 3600, of_day / 60 % 60, of_day % 60))
}

/// `2026-11-25T01:46:31Z`.
pub fn rfc3339(at: SystemTime) -> String {
    let ((year, month, day), (hour, minute, second)) = split(at);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `2026-11-25T01:46:31.5Z`: as [`rfc3339`] with what there is below a second, as Go's RFC3339Nano.
pub fn rfc3339_nanos(at: SystemTime) -> String {
    let nanos = at.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let digits = format!("{nanos:09}");
    match digits.trim_end_matches('0') {
        "" => rfc3339(at),
        fraction => rfc3339(at).replace('Z', &format!(".{fraction}Z")),
    }
}

/// `2026-11-25 01:46:31 +0000 UTC`, as Go prints a time.
pub fn go_utc(at: SystemTime) -> String {
    rfc3339(at).replace('T', " ").replace('Z', " +0000 UTC")
}

/// A span in words: "About a minute", "3 weeks". Source: docker/go-units HumanDuration.
pub fn words(span: Duration) -> String {
    let secs = span.as_secs();
    let minutes = secs / 60;
    let hours = (secs + 1800) / 3600;
    match () {
        () if secs < 1 => "Less than a second".to_owned(),
        () if secs == 1 => "1 second".to_owned(),
        () if secs < 60 => format!("{secs} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// The words for the span from `then` to `now`, none for one that lies ahead.
pub fn words_since(then: SystemTime, now: SystemTime) -> String {
    words(now.duration_since(then).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_dockers_words() {
        for (secs, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (13 * 86400, "13 days"),
            (14 * 86400, "2 weeks"),
            (59 * 86400, "8 weeks"),
            (60 * 86400, "2 months"),
            (729 * 86400, "24 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(words(Duration::from_secs(secs)), expected, "{secs}");
        }
    }

    #[test]
    fn dates_round_trip() {
        for days in [-1, 0, 59, 60, 365, 11_016, 19_782, 20_782, 40_000] {
            let (year, month, day) = date_of(days);
            assert_eq!(days_of(year, month, day), days, "{year}-{month}-{day}");
        }
        let at = UNIX_EPOCH + Duration::new(951_782_400, 5);
        assert_eq!(rfc3339(at), "2000-02-29T00:00:00Z");
        assert_eq!(go_utc(at), "2000-02-29 00:00:00 +0000 UTC");
    }
}
