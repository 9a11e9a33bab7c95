//! The list of volumes, with docker's columns.

use engine::inert;
use engine::volumes::{DRIVER, Listed};
use serde_json::{Value as Json, json};

use super::template::{self, Format};
use crate::failure::Failure;

/// Docker's default columns.
pub const DEFAULT: &str = "{{.Driver}}\t{{.Name}}";

const HEADER: [(&str, &str); 10] = [
    ("Availability", "AVAILABILITY"),
    ("Driver", "DRIVER"),
    ("Group", "GROUP"),
    ("Label", ""),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
];

fn fields(listed: &Listed) -> Json {
    let volume = &listed.volume;
    let labels: Vec<String> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Availability": "N/A",
        "Driver": DRIVER,
        "Group": "N/A",
        "Labels": inert(&labels.join(",")),
        // Only `system df` counts and measures.
        "Links": "N/A",
        "Mountpoint": volume.data,
        "Name": volume.name,
        "Scope": "local",
        "Size": "N/A",
        "Status": "N/A",
    })
}

/// The list as text; `quiet` shows names only.
pub fn text(listed: &[Listed], format: &Format, quiet: bool) -> Result<String, Failure> {
    template::rows(&format.or_quiet(quiet, "{{.Name}}"), &HEADER, listed.iter().map(fields))
}
