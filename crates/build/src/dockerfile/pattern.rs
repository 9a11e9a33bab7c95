//! The patterns of `${NAME#pattern}` and its like: `*` any characters, `?` one, neither a line's end; no brackets.
//!
//! A pattern finds what Go's regular expressions would: the first place that matches, and there the shortest or longest
//! way. Positions are worked out for all places at once, from the end backwards, so that time is bounded by length of
//! value times length of pattern.

/// A pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Exactly(char),
}

/// An escape that means nothing in a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid escape '\\{0}'")]
pub struct PatternError(char);

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                // They are escaped because of the `${}` around, not for the pattern.
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\')) => Token::Exactly(escaped),
                    other => return Err(PatternError(other.unwrap_or('\u{fffd}'))),
                },
                c => Token::Exactly(c),
            });
        }
        Ok(Pattern { tokens })
    }

    /// The pattern that matches from the end backwards.
    pub fn reversed(text: &str) -> Result<Pattern, PatternError> {
        let mut pattern = Pattern::new(text)?;
        pattern.tokens.reverse();
        Ok(pattern)
    }

    pub fn without_prefix(&self, value: &str, is_longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        match self.ends(&chars, is_longest)[0] {
            Some(end) => chars[end..].iter().collect(),
            None => value.to_owned(),
        }
    }

    /// For a pattern that is [`Pattern::reversed`].
    pub fn without_suffix(&self, value: &str, is_longest: bool) -> String {
        let chars: Vec<char> = value.chars().rev().collect();
        match self.ends(&chars, is_longest)[0] {
            Some(end) => chars[end..].iter().rev().collect(),
            None => value.to_owned(),
        }
    }

    /// The value with the first match replaced, or all; `None` if that would be longer than `bytes_max`.
    pub fn replaced(&self, value: &str, replacement: &str, is_all: bool, bytes_max: usize) -> Option<String> {
        let chars: Vec<char> = value.chars().collect();
        let ends = self.ends(&chars, true);
        let mut text = String::new();
        let (mut from, mut last_end) = (0, 0);
        while let Some(start) = (from..=chars.len()).find(|at| ends[*at].is_some()) {
            let end = ends[start].unwrap_or(start);
            text.extend(&chars[last_end..start]);
            // An empty match right behind another is none. Source: Go's regexp, ReplaceAll.
            if end > last_end || start == 0 {
                text.push_str(replacement);
            }
            if text.len() > bytes_max {
                return None;
            }
            last_end = end;
            from = end.max(from + 1);
            if !is_all {
                break;
            }
        }
        text.extend(&chars[last_end..]);
        Some(text)
    }

    /// For each position, including the end, where a match that begins there ends.
    fn ends(&self, chars: &[char], is_longest: bool) -> Vec<Option<usize>> {
        let mut after: Vec<Option<usize>> = (0..=chars.len()).map(Some).collect();
        for token in self.tokens.iter().rev() {
            let mut ends = vec![None; chars.len() + 1];
            for at in (0..=chars.len()).rev() {
                let here = chars.get(at).copied();
                ends[at] = match token {
                    Token::Exactly(c) if here == Some(*c) => after[at + 1],
                    Token::One if here.is_some_and(|c| c != '\n') => after[at + 1],
                    Token::Exactly(_) | Token::One => None,
                    Token::Any => {
                        let more = if here.is_some_and(|c| c != '\n') { ends[at + 1] } else { None };
                        if is_longest { more.or(after[at]) } else { after[at].or(more) }
                    }
                };
            }
            after = ends;
        }
        after
    }
}
