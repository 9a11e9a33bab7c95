//! Durations as Go writes and reads them. Source: Go's package time, `Duration.String` and `ParseDuration`.

use std::time::Duration;

/// A duration such as `1h30m`, `1.5s`, `300ms`; `None` for anything else, and for a negative one.
pub fn parse(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    if text == "0" {
        return Some(total);
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let unit_secs = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let secs = number.parse::<f64>().ok()? * unit_secs;
        total = total.checked_add(Duration::try_from_secs_f64(secs).ok()?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

/// A duration as Go prints it: `0s`, `1.5ms`, `30s`, `1m30s`, `26h0m0s`.
pub fn format(duration: Duration) -> String {
    let decimals = |nanos: u128, unit: u128| {
        let (whole, rest) = (nanos / unit, nanos % unit);
        let width = unit.ilog10() as usize;
        let fraction = format!("{rest:0width$}");
        match fraction.trim_end_matches('0') {
            _ if rest == 0 => whole.to_string(),
            fraction => format!("{whole}.{fraction}"),
        }
    };
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => decimals(nanos, 1_000) + "µs",
        1_000_000..1_000_000_000 => decimals(nanos, 1_000_000) + "ms",
        _ => {
            let minutes = duration.as_secs() / 60;
            let seconds = decimals(nanos - u128::from(minutes) * 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_gos() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (1_500_000, "1.5ms"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (93_600_250_000_000, "26h0m0.25s"),
        ] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(format(duration), text);
            assert_eq!(parse(text), Some(duration), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_not_read() {
        for text in ["", "5", "-1s", "1x", "s", "1.2.3s", "99999999999999999999h", "1 s"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("0"), Some(Duration::ZERO));
    }
}
