//! A virtual machine with cgroup v2 and systemd, for what this kind of host doesn't have.
//!
//! The machine boots a small Debian from a disk that is made once and never written to again. A second disk holds the
//! payload, a bare tar with a script `run`; onto a third one the machine writes its exit status and output, as a bare tar
//! too. QEMU emulates the processor: hosts that are virtual machines themselves often can't do better.

use crate::cmd::{self, Cmd};
use crate::{Result, build, peers, programs, setup};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub const HELP: &str = "
usage: cargo xtask test-vm

Runs the tests of control groups and device filters, and of what systemd does
to containers, in a virtual machine with cgroup v2 and systemd (Debian's next
release, emulated by QEMU). Its disk is built once, from this machine's own
Debian mirror, into the cache (/var/cache/berth, or BERTH_CACHE; about 1.5 GB).
Not part of `cargo xtask test`: emulation is ten to twenty times slower than
the host.
";

const SUITE: &str = "forky";

const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,kmod,nftables,iproute2,procps,passwd,util-linux,libcap2-bin,\
     busybox-static,linux-image-cloud-amd64";

/// Seconds until the machine is killed.
const SECONDS_MAX: &str = "600";

/// Size of the disk for results.
const RESULT_BYTES: u64 = 64 << 20;

/// What runs there: a test program, and names that its tests contain; none for all of them.
const TESTS: &[(&str, &[&str])] = &[
    ("runtime", &["kernel_tests"]),
    ("runtime_resources", &[]),
    ("runtime_mounts", &["cgroup"]),
    ("life", &["a_paused_container_stands", "figures_are"]),
    ("run_flags", &["memory", "cpu", "pids_limit", "device", "cgroupns", "oom_score"]),
];

/// What needs systemd itself.
const SYSTEMD_SCRIPT: &str = include_str!("vm/systemd.sh");

/// Unpacks the payload, runs it, writes the result, and leaves by sysrq: an orderly end may hang under emulation.
const SERVICE_SCRIPT: &str = r#"#!/bin/sh
for disk in pay out; do
    until [ -e /dev/disk/by-id/virtio-$disk ]; do sleep 0.2; done
done
mkdir -p /payload /result
tar -xf /dev/disk/by-id/virtio-pay -C /payload
cd /payload
./run >/result/output 2>&1
echo $? >/result/status
tar -cf /dev/disk/by-id/virtio-out -C /result .
sync
echo s >/proc/sysrq-trigger
sleep 1
echo b >/proc/sysrq-trigger
"#;

const SERVICE: &str = "[Unit]\nDescription=berth's tests\nAfter=basic.target\n\n[Service]\nType=oneshot\n\
    ExecStart=/usr/local/sbin/payload\nTimeoutStartSec=infinity\n\n[Install]\nWantedBy=multi-user.target\n";

pub fn main(args: &[String]) -> Result {
    if !args.is_empty() {
        return Err(format!("test-vm takes no arguments, got {}", args.join(" ")));
    }
    setup::all()?;
    setup::install_packages(&["qemu-system-x86", "mmdebstrap", "e2fsprogs", "binutils"])?;
    let image = ensure_image()?;
    let dir = cmd::target_dir().join("vm");
    let _ = std::fs::remove_dir_all(&dir);
    make_dir(&dir)?;
    pack(&dir)?;
    // No result means that the machine failed, not a test: once more, visibly.
    let (status, output) = boot(&image, &dir).or_else(|e| {
        eprintln!("xtask: {e}; trying once more");
        boot(&image, &dir)
    })?;
    print!("{output}");
    match status {
        0 => Ok(()),
        _ => Err(format!("tests failed in the virtual machine: status {status}")),
    }
}

fn make_dir(dir: &Path) -> Result {
    std::fs::create_dir_all(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))
}

fn write(path: &Path, text: &str) -> Result {
    std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The directory with `root.ext4` and `vmlinuz`, made if the cache hasn't it.
fn ensure_image() -> Result<PathBuf> {
    let image = cmd::cache_dir()?.join(format!("vm-{SUITE}"));
    if image.is_dir() {
        return Ok(image);
    }
    let mirror = peers::debian_mirror()?;
    let new = image.with_extension("new");
    let _ = std::fs::remove_dir_all(&new);
    let root = new.join("root");
    make_dir(&new)?;
    cmd::heading(&format!("building {}", image.display()));
    Cmd::new("mmdebstrap")
        .args(["--variant=minbase", "--mode=root", "--quiet"])
        .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
        .arg(format!("--include={PACKAGES}"))
        .arg(SUITE)
        .arg(&root)
        .arg(format!("deb [trusted=yes] {mirror} {SUITE} main"))
        .quiet()
        .run()?;
    write(&root.join("etc/fstab"), "")?;
    write(&root.join("etc/machine-id"), "uninitialized\n")?;
    write(&root.join("usr/local/sbin/payload"), SERVICE_SCRIPT)?;
    write(&root.join("etc/systemd/system/payload.service"), SERVICE)?;
    Cmd::new("chmod").arg("755").arg(root.join("usr/local/sbin/payload")).run()?;
    let units = root.join("etc/systemd/system");
    let wants = units.join("multi-user.target.wants");
    make_dir(&wants)?;
    for (link, target) in [
        (wants.join("payload.service"), "/etc/systemd/system/payload.service"),
        (units.join("getty.target"), "/dev/null"),
        (units.join("default.target"), "/usr/lib/systemd/system/multi-user.target"),
    ] {
        std::os::unix::fs::symlink(target, &link)
            .map_err(|e| format!("cannot link {}: {e}", link.display()))?;
    }
    Cmd::new("sh")
        .args(["-c", "cp \"$1\"/boot/vmlinuz-* \"$2\"", "sh"])
        .arg(&root)
        .arg(new.join("vmlinuz"))
        .run()?;
    Cmd::new("mke2fs")
        .args(["-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1,root_owner=0:0", "-d"])
        .arg(&root)
        .arg(new.join("root.ext4"))
        .arg("1500M")
        .run()?;
    std::fs::remove_dir_all(&root).map_err(|e| format!("cannot remove {}: {e}", root.display()))?;
    std::fs::rename(&new, &image).map_err(|e| format!("cannot move {} into place: {e}", new.display()))?;
    Ok(image)
}

/// Makes `pay.tar` in `dir`: the binary, the test programs, the script that runs them.
fn pack(dir: &Path) -> Result {
    cmd::heading("building berth and the tests");
    let berth = build::berth(build::Profile::Dev)?;
    let of_cli = TESTS.iter().filter(|(name, _)| *name != "runtime").flat_map(|(name, _)| ["--test", *name]);
    let mut programs = programs::build(&["--package", "runtime", "--lib"])?;
    programs.extend(programs::build(&["--package", "cli"].into_iter().chain(of_cli).collect::<Vec<_>>())?);
    let payload = dir.join("payload");
    make_dir(&payload)?;
    strip(&berth, &payload.join("berth"))?;
    let mut script = String::from(
        "#!/bin/sh\nexport BERTH_BIN=$PWD/berth BERTH_SKIPS=/result/skips TMPDIR=/var/tmp\nfailed=0\nuname -r\n",
    );
    for (name, filters) in TESTS {
        let Some(program) = programs.iter().find(|program| program.name == *name) else {
            return Err(format!("there is no test program {name}"));
        };
        strip(&program.path, &payload.join(name).with_extension("test"))?;
        let filters = filters.join(" ");
        script.push_str(&format!("./{name}.test --test-threads=1 {filters} || failed=1\n"));
    }
    write(&payload.join("systemd.sh"), SYSTEMD_SCRIPT)?;
    script.push_str("sh ./systemd.sh || failed=1\n");
    script.push_str("cat /result/skips\nexit $failed\n");
    write(&payload.join("run"), &script)?;
    Cmd::new("chmod").arg("755").arg(payload.join("run")).run()?;
    Cmd::new("tar").arg("-C").arg(&payload).arg("-cf").arg(dir.join("pay.tar")).arg(".").run()
}

fn strip(from: &Path, to: &Path) -> Result {
    Cmd::new("strip").arg("-o").arg(to).arg(from).run()
}

/// Boots the machine; the payload's exit status and output. An error means that there was no result.
fn boot(image: &Path, dir: &Path) -> Result<(i32, String)> {
    cmd::heading("booting the virtual machine");
    let begin = Instant::now();
    let out = dir.join("out.raw");
    let fault = |e: std::io::Error| format!("cannot make {}: {e}", out.display());
    std::fs::File::create(&out).and_then(|file| file.set_len(RESULT_BYTES)).map_err(fault)?;
    let drive = |file: &Path, rest: &str| format!("file={},format=raw,if=none,{rest}", file.display());
    let console = Cmd::new("timeout")
        .args(["-k", "3", SECONDS_MAX, "qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-cpu", "max"])
        // A second processor makes the kernel panic now and then under emulation.
        .args(["-smp", "1", "-m", "2048", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .args(["-serial", "stdio", "-drive", &drive(&image.join("root.ext4"), "id=r,snapshot=on")])
        .args(["-device", "nvme,drive=r,serial=root"])
        .args(["-drive", &drive(&dir.join("pay.tar"), "id=p,readonly=on")])
        .args(["-device", "virtio-blk-pci,drive=p,serial=pay"])
        .args(["-drive", &drive(&out, "id=o,cache=unsafe"), "-device", "virtio-blk-pci,drive=o,serial=out"])
        .arg("-kernel")
        .arg(image.join("vmlinuz"))
        .args([
            "-append",
            "console=ttyS0 root=/dev/nvme0n1 rootwait rw quiet panic=-1 systemd.show_status=0 mitigations=off \
             nokaslr random.trust_cpu=on systemd.firstboot=no systemd.mask=systemd-firstboot.service",
        ])
        .capture();
    let log = dir.join("console.log");
    std::fs::File::create(&log)
        .and_then(|mut file| file.write_all(console.clone().unwrap_or_else(|e| e).as_bytes()))
        .map_err(|e| format!("cannot write {}: {e}", log.display()))?;
    let read = |name: &str| Cmd::new("tar").arg("-xOf").arg(&out).arg(format!("./{name}")).capture();
    let status = read("status")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| format!("the virtual machine left no result; its console is in {}", log.display()))?;
    cmd::heading(&format!("the virtual machine took {} s", begin.elapsed().as_secs()));
    Ok((status, read("output")? + "\n"))
}
