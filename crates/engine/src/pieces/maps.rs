//! Which ids of a new user namespace stand for which of the caller's. Source: unshare(1), `--map-user`, `--map-users`.

use super::accounts::{self, SubIds};
use super::{Error, procfs};
use crate::request::{MapOne, MapRange, UnshareRequest};
use types::oci::IdMapping;

/// The lines of one map, and who may write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Map {
    /// Nothing is written.
    None,
    /// The caller's own id, which the process in the namespace may map by itself.
    Own(IdMapping),
    /// More than that: somebody with rights over the outer ids has to write it, from outside.
    Ranges(Vec<IdMapping>),
}

/// A block, which starts at inner id 0 if it doesn't say where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    inner: Option<u32>,
    outer: u32,
    count: u32,
}

/// The blocks without what overlaps the single id, and that: as many ids as fit stay mapped, those dropped are the
/// last of their block. Source: util-linux unshare.c, add_single_map_range().
fn combine(blocks: &[Block], single: Option<IdMapping>) -> Vec<IdMapping> {
    let mut lines: Vec<IdMapping> = single.into_iter().collect();
    for block in blocks {
        // 64 bits: nothing below overflows.
        let (inner, outer) = (u64::from(block.inner.unwrap_or(0)), u64::from(block.outer));
        let mut count = u64::from(block.count);
        let Some(one) = single else {
            lines.push(line(inner, outer, count));
            continue;
        };
        let (one_inner, one_outer) = (u64::from(one.container_id), u64::from(one.host_id));
        let within = |id: u64, first: u64| id >= first && id < first + count;
        if block.inner.is_some() && (within(one_inner, inner) || within(one_outer, outer)) {
            count -= 1;
        }
        let inner_at = one_inner.saturating_sub(inner).min(count);
        let outer_at = one_outer.saturating_sub(outer).min(count);
        // Up to the lower of the two holes, from there to the higher, from there to the end.
        let parts = [inner_at.min(outer_at), inner_at.abs_diff(outer_at), count - inner_at.max(outer_at)];
        let (mut inner, mut outer) = (inner, outer);
        for (n, part) in parts.into_iter().enumerate() {
            if n > 0 {
                inner += u64::from(inner == one_inner);
                outer += u64::from(outer == one_outer);
            }
            if part > 0 {
                lines.push(line(inner, outer, part));
            }
            inner += part;
            outer += part;
        }
    }
    lines
}

/// The values are below 2^32: they were made of 32-bit ones, and a block that ends beyond is the kernel's to refuse.
fn line(inner: u64, outer: u64, count: u64) -> IdMapping {
    let id = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    IdMapping { container_id: id(inner), host_id: id(outer), size: id(count) }
}

/// What differs between user and group ids.
struct Side {
    one_flag: &'static str,
    ranges_flag: &'static str,
    subordinate: &'static str,
    own_map: &'static str,
    resolve: fn(&str) -> Option<u32>,
}

const USERS: Side = Side {
    one_flag: "--map-user",
    ranges_flag: "--map-users",
    subordinate: "/etc/subuid",
    own_map: "uid_map",
    resolve: accounts::user,
};

const GROUPS: Side = Side {
    one_flag: "--map-group",
    ranges_flag: "--map-groups",
    subordinate: "/etc/subgid",
    own_map: "gid_map",
    resolve: accounts::group,
};

impl Side {
    fn one(&self, one: &MapOne, own: u32) -> Result<IdMapping, Error> {
        let container_id = match one {
            MapOne::Root => 0,
            MapOne::Current => own,
            MapOne::To(given) => (self.resolve)(given).ok_or_else(|| Error::Value {
                what: self.one_flag,
                why: format!("{given:?} is neither a name on this host nor an id"),
                hint: None,
            })?,
        };
        Ok(IdMapping { container_id, host_id: own, size: 1 })
    }

    fn blocks(&self, range: &MapRange, uid: u32) -> Result<Vec<Block>, Error> {
        match range {
            MapRange::Block { inner, outer, count } => {
                Ok(vec![Block { inner: Some(*inner), outer: *outer, count: *count }])
            }
            MapRange::All => {
                let map = procfs::text(std::process::id() as i32, self.own_map);
                let map = map.and_then(|text| runtime::userns::parse_map(&text)).unwrap_or_default();
                let block = |m: IdMapping| Block {
                    inner: Some(m.container_id),
                    outer: m.container_id,
                    count: m.size,
                };
                Ok(map.into_iter().map(block).collect())
            }
            MapRange::Auto => {
                let name = accounts::user_name(uid);
                let all = accounts::subordinate(self.subordinate);
                let SubIds { first, count, .. } =
                    accounts::range_of(&all, uid, name.as_deref()).ok_or_else(|| Error::Value {
                        what: self.ranges_flag,
                        why: format!(
                            "auto: no line for user {} in {}",
                            name.unwrap_or(uid.to_string()),
                            self.subordinate
                        ),
                        hint: Some(format!("add a line such as USER:100000:65536 to {}", self.subordinate)),
                    })?;
                Ok(vec![Block { inner: None, outer: *first, count: *count }])
            }
        }
    }

    fn map(&self, one: Option<&MapOne>, ranges: &[MapRange], uid: u32, own: u32) -> Result<Map, Error> {
        let single = one.map(|one| self.one(one, own)).transpose()?;
        if ranges.is_empty() {
            return Ok(single.map_or(Map::None, Map::Own));
        }
        let mut blocks = Vec::new();
        for range in ranges {
            blocks.extend(self.blocks(range, uid)?);
        }
        let lines = combine(&blocks, single);
        runtime::userns::check(self.ranges_flag, &lines).map_err(|error| Error::Value {
            what: self.ranges_flag,
            why: error.to_string(),
            hint: error.hint(),
        })?;
        Ok(Map::Ranges(lines))
    }
}

/// The maps of user and group ids that a caller with these effective ids asks for.
///
/// Errors: [`Error::Value`] for an unknown name, no subordinate ids, blocks that overlap.
pub fn maps(request: &UnshareRequest, uid: u32, gid: u32) -> Result<(Map, Map), Error> {
    Ok((
        USERS.map(request.map_user.as_ref(), &request.map_users, uid, uid)?,
        GROUPS.map(request.map_group.as_ref(), &request.map_groups, uid, gid)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    fn block(inner: u32, outer: u32, count: u32) -> Block {
        Block { inner: Some(inner), outer, count }
    }

    #[test]
    fn a_single_id_is_cut_out_of_the_blocks() {
        let auto = Block { inner: None, outer: 100_000, count: 65_536 };
        assert_eq!(combine(&[auto], None), [map(0, 100_000, 65_536)]);
        // As root inside: the block moves up by one and stays whole.
        assert_eq!(combine(&[auto], Some(map(0, 1000, 1))), [map(0, 1000, 1), map(1, 100_000, 65_536)]);
        // As oneself inside.
        assert_eq!(
            combine(&[auto], Some(map(1000, 1000, 1))),
            [map(1000, 1000, 1), map(0, 100_000, 1000), map(1001, 101_000, 64_536)]
        );
        // A block that says where it begins loses its last id instead.
        assert_eq!(
            combine(&[block(0, 100_000, 10)], Some(map(0, 1000, 1))),
            [map(0, 1000, 1), map(1, 100_000, 9)]
        );
        // The caller's id is among the outer ones.
        assert_eq!(
            combine(&[block(0, 0, 10)], Some(map(0, 5, 1))),
            [map(0, 5, 1), map(1, 0, 5), map(6, 6, 4)]
        );
        assert_eq!(combine(&[block(5, 50, 5)], Some(map(0, 0, 1))), [map(0, 0, 1), map(5, 50, 5)]);
        assert_eq!(combine(&[block(0, 7, 1)], Some(map(0, 5, 1))), [map(0, 5, 1)]);
    }

    #[test]
    fn every_combination_is_a_map_that_the_kernel_takes() {
        for inner in 0..6 {
            for outer in 0..6 {
                for one_inner in 0..12 {
                    for one_outer in 0..12 {
                        let lines = combine(&[block(inner, outer, 4)], Some(map(one_inner, one_outer, 1)));
                        assert!(runtime::userns::check("f", &lines).is_ok(), "{lines:?}");
                        let ids: u32 = lines.iter().map(|line| line.size).sum();
                        assert!((4..=5).contains(&ids), "{lines:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn requests_become_maps() {
        let mut request = UnshareRequest { map_user: Some(MapOne::Root), ..UnshareRequest::default() };
        assert_eq!(maps(&request, 7, 8).unwrap(), (Map::Own(map(0, 7, 1)), Map::None));
        request.map_user = Some(MapOne::To("root".to_owned()));
        request.map_group = Some(MapOne::Current);
        assert_eq!(maps(&request, 7, 8).unwrap(), (Map::Own(map(0, 7, 1)), Map::Own(map(8, 8, 1))));
        request.map_users = vec![MapRange::Block { inner: 1, outer: 100, count: 9 }];
        assert_eq!(maps(&request, 7, 8).unwrap().0, Map::Ranges(vec![map(0, 7, 1), map(1, 100, 9)]));
        request.map_users.push(MapRange::Block { inner: 5, outer: 500, count: 9 });
        assert!(maps(&request, 7, 8).is_err());
        request.map_user = Some(MapOne::To("nobody-here".to_owned()));
        assert!(maps(&request, 7, 8).is_err());
    }
}
