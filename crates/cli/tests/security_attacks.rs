//! One attack for each rule of security.md that is due: T1–T5, T11–T16, T18.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::program::EXCHANGER;
use testkit::{Cmd, Host, facts, skip, until};

fn run(host: &Host, flags: &[&str], args: &[&str]) -> Cmd {
    let words = ["run", "--rm"];
    host.berth(words.iter().chain(flags).chain(&["@host"]).chain(args))
}

#[track_caller]
fn see(host: &Host, flags: &[&str], script: &str) -> String {
    run(host, flags, &["sh", "-c", script]).text()
}

/// Starts a container of @host named `name` that sleeps.
fn background(host: &Host, name: &str, flags: &[&str]) {
    let (first, last) = (["run", "-d", "--name", name], ["@host", "sleep", "100"]);
    host.berth(first.iter().chain(flags).chain(&last)).run().ok();
}

fn remove(host: &Host, name: &str) {
    host.berth(["rm", "-f", name]).run().ok();
}

/// Compiles a C program to a static executable that a container can run from a directory of its own.
fn compile(host: &Host, name: &str, source: &str) -> PathBuf {
    testkit::program::compile(&host.path(&format!("{name}-dir")), name, source)
}

/// `-v DIR:/attack` for a compiled program.
fn attack_volume(program: &Path) -> String {
    format!("{}:/attack:ro", program.parent().unwrap().display())
}

/// A directory of the host's with one file, which no attack may change.
struct Canary {
    dir: PathBuf,
}

impl Canary {
    fn new(host: &Host) -> Canary {
        let dir = host.path("canary");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("file"), "sings").unwrap();
        Canary { dir }
    }

    #[track_caller]
    fn sings(&self) {
        assert_eq!(std::fs::read_to_string(self.dir.join("file")).unwrap(), "sings");
        let names: Vec<_> =
            std::fs::read_dir(&self.dir).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["file"], "the canary's directory was written to");
        let meta = self.dir.join("file").metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid()), (0, 0));
        assert_eq!(self.dir.metadata().unwrap().mode() & 0o7777, 0o755);
    }
}

// T1: no descriptor of the host's crosses. CVE-2024-21626, CVE-2016-9962, CVE-2019-5736.

const LIST_FDS: &str =
    "for fd in /proc/self/fd/*; do n=${fd##*/}; test -e $fd && echo $n; done | sort -n | tr '\\n' ' '";

#[test]
fn t1_only_the_standard_streams_cross() {
    let host = Host::new();
    let secret = host.path("secret");
    std::fs::write(&secret, "x").unwrap();
    let cmd = (3..10).fold(run(&host, &[], &["sh", "-c", LIST_FDS]), |cmd, fd| cmd.fd(fd, &secret));
    assert_eq!(cmd.text(), "0 1 2");
    let cmd = (3..10)
        .fold(run(&host, &["--init"], &["sh", "-c", "ls /proc/1/fd | sort -n | tr '\\n' ' '"]), |cmd, fd| {
            cmd.fd(fd, &secret)
        });
    let inits = cmd.text();
    assert!(!inits.contains('9'), "{inits}");
    background(&host, "box", &[]);
    let cmd = (3..10).fold(host.berth(["exec", "box", "sh", "-c", LIST_FDS]), |cmd, fd| cmd.fd(fd, &secret));
    assert_eq!(cmd.text(), "0 1 2");
    remove(&host, "box");
}

#[test]
fn t1_a_descriptor_is_no_working_directory() {
    let host = Host::new();
    let rootfs = host.rootfs_of(0);
    background(&host, "box", &[]);
    for fd in (0..20).chain([31, 32, 63]) {
        let dir = format!("/proc/self/fd/{fd}");
        run(&host, &["-w", &dir], &["true"]).run().code(125).stdout_is("");
        let output = host
            .berth(["exec", "-w", &dir, "box", "cat", "/proc/self/cwd/../../etc/hostname"])
            .run()
            .failed();
        assert_eq!(output.text(), "");
    }
    // By a link of the image's as well.
    for fd in [3, 5, 6, 7, 8, 9, 10, 11, 12] {
        let link = rootfs.join("link");
        let _ = std::fs::remove_file(&link);
        symlink(format!("/proc/self/fd/{fd}"), &link).unwrap();
        host.berth(["run", "--rm", "-w", "/link", "--rootfs", rootfs.to_str().unwrap(), "true"])
            .run()
            .code(125);
    }
    remove(&host, "box");
}

#[test]
fn t1_the_hosts_root_is_not_to_be_reached_by_any_process_of_ours() {
    // What pid 1 is before it's the user's program, and what exec is before it, can't be looked into by the container.
    let host = Host::new();
    let script = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); for p in /proc/[0-9]*; do \
                  test ${p#/proc/} = $$ && continue; \
                  for f in $p/fd/*; do t=$(readlink $f 2>/dev/null); case $t in /tmp/berth-test*) echo $t;; esac; done; \
                  ls -d $p/root/tmp/berth-test* $p/cwd/tmp/berth-test* 2>/dev/null; done; done; echo end";
    host.berth(["run", "-d", "--name", "box", "@host", "sh", "-c", script]).run().ok();
    for _ in 0..15 {
        host.berth(["exec", "box", "true"]).run();
    }
    host.berth(["kill", "box"]).run();
    let log = host.berth(["logs", "box"]).run().text();
    assert!(log.is_empty() || log == "end", "{log}");
    remove(&host, "box");
}

// T2: host code and container code never mix. CVE-2019-5736.

const OVERWRITE: &str = r##"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <dirent.h>
#include <time.h>
/* Takes hold of every executable that appears, then writes to it once nobody runs it. */
int main(void) {
    int held[64], count = 0, wrote = 0;
    char seen[64][32];
    time_t end = time(0) + 4;
    puts("up"); fflush(stdout);
    while (time(0) < end) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (count < 64 && (entry = readdir(proc))) {
            int pid = atoi(entry->d_name), known = 0;
            if (pid <= 0 || pid == getpid()) continue;
            char path[64], own[64];
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            for (int i = 0; i < count; i++) known |= !strcmp(seen[i], path);
            if (known) continue;
            int fd = open(path, O_PATH);
            if (fd < 0) continue;
            strncpy(seen[count], path, 31);
            held[count++] = fd;
        }
        closedir(proc);
        for (int i = 0; i < count; i++) {
            char path[64];
            snprintf(path, sizeof path, "/proc/self/fd/%d", held[i]);
            int fd = open(path, O_WRONLY);
            if (fd >= 0) { wrote += write(fd, "#!/evil\n", 8) == 8; close(fd); }
        }
        if (access("/ctl/stop", F_OK) == 0) break;
    }
    printf("wrote %d of %d\n", wrote, count);
    return 0;
}
"##;

#[test]
fn t2_berths_own_executable_cannot_be_overwritten() {
    let host = Host::new();
    let attacker = compile(&host, "overwrite", OVERWRITE);
    let rootfs = host.rootfs_of(0);
    std::fs::copy(&attacker, rootfs.join("bin/overwrite")).unwrap();
    symlink("/proc/self/exe", rootfs.join("bin/me")).unwrap();
    std::fs::create_dir(rootfs.join("ctl")).unwrap();
    // A copy of berth's, since it is attacked as root of the host.
    let copy = host.path("berth");
    std::fs::copy(testkit::host::binary(), &copy).unwrap();
    let before = std::fs::read(&copy).unwrap();
    let berth = |args: &[&str]| {
        host.env().into_iter().fold(Cmd::new(&copy, args), |cmd, (name, value)| cmd.env(name, value))
    };
    let dir = rootfs.to_str().unwrap();
    for userns in ["host", "private"] {
        berth(&["run", "-d", "--name", "box", "--userns", userns, "--rootfs", dir, "overwrite"]).run().ok();
        for _ in 0..5 {
            berth(&["exec", "box", "/proc/self/exe"]).run();
            berth(&["exec", "box", "me"]).run();
            berth(&["exec", "box", "true"]).run();
        }
        std::fs::write(rootfs.join("ctl/stop"), "").unwrap();
        assert!(
            until(Duration::from_secs(8), || berth(&["logs", "box"]).run().text().contains("wrote")),
            "{userns}"
        );
        berth(&["rm", "-f", "box"]).run().ok();
        std::fs::remove_file(rootfs.join("ctl/stop")).unwrap();
        assert!(std::fs::read(&copy).unwrap() == before, "--userns {userns}: berth was overwritten");
    }
    // Berth as the container's own program, with its init: it can't be written to either.
    berth(&[
        "run",
        "--rm",
        "--init",
        "--userns",
        "host",
        "--rootfs",
        dir,
        "sh",
        "-c",
        "echo x > /proc/1/exe",
    ])
    .run();
    berth(&["run", "--rm", "--userns", "host", "--rootfs", dir, "/proc/self/exe"]).run();
    assert!(std::fs::read(&copy).unwrap() == before, "berth was overwritten");
}

#[test]
fn t2_nothing_of_the_image_is_loaded_or_asked_for_names() {
    // A preloaded library or a name service of the image's would run in berth if it executed or resolved anything there.
    let host = Host::new();
    let rootfs = host.rootfs_of(0);
    std::fs::write(rootfs.join("etc/nsswitch.conf"), "passwd: evil\n").unwrap();
    std::fs::write(rootfs.join("etc/ld.so.preload"), "/evil.so\n").unwrap();
    let dir = rootfs.to_str().unwrap();
    let shown = host
        .berth(["run", "--rm", "-u", "guest", "-e", "LD_PRELOAD=/evil.so", "--rootfs", dir, "id", "-u"])
        .text();
    assert_eq!(shown, "1000");
}

// T3: untrusted paths resolve beneath the root. CVE-2019-16884, CVE-2021-30465, CVE-2025-31133.

#[test]
fn t3_exchanged_mount_targets_lead_nowhere() {
    let host = Host::new();
    let canary = Canary::new(&host);
    let rootfs = host.rootfs_of(0);
    let source = host.path("source");
    std::fs::create_dir(&source).unwrap();
    let (real, link) = (rootfs.join("target"), rootfs.join("other"));
    std::fs::create_dir(&real).unwrap();
    symlink(&canary.dir, &link).unwrap();
    let racer = compile(&host, "racer", EXCHANGER);
    let mut racing = Command::new(&racer).arg(&real).arg(&link).spawn().unwrap();
    let volume = format!("{}:/target/sub", source.display());
    let dir = rootfs.to_str().unwrap();
    let mut ran = 0;
    for _ in 0..40 {
        let output = host
            .berth([
                "run",
                "--rm",
                "-v",
                &volume,
                "--tmpfs",
                "/target/tmp",
                "-w",
                "/target/work",
                "--security-opt",
                "mask=/target/file",
                "--rootfs",
                dir,
                "true",
            ])
            .run();
        assert!([0, 125].contains(&output.status), "{output:?}");
        ran += u32::from(output.status == 0);
    }
    racing.kill().unwrap();
    racing.wait().unwrap();
    canary.sings();
    assert!(ran > 0, "the race was lost each time: nothing was tried");
}

#[test]
fn t3_links_in_mount_targets_stay_in_the_root() {
    let host = Host::new();
    let canary = Canary::new(&host);
    let rootfs = host.rootfs_of(0);
    symlink(&canary.dir, rootfs.join("absolute")).unwrap();
    symlink(format!("../../../../../..{}", canary.dir.display()), rootfs.join("dots")).unwrap();
    symlink("/proc/1/root", rootfs.join("magic")).unwrap();
    symlink("loop", rootfs.join("loop")).unwrap();
    let dir = rootfs.to_str().unwrap();
    for target in [
        "/absolute/sub",
        "/dots/sub",
        "/magic/sub",
        "/loop/sub",
        "/absolute",
        "/proc/self/root/sub",
        "/proc/self/fd/5/sub",
    ] {
        let output = host
            .berth([
                "run",
                "--rm",
                "--tmpfs",
                target,
                "-v",
                &format!("{dir}/etc:{target}/bind"),
                "--rootfs",
                dir,
                "true",
            ])
            .run();
        assert!([0, 125].contains(&output.status), "{target}: {output:?}");
        canary.sings();
    }
}

#[test]
fn t3_the_images_passwd_is_read_beneath_its_root() {
    let host = Host::new();
    let rootfs = host.rootfs_of(0);
    let outside = host.path("passwd");
    std::fs::write(&outside, "outsider:x:4711:4711::/:/bin/sh\n").unwrap();
    std::fs::remove_file(rootfs.join("etc/passwd")).unwrap();
    symlink(&outside, rootfs.join("etc/passwd")).unwrap();
    let dir = rootfs.to_str().unwrap();
    host.berth(["run", "--rm", "-u", "outsider", "--rootfs", dir, "true"])
        .run()
        .code(125)
        .stderr_has(&["outsider"]);
    // A FIFO or a device in its place must not make berth wait.
    std::fs::remove_file(rootfs.join("etc/passwd")).unwrap();
    assert!(Command::new("mkfifo").arg(rootfs.join("etc/passwd")).status().unwrap().success());
    let output = host
        .berth(["run", "--rm", "-u", "guest", "--rootfs", dir, "true"])
        .timeout(Duration::from_secs(5))
        .run();
    output.code(125);
}

// T4: what berth writes reaches the kernel. CVE-2019-16884, CVE-2025-52881.

#[test]
fn t4_a_faked_proc_is_not_written_to() {
    let host = Host::new();
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let forwarding = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let rootfs = host.rootfs_of(0);
    let fake = rootfs.join("proc/self/attr");
    std::fs::create_dir_all(&fake).unwrap();
    std::fs::write(fake.join("exec"), "fake").unwrap();
    std::fs::create_dir_all(rootfs.join("proc/sys/net/ipv4")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", rootfs.join("proc/sys/net/ipv4/ip_forward")).unwrap();
    let dir = rootfs.to_str().unwrap();
    let sysctl = ["--sysctl", "net.ipv4.ip_forward=1", "--oom-score-adj", "100"];
    // Without a network, for which the host would forward.
    let words = ["run", "--rm", "--network", "none"];
    let shown = host
        .berth(words.iter().chain(&sysctl).chain(&[
            "--rootfs",
            dir,
            "cat",
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/self/oom_score_adj",
        ]))
        .text();
    assert_eq!(shown, "1\n100");
    assert_eq!(std::fs::read_to_string(fake.join("exec")).unwrap(), "fake");
    // A bind on /proc, by the caller's mistake or a compose file's malice.
    let volume = format!("{}:/proc", rootfs.join("proc").display());
    let output =
        host.berth(words.iter().chain(&sysctl).chain(&["-v", &volume, "--rootfs", dir, "true"])).run();
    assert!([0, 125].contains(&output.status), "{output:?}");
    // A link in its place.
    std::fs::rename(rootfs.join("proc"), rootfs.join("fakeproc")).unwrap();
    symlink("/fakeproc", rootfs.join("proc")).unwrap();
    let output = host
        .berth(words.iter().chain(&sysctl).chain(&["--rootfs", dir, "cat", "/proc/sys/net/ipv4/ip_forward"]))
        .run();
    assert!(output.status == 125 || output.text() == "1", "{output:?}");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), pattern);
    assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), forwarding);
}

// T5: masks and devices sit on verified inodes. CVE-2025-31133, CVE-2025-52565.

#[test]
fn t5_symlinked_masks_and_devices_fool_nobody() {
    let canary_host = Host::new();
    for name in [
        "dev",
        "proc",
        "sys",
        "dev/null",
        "dev/console",
        "dev/pts",
        "dev/shm",
        "dev/mqueue",
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
        "etc/passwd",
    ] {
        let host = &canary_host;
        let canary = host.path("canary");
        let _ = std::fs::remove_dir_all(&canary);
        let canary = Canary::new(host);
        let rootfs = host.rootfs_of(0);
        let path = rootfs.join(name);
        let _ = std::fs::remove_dir_all(&path);
        let _ = std::fs::remove_file(&path);
        let target = if name.starts_with("etc/") { canary.dir.join("file") } else { canary.dir.clone() };
        symlink(target, &path).unwrap();
        let dir = rootfs.to_str().unwrap();
        let script = "stat -c '%t:%T' /dev/null; wc -c < /proc/timer_list; readlink -f /dev /proc /sys; echo x > /dev/null";
        let output = host.berth(["run", "--rm", "--rootfs", dir, "sh", "-c", script]).run();
        canary.sings();
        if output.status == 0 {
            assert!(output.text().starts_with("1:3\n0"), "{name}: {output:?}");
        } else {
            output.code(125);
        }
    }
}

#[test]
fn t5_an_images_null_is_not_used_for_masks() {
    let host = Host::new();
    let rootfs = host.rootfs_of(0);
    std::fs::write(rootfs.join("dev/null"), "leaks\n").unwrap();
    let dir = rootfs.to_str().unwrap();
    let shown = host
        .berth([
            "run",
            "--rm",
            "--rootfs",
            dir,
            "sh",
            "-c",
            "cat /proc/timer_list /proc/keys; stat -c '%t:%T %u:%g %a' /dev/null",
        ])
        .text();
    assert_eq!(shown, "1:3 0:0 666");
}

#[test]
fn t5_the_mount_table_is_the_golden_one() {
    let host = Host::new();
    let shown = see(&host, &[], "awk '{print $5, $6}' /proc/self/mountinfo | sort -u");
    let table: Vec<&str> = shown.lines().collect();
    for line in [
        "/dev rw,nosuid",
        "/dev/mqueue rw,nosuid,nodev,noexec,relatime",
        "/dev/pts rw,nosuid,noexec,relatime",
        "/dev/shm rw,nosuid,nodev,noexec,relatime",
        "/proc rw,nosuid,nodev,noexec,relatime",
        "/proc/bus ro,nosuid,nodev,noexec,relatime",
        "/proc/fs ro,nosuid,nodev,noexec,relatime",
        "/proc/irq ro,nosuid,nodev,noexec,relatime",
        "/proc/sys ro,nosuid,nodev,noexec,relatime",
        "/sys ro,nosuid,nodev,noexec,relatime",
        "/sys/fs/cgroup ro,nosuid,nodev,noexec,relatime",
    ] {
        assert!(table.contains(&line), "{line:?} isn't in\n{shown}");
    }
    for path in [
        "/proc/interrupts",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/kcore",
        "/proc/acpi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ] {
        if Path::new(path).exists() {
            assert!(
                table.iter().any(|line| line.starts_with(&format!("{path} "))),
                "{path} isn't masked:\n{shown}"
            );
        }
    }
}

#[test]
fn t5_the_hosts_devices_stay_the_hosts() {
    let host = Host::new();
    let before = std::fs::metadata("/dev/null").unwrap();
    let script = "chown 1:1 /dev/null; chmod 600 /dev/null; rm -f /dev/zero; mknod /x c 1 3; mknod /y b 7 0 2>/dev/null && head -c 1 /y; echo end";
    see(&host, &[], &format!("{{ {script}; }} 2>/dev/null"));
    run(&host, &["-i"], &["sh", "-c", "chown 1:1 /proc/self/fd/0 /proc/self/fd/1 2>/dev/null; true"])
        .run()
        .ok();
    run(&host, &["-u", "1000"], &["true"]).run().ok();
    let after = std::fs::metadata("/dev/null").unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
    assert_eq!(after.uid(), 0, "somebody gave the host's /dev/null away");
}

// T11: control groups. CVE-2022-0492.

#[test]
fn t11_control_groups_cannot_be_written() {
    let host = Host::new();
    let script = "for f in $(find /sys/fs/cgroup -name 'cgroup.procs' -o -name release_agent -o -name notify_on_release -o -name '*limit_in_bytes' -o -name pids.max); do \
                  (echo 1 > $f) 2>/dev/null && echo wrote $f; done; \
                  mkdir /sys/fs/cgroup/*/x /sys/fs/cgroup/x 2>/dev/null && echo made; \
                  cat /proc/self/cgroup | grep -v ':/$'; \
                  mount -t cgroup -o memory x /mnt 2>/dev/null && echo mounted; \
                  mount -t cgroup2 x /mnt 2>/dev/null && echo mounted2; echo end";
    assert_eq!(see(&host, &[], script), "end");
    assert_eq!(see(&host, &["-m", "64m", "--pids-limit", "100"], script), "end");
}

#[test]
fn t11_even_sys_admin_in_its_own_namespace_does_not_climb() {
    let host = Host::new();
    let script = "mount -o remount,rw,bind /sys/fs/cgroup/memory 2>/dev/null; \
                  (echo 0 > /sys/fs/cgroup/memory/release_agent) 2>/dev/null && echo agent; \
                  (echo $((1<<40)) > /sys/fs/cgroup/memory/memory.limit_in_bytes) 2>/dev/null && echo raised; \
                  mkdir -p /mnt/c && mount -t cgroup -o memory x /mnt/c 2>/dev/null && \
                  { ls /mnt/c | grep -q berth-test && echo climbed; (echo $((1<<40)) > /mnt/c/memory.limit_in_bytes) 2>/dev/null && echo raised2; }; \
                  echo end";
    let flags = ["-m", "64m", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"];
    assert_eq!(see(&host, &flags, script), "end");
}

#[test]
fn t11_an_oom_and_a_fork_bomb_are_survived_and_recorded() {
    let host = Host::new();
    if facts::v1_controller("memory").is_none() && facts::cgroup_mode() != facts::CgroupMode::V2 {
        skip!("no memory controller");
    }
    let state = |name: &str| {
        host.berth(["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name]).text()
    };
    host.berth([
        "run",
        "-d",
        "--name",
        "oom",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "@host",
        "sh",
        "-c",
        "head -c 200m /dev/zero | tail -c 200m > /dev/null",
    ])
    .run()
    .ok();
    assert!(until(Duration::from_secs(10), || state("oom") == "exited 137"), "{}", state("oom"));
    remove(&host, "oom");
    host.berth([
        "run",
        "-d",
        "--name",
        "bomb",
        "--pids-limit",
        "64",
        "@host",
        "bash",
        "-c",
        "b() { b | b & }; b; sleep 0.7; exit 8",
    ])
    .run()
    .ok();
    assert!(until(Duration::from_secs(10), || state("bomb").starts_with("exited")), "{}", state("bomb"));
    remove(&host, "bomb");
}

// T12: default ceilings.

const FORKS: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <errno.h>
int main(void) {
    int count = 0;
    for (;;) {
        pid_t pid = fork();
        if (pid == 0) { pause(); _exit(0); }
        if (pid < 0) break;
        if (++count > 6000) break;
    }
    printf("%d %d\n", count + 1, errno);
    fflush(stdout);
    kill(-1, SIGKILL);
    return 0;
}
"#;

#[test]
fn t12_processes_are_4096_at_most() {
    let host = Host::new();
    let program = compile(&host, "forks", FORKS);
    let text = run(&host, &["-v", &attack_volume(&program)], &["/attack/forks"]).text();
    let (count, errno) = text.split_once(' ').unwrap();
    let count: u32 = count.parse().unwrap();
    assert!((4050..=4096).contains(&count), "{text}");
    assert_eq!(errno, "11", "EAGAIN");
    // Not by user id: a process that drops to another user is within the same ceiling.
    let text = run(&host, &["-u", "1000", "-v", &attack_volume(&program)], &["/attack/forks"]).text();
    let count: u32 = text.split(' ').next().unwrap().parse().unwrap();
    assert!((4050..=4096).contains(&count), "{text}");
}

#[test]
fn t12_containers_do_not_use_up_one_anothers_processes() {
    let host = Host::new();
    let half = compile(
        &host,
        "half",
        &FORKS.replace("count > 6000", "count >= 2500").replace("kill(-1, SIGKILL)", "pause()"),
    );
    let full = compile(&host, "forks", FORKS);
    host.berth(["run", "-d", "--name", "half", "-v", &attack_volume(&half), "@host", "/attack/half"])
        .run()
        .ok();
    assert!(until(Duration::from_secs(10), || host
        .berth(["logs", "half"])
        .run()
        .text()
        .starts_with("2501 ")));
    let text = run(&host, &["-v", &attack_volume(&full)], &["/attack/forks"]).text();
    let count: u32 = text.split(' ').next().unwrap().parse().unwrap();
    remove(&host, "half");
    assert!((4050..=4096).contains(&count), "{text}");
}

#[test]
fn t12_shared_memory_is_64_megabytes() {
    let host = Host::new();
    assert_eq!(
        see(&host, &[], "head -c 80000000 /dev/zero > /dev/shm/f 2>/dev/null; stat -c %s /dev/shm/f"),
        "67108864"
    );
}

#[test]
fn t12_limits_are_not_raised_unasked() {
    let host = Host::new();
    let hard = |name: &str| {
        let own = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = own.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        line.split_whitespace().rev().nth(1).unwrap().to_owned()
    };
    let text = see(&host, &[], "cat /proc/self/limits");
    let inside = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    assert!(
        number(inside.split_whitespace().nth(4).unwrap()) <= number(&hard("Max open files")).max(1_048_576),
        "{inside}"
    );
    assert_eq!(see(&host, &["--isolation", "strict"], "ulimit -c; ulimit -Hc"), "0\n0");
}

// T13: identity. CVE-2022-24769, CVE-2022-29162, CVE-2023-28642, CVE-2016-3697.

#[test]
fn t13_run_and_exec_give_the_same_rights() {
    let host = Host::new();
    let script = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status; cat /proc/self/uid_map; umask";
    for flags in [
        &[][..],
        &["-u", "1000:1000", "--group-add", "7"],
        &["--cap-drop", "ALL", "--cap-add", "CHOWN"],
        &["--security-opt", "no-new-privileges"],
        &["--isolation", "strict"],
    ] {
        let (first, last) = (
            ["run", "-d", "--name", "box"],
            ["@host", "sh", "-c", &format!("{{ {script}; }}; echo .; exec sleep 100")],
        );
        host.berth(first.iter().chain(flags).chain(&last)).run().ok();
        let mut run = String::new();
        until(Duration::from_secs(5), || {
            run = host.berth(["logs", "box"]).run().text();
            run.ends_with('.')
        });
        let exec = host.berth(["exec", "box", "sh", "-c", script]).text();
        assert_eq!(run.trim_end_matches(['.', '\n']), exec, "{flags:?}");
        remove(&host, "box");
    }
}

#[test]
fn t13_ids_never_wrap() {
    let host = Host::new();
    let rootfs = host.rootfs_of(0);
    let passwd =
        "wrap:x:4294967296:0::/:/bin/sh\nminus:x:-1:0::/:/bin/sh\nhex:x:0x0:0::/:/bin/sh\nempty:x:::::\n";
    std::fs::write(rootfs.join("etc/passwd"), passwd).unwrap();
    let dir = rootfs.to_str().unwrap();
    for user in [
        "wrap",
        "minus",
        "hex",
        "empty",
        "4294967296",
        "18446744073709551616",
        "-1",
        "4294967295",
        "+0",
        "0x0",
    ] {
        host.berth(["run", "--rm", "-u", user, "--rootfs", dir, "id", "-u"]).run().code(125).stdout_is("");
    }
}

#[test]
fn t13_giant_passwd_files_are_bounded() {
    let host = Host::new();
    let rootfs = host.rootfs_of(0);
    for name in ["passwd", "group"] {
        let file = std::fs::File::create(rootfs.join("etc").join(name)).unwrap();
        file.set_len(1 << 40).unwrap();
    }
    let dir = rootfs.to_str().unwrap();
    let output = host
        .berth(["run", "--rm", "-u", "guest", "--rootfs", dir, "true"])
        .timeout(Duration::from_secs(5))
        .run();
    output.code(125);
    host.berth(["run", "--rm", "-u", "1000:1000", "--rootfs", dir, "true"])
        .timeout(Duration::from_secs(5))
        .run();
}

// T14: system calls.

const PROBE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#define TRY(name, ...) do { errno = 0; long r = syscall(__VA_ARGS__); printf("%s %d\n", name, r < 0 ? errno : 0); } while (0)
int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    char args[512]; memset(args, 0, sizeof args);
    TRY("unshare-user", SYS_unshare, CLONE_NEWUSER);
    TRY("unshare-mount", SYS_unshare, CLONE_NEWNS);
    TRY("unshare-net", SYS_unshare, CLONE_NEWNET);
    TRY("clone-user", SYS_clone, CLONE_NEWUSER | 17, 0, 0, 0, 0);
    TRY("clone3", 435, args, 88);
    TRY("setns", SYS_setns, 0, 0);
    TRY("mount", SYS_mount, "x", "/", "tmpfs", 0, 0);
    TRY("umount2", SYS_umount2, "/proc", 0);
    TRY("pivot_root", SYS_pivot_root, "/", "/");
    TRY("fsopen", 430, "tmpfs", 0);
    TRY("fsmount", 432, 0, 0, 0);
    TRY("fspick", 433, 0, "/", 0);
    TRY("open_tree", 428, 0, "/", 0);
    TRY("move_mount", 429, 0, "", 0, "", 0);
    TRY("mount_setattr", 442, 0, "", 0, args, 32);
    TRY("bpf", SYS_bpf, 0, args, 128);
    TRY("io_uring_setup", 425, 1, args);
    TRY("io_uring_enter", 426, 0, 0, 0, 0, 0, 0);
    TRY("io_uring_register", 427, 0, 0, 0, 0);
    TRY("keyctl", SYS_keyctl, 0, 0, 0, 0, 0);
    TRY("add_key", SYS_add_key, "user", "x", "x", 1, 0);
    TRY("request_key", SYS_request_key, "user", "x", 0, 0);
    TRY("userfaultfd", SYS_userfaultfd, 0);
    TRY("perf_event_open", SYS_perf_event_open, args, 0, -1, -1, 0);
    TRY("open_by_handle_at", SYS_open_by_handle_at, 0, args, 0);
    TRY("kexec_load", SYS_kexec_load, 0, 0, 0, 0);
    TRY("init_module", SYS_init_module, args, 0, "");
    TRY("finit_module", SYS_finit_module, 0, "", 0);
    TRY("delete_module", SYS_delete_module, "x", 0);
    TRY("swapon", SYS_swapon, "/x", 0);
    TRY("swapoff", SYS_swapoff, "/x");
    TRY("reboot", SYS_reboot, 0, 0, 0, 0);
    TRY("acct", SYS_acct, "/x");
    TRY("settimeofday", SYS_settimeofday, 0, args);
    TRY("clock_settime", SYS_clock_settime, 0, args);
    TRY("quotactl", SYS_quotactl, 0, 0, 0, 0);
    TRY("lookup_dcookie", 212, 0, args, 0);
    TRY("syslog", SYS_syslog, 3, args, 10);
    TRY("vhangup", SYS_vhangup);
    TRY("fanotify_init", SYS_fanotify_init, 0, 0);
    TRY("personality", SYS_personality, 0x1234567);
    TRY("af-vsock", SYS_socket, 40, 1, 0);
    TRY("af-vsock-high-bits", SYS_socket, 0x100000028L, 1, 0);
    TRY("getpid", SYS_getpid);
    TRY("af-inet", SYS_socket, AF_INET, SOCK_STREAM, 0);
    TRY("af-unix", SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    TRY("af-netlink", SYS_socket, AF_NETLINK, SOCK_RAW, 0);
    TRY("af-packet", SYS_socket, AF_PACKET, SOCK_RAW, 0);
    TRY("chroot", SYS_chroot, "/");
    TRY("statx", SYS_statx, 0, "", 0x1000, 0, args);
    TRY("no-such-call", 9999);
    return 0;
}
"#;

#[test]
fn t14_denied_system_calls_are_denied() {
    let host = Host::new();
    let probe = compile(&host, "probe", PROBE);
    let volume = attack_volume(&probe);
    let go = |flags: &[&str]| {
        let mut all = vec!["-v", volume.as_str()];
        all.extend(flags);
        let text = run(&host, &all, &["/attack/probe"]).text();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(name, errno)| (name.to_owned(), errno.parse::<i32>().unwrap())).collect::<Vec<_>>()
    };
    let open = ["getpid", "af-inet", "af-unix", "af-netlink", "chroot"];
    for (name, errno) in go(&[]) {
        let expected = match name.as_str() {
            "clone3" | "no-such-call" => 38,
            "af-packet" => 0,
            "statx" => errno,
            name if open.contains(&name) => 0,
            _ => 1,
        };
        // Calls that this kernel doesn't have.
        let absent = errno == 38
            && matches!(
                name.as_str(),
                "lookup_dcookie"
                    | "quotactl"
                    | "init_module"
                    | "finit_module"
                    | "delete_module"
                    | "acct"
                    | "swapon"
                    | "swapoff"
                    | "kexec_load"
            );
        assert!(errno == expected || absent, "{name}: errno {errno}, expected {expected}");
    }
    // Packet sockets hang on the capability.
    let dropped = go(&["--cap-drop", "NET_RAW"]);
    assert!(dropped.contains(&("af-packet".to_owned(), 1)), "{dropped:?}");
    // In the strict form, an allow-list of socket families.
    let strict = go(&["--isolation", "strict"]);
    assert!(strict.contains(&("af-inet".to_owned(), 0)), "{strict:?}");
    assert!(!strict.contains(&("af-vsock".to_owned(), 0)), "{strict:?}");
}

#[test]
fn t14_the_callers_terminal_cannot_be_typed_into() {
    // CVE-2016-2779 and its like: the container has a terminal of its own, so TIOCSTI reaches nobody else.
    let host = Host::new();
    let script = "python3 -c 'import fcntl,termios\nfor c in \"echo pwned\\n\":\n try: fcntl.ioctl(0, termios.TIOCSTI, c)\n except OSError: pass' 2>/dev/null; true";
    let cmd = format!(
        "'{}' run -it --rm @host sh -c \"$ATTACK\"; echo af''ter; read -t 1 line; echo \"read [$line]\"",
        testkit::host::binary().display()
    );
    let cmd = Cmd::new("/bin/bash", ["--norc", "-c", &cmd]).env("ATTACK", script);
    let cmd = host.env().into_iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
    let mut pty = testkit::pty::Pty::start(&cmd, 80, 24);
    pty.expect("after\r\n");
    pty.expect("read []");
    pty.wait();
}

// T15: ranges are disjoint.

#[test]
fn t15_containers_cannot_touch_each_other() {
    let host = Host::new();
    background(&host, "victim", &["-e", "SECRET=canary"]);
    host.berth([
        "exec",
        "victim",
        "sh",
        "-c",
        "echo mine > /dev/shm/f; chmod 600 /dev/shm/f; echo mine > /root/f",
    ])
    .run()
    .ok();
    let pid = host.berth(["inspect", "--format", "{{.State.Pid}}", "victim"]).text();
    // As root of its own range, seeing all the host's processes.
    let script = format!(
        "kill -0 {pid} 2>/dev/null && echo signalled; kill -9 {pid} 2>/dev/null; \
         cat /proc/{pid}/environ 2>/dev/null | grep -a canary; ls /proc/{pid}/root/root 2>/dev/null; ls /proc/{pid}/fd 2>/dev/null; \
         cat /proc/{pid}/root/dev/shm/f 2>/dev/null; head -c 1 /proc/{pid}/mem 2>/dev/null; cat /proc/{pid}/maps 2>/dev/null | head -1; \
         nsenter -t {pid} -m true 2>/dev/null && echo entered; renice 5 {pid} 2>/dev/null && echo reniced; \
         test -d /proc/{pid} && echo visible"
    );
    let flags = [
        "--pid",
        "host",
        "--userns",
        "private",
        "--cap-add",
        "SYS_PTRACE",
        "--cap-add",
        "SYS_ADMIN",
        "--security-opt",
        "seccomp=unconfined",
    ];
    let shown = see(&host, &flags, &script);
    assert_eq!(shown, "visible");
    assert_eq!(host.berth(["inspect", "--format", "{{.State.Status}}", "victim"]).text(), "running");
    let maps = |name: &str| host.berth(["exec", name, "cat", "/proc/self/uid_map"]).text();
    background(&host, "other", &[]);
    assert_ne!(maps("victim"), maps("other"));
    remove(&host, "victim");
    remove(&host, "other");
}

#[test]
fn t15_nobody_finds_nothing_in_the_state() {
    let host = Host::new();
    let state = host.path("state");
    std::fs::create_dir(&state).unwrap();
    let (root, run) = (state.join("root"), state.join("run"));
    let berth = |args: &[&str]| host.berth(args).env("BERTH_ROOT", &root).env("BERTH_RUN", &run);
    berth(&["run", "-d", "--name", "box", "-e", "SECRET=1", "@host", "sh", "-c", "echo secret; sleep 100"])
        .run()
        .ok();
    berth(&["run", "--name", "ended", "@host", "true"]).run().ok();
    let find = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "find"])
        .args([&root, &run])
        .args(["-mindepth", "1"])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&find.stdout).into_owned();
    let modes: Vec<u32> = [&root, &run].iter().map(|dir| dir.metadata().unwrap().mode() & 0o7777).collect();
    // Nor does nobody read what the container's processes have.
    let pid = berth(&["inspect", "--format", "{{.State.Pid}}", "box"]).text();
    let environ = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "cat",
            &format!("/proc/{pid}/environ"),
        ])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    berth(&["rm", "-f", "box", "ended"]).run().ok();
    assert_eq!(found, "");
    assert_eq!(modes, [0o700, 0o700]);
    assert!(environ.stdout.is_empty());
}

// T16: binds and @host.

#[test]
fn t16_what_nobody_cannot_read_is_hidden_or_listed() {
    let host = Host::new();
    let list = include_str!("../../engine/src/host_image.list");
    let known: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix("known ")).collect();
    // Everything of the host's root file system but what is readable by all as packages ship it.
    let find = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /usr/share -o -path /usr/lib/python3 \\) -prune -o \\( -type f -o -type d \\) -readable -print";
    let as_nobody = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "sh",
            "-c",
            &format!("{find} 2>/dev/null"),
        ])
        .output()
        .unwrap();
    let public = String::from_utf8_lossy(&as_nobody.stdout).into_owned();
    let public: std::collections::HashSet<&str> = public.lines().collect();
    let inside =
        run(&host, &[], &["sh", "-c", &format!("{find} 2>/dev/null")]).timeout(Duration::from_secs(60)).run();
    let inside = String::from_utf8_lossy(&inside.stdout).into_owned();
    assert!(inside.lines().count() > 1000, "{inside}");
    let empty: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix("empty ")).collect();
    // What a system of the file system hierarchy standard has (hier(7)). A tree that somebody keeps beside it, as the one
    // that the tests are built in, holds what its owner put there, and a compiler's locks.
    let system = [
        "bin", "boot", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "opt", "run",
        "sbin", "srv", "tmp", "usr", "var",
    ];
    let leaked: Vec<&str> = inside
        .lines()
        .filter(|path| !public.contains(path))
        .filter(|path| !known.iter().any(|known| Path::new(path).starts_with(known)))
        .filter(|path| !empty.contains(path))
        // Made or changed by other tests meanwhile, or berth's own in the container.
        .filter(|path| std::fs::symlink_metadata(path).is_ok())
        .filter(|path| path.split('/').nth(1).is_some_and(|top| system.contains(&top)))
        .collect();
    assert!(leaked.is_empty(), "{} paths, such as {:#?}", leaked.len(), &leaked[..leaked.len().min(40)]);
}

#[test]
fn t16_secrets_of_the_host_are_not_in_at_host() {
    let host = Host::new();
    let script = "cat /etc/shadow /etc/gshadow /etc/ssh/ssh_host_*_key 2>/dev/null; ls -A /root /home /run /tmp /var/log /var/lib/berth 2>/dev/null | grep -v ':$' | grep -v '^$'; find / -xdev -type s 2>/dev/null | head -5; echo end";
    assert_eq!(see(&host, &[], script), "end");
    // The state of the berth that runs it, wherever that is.
    let root = host.root_dir();
    assert_eq!(see(&host, &[], &format!("ls -A {} 2>/dev/null; echo end", root.display())), "end");
}

#[test]
fn t16_binds_carry_no_devices_and_no_foreign_setuid() {
    let host = Host::new();
    let dir = host.path("dir");
    std::fs::create_dir(&dir).unwrap();
    assert!(Command::new("mknod").arg(dir.join("null")).args(["box", "1", "3"]).status().unwrap().success());
    let volume = format!("{}:/d", dir.display());
    assert_eq!(see(&host, &["-v", &volume], "cat /d/null 2>/dev/null || echo nodev"), "nodev");
    // What the container makes setuid there isn't root's on the host unless the directory is.
    let users = host.path("users");
    std::fs::create_dir(&users).unwrap();
    std::os::unix::fs::chown(&users, Some(1000), Some(1000)).unwrap();
    let volume = format!("{}:/d", users.display());
    see(
        &host,
        &["-v", &volume],
        "cp /bin/true /d/suid; chmod 6755 /d/suid; mknod /d/dev c 1 3 2>/dev/null; true",
    );
    let suid = users.join("suid").metadata().unwrap();
    assert_eq!((suid.uid(), suid.gid()), (1000, 1000));
    assert!(!users.join("dev").exists(), "a device was made on the host");
}

#[test]
fn t16_a_source_is_pinned_when_it_is_checked() {
    // The bind shows the source that was resolved, whatever the name becomes later.
    let host = Host::new();
    let (one, two) = (host.path("one"), host.path("two"));
    std::fs::create_dir(&one).unwrap();
    std::fs::create_dir(&two).unwrap();
    std::os::unix::fs::chown(&one, Some(1000), Some(1000)).unwrap();
    std::fs::write(two.join("roots"), "secret").unwrap();
    std::fs::set_permissions(two.join("roots"), PermissionsExt::from_mode(0o600)).unwrap();
    let racer = compile(&host, "racer", EXCHANGER);
    let mut racing = Command::new(&racer).arg(&one).arg(&two).spawn().unwrap();
    let volume = format!("{}:/d", one.display());
    for _ in 0..30 {
        // As 1000 with a map made for 1000's directory, root's files must stay unreadable; made for root's, it's asked for.
        let shown = see(&host, &["-v", &volume], "stat -c %u /d; stat -c %u /d/roots 2>/dev/null; true");
        assert!(shown == "0" || shown == "0\n0", "owner and map are of two different directories: {shown:?}");
    }
    racing.kill().unwrap();
    racing.wait().unwrap();
}

// T18: output is inert.

const ESCAPES: &str = "\u{1b}[31m\u{1b}]0;title\u{7}\u{202e}x\u{9b}5n\r\n";

fn is_inert(text: &str) -> bool {
    !text.chars().any(|c| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    })
}

#[test]
fn t18_listings_carry_no_escapes() {
    let host = Host::new();
    let label = format!("k={ESCAPES}");
    host.berth(["run", "-d", "--name", "box", "-l", &label, "@host", "sh", "-c", "sleep 100", ESCAPES])
        .run()
        .ok();
    for args in [
        &["ps", "--no-trunc"][..],
        &["ps", "--format", "{{.Command}}", "--no-trunc"],
        &["ps", "--format", "{{.Labels}}"],
        &["ps", "--format", "json"],
        &["inspect", "box"],
        &["tree", "box"],
    ] {
        let output = host.berth(args).run().ok();
        assert!(is_inert(&output.text()) && is_inert(&output.err()), "{args:?}: {output:?}");
    }
    remove(&host, "box");
}

#[test]
fn t18_messages_carry_no_escapes() {
    let host = Host::new();
    for args in [
        &["run", "--rm", "@host", ESCAPES][..],
        &["run", "--rm", ESCAPES, "true"],
        &["run", "--rm", "--name", ESCAPES, "@host", "true"],
        &["run", "--rm", "-u", ESCAPES, "@host", "true"],
        &["run", "--rm", "-w", ESCAPES, "@host", "true"],
        &["run", "--rm", "-v", ESCAPES, "@host", "true"],
        &["run", "--rm", "--rootfs", ESCAPES, "true"],
        &["run", "--rm", "-m", ESCAPES, "@host", "true"],
        &["run", "--rm", &format!("--{ESCAPES}"), "@host", "true"],
        &["rm", ESCAPES],
        &["logs", ESCAPES],
        &[ESCAPES],
    ] {
        let output = host.berth(args).run().failed();
        assert!(is_inert(&output.err()), "{args:?}: {output:?}");
    }
}

#[test]
fn t18_the_container_never_has_the_callers_terminal() {
    let host = Host::new();
    let outer = "tty";
    let berth = testkit::host::binary();
    let line = format!(
        "{outer}; '{}' run -t -i --rm @host sh -c 'stat -Lc %d:%i /proc/self/fd/0'; stat -Lc %d:%i /proc/self/fd/0",
        berth.display()
    );
    let cmd = Cmd::new("/bin/sh", ["-c", &line]);
    let cmd = host.env().into_iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
    let mut pty = testkit::pty::Pty::start(&cmd, 80, 24);
    pty.expect("/dev/pts/");
    pty.expect("\r\n");
    let inside = pty.expect("\r\n");
    let own = pty.expect("\r\n");
    assert_ne!(inside, own);
    assert_eq!(pty.wait(), 0);
}
