//! Docker's flags that berth knows and doesn't have yet: refused by name, never ignored.

use crate::failure::Failure;

/// One such flag.
#[derive(Debug, Clone, Copy)]
pub struct Unsupported {
    /// Long name without dashes.
    pub name: &'static str,
    /// Letter of the short form.
    pub short: Option<char>,
    /// Whether a value follows.
    pub value: bool,
    /// What to do instead; empty for nothing.
    pub why: &'static str,
}

impl Unsupported {
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
const NETWORKS: &str = "networks are to come; use --network host, none or container:NAME until then";
const VOLUMES: &str = "volumes are to come; bind a directory until then, as in -v ./data:/data";
const IMAGES: &str = "registries are to come; make an image with berth import";
const CPUS: &str = "use --cpus";

const fn value(name: &'static str, why: &'static str) -> Unsupported {
    Unsupported { name, short: None, value: true, why }
}

const fn switch(name: &'static str, why: &'static str) -> Unsupported {
    Unsupported { name, short: None, value: false, why }
}

const fn short(letter: char, flag: Unsupported) -> Unsupported {
    Unsupported { short: Some(letter), ..flag }
}

/// Of `run`.
pub static RUN: &[Unsupported] = &[
    value("add-host", NETWORKS),
    value("annotation", ""),
    short('a', value("attach", "-i, -t and -d choose the streams")),
    value("blkio-weight-device", ""),
    value("cgroup-parent", "set BERTH_CGROUP"),
    value("cpu-count", WINDOWS),
    value("cpu-percent", WINDOWS),
    value("cpu-period", CPUS),
    value("cpu-quota", CPUS),
    value("cpu-rt-period", ""),
    value("cpu-rt-runtime", ""),
    value("device-cgroup-rule", ""),
    value("device-read-bps", ""),
    value("device-read-iops", ""),
    value("device-write-bps", ""),
    value("device-write-iops", ""),
    switch("disable-content-trust", ""),
    value("dns", NETWORKS),
    value("dns-opt", NETWORKS),
    value("dns-option", NETWORKS),
    value("dns-search", NETWORKS),
    value("expose", NETWORKS),
    value("gpus", "give the device nodes by name, as in --device /dev/dri/renderD128"),
    value("health-cmd", ""),
    value("health-interval", ""),
    value("health-retries", ""),
    value("health-start-interval", ""),
    value("health-start-period", ""),
    value("health-timeout", ""),
    value("io-maxbandwidth", WINDOWS),
    value("io-maxiops", WINDOWS),
    value("ip", NETWORKS),
    value("ip6", NETWORKS),
    value("kernel-memory", "the kernel has dropped it"),
    value("link", NETWORKS),
    value("link-local-ip", NETWORKS),
    value("log-driver", "berth logs reads what the container wrote"),
    value("log-opt", ""),
    value("mac-address", NETWORKS),
    value("memory-swappiness", ""),
    value("network-alias", NETWORKS),
    value("net-alias", NETWORKS),
    switch("no-healthcheck", "health checks are to come: none runs"),
    switch("oom-kill-disable", ""),
    value("platform", IMAGES),
    short('p', value("publish", NETWORKS)),
    short('P', switch("publish-all", NETWORKS)),
    value("pull", IMAGES),
    short('q', switch("quiet", IMAGES)),
    value("restart", ""),
    value("runtime", "berth's own runtime runs every container"),
    value("storage-opt", ""),
    switch("use-api-socket", ""),
    value("volume-driver", VOLUMES),
    value("volumes-from", VOLUMES),
];

/// Of `ps`.
pub static PS: &[Unsupported] = &[short('s', switch("size", ""))];
/// Of `rm`.
pub static RM: &[Unsupported] = &[short('l', switch("link", NETWORKS))];
/// Of `logs`.
pub static LOGS: &[Unsupported] = &[switch("details", "")];
/// Of `inspect`.
pub static INSPECT: &[Unsupported] = &[short('s', switch("size", ""))];
/// Of `import`.
pub static IMPORT: &[Unsupported] =
    &[short('c', value("change", "")), short('m', value("message", "")), value("platform", "")];
/// Of `enter`.
pub static ENTER: &[Unsupported] = &[
    short('Z', switch("follow-context", "")),
    short('e', switch("env", "")),
    value("net-socket", ""),
    switch("user-parent", ""),
    short('c', switch("join-cgroup", "")),
];
/// Of `unshare`.
pub static UNSHARE: &[Unsupported] = &[
    switch("keep-caps", ""),
    value("owner", ""),
    switch("forward-signals", ""),
    short('l', value("load-interp", "")),
    value("mount-binfmt", ""),
];
