//! Records of networks: names, ids, and the engine's documents. What there is of them in the kernel is the engine's to ask.

use crate::Store;
use crate::db::Durability;
use crate::error::Error;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use types::id;

/// One network, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRecord {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// Its name, unique in the store.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// The engine's document; the store does not look into it.
    pub config_json: String,
}

const COLUMNS: &str = "id, name, created_ns, config_json";

fn record(row: &Row<'_>) -> rusqlite::Result<NetworkRecord> {
    Ok(NetworkRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        created_ns: row.get(2)?,
        config_json: row.get(3)?,
    })
}

fn all(tx: &Transaction<'_>) -> rusqlite::Result<Vec<NetworkRecord>> {
    tx.prepare_cached(&format!("SELECT {COLUMNS} FROM networks ORDER BY created_ns, id"))?
        .query_map([], record)?
        .collect()
}

impl Store {
    /// Adds the network that `make` decides on, given those there are: nobody else adds one meanwhile. The failure of
    /// `make` is the inner one.
    ///
    /// Errors: [`Error::NetworkName`], [`Error::NetworkExists`].
    pub fn insert_network<E>(
        &self,
        durability: Durability,
        make: impl FnOnce(&[NetworkRecord]) -> Result<NetworkRecord, E>,
    ) -> Result<Result<NetworkRecord, E>, Error> {
        self.db.write("record the network", durability, |tx| {
            let known = all(tx)?;
            let new = match make(&known) {
                Ok(new) => new,
                Err(error) => return Ok(Err(error)),
            };
            if !id::is_network_name(&new.name) {
                return Err(Error::NetworkName { name: new.name }.into());
            }
            if known.iter().any(|other| other.name == new.name) {
                return Err(Error::NetworkExists { name: new.name }.into());
            }
            tx.prepare_cached(
                "INSERT INTO networks (id, name, created_ns, config_json) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![new.id, new.name, new.created_ns, new.config_json])?;
            Ok(Ok(new))
        })
    }

    /// All networks, the oldest first.
    pub fn networks(&self) -> Result<Vec<NetworkRecord>, Error> {
        self.db.read("list the networks", |tx| Ok(all(tx)?))
    }

    /// The network with a name.
    pub fn network_named(&self, name: &str) -> Result<Option<NetworkRecord>, Error> {
        self.db.read("look the network up", |tx| {
            let mut query = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM networks WHERE name = ?1"))?;
            Ok(query.query_row([name], record).optional()?)
        })
    }

    /// Removes a network's record; `false` if there was none.
    pub fn remove_network(&self, id: &str, durability: Durability) -> Result<bool, Error> {
        self.db.write("remove the network's record", durability, |tx| {
            Ok(tx.prepare_cached("DELETE FROM networks WHERE id = ?1")?.execute([id])? > 0)
        })
    }
}
