//! `.dockerignore` and `--exclude`: which paths are left out.
//!
//! A path is left out if the last pattern that matches it, or matched a directory that leads to it, is no exception (`!`).
//! Source: moby/patternmatcher, MatchesUsingParentResults, which BuildKit asks while it walks a context; its `ignorefile` for
//! the lines of the file. Differences: `\` before a letter means the letter, not a class of regular expressions, and `*` and `?`
//! in brackets mean themselves.

use super::glob::{self, Class, Token};

/// A pattern that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// `!` of nothing.
    #[error("illegal exclusion pattern: \"!\"")]
    Nothing,
    /// A bracket that isn't closed, or the like.
    #[error("{0}")]
    Bad(#[from] glob::BadPattern),
}

/// The patterns of an ignore file: without comments and empty lines, relative to the context.
pub fn patterns(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().filter(|line| !line.starts_with('#')).filter_map(pattern).collect()
}

/// The pattern that a line is.
fn pattern(line: &str) -> Option<String> {
    let line = line.trim();
    let (mark, path) = match line.strip_prefix('!') {
        Some(path) => ("!", path.trim()),
        None => ("", line),
    };
    match path {
        "" if mark.is_empty() => None,
        "" => Some(mark.to_owned()),
        path => {
            let path = glob::clean(path);
            let path = path.strip_prefix('/').filter(|path| !path.is_empty()).unwrap_or(&path);
            Some(format!("{mark}{path}"))
        }
    }
}

/// Says of paths whether they are left out.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    patterns: Vec<Pattern>,
}

/// What is known of a path; its children's answers need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched {
    /// Whether the path is left out.
    pub is_ignored: bool,
    /// For each pattern, whether it matched the path or one that leads to it; empty for the root.
    patterns: Vec<bool>,
}

impl Matcher {
    /// Reads patterns, as [`patterns`] gives them.
    ///
    /// Errors: the first that is none.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Matcher, IgnoreError> {
        let texts = patterns.iter().map(|pattern| pattern.as_ref().trim()).filter(|text| !text.is_empty());
        Ok(Matcher { patterns: texts.map(Pattern::new).collect::<Result<_, _>>()? })
    }

    /// Whether there are no patterns: then nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether there are exceptions (`!`).
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_exception)
    }

    /// Whether `path`, relative and without a slash at its end, is left out, `parent` being what was said of the directory
    /// that it's in; [`Matched::default`] for the root. For a walk of a tree.
    pub fn step(&self, parent: &Matched, path: &str) -> Matched {
        let mut matched = Matched { is_ignored: false, patterns: vec![false; self.patterns.len()] };
        for (index, pattern) in self.patterns.iter().enumerate() {
            let by_parent = parent.patterns.get(index).copied().unwrap_or_default();
            // Otherwise it would change nothing; moby doesn't even look, and so doesn't know it for the children.
            let may_change = pattern.is_exception == matched.is_ignored;
            if by_parent || (may_change && pattern.matches(path)) {
                matched.patterns[index] = true;
                matched.is_ignored = !pattern.is_exception;
            }
        }
        matched
    }

    /// Whether `path`, relative, is left out, as a walk to it would find.
    pub fn matches(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.fold(Matched::default(), |parent, end| self.step(&parent, &path[..end])).is_ignored
    }

    /// Whether an exception could match something below the directory `path`. If not, and the directory itself is left out,
    /// a walk needn't enter it.
    pub fn may_except_below(&self, path: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_exception && pattern.may_match_below(path))
    }

    /// Whether all of the context is left out, for the check of `COPY .`.
    pub fn ignores_all(&self) -> bool {
        self.patterns
            .iter()
            .any(|pattern| matches!(&pattern.text[..], "*" | "**" | "**/*") && !pattern.is_exception)
    }

    /// Whether `path` or a directory that leads to it matches, exceptions considered one by one. What BuildKit's check asks,
    /// which differs from [`Matcher::matches`] in rare cases. Source: moby/patternmatcher, MatchesOrParentMatches.
    pub fn matches_or_parent(&self, path: &str) -> bool {
        let mut is_ignored = false;
        for pattern in self.patterns.iter() {
            if pattern.is_exception != is_ignored {
                continue;
            }
            let mut ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            if ends.any(|end| pattern.matches(&path[..end])) {
                is_ignored = !pattern.is_exception;
            }
        }
        is_ignored
    }
}

/// One pattern.
#[derive(Debug, Clone)]
struct Pattern {
    /// Without `!`.
    text: String,
    is_exception: bool,
    form: Form,
}

/// How a pattern matches.
#[derive(Debug, Clone)]
enum Form {
    /// The path is this.
    Exact,
    /// The path begins so: `a/**`.
    Prefix(String),
    /// The path ends so, or is what follows the slash: `**/a`.
    Suffix(String),
    /// The path is what the steps make.
    Steps(Steps),
}

impl Pattern {
    fn new(text: &str) -> Result<Pattern, IgnoreError> {
        let cleaned = glob::clean(text);
        let (is_exception, text) = match cleaned.strip_prefix('!') {
            Some("") => return Err(IgnoreError::Nothing),
            Some(rest) => (true, rest.to_owned()),
            None => (false, cleaned),
        };
        let tokens = glob::tokens(&text)?;
        let form = Form::of(&text, &tokens);
        Ok(Pattern { text, is_exception, form })
    }

    fn matches(&self, path: &str) -> bool {
        match &self.form {
            Form::Exact => path == self.text,
            Form::Prefix(prefix) => path.starts_with(prefix),
            Form::Suffix(suffix) => {
                path.ends_with(suffix) || suffix.strip_prefix('/').is_some_and(|rest| path == rest)
            }
            Form::Steps(steps) => steps.match_whole(path),
        }
    }

    fn may_match_below(&self, directory: &str) -> bool {
        let below = format!("{directory}/");
        match &self.form {
            Form::Exact => self.text.starts_with(&below),
            Form::Prefix(prefix) => prefix.starts_with(&below) || below.starts_with(prefix),
            Form::Suffix(_) => true,
            Form::Steps(steps) => steps.may_continue(&below),
        }
    }
}

impl Form {
    /// The form of a pattern. The cases are those of moby/patternmatcher, compile.
    fn of(text: &str, tokens: &[Token]) -> Form {
        let is_plain = |tokens: &[Token]| tokens.iter().all(|token| matches!(token, Token::Char(_)));
        // An escape makes a pattern that isn't plain, though the tokens would be.
        let has_escapes = text.contains('\\');
        let is_double = |tokens: &[Token]| matches!(tokens, [Token::Star, Token::Star, ..]);
        if is_plain(tokens) && !has_escapes {
            return Form::Exact;
        }
        if is_double(tokens) && is_plain(&tokens[2..]) && !has_escapes {
            return Form::Suffix(text[2..].to_owned());
        }
        if let Some((before, [_, _])) = tokens.split_at_checked(tokens.len().saturating_sub(2))
            && is_double(&tokens[tokens.len() - 2..])
            && is_plain(before)
            && !has_escapes
        {
            return Form::Prefix(text[..text.len() - 2].to_owned());
        }
        Form::Steps(Steps::of(tokens))
    }
}

/// One step of a pattern over a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Char(char),
    /// Any character but a slash.
    Any,
    /// Any number of characters but slashes.
    Star,
    Class(Class),
    /// Any directories, or none, each with its slash: the way in, followed by `Within`.
    Directories,
    /// A character of such directories.
    Within,
    /// Anything.
    Rest,
    /// The beginning of the path: a `^`, as moby makes a regular expression of the pattern and forgets to escape it.
    Start,
}

/// Steps, and what they begin and end with for sure, so that most paths can be refused at once.
#[derive(Debug, Clone)]
struct Steps {
    steps: Vec<Step>,
    head: String,
    tail: String,
}

impl Steps {
    fn of(tokens: &[Token]) -> Steps {
        let mut steps = Vec::new();
        let mut rest = tokens;
        while let Some((token, mut after)) = rest.split_first() {
            match token {
                Token::Star if after.first() == Some(&Token::Star) => {
                    after = &after[1..];
                    if after.first() == Some(&Token::Char('/')) {
                        after = &after[1..];
                    }
                    match after.is_empty() {
                        true => steps.push(Step::Rest),
                        false => steps.extend([Step::Directories, Step::Within]),
                    }
                }
                Token::Star => steps.push(Step::Star),
                Token::Any => steps.push(Step::Any),
                Token::Class(class) => steps.push(Step::Class(class.clone())),
                Token::Char('^') => steps.push(Step::Start),
                Token::Char(c) => steps.push(Step::Char(*c)),
            }
            rest = after;
        }
        let literal = |step: &Step| match step {
            Step::Char(c) => Some(*c),
            _ => None,
        };
        let head = steps.iter().map_while(literal).collect();
        let tail: Vec<char> = steps.iter().rev().map_while(literal).collect();
        Steps { head, tail: tail.into_iter().rev().collect(), steps }
    }

    fn match_whole(&self, path: &str) -> bool {
        path.starts_with(&self.head)
            && path.ends_with(&self.tail)
            && self.alive(path).is_some_and(|alive| alive.has(self.steps.len()))
    }

    /// Whether something that begins with `path` could match.
    fn may_continue(&self, path: &str) -> bool {
        self.alive(path).is_some()
    }

    /// The steps at which one can be after `path`; `None` if there is none.
    fn alive(&self, path: &str) -> Option<Alive> {
        let mut alive = Alive::new(self.steps.len() + 1);
        self.enter(&mut alive, 0, true);
        for c in path.chars() {
            let mut next = Alive::new(self.steps.len() + 1);
            for (at, step) in self.steps.iter().enumerate().filter(|(at, _)| alive.has(*at)) {
                match step {
                    Step::Char(expected) if *expected == c => self.enter(&mut next, at + 1, false),
                    Step::Any if c != '/' => self.enter(&mut next, at + 1, false),
                    Step::Class(class) if class.has(c) => self.enter(&mut next, at + 1, false),
                    Step::Star if c != '/' => self.enter(&mut next, at, false),
                    Step::Rest if c != '\n' => self.enter(&mut next, at, false),
                    Step::Within => {
                        if c != '\n' {
                            next.add(at);
                        }
                        if c == '/' {
                            self.enter(&mut next, at + 1, false);
                        }
                    }
                    _ => {}
                }
            }
            if next.is_empty() {
                return None;
            }
            alive = next;
        }
        Some(alive)
    }

    /// Adds a step, and those that can be reached from it without a character.
    fn enter(&self, alive: &mut Alive, at: usize, is_start: bool) {
        let mut at = at;
        loop {
            alive.add(at);
            match self.steps.get(at) {
                Some(Step::Star | Step::Rest) => at += 1,
                Some(Step::Start) if is_start => at += 1,
                Some(Step::Directories) => {
                    alive.add(at + 1);
                    at += 2;
                }
                _ => return,
            }
        }
    }
}

/// A set of steps.
#[derive(Debug, Clone)]
struct Alive {
    first: u128,
    /// Of patterns with more steps than fit: as good as never needed.
    others: Vec<bool>,
}

impl Alive {
    fn new(count: usize) -> Alive {
        Alive { first: 0, others: vec![false; count.saturating_sub(128)] }
    }

    fn add(&mut self, at: usize) {
        match at {
            0..128 => self.first |= 1 << at,
            _ => self.others[at - 128] = true,
        }
    }

    fn has(&self, at: usize) -> bool {
        match at {
            0..128 => self.first & (1 << at) != 0,
            _ => self.others[at - 128],
        }
    }

    fn is_empty(&self) -> bool {
        self.first == 0 && !self.others.contains(&true)
    }
}

#[cfg(test)]
mod tests;
