//! Files that commands write for their caller: they appear when they are complete, and under sudo belong to who called.

use crate::Error;
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, fchown, openat, unlinkat};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Output is written in pieces of this size.
const BUFFER_BYTES: usize = 256 << 10;

/// Who called sudo, if anybody did.
pub(crate) fn caller() -> Option<(Uid, Gid)> {
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    Some((Uid::from_raw(id("SUDO_UID")?), Gid::from_raw(id("SUDO_GID")?)))
}

/// Lets `write` fill the file at `path`, or standard output. A regular file has the old content or the new one, whole.
pub fn to(
    path: Option<&Path>,
    write: &mut dyn FnMut(&mut dyn Write) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(path) = path else {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, std::io::stdout());
        write(&mut out)?;
        return out.flush().map_err(|error| Error::io("write to", "standard output", &error));
    };
    let failed = |errno| Error::system("write", path.display(), errno);
    let is_special = path.metadata().is_ok_and(|meta| !meta.is_file());
    if is_special {
        // A device or a pipe is written to as it is.
        let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::from(file));
        write(&mut out)?;
        return out.flush().map_err(|error| Error::io("write", path.display(), &error));
    }
    let (dir, name) = (path.parent().filter(|dir| !dir.as_os_str().is_empty()), path.file_name());
    let name = name.ok_or_else(|| Error::invalid("--output", format!("{} names no file", path.display())))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let dir = openat(
        CWD,
        dir.unwrap_or(Path::new(".")),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&dir, &temporary, flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
    let mut fill = || {
        if let Some((uid, gid)) = caller() {
            fchown(&file, Some(uid), Some(gid)).map_err(failed)?;
        }
        let own = file.try_clone().map_err(|error| Error::io("write", path.display(), &error))?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::from(own));
        write(&mut out)?;
        out.flush().map_err(|error| Error::io("write", path.display(), &error))?;
        linux::durable::put(dir.as_fd(), &temporary, name)
            .map_err(|error| Error::io("write", path.display(), &error))
    };
    let filled = fill();
    if filled.is_err() {
        let _ = unlinkat(&dir, &temporary, AtFlags::empty());
    }
    filled
}
