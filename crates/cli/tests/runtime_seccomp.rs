//! `linux.seccomp`, felt from inside. Source: runtime-spec config-linux.md, Seccomp.

use testkit::{Host, Value, elf, facts, json, skip};

/// 128 and the number of SIGSYS.
const KILLED: i32 = 159;

/// A profile that allows all but what `rules` say.
fn profile(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules})
}

/// What `script` prints under `seccomp`.
fn under(host: &Host, seccomp: Value, script: &str) -> String {
    host.see(script, |config| config["linux"]["seccomp"] = seccomp)
}

#[test]
fn a_filter_is_in_force() {
    let host = Host::new();
    let script = "grep -E '^Seccomp' /proc/self/status | tr -s '\\t' ' '";
    assert_eq!(under(&host, profile(json!([])), script), "Seccomp: 2\nSeccomp_filters: 1");
    assert_eq!(host.see(script, |_| ()), "Seccomp: 0\nSeccomp_filters: 0");
}

#[test]
fn a_call_fails_with_the_declared_error() {
    let host = Host::new();
    let names = json!(["mkdir", "mkdirat"]);
    let check = |rule: Value, message: &str| {
        let shown =
            under(&host, profile(json!([rule])), "mkdir /tmp/x 2>&1; ls / >/dev/null && echo else works");
        assert_eq!(shown, format!("mkdir: can't create directory '/tmp/x': {message}\nelse works"));
    };
    check(json!({"names": names, "action": "SCMP_ACT_ERRNO"}), "Operation not permitted");
    check(json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 28}), "No space left on device");
    check(json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 38}), "Function not implemented");
}

#[test]
fn the_default_action_is_for_calls_without_a_rule() {
    let host = Host::new();
    // Everything that a shell and mkdir need but mkdir itself: allowed by a profile that denies only by default.
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 28,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"action": "SCMP_ACT_ALLOW", "names": [
            "execve", "brk", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "readlink",
            "getrandom", "mprotect", "mmap", "munmap", "getuid", "geteuid", "getgid", "getegid", "setuid", "setgid",
            "write", "writev", "umask", "exit_group", "exit", "newfstatat", "fstat", "stat", "uname", "futex",
            "close", "openat", "open", "read", "fcntl", "dup2", "ioctl", "prctl", "getcwd", "rt_sigaction",
            "rt_sigprocmask", "capget", "capset", "chdir", "fchdir", "setgroups", "sendmsg", "getpid", "getppid"
        ]}]
    });
    let output =
        host.bundle().args(["/bin/mkdir", "/tmp/x"]).config(|c| c["linux"]["seccomp"] = seccomp).run();
    assert_eq!((output.status, output.err().contains("No space left on device")), (1, true), "{output:?}");
}

#[test]
fn killing_actions_kill_by_sigsys() {
    let host = Host::new();
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
        let rules = profile(json!([{"names": ["mkdir", "mkdirat"], "action": action}]));
        let bundle = host.bundle().sh("mkdir /tmp/x; echo status $?");
        let output = bundle.config(|config| config["linux"]["seccomp"] = rules.clone()).run().ok();
        assert_eq!(output.text(), format!("status {KILLED}"), "{action}");
        // And the first process itself.
        let bundle = host.bundle().args(["/bin/mkdir", "/tmp/x"]);
        bundle.config(|config| config["linux"]["seccomp"] = rules).run().code(KILLED);
    }
}

#[test]
fn a_trap_is_a_signal_and_a_log_lets_pass() {
    let host = Host::new();
    let rules = |action: &str| profile(json!([{"names": ["mkdir", "mkdirat"], "action": action}]));
    let script = "exec 2>/dev/null; mkdir /tmp/x; echo status $?";
    assert_eq!(under(&host, rules("SCMP_ACT_TRAP"), script), format!("status {KILLED}"));
    assert_eq!(under(&host, rules("SCMP_ACT_LOG"), "mkdir /tmp/log && echo made"), "made");
    // Nobody traces: the call is as if the kernel had none.
    let traced = under(&host, rules("SCMP_ACT_TRACE"), "mkdir /tmp/trace 2>&1; true");
    assert!(traced.contains("Function not implemented"), "{traced}");
}

#[test]
fn arguments_decide_where_a_rule_has_them() {
    let host = Host::new();
    // kill(pid, signal): 10 is SIGUSR1, 12 SIGUSR2, 15 SIGTERM.
    let check = |args: Value, outcome: &str| {
        let rules = profile(json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": args}]));
        let script = "trap '' USR1 USR2 TERM; for signal in USR1 USR2 TERM; do \
                      kill -$signal $$ 2>/dev/null && echo -n 'sent ' || echo -n 'refused '; done";
        assert_eq!(under(&host, rules, script), outcome, "{args}");
    };
    let arg = |value: u64, two: u64, op: &str| json!({"index": 1, "value": value, "valueTwo": two, "op": op});
    check(json!([arg(10, 0, "SCMP_CMP_EQ")]), "refused sent sent");
    check(json!([arg(10, 0, "SCMP_CMP_NE")]), "sent refused refused");
    check(json!([arg(12, 0, "SCMP_CMP_LT")]), "refused sent sent");
    check(json!([arg(12, 0, "SCMP_CMP_LE")]), "refused refused sent");
    check(json!([arg(12, 0, "SCMP_CMP_GT")]), "sent sent refused");
    check(json!([arg(12, 0, "SCMP_CMP_GE")]), "sent refused refused");
    check(json!([arg(0b1100, 0b1000, "SCMP_CMP_MASKED_EQ")]), "refused sent sent");
    // All of a rule's conditions must hold.
    let pid = json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"});
    check(json!([arg(10, 0, "SCMP_CMP_EQ"), pid]), "refused sent sent");
    let other = json!({"index": 0, "value": 2, "op": "SCMP_CMP_EQ"});
    check(json!([arg(10, 0, "SCMP_CMP_EQ"), other]), "sent sent sent");
}

#[test]
fn a_foreign_architecture_is_killed_unless_it_is_listed() {
    if !facts::runs_32_bit() {
        skip!("this kernel runs no 32-bit programs");
    }
    let host = Host::new();
    elf::write(&host.rootfs().join("bin/mkdir32"), &elf::MKDIR_32);
    let run = |architectures: Value| {
        let mut seccomp = profile(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]));
        seccomp["architectures"] = architectures;
        let bundle = host.bundle().args(["/bin/mkdir32"]);
        bundle.config(|config| config["linux"]["seccomp"] = seccomp).run().status
    };
    assert_eq!(host.bundle().args(["/bin/mkdir32"]).run().status, 14, "without a filter");
    assert_eq!(run(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])), 77);
    assert_eq!(run(json!(["SCMP_ARCH_X86"])), 77, "the native one is always there");
    assert_eq!(run(json!(["SCMP_ARCH_X86_64"])), KILLED);
    assert_eq!(run(json!([])), KILLED);
}

#[test]
fn x32_calls_are_no_way_around_a_rule() {
    if !cfg!(target_arch = "x86_64") {
        skip!("x32 is x86-64's");
    }
    let host = Host::new();
    elf::write(&host.rootfs().join("bin/mkdirx32"), &elf::MKDIR_X32);
    let run = |architectures: Value| {
        let mut seccomp = profile(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]));
        seccomp["architectures"] = architectures;
        let bundle = host.bundle().args(["/bin/mkdirx32"]);
        bundle.config(|config| config["linux"]["seccomp"] = seccomp).run().status
    };
    let unlisted = run(json!(["SCMP_ARCH_X86_64"]));
    assert!([KILLED, 1, 38].contains(&unlisted), "an unlisted x32 call passed: {unlisted}");
    assert_eq!(run(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"])), 77);
}

#[test]
fn flags_are_heeded() {
    let host = Host::new();
    let with = |flags: Value| {
        let mut seccomp = profile(json!([]));
        seccomp["flags"] = flags;
        under(
            &host,
            seccomp,
            "grep -E '^Seccomp:' /proc/self/status | cut -f2; \
                               grep Speculation_Store_Bypass /proc/self/status | cut -f2",
        )
    };
    let plain = with(json!([]));
    assert!(plain.starts_with('2'), "{plain}");
    for flags in [json!(["SECCOMP_FILTER_FLAG_LOG"]), json!(["SECCOMP_FILTER_FLAG_TSYNC"])] {
        assert_eq!(with(flags), plain);
    }
    let allowing = with(json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]));
    assert!(allowing.starts_with('2'), "{allowing}");
    assert!(!allowing.contains("force mitigated"), "{allowing}");
}

#[test]
fn calls_that_this_kernel_does_not_know_are_passed_over() {
    let host = Host::new();
    let rules = json!([{"names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let bundle = host.bundle().sh("mkdir /tmp/x 2>/dev/null || echo refused");
    bundle.config(|config| config["linux"]["seccomp"] = profile(rules)).run().ok().stdout_is("refused");
}

#[test]
fn a_filter_holds_without_no_new_privileges_too() {
    let host = Host::new();
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let shown = host.see(
        "mkdir /tmp/x 2>/dev/null || echo refused; grep NoNewPrivs /proc/self/status | cut -f2",
        |config| {
            config["linux"]["seccomp"] = profile(rules);
            config["process"]["noNewPrivileges"] = json!(false);
            config["process"]["user"] = json!({"uid": 33, "gid": 33});
            config["process"]["capabilities"] = json!({});
        },
    );
    assert_eq!(shown, "refused\n0");
}

#[test]
fn a_filter_holds_for_what_is_executed_later() {
    let host = Host::new();
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let container = host
        .bundle()
        .sh("exec sleep 60")
        .config(|config| config["linux"]["seccomp"] = profile(rules))
        .detach();
    assert_eq!(container.see("mkdir /tmp/x 2>/dev/null || echo refused"), "refused");
    container.remove();
}

#[test]
fn malformed_profiles_are_refused_by_name() {
    let host = Host::new();
    let check = |seccomp: Value, part: &str| {
        host.refused(|config| config["linux"]["seccomp"] = seccomp.clone()).stderr_has(&["seccomp", part]);
    };
    check(json!({"defaultAction": "SCMP_ACT_CHEESE"}), "SCMP_ACT_CHEESE");
    check(json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "SCMP_ACT_NOTIFY");
    check(profile(json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}])), "SCMP_ACT_NOTIFY");
    let arg = |index: u32, op: &str| {
        json!([{
            "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": index, "value": 1, "op": op}]
        }])
    };
    check(profile(arg(6, "SCMP_CMP_EQ")), "index");
    check(profile(arg(0, "SCMP_CMP_CHEESE")), "SCMP_CMP_CHEESE");
    let mut odd = profile(json!([]));
    odd["architectures"] = json!(["SCMP_ARCH_CHEESE"]);
    check(odd, "SCMP_ARCH_CHEESE");
    let mut odd = profile(json!([]));
    odd["flags"] = json!(["SECCOMP_FILTER_FLAG_CHEESE"]);
    check(odd, "SECCOMP_FILTER_FLAG_CHEESE");
    let mut odd = profile(json!([]));
    odd["listenerPath"] = json!("/run/agent");
    check(odd, "listenerPath");
}
