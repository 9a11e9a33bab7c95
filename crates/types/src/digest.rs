//! Content identities. [`Digest`] is what documents and registries speak: any algorithm they may use, over the bytes as
//! transferred. What berth computes and stores is SHA-256, in a type for each meaning, because mixing them up is how the
//! wrong thing gets run.

use serde::{Deserialize, Serialize};
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

            /// The same value as a digest.
            pub fn digest(&self) -> Digest {
                self.0.into()
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

/// Algorithms that a digest may name. Source: image-spec descriptor.md, Registered algorithms; docker knows SHA-384 too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// The one that everybody uses.
    Sha256,
    /// Docker's, not registered.
    Sha384,
    /// Registered, rare.
    Sha512,
}

impl Algorithm {
    const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    /// Its name in a digest.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Hexadecimal digits of its value.
    pub fn digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha384 => 96,
            Algorithm::Sha512 => 128,
        }
    }
}

/// `ALGORITHM:HEX`, checked: it is as harmless in a path or a URL as it looks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Box<str>);

impl Digest {
    /// Parses an algorithm of [`Algorithm`], a colon and its lower-case digits; nothing else is a digest.
    ///
    /// Errors: which rule `text` breaks.
    pub fn parse(text: &str) -> Result<Digest, &'static str> {
        let (name, digits) = text.split_once(':').ok_or("a digest is ALGORITHM:HEX")?;
        let algorithm = Algorithm::ALL.into_iter().find(|known| known.name() == name);
        let algorithm = algorithm.ok_or("digests are made by sha256, sha384 or sha512")?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match digits.len() == algorithm.digits() && digits.bytes().all(is_digit) {
            true => Ok(Digest(text.into())),
            false => {
                Err("a digest has 64 (sha256), 96 (sha384) or 128 (sha512) lower-case hexadecimal digits")
            }
        }
    }

    /// The SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Sha256::of(bytes).into()
    }

    /// Which algorithm made it.
    pub fn algorithm(&self) -> Algorithm {
        let is_ours = |known: &Algorithm| self.0.starts_with(known.name());
        Algorithm::ALL.into_iter().find(is_ours).expect("the only constructor has found it")
    }

    /// The digits after the colon.
    pub fn hex(&self) -> &str {
        &self.0[self.algorithm().name().len() + 1..]
    }

    /// The value, if SHA-256 made it.
    pub fn sha256(&self) -> Option<Sha256> {
        self.0.strip_prefix("sha256:").and_then(Sha256::parse_hex)
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the digest of `bytes`.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let mut hasher = Hasher::new(self.algorithm());
        hasher.update(bytes);
        hasher.finish() == *self
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Sha256> for Digest {
    fn from(value: Sha256) -> Digest {
        Digest(format!("sha256:{}", value.hex()).into())
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Digest, &'static str> {
        Digest::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0.into()
    }
}

/// Makes a [`Digest`] of content that comes in pieces.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// For [`Algorithm::Sha256`].
    Sha256(sha2::Sha256),
    /// For [`Algorithm::Sha384`].
    Sha384(sha2::Sha384),
    /// For [`Algorithm::Sha512`].
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// One that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Hasher {
        use sha2::Digest;
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        use sha2::Digest;
        match self {
            Hasher::Sha256(state) => state.update(bytes),
            Hasher::Sha384(state) => state.update(bytes),
            Hasher::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        use sha2::Digest as _;
        let text = |name: &str, value: &[u8]| {
            let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            Digest(format!("{name}:{digits}").into())
        };
        match self {
            Hasher::Sha256(state) => text("sha256", &state.finalize()),
            Hasher::Sha384(state) => text("sha384", &state.finalize()),
            Hasher::Sha512(state) => text("sha512", &state.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_an_algorithm_and_its_digits() {
        let check = |text: &str| assert_eq!(Digest::parse(text).unwrap().to_string(), text);
        for (algorithm, digits) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
            let text = format!("{algorithm}:{}", "0a".repeat(digits / 2));
            check(&text);
            let digest = Digest::parse(&text).unwrap();
            assert_eq!((digest.algorithm().name(), digest.hex()), (algorithm, &text[7..]));
            for bad in [text.to_uppercase(), format!("{text}0"), format!("{text}\n"), text[..70].to_owned()] {
                assert!(Digest::parse(&bad).is_err(), "{bad:?}");
            }
        }
        let md5 = format!("md5:{}", "0".repeat(32));
        let path = format!("sha256:../{}", "0".repeat(61));
        for bad in ["", ":", "sha256", "sha256:", &"0".repeat(64), &md5, &path, "sha256+x:00"] {
            assert!(Digest::parse(bad).is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
    }

    #[test]
    fn each_algorithm_makes_its_digests() {
        let of = |algorithm| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"a");
            hasher.update(b"bc");
            hasher.finish()
        };
        // FIPS 180-2, the example of one block.
        let starts = [
            (Algorithm::Sha256, "sha256:ba7816bf8f01cfea"),
            (Algorithm::Sha384, "sha384:cb00753f45a35e8b"),
            (Algorithm::Sha512, "sha512:ddaf35a193617aba"),
        ];
        for (algorithm, start) in starts {
            let digest = of(algorithm);
            assert!(digest.as_str().starts_with(start), "{digest}");
            assert_eq!(Digest::parse(digest.as_str()), Ok(digest.clone()));
            assert!(digest.matches(b"abc") && !digest.matches(b"abd"));
        }
        assert_eq!(of(Algorithm::Sha256), Digest::of(b"abc"));
        assert_eq!(Digest::of(b"abc").sha256(), Some(Sha256::of(b"abc")));
        assert_eq!(of(Algorithm::Sha512).sha256(), None);
    }

    #[test]
    fn ids_parse_back_and_nothing_else_parses() {
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
