//! Natural owners of bind mounts (design.md 5): the id that the container's process runs as stands for the owner of the
//! source; every other id is itself, as with docker; host id 0 is reached only where the source's owner is root.

use types::oci::IdMapping;

/// Ids that a range covers.
const RANGE: u32 = crate::home::RANGE_IDS;

/// The id map of a bind mount, for users or for groups.
///
/// `process` is the container's id that the process runs as, `owner` the source's owner on the disk, `base` the host's
/// id of container id 0. In the result `container_id` is the id on the disk, `host_id` the host's id of the container's
/// that it's shown as.
///
/// The map is a bijection. An id that lost its place on the disk to another (that of `owner`, if the process runs as a
/// different one; and 0) goes to the container's own range.
pub fn id_map(process: u32, owner: u32, base: u32) -> Vec<IdMapping> {
    let mut taken: Vec<(u32, u32)> = vec![(owner, process)];
    if owner != process && owner < RANGE {
        taken.push((base.saturating_add(owner), owner));
    }
    if owner != 0 && process != 0 {
        taken.push((base, 0));
    }
    // What remains is itself: ids of the range that are neither shown as something else nor stand for something else.
    let special = |id: u32| id == 0 || id == owner || id == process;
    let mut map = Vec::new();
    let mut start = None;
    for id in 0..=RANGE {
        match (id < RANGE && !special(id), start) {
            (true, None) => start = Some(id),
            (false, Some(first)) => {
                map.push(IdMapping { container_id: first, host_id: base + first, size: id - first });
                start = None;
            }
            _ => {}
        }
    }
    map.extend(taken.iter().map(|(disk, inside)| IdMapping {
        container_id: *disk,
        host_id: base + inside,
        size: 1,
    }));
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const BASE: u32 = 0x7000_0000;

    /// Disk id to container id.
    fn shown(process: u32, owner: u32) -> BTreeMap<u32, u32> {
        let map = id_map(process, owner, BASE);
        let mut all = BTreeMap::new();
        for line in &map {
            for n in 0..line.size {
                assert_eq!(
                    all.insert(line.container_id + n, line.host_id - BASE + n),
                    None,
                    "{process} {owner}"
                );
            }
        }
        let mut inside: Vec<u32> = all.values().copied().collect();
        inside.sort_unstable();
        inside.dedup();
        assert_eq!(inside.len(), all.len(), "no id is shown twice");
        all
    }

    #[test]
    fn roots_directory_is_dockers_identity() {
        let map = shown(0, 0);
        assert_eq!((map[&0], map[&999], map[&65_535]), (0, 999, 65_535));
        assert_eq!(map.len(), 65_536);
    }

    #[test]
    fn root_in_a_users_directory_is_that_user() {
        let map = shown(0, 1000);
        assert_eq!(map[&1000], 0);
        assert_eq!(map[&999], 999);
        assert_eq!(map.get(&0), None, "host root stays out of reach");
        assert_eq!(map[&(BASE + 1000)], 1000, "whoever is 1000 inside writes as itself in the range");
    }

    #[test]
    fn a_user_in_its_own_directory_is_itself() {
        let map = shown(1000, 1000);
        assert_eq!(map[&1000], 1000);
        assert_eq!(map[&BASE], 0);
        assert_eq!(map.get(&0), None);
    }

    #[test]
    fn a_user_in_roots_directory_owns_it() {
        let map = shown(1000, 0);
        assert_eq!(map[&0], 1000);
        assert_eq!(map[&BASE], 0);
        assert_eq!(map.get(&1000), None);
    }

    #[test]
    fn owners_beyond_the_range_are_reached() {
        let map = shown(0, 5_000_000);
        assert_eq!(map[&5_000_000], 0);
        assert_eq!(map.get(&0), None);
        assert_eq!(map.len(), 65_536);
    }
}
