//! Flags of `berth run`, each by its effect inside the container, as docker's users know them.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use testkit::{Cmd, Host, facts, skip};

/// `berth run --rm FLAGS @host ARGS`.
fn run(host: &Host, flags: &[&str], args: &[&str]) -> Cmd {
    let words = ["run", "--rm"].iter().chain(flags).chain(&["@host"]).chain(args);
    host.berth(words)
}

/// What `script` prints in a container of @host with `flags`.
#[track_caller]
fn see(host: &Host, flags: &[&str], script: &str) -> String {
    run(host, flags, &["sh", "-c", script]).text()
}

/// Checks what `script` prints in a container of @host with `flags`.
#[track_caller]
fn check(flags: &[&str], script: &str, expected: &str) {
    let host = Host::new();
    let shown = see(&host, flags, script);
    assert_eq!(shown, expected, "berth run {flags:?} @host: {script}");
}

/// Capability set `set` of the container's first process.
#[track_caller]
fn caps(flags: &[&str], set: &str) -> u64 {
    let host = Host::new();
    let line = see(&host, flags, &format!("grep {set} /proc/self/status"));
    let number = line.split_whitespace().nth(1).expect("a value");
    u64::from_str_radix(number, 16).expect("a hexadecimal number")
}

const DOCKERS_FOURTEEN: u64 = 0xa804_25fb;
const NET_ADMIN: u64 = 1 << 12;
const CHOWN: u64 = 1;

/// A container in the background that ends when it's told to by `stop`.
struct Background<'h> {
    host: &'h Host,
    name: String,
}

impl<'h> Background<'h> {
    fn start(host: &'h Host, name: &str, flags: &[&str], script: &str) -> Background<'h> {
        let (first, last) = (["run", "-d", "--rm", "--name", name], ["@host", "sh", "-c", script]);
        host.berth(first.iter().chain(flags).chain(&last)).run().ok();
        Background { host, name: name.to_owned() }
    }
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        let output = self.host.berth(["rm", "-f", &self.name]).run();
        if !std::thread::panicking() {
            output.ok();
        }
    }
}

#[test]
fn i_keeps_stdin_open() {
    let host = Host::new();
    run(&host, &["-i"], &["cat"]).stdin("to cat\n").run().ok().silent().stdout_is("to cat");
    run(&host, &[], &["cat"]).stdin("to nobody\n").run().ok().silent().stdout_is("");
}

#[test]
fn e_sets_passes_and_unsets_variables() {
    let host = Host::new();
    let script = "echo \"[$A][$B][${C-unset}][${PATH}]\"";
    let cmd = run(&host, &["-e", "A=x=y z", "-eB", "--env", "C", "-e", "PATH=/bin"], &["sh", "-c", script]);
    assert_eq!(cmd.env("B", "callers").text(), "[x=y z][callers][unset][/bin]");
    // Nothing else of the caller's environment is in the container.
    let cmd = run(&host, &["-h", "box"], &["env"]).env("SECRET", "1");
    let text = cmd.text();
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "HOSTNAME", "PATH"]);
}

#[test]
fn env_files_come_before_e() {
    let host = Host::new();
    let file = host.path("vars");
    std::fs::write(&file, "# comment\n\nA=file\nB=of file\nD\nE=  spaced \nF='quoted'\n").unwrap();
    let flags = ["-e", "A=flag", "--env-file", file.to_str().unwrap()];
    let script = "echo \"[$A][$B][$D][$E][$F]\"";
    let shown = run(&host, &flags, &["sh", "-c", script]).env("D", "callers").text();
    assert_eq!(shown, "[flag][of file][callers][  spaced ]['quoted']");
}

#[test]
fn w_is_the_working_directory_and_is_made() {
    check(&["-w", "/usr"], "pwd", "/usr");
    check(&["--workdir", "/made/for/it"], "pwd; stat -c '%u %a' .", "/made/for/it\n0 755");
    check(&[], "pwd", "/");
}

#[test]
fn u_takes_names_and_numbers() {
    let script = "id -u; id -g; id -G; echo $HOME";
    check(&["-u", "nobody"], script, "65534\n65534\n65534\n/nonexistent");
    check(&["-u", "1234:5678"], script, "1234\n5678\n5678\n/");
    check(&["--user", "daemon:games"], "id -un; id -gn", "daemon\ngames");
    check(&["-u", "65534"], "id -u; id -g", "65534\n65534");
    check(&["-u", ":60"], "id -u; id -g", "0\n60");
    // An id without a name has the group 0, as with docker.
    check(&["-u", "4321"], "id -u; id -g; echo $HOME", "4321\n0\n/");
}

#[test]
fn users_are_those_of_the_root_file_system() {
    let host = Host::new();
    let rootfs = host.rootfs_of(0);
    let go = |user: &str, script: &str| {
        host.berth(["run", "--rm", "-u", user, "--rootfs", rootfs.to_str().unwrap(), "sh", "-c", script])
            .text()
    };
    assert_eq!(go("guest", "id -u; id -G; echo $HOME"), "1000\n1000 44\n/home/guest");
    assert_eq!(go("web:extra", "id -u; id -g"), "33\n44");
}

#[test]
fn group_add_adds_groups_by_name_and_number() {
    check(&["--group-add", "audio", "--group-add", "4242"], "id -G", "0 29 4242");
    check(&["-u", "1000:1000", "--group-add", "7"], "id -G", "1000 7");
}

#[test]
fn h_names_the_host_and_domainname_the_domain() {
    check(
        &["-h", "box", "--domainname", "example.org"],
        "hostname; cat /proc/sys/kernel/domainname; echo $HOSTNAME",
        "box\nexample.org\nbox",
    );
    check(&["--hostname", "a.b.c"], "hostname; hostname -s", "a.b.c\na");
}

#[test]
fn the_hostname_is_the_short_id_otherwise() {
    let host = Host::new();
    let cidfile = host.path("cid");
    let name = see(&host, &["--cidfile", cidfile.to_str().unwrap()], "hostname");
    let id = std::fs::read_to_string(&cidfile).unwrap();
    assert_eq!(id.len(), 64, "{id:?}");
    assert_eq!(name, id[..12]);
}

#[test]
fn entrypoint_replaces_the_program() {
    let host = Host::new();
    run(&host, &["--entrypoint", "echo"], &["a", "b c"]).run().ok().silent().stdout_is("a b c");
    run(&host, &["--entrypoint", "/bin/echo"], &[]).run().ok().silent().stdout_is("");
    run(&host, &["--entrypoint", ""], &["echo", "plain"]).run().ok().silent().stdout_is("plain");
}

#[test]
fn init_is_pid_1_reaps_and_forwards() {
    let host = Host::new();
    let script = "echo $$ $PPID; cat /proc/1/comm; \
                  (sh -c 'sh -c \"exit 0\" & exec sleep 0.1' &) ; sleep 0.4; \
                  grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    let shown = see(&host, &["--init"], script);
    let lines: Vec<&str> = shown.lines().collect();
    let (pid, parent) = lines[0].split_once(' ').unwrap();
    assert_ne!(pid, "1", "{shown}");
    assert_eq!(parent, "1", "{shown}");
    assert_eq!(lines[2], "0", "a zombie was left: {shown}");
    run(&host, &["--init"], &["sh", "-c", "exit 77"]).run().code(77);
    run(&host, &["--init"], &["sh", "-c", "kill -9 $$"]).run().code(137);
    let mut running = run(
        &host,
        &["--init"],
        &["sh", "-c", "trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.05; done"],
    )
    .spawn();
    running.expect("up");
    running.signal(15);
    running.wait().code(5).stdout_is("up\ntold");
}

#[test]
fn signals_reach_the_first_process() {
    let host = Host::new();
    for (signal, name) in [(15, "TERM"), (2, "INT"), (1, "HUP"), (10, "USR1")] {
        let script = format!("trap 'echo {name}; exit 9' {name}; echo up; while :; do sleep 0.02; done");
        let mut running = run(&host, &[], &["sh", "-c", &script]).spawn();
        running.expect("up");
        running.signal(signal);
        running.wait().code(9).stdout_is(&format!("up\n{name}"));
    }
}

#[test]
fn privileged_lifts_the_limits() {
    let host = Host::new();
    let script = "grep CapEff /proc/self/status | cut -f2; grep Seccomp: /proc/self/status | cut -f2; \
                  test -w /proc/sys/kernel/hostname && echo writable; awk '{print $1, $2}' /proc/self/uid_map; \
                  test -e /dev/loop-control && echo devices; \
                  mount -t tmpfs x /mnt && echo mounted; grep -c ' /proc/keys ' /proc/self/mountinfo";
    let text = run(&host, &["--privileged"], &["sh", "-c", script]).run().text();
    let lines: Vec<&str> = text.lines().collect();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    let effective = u64::from_str_radix(lines[0], 16).unwrap();
    let host_has = u64::from_str_radix(own, 16).unwrap();
    assert_eq!(effective & host_has, host_has, "all that berth itself has: {text}");
    assert_eq!(&lines[1..], ["0", "writable", "0 0", "devices", "mounted", "0"], "{text}");
}

#[test]
fn read_only_leaves_only_mounts_writable() {
    let host = Host::new();
    let script = "touch /x 2>/dev/null && echo root; touch /dev/shm/x && echo shm; touch /tmp/x && echo tmp; \
                  touch /etc/hosts 2>/dev/null; echo done";
    assert_eq!(see(&host, &["--read-only", "--tmpfs", "/tmp"], script), "shm\ntmp\ndone");
    assert_eq!(see(&host, &["--tmpfs", "/tmp"], script), "root\nshm\ntmp\ndone");
}

#[test]
fn tmpfs_takes_a_size_and_a_mode() {
    let script = "stat -f -c %T /scratch; stat -c %a /scratch; df -k /scratch | tail -1 | awk '{print $2}'; \
                  awk '$5==\"/scratch\"{print $6}' /proc/self/mountinfo";
    check(
        &["--tmpfs", "/scratch:size=3m,mode=750"],
        script,
        "tmpfs\n750\n3072\nrw,nosuid,nodev,noexec,relatime",
    );
    check(&["--tmpfs", "/scratch"], "stat -c '%a %u' /scratch", "1777 0");
    check(&["--tmpfs", "/scratch:exec"], "cp /bin/true /scratch/ && /scratch/true && echo ran", "ran");
    check(&["--tmpfs", "/scratch:ro"], "touch /scratch/x 2>/dev/null || echo ro", "ro");
    check(&["--tmpfs", "/scratch:uid=33,gid=44"], "stat -c '%u %g' /scratch", "33 44");
}

#[test]
fn v_binds_a_directory_or_a_file() {
    let host = Host::new();
    let dir = host.path("dir");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("f"), "content").unwrap();
    let dir = dir.to_str().unwrap();
    assert_eq!(see(&host, &["-v", &format!("{dir}:/stuff")], "cat /stuff/f; echo new > /stuff/g"), "content");
    assert_eq!(std::fs::read_to_string(Path::new(dir).join("g")).unwrap(), "new\n");
    assert_eq!(
        see(
            &host,
            &["-v", &format!("{dir}/f:/etc/some.conf:ro")],
            "cat /etc/some.conf; (echo x > /etc/some.conf) 2>/dev/null || echo ro"
        ),
        "contentro"
    );
    // Relative sources begin at the working directory; one that is missing is made.
    assert_eq!(see(&host, &["-v", "./fresh:/f"], "touch /f/x; stat -c %F /f"), "directory");
    assert!(host.path("fresh/x").exists());
}

#[test]
fn mount_binds_and_makes_tmpfs() {
    let host = Host::new();
    let dir = host.path("dir");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("f"), "content").unwrap();
    let source = dir.to_str().unwrap();
    let bind = format!("type=bind,source={source},target=/a");
    assert_eq!(see(&host, &["--mount", &bind], "cat /a/f; touch /a/g"), "content");
    let ro = format!("type=bind,src={source},dst=/a,readonly");
    assert_eq!(see(&host, &["--mount", &ro], "touch /a/h 2>/dev/null || echo ro"), "ro");
    let tmpfs = "type=tmpfs,destination=/t,tmpfs-size=2m,tmpfs-mode=0700";
    assert_eq!(
        see(&host, &["--mount", tmpfs], "stat -c %a /t; df -k /t | tail -1 | awk '{print $2}'"),
        "700\n2048"
    );
    // Other than -v, --mount makes no source.
    let missing = format!("type=bind,source={source}/none,target=/a");
    run(&host, &["--mount", &missing], &["true"]).run().code(125).stderr_has(&["none"]);
    assert!(!dir.join("none").exists());
}

#[test]
fn capabilities_are_dockers_plus_and_minus() {
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(caps(&[], set), DOCKERS_FOURTEEN, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(caps(&[], set), 0, "{set}");
    }
    assert_eq!(caps(&["--cap-add", "NET_ADMIN"], "CapEff"), DOCKERS_FOURTEEN | NET_ADMIN);
    assert_eq!(caps(&["--cap-add", "cap_net_admin"], "CapBnd"), DOCKERS_FOURTEEN | NET_ADMIN);
    assert_eq!(caps(&["--cap-drop", "chown"], "CapEff"), DOCKERS_FOURTEEN & !CHOWN);
    assert_eq!(caps(&["--cap-drop", "ALL"], "CapBnd"), 0);
    assert_eq!(caps(&["--cap-drop", "ALL", "--cap-add", "CHOWN"], "CapEff"), CHOWN);
    assert!(caps(&["--cap-add", "ALL"], "CapEff").count_ones() >= 35);
    assert_eq!(caps(&["--cap-add", "ALL", "--cap-drop", "NET_ADMIN"], "CapEff") & NET_ADMIN, 0);
}

#[test]
fn capabilities_have_their_effect() {
    check(&[], "ip link set lo mtu 1400 2>/dev/null || echo no", "no");
    check(&["--cap-add", "NET_ADMIN"], "ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu", "1400");
    check(&["--cap-drop", "CHOWN"], "touch /x; chown 1 /x 2>/dev/null || echo no", "no");
    check(
        &["-u", "1000"],
        "grep -E 'Cap(Eff|Prm)' /proc/self/status | cut -f2",
        "0000000000000000\n0000000000000000",
    );
}

#[test]
fn seccomp_is_on_off_or_a_profile() {
    let host = Host::new();
    let mode = "grep Seccomp: /proc/self/status | cut -f2";
    assert_eq!(see(&host, &[], mode), "2");
    assert_eq!(see(&host, &["--security-opt", "seccomp=unconfined"], mode), "0");
    let nested = "unshare -U true 2>/dev/null && echo yes || echo no";
    assert_eq!(see(&host, &[], nested), "no");
    assert_eq!(see(&host, &["--security-opt", "seccomp=unconfined"], nested), "yes");
    let profile = host.path("profile.json");
    let rules = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#;
    std::fs::write(&profile, rules).unwrap();
    let option = format!("seccomp={}", profile.display());
    let shown = see(
        &host,
        &["--security-opt", &option],
        "touch /a && echo touched; mkdir /b 2>&1 | grep -o 'not supported'",
    );
    assert_eq!(shown, "touched\nnot supported");
}

#[test]
fn no_new_privileges_is_off_and_can_be_set() {
    let line = "grep NoNewPrivs /proc/self/status | cut -f2";
    check(&[], line, "0");
    check(&["--security-opt", "no-new-privileges"], line, "1");
    check(&["--security-opt", "no-new-privileges:true"], line, "1");
    check(&["--security-opt", "no-new-privileges=false"], line, "0");
}

#[test]
fn apparmor_unconfined_is_accepted_and_a_profile_needs_apparmor() {
    check(&["--security-opt", "apparmor=unconfined"], "echo up", "up");
    if facts::has_lsm("apparmor") {
        skip!("this test is of a host without AppArmor");
    }
    let host = Host::new();
    run(&host, &["--security-opt", "apparmor=mine"], &["true"])
        .run()
        .code(125)
        .stdout_is("")
        .stderr_has(&["AppArmor"]);
}

#[test]
fn label_disable_is_accepted_and_a_label_needs_selinux() {
    check(&["--security-opt", "label=disable"], "echo up", "up");
    if facts::has_lsm("selinux") {
        skip!("this test is of a host without SELinux");
    }
    let host = Host::new();
    run(&host, &["--security-opt", "label=type:mine_t"], &["true"]).run().code(125).stderr_has(&["SELinux"]);
}

#[test]
fn system_paths_are_masked_read_only_and_can_be_opened() {
    let host = Host::new();
    let script = "wc -c < /proc/timer_list; test -w /proc/sys/kernel/domainname && echo writable || echo ro; ls /sys/firmware | wc -l";
    assert_eq!(see(&host, &[], script), "0\nro\n0");
    let masks = "grep -cE ' /proc/(keys|timer_list|interrupts|sys|bus) ' /proc/self/mountinfo";
    assert_eq!(see(&host, &[], masks), "5");
    assert_eq!(see(&host, &["--security-opt", "systempaths=unconfined"], &format!("{masks}; true")), "0");
    assert_eq!(see(&host, &["--security-opt", "unmask=/proc/keys"], masks), "4");
    assert_eq!(see(&host, &["--security-opt", "unmask=ALL"], &format!("{masks}; true")), "0");
    assert_eq!(see(&host, &["--security-opt", "mask=/etc/passwd"], "wc -c < /etc/passwd"), "0");
    assert_eq!(see(&host, &["--security-opt", "mask=/usr/share"], "ls /usr/share | wc -l"), "0");
}

#[test]
fn userns_is_private_or_the_hosts() {
    let host = Host::new();
    let map = "awk '{print $1, $2, $3}' /proc/self/uid_map";
    let own = see(&host, &[], map);
    let fields: Vec<u32> = own.split(' ').map(|word| word.parse().unwrap()).collect();
    assert_eq!((fields[0], fields[2]), (0, 65_536));
    assert!(host.owns_id(fields[1]), "{own}");
    assert_eq!(see(&host, &["--userns", "host"], map), "0 0 4294967295");
    assert_eq!(see(&host, &["--userns=private", "--network", "host"], map).split(' ').nth(2), Some("65536"));
}

#[test]
fn pid_is_private_or_the_hosts() {
    let host = Host::new();
    assert_eq!(see(&host, &[], "echo $$; ls -d /proc/[0-9]* | head -1"), "1\n/proc/1");
    let ours = std::process::id();
    assert_eq!(
        see(
            &host,
            &["--pid", "host"],
            &format!("test -d /proc/{ours} && echo seen; cat /proc/self/uid_map | awk '{{print $3}}'")
        ),
        "seen\n4294967295"
    );
}

#[test]
fn ipc_is_private_or_the_hosts() {
    let host = Host::new();
    let link = std::fs::read_link("/proc/self/ns/ipc").unwrap();
    assert_eq!(see(&host, &["--ipc", "host"], "readlink /proc/self/ns/ipc"), link.to_str().unwrap());
    for mode in ["private", "shareable"] {
        assert_ne!(see(&host, &["--ipc", mode], "readlink /proc/self/ns/ipc"), link.to_str().unwrap());
    }
    assert_eq!(see(&host, &["--ipc", "none"], "grep -c ' /dev/shm ' /proc/self/mountinfo; true"), "0");
}

#[test]
fn uts_is_private_or_the_hosts() {
    let host = Host::new();
    let link = std::fs::read_link("/proc/self/ns/uts").unwrap();
    assert_eq!(see(&host, &["--uts", "host"], "readlink /proc/self/ns/uts"), link.to_str().unwrap());
    assert_ne!(see(&host, &[], "readlink /proc/self/ns/uts"), link.to_str().unwrap());
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(see(&host, &["--uts", "host"], "uname -n"), name.trim());
}

#[test]
fn cgroupns_is_private_or_the_hosts() {
    let host = Host::new();
    let link = std::fs::read_link("/proc/self/ns/cgroup").unwrap();
    assert_eq!(see(&host, &["--cgroupns", "host"], "readlink /proc/self/ns/cgroup"), link.to_str().unwrap());
    assert_ne!(
        see(&host, &["--cgroupns", "private"], "readlink /proc/self/ns/cgroup"),
        link.to_str().unwrap()
    );
    assert_eq!(
        see(&host, &["-m", "64m"], "grep -c -v ':/$' /proc/self/cgroup; true"),
        "0",
        "own root of each hierarchy"
    );
}

#[test]
fn network_is_loopback_only_or_the_hosts() {
    let host = Host::new();
    let script =
        "ls /sys/class/net; cat /sys/class/net/lo/operstate; ip -o addr show lo | awk '{print $4}' | head -1";
    for flags in [&["--network", "none"][..], &["--net=none"]] {
        assert_eq!(see(&host, flags, script), "lo\nunknown\n127.0.0.1/8", "{flags:?}");
    }
    let link = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_eq!(see(&host, &["--network", "host"], "readlink /proc/self/ns/net"), link.to_str().unwrap());
}

#[test]
fn a_private_network_has_dockers_sysctls() {
    check(
        &[],
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; cat /proc/sys/net/ipv4/ping_group_range",
        "0\n0\t65535",
    );
    // nginx as an unprivileged user on port 80.
    let host = Host::new();
    let rootfs = host.rootfs_of(0);
    let script = "nc -l -p 80 & sleep 0.2; cat /proc/net/tcp /proc/net/tcp6 | grep -c ':0050 '; kill $!";
    let words = ["run", "--rm", "-u", "1000", "--rootfs", rootfs.to_str().unwrap(), "sh", "-c", script];
    assert_eq!(host.berth(words).text(), "1");
}

#[test]
fn joining_a_container_shares_namespaces_and_range() {
    let host = Host::new();
    let first = Background::start(&host, "first", &["-h", "one"], "while :; do sleep 1; done");
    let spaces = |flags: &[&str]| {
        see(
            &host,
            flags,
            "for n in net pid ipc uts user; do readlink /proc/self/ns/$n; done; cat /proc/self/uid_map",
        )
    };
    let joined = spaces(&["--network", "container:first", "--pid", "container:first"]);
    let target = host
        .berth([
            "exec",
            "first",
            "sh",
            "-c",
            "for n in net pid ipc uts user; do readlink /proc/self/ns/$n; done; cat /proc/self/uid_map",
        ])
        .text();
    let (a, b): (Vec<&str>, Vec<&str>) = (joined.lines().collect(), target.lines().collect());
    for at in [0, 1, 4, 5] {
        assert_eq!(a[at], b[at]);
    }
    assert_ne!(a[2], b[2], "ipc wasn't asked for");
    assert_ne!(a[3], b[3], "uts wasn't asked for");
    drop(first);
}

#[test]
fn a_joined_network_brings_its_host_name() {
    let host = Host::new();
    let first = Background::start(&host, "first", &["-h", "one"], "while :; do sleep 1; done");
    assert_eq!(see(&host, &["--network", "container:first"], "hostname"), "one");
    drop(first);
}

#[test]
fn joining_ipc_shares_shm_of_who_shares_it() {
    let host = Host::new();
    let write = "echo shared > /dev/shm/file; while :; do sleep 1; done";
    let first = Background::start(&host, "first", &["--ipc", "shareable"], write);
    let ipc = "readlink /proc/self/ns/ipc";
    let own = "stat -c '%a %u %T' /dev/shm; grep -o 'nosuid,nodev,noexec' /proc/self/mountinfo | head -1";
    let link = host.berth(["exec", "first", "sh", "-c", ipc]).text();
    let join = ["--ipc", "container:first"];
    assert_eq!(see(&host, &join, &format!("cat /dev/shm/file; {ipc}")), format!("shared\n{link}"));
    assert_eq!(host.berth(["exec", "first", "sh", "-c", own]).text(), see(&host, &join, own));
    see(&host, &join, "echo back > /dev/shm/other");
    assert_eq!(host.berth(["exec", "first", "cat", "/dev/shm/other"]).text(), "back");
    drop(first);

    let private = Background::start(&host, "private", &[], "while :; do sleep 1; done");
    host.berth(["run", "--rm", "--ipc", "container:private", "@host", "true"])
        .run()
        .code(125)
        .stderr_has(&["private", "--ipc shareable"]);
    drop(private);
}

#[test]
fn devices_are_usable() {
    check(
        &["--device", "/dev/full:/dev/mine"],
        "stat -c '%t:%T' /dev/mine; echo x > /dev/mine 2>/dev/null || echo full",
        "1:7\nfull",
    );
    check(&[], "head -c 1 /dev/fuse 2>/dev/null || echo none", "none");
    if !Path::new("/dev/net/tun").exists() {
        skip!("no /dev/net/tun");
    }
    check(&["--device", "/dev/net/tun"], "exec 3<>/dev/net/tun && echo open", "open");
}

#[test]
fn device_permissions_are_kept() {
    let Some(_) = facts::v1_controller("devices") else { skip!("no device controller of version 1") };
    check(
        &["--device", "/dev/fuse:/dev/fuse:r"],
        "exec 3</dev/fuse && echo read; sh -c 'exec 3>/dev/fuse' 2>/dev/null || echo no",
        "read\nno",
    );
}

#[test]
fn ulimits_are_set() {
    check(&["--ulimit", "nofile=123:456"], "ulimit -Sn; ulimit -Hn", "123\n456");
    check(
        &["--ulimit", "core=0", "--ulimit", "fsize=8192"],
        "ulimit -c; grep '^Max file size' /proc/self/limits | awk '{print $4}'",
        "0\n8192",
    );
    check(&["--ulimit", "nofile=77"], "ulimit -Sn; ulimit -Hn", "77\n77");
}

#[test]
fn sysctls_of_the_containers_namespaces_are_set() {
    check(
        &["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=12345"],
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
        "1\n12345",
    );
    check(&["--sysctl", "net.core.somaxconn=77"], "cat /proc/sys/net/core/somaxconn", "77");
    check(
        &["--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"],
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
        "1024",
    );
    check(&["--sysctl", "fs.mqueue.msg_max=11"], "cat /proc/sys/fs/mqueue/msg_max", "11");
}

#[test]
fn shm_size_is_64m_or_as_asked() {
    let script = "df -k /dev/shm | tail -1 | awk '{print $2}'";
    check(&[], script, "65536");
    check(&["--shm-size", "8m"], script, "8192");
}

#[test]
fn stop_signal_is_what_stop_sends() {
    let host = Host::new();
    let script = "trap 'echo quit; exit 3' QUIT; echo up; while :; do sleep 0.02; done";
    host.berth(["run", "-d", "--name", "box", "--stop-signal", "QUIT", "@host", "sh", "-c", script])
        .run()
        .ok();
    assert!(testkit::until(std::time::Duration::from_secs(5), || host.berth(["logs", "box"]).run().text()
        == "up"));
    host.berth(["stop", "box"]).run().ok();
    assert_eq!(host.berth(["logs", "box"]).run().text(), "up\nquit");
    host.berth(["rm", "box"]).run().ok();
}

#[test]
fn stop_timeout_ends_in_a_kill() {
    let host = Host::new();
    let script = "trap '' TERM; echo up; while :; do sleep 0.02; done";
    host.berth(["run", "-d", "--name", "box", "--stop-timeout", "1", "@host", "sh", "-c", script]).run().ok();
    assert!(testkit::until(std::time::Duration::from_secs(5), || host.berth(["logs", "box"]).run().text()
        == "up"));
    let stopped = host.berth(["stop", "box"]).run().ok();
    assert!((0.8..4.0).contains(&stopped.took.as_secs_f64()), "{:?}", stopped.took);
    let state = host.berth(["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "box"]).text();
    assert_eq!(state, "exited 137");
    host.berth(["rm", "box"]).run().ok();
}

/// What the container's own control group of `controller` says in `file`.
#[track_caller]
fn limit(flags: &[&str], controller: &str, file: &str) -> Option<String> {
    facts::v1_controller(controller)?;
    let host = Host::new();
    Some(see(&host, flags, &format!("cat /sys/fs/cgroup/{controller}/{file}")))
}

#[test]
fn memory_limits_hold() {
    let Some(bytes) = limit(&["-m", "64m"], "memory", "memory.limit_in_bytes") else {
        skip!("no memory controller of version 1")
    };
    assert_eq!(bytes, "67108864");
    let soft = limit(&["-m", "64m", "--memory-reservation", "32m"], "memory", "memory.soft_limit_in_bytes");
    assert_eq!(soft.as_deref(), Some("33554432"));
    let host = Host::new();
    let killed = run(
        &host,
        &["-m", "16m", "--memory-swap", "16m"],
        &["sh", "-c", "head -c 64m /dev/zero | tail -c 64m | wc -c; echo after"],
    );
    let output = killed.run();
    assert!(output.status == 137 || !output.text().contains("67108864"), "{output:?}");
}

#[test]
fn memory_swap_is_the_sum() {
    let Some(dir) = facts::v1_controller("memory") else { skip!("no memory controller of version 1") };
    if !dir.join("memory.memsw.limit_in_bytes").exists() {
        skip!("swap isn't accounted on this kernel");
    }
    let read = |flags: &[&str]| limit(flags, "memory", "memory.memsw.limit_in_bytes").unwrap();
    assert_eq!(read(&["-m", "64m", "--memory-swap", "96m"]), "100663296");
    assert_eq!(read(&["-m", "64m"]), "134217728", "twice the memory, as docker");
}

#[test]
fn cpu_limits_hold() {
    let Some(quota) = limit(&["--cpus", "1.5"], "cpu", "cpu.cfs_quota_us") else {
        skip!("no cpu controller of version 1")
    };
    assert_eq!(quota, "150000");
    assert_eq!(limit(&["--cpus", "0.5"], "cpu", "cpu.cfs_period_us").as_deref(), Some("100000"));
    assert_eq!(limit(&["--cpu-shares", "512"], "cpu", "cpu.shares").as_deref(), Some("512"));
}

#[test]
fn cpusets_hold() {
    let Some(cpus) = limit(&["--cpuset-cpus", "0", "--cpuset-mems", "0"], "cpuset", "cpuset.cpus") else {
        skip!("no cpuset controller of version 1")
    };
    assert_eq!(cpus, "0");
    check(&["--cpuset-cpus", "0"], "nproc", "1");
    assert_eq!(limit(&["--cpuset-mems", "0"], "cpuset", "cpuset.mems").as_deref(), Some("0"));
}

#[test]
fn pids_limit_holds() {
    check(
        &["--pids-limit", "10"],
        "sh -c 'while :; do sleep 3 & done' 2>/dev/null; set -- /proc/[0-9]*; echo $#",
        "9",
    );
    if let Some(max) = limit(&["--pids-limit", "10"], "pids", "pids.max") {
        assert_eq!(max, "10");
    }
}

#[test]
fn oom_score_adj_is_set() {
    check(&["--oom-score-adj", "321"], "cat /proc/self/oom_score_adj", "321");
    check(&[], "cat /proc/self/oom_score_adj", "0");
}

#[test]
fn blkio_weight_is_set() {
    let Some(_) = facts::v1_controller("blkio") else { skip!("no blkio controller of version 1") };
    let host = Host::new();
    let files = "cat /sys/fs/cgroup/blkio/blkio.weight /sys/fs/cgroup/blkio/blkio.bfq.weight 2>/dev/null | head -1; echo end";
    let output = run(&host, &["--blkio-weight", "100"], &["sh", "-c", files]).run().ok();
    if !output.stderr.is_empty() {
        output.stderr_has(&["Weight discarded"]);
        skip!("no blkio weight here: berth says so");
    }
    output.stdout_is("100\nend");
}

#[test]
fn cidfile_gets_the_id_and_must_not_exist() {
    let host = Host::new();
    let file = host.path("cid");
    let path = file.to_str().unwrap();
    let printed = host.berth(["run", "-d", "--rm", "--cidfile", path, "@host", "true"]).text();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), printed);
    run(&host, &["--cidfile", path], &["true"]).run().code(125).stdout_is("").stderr_has(&["cid"]);
    let other = host.path("sudo");
    run(&host, &["--cidfile", other.to_str().unwrap()], &["true"])
        .env("SUDO_UID", "1000")
        .env("SUDO_GID", "1000")
        .run()
        .ok();
    assert_eq!(other.metadata().unwrap().uid(), 1000);
}

#[test]
fn labels_are_recorded() {
    let host = Host::new();
    let c = Background::start(&host, "box", &["-l", "a=1", "--label", "b", "-l", "a=2"], "sleep 60");
    let labels = host.berth(["inspect", "box"]).run().ok().json()[0]["Config"]["Labels"].clone();
    assert_eq!(labels, testkit::json!({"a": "2", "b": ""}));
    drop(c);
}

#[test]
fn time_offsets_move_the_clocks() {
    let host = Host::new();
    let up = |flags: &[&str]| -> f64 { see(&host, flags, "cut -d' ' -f1 /proc/uptime").parse().unwrap() };
    let plain = up(&[]);
    let moved = up(&["--time-offset", "boottime=1000000"]);
    assert!((moved - plain - 1_000_000.0).abs() < 60.0, "{plain} {moved}");
    let shown = see(&host, &["--time-offset", "monotonic=86400"], "cat /proc/self/timens_offsets");
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "86400", "0", "boottime", "0", "0"]);
}

#[test]
fn isolation_strict_is_stricter() {
    check(
        &["--isolation", "strict"],
        "grep NoNewPrivs /proc/self/status | cut -f2; ulimit -c; ulimit -Hc",
        "1\n0\n0",
    );
    check(&["--isolation", "process"], "grep NoNewPrivs /proc/self/status | cut -f2", "0");
}

#[test]
fn a_name_is_the_containers_and_unique() {
    let host = Host::new();
    let c = Background::start(&host, "mine", &[], "sleep 60");
    assert_eq!(host.berth(["ps", "--format", "{{.Names}}"]).text(), "mine");
    run(&host, &["--name", "mine"], &["true"]).run().code(125).stdout_is("").stderr_has(&["mine", "in use"]);
    drop(c);
    run(&host, &["--name", "mine"], &["true"]).run().ok();
}

#[test]
fn d_prints_the_id_and_returns_at_once() {
    let host = Host::new();
    let output = host
        .berth(["run", "-d", "--name", "box", "@host", "sh", "-c", "echo up; sleep 60"])
        .run()
        .ok()
        .silent();
    let id = output.text();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert!(output.took.as_secs_f64() < 5.0);
    assert_eq!(
        host.berth(["inspect", "--format", "{{.Id}} {{.State.Status}}", "box"]).text(),
        format!("{id} running")
    );
    assert_eq!(
        host.berth(["exec", "box", "cat", "/proc/1/cmdline"]).text().replace('\0', " ").trim(),
        "sh -c echo up; sleep 60"
    );
    host.berth(["rm", "-f", "box"]).run().ok();
    assert_eq!(host.berth(["ps", "-a", "--format", "{{.Names}}"]).text(), "");
}

#[test]
fn without_rm_the_container_stays() {
    let host = Host::new();
    host.berth(["run", "--name", "kept", "@host", "sh", "-c", "echo said; exit 4"])
        .run()
        .code(4)
        .stdout_is("said");
    let line = host.berth(["ps", "-a", "--format", "{{.Names}} {{.Status}}"]).text();
    assert!(line.starts_with("kept Exited (4)"), "{line}");
    assert_eq!(host.berth(["logs", "kept"]).text(), "said");
    host.berth(["rm", "kept"]).run().ok().stdout_is("kept");
    assert_eq!(host.berth(["ps", "-a", "--format", "{{.Names}}"]).text(), "");
}

#[test]
fn rm_removes_it() {
    let host = Host::new();
    run(&host, &["--name", "gone"], &["true"]).run().ok();
    assert_eq!(host.berth(["ps", "-a", "--format", "{{.Names}}"]).text(), "");
}

#[test]
fn at_host_is_a_copy_of_the_host_on_write() {
    let host = Host::new();
    let canary = host.path("canary");
    std::fs::write(&canary, "intact").unwrap();
    // Its /tmp, homes and state are empty; its programs are the host's.
    assert_eq!(
        see(&host, &[], "ls -A /tmp | wc -l; ls -A /root | wc -l; test -x /usr/bin/env && echo usr"),
        "0\n0\nusr"
    );
    let before = std::fs::read("/etc/hostname").ok();
    see(
        &host,
        &[],
        "echo wrecked > /etc/issue; rm -rf /etc /boot /opt /usr/share/doc /usr/bin 2>/dev/null; true",
    );
    assert_eq!(std::fs::read("/etc/hostname").ok(), before);
    assert!(Path::new("/usr/bin/env").exists());
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "intact");
}

#[test]
fn rootfs_is_a_directory_used_in_place() {
    let host = Host::new();
    let rootfs = host.rootfs_of(0);
    let dir = rootfs.to_str().unwrap();
    let script = "id -u; cat /etc/group | head -1; echo made > /made; stat -c '%u:%g' /bin /etc/passwd";
    assert_eq!(
        host.berth(["run", "--rm", "--rootfs", dir, "sh", "-c", script]).text(),
        "0\ntty:x:5:\n0:0\n0:0"
    );
    let made = rootfs.join("made").metadata().unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0), "owned as in the container");
}

#[test]
fn an_imported_tar_is_an_image() {
    let host = Host::new();
    let tar = host.rootfs_tar();
    let id = host.berth(["import", tar.to_str().unwrap(), "small"]).text();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let go = |script: &str| host.berth(["run", "--rm", "small", "sh", "-c", script]).text();
    assert_eq!(
        go("id -u; stat -c '%u:%g' /bin/busybox; echo x > /x; rm /etc/group; ls /etc"),
        "0\n0:0\nhostname\nhosts\npasswd\nresolv.conf"
    );
    assert_eq!(
        go("ls /x 2>/dev/null; ls /etc/group"),
        "/etc/group",
        "each container has its own upper layer"
    );
    let piped = host.berth(["import", "-", "piped:v1"]).stdin(std::fs::read(&tar).unwrap()).text();
    assert!(piped.starts_with("sha256:"), "{piped}");
    host.berth(["run", "--rm", "piped:v1", "true"]).run().ok();
}

#[test]
fn nothing_is_inherited_from_the_caller() {
    let host = Host::new();
    let line = "umask 027; ulimit -Sn 99; ulimit -Ss 1024; trap '' USR1 PIPE; cd /usr; \
                exec nice -n 5 setsid taskset 1 \"$@\"";
    let script =
        "umask; ulimit -n; ulimit -s; pwd; nice; grep -E '^(SigIgn|SigBlk)' /proc/self/status; nproc";
    let berth = testkit::host::binary();
    let words = ["-c", line, "sh", berth.to_str().unwrap(), "run", "--rm", "@host", "sh", "-c", script];
    let cmd =
        host.env().into_iter().fold(Cmd::new("/bin/sh", words), |cmd, (name, value)| cmd.env(name, value));
    let text = cmd.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "0022", "{text}");
    assert!(lines[1].parse::<u64>().unwrap() > 99, "{text}");
    assert_eq!(&lines[2..5], ["8192", "/", "0"], "{text}");
    assert_eq!(lines[5], "SigBlk:\t0000000000000000", "{text}");
    assert_eq!(lines[6], "SigIgn:\t0000000000000000", "{text}");
    assert_eq!(lines[7], facts::processors().to_string(), "{text}");
}
