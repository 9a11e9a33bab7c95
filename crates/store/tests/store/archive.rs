//! Building archives by hand, wrong ones included.

/// One header and its content, to be appended to an archive.
#[derive(Debug)]
pub struct Member {
    name: Vec<u8>,
    link: Vec<u8>,
    flag: u8,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: u64,
    size: Option<Vec<u8>>,
    device: (u32, u32),
    content: Vec<u8>,
}

impl Member {
    pub fn new(flag: u8, name: impl AsRef<[u8]>) -> Member {
        Member {
            name: name.as_ref().to_vec(),
            link: Vec::new(),
            flag,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 1_000_000,
            size: None,
            device: (0, 0),
            content: Vec::new(),
        }
    }

    pub fn mode(mut self, mode: u32) -> Member {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u32, gid: u32) -> Member {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn with_flag(mut self, flag: u8) -> Member {
        self.flag = flag;
        self
    }

    /// The size field, whatever the content is.
    pub fn raw_size(mut self, field: &[u8]) -> Member {
        self.size = Some(field.to_vec());
        self
    }

    pub fn device(mut self, major: u32, minor: u32) -> Member {
        self.device = (major, minor);
        self
    }

    fn block(&self) -> [u8; 512] {
        let mut block = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, format!("{:07o}\0", self.uid).as_bytes());
        put(116, format!("{:07o}\0", self.gid).as_bytes());
        let size = format!("{:011o}\0", self.content.len());
        put(124, self.size.as_deref().unwrap_or(size.as_bytes()));
        put(136, format!("{:011o}\0", self.mtime).as_bytes());
        put(148, b"        ");
        put(156, &[self.flag]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}\0", self.device.0).as_bytes());
        put(337, format!("{:07o}\0", self.device.1).as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Member {
    Member { content: content.as_ref().to_vec(), ..Member::new(b'0', name) }
}

pub fn dir(name: impl AsRef<[u8]>) -> Member {
    Member::new(b'5', name).mode(0o755)
}

pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    Member { link: target.as_ref().to_vec(), ..Member::new(b'2', name) }
}

pub fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    Member { link: target.as_ref().to_vec(), ..Member::new(b'1', name) }
}

/// An extended header of type `x` with these records.
pub fn pax(records: &[(&str, &[u8])]) -> Member {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        content.extend_from_slice(format!("{length} {key}=").as_bytes());
        content.extend_from_slice(value);
        content.push(b'\n');
    }
    raw_pax(&content)
}

/// An extended header of type `x` with these bytes.
pub fn raw_pax(content: &[u8]) -> Member {
    Member { content: content.to_vec(), ..Member::new(b'x', "pax") }
}

/// A GNU long name (`L`) or link target (`K`).
pub fn gnu_long(flag: u8, text: &[u8]) -> Member {
    Member { content: [text, b"\0"].concat(), ..Member::new(flag, "././@LongLink") }
}

/// The archive of these members, without its closing blocks.
pub fn open_tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        bytes.extend_from_slice(&member.block());
        bytes.extend_from_slice(&member.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes
}

/// The archive of these members.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = open_tar(members);
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// `bytes` as one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
