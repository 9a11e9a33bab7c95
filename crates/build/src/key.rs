//! What a step's result is found by.
//!
//! Each result has two keys. By its *definition*: the operation and the definitions of all that it needs, down to images
//! and files of contexts. With that a build in which nothing changed asks for no result at all. By *content*: the
//! operation and the content that its inputs turned out to have. So a step that ran again and made the same as before ends
//! the rebuild there.

use crate::op::Op;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A key, or a digest of content: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(String);

/// Changes with what operations mean: results of berths before that are not found any more.
const VERSION: &str = "berth build 1";

impl Key {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of words, none of which can be taken for another's part.
    pub fn of(words: &[&str]) -> Key {
        let mut hash = Sha256::new();
        for word in [VERSION].iter().chain(words) {
            hash.update((word.len() as u64).to_le_bytes());
            hash.update(word.as_bytes());
        }
        let mut digits = String::with_capacity(64);
        for byte in hash.finalize() {
            digits.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            digits.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        Key(digits)
    }
}

/// An operation as a key's word, with the time that files' times are cut at.
pub fn text(op: &Op, epoch: Option<i64>) -> String {
    // Plain data always serialises.
    let text = serde_json::to_string(op).unwrap_or_default();
    match epoch {
        None => text,
        Some(epoch) => format!("{text} {epoch}"),
    }
}
