//! Where images are: `TRANSPORT:DETAILS`, as skopeo names them. Source: containers-transports(5).

use std::fmt;
use std::path::PathBuf;
use types::reference::Reference;

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `docker://REFERENCE`: a registry.
    Registry(Reference),
    /// `oci:DIRECTORY[:NAME]`: an image layout; the name is that of an entry in it.
    Layout {
        /// The directory.
        dir: PathBuf,
        /// The name, mostly a tag.
        name: Option<String>,
    },
    /// `oci-archive:FILE[:NAME]`: an image layout in a tar.
    LayoutArchive {
        /// The file.
        file: PathBuf,
        /// The name, mostly a tag.
        name: Option<String>,
    },
    /// `docker-archive:FILE[:REFERENCE]`: what `docker save` writes.
    DockerArchive {
        /// The file.
        file: PathBuf,
        /// Name of the image in it.
        name: Option<Reference>,
    },
}

/// The transports, for messages.
const KNOWN: &str = "docker://REF, oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:REF]";

impl Place {
    /// Reads a place.
    ///
    /// Errors: what is wrong with `text`, as the end of a sentence about it.
    pub fn parse(text: &str) -> Result<Place, String> {
        let unknown = || format!("is none of {KNOWN}");
        let (transport, rest) = text.split_once(':').ok_or_else(unknown)?;
        let reference = |text: &str| Reference::parse(text).map_err(|error| format!("is no place: {error}"));
        // A path with a colon can't be written; skopeo's can't either.
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) if !name.is_empty() => (path, Some(name)),
            Some((path, _)) => (path, None),
            None => (rest, None),
        };
        let is_file = matches!(transport, "oci" | "oci-archive" | "docker-archive");
        if is_file && path.is_empty() {
            return Err("names no file".to_owned());
        }
        let (path_buf, owned) = (PathBuf::from(path), name.map(str::to_owned));
        match transport {
            "docker" => match rest.strip_prefix("//") {
                Some(rest) => Ok(Place::Registry(reference(rest)?)),
                None => Err("lacks the two slashes of docker://".to_owned()),
            },
            "oci" => Ok(Place::Layout { dir: path_buf, name: owned }),
            "oci-archive" => Ok(Place::LayoutArchive { file: path_buf, name: owned }),
            "docker-archive" => {
                Ok(Place::DockerArchive { file: path_buf, name: name.map(reference).transpose()? })
            }
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |transport: &str, path: &PathBuf, name: Option<String>| match name {
            Some(name) => format!("{transport}:{}:{name}", path.display()),
            None => format!("{transport}:{}", path.display()),
        };
        f.write_str(&match self {
            Place::Registry(reference) => format!("docker://{}", reference.familiar()),
            Place::Layout { dir, name } => named("oci", dir, name.clone()),
            Place::LayoutArchive { file, name } => named("oci-archive", file, name.clone()),
            Place::DockerArchive { file, name } => {
                named("docker-archive", file, name.as_ref().map(Reference::familiar))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_as_skopeos() {
        for (text, shown) in [
            ("docker://alpine", "docker://alpine:latest"),
            ("docker://r.io:5000/a/b:c", "docker://r.io:5000/a/b:c"),
            ("oci:dir", "oci:dir"),
            ("oci:/a/b:v1", "oci:/a/b:v1"),
            ("oci-archive:x.tar:", "oci-archive:x.tar"),
            ("oci-archive:x.tar:docker.io/a:b", "oci-archive:x.tar:docker.io/a:b"),
            ("docker-archive:x.tar:app", "docker-archive:x.tar:app:latest"),
        ] {
            assert_eq!(Place::parse(text).map(|place| place.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for bad in
            ["", "alpine", "docker:alpine", "docker://", "docker://A", "oci:", "oci-archive::x", "dir:/x"]
        {
            assert!(Place::parse(bad).is_err(), "{bad:?}");
        }
    }
}
