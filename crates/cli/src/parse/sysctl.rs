//! `--sysctl KEY=VALUE`.

use crate::failure::BadValue;

/// Kernel parameters that belong to the ipc namespace. Source: docker/cli opts.ValidateSysctl.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Which namespace a kernel parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The network namespace.
    Network,
    /// The ipc namespace.
    Ipc,
}

/// The namespace that `key` belongs to, `None` for the whole machine's.
pub fn scope(key: &str) -> Option<Scope> {
    if key.starts_with("net.") {
        return Some(Scope::Network);
    }
    (IPC.contains(&key) || key.starts_with("fs.mqueue.")).then_some(Scope::Ipc)
}

/// One kernel parameter; only those of a namespace.
pub fn parse(text: &str) -> Result<(String, String), BadValue> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(BadValue::new("not KEY=VALUE").hint("write it as in net.ipv4.ip_forward=1"));
    };
    let key = key.trim().replace('/', ".");
    if key.split('.').any(str::is_empty) {
        return Err(BadValue::new(format!("{key:?} names no kernel parameter")));
    }
    match scope(&key) {
        Some(_) => Ok((key, value.to_owned())),
        None => Err(BadValue::new(format!("{key} belongs to the whole machine"))
            .hint("a container may set net.*, fs.mqueue.* and the ipc parameters of kernel.*")),
    }
}
