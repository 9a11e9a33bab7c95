//! Whether what a template begins ends: the engine passes over an `end` too many or too few, and over what follows.

/// What stands open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// `if` and `with`, and whether their last `else` has come.
    Choice(bool),
    /// `range`, and the same.
    Range(bool),
    /// `define` and `block`.
    Template,
}

/// Refuses what Go refuses for its blocks.
///
/// Source: text/template/parse, parseControl, elseControl and endControl.
pub fn check(source: &str) -> Result<(), String> {
    let mut open: Vec<Open> = Vec::new();
    let mut rest = source;
    while let Some((_, after)) = rest.split_once("{{") {
        let (action, after) = action(after).ok_or("unclosed action")?;
        rest = after;
        let word = action.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        take(&mut open, word, action)?;
    }
    match open.is_empty() {
        true => Ok(()),
        false => Err("unexpected EOF: an {{end}} is missing".to_owned()),
    }
}

fn take(open: &mut Vec<Open>, word: &str, action: &str) -> Result<(), String> {
    let unexpected = || Err(format!("unexpected {{{{{word}}}}}"));
    match word {
        "if" | "with" => open.push(Open::Choice(false)),
        "range" => open.push(Open::Range(false)),
        "block" => open.push(Open::Template),
        "define" if open.is_empty() => open.push(Open::Template),
        "define" => return unexpected(),
        "else" => {
            let follows = action["else".len()..].trim_start();
            let is_last = !follows.starts_with("if") && !follows.starts_with("with");
            match open.last_mut() {
                Some(Open::Choice(done)) if !*done => *done = is_last,
                Some(Open::Range(done)) if !*done && is_last => *done = true,
                _ => return unexpected(),
            }
        }
        "end" if open.pop().is_none() => return unexpected(),
        "break" | "continue" if !open.iter().any(|one| matches!(one, Open::Range(_))) => return unexpected(),
        _ => {}
    }
    Ok(())
}

/// An action's text, without signs that trim and spaces, and what follows it.
fn action(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix("- ").unwrap_or(text);
    if let Some(comment) = inner.trim_start().strip_prefix("/*") {
        return comment.split_once("*/")?.1.split_once("}}").map(|(_, after)| ("", after));
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"' | '\'') if c == '\\' => escaped = true,
            Some(mark) if c == mark => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '`' | '\'') => quote = Some(c),
            None if text[at..].starts_with("}}") => {
                let inner = text[..at].strip_prefix('-').unwrap_or(&text[..at]);
                return Some((inner.trim_start(), &text[at + 2..]));
            }
            None => {}
        }
    }
    None
}
