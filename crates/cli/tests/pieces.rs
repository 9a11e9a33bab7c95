//! `berth unshare`, `enter` and `tree`: the effects seen inside, and the same lines given to unshare(1) and nsenter(1).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use testkit::cmd::signal_pid;
use testkit::host::binary;
use testkit::{Cmd, Host, Output, Running, skip, until};

/// Flags, and the kernel's files in /proc/PID/ns.
const KINDS: [(&str, &str); 8] = [
    ("--user", "user"),
    ("--mount", "mnt"),
    ("--pid", "pid"),
    ("--net", "net"),
    ("--uts", "uts"),
    ("--ipc", "ipc"),
    ("--cgroup", "cgroup"),
    ("--time", "time"),
];

/// Prints the namespaces of the shell that runs it.
const SHOW: &str = "for ns in user mnt pid net uts ipc cgroup time; do readlink /proc/self/ns/$ns; done";

const PATIENCE: Duration = Duration::from_secs(10);

fn of(pid: &str) -> Vec<String> {
    // The test's thread is in a network namespace of its own.
    let pid = if pid == "self" { "thread-self" } else { pid };
    let link = |file| std::fs::read_link(format!("/proc/{pid}/ns/{file}")).expect("a namespace");
    KINDS.iter().map(|(_, file)| link(file).display().to_string()).collect()
}

fn unshare(host: &Host, args: &[&str]) -> Cmd {
    host.berth([&["unshare"], args].concat())
}

fn enter(host: &Host, args: &[&str]) -> Cmd {
    host.berth([&["enter"], args].concat())
}

/// `berth unshare ARGS…` as somebody without rights.
fn unprivileged(host: &Host, args: &[&str]) -> Cmd {
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let berth = binary().display().to_string();
    Cmd::new("setpriv", [&nobody[..], &[berth.as_str(), "unshare"], args].concat()).cwd(host.path("."))
}

/// Whether the machine has the program.
fn has(program: &str) -> bool {
    ["/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

/// The only child of a process that runs.
fn child_of(running: &Running) -> u32 {
    let file = format!("/proc/{0}/task/{0}/children", running.pid());
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    assert!(until(PATIENCE, || !read().trim().is_empty()), "{file} stays empty");
    read().trim().parse().expect("one child")
}

#[test]
fn each_flag_makes_its_namespace_and_no_other() {
    let host = Host::new();
    let own = of("self");
    for (n, (flag, file)) in KINDS.iter().enumerate() {
        let shown = unshare(&host, &[flag, "--fork", "sh", "-c", SHOW]).text();
        for (m, (line, own)) in shown.lines().zip(&own).enumerate() {
            assert_eq!(line != own, n == m, "{flag}: {line}, the caller's is {own}");
        }
        assert_eq!(shown.lines().count(), KINDS.len(), "{file}");
    }
    let shown = unshare(&host, &["-UmpnuiCTf", "sh", "-c", SHOW]).text();
    assert!(shown.lines().zip(&own).all(|(line, own)| line != own), "{shown}");
    assert_eq!(unshare(&host, &["sh", "-c", SHOW]).text().lines().collect::<Vec<_>>(), own);
}

/// Runs both; they must end alike and print alike.
#[track_caller]
fn same(ours: Cmd, theirs: Cmd) {
    let (ours, theirs): (Output, Output) = (ours.run(), theirs.run());
    if (ours.status, ours.text()) != (theirs.status, theirs.text()) {
        ours.fail(&format!(
            "expected as util-linux has it: {} and\n{}\n{}",
            theirs.status,
            theirs.text(),
            theirs.err()
        ));
    }
}

#[test]
fn lines_mean_what_unshare_means() {
    if !has("unshare") {
        skip!("no unshare(1)");
    }
    let host = Host::new();
    let root = host.rootfs_of(0).display().to_string();
    let script = host.path("script");
    std::fs::write(&script, "echo script $1").expect("write");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("chmod");
    let script = script.display().to_string();
    let facts = "id -u; id -g; cat /proc/self/setgroups /proc/self/uid_map /proc/self/gid_map; grep Cap /proc/self/status";
    let propagation = "grep ' / / ' /proc/self/mountinfo | cut -d' ' -f7 | cut -d: -f1";
    let lines: Vec<Vec<&str>> = vec![
        vec!["--user", "sh", "-c", facts],
        vec!["-r", "sh", "-c", facts],
        vec!["-c", "sh", "-c", facts],
        vec!["--map-user", "7", "sh", "-c", facts],
        vec!["--map-user=bin", "--map-group=tty", "sh", "-c", facts],
        vec!["-U", "--setgroups", "deny", "sh", "-c", facts],
        vec!["-pf", "sh", "-c", "echo $$"],
        vec!["-p", "sh", "-c", "echo $PPID >/dev/null; exec true"],
        vec![
            "-pf",
            "--mount-proc",
            "sh",
            "-c",
            "readlink /proc/self; set -- /proc/[0-9]*; echo $#; wc -l </proc/1/maps >/dev/null",
        ],
        vec!["-rpf", "--mount-proc", "sh", "-c", "echo $$; ls -d /proc/[0-9]*"],
        vec!["-r", "--mount-proc", "true"],
        vec!["-rp", "--mount-proc", "true"],
        vec!["-f", "sh", "-c", "exit 7"],
        vec!["-f", "sh", "-c", "kill -TERM $$"],
        vec!["-pf", "sh", "-c", "kill -KILL $$; exit 3"],
        vec!["sh", "-c", "exit 9"],
        vec!["sh", "-c", "kill -USR1 $$"],
        vec!["/nonexistent/x"],
        vec!["nonexistent-x"],
        vec!["-f", "nonexistent-x"],
        vec!["/etc/passwd"],
        vec!["/etc"],
        vec![&script, "a b"],
        vec!["-m", "sh", "-c", propagation],
        vec!["-m", "--propagation", "shared", "sh", "-c", propagation],
        vec!["-m", "--propagation", "slave", "sh", "-c", propagation],
        vec!["-m", "--propagation", "unchanged", "sh", "-c", propagation],
        vec![
            "-m",
            "--propagation",
            "shared",
            "--mount-proc",
            "sh",
            "-c",
            "grep -c ' /proc ' /proc/self/mountinfo",
        ],
        vec!["--root", &root, "/bin/pwd"],
        vec!["-R", &root, "-w", "/etc", "/bin/pwd"],
        vec!["-R", "/nonexistent", "true"],
        vec!["-w", "/usr", "pwd"],
        vec!["-w", "/etc/passwd", "true"],
        vec!["-S", "5", "-G", "6", "id"],
        vec!["-r", "-S", "5", "true"],
        vec!["-r", "-G", "0", "true"],
        vec!["sh", "-c", "grep -e SigBlk -e SigIgn /proc/self/status"],
        vec!["-f", "sh", "-c", "grep -e SigBlk -e SigIgn /proc/self/status"],
        vec!["-n", "sh", "-c", "tail -n +3 /proc/net/dev"],
    ];
    for line in lines {
        let theirs = Cmd::new("unshare", &line).cwd(host.path("."));
        same(unshare(&host, &line), theirs);
    }
    // Where util-linux 2.38 trips over signals that can't be reset, and over setgroups that a map has settled.
    unshare(&host, &["-f", "sh", "-c", "kill -KILL $$"]).run().code(137).silent();
    unshare(&host, &["-r", "--setgroups", "deny", "cat", "/proc/self/setgroups"])
        .run()
        .ok()
        .stdout_is("deny");
    // The caller's shell, as a login shell.
    for shell in ["/bin/sh", ""] {
        let with = |cmd: Cmd| cmd.env("SHELL", shell).stdin("echo $0 $#; exit 4\n");
        if !shell.is_empty() {
            same(with(unshare(&host, &["-u"])), with(Cmd::new("unshare", ["-u"]).cwd(host.path("."))));
        }
        with(unshare(&host, &["-u"])).run().code(4).stdout_is("-sh 0");
    }
}

#[test]
fn blocks_of_ids_are_mapped() {
    let host = Host::new();
    let map = |args: &[&str]| {
        let shown =
            unshare(&host, &[args, &["cat", "/proc/self/uid_map", "/proc/self/gid_map"]].concat()).text();
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(map(&["--map-users", "0:100000:10"]), ["0 100000 10"]);
    assert_eq!(
        map(&["--map-users", "0:100000:10", "--map-users", "50:200000:5", "--map-groups", "1:7:1"]),
        ["0 100000 10", "50 200000 5", "1 7 1"]
    );
    assert_eq!(map(&["-r", "--map-users", "0:100000:10"]), ["0 0 1", "1 100000 9", "0 0 1"]);
    assert_eq!(map(&["--map-users", "all", "--map-groups", "all"]), ["0 0 4294967295", "0 0 4294967295"]);
    // Everything that the namespace has can be used there.
    let script = "setpriv --reuid 3 --regid 4 --groups 5 id";
    unshare(
        &host,
        &[
            "--map-users",
            "0:100000:10",
            "--map-groups",
            "0:100000:10",
            "-S",
            "0",
            "-G",
            "0",
            "sh",
            "-c",
            script,
        ],
    )
    .run()
    .ok()
    .stdout_is("uid=3(sys) gid=4(adm) groups=4(adm),5(tty)");
    unshare(&host, &["--map-users", "0:1:5", "--map-users", "4:10:5", "true"])
        .run()
        .code(1)
        .stderr_has(&["--map-users", "overlaps"]);
    unshare(&host, &["--map-user", "nobody-here", "true"])
        .run()
        .code(1)
        .stderr_has(&["--map-user: \"nobody-here\" is neither a name on this host nor an id"]);
}

#[test]
fn subordinate_ids_are_mapped() {
    if !Path::new("/etc/subuid").exists() || !Path::new("/etc/subgid").exists() {
        skip!("no /etc/subuid to mount a file on");
    }
    let host = Host::new();
    let file = host.path("subids");
    std::fs::write(&file, "daemon:5000:10\nroot:100000:65536\n").expect("write");
    let with = |file: &Path, args: &str| {
        let script = format!(
            "mount --bind {0} /etc/subuid && mount --bind {0} /etc/subgid && exec {1} unshare {args}",
            file.display(),
            binary().display()
        );
        unshare(&host, &["-m", "sh", "-c", &script])
    };
    let show = "cat /proc/self/uid_map /proc/self/gid_map";
    for (args, expected) in [
        ("--map-auto", "0 100000 65536\n0 100000 65536"),
        ("-r --map-auto", "0 0 1\n1 100000 65536\n0 0 1\n1 100000 65536"),
        ("--map-user 5 --map-users auto", "5 0 1\n0 100000 5\n6 100005 65531"),
    ] {
        let shown = with(&file, &format!("{args} {show}")).text();
        let shown: Vec<String> =
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(shown.join("\n"), expected, "{args}");
    }
    std::fs::write(&file, "daemon:5000:10\n").expect("write");
    with(&file, "--map-auto true")
        .run()
        .code(1)
        .stderr_has(&["no line for user root in /etc/subuid", "hint:"]);
}

#[test]
fn a_child_dies_with_berth_if_asked() {
    let host = Host::new();
    for user in [&[][..], &["-S", "5"]] {
        let args = [&["--kill-child"], user, &["sleep", "1000"]].concat();
        let running = unshare(&host, &args).spawn();
        let child = child_of(&running);
        let comm = format!("/proc/{child}/comm");
        assert!(until(PATIENCE, || std::fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n")));
        running.signal(9);
        assert!(until(PATIENCE, || !Path::new(&comm).exists()), "process {child} lives on");
        running.wait().code(137);
    }
}

#[test]
fn signals_of_the_terminal_are_the_commands() {
    let host = Host::new();
    let script = "trap 'echo got; exit 5' INT; trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let mut running = unshare(&host, &["--fork", "sh", "-c", script]).spawn();
    running.expect("ready");
    running.signal(2);
    running.signal(15);
    signal_pid(child_of(&running), 2);
    running.wait().code(5).stdout_is("ready\ngot");
}

#[test]
fn clocks_are_moved() {
    let host = Host::new();
    for fork in [&[][..], &["--fork"]] {
        let args = [&["-T", "--boottime", "1000000000"], fork, &["cat", "/proc/uptime"]].concat();
        let shown = unshare(&host, &args).text();
        let uptime: f64 = shown.split(' ').next().and_then(|word| word.parse().ok()).expect("seconds");
        assert!(uptime > 1e9, "{uptime}");
    }
    let shown =
        unshare(&host, &["-T", "--monotonic", "5", "--boottime", "-0.5", "cat", "/proc/self/timens_offsets"])
            .text();
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "5", "0", "boottime", "-1", "500000000"]);
    unshare(&host, &["-T", "--monotonic", "-9000000000", "true"]).run().code(1).stderr_has(&["below zero"]);
}

#[test]
fn an_unprivileged_caller_gets_what_the_kernel_allows() {
    let host = Host::new();
    if Cmd::new("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-r", "true"])
        .run()
        .status
        != 0
    {
        skip!("user namespaces are restricted here");
    }
    let shown = unprivileged(
        &host,
        &["-r", "sh", "-c", "id -u; id -g; cat /proc/self/setgroups; cat /proc/self/uid_map"],
    )
    .text();
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["0", "0", "deny", "0", "65534", "1"]);
    assert_eq!(unprivileged(&host, &["-c", "id", "-u"]).text(), "65534");
    let shown = unprivileged(&host, &["-rUmpnuiCTf", "sh", "-c", SHOW]).text();
    assert!(shown.lines().zip(of("self")).all(|(line, own)| line != own), "{shown}");
    let proc = ["-rpf", "--mount-proc", "sh", "-c", "echo $$; set -- /proc/[0-9]*; echo $#"];
    let theirs = ["--reuid=65534", "--regid=65534", "--clear-groups", "unshare"];
    same(unprivileged(&host, &proc), Cmd::new("setpriv", [&theirs[..], &proc].concat()).cwd(host.path(".")));
    unprivileged(&host, &["-m", "true"])
        .run()
        .code(1)
        .stderr_has(&["cannot make new namespaces (mnt): operation not permitted", "add -r"]);
    unprivileged(&host, &["-r", "-S", "7", "true"])
        .run()
        .code(1)
        .stderr_has(&["become user 7", "isn't mapped"]);
}

#[test]
fn failures_say_what_to_do() {
    let host = Host::new();
    for (args, code, parts) in [
        (&["-r", "--mount-proc", "true"][..], 1, &["mount a new proc on /proc", "add --pid --fork"][..]),
        (&["-rp", "--mount-proc", "true"], 1, &["add --fork"]),
        (&["nonexistent-x"], 127, &["cannot run nonexistent-x: no such file or directory"]),
        (&["-f", "/etc/passwd"], 126, &["cannot run /etc/passwd: permission denied"]),
        (&["-R", "/nonexistent", "true"], 1, &["change the root directory to /nonexistent"]),
        (&["-r", "-G", "0", "true"], 1, &["drop supplementary groups", "--map-groups"]),
        (
            &["-m", "--mount-proc=/nonexistent", "true"],
            1,
            &["mount a new proc on /nonexistent: no such file"],
        ),
    ] {
        unshare(&host, args).run().code(code).stderr_has(parts).stdout_is("");
    }
}

/// A shell in namespaces of its own that says its name and waits, and the shell's process id.
fn target(host: &Host, args: &[&str]) -> (Running, u32) {
    let script = "echo inside >/proc/sys/kernel/hostname; echo ready; while :; do sleep 0.2; done";
    let mut running = unshare(host, &[args, &["--kill-child", "sh", "-c", script]].concat()).spawn();
    running.expect("ready");
    let pid = child_of(&running);
    (running, pid)
}

fn end(running: Running, pid: u32) {
    signal_pid(pid, 9);
    running.wait().code(137);
}

const HOSTNAME: &str = "cat /proc/sys/kernel/hostname";

#[test]
fn a_process_is_entered_with_all_its_namespaces() {
    let host = Host::new();
    let (running, pid) = target(&host, &["-rmpnuiCT", "--mount-proc"]);
    let pid_text = pid.to_string();
    let shown = enter(&host, &[&pid_text, "sh", "-c", SHOW]).text();
    assert_eq!(shown.lines().collect::<Vec<_>>(), of(&pid_text));
    assert_eq!(enter(&host, &[&pid_text, "sh", "-c", HOSTNAME]).text(), "inside");
    assert_eq!(enter(&host, &["-t", &pid_text, "-a", "id", "-u"]).text(), "0");
    // A child of ours in its pid namespace; with -F the command is still outside.
    assert_ne!(enter(&host, &[&pid_text, "sh", "-c", "test -d /proc/$$ && echo $$"]).text(), "1");
    enter(&host, &[&pid_text, "sh", "-c", "exit 42"]).run().code(42);
    enter(&host, &[&pid_text, "sh", "-c", "kill -TERM $$"]).run().code(143);
    enter(&host, &[&pid_text, "nonexistent-x"]).run().code(127);
    enter(&host, &[&pid_text, "/etc/passwd"]).run().code(126);
    end(running, pid);
}

#[test]
fn chosen_namespaces_only() {
    let host = Host::new();
    let (running, pid) = target(&host, &["-mpnuiCT"]);
    let pid_text = pid.to_string();
    let (theirs, own) = (of(&pid_text), of("self"));
    for (n, (flag, file)) in KINDS.iter().enumerate().skip(1) {
        let shown = enter(&host, &["-t", &pid_text, flag, "sh", "-c", SHOW]).text();
        for (m, line) in shown.lines().enumerate() {
            assert_eq!(line, if n == m { &theirs[m] } else { &own[m] }, "{flag} ({file})");
        }
    }
    // A descriptor of the caller's stays with the caller.
    let shown = enter(&host, &[&pid_text, "sh", "-c", "ls /proc/self/fd/7"]).fd(7, "/etc/passwd").run();
    shown.failed().stderr_has(&["No such file"]);
    end(running, pid);
}

#[test]
fn lines_mean_what_nsenter_means() {
    if !has("nsenter") {
        skip!("no nsenter(1)");
    }
    let host = Host::new();
    let root = host.rootfs_of(0).display().to_string();
    let file = format!("{root}/ready");
    for flags in [&["-u"][..], &["-rmpu", "--mount-proc"]] {
        let (running, pid) = target(&host, flags);
        let pid_text = pid.to_string();
        let chosen = if flags.len() == 1 { &["-u"][..] } else { &["-U", "-m", "-p", "-u"] };
        for line in [
            &["sh", "-c", "id -u; id -g; id -G; pwd; grep Cap /proc/self/status"][..],
            &["sh", "-c", HOSTNAME],
            &["-S", "0", "-G", "0", "id"],
            &["-w", "pwd"],
            &["-r", "pwd"],
            &["-r", "-w", "pwd"],
            &["--preserve-credentials", "id", "-u"],
            &["sh", "-c", "exit 3"],
            &["sh", "-c", "kill -HUP $$"],
            &["nonexistent-x"],
            &["/etc/passwd"],
        ] {
            let args = [&["-t", &pid_text], chosen, line].concat();
            same(enter(&host, &args), Cmd::new("nsenter", &args).cwd(host.path(".")));
        }
        end(running, pid);
    }
    // Another root and another directory there.
    let running =
        unshare(&host, &["-f", "-R", &root, "-w", "/etc", "/bin/sh", "-c", "echo >/ready; exec sleep 1000"])
            .spawn();
    assert!(until(PATIENCE, || Path::new(&file).exists()));
    let pid = child_of(&running);
    for line in
        [&["-r", "/bin/pwd"][..], &["-w", "/bin/pwd"], &["-r", "-w", "/bin/sh", "-c", "/bin/pwd; ls /"]]
    {
        let pid_text = pid.to_string();
        let args = [&["-t", pid_text.as_str()], line].concat();
        same(enter(&host, &args), Cmd::new("nsenter", &args).cwd(host.path(".")));
    }
    end(running, pid);
}

#[test]
fn what_cannot_be_entered_is_named() {
    let host = Host::new();
    enter(&host, &["2147483647", "true"]).run().code(1).stderr_has(&["no such process: 2147483647", "hint:"]);
    enter(&host, &["-t", "2147483647", "true"]).run().code(1).stderr_has(&["no such process"]);
    enter(&host, &["nobody-here", "true"]).run().code(1).stderr_has(&["no such container: nobody-here"]);
}

#[test]
fn a_container_is_entered_by_name_and_drawn() {
    let host = Host::new();
    let script = "exec -a \"$(printf 'x\\033]0;t\\007\\n1 2')\" sleep 1000 & sleep 1000; true";
    host.berth(["run", "-d", "--name", "web", "@host", "bash", "-c", script]).run().ok();
    let tree = || host.berth(["tree", "--format", "json", "web"]).run().ok().silent().json();
    let commands = |tree: &testkit::Value| -> Vec<String> {
        let processes = tree["processes"].as_array().expect("a list").iter();
        processes.map(|process| process["command"].as_str().expect("text").to_owned()).collect()
    };
    assert!(until(PATIENCE, || commands(&tree()).iter().any(|command| command.starts_with("x\x1b"))));
    let tree = tree();
    let processes = tree["processes"].as_array().expect("a list");
    let role = |role: &str| {
        let found: Vec<_> = processes.iter().filter(|process| process["role"] == role).collect();
        assert_eq!(found.len(), 1, "{role}: {tree}");
        found[0].clone()
    };
    let (holder, keeper, first) = (role("holder"), role("keeper"), role("first"));
    assert_eq!((&keeper["parent"], &first["parent"]), (&holder["pid"], &holder["pid"]));
    assert!(holder["inside_pid"].is_null() && keeper["inside_uid"].is_null());
    assert_eq!((first["inside_pid"].as_i64(), first["inside_uid"].as_i64()), (Some(1), Some(0)));
    assert!(host.owns_id(first["uid"].as_u64().expect("an id") as u32));
    assert_eq!(first["depth"], 1);
    assert!(processes.iter().filter(|process| process["depth"] == 2).count() >= 2);
    // The kernel agrees with every namespace.
    let links = of(&first["pid"].to_string());
    let own = of("self");
    for row in tree["namespaces"].as_array().expect("a list") {
        let file = match row["type"].as_str().expect("text") {
            "mount" => "mnt",
            "network" => "net",
            other => other,
        };
        let n = KINDS.iter().position(|(_, known)| *known == file).expect("a kind");
        assert_eq!(links[n], format!("{file}:[{}]", row["inode"]));
        assert_eq!(row["whose"], if links[n] == own[n] { "host" } else { "own" }, "{file}");
    }
    assert_eq!(tree["users"][0]["inside"], 0);
    assert_eq!(tree["users"][0]["host"], first["uid"]);
    assert!(!tree["cgroups"].as_array().expect("a list").is_empty());

    // Nothing that a command is called reaches the terminal as such.
    let text = host.berth(["tree", "web"]).text();
    assert!(text.contains("x\\u{1b}]0;t\\u{7}\\u{a}1 2") && !text.contains(['\x1b', '\x07']), "{text}");
    assert!(text.contains("|- ") && text.contains("`- "), "{text}");

    assert_eq!(enter(&host, &["web", "sh", "-c", SHOW]).text().lines().collect::<Vec<_>>(), links);
    assert_eq!(enter(&host, &["web", "sh", "-c", "id -u; cat /proc/1/comm"]).text(), "0\nbash");
    host.berth([
        "run",
        "-d",
        "--rm",
        "--name",
        "side",
        "--network",
        "container:web",
        "@host",
        "sleep",
        "1000",
    ])
    .run()
    .ok();
    let side = host.berth(["tree", "side"]).text();
    assert!(side.contains("shared with container web"), "{side}");
    host.berth(["rm", "-f", "side", "web"]).run().ok();
    host.berth(["tree", "web"]).run().code(1).stderr_has(&["no such container: web"]);
}

#[test]
fn what_has_ended_is_neither_entered_nor_drawn() {
    let host = Host::new();
    host.berth(["run", "--name", "done", "@host", "true"]).run().ok();
    enter(&host, &["done", "true"]).run().code(1).stderr_has(&["container done is not running"]);
    host.berth(["tree", "done"]).run().code(1).stderr_has(&["container done is not running"]);
    host.berth(["rm", "done"]).run().ok();
}
