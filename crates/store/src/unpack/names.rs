//! What an entry's name means.

use super::{Fault, Whiteouts};

/// What an entry asks for. Paths are clean and relative to the root; the root's own is empty.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// To place something called `name` in directory `parent`.
    Place { parent: &'a [u8], name: &'a [u8] },
    /// To set the root's attributes.
    Root,
    /// That nothing of lower layers is called `name` in directory `parent`.
    Hide { parent: &'a [u8], name: &'a [u8] },
    /// That nothing of lower layers is in directory `directory`.
    HideAll { directory: &'a [u8] },
    /// Nothing: it is what aufs kept beside a layer's files.
    Nothing,
}

/// Names that begin so are whiteouts. Source: image-spec layer.md, "Whiteouts".
pub const WHITEOUT: &[u8] = b".wh.";

/// The whiteout of all that is in its directory. Source: image-spec layer.md, "Opaque Whiteout".
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// Names that begin so were aufs's own; docker skips them.
const AUFS: &[u8] = b".wh..wh.";

/// Reads a clean path.
pub fn wanted(path: &[u8], whiteouts: Whiteouts) -> Result<Wanted<'_>, Fault> {
    let Some((parent, name)) = split(path) else { return Ok(Wanted::Root) };
    if whiteouts == Whiteouts::AreFiles {
        return Ok(Wanted::Place { parent, name });
    }
    if has_whiteout(parent) {
        return match parent.split(|byte| *byte == b'/').any(|component| component.starts_with(AUFS)) {
            true => Ok(Wanted::Nothing),
            false => Err(Fault::Refused("it lies in a whiteout, which is no directory")),
        };
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Wanted::Place { parent, name }),
        _ if name == OPAQUE => Ok(Wanted::HideAll { directory: parent }),
        _ if name.starts_with(AUFS) => Ok(Wanted::Nothing),
        Some(b"" | b"." | b"..") => Err(Fault::Refused("it is the whiteout of a name that no file can have")),
        Some(name) => Ok(Wanted::Hide { parent, name }),
    }
}

/// Whether a component of `path` is a whiteout's name.
pub fn has_whiteout(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|component| component.starts_with(WHITEOUT))
}

/// The name relative to the root, without empty and `.` components; empty for the root itself.
pub fn clean(name: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut cleaned = Vec::with_capacity(name.len());
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(Fault::Refused("its name leads out of the archive with '..'")),
            _ => {
                if !cleaned.is_empty() {
                    cleaned.push(b'/');
                }
                cleaned.extend_from_slice(component);
            }
        }
    }
    match name {
        b"" => Err(Fault::Refused("its name is empty")),
        _ => Ok(cleaned),
    }
}

/// A clean path's parent (empty for the root) and last component; `None` for the root.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
        None if path.is_empty() => None,
        None => Some((b"", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_layer(path: &str) -> Option<Wanted<'_>> {
        wanted(path.as_bytes(), Whiteouts::OfLayer).ok()
    }

    #[test]
    fn whiteouts_are_told_from_names() {
        assert_eq!(of_layer("a/.wh.b"), Some(Wanted::Hide { parent: b"a", name: b"b" }));
        assert_eq!(of_layer(".wh.b"), Some(Wanted::Hide { parent: b"", name: b"b" }));
        assert_eq!(of_layer(".wh.... "), Some(Wanted::Hide { parent: b"", name: b"... " }));
        assert_eq!(of_layer(".wh..b"), Some(Wanted::Hide { parent: b"", name: b".b" }));
        assert_eq!(of_layer("a/.wh..wh..opq"), Some(Wanted::HideAll { directory: b"a" }));
        assert_eq!(of_layer(".wh..wh..opq"), Some(Wanted::HideAll { directory: b"" }));
        for aufs in [".wh..wh.plnk/1.2", ".wh..wh.aufs", ".wh..wh..opq/x", "a/.wh..wh..tmp", ".wh..wh."] {
            assert_eq!(of_layer(aufs), Some(Wanted::Nothing), "{aufs}");
        }
        for refused in [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.a/b", "a/.wh.b/.wh.c"] {
            assert_eq!(of_layer(refused), None, "{refused}");
        }
        let plain = wanted(b".wh.a/.wh..", Whiteouts::AreFiles).ok();
        assert_eq!(plain, Some(Wanted::Place { parent: b".wh.a", name: b".wh.." }));
    }
}
