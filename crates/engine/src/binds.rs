//! Natural owners of bind mounts (design.md 5): the id that the container's process runs as stands for the owner of the
//! source; every other id is itself, as with docker; host id 0 is reached only where the source's owner is root.

use types::oci::IdMapping;

/// The id map of a bind mount, for users or for groups.
///
/// `process` is the container's id that the process runs as, `owner` the source's owner on the disk, `ids` the container's
/// ids and those on the host that they are. In the result `container_id` is the id on the disk, `host_id` the host's id of
/// the container's that it's shown as.
///
/// The map is a bijection. An id that lost its place on the disk to another (that of `owner`, if the process runs as a
/// different one; and 0) goes to the container's own range.
pub fn id_map(process: u32, owner: u32, ids: &[IdMapping]) -> Vec<IdMapping> {
    let on_host = |id| runtime::userns::to_host(ids, id);
    // Pairs of an id on the disk and the one that it's shown as.
    let mut taken: Vec<(u32, u32)> = vec![(owner, process)];
    if owner != process
        && let Some(lost) = on_host(owner)
    {
        taken.push((lost, owner));
    }
    if owner != 0
        && process != 0
        && let Some(lost) = on_host(0)
    {
        taken.push((lost, 0));
    }
    // What remains is itself: ids of the container that are neither shown as something else nor stand for something else.
    let mut special = [0, owner, process];
    special.sort_unstable();
    let mut map = Vec::new();
    for line in ids {
        let end = line.container_id + line.size;
        let mut first = line.container_id;
        let within = special.iter().copied().filter(|id| (line.container_id..end).contains(id));
        for stop in within.chain([end]) {
            if stop > first {
                let host_id = line.host_id + (first - line.container_id);
                map.push(IdMapping { container_id: first, host_id, size: stop - first });
            }
            first = first.max(stop.saturating_add(1));
        }
    }
    let shown = taken.iter().filter_map(|(disk, inside)| {
        Some(IdMapping { container_id: *disk, host_id: on_host(*inside)?, size: 1 })
    });
    map.extend(shown);
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const BASE: u32 = 0x7000_0000;

    /// Disk id to container id.
    fn shown(process: u32, owner: u32) -> BTreeMap<u32, u32> {
        let map = id_map(process, owner, &[IdMapping { container_id: 0, host_id: BASE, size: 65_536 }]);
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

    #[test]
    fn further_ids_are_themselves_too() {
        let line = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let ids = [line(0, BASE, 65_536), line(131_072, BASE + 65_536, 65_536)];
        let mut map = id_map(131_080, 1000, &ids);
        map.sort_by_key(|line| line.container_id);
        assert_eq!(
            map,
            [
                line(1, BASE + 1, 999),
                line(1000, BASE + 65_536 + 8, 1),
                line(1001, BASE + 1001, 64_535),
                line(131_072, BASE + 65_536, 8),
                line(131_081, BASE + 65_536 + 9, 65_527),
                line(BASE, BASE, 1),
                line(BASE + 1000, BASE + 1000, 1),
            ]
        );
    }
}
