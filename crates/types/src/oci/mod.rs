//! Documents of the OCI runtime specification 1.3 (`config.json`, `state.json`).
//!
//! Unknown properties are ignored, as the specification asks of readers (config.md, Extensibility). Properties that
//! the specification knows and berth doesn't support are kept as raw JSON, so that `runtime` can refuse them by name.

mod linux;
mod process;
mod state;

pub use linux::*;
pub use process::*;
pub use state::*;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The newest version of the runtime specification that berth implements.
pub const OCI_VERSION: &str = "1.3.0";

/// A container's configuration: `config.json` of a bundle. Source: runtime-spec config.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Version of the specification that the document follows, as `1.3.0`.
    pub oci_version: String,
    /// Root file system of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Mounts in addition to the root, in the order in which they are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// The process to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Host name in the container's UTS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name in the container's UTS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Hooks; not supported yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<serde_json::Value>,
    /// Arbitrary metadata; never a source of policy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Linux-specific configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
    /// Configuration of another platform; refused by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solaris: Option<serde_json::Value>,
    /// Configuration of another platform; refused by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<serde_json::Value>,
    /// Configuration of a virtual machine; refused by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<serde_json::Value>,
    /// Configuration of another platform; refused by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zos: Option<serde_json::Value>,
    /// Configuration of another platform; refused by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freebsd: Option<serde_json::Value>,
}

/// The container's root file system. Source: runtime-spec config.md, Root.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// Path of the root file system, absolute or relative to the bundle.
    pub path: String,
    /// Whether the root is read-only inside the container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
}

/// One mount. Source: runtime-spec config.md, Mounts, and config-linux.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Absolute path in the container.
    pub destination: String,
    /// File system type, as `proc`, `tmpfs`, `bind`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub typ: Option<String>,
    /// A device, file or directory name, or a word of the file system's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Options of fstab style.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// User id mapping of an `idmap` mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group id mapping of an `idmap` mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}
