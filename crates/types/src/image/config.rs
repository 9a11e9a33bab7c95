//! An image's configuration: how to run it, and what it is made of.

use super::{CONFIG_BYTES_MAX, Error, LAYERS_MAX, Platform, null_is_default};
use crate::digest::Digest;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Source: image-spec config.md; `Healthcheck`, `OnBuild` and `Shell` are docker's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// When it was made, as RFC 3339 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Processor, in Go's words.
    #[serde(deserialize_with = "null_is_default")]
    pub architecture: String,
    /// Operating system, in Go's words.
    #[serde(deserialize_with = "null_is_default")]
    pub os: String,
    /// Version of the operating system; Windows.
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Needed features of the operating system; Windows.
    #[serde(
        rename = "os.features",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Variant of the processor.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// How to run it.
    #[serde(deserialize_with = "null_is_default")]
    pub config: Execution,
    /// What it is made of.
    #[serde(deserialize_with = "null_is_default")]
    pub rootfs: RootFs,
    /// How each layer came to be.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// Defaults for containers made from the image. Docker's document calls it `config` as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Execution {
    /// `USER[:GROUP]`, by name or number.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that the program listens on, as `80/tcp`.
    #[serde(deserialize_with = "keys", serialize_with = "as_set", skip_serializing_if = "Vec::is_empty")]
    pub exposed_ports: Vec<String>,
    /// Environment, as `NAME=value`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Further arguments, or the program where there is no entry point.
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Directories that are volumes.
    #[serde(deserialize_with = "keys", serialize_with = "as_set", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// Directory in which the program starts.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Anything.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What `stop` sends.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds that `stop` waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Whether the arguments are one escaped command line; Windows.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// How to tell whether it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for a build that begins from the image.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// What runs `RUN`, `CMD` and `ENTRYPOINT` of a build in their shell form.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

/// Source: docker's image specification v1.2. Durations are nanoseconds; 0 means docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `NONE`, or `CMD` and words, or `CMD-SHELL` and a line; empty means inherited.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two probes.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// For one probe.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// In which failures don't count.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two probes in that time.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row until it counts as broken.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers' identities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// Digests of the uncompressed archives, the lowest layer first.
    #[serde(deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> RootFs {
        RootFs { kind: "layers".into(), diff_ids: Vec::new() }
    }
}

/// How one layer came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, as RFC 3339 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what command.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// By whom.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// A remark.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step changed no file, and so made no layer.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// Errors: [`Error::Invalid`] for what is too large, isn't one, or has another root file system than layers.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig, Error> {
        if bytes.len() > CONFIG_BYTES_MAX {
            return Err(Error::Invalid(format!("a configuration has at most {CONFIG_BYTES_MAX} bytes")));
        }
        // serde would take an array for its members in order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Error::Invalid("not an image's configuration: it is no object".into()));
        }
        let config: ImageConfig = serde_json::from_slice(bytes)
            .map_err(|error| Error::Invalid(format!("not an image's configuration: {error}")))?;
        if config.rootfs.kind != "layers" {
            let kind = &config.rootfs.kind;
            return Err(Error::Unsupported(format!("its root file system is of type {kind:?}, not layers")));
        }
        if config.rootfs.diff_ids.len() > LAYERS_MAX {
            return Err(Error::Invalid(format!("an image has at most {LAYERS_MAX} layers")));
        }
        Ok(config)
    }

    /// The machine that it is for, normalised.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
        .normalized()
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The keys of Go's `map[string]struct{}`.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map: Option<BTreeMap<String, IgnoredAny>> = Option::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

fn as_set<S: serde::Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    let nothing = BTreeMap::<String, String>::new();
    serializer.collect_map(keys.iter().map(|key| (key, &nothing)))
}

/// Go's `strslice`: a list, or, in old images, one string.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        List(Vec<String>),
        One(String),
    }
    let words: Option<Words> = Option::deserialize(deserializer)?;
    Ok(words.map(|words| match words {
        Words::List(list) => list,
        Words::One(word) => vec![word],
    }))
}
