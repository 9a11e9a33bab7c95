//! Images, made and not downloaded: their documents, blobs and archives, good ones and bad ones.
//!
//! An image is written as an OCI layout or as docker's archive for `berth load`, or served by [`Image::serve`], which a
//! test may have answer wrongly.

mod layer;
mod serve;

pub use layer::Layer;
pub use serve::{Repository, Served};

use crate::{Value, json};
use sha2::Digest as _;
use std::io::Write;
use std::path::Path;

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

/// Media type of OCI's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Media type of OCI's index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Media type of OCI's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image to be written or served.
#[derive(Debug, Clone)]
pub struct Image {
    layers: Vec<Vec<u8>>,
    /// Its configuration, but for the diff ids.
    config: Value,
    compression: Compression,
}

/// The documents and blobs of an image.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The manifest.
    pub manifest: Value,
    /// The configuration's bytes.
    pub config: Vec<u8>,
    /// The layers' blobs, the lowest first.
    pub layers: Vec<Vec<u8>>,
}

/// `sha256:…` of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    let hash = sha2::Sha256::digest(bytes);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A descriptor of `bytes`.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

impl Image {
    /// An image without layers, whose process is a shell, made on 9 September 2001.
    pub fn empty() -> Image {
        let config = json!({
            "created": "2001-09-09T01:46:40Z",
            "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
            "os": "linux",
            "config": { "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"] },
        });
        Image { layers: Vec::new(), config, compression: Compression::Gzip }
    }

    /// An image of busybox.
    pub fn busybox() -> Image {
        Image::empty().layer(&Layer::busybox())
    }

    /// With another layer on top.
    pub fn layer(mut self, layer: &Layer) -> Image {
        self.layers.push(layer.tar());
        self
    }

    /// With its configuration changed: the whole document.
    pub fn config(mut self, change: impl FnOnce(&mut Value)) -> Image {
        change(&mut self.config);
        self
    }

    /// With a member of the configuration's own `config`, such as `Entrypoint`.
    pub fn set(mut self, member: &str, value: Value) -> Image {
        self.config["config"][member] = value;
        self
    }

    /// With layers compressed like this.
    pub fn compression(self, compression: Compression) -> Image {
        Image { compression, ..self }
    }

    /// Its documents and blobs.
    pub fn parts(&self) -> Parts {
        let layers: Vec<Vec<u8>> = self.layers.iter().map(|tar| compress(tar, self.compression)).collect();
        let media_type = match self.compression {
            Compression::Plain => "application/vnd.oci.image.layer.v1.tar",
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        };
        let config = self.config_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": layers.iter().map(|blob| descriptor(media_type, blob)).collect::<Vec<_>>(),
        });
        Parts { manifest, config, layers }
    }

    /// Its id.
    pub fn id(&self) -> String {
        digest(&self.config_bytes())
    }

    fn config_bytes(&self) -> Vec<u8> {
        let mut config = self.config.clone();
        let diffs: Vec<String> = self.layers.iter().map(|tar| digest(tar)).collect();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": diffs });
        config.to_string().into_bytes()
    }

    /// Writes it as a tar of an OCI layout, with `name` as containerd's annotation.
    pub fn write_layout(&self, path: &Path, name: &str) {
        let parts = self.parts();
        let manifest = parts.manifest_bytes();
        let mut entry = descriptor(MANIFEST, &manifest);
        entry["annotations"] = json!({ "io.containerd.image.name": name });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        let mut tar = Layer::new()
            .file("oci-layout", 0o644, r#"{"imageLayoutVersion": "1.0.0"}"#)
            .file("index.json", 0o644, index.to_string())
            .dir("blobs", 0o755)
            .dir("blobs/sha256", 0o755);
        for blob in parts.layers.iter().chain([&parts.config, &manifest]) {
            tar = tar.file(&digest(blob).replacen("sha256:", "blobs/sha256/", 1), 0o644, blob);
        }
        write(path, &tar.tar());
    }

    /// Writes it as `docker save` did before it wrote layouts: plain layers, `manifest.json`.
    pub fn write_docker_archive(&self, path: &Path, names: &[&str]) {
        write(path, &self.docker_archive(names).tar());
    }

    /// The entries of that archive.
    pub fn docker_archive(&self, names: &[&str]) -> Layer {
        let config = self.config_bytes();
        let hex = |bytes: &[u8]| digest(bytes).replacen("sha256:", "", 1);
        let config_name = format!("{}.json", hex(&config));
        let layer_names: Vec<String> =
            self.layers.iter().enumerate().map(|(at, tar)| format!("{at}-{}/layer.tar", hex(tar))).collect();
        let manifest = json!([{ "Config": config_name, "RepoTags": names, "Layers": layer_names }]);
        let mut tar = Layer::new().file(&config_name, 0o644, &config);
        for (name, layer) in layer_names.iter().zip(&self.layers) {
            tar = tar.file(name, 0o644, layer);
        }
        tar.file("manifest.json", 0o644, manifest.to_string())
    }
}

impl Parts {
    /// The manifest's bytes.
    pub fn manifest_bytes(&self) -> Vec<u8> {
        self.manifest.to_string().into_bytes()
    }
}

/// `bytes` compressed.
pub fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Plain => bytes.to_owned(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes it")
        }
        Compression::Zstd => zstd::encode_all(bytes, 1).expect("memory takes it"),
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
}

/// An extended attribute of a file on the host.
pub fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}
