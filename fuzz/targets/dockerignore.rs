//! Ignore files: patterns are read or refused, and a directory that a walk may skip has nothing below that it mustn't.
#![no_main]

use build::dockerfile::glob::{self, Glob};
use build::dockerfile::ignore::{self, Matched, Matcher};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // The first line is a path, the others are the file.
    let (path, file) = text.split_once('\n').unwrap_or(("a/b/c", text));
    let path = glob::clean(path);
    if let Ok(pattern) = Glob::new(file) {
        pattern.matches(&path);
    }
    glob::split_at_wildcards(file);
    let Ok(matcher) = Matcher::new(&ignore::patterns(file)) else { return };
    matcher.matches_or_parent(&path);
    let mut matched = Matched::default();
    let mut is_skipped = false;
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]);
    for end in ends {
        matched = matcher.step(&matched, &path[..end]);
        assert!(!is_skipped || matched.is_ignored, "{}", &path[..end]);
        is_skipped |= matched.is_ignored && !matcher.may_except_below(&path[..end]);
    }
    if !path.starts_with('/') {
        assert_eq!(matched.is_ignored, matcher.matches(&path));
    }
});
