//! `berth logs`, and the drivers of logs.

use super::*;
use std::path::PathBuf;
use testkit::cmd::signal_pid;

/// Runs `script` to its end, its log kept as `flags` say.
fn job(host: &Host, name: &str, flags: &[&str], script: &str) {
    let run = ["run", "--name", name];
    host.berth(run.iter().chain(flags).chain(&["@host", "sh", "-c", script])).run().ok();
}

fn log_path(host: &Host, name: &str) -> PathBuf {
    inspect(host, name, "{{.LogPath}}").into()
}

const JSON: [&str; 2] = ["--log-driver", "json-file"];

#[test]
fn a_json_file_is_dockers() {
    let host = Host::new();
    let flags = ["--log-opt", "labels=tier", "--log-opt", "env=APP", "--log-opt", "tag={{.Name}}"];
    let run = [&["-l", "tier=db", "-e", "APP=a b"][..], &JSON, &flags].concat();
    job(&host, "web", &run, "echo '<out>'; sleep 0.01; echo err >&2; sleep 0.01; printf end");
    let id = inspect(&host, "web", "{{.Id}}");
    let path = log_path(&host, "web");
    assert_eq!(path, host.root_dir().join("containers").join(&id).join(format!("{id}-json.log")));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let attrs = r#""attrs":{"APP":"a b","tag":"web","tier":"db"},"time":""#;
    for (line, log, stream) in [
        (lines[0], r#"\u003cout\u003e\n"#, "stdout"),
        (lines[1], r#"err\n"#, "stderr"),
        (lines[2], "end", "stdout"),
    ] {
        let begin = format!(r#"{{"log":"{log}","stream":"{stream}",{attrs}"#);
        assert!(line.starts_with(&begin) && line.ends_with("Z\"}"), "{line}");
    }
    assert_eq!(lines.len(), 3);
    let output = host.berth(["logs", "web"]).run().ok();
    assert_eq!((output.text(), output.err()), ("<out>\nend".to_owned(), "err".to_owned()));
    let details = host.berth(["logs", "--details", "web"]).run().ok();
    assert!(details.text().starts_with("APP=a+b,tag=web,tier=db <out>\n"), "{details:?}");
    assert_eq!(host.berth(["logs", "-n", "1", "web"]).text(), "end");
    let stamped = host.berth(["logs", "-t", "web"]).run().ok().text();
    let since = stamped.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(host.berth(["logs", "--since", &since, "web"]).text(), "end");
    assert_eq!(
        inspect(&host, "web", "{{json .HostConfig.LogConfig}}"),
        r#"{"Config":{"env":"APP","labels":"tier","tag":"{{.Name}}"},"Type":"json-file"}"#
    );
    // Started again, it goes on in the same file.
    host.berth(["start", "-a", "web"]).run().ok();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 6);
    remove(&host, &["web"]);
    assert!(!path.exists());
}

#[test]
fn json_files_rotate_as_dockers_do() {
    let host = Host::new();
    let opts = ["--log-opt", "max-size=10k", "--log-opt", "max-file=3"];
    let script = "i=0; while test $i -lt 600; do i=$((i+1)); echo line $i; done";
    for (name, more) in [("plain", None), ("packed", Some("compress=true"))] {
        let more: Vec<&str> = more.iter().flat_map(|option| ["--log-opt", option]).collect();
        job(&host, name, &[&JSON[..], &opts, &more].concat(), script);
        let path = log_path(&host, name);
        let suffix = if more.is_empty() { "" } else { ".gz" };
        let mut names: Vec<String> = std::fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| Some(name.split_once("-json.log")?.1.to_owned()))
            .collect();
        names.sort();
        assert_eq!(names, ["".to_owned(), format!(".1{suffix}"), format!(".2{suffix}")]);
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
        assert!(size(&path) < 10_200);
        if more.is_empty() {
            let older = path.with_added_extension("1");
            assert!((10_000..10_200).contains(&size(&older)), "{}", size(&older));
        }
        let shown = host.berth(["logs", name]).text();
        let lines: Vec<&str> = shown.lines().collect();
        let first: u32 = lines[0].strip_prefix("line ").unwrap().parse().unwrap();
        assert!(first > 200, "{first}");
        let expected: Vec<String> = (first..=600).map(|n| format!("line {n}")).collect();
        assert_eq!(lines, expected);
        // The last lines, across files.
        let tail = host.berth(["logs", "-n", "200", name]).text();
        assert_eq!(tail.lines().collect::<Vec<_>>(), expected[expected.len() - 200..]);
    }
    remove(&host, &["plain", "packed"]);
}

#[test]
fn followed_lines_of_a_json_file_are_whole_across_its_rotations() {
    let host = Host::new();
    let script = "read x; i=0; while test $i -lt 3000; do i=$((i+1)); echo line $i; done; exit 3";
    let opts = ["--log-opt", "max-size=20k", "--log-opt", "max-file=50"];
    let run = [&["run", "-di", "--name", "web"][..], &JSON, &opts, &["@host", "sh", "-c", script]].concat();
    host.berth(run).run().ok();
    let follower = host.berth(["logs", "-f", "web"]).spawn();
    host.berth(["attach", "web"]).stdin("go\n").run().code(3);
    let expected: Vec<String> = (1..=3000).map(|n| format!("line {n}")).collect();
    assert_eq!(follower.wait().ok().text(), expected.join("\n"));
    remove(&host, &["web"]);
}

#[test]
fn every_driver_passes_bytes_on_to_who_runs_it() {
    let host = Host::new();
    let script = "head -c 5000000 /dev/urandom | tee /sum; md5sum < /sum >&2";
    for driver in ["local", "json-file", "none"] {
        let output =
            host.berth(["run", "--rm", "--log-driver", driver, "@host", "sh", "-c", script]).run().ok();
        assert_eq!(output.stdout.len(), 5_000_000, "{driver}");
        let sum = testkit::Cmd::new("md5sum", [] as [&str; 0]).stdin(output.stdout.clone()).run().ok().text();
        assert_eq!(output.err(), sum, "{driver}");
        let mut terminal = host.pty(["run", "-it", "--rm", "--log-driver", driver, "@host", "sh"]);
        terminal.send("echo $((40+2))\n");
        terminal.expect("42");
        terminal.send("exit 5\n");
        assert_eq!(terminal.wait(), 5, "{driver}");
    }
}

#[test]
fn with_none_nothing_is_kept_and_attach_shows_what_comes() {
    let host = Host::new();
    let script = "read x; echo out $x; exit 3";
    let run = ["run", "-di", "--name", "web", "--log-driver", "none", "@host", "sh", "-c", script];
    host.berth(run).run().ok();
    let watching = host.berth(["attach", "--no-stdin", "web"]).spawn();
    let client = host.berth(["attach", "web"]).stdin("1\n").run().code(3);
    // Whoever came late sees nothing of it.
    for output in [client, watching.wait().code(3)] {
        assert!(["", "out 1"].contains(&output.text().as_str()), "{output:?}");
    }
    for flags in [&["logs", "web"][..], &["logs", "-f", "web"]] {
        host.berth(flags.iter())
            .run()
            .code(1)
            .stdout_is("")
            .stderr_has(&["configured logging driver does not support reading", "berth attach"]);
    }
    assert_eq!(inspect(&host, "web", "{{.HostConfig.LogConfig.Type}} [{{.LogPath}}]"), "none []");
    let state = PathBuf::from(inspect(&host, "web", "{{.Berth.StateDir}}"));
    assert!(!state.join("log").exists());
    host.berth(["start", "-a", "-i", "web"]).stdin("2\n").run().code(3).stdout_is("out 2");
    remove(&host, &["web"]);
}

#[test]
fn a_local_log_is_as_long_as_asked() {
    let host = Host::new();
    let script = "i=0; while test $i -lt 6000; do i=$((i+1)); echo line $i; done";
    let opts = ["--log-opt", "max-size=10k", "--log-opt", "max-file=2"];
    for (name, more) in [("plain", "compress=false"), ("packed", "compress=true")] {
        job(&host, name, &[&opts[..], &["--log-opt", more]].concat(), script);
        let shown = host.berth(["logs", name]).text();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.last(), Some(&"line 6000"));
        let first: u32 = lines[1].strip_prefix("line ").unwrap().parse().unwrap();
        // A file may be as long again by what comes at once: at most 40,960 bytes of 58,893 are left, which begin at line 1,904.
        assert!(first > 1900, "{first}");
        assert_eq!(lines.len() as u32, 6002 - first);
        let dir = PathBuf::from(inspect(&host, name, "{{.Berth.LogDir}}"));
        let packed = || {
            let entries = std::fs::read_dir(&dir).unwrap().flatten();
            entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".gz")).count()
        };
        // It's packed by a process that takes its time.
        assert!(until(PATIENCE, || packed() == usize::from(name == "packed")), "{name}: {}", packed());
    }
    remove(&host, &["plain", "packed"]);
}

#[test]
fn the_end_of_a_long_log_is_found_without_its_beginning() {
    let host = Host::new();
    let many = "yes 'a line of the log, neither long nor short' | head -n 120000; touch /many";
    let begin = format!("echo begin; test -e /many || {{ echo bad >&2; {many}; }}");
    let script = format!("{begin}; printf 'half '; echo end; read x");
    let flags = ["--name", "long", "--log-opt", "max-size=100m", "@host", "sh", "-c", &script];
    host.berth(["run", "-di"].iter().chain(&flags)).run().ok();
    let last = |lines: &str| host.berth(["logs", "-n", lines, "long"]).run().ok().text();
    assert!(until(PATIENCE, || last("1") == "half end"));
    // Whoever begins at the beginning comes to nothing.
    let log = PathBuf::from(inspect(&host, "long", "{{.Berth.LogDir}}")).join("0");
    let file = std::fs::OpenOptions::new().write(true).open(log).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"?", 0).unwrap();
    assert_eq!(host.berth(["logs", "long"]).run().ok().text(), "");
    assert_eq!(last("2"), "a line of the log, neither long nor short\nhalf end");
    // Nor does the keeper of another run.
    host.berth(["stop", "-t", "0", "long"]).run().ok();
    host.berth(["start", "long"]).run().ok();
    assert!(until(PATIENCE, || last("3") == "half end\nbegin\nhalf end"), "{}", last("3"));
    host.berth(["stop", "-t", "0", "long"]).run().ok();
    let followed = host.berth(["logs", "-f", "-n", "2", "long"]).run();
    assert_eq!(followed.ok().text(), "begin\nhalf end");
    remove(&host, &["long"]);
}

#[test]
fn drivers_and_options_that_there_are_not_are_refused() {
    let host = Host::new();
    for (flags, says) in [
        (&["--log-driver", "syslog"][..], "logger: no log driver named 'syslog' is registered"),
        (&["--log-driver", "none", "--log-opt", "max-size=1m"], "invalid logging opts for driver none"),
        (
            &["--log-driver", "json-file", "--log-opt", "size=1m"],
            "unknown log opt 'size' for json-file log driver",
        ),
        (&["--log-opt", "mode=fast"], "logger: logging mode not supported: fast"),
    ] {
        host.berth([&["run", "--rm"][..], flags, &["@host", "true"]].concat())
            .run()
            .code(125)
            .stderr_has(&[says]);
        host.berth([&["create"][..], flags, &["@host", "true"]].concat()).run().failed().stderr_has(&[says]);
    }
    job(&host, "web", &[], "echo one; echo two");
    for tail in ["all", "x", "-1", ""] {
        assert_eq!(host.berth(["logs", "--tail", tail, "web"]).text(), "one\ntwo", "{tail}");
    }
    remove(&host, &["web"]);
}

#[test]
fn several_are_merged_by_time_with_their_names() {
    let host = Host::new();
    let ctl = host.path("ctl");
    std::fs::create_dir_all(&ctl).unwrap();
    let volume = format!("{}:/ctl", ctl.display());
    // They write in turns.
    let script = |own: &str, other: &str| {
        format!(
            "for n in 1 2 3; do until test -e /ctl/{own}$n; do sleep 0.005; done; echo {own} $n; sleep 0.01; \
             touch /ctl/{other}$n; done; printf end >&2"
        )
    };
    let run = |name: &str, flags: &[&str], script: &str| {
        let run = ["run", "-d", "--name", name, "-v", &volume];
        host.berth(run.iter().chain(flags).chain(&["@host", "sh", "-c", script])).run().ok();
    };
    run("aa", &[], &script("a", "b"));
    run("longer", &JSON, &script("b", "c"));
    let follower = host.berth(["logs", "-f", "aa", "longer"]).spawn();
    for n in 1..=3 {
        std::fs::write(ctl.join(format!("a{n}")), "").unwrap();
        assert!(until(PATIENCE, || ctl.join(format!("c{n}")).exists()));
    }
    let turns: Vec<String> = (1..=3).map(|n| format!("aa     | a {n}\nlonger | b {n}")).collect();
    let followed = follower.wait().ok();
    assert_eq!(followed.text(), turns.join("\n"));
    let shown = host.berth(["logs", "aa", "longer"]).run().ok();
    assert_eq!(shown.text(), turns.join("\n"));
    let mut ends: Vec<String> = shown.err().lines().map(str::to_owned).collect();
    ends.sort();
    assert_eq!(ends, ["aa     | end", "longer | end"]);
    let grep = |flags: &[&str]| host.berth(["logs"].iter().chain(flags)).run().ok().text();
    assert_eq!(grep(&["--grep", "[ab] 2", "aa", "longer"]), "aa     | a 2\nlonger | b 2");
    assert_eq!(grep(&["--grep", "a [12]|end", "--invert-match", "aa"]), "a 3");
    assert_eq!(grep(&["-n", "2", "--grep", "a", "longer", "aa"]), "aa     | a 3");
    let colours = host.pty(["logs", "--grep", "2", "aa", "longer"]);
    let mut colours = colours;
    colours.expect("\x1b[36maa     |\x1b[0m a 2");
    colours.expect("\x1b[33mlonger |\x1b[0m b 2");
    assert_eq!(colours.wait(), 0);
    host.berth(["logs", "--grep", "(", "aa"]).run().failed().stderr_has(&["is no regular expression"]);
    host.berth(["logs", "aa", "nobody"])
        .run()
        .code(1)
        .stdout_is("")
        .stderr_has(&["no such container: nobody"]);
    host.berth(["logs", "--invert-match", "aa"]).run().code(125).stderr_has(&["needs --grep"]);
    remove(&host, &["aa", "longer"]);
}

#[test]
fn a_full_disk_costs_whole_lines_and_leaves_a_gap() {
    for driver in ["local", "json-file"] {
        let host = Host::new();
        host.small_root(12_000_000);
        let ctl = host.path("ctl");
        std::fs::create_dir_all(&ctl).unwrap();
        let filler = host.root_dir().join("filler");
        // Gone, it leaves more room than what the keeper hasn't read by then takes.
        std::fs::write(&filler, vec![0; 8_000_000]).unwrap();
        let volume = format!("{}:/ctl", ctl.display());
        let script = "yes 0123456789012345678901234567890123456789 | head -n 200000 | cat -n; touch /ctl/full; \
                      until test -e /ctl/go; do sleep 0.01; done; echo after; exit 3";
        let run = ["run", "-d", "--name", "web", "--log-driver", driver, "-v", &volume];
        host.berth(run.iter().chain(&["@host", "sh", "-c", script])).run().ok();
        assert!(until(PATIENCE, || ctl.join("full").exists()));
        std::fs::remove_file(&filler).unwrap();
        std::fs::write(ctl.join("go"), "").unwrap();
        assert_eq!(host.berth(["wait", "web"]).run().ok().text(), "3");
        let output = host.berth(["logs", "web"]).run().ok();
        let (shown, told) = (output.text(), output.err());
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.last(), Some(&"after"), "{driver}: {told}");
        let kept = lines.len() - 1;
        assert!((1000..199_000).contains(&kept), "{driver}: {kept}");
        let mut numbers = Vec::new();
        let whole = "0123456789012345678901234567890123456789";
        let mut kept = kept;
        for line in &lines[..kept] {
            let (number, rest) = line.trim_start().split_once('\t').unwrap_or((line, ""));
            if rest != whole {
                // Its beginning was written before the disk was full.
                assert!(driver == "local" && whole.starts_with(rest), "torn: {line:?}");
                kept -= 1;
                continue;
            }
            numbers.push(number.parse::<usize>().unwrap());
        }
        assert!(numbers.is_sorted(), "{driver}");
        let lost: usize = told
            .lines()
            .map(|line| {
                assert!(line.ends_with("of stdout lost here: no space left on device"), "{line}");
                let count = line.strip_prefix("berth: ").and_then(|rest| rest.split_once(" line"));
                count.unwrap().0.parse::<usize>().unwrap()
            })
            .sum();
        assert!(kept + 2 >= lines.len());
        assert_eq!(kept + lost, 200_000, "{driver}: {told}");
        remove(&host, &["web"]);
    }
}

#[test]
fn a_gigabyte_of_logs_costs_the_keeper_little() {
    let host = Host::new();
    for (driver, bytes) in [("local", "1000000000"), ("json-file", "150000000")] {
        let script = format!("yes 'a line of the log, neither long nor short' | head -c {bytes}; read x");
        let flags = ["--log-driver", driver, "--log-opt", "max-size=10m", "--log-opt", "max-file=2"];
        let run = [&["run", "-di", "--name", driver][..], &flags, &["@host", "sh", "-c", &script]].concat();
        host.berth(run).run().ok();
        let keeper = keeper(&host, driver);
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{keeper}/{file}")).unwrap();
        let taken = || {
            let log = host.berth(["logs", "-n", "1", driver]).run().text();
            let reads = host.berth(["top", driver, "-o", "pid,comm"]).run().text();
            !log.is_empty() && !reads.contains("yes")
        };
        assert!(until(Duration::from_secs(60), taken), "{driver}");
        let pss = read("smaps_rollup");
        // Pages of the program are shared with whatever else of berth's runs, and a debug build has many.
        let pss = pss.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap().trim();
        let kib: u64 = pss.strip_suffix(" kB").unwrap().trim().parse().unwrap();
        assert!(kib < 5_000, "{driver}: {kib} KiB");
        remove(&host, &[driver]);
    }
}

/// Lines that `log` holds, of the numbered ones, and those that its gaps tell of.
fn kept_and_lost(log: &testkit::Output) -> (u64, u64) {
    let text = String::from_utf8_lossy(&log.stdout).into_owned() + &String::from_utf8_lossy(&log.stderr);
    let gap = |line: &str| -> Option<u64> {
        line.strip_prefix("berth: ")?
            .split_once(" line")?
            .0
            .parse()
            .ok()
            .filter(|_| line.contains("max-buffer-size"))
    };
    let lost = text.lines().filter_map(gap).sum();
    (text.lines().filter(|line| line.starts_with("line ")).count() as u64, lost)
}

#[test]
fn a_disk_that_stands_still_holds_no_container_up() {
    for driver in ["local", "json-file"] {
        let host = Host::new();
        let script = "until test -e /etc/go; do sleep 0.02; done; rm /etc/go; seq -f 'line %.0f' 100000; touch /etc/done
            until test -e /etc/go; do sleep 0.02; done; rm /etc/go; echo last; echo half >&2";
        let options = ["--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=100k"];
        let run = ["run", "-d", "--name", "web", "--log-driver", driver].into_iter().chain(options);
        // Who writes to the disk stops, as if in a call that doesn't return.
        let run = host.berth(run.chain(["@host", "sh", "-c", script]));
        run.env("BERTH_FAULT", "log-writer:1:stop").run().ok().silent();
        assert!(until(PATIENCE, || host.stopped().is_some()));
        let go = || host.berth(["exec", "web", "touch", "/etc/go"]).run().ok();
        go();
        let done = || host.berth(["exec", "web", "test", "-e", "/etc/done"]).run().status == 0;
        assert!(until(PATIENCE, done), "{driver}: it waits");
        assert_eq!(host.berth(["logs", "web"]).text(), "", "{driver}");
        let journal = host.run_dir().join("containers").join(inspect(&host, "web", "{{.Id}}")).join("log");
        let files = std::fs::read_dir(journal).unwrap().flatten();
        let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
        assert!(bytes < 1 << 20, "{driver}: {bytes} bytes wait");
        // It goes on, and what had room is there, with what hadn't counted.
        signal_pid(host.stopped().unwrap(), 18);
        let first = || host.berth(["logs", "web"]).run().text().starts_with("line 1\n");
        assert!(until(PATIENCE, first), "{driver}");
        go();
        host.berth(["wait", "web"]).run().ok().stdout_is("0");
        let log = host.berth(["logs", "web"]).run().ok();
        let (kept, lost) = kept_and_lost(&log);
        assert_eq!(kept + lost, 100_000, "{driver}: {kept} kept, {lost} lost");
        assert!(kept > 1000 && lost > 1000, "{driver}: {kept} kept, {lost} lost");
        let text = String::from_utf8_lossy(&log.stdout).into_owned();
        assert!(text.contains("\nlast\n") && log.err().contains("half"), "{driver}");
        // Started again, it goes on where it ended.
        host.berth(["start", "web"]).run().ok();
        go();
        let taken = || host.berth(["exec", "web", "test", "-e", "/etc/go"]).run().status == 1;
        assert!(until(PATIENCE, taken));
        go();
        host.berth(["wait", "web"]).run().ok();
        let log = host.berth(["logs", "web"]).run().ok();
        assert_eq!(String::from_utf8_lossy(&log.stdout).matches("\nlast\n").count(), 2, "{driver}");
        let (both, lost_both) = kept_and_lost(&log);
        assert_eq!(both + lost_both, 200_000, "{driver}");
        remove(&host, &["web"]);
    }
}

#[test]
fn with_a_writer_of_its_own_no_line_is_lost_whoever_is_killed() {
    for driver in ["local", "json-file"] {
        let host = Host::new();
        let script =
            "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; [ $((i % 10)) = 0 ] && sleep 0.01; done";
        let run = ["run", "-d", "--name", "web", "--log-driver", driver, "--log-opt", "mode=non-blocking"];
        host.berth(run.into_iter().chain(["@host", "sh", "-c", script])).run().ok();
        let named = |name: &str| -> Vec<u32> {
            let berth = host.dir().join("bin/berth").display().to_string();
            let read =
                |pid: u32, file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let pids = std::fs::read_dir("/proc").unwrap().flatten();
            let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            let ours = pids.filter(|pid| read(*pid, "cmdline").starts_with(berth.as_bytes()));
            ours.filter(|pid| read(*pid, "comm") == format!("{name}\n").as_bytes()).collect()
        };
        let mut killed = 0;
        for name in ["berth-log", "berth-log", "berth-keeper", "berth-log", "berth-keeper"] {
            let victims = named(name);
            killed += victims
                .iter()
                .filter(|pid| testkit::cmd::kill_if(**pid, || named(name).contains(pid)))
                .count();
            until(Duration::from_millis(100), || named(name).iter().any(|pid| !victims.contains(pid)));
        }
        assert!(killed >= 3, "{driver}: {killed}");
        host.berth(["wait", "web"]).run().ok();
        let expected: Vec<String> = (1..=400).map(|i| format!("line {i}")).collect();
        assert_eq!(host.berth(["logs", "web"]).text(), expected.join("\n"), "{driver}");
        assert_eq!(named("berth-log"), Vec::<u32>::new(), "{driver}");
        remove(&host, &["web"]);
    }
}
