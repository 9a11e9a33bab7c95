//! `berth system install`: the unit by which systemd starts containers after a boot and stops them before the machine.
//!
//! The unit has no process of its own while it's active: containers, and what looks after them, are in control groups
//! beside systemd's, so that neither a reload nor the end of any unit or login reaches them. At the machine's end systemd
//! runs `ExecStop` before it takes down what the unit comes after, and kills what is left only when all units are.

use crate::{Error, Home};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, symlinkat, unlinkat};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where units of this machine's own go.
const UNITS: &str = "etc/systemd/system";
const NAME: &str = "berth.service";
/// The units that start ours.
const WANTS: &str = "multi-user.target.wants";
/// How the unit begins, if it's ours.
const MARK: &str = "# Written by `berth system install`";

/// What `install` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The unit.
    pub unit: PathBuf,
    /// Whether systemd runs here and was told of it.
    pub loaded: bool,
}

/// The unit's text, for this program and this home.
pub fn text(home: &Home) -> Result<String, Error> {
    let program =
        std::env::current_exe().map_err(|error| Error::io("find", "berth's own program", &error))?;
    let program = quoted(&program.to_string_lossy());
    let mut variables = String::new();
    if *home != Home::default() {
        let ids = format!("{}:{}", home.ids_base, home.ids());
        for (name, value) in [
            ("BERTH_ROOT", home.root.to_string_lossy().into_owned()),
            ("BERTH_RUN", home.run.to_string_lossy().into_owned()),
            ("BERTH_CGROUP", home.cgroup_parent.clone()),
            ("BERTH_IDS", ids),
        ] {
            variables += &format!("Environment={}\n", quoted(&format!("{name}={value}")));
        }
    }
    let root = quoted(&home.root.to_string_lossy());
    Ok(format!(
        "{MARK}; `berth system uninstall` removes it.\n\
         [Unit]\n\
         Description=Containers of berth\n\
         Wants=network-online.target\n\
         After=network-online.target local-fs.target\n\
         RequiresMountsFor={root}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         {variables}\
         ExecStart={program} system boot\n\
         # A container that can't be started is no failure of the others.\n\
         SuccessExitStatus=1\n\
         ExecStop={program} system shutdown\n\
         # Each container has a time of its own, after which it's killed.\n\
         TimeoutStopSec=15min\n\
         # No container is in this unit's control group. Where version 1 keeps what looks after them in it, it stays.\n\
         KillMode=process\n\
         SendSIGKILL=no\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    ))
}

/// A word as systemd.syntax(7) and systemd.unit(5) want it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=".contains(c);
    let text = text.replace('%', "%%");
    match text.chars().all(plain) {
        true => text,
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$")),
    }
}

/// Writes the unit and enables it, below `root`, which is `/` but for images of machines.
///
/// Errors: [`Error::Refused`] if there is a unit of that name that berth hasn't written.
pub fn install(home: &Home, root: &Path) -> Result<Installed, Error> {
    let dir = root.join(UNITS);
    let unit = dir.join(NAME);
    refuse_foreign(&unit)?;
    let text = text(home)?;
    let made = |path: &Path| {
        std::fs::create_dir_all(path).map_err(|error| Error::io("make", path.display(), &error))
    };
    made(&dir.join(WANTS))?;
    linux::durable::replace(open(&dir)?.as_fd(), NAME.as_ref(), text.as_bytes(), 0o644)
        .map_err(|error| Error::io("write", unit.display(), &error))?;
    let link = dir.join(WANTS).join(NAME);
    match symlinkat(format!("/{UNITS}/{NAME}"), CWD, &link) {
        Err(errno) if errno != linux::Errno::EXIST => {
            return Err(Error::system("make", link.display(), errno));
        }
        _ => {}
    }
    Ok(Installed { unit, loaded: reload(root) })
}

/// Removes what [`install`] wrote. What isn't there is no failure.
pub fn uninstall(root: &Path) -> Result<(), Error> {
    let dir = root.join(UNITS);
    let unit = dir.join(NAME);
    refuse_foreign(&unit)?;
    for path in [dir.join(WANTS).join(NAME), unit] {
        match unlinkat(CWD, &path, AtFlags::empty()) {
            Err(errno) if errno != linux::Errno::NOENT => {
                return Err(Error::system("remove", path.display(), errno));
            }
            _ => {}
        }
    }
    reload(root);
    Ok(())
}

fn refuse_foreign(unit: &Path) -> Result<(), Error> {
    match std::fs::read_to_string(unit) {
        Ok(text) if text.starts_with(MARK) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("read", unit.display(), &error)),
        Ok(_) => Err(Error::Refused {
            what: format!("change {}", unit.display()),
            why: "berth hasn't written it".to_owned(),
            hint: "move it away first; berth system install --print shows what would be written".to_owned(),
        }),
    }
}

fn open(dir: &Path) -> Result<OwnedFd, Error> {
    openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::system("open", dir.display(), errno))
}

/// Has systemd read its units again, if it's what runs here; whether it is. Source: systemd(1), SIGHUP.
fn reload(root: &Path) -> bool {
    const SIGHUP: i32 = 1;
    // Source: sd_booted(3).
    if root != Path::new("/") || !Path::new("/run/systemd/system").is_dir() {
        return false;
    }
    let init = linux::process::pidfd_open(1);
    init.is_ok_and(|init| linux::process::pidfd_signal(init.as_fd(), SIGHUP).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_systemd_reads_them() {
        for (text, expected) in [
            ("/usr/bin/berth", "/usr/bin/berth"),
            ("/a b/berth", "\"/a b/berth\""),
            ("/100%/berth", "\"/100%%/berth\""),
            ("/a\"b\\c$d", "\"/a\\\"b\\\\c$$d\""),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
