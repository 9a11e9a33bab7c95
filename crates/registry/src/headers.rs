//! What registries say in headers, each a small language of its own. Made of text alone, so that it can be fuzzed alone.

use std::time::Duration;

/// `Retry-After`: seconds, or a date, relative to the server's own `Date`. Source: RFC 9110 10.2.3.
pub(crate) fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let (then, now) = (http_date(value)?, http_date(date?)?);
    Some(Duration::from_secs(then.saturating_sub(now)))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`. Source: RFC 9110 5.6.7, IMF-fixdate.
pub(crate) fn http_date(text: &str) -> Option<u64> {
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

/// `Content-Range`: the start, and if known the size of the whole. Source: RFC 9110 14.4.
pub(crate) fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (start <= end && total.is_none_or(|total: u64| end < total)).then_some((start, total))
}

/// `Range` of an upload session: the last byte's number in `0-N`, with or without `bytes=`.
pub(crate) fn session_end(text: &str) -> Option<u64> {
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    let (start, end) = text.split_once('-')?;
    (start == "0").then(|| end.parse().ok())?
}

/// `Link`: the target of the one with `rel="next"`. Source: RFC 8288.
pub(crate) fn next_link(value: &str) -> Option<&str> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let (parameters, following) = after.split_at(after.find('<').unwrap_or(after.len()));
        let is_next = |parameter: &str| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && value.eq_ignore_ascii_case("next")
        };
        if parameters.split(';').any(is_next) {
            return Some(target);
        }
        rest = following;
    }
    None
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
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in
            ["", "bytes */10", "bytes 5-9", "bytes 9-5/10", "bytes 5-10/10", "items 5-9/10", "bytes a-9/10"]
        {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn ranges_of_sessions_are_read() {
        assert_eq!(session_end("0-99"), Some(99));
        assert_eq!(session_end("bytes=0-99"), Some(99));
        for bad in ["", "1-9", "0-", "0-x", "-1"] {
            assert_eq!(session_end(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_next_page_is_found() {
        let check = |value: &str, next: Option<&str>| assert_eq!(next_link(value), next, "{value}");
        check(r#"</v2/r/tags/list?n=1&last=a>; rel="next""#, Some("/v2/r/tags/list?n=1&last=a"));
        check("<x>;REL=next", Some("x"));
        check(r#"<a>; rel="prev", <b>; title="t"; rel="next""#, Some("b"));
        check(r#"<a>; rel="prev""#, None);
        check("<a", None);
        check("", None);
    }

    proptest::proptest! {
        #[test]
        fn any_link_is_survived(text in "[<>;=,\"a-z ]{0,60}") {
            next_link(&text);
        }
    }
}
