//! The list of networks, with docker's columns.

use engine::inert;
use engine::network::Listed;
use serde_json::{Value as Json, json};
use std::time::{Duration, UNIX_EPOCH};

use super::template::{self, Format};
use crate::failure::Failure;

/// Docker's default columns.
pub const DEFAULT: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

/// Digits of a shortened id.
const SHORT: usize = 12;

const HEADER: [(&str, &str); 9] = [
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
];

fn fields(listed: &Listed, whole: bool) -> Json {
    let network = &listed.network;
    let labels: Vec<String> = network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "CreatedAt": super::time::go_utc(UNIX_EPOCH + Duration::from_nanos(network.created_ns.unsigned_abs())),
        "Driver": network.driver,
        "ID": if whole { &network.id } else { &network.id[..SHORT.min(network.id.len())] },
        // Texts, as docker has them.
        "IPv4": network.ipv4.to_string(),
        "IPv6": network.ipv6.to_string(),
        "Internal": network.internal.to_string(),
        "Labels": inert(&labels.join(",")),
        "Name": network.name,
        "Scope": "local",
    })
}

/// The list as text; `quiet` shows ids only.
pub fn text(listed: &[Listed], format: &Format, quiet: bool, whole: bool) -> Result<String, Failure> {
    template::rows(&format.or_quiet(quiet, "{{.ID}}"), &HEADER, listed.iter().map(|one| fields(one, whole)))
}
