//! `--publish [[IP:][HOSTPORT[-HOSTPORT]]:]PORT[-PORT][/PROTOCOL]`, and its long form `target=80,published=8080,…`. Source:
//! docker/cli container/opts.go, go-connections nat.

use engine::request::{Protocol, PublishRequest};
use std::net::IpAddr;

use crate::failure::BadValue;

/// The ports that one value asks for.
pub fn parse(text: &str) -> Result<Vec<PublishRequest>, BadValue> {
    if text.contains('=') {
        return long(text);
    }
    let (rest, protocol) = match text.rsplit_once('/') {
        Some((rest, word)) => (rest, protocol(word)?),
        None => (text, Protocol::Tcp),
    };
    let (address, host, container) = split(rest)?;
    of_parts(text, address, host, container, protocol)
}

fn long(text: &str) -> Result<Vec<PublishRequest>, BadValue> {
    let (mut target, mut published, mut protocol_word) = ("", "", "tcp");
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("target", value)) => target = value,
            Some(("published", value)) => published = value,
            Some(("protocol", value)) => protocol_word = value,
            Some(("mode", "host" | "ingress")) => {}
            Some(("mode", other)) => {
                return Err(BadValue::new(format!("invalid publish mode value ({other})")));
            }
            _ => return Err(BadValue::new(format!("invalid field {field}"))),
        }
    }
    if target.is_empty() {
        return Err(BadValue::new("no target is named").hint("write it as in target=80,published=8080"));
    }
    of_parts(text, None, published, target, protocol(protocol_word)?)
}

fn protocol(word: &str) -> Result<Protocol, BadValue> {
    match word.to_ascii_lowercase().as_str() {
        "" | "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Err(BadValue::new("SCTP isn't supported yet")),
        _ => Err(BadValue::new(format!("invalid proto: {word}"))),
    }
}

/// Address, host's port, container's port.
fn split(text: &str) -> Result<(Option<IpAddr>, &str, &str), BadValue> {
    let Some((before, container)) = text.rsplit_once(':') else { return Ok((None, "", text)) };
    // A colon within brackets is the address's.
    let Some((address, host)) = before.rsplit_once(':').filter(|_| !before.ends_with(']')) else {
        if before.starts_with('[') {
            return Err(BadValue::new("no host port follows the address").hint("write it as in [::1]::80"));
        }
        return Ok((None, before, container));
    };
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare.is_empty() && address.is_empty() {
        return Ok((None, host, container));
    }
    let parsed = bare.parse().map_err(|_| BadValue::new(format!("invalid ip address: {bare}")))?;
    Ok((Some(parsed), host, container))
}

fn of_parts(
    text: &str,
    address: Option<IpAddr>,
    host: &str,
    container: &str,
    protocol: Protocol,
) -> Result<Vec<PublishRequest>, BadValue> {
    if container.is_empty() {
        return Err(BadValue::new(format!("no port specified: {text}<empty>")));
    }
    let (first, last) =
        range(container).ok_or_else(|| BadValue::new(format!("invalid containerPort: {container}")))?;
    if first == 0 {
        return Err(BadValue::new(format!("invalid containerPort: {container}")));
    }
    let hosts = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| BadValue::new(format!("invalid hostPort: {host}")))?),
    };
    let request = |port, host_ports| PublishRequest { port, protocol, host: address, host_ports };
    let count = last - first;
    match hosts {
        None | Some((0, 0)) => Ok((first..=last).map(|port| request(port, None)).collect()),
        Some((from, to)) if to - from == count => {
            Ok((first..=last).zip(from..=to).map(|(port, host)| request(port, Some((host, host)))).collect())
        }
        // A free one of the range.
        Some(range) if count == 0 => Ok(vec![request(first, Some(range))]),
        Some(_) => Err(BadValue::new(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ))),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| {
        Some(text)
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))?
            .parse()
            .ok()
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

/// The value that asks for such a port.
pub fn word(request: &PublishRequest) -> String {
    let host = match request.host_ports {
        None => String::new(),
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
    };
    let port = format!("{}/{}", request.port, request.protocol.word());
    match request.host {
        Some(IpAddr::V6(address)) => format!("[{address}]:{host}:{port}"),
        Some(address) => format!("{address}:{host}:{port}"),
        None if host.is_empty() => port,
        None => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_dockers_forms() {
        for (text, words) in [
            ("80", "80/tcp"),
            ("80/udp", "80/udp"),
            ("8080:80", "8080:80/tcp"),
            (":80", "80/tcp"),
            ("0:80", "80/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
            ("127.0.0.1::80", "127.0.0.1::80/tcp"),
            ("[::1]:8080:80/UDP", "[::1]:8080:80/udp"),
            ("::1:8080:80", "[::1]:8080:80/tcp"),
            ("80-81", "80/tcp 81/tcp"),
            ("8000-8001:80-81", "8000:80/tcp 8001:81/tcp"),
            ("8000-8009:80", "8000-8009:80/tcp"),
            ("target=80,published=8080,protocol=udp,mode=host", "8080:80/udp"),
        ] {
            let parsed = parse(text).unwrap_or_default();
            let shown: Vec<String> = parsed.iter().map(word).collect();
            assert_eq!(shown.join(" "), words, "{text}");
            let again: Vec<PublishRequest> =
                shown.iter().flat_map(|text| parse(text).unwrap_or_default()).collect();
            assert_eq!(again, parsed, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "",
            "x",
            "80:",
            "8080:x",
            "70000",
            "0",
            "1.2.3:80:80",
            "8000-8002:80-81",
            "80/icmp",
            "80/sctp",
            "9-8",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
