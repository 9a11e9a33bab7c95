//! A build's cache in a directory, to be carried to another machine: `--cache-to` and `--cache-from type=local`.
//!
//! ```text
//! <directory>/
//!   berth-cache.json           steps by their keys, with the layers that each needs
//!   layers/<diff id>.tar.gz    layers that builds made; those of base images come from where the images do
//!   mounts/<hash>.tar.gz       content of the caches that `RUN --mount=type=cache` names, with `mode=max`
//! ```
//!
//! A step is brought in when it's asked for, with its layers, the lowest first. Nothing is believed: a layer is unpacked into a
//! draft, and counts only if what is adopted of it has the diff id that was named. What the directory says beyond that, which
//! result goes with which key, is believed as the caller believes the directory.

mod mounts;

use super::events::{Event, Told};
use super::fault;
use crate::Error;
use build::op::Tree;
use mounts::Mount;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use store::tar::Reader;
use store::unpack::{Whiteouts, unpack};
use store::{BuildStep, Limits, Store};
use types::digest::{ChainId, DiffId};
use types::kind::Kind;

/// Where a cache is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheTo {
    /// The directory.
    pub dest: PathBuf,
    /// Whether all steps are kept (`mode=max`), and not only those whose layers are in the result.
    pub is_max: bool,
    /// Whether a build goes well though its cache can't be written.
    pub ignores_errors: bool,
}

/// Where a cache is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheFrom {
    /// A directory.
    Local(PathBuf),
    /// Something else, which isn't read: said to the user, as it only costs time.
    Unsupported(String),
}

impl CacheTo {
    /// Reads `--cache-to`. Errors: [`Error::Invalid`]; [`Error::Copy`] for what isn't supported.
    pub fn parse(text: &str) -> Result<CacheTo, Error> {
        let mut fields = fields("--cache-to", text)?;
        let kind = fields.remove("type").unwrap_or_else(|| "registry".to_owned());
        if kind != "local" {
            let hint = "type=local,dest=DIRECTORY keeps it in a directory".to_owned();
            return Err(fault(
                Kind::Unsupported,
                format!("--cache-to type={kind} is not supported"),
                Some(hint),
            ));
        }
        let invalid = |why: &str| Error::invalid(format!("--cache-to {text}"), why);
        let dest = fields.remove("dest").filter(|dest| !dest.is_empty());
        let dest = dest.ok_or_else(|| invalid("dest is required for local cache exporter"))?.into();
        let is_max = match fields.remove("mode").as_deref() {
            None | Some("min") => false,
            Some("max") => true,
            Some(_) => return Err(invalid("mode is neither min nor max")),
        };
        let ignores_errors = fields.remove("ignore-error").is_some_and(|value| value == "true");
        known("--cache-to", &fields)?;
        Ok(CacheTo { dest, is_max, ignores_errors })
    }
}

impl CacheFrom {
    /// Reads `--cache-from`. Errors: [`Error::Invalid`].
    pub fn parse(text: &str) -> Result<CacheFrom, Error> {
        if !text.contains('=') {
            return Ok(CacheFrom::Unsupported(format!("type=registry,ref={text}")));
        }
        let mut fields = fields("--cache-from", text)?;
        if fields.remove("type").as_deref() != Some("local") {
            return Ok(CacheFrom::Unsupported(text.to_owned()));
        }
        let invalid = |why: &str| Error::invalid(format!("--cache-from {text}"), why);
        let source = fields.remove("src").filter(|source| !source.is_empty());
        let source = source.ok_or_else(|| invalid("src is required for local cache importer"))?;
        known("--cache-from", &fields)?;
        Ok(CacheFrom::Local(source.into()))
    }
}

fn fields(flag: &str, text: &str) -> Result<BTreeMap<String, String>, Error> {
    let field = |field: &str| match field.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_ascii_lowercase(), value.to_owned())),
        None => Err(Error::invalid(format!("{flag} {text}"), format!("invalid value {field}"))),
    };
    text.split(',').map(field).collect()
}

/// Attributes of buildx's that concern what isn't done here.
const WITHOUT_EFFECT: [&str; 6] =
    ["oci-mediatypes", "image-manifest", "compression", "compression-level", "force-compression", "tag"];

fn known(flag: &str, fields: &BTreeMap<String, String>) -> Result<(), Error> {
    match fields.keys().find(|key| !WITHOUT_EFFECT.contains(&key.as_str())) {
        Some(key) => Err(fault(Kind::Unsupported, format!("{flag}: {key} is not supported"), None)),
        None => Ok(()),
    }
}

const INDEX: &str = "berth-cache.json";
const LAYERS: &str = "layers";

/// Most bytes of an index.
const INDEX_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    version: u32,
    steps: Vec<Row>,
    #[serde(default)]
    mounts: Vec<Mount>,
}

/// A step, as it's written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    key: String,
    /// Chain and diff ids of its layers, the lowest first.
    layers: Vec<Place>,
    content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    size: u64,
    is_empty: bool,
    kind: String,
    description: String,
    detail: String,
    created_ns: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    chain: String,
    diff: String,
}

/// What of a build is written.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Keys of its steps.
    pub keys: &'a BTreeSet<String>,
    /// Ids of the caches that its programs have mounted.
    pub mounts: &'a BTreeSet<String>,
    /// Its result.
    pub result: &'a Tree,
}

/// Writes the steps with these keys, and the layers that builds made for them. without `mode=max` only steps that made
/// the result's layers are written, and no caches of programs.
///
/// Errors: [`Error::System`], [`Error::Store`].
pub fn export(store: &Store, to: &CacheTo, wanted: Wanted<'_>) -> Result<(), Error> {
    let Wanted { keys, mounts, result } = wanted;
    let result = match result {
        Tree::Layers(chain) => ChainId::parse(chain),
        Tree::Scratch | Tree::Directory(_) => None,
    };
    let result = result.map_or_else(|| Ok(Vec::new()), |chain| store.layers_of(&chain))?;
    let result: BTreeSet<String> = result.iter().map(|layer| layer.chain.to_string()).collect();
    let failed =
        |path: &Path, error: std::io::Error| Error::io("write the cache into", path.display(), &error);
    let layers_dir = to.dest.join(LAYERS);
    std::fs::create_dir_all(&layers_dir).map_err(|error| failed(&layers_dir, error))?;
    let mut steps = Vec::new();
    let mut wanted = BTreeSet::new();
    for key in keys {
        let Some(step) = store.find_step(key)? else { continue };
        if !to.is_max && !step.chain.is_none_or(|chain| result.contains(&chain.to_string())) {
            continue;
        }
        let stack = step.chain.map_or_else(|| Ok(Vec::new()), |chain| store.layers_of(&chain))?;
        for layer in &stack {
            // Those with blobs came with an image.
            if layer.blob.is_none() && wanted.insert(layer.diff.hex()) {
                write_layer(store, layer, &layers_dir)?;
            }
        }
        let place =
            |layer: &store::Layer| Place { chain: layer.chain.to_string(), diff: layer.diff.to_string() };
        steps.push(Row {
            key: step.key,
            layers: stack.iter().map(place).collect(),
            content: step.content,
            diff: step.diff.map(|diff| diff.to_string()),
            size: step.size_bytes,
            is_empty: step.is_empty,
            kind: step.kind,
            description: step.description,
            detail: step.detail,
            created_ns: step.created_ns,
        });
    }
    let mounts = if to.is_max { mounts::export(store, mounts, &to.dest)? } else { Vec::new() };
    // Plain data always serialises.
    let bytes = serde_json::to_vec(&Index { version: 1, steps, mounts }).unwrap_or_default();
    let dir = File::open(&to.dest).map_err(|error| failed(&to.dest, error))?;
    let placed = linux::durable::place(dir.into(), INDEX.as_ref(), &bytes, 0o644);
    placed.map_err(|error| failed(&to.dest, error))?;
    // Layers of older caches, which no step needs any more.
    let entries = std::fs::read_dir(&layers_dir).map_err(|error| failed(&layers_dir, error))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_suffix(".tar.gz").is_some_and(|diff| !wanted.contains(diff)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn layer_path(dir: &Path, diff: &str) -> PathBuf {
    dir.join(format!("{diff}.tar.gz"))
}

fn write_layer(store: &Store, layer: &store::Layer, dir: &Path) -> Result<(), Error> {
    let path = layer_path(dir, &layer.diff.hex());
    if path.exists() {
        return Ok(());
    }
    let failed = |error: std::io::Error| Error::io("write the cache into", path.display(), &error);
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        let mut out = BufWriter::with_capacity(256 << 10, File::create(&temporary)?);
        let mut archive = store.open_archive(layer).map_err(std::io::Error::other)?;
        store::gzip::compress(&mut archive, &mut out)?;
        out.flush()
    };
    let written: std::io::Result<()> = write();
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(failed(error));
    }
    // A cache that is lost in a power cut costs time; a damaged layer is found by its digest.
    rustix::fs::rename(&temporary, &path).map_err(|errno| failed(errno.into()))
}

/// Caches that are read.
#[derive(Debug, Default)]
pub struct Imported {
    dirs: Vec<Opened>,
}

#[derive(Debug)]
struct Opened {
    dir: PathBuf,
    /// Steps by key.
    steps: BTreeMap<String, Row>,
    mounts: Vec<Mount>,
    /// Layers that turned out not to be what they should, by diff id: told once, and not tried again.
    bad: RefCell<BTreeSet<String>>,
}

impl Imported {
    /// Reads the indexes of caches; those that can't be read are told of, as with docker.
    pub fn open(from: &[CacheFrom], here: &Path, told: &mut Told<'_>) -> Imported {
        let mut dirs = Vec::new();
        for from in from {
            let (name, opened) = match from {
                CacheFrom::Unsupported(what) => {
                    (what.clone(), Err("only type=local is supported".to_owned()))
                }
                CacheFrom::Local(dir) => (dir.display().to_string(), Opened::read(here.join(dir))),
            };
            let done = told.work(&format!("importing cache manifest from {name}"), |told, id| {
                if let Err(why) = &opened {
                    let text = format!("WARNING: the cache is not used: {why}");
                    told.tell(&Event::Status { id, text });
                }
                Ok::<_, Error>(opened)
            });
            dirs.extend(done.into_iter().flatten());
        }
        Imported { dirs }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.dirs.is_empty()
    }

    /// Brings a step in that the store hasn't, with its layers; `None` if no cache has it, or not all it needs.
    ///
    /// Errors: those of the store itself.
    pub fn bring(&self, store: &Store, key: &str) -> Result<Option<BuildStep>, Error> {
        for opened in &self.dirs {
            let Some(row) = opened.steps.get(key) else { continue };
            if let Some(step) = opened.bring(store, row)? {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }
}

impl Opened {
    fn read(dir: PathBuf) -> Result<Opened, String> {
        let path = dir.join(INDEX);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| {
            std::io::Read::read_to_end(&mut std::io::Read::take(file, INDEX_BYTES_MAX), &mut bytes)
        });
        read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| format!("{} is damaged: {error}", path.display()))?;
        if index.version != 1 {
            return Err(format!(
                "{} was written by another berth: version {}",
                path.display(),
                index.version
            ));
        }
        let steps = index.steps.into_iter().map(|row| (row.key.clone(), row)).collect();
        Ok(Opened { dir, steps, mounts: index.mounts, bad: RefCell::default() })
    }

    fn bring(&self, store: &Store, row: &Row) -> Result<Option<BuildStep>, Error> {
        let mut below: Option<ChainId> = None;
        // What was brought stays while it's not named by a row.
        let mut pins = Vec::new();
        for place in &row.layers {
            let (Some(chain), Some(diff)) = (ChainId::parse(&place.chain), DiffId::parse(&place.diff)) else {
                return Ok(None);
            };
            if ChainId::stack(below, diff) != chain {
                return Ok(None);
            }
            match store.pin_chain(&chain) {
                Ok(held) => pins.extend(held),
                Err(store::Error::NoLayer { .. }) => match self.bring_layer(store, below, diff)? {
                    Some(pin) => pins.extend(pin),
                    None => return Ok(None),
                },
                Err(error) => return Err(error.into()),
            }
            below = Some(chain);
        }
        let step = BuildStep {
            key: row.key.clone(),
            chain: below,
            content: row.content.clone(),
            diff: row.diff.as_deref().and_then(DiffId::parse),
            size_bytes: row.size,
            is_empty: row.is_empty,
            kind: row.kind.clone(),
            description: row.description.clone(),
            detail: row.detail.clone(),
            created_ns: row.created_ns,
            used_ns: crate::cell::now_ns(),
            uses: 0,
        };
        store.put_step(&step)?;
        Ok(Some(step))
    }

    /// Makes a layer of its archive; what keeps it in its place, or `None` if it isn't what it should be.
    fn bring_layer(
        &self,
        store: &Store,
        below: Option<ChainId>,
        diff: DiffId,
    ) -> Result<Option<Vec<std::os::fd::OwnedFd>>, Error> {
        if self.bad.borrow().contains(&diff.hex()) {
            return Ok(None);
        }
        let unpacked = self.unpack(store, below, diff);
        if !matches!(unpacked, Ok(Some(_))) {
            self.bad.borrow_mut().insert(diff.hex());
        }
        // One that is missing or damaged costs time only.
        Ok(unpacked.unwrap_or_default())
    }

    fn unpack(
        &self,
        store: &Store,
        below: Option<ChainId>,
        diff: DiffId,
    ) -> Result<Option<Vec<std::os::fd::OwnedFd>>, Error> {
        let path = layer_path(&self.dir.join(LAYERS), &diff.hex());
        let file = File::open(&path).map_err(|error| Error::io("open", path.display(), &error))?;
        let plain = store::plain(BufReader::with_capacity(256 << 10, file))?;
        let draft = store.draft(below.as_ref())?;
        let mut reader = Reader::new(BufReader::with_capacity(256 << 10, plain));
        unpack(&mut reader, draft.upper(), Whiteouts::OfLayer, &Limits::default())?;
        let adopted = store.adopt(draft)?;
        Ok((adopted.diff == diff).then(|| adopted.pin.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests;
