//! Docker's flags that berth knows and doesn't have yet: refused by name, never ignored.

use crate::failure::Failure;

/// One such flag.
#[derive(Debug, Clone, Copy)]
pub struct Unsupported {
    /// Long name without dashes.
    pub name: &'static str,
    /// Letter of the short form.
    pub short: Option<char>,
    /// What to do instead; empty for nothing.
    pub why: &'static str,
}

impl Unsupported {
    /// Whether `typed`, such as `--gpus` or `-p`, is this flag.
    pub fn is(&self, typed: &str) -> bool {
        match typed.strip_prefix("--") {
            Some(long) => long == self.name,
            None => self.short.is_some() && typed.chars().nth(1) == self.short,
        }
    }

    /// The failure of `command` for this flag.
    pub fn failure(&self, command: &str) -> Failure {
        let windows = self.why == WINDOWS;
        let verb = if windows { "is for Windows containers only" } else { "isn't supported yet" };
        let failure = Failure::usage(command, format!("--{} {verb}", self.name));
        match self.why {
            "" => failure.hint("docs/STATUS.md lists what is"),
            WINDOWS => failure,
            why => failure.hint(why),
        }
    }
}

const WINDOWS: &str = "windows";
const SWARM: &str = "it is for volumes of a swarm";

const fn flag(name: &'static str, why: &'static str) -> Unsupported {
    Unsupported { name, short: None, why }
}

const fn short(letter: char, flag: Unsupported) -> Unsupported {
    Unsupported { short: Some(letter), ..flag }
}

/// Of `run`.
pub static RUN: &[Unsupported] = &[
    flag("cpu-count", WINDOWS),
    flag("cpu-percent", WINDOWS),
    flag("gpus", "give the device nodes by name, as in --device /dev/dri/renderD128"),
    flag("io-maxbandwidth", WINDOWS),
    flag("io-maxiops", WINDOWS),
    flag(
        "storage-opt",
        "a limit of its size needs project quotas, which berth doesn't set yet; limit tmpfs mounts by size=",
    ),
    flag("use-api-socket", "berth has no API and so no socket yet"),
];

/// Of `rm`.
pub static RM: &[Unsupported] =
    &[short('l', flag("link", "links are lines of a container's own: make it anew without"))];
/// Of `rmi`.
pub static RMI: &[Unsupported] =
    &[flag("no-prune", "layers that no image has any more are always removed"), flag("platform", "")];
/// Of `pull`.
pub static PULL: &[Unsupported] = &[flag("disable-content-trust", "signatures are to come")];
/// Of `push`.
pub static PUSH: &[Unsupported] =
    &[flag("disable-content-trust", "signatures are to come"), flag("platform", "")];
/// Of `commit`.
pub static COMMIT: &[Unsupported] = &[flag("no-pause", "use --pause=false")];
/// Of `save`.
pub static SAVE: &[Unsupported] = &[flag("platform", "")];
/// Of `load`.
pub static LOAD: &[Unsupported] = &[flag("platform", "")];
/// Of `history`.
pub static HISTORY: &[Unsupported] = &[flag("platform", "")];
/// Of `volume create`.
pub static VOLUME_CREATE: &[Unsupported] = &[
    flag("availability", SWARM),
    flag("group", SWARM),
    flag("limit-bytes", SWARM),
    flag("required-bytes", SWARM),
    flag("scope", SWARM),
    flag("secret", SWARM),
    flag("sharing", SWARM),
    flag("topology-preferred", SWARM),
    flag("topology-required", SWARM),
    flag("type", SWARM),
];
/// Of `volume ls`.
pub static VOLUME_LIST: &[Unsupported] = &[flag("cluster", SWARM)];
/// Of `network create`.
pub static NETWORK_CREATE: &[Unsupported] = &[
    flag("config-from", "give the options themselves"),
    flag("config-only", "give the options themselves"),
    flag("ingress", "it is for networks of a swarm"),
    flag("ipam-opt", "the default way of giving out addresses has no options"),
];
/// Of `build`.
pub static BUILD: &[Unsupported] = &[
    flag("annotation", ""),
    flag("attest", "attestations come later"),
    flag("compress", "layers are kept as they are, and packed when they're pushed"),
    short('c', flag("cpu-shares", "")),
    flag("isolation", WINDOWS),
    flag("memory", ""),
    flag("policy", ""),
    flag("provenance", "attestations come later"),
    flag("sbom", "attestations come later"),
    flag("security-opt", ""),
    flag("squash", ""),
    flag("ssh", ""),
];
/// Of `enter`.
pub static ENTER: &[Unsupported] = &[
    short('Z', flag("follow-context", "")),
    short('e', flag("env", "")),
    flag("net-socket", ""),
    flag("user-parent", ""),
    short('c', flag("join-cgroup", "")),
];
/// Of `unshare`.
pub static UNSHARE: &[Unsupported] = &[
    flag("keep-caps", ""),
    flag("owner", ""),
    flag("forward-signals", ""),
    short('l', flag("load-interp", "")),
    flag("mount-binfmt", ""),
];
