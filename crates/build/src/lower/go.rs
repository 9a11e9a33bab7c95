//! Values as Go's `fmt` prints them.

use types::image::config::Healthcheck;

/// `%q` of a string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `%q` of a list of strings.
pub(super) fn quoted_list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(" "))
}

/// `%q` of docker's HealthcheckConfig behind a pointer: durations are quoted texts, the number is a character.
pub(super) fn healthcheck(check: &Healthcheck) -> String {
    let durations = [check.interval, check.timeout, check.start_period, check.start_interval];
    let durations = durations.map(|nanoseconds| {
        quoted(&types::duration::format(std::time::Duration::from_nanos(
            u64::try_from(nanoseconds).unwrap_or_default(),
        )))
    });
    format!("&{{{} {} {}}}", quoted_list(&check.test), durations.join(" "), character(check.retries))
}

fn character(number: i64) -> String {
    let c = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    match c {
        '\'' => "'\\''".to_owned(),
        '\\' => "'\\\\'".to_owned(),
        '\x07' => "'\\a'".to_owned(),
        '\x08' => "'\\b'".to_owned(),
        '\x0c' => "'\\f'".to_owned(),
        '\n' => "'\\n'".to_owned(),
        '\r' => "'\\r'".to_owned(),
        '\t' => "'\\t'".to_owned(),
        '\x0b' => "'\\v'".to_owned(),
        c if (c as u32) < 0x20 || c == '\x7f' => format!("'\\x{:02x}'", c as u32),
        c => format!("'{c}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthcheck_is_printed_as_by_go() {
        let check = Healthcheck {
            test: vec!["CMD-SHELL".to_owned(), "a \"b\"".to_owned()],
            interval: 5_000_000_000,
            retries: 3,
            ..Healthcheck::default()
        };
        let text = r#"&{["CMD-SHELL" "a \"b\""] "5s" "0s" "0s" "0s" '\x03'}"#;
        assert_eq!(healthcheck(&check), text);
    }
}
