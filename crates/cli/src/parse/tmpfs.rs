//! `--tmpfs TARGET[:OPTIONS]`.

use engine::request::{MountKind, MountRequest, TmpfsOption};

use super::{mount, number};
use crate::failure::BadValue;
use crate::suggest;

/// Options without a value. Source: moby/sys/mount flags, as docker's daemon accepts for tmpfs.
const FLAGS: [&str; 24] = [
    "defaults",
    "ro",
    "rw",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "dirsync",
    "remount",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "mand",
    "nomand",
    "noswap",
];

/// Options with a value, beyond `size` and `mode`.
const VALUES: [&str; 6] = ["uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"];

/// Options of one tmpfs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Bytes at most.
    pub size_bytes: Option<u64>,
    /// Permissions.
    pub mode: Option<u32>,
    /// Whether it is read-only.
    pub read_only: bool,
    /// The others, in order.
    pub options: Vec<TmpfsOption>,
}

/// Permissions in octal.
pub fn mode(text: &str) -> Result<u32, BadValue> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err(BadValue::new(format!("mode {text:?} isn't octal")).hint("write it as in 1777 or 0700")),
    }
}

/// Options with commas: `size=64m,mode=1777,exec`.
pub fn options(text: &str) -> Result<Options, BadValue> {
    let mut all = Options::default();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            None if word == "ro" => all.read_only = true,
            None if word == "rw" => all.read_only = false,
            None if word == "defaults" => {}
            None if word == "remount" => return Err("remount makes no sense here".into()),
            None if FLAGS.contains(&word) => all.options.push(TmpfsOption::Flag(word.to_owned())),
            Some(("size", size)) => all.size_bytes = Some(number::bytes(size)?),
            Some(("mode", text)) => all.mode = Some(mode(text)?),
            Some((key, value)) if VALUES.contains(&key) && !value.is_empty() => {
                all.options.push(TmpfsOption::Value(key.to_owned(), value.to_owned()));
            }
            _ => {
                let key = word.split('=').next().unwrap_or(word);
                let known = FLAGS.into_iter().chain(VALUES).chain(["size", "mode"]);
                return Err(BadValue::new(format!("unknown option {word:?}"))
                    .did_you_mean(suggest::nearest(key, known)));
            }
        }
    }
    Ok(all)
}

/// One `--tmpfs`. The engine adds docker's `noexec,nosuid,nodev` where the options don't say otherwise.
pub fn parse(text: &str) -> Result<MountRequest, BadValue> {
    let (target, rest) = text.split_once(':').unwrap_or((text, ""));
    let options = options(rest)?;
    Ok(MountRequest {
        kind: MountKind::Tmpfs {
            size_bytes: options.size_bytes,
            mode: options.mode,
            options: options.options,
        },
        target: mount::target(target)?,
        read_only: options.read_only,
    })
}
