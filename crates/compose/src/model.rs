//! The model: what a project is once all files are merged. Attributes are in the order in which `config` prints them.
//!
//! Source: compose specification; compose-go's package types for the order and the forms of values.

mod resources;
mod service;

use std::collections::BTreeMap;

pub use crate::field::{
    Bytes, Command, DeviceCount, Duration, Extensions, HealthTest, Hosts, Mode, Pairs, Variables,
};
pub use resources::{Config, Ipam, Model, Network, Pool, Secret, Volume};
pub use service::{
    BlkioConfig, Build, BuildSsh, CredentialSpec, Dependency, Deploy, Develop, DeviceMapping, DeviceRequest,
    DiscreteResource, EnvFile, Extends, FileReference, GenericResource, HealthCheck, Hook, Logging, Mount,
    MountBind, MountImage, MountTmpfs, MountVolume, Placement, Port, Preference, Provider, RateDevice,
    Resource, Resources, RestartPolicy, Service, ServiceModel, ServiceNetwork, Ulimit, UpdateConfig,
    WatchTrigger, WeightDevice,
};

use crate::field::{Decoder, Field};
use crate::node::Node;
use crate::out::{Form, Out};

/// A project: all that its files say, in one form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// The directory that relative paths are of, absolute.
    pub working_dir: String,
    /// The files it was read from, absolute.
    pub files: Vec<String>,
    /// Files of variables that were named on the command line.
    pub env_files: Vec<String>,
    /// The variables that interpolation saw.
    pub environment: BTreeMap<String, String>,
    /// The profiles that are active.
    pub profiles: Vec<String>,
    /// Services that are enabled, by name.
    pub services: BTreeMap<String, Service>,
    /// Services that no active profile enables, or that weren't selected.
    pub disabled: BTreeMap<String, Service>,
    /// Networks by key.
    pub networks: BTreeMap<String, Network>,
    /// Volumes by key.
    pub volumes: BTreeMap<String, Volume>,
    /// Secrets by key.
    pub secrets: BTreeMap<String, Secret>,
    /// Configs by key.
    pub configs: BTreeMap<String, Config>,
    /// Language models by key, which are refused when it comes to starting.
    pub models: BTreeMap<String, Model>,
    /// Extensions of the file as a whole.
    pub extensions: Extensions,
}

impl Project {
    /// Reads a normalized file.
    pub fn decode(file: &Node, decoder: &mut Decoder) -> Project {
        fn section<T: Field>(file: &Node, key: &str, decoder: &mut Decoder) -> BTreeMap<String, T> {
            let Some(node) = file.get(key) else { return BTreeMap::new() };
            decoder.at(key, |decoder| Field::decode(node, decoder))
        }
        Project {
            services: section(file, "services", decoder),
            networks: section(file, "networks", decoder),
            volumes: section(file, "volumes", decoder),
            secrets: section(file, "secrets", decoder),
            configs: section(file, "configs", decoder),
            models: section(file, "models", decoder),
            extensions: Extensions::of(file),
            ..Project::default()
        }
    }

    /// The whole project as `config` prints it.
    pub fn out(&self, form: Form) -> Out {
        let mut entries = Vec::new();
        if !self.name.is_empty() {
            entries.push(("name".to_owned(), Out::Text(self.name.clone())));
        }
        entries.push(("services".to_owned(), self.services.out(form)));
        let sections = [
            ("networks", self.networks.out(form), self.networks.is_empty()),
            ("volumes", self.volumes.out(form), self.volumes.is_empty()),
            ("secrets", self.secrets.out(form), self.secrets.is_empty()),
            ("configs", self.configs.out(form), self.configs.is_empty()),
            // compose's JSON leaves models out.
            ("models", self.models.out(form), self.models.is_empty() || form == Form::Json),
        ];
        entries.extend(
            sections
                .into_iter()
                .filter(|(.., is_empty)| !is_empty)
                .map(|(key, out, _)| (key.to_owned(), out)),
        );
        self.extensions.append_to(&mut entries);
        match form {
            Form::Json => Out::sorted(entries.into_iter(), form),
            Form::Yaml => Out::Map(entries),
        }
    }
}
