//! `--expose PORT[-PORT][/PROTOCOL]`. Source: docker/cli container/opts.go, go-connections nat.

use crate::failure::BadValue;

/// The ports, each as `80/tcp`.
pub fn parse(text: &str) -> Result<Vec<String>, BadValue> {
    let wrong = |why: &str| BadValue::new(format!("invalid range format for --expose: {text}, error: {why}"));
    if text.contains(':') {
        return Err(BadValue::new(format!("invalid port format for --expose: {text}")));
    }
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" => "tcp".to_owned(),
        known @ ("tcp" | "udp" | "sctp") => known.to_owned(),
        _ => return Err(wrong(&format!("invalid proto: {protocol}"))),
    };
    if range.is_empty() {
        return Err(wrong("empty string specified for ports"));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u16>().map_err(|_| wrong(&format!("invalid port: {text}"))),
        false => Err(wrong(&format!("invalid port: {text}"))),
    };
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        return Err(wrong("invalid range specified for port"));
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges() {
        let list = |text: &str| parse(text).unwrap_or_default().join(" ");
        assert_eq!(list("80"), "80/tcp");
        assert_eq!(list("53/UDP"), "53/udp");
        assert_eq!(list("7000-7002"), "7000/tcp 7001/tcp 7002/tcp");
        for bad in ["", "/tcp", "80:80", "x", "80/icmp", "9-8", "70000", "-1", "1-"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
