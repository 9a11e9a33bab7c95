//! `/sys/fs/cgroup` inside a container: version 2 as one file system; version 1 as a directory of its controllers, with
//! version 2 as `unified` on a hybrid host. Only trees on which the container has a group of its own are shown: on the
//! others its namespace's root is the caller's group.

use super::Inheritance;
use super::target::{self, Links, Make};
use crate::plan::MountPlan;
use crate::{Error, Steps};
use linux::Errno;
use linux::mount::{self, attr};
use rustix::fs::CWD;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

pub(super) fn mount(
    plan: &MountPlan,
    at: OwnedFd,
    inheritance: &Inheritance,
    steps: &mut Steps,
) -> Result<(), Error> {
    let set = plan.options.set | plan.options.recursive_set;
    let only_v2 = rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == CGROUP2_SUPER_MAGIC);
    if only_v2 {
        let fd = steps.run("fsopen, fsmount", "cgroup2", "show its control group", || v2(set))?;
        return steps.run("move_mount", &plan.target, "attach it", || mount::attach(fd.as_fd(), at.as_fd()));
    }
    let data = [("mode".to_owned(), "755".to_owned())];
    let writable = set & !attr::RDONLY;
    let dir = steps.run("fsopen, fsmount", "tmpfs", "make a place for control group trees", || {
        mount::detached("tmpfs", &data, writable)
    })?;
    steps.run("move_mount", &plan.target, "attach it", || mount::attach(dir.as_fd(), at.as_fd()))?;
    for (name, controllers) in trees(&inheritance.v1_controllers) {
        steps.run("fsopen, move_mount", &name, "show a version 1 control group", || {
            let place = target::ensure(dir.as_fd(), &name, Make::Directory, Links::Refused)?;
            let options: Vec<_> = controllers.iter().map(|c| (c.clone(), String::new())).collect();
            let fd = mount::detached("cgroup", &options, set)?;
            mount::attach(fd.as_fd(), place.as_fd())?;
            // Controllers mounted together are found by each one's name as well.
            for controller in controllers.iter().filter(|_| controllers.len() > 1) {
                rustix::fs::symlinkat(name.as_str(), &dir, controller.as_str())?;
            }
            Ok(())
        })?;
    }
    if inheritance.has_v2 {
        steps.run("fsopen, move_mount", "unified", "show its version 2 control group", || {
            let place = target::ensure(dir.as_fd(), "unified", Make::Directory, Links::Refused)?;
            mount::attach(v2(set)?.as_fd(), place.as_fd())
        })?;
    }
    if set & attr::RDONLY != 0 {
        steps.run("mount_setattr", &plan.target, "make it read-only", || {
            mount::set_attributes(dir.as_fd(), attr::RDONLY, 0, false)
        })?;
    }
    Ok(())
}

fn v2(set: u64) -> Result<OwnedFd, Errno> {
    match mount::detached("cgroup2", &[], set) {
        // In the host's cgroup namespace a user namespace may not mount it, only show it as it is.
        Err(Errno::PERM) => {
            let fd = mount::clone_tree(CWD, Path::new("/sys/fs/cgroup"), true)?;
            mount::set_attributes(fd.as_fd(), set, 0, true)?;
            Ok(fd)
        }
        other => other,
    }
}

/// The trees: directory name (`cpu,cpuacct`), and its controllers.
fn trees(controllers: &BTreeMap<String, String>) -> Vec<(String, Vec<String>)> {
    let mut by_dir: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (controller, dir) in controllers {
        by_dir.entry(dir).or_default().push(controller.clone());
    }
    by_dir.into_values().map(|names| (names.join(","), names)).collect()
}
