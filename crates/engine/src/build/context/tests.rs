//! Contexts of each kind. What is expected is docker 28.5's behaviour, but for archives by their path, which it refuses.

use super::*;
use std::io::{Seek, Write};

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        for (path, content) in files {
            let path = bench.dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        bench
    }

    fn home(&self) -> Home {
        Home { root: self.dir.path().join("root/berth"), run: self.dir.path().join("run"), ..Home::default() }
    }

    fn open(&self, context: &str, file: &str, stdin: Option<&[u8]>) -> Result<(Context, Dockerfile), Error> {
        let asked = Asked { context, file, text: None, here: self.dir.path() };
        let stdin = stdin.map(|bytes| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file.rewind().unwrap();
            file
        });
        open(&self.home(), &asked, stdin)
    }

    fn error(&self, context: &str, file: &str, stdin: Option<&[u8]>) -> String {
        self.open(context, file, stdin).unwrap_err().to_string()
    }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    use store::tar::{Entry, EntryKind, Writer};
    let mut writer = Writer::new(Vec::new());
    for (name, content) in files {
        let kind = EntryKind::File { size: content.len() as u64 };
        let (name, xattrs) = (name.as_bytes().to_vec(), Vec::new());
        let entry = Entry { name, kind, mode: 0o644, uid: 7, gid: 8, mtime: (5, 0), xattrs };
        writer.append(&entry, &mut content.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn a_directory_is_used_in_place() {
    let bench =
        Bench::new(&[("c/Dockerfile", "FROM x"), ("c/.dockerignore", "# no\n/a\n!b\n\n"), ("c/f", "")]);
    let (context, dockerfile) = bench.open("c", "", None).unwrap();
    assert_eq!(context.tree, op::Tree::Directory(bench.dir.path().join("c")));
    assert_eq!((dockerfile.name.as_str(), dockerfile.text.as_str()), ("Dockerfile", "FROM x"));
    assert_eq!(context.ignored, ["a", "!b"]);
    assert_eq!(context.ignore_file.as_deref(), Some(".dockerignore"));
    assert!(!context.keeps_owner);
}

#[test]
fn the_dockerfiles_own_ignore_file_comes_first() {
    let files = [
        ("c/.dockerignore", "a"),
        ("c/Dockerfile", "1"),
        ("c/Dockerfile.dockerignore", "b"),
        ("c/Other", "3"),
        ("out/D", "2"),
        ("out/D.dockerignore", "d"),
    ];
    let bench = Bench::new(&files);
    let read = |file: &str| {
        let (context, dockerfile) = bench.open("c", file, Some(b"0")).unwrap();
        (dockerfile.text, context.ignored)
    };
    let of = |text: &str, line: &str| (text.to_owned(), vec![line.to_owned()]);
    assert_eq!(read(""), of("1", "b"));
    assert_eq!(read("c/Dockerfile"), of("1", "b"));
    assert_eq!(read("out/D"), of("2", "d"));
    assert_eq!(read("Other"), of("3", "a"));
    assert_eq!(read("-"), of("0", "a"));
}

#[test]
fn ignore_files_and_dockerfiles_are_no_way_out_of_the_context() {
    let bench = Bench::new(&[("secret", "hidden"), ("c/x", "")]);
    std::os::unix::fs::symlink("../secret", bench.dir.path().join("c/.dockerignore")).unwrap();
    std::os::unix::fs::symlink("../secret", bench.dir.path().join("c/Dockerfile")).unwrap();
    assert!(bench.error("c", "", None).starts_with("failed to read dockerfile"));
    assert_eq!(bench.open("c", "-", Some(b"FROM x")).unwrap().0.ignored, Vec::<String>::new());
    std::fs::remove_file(bench.dir.path().join("c/.dockerignore")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.dir.path().join("c/.dockerignore"),
        FileType::Fifo,
        Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(bench.error("c", "-", Some(b"FROM x")).contains("regular"));
}

#[test]
fn an_archive_is_unpacked_and_goes_with_the_context() {
    let files = [("Dockerfile", "FROM x"), (".dockerignore", "f"), ("d/f", "1"), ("Other", "FROM y")];
    let bench = Bench::new(&[]);
    let plain = archive(&files);
    let gzip = gzip_of(&plain);
    for bytes in [&plain, &gzip] {
        let (context, dockerfile) = bench.open("-", "", Some(bytes)).unwrap();
        assert_eq!(dockerfile.text, "FROM x");
        // As with docker: it isn't read of archives.
        assert_eq!(context.ignored, Vec::<String>::new());
        assert!(context.keeps_owner);
        let op::Tree::Directory(path) = context.tree.clone() else { panic!("{:?}", context.tree) };
        let stat = std::fs::metadata(path.join("d/f")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&stat), 7);
        drop(context);
        assert!(!path.exists());
    }
    assert_eq!(bench.open("-", "Other", Some(&plain)).unwrap().1.text, "FROM y");
    assert!(bench.error("-", "nope", Some(&plain)).starts_with("failed to read dockerfile: open nope"));
    std::fs::write(bench.dir.path().join("t.tar"), &plain).unwrap();
    assert_eq!(bench.open("t.tar", "", None).unwrap().1.text, "FROM x");
}

fn gzip_of(bytes: &[u8]) -> Vec<u8> {
    use flate2::write::GzEncoder;
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_no_archive_is_a_dockerfile_without_files() {
    let bench = Bench::new(&[]);
    let (context, dockerfile) = bench.open("-", "", Some(b"FROM x\nRUN y\n")).unwrap();
    assert_eq!((context.tree, dockerfile.text.as_str()), (op::Tree::Scratch, "FROM x\nRUN y\n"));
    let both = "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles";
    assert_eq!(bench.error("-", "D", Some(b"FROM x")), both);
    let conflict = "invalid argument: can't use stdin for both build context and dockerfile";
    assert_eq!(bench.error("-", "-", Some(b"FROM x")), conflict);
    assert_eq!(bench.error("-", "", Some(b"")), "failed to read dockerfile: there is nothing to be read");
}

#[test]
fn what_is_no_context_is_refused_by_name() {
    let bench = Bench::new(&[("empty/x", "")]);
    assert_eq!(bench.error("nope", "", None), "unable to prepare context: path \"nope\" not found");
    assert!(
        bench
            .error("empty", "", None)
            .starts_with("failed to read dockerfile: open Dockerfile: there is none in")
    );
    for git in ["git@github.com:a/b", "https://github.com/a/b.git", "https://x.io/b.git#main", "git://x.io/b"]
    {
        assert!(bench.error(git, "", None).contains("contexts of git are not supported yet"), "{git}");
    }
    std::fs::write(bench.dir.path().join("empty/Dockerfile"), b"\xff\xfe").unwrap();
    assert_eq!(bench.error("empty", "", None), "Dockerfile is not text: it isn't UTF-8");
}

#[test]
fn named_contexts_are_files_or_images() {
    let bench = Bench::new(&[("n/.dockerignore", "out"), ("n/f", "")]);
    let named = |value: &str| open_named(&bench.home(), value, bench.dir.path());
    let Ok(Named::Files(files)) = named("n") else { panic!("no files") };
    assert_eq!(files.ignored, ["out"]);
    let Ok(Named::Image(image)) = named("docker-image://alpine:3") else { panic!("no image") };
    assert_eq!(image, "alpine:3");
    for (value, path, reference) in [
        ("oci-layout://l/a:v1", "l/a", "v1"),
        ("oci-layout://l", "l", "latest"),
        ("oci-layout:///l@sha256:0", "/l", "sha256:0"),
    ] {
        let Ok(Named::Layout(found, tag)) = named(value) else { panic!("no layout: {value}") };
        assert_eq!((found, tag.as_str()), (bench.dir.path().join(path), reference), "{value}");
    }
    let Ok(Named::Target(target)) = named("target:base") else { panic!("no target") };
    assert_eq!(target, "base");
    assert!(named("nope").is_err() && named("-").is_err());
}

#[test]
fn exceptions_keep_their_directories() {
    let ignore = Ignore::new(&["*".to_owned(), "!a/b".to_owned()], "x").unwrap();
    assert_eq!(ignore.take(b"a", true), Take::IfBelow);
    assert_eq!(ignore.take(b"a/b", false), Take::Yes);
    assert_eq!(ignore.take(b"a/c", false), Take::No);
    assert_eq!(ignore.take(b"c", true), Take::No);
    let parents = Ignore::all_but("a/*/c", "x").unwrap();
    assert_eq!(parents.take(b"a", true), Take::IfBelow);
    assert_eq!(parents.take(b"a/b", true), Take::IfBelow);
    assert_eq!(parents.take(b"a/b/c", true), Take::Yes);
    assert_eq!(parents.take(b"a/b/c/d", false), Take::Yes);
    assert_eq!(parents.take(b"b", true), Take::No);
}
