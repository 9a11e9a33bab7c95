//! Archives that want out. Each is imported beside a canary, which must not change (security.md T6; CVE-2014-9356,
//! CVE-2021-32760, CVE-2025-47290, CVE-2021-29136, CVE-2024-24579, CVE-2026-33056).

use crate::archive::{Member, dir, file, gzip, hard_link, open_tar, pax, symlink, tar};
use crate::support::{Scratch, names};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use store::{Error, Limits};

/// Imports `members`, which may succeed or not, and checks that nothing outside the tree changed.
fn import_beside_canary(make: impl Fn(&Path) -> Vec<Member>) -> (Scratch, Result<store::ImageId, Error>) {
    let scratch = Scratch::new();
    let canary = scratch.dir.path().join("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::write(canary.join("file"), "alive").unwrap();
    let before = std::fs::metadata(canary.join("file")).unwrap();
    let result = scratch.import(&tar(&make(&canary)));
    assert_eq!(names(&canary), ["file"], "something was made outside");
    assert_eq!(std::fs::read(canary.join("file")).unwrap(), b"alive");
    let after = std::fs::metadata(canary.join("file")).unwrap();
    let facts = |m: &std::fs::Metadata| (m.mode(), m.uid(), m.nlink(), m.mtime(), m.ino());
    assert_eq!(facts(&after), facts(&before));
    assert_eq!(names(scratch.dir.path()), ["canary", "store"]);
    scratch.assert_clean();
    (scratch, result)
}

fn tree(scratch: &Scratch, id: store::ImageId) -> std::path::PathBuf {
    scratch.store.resolve_image(&id.to_string()).unwrap().layers[0].tree.clone()
}

fn assert_refused(make: impl Fn(&Path) -> Vec<Member>) {
    let (_, result) = import_beside_canary(make);
    let error = result.expect_err("the archive was imported");
    assert!(matches!(error, Error::Entry { .. }), "{error}");
}

#[test]
fn dots_never_lead_out() {
    assert_refused(|_| vec![file("../x", "x")]);
    assert_refused(|_| vec![file("a/../../../x", "x")]);
    assert_refused(|_| vec![dir("..")]);
    assert_refused(|_| vec![hard_link("x", "../../../../../etc/passwd")]);
    assert_refused(|_| vec![pax(&[("path", b"a/../../x")]), file("safe", "x")]);
}

#[test]
fn absolute_names_are_below_the_root() {
    let (scratch, result) = import_beside_canary(|canary| {
        vec![file(format!("{}/planted", canary.display()), "x"), file("//etc//./x", "y")]
    });
    let tree = tree(&scratch, result.unwrap());
    assert_eq!(std::fs::read(tree.join("etc/x")).unwrap(), b"y");
}

#[test]
fn links_lead_to_places_inside() {
    let (scratch, result) = import_beside_canary(|canary| {
        vec![
            symlink("absolute", canary.as_os_str().as_encoded_bytes()),
            dir(canary.as_os_str().as_encoded_bytes()),
            file("absolute/file", "inside"),
            symlink("up", "../../../../../../.."),
            file("up/planted", "inside"),
        ]
    });
    let root = tree(&scratch, result.unwrap());
    let canary = scratch.dir.path().join("canary");
    assert_eq!(std::fs::read(root.join(canary.strip_prefix("/").unwrap()).join("file")).unwrap(), b"inside");
    assert_eq!(std::fs::read(root.join("planted")).unwrap(), b"inside");
}

#[test]
fn a_dangling_link_is_no_place() {
    let (_, result) = import_beside_canary(|canary| {
        vec![symlink("l", canary.as_os_str().as_encoded_bytes()), file("l/x", "x")]
    });
    assert!(matches!(result, Err(Error::Unpack { .. })));
    let (_, result) = import_beside_canary(|_| vec![symlink("l", "l"), file("l/x", "x")]);
    assert!(matches!(result, Err(Error::Unpack { .. })));
}

#[test]
fn a_file_over_a_link_replaces_the_link() {
    let (scratch, result) = import_beside_canary(|canary| {
        let target = canary.join("file");
        vec![
            symlink("f", target.as_os_str().as_encoded_bytes()),
            file("f", "new"),
            symlink("d", canary.as_os_str().as_encoded_bytes()),
            dir("d").mode(0o700),
            file("d/file", "new"),
        ]
    });
    let tree = tree(&scratch, result.unwrap());
    assert!(std::fs::symlink_metadata(tree.join("f")).unwrap().is_file());
    assert!(std::fs::symlink_metadata(tree.join("d")).unwrap().is_dir());
}

#[test]
fn a_directory_swapped_for_a_link_is_resolved_anew() {
    let (scratch, result) = import_beside_canary(|canary| {
        let target = canary.as_os_str().as_encoded_bytes();
        vec![dir("d"), file("d/a", "x"), symlink("d", target), dir(target), file("d/file", "inside")]
    });
    let tree = tree(&scratch, result.unwrap());
    let canary = scratch.dir.path().join("canary");
    assert!(tree.join(canary.strip_prefix("/").unwrap()).join("file").exists());
}

#[test]
fn a_link_that_replaced_itself_is_no_place() {
    let members = || vec![dir("a"), symlink("a/up", "."), file("a/up/up", "x"), file("a/up/y", "x")];
    let (_, result) = import_beside_canary(|_| members());
    assert!(matches!(result, Err(Error::Unpack { call: "openat2", .. })));
}

#[test]
fn hard_links_stay_inside() {
    assert_refused(|canary| vec![hard_link("l", canary.join("file").as_os_str().as_encoded_bytes())]);
    assert_refused(|canary| {
        vec![symlink("d", canary.as_os_str().as_encoded_bytes()), hard_link("l", "d/file")]
    });
    assert_refused(|_| vec![hard_link("l", "/")]);
    assert_refused(|_| vec![hard_link("l", "missing")]);
    // A hard link to a symbolic link is another name of the link, not of what it points at.
    let (scratch, result) = import_beside_canary(|canary| {
        let target = canary.join("file");
        vec![
            symlink("s", target.as_os_str().as_encoded_bytes()),
            hard_link("l", "s"),
            file("l", "over"),
            hard_link("s", "s"),
        ]
    });
    let tree = tree(&scratch, result.unwrap());
    assert!(std::fs::symlink_metadata(tree.join("s")).unwrap().is_symlink());
    assert_eq!(std::fs::read(tree.join("l")).unwrap(), b"over");
}

#[test]
fn names_that_mean_nothing_are_refused() {
    assert_refused(|_| vec![file("", "x")]);
    assert_refused(|_| vec![file(".", "x")]);
    assert_refused(|_| vec![symlink("/", "x")]);
    assert_refused(|_| vec![Member::new(b'3', "whiteout").device(0, 0)]);
    assert_refused(|_| vec![Member::new(b'4', "big").device(0x1000, 0)]);
}

#[test]
fn overlay_and_host_attributes_are_left_out() {
    let (scratch, result) = import_beside_canary(|_| {
        let records: &[(&str, &[u8])] = &[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:etc_t:s0"),
            ("SCHILY.xattr.user.kept", b"yes"),
        ];
        vec![pax(records), dir("d")]
    });
    let dir = tree(&scratch, result.unwrap()).join("d");
    let mut buffer = [0u8; 1024];
    let length = rustix::fs::llistxattr(&dir, &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"user.kept\0");
}

#[test]
fn a_size_without_content_costs_nothing() {
    let scratch = Scratch::new();
    let huge = open_tar(&[file("f", "x").raw_size(b"77777777777\0")]);
    assert!(matches!(scratch.import(&huge), Err(Error::Archive(_))));
    let larger = open_tar(&[file("f", "x").raw_size(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")]);
    assert!(matches!(scratch.import(&larger), Err(Error::Archive(_))));
    scratch.assert_clean();
}

#[test]
fn an_archive_that_ends_early_leaves_nothing() {
    let scratch = Scratch::new();
    let whole = tar(&[dir("d"), file("d/f", [b'x'; 100_000])]);
    for bytes in [&whole[..50_000], &gzip(&whole)[..100]] {
        let error = scratch.import(bytes).expect_err("half an archive was imported");
        assert!(matches!(error, Error::Archive(_) | Error::ReadArchive(_)), "{error}");
        assert_eq!(error.kind(), types::kind::Kind::Invalid);
    }
    scratch.assert_clean();
    assert!(scratch.store.images().unwrap().is_empty());
}

#[test]
fn bombs_stop_at_the_limits() {
    let scratch = Scratch::new();
    let bomb = gzip(&tar(&[file("zeros", vec![0; 8 << 20])]));
    let limited = |limits: Limits, bytes: &[u8]| {
        scratch.store.import_within(&limits, &mut &bytes[..], None, "test", &|_| {}).unwrap_err()
    };
    let small = Limits { bytes_max: 1 << 20, ..Limits::default() };
    assert!(matches!(limited(small, &bomb), Error::Limit { what: "bytes", .. }));
    let few = Limits { entries_max: 2, ..Limits::default() };
    assert!(matches!(
        limited(few, &tar(&[dir("a"), dir("b"), dir("c")])),
        Error::Limit { what: "entries", .. }
    ));
    scratch.assert_clean();
}

#[test]
fn directories_without_end_unpack_and_go() {
    let scratch = Scratch::new();
    // Each link opens a way into the depth that its own name hides.
    let mut members = Vec::new();
    let step = "d/".repeat(1000);
    for level in 0..5 {
        let at = if level == 0 { String::new() } else { format!("l{}/", level - 1) };
        members.push(pax(&[("path", format!("{at}{step}f").as_bytes())]));
        members.push(file("f", "x"));
        members.push(pax(&[("linkpath", format!("{at}{step}").as_bytes())]));
        members.push(symlink(format!("l{level}"), "x"));
    }
    let (image, _) = scratch.imported(&tar(&members));
    scratch.store.remove_image(&image.id.to_string(), false).unwrap();
    scratch.assert_clean();
}

#[test]
fn names_are_escaped_in_errors() {
    let scratch = Scratch::new();
    let error = scratch.import(&tar(&[file("../\x1b[31m", "x")])).unwrap_err().to_string();
    assert!(error.contains("\\x1b[31m") && !error.contains('\x1b'), "{error:?}");
}
