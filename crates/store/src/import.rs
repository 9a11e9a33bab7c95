//! Making an image of one layer from the archive of a root file system.

use crate::error::Error;
use crate::ingest::{Configuration, Input, LayerState, NewLayer, Recipe};
use crate::unpack::Limits;
use crate::{Store, tar};
use serde::Serialize;
use std::io::{self, Read};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use types::digest::{DiffId, ImageId};
use types::moment::rfc3339;
use types::reference::Reference;

impl Store {
    /// Reads the archive of a root file system, plain, gzip or zstd, and makes an image of it, named `reference` if
    /// given.
    ///
    /// Names as `.wh.x` are files like others: an archive of a root file system has no whiteouts. `watch` is called about
    /// once a mebibyte. Errors: [`Error::Archive`], [`Error::Entry`], [`Error::Unpack`], [`Error::Limit`],
    /// [`Error::Compression`], [`Error::ReadArchive`]; nothing is left of a failed import.
    pub fn import(
        &self,
        input: &mut (impl Read + Send),
        reference: Option<&Reference>,
        created_by: &str,
        watch: &(dyn Fn(LayerState) + Sync),
    ) -> Result<ImageId, Error> {
        self.import_within(&Limits::default(), input, reference, created_by, watch)
    }

    /// [`Store::import`] with other limits.
    pub fn import_within(
        &self,
        limits: &Limits,
        input: &mut (impl Read + Send),
        reference: Option<&Reference>,
        created_by: &str,
        watch: &(dyn Fn(LayerState) + Sync),
    ) -> Result<ImageId, Error> {
        // It is opened once.
        let input: Mutex<Option<Input<'_>>> = Mutex::new(Some(Box::new(input)));
        let open = || {
            let input = input.lock().ok().and_then(|mut input| input.take());
            input.ok_or_else(|| io::Error::other("the archive was read already"))
        };
        let created_ns = now_ns();
        let config = |diffs: &[DiffId]| {
            let bytes = config_of(diffs, created_ns, created_by).into_bytes();
            Configuration { bytes, created_ns }
        };
        let recipe = Recipe {
            layers: vec![NewLayer { diff: None, blob: None, open: Box::new(open), has_whiteouts: false }],
            config: &config,
            manifest: None,
            repository_digest: None,
            references: reference.cloned().into_iter().collect(),
        };
        self.make_image(recipe, limits, &|_, state| watch(state))
    }
}

pub(crate) fn archive_error(error: tar::Error) -> Error {
    match error.fault {
        tar::Fault::Read(source) => crate::ingest::read_error(source),
        fault => Error::Archive(tar::Error { fault, ..error }),
    }
}

#[derive(Serialize)]
struct Config<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    config: Execution,
    rootfs: Rootfs,
    history: [History<'a>; 1],
}

#[derive(Serialize)]
struct Execution {
    #[serde(rename = "Cmd")]
    cmd: [String; 0],
}

#[derive(Serialize)]
struct Rootfs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<String>,
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

/// The image's configuration. Source: image-spec config.md.
fn config_of(diffs: &[DiffId], created_ns: i64, created_by: &str) -> String {
    let created = rfc3339(created_ns);
    let config = Config {
        created: &created,
        architecture: architecture(),
        os: "linux",
        config: Execution { cmd: [] },
        rootfs: Rootfs { kind: "layers", diff_ids: diffs.iter().map(ToString::to_string).collect() },
        history: [History { created: &created, created_by }],
    };
    serde_json::to_string(&config).expect("strings and arrays always serialize")
}

/// This machine's architecture in Go's words, which images use.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
