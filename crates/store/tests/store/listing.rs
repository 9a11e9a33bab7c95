//! Digests of trees: equal exactly where content is.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};
use store::listing::scan::everything;
use store::listing::{How, List, Listing, Reading, Seen, Sum, Take, Tree};

const READING: Reading = Reading { owners: false, contents: true, threads: 1 };

fn scan(root: &Path, at: &str) -> Listing {
    let tree = Tree::of_host(root).unwrap();
    tree.scan(at.as_bytes(), &everything, &READING, &mut Seen::nothing()).unwrap()
}

fn sum(root: &Path) -> Sum {
    scan(root, "").sum()
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Makes files look as if they had been there for a while.
fn age(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    // The time of change can't be set: it has to become old.
    std::thread::sleep(Duration::from_millis(60));
}

#[test]
fn each_thing_that_counts_changes_the_digest() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root, "d/f", "1");
    symlink("f", root.join("d/l")).unwrap();
    let mut all = vec![sum(root)];
    let mut changed = |what: &str| {
        let now = sum(root);
        assert!(!all.contains(&now), "{what}");
        all.push(now);
    };
    write(root, "d/f", "2");
    changed("content");
    std::fs::set_permissions(root.join("d/f"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    changed("mode");
    std::fs::rename(root.join("d/f"), root.join("d/g")).unwrap();
    changed("name");
    std::fs::remove_file(root.join("d/l")).unwrap();
    changed("removed link");
    symlink("g", root.join("d/l")).unwrap();
    changed("link target");
    std::fs::create_dir(root.join("e")).unwrap();
    changed("empty directory");
    std::fs::set_permissions(root.join("e"), std::fs::Permissions::from_mode(0o700)).unwrap();
    changed("mode of a directory");
    std::fs::remove_dir(root.join("e")).unwrap();
    write(root, "e", "");
    changed("file instead of a directory");
    write(root, "h", "2");
    changed("a file");
    std::fs::remove_file(root.join("h")).unwrap();
    std::fs::hard_link(root.join("d/g"), root.join("h")).unwrap();
    changed("a hard link instead of it");
    rustix::fs::setxattr(root.join("e"), "user.a", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    changed("an attribute");
}

#[test]
fn times_and_the_roots_own_mode_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "f", "1");
    let before = sum(dir.path());
    std::fs::File::open(dir.path().join("f")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(sum(dir.path()), before);
}

#[test]
fn owners_count_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "f", "1");
    let with = || {
        let reading = Reading { owners: true, contents: true, threads: 1 };
        Tree::of_host(dir.path())
            .unwrap()
            .scan(b"", &everything, &reading, &mut Seen::nothing())
            .unwrap()
            .sum()
    };
    let (without, before) = (sum(dir.path()), with());
    std::os::unix::fs::chown(dir.path().join("f"), Some(7), None).unwrap();
    assert_eq!(sum(dir.path()), without);
    assert_ne!(with(), before);
}

#[test]
fn a_part_has_the_digest_that_it_has_in_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a/b/c", "1");
    write(dir.path(), "a/z", "2");
    let whole = scan(dir.path(), "");
    let find = |path: &[u8]| (0..whole.len()).find(|index| whole.path(*index) == path).unwrap();
    assert_eq!(scan(dir.path(), "a/b/c").sum(), whole.node(find(b"a/b/c")).sum());
    assert_eq!(scan(dir.path(), "a/b/c").sum(), scan(&dir.path().join("a/b"), "c").sum());
    assert_eq!(scan(dir.path(), "a").sum(), sum(&dir.path().join("a")));
}

#[test]
fn what_is_left_out_does_not_count_nor_do_directories_kept_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "keep/f", "1");
    let expected = sum(dir.path());
    write(dir.path(), "out/f", "2");
    write(dir.path(), "maybe/deep/x", "3");
    std::fs::create_dir(dir.path().join("maybe/empty")).unwrap();
    let select = |keeps: &'static str| {
        let selection = move |path: &[u8], _: bool| match path {
            b"keep" | b"keep/f" => Take::Yes,
            path if path == keeps.as_bytes() => Take::Yes,
            path if path.starts_with(b"maybe") => Take::IfBelow,
            _ => Take::No,
        };
        let tree = Tree::of_host(dir.path()).unwrap();
        tree.scan(b"", &selection, &READING, &mut Seen::nothing()).unwrap()
    };
    assert_eq!(select("none").sum(), expected);
    let with = select("maybe/deep/x");
    assert_ne!(with.sum(), expected);
    let mut list = List::default();
    list.add(b"", &with, false);
    let paths: Vec<_> = list.paths().into_iter().map(|path| String::from_utf8(path).unwrap()).collect();
    assert_eq!(paths, ["keep", "keep/f", "maybe", "maybe/deep", "maybe/deep/x"]);
}

#[test]
fn links_lead_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in/f", "1");
    symlink("/etc", dir.path().join("in/etc")).unwrap();
    symlink("..", dir.path().join("in/up")).unwrap();
    let listing = scan(dir.path(), "in");
    assert_eq!(listing.len(), 4);
    let tree = Tree::of_host(&dir.path().join("in")).unwrap();
    for path in ["etc/passwd", "up/in/f"] {
        let scanned = tree.scan(path.as_bytes(), &everything, &READING, &mut Seen::nothing());
        assert!(scanned.is_err(), "{path}");
    }
}

#[test]
fn what_was_read_is_not_read_again_and_a_change_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    for number in 0..20 {
        write(&root, &format!("d{}/f{number}", number % 3), &number.to_string());
    }
    age(&root.join("d0/f0"));
    let path = dir.path().join("seen");
    let tree = Tree::of_host(&root).unwrap();
    let mut seen = Seen::load(&path);
    let first = tree.scan(b"", &everything, &READING, &mut seen).unwrap().sum();
    seen.save().unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    assert_eq!(size, 16 + 20 * 48 + 32);
    // Nothing is read: that a digest was remembered shows where it's a false one.
    let mut seen = Seen::load(&path);
    assert_eq!(tree.scan(b"", &everything, &READING, &mut seen).unwrap().sum(), first);
    write(&root, "d1/f1", "x");
    let changed = tree.scan(b"", &everything, &READING, &mut seen).unwrap().sum();
    assert_ne!(changed, first);
    assert_eq!(changed, sum(&root));
}

#[test]
fn a_file_that_was_just_changed_is_not_remembered() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "tree/f", "1");
    let path = dir.path().join("seen");
    let mut seen = Seen::load(&path);
    let tree = Tree::of_host(&dir.path().join("tree")).unwrap();
    tree.scan(b"", &everything, &READING, &mut seen).unwrap();
    seen.save().unwrap();
    assert!(!path.exists());
}

#[test]
fn several_threads_find_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..200 {
        write(dir.path(), &format!("d{}/f{number}", number % 7), &"x".repeat(number * 100));
    }
    let reading = Reading { owners: false, contents: true, threads: 4 };
    let tree = Tree::of_host(dir.path()).unwrap();
    let by_four = tree.scan(b"", &everything, &reading, &mut Seen::nothing()).unwrap();
    assert_eq!(by_four.sum(), sum(dir.path()));
}

#[test]
fn lists_tell_which_file_changed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "src/a.rs", "1");
    write(dir.path(), "src/b.rs", "1");
    let list = || {
        let mut list = List::default();
        list.add(b"", &scan(dir.path(), ""), false);
        list
    };
    let before = list();
    write(dir.path(), "src/b.rs", "2");
    write(dir.path(), "new", "3");
    let (found, count) = before.differences(&list(), 10);
    let found: Vec<_> = found.iter().map(|d| (d.path.as_slice(), d.how)).collect();
    assert_eq!(found, [(&b"new"[..], How::Added), (b"src/b.rs", How::Content)]);
    assert_eq!(count, 2);
}

/// CVE-2018-15664's class: somebody exchanges a directory of the tree for a link to the outside, over and over.
#[test]
fn no_exchange_of_names_leads_out_of_the_tree() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use store::transfer::{Attributes, Target};
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "outside/f", "canary");
    write(dir.path(), "tree/d/f", "inside");
    symlink("../outside", dir.path().join("tree/l")).unwrap();
    let (tree, done) = (Tree::of_host(&dir.path().join("tree")).unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (d, l) = (dir.path().join("tree/d"), dir.path().join("tree/l"));
            while !done.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, &d, rustix::fs::CWD, &l, exchange).unwrap();
            }
        });
        let (mut copied, mut refused) = (0, 0);
        for round in 0..300 {
            let Ok(listing) = tree.scan(b"", &everything, &READING, &mut Seen::nothing()) else { continue };
            let to = dir.path().join(format!("to{round}"));
            std::fs::create_dir(&to).unwrap();
            let target = Target::new(std::fs::File::open(&to).unwrap().into());
            match target.copy((&tree, b""), &listing, b"", &Attributes::default()) {
                Ok(()) => copied += 1,
                Err(_) => refused += 1,
            }
            for name in ["d", "l"] {
                let at = to.join(name);
                if std::fs::symlink_metadata(&at).is_ok_and(|stat| stat.is_dir()) {
                    assert_ne!(std::fs::read_to_string(at.join("f")).unwrap_or_default(), "canary");
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(copied + refused > 0, "{copied} {refused}");
    });
}

/// A tree: paths of two components at most, to content and mode.
type Model = BTreeMap<String, (u8, bool)>;

fn make(model: &Model) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, (content, executable)) in model {
        write(dir.path(), path, &"x".repeat((*content).into()));
        let mode = if *executable { 0o755 } else { 0o644 };
        std::fs::set_permissions(dir.path().join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    dir
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// The cache's promise: equal digests exactly where content is equal.
    #[test]
    fn equal_content_is_equal_digests(
        one in proptest::collection::btree_map("[ab]/[ab]", (0u8..2, any::<bool>()), 0..4),
        other in proptest::collection::btree_map("[ab]/[ab]", (0u8..2, any::<bool>()), 0..4),
    ) {
        let (one_made, other_made) = (make(&one), make(&other));
        prop_assert_eq!(one == other, sum(one_made.path()) == sum(other_made.path()));
    }
}
