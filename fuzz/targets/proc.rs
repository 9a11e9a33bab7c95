//! Files of /proc: `stat`, whose second field is whatever the process likes to be called; `mountinfo` and `cgroup`,
//! which hold paths of anybody's making.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::cgroup::{Hierarchy, plan};
use types::oci::{Memory, Pids, Resources};

fuzz_target!(|bytes: &[u8]| {
    let _ = linux::process::parse_start_time(bytes);

    // A name can't pass for other fields, whatever is in it.
    let name: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).take(15).collect();
    let mut stat = b"7 (".to_vec();
    stat.extend(&name);
    stat.extend(b") S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4321 0 0\n");
    assert_eq!(linux::process::parse_start_time(&stat), Some(4321), "{name:?}");

    let text = String::from_utf8_lossy(bytes);
    let (mountinfo, own) = text.split_once('\0').unwrap_or((&text, ""));
    let Ok(mut hierarchy) = Hierarchy::parse(mountinfo, own) else { return };
    hierarchy.set_v2_controllers("cpu memory pids");
    let resources = Resources {
        memory: Some(Memory { limit: Some(1 << 30), ..Memory::default() }),
        pids: Some(Pids { limit: Some(10) }),
        ..Resources::default()
    };
    let _ = plan(&resources, "/berth/x", &hierarchy);
    let _ = plan(&resources, "x", &hierarchy);
});
