//! `mounts` of config.json, seen from inside. Source: runtime-spec config.md, Mounts.
// A test moves files about as it likes, and its helpers fail as it does.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;
use testkit::bundle::change;
use testkit::{Host, Value, json};

/// One line of a mount table. Source: proc_pid_mountinfo(5).
#[derive(Debug)]
struct Line {
    point: String,
    options: Vec<String>,
    propagation: Vec<String>,
    fstype: String,
    super_options: String,
}

impl Line {
    fn parse(line: &str) -> Line {
        let (mount, fs) = line.split_once(" - ").expect("a line of mountinfo");
        let mount: Vec<&str> = mount.split(' ').collect();
        let fs: Vec<&str> = fs.split(' ').collect();
        Line {
            point: mount[4].to_owned(),
            options: mount[5].split(',').map(str::to_owned).collect(),
            propagation: mount[6..].iter().map(|word| (*word).to_owned()).collect(),
            fstype: fs[0].to_owned(),
            super_options: fs[2].to_owned(),
        }
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
    }
}

/// The mount table of a container with `mounts` besides the usual ones.
fn table(host: &Host, mounts: &[Value]) -> Vec<Line> {
    let text = host.see("cat /proc/self/mountinfo", |config| {
        mounts.iter().for_each(|mount| change::mount(config, mount.clone()));
    });
    text.lines().map(Line::parse).collect()
}

fn on<'t>(table: &'t [Line], point: &str) -> &'t Line {
    table.iter().rev().find(|line| line.point == point).unwrap_or_else(|| panic!("no {point} in {table:#?}"))
}

/// What `script` prints with one more mount.
fn see_with(host: &Host, mount: Value, script: &str) -> String {
    host.see(script, |config| change::mount(config, mount))
}

fn bind(source: &Path, options: &[&str]) -> Value {
    json!({"destination": "/mnt", "type": "none", "source": source, "options": options})
}

/// A directory of the host's with one file.
fn source(host: &Host, name: &str) -> std::path::PathBuf {
    let dir = host.path(name);
    std::fs::create_dir(&dir).unwrap();
    testkit::rootfs::write(&dir.join("file"), name);
    dir
}

#[test]
fn proc_shows_the_containers_processes_only() {
    let host = Host::new();
    assert_eq!(host.see("echo /proc/[0-9]*", |_| ()), "/proc/1");
    assert_eq!(on(&table(&host, &[]), "/proc").fstype, "proc");
}

#[test]
fn usual_mounts_have_their_types_and_options() {
    let host = Host::new();
    let table = table(&host, &[]);
    let check = |point: &str, fstype: &str, options: &[&str], super_options: &[&str]| {
        let line = on(&table, point);
        assert_eq!(line.fstype, fstype, "{line:?}");
        for option in options {
            assert!(line.has(option), "no {option} in {line:?}");
        }
        for option in super_options {
            assert!(line.super_options.split(',').any(|known| known == *option), "no {option} in {line:?}");
        }
    };
    check("/dev", "tmpfs", &["rw", "nosuid"], &["size=65536k", "mode=755"]);
    check("/dev/pts", "devpts", &["nosuid", "noexec"], &["mode=620", "ptmxmode=666"]);
    check("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec"], &["size=65536k"]);
    check("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"], &[]);
    check("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"], &[]);
}

#[test]
fn a_tmpfs_has_its_size_mode_and_owner() {
    let host = Host::new();
    let mount = json!({
        "destination": "/scratch/new", "type": "tmpfs", "source": "tmpfs",
        "options": ["size=64k", "mode=1770", "uid=33", "gid=44", "nr_inodes=10"]
    });
    let script = "stat -c '%a %u %g' /scratch/new; df -k /scratch/new | tail -1 | tr -s ' ' | cut -d' ' -f2; \
                  head -c 100000 /dev/zero 2>/dev/null > /scratch/new/big; stat -c %s /scratch/new/big";
    assert_eq!(see_with(&host, mount, script), "1770 33 44\n64\n65536");
}

#[test]
fn option_words_become_attributes() {
    let host = Host::new();
    let words = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"];
    let mount = |options: &[&str]| {
        json!({
            "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options
        })
    };
    for word in words {
        let table = table(&host, &[mount(&[word])]);
        assert!(on(&table, "/mnt").has(word), "{word}: {:?}", on(&table, "/mnt"));
    }
    // The later of two contradicting words wins.
    let check = |options: &[&str], present: &[&str], absent: &[&str]| {
        let table = table(&host, &[mount(options)]);
        let line = on(&table, "/mnt");
        assert!(present.iter().all(|word| line.has(word)), "{options:?}: {line:?}");
        assert!(!absent.iter().any(|word| line.has(word)), "{options:?}: {line:?}");
    };
    check(&["ro", "rw"], &["rw"], &["ro"]);
    check(&["nosuid", "suid", "nodev", "dev", "noexec", "exec"], &[], &["nosuid", "nodev", "noexec"]);
    check(&["noatime", "relatime"], &["relatime"], &["noatime"]);
    check(&["relatime", "strictatime"], &[], &["relatime", "noatime"]);
    check(&["defaults"], &["rw", "relatime"], &[]);
}

#[test]
fn an_option_that_the_file_system_lacks_is_refused() {
    let host = Host::new();
    let mount = json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["cheese=1"]});
    host.refused(|config| change::mount(config, mount)).stderr_has(&["/mnt", "cheese"]);
    let mount = json!({"destination": "/mnt", "type": "cheesefs", "source": "none"});
    host.refused(|config| change::mount(config, mount)).stderr_has(&["cheesefs"]);
}

#[test]
fn a_bind_shows_the_hosts_directory_or_file() {
    let host = Host::new();
    let dir = source(&host, "given");
    assert_eq!(see_with(&host, bind(&dir, &["bind"]), "cat /mnt/file"), "given");
    let file =
        json!({"destination": "/made/as/file", "type": "bind", "source": dir.join("file"), "options": []});
    assert_eq!(see_with(&host, file, "test -f /made/as/file && cat /made/as/file"), "given");
}

#[test]
fn a_missing_source_is_named() {
    let host = Host::new();
    let missing = host.path("missing");
    host.refused(|config| change::mount(config, bind(&missing, &["bind"]))).stderr_has(&["work/missing"]);
    assert!(!missing.exists());
}

#[test]
fn a_relative_source_is_taken_from_the_bundle() {
    let host = Host::new();
    let bundle = host.bundle().sh("cat /mnt/file");
    std::fs::create_dir(bundle.dir().join("data")).unwrap();
    testkit::rootfs::write(&bundle.dir().join("data/file"), "beside");
    let mount = json!({"destination": "/mnt", "type": "none", "source": "data", "options": ["bind"]});
    bundle.config(|config| change::mount(config, mount)).run().ok().silent().stdout_is("beside");
}

#[test]
fn a_bind_is_for_one_mount_and_an_rbind_for_the_tree() {
    let host = Host::new();
    let dir = source(&host, "tree");
    let below = host.tmpfs("tree/below", "private");
    testkit::rootfs::write(&below.join("deep"), "deep");
    let script = "cat /mnt/file; cat /mnt/below/deep 2>/dev/null || echo ' not there'";
    assert_eq!(see_with(&host, bind(&dir, &["bind"]), script), "tree not there");
    assert_eq!(see_with(&host, bind(&dir, &["rbind"]), script), "treedeep");
}

#[test]
fn ro_is_for_one_mount_and_rro_for_the_tree() {
    let host = Host::new();
    let dir = source(&host, "tree");
    chown(&dir, Some(host.first_id()), Some(host.first_id())).unwrap();
    let below = host.tmpfs("tree/below", "private");
    chown(&below, Some(host.first_id()), Some(host.first_id())).unwrap();
    let script =
        "for dir in /mnt /mnt/below; do touch $dir/new 2>&1 | grep -o 'Read-only.*' || echo written; done";
    let check = |options: &[&str], outcome: &str| {
        assert_eq!(see_with(&host, bind(&dir, options), script), outcome, "{options:?}");
    };
    check(&["rbind"], "written\nwritten");
    check(&["rbind", "ro"], "Read-only file system\nwritten");
    check(&["rbind", "rro"], "Read-only file system\nRead-only file system");
    // Without the tree, what lies below is the same file system.
    check(&["bind", "ro"], "Read-only file system\nRead-only file system");
}

#[test]
fn recursive_words_reach_mounts_below() {
    let host = Host::new();
    let dir = source(&host, "tree");
    host.tmpfs("tree/below", "private");
    let options = ["rbind", "rnosuid", "rnodev", "rnoexec", "rnoatime"];
    let table = table(&host, &[bind(&dir, &options)]);
    for point in ["/mnt", "/mnt/below"] {
        for word in ["nosuid", "nodev", "noexec", "noatime"] {
            assert!(on(&table, point).has(word), "no {word} on {point}: {table:#?}");
        }
    }
}

#[test]
fn propagation_words_are_heeded() {
    let host = Host::new();
    let dir = host.tmpfs("tree", "shared");
    let check = |word: Option<&str>, shown: &[&str]| {
        let mut options = vec!["rbind"];
        options.extend(word);
        let table = table(&host, &[bind(&dir, &options)]);
        let line = on(&table, "/mnt");
        let kinds: Vec<&str> =
            line.propagation.iter().map(|p| p.split(':').next().unwrap_or_default()).collect();
        assert_eq!(kinds, shown, "{word:?}");
    };
    check(Some("private"), &[]);
    check(Some("rprivate"), &[]);
    check(Some("slave"), &["master"]);
    check(Some("rslave"), &["master"]);
    check(Some("unbindable"), &["unbindable"]);
}

#[test]
fn a_slave_mount_receives_what_the_host_mounts_later() {
    let host = Host::new();
    let dir = host.tmpfs("tree", "shared");
    std::fs::create_dir(dir.join("below")).unwrap();
    let script = "echo ready; while ! test -e /mnt/below/late; do sleep 0.02; done; echo seen";
    let container = host
        .bundle()
        .sh(script)
        .config(|config| change::mount(config, bind(&dir, &["rbind", "rslave"])))
        .detach();
    container.await_printed("ready");
    let below = host.tmpfs("tree/below", "private");
    testkit::rootfs::write(&below.join("late"), "");
    container.await_printed("seen").await_status("stopped");
    container.remove();
}

#[test]
fn a_mount_made_inside_stays_inside() {
    let host = Host::new();
    let dir = host.tmpfs("tree", "shared");
    std::fs::create_dir(dir.join("below")).unwrap();
    let rights = json!(["CAP_SYS_ADMIN"]);
    for options in [&["rbind"][..], &["rbind", "rslave"], &["rbind", "rprivate"]] {
        let shown =
            host.see("mount -t tmpfs x /mnt/below && touch /mnt/below/inside && ls /mnt/below", |config| {
                change::mount(config, bind(&dir, options));
                config["process"]["capabilities"] =
                    json!({"bounding": rights, "effective": rights, "permitted": rights});
            });
        assert_eq!(shown, "inside");
        assert!(!dir.join("below/inside").exists(), "{options:?}");
    }
}

#[test]
fn ids_of_a_bind_are_the_containers_with_idmap() {
    let host = Host::new();
    let dir = source(&host, "owned");
    for (name, uid, gid) in [("zero", 0, 0), ("web", 33, 44), ("last", 65_535, 1)] {
        testkit::rootfs::write(&dir.join(name), "");
        chown(dir.join(name), Some(uid), Some(gid)).unwrap();
    }
    let script = "stat -c '%n %u %g' /mnt/zero /mnt/web /mnt/last; touch /mnt/new";
    for word in ["idmap", "ridmap"] {
        let shown = see_with(&host, bind(&dir, &["rbind", word]), script);
        assert_eq!(shown, "/mnt/zero 0 0\n/mnt/web 33 44\n/mnt/last 65535 1");
        assert_eq!(dir.join("new").metadata().unwrap().uid(), 0, "what root makes inside is root's on disk");
        std::fs::remove_file(dir.join("new")).unwrap();
    }
    let plain = see_with(&host, bind(&dir, &["rbind"]), "stat -c '%u %g' /mnt/web");
    assert_eq!(plain, "65534 65534", "without a map the ids aren't the container's");
}

#[test]
fn a_mount_may_have_id_mappings_of_its_own() {
    let host = Host::new();
    let dir = source(&host, "owned");
    chown(dir.join("file"), Some(1000), Some(1001)).unwrap();
    let base = host.first_id();
    let mut mount = bind(&dir, &["bind", "idmap"]);
    mount["uidMappings"] = json!([{"containerID": 1000, "hostID": base + 5, "size": 1}]);
    mount["gidMappings"] = json!([{"containerID": 1001, "hostID": base + 6, "size": 1}]);
    assert_eq!(see_with(&host, mount.clone(), "stat -c '%u %g' /mnt/file"), "5 6");
    // Without the word, the mappings say the same.
    mount["options"] = json!(["bind"]);
    assert_eq!(see_with(&host, mount.clone(), "stat -c '%u %g' /mnt/file"), "5 6");
    // And without a user namespace of the container's.
    let shown = host.see("stat -c '%u %g' /mnt/file", |config| {
        change::without_user_namespace(config);
        change::mount(config, mount.clone());
    });
    assert_eq!(shown, format!("{} {}", base + 5, base + 6));
    mount.as_object_mut().unwrap().remove("gidMappings");
    host.refused(|config| change::mount(config, mount)).stderr_has(&["gidMappings"]);
}

#[test]
fn idmap_is_for_one_mount_and_ridmap_for_the_tree() {
    let host = Host::new();
    let dir = source(&host, "tree");
    let below = host.tmpfs("tree/below", "private");
    testkit::rootfs::write(&below.join("deep"), "");
    let script = "stat -c %u /mnt/file /mnt/below/deep";
    assert_eq!(see_with(&host, bind(&dir, &["rbind", "idmap"]), script), "0\n65534");
    assert_eq!(see_with(&host, bind(&dir, &["rbind", "ridmap"]), script), "0\n0");
}

#[test]
fn idmap_is_refused_where_it_means_nothing() {
    let host = Host::new();
    let tmpfs = json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["idmap"]});
    host.refused(|config| change::mount(config, tmpfs)).stderr_has(&["mounts["]);
    let dir = source(&host, "owned");
    let refused = host.refused(|config| {
        change::without_user_namespace(config);
        change::mount(config, bind(&dir, &["bind", "idmap"]));
    });
    refused.stderr_has(&["idmap"]);
    // A file system that can't.
    let proc =
        json!({"destination": "/mnt", "type": "none", "source": "/proc", "options": ["bind", "idmap"]});
    host.refused(|config| change::mount(config, proc)).stderr_has(&["/proc"]);
}

#[test]
fn tmpcopyup_keeps_what_the_image_had() {
    let host = Host::new();
    let rootfs = host.rootfs();
    let below = rootfs.join("srv/web/below");
    std::fs::create_dir(&below).unwrap();
    testkit::rootfs::write(&below.join("page"), "page");
    symlink("below/page", rootfs.join("srv/web/link")).unwrap();
    let id = host.first_id();
    chown(below.join("page"), Some(id + 33), Some(id + 44)).unwrap();
    chown(&below, Some(id), Some(id)).unwrap();
    let mount = json!({
        "destination": "/srv/web", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "size=1m"]
    });
    let script = "cat /srv/web/link; stat -c ' %u %g %a' /srv/web/below/page; rm -r /srv/web/below";
    assert_eq!(see_with(&host, mount.clone(), script), "page 33 44 644");
    assert!(below.join("page").exists(), "the tmpfs was a copy");
    let mut bind = bind(rootfs, &["bind", "tmpcopyup"]);
    bind["destination"] = json!("/mnt");
    host.refused(|config| change::mount(config, bind)).stderr_has(&["tmpcopyup"]);
}

#[test]
fn a_remount_changes_an_earlier_mount() {
    let host = Host::new();
    let dir = source(&host, "given");
    let remount = json!({
        "destination": "/mnt", "type": "none", "source": "none", "options": ["remount", "bind", "ro", "noexec"]
    });
    let table = table(&host, &[bind(&dir, &["bind", "nosuid"]), remount]);
    let line = on(&table, "/mnt");
    assert!(line.has("ro") && line.has("noexec"), "{line:?}");
    assert_eq!(table.iter().filter(|line| line.point == "/mnt").count(), 1);
}

#[test]
fn later_mounts_lie_on_earlier_ones() {
    let host = Host::new();
    let tmpfs = json!({"destination": "/mnt", "type": "tmpfs", "source": "t"});
    let dir = source(&host, "given");
    let mut inner = bind(&dir, &["bind"]);
    inner["destination"] = json!("/mnt/a/b");
    let shown = host.see("ls /mnt; cat /mnt/a/b/file", |config| {
        change::mount(config, tmpfs);
        change::mount(config, inner);
    });
    assert_eq!(shown, "a\ngiven");
}

#[test]
fn the_pty_file_system_is_the_containers_own() {
    let host = Host::new();
    let script =
        "ls /dev/pts; readlink /dev/ptmx; stat -c '%t:%T %a' /dev/pts/ptmx; test -w /dev/ptmx && echo open";
    assert_eq!(host.see(script, |_| ()), "ptmx\npts/ptmx\n5:2 666\nopen");
}

#[test]
fn the_network_in_sysfs_is_the_containers() {
    let host = Host::new();
    assert_eq!(host.see("ls /sys/class/net", |_| ()), "lo");
    assert_eq!(host.see("touch /sys/x 2>&1 | grep -o 'Read-only.*'", |_| ()), "Read-only file system");
}

#[test]
fn links_of_the_image_lead_to_places_inside_it() {
    let host = Host::new();
    let canary = source(&host, "canary");
    let given = source(&host, "given");
    let check = |link: &str, destination: &str| {
        let rootfs = host.fresh_rootfs();
        symlink(link, rootfs.join("link")).unwrap();
        let mut mount = bind(&given, &["bind"]);
        mount["destination"] = json!(destination);
        // Refused or made inside: both are safe; what is not is a mount or a file outside.
        let change = |config: &mut Value| {
            config["root"]["path"] = json!(rootfs);
            change::mount(config, mount);
        };
        let output = host.bundle().sh(&format!("cat {destination}/file")).config(change).run();
        assert!(output.status != 0 || output.text() == "given", "{output:?}");
        let names: Vec<_> =
            std::fs::read_dir(&canary).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["file"], "{link} led out");
    };
    let outside = canary.to_str().unwrap();
    check(outside, "/link");
    check(outside, "/link/new");
    check(&format!("../../../../../../../..{outside}"), "/link/new");
    check("/proc/self/root", "/link/new");
    check("/etc", "/link/new");
}

#[test]
fn a_link_of_the_image_in_place_of_a_kernel_file_system_is_refused() {
    // CVE-2019-19921, CVE-2023-27561, CVE-2019-16884
    let host = Host::new();
    for name in ["proc", "sys"] {
        let rootfs = host.fresh_rootfs();
        std::fs::remove_dir(rootfs.join(name)).unwrap();
        symlink("/tmp", rootfs.join(name)).unwrap();
        host.refused(|config| config["root"]["path"] = json!(rootfs)).stderr_has(&[name]);
    }
}

#[test]
fn a_link_of_the_image_in_place_of_dev_stays_inside() {
    let host = Host::new();
    let canary = source(&host, "canary");
    let rootfs = host.fresh_rootfs();
    std::fs::remove_dir(rootfs.join("dev")).unwrap();
    symlink(&canary, rootfs.join("dev")).unwrap();
    host.bundle().sh("true").config(|config| config["root"]["path"] = json!(rootfs)).run();
    let names: Vec<_> =
        std::fs::read_dir(&canary).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["file"]);
}

#[test]
fn a_target_of_the_wrong_kind_is_refused() {
    let host = Host::new();
    let dir = source(&host, "given");
    let mut mount = bind(&dir, &["bind"]);
    mount["destination"] = json!("/etc/passwd");
    host.refused(|config| change::mount(config, mount)).stderr_has(&["/etc/passwd"]);
}

#[test]
fn malformed_mounts_are_refused_by_name() {
    let host = Host::new();
    let check = |mount: Value, parts: &[&str]| {
        host.refused(|config| change::mount(config, mount.clone())).stderr_has(parts);
    };
    check(json!({"destination": "", "type": "tmpfs"}), &["mounts[6].destination"]);
    check(json!({"destination": "/mnt"}), &["mounts[6].type"]);
    check(json!({"destination": "/mnt", "type": "bind"}), &["mounts[6].source"]);
    check(json!({"destination": "/mnt", "type": "tmpfs", "options": [""]}), &["mounts[6].options"]);
    check(json!({"destination": "/mnt", "type": "tmpfs", "options": "ro"}), &["config.json", "line"]);
    check(json!({"type": "tmpfs"}), &["destination"]);
}

#[test]
fn cgroup_shows_the_containers_own_groups() {
    let host = Host::new();
    let shown = host.see(
        "cat /proc/self/cgroup; ls /sys/fs/cgroup; cat /sys/fs/cgroup/memory/memory.limit_in_bytes \
                          /sys/fs/cgroup/memory.max 2>/dev/null; true",
        |config| {
            config["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 100}});
            change::mount(
                config,
                json!({
                    "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                    "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]
                }),
            );
        },
    );
    assert!(!shown.contains(host.cgroup()), "the host's path shows through: {shown}");
    assert!(shown.contains("memory") && shown.contains("67108864"), "{shown}");
}

#[test]
fn cgroup_is_read_only_when_asked() {
    let host = Host::new();
    let mount = |word: &str| {
        json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", word]
        })
    };
    let run = |word: &str| {
        host.see(
            "grep -E ' /sys/fs/cgroup[/ ]' /proc/self/mountinfo | cut -d' ' -f6 | sort -u; \
                  mkdir /sys/fs/cgroup/x 2>&1 | grep -o 'Read-only.*'; true",
            |config| {
                config["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}});
                change::mount(config, mount(word));
            },
        )
    };
    let read_only = run("ro");
    assert!(read_only.contains("Read-only"), "{read_only}");
    assert!(!read_only.lines().any(|line| line.starts_with("rw")), "{read_only}");
    assert!(run("rw").contains("rw"));
}
