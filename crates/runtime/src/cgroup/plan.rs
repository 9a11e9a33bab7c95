//! From the limits of config.json to directories and writes. Pure: nothing here touches the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use linux::bpf::BpfInsn;
use types::oci::Resources;

use super::device_filter;
use super::error::Error;
use super::hierarchy::{GroupPath, Hierarchy, Mode, Tree};

mod block_io;
mod cpu;
mod memory;

#[cfg(test)]
pub(super) use block_io::io_weight_from_blkio;
#[cfg(test)]
pub(super) use cpu::weight_from_shares;

/// What is to be made for one container: directories, and writes to their files in order. Made by [`plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub(super) v2: Option<V2Group>,
    /// By controller. Controllers that are mounted together share a directory.
    pub(super) v1: BTreeMap<String, V1Group>,
    pub(super) writes: Vec<Write>,
    pub(super) checks: Vec<UsageCheck>,
    pub(super) devices: Devices,
}

/// The group on the version 2 tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct V2Group {
    pub mount: PathBuf,
    pub dir: PathBuf,
    /// Controllers that a limit needs, with the field that needs them.
    pub enable: BTreeMap<String, String>,
    /// Controllers wanted for accounting only: nothing fails without them.
    pub accounting: BTreeSet<String>,
}

/// The group on one version 1 tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct V1Group {
    pub mount: PathBuf,
    pub dir: PathBuf,
}

/// One value to write.
///
/// Some values are valid only before, some only after another one (a memory limit and the limit of memory and swap,
/// whichever way both move), so one that is refused with EINVAL is tried once more behind the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    /// Place in config.json.
    pub field: String,
    pub tree: Tree,
    /// File and value; the first file that exists is taken.
    pub choices: Vec<(String, String)>,
    /// Whether a kernel without any of the files is fine, because the value asks for what it does anyway.
    pub may_lack: bool,
}

/// `checkBeforeUpdate`: the present use must not be above the new limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UsageCheck {
    pub field: String,
    pub tree: Tree,
    /// File that holds the present use.
    pub file: &'static str,
    /// In bytes.
    pub limit: u64,
}

/// How device rules are enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Devices {
    /// No rules, or everything is allowed.
    Unrestricted,
    /// A program on the version 2 group; where the kernel can't load it, the lines of version 1, if they can say the
    /// same.
    Program { insns: Vec<BpfInsn>, fallback: Option<(V1Group, Vec<Write>)> },
    /// Plain writes, which are among the others.
    V1,
}

/// Plans the group `path` with `resources`.
///
/// `path` is absolute (below each mount point) or relative (below the caller's own group, on version 2 below that one's
/// parent), as in runc's cgroupfs driver. On a machine with version 2, the version 2 group is always planned: it is the
/// one that `CLONE_INTO_CGROUP`, kill and freeze work on. On version 1, a controller is joined only where a limit needs
/// it, because joining costs up to 10 ms; without version 2 also the freezer.
///
/// Device rules: an empty list means no device control. Behind a list that isn't empty come
/// [`runtime_device_rules`](super::runtime_device_rules).
///
/// Errors: by field, [`Error::Unsupported`], [`Error::NoController`], [`Error::Invalid`]; [`Error::BadPath`].
/// Source: config-linux.md, Control groups.
pub fn plan(resources: &Resources, path: &str, hierarchy: &Hierarchy) -> Result<Plan, Error> {
    refuse_unsupported(resources)?;
    let path = GroupPath::parse(path)?;
    let mut builder = Builder::new(hierarchy, path)?;
    if let Some(cpu) = &resources.cpu {
        cpu::plan(cpu, &mut builder)?;
    }
    if let Some(memory) = &resources.memory {
        memory::plan(memory, &mut builder)?;
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        let field = "linux.resources.pids.limit";
        let value = match limit {
            -1 | 0 => "max".to_owned(),
            1.. => limit.to_string(),
            _ => return Err(invalid(field, limit, "must be -1 (unlimited) or a number of tasks")),
        };
        let tree = builder.need(field, "pids")?;
        builder.write(field, &tree, "pids.max", value);
    }
    if let Some(block_io) = &resources.block_io {
        block_io::plan(block_io, &mut builder)?;
    }
    plan_unified(&resources.unified, &mut builder)?;
    plan_devices(resources, &mut builder)?;
    builder.finish()
}

/// As [`plan`], but the group is on every version 1 tree that is mounted: for one that shall be under the limits of the
/// groups above it.
pub fn plan_everywhere(resources: &Resources, path: &str, hierarchy: &Hierarchy) -> Result<Plan, Error> {
    let mut plan = plan(resources, path, hierarchy)?;
    let group = GroupPath::parse(path)?;
    for (controller, mount) in hierarchy.v1_mountpoints().filter(|(name, _)| !name.starts_with("name=")) {
        let tree = Tree::V1(controller.to_owned());
        let dir = hierarchy.place(&tree, &group)?;
        plan.v1.insert(controller.to_owned(), V1Group { mount: mount.to_owned(), dir });
    }
    Ok(plan)
}

fn refuse_unsupported(resources: &Resources) -> Result<(), Error> {
    let memory = resources.memory.as_ref();
    let fields = [
        ("linux.resources.hugepageLimits", resources.hugepage_limits.is_some()),
        ("linux.resources.network", resources.network.is_some()),
        ("linux.resources.rdma", resources.rdma.is_some()),
        ("linux.resources.memory.kernel", memory.is_some_and(|memory| memory.kernel.is_some())),
        ("linux.resources.memory.kernelTCP", memory.is_some_and(|memory| memory.kernel_tcp.is_some())),
    ];
    match fields.iter().find(|(_, present)| *present) {
        Some((field, _)) => Err(unsupported(field, "berth doesn't support this limit; remove it")),
        None => Ok(()),
    }
}

/// Files of the core that are no limits, but move processes or change the tree.
const UNIFIED_REFUSED: [&str; 5] =
    ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "cgroup.type", "cgroup.kill"];

fn plan_unified(unified: &BTreeMap<String, String>, builder: &mut Builder<'_>) -> Result<(), Error> {
    for (file, value) in unified {
        let field = format!("linux.resources.unified[{file:?}]");
        let Some((controller, rest)) = file.split_once('.') else {
            return Err(invalid(&field, format!("{file:?}"), "must be a file name, as memory.high"));
        };
        let plain =
            |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if controller.is_empty() || rest.is_empty() || !plain(file) {
            return Err(invalid(
                &field,
                format!("{file:?}"),
                "must be a file name without a slash, as memory.high",
            ));
        }
        if UNIFIED_REFUSED.contains(&file.as_str()) {
            return Err(unsupported(&field, "this file sets no limit, and berth writes it itself"));
        }
        if builder.hierarchy.v2_mountpoint().is_none() {
            return Err(unsupported(&field, "this machine has cgroup v1 only, and unified is for cgroup v2"));
        }
        if controller != "cgroup" {
            match builder.hierarchy.locate(controller) {
                Some(Tree::V2) => builder.enable(&field, controller),
                Some(Tree::V1(_)) => {
                    return Err(unsupported(
                        &field,
                        &format!(
                            "the {controller} controller is on cgroup v1 here, and unified is for cgroup v2"
                        ),
                    ));
                }
                None => return Err(builder.no_controller(&field, controller)),
            }
        }
        builder.write(&field, &Tree::V2, file, value.clone());
    }
    Ok(())
}

fn plan_devices(resources: &Resources, builder: &mut Builder<'_>) -> Result<(), Error> {
    if resources.devices.is_empty() {
        return Ok(());
    }
    let mut parsed = device_filter::parse_rules(&resources.devices)?;
    for rule in device_filter::parse_rules(&device_filter::runtime_device_rules())? {
        parsed.retain(|earlier| *earlier != rule);
        parsed.push(rule);
    }
    if device_filter::allows_everything(&parsed) {
        return Ok(());
    }
    let field = "linux.resources.devices";
    let v1 = builder.hierarchy.locate("devices");
    let writes_of = |tree: &Tree| -> Result<Vec<Write>, Error> {
        let lines = device_filter::v1_lines(&parsed)?.into_iter();
        Ok(lines.map(|(file, line)| Write::new(field, tree, file, line)).collect())
    };
    if builder.hierarchy.v2_mountpoint().is_some() {
        let fallback = match &v1 {
            Some(tree) => match writes_of(tree) {
                Ok(writes) => Some((builder.v1_group(tree)?, writes)),
                Err(_) => None,
            },
            None => None,
        };
        builder.devices = Devices::Program { insns: device_filter::program(&parsed), fallback };
        return Ok(());
    }
    let tree = builder.need(field, "devices")?;
    let writes = writes_of(&tree)?;
    builder.writes.extend(writes);
    builder.devices = Devices::V1;
    Ok(())
}

impl Write {
    pub(super) fn new(field: &str, tree: &Tree, file: &str, value: String) -> Self {
        Write {
            field: field.to_owned(),
            tree: tree.clone(),
            choices: vec![(file.to_owned(), value)],
            may_lack: false,
        }
    }
}

/// A plan in the making.
struct Builder<'a> {
    hierarchy: &'a Hierarchy,
    path: GroupPath,
    v2: Option<V2Group>,
    v1: BTreeMap<String, V1Group>,
    writes: Vec<Write>,
    checks: Vec<UsageCheck>,
    devices: Devices,
}

impl<'a> Builder<'a> {
    fn new(hierarchy: &'a Hierarchy, path: GroupPath) -> Result<Self, Error> {
        let v2 = match hierarchy.v2_mountpoint() {
            Some(mount) => Some(V2Group {
                mount: mount.to_owned(),
                dir: hierarchy.place(&Tree::V2, &path)?,
                enable: BTreeMap::new(),
                accounting: BTreeSet::new(),
            }),
            None => None,
        };
        Ok(Builder {
            hierarchy,
            path,
            v2,
            v1: BTreeMap::new(),
            writes: Vec::new(),
            checks: Vec::new(),
            devices: Devices::Unrestricted,
        })
    }

    /// Joins the group to a controller, because `field` needs it, and says on which tree it is.
    fn need(&mut self, field: &str, controller: &str) -> Result<Tree, Error> {
        // What version 1 calls blkio is io in version 2.
        let v2_name = if controller == "blkio" { "io" } else { controller };
        let tree = self.hierarchy.locate(controller).or_else(|| self.hierarchy.locate(v2_name));
        match tree.ok_or_else(|| self.no_controller(field, v2_name))? {
            Tree::V2 => {
                self.enable(field, v2_name);
                Ok(Tree::V2)
            }
            tree @ Tree::V1(_) => {
                let group = self.v1_group(&tree)?;
                self.v1.insert(controller.to_owned(), group);
                Ok(tree)
            }
        }
    }

    /// As [`Self::need`], for a field that only version 1 has.
    fn need_v1(&mut self, field: &str, controller: &str) -> Result<Tree, Error> {
        match self.need(field, controller)? {
            Tree::V2 => Err(unsupported(field, "cgroup v2 has no such setting; remove it")),
            tree @ Tree::V1(_) => Ok(tree),
        }
    }

    fn enable(&mut self, field: &str, controller: &str) {
        if let Some(v2) = &mut self.v2 {
            v2.enable.entry(controller.to_owned()).or_insert_with(|| field.to_owned());
        }
    }

    fn v1_group(&self, tree: &Tree) -> Result<V1Group, Error> {
        let mount = self.hierarchy.mount(tree).map(|mount| mount.point.clone()).unwrap_or_default();
        Ok(V1Group { mount, dir: self.hierarchy.place(tree, &self.path)? })
    }

    fn no_controller(&self, field: &str, controller: &str) -> Error {
        Error::NoController {
            field: field.to_owned(),
            controller: controller.to_owned(),
            mode: self.hierarchy.mode().name(),
        }
    }

    fn write(&mut self, field: &str, tree: &Tree, file: &str, value: impl ToString) {
        self.writes.push(Write::new(field, tree, file, value.to_string()));
    }

    /// A write to the first of several files that the kernel has.
    fn write_first(&mut self, field: &str, tree: &Tree, choices: [(&str, String); 2]) {
        let choices = choices.map(|(file, value)| (file.to_owned(), value)).to_vec();
        self.writes.push(Write { field: field.to_owned(), tree: tree.clone(), choices, may_lack: false });
    }

    fn finish(mut self) -> Result<Plan, Error> {
        if let Some(v2) = &mut self.v2
            && self.hierarchy.mode() == Mode::V2
        {
            let offered = ["cpu", "io", "memory", "pids"].into_iter();
            let offered = offered.filter(|name| self.hierarchy.locate(name) == Some(Tree::V2));
            v2.accounting = offered.map(str::to_owned).filter(|name| !v2.enable.contains_key(name)).collect();
        }
        if self.v2.is_none() {
            // Something must tell which processes the container has, and stop them all at once.
            let tracker = Tree::V1("freezer".to_owned());
            if self.hierarchy.mount(&tracker).is_some() {
                let group = self.v1_group(&tracker)?;
                self.v1.insert("freezer".to_owned(), group);
            } else if self.v1.is_empty() {
                return Err(self.no_controller("linux.cgroupsPath", "freezer"));
            }
        }
        Ok(Plan { v2: self.v2, v1: self.v1, writes: self.writes, checks: self.checks, devices: self.devices })
    }
}

fn invalid(field: &str, value: impl ToString, why: &str) -> Error {
    Error::Invalid { field: field.to_owned(), value: value.to_string(), why: why.to_owned() }
}

fn unsupported(field: &str, why: &str) -> Error {
    Error::Unsupported { field: field.to_owned(), why: why.to_owned() }
}
