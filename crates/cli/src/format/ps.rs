//! The list of containers, with docker's columns.

use std::time::SystemTime;

use engine::system::Sizes;
use serde_json::{Value as Json, json};

use super::colour::Colour;
use super::template::{self, Format};
use super::{size, table, time};
use crate::failure::Failure;
use engine::network::ShownPort;
use std::net::IpAddr;

/// Docker's default columns with `--size`.
pub const WITH_SIZES: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

/// Docker's default columns.
pub const DEFAULT: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

/// Titles of the columns.
pub const HEADER: [(&str, &str); 15] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Label", ""),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Size", "SIZE"),
];

/// How many characters of a command or a mount a row shows.
const SHOWN_CHARS: usize = 20;

/// State of a container, in docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // docker's words; pausing and restarting come with the life cycle (issue 6)
pub enum PsState {
    /// Made, not started.
    Created,
    /// Running since then.
    Running(SystemTime),
    /// Frozen; it runs since then.
    Paused(SystemTime),
    /// Waiting to be started again after it ended with a status.
    Restarting(i32, SystemTime),
    /// Ended, with a status where the kernel could tell.
    Exited(Option<i32>, SystemTime),
    /// Being removed.
    Removing,
    /// Its start or removal failed halfway.
    Dead,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsRow {
    /// All 64 digits.
    pub id: String,
    /// Name.
    pub name: String,
    /// Image as it was asked for.
    pub image: String,
    /// Program and arguments, separated by spaces.
    pub command: String,
    /// When it was made.
    pub created: SystemTime,
    /// State.
    pub state: PsState,
    /// What its health checks say: `starting`, `healthy`, `unhealthy`; `none` where nothing is checked.
    pub health: &'static str,
    /// Published ports, in docker's words.
    pub ports: String,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Sources of binds, names of volumes.
    pub mounts: Vec<String>,
    /// How many volumes it has.
    pub volumes: usize,
    /// Names of networks.
    pub networks: Vec<String>,
    /// Bytes of its files, if they were asked for.
    pub sizes: Option<Sizes>,
}

/// State and status of a row at `now`: `exited`, `Exited (0) 5 minutes ago`.
fn state_words(state: PsState, health: &str, now: SystemTime) -> (&'static str, String) {
    match state {
        PsState::Created => ("created", "Created".to_owned()),
        PsState::Running(since) => {
            let health = match health {
                "none" => String::new(),
                "starting" => " (health: starting)".to_owned(),
                known => format!(" ({known})"),
            };
            ("running", format!("Up {}{health}", time::words_since(since, now)))
        }
        PsState::Paused(since) => ("paused", format!("Up {} (Paused)", time::words_since(since, now))),
        PsState::Restarting(code, at) => {
            ("restarting", format!("Restarting ({code}) {} ago", time::words_since(at, now)))
        }
        PsState::Exited(code, at) => {
            let code = code.map_or("unknown".to_owned(), |code| code.to_string());
            ("exited", format!("Exited ({code}) {} ago", time::words_since(at, now)))
        }
        PsState::Removing => ("removing", "Removal In Progress".to_owned()),
        PsState::Dead => ("dead", "Dead".to_owned()),
    }
}

/// A state in docker's word.
pub fn state_word(state: PsState) -> &'static str {
    state_words(state, "none", SystemTime::UNIX_EPOCH).0
}

/// `6B (virtual 1.98MB)`: of what it changed, and of all that it has.
fn size_words(sizes: Sizes) -> String {
    let changed = size::human(sizes.changed);
    if sizes.all > 0 { format!("{changed} (virtual {})", size::human(sizes.all)) } else { changed }
}

/// The fields of one row.
pub fn fields(row: &PsRow, full: bool, now: SystemTime) -> Json {
    let shown = |text: &str| if full { text.to_owned() } else { table::ellipsis(text, SHOWN_CHARS) };
    let (state, status) = state_words(row.state, row.health, now);
    let labels: Vec<String> = row.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mounts: Vec<String> = row.mounts.iter().map(|mount| shown(mount)).collect();
    let id = if full { &row.id[..] } else { row.id.get(..12).unwrap_or(&row.id) };
    json!({
        "ID": id,
        "Image": row.image,
        "Command": format!("{:?}", shown(&row.command)),
        "RunningFor": format!("{} ago", time::words_since(row.created, now)),
        "CreatedAt": time::go_utc(row.created),
        "Status": status,
        "State": state,
        // Docker has none either, but for images of several machines in containerd.
        "Platform": null,
        "Ports": row.ports,
        "Names": row.name,
        "Labels": labels.join(","),
        "Label": row.labels.iter().map(|(key, value)| (key.clone(), Json::from(&value[..]))).collect::<Json>(),
        "Mounts": mounts.join(","),
        "LocalVolumes": row.volumes.to_string(),
        "Networks": row.networks.join(","),
        "Size": row.sizes.map_or("0B".to_owned(), size_words),
    })
}

/// What the colour of a state is.
fn colour(state: PsState, health: &str) -> Colour {
    match state {
        PsState::Running(_) if health == "unhealthy" => Colour::Bad,
        PsState::Running(_) if health == "starting" => Colour::Watch,
        PsState::Running(_) => Colour::Good,
        PsState::Paused(_) | PsState::Restarting(..) | PsState::Removing => Colour::Watch,
        PsState::Created | PsState::Exited(Some(0), _) => Colour::Past,
        PsState::Exited(..) | PsState::Dead => Colour::Bad,
    }
}

/// The list as docker's default table, with the states in colour.
pub fn coloured(rows: &[PsRow], format: &Format, full: bool, now: SystemTime) -> Result<String, Failure> {
    let rows = rows.iter().map(|row| {
        let mut fields = fields(row, full, now);
        if let Some(status) = fields["Status"].as_str() {
            fields["Status"] = colour(row.state, row.health).paint(status).into();
        }
        fields
    });
    template::rows(format, &HEADER, rows)
}

/// The list as text. `full` shows ids and commands whole; `quiet` shows ids only.
pub fn text(
    rows: &[PsRow],
    format: &Format,
    quiet: bool,
    full: bool,
    now: SystemTime,
) -> Result<String, Failure> {
    let rows = rows.iter().map(|row| fields(row, full, now));
    template::rows(&format.or_quiet(quiet, "{{.ID}}"), &HEADER, rows)
}

/// Docker's column of ports: those that follow one another in one word. Source: docker/cli command/formatter/container.go,
/// `DisplayablePorts`.
pub fn ports(ports: &[ShownPort]) -> String {
    let host = |address: IpAddr, text: String| match address {
        IpAddr::V6(address) => format!("[{address}]:{text}"),
        address => format!("{address}:{text}"),
    };
    let group = |(address, protocol, first, last): &(Option<IpAddr>, &str, u16, u16)| {
        let numbers = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match address {
            Some(address) => format!("{}->{numbers}/{protocol}", host(*address, numbers.clone())),
            None => format!("{numbers}/{protocol}"),
        }
    };
    let mut words = Vec::new();
    let mut moved = Vec::new();
    let mut groups: Vec<(Option<IpAddr>, &str, u16, u16)> = Vec::new();
    for port in ports {
        let address = match port.host {
            Some((address, number)) if number != port.port => {
                moved.push(format!("{}->{}/{}", host(address, number.to_string()), port.port, port.protocol));
                continue;
            }
            Some((address, _)) => Some(address),
            None => None,
        };
        let new = (address, port.protocol, port.port, port.port);
        match groups.iter_mut().find(|group| (group.0, group.1) == (address, port.protocol)) {
            None => groups.push(new),
            Some(known) if known.3.checked_add(1) == Some(port.port) => known.3 = port.port,
            Some(known) => words.push(group(&std::mem::replace(known, new))),
        }
    }
    words.extend(groups.iter().map(group));
    words.extend(moved);
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const NOW_SECS: u64 = 1_795_593_600;

    fn row(name: &str, state: PsState) -> PsRow {
        PsRow {
            id: "0123456789abcdef".repeat(4),
            name: name.into(),
            image: "@host".into(),
            command: "sh -c 'sleep 1000; true'".into(),
            created: UNIX_EPOCH + Duration::from_secs(NOW_SECS - 120),
            state,
            health: "none",
            ports: String::new(),
            labels: vec![("a".into(), "1".into()), ("b".into(), String::new())],
            mounts: vec!["/a/path/of/more/than/twenty".into()],
            volumes: 0,
            networks: vec!["none".into()],
            sizes: None,
        }
    }

    fn list(rows: &[PsRow], format: &str, quiet: bool, full: bool) -> Result<String, Failure> {
        let now = UNIX_EPOCH + Duration::from_secs(NOW_SECS);
        text(rows, &Format::parse(format, DEFAULT), quiet, full, now)
    }

    #[test]
    fn rows_read_as_dockers() {
        let ago = |secs| UNIX_EPOCH + Duration::from_secs(NOW_SECS - secs);
        let rows = [row("web", PsState::Running(ago(3))), row("job", PsState::Exited(Some(137), ago(300)))];
        assert_eq!(
            list(&rows, "", false, false).expect("valid"),
            "CONTAINER ID   IMAGE     COMMAND                  CREATED         STATUS                       PORTS     NAMES\n\
             0123456789ab   @host     \"sh -c 'sleep 1000; …\"   2 minutes ago   Up 3 seconds                           web\n\
             0123456789ab   @host     \"sh -c 'sleep 1000; …\"   2 minutes ago   Exited (137) 5 minutes ago             job\n"
        );
        assert_eq!(list(&rows, "", true, false).expect("valid"), "0123456789ab\n0123456789ab\n");
        let full = list(&rows[..1], "{{.ID}} {{.Command}} {{.Mounts}}", false, true).expect("valid");
        assert_eq!(
            full,
            format!(
                "{} \"sh -c 'sleep 1000; true'\" /a/path/of/more/than/twenty\n",
                "0123456789abcdef".repeat(4)
            )
        );
        assert_eq!(
            list(&rows[..1], "{{.Labels}} {{.State}}", false, false).expect("valid"),
            "a=1,b= running\n"
        );
        assert_eq!(list(&rows[..1], "{{.Label \"a\"}}", false, false).expect("valid"), "1\n");
        assert_eq!(list(&rows[..1], "[{{.Label \"c\"}}]", false, false).expect("valid"), "[]\n");
        let sized = PsRow { sizes: Some(Sizes { changed: 6, all: 1_982_311 }), ..rows[0].clone() };
        assert_eq!(list(&[sized], "{{.Size}}", false, false).expect("valid"), "6B (virtual 1.98MB)\n");
        let json = list(&rows[..1], "json", false, false).expect("valid");
        assert!(json.contains("\"Labels\":\"a=1,b=\"") && !json.contains("\"Label\":"), "{json}");
    }

    #[test]
    fn every_state_has_its_words() {
        let at = UNIX_EPOCH + Duration::from_secs(NOW_SECS - 90);
        for (state, words) in [
            (PsState::Created, "created Created"),
            (PsState::Running(at), "running Up About a minute"),
            (PsState::Paused(at), "paused Up About a minute (Paused)"),
            (PsState::Restarting(1, at), "restarting Restarting (1) About a minute ago"),
            (PsState::Exited(None, at), "exited Exited (unknown) About a minute ago"),
            (PsState::Removing, "removing Removal In Progress"),
            (PsState::Dead, "dead Dead"),
        ] {
            let text = list(&[row("x", state)], "{{.State}} {{.Status}}", false, false).expect("valid");
            assert_eq!(text.trim_end(), words);
        }
    }
}
