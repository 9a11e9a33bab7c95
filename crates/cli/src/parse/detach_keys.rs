//! The keys that leave a container's terminal: `ctrl-p,ctrl-q`.

use crate::failure::BadValue;

/// The bytes that the terminal sends for `text`: single characters, `ctrl-` and a letter or one of `@[\]^_`, and
/// `DEL`, with commas. Source: moby/term ToBytes.
pub fn parse(text: &str) -> Result<Vec<u8>, BadValue> {
    text.split(',').map(key).collect()
}

fn key(text: &str) -> Result<u8, BadValue> {
    let wrong = || {
        BadValue::new(format!("unknown key {text:?}"))
            .hint("write single characters or ctrl-LETTER, as in ctrl-p,ctrl-q")
    };
    let control = text.get(..5).filter(|start| start.eq_ignore_ascii_case("ctrl-")).map(|_| &text[5..]);
    match (control, text.as_bytes()) {
        (Some(key), _) => match key.as_bytes() {
            [letter] if letter.is_ascii_alphabetic() => Ok(letter.to_ascii_lowercase() - b'a' + 1),
            b"@" => Ok(0),
            [sign @ b'['..=b'_'] => Ok(sign - b'@'),
            _ => Err(wrong()),
        },
        (None, [byte]) if byte.is_ascii() => Ok(*byte),
        (None, b"DEL") => Ok(127),
        _ => Err(wrong()),
    }
}
