use super::*;

fn matcher(patterns: &[&str]) -> Matcher {
    Matcher::new(patterns).expect("patterns")
}

/// Whether one pattern leaves a path out.
fn check(pattern: &str, path: &str, expected: bool) {
    assert_eq!(matcher(&[pattern]).matches(path), expected, "{pattern} {path}");
}

#[test]
fn single_patterns_match_as_mobys() {
    for (pattern, path) in [
        ("**", "file"),
        ("**", "file/"),
        ("**/", "file"),
        ("**/", "dir/file"),
        ("**/**", "dir/file"),
        ("dir/**", "dir/file"),
        ("dir/**", "dir/dir2/file"),
        ("**/dir", "dir"),
        ("**/dir", "dir/file"),
        ("**/dir2/*", "dir/dir2/file"),
        ("**/dir2/*", "dir/dir2/dir2/file"),
        ("**/dir2/**", "dir/dir2/dir2/file"),
        ("**file", "file"),
        ("**file", "dir/file"),
        ("**/file", "dir/file"),
        ("**file", "dir/dir/file"),
        ("**/file", "dir/dir/file"),
        ("**/file*", "dir/dir/file.txt"),
        ("**/file*txt", "dir/dir/file.txt"),
        ("**/file*.txt", "dir/dir/file.txt"),
        ("**/file*.txt*", "dir/dir/file.txt"),
        ("**/**/*.txt", "dir/dir/file.txt"),
        ("a**/*.txt", "a/file.txt"),
        ("a**/*.txt", "a/dir/file.txt"),
        ("a**/*.txt", "a/dir/dir/file.txt"),
        ("a[b-d]e", "ace"),
        ("abc.def", "abc.def"),
        ("abc?def", "abcZdef"),
        ("a\\*b", "a*b"),
        ("**/foo/bar", "foo/bar"),
        ("**/foo/bar", "dir/foo/bar"),
        ("abc/**", "abc/def"),
        ("abc/**", "abc/def/ghi"),
        ("**/.foo", ".foo"),
        ("**/.foo", "dir/.foo"),
        ("./bin/*", "bin/a"),
        ("bin", "bin/x/y"),
        ("*", "a"),
        ("*/*", "a/b/c"),
        ("a(b)c", "a(b)c"),
        ("*.p[^y]", "x.pz"),
        ("[^a]bc", "dbc"),
        ("a^b", "a^b"),
        ("**/a^b", "x/a^b"),
        ("한*", "한국어"),
        ("?", "어"),
        ("**", "a\nb"),
        ("a.|b", "a.|b"),
        ("a{b}$", "a{b}$"),
        ("dir/", "dir"),
        ("a/../b", "b"),
        ("**foo", "xfoo"),
    ] {
        check(pattern, path, true);
    }
    for (pattern, path) in [
        ("dir/**", "dir"),
        ("**/dir2/*", "dir/dir2"),
        ("**/file*txt", "dir/dir/file-txt.x"),
        ("a**/*.txt", "b/file.txt"),
        ("a[b-d]e", "aze"),
        ("abc.def", "abcXdef"),
        ("abc?def", "abc/def"),
        ("a\\*b", "ab"),
        ("**/foo/bar", "foobar"),
        ("**/foo/bar", "xfoo/bar"),
        ("abc/**", "abc"),
        ("**/.foo", "bar.foo"),
        ("bin", "binx"),
        ("*/*", "a"),
        ("*.txt", "dir/a.txt"),
        ("/a", "a"),
        ("*a^b", "xa^b"),
        ("**/foo", "xfoo"),
        ("A", "a"),
        ("", "a"),
        (".", "a"),
        ("*x", "x\n/"),
    ] {
        check(pattern, path, false);
    }
    // In brackets, a slash counts as any character.
    check("a[^b]c", "a/c", true);
}

#[test]
fn the_last_pattern_that_matches_wins() {
    let check = |patterns: &[&str], path: &str, expected: bool| {
        assert_eq!(matcher(patterns).matches(path), expected, "{patterns:?} {path}");
    };
    check(&["*", "!a"], "a", false);
    check(&["*", "!a"], "a/b", false);
    check(&["*", "!a"], "b", true);
    check(&["!a", "*"], "a", true);
    check(&["a", "!a/b"], "a/b", false);
    check(&["a", "!a/b"], "a/c", true);
    check(&["a", "!a/b", "a/b/c"], "a/b/c", true);
    check(&["a", "!a/b", "a/b/c"], "a/b/d", false);
    check(&["**", "!**/*.go"], "x/y.go", false);
    check(&["**", "!**/*.go"], "x/y.rs", true);
    check(&["*.md", "!README*.md", "README-secret.md"], "README-secret.md", true);
    check(&["*.md", "!README*.md", "README-secret.md"], "README-x.md", false);
    check(&["*.md", "README-secret.md", "!README*.md"], "README-secret.md", false);
    check(&["dir", "!dir/sub/*"], "dir/sub/x", false);
    check(&["dir", "!dir/sub/*"], "dir/sub", true);
    check(&["! a ", "b"], "b", true);
    check(&[], "a", false);
}

#[test]
fn an_exception_of_a_directory_doesnt_count_before_its_pattern_matched() {
    // The walk didn't look at `!foo` at the directory, as nothing had been left out there; the other way does.
    let rare = matcher(&["foo/x", "!foo"]);
    assert!(rare.matches("foo/x"));
    assert!(!rare.matches_or_parent("foo/x"));
}

#[test]
fn ignore_files_are_read() {
    let text = "\u{feff}# comment\n  # a pattern\n\n /a/b/ \n!/c\n! d \n./e//f\n!\n/\n..\r\n";
    assert_eq!(patterns(text), ["# a pattern", "a/b", "!c", "!d", "e/f", "!", "/", ".."]);
    assert_eq!(patterns(""), Vec::<String>::new());
    assert_eq!(Matcher::new(&["a", "!"]).map(|_| ()), Err(IgnoreError::Nothing));
    let bad = Matcher::new(&["a[b"]).map(|_| ()).expect_err("no pattern");
    assert_eq!(bad.to_string(), "syntax error in pattern \"a[b\"");
}

#[test]
fn directories_are_skipped_where_no_exception_can_match() {
    let check = |patterns: &[&str], directory: &str, expected: bool| {
        assert_eq!(matcher(patterns).may_except_below(directory), expected, "{patterns:?} {directory}");
    };
    check(&["*"], "a", false);
    check(&["*", "!a/b"], "a", true);
    check(&["*", "!a/b"], "ab", false);
    check(&["*", "!a/b"], "a/b", false);
    check(&["*", "!a/*/c"], "a/b", true);
    check(&["*", "!a/*/c"], "a/b/c", false);
    check(&["*", "!a/*/c"], "b", false);
    check(&["*", "!a/**"], "a/b/c", true);
    check(&["*", "!a/**"], "b", false);
    check(&["*", "!**/x"], "anything", true);
    check(&["*", "!a/**/x*"], "a/b", true);
    check(&["*", "!a/**/x*"], "b", false);
}

#[test]
fn very_long_patterns_match_too() {
    let name = "ab".repeat(100);
    check(&format!("*{name}"), &format!("x{name}"), true);
    check(&format!("?{name}"), &name, false);
}

proptest::proptest! {
    #[test]
    fn any_pattern_matches_or_is_refused(pattern in r"[ab*?/!.\\\[\]^-]{0,12}", path in "[ab./]{1,12}") {
        let _ = Matcher::new(&[pattern]).map(|matcher| matcher.matches(&path));
    }

    #[test]
    fn what_is_skipped_has_no_exception_below(
        first in "[ab*?/]{1,6}", second in "[ab*?/]{1,6}", directory in "[ab]{1,2}(/[ab])?", rest in "[ab]{1,2}(/[ab])?",
    ) {
        let Ok(matcher) = Matcher::new(&[first, format!("!{second}")]) else { return Ok(()) };
        if matcher.matches(&directory) && !matcher.may_except_below(&directory) {
            assert!(matcher.matches(&format!("{directory}/{rest}")));
        }
    }

    #[test]
    fn steps_match_as_a_simple_matcher(pattern in "[ab*?/]{1,8}", path in "[ab]{1,3}(/[ab]{1,3}){0,2}") {
        let matcher = matcher(&[&pattern]);
        let cleaned = glob::clean(&pattern);
        let own = matcher.patterns.first().is_some_and(|pattern| pattern.matches(&path));
        // The forms for speed take a leading `**` for any characters, and the steps for directories.
        if !(cleaned.starts_with("**") && matches!(matcher.patterns[0].form, Form::Suffix(_))) {
            assert_eq!(own, naive(&cleaned.chars().collect::<Vec<_>>(), &path.chars().collect::<Vec<_>>()), "{cleaned} {path}");
        }
    }
}

/// The regular expression that moby makes, tried one way after another.
fn naive(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*', '/', rest @ ..] | ['*', '*', rest @ ..] => {
            rest.is_empty()
                || naive(rest, path)
                || (0..path.len()).any(|at| path[at] == '/' && naive(rest, &path[at + 1..]))
        }
        ['*', rest @ ..] => {
            let end = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=end).any(|at| naive(rest, &path[at..]))
        }
        ['?', rest @ ..] => path.first().is_some_and(|c| *c != '/') && naive(rest, &path[1..]),
        [c, rest @ ..] => path.first() == Some(c) && naive(rest, &path[1..]),
    }
}
