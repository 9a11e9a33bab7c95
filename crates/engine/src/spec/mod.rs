//! From a request to a configuration of the runtime's: docker's defaults live here and nowhere else.

mod defaults;
mod devices;
mod filter;
mod mounts;
mod namespaces;
mod resources;

pub use defaults::apparmor_enabled;
pub use filter::seccomp_program;
pub(crate) use mounts::plan_one as plan_mount;
pub use namespaces::{Neighbour, container_names};

use crate::config::{Config, RootSource, UserNamespace};
use crate::request::{EnvChange, Isolation, MountRequest, NamespaceMode, NetworkMode, RunRequest};
use crate::users::{self, Identity, UserFiles};
use crate::{Error, root};
use runtime::Plan;
use std::collections::BTreeMap;
use std::path::PathBuf;
use types::caps::CapSet;
use types::image::config::Execution;
use types::oci::{Capabilities, Linux, Process, Root, Spec, User};

/// What was found out beforehand.
#[derive(Debug)]
pub struct Given<'a> {
    /// Id of the new container.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// What it's made from, for lists.
    pub image: String,
    /// Id of the image.
    pub image_id: Option<String>,
    /// What the image says.
    pub image_config: Execution,
    /// Root.
    pub root: RootSource,
    /// All its mounts but the kernel's.
    pub mounts: &'a [MountRequest],
    /// By target, the descriptors of volumes and images among them.
    pub sources: &'a BTreeMap<PathBuf, String>,
    /// Its range, if it gets one of its own.
    pub user_namespace: UserNamespace,
    /// Its process's user.
    pub identity: Identity,
    /// Containers whose namespaces it joins, by the name given.
    pub neighbours: BTreeMap<String, Neighbour>,
    /// Files of names and addresses that are bound into it: targets and sources.
    pub net_files: Vec<(String, PathBuf)>,
    /// Variables about the containers that it's linked to.
    pub link_environment: Vec<String>,
    /// Control group path.
    pub cgroup: String,
    /// Size of the caller's terminal: rows, columns.
    pub terminal_size: Option<(u16, u16)>,
}

/// Whether the request leads to a user namespace of its own, one to join, or the host's (design.md 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedUserns {
    /// Its own.
    Own,
    /// That of the container with this name.
    Of(String),
    /// The host's.
    Host,
}

/// Decides on the user namespace: sharing one of the host's namespaces implies the host's, `container:X` implies X's.
pub fn wanted_userns(request: &RunRequest) -> Result<WantedUserns, Error> {
    match &request.userns {
        NamespaceMode::Private if request.security.privileged => {
            return Err(Error::invalid(
                "--privileged",
                "needs the host's user namespace, --userns=private forbids it",
            ));
        }
        NamespaceMode::Private => return Ok(WantedUserns::Own),
        NamespaceMode::Host => return Ok(WantedUserns::Host),
        NamespaceMode::Container(name) => return Ok(WantedUserns::Of(name.clone())),
        NamespaceMode::Path(_) => {
            return Err(Error::invalid("--userns", "a path isn't supported yet; take container:NAME"));
        }
        NamespaceMode::Unset => {}
    }
    let others = namespaces::container_names(request);
    if let Some(first) = others.first() {
        if let Some(second) = others.iter().find(|name| *name != first) {
            return Err(Error::invalid(
                format!("container:{second}"),
                format!(
                    "{first} is joined too, and they have user namespaces of their own; join one of them only"
                ),
            ));
        }
        return Ok(WantedUserns::Of(first.clone()));
    }
    let shares = request.security.privileged || namespaces::shares_host(request);
    Ok(if shares { WantedUserns::Host } else { WantedUserns::Own })
}

/// The user of the container's process: the request's, or the image's, by the names that the root file system has.
pub fn identity(request: &RunRequest, root: &RootSource, image: &Execution) -> Result<Identity, Error> {
    let files = UserFiles {
        passwd: root::read_file(root, "/etc/passwd"),
        group: root::read_file(root, "/etc/group"),
    };
    users::resolve(request.user.as_ref().unwrap_or(&image.user), &request.group_add, &files)
}

/// Resolves a request: the configuration, and the runtime's plan.
pub fn resolve(request: RunRequest, given: Given<'_>) -> Result<(Config, Plan), Error> {
    let strict = request.isolation == Isolation::Strict;
    let image = &given.image_config;
    let args = command(&request, image)?;
    let identity = given.identity.clone();
    if let Some(id) = identity.ids().find(|id| given.user_namespace.host_id(*id).is_none()) {
        return Err(Error::invalid("--user", format!("id {id} isn't one of the container's")));
    }
    let caps = defaults::capabilities(&request.security)?;
    let hostname = hostname(&request, &given.id, &given.neighbours);
    let env = environment(&request, image, hostname.as_deref(), &given);
    let workdir =
        request.workdir.clone().or_else(|| Some(image.working_dir.clone())).filter(|w| !w.is_empty());
    let process = Process {
        terminal: request.tty,
        console_size: given.terminal_size.map(|(height, width)| types::oci::ConsoleSize { height, width }),
        user: User {
            uid: identity.uid,
            gid: identity.gid,
            umask: None,
            additional_gids: identity.groups.clone(),
            username: None,
        },
        args: args.clone(),
        env,
        cwd: workdir.unwrap_or_else(|| "/".to_owned()),
        capabilities: Some(capability_sets(caps)),
        rlimits: resources::rlimits(&request, strict)?,
        no_new_privileges: request.security.no_new_privileges || strict,
        apparmor_profile: defaults::apparmor(&request.security.apparmor, request.security.privileged),
        oom_score_adj: request.resources.oom_score_adj,
        selinux_label: defaults::selinux_label(&request.security.label)?,
        ..Process::default()
    };
    let private_net =
        matches!(request.network, NetworkMode::Unset | NetworkMode::None | NetworkMode::Networks(_));
    let device_set = devices::plan(&request, &given.user_namespace)?;
    let tasks = resources::tasks(&request, &given.user_namespace);
    let linux = Linux {
        namespaces: namespaces::plan(&request, &given)?,
        uid_mappings: mappings(&given.user_namespace),
        gid_mappings: mappings(&given.user_namespace),
        sysctl: defaults::sysctls(&request, private_net, &given.user_namespace),
        resources: resources::plan(&request, &tasks, device_set.rules)?,
        cgroups_path: Some(given.cgroup.clone()),
        devices: device_set.nodes,
        masked_paths: defaults::masked_paths(&request.security),
        readonly_paths: defaults::readonly_paths(&request.security),
        time_offsets: defaults::time_offsets(&request),
        ..Linux::default()
    };
    let spec = Spec {
        oci_version: types::oci::OCI_VERSION.to_owned(),
        // The engine makes the root itself.
        root: Some(Root { path: "/".to_owned(), readonly: request.read_only }),
        mounts: mounts::plan(&request, &given, (identity.uid, identity.gid))?,
        process: Some(process),
        hostname,
        domainname: request.domainname.clone(),
        linux: Some(linux),
        annotations: request.annotations.iter().cloned().collect(),
        ..Spec::default()
    };
    let mut plan = Plan::new(&spec)?;
    if let Some(program) = seccomp_program(&request, caps)? {
        plan.process_mut().set_seccomp(&program, &mut Vec::new());
    }
    if strict {
        plan.process_mut().guard_speculation();
    }
    if request.init {
        plan.process_mut().run_under_init();
    }
    let stop_signal = match (request.stop_signal, image.stop_signal.as_str()) {
        (Some(number), _) => number,
        (None, "") => 15,
        (None, name) => types::signal::parse(name).unwrap_or(15),
    };
    let config = Config {
        id: given.id,
        name: given.name,
        image: given.image,
        image_id: given.image_id,
        image_config: given.image_config,
        created_ns: given.created_ns,
        mounts: given.mounts.to_vec(),
        args,
        root: given.root,
        user_namespace: given.user_namespace,
        stop_signal,
        tasks_max: tasks.by_namespace,
        spec,
        request,
        made_first: false,
        started_as: None,
    };
    Ok((config, plan))
}

/// The limits of a container's control groups.
pub(crate) fn limits(
    request: &RunRequest,
    userns: &UserNamespace,
    devices: Vec<types::oci::DeviceRule>,
) -> Result<Option<types::oci::Resources>, Error> {
    resources::plan(request, &resources::tasks(request, userns), devices)
}

/// Program and arguments: docker's rule for entry point and command.
fn command(request: &RunRequest, image: &Execution) -> Result<Vec<String>, Error> {
    let (entrypoint, default) = match &request.entrypoint {
        Some(own) => (own.clone(), Vec::new()),
        None => (image.entrypoint.clone().unwrap_or_default(), image.cmd.clone().unwrap_or_default()),
    };
    let rest = if request.command.is_empty() { default } else { request.command.clone() };
    let args: Vec<String> = entrypoint.into_iter().chain(rest).collect();
    if args.is_empty() {
        return Err(Error::invalid("command", "none was given, and the image has none"));
    }
    Ok(args)
}

/// Its host name; `None` where that is another's.
pub(crate) fn hostname(
    request: &RunRequest,
    id: &str,
    neighbours: &BTreeMap<String, Neighbour>,
) -> Option<String> {
    let own = matches!(request.uts, NamespaceMode::Unset | NamespaceMode::Private);
    // With another container's network comes its name, as with docker.
    let joined = match &request.network {
        NetworkMode::Container(name) => neighbours.get(name).and_then(|n| n.hostname.clone()),
        NetworkMode::Host => Some(crate::network::hostname(None)),
        _ => None,
    };
    own.then(|| request.hostname.clone().or(joined).unwrap_or_else(|| id[..12].to_owned()))
}

fn environment(
    request: &RunRequest,
    image: &Execution,
    hostname: Option<&str>,
    given: &Given<'_>,
) -> Vec<String> {
    const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let joined = given.neighbours.values().next().and_then(|n| n.hostname.clone());
    let mut env: Vec<(String, String)> = vec![("PATH".to_owned(), PATH.to_owned())];
    if let Some(name) = hostname.map(str::to_owned).or(joined) {
        env.push(("HOSTNAME".to_owned(), name));
    }
    if request.tty {
        env.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    let mut set = |name: &str, value: &str| match env.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value.to_owned(),
        None => env.push((name.to_owned(), value.to_owned())),
    };
    for variable in given.link_environment.iter().chain(&image.env) {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        set(name, value);
    }
    for change in &request.env {
        if let EnvChange::Set(name, value) = change {
            set(name, value);
        }
    }
    for change in &request.env {
        if let EnvChange::Unset(name) = change {
            env.retain(|(known, _)| known != name);
        }
    }
    env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// The five sets of a container's process: docker's, inheritable and ambient empty (security.md T13).
pub fn capability_sets(caps: CapSet) -> Capabilities {
    let names = caps.names();
    Capabilities {
        bounding: names.clone(),
        effective: names.clone(),
        permitted: names,
        ..Capabilities::default()
    }
}

/// The container's capabilities.
pub fn capabilities(request: &RunRequest) -> Result<CapSet, Error> {
    defaults::capabilities(&request.security)
}

fn mappings(userns: &UserNamespace) -> Vec<types::oci::IdMapping> {
    match userns {
        UserNamespace::Own { .. } => userns.mappings(),
        _ => Vec::new(),
    }
}
