//! Ids as a user namespace has them inside, where this process sees those outside.

use crate::tar::Xattrs;
use types::oci::IdMapping;

/// The id that the kernel shows in place of one that has no map. Source: `fs.overflowuid`.
const OVERFLOW_ID: u32 = 65_534;

/// What `id` is inside.
pub fn inside(mappings: &[IdMapping], id: u32) -> u32 {
    let of_line = |line: &IdMapping| {
        let offset = id.checked_sub(line.host_id)?;
        (offset < line.size).then(|| line.container_id.checked_add(offset))?
    };
    mappings.iter().find_map(of_line).unwrap_or(OVERFLOW_ID)
}

/// Maps the ids in those extended attributes that the kernel shows with ids of whoever asks.
pub fn map_xattrs(xattrs: &mut Xattrs, users: &[IdMapping], groups: &[IdMapping]) {
    for (name, value) in xattrs {
        match name.as_slice() {
            b"security.capability" => map_capability(value, users),
            b"system.posix_acl_access" | b"system.posix_acl_default" => map_acl(value, users, groups),
            _ => {}
        }
    }
}

/// Capabilities that count where a certain id is root say so in a field more; those of the root inside need none there.
/// Source: linux/capability.h, `vfs_ns_cap_data`.
fn map_capability(value: &mut Vec<u8>, users: &[IdMapping]) {
    const BYTES: usize = 24;
    const REVISION_2: u8 = 2;
    const REVISION_3: u8 = 3;
    if value.len() != BYTES || value[3] != REVISION_3 {
        return;
    }
    let root = u32::from_le_bytes([value[20], value[21], value[22], value[23]]);
    match inside(users, root) {
        0 => {
            value.truncate(20);
            value[3] = REVISION_2;
        }
        id => value[20..].copy_from_slice(&id.to_le_bytes()),
    }
}

/// Source: linux/posix_acl_xattr.h: a version of 4 bytes, then tag and permissions of 2 bytes each and an id of 4.
fn map_acl(value: &mut [u8], users: &[IdMapping], groups: &[IdMapping]) {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    for entry in value.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        let mappings = match u16::from_le_bytes([entry[0], entry[1]]) {
            USER => users,
            GROUP => groups,
            _ => continue,
        };
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        entry[4..].copy_from_slice(&inside(mappings, id).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: [IdMapping; 1] = [IdMapping { container_id: 0, host_id: 5000, size: 100 }];

    #[test]
    fn ids_without_a_map_are_nobodys() {
        assert_eq!(inside(&MAP, 5000), 0);
        assert_eq!(inside(&MAP, 5099), 99);
        assert_eq!(inside(&MAP, 5100), OVERFLOW_ID);
        assert_eq!(inside(&MAP, 0), OVERFLOW_ID);
    }

    #[test]
    fn capabilities_of_the_root_inside_are_plain_ones() {
        let capability = |root: u32| [&[1, 0, 0, 3][..], &[7; 16], &root.to_le_bytes()].concat();
        let mut xattrs = vec![(b"security.capability".to_vec(), capability(5000))];
        map_xattrs(&mut xattrs, &MAP, &[]);
        assert_eq!(xattrs[0].1, [&[1, 0, 0, 2][..], &[7; 16]].concat());
        xattrs[0].1 = capability(5001);
        map_xattrs(&mut xattrs, &MAP, &[]);
        assert_eq!(xattrs[0].1, capability(1));
    }

    #[test]
    fn users_and_groups_of_access_lists_are_mapped() {
        let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &[7, 0], &id.to_le_bytes()].concat();
        let list = |user: u32, group: u32| {
            [vec![2, 0, 0, 0], entry(1, u32::MAX), entry(2, user), entry(8, group), entry(32, u32::MAX)]
                .concat()
        };
        let mut xattrs = vec![(b"system.posix_acl_access".to_vec(), list(5007, 5008))];
        map_xattrs(&mut xattrs, &MAP, &MAP);
        assert_eq!(xattrs[0].1, list(7, 8));
        for broken in [&b""[..], b"123", b"\x02\0\0\0\x02\0"] {
            let mut xattrs = vec![(b"system.posix_acl_access".to_vec(), broken.to_vec())];
            map_xattrs(&mut xattrs, &MAP, &MAP);
            assert_eq!(xattrs[0].1, broken);
        }
    }
}
