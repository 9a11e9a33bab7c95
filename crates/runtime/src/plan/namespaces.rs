//! Which namespaces are made, which joined, which left alone.

use crate::{Error, userns};
use linux::process::ns;
use std::path::PathBuf;
use types::oci::{IdMapping, Linux, NamespaceType};

/// What becomes of the user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserNamespace {
    /// A new one with these maps.
    New { uid: Vec<IdMapping>, gid: Vec<IdMapping> },
    /// One that exists.
    Joined,
    /// The caller's.
    Inherited,
}

/// One namespace to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Join {
    pub flag: u64,
    pub path: PathBuf,
}

/// The namespaces of one container.
#[derive(Debug, Clone)]
pub(crate) struct Namespaces {
    /// Made by clone3.
    pub clone_flags: u64,
    /// Whether the first process leaves the caller's cgroup namespace: after it has been put into its control group,
    /// because the namespace's root is where the process then is.
    pub new_cgroup: bool,
    /// Whether the first process makes its IPC namespace by itself, as root of its user namespace: whoever makes one owns
    /// the root of its message queues (mqueue_get_inode() in ipc/mqueue.c).
    pub new_ipc: bool,
    /// Joined before the clone, the user namespace last: its owner may enter the others, not the reverse.
    pub joins: Vec<Join>,
    /// Joined cgroup namespace: by the first process itself, for the same reason.
    pub join_cgroup: Option<PathBuf>,
    pub user: UserNamespace,
    /// Content of `timens_offsets`. The process leaves its time namespace by itself then: offsets can't be written any
    /// more once a process is in.
    pub time_offsets: Option<String>,
    /// Whether there is a mount namespace other than the caller's.
    pub own_mount: bool,
    /// Whether there is a new network namespace, whose loopback device must be brought up.
    pub new_network: bool,
}

fn flag(typ: NamespaceType) -> u64 {
    match typ {
        NamespaceType::Pid => ns::PID,
        NamespaceType::Network => ns::NET,
        NamespaceType::Mount => ns::MOUNT,
        NamespaceType::Ipc => ns::IPC,
        NamespaceType::Uts => ns::UTS,
        NamespaceType::User => ns::USER,
        NamespaceType::Cgroup => ns::CGROUP,
        NamespaceType::Time => ns::TIME,
    }
}

impl Namespaces {
    pub(crate) fn plan(linux: &Linux) -> Result<Namespaces, Error> {
        let mut seen = 0;
        let mut plan = Namespaces {
            clone_flags: 0,
            new_cgroup: false,
            new_ipc: false,
            joins: Vec::new(),
            join_cgroup: None,
            user: UserNamespace::Inherited,
            time_offsets: None,
            own_mount: false,
            new_network: false,
        };
        for (n, namespace) in linux.namespaces.iter().enumerate() {
            let field = format!("linux.namespaces[{n}]");
            let flag = flag(namespace.typ);
            if seen & flag != 0 {
                return Err(Error::field(field, format!("a second namespace of type {:?}", namespace.typ)));
            }
            seen |= flag;
            plan.own_mount |= namespace.typ == NamespaceType::Mount;
            match namespace.path.as_deref().filter(|path| !path.is_empty()) {
                Some(path) if !path.starts_with('/') => {
                    return Err(Error::field(
                        format!("{field}.path"),
                        format!("{path:?} is no absolute path"),
                    ));
                }
                Some(path) if namespace.typ == NamespaceType::Cgroup => plan.join_cgroup = Some(path.into()),
                Some(path) => plan.joins.push(Join { flag, path: path.into() }),
                None => match namespace.typ {
                    NamespaceType::Cgroup => plan.new_cgroup = true,
                    typ => {
                        plan.clone_flags |= flag;
                        plan.new_network |= typ == NamespaceType::Network;
                    }
                },
            }
        }
        plan.joins.sort_by_key(|join| join.flag == ns::USER);
        plan.user = user_namespace(linux, plan.clone_flags & ns::USER != 0, seen & ns::USER != 0)?;
        if plan.user != UserNamespace::Inherited && plan.clone_flags & ns::IPC != 0 {
            plan.clone_flags &= !ns::IPC;
            plan.new_ipc = true;
        }
        plan.plan_time(linux)?;
        Ok(plan)
    }

    fn plan_time(&mut self, linux: &Linux) -> Result<(), Error> {
        if linux.time_offsets.is_empty() {
            return Ok(());
        }
        if self.clone_flags & ns::TIME == 0 {
            return Err(Error::field("linux.timeOffsets", "needs a new time namespace in linux.namespaces"));
        }
        let mut lines = String::new();
        for (clock, offset) in &linux.time_offsets {
            let field = format!("linux.timeOffsets.{clock}");
            if !matches!(clock.as_str(), "monotonic" | "boottime") {
                return Err(Error::field(field, "only monotonic and boottime can be offset"));
            }
            if offset.nanosecs >= 1_000_000_000 {
                return Err(Error::field(field, "nanosecs must be below 1000000000"));
            }
            lines.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
        }
        self.clone_flags &= !ns::TIME;
        self.time_offsets = Some(lines);
        Ok(())
    }
}

fn user_namespace(linux: &Linux, new: bool, named: bool) -> Result<UserNamespace, Error> {
    let maps = [("linux.uidMappings", &linux.uid_mappings), ("linux.gidMappings", &linux.gid_mappings)];
    for (field, mappings) in maps {
        userns::check(field, mappings)?;
        match (new, mappings.is_empty()) {
            (true, true) => {
                return Err(Error::field(field, "is empty: a new user namespace needs a mapping"));
            }
            (false, false) => {
                return Err(Error::field(field, "needs a new user namespace in linux.namespaces"));
            }
            _ => {}
        }
    }
    Ok(match (new, named) {
        (true, _) => UserNamespace::New { uid: linux.uid_mappings.clone(), gid: linux.gid_mappings.clone() },
        (false, true) => UserNamespace::Joined,
        (false, false) => UserNamespace::Inherited,
    })
}
