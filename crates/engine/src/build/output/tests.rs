//! Outputs, and what is written.

use super::*;
use build::op::{CopySource, Unpack};
use std::os::unix::fs::MetadataExt;

fn output(text: &str) -> Output {
    Output::parse(text).unwrap()
}

#[test]
fn outputs_are_read_as_buildx_reads_them() {
    let path = |path: &str| Dest::Path(path.into());
    assert_eq!(output("out"), Output::Local { dest: "out".into() });
    assert_eq!(output("-"), Output::Tar { dest: Dest::Stdout });
    assert_eq!(output("type=local,dest=out"), Output::Local { dest: "out".into() });
    assert_eq!(output("type=tar"), Output::Tar { dest: Dest::Stdout });
    assert_eq!(output("type=tar,dest=x.tar"), Output::Tar { dest: path("x.tar") });
    assert_eq!(output("TYPE=tar,\"dest=a,b\""), Output::Tar { dest: path("a,b") });
    let archive = |format, names: &[&str], dest, is_directory| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Output::Archive { format, names, dest, is_directory }
    };
    assert_eq!(output("type=oci,dest=o"), archive(save::Format::Oci, &[], path("o"), false));
    assert_eq!(output("type=oci,dest=o,tar=false"), archive(save::Format::Oci, &[], path("o"), true));
    let named = archive(save::Format::Docker, &["a", "b"], path("-x"), false);
    assert_eq!(output("type=docker,\"name=a,b\",dest=-x"), named);
    assert_eq!(output("type=docker"), Output::Image { names: Vec::new(), pushes: false });
    assert_eq!(
        output("type=image,name=a,push=true"),
        Output::Image { names: vec!["a".into()], pushes: true }
    );
    assert_eq!(
        output("type=registry,oci-mediatypes=true"),
        Output::Image { names: Vec::new(), pushes: true }
    );
    assert_eq!(output("type=cacheonly"), Output::Nothing);
}

#[test]
fn what_is_no_output_is_refused() {
    for (text, why) in [
        ("dest=x,tar=true", "type is required for output"),
        ("type=local", "dest is required for local exporter"),
        ("type=local,x", "invalid value x"),
        ("type=oci,tar=false", "dest is required for oci exporter"),
        ("type=image,push=perhaps", "perhaps is neither true nor false"),
        ("type=tar,\"dest=x", "a quote isn't closed"),
        ("type=moby", "type=moby is not supported"),
        ("type=oci,dest=x,compression=zstd", "compression=zstd is not supported"),
        ("type=image,annotation.x=y", "annotation.x is not supported"),
    ] {
        let error = Output::parse(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

struct Bench {
    dir: tempfile::TempDir,
    home: Home,
    tree: op::Tree,
}

/// A result with a file, a link and a directory of others'.
fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let home = Home { root: dir.path().join("root/berth"), run: dir.path().join("run"), ..Home::default() };
    std::fs::create_dir_all(dir.path().join("root")).unwrap();
    std::fs::create_dir_all(dir.path().join("context/d")).unwrap();
    std::fs::write(dir.path().join("context/d/f"), "1").unwrap();
    std::os::unix::fs::symlink("f", dir.path().join("context/d/l")).unwrap();
    let copy = op::Copy {
        sources: vec![CopySource::Input { pattern: ".".to_owned() }],
        to: "/".to_owned(),
        chown: "3:4".to_owned(),
        chmod: String::new(),
        keeps_owner: false,
        excludes: Vec::new(),
        has_parents: false,
        is_linked: false,
        unpack: Unpack::Never,
        mtime: None,
    };
    let inputs = [op::Tree::Scratch, op::Tree::Directory(dir.path().join("context"))];
    let made = super::super::copy::copied(&home, &copy, &inputs, &[&[], &[]], None).unwrap().0;
    Bench { dir, home, tree: made.tree }
}

#[test]
fn files_become_the_callers() {
    let bench = bench();
    let dest = bench.dir.path().join("out/deep");
    local(&bench.home, &bench.tree, &dest, Some(7)).unwrap();
    assert_eq!(std::fs::read_to_string(dest.join("d/l")).unwrap(), "1");
    let stat = std::fs::metadata(dest.join("d/f")).unwrap();
    let me = rustix::process::geteuid().as_raw();
    assert_eq!((stat.uid(), stat.mtime()), (me, 7));
    // What is there stays, or is overwritten.
    std::fs::write(dest.join("mine"), "").unwrap();
    std::fs::write(dest.join("d/f"), "other").unwrap();
    local(&bench.home, &bench.tree, &dest, None).unwrap();
    assert_eq!(std::fs::read_to_string(dest.join("d/f")).unwrap(), "1");
    assert!(dest.join("mine").exists());
    local(&bench.home, &op::Tree::Scratch, &bench.dir.path().join("nothing"), None).unwrap();
    assert!(bench.dir.path().join("nothing").is_dir());
}

#[test]
fn links_in_the_target_are_no_way_out_of_it() {
    let bench = bench();
    let (dest, outside) = (bench.dir.path().join("out"), bench.dir.path().join("outside"));
    std::fs::create_dir(&dest).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink("../outside", dest.join("d")).unwrap();
    assert!(local(&bench.home, &bench.tree, &dest, None).is_err());
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn an_archive_keeps_owners_and_may_have_one_time() {
    let bench = bench();
    let archive = |epoch| {
        let mut bytes = Vec::new();
        tar(&bench.home, &bench.tree, &mut bytes, epoch).unwrap();
        let mut reader = Reader::new(&bytes[..]);
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            found.push((String::from_utf8(entry.name).unwrap(), entry.uid, entry.mtime.0));
        }
        found
    };
    let names = |found: &[(String, u32, i64)]| found.iter().map(|entry| entry.0.clone()).collect::<Vec<_>>();
    let found = archive(Some(7));
    assert_eq!(names(&found), ["d/", "d/f", "d/l"]);
    assert!(found.iter().all(|entry| entry.1 == 3 && entry.2 == 7), "{found:?}");
    assert!(archive(None).iter().all(|entry| entry.2 > 1_000_000));
    let mut bytes = Vec::new();
    tar(&bench.home, &op::Tree::Scratch, &mut bytes, None).unwrap();
    assert_eq!(bytes, [0; 1024]);
}

#[test]
fn images_are_written_as_archives_and_layouts() {
    let bench = bench();
    let mut archived = Vec::new();
    tar(&bench.home, &bench.tree, &mut archived, None).unwrap();
    let store = open_store(&bench.home).unwrap();
    let id = store.import(&mut &archived[..], None, "test", &|_| {}).unwrap().to_string();
    drop(store);
    let names = ["a:1".to_owned(), "b.io/c:2".to_owned()];
    let write = |format| {
        let mut bytes = Vec::new();
        archive(&bench.home, &id, &names, format, &mut bytes).unwrap();
        let mut reader = Reader::new(&bytes[..]);
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            found.push(String::from_utf8(entry.name).unwrap());
        }
        found
    };
    let has = |found: &[String], name: &str| found.iter().any(|entry| entry == name);
    let docker = write(save::Format::Docker);
    assert!(has(&docker, "manifest.json") && has(&docker, "index.json"));
    let oci = write(save::Format::Oci);
    assert!(!has(&oci, "manifest.json") && has(&oci, "index.json") && has(&oci, "oci-layout"));
    let dest = bench.dir.path().join("layout");
    layout(&bench.home, &id, &names, save::Format::Oci, &dest).unwrap();
    let index = std::fs::read_to_string(dest.join("index.json")).unwrap();
    assert!(index.contains("docker.io/library/a:1") && index.contains("b.io/c:2"), "{index}");
    assert!(dest.join("blobs/sha256").is_dir());
}
