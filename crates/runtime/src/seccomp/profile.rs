//! Docker's format of profiles: rules that hold under capabilities, architectures and kernels.

use serde::Deserialize;
use types::caps::{self, CapSet};
use types::oci::{Seccomp, SyscallArg, SyscallRule};

use super::arch::Arch;
use super::error::Error;

/// Docker's default profile, from moby/profiles (`seccomp/default.json`, Apache-2.0, Docker and the Moby authors).
pub(super) const DOCKER_DEFAULT: &str = include_str!("docker-default.json");

/// Address families that `strict` leaves to socket(2) and socketpair(2): AF_UNIX, AF_INET, AF_INET6, AF_NETLINK.
pub(super) const STRICT_FAMILIES: [u32; 4] = [1, 2, 10, 16];

/// A kernel release, major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32);

impl KernelVersion {
    /// The kernel of a profile that asks for nothing newer than 4.8, as docker's default. Berth needs a much newer one.
    pub const LEAST: KernelVersion = KernelVersion(5, 12);

    /// Parses what a profile or uname(2) says: `4.8`, `6.18.44-generic`.
    pub fn parse(text: &str) -> Option<KernelVersion> {
        let (major, rest) = text.split_once('.')?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        Some(KernelVersion(major.parse().ok()?, rest[..digits].parse().ok()?))
    }
}

/// A profile in docker's format, which is a superset of the runtime specification's.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchEntry>>,
    #[serde(default)]
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Option<Vec<ProfileRule>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchEntry {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileRule {
    /// Docker's oldest form: one name.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<SyscallArg>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    /// Parses a profile, as `--security-opt seccomp=FILE` names it.
    ///
    /// Errors: `Malformed`.
    pub fn parse(json: &[u8]) -> Result<Profile, Error> {
        serde_json::from_slice(json).map_err(|source| Error::Malformed { reason: source.to_string() })
    }

    /// The rules that hold for a container with bounding set `caps` on this machine and `kernel`.
    ///
    /// Errors: `Exclusive` for fields that docker refuses together, `Unknown` for a `minKernel` that is no version.
    pub fn resolve(&self, caps: CapSet, kernel: KernelVersion) -> Result<Seccomp, Error> {
        self.resolve_for(caps, kernel, Arch::NATIVE)
    }

    pub(super) fn resolve_for(
        &self,
        caps: CapSet,
        kernel: KernelVersion,
        native: Arch,
    ) -> Result<Seccomp, Error> {
        let mut syscalls = Vec::new();
        for (index, rule) in self.syscalls.iter().flatten().enumerate() {
            if !rule.holds(index, caps, kernel, native)? {
                continue;
            }
            let names = match (&rule.name, &rule.names) {
                (Some(name), names) if !name.is_empty() => {
                    if names.as_ref().is_some_and(|names| !names.is_empty()) {
                        return Err(Error::Exclusive {
                            field: format!("syscalls[{index}].name"),
                            other: "names",
                        });
                    }
                    vec![name.clone()]
                }
                (_, names) => names.clone().unwrap_or_default(),
            };
            syscalls.push(SyscallRule {
                names,
                action: rule.action.clone(),
                errno_ret: rule.errno_ret,
                args: rule.args.clone().unwrap_or_default(),
            });
        }
        Ok(Seccomp {
            default_action: self.default_action.clone(),
            default_errno_ret: self.default_errno_ret,
            architectures: self.architectures_for(native)?,
            flags: self.flags.clone().unwrap_or_default(),
            listener_path: self.listener_path.clone(),
            listener_metadata: self.listener_metadata.clone(),
            syscalls,
        })
    }

    fn architectures_for(&self, native: Arch) -> Result<Vec<String>, Error> {
        let listed = self.architectures.clone().unwrap_or_default();
        let map = self.arch_map.as_deref().unwrap_or_default();
        if !listed.is_empty() && !map.is_empty() {
            return Err(Error::Exclusive { field: "architectures".to_owned(), other: "archMap" });
        }
        let Some(entry) = map.iter().find(|entry| entry.architecture == native.name()) else {
            return Ok(listed);
        };
        let subs = entry.sub_architectures.iter().flatten().cloned();
        Ok(std::iter::once(entry.architecture.clone()).chain(subs).collect())
    }
}

impl ProfileRule {
    /// Whether the rule holds: every capability it includes and none it excludes, and so on. As docker.
    fn holds(&self, index: usize, caps: CapSet, kernel: KernelVersion, native: Arch) -> Result<bool, Error> {
        // A capability that berth doesn't know is one the container can't have.
        let has = |name: &String| caps::number(name).is_some_and(|number| caps.has(number));
        let here = |name: &String| name == native.docker_name();
        if let Some(Filter { caps, arches, min_kernel }) = &self.excludes {
            let least = least_kernel(index, "excludes", min_kernel)?;
            if caps.iter().flatten().any(has)
                || arches.iter().flatten().any(here)
                || least.is_some_and(|least| kernel >= least)
            {
                return Ok(false);
            }
        }
        if let Some(Filter { caps, arches, min_kernel }) = &self.includes {
            let least = least_kernel(index, "includes", min_kernel)?;
            let arches = arches.as_deref().unwrap_or_default();
            return Ok(caps.iter().flatten().all(has)
                && (arches.is_empty() || arches.iter().any(here))
                && least.is_none_or(|least| kernel >= least));
        }
        Ok(true)
    }
}

fn least_kernel(index: usize, side: &str, text: &Option<String>) -> Result<Option<KernelVersion>, Error> {
    let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    match KernelVersion::parse(text) {
        Some(version) => Ok(Some(version)),
        None => Err(Error::Unknown {
            field: format!("syscalls[{index}].{side}.minKernel"),
            what: "kernel version",
            value: text.to_owned(),
        }),
    }
}

/// Docker's default profile for a container with bounding set `caps`. With `strict`, foreign ABIs are killed, and
/// sockets are of the families local, IPv4, IPv6 and netlink only.
///
/// Takes about a millisecond, for what needs the profile as a document; to start a container, see
/// [`super::compile_docker_default`], which gives the same filter.
pub fn docker_default(caps: CapSet, strict: bool) -> Seccomp {
    docker_default_for(caps, strict, Arch::NATIVE)
}

pub(super) fn docker_default_for(caps: CapSet, strict: bool, native: Arch) -> Seccomp {
    let profile = Profile::parse(DOCKER_DEFAULT.as_bytes())
        .and_then(|profile| profile.resolve_for(caps, KernelVersion::LEAST, native))
        .expect("the embedded profile is valid; a test reads it");
    if strict { tighten(profile, native) } else { profile }
}

fn tighten(mut profile: Seccomp, native: Arch) -> Seccomp {
    profile.architectures = vec![native.name().to_owned()];
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| name != "socket" && name != "socketpair");
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
    for family in STRICT_FAMILIES {
        profile.syscalls.push(SyscallRule {
            names: vec!["socket".to_owned(), "socketpair".to_owned()],
            action: "SCMP_ACT_ALLOW".to_owned(),
            errno_ret: None,
            args: vec![SyscallArg {
                index: 0,
                value: u64::from(family),
                value_two: 0,
                op: "SCMP_CMP_EQ".to_owned(),
            }],
        });
    }
    profile
}
