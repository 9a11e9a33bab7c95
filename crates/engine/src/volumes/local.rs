//! Options of docker's volume driver `local`: `type`, `device` and `o`, as of mount(8). Source: moby, `volume/local`.

use linux::mount::attr;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a volume's content lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// The store's disk.
    Directory,
    /// A directory of the host.
    Bind(PathBuf),
    /// Memory, for as long as a container runs with it.
    Tmpfs {
        /// Options of the file system.
        options: Vec<(String, String)>,
        /// Attributes of the mount.
        attributes: u64,
    },
}

/// Reads a volume's options. The error says what is wrong with them, in docker's words where it has some.
pub fn backing(options: &BTreeMap<String, String>) -> Result<Backing, String> {
    if let Some(other) = options.keys().find(|key| !matches!(key.as_str(), "type" | "device" | "o" | "size"))
    {
        return Err(format!("invalid option: {other:?}"));
    }
    if options.contains_key("size") {
        return Err("quota size requested but no quota support".to_owned());
    }
    let get = |key: &str| options.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let (kind, device, words) = (get("type"), get("device"), get("o"));
    let needed: &[(&str, bool)] = match (kind, device, words) {
        (None, None, None) => return Ok(Backing::Directory),
        _ => &[("device", device.is_some()), ("type", kind.is_some())],
    };
    if let Some((missing, _)) = needed.iter().find(|(_, there)| !there) {
        return Err(format!("missing required option: {missing:?}"));
    }
    let (kind, device) = (kind.unwrap_or_default(), device.unwrap_or_default());
    let words: Vec<&str> = words.unwrap_or_default().split(',').filter(|word| !word.is_empty()).collect();
    if words.iter().any(|word| matches!(*word, "bind" | "rbind")) {
        if let Some(other) = words.iter().find(|word| !matches!(**word, "bind" | "rbind" | "rw")) {
            return Err(format!("option \"o\": {other:?} isn't supported beside bind"));
        }
        return match device.starts_with('/') {
            true => Ok(Backing::Bind(PathBuf::from(device))),
            false => Err(format!("option \"device\": {device:?} is not an absolute path")),
        };
    }
    match kind {
        "tmpfs" => tmpfs(&words),
        "none" => Err("option \"type\": none needs bind in option \"o\"".to_owned()),
        _ => {
            Err(format!("option \"type\": {kind} isn't supported yet; there are tmpfs, and none with o=bind"))
        }
    }
}

fn tmpfs(words: &[&str]) -> Result<Backing, String> {
    let (mut options, mut attributes) = (Vec::new(), attr::NODEV);
    for word in words {
        match *word {
            "nosuid" => attributes |= attr::NOSUID,
            "noexec" => attributes |= attr::NOEXEC,
            "ro" => attributes |= attr::RDONLY,
            "nodev" | "rw" | "suid" | "exec" => {}
            _ => match word.split_once('=') {
                Some((
                    key @ ("size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "huge" | "mpol"),
                    value,
                )) => {
                    options.push((key.to_owned(), value.to_owned()));
                }
                _ => return Err(format!("option \"o\": {word:?} isn't known of tmpfs")),
            },
        }
    }
    match linux::mount::refused_option("tmpfs", &options) {
        Some((key, value)) => Err(format!("option \"o\": {key}={value} is refused by the kernel")),
        None => Ok(Backing::Tmpfs { options, attributes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Backing, String> {
        backing(&options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn options_are_dockers() {
        assert_eq!(read(&[]), Ok(Backing::Directory));
        let bind = [("type", "none"), ("o", "bind"), ("device", "/srv")];
        assert_eq!(read(&bind), Ok(Backing::Bind("/srv".into())));
        let tmpfs = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,uid=1000,noexec")];
        let options =
            [("size", "1m"), ("uid", "1000")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let attributes = attr::NODEV | attr::NOEXEC;
        assert_eq!(read(&tmpfs), Ok(Backing::Tmpfs { options: options.to_vec(), attributes }));
    }

    #[test]
    fn bad_options_are_named() {
        for (options, why) in [
            (&[("foo", "bar")][..], "invalid option: \"foo\""),
            (&[("type", "none"), ("o", "bind")], "missing required option: \"device\""),
            (&[("o", "bind")], "missing required option: \"device\""),
            (&[("device", "/x"), ("o", "bind")], "missing required option: \"type\""),
            (&[("size", "1g")], "quota size requested but no quota support"),
            (
                &[("type", "none"), ("device", "x"), ("o", "bind")],
                "option \"device\": \"x\" is not an absolute path",
            ),
            (
                &[("type", "none"), ("device", "/x"), ("o", "bind,ro")],
                "option \"o\": \"ro\" isn't supported beside bind",
            ),
            (&[("type", "none"), ("device", "/x")], "option \"type\": none needs bind in option \"o\""),
            (
                &[("type", "nfs"), ("device", ":/x"), ("o", "addr=1.2.3.4")],
                "option \"type\": nfs isn't supported yet; there are tmpfs, and none with o=bind",
            ),
            (
                &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "bogus")],
                "option \"o\": \"bogus\" isn't known of tmpfs",
            ),
            (
                &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=x")],
                "option \"o\": size=x is refused by the kernel",
            ),
        ] {
            assert_eq!(read(options), Err(why.to_owned()));
        }
    }
}
