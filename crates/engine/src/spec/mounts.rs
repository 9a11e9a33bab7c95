//! What is mounted into a container: docker's defaults, then what was asked for.

use super::Given;
use crate::config::UserNamespace;
use crate::request::{BindRecursion, IpcMode, MountKind, MountRequest, RunRequest, TmpfsOption};
use crate::{Error, binds, shm};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use types::oci::Mount;

/// Size of `/dev/shm` without `--shm-size`, as docker's.
const SHM_BYTES: u64 = 64 << 20;

/// All mounts, in the order in which they are made. The process runs as `process`, user and group.
pub fn plan(request: &RunRequest, given: &Given<'_>, process: (u32, u32)) -> Result<Vec<Mount>, Error> {
    let mut mounts = kernel_mounts(request);
    mounts.extend(ipc_mounts(request, given)?);
    mounts.extend(given.net_files.iter().map(|(target, source)| Mount {
        destination: target.clone(),
        typ: Some("bind".to_owned()),
        source: Some(source.to_string_lossy().into_owned()),
        options: ["bind", "rprivate", "nosuid", "nodev"].map(str::to_owned).to_vec(),
        ..Mount::default()
    }));
    // Whoever asks for a mount on one of the default places gets only that.
    mounts.retain(|mount| !given.mounts.iter().any(|own| own.target == Path::new(&mount.destination)));
    let mut own: Vec<&MountRequest> = given.mounts.iter().collect();
    own.sort_by_key(|mount| mount.target.components().count());
    for mount in own {
        mounts.push(plan_one(mount, &given.user_namespace, given.sources, process)?);
    }
    Ok(mounts)
}

fn mount(destination: &str, typ: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        typ: Some(typ.to_owned()),
        source: Some(typ.to_owned()),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
        ..Mount::default()
    }
}

fn kernel_mounts(request: &RunRequest) -> Vec<Mount> {
    let access = if request.security.privileged { "rw" } else { "ro" };
    vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", access]),
    ]
}

fn ipc_mounts(request: &RunRequest, given: &Given<'_>) -> Result<Vec<Mount>, Error> {
    let bytes = request.resources.shm_size_bytes.unwrap_or(SHM_BYTES);
    let bind = |destination: &str, source: String| Mount {
        destination: destination.to_owned(),
        typ: Some("bind".to_owned()),
        source: Some(source),
        options: ["rbind", "rprivate", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec(),
        ..Mount::default()
    };
    let own_shm = || {
        let size = format!("size={bytes}");
        mount(shm::TARGET, "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &size])
    };
    let mqueue = || mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
    Ok(match &request.ipc {
        IpcMode::Host => {
            let mut mounts = vec![bind(shm::TARGET, shm::TARGET.to_owned())];
            if Path::new("/dev/mqueue").exists() {
                mounts.push(bind("/dev/mqueue", "/dev/mqueue".to_owned()));
            }
            mounts
        }
        IpcMode::Container(name) => {
            let neighbour =
                given.neighbours.get(name).ok_or_else(|| Error::NoContainer { given: name.to_owned() })?;
            vec![bind(shm::TARGET, neighbour.shm.source(name)?), mqueue()]
        }
        IpcMode::None => vec![mqueue()],
        IpcMode::Path(_) => vec![own_shm(), mqueue()],
        IpcMode::Shareable => {
            vec![bind(shm::TARGET, shm::make(bytes, given.user_namespace.base())?), mqueue()]
        }
        IpcMode::Unset | IpcMode::Private => vec![own_shm(), mqueue()],
    })
}

/// One that was asked for. `sources` are the descriptors of volumes and images by target.
pub fn plan_one(
    request: &MountRequest,
    ids: &UserNamespace,
    sources: &BTreeMap<PathBuf, String>,
    process: (u32, u32),
) -> Result<Mount, Error> {
    let target =
        request.target.to_str().ok_or_else(|| Error::invalid("--mount", "the target is no UTF-8"))?;
    match &request.kind {
        MountKind::Tmpfs { size_bytes, mode, options } => {
            let mut words = vec!["nosuid".to_owned(), "nodev".to_owned(), "noexec".to_owned()];
            words.extend(size_bytes.map(|bytes| format!("size={bytes}")));
            words.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
            words.extend(options.iter().map(|option| match option {
                TmpfsOption::Flag(word) => word.clone(),
                TmpfsOption::Value(key, value) => format!("{key}={value}"),
            }));
            if request.read_only {
                words.push("ro".to_owned());
            }
            Ok(Mount { options: words, ..mount(target, "tmpfs", &[]) })
        }
        MountKind::Volume(_) => volume(request, target, ids, sources),
        // Its ids were mapped when it was made.
        MountKind::Image { .. } => held(request, target, ids, sources),
        MountKind::Bind { source, recursion, propagation, create_source, noidmap, relabel_shared } => {
            if relabel_shared.is_some() && Path::new("/sys/fs/selinux/enforce").exists() {
                return Err(Error::invalid("-v", "z and Z: relabelling for SELinux is not supported yet"));
            }
            let (pinned, stat) = find_source(source, *create_source)?;
            let mut words = vec![match recursion {
                BindRecursion::Disabled => "bind".to_owned(),
                _ => "rbind".to_owned(),
            }];
            words.push(propagation.word().to_owned());
            let user_ns = *ids != UserNamespace::Host;
            if user_ns {
                words.push("rnodev".to_owned());
            }
            if request.read_only {
                let all = matches!(recursion, BindRecursion::Enabled | BindRecursion::ReadOnly);
                words.push(if all { "rro" } else { "ro" }.to_owned());
            }
            let mut planned = Mount {
                destination: target.to_owned(),
                typ: Some("bind".to_owned()),
                source: Some(pinned),
                options: words,
                ..Mount::default()
            };
            if user_ns && !noidmap {
                let ids = ids.mappings();
                planned
                    .options
                    .push(if *recursion == BindRecursion::Disabled { "idmap" } else { "ridmap" }.to_owned());
                planned.uid_mappings = binds::id_map(process.0, stat.st_uid, &ids);
                planned.gid_mappings = binds::id_map(process.1, stat.st_gid, &ids);
            }
            Ok(planned)
        }
    }
}

/// A bind of what a descriptor holds open that this process made for it.
fn held(
    request: &MountRequest,
    target: &str,
    ids: &UserNamespace,
    sources: &BTreeMap<PathBuf, String>,
) -> Result<Mount, Error> {
    let source = sources.get(&request.target);
    let source = source.ok_or_else(|| Error::invalid("mount", format!("{target} has no source")))?;
    let mut options = vec!["rbind".to_owned(), "rprivate".to_owned()];
    if *ids != UserNamespace::Host {
        options.push("rnodev".to_owned());
    }
    if request.read_only {
        options.push("rro".to_owned());
    }
    Ok(Mount {
        destination: target.to_owned(),
        typ: Some("bind".to_owned()),
        source: Some(source.clone()),
        options,
        ..Mount::default()
    })
}

/// A volume, owned by the container's ids as they are on the disk: the same ones in each container that has it.
fn volume(
    request: &MountRequest,
    target: &str,
    ids: &UserNamespace,
    sources: &BTreeMap<PathBuf, String>,
) -> Result<Mount, Error> {
    let mut planned = held(request, target, ids, sources)?;
    if *ids != UserNamespace::Host {
        planned.options.push("ridmap".to_owned());
        planned.uid_mappings = ids.mappings();
        planned.gid_mappings = ids.mappings();
    }
    Ok(planned)
}

/// The source of a bind mount, pinned by a descriptor that stays open in this process, which is the one that starts the
/// container: whatever its name becomes meanwhile, what is mounted is what was looked at (security.md T16). The path of
/// the descriptor, and the source's attributes.
fn find_source(source: &Path, create: bool) -> Result<(String, rustix::fs::Stat), Error> {
    use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
    use std::os::fd::IntoRawFd;
    let shown = || source.display();
    let failed = |errno| Error::system("read", shown(), errno);
    let open = || openat(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let fd = match open() {
        Err(linux::Errno::NOENT) if create => {
            std::fs::create_dir_all(source).map_err(|error| Error::io("make", shown(), &error))?;
            open().map_err(failed)?
        }
        Err(linux::Errno::NOENT) => {
            return Err(Error::invalid("bind mount", format!("source {} does not exist", shown())));
        }
        other => other.map_err(failed)?,
    };
    let stat = fstat(&fd).map_err(failed)?;
    Ok((format!("/proc/self/fd/{}", fd.into_raw_fd()), stat))
}
