//! T3, T4, T6: a hostile container during `cp`. CVE-2018-15664, 2019-10152, 2019-18466, 2021-41089, 2026-41568, 2018-1002100,
//! 2019-1002101, 2019-11246, 2019-11249, 2019-11251. And T2, CVE-2019-14271: berth is static, changes its root into no container's
//! and looks up no names, so that there is nothing to plant.

use super::{cp, host, inside, remove, start};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use testkit::Host;
use testkit::program::{EXCHANGER, compile};

/// A directory of the host's that no copy may read or change.
struct Canary {
    dir: PathBuf,
    before: Vec<(i64, i64, u32, u32, u32)>,
}

impl Canary {
    fn new(host: &Host) -> Canary {
        let dir = host.path("canary");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "sings").unwrap();
        let mut canary = Canary { dir, before: Vec::new() };
        canary.before = canary.state();
        canary
    }

    /// Times, mode and owner of the directory and of what is in it.
    fn state(&self) -> Vec<(i64, i64, u32, u32, u32)> {
        let names = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        let of = |path: PathBuf| {
            let meta = fs::symlink_metadata(path).unwrap();
            (meta.mtime(), meta.mtime_nsec(), meta.mode(), meta.uid(), meta.gid())
        };
        [self.dir.clone()].into_iter().chain(names).map(of).collect()
    }

    #[track_caller]
    fn sings(&self) {
        assert_eq!(self.state(), self.before, "the canary's directory was changed");
        assert_eq!(fs::read_to_string(self.dir.join("file")).unwrap(), "sings");
    }
}

/// Starts `box` with the exchanger at work on the two names, after `prepare`.
fn start_racing(host: &Host, prepare: &str, names: &str) {
    let racer = compile(&host.path("attack"), "exchange", EXCHANGER);
    start(host, &["-v", &format!("{}:/attack:ro", racer.parent().unwrap().display())]);
    inside(host, prepare);
    host.berth(["exec", "-d", "box", "/attack/exchange"])
        .arg(names.split(' ').next().unwrap())
        .arg(names.split(' ').nth(1).unwrap())
        .run()
        .ok();
}

#[test]
fn exchanged_directories_and_links_lead_nowhere() {
    let host = host();
    let canary = Canary::new(&host);
    let at = canary.dir.display().to_string();
    // `/t/a` is a directory that has the canary's path inside, and a link to the root, by turns.
    let prepare = format!(
        "mkdir -p /t/a{at}; echo inside >/t/a{at}/file; ln -s / /t/b; ln -s ../../../../../../.. /t/a/up"
    );
    start_racing(&host, &prepare, "/t/a /t/b");
    fs::write(host.path("new"), "new").unwrap();
    // The same tree here, to be merged with the one inside.
    let tree = host.path("tree/a").join(at.trim_start_matches('/'));
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("file"), "merged").unwrap();
    fs::write(tree.join("planted"), "merged").unwrap();
    let (mut went, mut failed) = ([0; 2], [0; 2]);
    for round in 0..100 {
        let out = host.path(&format!("out{round}"));
        fs::create_dir(&out).unwrap();
        let to = out.to_str().unwrap();
        let words: [&[&str]; 4] = [
            &[&format!("box:/t/a{at}/file"), to],
            &[&format!("box:/t/a{at}"), to],
            &["box:/t", to],
            &["-a", "box:/t/a/.", to],
        ];
        let read = cp(&host, words[round % 4]).run();
        let into: [&[&str]; 4] = [
            &["new", &format!("box:/t/a{at}/planted")],
            &["new", &format!("box:/t/a{at}")],
            &["tree/.", "box:/t"],
            &["-a", "tree/a", "box:/t"],
        ];
        let written = cp(&host, into[round % 4]).run();
        for (at, run) in [read, written].iter().enumerate() {
            assert!([0, 1].contains(&run.status), "{}", run.err());
            *(if run.status == 0 { &mut went[at] } else { &mut failed[at] }) += 1;
        }
        canary.sings();
        // Whatever came out is of the container.
        let found = testkit::Cmd::new("grep", ["-rl", "sings", to]).run();
        assert_eq!(found.text(), "", "round {round}");
    }
    assert!(went.iter().chain(&failed).all(|count| *count > 0), "no race: {went:?} {failed:?}");
    remove(&host);
}

#[test]
fn a_file_that_becomes_a_fifo_blocks_nobody() {
    let host = host();
    start_racing(&host, "mkdir /t; echo file >/t/a; mkfifo /t/b", "/t/a /t/b");
    for round in 0..30 {
        let out = format!("out{round}");
        let run = cp(&host, &[if round % 2 == 0 { "box:/t/a" } else { "box:/t" }, &out]).run();
        assert!([0, 1].contains(&run.status), "{}", run.err());
    }
    remove(&host);
}

#[test]
fn links_that_came_with_one_copy_are_not_followed_by_the_next() {
    let host = host();
    let canary = Canary::new(&host);
    let at = canary.dir.display();
    start(&host, &[]);
    inside(
        &host,
        &format!("mkdir -p /one /two/x; ln -s {at} /one/x; echo no >/two/x/file; echo no >/two/x/new"),
    );
    fs::create_dir(host.path("out")).unwrap();
    cp(&host, &["box:/one/.", "out"]).run().ok();
    cp(&host, &["box:/two/.", "out"])
        .run()
        .code(1)
        .stderr_has(&["a directory can't take the place of a file"]);
    canary.sings();
    // The other way, and by an archive that names a file below a link that it has just made.
    symlink("/etc", host.path("etc")).unwrap();
    let script =
        format!("mkdir a b && ln -s {at} a/x && mkdir b/x && echo no >b/x/new && tar c -C a x -C ../b x/new");
    let archive = testkit::Cmd::new("sh", ["-c", &script]).cwd(host.path(".")).run().ok().stdout;
    inside(&host, "mkdir /into");
    cp(&host, &["-", "box:/into"]).stdin(archive).run();
    canary.sings();
    let dots = "import sys, tarfile, io\n\
                t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|')\n\
                i = tarfile.TarInfo('../../../../../../../../tmp/escaped'); i.size = 2\n\
                t.addfile(i, io.BytesIO(b'no')); t.close()";
    let archive = testkit::Cmd::new("python3", ["-c", dots]).run().ok().stdout;
    cp(&host, &["-", "box:/into"]).stdin(archive).run().code(1).stderr_has(&["escaped"]);
    assert!(!PathBuf::from("/tmp/escaped").exists());
    // The kernel's own files, by whatever way.
    inside(&host, "ln -s /proc /p; ln -s /proc/self/root /r; ln -s /sys/fs/cgroup /c");
    fs::write(host.path("f"), "x").unwrap();
    for place in ["/p", "/p/sys/kernel/core_pattern", "/p/1/attr", "/c", "/c/x"] {
        cp(&host, &["f", &format!("box:{place}")]).run().code(1);
    }
    cp(&host, &["f", "box:/r/magic"]).run().code(1);
    cp(&host, &["box:/p/kcore", "out"]).run().code(1);
    remove(&host);
}

#[test]
fn what_is_written_has_no_more_rights_than_the_containers_root() {
    let host = host();
    let shared = host.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("own"), "root's").unwrap();
    fs::write(host.path("own"), "new").unwrap();
    // As it is on the host: the container's root is nobody there.
    start(&host, &["-v", &format!("{}:/shared:noidmap", shared.display())]);
    cp(&host, &["own", "box:/shared"]).run().code(1).stderr_has(&["ermission denied"]);
    cp(&host, &["own", "box:/shared/new"]).run().code(1).stderr_has(&["ermission denied"]);
    assert_eq!(fs::read_to_string(shared.join("own")).unwrap(), "root's");
    // It reads with the caller's.
    cp(&host, &["box:/shared/own", "out"]).run().ok();
    assert_eq!(fs::read_to_string(host.path("out")).unwrap(), "root's");
    // Devices are of no use inside, and not made.
    cp(&host, &["/dev/null", "box:/x"]).run().code(1).stderr_has(&["devices aren't copied into containers"]);
    remove(&host);
}
