//! Ports of `EXPOSE`. Source: BuildKit's dockerfile2llb, convert_expose.go.

/// What one word of `EXPOSE` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The ports, as in an image's configuration: `80/tcp`.
    pub ports: Vec<String>,
    /// Whether the protocol isn't in lower case.
    pub has_odd_protocol: bool,
    /// Whether an address or a port of the host stands before it, which mean nothing.
    pub has_host: bool,
}

/// Reads `[[ADDRESS:]HOSTPORT:]PORT[-PORT][/PROTOCOL]`.
///
/// Errors: what is wrong, in BuildKit's words.
pub fn parse(word: &str) -> Result<Exposed, String> {
    let (host, container) = match word.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, word),
    };
    let (ip, host_port) = host.map(|host| host.rsplit_once(':').unwrap_or(("", host))).unwrap_or_default();
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    if port.is_empty() {
        return Err(format!("invalid port: {word:?}: no port specified: {container}<empty>"));
    }
    let known = protocol.to_lowercase();
    let known = match &known[..] {
        "" => "tcp",
        "tcp" | "udp" | "sctp" => &known,
        _ => return Err(format!("invalid port: {word:?}: invalid proto: {known}")),
    };
    let address = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    let (first, last) = range(port).ok_or_else(|| format!("invalid containerPort: {port}"))?;
    if !host_port.is_empty() {
        let (host_first, host_last) =
            range(host_port).ok_or_else(|| format!("invalid hostPort: {host_port}"))?;
        if last != first && last - first != host_last - host_first {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {port} and {host_port}"
            ));
        }
    }
    Ok(Exposed {
        ports: (first..=last).map(|port| format!("{port}/{known}")).collect(),
        has_odd_protocol: protocol != protocol.to_lowercase(),
        has_host: host.is_some() && !(ip.is_empty() && host_port.is_empty()),
    })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_buildkit_does() {
        let ports = |word| parse(word).map(|exposed| exposed.ports.join(" "));
        let check = |word, expected: &str| assert_eq!(ports(word), Ok(expected.to_owned()), "{word}");
        check("80", "80/tcp");
        check("80/udp", "80/udp");
        check("80/TCP", "80/tcp");
        check("80/", "80/tcp");
        check("90-92/sctp", "90/sctp 91/sctp 92/sctp");
        check("8080:80", "80/tcp");
        check("127.0.0.1:8080:80/udp", "80/udp");
        check("[::1]:8080:80", "80/tcp");
        check("::1:8080:80", "80/tcp");
        check("127.0.0.1::80", "80/tcp");
        check("1000-1002:80", "80/tcp");
        check("0", "0/tcp");
        for word in [
            "",
            "/tcp",
            "80/x",
            "x",
            "65536",
            "-1",
            "9-8",
            "1-2-3",
            "+1",
            "x:80",
            "1.2.3:80:80",
            "1-3:8-9",
            "80 ",
        ] {
            assert!(parse(word).is_err(), "{word}");
        }
        assert!(parse("80/TcP").is_ok_and(|exposed| exposed.has_odd_protocol && !exposed.has_host));
        assert!(parse("1:2").is_ok_and(|exposed| !exposed.has_odd_protocol && exposed.has_host));
        assert!(parse(":2").is_ok_and(|exposed| !exposed.has_host));
    }
}
