//! The host's account files: names for ids, and whose subordinate ids a range is.

use super::procfs;

/// Longest account file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A line of `/etc/subuid` or `/etc/subgid`. Source: subuid(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubIds {
    /// Name or number of the user.
    pub owner: String,
    /// First id.
    pub first: u32,
    /// How many.
    pub count: u32,
}

fn file(path: &str) -> String {
    String::from_utf8_lossy(&procfs::read(path, FILE_BYTES_MAX).unwrap_or_default()).into_owned()
}

/// The id that `/etc/passwd` or `/etc/group` (the third field in both) has for `name`.
fn id_of(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn name_of(text: &str, id: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

/// A name of `text`, or else a number.
fn resolve(text: &str, given: &str) -> Option<u32> {
    id_of(text, given).or_else(|| given.parse().ok()).filter(|id| *id != u32::MAX)
}

/// The user id that `given`, a name or a number, stands for on the host.
pub fn user(given: &str) -> Option<u32> {
    resolve(&file("/etc/passwd"), given)
}

/// The group id that `given`, a name or a number, stands for on the host.
pub fn group(given: &str) -> Option<u32> {
    resolve(&file("/etc/group"), given)
}

/// The host's name of user `id`.
pub fn user_name(id: u32) -> Option<String> {
    name_of(&file("/etc/passwd"), id)
}

fn parse(text: &str) -> Vec<SubIds> {
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) =
            (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(SubIds { owner: owner.to_owned(), first, count })
    };
    text.lines().filter_map(line).collect()
}

/// The lines of `/etc/subuid` (or, with that path, `/etc/subgid`).
pub fn subordinate(path: &str) -> Vec<SubIds> {
    parse(&file(path))
}

/// The first range of user `id`, called `name`.
pub fn range_of<'a>(all: &'a [SubIds], id: u32, name: Option<&str>) -> Option<&'a SubIds> {
    let number = id.to_string();
    all.iter().find(|range| Some(range.owner.as_str()) == name || range.owner == number)
}

/// Whose range holds all `count` ids from `first` up.
pub fn owner_of(all: &[SubIds], first: u32, count: u32) -> Option<&str> {
    let holds = |range: &&SubIds| {
        first >= range.first
            && u64::from(first) + u64::from(count) <= u64::from(range.first) + u64::from(range.count)
    };
    all.iter().find(holds).map(|range| range.owner.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_before_numbers() {
        let passwd = "root:x:0:0::/:/bin/sh\n1000:x:5:5::/:\nbad\nweb:x:33:33\n";
        assert_eq!(resolve(passwd, "web"), Some(33));
        assert_eq!(resolve(passwd, "1000"), Some(5));
        assert_eq!(resolve(passwd, "77"), Some(77));
        assert_eq!(name_of(passwd, 33), Some("web".to_owned()));
        for bad in ["nobody-here", "-1", "4294967295", "4294967296", "", "+", "1 "] {
            assert_eq!(resolve(passwd, bad), None, "{bad}");
        }
    }

    #[test]
    fn subordinate_ranges_have_owners() {
        let all = parse("web:100000:65536\n# x\n1000:200000:10\nweb:300000:1\nbad:x:1\n");
        assert_eq!(all.len(), 3);
        assert_eq!(range_of(&all, 33, Some("web")).map(|range| range.first), Some(100_000));
        assert_eq!(range_of(&all, 1000, None).map(|range| range.count), Some(10));
        assert_eq!(range_of(&all, 7, Some("nobody")), None);
        assert_eq!(owner_of(&all, 100_000, 65_536), Some("web"));
        assert_eq!(owner_of(&all, 100_000, 65_537), None);
        assert_eq!(owner_of(&all, 200_009, 1), Some("1000"));
        assert_eq!(owner_of(&all, u32::MAX, u32::MAX), None);
    }
}
