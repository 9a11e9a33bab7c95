//! What goes wrong around containers: clocks that jump, databases of other versions, process ids that belong to somebody
//! else by now, disks that are full or read-only.

use super::*;
use testkit::cmd::signal_pid;
use testkit::{Cmd, Output};

/// A clock that the test moves while processes run (`linux::fault::clock_skew_ns`).
struct Clock(std::path::PathBuf);

impl Clock {
    fn of(host: &Host) -> Clock {
        Clock(host.path("clock"))
    }

    fn set(&self, seconds: i64) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    fn berth(&self, host: &Host, args: &[&str]) -> Cmd {
        host.berth(args).env("BERTH_CLOCK", &self.0)
    }
}

#[test]
fn a_clock_that_jumps_backwards_harms_no_container() {
    let host = Host::new();
    let clock = Clock::of(&host);
    clock.set(0);
    let script = "echo one; until test -e /etc/go; do sleep 0.02; done; rm /etc/go; echo two; exit 3";
    let flags = ["run", "-d", "--name", "job", "--restart", "on-failure:1"];
    let check = ["--health-cmd", "true", "--health-interval", "50ms"];
    let program = ["@host", "sh", "-c", script];
    let args: Vec<&str> = flags.into_iter().chain(check).chain(program).collect();
    clock.berth(&host, &args).run().ok();
    let healthy = || inspect(&host, "job", "{{.State.Health.Status}}") == "healthy";
    assert!(until(PATIENCE, healthy));
    clock.set(-3600);
    // Probes go on.
    let last = || inspect(&host, "job", "{{range .State.Health.Log}}{{.Start}} {{end}}");
    let before = last();
    assert!(until(PATIENCE, || last() != before));
    // It ends before it began, as far as the clock goes, and is started again without an hour's wait.
    let go = || clock.berth(&host, &["exec", "job", "touch", "/etc/go"]).run().ok();
    go();
    assert!(until(PATIENCE, || inspect(&host, "job", "{{.RestartCount}} {{.State.Status}}") == "1 running"));
    clock.set(-7200);
    go();
    clock.berth(&host, &["wait", "job"]).run().ok().stdout_is("3\n");
    assert_eq!(
        inspect(&host, "job", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}"),
        "exited 3 1"
    );
    assert_eq!(host.berth(["logs", "job"]).text(), "one\ntwo\none\ntwo");
    assert_eq!(host.berth(["logs", "-n", "1", "job"]).text(), "two");
    // What is told stays in order, each start with its end.
    let told = host.berth(["events", "--since", "1h", "--until", "0s", "-f", "container=job", "--format"]);
    let told = told.arg("{{.TimeNano}} {{.Action}}").text();
    let told: Vec<(i64, &str)> = told
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(time, action)| (time.parse().unwrap(), action))
        .collect();
    assert!(told.is_sorted_by_key(|(time, _)| *time), "{told:?}");
    let life: Vec<&str> =
        told.iter().map(|(_, action)| *action).filter(|a| ["start", "die"].contains(a)).collect();
    assert_eq!(life, ["start", "die", "start", "die"]);
    // One from what is now the future is listed, stopped and removed like any other.
    clock.berth(&host, &["start", "job"]).run().ok();
    clock.set(-10_800);
    assert_eq!(clock.berth(&host, &["ps", "--format", "{{.Names}} {{.State}}"]).text(), "job running");
    clock.berth(&host, &["stop", "-t", "0", "job"]).run().ok();
    clock.berth(&host, &["rm", "job"]).run().ok();
}

#[test]
fn a_keeper_killed_while_it_waits_is_followed_by_one_with_another_clock() {
    let host = Host::new();
    let clock = Clock::of(&host);
    clock.set(0);
    let run = ["run", "-d", "--name", "job", "--restart", "always", "@host", "sh", "-c", "exit 3"];
    clock.berth(&host, &run).run().ok();
    assert!(until(PATIENCE, || inspect(&host, "job", "{{.State.Status}}") == "restarting"));
    clock.set(-86_400);
    let count = || inspect(&host, "job", "{{.RestartCount}}").parse::<u32>().unwrap_or(0);
    let before = count();
    for (pid, _) in own_processes(&host) {
        testkit::cmd::kill_if(pid, || true);
    }
    assert!(until(PATIENCE, || count() > before), "{before}");
    remove(&host, &["job"]);
}

#[test]
fn a_restart_by_a_user_whose_keeper_is_killed_is_no_stop() {
    let host = Host::new();
    let run = ["run", "-d", "--name", "job", "--restart", "always", "@host", "sh", "-c", "exit 3"];
    // Before it starts the container again, its keeper stands still.
    host.berth(run).env("BERTH_FAULT", "restarter:1:stop").run().ok();
    assert!(until(PATIENCE, || host.stopped().is_some()));
    let dir = inspect(&host, "job", "{{.Berth.RunDir}}");
    let restarting = host.berth(["restart", "-t", "0", "job"]).spawn();
    assert!(until(PATIENCE, || std::path::Path::new(&dir).join("stopped").exists()));
    // The holder first, so that it makes no other keeper.
    let mut own = own_processes(&host);
    own.sort_by_key(|(_, name)| name == "berth-keeper");
    assert_eq!(own.len(), 2, "{own:?}");
    assert!(own.iter().all(|(pid, _)| testkit::cmd::kill_if(*pid, || true)));
    restarting.wait().ok();
    let count = || inspect(&host, "job", "{{.RestartCount}}").parse::<u32>().unwrap_or(0);
    assert!(until(PATIENCE, || count() > 0), "{}", inspect(&host, "job", "{{json .State}}"));
    remove(&host, &["job"]);
}

/// Keepers and holders of this host.
fn own_processes(host: &Host) -> Vec<(u32, String)> {
    let berth = host.dir().join("bin/berth").display().to_string();
    let read = |pid: u32, name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let ours = pids.filter(|pid| read(*pid, "cmdline").starts_with(berth.as_bytes()));
    let named = ours.map(|pid| (pid, String::from_utf8_lossy(&read(pid, "comm")).trim().to_owned()));
    named.filter(|(_, name)| name == "berth-keeper" || name == "berth-holder").collect()
}

/// Statements on the database, while nobody else has it open.
fn sql(host: &Host, statements: &str) {
    let script =
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.close()";
    let database = host.root_dir().join("store.db").display().to_string();
    Cmd::new("python3", ["-c", script, &database, statements]).run().ok();
}

/// The database's files, but for SQLite's index of its log, which readers write too.
fn database(host: &Host) -> Vec<Vec<u8>> {
    ["store.db", "store.db-wal"]
        .iter()
        .map(|name| std::fs::read(host.root_dir().join(name)).unwrap_or_default())
        .collect()
}

#[test]
fn a_database_of_a_newer_berth_is_refused_and_left_alone() {
    let host = Host::new();
    start(&host, "job", "sleep 1000");
    host.berth(["create", "--name", "made", "@host", "true"]).run().ok();
    sql(&host, "PRAGMA user_version = 99");
    let before = database(&host);
    for (args, status) in [
        (&["ps", "-a"][..], 1),
        (&["create", "--name", "other", "@host", "true"], 1),
        (&["run", "-d", "--name", "other", "@host", "true"], 125),
        (&["start", "made"], 1),
        (&["restart", "made"], 1),
        (&["rename", "made", "other"], 1),
        (&["rm", "made"], 1),
        (&["inspect", "made"], 1),
        (&["logs", "made"], 1),
        (&["images"], 1),
    ] {
        let output = host.berth(args).run();
        let says = output.err();
        assert!(says.contains("newer") && says.contains("99"), "{args:?}: {says}");
        output.code(status);
    }
    assert!(before == database(&host), "a refusal changed the database");
    // What runs can be used, looked at and ended.
    host.berth(["exec", "job", "true"]).run().ok();
    assert_eq!(inspect(&host, "job", "{{.State.Status}}"), "running");
    host.berth(["stop", "-t", "0", "job"]).run().ok();
    assert!(before == database(&host), "an end changed the database");
    sql(&host, "PRAGMA user_version = 7");
    let list = host.berth(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).text();
    assert_eq!(list, "made created\njob exited");
    host.berth(["start", "-a", "made"]).run().ok();
    remove(&host, &["job", "made"]);
}

#[test]
fn a_database_of_an_older_berth_is_migrated_with_its_containers() {
    let host = Host::new();
    host.berth(["run", "--name", "job", "@host", "sh", "-c", "echo kept >/etc/kept; exit 3"]).run().code(3);
    let nothing = || std::fs::read_dir(host.run_dir().join("containers")).unwrap().count() == 0;
    assert!(until(PATIENCE, nothing));
    sql(
        &host,
        "DROP TABLE build_steps; DROP TABLE build_boot; DROP INDEX layers_boot; DROP INDEX layers_parent;
         ALTER TABLE layers DROP COLUMN boot; ALTER TABLE layers DROP COLUMN parent;
         ALTER TABLE containers DROP COLUMN started; ALTER TABLE layers DROP COLUMN id_blocks; DROP TABLE networks;
         PRAGMA user_version = 3",
    );
    // A list needs no new columns; a start does.
    let list = host.berth(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).text();
    assert_eq!(list, "job exited");
    assert_eq!(host.berth(["diff", "job"]).text(), "C /etc\nA /etc/kept");
    host.berth(["start", "-a", "job"]).run().code(3);
    host.berth(["create", "--name", "made", "@host", "true"]).run().ok();
    assert_eq!(inspect(&host, "made", "{{.State.Status}}"), "created");
    remove(&host, &["job", "made"]);
}

#[test]
fn a_process_id_that_is_somebody_elses_by_now_is_never_signalled() {
    let host = Host::new();
    for command in
        [&["stop", "-t", "0"][..], &["kill"], &["restart", "-t", "0"], &["rm", "-f"], &["pause"], &["exec"]]
    {
        start(&host, "job", "sleep 1000");
        let id = inspect(&host, "job", "{{.Id}}");
        let pid: u32 = inspect(&host, "job", "{{.State.Pid}}").parse().unwrap();
        // All three die at once, as if the machine's memory had run out.
        let own = own_processes(&host);
        own.iter().for_each(|(pid, _)| signal_pid(*pid, 19));
        signal_pid(pid, 9);
        own.iter().for_each(|(pid, _)| signal_pid(*pid, 9));
        assert!(until(PATIENCE, || own_processes(&host).is_empty()));
        // Their numbers come round again.
        let bystander = Cmd::new("sleep", ["1000"]).spawn();
        let path = host.run_dir().join("containers").join(&id).join("run.json");
        let mut document: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for who in ["init", "holder"] {
            document[who]["pid"] = bystander.pid().into();
        }
        std::fs::write(&path, document.to_string()).unwrap();
        assert_ne!(inspect(&host, "job", "{{.State.Status}}"), "running");
        std::fs::write(&path, document.to_string()).unwrap_or_default();
        let args: Vec<&str> = command.iter().copied().chain(["job"]).collect();
        let args = if command == ["exec"] { [&args[..], &["true"]].concat() } else { args };
        let _: Output = host.berth(&args).run();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", bystander.pid())).unwrap();
        let state = state.rsplit_once(") ").unwrap().1.chars().next();
        assert_eq!(state, Some('S'), "{args:?} reached somebody else's process");
        bystander.signal(9);
        bystander.wait();
        host.berth(["rm", "-f", "job"]).run();
        assert_eq!(host.berth(["ps", "-aq"]).text(), "");
    }
}

/// A host whose BERTH_ROOT and BERTH_RUN are on a file system of their own.
struct Disk<'a> {
    host: &'a Host,
    path: std::path::PathBuf,
}

impl<'a> Disk<'a> {
    fn new(host: &'a Host) -> Disk<'a> {
        let disk = Disk { host, path: host.tmpfs("disk", "private") };
        disk.remount("size=16m");
        disk
    }

    fn remount(&self, option: &str) {
        Cmd::new("mount", ["-o", &format!("remount,{option}")]).arg(&self.path).run().ok();
    }

    /// Takes all room.
    fn fill(&self) {
        let _ = std::fs::write(self.path.join("filler"), vec![0; 16 << 20]);
    }

    fn empty(&self) {
        std::fs::remove_file(self.path.join("filler")).unwrap();
    }

    fn berth(&self, args: &[&str]) -> Output {
        let (root, run) = (self.path.join("root"), self.path.join("run"));
        self.host.berth(args).env("BERTH_ROOT", root).env("BERTH_RUN", run).run()
    }

    fn states(&self) -> String {
        self.berth(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok().text()
    }

    /// Nothing runs, and nothing is being taken down.
    fn rests(&self) -> bool {
        std::fs::read_dir(self.path.join("run/containers")).unwrap().count() == 0
    }
}

/// It worked, or it says what is the matter.
fn says(output: &Output, args: &[&str], why: &str) -> bool {
    let said = output.err();
    assert!(output.status == 0 || said.contains(why), "{args:?}: {} {said}", output.status);
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    output.status == 0
}

#[test]
fn on_a_full_disk_each_command_works_or_says_so_and_nothing_is_lost() {
    let host = Host::new();
    let disk = Disk::new(&host);
    let script = "echo kept >/etc/kept; echo said; sleep 1000";
    let lasting = |name: &str| {
        disk.berth(&["run", "-d", "--name", name, "@host", "sh", "-c", script]).ok();
        assert!(until(PATIENCE, || disk.berth(&["logs", name]).text() == "said"));
    };
    lasting("runs");
    lasting("ends");
    lasting("goes");
    disk.berth(&["create", "--name", "made", "@host", "true"]).ok();
    disk.fill();
    for args in [
        &["create", "--name", "new", "@host", "true"][..],
        &["run", "-d", "--name", "new", "@host", "true"],
        &["start", "made"],
        &["rename", "made", "renamed"],
        &["rename", "runs", "renamed"],
        &["cp", "/etc/passwd", "runs:/etc/copied"],
    ] {
        let worked = says(&disk.berth(args), args, "space");
        assert!(!worked, "{args:?} worked: the disk isn't full");
    }
    // What needs no room works.
    for args in [
        &["ps", "-a"][..],
        &["inspect", "runs"],
        &["logs", "runs"],
        &["top", "runs"],
        &["diff", "runs"],
        &["stats", "--no-stream", "runs"],
        &["exec", "runs", "true"],
        &["pause", "runs"],
        &["unpause", "runs"],
    ] {
        disk.berth(args).ok();
    }
    assert_eq!(disk.states(), "made created\ngoes running\nends running\nruns running");
    let args = ["stop", "-t", "0", "ends"];
    says(&disk.berth(&args), &args, "space");
    assert!(until(PATIENCE, || disk.states().contains("ends exited")), "{}", disk.states());
    let args = ["rm", "-f", "goes"];
    says(&disk.berth(&args), &args, "space");
    disk.empty();
    disk.berth(&["rm", "-f", "goes"]);
    assert_eq!(disk.states(), "made created\nends exited\nruns running");
    assert_eq!(disk.berth(&["diff", "ends"]).text(), "C /etc\nA /etc/kept");
    disk.berth(&["start", "-a", "made"]).ok();
    disk.berth(&["start", "ends"]).ok();
    assert!(until(PATIENCE, || disk.berth(&["logs", "ends"]).text() == "said\nsaid"));
    disk.berth(&["rm", "-f", "runs", "ends", "made"]).ok();
    assert_eq!(disk.states(), "");
    assert!(until(PATIENCE, || disk.rests()));
}

#[test]
fn on_a_read_only_file_system_each_command_works_or_says_so_and_nothing_is_lost() {
    let host = Host::new();
    let disk = Disk::new(&host);
    disk.berth(&["run", "--name", "ended", "@host", "sh", "-c", "echo kept >/etc/kept; echo said; exit 3"])
        .code(3);
    disk.berth(&["create", "--name", "made", "@host", "true"]).ok();
    assert!(until(PATIENCE, || disk.rests()));
    disk.remount("ro");
    for args in [
        &["create", "--name", "new", "@host", "true"][..],
        &["run", "-d", "--name", "new", "@host", "true"],
        &["run", "--rm", "@host", "true"],
        &["start", "made"],
        &["start", "ended"],
        &["restart", "ended"],
        &["rename", "made", "renamed"],
        &["rm", "ended"],
        &["rm", "-f", "ended"],
    ] {
        let worked = says(&disk.berth(args), args, "ead-only");
        assert!(!worked, "{args:?} worked: the file system can be written");
    }
    // The kernel has another word for an overlay on such a file system.
    disk.berth(&["cp", "/etc/passwd", "ended:/etc/copied"]).code(1);
    assert_eq!(disk.states(), "made created\nended exited");
    assert_eq!(disk.berth(&["logs", "ended"]).ok().text(), "said");
    assert_eq!(disk.berth(&["inspect", "-f", "{{.State.ExitCode}}", "ended"]).ok().text(), "3");
    // Stopped already.
    disk.berth(&["stop", "ended"]).ok();
    disk.berth(&["wait", "ended"]).ok().stdout_is("3\n");
    disk.berth(&["kill", "ended"]).code(1).stderr_has(&["is not running"]);
    disk.remount("rw");
    assert_eq!(disk.states(), "made created\nended exited");
    disk.berth(&["start", "-a", "made"]).ok();
    disk.berth(&["start", "-a", "ended"]).code(3);
    assert_eq!(disk.berth(&["diff", "ended"]).text(), "C /etc\nA /etc/kept");
    disk.berth(&["rm", "made", "ended"]).ok();
    assert!(until(PATIENCE, || disk.rests()));
}
