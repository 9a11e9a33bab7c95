//! Bad input to `berth run`: one clear message, the documented exit status, nothing left behind.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

use std::path::Path;
use testkit::{Cmd, Host, Output};

/// The failure of `berth run --rm ARGS`: its status, one message that holds all of `parts`, no output.
#[track_caller]
fn refused(host: &Host, args: &[&str], status: i32, parts: &[&str]) -> Output {
    let words = ["run", "--rm"];
    judged(host.berth(words.iter().chain(args)).run(), status, parts)
}

#[track_caller]
fn judged(output: Output, status: i32, parts: &[&str]) -> Output {
    let output = output.code(status).stdout_is("").stderr_has(parts);
    let err = output.err();
    let lines: Vec<&str> = err.lines().collect();
    if !lines[0].starts_with("berth") {
        output.fail("the message doesn't begin with the program's name");
    }
    // style.md 4.4: the message, and perhaps a hint; usage errors say where the help is.
    if lines.len() > 4 || lines[1..].iter().any(|line| line.starts_with("berth:")) {
        output.fail("expected one message and a hint");
    }
    if err.contains("panicked") || err.contains("RUST_BACKTRACE") {
        output.fail("it panicked");
    }
    output
}

fn nothing_listed(host: &Host) {
    host.berth(["ps", "-a", "-q"]).run().ok().stdout_is("");
}

#[test]
fn programs_that_cannot_be_run() {
    let host = Host::new();
    refused(&host, &["@host", "nope"], 127, &["nope"]);
    refused(&host, &["@host", "/nope"], 127, &["/nope"]);
    refused(&host, &["@host", "./nope"], 127, &["./nope"]);
    refused(&host, &["--entrypoint", "nope", "@host"], 127, &["nope"]);
    refused(&host, &["--init", "@host", "nope"], 127, &["nope"]);
    refused(&host, &["@host", "/etc/passwd"], 126, &["/etc/passwd"]);
    refused(&host, &["@host", "/usr"], 126, &["/usr"]);
    refused(&host, &["-d", "@host", "nope"], 127, &["nope"]);
    refused(&host, &["-e", "PATH=/none", "@host", "true"], 127, &["true"]);
    nothing_listed(&host);
}

#[test]
fn a_program_that_does_not_start_leaves_no_container_without_rm() {
    // Other than docker, which leaves it as "created": nothing is left behind.
    let host = Host::new();
    judged(host.berth(["run", "--name", "box", "@host", "nope"]).run(), 127, &["nope"]);
    nothing_listed(&host);
    host.berth(["run", "--rm", "--name", "box", "@host", "true"]).run().ok();
}

#[test]
fn a_program_of_another_architecture_is_not_executable() {
    let host = Host::new();
    let dir = host.path("bin");
    std::fs::create_dir(&dir).unwrap();
    testkit::rootfs::write(&dir.join("garbage"), b"\x7fELFgarbage");
    std::fs::set_permissions(dir.join("garbage"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let volume = format!("{}:/own", dir.display());
    refused(&host, &["-v", &volume, "@host", "/own/garbage"], 126, &["/own/garbage"]);
}

#[test]
fn working_directories_that_are_none() {
    let host = Host::new();
    refused(&host, &["-w", "/etc/passwd", "@host", "true"], 125, &["/etc/passwd"]);
    refused(&host, &["-w", "/etc/passwd/x", "@host", "true"], 125, &["/etc/passwd/x"]);
    refused(&host, &["-w", "relative", "@host", "true"], 125, &["relative"]);
    nothing_listed(&host);
}

#[test]
fn mounts_that_cannot_be_made() {
    let host = Host::new();
    let work = host.path("");
    refused(
        &host,
        &["--mount", "type=bind,source=/no/such/source,target=/x", "@host", "true"],
        125,
        &["/no/such/source"],
    );
    refused(&host, &["--mount", "type=bind,source=/usr", "@host", "true"], 125, &["target"]);
    refused(&host, &["--mount", "type=nope,target=/x", "@host", "true"], 125, &["nope"]);
    refused(&host, &["--mount", "type=bind,source=/usr,target=/x,nope=1", "@host", "true"], 125, &["nope"]);
    refused(&host, &["-v", "/usr:relative", "@host", "true"], 125, &["relative"]);
    refused(&host, &["-v", "/usr:/x:nope", "@host", "true"], 125, &["nope"]);
    refused(&host, &["-v", "/usr:/x:ro,rw", "@host", "true"], 125, &["ro"]);
    refused(&host, &["-v", "/usr:/x", "-v", "/etc:/x", "@host", "true"], 125, &["/x"]);
    refused(&host, &["-v", "/usr:/", "@host", "true"], 125, &["/"]);
    refused(&host, &["-v", "/usr:/etc/passwd", "@host", "true"], 125, &["/etc/passwd"]);
    std::fs::write(work.join("file"), "").unwrap();
    let file = format!("{}:/usr", work.join("file").display());
    refused(&host, &["-v", &file, "@host", "true"], 125, &["/usr"]);
    refused(&host, &["--tmpfs", "/x:size=lots", "@host", "true"], 125, &["lots"]);
    refused(&host, &["--tmpfs", "/x:nope", "@host", "true"], 125, &["nope"]);
    refused(&host, &["--tmpfs", "x", "@host", "true"], 125, &["x"]);
    nothing_listed(&host);
}

#[test]
fn users_and_groups_that_are_none() {
    let host = Host::new();
    for user in [
        "nobody-such",
        "-1",
        "4294967296",
        "4294967295",
        "0:-1",
        "root:no-group",
        "1000:4294967296",
        "99999999999999999999",
    ] {
        refused(&host, &["-u", user, "@host", "true"], 125, &[]);
    }
    let flag = ["--group-add", "no-such-group", "@host", "true"];
    refused(&host, &flag, 125, &["no-such-group"]);
    nothing_listed(&host);
}

#[test]
fn signals_sizes_and_numbers_that_are_none() {
    let host = Host::new();
    for (flag, value) in [
        ("--stop-signal", "NOPE"),
        ("--stop-signal", "0"),
        ("--stop-signal", "65"),
        ("--memory", "1k"),
        ("--memory", "-5"),
        ("--memory", "lots"),
        ("--memory", "99999999999999999999g"),
        ("--shm-size", "x"),
        ("--shm-size", "-1"),
        ("--cpus", "-1"),
        ("--cpus", "many"),
        ("--cpus", "10000"),
        ("--cpuset-cpus", "99999"),
        ("--cpuset-cpus", "a"),
        ("--cpuset-cpus", "3-1"),
        ("--cpuset-mems", "512"),
        ("--pids-limit", "x"),
        ("--oom-score-adj", "1001"),
        ("--oom-score-adj", "-1001"),
        ("--blkio-weight", "9"),
        ("--blkio-weight", "1001"),
        ("--ulimit", "nope=1"),
        ("--ulimit", "nofile=5:4"),
        ("--ulimit", "nofile=x"),
        ("--sysctl", "kernel.panic=1"),
        ("--sysctl", "net.ipv4.ip_forward"),
        ("--sysctl", "vm.overcommit_memory=1"),
        ("--cap-add", "NOPE"),
        ("--cap-drop", "CAP_NOPE"),
        ("--security-opt", "nope"),
        ("--security-opt", "nope=1"),
        ("--security-opt", "seccomp=/no/such/profile"),
        ("--userns", "nope"),
        ("--pid", "nope"),
        ("--pid", "container:"),
        ("--ipc", "nope"),
        ("--uts", "nope"),
        ("--cgroupns", "nope"),
        ("--network", "container:no-such"),
        ("--pid", "container:no-such"),
        ("--device", "/dev/no-such"),
        ("--device", "/dev/null:/dev/x:q"),
        ("--device", "/etc/passwd"),
        ("--env-file", "/no/such/file"),
        ("--env", "=x"),
        ("--name", "-x"),
        ("--name", "a/b"),
        ("--name", "a"),
        ("--hostname", "a b"),
        ("--detach-keys", "nope"),
        ("--time-offset", "realtime=1"),
        ("--time-offset", "boottime=x"),
        ("--isolation", "nope"),
        ("--cidfile", "/no/such/dir/file"),
        ("--stop-timeout", "x"),
        ("--entrypoint", "/no/such/entry"),
    ] {
        let status = if flag == "--entrypoint" { 127 } else { 125 };
        let output = refused(&host, &[flag, value, "@host", "true"], status, &[]);
        // It says which.
        let named =
            output.err().contains(value.trim_start_matches("container:")) || output.err().contains(flag);
        assert!(named, "{flag} {value}: {output:?}");
    }
    nothing_listed(&host);
}

#[test]
fn seccomp_profiles_that_are_none() {
    let host = Host::new();
    for (name, text) in [
        ("empty", ""),
        ("array", "[]"),
        ("cut", r#"{"defaultAction": "SCMP_ACT_ALL"#),
        ("action", r#"{"defaultAction": "SCMP_ACT_NOPE"}"#),
        ("type", r#"{"defaultAction": 5}"#),
        ("deep", &"[".repeat(100_000)),
    ] {
        let file = host.path(name);
        std::fs::write(&file, text).unwrap();
        let option = format!("seccomp={}", file.display());
        refused(&host, &["--security-opt", &option, "@host", "true"], 125, &[name]);
    }
    nothing_listed(&host);
}

#[test]
fn flags_that_clash() {
    let host = Host::new();
    for flags in [
        &["--memory-swap", "1g"][..],
        &["-m", "64m", "--memory-swap", "32m"],
        &["-m", "32m", "--memory-reservation", "64m"],
        &["--uts", "host", "-h", "x"],
        &["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"],
        &["--ipc", "host", "--sysctl", "kernel.msgmax=1"],
        &["--privileged", "--isolation", "strict"],
        &["--network", "host", "--network", "none"],
        &["--privileged", "--userns", "private"],
    ] {
        let mut args = flags.to_vec();
        args.extend(["@host", "true"]);
        refused(&host, &args, 125, &[]);
    }
    nothing_listed(&host);
}

#[test]
fn sources_that_are_none() {
    let host = Host::new();
    refused(&host, &["--pull", "never", "no-such-image", "true"], 125, &["no-such-image"]);
    refused(&host, &["@nope", "true"], 125, &["@nope"]);
    refused(&host, &["UPPER:CASE:x", "true"], 125, &["UPPER"]);
    refused(&host, &["--rootfs", "/no/such/dir", "true"], 125, &["/no/such/dir"]);
    refused(&host, &["--rootfs", "/etc/passwd", "true"], 125, &["/etc/passwd"]);
    let empty = host.path("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&host, &["--rootfs", empty.to_str().unwrap(), "true"], 127, &["true"]);
    refused(&host, &["--rootfs", empty.to_str().unwrap()], 125, &[]);
    nothing_listed(&host);
}

#[test]
fn a_tar_that_is_none_is_not_imported() {
    let host = Host::new();
    for (name, bytes) in [
        ("noise", vec![0x5a; 10_000]),
        ("empty", vec![]),
        ("cut", {
            let tar = std::fs::read(host.rootfs_tar()).unwrap();
            tar[..tar.len() / 2].to_vec()
        }),
    ] {
        let file = host.path(name);
        std::fs::write(&file, bytes).unwrap();
        let output = host.berth(["import", file.to_str().unwrap(), "bad"]).run().failed().stdout_is("");
        assert!(!output.err().contains("panicked"), "{output:?}");
        refused(&host, &["--pull", "never", "bad", "true"], 125, &["bad"]);
    }
    host.berth(["import", "/no/such.tar", "bad"]).run().failed().stderr_has(&["/no/such.tar"]);
}

#[test]
fn a_name_in_use_says_by_whom() {
    let host = Host::new();
    let id = host.berth(["run", "-d", "--name", "mine", "@host", "sleep", "60"]).text();
    refused(&host, &["--name", "mine", "@host", "true"], 125, &["mine", "in use", &id[..12]]);
    // Also of one that has ended.
    host.berth(["kill", "mine"]).run().ok();
    refused(&host, &["--name", "mine", "@host", "true"], 125, &["mine", "in use"]);
    host.berth(["rm", "-f", "mine"]).run().ok();
}

#[test]
fn a_mistyped_flag_is_guessed() {
    let host = Host::new();
    refused(&host, &["--nmae", "x", "@host", "true"], 125, &["--nmae", "--name"]);
    let output = host.berth(["rnu"]).run().failed();
    assert!(output.err().contains("run"), "{output:?}");
}

/// berth with its state elsewhere.
fn elsewhere(host: &Host, root: &Path, run: &Path, args: &[&str]) -> Cmd {
    host.berth(args).env("BERTH_ROOT", root).env("BERTH_RUN", run)
}

#[test]
fn a_read_only_state_directory_is_named() {
    let host = Host::new();
    let ro = host.tmpfs("ro", "private");
    let status = std::process::Command::new("mount").args(["-o", "remount,ro"]).arg(&ro).status().unwrap();
    assert!(status.success());
    let output =
        elsewhere(&host, &ro.join("root"), &host.run_dir(), &["run", "--name", "box", "@host", "true"]).run();
    judged(output, 125, &["ead-only"]);
    let output = elsewhere(&host, &host.root_dir(), &ro.join("run"), &["run", "--rm", "@host", "true"]).run();
    judged(output, 125, &["ead-only"]);
    // Lists need no writing.
    elsewhere(&host, &ro.join("root"), &host.run_dir(), &["ps", "-a", "-q"]).run().ok().stdout_is("");
}

#[test]
fn a_full_disk_is_named() {
    let host = Host::new();
    let full = host.tmpfs("full", "private");
    let status =
        std::process::Command::new("mount").args(["-o", "remount,size=64k"]).arg(&full).status().unwrap();
    assert!(status.success());
    let _ = std::fs::write(full.join("filler"), vec![0; 1 << 20]);
    let output =
        elsewhere(&host, &full.join("root"), &host.run_dir(), &["run", "--name", "box", "@host", "true"])
            .run();
    judged(output, 125, &["space"]);
    let output =
        elsewhere(&host, &host.root_dir(), &full.join("run"), &["run", "--rm", "@host", "true"]).run();
    judged(output, 125, &["space"]);
}

#[test]
fn an_unprivileged_caller_gets_a_hint() {
    let host = Host::new();
    let berth = testkit::host::binary();
    // Copied to where nobody may read it.
    let copy = std::env::temp_dir().join(format!("berth-unprivileged-{}", std::process::id()));
    std::fs::copy(&berth, &copy).unwrap();
    std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let words = [
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        copy.to_str().unwrap(),
        "run",
        "--rm",
        "@host",
        "true",
    ];
    let cmd = host
        .env()
        .into_iter()
        .fold(Cmd::new("/usr/bin/setpriv", words), |cmd, (name, value)| cmd.env(name, value));
    let output = cmd.run();
    std::fs::remove_file(&copy).unwrap();
    judged(output, 125, &["root", "hint"]);
}

#[test]
fn arguments_that_are_no_utf8_or_very_long() {
    use std::os::unix::ffi::OsStrExt;
    let host = Host::new();
    let bad = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let words: Vec<&std::ffi::OsStr> =
        ["run", "--rm", "-e"].iter().map(std::ffi::OsStr::new).chain([bad]).collect();
    let output = host.berth(words).arg("@host").arg("true").run();
    assert!(!output.err().contains("panicked"), "{output:?}");
    let long = "x".repeat(100_000);
    refused(&host, &["--name", &long, "@host", "true"], 125, &[]);
    let shown =
        host.berth(["run", "--rm", "-e", &format!("A={long}"), "@host", "sh", "-c", "echo ${#A}"]).text();
    assert_eq!(shown, "100000");
}
