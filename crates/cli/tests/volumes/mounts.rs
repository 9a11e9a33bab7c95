//! What containers see of volumes and images.

use super::*;
use std::os::unix::fs::MetadataExt;

const LIST: &str = "cd /data; stat -c '%a %u:%g %n' . kept sub; cat kept; readlink link; \
    test kept -ef sub/linked && echo one; ls -A | wc -l";
const LISTED: &str = "2751 5:6 .\n640 5:6 kept\n700 5:6 sub\nfrom the image/etc/passwd\none\n3";

#[test]
fn an_empty_volume_gets_what_the_image_has() {
    let host = Host::new();
    load(&host, &image(), "app");
    assert_eq!(run(&host, &["-v", "vol:/data"], LIST).text(), LISTED);
    run(&host, &["-v", "vol:/data"], "rm -r /data/*; echo mine > /data/own").text();
    assert_eq!(run(&host, &["-v", "vol:/data"], "ls -A /data").text(), "own", "only once");
    // By --mount, into a part of the image that a link leads to, and without where it isn't wanted.
    let by_mount = ["--mount", "type=volume,source=other,target=/data"];
    assert_eq!(run(&host, &by_mount, LIST).text(), LISTED);
    for nocopy in [["-v", "bare:/data:nocopy"], ["--mount", "src=bare,dst=/data,volume-nocopy"]] {
        assert_eq!(run(&host, &nocopy, "ls -A /data; stat -c '%a %u' /data").text(), "755 0");
    }
    assert_eq!(run(&host, &["-v", "bare:/data"], LIST).text(), LISTED, "it was empty still");
    assert_eq!(run(&host, &["-v", "fresh:/not/there"], "stat -c '%a %u' /not/there").text(), "755 0");
    run(&host, &["-v", "odd:/file"], "true").run().code(125).stderr_has(&["existing file", "/file"]);
}

#[test]
fn a_volume_is_the_same_in_each_container() {
    let host = Host::new();
    load(&host, &image(), "app");
    run(&host, &["-v", "vol:/v"], "echo x > /v/root; chown 1000:2000 /v; su -s /bin/sh web -c true; true")
        .text();
    run(&host, &["-v", "vol:/v", "-u", "1000:2000"], "echo y > /v/guest").text();
    let seen = "stat -c '%u:%g %n' /v /v/root /v/guest";
    let owners = "1000:2000 /v\n0:0 /v/root\n1000:2000 /v/guest";
    for options in
        [&["-v", "vol:/v"][..], &["-v", "vol:/v", "--userns", "host"], &["-v", "vol:/v", "--privileged"]]
    {
        assert_eq!(run(&host, options, seen).text(), owners, "{options:?}");
    }
    let data = host.root_dir().join("volumes/vol/_data");
    let guest = data.join("guest").metadata().unwrap();
    assert_eq!((guest.uid(), guest.gid()), (1000, 2000), "owned on the disk as inside");
    let above = host.root_dir().join("volumes").metadata().unwrap();
    assert_eq!(above.mode() & 0o077, 0, "where no other user can reach a setuid program of a container's");
}

#[test]
fn volumes_are_read_only_if_asked() {
    let host = Host::new();
    load(&host, &image(), "app");
    for read_only in [["-v", "vol:/data:ro"], ["--mount", "src=vol,dst=/data,readonly"]] {
        assert_eq!(
            run(&host, &read_only, "cat /data/kept; touch /data/x 2>&1; true").text().lines().count(),
            1
        );
        let refused = run(&host, &read_only, "mount -o remount,rw /data || touch /data/x");
        refused.run().failed().stderr_has(&["Read-only file system"]);
    }
}

#[test]
fn parts_of_volumes_are_mounted_and_nothing_outside() {
    let host = Host::new();
    load(&host, &image(), "app");
    run(&host, &["-v", "vol:/v"], "mkdir -p /v/a/b; echo deep > /v/a/b/f; ln -s / /v/out; ln -s a/b /v/in")
        .text();
    let part = |subpath: &str, script: &str| {
        let mount = format!("src=vol,dst=/p,volume-subpath={subpath}");
        run(&host, &["--mount", &mount], script).run()
    };
    part("a/b", "cat /p/f").ok().stdout_is("deep\n");
    part("in", "cat /p/f").ok().stdout_is("deep\n");
    part("a/b/f", "cat /p").ok().stdout_is("deep\n");
    // The link's root is the volume's.
    part("out", "ls /p").ok().stdout_is("a\nin\nout\n");
    part("out/etc", "true").code(125).stderr_has(&["out/etc", "no such file"]);
    part("../vol", "true").code(125).stderr_has(&["must be a relative path"]);
    part("/etc", "true").code(125).stderr_has(&["must be a relative path"]);
    part("none", "true").code(125).stderr_has(&["none", "volume vol"]);
}

#[test]
fn the_images_volumes_are_the_containers_own() {
    let host = Host::new();
    load(&host, &with_volumes(), "app");
    assert_eq!(run(&host, &[], LIST).text(), LISTED);
    nothing_left(&host);
    host.berth(["run", "-d", "--name", "box", "--network", "none", "app", "sleep", "100"]).text();
    let inspected = host.berth(["inspect", "box"]).run().json();
    let mounts = inspected[0]["Mounts"].as_array().unwrap();
    let targets: Vec<&str> = mounts.iter().map(|mount| mount["Destination"].as_str().unwrap()).collect();
    assert_eq!(targets, ["/data", "/new"]);
    assert_eq!(names(&host).len(), 2);
    // Another container has them for as long as it likes, and they aren't its own.
    let from = ["--volumes-from", "box:ro"];
    assert_eq!(
        run(&host, &from, "cat /data/kept; touch /new/x 2>/dev/null || echo ro").text(),
        "from the imagero"
    );
    assert_eq!(names(&host).len(), 2);
    // What is asked for at the same place comes before.
    assert_eq!(run(&host, &["--tmpfs", "/data", "-v", "mine:/new"], "ls /data").text(), "");
    host.berth(["volume", "rm", "mine"]).text();
    host.berth(["rm", "-f", "box"]).text();
    assert_eq!(names(&host).len(), 2, "without -v they stay");
    host.berth(["volume", "prune", "-f"]).text();
    nothing_left(&host);
    host.berth(["run", "--name", "box", "--network", "none", "-v", "/more", "app", "true"]).text();
    assert_eq!(names(&host).len(), 3);
    host.berth(["rm", "-v", "box"]).text();
    nothing_left(&host);
}

#[test]
fn another_containers_volume_is_kept_for_it() {
    let host = Host::new();
    load(&host, &with_volumes(), "app");
    host.berth(["run", "-d", "--name", "first", "--network", "none", "app", "sleep", "100"]).text();
    let second = [
        "run",
        "-d",
        "--name",
        "second",
        "--network",
        "none",
        "--volumes-from",
        "first",
        "app",
        "sleep",
        "100",
    ];
    host.berth(second).text();
    host.berth(["exec", "first", "sh", "-c", "echo x > /new/x"]).text();
    host.berth(["rm", "-f", "-v", "first"]).text();
    assert_eq!(host.berth(["exec", "second", "cat", "/new/x"]).text(), "x");
    assert_eq!(names(&host).len(), 2);
    host.berth(["rm", "-f", "-v", "second"]).text();
    // They were the first one's own; nobody's now.
    host.berth(["volume", "prune", "-f"]).text();
    nothing_left(&host);
}

#[test]
fn a_tmpfs_volume_lives_as_long_as_a_container_has_it() {
    let host = Host::new();
    load(&host, &image(), "app");
    let options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=1000,mode=750"];
    host.berth(["volume", "create", "mem"].into_iter().chain(options)).text();
    let first = ["run", "-d", "--name", "first", "--network", "none", "-v", "mem:/m", "app"];
    host.berth(first.into_iter().chain(["sh", "-c", "echo x > /m/x; sleep 100"])).text();
    let mem = ["-v", "mem:/m"];
    assert_eq!(
        run(&host, &mem, "stat -c '%a %u' /m; until cat /m/x 2>/dev/null; do :; done").text(),
        "750 1000\nx"
    );
    assert_eq!(run(&host, &mem, "cat /m/x; df -k /m | awk 'END {print $2}'").text(), "x\n1024");
    host.berth(["rm", "-f", "first"]).text();
    assert_eq!(run(&host, &mem, "ls -A /m").text(), "");
    let mounted = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounted.contains(host.root_dir().to_str().unwrap()), "{mounted}");
    host.berth(["volume", "rm", "mem"]).text();
}

#[test]
fn a_bind_volume_is_a_directory_of_the_host() {
    let host = Host::new();
    load(&host, &image(), "app");
    let dir = host.path("shared");
    std::fs::create_dir(&dir).unwrap();
    let device = format!("device={}", dir.display());
    host.berth(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "bound"]).text();
    assert_eq!(run(&host, &["-v", "bound:/data"], LIST).text(), LISTED, "filled in place");
    assert_eq!(std::fs::read_to_string(dir.join("kept")).unwrap(), "from the image");
    host.berth(["volume", "rm", "bound"]).text();
    assert!(dir.join("kept").exists(), "what isn't the volume's stays");
    std::fs::remove_dir_all(&dir).unwrap();
    host.berth(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "bound"]).text();
    run(&host, &["-v", "bound:/data"], "true").run().code(125).stderr_has(&["bound", "no such file"]);
}

#[test]
fn an_image_is_mounted_read_only() {
    let host = Host::new();
    load(&host, &image(), "app");
    load(&host, &Image::busybox(), "single");
    let mount = |options: &str, script: &str| {
        let mount = format!("type=image,dst=/i,{options}");
        run(&host, &["--mount", &mount], script).run()
    };
    mount("src=app", "cat /i/data/kept; stat -c ' %u:%g' /i/data; ls /i/data/removed 2>/dev/null; true")
        .ok()
        .stdout_is("from the image 5:6\n");
    mount("src=app", "touch /i/x").failed().stderr_has(&["Read-only file system"]);
    mount("src=app,image-subpath=data/sub", "cat /i/linked").ok().stdout_is("from the image");
    mount("src=single", "/i/bin/busybox echo runs").ok().stdout_is("runs\n");
    mount("src=nosuch", "true").code(125).stderr_has(&["nosuch", "no such image", "berth pull nosuch"]);
    mount("src=app,image-subpath=../x", "true").code(125).stderr_has(&["must be a relative path"]);
}

#[test]
fn volumes_over_the_host_begin_empty() {
    let host = Host::new();
    let list = ["run", "--rm", "--network", "none", "-v", "vol:/etc", "@host", "/bin/ls", "-A", "/etc"];
    assert_eq!(host.berth(list).text(), "", "nothing of the host's is copied out of its view");
}
