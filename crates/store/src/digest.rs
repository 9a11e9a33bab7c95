//! Content identities: four types, because mixing them up is how the wrong thing gets run (style.md 3.2).

use std::fmt;

/// A SHA-256 value, printed as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The value with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Sha256 {
        Sha256(bytes)
    }

    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Sha256 {
        use sha2::Digest;
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// Parses 64 lower-case hexadecimal digits, nothing else: the text may become a file name.
    pub fn parse_hex(text: &str) -> Option<Sha256> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let bytes: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut value = [0; 32];
        for (at, pair) in bytes.chunks_exact(2).enumerate() {
            value[at] = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Sha256(value))
    }

    /// The 64 digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Sha256);

        impl $name {
            /// Parses `sha256:` and 64 lower-case hexadecimal digits.
            pub fn parse(text: &str) -> Option<$name> {
                text.strip_prefix("sha256:").and_then(Sha256::parse_hex).map($name)
            }

            /// The digits without `sha256:`.
            pub fn hex(&self) -> String {
                self.0.hex()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "sha256:{}", self.0.hex())
            }
        }
    };
}

digest_type! {
    /// Identity of an image: the digest of its configuration's bytes.
    ImageId
}
digest_type! {
    /// Identity of one layer's content: the digest of its uncompressed archive.
    DiffId
}
digest_type! {
    /// Identity of a stack of layers; of a single one it is the diff id. Source: image-spec config.md, Layer ChainID.
    ChainId
}

impl ChainId {
    /// The chain id of `diff` on top of `below`.
    pub fn stack(below: Option<ChainId>, diff: DiffId) -> ChainId {
        match below {
            None => ChainId(diff.0),
            Some(below) => ChainId(Sha256::of(format!("{below} {diff}").as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_parse_back_and_nothing_else_parses() {
        let id = ImageId(Sha256::of(b""));
        assert_eq!(id.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(ImageId::parse(&id.to_string()), Some(id));
        let hex = id.hex();
        for bad in [&hex, "sha256:", &format!("sha256:{hex}0"), &format!("sha256:{}", hex.to_uppercase())] {
            assert_eq!(ImageId::parse(bad), None, "{bad}");
        }
        assert_eq!(ImageId::parse(&format!("sha256:{}/..", &hex[..61])), None);
    }

    #[test]
    fn a_chain_of_one_is_its_layer() {
        let diff = DiffId(Sha256::of(b"layer"));
        let base = ChainId::stack(None, diff);
        assert_eq!(base.hex(), diff.hex());
        let two = format!("{base} {diff}");
        assert_eq!(ChainId::stack(Some(base), diff).0, Sha256::of(two.as_bytes()));
    }
}
