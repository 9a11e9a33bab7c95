//! `berth rename`: the link of `names/`, the row in the store, and the documents of this boot get another name.
//!
//! One rename at a time, under a lock on `names/`. For a container that has a directory of this boot:
//!
//! 1. its file `renaming` says from what to what
//! 2. the new link is made: from here on the name is taken
//! 3. the row, then `config.json` and the intent in `lock` are written ([`record`], [`complete`])
//! 4. the old link goes, then `renaming`
//!
//! Killed in between, it's completed by the next command that touches the container ([`put_right`]); one that was killed
//! before step 2 has not begun. A container without a directory of this boot has only its row, and the row is what counts: a
//! link by another name is nobody's ([`find::reap_named`]).

use crate::cell::Cell;
use crate::claims::Claims;
use crate::find::{self, State};
use crate::{Config, Error, Home, events, network, rm};
use linux::fault;
use serde::{Deserialize, Serialize};
use types::id::{self, ContainerId};

/// The file of an unfinished rename.
const RENAMING: &str = "renaming";

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
struct Renaming {
    from: String,
    to: String,
}

/// Gives the container `given` the name `new`.
///
/// Errors: [`Error::Invalid`] for what is no name, [`Error::NameInUse`], [`Error::NoContainer`].
pub fn rename(home: &Home, given: &str, new: &str) -> Result<(), Error> {
    // Docker shows names with a slash in places, and takes them so.
    let new = new.strip_prefix('/').unwrap_or(new);
    let failed = |why: &str| Err(Error::invalid(format!("rename container {given}"), why));
    if given.is_empty() || new.is_empty() {
        return Err(Error::invalid("rename", "neither old nor new names may be empty"));
    }
    // Puts right what is left of an earlier one.
    await_start(home, &find::container(home, given)?)?;
    let claims = Claims::open(home)?;
    let _one_at_a_time = claims.lock_names()?;
    let container = find::container(home, given)?;
    let config = &container.config;
    if !id::is_name(new) {
        return failed(&format!(
            "invalid container name ({new}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, 2 to {} of them",
            id::NAME_BYTES_MAX
        ));
    }
    if config.name == new {
        return failed("renaming a container with the same name as its current name");
    }
    let cell = container.cell(home);
    let renaming = Renaming { from: config.name.clone(), to: new.to_owned() };
    if cell.path.is_dir() {
        cell.write(RENAMING, &renaming)?;
        fault::point("rename intended");
    }
    if let Err(error) = claim(home, &claims, new, &config.id) {
        let _ = std::fs::remove_file(cell.path.join(RENAMING));
        return Err(error);
    }
    fault::point("new name claimed");
    let renamed = Config { name: new.to_owned(), ..config.clone() };
    if let Err(error) = record(home, &cell, &renamed) {
        // It was removed meanwhile, or the store can't be written: the old name stays.
        claims.unlink_name(new, &config.id);
        let _ = std::fs::remove_file(cell.path.join(RENAMING));
        return Err(error);
    }
    complete(&claims, &cell, &renamed, &renaming)?;
    events::container(home, &renamed, "rename", &[("oldName", &format!("/{}", renaming.from))]);
    Ok(())
}

fn claim(home: &Home, claims: &Claims<'_>, name: &str, id: &str) -> Result<(), Error> {
    match claims.claim_name(name, id) {
        Err(Error::NameInUse { .. }) => {
            // Unless whoever had it is gone without a trace.
            find::reap_claimed(home, claims, name);
            claims.claim_name(name, id)
        }
        other => other,
    }
}

/// One that is just being started has no row yet, which would be written with the old name.
fn await_start(home: &Home, container: &find::Container) -> Result<(), Error> {
    match container.state {
        State::Starting => rm::await_started(&container.cell(home)).map(drop),
        _ => Ok(()),
    }
}

/// Changes the row, if there is one.
fn record(home: &Home, cell: &Cell, renamed: &Config) -> Result<(), Error> {
    let gone = || Error::NoContainer { given: renamed.id.clone() };
    if !renamed.recorded() {
        return cell.config().map(drop).ok_or_else(gone);
    }
    let id = ContainerId::parse(&renamed.id).ok_or_else(gone)?;
    // Plain data always serialises.
    let document = serde_json::to_string(renamed).unwrap_or_default();
    let store = store::Store::open(&home.root)?;
    store.rename_container(&id, &renamed.name, &document, store::Durability::Synced)?;
    fault::point("row renamed");
    Ok(())
}

/// The rest of steps 3 and 4; may be done again.
fn complete(claims: &Claims<'_>, cell: &Cell, renamed: &Config, renaming: &Renaming) -> Result<(), Error> {
    if cell.config().is_some() {
        let written = cell.write("config.json", renamed).and_then(|()| {
            fault::point("configuration renamed");
            cell.intend_name(&renamed.name)
        });
        // It may have ended, and its keeper be taking the directory away.
        written.or_else(|error| if cell.config().is_none() { Ok(()) } else { Err(error) })?;
        fault::point("intent renamed");
    }
    network::rename(claims.home(), cell, renamed);
    fault::point("renamed on its networks");
    claims.unlink_name(&renaming.from, &renamed.id);
    fault::point("old name released");
    let _ = std::fs::remove_file(cell.path.join(RENAMING));
    Ok(())
}

/// Completes the rename of a process that was killed.
pub(crate) fn put_right(home: &Home, cell: &Cell) {
    let path = cell.path.join(RENAMING);
    if !path.exists() {
        return;
    }
    let Ok(claims) = Claims::open(home) else { return };
    // Otherwise somebody is at it.
    let Ok(Some(_one_at_a_time)) = claims.try_lock_names() else { return };
    let text = std::fs::read(&path).unwrap_or_default();
    let (Ok(renaming), Some(config)) = (serde_json::from_slice::<Renaming>(&text), cell.config()) else {
        return;
    };
    match claims.id_of_name(&renaming.to).is_some_and(|id| id == cell.id) {
        true => {
            let renamed = Config { name: renaming.to.clone(), ..config };
            if record(home, cell, &renamed).is_ok() {
                let _ = complete(&claims, cell, &renamed, &renaming);
            }
        }
        false => {
            let _ = std::fs::remove_file(path);
        }
    }
}
