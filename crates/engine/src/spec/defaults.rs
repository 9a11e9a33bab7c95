//! Docker's defaults: capabilities, masks, sysctls, labels.

use crate::Error;
use crate::config::UserNamespace;
use crate::request::{AppArmor, RunRequest, Security};
use std::collections::BTreeMap;
use std::path::Path;
use types::caps::CapSet;
use types::oci::TimeOffset;

/// Masked paths of moby's newest default, per-processor thermal throttling files aside (see [`masked_paths`]).
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

const MASKED_DEVICES: [&str; 1] = ["/sys/devices/virtual/powercap"];

const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Docker's fourteen, plus and minus; all when privileged.
pub fn capabilities(security: &Security) -> Result<CapSet, Error> {
    let number = |flag: &str, name: &str| {
        types::caps::number(name).ok_or_else(|| Error::invalid(flag, format!("unknown capability {name:?}")))
    };
    // What the running kernel doesn't know can't be had; it isn't asked for.
    let known = CapSet(u64::MAX >> (63 - linux::creds::last_cap().min(63)));
    let all = CapSet(CapSet::ALL.0 & known.0);
    if security.privileged {
        return Ok(all);
    }
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
    let mut caps = CapSet::docker_default();
    if security.cap_add.iter().any(is_all) {
        caps = all;
    }
    if security.cap_drop.iter().any(is_all) {
        caps = CapSet(0);
    }
    for name in security.cap_drop.iter().filter(|name| !is_all(name)) {
        caps = caps.without(number("--cap-drop", name)?);
    }
    for name in security.cap_add.iter().filter(|name| !is_all(name)) {
        caps = caps.with(number("--cap-add", name)?);
    }
    Ok(CapSet(caps.0 & known.0))
}

const CPUS: &str = "/sys/devices/system/cpu";

/// Whether any processor may have such a directory: all have it or none, as far as they're online, which those with a
/// topology are.
fn has_thermal_throttle() -> bool {
    let first = Path::new(CPUS).join("cpu0");
    !first.join("topology").exists() || first.join("thermal_throttle").exists()
}

/// Paths that can't be read.
pub fn masked_paths(security: &Security) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    if !open(security) {
        paths.extend(MASKED.iter().chain(&MASKED_DEVICES).map(|p| (*p).to_owned()));
        // One directory for each processor; a glob in docker's list.
        let cpus = has_thermal_throttle().then(|| std::fs::read_dir(CPUS).into_iter().flatten().flatten());
        for cpu in cpus.into_iter().flatten() {
            let name = cpu.file_name();
            let name = name.to_string_lossy();
            let numbered = name
                .strip_prefix("cpu")
                .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()) && !n.is_empty());
            if numbered && cpu.path().join("thermal_throttle").exists() {
                paths.push(format!("{CPUS}/{name}/thermal_throttle"));
            }
        }
    }
    paths.retain(|path| !unmasked(security, path));
    paths.extend(security.mask.iter().cloned());
    paths
}

/// Paths that can't be written.
pub fn readonly_paths(security: &Security) -> Vec<String> {
    if open(security) {
        return Vec::new();
    }
    READONLY.iter().filter(|path| !unmasked(security, path)).map(|p| (*p).to_owned()).collect()
}

fn open(security: &Security) -> bool {
    security.privileged || security.systempaths_unconfined || security.unmask.iter().any(|path| path == "ALL")
}

fn unmasked(security: &Security, path: &str) -> bool {
    security.unmask.iter().any(|open| open.trim_end_matches("/*") == path || open == path)
}

/// Kernel parameters: docker's two for a private network, then the request's.
pub fn sysctls(request: &RunRequest, private_net: bool, userns: &UserNamespace) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    if private_net && !request.security.privileged {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        // The kernel takes ids of the writer's user namespace only.
        let last = if *userns == UserNamespace::Host { 2_147_483_647 } else { crate::home::RANGE_IDS - 1 };
        sysctls.insert("net.ipv4.ping_group_range".to_owned(), format!("0 {last}"));
    }
    sysctls.extend(request.sysctls.iter().cloned());
    sysctls
}

/// Clock offsets.
pub fn time_offsets(request: &RunRequest) -> BTreeMap<String, TimeOffset> {
    let offsets = request.time_offsets;
    let named = [("monotonic", offsets.monotonic), ("boottime", offsets.boottime)];
    named.into_iter().filter_map(|(name, offset)| Some((name.to_owned(), offset?))).collect()
}

/// Whether the host confines by AppArmor.
pub fn apparmor_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'))
}

/// The AppArmor profile: the one asked for, else docker's, where one is loaded.
pub fn apparmor(wanted: &AppArmor, privileged: bool) -> Option<String> {
    match wanted {
        AppArmor::Profile(name) => Some(name.clone()),
        AppArmor::Unconfined => None,
        AppArmor::Default if privileged || !apparmor_enabled() => None,
        AppArmor::Default => {
            let loaded =
                std::fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
            loaded
                .lines()
                .any(|line| line.starts_with("docker-default "))
                .then(|| "docker-default".to_owned())
        }
    }
}

/// The SELinux label that the options make.
pub fn selinux_label(options: &[String]) -> Result<Option<String>, Error> {
    let mut parts = ["system_u", "system_r", "container_t", "s0"].map(str::to_owned);
    let mut given = false;
    for option in options {
        let (key, value) = option.split_once(':').unwrap_or((option, ""));
        let at = match key {
            "disable" => return Ok(None),
            "user" => 0,
            "role" => 1,
            "type" => 2,
            "level" => 3,
            other => {
                return Err(Error::invalid(
                    "--security-opt label",
                    format!("{other:?} is not supported yet"),
                ));
            }
        };
        parts[at] = value.to_owned();
        given = true;
    }
    if given && !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(Error::invalid("--security-opt label", "SELinux is not enabled on this host"));
    }
    Ok(given.then(|| parts.join(":")))
}
