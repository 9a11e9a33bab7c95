//! What each entry of `mounts` becomes.

use crate::mount_options::MountOptions;
use crate::plan::{Namespaces, UserNamespace};
use crate::{Error, userns};
use linux::mount::attr;
use std::path::PathBuf;
use types::oci::{IdMapping, Mount};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountPlan {
    /// Where, absolute in the container.
    pub target: String,
    pub kind: MountKind,
    pub options: MountOptions,
    /// Made writable, and read-only only once everything below it is in place.
    pub readonly_later: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// A file system, made by the first process in its own namespaces.
    FileSystem { fstype: String, source: Option<String> },
    /// `/dev`: a tmpfs made, with its nodes, by the holder, who may make device nodes.
    Dev,
    /// A detached copy of a tree of the host, made by the holder.
    Bind { source: PathBuf, recursive: bool, idmap: Option<IdmapPlan> },
    /// The control group file systems of version 1, version 2 or both.
    Cgroup,
    /// New attributes for a mount that exists.
    Remount,
}

/// How a bind mount maps ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdmapPlan {
    /// Own maps; `None` means those of the container.
    pub maps: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
    /// For the whole tree.
    pub recursive: bool,
}

pub(super) fn plan(
    mounts: &[Mount],
    namespaces: &Namespaces,
    label: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<Vec<MountPlan>, Error> {
    mounts
        .iter()
        .enumerate()
        .map(|(n, mount)| {
            let field = format!("mounts[{n}]");
            plan_one(&field, mount, namespaces, label, warnings)
        })
        .collect()
}

fn plan_one(
    field: &str,
    mount: &Mount,
    namespaces: &Namespaces,
    label: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<MountPlan, Error> {
    if mount.destination.is_empty() || mount.destination.contains('\0') {
        return Err(Error::field(format!("{field}.destination"), "is empty or holds a NUL byte"));
    }
    let mut target = mount.destination.clone();
    if !target.starts_with('/') {
        warnings.push(format!("{field}.destination {target:?} is relative; taken from the root"));
        target.insert(0, '/');
    }
    let mut options = MountOptions::parse(&mount.options)
        .map_err(|why| Error::field(format!("{field}.options ({})", mount.destination), why))?;
    let fstype = mount.typ.as_deref().unwrap_or_default();
    let bind = options.bind.or((fstype == "bind").then_some(false));
    let idmap = plan_idmap(field, mount, &options, namespaces, bind.is_some())?;
    let kind = if options.remount {
        MountKind::Remount
    } else if let Some(recursive) = bind {
        let source = mount.source.as_deref().filter(|s| !s.is_empty() && !s.contains('\0'));
        let source =
            source.ok_or_else(|| Error::field(format!("{field}.source"), "a bind mount needs one"))?;
        if let Some((key, _)) = options.data.first() {
            return Err(Error::field(
                format!("{field}.options ({})", mount.destination),
                format!("{key:?} is no option of a bind mount"),
            ));
        }
        MountKind::Bind { source: source.into(), recursive, idmap }
    } else {
        match fstype {
            "" => {
                return Err(Error::field(format!("{field}.type"), "is missing, and there is no option bind"));
            }
            "cgroup" | "cgroup2" => MountKind::Cgroup,
            _ => MountKind::FileSystem { fstype: fstype.to_owned(), source: mount.source.clone() },
        }
    };
    let tmpfs = fstype == "tmpfs" && matches!(kind, MountKind::FileSystem { .. });
    if options.copy_up && !tmpfs {
        return Err(Error::field(format!("{field}.options"), "tmpcopyup is for tmpfs only"));
    }
    if let (Some(label), true) = (label.filter(|l| !l.is_empty()), tmpfs || fstype == "mqueue") {
        options.data.push(("context".to_owned(), label.to_owned()));
    }
    let readonly_later = tmpfs && options.set & attr::RDONLY != 0;
    if readonly_later {
        options.set &= !attr::RDONLY;
    }
    Ok(MountPlan { target, kind, options, readonly_later })
}

fn plan_idmap(
    field: &str,
    mount: &Mount,
    options: &MountOptions,
    namespaces: &Namespaces,
    bind: bool,
) -> Result<Option<IdmapPlan>, Error> {
    let own = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if !own && options.idmap.is_none() {
        return Ok(None);
    }
    if !bind {
        return Err(Error::field(field, "ids can be mapped on bind mounts only"));
    }
    let maps = if own {
        for (name, mappings) in [("uidMappings", &mount.uid_mappings), ("gidMappings", &mount.gid_mappings)] {
            if mappings.is_empty() {
                return Err(Error::field(format!("{field}.{name}"), "is empty while the other one isn't"));
            }
            userns::check(&format!("{field}.{name}"), mappings)?;
        }
        Some((mount.uid_mappings.clone(), mount.gid_mappings.clone()))
    } else if namespaces.user == UserNamespace::Inherited {
        return Err(Error::field(
            field,
            "idmap needs mappings of its own, or a user namespace in linux.namespaces",
        ));
    } else {
        None
    };
    Ok(Some(IdmapPlan { maps, recursive: options.idmap == Some(true) }))
}
