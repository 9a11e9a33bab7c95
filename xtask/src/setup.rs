//! From a fresh Debian machine with a Rust toolchain to one that builds and tests berth.

use crate::Result;
use crate::cmd::{self, Cmd, MUSL};

pub const HELP: &str = "
usage: cargo xtask setup [--build-only]

Installs, where missing, what building and testing berth need: the Rust target
x86_64-unknown-linux-musl, and Debian packages by apt-get. Needs root if
anything is missing. Makes an archive of real programs for tests of networks
(nginx, curl, PostgreSQL, redis; 310 MB) in the cache (/var/cache/berth, or
BERTH_CACHE), by mmdebstrap. `cargo xtask test` does this by itself.

  --build-only   only what `cargo xtask run` and `dist` need
";

/// Debian packages that a build needs: a C compiler for musl (SQLite is C).
const BUILD_PACKAGES: &[&str] = &["gcc", "libc6-dev", "musl-tools"];

/// Debian packages that tests and benchmarks need: a static shell for root file systems, a terminal that can be driven,
/// a registry with certificates, and the classic tools to compare with.
const TEST_PACKAGES: &[&str] = &[
    "busybox-static",
    "docker-registry",
    "iproute2",
    "iptables",
    "libcap2-bin",
    "mmdebstrap",
    "nftables",
    "openssl",
    "passwd",
    "procps",
    "tmux",
    "util-linux",
];

/// The suite that the real programs come from: one whose packages are where they were.
const PROGRAMS_SUITE: &str = "bookworm";

pub fn main(args: &[String]) -> Result {
    match args {
        [] => all(),
        [flag] if flag == "--build-only" => build_needs(),
        _ => Err(format!("setup takes no such arguments: {}", args.join(" "))),
    }
}

/// Everything, as a fresh machine needs it.
pub fn all() -> Result {
    let packages: Vec<&str> = BUILD_PACKAGES.iter().chain(TEST_PACKAGES).copied().collect();
    install_packages(&packages)?;
    install_target()?;
    // Without it a test is skipped, and says so.
    programs().or_else(|error| {
        eprintln!("xtask: no archive of programs for tests: {error}");
        Ok(())
    })
}

/// Real programs that speak over networks, as a root file system's archive in the cache: crates/cli/tests/programs.rs.
fn programs() -> Result {
    let archive = cmd::cache_dir()?.join("programs.tar");
    if archive.exists() {
        return Ok(());
    }
    cmd::heading(&format!("making {}", archive.display()));
    let mirror = crate::peers::debian_mirror()?;
    // PostgreSQL's just-in-time compiler alone is a quarter of it, and nothing here needs one.
    let without = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/lib/*/libLLVM*"];
    let new = archive.with_extension("new.tar");
    Cmd::new("mmdebstrap")
        .args(["--variant=minbase", "--mode=root", "--quiet"])
        .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
        .args(without.iter().map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg("--include=nginx-light,curl,postgresql,redis-server")
        .arg(PROGRAMS_SUITE)
        .arg(&new)
        .arg(format!("deb [trusted=yes] {mirror} {PROGRAMS_SUITE} main"))
        .quiet()
        .run()?;
    std::fs::rename(&new, &archive).map_err(|e| format!("cannot move {} into place: {e}", new.display()))
}

/// What a build of the binary needs.
pub fn build_needs() -> Result {
    install_packages(BUILD_PACKAGES)?;
    install_target()
}

/// Installs those of `packages` that are missing. Errors: not root, or apt-get's own.
pub fn install_packages(packages: &[&str]) -> Result {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !has_package(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !cmd::installed("apt-get") {
        eprintln!(
            "xtask: this isn't a Debian machine; install by hand what these packages hold: {}",
            missing.join(" ")
        );
        return Ok(());
    }
    cmd::heading(&format!("installing Debian packages: {}", missing.join(" ")));
    let apt = || Cmd::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").arg("-qq").quiet();
    // A machine whose lists are fresh enough needs no update; a new one has none, or old ones.
    let install = || apt().args(["-y", "--no-install-recommends", "install"]).args(&missing).run();
    apt().arg("update").run().or_else(|e| {
        eprintln!("xtask: apt-get update failed, going on with the lists as they are: {e}");
        Ok::<(), String>(())
    })?;
    install().map_err(|e| {
        format!("cannot install {}: {e}\nhint: run as root, or install them by hand", missing.join(" "))
    })
}

fn has_package(package: &str) -> bool {
    Cmd::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .capture()
        .is_ok_and(|status| status == "installed")
}

fn install_target() -> Result {
    let libdir = Cmd::new("rustc").args(["--print", "target-libdir", "--target", MUSL]).capture()?;
    if std::path::Path::new(&libdir).is_dir() {
        return Ok(());
    }
    cmd::heading(&format!("installing Rust's standard library for {MUSL}"));
    Cmd::new("rustup").args(["target", "add", MUSL]).quiet().run().map_err(|e| {
        format!("cannot add {MUSL}: {e}\nhint: without rustup, install your distribution's package of it")
    })
}
