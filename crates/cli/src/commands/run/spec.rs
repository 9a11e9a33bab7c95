//! Flags of `run`.

use crate::flags::{CommandSpec, Flag};
use crate::unsupported;

const IDENTITY: &[Flag] = &[
    Flag::one("pull", "string", "When the image is pulled: always, missing, never"),
    Flag::one("platform", "string", "Machine that the image is for, as OS/ARCH[/VARIANT]"),
    Flag::switch("quiet", "Show no progress of a pull").short('q'),
    Flag::one("name", "string", "Name of the container"),
    Flag::one("hostname", "string", "Host name").short('h'),
    Flag::one("domainname", "string", "NIS domain name"),
    Flag::many("label", "list", "Label, KEY=VALUE").short('l'),
    Flag::many("label-file", "list", "File of labels, one a line"),
    Flag::many("annotation", "map", "Annotation of the OCI configuration, KEY=VALUE"),
    Flag::many("expose", "list", "Port that the program listens on, PORT[-PORT][/PROTOCOL]"),
    Flag::one("cidfile", "string", "File to write the id to; it must not exist"),
    Flag::switch("disable-content-trust", "Don't check signatures (default true)"),
];

const PROCESS: &[Flag] = &[
    Flag::switch("interactive", "Keep stdin open").short('i'),
    Flag::switch("tty", "Give the container a terminal").short('t'),
    Flag::many("attach", "list", "Stay with stdin, stdout or stderr only").short('a'),
    Flag::switch("rm", "Remove the container when it ends"),
    Flag::one("restart", "string", "Start it again: no, on-failure[:TIMES], always, unless-stopped"),
    Flag::one("entrypoint", "string", "Program, instead of the image's entry point"),
    Flag::many("env", "list", "Variable, KEY=VALUE, or KEY for the caller's").short('e'),
    Flag::many("env-file", "list", "File of variables, one a line"),
    Flag::one("user", "string", "User, NAME|UID[:GROUP|GID]").short('u'),
    Flag::many("group-add", "list", "Further group"),
    Flag::one("workdir", "string", "Working directory; made if missing").short('w'),
    Flag::switch("init", "Run berth's init as pid 1: it reaps orphans and forwards signals"),
    Flag::one("stop-signal", "string", "Signal that stop sends (default SIGTERM)"),
    Flag::one("stop-timeout", "seconds", "Time until stop kills (default 10)"),
    Flag::one("log-driver", "string", "How its output is kept: local (default), json-file, none"),
    Flag::many("log-opt", "list", "Option of that: max-size=, max-file=, compress=, mode=, …"),
    Flag::one("runtime", "string", "OCI runtime: berth's own, also called runc"),
];

/// Of the part that `create` lacks.
const START: &[Flag] = &[
    Flag::switch("detach", "Return once the container runs, and print its id").short('d'),
    Flag::one("detach-keys", "string", "Keys that leave the terminal (default ctrl-p,ctrl-q)"),
    Flag::switch("sig-proxy", "Pass signals on to the container (default true)"),
    Flag::switch("explain", "Print each step of the start, what it is for, and what it cost"),
];

const HEALTH: &[Flag] = &[
    Flag::one("health-cmd", "string", "Line that tells by its status whether the container works"),
    Flag::one("health-http", "url", "Instead: page that is well if its status is 200 to 399"),
    Flag::one("health-tcp", "port", "Instead: port that is well if it takes connections"),
    Flag::one("health-interval", "duration", "Time between two probes (default 30s)"),
    Flag::one("health-timeout", "duration", "Time that one may take (default 30s)"),
    Flag::one("health-retries", "int", "Failures in a row until it is unhealthy (default 3)"),
    Flag::one("health-start-period", "duration", "Time since the start in which failures don't count"),
    Flag::one("health-start-interval", "duration", "Time between two probes in that time (default 5s)"),
    Flag::one("health-on-failure", "string", "What follows: none, kill, restart, stop (default none)"),
    Flag::switch("no-healthcheck", "Probe nothing, whatever the image says"),
];

const NAMESPACES: &[Flag] = &[
    Flag::many("network", "network", "A network, or none, host, container:NAME, ns:PATH (default bridge)")
        .alias("net"),
    Flag::one("pid", "mode", "private, host, container:NAME or ns:PATH"),
    Flag::one("ipc", "mode", "none, private, shareable, host, container:NAME or ns:PATH"),
    Flag::one("uts", "mode", "private, host or ns:PATH"),
    Flag::one("userns", "mode", "private, host, container:NAME or ns:PATH"),
    Flag::one("cgroupns", "mode", "private, host or ns:PATH"),
    Flag::many("time-offset", "list", "Shift a clock: monotonic=SECONDS, boottime=SECONDS"),
];

const NETWORK: &[Flag] = &[
    Flag::many("publish", "list", "Publish a port: [[IP:][HOSTPORT]:]PORT[/udp], ranges too").short('p'),
    Flag::switch("publish-all", "Publish all exposed ports at free ones").short('P'),
    Flag::one(
        "publish-from",
        "name",
        "Wait for the ports of a container, until `network take-over` gives them",
    ),
    Flag::one("ip", "ip", "Address of IPv4 on the first network"),
    Flag::one("ip6", "ip", "Address of IPv6 on the first network"),
    Flag::many("link-local-ip", "list", "Link-local address on the first network"),
    Flag::one("mac-address", "string", "Hardware address on the first network"),
    Flag::many("network-alias", "list", "Another name on the first network").alias("net-alias"),
    Flag::many("link", "list", "Another container, by a name of this one's own: CONTAINER[:NAME]"),
    Flag::many("add-host", "list", "A line of /etc/hosts: NAME:IP, or NAME:host-gateway"),
    Flag::many("dns", "list", "Name server instead of the host's"),
    Flag::many("dns-search", "list", "Domain that short names are looked for in"),
    Flag::many("dns-option", "list", "Option of resolv.conf").alias("dns-opt"),
];

/// Limits, which `update` can change.
pub const LIMITS: &[Flag] = &[
    Flag::one("memory", "bytes", "Memory at most").short('m'),
    Flag::one("memory-swap", "bytes", "Memory and swap at most; -1 for no limit"),
    Flag::one("memory-reservation", "bytes", "Memory that is left to it under pressure"),
    Flag::one("kernel-memory", "bytes", "Has no effect: no kernel has it any more"),
    Flag::one("cpus", "decimal", "Processors at most"),
    Flag::one("cpu-period", "int", "Length of a period of processor time, in microseconds"),
    Flag::one("cpu-quota", "int", "Processor time within a period, in microseconds"),
    Flag::one("cpu-rt-period", "int", "Length of a real-time period, in microseconds (cgroup v1)"),
    Flag::one("cpu-rt-runtime", "int", "Real-time within such a period, in microseconds (cgroup v1)"),
    Flag::one("cpu-shares", "int", "Weight among those that want a processor").short('c'),
    Flag::one("cpuset-cpus", "string", "Processors to run on (0-3, 0,1)"),
    Flag::one("cpuset-mems", "string", "Memory nodes to use (0-3, 0,1)"),
    Flag::one("pids-limit", "int", "Processes at most; -1 for no limit (default 4096)"),
    Flag::one("blkio-weight", "uint16", "Weight of block I/O, 10 to 1000"),
    Flag::many("blkio-weight-device", "list", "Weight of block I/O by device, DEVICE:WEIGHT"),
    Flag::many("device-read-bps", "list", "Bytes a second read from a device, DEVICE:RATE"),
    Flag::many("device-write-bps", "list", "Bytes a second written to a device, DEVICE:RATE"),
    Flag::many("device-read-iops", "list", "Reads a second from a device, DEVICE:RATE"),
    Flag::many("device-write-iops", "list", "Writes a second to a device, DEVICE:RATE"),
];

const RESOURCES: &[Flag] = &[
    Flag::one("memory-swappiness", "int", "Tendency to swap, 0 to 100 (cgroup v1)"),
    Flag::switch("oom-kill-disable", "Wait for memory instead of being killed (cgroup v1)"),
    Flag::one("cgroup-parent", "string", "Control group below which the container's is"),
    Flag::one("oom-score-adj", "int", "Preference of the OOM killer, -1000 to 1000"),
    Flag::one("shm-size", "bytes", "Size of /dev/shm (default 64m)"),
    Flag::many("ulimit", "ulimit", "Resource limit, NAME=SOFT[:HARD]"),
    Flag::many("sysctl", "map", "Kernel parameter of a namespace, KEY=VALUE"),
];

const SECURITY: &[Flag] = &[
    Flag::switch("privileged", "Lift nearly every limit on what the container may do"),
    Flag::many("cap-add", "list", "Capability to add, or ALL"),
    Flag::many("cap-drop", "list", "Capability to drop, or ALL"),
    Flag::many(
        "security-opt",
        "list",
        "seccomp=, no-new-privileges, apparmor=, label=, mask=, unmask=, systempaths=",
    ),
    Flag::one("isolation", "string", "process or strict"),
];

const FILES: &[Flag] = &[
    Flag::one("rootfs", "dir", "Run from this directory instead of an image"),
    Flag::switch("read-only", "Mount the root file system read-only"),
    Flag::many("volume", "list", "Mount a volume or bind a path of the host, [SOURCE:]TARGET[:ro,…]")
        .short('v'),
    Flag::many("volumes-from", "list", "Mount the volumes of another container, CONTAINER[:ro]"),
    Flag::one("volume-driver", "string", "Driver of volumes: local"),
    Flag::many("mount", "mount", "Mount, type=bind|volume|tmpfs|image,source=…,target=…"),
    Flag::many("tmpfs", "list", "Mount a tmpfs, TARGET[:size=…,mode=…]"),
    Flag::many("device", "list", "Device of the host, HOST[:CONTAINER][:rwm]"),
    Flag::many("device-cgroup-rule", "list", "Rule of the device filter, 'c 10:200 rwm'"),
];

/// The groups: first what only `run` has.
const GROUPS: &[(&str, &[Flag])] = &[
    ("Start", START),
    ("Process", PROCESS),
    ("Health", HEALTH),
    ("Identity", IDENTITY),
    ("Files", FILES),
    ("Namespaces", NAMESPACES),
    ("Network", NETWORK),
    ("Limits", LIMITS),
    ("Resources", RESOURCES),
    ("Security", SECURITY),
];

/// Flags and arguments. Whether an image is needed depends on `--rootfs`.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create and run a new container from an image, or @host",
    flags: GROUPS,
    unsupported: unsupported::RUN,
    args: (0, usize::MAX),
    trailing: true,
};

/// Flags and arguments of `create`.
pub static CREATE: CommandSpec = CommandSpec {
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a container, and don't start it",
    flags: match GROUPS.split_first() {
        Some((_start, of_both)) => of_both,
        None => &[],
    },
    unsupported: unsupported::RUN,
    args: (0, usize::MAX),
    trailing: true,
};

/// Of `clone` alone.
const CLONE_ONLY: &[Flag] =
    &[Flag::switch("with-files", "With the files that it has changed, as an image that nothing names")];

/// Flags and arguments of `clone`.
pub static CLONE: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [NEW_NAME]",
    about: "Create a container like another; flags of run replace what that one has, or add to it",
    flags: &[
        ("Clone", CLONE_ONLY),
        ("Process", PROCESS),
        ("Identity", IDENTITY),
        ("Files", FILES),
        ("Namespaces", NAMESPACES),
        ("Network", NETWORK),
        ("Limits", LIMITS),
        ("Resources", RESOURCES),
        ("Security", SECURITY),
    ],
    unsupported: unsupported::RUN,
    args: (1, 2),
    trailing: false,
};
