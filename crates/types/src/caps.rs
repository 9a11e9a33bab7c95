//! Linux capabilities by name. Source: capabilities(7), linux/capability.h.

/// A set of capabilities; bit n is capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSet(pub u64);

/// Names in the order of their numbers, without `CAP_`.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Docker's default set: the fourteen that `docker run` leaves to a container.
pub const DOCKER_DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Number of the capability called `name`, in any case, with or without `CAP_`.
pub fn number(name: &str) -> Option<u8> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| *known == bare).map(|n| n as u8)
}

impl CapSet {
    /// Every capability that this version of berth knows.
    pub const ALL: CapSet = CapSet((1 << NAMES.len()) - 1);

    /// Docker's default set.
    pub fn docker_default() -> CapSet {
        DOCKER_DEFAULT.iter().filter_map(|name| number(name)).fold(CapSet(0), |set, n| CapSet(set.0 | 1 << n))
    }

    /// Whether capability `n` is in the set.
    pub fn has(self, n: u8) -> bool {
        n < 64 && self.0 & (1 << n) != 0
    }

    /// The set with capability `n`.
    pub fn with(self, n: u8) -> CapSet {
        CapSet(self.0 | (1 << n))
    }

    /// The set without capability `n`.
    pub fn without(self, n: u8) -> CapSet {
        CapSet(self.0 & !(1 << n))
    }

    /// Names with `CAP_`, in the order of their numbers.
    pub fn names(self) -> Vec<String> {
        NAMES
            .iter()
            .enumerate()
            .filter(|(n, _)| self.has(*n as u8))
            .map(|(_, name)| format!("CAP_{name}"))
            .collect()
    }

    /// The set of the named capabilities; the first unknown name is the error.
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Result<CapSet, String> {
        names.iter().try_fold(CapSet(0), |set, name| {
            number(name.as_ref()).map(|n| set.with(n)).ok_or_else(|| name.as_ref().to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_any_case() {
        for (n, name) in NAMES.iter().enumerate() {
            assert_eq!(number(name), Some(n as u8));
            assert_eq!(number(&format!("cap_{}", name.to_lowercase())), Some(n as u8));
        }
        assert_eq!(number("NOPE"), None);
    }

    #[test]
    fn dockers_default_mask_is_the_documented_one() {
        assert_eq!(CapSet::docker_default().0, 0xa80425fb);
    }
}
