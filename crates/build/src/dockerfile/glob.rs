//! Patterns and paths as Go's path/filepath has them: for the sources of `COPY` and `ADD`.

use std::iter::Peekable;
use std::ops::RangeInclusive;
use std::str::Chars;

/// A pattern that is none: a bracket that isn't closed, a `\` at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern {pattern:?}")]
pub struct BadPattern {
    /// The pattern.
    pub pattern: String,
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `*`
    Star,
    /// `?`
    Any,
    /// A character.
    Char(char),
    /// `[…]`
    Class(Class),
}

/// The characters of `[…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class {
    is_negated: bool,
    ranges: Vec<RangeInclusive<char>>,
}

impl Class {
    pub fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|range| range.contains(&c)) != self.is_negated
    }
}

/// Reads a pattern. Source: Go's filepath.Match, which says what is none.
pub(super) fn tokens(pattern: &str) -> Result<Vec<Token>, BadPattern> {
    let bad = || BadPattern { pattern: pattern.to_owned() };
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::Char(chars.next().ok_or_else(bad)?),
            '[' => {
                let is_negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                    let low = bound(&mut chars).ok_or_else(bad)?;
                    let high = match chars.next_if_eq(&'-') {
                        Some(_) => bound(&mut chars).ok_or_else(bad)?,
                        None => low,
                    };
                    ranges.push(low..=high);
                    // Go wants something behind each range.
                    chars.peek().ok_or_else(bad)?;
                }
                Token::Class(Class { is_negated, ranges })
            }
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

/// One end of a range of characters.
fn bound(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// A pattern of `COPY`: `*`, `?` and `[…]`, none of which matches a slash but by a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// Errors: it's none.
    pub fn new(pattern: &str) -> Result<Glob, BadPattern> {
        Ok(Glob { tokens: tokens(pattern)? })
    }

    /// Whether the whole of `name` matches. Source: Go's filepath.Match.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut token, mut at) = (0, 0);
        // The last star, and how far it reaches: an earlier one never has to reach farther.
        let mut star: Option<(usize, usize)> = None;
        loop {
            let here = name.get(at).copied();
            let is_match = match (self.tokens.get(token), here) {
                (None, None) => return true,
                (Some(Token::Star), _) => {
                    token += 1;
                    star = Some((token, at));
                    continue;
                }
                (Some(Token::Any), Some(c)) => c != '/',
                (Some(Token::Char(expected)), Some(c)) => *expected == c,
                (Some(Token::Class(class)), Some(c)) => class.has(c) && c != '/',
                _ => false,
            };
            if is_match {
                token += 1;
                at += 1;
                continue;
            }
            match star {
                Some((after, reached)) if name.get(reached).is_some_and(|c| *c != '/') => {
                    star = Some((after, reached + 1));
                    token = after;
                    at = reached + 1;
                }
                _ => return false,
            }
        }
    }
}

/// Whether a path has wildcards that aren't escaped.
pub fn has_wildcards(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// A path's directories before the first component with wildcards, and the rest from there: `a/b`, `c*/d`.
/// Source: fsutil's copy.ResolveWildcards.
pub fn split_at_wildcards(path: &str) -> (String, String) {
    let path = clean(path);
    let components: Vec<&str> = path.split('/').collect();
    let first = components.iter().position(|component| has_wildcards(component));
    let (before, after) = components.split_at(first.unwrap_or(components.len()));
    let before = match before {
        [""] => "/".to_owned(),
        before => before.join("/"),
    };
    (before, after.join("/"))
}

/// The shortest path that means the same, by the text alone: `a/./b/../c//` is `a/c`, nothing is `.`.
/// Source: Go's path.Clean.
pub fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => drop(kept.pop()),
            ".." if is_absolute => {}
            component => kept.push(component),
        }
    }
    match (is_absolute, kept.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_gos() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(Glob::new(pattern).expect(pattern).matches(name), expected, "{pattern} {name}");
        };
        for (pattern, name) in [
            ("abc", "abc"),
            ("*", "abc"),
            ("*c", "abc"),
            ("a*", "a"),
            ("a*", "abc"),
            ("a*/b", "abc/b"),
            ("a*b*c*d*e*/f", "axbxcxdxe/f"),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f"),
            ("a*b?c*x", "abxbbxdbxebxczzx"),
            ("ab[c]", "abc"),
            ("ab[b-d]", "abc"),
            ("ab[^e-g]", "abc"),
            ("a\\*b", "a*b"),
            ("a?b", "a☺b"),
            ("a[^a]b", "a☺b"),
            ("[a-ζ]*", "α"),
            ("[\\]a]", "]"),
            ("[\\-]", "-"),
            ("[x\\-]", "x"),
            ("[x\\-]", "-"),
            ("*x", "xxx"),
            ("", ""),
            ("a/*", "a/b"),
            ("*/*", "a/b"),
            ("*.txt", ".txt"),
        ] {
            check(pattern, name, true);
        }
        for (pattern, name) in [
            ("a*", "ab/c"),
            ("a*/b", "a/c/b"),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f"),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff"),
            ("a*b?c*x", "abxbbxdbxebxczzy"),
            ("ab[e-g]", "abc"),
            ("ab[^c]", "abc"),
            ("a\\*b", "ab"),
            ("a???b", "a☺b"),
            ("a[^a][^a][^a]b", "a☺b"),
            ("*[a-ζ]*", "A"),
            ("a?b", "a/b"),
            ("a*b", "a/b"),
            ("[x\\-]", "z"),
            ("", "a"),
            ("*", "a/b"),
            ("a[^b]c", "a/c"),
            ("abc", "abcd"),
            ("abcd", "abc"),
        ] {
            check(pattern, name, false);
        }
        for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\", "[a", "[\\"]
        {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn paths_are_split_before_the_first_wildcard() {
        let check = |path: &str, before: &str, after: &str| {
            assert_eq!(split_at_wildcards(path), (before.to_owned(), after.to_owned()), "{path}");
        };
        check("a/b/c*/d", "a/b", "c*/d");
        check("*.txt", "", "*.txt");
        check("/*.txt", "/", "*.txt");
        check("/a/?", "/a", "?");
        check("a/b", "a/b", "");
        check("a\\*/b", "a\\*/b", "");
    }

    #[test]
    fn paths_are_cleaned_as_gos() {
        for (path, expected) in [
            ("", "."),
            ("abc", "abc"),
            (".", "."),
            ("..", ".."),
            ("/", "/"),
            ("//", "/"),
            ("abc/", "abc"),
            ("abc//def", "abc/def"),
            ("/./abc", "/abc"),
            ("abc/./def", "abc/def"),
            ("abc/../def", "def"),
            ("abc/def/../..", "."),
            ("abc/../..", ".."),
            ("/..", "/"),
            ("/../abc", "/abc"),
            ("../../abc", "../../abc"),
            ("abc/./../def", "def"),
            ("abc/../../././../def", "../../def"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
