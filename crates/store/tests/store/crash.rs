//! Killed at any instant, the store is in the state before or after.

use crate::archive::{Member, dir, file, open_tar, tar};
use crate::support::{Scratch, child, child_root, names, reference};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};
use store::{Sha256, Store, Swept};

#[test]
fn child_imports() {
    let Some(root) = child_root() else { return };
    let store = Store::open(&root).unwrap();
    let name = reference("app");
    let report = |_| println!("progress");
    store.import(&mut std::io::stdin(), Some(&name), "child", &report).unwrap();
    println!("done");
}

fn spawn(scratch: &Scratch) -> Child {
    let mut command = child("crash::child_imports", &scratch.root());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn wait_for(child: &mut Child, line: &str) {
    let output = BufReader::new(child.stdout.as_mut().unwrap());
    assert!(output.lines().any(|found| found.unwrap().contains(line)), "the child never said {line}");
}

#[test]
fn an_import_killed_in_the_middle_leaves_nothing() {
    let scratch = Scratch::new();
    let mut child = spawn(&scratch);
    let half = open_tar(&[dir("d"), file("d/big", vec![1; 3 << 20])]);
    child.stdin.as_mut().unwrap().write_all(&half[..2 << 20]).unwrap();
    wait_for(&mut child, "progress");
    assert_eq!(names(&scratch.root().join("tmp")).len(), 1);
    assert_eq!(scratch.store.sweep().unwrap(), Swept::default(), "a live import was swept");
    child.kill().unwrap();
    child.wait().unwrap();

    let next = Store::open(&scratch.root()).unwrap();
    assert!(next.images().unwrap().is_empty());
    assert_eq!(next.sweep().unwrap(), Swept { leftovers: 1, layers: 0, blobs: 0, volumes: 0 });
    scratch.assert_clean();
}

#[test]
fn an_import_killed_at_any_time_is_whole_or_absent() {
    let scratch = Scratch::new();
    let mut finished = 0;
    for round in 0..24u64 {
        let archive = tar(&[dir("d"), file("d/f", vec![round as u8; 300_000])]);
        let mut child = spawn(&scratch);
        wait_for(&mut child, "running 1 test");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&archive).unwrap();
        drop(stdin);
        // The instant is what varies; no event says when the child is between two of its steps.
        std::thread::sleep(std::time::Duration::from_micros(round * 400));
        child.kill().unwrap();
        child.wait().unwrap();

        let next = Store::open(&scratch.root()).unwrap();
        next.sweep().unwrap();
        scratch.assert_clean();
        for image in next.images().unwrap() {
            assert_eq!(std::fs::metadata(image.layers[0].tree.join("d/f")).unwrap().len(), 300_000);
            finished += 1;
            next.remove_image(&image.id.to_string(), false).unwrap();
        }
    }
    println!("{finished} of 24 imports finished before they were killed");
}

#[test]
fn a_layer_without_a_row_is_swept_or_taken_over() {
    let scratch = Scratch::new();
    let archive = tar(&[file("f", "x")]);
    let layer = scratch.root().join("layers").join(Sha256::of(&archive).hex());
    let orphan = || {
        std::fs::create_dir_all(layer.join("fs")).unwrap();
        std::fs::write(layer.join("fs/f"), "x").unwrap();
    };
    orphan();
    assert_eq!(scratch.store.sweep().unwrap(), Swept { leftovers: 0, layers: 1, blobs: 0, volumes: 0 });
    scratch.assert_clean();
    orphan();
    let (_, tree) = scratch.imported(&archive);
    assert_eq!(tree, layer.join("fs"));
    assert_eq!(scratch.store.sweep().unwrap(), Swept::default());
    scratch.assert_clean();
}

#[test]
fn a_sweep_removes_leftovers_of_any_kind_and_nothing_else() {
    let scratch = Scratch::new();
    let tmp = scratch.root().join("tmp");
    let canary = scratch.dir.path().join("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::create_dir_all(tmp.join("dead/fs/deep")).unwrap();
    std::fs::write(tmp.join("file"), "x").unwrap();
    symlink(&canary, tmp.join("link")).unwrap();
    std::fs::create_dir(scratch.root().join("layers/not-a-digest")).unwrap();
    assert_eq!(scratch.store.sweep().unwrap(), Swept { leftovers: 3, layers: 0, blobs: 0, volumes: 0 });
    assert!(canary.exists());
    assert_eq!(names(&tmp), Vec::<String>::new());
    assert_eq!(names(&scratch.root().join("layers")), ["not-a-digest"]);
}

#[test]
fn a_failed_import_leaves_nothing() {
    let scratch = Scratch::new();
    scratch.import(&tar(&[dir("d"), file("d/f", "x"), Member::new(b'S', "sparse")])).unwrap_err();
    scratch.assert_clean();
}
