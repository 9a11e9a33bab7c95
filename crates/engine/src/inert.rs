//! Text from containers and images, made harmless for a terminal (security.md T18).

use std::borrow::Cow;

/// `text` with each character that a terminal acts on, or that reorders or hides others, written as an escape: `\u{1b}`.
pub fn inert(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match is_active(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Controls of both blocks, line separators, bidirectional and invisible formatting. Source: UAX #9, UTS #36.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_spelled_out() {
        assert_eq!(inert("plain ü 漢 \\x"), "plain ü 漢 \\x");
        assert_eq!(inert("a\x1b]0;t\x07b"), "a\\u{1b}]0;t\\u{7}b");
        assert_eq!(inert("\u{9b}31m\r\n\t"), "\\u{9b}31m\\u{d}\\u{a}\\u{9}");
        assert_eq!(inert("gnp.\u{202e}exe"), "gnp.\\u{202e}exe");
    }
}
