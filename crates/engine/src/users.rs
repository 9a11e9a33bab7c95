//! Who `-u` means: names and numbers in the container's own passwd and group files, read as data (security.md T13).

use crate::Error;

/// The two files of a container, as far as they exist.
#[derive(Debug, Clone, Default)]
pub struct UserFiles {
    /// `/etc/passwd`.
    pub passwd: Vec<u8>,
    /// `/etc/group`.
    pub group: Vec<u8>,
}

/// A resolved user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, the primary one first.
    pub groups: Vec<u32>,
}

impl Identity {
    /// All its ids, users' and groups'.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        [self.uid, self.gid].into_iter().chain(self.groups.iter().copied())
    }
}

/// Largest id that may be asked for, as docker's.
const ID_MAX: u32 = i32::MAX as u32;

/// Resolves `user[:group]` and `--group-add`.
///
/// As docker: a number needs no entry; without a group the user's own and those that list the user are taken; with one,
/// only that. The primary group is among the supplementary ones (CVE-2022-36109).
pub fn resolve(text: &str, add: &[String], files: &UserFiles) -> Result<Identity, Error> {
    let (user, group) = text.split_once(':').map_or((text, ""), |(user, group)| (user, group));
    let invalid = |why: String| Error::invalid("--user", why);
    let entry = |wanted: &str| {
        let number = parse_id(wanted);
        lines(&files.passwd).find_map(|f| {
            let uid = f.get(2)?.parse::<u32>().ok()?;
            let gid = f.get(3)?.parse::<u32>().ok()?;
            (f[0] == wanted || number == Some(uid)).then(|| (f[0].clone(), uid, gid))
        })
    };
    let wanted = if user.is_empty() { "0" } else { user };
    let (name, uid, mut gid) = match (entry(wanted), parse_id(wanted)) {
        (Some((name, uid, gid)), _) => (Some(name), uid, gid),
        (None, Some(uid)) => (None, uid, 0),
        (None, None) if wanted.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(invalid(format!("{wanted} isn't within 0 to {ID_MAX}")));
        }
        (None, None) => return Err(invalid(format!("no user {wanted:?} in the container's /etc/passwd"))),
    };
    let mut groups = Vec::new();
    if group.is_empty() {
        if let Some(name) = &name {
            groups.extend(lines(&files.group).filter_map(|f| {
                let listed = f.get(3)?.split(',').any(|member| member == name);
                listed.then(|| f.get(2)?.parse::<u32>().ok())?
            }));
        }
    } else {
        gid = group_id(group, files).map_err(invalid)?;
    }
    groups.insert(0, gid);
    for extra in add {
        groups.push(group_id(extra, files).map_err(|why| Error::invalid("--group-add", why))?);
    }
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|gid| seen.insert(*gid));
    if uid > ID_MAX || groups.iter().any(|gid| *gid > ID_MAX) {
        return Err(invalid(format!("ids must be within 0 to {ID_MAX}")));
    }
    Ok(Identity { uid, gid, groups })
}

fn group_id(text: &str, files: &UserFiles) -> Result<u32, String> {
    let named = lines(&files.group).find_map(|f| (f[0] == text).then(|| f.get(2)?.parse::<u32>().ok())?);
    match named.or_else(|| parse_id(text)) {
        Some(gid) => Ok(gid),
        None if text.bytes().all(|b| b.is_ascii_digit()) => Err(format!("{text} isn't within 0 to {ID_MAX}")),
        None => Err(format!("no group {text:?} in the container's /etc/group")),
    }
}

/// A decimal id within docker's range; nothing wraps.
fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<u32>().ok().filter(|id| digits && *id <= ID_MAX)
}

/// User and group id of the user called `name`.
pub fn by_name(passwd: &[u8], name: &str) -> Option<(u32, u32)> {
    lines(passwd)
        .find_map(|f| (f[0] == name).then(|| Some((f.get(2)?.parse().ok()?, f.get(3)?.parse().ok()?)))?)
}

/// Id of the group called `name`.
pub fn group_by_name(group: &[u8], name: &str) -> Option<u32> {
    lines(group).find_map(|f| (f[0] == name).then(|| f.get(2)?.parse().ok())?)
}

/// The first name that `passwd` or `group` has for a number.
pub fn name_of(content: &[u8], id: u32) -> Option<String> {
    lines(content).find_map(|f| (f.get(2)?.parse() == Ok(id) && !f[0].is_empty()).then(|| f[0].clone()))
}

fn lines(content: &[u8]) -> impl Iterator<Item = Vec<String>> {
    content.split(|b| *b == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').filter_map(|line| {
        let text = std::str::from_utf8(line).ok()?;
        Some(text.trim_end().split(':').map(str::to_owned).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> UserFiles {
        UserFiles {
            passwd:
                b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/bin/sh\n1000:x:5:5::/:\nbad:x:a:b\n"
                    .to_vec(),
            group: b"root:x:0:\nwww:x:34:\nlog:x:4:root,web\nwheel:x:10:root\n# c\nbroken\n".to_vec(),
        }
    }

    fn ids(text: &str) -> (u32, u32, Vec<u32>) {
        let id = resolve(text, &[], &files()).unwrap();
        (id.uid, id.gid, id.groups)
    }

    #[test]
    fn docker_rules_hold() {
        assert_eq!(ids(""), (0, 0, vec![0, 4, 10]));
        assert_eq!(ids("web"), (33, 34, vec![34, 4]));
        assert_eq!(ids("33"), (33, 34, vec![34, 4]));
        assert_eq!(ids("web:log"), (33, 4, vec![4]));
        assert_eq!(ids("77"), (77, 0, vec![0]));
        assert_eq!(ids("77:88"), (77, 88, vec![88]));
        assert_eq!(ids(":www"), (0, 34, vec![34]));
        // A name that looks like a number is a name first, as in docker.
        assert_eq!(ids("1000"), (5, 5, vec![5]));
        let added = resolve("77", &["wheel".to_owned(), "0".to_owned()], &files()).unwrap();
        assert_eq!(added.groups, [0, 10]);
    }

    #[test]
    fn what_is_no_id_never_becomes_root() {
        for bad in [
            "nobody-here",
            "-1",
            "4294967295",
            "4294967296",
            "2147483648",
            "0x10",
            "1 ",
            "web:nope",
            "1:-1",
            "+0",
        ] {
            assert!(resolve(bad, &[], &files()).is_err(), "{bad}");
        }
        assert!(resolve("0", &["nope".to_owned()], &files()).is_err());
    }
}
