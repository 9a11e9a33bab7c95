//! A layer's archive, entry by entry: what images hold in the field, and what they shouldn't.

use std::path::Path;
use std::process::Command;

const BLOCK_BYTES: usize = 512;

/// What an entry is, as tar numbers it. Source: pax(1), ustar.
mod kind {
    pub const FILE: u8 = b'0';
    pub const HARD_LINK: u8 = b'1';
    pub const SYMLINK: u8 = b'2';
    pub const CHARACTER_DEVICE: u8 = b'3';
    pub const DIRECTORY: u8 = b'5';
    pub const PAX: u8 = b'x';
}

/// A tar that is being written. Entries belong to root until [`Layer::owner`] says otherwise.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    tar: Vec<u8>,
    owner: (u32, u32),
}

struct Entry<'a> {
    name: &'a str,
    kind: u8,
    mode: u32,
    content: &'a [u8],
    target: &'a str,
    device: (u32, u32),
}

impl Layer {
    /// An archive without entries.
    pub fn new() -> Layer {
        Layer::default()
    }

    /// The root file system of [`crate::rootfs`]: busybox with all its names, users, a few directories.
    pub fn busybox() -> Layer {
        static MADE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let tar = MADE.get_or_init(|| {
            let dir = std::env::temp_dir().join(format!("berth-test-{}-image", std::process::id()));
            let _ = std::fs::remove_dir_all(&dir);
            crate::rootfs::make(&dir, 0);
            let tar = Layer::tree(&dir);
            std::fs::remove_dir_all(&dir).expect("remove a directory of the test's own");
            tar
        });
        // GNU tar's end, so that more entries can follow.
        Layer { tar: tar.clone(), owner: (0, 0) }
    }

    /// The entries of a directory, by GNU tar.
    fn tree(dir: &Path) -> Vec<u8> {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(dir).args(["--numeric-owner", "--sort=name", "--mtime=@1000000000", "-c", "."]);
        let output = tar.output().expect("run tar");
        assert!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
        let mut bytes = output.stdout;
        let end = bytes.chunks(BLOCK_BYTES).rposition(|block| block.iter().any(|byte| *byte != 0));
        bytes.truncate(end.map_or(0, |block| (block + 1) * BLOCK_BYTES));
        // The last entry's content may end in zeroes.
        let size = bytes.len().next_multiple_of(BLOCK_BYTES);
        bytes.resize(size, 0);
        bytes
    }

    /// Owner of the entries that follow.
    pub fn owner(mut self, uid: u32, gid: u32) -> Layer {
        self.owner = (uid, gid);
        self
    }

    /// A file with permission bits.
    pub fn file(self, name: &str, mode: u32, content: impl AsRef<[u8]>) -> Layer {
        self.entry(Entry { content: content.as_ref(), ..Entry::new(name, kind::FILE, mode) })
    }

    /// A directory with permission bits.
    pub fn dir(self, name: &str, mode: u32) -> Layer {
        self.entry(Entry::new(name, kind::DIRECTORY, mode))
    }

    /// A symbolic link.
    pub fn symlink(self, name: &str, target: &str) -> Layer {
        self.entry(Entry { target, ..Entry::new(name, kind::SYMLINK, 0o777) })
    }

    /// Another name of a file of this layer or one below.
    pub fn hard_link(self, name: &str, target: &str) -> Layer {
        self.entry(Entry { target, ..Entry::new(name, kind::HARD_LINK, 0o644) })
    }

    /// A character device.
    pub fn device(self, name: &str, major: u32, minor: u32) -> Layer {
        self.entry(Entry { device: (major, minor), ..Entry::new(name, kind::CHARACTER_DEVICE, 0o666) })
    }

    /// Takes away what layers below have there. Source: image-spec layer.md, Whiteouts.
    pub fn whiteout(self, path: &str) -> Layer {
        let (dir, name) = path.rsplit_once('/').map_or((String::new(), path), |(d, n)| (format!("{d}/"), n));
        self.file(&format!("{dir}.wh.{name}"), 0o600, "")
    }

    /// Takes away what layers below have in a directory.
    pub fn opaque(self, dir: &str) -> Layer {
        self.file(&format!("{dir}/.wh..wh..opq"), 0o600, "")
    }

    /// A file with records of the extended header, such as `SCHILY.xattr.user.a`.
    pub fn pax_file(self, name: &str, records: &[(&str, &[u8])], content: impl AsRef<[u8]>) -> Layer {
        let mut header = Vec::new();
        for (key, value) in records {
            header.extend(pax_record(key, value));
        }
        let pax = Entry { content: &header, ..Entry::new("PaxHeaders/x", kind::PAX, 0o644) };
        self.entry(pax).file(name, 0o644, content)
    }

    /// The archive, with its end.
    pub fn tar(&self) -> Vec<u8> {
        let mut tar = self.tar.clone();
        tar.resize(tar.len() + 2 * BLOCK_BYTES, 0);
        tar
    }

    fn entry(mut self, entry: Entry<'_>) -> Layer {
        self.tar.extend(entry.header(self.owner));
        self.tar.extend(entry.content);
        let size = self.tar.len().next_multiple_of(BLOCK_BYTES);
        self.tar.resize(size, 0);
        self
    }
}

impl<'a> Entry<'a> {
    fn new(name: &'a str, kind: u8, mode: u32) -> Entry<'a> {
        Entry { name, kind, mode, content: &[], target: "", device: (0, 0) }
    }

    fn header(&self, (uid, gid): (u32, u32)) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
        assert!(self.name.len() <= 100 && self.target.len() <= 100, "{} is too long for ustar", self.name);
        put(0, self.name);
        put(100, &format!("{:07o}", self.mode));
        put(108, &format!("{uid:07o}"));
        put(116, &format!("{gid:07o}"));
        put(124, &format!("{:011o}", self.content.len()));
        // 2001-09-09: the same archive at each run.
        put(136, &format!("{:011o}", 1_000_000_000));
        put(148, "        ");
        put(157, self.target);
        put(257, "ustar\x0000");
        put(329, &format!("{:07o}", self.device.0));
        put(337, &format!("{:07o}", self.device.1));
        block[156] = self.kind;
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// `LENGTH KEY=VALUE\n`, the length counting itself.
fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).find(|length: &usize| length.to_string().len() + rest == *length);
    let mut record = format!("{} {key}=", length.expect("a length that counts itself exists")).into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}
