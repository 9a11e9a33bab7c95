//! `-v [SOURCE:]TARGET[:OPTIONS]` and the targets of all mounts.

use std::path::{Path, PathBuf};

use engine::request::mount::clean_target;
use engine::request::{BindRecursion, MountKind, MountRequest, Propagation, VolumeRequest, VolumesFrom};

use crate::failure::BadValue;
use crate::suggest;

/// Words that may follow the target of `-v`.
const OPTIONS: [&str; 15] = [
    "ro",
    "rw",
    "z",
    "Z",
    "nocopy",
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
    clean_target(text).ok_or_else(|| "the path in the container can't be /".into())
}

/// What stands before the target.
enum Origin {
    Path(PathBuf),
    Volume(String),
}

/// A path: absolute, or `.`, `./…`, `../…` from the caller's directory `cwd`; or the name of a volume.
fn origin(text: &str, cwd: &Path) -> Result<Origin, BadValue> {
    let relative = text.contains('/') || text.starts_with('~');
    match is_dotted(text) || text.starts_with('/') || relative {
        true => source(text, cwd).map(Origin::Path),
        false => Ok(Origin::Volume(text.to_owned())),
    }
}

fn is_dotted(text: &str) -> bool {
    text == "." || text == ".." || text.starts_with("./") || text.starts_with("../")
}

/// The source of a bind: absolute, or `.`, `./…`, `../…` from the caller's directory `cwd`.
pub fn source(text: &str, cwd: &Path) -> Result<PathBuf, BadValue> {
    if text.contains('\0') {
        return Err("it contains a zero byte".into());
    }
    if text.starts_with('/') {
        return Ok(text.into());
    }
    match is_dotted(text) {
        true => Ok(cwd.join(text.strip_prefix("./").unwrap_or(text)).components().collect()),
        false => Err(BadValue::new(format!("the host's path, {text:?}, is not absolute"))
            .hint(format!("did you mean ./{text}?"))),
    }
}

/// Words after the target.
#[derive(Default)]
struct Words {
    read_only: bool,
    spread: Option<Propagation>,
    noidmap: bool,
    nocopy: bool,
    relabel_shared: Option<bool>,
}

fn words(text: &str) -> Result<Words, BadValue> {
    let mut found = Words::default();
    let mut access = None;
    for word in text.split(',').filter(|_| !text.is_empty()) {
        let repeated = match word {
            "ro" | "rw" => access.replace(word == "ro").is_some(),
            "z" | "Z" => found.relabel_shared.replace(word == "z").is_some(),
            "noidmap" => std::mem::replace(&mut found.noidmap, true),
            "nocopy" => std::mem::replace(&mut found.nocopy, true),
            "consistent" | "cached" | "delegated" => false,
            _ => match propagation(word) {
                Some(mode) => found.spread.replace(mode).is_some(),
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
    found.read_only = access == Some(true);
    Ok(found)
}

/// One `-v`; relative sources start at `cwd`.
pub fn volume(text: &str, cwd: &Path) -> Result<MountRequest, BadValue> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(BadValue::new("a part of it is empty").hint("write it as [SOURCE:]TARGET[:OPTIONS]"));
    }
    let (from, to, options) = match parts[..] {
        [to] => (None, to, ""),
        [to, options] if to.starts_with('/') && words(options).is_ok() => (None, to, options),
        [from, to] => (Some(from), to, ""),
        [from, to, options] => (Some(from), to, options),
        _ => {
            return Err(BadValue::new("more than three parts")
                .hint("paths that contain a colon go through --mount type=bind,source=…,target=…"));
        }
    };
    let words = words(options)?;
    let named = match from {
        None => None,
        Some(from) => match origin(from, cwd)? {
            Origin::Volume(name) => Some(name),
            Origin::Path(_) if words.nocopy => return Err("nocopy belongs to volumes".into()),
            Origin::Path(source) => {
                let kind = MountKind::Bind {
                    source,
                    recursion: BindRecursion::Enabled,
                    propagation: words.spread.unwrap_or_default(),
                    create_source: true,
                    noidmap: words.noidmap,
                    relabel_shared: words.relabel_shared,
                };
                return Ok(MountRequest { kind, target: target(to)?, read_only: words.read_only });
            }
        },
    };
    if words.spread.is_some() || words.noidmap {
        return Err(BadValue::new("propagation and noidmap belong to binds")
            .hint("the source is a volume; a path begins with / or ./"));
    }
    let request = VolumeRequest {
        name: named,
        nocopy: words.nocopy,
        words: Some(options.to_owned()),
        ..VolumeRequest::default()
    };
    Ok(MountRequest { kind: MountKind::Volume(request), target: target(to)?, read_only: words.read_only })
}

/// One `--volumes-from CONTAINER[:ro|rw]`.
pub fn volumes_from(text: &str) -> Result<VolumesFrom, BadValue> {
    let (container, mode) = text.split_once(':').unwrap_or((text, "rw"));
    if container.is_empty() {
        return Err(BadValue::new("no container is given").hint("write it as CONTAINER[:ro]"));
    }
    let read_only = match mode.trim_end_matches(",z").trim_end_matches(",Z") {
        "ro" => true,
        "rw" | "z" | "Z" => false,
        _ => return Err(BadValue::new(format!("invalid mode: {mode}")).hint("it is ro or rw")),
    };
    Ok(VolumesFrom { container: container.to_owned(), read_only })
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
