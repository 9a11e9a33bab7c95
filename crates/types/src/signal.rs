//! Signal names and numbers (x86-64 and arm64 agree). Source: signal(7).

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// First and last real-time signal that programs may use (glibc and musl keep the first few for themselves).
const RT: std::ops::RangeInclusive<i32> = 34..=64;

/// Number of a signal given as `9`, `KILL`, `SIGKILL` or `RTMIN+3`, in any case; `None` for anything else.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|name| *name == bare) {
        return Some(at as i32 + 1);
    }
    match bare {
        "IOT" => return Some(6),
        "CLD" => return Some(17),
        "POLL" => return Some(29),
        "RTMIN" => return Some(*RT.start()),
        "RTMAX" => return Some(*RT.end()),
        _ => {}
    }
    let number = if let Some(plus) = bare.strip_prefix("RTMIN+") {
        RT.start().checked_add(plus.parse().ok()?)?
    } else {
        RT.end().checked_sub(bare.strip_prefix("RTMAX-")?.parse().ok()?)?
    };
    RT.contains(&number).then_some(number)
}

/// Name of signal `number` with `SIG`, or the bare number where it has none.
pub fn name(number: i32) -> String {
    match NAMES.get((number - 1).max(0) as usize) {
        Some(name) if number > 0 => format!("SIG{name}"),
        _ if RT.contains(&number) => format!("SIGRTMIN+{}", number - RT.start()),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_signal_agree() {
        for text in ["9", "KILL", "SIGKILL", "sigkill", "kill"] {
            assert_eq!(parse(text), Some(9), "{text}");
        }
        assert_eq!(parse("RTMIN+3"), Some(37));
        assert_eq!(parse("SIGRTMAX-1"), Some(63));
        for text in ["0", "65", "-9", "NOPE", "RTMIN+99", "", "SIG", "RTMIN+-1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_number_has_a_name_that_parses_back() {
        for number in 1..=64 {
            assert_eq!(parse(&name(number)), Some(number));
        }
    }
}
