//! What an import makes: trees equal to what was archived, digests equal to what others compute.

use crate::archive::{Member, dir, file, gzip, hard_link, pax, symlink, tar};
use crate::support::{Scratch, reference};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use store::{Error, LayerState, Sha256, Store};

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A root file system around the host's busybox, with one of everything.
fn make_busybox_root(at: &Path) {
    let at = at.display();
    sh(&format!(
        "mkdir -p {at} && cd {at}
         mkdir -p bin etc dev tmp var/empty root $(printf 'long%.0s' $(seq 1 50))/$(printf 'name%.0s' $(seq 1 40))
         cp $(command -v busybox) bin/busybox
         for name in sh ls cat; do ln bin/busybox bin/$name; done
         ln -s /bin/busybox bin/ping; ln -s ../etc/passwd root/link
         echo root:x:0:0::/root:/bin/sh > etc/passwd
         for deep in long*/name*; do echo deep > $deep/file; done
         cp bin/busybox bin/su; chmod 4755 bin/su; chmod 1777 tmp; chmod 2750 var/empty
         chown 33:44 var/empty; chown 100000:200000 etc/passwd; chown -h 5:6 root/link
         mknod dev/null c 1 3; mknod dev/sda b 8 0; mkfifo dev/pipe; chmod 666 dev/null
         touch -d '2001-02-03 04:05:06.789' etc/passwd; touch -d 1999-01-01 etc; touch -hd 2002-02-02 root/link
         touch -d 1960-01-01 root"
    ));
}

/// Names, kinds, modes, owners, links, times and contents of a tree, comparable; times as exact as `format` keeps them.
fn listing(tree: &Path, format: &str) -> String {
    let fraction = if format == "pax" { "" } else { "s/[.][0-9]*$//" };
    let tree = tree.display();
    sh(&format!(
        "cd {tree} && find . -printf '%p %y %m %U:%G %n %l %T@\\n' | sed '{fraction}' | sort
         find . -type f -exec sha256sum {{}} + | sort -k2
         find dev -type c -o -type b | sort | xargs stat -c '%n %t %T'"
    ))
}

#[test]
fn a_busybox_root_comes_out_as_it_went_in() {
    let scratch = Scratch::new();
    let source = scratch.dir.path().join("rootfs");
    make_busybox_root(&source);
    let tar_of = |format: &str| {
        let archive = scratch.dir.path().join(format!("{format}.tar"));
        sh(&format!(
            "tar -C {} --numeric-owner --format={format} -cf {} .",
            source.display(),
            archive.display()
        ));
        std::fs::read(archive).unwrap()
    };
    for format in ["gnu", "pax"] {
        let (image, tree) = scratch.imported(&tar_of(format));
        assert_eq!(listing(&tree, format), listing(&source, format), "{format}");
        assert!(image.size_bytes > 1_000_000);
    }
    scratch.assert_clean();
}

#[test]
fn digests_are_those_of_the_uncompressed_archive() {
    let scratch = Scratch::new();
    let mut archive = tar(&[dir("d"), file("d/f", "hello")]);
    // Padding that no reader of entries looks at.
    archive.resize(1 << 20, 0);
    let diff = format!("sha256:{}", Sha256::of(&archive).hex());
    let halves = [gzip(&archive[..700]), gzip(&archive[700..])].concat();
    for input in [archive.clone(), gzip(&archive), halves] {
        let (image, tree) = scratch.imported(&input);
        let config: serde_json::Value = serde_json::from_str(&image.config_json).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!([diff]));
        assert_eq!(config["rootfs"]["type"], "layers");
        assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &"amd64".into()));
        assert_eq!(config["history"][0]["created_by"], "test");
        assert_eq!(image.id.hex(), Sha256::of(image.config_json.as_bytes()).hex());
        assert_eq!(tree, scratch.root().join("layers").join(&diff[7..]).join("fs"));
    }
    assert_eq!(std::fs::read_dir(scratch.root().join("layers")).unwrap().count(), 1);
    assert_eq!(scratch.store.images().unwrap().len(), 3);
}

#[test]
fn attributes_are_kept_and_those_of_the_process_do_not_matter() {
    let scratch = Scratch::new();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let records: &[(&str, &[u8])] = &[("SCHILY.xattr.security.capability", capability), ("uid", b"70000")];
    let (_, tree) = scratch.imported(&tar(&[
        dir("./").mode(0o711).owner(1, 2),
        dir("g").mode(0o2775).owner(5, 6),
        file("g/f", "x").mode(0o6777).owner(7, 8),
        file("implied/parent", "x"),
        pax(records),
        file("cap", "x").mode(0o755),
        Member::new(b'6', "pipe").mode(0o666).owner(9, 9),
    ]));
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let facts = |name: &str| {
        let stat = std::fs::symlink_metadata(tree.join(name)).unwrap();
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    };
    assert_eq!(facts("."), (0o711, 1, 2));
    assert_eq!(facts("g"), (0o2775, 5, 6));
    assert_eq!(facts("g/f"), (0o6777, 7, 8));
    assert_eq!(facts("implied"), (0o755, 0, 0));
    assert_eq!(facts("cap"), (0o755, 70_000, 0));
    assert_eq!(facts("pipe"), (0o666, 9, 9));
    assert!(std::fs::symlink_metadata(tree.join("pipe")).unwrap().file_type().is_fifo());
    let mut buffer = [0u8; 64];
    let length = rustix::fs::getxattr(tree.join("cap"), "security.capability", &mut buffer).unwrap();
    assert_eq!(&buffer[..length], capability);
    assert_eq!(std::fs::metadata(tree.join("g")).unwrap().mtime(), 1_000_000);
}

#[test]
fn later_entries_win() {
    let scratch = Scratch::new();
    let (_, tree) = scratch.imported(&tar(&[
        file("a", "old"),
        file("a", "new"),
        dir("d"),
        file("d/inside", "x"),
        file("d", "now a file"),
        file("e", "x"),
        dir("e"),
        file("e/inside", "y"),
        dir("e").mode(0o700),
        file("target", "t"),
        file("link", "x"),
        hard_link("link", "target"),
        symlink("s", "a"),
        symlink("s", "target"),
        file(".wh.a", "a file like others"),
    ]));
    assert_eq!(std::fs::read(tree.join("a")).unwrap(), b"new");
    assert_eq!(std::fs::read(tree.join("d")).unwrap(), b"now a file");
    assert_eq!(std::fs::read(tree.join("e/inside")).unwrap(), b"y");
    assert_eq!(std::fs::metadata(tree.join("target")).unwrap().nlink(), 2);
    assert_eq!(std::fs::read_link(tree.join("s")).unwrap(), Path::new("target"));
    assert!(tree.join(".wh.a").is_file());
}

#[test]
fn input_that_is_no_archive_is_named() {
    let scratch = Scratch::new();
    let error = |bytes: &[u8]| scratch.import(bytes).unwrap_err();
    assert!(matches!(error(b""), Error::Archive(_)));
    assert!(matches!(error(b"#!/bin/sh\n"), Error::Archive(_)));
    assert!(matches!(error(b"\x28\xb5\x2f\xfd...."), Error::ReadArchive(_)));
    assert!(matches!(error(b"\xfd7zXZ\0.."), Error::Compression { format: "xz" }));
    assert!(matches!(error(b"\x1f\x8bgarbage"), Error::ReadArchive(_)));
    scratch.assert_clean();
}

#[test]
fn progress_counts_both_sides() {
    let scratch = Scratch::new();
    let archive = tar(&[file("f", vec![7; 5 << 20])]);
    let packed = gzip(&archive);
    let reports = std::sync::Mutex::new(Vec::new());
    let name = reference("counted");
    scratch
        .store
        .import(&mut &packed[..], Some(&name), "test", &|state| reports.lock().unwrap().push(state))
        .unwrap();
    let reports = reports.into_inner().unwrap();
    assert!((7..=9).contains(&reports.len()), "{reports:?}");
    let (read_bytes, unpacked_bytes) = (packed.len() as u64, archive.len() as u64);
    let last = [LayerState::Reading { read_bytes, unpacked_bytes }, LayerState::Unpacked, LayerState::Done];
    assert!(reports.ends_with(&last), "{reports:?}");
}

#[test]
fn several_imports_at_once_share_the_layer() {
    let scratch = Scratch::new();
    let archive = tar(&[file("f", vec![7; 1 << 20])]);
    let (root, archive) = (&scratch.root(), &archive);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                let store = Store::open(root).unwrap();
                for _ in 0..5 {
                    store.import(&mut &archive[..], None, "test", &|_| {}).unwrap();
                    store.sweep().unwrap();
                }
            });
        }
    });
    assert_eq!(scratch.store.images().unwrap().len(), 20);
    scratch.assert_clean();
}
