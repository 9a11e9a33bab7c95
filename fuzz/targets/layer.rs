//! Unpacking a layer over another one, and archiving what came of it: nothing outside the tree changes, and what was
//! written unpacks. Works in a directory of its own below /dev/shm, as root or not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use store::pack::write_layer;
use store::tar::Reader;
use store::unpack::{Limits, Whiteouts, pending, unpack};

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Unpacks over `parent` into a new directory; whether it went well.
fn layer(archive: &[u8], tree: &Path, parent: &File) -> bool {
    fs::create_dir(tree).expect("a fresh directory takes another");
    let root = File::open(tree).expect("it was made above");
    let limits = Limits { bytes_max: 16 << 20, entries_max: 1000, ratio_max: 200 };
    let unpacked = unpack(&mut Reader::new(archive), root.as_fd(), Whiteouts::OfLayer, &limits);
    unpacked.is_ok_and(|done| pending::complete(root.as_fd(), &[parent.as_fd()], &done.pending).is_ok())
}

fuzz_target!(|bytes: &[u8]| {
    let scratch = Scratch(PathBuf::from(format!("/dev/shm/berth-fuzz-{}", std::process::id())));
    let _ = fs::remove_dir_all(&scratch.0);
    let below = scratch.0.join("below");
    fs::create_dir_all(below.join("d/e")).expect("/dev/shm takes directories");
    fs::write(below.join("d/f"), "below").expect("and files");
    fs::write(scratch.0.join("canary"), "alive").expect("and files");
    let parent = File::open(&below).expect("it was made above");
    if layer(bytes, &scratch.0.join("first"), &parent) {
        let first = File::open(scratch.0.join("first")).expect("it was made above");
        let mut archive = Vec::new();
        if write_layer(first.as_fd(), &[parent.as_fd()], &[], &mut archive).is_ok() {
            assert!(layer(&archive, &scratch.0.join("second"), &parent), "what was written doesn't unpack");
        }
    }
    assert_eq!(fs::read(scratch.0.join("canary")).ok().as_deref(), Some(&b"alive"[..]));
    assert_eq!(fs::read(below.join("d/f")).ok().as_deref(), Some(&b"below"[..]));
    let names = fs::read_dir(&scratch.0).expect("it was made above").count();
    assert!(names <= 4, "something was made outside");
});
