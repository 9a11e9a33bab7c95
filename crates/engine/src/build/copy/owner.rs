//! `--chown`: names of the tree that is copied to, or numbers.

use crate::users::{self, UserFiles};
use linux::Errno;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::io::Read;
use std::os::fd::BorrowedFd;

/// Most bytes that are read of a tree's passwd or group (security.md T13).
const FILE_BYTES_MAX: u64 = 4 << 20;

/// User and group that `text`, `user[:group]`, means, and what to warn of.
///
/// As BuildKit: a number without a group is the group as well; a user that isn't known is root, a group that isn't is the
/// user's. Unlike it, a number that is no id is an error, and not root.
pub fn resolve(text: &str, accounts: &UserFiles) -> Result<((u32, u32), Option<String>), String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    for part in [Some(user), group].into_iter().flatten() {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && number(part).is_none() {
            return Err(format!("{part} is no id: ids are within 0 to {}", u32::MAX - 1));
        }
    }
    let unknown = |what: &str, name: &str, so: String| {
        format!("--chown={text}: there is no {what} {name:?} in the image: files are owned by {so}")
    };
    let mut warning = None;
    let (uid, own) = match user {
        "" => (0, 0),
        user => match (users::by_name(&accounts.passwd, user), number(user)) {
            (Some((uid, gid)), _) => (uid, gid),
            (None, Some(uid)) => (uid, uid),
            (None, None) => {
                warning = Some(unknown("user", user, "0:0".to_owned()));
                (0, 0)
            }
        },
    };
    let gid = match group {
        None => own,
        Some(group) => match users::group_by_name(&accounts.group, group).or_else(|| number(group)) {
            Some(gid) => gid,
            None => {
                warning.get_or_insert_with(|| unknown("group", group, format!("{uid}:{own}")));
                own
            }
        },
    };
    Ok(((uid, gid), warning))
}

fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u32>().ok().filter(|id| is_number && *id < u32::MAX)
}

/// The accounts of the tree below `root`, as far as there are any.
pub fn accounts(root: BorrowedFd<'_>) -> UserFiles {
    let read = |path| read(root, path).unwrap_or_default();
    UserFiles { passwd: read("etc/passwd"), group: read("etc/group") }
}

fn read(root: BorrowedFd<'_>, path: &str) -> Result<Vec<u8>, Errno> {
    let confined = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat2(root, path, flags, Mode::empty(), confined)?;
    // A FIFO or device with that name is none.
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let mut bytes = Vec::new();
    let read = std::fs::File::from(file).take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_those_that_buildkit_finds() {
        let accounts = UserFiles {
            passwd: b"root:x:0:0::/:\nann:x:1000:1001::/:\n7:x:70:71::/:\n".to_vec(),
            group: b"root:x:0:\nweb:x:33:\n".to_vec(),
        };
        for (text, owner, warns) in [
            ("ann", (1000, 1001), false),
            ("ann:web", (1000, 33), false),
            ("ann:0", (1000, 0), false),
            ("1000", (1000, 1000), false),
            ("5", (5, 5), false),
            ("7", (70, 71), false),
            ("3:4", (3, 4), false),
            (":web", (0, 33), false),
            ("bob", (0, 0), true),
            ("ann:bob", (1000, 1001), true),
            ("-1", (0, 0), true),
            ("a:b:c", (0, 0), true),
        ] {
            let (found, warning) = resolve(text, &accounts).unwrap();
            assert_eq!((found, warning.is_some()), (owner, warns), "{text}");
        }
        for bad in ["4294967296", "4294967295", "1:99999999999"] {
            assert!(resolve(bad, &accounts).is_err(), "{bad}");
        }
    }
}
