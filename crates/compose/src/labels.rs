//! The labels by which a container, network or volume is known to be a project's. Source: docker compose's pkg/api/labels.go.

use std::collections::BTreeMap;

use crate::model::{Project, Service};

/// The project.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service.
pub const SERVICE: &str = "com.docker.compose.service";
/// The hash of what makes it another one.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Which one of its service's a container is.
pub const NUMBER: &str = "com.docker.compose.container-number";
/// The key of a volume.
pub const VOLUME: &str = "com.docker.compose.volume";
/// The key of a network.
pub const NETWORK: &str = "com.docker.compose.network";
/// The project's directory.
pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The project's files.
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// The project's files of variables, if any were named.
pub const ENVIRONMENT_FILES: &str = "com.docker.compose.project.environment_file";
/// Whether `run` made it: `True` or `False`.
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
/// What a container depends on: `service:condition:restart`, joined by commas.
pub const DEPENDENCIES: &str = "com.docker.compose.depends_on";
/// The id of a container's image.
pub const IMAGE: &str = "com.docker.compose.image";
/// The container that this one was made in the place of.
pub const REPLACE: &str = "com.docker.compose.replace";
/// The version of compose.
pub const VERSION: &str = "com.docker.compose.version";

/// The version that other tools take us for.
pub const COMPATIBLE_VERSION: &str = "2.40.3";

impl Project {
    /// Labels of a service's container.
    pub fn container_labels(
        &self,
        name: &str,
        service: &Service,
        number: u32,
        one_off: bool,
    ) -> BTreeMap<String, String> {
        let dependencies = service
            .depends_on
            .iter()
            .map(|(other, how)| format!("{other}:{}:{}", how.condition, how.restart));
        let mut labels = service.labels.0.clone();
        let own = [
            (PROJECT, self.name.clone()),
            (SERVICE, name.to_owned()),
            (VERSION, COMPATIBLE_VERSION.to_owned()),
            (WORKING_DIR, self.working_dir.clone()),
            (CONFIG_FILES, self.files.join(",")),
            (ONE_OFF, if one_off { "True" } else { "False" }.to_owned()),
            (NUMBER, number.to_string()),
            (CONFIG_HASH, service.hash()),
            (DEPENDENCIES, dependencies.collect::<Vec<_>>().join(",")),
        ];
        labels.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
        if !self.env_files.is_empty() {
            labels.insert(ENVIRONMENT_FILES.to_owned(), self.env_files.join(","));
        }
        labels
    }

    /// Labels of a network.
    pub fn network_labels(&self, key: &str) -> BTreeMap<String, String> {
        let network = self.networks.get(key).cloned().unwrap_or_default();
        self.resource_labels(NETWORK, key, network.hash(), network.labels.0)
    }

    /// Labels of a volume.
    pub fn volume_labels(&self, key: &str) -> BTreeMap<String, String> {
        let volume = self.volumes.get(key).cloned().unwrap_or_default();
        self.resource_labels(VOLUME, key, volume.hash(), volume.labels.0)
    }

    fn resource_labels(
        &self,
        kind: &str,
        key: &str,
        hash: String,
        mut labels: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let own = [
            (PROJECT, self.name.clone()),
            (kind, key.to_owned()),
            (VERSION, COMPATIBLE_VERSION.to_owned()),
            (CONFIG_HASH, hash),
        ];
        labels.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
        labels
    }
}
