//! The container's file tree: the root, the mounts in their order, devices, masks; then `pivot_root`.

use super::target::{self, Links, Make};
use super::terminal::{Terminal, open_terminal};
use super::{Inheritance, cgroup_mount, copy_up, masks};
use crate::holder_mounts::DEV_LINKS;
use crate::mount_options::libc_ms;
use crate::plan::{MountKind, MountPlan, Plan};
use crate::{Error, Steps};
use linux::Errno;
use linux::mount::{self, attr};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Attaches the root to its mountpoint.
pub(super) fn attach_root(
    plan: &Plan,
    inheritance: &Inheritance,
    root: &OwnedFd,
    steps: &mut Steps,
) -> Result<(), Error> {
    if plan.namespaces.clone_flags & linux::process::ns::USER == 0 {
        // A mount namespace of another user namespace receives mounts but passes none on; one of the same must be told.
        let flag = match plan.root_propagation {
            Some((libc_ms::SHARED, _)) | None => libc_ms::SLAVE,
            Some((flag, _)) => flag,
        };
        steps.run("mount_setattr", "/", "keep its mounts from spreading to the host", || {
            let host = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            mount::set_propagation(host.as_fd(), flag, true)
        })?;
    }
    let mountpoint = &inheritance.mountpoint;
    steps.run("move_mount", mountpoint.display(), "attach the root file system", || {
        // The holder has left us the working directory there. A namespace that was joined has another.
        match plan.namespaces.clone_flags & linux::process::ns::MOUNT {
            0 => mount::attach_at(root.as_fd(), mountpoint),
            _ => mount::attach(root.as_fd(), CWD),
        }
    })
}

/// Makes the plan's file systems, each detached, in the plan's order: they belong to the process's namespaces, and wait for
/// no root.
pub(super) fn file_systems(plan: &Plan, steps: &mut Steps) -> Result<Vec<OwnedFd>, Error> {
    let mut made = Vec::new();
    for mount in &plan.mounts {
        if let MountKind::FileSystem { fstype, source } = &mount.kind {
            made.push(file_system(fstype, source.as_deref(), mount, plan, steps)?);
        }
    }
    Ok(made)
}

fn file_system(
    fstype: &str,
    source: Option<&str>,
    mount: &MountPlan,
    plan: &Plan,
    steps: &mut Steps,
) -> Result<OwnedFd, Error> {
    let mut data = mount.options.data.clone();
    if let Some(source) = source.filter(|s| !s.is_empty()) {
        data.insert(0, ("source".to_owned(), source.to_owned()));
    }
    let options = &mount.options;
    let object = format!("{fstype} for {}", mount.target);
    let made = steps.run("fsopen, fsmount", &object, "make a file system", || {
        mount::detached(fstype, &data, options.set | options.recursive_set)
    });
    match made {
        // A namespace that the user namespace doesn't own: only the host's own view can be shown.
        Err(Error::Step { errno: Errno::PERM, .. })
            if matches!(fstype, "proc" | "sysfs") && plan.has_user_namespace() =>
        {
            let path = if fstype == "proc" { "/proc" } else { "/sys" };
            steps.run("open_tree", path, "show the host's, whose namespace it shares", || {
                let fd = mount::clone_tree(CWD, path.as_ref(), true)?;
                mount::set_attributes(fd.as_fd(), options.set, 0, true)?;
                Ok(fd)
            })
        }
        Err(Error::Step { errno: Errno::INVAL, .. }) if mount::refused_option(fstype, &data).is_some() => {
            let (key, value) = mount::refused_option(fstype, &data).cloned().unwrap_or_default();
            let option = if value.is_empty() { key } else { format!("{key}={value}") };
            let field = format!("mounts: options of {}", mount.target);
            Err(Error::field(field, format!("{fstype} doesn't take {option:?}")))
        }
        other => other,
    }
}

/// Builds the tree on `root` with the holder's `made` mounts and its own `file_systems`, and makes it `/`. Returns the terminal, if the plan has one.
pub(super) fn build(
    plan: &Plan,
    inheritance: &Inheritance,
    root: OwnedFd,
    made: Vec<OwnedFd>,
    file_systems: Vec<OwnedFd>,
    steps: &mut Steps,
) -> Result<Option<Terminal>, Error> {
    let mut builder = Builder {
        plan,
        inheritance,
        root: root.as_fd(),
        proc: None,
        made: made.into_iter(),
        file_systems: file_systems.into_iter(),
        read_only_later: Vec::new(),
        steps,
    };
    builder.mount_all()?;
    builder.devices()?;
    builder.sysctls()?;
    let terminal = plan
        .process
        .terminal
        .then(|| open_terminal(root.as_fd(), &plan.process, true, builder.steps))
        .transpose()?;
    builder.seal()?;
    drop(builder);
    pivot(root, plan, steps)?;
    Ok(terminal)
}

struct Builder<'a> {
    plan: &'a Plan,
    inheritance: &'a Inheritance,
    root: BorrowedFd<'a>,
    /// The procfs of the new namespaces, as it was mounted: whatever lies on `/proc` later, the kernel's settings are
    /// written through this one (security.md T4).
    proc: Option<OwnedFd>,
    made: std::vec::IntoIter<OwnedFd>,
    /// Those of [`file_systems`].
    file_systems: std::vec::IntoIter<OwnedFd>,
    read_only_later: Vec<(OwnedFd, String)>,
    steps: &'a mut Steps,
}

impl Builder<'_> {
    fn mount_all(&mut self) -> Result<(), Error> {
        for mount in &self.plan.mounts {
            self.mount(mount)?;
        }
        Ok(())
    }

    fn mount(&mut self, mount: &MountPlan) -> Result<(), Error> {
        let target = mount.target.as_str();
        let fd = match &mount.kind {
            MountKind::Remount => return self.remount(mount),
            MountKind::Cgroup => {
                let at = self.target(target, Make::Directory, Links::Refused)?;
                return cgroup_mount::mount(mount, at, self.inheritance, self.steps);
            }
            MountKind::Bind { .. } | MountKind::Dev => {
                // One descriptor for each of these was made by `holder_mounts::make`, in the same order.
                let fd = self.made.next().ok_or_else(|| Error::field("mounts", "the holder made too few"))?;
                let make =
                    if target::is_directory(&fd).unwrap_or(true) { Make::Directory } else { Make::File };
                let at = self.target(target, make, Links::InRoot)?;
                self.attach(&fd, &at, target, "attach a mount made by the holder")?;
                fd
            }
            MountKind::FileSystem { fstype, .. } => {
                let kernel_fs = matches!(fstype.as_str(), "proc" | "sysfs");
                let links = if kernel_fs { Links::Refused } else { Links::InRoot };
                let at = self.target(target, Make::Directory, links)?;
                let missing = || Error::field("mounts", "too few file systems were made");
                let fd = self.file_systems.next().ok_or_else(missing)?;
                if mount.options.copy_up {
                    self.steps.run("copy", target, "copy what was there into the tmpfs", || {
                        copy_up::copy(at.as_fd(), fd.as_fd())
                    })?;
                }
                self.attach(&fd, &at, target, "attach a file system")?;
                if fstype == "proc" && target == "/proc" {
                    self.proc = fd.try_clone().ok();
                }
                if !mount.options.propagation.is_empty() {
                    self.steps.run("mount_setattr", target, "set its propagation", || {
                        mount.options.propagation.iter().try_for_each(|(flag, recursive)| {
                            mount::set_propagation(fd.as_fd(), *flag, *recursive)
                        })
                    })?;
                }
                fd
            }
        };
        if mount.readonly_later {
            self.read_only_later.push((fd, mount.target.clone()));
        }
        Ok(())
    }

    fn target(&mut self, target: &str, make: Make, links: Links) -> Result<OwnedFd, Error> {
        let root = self.root;
        self.steps.run("openat2", target, "find or make a mount's target", || {
            target::ensure(root, target, make, links)
        })
    }

    fn attach(&mut self, fd: &OwnedFd, at: &OwnedFd, target: &str, what: &'static str) -> Result<(), Error> {
        self.steps.run("move_mount", target, what, || mount::attach(fd.as_fd(), at.as_fd()))
    }

    fn remount(&mut self, mount: &MountPlan) -> Result<(), Error> {
        let options = &mount.options;
        let root = self.root;
        self.steps.run("mount_setattr", &mount.target, "change a mount", || {
            let fd = target::open(root, &mount.target, OFlags::PATH, Links::InRoot)?;
            if options.recursive_set | options.recursive_clear != 0 {
                mount::set_attributes(fd.as_fd(), options.recursive_set, options.recursive_clear, true)?;
            }
            mount::set_attributes(fd.as_fd(), options.set, options.clear, false)?;
            options
                .propagation
                .iter()
                .try_for_each(|(flag, recursive)| mount::set_propagation(fd.as_fd(), *flag, *recursive))
        })
    }

    fn devices(&mut self) -> Result<(), Error> {
        if !self.plan.fill_dev {
            return Ok(());
        }
        let dev_made = self.plan.mounts.iter().any(|mount| mount.kind == MountKind::Dev);
        let paths: Vec<String> = self.plan.loose_devices(dev_made).map(|node| node.path.clone()).collect();
        for path in paths {
            let fd =
                self.made.next().ok_or_else(|| Error::field("linux.devices", "the holder made too few"))?;
            let at = self.target(&path, Make::File, Links::Refused)?;
            self.attach(&fd, &at, &path, "attach a device node")?;
        }
        if !dev_made {
            let dev = self.target("/dev", Make::Directory, Links::Refused)?;
            for (to, name) in DEV_LINKS {
                match rustix::fs::symlinkat(to, &dev, name) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => {
                        return Err(Error::step("fill /dev", "symlinkat", format!("/dev/{name}"), errno));
                    }
                }
            }
        }
        Ok(())
    }

    fn sysctls(&mut self) -> Result<(), Error> {
        let plan = self.plan;
        if plan.sysctls.is_empty() {
            return Ok(());
        }
        let proc = match self.proc.take() {
            Some(proc) => proc,
            None => self.steps.run("fsopen, fsmount", "proc", "reach the kernel's settings", || {
                mount::detached("proc", &[], attr::NOSUID | attr::NODEV | attr::NOEXEC)
            })?,
        };
        for sysctl in &plan.sysctls {
            let object = format!("{} {:?}", sysctl.path, sysctl.value);
            self.steps.run("write", object, "set a kernel parameter", || {
                use rustix::fs::ResolveFlags as R;
                let resolve = R::BENEATH | R::NO_SYMLINKS | R::NO_MAGICLINKS | R::NO_XDEV;
                let path = format!("sys/{}", sysctl.path);
                let file = rustix::fs::openat2(
                    &proc,
                    path,
                    OFlags::WRONLY | OFlags::CLOEXEC,
                    Mode::empty(),
                    resolve,
                )?;
                rustix::io::write(&file, sysctl.value.as_bytes()).map(drop)
            })?;
        }
        Ok(())
    }

    /// What takes rights away: read-only paths, masks, the read-only root.
    fn seal(&mut self) -> Result<(), Error> {
        masks::read_only(self.root, &self.plan.readonly_paths, self.steps)?;
        masks::mask(self.root, &self.plan.masked_paths, self.steps)?;
        for (fd, target) in self.read_only_later.drain(..) {
            self.steps.run("mount_setattr", target, "make it read-only now that it's filled", || {
                mount::set_attributes(fd.as_fd(), attr::RDONLY, 0, false)
            })?;
        }
        super::finish::make_cwd(self.root, &self.plan.process, self.steps)?;
        if self.plan.readonly_root {
            let root = self.root;
            self.steps.run("mount_setattr", "/", "make the root read-only", || {
                mount::set_attributes(root, attr::RDONLY, 0, false)
            })?;
        }
        Ok(())
    }
}

/// Makes `root` the root of the mount namespace and lets go of the old one.
fn pivot(root: OwnedFd, plan: &Plan, steps: &mut Steps) -> Result<(), Error> {
    steps.run("pivot_root", ".", "make it /", || {
        rustix::process::fchdir(&root)?;
        drop(root);
        // The old root ends up on top of the new one, without a directory of its own. Source: pivot_root(2).
        rustix::process::pivot_root(".", ".")
    })?;
    steps.run("umount2", "the host's tree", "let go of the host", || {
        rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    })?;
    if let Some((flag, recursive)) = plan.root_propagation {
        steps.run("mount_setattr", "/", "set the root's propagation", || {
            let root = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            mount::set_propagation(root.as_fd(), flag, recursive)
        })?;
    }
    Ok(())
}
