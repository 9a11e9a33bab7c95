//! `berth system boot`, `shutdown`, `install`, `uninstall`: containers and the machine's own start and end.

use std::path::PathBuf;

use super::{print, print_outcomes};
use crate::backend;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::number;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "",
    about: "Start the containers whose restart policy says that they run after a boot",
    flags: &[],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Flags and arguments of `shutdown`.
pub static SHUTDOWN: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Stop all containers, those that need others first; the next boot starts what should run",
    flags: &[(
        "Options",
        &[Flag::one("timeout", "seconds", "Time until they are killed (default each container's own)")
            .short('t')],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

const ROOT: Flag = Flag::one("root", "dir", "Change the system that is at DIR (default /)");

fn root(parsed: &Parsed) -> PathBuf {
    parsed.one("root").filter(|dir| !dir.is_empty()).unwrap_or("/").into()
}

/// Flags and arguments of `install`.
pub static INSTALL: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Have systemd start containers after a boot, and stop them before the machine",
    flags: &[("Options", &[Flag::switch("print", "Print the unit, and install nothing"), ROOT])],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Flags and arguments of `uninstall`.
pub static UNINSTALL: CommandSpec = CommandSpec {
    usage: "",
    about: "Undo what install did; containers run on",
    flags: &[("Options", &[ROOT])],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Starts them, and prints their names.
pub fn work(_: &Parsed) -> Result<u8, Failure> {
    print_outcomes(backend::boot()?)
}

/// Stops them, and prints their names.
pub fn shutdown(parsed: &Parsed) -> Result<u8, Failure> {
    let seconds = |text: &str| -> Result<i64, BadValue> { number::within(-1, i64::MAX)(text) };
    print_outcomes(backend::shutdown(parsed.parsed("timeout", seconds)?)?)
}

/// Installs the unit, or prints it.
pub fn install(parsed: &Parsed) -> Result<u8, Failure> {
    if parsed.switch("print") {
        print(&backend::unit()?)?;
        return Ok(0);
    }
    let installed = backend::install(&root(parsed))?;
    print(&format!("{}\n", installed.unit.display()))?;
    if installed.loaded {
        // Only what systemd has started does it stop at the machine's end.
        print("Run `systemctl start berth` for this boot; the next one does it by itself.\n")?;
    }
    Ok(0)
}

/// Removes the unit.
pub fn uninstall(parsed: &Parsed) -> Result<u8, Failure> {
    backend::uninstall(&root(parsed)).map(|()| 0)
}
