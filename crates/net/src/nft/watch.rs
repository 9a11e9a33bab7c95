//! Noticing that our tables, or parts of them, are gone: what group 7 of NETLINK_NETFILTER tells. Source:
//! net/netfilter/nf_tables_api.c, nf_tables_commit, which tells of each object that went, then of the new generation.

use super::wire::{self, Msg, TableFamily};
use super::{Error, Names};
use crate::netlink::{Attributes, Protocol, Socket, text};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// NFNLGRP_NFTABLES, as a mask.
const GROUP: u32 = 1 << (7 - 1);

/// Messages taken at one turn: what's more is told at the next.
const TURN_MESSAGES_MAX: u32 = 1_000;

/// What happened to our tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// So much happened that some of it was lost: look ([`super::Firewall::dump`]).
    Unclear,
    /// A chain, rule or set went, or a rule came that isn't ours: look, and restore.
    Damaged,
    /// A table went.
    Gone,
}

/// A watch over the tables, in the network namespace of the thread that opened it. It says nothing of elements, which come
/// and go with containers, and nothing about who did it: berth's own [`super::Firewall::remove_table`] is heard too.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    table: String,
}

impl Watch {
    /// Begins to watch. What happened earlier isn't told: look after this.
    pub fn open(names: &Names) -> Result<Watch, Error> {
        let socket = Socket::listen(Protocol::Netfilter, GROUP).map_err(|errno| Error::Open { errno })?;
        Ok(Watch { socket, table: names.table.clone() })
    }

    /// What happened since the last turn, the worst of it. Doesn't wait: poll [`Watch::as_fd`] for input.
    pub fn turn(&mut self) -> Result<Heard, Error> {
        let mut worst = Heard::Nothing;
        for _ in 0..TURN_MESSAGES_MAX {
            let table = &self.table;
            let heard = self.socket.heard(|typ, payload| worst = worst.max(judge(table, typ, payload)));
            match heard {
                Ok(true) => {}
                Ok(false) => break,
                Err(Errno::NOBUFS) => worst = worst.max(Heard::Unclear),
                Err(errno) => {
                    let table = self.table.clone();
                    return Err(Error::Refused { doing: "hear of changes", table, errno });
                }
            }
        }
        Ok(worst)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What a message means for the tables called so.
fn judge(table: &str, typ: u16, payload: &[u8]) -> Heard {
    const DEL_TABLE: u16 = Msg::DelTable.typ();
    const PARTS: [u16; 4] = [Msg::NewRule.typ(), Msg::DelRule.typ(), Msg::DelChain.typ(), Msg::DelSet.typ()];
    // NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE and NFTA_SET_TABLE are all 1.
    let named = Attributes::after(payload, wire::HEADER).find_kind(1).map(text);
    let family = payload.first().and_then(|family| TableFamily::of(*family));
    let ours = [TableFamily::Inet, TableFamily::Bridge];
    if named.as_deref() != Some(table) || !family.is_some_and(|family| ours.contains(&family)) {
        return Heard::Nothing;
    }
    match typ {
        DEL_TABLE => Heard::Gone,
        typ if PARTS.contains(&typ) => Heard::Damaged,
        _ => Heard::Nothing,
    }
}
