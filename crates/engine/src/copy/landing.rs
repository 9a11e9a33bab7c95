//! Where a copy lands: docker's rules for a source, a destination, and what is there already. Source: moby/go-archive
//! `PrepareArchiveCopy`.

use super::names;

/// What is found at the destination, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// Something else.
    File,
}

/// Where a copy goes, and what it's called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// The directory, which must exist.
    pub directory: Vec<u8>,
    /// The name in it; `.` and `/` for the directory itself.
    pub name: Vec<u8>,
}

/// Why a copy can't land, in docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A directory onto a file.
    CannotCopyDirectory,
    /// A file to a directory that isn't there.
    NoSuchDirectory,
}

impl Refusal {
    /// Docker's words.
    pub fn words(self) -> &'static str {
        match self {
            Refusal::CannotCopyDirectory => "cannot copy directory",
            Refusal::NoSuchDirectory => "no such directory",
        }
    }
}

/// Where a source called `name`, a directory or not, lands for the absolute `destination`.
pub fn plan(is_directory: bool, name: &[u8], destination: &[u8], there: There) -> Result<Landing, Refusal> {
    match there {
        There::Directory => Ok(Landing { directory: destination.to_vec(), name: name.to_vec() }),
        There::File if is_directory => Err(Refusal::CannotCopyDirectory),
        There::Nothing if !is_directory && names::asserts_directory(destination) => {
            Err(Refusal::NoSuchDirectory)
        }
        There::File | There::Nothing => {
            let (directory, name) = names::split(destination);
            Ok(Landing { directory, name })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_land_where_dockers_do() {
        let land = |is_directory, name: &str, destination: &str, there| {
            plan(is_directory, name.as_bytes(), destination.as_bytes(), there).map(|landing| {
                let text = |bytes| String::from_utf8(bytes).unwrap();
                format!("{} {}", text(landing.directory), text(landing.name))
            })
        };
        use There::{Directory, File, Nothing};
        assert_eq!(land(false, "f", "/d", Directory).as_deref(), Ok("/d f"));
        assert_eq!(land(true, "s", "/d/", Directory).as_deref(), Ok("/d/ s"));
        assert_eq!(land(true, ".", "/d", Directory).as_deref(), Ok("/d ."));
        assert_eq!(land(false, "f", "/d/g", File).as_deref(), Ok("/d g"));
        assert_eq!(land(false, "f", "/d/g", Nothing).as_deref(), Ok("/d g"));
        assert_eq!(land(true, "s", "/d/new", Nothing).as_deref(), Ok("/d new"));
        assert_eq!(land(true, ".", "/d/new/", Nothing).as_deref(), Ok("/d new"));
        assert_eq!(land(true, ".", "/d/new/.", Nothing).as_deref(), Ok("/d/new ."));
        assert_eq!(land(true, "s", "/d/f", File), Err(Refusal::CannotCopyDirectory));
        assert_eq!(land(false, "f", "/d/new/", Nothing), Err(Refusal::NoSuchDirectory));
    }
}
