//! Paths of containers, as text.

use crate::dockerfile::glob::clean;

/// `path` seen from `dir`, which is absolute.
pub(super) fn join(dir: &str, path: &str) -> String {
    match path.starts_with('/') {
        true => clean(path),
        false => clean(&format!("{dir}/{path}")),
    }
}

/// Where a copy goes: absolute, with a slash at its end if it says that it's a directory.
pub(super) fn target(dir: &str, path: &str) -> String {
    let is_directory =
        path.is_empty() || path.ends_with('/') || path == "." || path.ends_with("/.") || path == "..";
    let joined = join(dir, path);
    match is_directory && joined != "/" {
        true => joined + "/",
        false => joined,
    }
}

/// The last part of a path.
pub(super) fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_by_go() {
        for (path, cleaned) in [
            ("", "."),
            ("/", "/"),
            ("a//b/./c/..", "a/b"),
            ("/../a", "/a"),
            ("../a", "../a"),
            ("/a/..", "/"),
            ("a/..", "."),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
        assert_eq!(join("/x", "../y"), "/y");
        assert_eq!(join("/x", "/y/"), "/y");
    }

    #[test]
    fn a_target_keeps_its_slash() {
        for (path, there) in
            [("", "/w/"), (".", "/w/"), ("a", "/w/a"), ("a/", "/w/a/"), ("/", "/"), ("/a/.", "/a/")]
        {
            assert_eq!(target("/w", path), there, "{path}");
        }
    }
}
