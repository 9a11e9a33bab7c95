//! The shell's wildcards as Go's `path.Match` reads them: `*` and `?` stop at slashes, `[a-z]` and `[^a]` are classes.

/// Whether `pattern` matches all of `text`. One that breaks the grammar matches nothing.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Where to go on if what follows the last star doesn't fit: one character further under the star.
    let mut retry: Option<(usize, usize)> = None;
    let (mut p, mut t) = (0, 0);
    loop {
        let step = match pattern.get(p) {
            None if t == text.len() => return true,
            Some('*') => {
                retry = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') => text.get(t).filter(|c| **c != '/').map(|_| p + 1),
            Some('[') => text.get(t).and_then(|c| class(&pattern, p, *c)),
            Some('\\') => pattern.get(p + 1).filter(|c| text.get(t) == Some(*c)).map(|_| p + 2),
            Some(c) => text.get(t).filter(|found| *found == c).map(|_| p + 1),
            None => None,
        };
        match (step, retry) {
            (Some(next), _) => (p, t) = (next, t + 1),
            (None, Some((star, from))) if from < text.len() && text[from] != '/' => {
                retry = Some((star, from + 1));
                (p, t) = (star + 1, from + 1);
            }
            _ => return false,
        }
    }
}

/// The position after the class that begins at `at`, if it holds `c`.
fn class(pattern: &[char], at: usize, c: char) -> Option<usize> {
    let mut p = at + 1;
    let negated = pattern.get(p) == Some(&'^');
    p += usize::from(negated);
    let (mut holds, first) = (false, p);
    loop {
        let one = |p: &mut usize| {
            let escaped = pattern.get(*p) == Some(&'\\');
            *p += usize::from(escaped);
            let found = pattern.get(*p).copied().filter(|c| escaped || !matches!(c, '-' | ']'));
            *p += 1;
            found
        };
        if pattern.get(p) == Some(&']') && p > first {
            return (holds != negated && c != '/').then_some(p + 1);
        }
        let low = one(&mut p)?;
        let high = match pattern.get(p) {
            Some('-') => {
                p += 1;
                one(&mut p)?
            }
            _ => low,
        };
        holds |= (low..=high).contains(&c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_gos() {
        for (pattern, text) in [
            ("abc", "abc"),
            ("*", "abc"),
            ("a*", "abc"),
            ("a*c", "abbc"),
            ("a?c", "abc"),
            ("a*/b", "abc/b"),
            ("a*b*c/d", "axbxc/d"),
            ("[a-c]x", "bx"),
            ("[^a-c]x", "dx"),
            ("a\\*b", "a*b"),
            ("*:1.*", "app:1.2"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a", "ab"),
            ("*", "a/b"),
            ("a?b", "a/b"),
            ("[a-c]x", "dx"),
            ("[^a]", "/"),
            ("a*", "a/b"),
            ("[", "a"),
            ("[]a]", "]"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
