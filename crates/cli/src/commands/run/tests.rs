use std::ffi::OsString;

use engine::request::{
    IpcMode, Isolation, MountKind, NamespaceMode, NetworkMode, RunRequest, Seccomp, Source, TimeOffset,
};

use super::{SPEC, request};
use crate::failure::Failure;
use crate::flags::{self, Asked};

fn read(line: &str) -> Result<RunRequest, Failure> {
    let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
    match flags::parse(&SPEC, "berth run", &words)? {
        Asked::Work(parsed) => request(&parsed),
        Asked::Help => panic!("help"),
    }
}

#[test]
fn the_plainest_line_is_the_plainest_request() {
    let expected = RunRequest { command: vec!["true".into()], ..RunRequest::new(Source::Host) };
    assert_eq!(read("@host true"), Ok(expected));
    assert_eq!(read("alpine").expect("valid").source, Source::Image("alpine".into()));
    let rootfs = read("--rootfs /r ls -l").expect("valid");
    assert_eq!(
        (rootfs.source, rootfs.command),
        (Source::Rootfs("/r".into()), vec!["ls".into(), "-l".into()])
    );
}

#[test]
fn every_flag_reaches_the_request() {
    let request = read(
        "-it --rm -d --name web -h box --domainname dom -e A=1 -w /w -u 1000:1000 --group-add 5 \
         --entrypoint sh --init --privileged --read-only --tmpfs /run -v /a:/b:ro --cap-add net_admin \
         --cap-drop ALL --security-opt seccomp=unconfined --security-opt no-new-privileges --pid host \
         --ipc shareable --uts private --cgroupns host --network none --device /dev/fuse --ulimit nofile=5 \
         --sysctl net.ipv4.ip_forward=1 --shm-size 1m --stop-signal INT --stop-timeout -1 --pids-limit 0 \
         -m 64m --memory-swap -1 --memory-reservation 32m --cpus 1.5 -c 512 --cpuset-cpus 0 --cpuset-mems 0 \
         --oom-score-adj -5 --blkio-weight 10 --detach-keys ctrl-a --cidfile /c -l k=v \
         --time-offset boottime=5 --sig-proxy=false @host -c id",
    )
    .expect("valid");
    assert!(request.interactive && request.tty && request.rm && request.detach && request.init);
    assert!(request.read_only && request.security.privileged && request.security.no_new_privileges);
    assert!(!request.sig_proxy);
    assert_eq!(request.name.as_deref(), Some("web"));
    assert_eq!((request.hostname.as_deref(), request.domainname.as_deref()), (Some("box"), Some("dom")));
    assert_eq!(request.command, ["-c", "id"]);
    assert_eq!(request.entrypoint, Some(vec!["sh".to_owned()]));
    assert_eq!(request.user.as_deref(), Some("1000:1000"));
    assert_eq!(request.group_add, ["5"]);
    assert_eq!(request.mounts.len(), 2);
    assert!(matches!(request.mounts[0].kind, MountKind::Tmpfs { .. }) && request.mounts[1].read_only);
    assert_eq!(request.security.cap_add, ["NET_ADMIN"]);
    assert_eq!(request.security.cap_drop, ["ALL"]);
    assert_eq!(request.security.seccomp, Seccomp::Unconfined);
    assert_eq!((request.pid, request.uts), (NamespaceMode::Host, NamespaceMode::Private));
    assert_eq!((request.ipc, request.cgroupns), (IpcMode::Shareable, NamespaceMode::Host));
    assert_eq!(request.network, NetworkMode::None);
    assert_eq!((request.stop_signal, request.stop_timeout_secs), (Some(2), Some(-1)));
    let resources = request.resources;
    assert_eq!((resources.memory_bytes, resources.memory_swap_bytes), (Some(64 << 20), Some(-1)));
    assert_eq!((resources.pids_limit, resources.nano_cpus), (Some(-1), Some(1_500_000_000)));
    assert_eq!((resources.cpu_shares, resources.blkio_weight), (Some(512), Some(10)));
    assert_eq!((resources.oom_score_adj, resources.shm_size_bytes), (Some(-5), Some(1 << 20)));
    assert_eq!(request.detach_keys, [1]);
    assert_eq!(request.labels, [("k".to_owned(), "v".to_owned())]);
    assert_eq!(request.time_offsets.boottime, Some(TimeOffset { secs: 5, nanosecs: 0 }));
    assert_eq!(request.time_offsets.monotonic, None);
    assert_eq!(read("--isolation strict @host").expect("valid").isolation, Isolation::Strict);
    assert_eq!(read("--entrypoint= @host").expect("valid").entrypoint, Some(vec![]));
}

#[test]
fn wrong_lines_say_what_is_wrong() {
    for (line, message) in [
        ("--gpus all @host", "--gpus isn't supported yet"),
        ("-p 80:x @host", "invalid argument \"80:x\" for --publish: invalid containerPort: x"),
        (
            "--network a --network host @host",
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes: host",
        ),
        ("--cpu-count 1 @host", "--cpu-count is for Windows containers only"),
        ("-m much @host", "invalid argument \"much\" for --memory: not a size"),
        ("-w w @host", "invalid argument \"w\" for --workdir: not an absolute path"),
        ("--stop-signal NOPE @host", "invalid argument \"NOPE\" for --stop-signal: no such signal"),
        ("-v /a:/b --tmpfs /b @host", "duplicate mount point: /b"),
        ("-h x --uts host @host", "conflicting options: hostname and the UTS mode"),
        ("-h x --network container:y @host", "conflicting options: hostname and the network mode"),
        (
            "--network host --sysctl net.ipv4.ip_forward=1 @host",
            "--sysctl net.ipv4.ip_forward would change the namespace that --network shares",
        ),
        ("--privileged --isolation strict @host", "conflicting options: --privileged and --isolation strict"),
        ("--name= @home", "no built-in image @home"),
        ("--cpu 1 @host", "unknown flag: --cpu"),
    ] {
        let failure = read(line).expect_err(line);
        assert_eq!((failure.message.as_str(), failure.exit_code), (message, 125), "{line}");
        assert_eq!(failure.usage_of.as_deref(), Some("berth run"));
    }
    let failure = read("--rm").expect_err("no image");
    assert_eq!((failure.message.as_str(), failure.exit_code), ("requires at least 1 argument", 1));
    for line in [
        "-w= --name= -h= --stop-signal= --cpuset-cpus= @host",
        "--network host -h x @host",
        "--rm -d @host",
        "--pid container:x @host",
    ] {
        assert!(read(line).is_ok(), "{line}");
    }
}
