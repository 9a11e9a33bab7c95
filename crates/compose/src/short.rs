//! The short forms of ports, volumes, sizes, durations and commands.

use std::net::IpAddr;

use crate::node::{Map, Node, Value};

/// Reads `source:target:options` into the long form, with defaults as compose has them. Source: compose-go's
/// format/volume.go; what isn't known as an option there is passed over, here it is an error.
///
/// Errors: what is wrong with it.
pub fn volume(spec: &str, like: &Node) -> Result<Node, String> {
    let text = |value: &str| Node::text(value, like);
    let mut map = Map::new();
    let parts = split_volume(spec);
    if spec.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!("invalid spec: {spec}: empty section between colons"));
    }
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(format!("invalid spec: {spec}: too many colons")),
    };
    let is_path = source.is_some_and(is_path);
    let mut inner = Map::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => _ = map.insert("read_only".to_owned(), like.with(Value::Bool(true))),
            "rw" => _ = map.remove("read_only"),
            "nocopy" if !is_path => _ = inner.insert("nocopy".to_owned(), like.with(Value::Bool(true))),
            "z" | "Z" if is_path => _ = inner.insert("selinux".to_owned(), text(option)),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" if is_path => {
                _ = inner.insert("propagation".to_owned(), text(option));
            }
            // Docker for Mac's words for consistency mean nothing on Linux; a word for the other sort of mount neither.
            "cached" | "delegated" | "consistent" | "nocopy" | "z" | "Z" | "rprivate" | "private"
            | "rshared" | "shared" | "rslave" | "slave" => {}
            _ => return Err(format!("invalid spec: {spec}: unknown option \"{option}\"")),
        }
    }
    if is_path {
        inner.insert("create_host_path".to_owned(), like.with(Value::Bool(true)));
    }
    let kind = if is_path { "bind" } else { "volume" };
    map.insert("type".to_owned(), text(kind));
    if let Some(source) = source {
        map.insert("source".to_owned(), text(source));
    }
    map.insert("target".to_owned(), text(&clean(target)));
    // A spec of one or two letters has no options in compose's answer.
    if spec.len() > 2 {
        map.insert(kind.to_owned(), like.with(Value::Map(inner)));
    }
    Ok(like.with(Value::Map(map)))
}

/// The parts between colons that stand in no `${…}`, and aren't of a drive's letter.
fn split_volume(spec: &str) -> Vec<&str> {
    let bytes = spec.as_bytes();
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0);
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if index > 0 && bytes[index - 1] == b'$' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b':' if depth == 0 => {
                let is_drive = index == start + 1 && bytes[start].is_ascii_alphabetic();
                if !is_drive || spec.len() <= 2 {
                    parts.push(&spec[start..index]);
                    start = index + 1;
                }
            }
            _ => {}
        }
    }
    if spec.len() <= 2 {
        return vec![spec];
    }
    parts.push(&spec[start..]);
    parts
}

/// Whether the source of a mount is a path of the host's and not the name of a volume.
pub fn is_path(source: &str) -> bool {
    let drive = source.as_bytes();
    source.starts_with(['.', '/', '~'])
        || source.starts_with("\\\\")
        || drive.len() > 1 && drive[0].is_ascii_alphabetic() && drive[1] == b':'
}

/// A path without `.`, `..` and doubled slashes, by its letters alone. Source: Go's path.Clean.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

/// `path` below `base`, unless it is absolute. Source: Go's filepath.Join.
pub fn join(base: &str, path: &str) -> String {
    if base.is_empty() { clean(path) } else { clean(&format!("{base}/{path}")) }
}

/// Reads `ip:published:target/protocol`, with ranges, into long forms. Source: docker's go-connections, package nat.
///
/// Errors: what is wrong with it.
pub fn ports(spec: &str, like: &Node) -> Result<Vec<Node>, String> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (host, published, container) = match parts.as_slice() {
        [container] => (String::new(), "", *container),
        [published, container] => (String::new(), *published, *container),
        [host @ .., published, container] => (host.join(":"), *published, *container),
        [] => (String::new(), "", ""),
    };
    let (container, protocol) = match container.split_once('/') {
        Some((container, protocol)) if !protocol.is_empty() => (container, protocol.to_lowercase()),
        Some((container, _)) => (container, "tcp".to_owned()),
        None => (container, "tcp".to_owned()),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    if !host.is_empty() && host.parse::<IpAddr>().is_err() {
        return Err(format!("invalid ip address: {host}"));
    }
    if container.is_empty() {
        return Err(format!("no port specified: {spec}<empty>"));
    }
    let (first, last) = range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    let open = match published {
        "" => None,
        _ => Some(range(published).ok_or_else(|| format!("invalid hostPort: {published}"))?),
    };
    if let Some((low, high)) = open
        && last - first != high - low
        && first != last
    {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {published}"
        ));
    }
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let text = |value: &str| Node::text(value, like);
    let mut numbers: Vec<u16> = (first..=last).collect();
    // compose sorts them as strings.
    numbers.sort_by_key(u16::to_string);
    let port = |target: u16| {
        let mut map = Map::new();
        map.insert("mode".to_owned(), text("ingress"));
        map.insert("target".to_owned(), like.with(Value::Int(i64::from(target))));
        map.insert("protocol".to_owned(), text(&protocol));
        if !host.is_empty() {
            map.insert("host_ip".to_owned(), text(host));
        }
        match open {
            Some((low, high)) if first == last && low != high => {
                map.insert("published".to_owned(), text(&format!("{low}-{high}")));
            }
            Some((low, _)) => {
                map.insert("published".to_owned(), text(&(low + (target - first)).to_string()));
            }
            None => {}
        }
        like.with(Value::Map(map))
    };
    Ok(numbers.into_iter().map(port).collect())
}

/// `80` or `80-90`, in order.
pub fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (first, last): (u16, u16) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// A size as `64m`, `1.5 GiB` or `100` (bytes). Source: docker's go-units, RAMInBytes.
pub fn bytes(text: &str) -> Option<i64> {
    let digit = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')?;
    let suffix = &text[digit + 1..];
    let number = if text.as_bytes()[digit] == b' ' { &text[..digit] } else { &text[..=digit] };
    if number.starts_with('+') || number.contains(char::is_whitespace) {
        return None;
    }
    let size: f64 = number.parse().ok().filter(|size: &f64| size.is_finite() && *size >= 0.0)?;
    let power = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let size = size * 1024f64.powi(power);
    (size <= i64::MAX as f64).then_some(size as i64)
}

/// A duration as `1m30s` or `2d`, in nanoseconds. Source: go-str2duration, which knows days and weeks.
pub fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number = &rest[..end];
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit: i64 = match &rest[..end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        rest = &rest[end..];
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().ok()? };
        total = total.checked_add(whole.checked_mul(unit)?)?.checked_add((part * unit as f64) as i64)?;
    }
    Some(if negative { -total } else { total })
}

/// Nanoseconds as Go prints a duration: `1m30s`, `1.5s`, `100ms`, `0s`.
pub fn duration_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    let decimal = |unit: u64| {
        let fraction = size % unit;
        let digits = unit.ilog10() as usize;
        match fraction {
            0 => (size / unit).to_string(),
            _ => format!("{}.{}", size / unit, format!("{fraction:0digits$}").trim_end_matches('0')),
        }
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(1_000_000)),
        _ => {
            let (minutes, rest) = (size / 60_000_000_000, size % 60_000_000_000);
            let seconds = duration_seconds(rest);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

fn duration_seconds(nanoseconds: u64) -> String {
    match nanoseconds % 1_000_000_000 {
        0 => (nanoseconds / 1_000_000_000).to_string(),
        fraction => {
            let fraction = format!("{fraction:09}");
            format!("{}.{}", nanoseconds / 1_000_000_000, fraction.trim_end_matches('0'))
        }
    }
}

/// Splits a command line into words as compose does: quotes and backslashes, and an end at `;`, `&`, `|`, `<` or `>`.
/// Source: go-shellwords.
///
/// Errors: a quote or parenthesis that isn't closed.
pub fn words(line: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("invalid command line string: {line}");
    let mut words = Vec::new();
    let mut word = String::new();
    let mut has_word = false;
    let (mut escaped, mut double, mut single, mut back, mut dollar) = (false, false, false, false, false);
    for c in line.chars() {
        if escaped {
            word.push(c);
            escaped = false;
            has_word = true;
            continue;
        }
        if c == '\\' {
            if single {
                word.push(c)
            } else {
                escaped = true
            }
            continue;
        }
        if matches!(c, ' ' | '\t' | '\r' | '\n') {
            if single || double || back || dollar {
                word.push(c);
            } else if has_word {
                words.push(std::mem::take(&mut word));
                has_word = false;
            }
            continue;
        }
        match c {
            '`' if !single && !double && !dollar => back = !back,
            ')' if !single && !double && !back => dollar = !dollar,
            '(' if !single && !double && !back => {
                if dollar || !word.ends_with('$') {
                    return Err(wrong());
                }
                dollar = true;
            }
            '"' if !single && !dollar => {
                has_word |= double;
                double = !double;
                continue;
            }
            '\'' if !double && !dollar => {
                has_word |= single;
                single = !single;
                continue;
            }
            ';' | '&' | '|' | '<' | '>' if !(single || double || back || dollar) => {
                if c == '>' && word.starts_with(|c: char| c.is_ascii_digit()) {
                    has_word = false;
                }
                break;
            }
            _ => {}
        }
        has_word = true;
        word.push(c);
    }
    if has_word {
        words.push(word);
    }
    if escaped || double || single || back || dollar {
        return Err(wrong());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_and_printed_as_in_go() {
        for (text, printed) in [
            ("90s", "1m30s"),
            ("1m", "1m0s"),
            ("2h", "2h0m0s"),
            ("1.5s", "1.5s"),
            ("100ms", "100ms"),
            ("1d", "24h0m0s"),
            ("0", "0s"),
            ("1500us", "1.5ms"),
            ("10ns", "10ns"),
            ("1h0.5s", "1h0m0.5s"),
        ] {
            assert_eq!(duration(text).map(duration_text).as_deref(), Some(printed), "{text}");
        }
        for text in ["", "5", "1x", "s", "1.2.3s", "99999999999h", "-"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, size) in
            [("64m", 64 << 20), ("1.5g", 3 << 29), ("100", 100), ("12mb", 12 << 20), ("1 KiB", 1024)]
        {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in ["", "m", "1x", "-1", "1e999", "nan", "1kbb"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn commands_are_split_as_compose_splits_them() {
        let check = |line: &str, expected: &[&str]| {
            assert_eq!(words(line), Ok(expected.iter().map(|word| word.to_string()).collect()), "{line}");
        };
        check("a 'b c' \"d e\" f\\ g", &["a", "b c", "d e", "f g"]);
        check("a '' b", &["a", "", "b"]);
        check("sh -c 'x > y'", &["sh", "-c", "x > y"]);
        check("a b; c", &["a", "b"]);
        check("echo $(date +%s) x", &["echo", "$(date +%s)", "x"]);
        check("", &[]);
        assert!(words("a 'b").is_err());
        assert!(words("a (b)").is_err());
    }

    #[test]
    fn paths_are_cleaned_as_in_go() {
        for (path, cleaned) in [
            ("/a/./b/../c//", "/a/c"),
            ("./x", "x"),
            ("", "."),
            ("../x", "../x"),
            ("/..", "/"),
            ("a/..", "."),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
        assert_eq!(join("/srv", "./data"), "/srv/data");
        assert_eq!(join("sub", "../x"), "x");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_without_a_panic(text in "[0-9a-z:/.,${}\\-\"'(); \u{e9}\u{b5}]{0,30}") {
            let _ = (duration(&text), bytes(&text), words(&text), range(&text), clean(&text));
            let _ = (volume(&text, &Node::default()), ports(&text, &Node::default()));
        }

        #[test]
        fn a_printed_duration_reads_back(nanoseconds in 0..i64::MAX / 1000) {
            prop_assert!((duration(&duration_text(nanoseconds)).unwrap() - nanoseconds).abs() <= 1);
        }
    }
}
