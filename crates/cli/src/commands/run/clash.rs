//! Flags of `run` that contradict one another.

use engine::request::{IpcMode, Isolation, NamespaceMode, NetworkMode, RestartPolicy, RunRequest};

use crate::parse::sysctl::{Scope, scope};

/// Refuses a request that contradicts itself, in docker's words where docker has some.
pub fn check(request: &RunRequest) -> Result<(), String> {
    let foreign_network = matches!(request.network, NetworkMode::Container(_) | NetworkMode::Path(_));
    let own_uts = matches!(request.uts, NamespaceMode::Unset | NamespaceMode::Private);
    let net = &request.net;
    let publishes = !net.publish.is_empty() || net.publish_all || net.publish_from.is_some();
    let named = request.hostname.is_some() || request.domainname.is_some();
    let resources = &request.resources;
    let clashes = [
        (
            request.hostname.is_some() && matches!(request.network, NetworkMode::Container(_)),
            "conflicting options: hostname and the network mode",
        ),
        (
            matches!(request.network, NetworkMode::Container(_)) && (publishes || !request.expose.is_empty()),
            "conflicting options: port publishing and the container type network mode",
        ),
        (named && !own_uts, "conflicting options: hostname and the UTS mode"),
        (
            request.security.privileged && request.isolation == Isolation::Strict,
            "conflicting options: --privileged and --isolation strict",
        ),
        (
            request.security.privileged && request.userns == NamespaceMode::Private,
            "conflicting options: --privileged and --userns private",
        ),
        (
            request.rm && request.restart != RestartPolicy::No,
            "conflicting options: cannot specify both --restart and --rm",
        ),
        (request.explain && request.detach, "conflicting options: --explain and --detach"),
        (
            request.ipc == IpcMode::None && resources.shm_size_bytes.is_some(),
            "conflicting options: --shm-size and --ipc none",
        ),
    ];
    if let Some((_, why)) = clashes.into_iter().find(|(clash, _)| *clash) {
        return Err(why.to_owned());
    }
    for (key, _) in &request.sysctls {
        let (foreign, flag) = match scope(key) {
            Some(Scope::Network) => (foreign_network || request.network == NetworkMode::Host, "--network"),
            _ => (matches!(request.ipc, IpcMode::Host | IpcMode::Container(_) | IpcMode::Path(_)), "--ipc"),
        };
        if foreign {
            return Err(format!("--sysctl {key} would change the namespace that {flag} shares"));
        }
    }
    Ok(())
}
