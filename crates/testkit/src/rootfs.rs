//! A root file system made of busybox: small, quick to make, with a shell and two hundred tools.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Users of the root file system: name, uid, gid, home.
pub const USERS: [(&str, u32, u32, &str); 3] =
    [("root", 0, 0, "/root"), ("web", 33, 33, "/srv/web"), ("guest", 1000, 1000, "/home/guest")];

const DIRECTORIES: [&str; 14] = [
    "bin",
    "dev",
    "etc",
    "home",
    "home/guest",
    "mnt",
    "proc",
    "root",
    "run",
    "srv",
    "srv/web",
    "sys",
    "tmp",
    "var",
];

/// Makes a root file system in the new directory `dir`: busybox with all its names in /bin, users, a few directories.
/// Everything belongs to `owner` and the group of the same number.
pub fn make(dir: &Path, owner: u32) {
    std::fs::create_dir(dir).unwrap_or_else(|e| panic!("make {}: {e}", dir.display()));
    mode(dir, 0o755);
    for name in DIRECTORIES {
        let path = dir.join(name);
        std::fs::create_dir(&path).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        mode(&path, if name == "tmp" { 0o1777 } else { 0o755 });
    }
    let busybox = dir.join("bin/busybox");
    // A copy, not a link: a container that is root of the host could write to the host's own.
    std::fs::copy("/bin/busybox", &busybox).expect("copy /bin/busybox: install busybox-static");
    mode(&busybox, 0o755);
    for name in applets() {
        if name != "busybox" {
            symlink("busybox", dir.join("bin").join(name)).expect("link an applet");
        }
    }
    let mut passwd = String::new();
    let mut group = String::from("tty:x:5:\nextra:x:44:guest\n");
    for (name, uid, gid, home) in USERS {
        passwd += &format!("{name}:x:{uid}:{gid}::{home}:/bin/sh\n");
        group += &format!("{name}:x:{gid}:\n");
    }
    write(&dir.join("etc/passwd"), &passwd);
    write(&dir.join("etc/group"), &group);
    if owner != 0 {
        own(dir, owner);
    }
}

/// The same as a tar, owned by root, for `berth import`.
pub fn tar(dir: &Path, file: &Path) {
    let status =
        Command::new("tar").arg("-C").arg(dir).args(["--numeric-owner", "-cf"]).arg(file).arg(".").status();
    assert!(status.is_ok_and(|status| status.success()), "tar {} failed", dir.display());
}

/// Gives everything below `dir` to `owner` and the group of the same number.
pub fn own(dir: &Path, owner: u32) {
    chown(dir, owner);
    for entry in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("read {}: {e}", dir.display())).flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            own(&entry.path(), owner);
        } else if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            chown(&entry.path(), owner);
        }
    }
}

/// Writes a file that all may read.
pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::write(path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
    mode(path, 0o644);
}

fn chown(path: &Path, owner: u32) {
    std::os::unix::fs::chown(path, Some(owner), Some(owner))
        .unwrap_or_else(|e| panic!("chown {}: {e}", path.display()));
}

fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits))
        .unwrap_or_else(|e| panic!("chmod {}: {e}", path.display()));
}

fn applets() -> Vec<String> {
    let list = Command::new("/bin/busybox")
        .arg("--list")
        .output()
        .expect("run /bin/busybox: install busybox-static");
    String::from_utf8_lossy(&list.stdout).lines().map(str::to_owned).collect()
}
