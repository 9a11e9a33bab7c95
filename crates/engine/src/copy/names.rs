//! Docker's rules for the names that `cp` is given: what counts is their text, before anything is looked up.
//! Sources: Go `path/filepath`; moby/go-archive `copy.go`.

/// The shortest name that says the same: without `.`, `x/..` and repeated slashes; `.` for nothing.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => drop(parts.pop()),
            b".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// Whether the last component is `.`, as in `dir/.`: what is in the directory is meant.
pub fn means_content(path: &[u8]) -> bool {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    match &path[..end] {
        b"" => path.is_empty(),
        name => name == b"." || name.ends_with(b"/."),
    }
}

/// Whether the name can only be a directory's.
pub fn asserts_directory(path: &[u8]) -> bool {
    path.ends_with(b"/") || means_content(path)
}

/// The clean form of `given` below the absolute directory `base`, with what it says at its end of a directory.
pub fn absolute(base: &[u8], given: &[u8]) -> Vec<u8> {
    let mut path = match given.starts_with(b"/") {
        true => clean(given),
        false => clean(&[base, b"/", given].concat()),
    };
    if !given.is_empty() && means_content(given) {
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.push(b'.');
    }
    if given.ends_with(b"/") && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path
}

/// Directory and last component; that one is `.` where the content of a directory is meant, and `/` for the root.
pub fn split(path: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let cleaned = clean(path);
    if means_content(path) {
        return (cleaned, b".".to_vec());
    }
    match cleaned.iter().rposition(|byte| *byte == b'/') {
        _ if cleaned == b"/" => (b"/".to_vec(), b"/".to_vec()),
        Some(0) => (b"/".to_vec(), cleaned[1..].to_vec()),
        Some(slash) => (cleaned[..slash].to_vec(), cleaned[slash + 1..].to_vec()),
        None => (b".".to_vec(), cleaned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn names_are_cleaned_as_go_cleans_them() {
        for (given, clean_one) in [
            ("", "."),
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("/a/./b/..", "/a"),
            ("/../a", "/a"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("./", "."),
            ("a/.", "a"),
        ] {
            assert_eq!(text(clean(given.as_bytes())), clean_one, "{given:?}");
        }
    }

    #[test]
    fn the_end_of_a_name_is_kept() {
        for (given, absolute_one) in [
            ("a", "/w/a"),
            ("a/", "/w/a/"),
            ("a/.", "/w/a/."),
            ("a/./", "/w/a/./"),
            (".", "/w/."),
            ("/", "/"),
            ("/.", "/."),
            ("", "/w"),
            ("../x/", "/x/"),
        ] {
            assert_eq!(text(absolute(b"/w", given.as_bytes())), absolute_one, "{given:?}");
        }
        assert_eq!(text(absolute(b"/", b"etc")), "/etc");
    }

    #[test]
    fn names_are_split_where_docker_splits_them() {
        for (given, dir, base) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a/b", "."),
            ("/a", "/", "a"),
            ("/", "/", "/"),
            ("/.", "/", "."),
        ] {
            let (found_dir, found_base) = split(given.as_bytes());
            assert_eq!((text(found_dir).as_str(), text(found_base).as_str()), (dir, base), "{given:?}");
        }
    }

    #[test]
    fn some_names_can_only_be_directories() {
        for name in ["/a/", "/a/.", ".", "", "/", "/a/./"] {
            assert!(asserts_directory(name.as_bytes()), "{name:?}");
        }
        for name in ["/a", "/a/..", "/a.", "/.a"] {
            assert!(!asserts_directory(name.as_bytes()), "{name:?}");
        }
    }
}
