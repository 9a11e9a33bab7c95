//! Copies into plain directories. What is expected is what docker 28.5 made of the same.

use super::*;
use std::fmt::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

struct Bench {
    dir: tempfile::TempDir,
    ignored: Vec<String>,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap(), ignored: Vec::new() };
        for name in ["from", "to"] {
            std::fs::create_dir(bench.path(name)).unwrap();
            std::fs::set_permissions(bench.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        bench
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Makes files: `path` with content, `path/` a directory, `path -> target` a link; ` 751` at the end is a mode.
    fn make(self, files: &[&str]) -> Bench {
        for file in files {
            if let Some((path, target)) = file.split_once(" -> ") {
                std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
                symlink(target, self.path(path)).unwrap();
                continue;
            }
            let (path, mode) = file.split_once(' ').map_or((*file, None), |(path, mode)| (path, Some(mode)));
            match path.strip_suffix('/') {
                Some(path) => std::fs::create_dir_all(self.path(path)).unwrap(),
                None => {
                    std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
                    std::fs::write(self.path(path), path).unwrap();
                }
            }
            let mode = mode.map_or(if path.ends_with('/') { 0o755 } else { 0o644 }, |mode| {
                u32::from_str_radix(mode, 8).unwrap()
            });
            std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        self
    }

    fn ignoring(self, lines: &[&str]) -> Bench {
        Bench { ignored: lines.iter().map(|line| (*line).to_owned()).collect(), ..self }
    }

    fn notes(&self) -> Notes {
        Notes::at(self.path("build")).unwrap()
    }

    fn origin(&self) -> Origin {
        Origin::directory(&self.path("from"), &self.ignored).unwrap()
    }

    fn run(&self, copy: &op::Copy) -> Result<Copied, Error> {
        let root = std::fs::File::open(self.path("to")).unwrap();
        let target = Target::new(OwnedFd::from(root.try_clone().unwrap()));
        super::copy(copy, Some(&self.origin()), &target, root.as_fd(), &self.notes())
    }

    /// What is in the target after a copy, a line each: mode, owner unless it's root, path, and target or content's origin.
    fn copied(&self, copy: &op::Copy) -> String {
        match self.run(copy) {
            Ok(copied) => {
                assert_eq!(copied.digest, select(copy, Some(&self.origin()), &self.notes()).unwrap().digest);
                self.list("to")
            }
            Err(error) => format!("{error}\n{}\n", error.hint().unwrap_or_default()),
        }
    }

    fn list(&self, at: &str) -> String {
        let mut text = String::new();
        let mut todo = vec![self.path(at)];
        while let Some(path) = todo.pop() {
            let stat = std::fs::symlink_metadata(&path).unwrap();
            if path != self.path(at) {
                let mode = stat.mode() & 0o7777;
                let owner = match (stat.uid(), stat.gid()) {
                    (0, 0) => String::new(),
                    (uid, gid) => format!(" {uid}:{gid}"),
                };
                let name = path.strip_prefix(self.path(at)).unwrap().display().to_string();
                let tail = if stat.is_dir() {
                    "/".to_owned()
                } else if stat.is_symlink() {
                    format!(" -> {}", std::fs::read_link(&path).unwrap().display())
                } else if stat.is_file() {
                    let content = std::fs::read_to_string(&path).unwrap();
                    if content.is_empty() { String::new() } else { format!(" = {content}") }
                } else {
                    " special".to_owned()
                };
                let mode = if stat.is_symlink() { String::new() } else { format!("{mode:o}") };
                writeln!(text, "{mode}{owner} {name}{tail}").unwrap();
            }
            if stat.is_dir() {
                let names = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
                let mut names: Vec<_> = names.collect();
                names.sort();
                todo.extend(names.into_iter().rev());
            }
        }
        text
    }
}

fn op(sources: &[&str], to: &str) -> op::Copy {
    let sources =
        sources.iter().map(|pattern| CopySource::Input { pattern: (*pattern).to_owned() }).collect();
    op::Copy::plain(sources, to)
}

fn context() -> Bench {
    Bench::new().make(&[
        "from/a.txt 4755",
        "from/b.txt",
        "from/a.md",
        "from/d/x",
        "from/d/sub/ 751",
        "from/d/sub/y",
        "from/e/",
        "from/f[1]/z",
        "from/lnk -> d/x",
        "from/dlnk -> d",
        "from/esc -> ../../etc/passwd",
        "from/abs -> /d",
    ])
}

#[track_caller]
fn check(bench: &Bench, copy: &op::Copy, expected: &[&str]) {
    let found = bench.copied(copy);
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_file_is_copied_to_a_name_or_into_a_directory() {
    check(&context(), &op(&["a.txt"], "/x"), &["4755 x = from/a.txt"]);
    check(&context(), &op(&["a.txt"], "/x/"), &["755 x/", "4755 x/a.txt = from/a.txt"]);
    check(&context(), &op(&["/a.txt"], "/x/y/z"), &["755 x/", "755 x/y/", "4755 x/y/z = from/a.txt"]);
    check(&context(), &op(&["d/../b.txt"], "/q/."), &["755 q/", "644 q/b.txt = from/b.txt"]);
    check(&context(), &op(&["../../b.txt"], "/b"), &["644 b = from/b.txt"]);
}

#[test]
fn of_a_directory_its_content_is_copied() {
    let content = ["755 x/", "751 x/sub/", "644 x/sub/y = from/d/sub/y", "644 x/x = from/d/x"];
    check(&context(), &op(&["d"], "/x/"), &content);
    check(&context(), &op(&["d"], "/x"), &content);
    check(&context(), &op(&["./d/."], "/x"), &content);
    check(&context(), &op(&["d", "dlnk", "abs"], "/x/"), &content);
    check(&context(), &op(&["d*", "ab[r-t]"], "/x/"), &content);
}

#[test]
fn links_are_followed_at_the_top_and_kept_below() {
    check(&context(), &op(&["lnk"], "/x/"), &["755 x/", "644 x/lnk = from/d/x"]);
    let hint = "/esc is a link to ../../etc/passwd, and links lead nowhere but into the build context";
    check(&context(), &op(&["esc"], "/x/"), &["\"/esc\" not found in the build context", hint]);
    let all = context().copied(&op(&["."], "/"));
    for line in
        [" esc -> ../../etc/passwd", " abs -> /d", " dlnk -> d", " lnk -> d/x", "755 e/", "751 d/sub/"]
    {
        assert!(all.lines().any(|found| found == line), "{line} in {all}");
    }
}

#[test]
fn patterns_find_what_gos_do() {
    check(
        &context(),
        &op(&["*.txt"], "/x/"),
        &["755 x/", "4755 x/a.txt = from/a.txt", "644 x/b.txt = from/b.txt"],
    );
    // The last one stays.
    check(&context(), &op(&["a.*"], "/x"), &["4755 x = from/a.txt"]);
    check(&context(), &op(&["f[[]1]/z"], "/x/"), &["755 x/", "644 x/z = from/f[1]/z"]);
    check(&context(), &op(&["*/sub/?"], "/x/"), &["755 x/", "644 x/y = from/d/sub/y"]);
    check(&context(), &op(&["nothing*"], "/x/"), &[]);
    check(&context(), &op(&["f[1]/z"], "/x/"), &[]);
    let error = context().run(&op(&["[a"], "/x/")).unwrap_err();
    assert_eq!(error.to_string(), "syntax error in pattern \"[a\"");
}

#[test]
fn what_is_missing_is_named_with_what_is_near() {
    let near = |wanted: &str| {
        let bench = context().make(&["from/requirements.txt", "from/deep/down/only.here", "from/secret.txt"]);
        let error = bench.ignoring(&["secret.txt", "out", "!out/in"]).run(&op(&[wanted], "/x")).unwrap_err();
        format!("{error}: {}", error.hint().unwrap_or_default())
    };
    let nothing = "not found in the build context: ";
    assert_eq!(
        near("requirement.txt"),
        format!("\"/requirement.txt\" {nothing}did you mean requirements.txt?")
    );
    assert_eq!(
        near("Requirements.TXT"),
        format!("\"/Requirements.TXT\" {nothing}did you mean requirements.txt?")
    );
    assert_eq!(near("only.here"), format!("\"/only.here\" {nothing}did you mean deep/down/only.here?"));
    assert_eq!(
        near("deep/dwon/only.here"),
        format!("\"/deep/dwon/only.here\" {nothing}did you mean deep/down?")
    );
    let kept = "a line !secret.txt would keep it";
    assert_eq!(
        near("secret.txt"),
        format!("\"/secret.txt\" {nothing}.dockerignore leaves /secret.txt out: {kept}")
    );
    assert_eq!(near("/wholly/other"), format!("\"/wholly/other\" {nothing}"));
}

#[test]
fn what_is_ignored_is_not_there() {
    let bench = || context().ignoring(&["d/sub", "*.txt", "!b.txt", "e"]);
    check(&bench(), &op(&["d"], "/"), &["644 x = from/d/x"]);
    check(&bench(), &op(&["*.txt"], "/x/"), &["755 x/", "644 x/b.txt = from/b.txt"]);
    // All is left out but one file, whose directory comes with it; an empty one doesn't.
    let bench = || context().ignoring(&["*", "!d/sub/y"]);
    check(&bench(), &op(&["."], "/"), &["755 d/", "751 d/sub/", "644 d/sub/y = from/d/sub/y"]);
    check(&bench(), &op(&["d/sub"], "/"), &["644 y = from/d/sub/y"]);
    assert!(bench().run(&op(&["e"], "/")).is_err());
    assert!(bench().run(&op(&["dlnk"], "/")).is_err());
}

#[test]
fn excludes_are_relative_to_each_source() {
    let without = |pattern: &str| op::Copy { excludes: vec![pattern.to_owned()], ..op(&["d"], "/x/") };
    check(&context(), &without("x"), &["755 x/", "751 x/sub/", "644 x/sub/y = from/d/sub/y"]);
    check(&context(), &without("sub/*"), &["755 x/", "751 x/sub/", "644 x/x = from/d/x"]);
    check(&context(), &without("**/y"), &["755 x/", "751 x/sub/", "644 x/x = from/d/x"]);
    check(
        &context(),
        &without("d/x"),
        &["755 x/", "751 x/sub/", "644 x/sub/y = from/d/sub/y", "644 x/x = from/d/x"],
    );
}

#[test]
fn parents_are_copied_from_the_root_or_a_pivot() {
    let parents = |sources: &[&str]| op::Copy { has_parents: true, ..op(sources, "/x/") };
    let whole = ["755 x/", "755 x/d/", "751 x/d/sub/", "644 x/d/sub/y = from/d/sub/y"];
    check(&context(), &parents(&["d/sub/y"]), &whole);
    check(&context(), &parents(&["./d/sub"]), &whole);
    check(&context(), &parents(&["d/**/y"]), &whole);
    check(&context(), &parents(&["d/./sub/y"]), &["755 x/", "751 x/sub/", "644 x/sub/y = from/d/sub/y"]);
    check(
        &context(),
        &parents(&["a.md", "d/x"]),
        &["755 x/", "644 x/a.md = from/a.md", "755 x/d/", "644 x/d/x = from/d/x"],
    );
    assert!(context().run(&parents(&["d/nope"])).is_err());
    assert!(context().run(&parents(&["nope/*"])).is_ok());
}

#[test]
fn owners_and_modes_are_given_to_files_and_to_what_is_made_for_them() {
    let accounts = ["to/etc/", "to/etc/passwd", "to/etc/group"];
    let bench = |passwd: &str| {
        let bench = context().make(&accounts);
        std::fs::write(bench.path("to/etc/passwd"), passwd).unwrap();
        std::fs::write(bench.path("to/etc/group"), "web:x:33:\n").unwrap();
        bench
    };
    let owned = |chown: &str| op::Copy { chown: chown.to_owned(), ..op(&["d/x"], "/n/m/") };
    let lines = |bench: Bench, copy: &op::Copy| {
        let found = bench.copied(copy);
        found
            .lines()
            .filter(|line| !line.contains("etc") && !line.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let ann = "ann:x:1000:1001::/:\n";
    assert_eq!(
        lines(bench(ann), &owned("ann:web")),
        ["755 1000:33 n/", "755 1000:33 n/m/", "644 1000:33 n/m/x = from/d/x"]
    );
    let warned = bench(ann).run(&owned("bob")).unwrap();
    assert_eq!(
        warned.warnings,
        ["--chown=bob: there is no user \"bob\" in the image: files are owned by 0:0"]
    );
    let moded = |chmod: &str| op::Copy { chmod: chmod.to_owned(), ..op(&["d"], "/n/m") };
    assert_eq!(
        lines(bench(""), &moded("640")),
        ["640 n/", "640 n/m/", "640 n/m/sub/", "640 n/m/sub/y = from/d/sub/y", "640 n/m/x = from/d/x"]
    );
    assert_eq!(
        lines(bench(""), &moded("4755")),
        ["755 n/", "755 n/m/", "4755 n/m/sub/", "4755 n/m/sub/y = from/d/sub/y", "4755 n/m/x = from/d/x"]
    );
    assert_eq!(
        lines(bench(""), &moded("u=rwX,go=")),
        ["755 n/", "755 n/m/", "700 n/m/sub/", "600 n/m/sub/y = from/d/sub/y", "600 n/m/x = from/d/x"]
    );
    assert_eq!(
        bench("").run(&moded("8")).unwrap_err().to_string(),
        "invalid chmod parameter: '8'. it should be octal string and between 0 and 07777"
    );
}

#[test]
fn owners_of_the_source_stay_where_they_are_asked_for() {
    let bench = context();
    std::os::unix::fs::chown(bench.path("from/d/sub"), Some(3), Some(4)).unwrap();
    std::os::unix::fs::lchown(bench.path("from/lnk"), Some(5), Some(6)).unwrap();
    let keeping = op::Copy { keeps_owner: true, ..op(&["d"], "/x") };
    check(
        &bench,
        &keeping,
        &["755 x/", "751 3:4 x/sub/", "644 x/sub/y = from/d/sub/y", "644 x/x = from/d/x"],
    );
    let all = bench.copied(&op::Copy { keeps_owner: true, ..op(&["."], "/y") });
    assert!(all.contains(" 5:6 y/lnk -> d/x"), "{all}");
}

#[test]
fn links_of_the_target_lead_inside_it() {
    let target = || {
        context().make(&[
            "to/real/",
            "to/link -> real",
            "to/dangling -> /nowhere/x",
            "to/escape -> ../../../out",
            "to/flink -> /plain",
            "to/plain",
        ])
    };
    let lines = |copy: &op::Copy| {
        let found = target().copied(copy);
        found.lines().filter(|line| !line.contains("->")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&op(&["b.txt"], "/link")),
        ["644 plain = to/plain", "755 real/", "644 real/b.txt = from/b.txt"]
    );
    assert_eq!(
        lines(&op(&["d/sub"], "/link/")),
        ["644 plain = to/plain", "755 real/", "644 real/y = from/d/sub/y"]
    );
    assert_eq!(
        lines(&op(&["b.txt"], "/dangling")),
        ["755 nowhere/", "644 nowhere/x = from/b.txt", "644 plain = to/plain", "755 real/"]
    );
    assert_eq!(
        lines(&op(&["b.txt"], "/escape/")),
        ["755 out/", "644 out/b.txt = from/b.txt", "644 plain = to/plain", "755 real/"]
    );
    assert_eq!(lines(&op(&["b.txt"], "/flink")), ["644 plain = from/b.txt", "755 real/"]);
}

#[test]
fn neither_file_nor_directory_takes_the_others_place() {
    let bench = || Bench::new().make(&["from/d/sub/f", "from/top", "to/plain", "to/dir/top/", "to/dir/sub"]);
    let message = |copy: &op::Copy| bench().run(copy).unwrap_err().to_string();
    assert_eq!(message(&op(&["top"], "/plain/")), "cannot copy to /plain: it is not a directory");
    assert_eq!(message(&op(&["top"], "/plain/y")), "cannot copy to /plain: it is not a directory");
    assert_eq!(message(&op(&["d"], "/plain")), "cannot copy to non-directory: /plain");
    assert_eq!(
        message(&op(&["d"], "/dir")),
        "cannot copy to /dir/sub: a directory can't replace what is no directory"
    );
    assert_eq!(message(&op(&["top"], "/dir")), "cannot copy to /dir/top: a file can't replace a directory");
}

#[test]
fn directories_are_merged_and_files_replaced() {
    let bench = || {
        Bench::new().make(&[
            "from/d/sub/ 711",
            "from/d/sub/f",
            "to/dir/ 700",
            "to/dir/sub/f 600",
            "to/dir/sub/g",
        ])
    };
    let merged = ["700 dir/", "711 dir/sub/", "644 dir/sub/f = from/d/sub/f", "644 dir/sub/g = to/dir/sub/g"];
    check(&bench(), &op(&["d"], "/dir"), &merged);
    let owned = op::Copy { chown: "3:4".to_owned(), ..op(&["d"], "/dir") };
    let merged =
        ["700 dir/", "711 3:4 dir/sub/", "644 3:4 dir/sub/f = from/d/sub/f", "644 dir/sub/g = to/dir/sub/g"];
    check(&bench(), &owned, &merged);
}

#[test]
fn times_and_hard_links_and_attributes_come_along() {
    let bench = context();
    std::fs::hard_link(bench.path("from/d/x"), bench.path("from/d/sub/again")).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    for path in ["from/d/x", "from/d/sub", "from/d"] {
        std::fs::File::open(bench.path(path)).unwrap().set_modified(old).unwrap();
    }
    rustix::fs::setxattr(bench.path("from/d/x"), "user.a", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    bench.run(&op(&["d"], "/n")).unwrap();
    let stat = |path: &str| std::fs::metadata(bench.path(path)).unwrap();
    assert_eq!(stat("to/n/x").ino(), stat("to/n/sub/again").ino());
    for path in ["to/n/x", "to/n/sub", "to/n"] {
        assert_eq!(stat(path).modified().unwrap(), old, "{path}");
    }
    let mut value = [0; 4];
    assert_eq!(rustix::fs::getxattr(bench.path("to/n/x"), "user.a", &mut value), Ok(1));
    bench.run(&op::Copy { mtime: Some(7), ..op(&["d"], "/m/k") }).unwrap();
    for path in ["to/m", "to/m/k", "to/m/k/x", "to/m/k/sub"] {
        assert_eq!((stat(path).mtime(), stat(path).mtime_nsec()), (7, 0), "{path}");
    }
    // What is copied into gets the source's time, but that of a context's root means nothing.
    std::fs::File::open(bench.path("from/e")).unwrap().set_modified(old).unwrap();
    bench.run(&op(&["e"], "/m")).unwrap();
    assert_eq!(stat("to/m").modified().unwrap(), old);
    std::fs::File::open(bench.path("from")).unwrap().set_modified(old).unwrap();
    bench.run(&op(&["."], "/r")).unwrap();
    assert!(stat("to/r").mtime() > 1_500_000_000);
    let bench = bench.ignoring(&["*", "!d/sub/y"]);
    bench.run(&op(&["."], "/s")).unwrap();
    assert!(std::fs::metadata(bench.path("to/s/d")).unwrap().mtime() > 1_500_000_000);
}

#[test]
fn holes_stay_holes() {
    let bench = Bench::new();
    let file = std::fs::File::create(bench.path("from/sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", (64 << 20) - 3).unwrap();
    bench.run(&op(&["sparse"], "/s")).unwrap();
    let stat = std::fs::metadata(bench.path("to/s")).unwrap();
    assert_eq!(stat.len(), 64 << 20);
    assert!(stat.blocks() * 512 < 1 << 20, "{}", stat.blocks());
    assert_eq!(&std::fs::read(bench.path("to/s")).unwrap()[(64 << 20) - 3..], b"end");
}

#[test]
fn special_files_are_made_again_and_sockets_become_files() {
    let bench = Bench::new();
    let fifo = bench.path("from/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("from/sock")).unwrap();
    std::fs::set_permissions(bench.path("from/sock"), std::fs::Permissions::from_mode(0o755)).unwrap();
    check(&bench, &op(&["."], "/"), &["644 fifo special", "755 sock"]);
    let null = bench.path("from/null");
    let zero = rustix::fs::makedev(0, 0);
    rustix::fs::mknodat(rustix::fs::CWD, &null, FileType::CharacterDevice, Mode::RUSR, zero).unwrap();
    let error = bench.run(&op(&["null"], "/n")).unwrap_err();
    assert!(error.to_string().contains("removed file"), "{error}");
}

#[test]
fn texts_are_files() {
    let text =
        |name: &str, content: &str| CopySource::Text { name: name.to_owned(), content: content.to_owned() };
    let copy = op::Copy { sources: vec![text("a", "one\n"), text("b", "two\n")], ..op(&[], "/q/") };
    check(&Bench::new(), &copy, &["755 q/", "644 q/a = one", "", "644 q/b = two", ""]);
    let copy = op::Copy { sources: vec![text("a", "#!")], chmod: "755".to_owned(), ..op(&[], "/q") };
    check(&Bench::new(), &copy, &["755 q = #!"]);
}

/// An archive of one directory of user 9 and group 10 with a file in it.
fn archive() -> Vec<u8> {
    use store::tar::{Entry, EntryKind, Writer};
    let entry = |name: &str, kind| {
        let (name, xattrs) = (name.as_bytes().to_vec(), Vec::new());
        Entry { name, kind, mode: 0o750, uid: 9, gid: 10, mtime: (5, 0), xattrs }
    };
    let mut writer = Writer::new(Vec::new());
    writer.append(&entry("./", EntryKind::Directory), &mut std::io::empty()).unwrap();
    writer.append(&entry("in", EntryKind::Directory), &mut std::io::empty()).unwrap();
    writer.append(&entry("in/f", EntryKind::File { size: 1 }), &mut &b"1"[..]).unwrap();
    writer
        .append(&entry("up", EntryKind::Symlink { target: b"/in".to_vec() }), &mut std::io::empty())
        .unwrap();
    writer.append(&entry("up/g", EntryKind::File { size: 1 }), &mut &b"2"[..]).unwrap();
    writer.finish().unwrap()
}

#[test]
fn archives_are_unpacked_where_they_are_asked_for() {
    let bench = || {
        let bench = Bench::new().make(&["from/plain"]);
        std::fs::write(bench.path("from/a.tar"), archive()).unwrap();
        bench
    };
    let add = |sources: &[&str], to: &str| op::Copy { unpack: Unpack::Local, ..op(sources, to) };
    let unpacked =
        ["755 q/", "750 9:10 q/in/", "750 9:10 q/in/f = 1", "750 9:10 q/in/g = 2", " 9:10 q/up -> /in"];
    check(&bench(), &add(&["a.tar"], "/q"), &unpacked);
    check(&bench(), &add(&["a.t?r"], "/q/"), &unpacked);
    let owned = op::Copy { chown: "3:4".to_owned(), ..add(&["a.tar"], "/q") };
    check(
        &bench(),
        &owned,
        &["755 3:4 q/", "750 3:4 q/in/", "750 3:4 q/in/f = 1", "750 3:4 q/in/g = 2", " 3:4 q/up -> /in"],
    );
    check(&bench(), &add(&["plain"], "/q"), &["644 q = from/plain"]);
    let packed = bench().copied(&op(&["a.tar"], "/q/"));
    assert!(packed.starts_with("755 q/\n644 q/a.tar"), "{packed}");
    // In a directory it's a file like others.
    let within = bench().copied(&add(&["."], "/q"));
    assert!(within.contains("q/a.tar"), "{within}");
}

#[test]
fn a_change_between_key_and_copy_is_told() {
    let bench = context();
    let copy = op(&["d"], "/x");
    let before = select(&copy, Some(&bench.origin()), &bench.notes()).unwrap();
    std::fs::write(bench.path("from/d/x"), "other").unwrap();
    let copied = bench.run(&copy).unwrap();
    assert_ne!(copied.digest, before.digest);
    let after = select(&copy, Some(&bench.origin()), &bench.notes()).unwrap();
    assert_eq!(after.digest, copied.digest);
    let (found, count) = before.list.differences(&after.list, 9);
    assert_eq!((found[0].path.as_slice(), count), (&b"d/x"[..], 1));
}

#[test]
fn only_what_is_copied_counts_for_the_digest() {
    let bench = context();
    let digest = |copy: &op::Copy| select(copy, Some(&bench.origin()), &bench.notes()).unwrap().digest;
    let (one, dir) = (op(&["b.txt"], "/x"), op(&["d"], "/x"));
    let before = (digest(&one), digest(&dir));
    std::fs::write(bench.path("from/e/new"), "1").unwrap();
    std::fs::set_permissions(bench.path("from/d"), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!((digest(&one), digest(&dir)), before);
    std::fs::write(bench.path("from/d/new"), "1").unwrap();
    assert_eq!(digest(&one), before.0);
    assert_ne!(digest(&dir), before.1);
}

#[test]
fn directories_are_made_with_those_above_them() {
    let bench = Bench::new().make(&["to/real/", "to/link -> real", "to/plain", "to/etc/passwd"]);
    std::fs::write(bench.path("to/etc/passwd"), "ann:x:1000:1001::/:\n").unwrap();
    let target = || Target::new(std::fs::File::open(bench.path("to")).unwrap().into());
    make_directory("/w/x", "ann", &target()).unwrap();
    make_directory("/link/y", "", &target()).unwrap();
    make_directory("/w", "", &target()).unwrap();
    assert!(make_directory("/plain", "", &target()).is_err());
    let found = bench.list("to");
    for line in ["755 1000:1001 w/", "755 1000:1001 w/x/", "755 real/y/"] {
        assert!(found.lines().any(|found| found == line), "{line} in {found}");
    }
}
