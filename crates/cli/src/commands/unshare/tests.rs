use std::ffi::OsString;

use engine::request::{MapOne, MapRange, NamespaceType, Propagation, TimeOffset, UnshareRequest};

use super::{SPEC, range, request};
use crate::failure::Failure;
use crate::flags::{self, Asked};

fn read(line: &str) -> Result<UnshareRequest, Failure> {
    let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
    match flags::parse(&SPEC, "berth unshare", &words)? {
        Asked::Work(parsed) => request(&parsed),
        Asked::Help => panic!("help"),
    }
}

#[test]
fn lines_of_the_manual_parse() {
    let first =
        read("--map-root-user --user --mount --pid --fork --mount-proc readlink /proc/self").expect("valid");
    assert_eq!(first.namespaces, [NamespaceType::User, NamespaceType::Mount, NamespaceType::Pid]);
    assert_eq!((first.map_user, first.map_group), (Some(MapOne::Root), Some(MapOne::Root)));
    assert!(first.fork);
    assert_eq!(first.mount_proc, Some("/proc".into()));
    assert_eq!(first.propagation, Some(Propagation::RPrivate));
    assert_eq!(first.command, ["readlink", "/proc/self"]);

    let short = read("-rUmpfnuiCT sh -c id").expect("valid");
    assert_eq!(short.namespaces.len(), 8);
    assert_eq!(short.command, ["sh", "-c", "id"]);

    let maps = read("--map-users 0:100000:65536 --map-users auto --map-group 5").expect("valid");
    assert_eq!(maps.map_users, [MapRange::Block { inner: 0, outer: 100_000, count: 65_536 }, MapRange::Auto]);
    assert_eq!(maps.map_group, Some(MapOne::To("5".into())));
    assert_eq!(maps.namespaces, [NamespaceType::User]);

    let rest = read(
        "-T --boottime -5 --mount-proc=/x --kill-child=TERM --propagation unchanged -R /r -w /w -S 1 -G 2",
    )
    .expect("valid");
    assert_eq!(rest.boottime, Some(TimeOffset { secs: -5, nanosecs: 0 }));
    assert_eq!((rest.kill_child, rest.fork, rest.propagation), (Some(15), true, None));
    assert_eq!((rest.setuid, rest.setgid), (Some(1), Some(2)));
    assert!(rest.command.is_empty());
}

#[test]
fn contradictions_are_named() {
    for (line, message) in [
        ("--monotonic 5", "--monotonic and --boottime need --time as well"),
        ("--setgroups deny", "--setgroups needs --user as well"),
        ("-r --setgroups allow", "conflicting options: --setgroups allow and a map of one group"),
        ("-r -c", "conflicting options: --map-root-user and --map-current-user"),
        ("--net=/run/x", "invalid argument \"/run/x\" for --net: namespaces by file aren't supported yet"),
        ("--keep-caps", "--keep-caps isn't supported yet"),
        ("-S x", "invalid argument \"x\" for --setuid: not an id"),
    ] {
        assert_eq!(read(line).expect_err(line).message, message);
    }
    for text in ["", "0", "0:0", "0:0:0", "0:1:4294967295", "a:b:c", "0:0:1:1"] {
        assert!(range(text).is_err(), "{text}");
    }
}
