//! What a compose file may be read from: the disk, or texts that tests have.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The files that loading reads, and nothing else of the system.
pub trait Files {
    /// The content of a file.
    ///
    /// Errors: those of reading it.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Whether there is a file, or a directory, at `path`.
    fn kind(&self, path: &str) -> Option<FileKind>;

    /// The path without symbolic links, if it leads anywhere.
    fn real_path(&self, path: &str) -> Option<String>;

    /// The user's home directory, for `~`.
    fn home(&self) -> Option<String>;

    /// What stands on standard input, for `-f -`.
    ///
    /// Errors: those of reading it.
    fn standard_input(&self) -> io::Result<Vec<u8>>;
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// The machine's own files.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// `HOME`.
    pub home: Option<String>,
}

impl Files for Disk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn kind(&self, path: &str) -> Option<FileKind> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(if metadata.is_dir() { FileKind::Directory } else { FileKind::File })
    }

    fn real_path(&self, path: &str) -> Option<String> {
        Path::new(path).canonicalize().ok()?.into_os_string().into_string().ok()
    }

    fn home(&self) -> Option<String> {
        self.home.clone()
    }

    fn standard_input(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        io::Read::read_to_end(&mut io::stdin().lock(), &mut text)?;
        Ok(text)
    }
}

/// Files in memory, by absolute path.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Their texts.
    pub texts: BTreeMap<String, String>,
}

impl Files for Memory {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let text = self.texts.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.clone().into_bytes())
    }

    fn kind(&self, path: &str) -> Option<FileKind> {
        let below = format!("{}/", path.trim_end_matches('/'));
        match self.texts.contains_key(path) {
            true => Some(FileKind::File),
            false => self.texts.keys().any(|path| path.starts_with(&below)).then_some(FileKind::Directory),
        }
    }

    fn real_path(&self, path: &str) -> Option<String> {
        self.kind(path).map(|_| path.to_owned())
    }

    fn home(&self) -> Option<String> {
        Some("/root".to_owned())
    }

    fn standard_input(&self) -> io::Result<Vec<u8>> {
        self.read("-")
    }
}
