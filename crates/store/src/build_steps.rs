//! Steps of builds that were done: rows that say what a step's result is, by its key.
//!
//! A row keeps its layers from being removed. Losing one costs a step done again: they aren't synced.

use crate::Store;
use crate::db::Durability;
use crate::error::Error;
use crate::images::UNUSED_LAYER;
use crate::locked::{Wait, lock, open_directory};
use rusqlite::{OptionalExtension, Row, params};
use rustix::fs::CWD;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;
use types::digest::{ChainId, DiffId};

/// A step that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildStep {
    /// What it's found by.
    pub key: String,
    /// The tree that it made, if that is layers.
    pub chain: Option<ChainId>,
    /// Digest of what it added.
    pub content: String,
    /// Diff id of what it added, where that is a layer.
    pub diff: Option<DiffId>,
    /// Bytes of what it added.
    pub size_bytes: u64,
    /// Whether it added nothing.
    pub is_empty: bool,
    /// As `docker builder du` tells it: `regular`, `source.local`, `exec.cachemount`, …
    pub kind: String,
    /// For people.
    pub description: String,
    /// JSON, for who made the row.
    pub detail: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// When it was used last, in nanoseconds since the epoch.
    pub used_ns: i64,
    /// How often it was used after it was made.
    pub uses: u64,
}

/// What removing steps removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemovedSteps {
    /// Keys of the rows that are gone. Those whose layer somebody works with stay.
    pub keys: Vec<String>,
    /// Layers that nothing else needed.
    pub layers: Vec<ChainId>,
    /// Bytes of content in those, and in caches.
    pub bytes: u64,
}

/// A layer among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerNode {
    /// The one below.
    pub parent: Option<ChainId>,
    /// Bytes of content.
    pub bytes: u64,
    /// Whether it's one of an image's.
    pub is_in_image: bool,
}

const COLUMNS: &str =
    "key, chain_id, content, diff_id, size, is_empty, kind, description, detail, created_ns, used_ns, uses";

/// How long a layer that nothing names is left to the build that has just made it.
const ORPHAN_SECONDS: i64 = 600;

impl Store {
    /// Records a step, in place of what its key meant before.
    ///
    /// Errors: [`Error::NoLayer`] if its layer is gone.
    pub fn put_step(&self, step: &BuildStep) -> Result<(), Error> {
        self.db.write("record a step of the build", Durability::Unsynced, |tx| {
            let chain = step.chain.map(|chain| chain.to_string());
            if let Some(chain) = &chain
                && !tx.prepare_cached("SELECT 1 FROM layers WHERE chain_id = ?1")?.exists([chain])?
            {
                return Err(Error::NoLayer { chain: chain.clone() }.into());
            }
            tx.prepare_cached(&format!(
                "INSERT OR REPLACE INTO build_steps ({COLUMNS})
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
            ))?
            .execute(params![
                step.key,
                chain,
                step.content,
                step.diff.map(|diff| diff.to_string()),
                step.size_bytes as i64,
                step.is_empty,
                step.kind,
                step.description,
                step.detail,
                step.created_ns,
                step.used_ns,
                step.uses as i64,
            ])?;
            Ok(())
        })
    }

    /// The step with this key. Its layers are here and whole.
    pub fn find_step(&self, key: &str) -> Result<Option<BuildStep>, Error> {
        self.begin_boot()?;
        let found = self.db.read("look a step of the build up", |tx| {
            let mut query =
                tx.prepare_cached(&format!("SELECT {COLUMNS} FROM build_steps WHERE key = ?1"))?;
            Ok(query.query_row([key], raw).optional()?)
        })?;
        found.map(|raw| self.step(raw)).transpose()
    }

    /// All steps, the one that was used last first.
    pub fn steps(&self) -> Result<Vec<BuildStep>, Error> {
        let raws = self.db.read("list the steps of builds", |tx| {
            let mut query =
                tx.prepare(&format!("SELECT {COLUMNS} FROM build_steps ORDER BY used_ns DESC, key"))?;
            Ok(query.query_map([], raw)?.collect::<Result<Vec<_>, _>>()?)
        })?;
        raws.into_iter().map(|raw| self.step(raw)).collect()
    }

    /// Notes that steps were used, `now_ns` nanoseconds after the epoch; of how many there are rows.
    pub fn touch_steps(&self, keys: &[&str], now_ns: i64) -> Result<usize, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        self.db.write("note the use of steps", Durability::Unsynced, |tx| {
            let mut update =
                tx.prepare_cached("UPDATE build_steps SET used_ns = ?2, uses = uses + 1 WHERE key = ?1")?;
            let mut found = 0;
            for key in keys {
                found += update.execute(params![key, now_ns])?;
            }
            Ok(found)
        })
    }

    /// Removes steps, and the layers that nothing else needs; with the row of a cache, the cache. A step whose layer or cache a
    /// build or a container works with stays.
    pub fn remove_steps(&self, keys: &[&str]) -> Result<RemovedSteps, Error> {
        let mut removed = RemovedSteps::default();
        let layers = self.open_layers()?;
        for key in keys {
            let Some(step) = self.find_step(key)? else { continue };
            let cache = self.cache_directory(key);
            if let Some(own) = &cache {
                removed.bytes += match self.cache_bytes(key)? {
                    bytes if self.remove_cache(own)? => bytes.unwrap_or_default(),
                    _ => continue,
                };
            }
            // Held until the row is gone: who begins to work with the layer now doesn't find the step.
            let _held = match &step.chain {
                None => None,
                Some(chain) => match lock(layers.as_fd(), Path::new(&chain.hex()), Wait::No) {
                    Ok(Some(held)) => Some(held),
                    Ok(None) if self.paths().layer(chain).exists() => continue,
                    Ok(None) => None,
                    Err(errno) => return Err(files("lock", &self.paths().layer(chain), errno)),
                },
            };
            self.db.write("remove a step of a build", Durability::Unsynced, |tx| {
                tx.prepare_cached("DELETE FROM build_steps WHERE key = ?1")?.execute([key])?;
                Ok(())
            })?;
            drop(_held);
            removed.keys.push((*key).to_owned());
            if let Some(chain) = step.chain {
                self.release_layers(chain, &mut removed)?;
            }
        }
        Ok(removed)
    }

    /// Removes a layer that nothing needs, and those below it that nothing needs then.
    fn release_layers(&self, top: ChainId, removed: &mut RemovedSteps) -> Result<(), Error> {
        let layers = self.open_layers()?;
        let mut next = Some(top);
        while let Some(chain) = next.take() {
            let path = self.paths().layer(&chain);
            let held = lock(layers.as_fd(), Path::new(&chain.hex()), Wait::No)
                .map_err(|errno| files("lock", &path, errno))?;
            if held.is_none() && path.exists() {
                return Ok(());
            }
            let gone: Option<(Option<String>, i64)> =
                self.db.write("remove a layer", Durability::Unsynced, |tx| {
                    let mut delete = tx.prepare_cached(&format!(
                        "DELETE FROM layers WHERE chain_id = ?1 AND {UNUSED_LAYER} RETURNING parent, size"
                    ))?;
                    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
                    Ok(delete.query_row([chain.to_string()], row).optional()?)
                })?;
            let Some((parent, bytes)) = gone else { return Ok(()) };
            drop(held);
            self.remove_unused_layer(&chain)?;
            removed.layers.push(chain);
            removed.bytes += u64::try_from(bytes).unwrap_or_default();
            next = parent
                .map(|text| ChainId::parse(&text).ok_or_else(|| self.db.damaged("chain id", &text)))
                .transpose()?;
        }
        Ok(())
    }

    /// All layers, by chain id.
    pub fn layer_nodes(&self) -> Result<BTreeMap<ChainId, LayerNode>, Error> {
        let rows = self.db.read("list the layers", |tx| {
            let mut query = tx.prepare(
                "SELECT chain_id, parent, size,
                        EXISTS (SELECT 1 FROM image_layers AS own WHERE own.chain_id = layers.chain_id)
                 FROM layers",
            )?;
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            let rows = query.query_map([], row)?;
            Ok(rows.collect::<Result<Vec<(String, Option<String>, i64, bool)>, _>>()?)
        })?;
        let parse = |text: String| ChainId::parse(&text).ok_or_else(|| self.db.damaged("chain id", &text));
        let node = |(chain, parent, bytes, is_in_image): (String, Option<String>, i64, bool)| {
            let bytes = u64::try_from(bytes).unwrap_or_default();
            Ok((parse(chain)?, LayerNode { parent: parent.map(parse).transpose()?, bytes, is_in_image }))
        };
        rows.into_iter().map(node).collect()
    }

    /// Whether somebody works with what a step made: its layer or its cache is held.
    pub fn is_step_in_use(&self, step: &BuildStep) -> Result<bool, Error> {
        let path = match (&step.chain, self.cache_directory(&step.key)) {
            (Some(chain), _) => self.paths().layer(chain),
            (None, Some(own)) => own,
            (None, None) => return Ok(false),
        };
        let held = lock(CWD.as_fd(), &path, Wait::No).map_err(|errno| files("lock", &path, errno))?;
        Ok(held.is_none() && path.exists())
    }

    /// Removes layers that builds have made and nothing names: who made them was killed.
    pub(crate) fn release_orphans(&self) -> Result<usize, Error> {
        let chains: Vec<String> = self.db.read("list unused layers", |tx| {
            let mut query = tx.prepare(&format!("SELECT chain_id FROM layers WHERE {UNUSED_LAYER}"))?;
            Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let mut removed = RemovedSteps::default();
        for text in chains {
            let chain = ChainId::parse(&text).ok_or_else(|| self.db.damaged("chain id", &text))?;
            // Moved into its place then.
            let is_new = rustix::fs::stat(self.paths().layer(&chain))
                .is_ok_and(|stat| now.saturating_sub(stat.st_ctime) < ORPHAN_SECONDS);
            if !is_new {
                self.release_layers(chain, &mut removed)?;
            }
        }
        Ok(removed.layers.len())
    }

    fn open_layers(&self) -> Result<std::os::fd::OwnedFd, Error> {
        let path = self.paths().layers();
        open_directory(CWD, &path).map_err(|errno| files("open", &path, errno))
    }

    fn step(&self, raw: RawStep) -> Result<BuildStep, Error> {
        let chain = |text: String| ChainId::parse(&text).ok_or_else(|| self.db.damaged("chain id", &text));
        let diff = |text: String| DiffId::parse(&text).ok_or_else(|| self.db.damaged("diff id", &text));
        Ok(BuildStep {
            chain: raw.chain.map(chain).transpose()?,
            diff: raw.diff.map(diff).transpose()?,
            ..raw.step
        })
    }
}

/// A row whose ids aren't parsed yet.
struct RawStep {
    chain: Option<String>,
    diff: Option<String>,
    step: BuildStep,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<RawStep> {
    let unsigned = |value: i64| u64::try_from(value).unwrap_or_default();
    Ok(RawStep {
        chain: row.get(1)?,
        diff: row.get(3)?,
        step: BuildStep {
            key: row.get(0)?,
            chain: None,
            content: row.get(2)?,
            diff: None,
            size_bytes: unsigned(row.get(4)?),
            is_empty: row.get(5)?,
            kind: row.get(6)?,
            description: row.get(7)?,
            detail: row.get(8)?,
            created_ns: row.get(9)?,
            used_ns: row.get(10)?,
            uses: unsigned(row.get(11)?),
        },
    })
}

fn files(doing: &'static str, path: &Path, source: rustix::io::Errno) -> Error {
    Error::Files { doing, path: path.to_owned(), source: source.into() }
}
