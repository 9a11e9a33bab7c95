//! Where berth keeps things, and which ids it may give out.

use crate::Error;
use std::path::{Path, PathBuf};

/// First id of berth's ranges: above those of useradd and systemd (design.md 5).
const IDS_BASE: u32 = 0x7000_0000;
/// Number of ids.
const IDS_COUNT: u32 = 0x1000_0000;
/// Ids of one container.
pub const RANGE_IDS: u32 = 65_536;

/// Directories, control group parent and id ranges of one berth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// What outlives a reboot.
    pub root: PathBuf,
    /// What doesn't.
    pub run: PathBuf,
    /// Parent of all control groups, absolute in each hierarchy.
    pub cgroup_parent: String,
    /// First id of the ranges.
    pub ids_base: u32,
    /// Number of ranges of [`RANGE_IDS`].
    pub ranges: u32,
}

impl Default for Home {
    /// The host's own, where the environment says nothing.
    fn default() -> Home {
        Home {
            root: "/var/lib/berth".into(),
            run: "/run/berth".into(),
            cgroup_parent: "/berth".to_owned(),
            ids_base: IDS_BASE,
            ranges: IDS_COUNT / RANGE_IDS,
        }
    }
}

impl Home {
    /// The home that the environment names: `BERTH_ROOT`, `BERTH_RUN`, `BERTH_CGROUP`, `BERTH_IDS=base:count`.
    pub fn from_env() -> Result<Home, Error> {
        let dir = |name: &str, default: &str| -> Result<PathBuf, Error> {
            match std::env::var_os(name).filter(|v| !v.is_empty()) {
                None => Ok(default.into()),
                Some(dir) if Path::new(&dir).is_absolute() => Ok(dir.into()),
                Some(dir) => {
                    Err(Error::invalid(name, format!("{:?} is no absolute path", dir.to_string_lossy())))
                }
            }
        };
        let parent =
            std::env::var("BERTH_CGROUP").ok().filter(|v| !v.is_empty()).unwrap_or("berth".to_owned());
        let (ids_base, ranges) = match std::env::var("BERTH_IDS").ok().filter(|v| !v.is_empty()) {
            None => (IDS_BASE, IDS_COUNT / RANGE_IDS),
            Some(text) => parse_ids(&text).ok_or_else(|| {
                Error::invalid("BERTH_IDS", format!("{text:?} is not base:count, count from 65536"))
            })?,
        };
        Ok(Home {
            root: dir("BERTH_ROOT", "/var/lib/berth")?,
            run: dir("BERTH_RUN", "/run/berth")?,
            cgroup_parent: format!("/{}", parent.trim_matches('/')),
            ids_base,
            ranges,
        })
    }

    /// The same for a command that looks at containers, which only root may.
    pub fn of_root() -> Result<Home, Error> {
        match rustix::process::geteuid().is_root() {
            true => Home::from_env(),
            false => Err(Error::NotRoot),
        }
    }

    /// Whether this is the host's own berth, and not one that the environment moved elsewhere.
    pub fn is_default(&self) -> bool {
        self.root == Path::new("/var/lib/berth")
            && self.run == Path::new("/run/berth")
            && self.ids_base == IDS_BASE
    }

    /// Tells this berth's links and tables from those of the host's own and of others that the environment moved elsewhere:
    /// six hexadecimal digits.
    pub fn tag(&self) -> String {
        let of = self.run.as_os_str().as_encoded_bytes();
        store::Sha256::of(of).hex()[..6].to_owned()
    }

    /// Name of berth's nftables table.
    pub fn table(&self) -> String {
        if self.is_default() { "berth".to_owned() } else { format!("berth-{}", self.tag()) }
    }

    /// What the names of networks' bridges begin with.
    pub fn bridge_prefix(&self) -> String {
        if self.is_default() { "berth".to_owned() } else { format!("n{}", &self.tag()[..5]) }
    }

    /// What the names of containers' links on this host begin with.
    pub fn link_prefix(&self) -> String {
        if self.is_default() { "bth".to_owned() } else { format!("b{}", &self.tag()[..5]) }
    }

    /// Path of a container's directory of this boot.
    pub fn run_dir(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// Path of a container's durable directory.
    pub fn state_dir(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id)
    }

    /// Path of a container's control group in each hierarchy.
    pub fn cgroup(&self, id: &str) -> String {
        format!("{}/{id}", self.cgroup_parent)
    }

    /// The same for a container that is to have it below `parent`, if one is named.
    pub fn cgroup_below(&self, parent: Option<&str>, id: &str) -> String {
        match parent {
            Some(parent) => format!("/{}/{id}", parent.trim_matches('/')),
            None => self.cgroup(id),
        }
    }

    /// Number of ids in all ranges.
    pub fn ids(&self) -> u64 {
        u64::from(self.ranges) * u64::from(RANGE_IDS)
    }

    /// First id of range `slot`.
    pub fn range_base(&self, slot: u32) -> u32 {
        self.ids_base + slot * RANGE_IDS
    }
}

fn parse_ids(text: &str) -> Option<(u32, u32)> {
    let (base, count) = text.split_once(':')?;
    let (base, count): (u32, u32) = (base.parse().ok()?, count.parse().ok()?);
    // Id 4294967295 means "unchanged" to the kernel.
    let fits = base > 0 && count >= RANGE_IDS && base.checked_add(count).is_some_and(|end| end < u32::MAX);
    fits.then_some((base, count / RANGE_IDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_base_and_count() {
        assert_eq!(parse_ids("100000:131072"), Some((100_000, 2)));
        for bad in ["", "1", "0:65536", "1:65535", "4294901760:65536", "x:1"] {
            assert_eq!(parse_ids(bad), None, "{bad}");
        }
    }
}
