//! Whether what outlives a reboot is sound: the database, the files that its rows name, the log of events, the disk.

use super::{Finding, count, or_sound};
use crate::{Config, Home, events};
use std::collections::BTreeSet;
use std::path::Path;
use store::{ContainerRecord, Store};

/// Part of a disk's space or inodes below which it's nearly full.
const FREE_PERCENT_MIN: u64 = 3;

/// The findings, and the rows of containers unless they can't be read.
pub(super) fn findings(home: &Home) -> (Vec<Finding>, Option<Vec<ContainerRecord>>) {
    let mut findings = vec![disk(&home.root)];
    let store = match Store::open_read_only(&home.root) {
        Ok(store) => store,
        Err(store::Error::NoStore { .. }) => {
            findings.push(Finding::ok(
                "store",
                "there is none yet: no image, no volume, no container that stays",
            ));
            findings.extend(event_log(home));
            let left = files_of_nobody(home, &BTreeSet::new());
            findings.extend(or_sound("files of containers", "none", left));
            return (findings, Some(Vec::new()));
        }
        Err(error) => {
            let advice = match &error {
                store::Error::NewerSchema { .. } => "a newer berth has made it: use that one",
                store::Error::OlderSchema { .. } => "any command that changes something brings it up to date",
                _ => {
                    "restore store.db from a backup, with store.db-wal if there is one; the layers' files don't need it"
                }
            };
            findings.push(Finding::wrong("store", error.to_string(), advice));
            findings.extend(event_log(home));
            return (findings, None);
        }
    };
    findings.extend(database(&store));
    findings.extend(images(&store));
    findings.extend(volumes(&store));
    let (of_records, records) = containers(home, &store);
    findings.extend(of_records);
    findings.extend(event_log(home));
    (findings, records)
}

fn database(store: &Store) -> Vec<Finding> {
    let faults = match store.check_database() {
        Ok((schema, faults)) if faults.is_empty() => {
            return vec![Finding::ok(
                "store",
                format!("opens; its schema is {schema}, and its tables are whole"),
            )];
        }
        Ok((_, faults)) => faults,
        Err(error) => vec![error.to_string()],
    };
    let advice = "restore store.db from a backup: what is left can be read by `sqlite3 store.db .recover`";
    faults.into_iter().map(|fault| Finding::wrong("store", fault, advice)).collect()
}

fn unreadable(name: &str, error: &store::Error) -> Vec<Finding> {
    vec![Finding::wrong(name, error.to_string(), "see what is said of the store")]
}

/// Whether the trees of all layers are there. What is in them is `image verify`'s to tell.
fn images(store: &Store) -> Vec<Finding> {
    let images = match store.images() {
        Ok(images) => images,
        Err(error) => return unreadable("images", &error),
    };
    let mut faults = Vec::new();
    for image in &images {
        let missing = image.layers.iter().filter(|layer| !layer.tree.is_dir());
        for layer in missing {
            let name = image.references.first().cloned().unwrap_or_else(|| image.id.to_string());
            faults.push(Finding::wrong(
                format!("image {name}"),
                format!("its layer isn't there: {}", layer.tree.display()),
                format!("remove the image and pull it again: berth rmi {name}"),
            ));
        }
    }
    or_sound(
        "images",
        format!("{}; `berth image verify` reads all of them", count(images.len(), "image")),
        faults,
    )
}

fn volumes(store: &Store) -> Vec<Finding> {
    let volumes = match store.volumes() {
        Ok(volumes) => volumes,
        Err(error) => return unreadable("volumes", &error),
    };
    let missing = volumes.iter().map(|volume| (volume, store.paths().volume_data(&volume.name)));
    let faults = missing.filter(|(_, data)| !data.is_dir()).map(|(volume, data)| {
        Finding::wrong(
            format!("volume {}", volume.name),
            format!("its directory isn't there: {}", data.display()),
            format!("restore it, or remove the volume: berth volume rm {}", volume.name),
        )
    });
    or_sound("volumes", count(volumes.len(), "volume"), faults.collect())
}

/// Whether each row of a container can be read and has its files, and all files have a row.
fn containers(home: &Home, store: &Store) -> (Vec<Finding>, Option<Vec<ContainerRecord>>) {
    let records = match store.containers() {
        Ok(records) => records,
        Err(error) => return (unreadable("records of containers", &error), None),
    };
    let mut faults = Vec::new();
    for record in &records {
        let (id, name) = (record.id.as_str(), &record.name);
        let mut wrong = |detail: String| {
            let advice = format!("remove it: berth rm -f {name}");
            faults.push(Finding::wrong(format!("container {name}"), detail, advice));
        };
        match serde_json::from_str::<Config>(&record.config_json) {
            Err(error) => wrong(format!("its record can't be read: {error}")),
            Ok(config) if config.id != id || config.name != *name => {
                wrong(format!("its record is that of {} ({})", config.name, config.id));
            }
            Ok(config) => {
                let dir = home.state_dir(id);
                let overlay = !matches!(config.root, crate::config::RootSource::Directory(_));
                let needed: &[&str] = if overlay { &["upper", "work"] } else { &[""] };
                let missing = needed.iter().map(|name| dir.join(name)).find(|path| !path.is_dir());
                if let Some(path) = missing {
                    wrong(format!("its files aren't there: {}", path.display()));
                }
            }
        }
    }
    let known = records.iter().map(|record| record.id.as_str().to_owned()).collect();
    let left = files_of_nobody(home, &known);
    let number = count(records.len(), "container");
    let mut findings = or_sound("records of containers", number, faults);
    findings.extend(or_sound("files of containers", "each has a container", left));
    (findings, Some(records))
}

/// Directories of containers that have neither a row nor a directory of this boot.
fn files_of_nobody(home: &Home, known: &BTreeSet<String>) -> Vec<Finding> {
    let Ok(entries) = std::fs::read_dir(home.root.join("containers")) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let left = names.filter(|id| !known.contains(id) && !home.run_dir(id).is_dir());
    left.map(|id| {
        let path = home.state_dir(&id);
        Finding::wrong(
            format!("files of {}", &id[..id.floor_char_boundary(12)]),
            format!("no container has them: {}", path.display()),
            format!("look at them, then remove them: rm -r {}", path.display()),
        )
    })
    .collect()
}

fn event_log(home: &Home) -> Vec<Finding> {
    const NAME: &str = "events";
    match events::check(home) {
        Ok((events, 0)) => vec![Finding::ok(NAME, count(events, "event"))],
        Ok((events, torn)) => vec![Finding::wrong(
            NAME,
            format!("{} of {} can't be read", count(torn, "line"), events + torn),
            "`berth events` passes them over; they go when the log is put by",
        )],
        Err(error) => {
            vec![Finding::wrong(NAME, error.to_string(), "what happens isn't told; see that it can be read")]
        }
    }
}

fn disk(root: &Path) -> Finding {
    const NAME: &str = "disk";
    let there = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let stat = match rustix::fs::statvfs(there) {
        Ok(stat) => stat,
        Err(errno) => {
            let error = std::io::Error::from(errno);
            return Finding::wrong(
                NAME,
                format!("{}: {error}", there.display()),
                "see that berth can reach it",
            );
        }
    };
    let percent = |free: u64, all: u64| free.saturating_mul(100).checked_div(all);
    let (space, inodes) = (percent(stat.f_bavail, stat.f_blocks), percent(stat.f_favail, stat.f_files));
    let free_mb = stat.f_bavail.saturating_mul(stat.f_frsize) / 1_000_000;
    let shown = format!("{}: {free_mb} MB are free, {} %", there.display(), space.unwrap_or(100));
    let frees = "`berth system df` shows what takes it, `berth system prune` frees what nothing uses";
    if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Finding::wrong(
            NAME,
            format!("{}: the file system is read-only", there.display()),
            "mount it writable",
        );
    }
    if space.is_some_and(|free| free < FREE_PERCENT_MIN) {
        return Finding::wrong(NAME, shown, frees);
    }
    if inodes.is_some_and(|free| free < FREE_PERCENT_MIN) {
        return Finding::wrong(NAME, format!("{}: nearly no inodes are free", there.display()), frees);
    }
    Finding::ok(NAME, shown)
}
