//! Taking down what a container was made of. Each step tolerates that the thing is gone already: whoever was killed in
//! the middle is followed by the next one who does it all again.

use crate::cell::Cell;
use crate::claims::Claims;
use crate::{Config, Home, events, network, root, volumes};
use linux::fault;
use runtime::cgroup::{Cgroup, Hierarchy};

/// After the end, or for one whose keeper was killed: the control group, the claims, and what shouldn't outlive it.
/// With `rm`, all of it.
pub fn ended(home: &Home, config: &Config, cell: &Cell, group: Option<Cgroup>, rm: bool) {
    if let Some(group) = group {
        let _ = group.remove();
        fault::point("control group removed");
    }
    network::detach(home, cell);
    fault::point("network left");
    volumes::container_ended(home, config);
    if rm {
        let _ = root::remove(home, cell);
        fault::point("files removed");
    }
    if let Ok(claims) = Claims::open(home) {
        if rm {
            claims.release_name(&cell.name_now(config), &config.id);
            fault::point("name released");
        }
        for slot in config.user_namespace.slots() {
            claims.release_range(slot, &config.id);
            fault::point("range released");
        }
    }
    if rm {
        events::destroyed(home, config);
        fault::point("removal told");
    }
    cell.remove();
}

/// After a start of a container that there was before and stays, or after its recorded end: what belongs to this start.
pub fn not_started(home: &Home, cell: &Cell, group: Option<Cgroup>) {
    attempt(home, cell, group);
    cell.remove();
}

/// What a start that was cut short made besides its directory: processes, the control group, claims on ids.
pub fn attempt(home: &Home, cell: &Cell, group: Option<Cgroup>) {
    if let Some(group) = group.or_else(|| find_group(home, cell)) {
        let _ = group.kill();
        let _ = group.wait_empty(std::time::Duration::from_secs(5));
        let _ = group.remove();
    }
    network::detach(home, cell);
    if let (Ok(claims), Some(intent)) = (Claims::open(home), cell.intent()) {
        intent.slots.iter().for_each(|slot| claims.release_range(*slot, &cell.id));
    }
}

/// After a start that failed: everything. Its row in the store, if it has one, is its creator's to remove.
pub fn failed_start(home: &Home, config: &Config, cell: &Cell) {
    let group = find_group(home, cell);
    if let Some(group) = &group {
        let _ = group.kill();
        let _ = group.wait_empty(std::time::Duration::from_secs(5));
    }
    ended(home, config, cell, group, true);
    volumes::remove_own(home, config);
}

/// The control group of a container of which only its directory is known: whichever trees it's on.
pub fn find_group(home: &Home, cell: &Cell) -> Option<Cgroup> {
    let hierarchy = Hierarchy::detect().ok()?;
    let path = cell.intent().and_then(|intent| intent.cgroup).unwrap_or_else(|| home.cgroup(&cell.id));
    let below = |mount: &std::path::Path| {
        let dir = mount.join(path.trim_start_matches('/'));
        dir.exists().then(|| dir.to_string_lossy().into_owned())
    };
    let paths = runtime::cgroup::CgroupPaths {
        v2: hierarchy.v2_mountpoint().and_then(below),
        v1: hierarchy
            .v1_mountpoints()
            .filter_map(|(name, mount)| Some((name.to_owned(), below(mount)?)))
            .collect(),
    };
    Cgroup::open(&paths).ok()
}
