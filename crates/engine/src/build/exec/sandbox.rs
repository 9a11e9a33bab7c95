//! What a program of a build has on this host while it runs: a directory of this boot, ids, addresses, a control group.
//!
//! To others it looks like a container that is being made, and never gets further: lists don't show it, and whoever finds its
//! lock free removes what is left of it (`find::reap`).

use crate::cell::{Cell, CellLock, Intent};
use crate::claims::Claims;
use crate::config::UserNamespace;
use crate::request::RunRequest;
use crate::run::{claim_ids, foreign_cgroup};
use crate::{Error, Home, names, teardown};
use runtime::cgroup::Cgroup;
use std::collections::BTreeSet;

/// All of it, given back when it's dropped.
#[derive(Debug)]
pub struct Sandbox {
    home: Home,
    /// Its directory.
    pub cell: Cell,
    /// Its control group, once it's made.
    pub group: Option<Cgroup>,
    intent: Intent,
    lock: CellLock,
}

impl Sandbox {
    /// Claims the directory.
    pub fn new(home: &Home, request: &RunRequest) -> Result<Sandbox, Error> {
        // What an earlier boot left goes first.
        Claims::open(home)?;
        let id = names::random_id()?;
        let intent = Intent {
            name: String::new(),
            rm: true,
            slots: Vec::new(),
            again: false,
            cgroup: foreign_cgroup(home, request, &id),
        };
        let (cell, lock) = Cell::create(home, &id, &intent)?;
        Ok(Sandbox { home: home.clone(), cell, group: None, intent, lock })
    }

    /// Claims ids, also those of `blocks` above the first.
    pub fn claim_ids(&mut self, blocks: &BTreeSet<u32>) -> Result<UserNamespace, Error> {
        let Sandbox { home, cell, intent, lock, .. } = self;
        let home = &*home;
        let claims = Claims::open(home)?;
        let mut slots = Vec::new();
        claim_ids(home, &claims, &cell.id, &mut slots, blocks, &mut |slots| {
            intent.slots = slots.to_vec();
            lock.intend(intent).map_err(|errno| Error::system("write to", cell.path.display(), errno))
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        teardown::not_started(&self.home, &self.cell, self.group.take());
    }
}
