//! What is copied, and who gets it.

use super::{cp, host, inside, remove, start};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use testkit::Cmd;

#[test]
fn files_go_into_a_running_container_and_come_out() {
    let host = host();
    start(&host, &[]);
    fs::write(host.path("f"), "from here").unwrap();
    chown(host.path("f"), Some(1234), Some(77)).unwrap();
    fs::set_permissions(host.path("f"), fs::Permissions::from_mode(0o4750)).unwrap();
    // Without -a they are root's, with it whose they were.
    cp(&host, &["f", "box:/made"]).run().ok().silent();
    cp(&host, &["-a", "f", "box:/kept"]).run().ok();
    assert_eq!(
        inside(&host, "cat /made; echo; stat -c '%u:%g %a' /made /kept"),
        "from here\n0:0 4750\n1234:77 4750"
    );
    // In the container's upper layer they belong to the container.
    host.berth(["diff", "box"]).run().ok().stdout_is("A /kept\nA /made");
    inside(&host, "echo from there >/f; chown 1000:5 /f; chmod 640 /f; touch -d '2001-02-03 04:05:06' /f");
    cp(&host, &["box:/f", "out"]).run().ok().silent();
    cp(&host, &["--archive", "box:f", "kept"]).run().ok();
    let of = |name: &str| {
        let meta = fs::metadata(host.path(name)).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777, meta.mtime())
    };
    assert_eq!(fs::read_to_string(host.path("out")).unwrap(), "from there\n");
    assert_eq!(of("out"), (0, 0, 0o640, 981_173_106));
    assert_eq!(of("kept"), (1000, 5, 0o640, 981_173_106));
    // Under sudo they are the caller's.
    cp(&host, &["box:/f", "sudo"]).env("SUDO_UID", "1500").env("SUDO_GID", "1600").run().ok();
    assert_eq!(of("sudo"), (1500, 1600, 0o640, 981_173_106));
    remove(&host);
}

#[test]
fn trees_are_copied_whole() {
    let host = host();
    start(&host, &["--tmpfs", "/tmp", "-v", &format!("{}:/vol", host.path("vol").display())]);
    let tree = host.path("tree");
    fs::create_dir_all(tree.join("sub/deep")).unwrap();
    fs::write(tree.join("one"), "1").unwrap();
    fs::hard_link(tree.join("one"), tree.join("sub/two")).unwrap();
    symlink("/etc/passwd", tree.join("link")).unwrap();
    symlink("../../../up", tree.join("sub/up")).unwrap();
    let long = "n".repeat(200);
    fs::write(tree.join("sub/deep").join(&long), vec![7; 300_000]).unwrap();
    fs::set_permissions(tree.join("sub"), fs::Permissions::from_mode(0o1711)).unwrap();
    let fifo = tree.join("fifo");
    Cmd::new("mkfifo", ["-m", "622", fifo.to_str().unwrap()]).run().ok();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    for place in ["/", "/tmp", "/vol"] {
        cp(&host, &["tree", &format!("box:{place}")]).run().ok();
        let seen = inside(
            &host,
            &format!(
                "cd {place}/tree; stat -c '%F %a %h %n' one sub fifo; readlink link; readlink sub/up; ls; \
                 wc -c <sub/deep/{long}; test one -ef sub/two && echo one file"
            ),
        );
        assert_eq!(
            seen,
            "regular file 644 2 one\ndirectory 1711 3 sub\nfifo 622 1 fifo\n/etc/passwd\n../../../up\n\
             fifo\nlink\none\nsub\n300000\none file",
            "{place}"
        );
        // And out again, as it was.
        let back = format!("back{}", place.replace('/', "-"));
        cp(&host, &[&format!("box:{place}/tree"), &back]).run().ok();
        let list = |dir: &str| {
            let script = "find . ! -type s -printf '%y %m %n %s %l %p\\n' | sed 's/^d \\([0-9]*\\) [0-9]* [0-9]*/d \\1/' | sort";
            Cmd::new("sh", ["-c", script]).cwd(host.path(dir)).run().ok().text()
        };
        assert_eq!(list(&back), list("tree"), "{place}");
    }
    remove(&host);
}

#[test]
fn capabilities_and_access_lists_mean_the_same_on_both_sides() {
    let host = host();
    start(&host, &[]);
    // cap_net_bind_service, and user 1000 may read.
    let set = "import os\n\
               os.setxattr('f', 'security.capability', bytes.fromhex('0100000200040000' + '00' * 12))\n\
               os.setxattr('f', 'system.posix_acl_access', bytes.fromhex('02000000' '01000600ffffffff' \
               '02000400e8030000' '04000400ffffffff' '10000400ffffffff' '20000400ffffffff'))";
    let get = "import os, sys\n\
               for name in ('security.capability', 'system.posix_acl_access'):\n print(os.getxattr(sys.argv[1], name).hex())";
    let python = |words: &[&str]| {
        Cmd::new("python3", ["-c"].iter().chain(words)).cwd(host.path(".")).run().ok().text()
    };
    fs::write(host.path("f"), "x").unwrap();
    python(&[set]);
    cp(&host, &["f", "box:/f"]).run().ok();
    cp(&host, &["box:/f", "out"]).run().ok();
    assert_eq!(python(&[get, "out"]), python(&[get, "f"]));
    let id = host.berth(["ps", "-q", "--no-trunc"]).run().ok().text();
    let upper = host.root_dir().join("containers").join(id).join("upper/f");
    assert_eq!(python(&[get, upper.to_str().unwrap()]), python(&[get, "f"]));
    // The range ends.
    chown(host.path("f"), Some(70_000), Some(0)).unwrap();
    cp(&host, &["-a", "f", "box:/g"])
        .run()
        .code(1)
        .stderr_has(&["its owner's id is none of the container's"]);
    remove(&host);
}

#[test]
fn archives_go_through_pipes() {
    let host = host();
    start(&host, &[]);
    let names = |words: &[&str]| {
        let archive = cp(&host, words).run().ok().stdout;
        Cmd::new("tar", ["tf", "-"]).stdin(archive).run().ok().text()
    };
    inside(&host, "mkdir -p /t/s; echo x >/t/s/x; ln -s t /l");
    assert_eq!(names(&["box:/t", "-"]), "t/\nt/s/\nt/s/x");
    assert_eq!(names(&["box:/t/.", "-"]), "./\n./s/\n./s/x");
    assert_eq!(names(&["box:/t/s/x", "-"]), "x");
    assert!(names(&["box:/", "-"]).starts_with("/\n/l\n/bin/\n"));
    assert_eq!(names(&["box:/l", "-"]), "l");
    // As docker: the link's name is only given to what is written here.
    assert_eq!(names(&["-L", "box:/l", "-"]), "t/\nt/s/\nt/s/x");
    let archive = cp(&host, &["box:/t", "-"]).run().ok().stdout;
    for (compress, place) in [("cat", "plain"), ("gzip", "gz"), ("zstd", "zst")] {
        let packed = Cmd::new(compress, ["-c"].iter().skip(usize::from(compress == "cat")));
        let packed = packed.stdin(archive.clone()).run().ok().stdout;
        inside(&host, &format!("mkdir /{place}"));
        cp(&host, &["-", &format!("box:/{place}")]).stdin(packed).run().ok().silent();
        assert_eq!(inside(&host, &format!("cat /{place}/t/s/x")), "x");
    }
    // An archive's owners are kept, and links of the container are followed in the container.
    inside(&host, "mkdir -p /real /into; ln -s /real /into/link");
    let made = "mkdir -p link && echo y >link/y && tar c --owner=12 --group=13 link/y";
    let foreign = Cmd::new("sh", ["-c", made]).cwd(host.path(".")).run().ok().stdout;
    cp(&host, &["-", "box:/into"]).stdin(foreign).run().ok();
    assert_eq!(inside(&host, "stat -c '%u:%g' /real/y"), "12:13");
    cp(&host, &["-", "box:/into"]).stdin("no archive").run().code(1).stderr_has(&["not a tar archive"]);
    cp(&host, &["-", "box:/none"]).stdin("").run().code(1).stderr_has(&["box:/none", "must be a directory"]);
    remove(&host);
}

#[test]
fn failures_say_what_dockers_say() {
    let host = host();
    let read_only = host.path("ro");
    fs::create_dir(&read_only).unwrap();
    start(&host, &["--read-only", "--tmpfs", "/tmp", "-v", &format!("{}:/ro:ro", read_only.display())]);
    fs::write(host.path("f"), "x").unwrap();
    fs::create_dir(host.path("d")).unwrap();
    for (words, says) in [
        (&["f", "none:/x"][..], "no such container: none"),
        (&["none:/x", "f"], "no such container: none"),
        (&["f", "g"], "must specify at least one container source"),
        (&["box:/f", "box:/g"], "copying between containers is not supported"),
        (&["box:/none", "x"], "could not find the file /none in container box"),
        (&["none", "box:/tmp"], "no such file or directory"),
        (&["f", "box:/none/x"], "could not find the file /none in container box"),
        (&["f", "box:/tmp/none/"], "no such directory"),
        (&["d", "box:/etc/passwd"], "cannot copy directory"),
        (&["f/", "box:/tmp"], "not a directory"),
        (&["box:/etc/passwd/", "x"], "not a directory"),
        (&["box:/etc/passwd", "none/x"], "does not exist"),
        (&["box:/etc/passwd", "/dev/null"], "must be a directory or a regular file: got a device"),
        (&["f", "box:/dev/null"], "must be a directory or a regular file: got a device"),
        (&["f", "box:/x"], "container rootfs is marked read-only"),
        (&["f", "box:/ro"], "mounted volume is marked read-only"),
        (&["", "box:/x"], "source can not be empty"),
        (&["f", ""], "destination can not be empty"),
        (&["box:", "x"], "the source's path is empty"),
        (&["box:/proc/1/status", "x"], "it is the kernel's"),
        (&["f", "box:/proc/1"], "it is the kernel's"),
    ] {
        cp(&host, words).run().code(1).stdout_is("").stderr_has(&[says]);
    }
    assert!(!host.path("x").exists());
    cp(&host, &["f"]).run().code(1);
    cp(&host, &["-x", "f", "box:/"]).run().code(125).stderr_has(&["-x"]);
    cp(&host, &["f", "box:/tmp"]).run().ok();
    remove(&host);
}

#[test]
fn on_a_terminal_it_says_what_it_did() {
    let host = host();
    start(&host, &[]);
    fs::write(host.path("f"), "x").unwrap();
    let f = host.path("f").display().to_string();
    let mut pty = host.pty(["cp", &f, "box:/tmp/../etc"]);
    pty.expect("Successfully copied 2.05kB to box:/tmp/../etc");
    assert_eq!(pty.wait(), 0);
    let out = host.path("out").display().to_string();
    let mut pty = host.pty(["container", "cp", "box:/etc/passwd", &out]);
    pty.expect(&format!("Successfully copied 2.05kB to {out}"));
    assert_eq!(pty.wait(), 0);
    remove(&host);
}
