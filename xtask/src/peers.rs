//! Other engines, in a root directory of their own beside the host.

use crate::Result;
use crate::cmd::{self, Cmd};
use std::path::{Path, PathBuf};

pub const HELP: &str = "
usage: cargo xtask peers [shell]

Builds a Debian root that holds current docker, containerd, podman, crun and
runc, from this machine's own Debian mirror, in the cache (/var/cache/berth, or
BERTH_CACHE; about 850 MB, 20 s). Benchmarks run them from there; nothing is
installed onto the host. `shell` opens a shell inside.
";

/// The suite with the newest peers.
const SUITE: &str = "forky";

const PACKAGES: &str = "ca-certificates,docker.io,docker-cli,docker-buildx,docker-compose,containerd,podman,buildah,\
    skopeo,crun,runc,iptables,iproute2,netavark,aardvark-dns,passt,catatonit,uidmap,busybox-static";

/// Enters the root: in a mount namespace of its own and by pivot_root, since OCI runtimes refuse a mere chroot. The
/// v2 hierarchy of a hybrid host is taken away, so that they see plain v1. Arguments: root, work directory, command.
const ENTER: &str = r#"
set -eu
root=$1 work=$2; shift 2
mount --bind "$root" "$root"
for dir in proc sys dev; do mount --rbind "/$dir" "$root/$dir"; done
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root$work" "$root/.old"
mount --rbind "$work" "$root$work"
cd "$root"
pivot_root . .old
umount -l /.old
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
cd "$work"
exec "$@"
"#;

pub fn main(args: &[String]) -> Result {
    let root = ensure()?;
    match args {
        [] => {
            println!("{}", root.display());
            Ok(())
        }
        [word] if word == "shell" => enter(&root, &cmd::root()).args(["/bin/bash", "-i"]).run(),
        _ => Err(format!("peers takes no such arguments: {}", args.join(" "))),
    }
}

/// Builds the root if the cache hasn't it, and returns its path.
pub fn ensure() -> Result<PathBuf> {
    let root = cmd::cache_dir()?.join(format!("peers-{SUITE}"));
    if root.is_dir() {
        return Ok(root);
    }
    crate::setup::install_packages(&["mmdebstrap"])?;
    let mirror = debian_mirror()?;
    let new = root.with_extension("new");
    let _ = std::fs::remove_dir_all(&new);
    cmd::heading(&format!("building {}", root.display()));
    Cmd::new("mmdebstrap")
        .args(["--variant=minbase", "--mode=root", "--quiet"])
        .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
        .arg(format!("--include={PACKAGES}"))
        .arg(SUITE)
        .arg(&new)
        .arg(format!("deb [trusted=yes] {mirror} {SUITE} main"))
        .quiet()
        .run()?;
    std::fs::rename(&new, &root).map_err(|e| format!("cannot move {} into place: {e}", new.display()))?;
    Ok(root)
}

/// A command that enters the root and there becomes what its further arguments say. `work` is visible inside under
/// its own path.
pub fn enter(root: &Path, work: &Path) -> Cmd {
    Cmd::new("unshare")
        .args(["--mount", "--propagation", "private", "bash", "-c", ENTER, "enter-peers"])
        .arg(root)
        .arg(work)
}

/// The same in the network namespace of a process, if one is named.
pub fn enter_in(netns: Option<u32>, root: &Path, work: &Path) -> Cmd {
    let Some(pid) = netns else { return enter(root, work) };
    let target = pid.to_string();
    let words = ["--target", &target, "--net", "--", "unshare", "--mount", "--propagation", "private"];
    Cmd::new("nsenter").args(words).args(["bash", "-c", ENTER, "enter-peers"]).arg(root).arg(work)
}

/// The Debian mirror that this machine's apt is configured with: where its own suite comes from.
pub fn debian_mirror() -> Result<String> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or("stable");
    let mut texts = vec![std::fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    for entry in std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
        // apt reads no others either: what is switched off is often only renamed.
        if entry.path().extension().is_some_and(|extension| extension == "list" || extension == "sources") {
            texts.push(std::fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
    texts
        .iter()
        .find_map(|text| mirror_in(text, suite))
        .ok_or_else(|| format!("apt's configuration names no mirror of Debian's {suite}"))
}

/// The first address in a sources file, of either format, that `suite` itself comes from. Source: sources.list(5).
fn mirror_in(text: &str, suite: &str) -> Option<String> {
    let has_suite = |text: &str| text.split_whitespace().any(|word| word == suite);
    let address = |text: &str| text.split_whitespace().find(|word| word.contains("://")).map(str::to_owned);
    let one_line = text.lines().filter(|line| line.starts_with("deb ") && has_suite(line)).find_map(address);
    one_line.or_else(|| {
        text.split("\n\n").find_map(|stanza| {
            let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
            has_suite(field("Suites:")?).then(|| address(field("URIs:")?)).flatten()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_read_from_both_formats() {
        let check =
            |text, mirror: Option<&str>| assert_eq!(mirror_in(text, "bookworm").as_deref(), mirror, "{text}");
        check("# x\ndeb [signed-by=/k] http://m/debian bookworm main\n", Some("http://m/debian"));
        check("Types: deb\n# a\nURIs: http://m/debian\nSuites: bookworm x\n", Some("http://m/debian"));
        check("URIs: http://m/a\nSuites: b\n\nURIs: http://m/b\nSuites: bookworm\n", Some("http://m/b"));
        check("Types: deb\nURIs: http://m/debian-security\nSuites: bookworm-security\n", None);
        check("deb https://other/apt tools-bookworm main\n", None);
    }
}
