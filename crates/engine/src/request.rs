//! What a caller asks of the engine: one plain struct for each command.
//!
//! Pure data, without defaults that need the machine: the command line and the API fill it in, the engine decides.
//! Sizes are bytes, durations are [`std::time::Duration`] or seconds where the name says so.
//!
//! - [`run`]: a new container
//! - [`mount`]: what is mounted into it
//! - [`network`]: which networks it's on; commands on networks
//! - [`security`]: what it may do
//! - [`resources`]: how much it may use
//! - [`act`]: commands on existing containers
//! - [`health`]: how to tell whether its program works
//! - [`copy`]: files between this host and a container
//! - [`pieces`]: single namespaces, without a container: unshare, enter, tree

pub mod act;
pub mod copy;
pub mod health;
pub mod mount;
pub mod network;
pub mod pieces;
pub mod resources;
pub mod run;
pub mod security;

pub use act::{
    AttachRequest, DebugRequest, ExecRequest, ImportFrom, ImportRequest, ImportSource, InspectRequest,
    KillRequest, LogsRequest, PsFilter, PsRequest, RmRequest, StartRequest, StatsRequest, StopRequest,
    UpdateRequest, VolumeCreateRequest, VolumeFilter, VolumePruneRequest,
};
pub use copy::{CopyEnd, CopyRequest};
pub use health::{Endpoint, HealthRequest, HealthTest, OnUnhealthy};
pub use mount::{BindRecursion, MountKind, MountRequest, Propagation, TmpfsOption, VolumeRequest};
pub use network::{
    EndpointRequest, HostAddress, NetRequest, NetworkConnectRequest, NetworkCreateRequest, NetworkFilter,
    NetworkPruneRequest, PoolRequest, Protocol, PublishRequest,
};
pub use pieces::{EnterRequest, EnterTarget, MapOne, MapRange, TreeRequest, UnshareRequest};
pub use resources::{DeviceRate, DeviceRequest, DeviceWeight, Resources, UlimitRequest};
pub use run::{
    EnvChange, IpcMode, Isolation, LogRequest, NamespaceMode, NetworkMode, RestartPolicy, RunRequest, Source,
    StdStream, TimeOffsets, VolumesFrom,
};
pub use security::{AppArmor, Seccomp, Security};
pub use types::oci::{NamespaceType, TimeOffset};
