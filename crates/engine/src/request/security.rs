//! What a container may do.

use serde::{Deserialize, Serialize};

/// System call filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile in docker's JSON.
    Profile {
        /// Where it was read, for messages.
        path: String,
        /// The document.
        json: String,
    },
}

/// AppArmor confinement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppArmor {
    /// The engine's default where the host has AppArmor.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A loaded profile.
    Profile(String),
}

/// What a container may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// All capabilities and devices, no filter, nothing masked.
    pub privileged: bool,
    /// Capabilities added: `ALL`, or bare upper-case names without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities dropped, spelled likewise.
    pub cap_drop: Vec<String>,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Whether execve(2) may raise no privileges.
    pub no_new_privileges: bool,
    /// AppArmor confinement.
    pub apparmor: AppArmor,
    /// SELinux: `disable`, `nested`, or `user:…`, `role:…`, `type:…`, `level:…`, `filetype:…`, in order.
    pub label: Vec<String>,
    /// Further masked paths, absolute.
    pub mask: Vec<String>,
    /// Paths of the default masks and read-only paths that stay open: absolute, or `ALL`.
    pub unmask: Vec<String>,
    /// Whether nothing of `/proc` and `/sys` is masked or read-only (`systempaths=unconfined`).
    pub systempaths_unconfined: bool,
}
