//! Tables of the runtime's options.

use crate::flags::{CommandSpec, Flag, FlagGroup};

const fn spec(usage: &'static str, about: &'static str, flags: &'static [FlagGroup]) -> CommandSpec {
    CommandSpec { usage, about, flags, unsupported: &[], args: (1, 1), trailing: false }
}

/// Before the command.
pub static GLOBAL: CommandSpec = CommandSpec {
    args: (0, usize::MAX),
    trailing: true,
    ..spec(
        "[OPTIONS] COMMAND [OPTIONS] [ARG...]",
        "OCI runtime",
        &[(
            "Options",
            &[
                Flag::one("root", "dir", "Where state is kept"),
                Flag::one("log", "file", "Where messages go, instead of standard error"),
                Flag::one("log-format", "string", "Form of messages: text or json (default text)"),
                Flag::switch("debug", "Write debugging messages too"),
                Flag::switch("systemd-cgroup", "Not supported yet"),
                Flag::one("rootless", "string", "auto or false; true isn't supported yet"),
                Flag::one("criu", "path", "Ignored, as by runc"),
                Flag::switch("version", "Show the version").short('v'),
            ],
        )],
    )
};

const BUNDLE: Flag = Flag::one("bundle", "dir", "Directory with config.json (default .)").short('b');
const CONSOLE: Flag = Flag::one("console-socket", "path", "Unix socket that gets the pty's master");
const PIDFD: Flag = Flag::one("pidfd-socket", "path", "Unix socket that gets a pidfd of the process");
const PID_FILE: Flag = Flag::one("pid-file", "path", "File to write the process id to");
const FDS: Flag = Flag::one("preserve-fds", "int", "How many more descriptors are passed on");
const NO_PIVOT: Flag = Flag::switch("no-pivot", "Change the root without pivot_root(2)");
const NO_KEYRING: Flag = Flag::switch("no-new-keyring", "Keep the caller's session keyring");

/// Of `create`.
pub static CREATE: CommandSpec = spec(
    "[OPTIONS] ID",
    "Make a container, up to its program",
    &[("Options", &[BUNDLE, CONSOLE, PIDFD, PID_FILE, FDS, NO_PIVOT, NO_KEYRING])],
);

/// Of `run`.
pub static RUN: CommandSpec = spec(
    "[OPTIONS] ID",
    "Create and start a container",
    &[(
        "Options",
        &[
            BUNDLE,
            CONSOLE,
            PIDFD,
            PID_FILE,
            FDS,
            NO_PIVOT,
            NO_KEYRING,
            Flag::switch("detach", "Return once the container runs").short('d'),
            Flag::switch("keep", "Don't delete the container when it ends"),
            Flag::switch("no-subreaper", "Don't adopt orphans"),
        ],
    )],
);

/// Of `start`.
pub static START: CommandSpec = spec("ID", "Run the program of a container that was created", &[]);

/// Of `state`.
pub static STATE: CommandSpec = spec("ID", "Print the state of a container", &[]);

/// Of `kill`.
pub static KILL: CommandSpec = CommandSpec {
    args: (1, 2),
    ..spec(
        "[OPTIONS] ID [SIGNAL]",
        "Send a signal (default SIGTERM)",
        &[("Options", &[Flag::switch("all", "Send it to every process").short('a')])],
    )
};

/// Of `delete`.
pub static DELETE: CommandSpec = spec(
    "[OPTIONS] ID",
    "Remove a container",
    &[("Options", &[Flag::switch("force", "Kill it first if it runs").short('f')])],
);

/// Of `exec`.
pub static EXEC: CommandSpec = CommandSpec {
    args: (1, usize::MAX),
    trailing: true,
    ..spec(
        "[OPTIONS] ID COMMAND [ARG...]",
        "Run another process in a container",
        &[(
            "Options",
            &[
                Flag::one("process", "file", "OCI process document").short('p'),
                Flag::one("cwd", "dir", "Working directory"),
                Flag::many("env", "list", "Variable, KEY=VALUE").short('e'),
                Flag::switch("tty", "Give the process a terminal").short('t'),
                Flag::one("user", "ids", "UID[:GID]").short('u'),
                Flag::many("additional-gids", "gid", "Further group").short('g'),
                Flag::switch("detach", "Return once the process runs").short('d'),
                PID_FILE,
                CONSOLE,
                PIDFD,
                Flag::one("process-label", "label", "SELinux label"),
                Flag::one("apparmor", "profile", "AppArmor profile"),
                Flag::switch("no-new-privs", "Bar the process from gaining privileges"),
                Flag::many("cap", "capability", "Further capability").short('c'),
                FDS,
                Flag::many("cgroup", "path", "Cgroup below the container's"),
                Flag::switch("ignore-paused", "Don't refuse a paused container"),
            ],
        )],
    )
};

/// Of `list`.
pub static LIST: CommandSpec = CommandSpec {
    args: (0, 0),
    ..spec(
        "[OPTIONS]",
        "List containers",
        &[(
            "Options",
            &[
                Flag::one("format", "string", "table or json (default table)").short('f'),
                Flag::switch("quiet", "Show names only").short('q'),
            ],
        )],
    )
};

/// Of `spec`.
pub static SPEC: CommandSpec = CommandSpec {
    args: (0, 0),
    unsupported: &[crate::unsupported::Unsupported { name: "rootless", short: None, why: "" }],
    ..spec("[OPTIONS]", "Write a new config.json", &[("Options", &[BUNDLE])])
};
