//! Machines that images are for.

use super::{Error, null_is_default};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Operating system and processor, in Go's words. Source: image-spec image-index.md; normal forms and preferences are
/// containerd's `platforms`, which docker uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Processor: `amd64`, `arm64`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// Operating system: `linux`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// Version of the operating system; Windows.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Needed features of the operating system; Windows.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Variant of the processor: `v7`. Empty where it is the usual one.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Operating systems that a single word may mean.
const SYSTEMS: [&str; 12] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];

/// Processors that a single word may mean, after normalisation.
const ARCHITECTURES: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "wasm",
];

/// Longest text that is tried as a platform, in bytes.
const TEXT_BYTES_MAX: usize = 128;

impl Platform {
    /// A Linux machine.
    pub fn linux(architecture: &str, variant: &str) -> Platform {
        let (architecture, variant) = (architecture.to_owned(), variant.to_owned());
        Platform { os: "linux".into(), architecture, variant, ..Platform::default() }.normalized()
    }

    /// The machine with the processor that uname(2) or Rust calls `architecture`.
    pub fn host(architecture: &str) -> Platform {
        let go = match architecture {
            "x86" | "i486" | "i586" | "i686" => "386",
            "armv7l" | "armv8l" => return Platform::linux("arm", "v7"),
            "armv6l" => return Platform::linux("arm", "v6"),
            "powerpc64le" => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Platform::linux(go, "")
    }

    /// Reads `OS`, `ARCH`, `OS/ARCH` or `OS/ARCH/VARIANT`; what isn't said is `host`'s.
    ///
    /// Errors: [`Error::Invalid`], with the rule that `text` breaks.
    pub fn parse(text: &str, host: &Platform) -> Result<Platform, Error> {
        let invalid = |reason: &str| Error::Invalid(format!("{text:?} is not a platform: {reason}"));
        let legal = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if text.len() > TEXT_BYTES_MAX || !parts.iter().all(|part| legal(part)) {
            return Err(invalid("it is OS/ARCH[/VARIANT], of letters, digits, '_', '.' and '-'"));
        }
        let platform = |os: &str, architecture: &str, variant: &str| Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            ..Platform::default()
        };
        let parsed = match parts[..] {
            [os, architecture, variant] => platform(os, architecture, variant).normalized(),
            [os, architecture] => platform(os, architecture, "").normalized(),
            [word] => {
                let as_system = platform(word, &host.architecture, &host.variant).normalized();
                let as_processor = platform(&host.os, word, "").normalized();
                if SYSTEMS.contains(&as_system.os.as_str()) {
                    as_system
                } else if ARCHITECTURES.contains(&as_processor.architecture.as_str()) {
                    as_processor
                } else {
                    return Err(invalid("neither a system nor a processor is called that"));
                }
            }
            _ => return Err(invalid("it has more than three parts")),
        };
        Ok(parsed)
    }

    /// The same in the words that everything is compared in: `x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is
    /// `arm/v7`.
    pub fn normalized(mut self) -> Platform {
        self.os = match self.os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".into(),
            os => os,
        };
        let variant = self.variant.to_ascii_lowercase();
        let (architecture, variant) =
            match (self.architecture.to_ascii_lowercase().as_str(), variant.as_str()) {
                ("i386" | "x86" | "386", _) => ("386".into(), String::new()),
                ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64".into(), String::new()),
                ("x86_64" | "x86-64" | "amd64", other) => ("amd64".into(), other.to_owned()),
                ("aarch64" | "arm64", "" | "8" | "v8" | "v8.0" | "8.0") => ("arm64".into(), String::new()),
                ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64".into(), "v9".into()),
                ("aarch64" | "arm64", other) => ("arm64".into(), with_v(other)),
                ("armhf", _) => ("arm".into(), "v7".into()),
                ("armel", _) => ("arm".into(), "v6".into()),
                ("arm", "" | "7") => ("arm".into(), "v7".into()),
                ("arm", other) => ("arm".into(), with_v(other)),
                (other, variant) => (other.to_owned(), variant.to_owned()),
            };
        Platform { architecture, variant, ..self }
    }

    /// How well what is made for `offered` runs on this machine: 0 is best; `None` if it doesn't.
    ///
    /// `amd64/v3` also runs v2 and plain `amd64`, and these `386`; `arm64` runs `arm`; `arm/v7` runs v6 and v5.
    pub fn rank(&self, offered: &Platform) -> Option<usize> {
        let offered = offered.clone().normalized();
        let wants_version = |wanted: &str| offered.os_version.as_deref().is_some_and(|have| have != wanted);
        if offered.os != self.os || self.os_version.as_deref().is_some_and(wants_version) {
            return None;
        }
        let runs = self.clone().normalized().runs();
        runs.iter().position(|(architecture, variant)| {
            *architecture == offered.architecture && *variant == offered.variant
        })
    }

    /// The processors whose programs this one runs, the best first.
    fn runs(&self) -> Vec<(String, String)> {
        let entry = |architecture: &str, variant: String| (architecture.to_owned(), variant);
        let mut all = vec![(self.architecture.clone(), self.variant.clone())];
        let arm = |from: u32| (5..=from).rev().map(move |level| entry("arm", format!("v{level}")));
        match self.architecture.as_str() {
            "amd64" => {
                let level: u32 = self.variant.strip_prefix('v').and_then(|v| v.parse().ok()).unwrap_or(1);
                all.extend((2..level.min(9)).rev().map(|lower| entry("amd64", format!("v{lower}"))));
                if level > 1 {
                    all.push(entry("amd64", String::new()));
                }
                all.push(entry("386", String::new()));
            }
            "arm64" => {
                all.extend(arm64_below(&self.variant));
                all.extend(arm(8));
            }
            "arm" => {
                let level: u32 = self.variant.strip_prefix('v').and_then(|v| v.parse().ok()).unwrap_or(5);
                all.extend(arm(level.min(9).saturating_sub(1)));
            }
            _ => {}
        }
        all
    }
}

/// What `arm64` of `variant` runs beside itself: lower minor versions, and with v9 those of v8 (v9.0 includes v8.5).
fn arm64_below(variant: &str) -> Vec<(String, String)> {
    let version = variant.strip_prefix('v').unwrap_or("8");
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let (major, minor): (u32, u32) = (major.parse().unwrap_or(8), minor.parse().unwrap_or(0));
    let name = |major: u32, minor: u32| match (major, minor) {
        (8, 0) => String::new(),
        (_, 0) => format!("v{major}"),
        _ => format!("v{major}.{minor}"),
    };
    let minor = minor.min(16);
    let mut all: Vec<String> = (0..minor).rev().map(|lower| name(major, lower)).collect();
    if major == 9 {
        all.extend((0..=(minor + 5).min(9)).rev().map(|lower| name(8, lower)));
    }
    all.into_iter().map(|variant| ("arm64".to_owned(), variant)).collect()
}

fn with_v(variant: &str) -> String {
    match variant.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("v{variant}"),
        false => variant.to_owned(),
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}
