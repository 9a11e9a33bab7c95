//! `-v SOURCE:TARGET[:OPTIONS]` and the targets of all mounts.

use std::path::{Component, Path, PathBuf};

use engine::request::{BindRecursion, MountKind, MountRequest, Propagation};

use crate::failure::BadValue;
use crate::suggest;

/// Words that may follow the target of `-v`.
const OPTIONS: [&str; 14] = [
    "ro",
    "rw",
    "z",
    "Z",
    "noidmap",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "consistent",
    "cached",
    "delegated",
];

/// Propagation by mount(8)'s word.
pub fn propagation(text: &str) -> Option<Propagation> {
    Some(match text {
        "private" => Propagation::Private,
        "rprivate" => Propagation::RPrivate,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::RSlave,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::RShared,
        _ => return None,
    })
}

/// A target: absolute, and not `/`. Returned without `.`, `..`, `//` and a final slash.
pub fn target(text: &str) -> Result<PathBuf, BadValue> {
    if !text.starts_with('/') {
        return Err(BadValue::new(format!("the path in the container, {text:?}, is not absolute")));
    }
    let mut clean = PathBuf::from("/");
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    match clean.as_os_str() == "/" {
        true => Err("the path in the container can't be /".into()),
        false => Ok(clean),
    }
}

/// A source: absolute, or `.`, `./…`, `../…` from the caller's directory `cwd`.
pub fn source(text: &str, cwd: &Path) -> Result<PathBuf, BadValue> {
    if text.contains('\0') {
        return Err("it contains a zero byte".into());
    }
    if text.starts_with('/') {
        return Ok(text.into());
    }
    let dotted = text == "." || text == ".." || text.starts_with("./") || text.starts_with("../");
    match dotted {
        true => Ok(cwd.join(text.strip_prefix("./").unwrap_or(text)).components().collect()),
        false if text.contains('/') || text.starts_with('~') => {
            Err(BadValue::new(format!("the host's path, {text:?}, is not absolute"))
                .hint(format!("did you mean ./{text}?")))
        }
        false => Err(BadValue::new(format!("{text:?} is a named volume, and volumes aren't supported yet"))
            .hint(format!("bind a directory, as in ./{text}"))),
    }
}

/// One `-v`; relative sources start at `cwd`.
pub fn volume(text: &str, cwd: &Path) -> Result<MountRequest, BadValue> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(BadValue::new("a part of it is empty").hint("write it as SOURCE:TARGET[:OPTIONS]"));
    }
    let (from, to, options) = match parts[..] {
        [from, to] => (from, to, ""),
        [from, to, options] => (from, to, options),
        [_] => {
            return Err(BadValue::new("it is an anonymous volume, and volumes aren't supported yet")
                .hint("bind a directory, as in ./data:/data, or use --tmpfs"));
        }
        _ => {
            return Err(BadValue::new("more than three parts")
                .hint("paths that contain a colon go through --mount type=bind,source=…,target=…"));
        }
    };
    let mut spread = None;
    let mut noidmap = false;
    let mut relabel_shared = None;
    let mut access = None;
    for word in options.split(',').filter(|_| !options.is_empty()) {
        let repeated = match word {
            "ro" | "rw" => access.replace(word == "ro").is_some(),
            "z" | "Z" => relabel_shared.replace(word == "z").is_some(),
            "noidmap" => std::mem::replace(&mut noidmap, true),
            "consistent" | "cached" | "delegated" => false,
            "nocopy" => return Err("nocopy belongs to volumes, and volumes aren't supported yet".into()),
            _ => match propagation(word) {
                Some(mode) => spread.replace(mode).is_some(),
                None => {
                    return Err(BadValue::new(format!("unknown option {word:?}"))
                        .did_you_mean(suggest::nearest(word, OPTIONS)));
                }
            },
        };
        if repeated {
            return Err(BadValue::new(format!("option {word:?} contradicts or repeats another")));
        }
    }
    Ok(MountRequest {
        kind: MountKind::Bind {
            source: source(from, cwd)?,
            recursion: BindRecursion::Enabled,
            propagation: spread.unwrap_or_default(),
            create_source: true,
            noidmap,
            relabel_shared,
        },
        target: target(to)?,
        read_only: access == Some(true),
    })
}

/// Refuses two mounts at one place.
pub fn check_distinct(mounts: &[MountRequest]) -> Result<(), String> {
    for (at, mount) in mounts.iter().enumerate() {
        if mounts[..at].iter().any(|earlier| earlier.target == mount.target) {
            return Err(format!("duplicate mount point: {}", mount.target.display()));
        }
    }
    Ok(())
}
