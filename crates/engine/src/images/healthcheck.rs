//! The instruction `HEALTHCHECK`. Source: the Dockerfile reference.

use types::image::config::Healthcheck;

/// Least duration, in nanoseconds: docker's.
const NANOS_MIN: u128 = 1_000_000;

/// What follows the instruction's name.
///
/// Errors: what is wrong with it, as the end of a sentence.
pub(crate) fn parse(text: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text.trim();
    let mut has_options = false;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option.split_once('=').ok_or_else(|| format!("--{option} needs a value"))?;
        match name {
            "interval" => check.interval = nanos(name, value)?,
            "timeout" => check.timeout = nanos(name, value)?,
            "start-period" => check.start_period = nanos(name, value)?,
            "start-interval" => check.start_interval = nanos(name, value)?,
            "retries" => match value.parse::<u32>() {
                Ok(retries @ 1..) => check.retries = retries.into(),
                _ => return Err(format!("--retries must be at least 1, not {value}")),
            },
            _ => return Err(format!("it has no option --{name}")),
        }
        has_options = true;
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if command.is_empty() && !has_options => check.test = vec!["NONE".to_owned()],
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" if command.is_empty() => return Err("a command is missing after HEALTHCHECK CMD".to_owned()),
        "CMD" => {
            check.test = match serde_json::from_str::<Vec<String>>(command) {
                Ok(words) if !words.is_empty() => ["CMD".to_owned()].into_iter().chain(words).collect(),
                _ => vec!["CMD-SHELL".to_owned(), command.to_owned()],
            }
        }
        _ => return Err(format!("unknown type {kind:?} in HEALTHCHECK (try CMD)")),
    }
    Ok(check)
}

fn nanos(name: &str, text: &str) -> Result<i64, String> {
    let duration = types::duration::parse(text)
        .ok_or_else(|| format!("--{name}={text} is no duration, such as 30s or 1m30s"))?;
    match duration.as_nanos() {
        0 => Ok(0),
        1..NANOS_MIN => Err(format!("--{name} must be at least 1ms")),
        nanos => i64::try_from(nanos).map_err(|_| format!("--{name} is too long")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_times_are_read() {
        let check = parse("--interval=5m --timeout=3s --retries=2 CMD curl -f http://localhost/ || exit 1");
        let check = check.unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl -f http://localhost/ || exit 1"]);
        assert_eq!((check.interval, check.timeout, check.retries), (300_000_000_000, 3_000_000_000, 2));
        let check = parse("--start-period=1m --start-interval=1s cmd [\"a\", \"b c\"]").unwrap();
        assert_eq!(check.test, ["CMD", "a", "b c"]);
        assert_eq!((check.start_period, check.start_interval), (60_000_000_000, 1_000_000_000));
        assert_eq!(parse("NONE").unwrap().test, ["NONE"]);
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "",
            "CMD",
            "NONE x",
            "--interval=1s NONE",
            "--interval CMD x",
            "--interval=1us CMD x",
            "--interval=often CMD x",
            "--retries=0 CMD x",
            "--colour=red CMD x",
            "curl x",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
