//! `--mount type=bind,source=…,target=…`: docker's comma-separated keys.

use std::collections::BTreeMap;
use std::path::Path;

use engine::request::{BindRecursion, MountKind, MountRequest, Propagation, VolumeRequest};

use super::mount::{propagation, source, target};
use super::{env, name, number, tmpfs};
use crate::failure::BadValue;
use crate::flags::parse_bool;
use crate::suggest;

const KEYS: [&str; 22] = [
    "type",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "consistency",
    "bind-propagation",
    "bind-recursive",
    "bind-nonrecursive",
    "bind-create-src",
    "tmpfs-size",
    "tmpfs-mode",
    "bind-noidmap",
    "volume-nocopy",
    "volume-label",
    "volume-driver",
    "volume-opt",
    "volume-subpath",
    "image-subpath",
];

/// The types, for a did-you-mean.
pub const TYPES: [&str; 4] = ["bind", "volume", "tmpfs", "image"];

#[derive(Default)]
struct Keys<'a> {
    kind: Option<&'a str>,
    source: Option<&'a str>,
    target: Option<&'a str>,
    read_only: bool,
    propagation: Option<Propagation>,
    recursion: Option<BindRecursion>,
    create_source: bool,
    noidmap: bool,
    size_bytes: Option<u64>,
    mode: Option<u32>,
    nocopy: bool,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    subpath: Option<&'a str>,
    /// The first key of each type, that only this one has.
    of_type: BTreeMap<&'static str, &'a str>,
}

/// One `--mount`; relative sources start at `cwd`. Source: docker/cli opts/mount.go.
pub fn parse(text: &str, cwd: &Path) -> Result<MountRequest, BadValue> {
    let fields = fields(text)?;
    let mut keys = Keys::default();
    for field in &fields {
        read(field, &mut keys)?;
    }
    let Some(to) = keys.target else {
        return Err(BadValue::new("target is required").hint("add target=PATH"));
    };
    let to = target(to)?;
    let kind = keys.kind.unwrap_or("volume");
    if !TYPES.contains(&kind) {
        let why = match kind {
            "npipe" | "cluster" => format!("type={kind} isn't supported"),
            _ => format!("unknown type {kind:?}"),
        };
        return Err(BadValue::new(why).did_you_mean(suggest::nearest(kind, TYPES)));
    }
    if let Some((_, key)) = keys.of_type.iter().find(|(other, _)| **other != kind) {
        return Err(BadValue::new(format!("{key} doesn't go with type={kind}")));
    }
    let kind = match kind {
        "bind" => bind(&keys, cwd)?,
        "tmpfs" if keys.source.is_some() => return Err("source doesn't go with type=tmpfs".into()),
        "tmpfs" => MountKind::Tmpfs { size_bytes: keys.size_bytes, mode: keys.mode, options: Vec::new() },
        "image" => {
            let Some(reference) = keys.source else {
                return Err(BadValue::new("source is required for type=image").hint("add source=IMAGE"));
            };
            keys.read_only = true;
            let subpath = keys.subpath.map(str::to_owned);
            MountKind::Image { reference: reference.to_owned(), subpath, layers: Vec::new() }
        }
        _ => MountKind::Volume(VolumeRequest {
            name: keys.source.map(str::to_owned),
            nocopy: keys.nocopy,
            subpath: keys.subpath.map(str::to_owned),
            labels: std::mem::take(&mut keys.labels),
            options: std::mem::take(&mut keys.options),
            ..VolumeRequest::default()
        }),
    };
    Ok(MountRequest { kind, target: to, read_only: keys.read_only })
}

fn bind(keys: &Keys<'_>, cwd: &Path) -> Result<MountKind, BadValue> {
    let Some(from) = keys.source else {
        return Err(BadValue::new("source is required for type=bind").hint("add source=PATH"));
    };
    let recursion = keys.recursion.unwrap_or_default();
    let propagation = keys.propagation.unwrap_or_default();
    if matches!(recursion, BindRecursion::Writable | BindRecursion::ReadOnly) && !keys.read_only {
        return Err("bind-recursive=writable and =readonly need readonly as well".into());
    }
    if recursion == BindRecursion::ReadOnly && propagation != Propagation::RPrivate {
        return Err("bind-recursive=readonly needs bind-propagation=rprivate".into());
    }
    Ok(MountKind::Bind {
        source: source(from, cwd)?,
        recursion,
        propagation,
        create_source: keys.create_source,
        noidmap: keys.noidmap,
        relabel_shared: None,
    })
}

fn read<'a>(field: &'a str, keys: &mut Keys<'a>) -> Result<(), BadValue> {
    let (key, value) = match field.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (field, None),
    };
    let needed = || match value {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(BadValue::new(format!("{key} needs a value"))),
    };
    let truth = || {
        let wrong = || BadValue::new(format!("{key} is neither true nor false"));
        value.map_or(Ok(true), |text| parse_bool(text).ok_or_else(wrong))
    };
    let lower = key.to_ascii_lowercase();
    match lower.as_str() {
        "type" => keys.kind = Some(needed()?),
        "source" | "src" => keys.source = Some(needed()?),
        "target" | "dst" | "destination" => keys.target = Some(needed()?),
        "readonly" | "ro" => keys.read_only = truth()?,
        "consistency" => drop(needed()?),
        "bind-propagation" => {
            let word = needed()?;
            let wrong = || BadValue::new(format!("unknown propagation {word:?}"));
            keys.propagation = Some(propagation(word).ok_or_else(wrong)?);
        }
        "bind-recursive" => {
            keys.recursion = Some(match needed()? {
                "enabled" | "true" | "1" => BindRecursion::Enabled,
                "disabled" | "false" | "0" => BindRecursion::Disabled,
                "writable" => BindRecursion::Writable,
                "readonly" => BindRecursion::ReadOnly,
                _ => return Err("bind-recursive is enabled, disabled, writable or readonly".into()),
            });
        }
        "bind-nonrecursive" => {
            keys.recursion = Some(if truth()? { BindRecursion::Disabled } else { BindRecursion::Enabled });
        }
        "bind-create-src" => keys.create_source = truth()?,
        "bind-noidmap" => keys.noidmap = truth()?,
        "tmpfs-size" => keys.size_bytes = Some(number::bytes(needed()?)?),
        "tmpfs-mode" => keys.mode = Some(tmpfs::mode(needed()?)?),
        "volume-nocopy" => keys.nocopy = truth()?,
        "volume-label" => keys.labels.extend([env::label(needed()?)?]),
        "volume-opt" => keys.options.extend([env::label(needed()?)?]),
        "volume-driver" => name::volume_driver(needed()?)?,
        "volume-subpath" | "image-subpath" => keys.subpath = Some(needed()?),
        _ => {
            return Err(
                BadValue::new(format!("unknown key {key:?}")).did_you_mean(suggest::nearest(key, KEYS))
            );
        }
    }
    if let Some(own) = TYPES.iter().find(|own| lower.starts_with(&format!("{own}-"))) {
        keys.of_type.entry(own).or_insert(key);
    }
    Ok(())
}

/// The fields of one line of CSV, where `"` encloses fields with commas and `""` stands for `"`. Source: RFC 4180.
fn fields(text: &str) -> Result<Vec<String>, BadValue> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, after) =
                rest.split_once(',').map_or((rest, None), |(field, after)| (field, Some(after)));
            if field.contains('"') {
                return Err(BadValue::new(format!("stray quote in {field:?}")));
            }
            fields.push(field.to_owned());
            match after {
                Some(after) => rest = after,
                None => break,
            }
            continue;
        };
        let mut field = String::new();
        rest = quoted;
        loop {
            let Some((part, after)) = rest.split_once('"') else {
                return Err("a quote isn't closed".into());
            };
            field += part;
            rest = after;
            match rest.strip_prefix('"') {
                Some(after) => rest = after,
                None => break,
            }
            field.push('"');
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.is_empty() => break,
            None => return Err("text follows a closed quote".into()),
        }
    }
    match fields.iter().any(String::is_empty) {
        true => Err("an empty field".into()),
        false => Ok(fields),
    }
}
