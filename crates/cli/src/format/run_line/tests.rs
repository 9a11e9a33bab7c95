use super::*;
use crate::commands::run;
use proptest::prelude::*;
use std::ffi::OsString;

/// Each flag of `run` that is part of the request, with values that differ in what they mean.
const POOL: &[&str] = &[
    "--name=web",
    "--hostname=box",
    "--domainname=dom",
    "--label=k=v",
    "--label=empty",
    "--label=k=a b'c",
    "--annotation=org.a=1",
    "--expose=80",
    "--expose=7000-7002/udp",
    "--cidfile=/c d",
    "--interactive",
    "--tty",
    "--rm",
    "--restart=always",
    "--restart=on-failure:3",
    "--restart=on-failure",
    "--entrypoint=sh",
    "--entrypoint=",
    "--env=A=1",
    "--env=A=x=y $z",
    "--env=NOT_THE_CALLERS",
    "--user=1000:60",
    "--group-add=5",
    "--group-add=audio",
    "--workdir=/w",
    "--init",
    "--stop-signal=INT",
    "--stop-signal=RTMIN+3",
    "--stop-timeout=-1",
    "--stop-timeout=5",
    "--health-cmd=test -e /x || exit 1",
    "--health-http=:8080/ready?x=1",
    "--health-tcp=[::1]:5432",
    "--health-interval=1m30s",
    "--health-timeout=500ms",
    "--health-start-period=1.5ms",
    "--health-start-interval=7s",
    "--health-retries=5",
    "--health-on-failure=restart",
    "--no-healthcheck",
    "--log-driver=json-file",
    "--log-opt=max-size=1m",
    "--log-opt=compress",
    "--runtime=runc",
    "--detach",
    "--attach=stdout",
    "--attach=stderr",
    "--attach=stdin",
    "--detach-keys=ctrl-a,b",
    "--detach-keys=ctrl-@,ctrl-[,DEL,~",
    "--sig-proxy=false",
    "--explain",
    "--network=none",
    "--network=host",
    "--network=container:x",
    "--network=ns:/run/n",
    "--network=blue",
    "--network=name=red,alias=a,ip=10.0.0.5,gw-priority=3,driver-opt=k=v",
    "--publish=80",
    "--publish=127.0.0.1:8000-8010:80/udp",
    "--publish=[::1]:8080:80",
    "--publish-all",
    "--publish-from=other",
    "--ip=10.0.0.7",
    "--ip6=fd00::7",
    "--link-local-ip=169.254.0.7",
    "--mac-address=02:42:0a:00:00:07",
    "--network-alias=other",
    "--link=db:data",
    "--add-host=db=10.0.0.5",
    "--add-host=gw=host-gateway",
    "--dns=192.0.2.53",
    "--dns-search=example.com",
    "--dns-option=ndots:2",
    "--pid=host",
    "--pid=container:y",
    "--ipc=none",
    "--ipc=shareable",
    "--ipc=container:z",
    "--ipc=private",
    "--uts=private",
    "--uts=host",
    "--userns=host",
    "--userns=private",
    "--cgroupns=host",
    "--time-offset=monotonic=-1.5",
    "--time-offset=boottime=86400",
    "--time-offset=boottime=0.000000001",
    "--memory=64m",
    "--memory-swap=-1",
    "--memory-swap=128m",
    "--memory-reservation=32m",
    "--memory-swappiness=0",
    "--oom-kill-disable",
    "--cpus=1.5",
    "--cpus=0.000000001",
    "--cpu-period=5000",
    "--cpu-quota=-1",
    "--cpu-rt-period=1000",
    "--cpu-rt-runtime=500",
    "--cpu-shares=512",
    "--cpuset-cpus=0-1",
    "--cpuset-mems=0",
    "--pids-limit=-1",
    "--pids-limit=7",
    "--blkio-weight=300",
    "--blkio-weight-device=/dev/sda:200",
    "--device-read-bps=/dev/sda:1mb",
    "--device-write-bps=/dev/sda:1",
    "--device-read-iops=/dev/sda:10",
    "--device-write-iops=/dev/sdb:20",
    "--cgroup-parent=/small",
    "--oom-score-adj=-5",
    "--shm-size=1m",
    "--ulimit=nofile=5:10",
    "--ulimit=core=-1",
    "--ulimit=nproc=3",
    "--sysctl=kernel.msgmax=1",
    "--sysctl=net.ipv4.ip_forward=1",
    "--privileged",
    "--cap-add=net_admin",
    "--cap-drop=ALL",
    "--security-opt=seccomp=unconfined",
    "--security-opt=no-new-privileges",
    "--security-opt=apparmor=unconfined",
    "--security-opt=apparmor=mine",
    "--security-opt=label=disable",
    "--security-opt=label=level:s0",
    "--security-opt=mask=/a:/b",
    "--security-opt=unmask=ALL",
    "--security-opt=systempaths=unconfined",
    "--isolation=strict",
    "--read-only",
    "--volume=/a:/b:ro,rslave",
    "--volume=/a:/c",
    "--volume=/a:/d:z,noidmap",
    "--volume=data:/v",
    "--volume=data:/v2:ro,nocopy",
    "--volume=/own",
    "--volume=/own2:ro",
    "--volumes-from=x:ro",
    "--volumes-from=y",
    "--mount=type=bind,source=/s,target=/m1,readonly,bind-recursive=readonly",
    "--mount=type=bind,source=/s:1,target=/m2,bind-create-src,bind-propagation=shared,bind-recursive=disabled",
    "--mount=type=bind,\"source=/s,with \"\"quotes\"\"\",target=/m3,bind-noidmap",
    "--mount=type=volume,source=v,target=/m4,volume-nocopy,volume-subpath=a/b,volume-label=k=v,volume-opt=type=tmpfs",
    "--mount=type=volume,target=/m5",
    "--mount=type=tmpfs,target=/m6:7,tmpfs-size=64m,tmpfs-mode=700",
    "--mount=type=image,source=alpine,target=/m8,image-subpath=etc",
    "--tmpfs=/t1",
    "--tmpfs=/t2:size=1m,mode=1700,exec,uid=5,ro",
    "--device=/dev/fuse",
    "--device=/dev/a:/dev/b:r",
    "--device-cgroup-rule=c 10:* rwm",
];

/// Flags that say how an image comes here, that read files, or that have no effect.
const NOT_ASKED: [&str; 9] = [
    "pull",
    "platform",
    "quiet",
    "env-file",
    "label-file",
    "volume-driver",
    "kernel-memory",
    "disable-content-trust",
    "rootfs",
];

fn read(words: &[String]) -> Option<RunRequest> {
    let words: Vec<OsString> = words.iter().map(Into::into).collect();
    match crate::flags::parse(&run::SPEC, "berth run", &words).ok()? {
        crate::flags::Asked::Work(parsed) => run::request(&parsed).ok(),
        crate::flags::Asked::Help => None,
    }
}

#[test]
fn every_flag_is_in_the_pool_and_comes_back() {
    let in_pool = |name: &str| {
        POOL.iter().any(|word| word.strip_prefix("--").and_then(|word| word.split('=').next()) == Some(name))
    };
    for flag in run::SPEC.all_flags() {
        assert!(in_pool(flag.name) || NOT_ASKED.contains(&flag.name), "--{} isn't in the pool", flag.name);
    }
    for word in POOL {
        // Some need others.
        let with = ["--memory=64m".to_owned(), (*word).to_owned(), "@host".to_owned()];
        let Some(request) = read(&with) else { panic!("{word}") };
        let words: Vec<String> = flags(&request).into_iter().chain(rest(&request)).collect();
        assert_eq!(read(&words), Some(request), "{word}: {words:?}");
    }
}

proptest! {
    #[test]
    fn a_line_that_was_read_is_written_so_that_it_reads_the_same(
        picked in proptest::sample::subsequence(POOL.to_vec(), 0..POOL.len()),
        source in proptest::sample::select(vec!["@host", "alpine:3", "--rootfs=/r o o t"]),
        command in proptest::collection::vec("[-a-z $'\\\\]{0,6}", 0..4),
    ) {
        // What contradicts the words before it is left out.
        let mut words: Vec<String> = Vec::new();
        for word in picked {
            words.push(word.to_owned());
            let whole: Vec<String> = words.iter().cloned().chain(["@host".to_owned()]).collect();
            if read(&whole).is_none() {
                words.pop();
            }
        }
        words.push(source.to_owned());
        if source.starts_with("--") {
            words.push("--".to_owned());
        }
        words.extend(command);
        if let Some(request) = read(&words) {
            let again: Vec<String> = flags(&request).into_iter().chain(rest(&request)).collect();
            prop_assert_eq!(read(&again), Some(request), "{:?}", again);
        }
    }

    #[test]
    fn a_shell_reads_the_words_that_were_quoted(word in "\\PC{0,8}|[ -~\n\t\u{1b}]{0,8}") {
        let script = format!("printf %s {}", quoted(&word));
        let mut shell = testkit::Cmd::new("/bin/bash", ["-c", script.as_str()]);
        shell = shell.env("LC_ALL", "C.UTF-8");
        let output = shell.run();
        prop_assert_eq!(String::from_utf8_lossy(&output.stdout), word);
    }
}
