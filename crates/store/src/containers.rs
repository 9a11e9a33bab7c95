//! Records of containers: who exists, under which name, with which configuration. What runs is the engine's to ask.

use crate::db::{Durability, Fault};
use crate::error::Error;
use crate::{SHORT_ID_DIGITS, Store};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use types::digest::ImageId;
use types::id::{self, ContainerId};

/// Most ids that an error about an ambiguous prefix lists.
const MATCHES_MAX: usize = 5;

/// One container, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Its id.
    pub id: ContainerId,
    /// Its name, unique in the store, without docker's leading slash.
    pub name: String,
    /// The image it was made from; `None` for `@host` and plain directories. The image can't be removed before it.
    pub image: Option<ImageId>,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// The engine's document; the store does not look into it.
    pub config_json: String,
    /// Whether it was ever started.
    pub started: bool,
}

/// A row before its ids are checked.
type RawRecord = (String, String, Option<String>, i64, String, bool);

const COLUMNS: &str = "id, name, image, created_ns, config_json, started";

impl Store {
    /// Adds a container.
    ///
    /// Errors: [`Error::ContainerName`], [`Error::NameInUse`], [`Error::ContainerExists`], and [`Error::NoImage`] if
    /// the image was removed meanwhile.
    pub fn insert_container(&self, record: &ContainerRecord, durability: Durability) -> Result<(), Error> {
        if !id::is_name(&record.name) {
            return Err(Error::ContainerName { name: record.name.clone(), max: id::NAME_BYTES_MAX });
        }
        let image = record.image.map(|image| image.to_string());
        self.db.write("record the container", durability, |tx| {
            refuse_taken(tx, record)?;
            if let Some(image) = &image
                && !exists(tx, "SELECT 1 FROM images WHERE id = ?1", image)?
            {
                return Err(Error::NoImage { given: image.clone() }.into());
            }
            tx.prepare_cached(
                "INSERT INTO containers (id, name, image, created_ns, config_json, started)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                record.id.as_str(),
                record.name,
                image,
                record.created_ns,
                record.config_json,
                record.started
            ])?;
            Ok(())
        })
    }

    /// Gives a container another name, and the document that goes with it.
    ///
    /// Errors: [`Error::NoContainer`], [`Error::ContainerName`], [`Error::NameInUse`].
    pub fn rename_container(
        &self,
        id: &ContainerId,
        name: &str,
        config_json: &str,
        durability: Durability,
    ) -> Result<(), Error> {
        if !id::is_name(name) {
            return Err(Error::ContainerName { name: name.to_owned(), max: id::NAME_BYTES_MAX });
        }
        self.db.write("rename the container", durability, |tx| {
            if let Some((other, ..)) = by(tx, "name", name)?
                && other != id.as_str()
            {
                return Err(Error::NameInUse { name: name.to_owned(), id: other }.into());
            }
            let changed = tx
                .prepare_cached("UPDATE containers SET name = ?2, config_json = ?3 WHERE id = ?1")?
                .execute(params![id.as_str(), name, config_json])?;
            match changed {
                0 => Err(Error::NoContainer { given: id.to_string() }.into()),
                _ => Ok(()),
            }
        })
    }

    /// Gives a container another document.
    ///
    /// Errors: [`Error::NoContainer`].
    pub fn update_container(
        &self,
        id: &ContainerId,
        config_json: &str,
        durability: Durability,
    ) -> Result<(), Error> {
        self.db.write("update the container", durability, |tx| {
            let changed = tx
                .prepare_cached("UPDATE containers SET config_json = ?2 WHERE id = ?1")?
                .execute(params![id.as_str(), config_json])?;
            match changed {
                0 => Err(Error::NoContainer { given: id.to_string() }.into()),
                _ => Ok(()),
            }
        })
    }

    /// Writes down that a container is started for the first time.
    ///
    /// Errors: [`Error::NoContainer`].
    pub fn container_started(&self, id: &ContainerId, durability: Durability) -> Result<(), Error> {
        self.db.write("record the container's start", durability, |tx| {
            let changed = tx
                .prepare_cached("UPDATE containers SET started = 1 WHERE id = ?1")?
                .execute([id.as_str()])?;
            match changed {
                0 => Err(Error::NoContainer { given: id.to_string() }.into()),
                _ => Ok(()),
            }
        })
    }

    /// Removes a container's record; `false` if there was none.
    pub fn remove_container(&self, id: &ContainerId, durability: Durability) -> Result<bool, Error> {
        self.db.write("remove the container's record", durability, |tx| {
            let removed =
                tx.prepare_cached("DELETE FROM containers WHERE id = ?1")?.execute([id.as_str()])?;
            Ok(removed > 0)
        })
    }

    /// Removes the records of several containers, all or none; how many of them there were.
    pub fn remove_containers(&self, ids: &[ContainerId], durability: Durability) -> Result<usize, Error> {
        self.db.write("remove the containers' records", durability, |tx| {
            let mut delete = tx.prepare_cached("DELETE FROM containers WHERE id = ?1")?;
            let mut removed = 0;
            for id in ids {
                removed += delete.execute([id.as_str()])?;
            }
            Ok(removed)
        })
    }

    /// The container with this id, if there is one.
    pub fn container(&self, id: &ContainerId) -> Result<Option<ContainerRecord>, Error> {
        let raw = self.db.read("read the container's record", |tx| Ok(by(tx, "id", id.as_str())?))?;
        raw.map(|raw| self.container_record(raw)).transpose()
    }

    /// All containers, the newest first.
    pub fn containers(&self) -> Result<Vec<ContainerRecord>, Error> {
        let raws = self.db.read("list the containers", |tx| {
            let mut query =
                tx.prepare_cached(&format!("SELECT {COLUMNS} FROM containers ORDER BY created_ns DESC, id"))?;
            let raws = query.query_map([], raw_record)?.collect::<Result<Vec<_>, _>>()?;
            Ok(raws)
        })?;
        raws.into_iter().map(|raw| self.container_record(raw)).collect()
    }

    /// The container that a user calls `given`: a full id, else a name, else the beginning of one id.
    ///
    /// Errors: [`Error::NoContainer`], and [`Error::Ambiguous`] for the beginning of several.
    pub fn find_container(&self, given: &str) -> Result<ContainerRecord, Error> {
        let name = given.strip_prefix('/').unwrap_or(given);
        let raw = self.db.read("look the container up", |tx| {
            if ContainerId::parse(given).is_some()
                && let Some(raw) = by(tx, "id", given)?
            {
                return Ok(raw);
            }
            match by(tx, "name", name)? {
                Some(raw) => Ok(raw),
                None => by_prefix(tx, given),
            }
        })?;
        self.container_record(raw)
    }

    fn container_record(&self, raw: RawRecord) -> Result<ContainerRecord, Error> {
        let (id, name, image, created_ns, config_json, started) = raw;
        let id = ContainerId::parse(&id).ok_or_else(|| self.db.damaged("container id", &id))?;
        let image = match image {
            None => None,
            Some(text) => Some(ImageId::parse(&text).ok_or_else(|| self.db.damaged("image id", &text))?),
        };
        Ok(ContainerRecord { id, name, image, created_ns, config_json, started })
    }
}

fn refuse_taken(tx: &Transaction<'_>, record: &ContainerRecord) -> Result<(), Fault> {
    let holder: Option<String> = tx
        .prepare_cached("SELECT id FROM containers WHERE name = ?1")?
        .query_row([&record.name], |row| row.get(0))
        .optional()?;
    if let Some(id) = holder {
        return Err(Error::NameInUse { name: record.name.clone(), id }.into());
    }
    match exists(tx, "SELECT 1 FROM containers WHERE id = ?1", record.id.as_str())? {
        true => Err(Error::ContainerExists { id: record.id.to_string() }.into()),
        false => Ok(()),
    }
}

fn exists(tx: &Transaction<'_>, query: &str, key: &str) -> rusqlite::Result<bool> {
    tx.prepare_cached(query)?.exists([key])
}

fn by(tx: &Transaction<'_>, column: &str, value: &str) -> rusqlite::Result<Option<RawRecord>> {
    tx.prepare_cached(&format!("SELECT {COLUMNS} FROM containers WHERE {column} = ?1"))?
        .query_row([value], raw_record)
        .optional()
}

fn by_prefix(tx: &Transaction<'_>, given: &str) -> Result<RawRecord, Fault> {
    let unknown = || Error::NoContainer { given: given.to_owned() };
    if !is_id_prefix(given) {
        return Err(unknown().into());
    }
    let mut query = tx.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM containers WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id LIMIT {MATCHES_MAX}"
    ))?;
    let mut found = query.query_map([given], raw_record)?.collect::<Result<Vec<_>, _>>()?;
    if found.len() > 1 {
        let matches = found.iter().map(|raw| raw.0.chars().take(SHORT_ID_DIGITS).collect()).collect();
        return Err(Error::Ambiguous { what: "container", given: given.to_owned(), matches }.into());
    }
    found.pop().ok_or_else(|| unknown().into())
}

/// Whether `text` may be the beginning of an id: up to 64 hexadecimal digits.
pub(crate) fn is_id_prefix(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn raw_record(row: &Row<'_>) -> rusqlite::Result<RawRecord> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}
