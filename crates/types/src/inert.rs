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

/// The same for a JSON document, which means the same as before. Its writer has escaped the controls of ASCII.
pub fn inert_json(document: &str) -> Cow<'_, str> {
    let harmful = |c: char| !c.is_ascii_control() && is_active(c) || c == '\u{7f}';
    if !document.chars().any(harmful) {
        return Cow::Borrowed(document);
    }
    let mut shown = String::with_capacity(document.len() + 8);
    for c in document.chars() {
        match harmful(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| shown += &format!("\\u{unit:04x}")),
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

    #[test]
    fn a_document_keeps_its_meaning() {
        let document = "{\n  \"a\": \"\u{9b}31m\u{202e}\u{7f}\u{e0041}ü\"\n}";
        let shown = inert_json(document);
        assert_eq!(shown, "{\n  \"a\": \"\\u009b31m\\u202e\\u007f\\udb40\\udc41ü\"\n}");
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&shown), parse(document));
    }
}
