//! Control groups: where a container's processes are counted, limited, frozen and killed.
//!
//! Version 1, version 2 and the hybrid of both stand behind one type. [`Hierarchy`] says what the machine has; [`plan`]
//! turns limits into directories and writes, purely; [`Plan::create`] makes them and gives a [`Cgroup`];
//! [`CgroupPaths`] lets another process open it again. Must not know containers, images, or who calls.
//!
//! Layout, with the parent `/berth`:
//!
//! ```text
//! /sys/fs/cgroup[/unified]/berth/<id>       the container, on version 2
//! /sys/fs/cgroup[/unified]/berth/keepers    berth's own processes, beyond the containers' limits
//! /sys/fs/cgroup/<controller>/berth/<id>    version 1, only for controllers that a limit needs
//! ```
//!
//! Invariants:
//!
//! 1. No process is ever in the parent itself: version 2 then couldn't hand controllers down.
//! 2. A limit that was asked for is in force before the container's first process is in the group, or there is an error
//!    that names its field.
//! 3. On version 2 nothing is migrated: processes are cloned into the group ([`Cgroup::v2_dir_fd`]).
//! 4. The mount options of the trees are never changed (`favordynmods` would act on the whole machine).
//!
//! - `hierarchy`: what the machine has
//! - `plan`: limits to writes, with `cpu`, `memory`, `block_io`
//! - `device_filter`: device rules to eBPF, or to version 1 lines
//! - `create`: a plan's effects
//! - `group`: a group that exists: processes, freezing, killing, removal
//! - `usage`: what it uses
//! - `error`: failures, hints

mod create;
mod device_filter;
mod error;
mod group;
mod hierarchy;
mod plan;
mod usage;

pub use create::keeper_dir;
pub use device_filter::{RULES_MAX as DEVICE_RULES_MAX, docker_default_device_rules, runtime_device_rules};
pub use error::Error;
pub use group::{Cgroup, CgroupPaths, join};
pub use hierarchy::{Hierarchy, Mode};
pub use plan::{Plan, plan, plan_everywhere};
pub use usage::{MemoryUsage, Usage};

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod tests;
