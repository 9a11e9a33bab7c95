//! The state document.

use super::*;

/// Life cycle of an OCI container. Source: runtime-spec runtime.md, State.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being created.
    Creating,
    /// Created; the user's program hasn't started.
    Created,
    /// The user's program runs.
    Running,
    /// Frozen (runc's extension).
    Paused,
    /// The process has exited.
    Stopped,
}

/// What `state` prints. Source: runtime-spec runtime.md, State.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the specification.
    pub oci_version: String,
    /// Container id, unique on the host.
    pub id: String,
    /// Status.
    pub status: Status,
    /// Process id as seen from the host; absent or 0 once stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Annotations of the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
