//! Mount options: words of fstab to flags of the kernel's. Pure. Source: runtime-spec config.md (Linux mount options),
//! mount(8), mount_setattr(2).

use linux::mount::attr;

/// A list of mount options, sorted by what they act on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Attributes to set on the mount.
    pub set: u64,
    /// Attributes to clear on the mount.
    pub clear: u64,
    /// Attributes to set on the whole tree.
    pub recursive_set: u64,
    /// Attributes to clear on the whole tree.
    pub recursive_clear: u64,
    /// Propagation changes in order: `MS_*` flag, and whether it's for the whole tree.
    pub propagation: Vec<(u64, bool)>,
    /// Bind: `Some(true)` for the whole tree.
    pub bind: Option<bool>,
    /// Change an existing mount instead of making one.
    pub remount: bool,
    /// Map ids: `Some(true)` for the whole tree.
    pub idmap: Option<bool>,
    /// Copy what the target held into the new tmpfs.
    pub copy_up: bool,
    /// What the file system itself understands: key, and value or the empty string.
    pub data: Vec<(String, String)>,
}

/// Attribute words: name, attributes set, attributes cleared.
const ATTRIBUTES: [(&str, u64, u64); 20] = [
    ("ro", attr::RDONLY, 0),
    ("rw", 0, attr::RDONLY),
    ("nosuid", attr::NOSUID, 0),
    ("suid", 0, attr::NOSUID),
    ("nodev", attr::NODEV, 0),
    ("dev", 0, attr::NODEV),
    ("noexec", attr::NOEXEC, 0),
    ("exec", 0, attr::NOEXEC),
    ("noatime", attr::NOATIME, attr::ATIME_MASK),
    ("atime", 0, attr::ATIME_MASK),
    ("nodiratime", attr::NODIRATIME, 0),
    ("diratime", 0, attr::NODIRATIME),
    ("relatime", 0, attr::ATIME_MASK),
    // The kernel has no mode that is neither relative nor strict nor none: not relative is strict, as in mount(2).
    ("norelatime", attr::STRICTATIME, attr::ATIME_MASK),
    ("strictatime", attr::STRICTATIME, attr::ATIME_MASK),
    ("nostrictatime", 0, attr::ATIME_MASK),
    ("nosymfollow", attr::NOSYMFOLLOW, 0),
    ("symfollow", 0, attr::NOSYMFOLLOW),
    ("defaults", 0, 0),
    ("loud", 0, 0),
];

const PROPAGATION: [(&str, u64); 4] = [
    ("private", libc_ms::PRIVATE),
    ("slave", libc_ms::SLAVE),
    ("shared", libc_ms::SHARED),
    ("unbindable", libc_ms::UNBINDABLE),
];

/// Propagation flags of mount(2).
pub mod libc_ms {
    /// `MS_UNBINDABLE`.
    pub const UNBINDABLE: u64 = 1 << 17;
    /// `MS_PRIVATE`.
    pub const PRIVATE: u64 = 1 << 18;
    /// `MS_SLAVE`.
    pub const SLAVE: u64 = 1 << 19;
    /// `MS_SHARED`.
    pub const SHARED: u64 = 1 << 20;
}

/// A propagation word, with or without the `r` of the recursive form. `None` if it's none.
pub fn parse_propagation(word: &str) -> Option<(u64, bool)> {
    let find = |name: &str| PROPAGATION.iter().find(|(known, _)| *known == name).map(|(_, flag)| *flag);
    find(word).map(|flag| (flag, false)).or_else(|| find(word.strip_prefix('r')?).map(|flag| (flag, true)))
}

impl MountOptions {
    /// Sorts `options`; the later of two contradicting ones wins. An option that is known and can't be honoured is the
    /// error; an unknown one is for the file system.
    pub fn parse<S: AsRef<str>>(options: &[S]) -> Result<MountOptions, String> {
        let mut parsed = MountOptions::default();
        for option in options {
            parsed.add(option.as_ref())?;
        }
        Ok(parsed)
    }

    fn add(&mut self, word: &str) -> Result<(), String> {
        let find = |name: &str| ATTRIBUTES.iter().find(|(known, ..)| *known == name).copied();
        if let Some((_, set, clear)) = find(word) {
            apply(&mut self.set, &mut self.clear, set, clear);
        } else if let Some(change) = parse_propagation(word) {
            self.propagation.push(change);
        } else if let Some((_, set, clear)) = word.strip_prefix('r').and_then(find) {
            apply(&mut self.recursive_set, &mut self.recursive_clear, set, clear);
        } else {
            match word {
                "" => return Err("an empty option".to_owned()),
                "bind" => self.bind = Some(self.bind == Some(true)),
                "rbind" => self.bind = Some(true),
                "remount" => self.remount = true,
                "idmap" => self.idmap = Some(self.idmap == Some(true)),
                "ridmap" => self.idmap = Some(true),
                "tmpcopyup" => self.copy_up = true,
                // Words of mount(8) for which the kernel's default is what they ask for.
                "async" | "nolazytime" | "nomand" | "noiversion" | "silent" => {}
                "copy-symlink" | "dest-nofollow" | "src-nofollow" => {
                    return Err(format!("option {word:?} is not supported yet"));
                }
                _ => {
                    let (key, value) = word.split_once('=').unwrap_or((word, ""));
                    self.data.push((key.to_owned(), value.to_owned()));
                }
            }
        }
        Ok(())
    }
}

fn apply(all_set: &mut u64, all_clear: &mut u64, set: u64, clear: u64) {
    *all_set = (*all_set & !clear) | set;
    *all_clear = (*all_clear & !set) | clear;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_words_win() {
        let parsed = MountOptions::parse(&["ro", "rw", "nosuid", "noatime", "strictatime"]).unwrap();
        assert_eq!(parsed.set, attr::NOSUID | attr::STRICTATIME);
        assert_eq!(parsed.clear & attr::RDONLY, attr::RDONLY);
    }

    #[test]
    fn words_with_r_are_for_the_tree() {
        let parsed = MountOptions::parse(&["rbind", "rro", "rslave", "rnosuid", "ridmap"]).unwrap();
        assert_eq!(parsed.bind, Some(true));
        assert_eq!(parsed.recursive_set, attr::RDONLY | attr::NOSUID);
        assert_eq!(parsed.set, 0);
        assert_eq!(parsed.propagation, [(libc_ms::SLAVE, true)]);
        assert_eq!(parsed.idmap, Some(true));
    }

    #[test]
    fn relatime_is_no_recursive_word() {
        let parsed = MountOptions::parse(&["relatime", "rrelatime", "rw"]).unwrap();
        assert_eq!((parsed.recursive_set, parsed.recursive_clear), (0, attr::ATIME_MASK));
        assert!(parsed.data.is_empty());
    }

    #[test]
    fn the_rest_is_for_the_file_system() {
        let parsed = MountOptions::parse(&["size=64k", "mode=1777", "newinstance"]).unwrap();
        let data = [("size", "64k"), ("mode", "1777"), ("newinstance", "")];
        assert_eq!(parsed.data, data.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert!(MountOptions::parse(&["dest-nofollow"]).is_err());
        assert!(MountOptions::parse(&[""]).is_err());
    }
}
