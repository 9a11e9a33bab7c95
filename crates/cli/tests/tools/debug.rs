//! `berth debug`: tools in the namespaces of a container that has none, and no trace in it.

use super::*;

/// A container whose image has one program only: a static one that sleeps.
fn distroless(host: &Host, name: &str) {
    load_app(host);
    // Everything but the program itself goes.
    let run = ["run", "-d", "--name", name, "app", "/bin/busybox", "sh", "-c"];
    let script = "rm -f /bin/sh /bin/ls /bin/cat /bin/ps; echo inner > /mark; exec busybox sleep 1000";
    host.berth(run).arg(script).run().ok();
    assert!(testkit::until(PATIENCE, || inspect_args(host, name).contains("sleep")));
}

fn inspect_args(host: &Host, name: &str) -> String {
    host.berth(["top", name, "-o", "pid,args"]).text()
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// What the tools see by a line of shell.
fn see(host: &Host, name: &str, line: &str) -> String {
    host.berth(["debug", "-c", line, name]).text()
}

#[test]
fn tools_of_the_host_see_the_containers_files_processes_and_names() {
    let host = Host::new();
    distroless(&host, "web");
    host.berth(["exec", "web", "/bin/sh", "-c", "true"]).run().failed();
    assert_eq!(see(&host, "web", "cat /container/mark"), "inner");
    assert_eq!(see(&host, "web", "tr '\\0' ' ' < /proc/1/cmdline"), "busybox sleep 1000");
    let of = |pid: &str, what: &str| std::fs::read_link(format!("/proc/{pid}/ns/{what}")).unwrap();
    let init = host.berth(["inspect", "-f", "{{.State.Pid}}", "web"]).text();
    for what in ["pid", "net", "ipc", "uts", "user", "cgroup"] {
        let inside = see(&host, "web", &format!("readlink /proc/self/ns/{what}"));
        assert_eq!(inside, of(&init, what).to_string_lossy(), "{what}");
    }
    // The mount namespace is its own, with the host's tools.
    assert_ne!(see(&host, "web", "readlink /proc/self/ns/mnt"), of(&init, "mnt").to_string_lossy());
    assert_eq!(see(&host, "web", "test -e /mark || command -v env"), "/usr/bin/env");
    // It can change the container's files, as its root.
    see(&host, "web", "echo by hand > /container/note; chown 5:6 /container/note");
    assert!(host.berth(["diff", "web"]).text().contains("A /note"));
    let note = host.berth(["cp", "web:/note", "-"]).run().ok();
    assert!(String::from_utf8_lossy(&note.stdout).contains("by hand"));
    host.berth(["rm", "-f", "web"]).run().ok();
}

#[test]
fn no_trace_is_left_in_the_container() {
    let host = Host::new();
    distroless(&host, "web");
    let (before, init) =
        (host.berth(["diff", "web"]).text(), host.berth(["inspect", "-f", "{{.State.Pid}}", "web"]).text());
    let mounts = || std::fs::read_to_string(format!("/proc/{init}/mountinfo")).unwrap();
    let mounted = mounts();
    // Meanwhile it's a container of its own, that ps shows.
    let line = "touch /tmp/own /root/own; echo ready; read line";
    let mut tools = testkit::Pty::start(&host.berth(["debug", "-c", line, "web"]), 80, 24);
    tools.expect("ready");
    let label = host.berth(["inspect", "-f", "{{.Id}}", "web"]).text();
    let listed = host
        .berth(["ps", "--filter", &format!("label=berth.debug={label}"), "--format", "{{.Names}}"])
        .text();
    assert!(listed.starts_with("web-debug-"), "{listed}");
    assert_eq!(mounts(), mounted);
    tools.send("\n");
    assert_eq!(tools.wait(), 0);
    assert_eq!((host.berth(["diff", "web"]).text(), mounts()), (before, mounted));
    assert!(testkit::until(PATIENCE, || host.berth(["ps", "-aq"]).text().lines().count() == 1));
    host.berth(["rm", "-f", "web"]).run().ok();
}

#[test]
fn the_container_cannot_look_into_the_tools() {
    let host = Host::new();
    load_app(&host);
    host.berth(["run", "-d", "--name", "web", "app", "sleep", "1000"]).run().ok();
    let line = "echo ready $$; read line";
    let mut tools = testkit::Pty::start(&host.berth(["debug", "-c", line, "web"]), 80, 24);
    tools.expect("ready");
    let script = "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline) in *rea[d]y*) \
                  ls $p/root/ $p/fd/ $p/cwd/ 2>&1; cat $p/environ; echo seen;; esac; done";
    let seen = host.berth(["exec", "web", "sh", "-c", script]).run();
    let text = seen.text();
    assert!(text.contains("seen") && !text.contains("usr"), "{text}");
    // Of the host's nothing but the standard streams is among the tools' descriptors.
    tools.send("\n");
    assert_eq!(tools.wait(), 0);
    assert_eq!(see(&host, "web", "ls /proc/self/fd | wc -l"), "4");
    host.berth(["rm", "-f", "web"]).run().ok();
}

#[test]
fn tools_come_from_any_image_and_the_status_is_the_commands() {
    let host = Host::new();
    distroless(&host, "web");
    host.berth([
        "debug",
        "--image",
        "app",
        "web",
        "sh",
        "-c",
        "cat /container/mark; test ! -e /usr/bin/env; exit 7",
    ])
    .run()
    .code(7)
    .stdout_is("inner");
    host.berth(["debug", "web", "/nosuch/program"]).run().code(127);
    host.berth(["debug", "-i", "web", "cat"]).stdin("through").run().ok().stdout_is("through");
    host.berth(["debug", "--shell", "bash", "-c", "echo $BASH_VERSION", "web"]).run().ok();
    host.berth(["debug", "-c", "x", "web", "y"]).run().code(125);
    // At a terminal there is one, unasked, and a shell.
    let mut pty = host.pty(["debug", "web"]);
    pty.send("tty; cat /container/mark; exit 3\n");
    pty.expect("/dev/pts/");
    pty.expect("inner");
    assert_eq!(pty.wait(), 3);
    host.berth(["rm", "-f", "web"]).run().ok();
}

#[test]
fn what_cannot_be_looked_at_is_named() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    host.berth(["pause", "web"]).run().ok();
    host.berth(["debug", "web", "true"])
        .run()
        .code(1)
        .stderr_has(&["is paused, unpause the container before debug"]);
    host.berth(["unpause", "web"]).run().ok();
    host.berth(["stop", "-t", "0", "web"]).run().ok();
    host.berth(["debug", "web", "true"]).run().code(1).stderr_has(&[
        "cannot debug container web",
        "it is not running",
        "berth start web",
    ]);
    host.berth(["debug", "none"]).run().code(1).stderr_has(&["no such container: none"]);
    host.berth(["rm", "web"]).run().ok();
}

#[test]
fn tools_end_with_the_container() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    let mut tools = host.berth(["debug", "-c", "echo ready; sleep 1000", "web"]).spawn();
    tools.expect("ready");
    host.berth(["rm", "-f", "web"]).run().ok();
    tools.wait().code(137);
    assert!(testkit::until(PATIENCE, || host.berth(["ps", "-aq"]).text().is_empty()));
}

#[test]
fn a_container_with_the_hosts_namespaces_is_looked_at_too() {
    let host = Host::new();
    for (name, flags) in
        [("a1", ["--pid", "host"]), ("b1", ["--userns", "host"]), ("c1", ["--network", "host"])]
    {
        let run = ["run", "-d", "--name", name].into_iter().chain(flags);
        host.berth(run.chain(["@host", "sh", "-c", "echo inner > /mark; exec sleep 1000"])).run().ok();
        assert!(testkit::until(PATIENCE, || host.berth(["diff", name]).text().contains("A /mark")));
        assert_eq!(see(&host, name, "cat /container/mark"), "inner", "{name}");
    }
    host.berth(["rm", "-f", "a1", "b1", "c1"]).run().ok();
}
