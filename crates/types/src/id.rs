//! Container identifiers and names.

use std::fmt;

/// A container's id: 64 lower-case hexadecimal digits, as docker's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// The id made of 32 random bytes.
    pub fn from_random(bytes: [u8; 32]) -> ContainerId {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(64);
        for byte in bytes {
            text.push(DIGITS[(byte >> 4) as usize] as char);
            text.push(DIGITS[(byte & 15) as usize] as char);
        }
        ContainerId(text)
    }

    /// Parses a full id; `None` unless it is 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<ContainerId> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 64 && text.bytes().all(hex)).then(|| ContainerId(text.to_owned()))
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as lists show them.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Longest name of a container, in bytes. Longer ones would not fit a file name together with a suffix.
pub const NAME_BYTES_MAX: usize = 128;

/// Whether a text may name a network: as a container's name, and one character is enough.
pub fn is_network_name(text: &str) -> bool {
    is_name(text) || (text.len() == 1 && text.as_bytes()[0].is_ascii_alphanumeric())
}

/// Whether `text` may name a container: `[A-Za-z0-9][A-Za-z0-9_.-]{1,127}` (security.md T19, docker's own rule plus a
/// bound).
pub fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (2..=NAME_BYTES_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes[1..].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_hexadecimal_digits() {
        let id = ContainerId::from_random([0xa5; 32]);
        assert_eq!(ContainerId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(id.short(), "a5a5a5a5a5a5");
        assert_eq!(ContainerId::parse("a5"), None);
        assert_eq!(ContainerId::parse(&"A".repeat(64)), None);
    }

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["web", "a1", "my_app.v2-x"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a", "-x", "../x", "a b", "a/b", "a\n", &"x".repeat(129)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
