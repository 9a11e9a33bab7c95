//! When images and volumes were used last, for `prune --unused-for`: the modification time of the directory around a
//! layer's tree or a volume's content, which nothing else changes once it's made. The keeper sets it when a container
//! ends; while there is one, nothing prunes what it has.

use crate::Config;
use crate::config::RootSource;
use crate::volumes;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// When the thing in `dir` was used last, nanoseconds since the epoch; never, if that can't be told.
pub(crate) fn of(dir: Option<&Path>) -> i64 {
    let stat = dir.and_then(|dir| std::fs::metadata(dir).ok());
    stat.map_or(0, |stat| stat.mtime().saturating_mul(1_000_000_000).saturating_add(stat.mtime_nsec()))
}

/// Notes that a container has ended, and has used its image and volumes until now.
pub(crate) fn note(home: &crate::Home, config: &Config) {
    if let RootSource::Layers(layers) = &config.root {
        layers.last().and_then(|tree| tree.parent()).into_iter().for_each(touch);
    }
    for (name, _) in config.volumes() {
        volumes::data_path(home, name).parent().into_iter().for_each(touch);
    }
}

fn touch(dir: &Path) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    // A time that can't be noted is no reason to fail: what it's about is pruned too early at worst, and only if asked.
    let _ = utimensat(CWD, dir, &times, AtFlags::empty());
}
