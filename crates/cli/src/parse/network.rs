//! `--network` in both forms, and the flags that say more of the first one; `--add-host`, `--dns`, `--link`. Source:
//! docker/cli opts/network.go, cli/command/container/opts.go.

use engine::request::{EndpointRequest, HostAddress, NetRequest, NetworkMode};
use net::ipam::mac_text;
use std::net::IpAddr;

use super::{namespace, publish};
use crate::failure::{BadValue, Failure};
use crate::flags::Parsed;

/// Which network, of all flags that speak of it.
pub fn mode(parsed: &Parsed) -> Result<NetworkMode, Failure> {
    let texts = parsed.many("network");
    let bad = |bad| parsed.bad("network", &texts.join(" "), bad);
    let own = own(parsed)?;
    if let [one] = texts.as_slice()
        && let Some(mode) = namespace::network(one).map_err(bad)?
    {
        let is_plain = own == EndpointRequest::default();
        return match mode {
            NetworkMode::Unset if !is_plain => Ok(NetworkMode::Networks(vec![named(own)])),
            mode if is_plain || mode == NetworkMode::Unset => Ok(mode),
            NetworkMode::Container(_) => Err(parsed
                .wrong("conflicting options: mac-address, IP addresses or aliases and the network mode")),
            _ => Err(parsed.wrong(
                "conflicting options: addresses and aliases need a network, which host and none aren't",
            )),
        };
    }
    if texts.is_empty() {
        return Ok(match own == EndpointRequest::default() {
            true => NetworkMode::Unset,
            false => NetworkMode::Networks(vec![named(own)]),
        });
    }
    let mut endpoints = Vec::new();
    for text in &texts {
        if !text.contains('=')
            && namespace::network(text).map_err(bad)?.is_some_and(|mode| mode != NetworkMode::Unset)
        {
            return Err(parsed.wrong(format!(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes: {text}"
            )));
        }
        endpoints.push(endpoint(text).map_err(|bad| parsed.bad("network", text, bad))?);
    }
    merge(&mut endpoints[0], own).map_err(|why| parsed.wrong(why))?;
    Ok(NetworkMode::Networks(endpoints))
}

/// On the default network.
fn named(own: EndpointRequest) -> EndpointRequest {
    EndpointRequest { network: engine::network::DEFAULT.to_owned(), ..own }
}

/// What the flags beside `--network` say.
fn own(parsed: &Parsed) -> Result<EndpointRequest, Failure> {
    Ok(EndpointRequest {
        network: String::new(),
        aliases: parsed.many("network-alias").into_iter().map(str::to_owned).collect(),
        ipv4: parsed.parsed("ip", ipv4)?,
        ipv6: parsed.parsed("ip6", ipv6)?,
        link_local: parsed.each("link-local-ip", ip)?,
        mac: parsed.parsed("mac-address", mac)?,
        ..EndpointRequest::default()
    })
}

fn merge(first: &mut EndpointRequest, own: EndpointRequest) -> Result<(), String> {
    let both =
        |what: &str| Err(format!("conflicting options: cannot specify both --{what} and per-network {what}"));
    if own.ipv4.is_some() && first.ipv4.is_some() {
        return both("ip");
    }
    if own.ipv6.is_some() && first.ipv6.is_some() {
        return both("ip6");
    }
    if own.mac.is_some() && first.mac.is_some() {
        return both("mac-address");
    }
    if !own.aliases.is_empty() && !first.aliases.is_empty() {
        return both("network-alias");
    }
    first.ipv4 = first.ipv4.or(own.ipv4);
    first.ipv6 = first.ipv6.or(own.ipv6);
    first.mac = first.mac.or(own.mac);
    first.aliases.extend(own.aliases);
    first.link_local.extend(own.link_local);
    Ok(())
}

/// One network: its name, or `name=…,alias=…`.
pub fn endpoint(text: &str) -> Result<EndpointRequest, BadValue> {
    if !text.contains('=') {
        return Ok(EndpointRequest { network: name(text)?, ..EndpointRequest::default() });
    }
    let mut endpoint = EndpointRequest::default();
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(BadValue::new(format!("invalid field {field}: it's none of KEY=VALUE")));
        };
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => endpoint.network = name(value)?,
            "alias" => endpoint.aliases.push(value.to_owned()),
            "ip" => endpoint.ipv4 = Some(ipv4(value)?),
            "ip6" => endpoint.ipv6 = Some(ipv6(value)?),
            "link-local-ip" => endpoint.link_local.push(ip(value)?),
            "mac-address" => endpoint.mac = Some(mac(value)?),
            "driver-opt" => {
                let (key, value) = value.split_once('=').ok_or_else(|| {
                    BadValue::new(format!("invalid key value pair format in driver options: {value}"))
                })?;
                endpoint.options.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            "gw-priority" => {
                endpoint.gateway_priority =
                    value.parse().map_err(|_| BadValue::new(format!("invalid gw-priority: {value:?}")))?;
            }
            other => return Err(BadValue::new(format!("invalid field key {other}"))),
        }
    }
    match endpoint.network.is_empty() {
        true => Err(BadValue::new("network name/id is not specified")),
        false => Ok(endpoint),
    }
}

fn name(text: &str) -> Result<String, BadValue> {
    match text {
        "" => Err(BadValue::new("network name/id is not specified")),
        // Docker's word of old.
        "default" => Ok(engine::network::DEFAULT.to_owned()),
        text if types::id::is_network_name(text) => Ok(text.to_owned()),
        _ => Err(BadValue::new("it's no name of a network: [a-zA-Z0-9][a-zA-Z0-9_.-]")),
    }
}

/// The words that ask for an endpoint.
pub fn word(endpoint: &EndpointRequest) -> String {
    let EndpointRequest { network, aliases, ipv4, ipv6, link_local, mac, options, gateway_priority } =
        endpoint;
    let mut fields = Vec::new();
    fields.extend(aliases.iter().map(|alias| format!("alias={alias}")));
    fields.extend(ipv4.map(|address| format!("ip={address}")));
    fields.extend(ipv6.map(|address| format!("ip6={address}")));
    fields.extend(link_local.iter().map(|address| format!("link-local-ip={address}")));
    fields.extend(mac.map(|mac| format!("mac-address={}", mac_text(mac))));
    fields.extend(options.iter().map(|(key, value)| format!("driver-opt={key}={value}")));
    if *gateway_priority != 0 {
        fields.push(format!("gw-priority={gateway_priority}"));
    }
    match fields.is_empty() {
        true => network.clone(),
        false => format!("name={network},{}", fields.join(",")),
    }
}

/// An address.
pub fn ip(text: &str) -> Result<IpAddr, BadValue> {
    text.trim().parse().map_err(|_| BadValue::new(format!("invalid IP address: {text}")))
}

/// One of IPv4.
pub fn ipv4(text: &str) -> Result<IpAddr, BadValue> {
    match ip(text)? {
        address if address.is_ipv4() => Ok(address),
        _ => Err(BadValue::new(format!("invalid IPv4 address: {text}"))),
    }
}

/// One of IPv6.
pub fn ipv6(text: &str) -> Result<IpAddr, BadValue> {
    match ip(text)? {
        address if address.is_ipv6() => Ok(address),
        _ => Err(BadValue::new(format!("invalid IPv6 address: {text}"))),
    }
}

fn mac(text: &str) -> Result<[u8; 6], BadValue> {
    let wrong = || BadValue::new(format!("{text} is not a valid mac address"));
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut mac = [0; 6];
    let parts: Vec<&str> = text.trim().split(separator).collect();
    if parts.len() != mac.len() {
        return Err(wrong());
    }
    for (byte, part) in mac.iter_mut().zip(parts) {
        let is_pair = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| is_pair).ok_or_else(wrong)?;
    }
    if mac[0] & 1 == 1 {
        return Err(BadValue::new(format!("{text} is an address of a group, which no link can have")));
    }
    Ok(mac)
}

/// Ports and names.
pub fn net(parsed: &Parsed) -> Result<NetRequest, Failure> {
    let mut hosts = parsed.each("add-host", host)?;
    hosts.dedup();
    Ok(NetRequest {
        publish: parsed.each("publish", publish::parse)?.into_iter().flatten().collect(),
        publish_all: parsed.switch("publish-all"),
        publish_from: parsed.one("publish-from").map(str::to_owned),
        dns: parsed.each("dns", ip)?,
        dns_search: parsed.each("dns-search", domain)?,
        dns_options: parsed.many("dns-option").into_iter().map(str::to_owned).collect(),
        hosts,
        links: parsed.each("link", link)?,
    })
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`.
pub fn host(text: &str) -> Result<(String, HostAddress), BadValue> {
    let parts = text.split_once('=').or_else(|| text.split_once(':'));
    let Some((name, address)) = parts.filter(|(name, _)| !name.is_empty()) else {
        return Err(BadValue::new(format!("bad format for add-host: {text:?}")));
    };
    if name.contains(char::is_whitespace) || name.contains('#') {
        return Err(BadValue::new(format!("{name:?} can't be a name in /etc/hosts")));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address = match bare {
        "host-gateway" => HostAddress::Gateway,
        other => HostAddress::Ip(
            other
                .parse()
                .map_err(|_| BadValue::new(format!("invalid IP address in add-host: {address:?}")))?,
        ),
    };
    Ok((name.to_owned(), address))
}

/// The words that ask for such a line.
pub fn host_word((name, address): &(String, HostAddress)) -> String {
    match address {
        HostAddress::Ip(address) => format!("{name}={address}"),
        HostAddress::Gateway => format!("{name}=host-gateway"),
    }
}

fn domain(text: &str) -> Result<String, BadValue> {
    let is_domain = |text: &str| {
        text.len() <= 255
            && text.split('.').all(|label| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            })
    };
    match text.trim().trim_end_matches('.') {
        "" if text.trim() == "." => Ok(".".to_owned()),
        domain if is_domain(domain) => Ok(domain.to_owned()),
        _ => Err(BadValue::new(format!("{text} is not a valid domain"))),
    }
}

/// `CONTAINER` or `CONTAINER:ALIAS`.
pub fn link(text: &str) -> Result<(String, String), BadValue> {
    let (container, alias) = match text.split_once(':') {
        None => (text, text.trim_start_matches('/')),
        Some((container, alias)) => (container, alias),
    };
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    match container.is_empty() || alias.is_empty() || alias.contains(':') {
        true => Err(BadValue::new(format!("bad format for links: {text}"))),
        false => Ok((container.to_owned(), alias.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_network() {
        for text in [
            "blue",
            "name=blue,alias=a,alias=b,ip=10.0.0.5,ip6=fd00::5,mac-address=02:42:0a:00:00:05",
            "name=blue,driver-opt=com.docker.network.endpoint.ifname=lan0,gw-priority=5",
        ] {
            assert_eq!(endpoint(text).map(|endpoint| word(&endpoint)), Ok(text.to_owned()));
        }
        for bad in [
            "",
            "a b",
            "alias=x",
            "name=",
            "name=blue,x=y",
            "name=blue,ip=::1",
            "name=blue,mac-address=1:2",
            "name=blue,mac-address=03:42:0a:00:00:05",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_of_hosts() {
        for text in ["db=10.0.0.5", "db:10.0.0.5", "db:::1", "db:[::1]", "db=host-gateway"] {
            assert!(host(text).is_ok(), "{text}");
        }
        for bad in ["db", "=10.0.0.5", "db=x", "a b=10.0.0.5", ""] {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert_eq!(link("db:/web/data"), Ok(("db".into(), "data".into())));
        assert!(domain("a..b").is_err() && domain(".").is_ok() && domain("example.com.").is_ok());
    }
}
