//! Which namespaces a container gets: its own, the host's, another container's.

use super::Given;
use crate::Error;
use crate::config::UserNamespace;
use crate::request::{IpcMode, NamespaceMode, NetworkMode, RunRequest};
use crate::shm::Shm;
use types::oci::{Namespace, NamespaceType};

/// A running container whose namespaces are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its first process on the host.
    pub pid: i32,
    /// Its user namespace.
    pub ids: UserNamespace,
    /// Its host name.
    pub hostname: Option<String>,
    /// Its `/dev/shm`.
    pub shm: Shm,
    /// Its files of names and addresses: targets and sources.
    pub net_files: Vec<(String, std::path::PathBuf)>,
}

/// What becomes of one namespace.
enum Choice<'a> {
    New,
    Host,
    Of(&'a str),
    Path(&'a std::path::Path),
}

fn of_mode(mode: &NamespaceMode) -> Choice<'_> {
    match mode {
        NamespaceMode::Unset | NamespaceMode::Private => Choice::New,
        NamespaceMode::Host => Choice::Host,
        NamespaceMode::Container(name) => Choice::Of(name),
        NamespaceMode::Path(path) => Choice::Path(path),
    }
}

fn of_ipc(mode: &IpcMode) -> Choice<'_> {
    match mode {
        IpcMode::Unset | IpcMode::None | IpcMode::Private | IpcMode::Shareable => Choice::New,
        IpcMode::Host => Choice::Host,
        IpcMode::Container(name) => Choice::Of(name),
        IpcMode::Path(path) => Choice::Path(path),
    }
}

fn of_network(mode: &NetworkMode) -> Choice<'_> {
    match mode {
        NetworkMode::Unset | NetworkMode::None | NetworkMode::Networks(_) => Choice::New,
        NetworkMode::Host => Choice::Host,
        NetworkMode::Container(name) => Choice::Of(name),
        NetworkMode::Path(path) => Choice::Path(path),
    }
}

fn choices(request: &RunRequest) -> [(NamespaceType, Choice<'_>); 5] {
    [
        (NamespaceType::Pid, of_mode(&request.pid)),
        (NamespaceType::Network, of_network(&request.network)),
        (NamespaceType::Ipc, of_ipc(&request.ipc)),
        (NamespaceType::Uts, of_mode(&request.uts)),
        (NamespaceType::Cgroup, of_mode(&request.cgroupns)),
    ]
}

/// Containers whose namespaces are joined, in no order, with repeats.
pub fn container_names(request: &RunRequest) -> Vec<String> {
    let mut names: Vec<String> = choices(request)
        .iter()
        .filter_map(|(_, choice)| match choice {
            Choice::Of(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect();
    if let NamespaceMode::Container(name) = &request.userns {
        names.push(name.clone());
    }
    names
}

/// Whether one of the host's namespaces is shared whose use needs the host's user namespace, or one by path, whose owner
/// isn't known to be another one.
pub fn shares_host(request: &RunRequest) -> bool {
    choices(request).iter().any(|(typ, choice)| {
        *typ != NamespaceType::Cgroup && matches!(choice, Choice::Host | Choice::Path(_))
    })
}

/// The namespaces of the configuration.
pub fn plan(request: &RunRequest, given: &Given<'_>) -> Result<Vec<Namespace>, Error> {
    let mut planned = vec![Namespace { typ: NamespaceType::Mount, path: None }];
    let path_of = |name: &str, file: &str| -> Result<String, Error> {
        let neighbour =
            given.neighbours.get(name).ok_or_else(|| Error::NoContainer { given: name.to_owned() })?;
        Ok(format!("/proc/{}/ns/{file}", neighbour.pid))
    };
    match (&given.user_namespace, super::wanted_userns(request)?) {
        (UserNamespace::Host, _) => {}
        (UserNamespace::Joined { .. }, super::WantedUserns::Of(name)) => {
            planned.push(Namespace { typ: NamespaceType::User, path: Some(path_of(&name, "user")?) });
        }
        _ => planned.push(Namespace { typ: NamespaceType::User, path: None }),
    }
    for (typ, choice) in choices(request) {
        let file = match typ {
            NamespaceType::Pid => "pid",
            NamespaceType::Network => "net",
            NamespaceType::Ipc => "ipc",
            NamespaceType::Uts => "uts",
            _ => "cgroup",
        };
        let path = match choice {
            Choice::Host => continue,
            Choice::New => None,
            Choice::Of(name) => Some(path_of(name, file)?),
            Choice::Path(path) => Some(path.to_string_lossy().into_owned()),
        };
        planned.push(Namespace { typ, path });
    }
    if request.time_offsets.monotonic.is_some() || request.time_offsets.boottime.is_some() {
        planned.push(Namespace { typ: NamespaceType::Time, path: None });
    }
    Ok(planned)
}
