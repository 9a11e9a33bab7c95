//! Tables: what docker users write, and what it means.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use engine::request::{
    AppArmor, BindRecursion, DeviceRequest, EnvChange, IpcMode, MountKind, MountRequest, NamespaceMode,
    NetworkMode, Propagation, Seccomp, Security, TimeOffset, TimeOffsets, TmpfsOption, UlimitRequest,
    VolumeRequest,
};

use super::*;
use crate::failure::BadValue;

fn why<T: std::fmt::Debug>(result: Result<T, BadValue>) -> String {
    result.expect_err("it should fail").why
}

fn bind(from: &str, to: &str) -> MountRequest {
    MountRequest {
        kind: MountKind::Bind {
            source: from.into(),
            recursion: BindRecursion::Enabled,
            propagation: Propagation::RPrivate,
            create_source: true,
            noidmap: false,
            relabel_shared: None,
        },
        target: to.into(),
        read_only: false,
    }
}

#[test]
fn volumes_parse_as_dockers() {
    let volume = |text| mount::volume(text, Path::new("/home/me"));
    assert_eq!(volume("/a:/b"), Ok(bind("/a", "/b")));
    assert_eq!(volume("/a:/b:rw"), Ok(bind("/a", "/b")));
    assert_eq!(volume("/a:/b:ro"), Ok(MountRequest { read_only: true, ..bind("/a", "/b") }));
    assert_eq!(volume(".:/b/"), Ok(bind("/home/me", "/b")));
    assert_eq!(volume("./x:/b/../c/./d"), Ok(bind("/home/me/x", "/c/d")));
    assert_eq!(volume("../x:/b"), Ok(bind("/home/me/../x", "/b")));
    let MountKind::Bind { propagation, noidmap, relabel_shared, .. } =
        volume("/a:/b:ro,rslave,Z,noidmap").expect("valid").kind
    else {
        panic!("not a bind")
    };
    assert_eq!((propagation, noidmap, relabel_shared), (Propagation::RSlave, true, Some(false)));
    for (text, message) in [
        ("/a:b", "the path in the container, \"b\", is not absolute"),
        ("/a:/", "the path in the container can't be /"),
        ("/a:/x/..", "the path in the container can't be /"),
        ("/a:/b:ro:x", "more than three parts"),
        ("/a:/b:rx", "unknown option \"rx\""),
        ("/a:/b:ro,rw", "option \"rw\" contradicts or repeats another"),
        ("/a:/b:shared,slave", "option \"slave\" contradicts or repeats another"),
        (":/b", "a part of it is empty"),
        ("", "a part of it is empty"),
        ("/a:", "a part of it is empty"),
        ("data/x:/b", "the host's path, \"data/x\", is not absolute"),
        ("data", "the path in the container, \"data\", is not absolute"),
        ("data:/b:rslave", "propagation and noidmap belong to binds"),
        ("/a:/b:nocopy", "nocopy belongs to volumes"),
    ] {
        assert_eq!(why(volume(text)), message, "{text}");
    }
    let kept = |name: Option<&str>, nocopy, words: &str| {
        MountKind::Volume(VolumeRequest {
            name: name.map(str::to_owned),
            nocopy,
            words: Some(words.to_owned()),
            ..VolumeRequest::default()
        })
    };
    for (text, kind, target, read_only) in [
        ("data:/b", kept(Some("data"), false, ""), "/b", false),
        ("data:/b:ro,nocopy", kept(Some("data"), true, "ro,nocopy"), "/b", true),
        ("/b", kept(None, false, ""), "/b", false),
        ("/b:ro", kept(None, false, "ro"), "/b", true),
    ] {
        assert_eq!(volume(text), Ok(MountRequest { kind, target: target.into(), read_only }), "{text}");
    }
    let from = |text| mount::volumes_from(text).map(|from| (from.container, from.read_only));
    assert_eq!(from("web"), Ok(("web".to_owned(), false)));
    assert_eq!(from("web:ro"), Ok(("web".to_owned(), true)));
    assert!(from("web:foo").is_err() && from(":ro").is_err());
    assert!(mount::check_distinct(&[bind("/a", "/b"), bind("/c", "/d")]).is_ok());
    assert_eq!(
        mount::check_distinct(&[bind("/a", "/b"), bind("/c", "/b")]),
        Err("duplicate mount point: /b".into())
    );
}

#[test]
fn mount_keys_parse_as_dockers() {
    let parse = |text: &str| mount_option::parse(text, Path::new("/home/me"));
    let plain = |from, to| {
        let mut mount = bind(from, to);
        if let MountKind::Bind { create_source, .. } = &mut mount.kind {
            *create_source = false;
        }
        mount
    };
    assert_eq!(parse("type=bind,source=/a,target=/b"), Ok(plain("/a", "/b")));
    assert_eq!(parse("type=bind,src=./a,dst=/b,consistency=cached"), Ok(plain("/home/me/a", "/b")));
    assert_eq!(parse("type=bind,\"src=/a,b\",dst=/b"), Ok(plain("/a,b", "/b")));
    assert_eq!(parse("type=bind,\"src=/a\"\"b\",dst=/b"), Ok(plain("/a\"b", "/b")));
    for readonly in ["readonly", "ro", "readonly=true", "ro=1"] {
        let mount = parse(&format!("type=bind,src=/a,dst=/b,{readonly}")).expect("valid");
        assert!(mount.read_only, "{readonly}");
    }
    assert!(!parse("type=bind,src=/a,dst=/b,readonly=false").expect("valid").read_only);
    assert_eq!(
        parse("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700").expect("valid").kind,
        MountKind::Tmpfs { size_bytes: Some(1 << 20), mode: Some(0o700), options: vec![] }
    );
    let recursive = |text| match parse(text).expect("valid").kind {
        MountKind::Bind { recursion, .. } => recursion,
        other => panic!("{other:?}"),
    };
    assert_eq!(recursive("type=bind,src=/a,dst=/b,bind-recursive=disabled"), BindRecursion::Disabled);
    assert_eq!(recursive("type=bind,src=/a,dst=/b,bind-nonrecursive"), BindRecursion::Disabled);
    assert_eq!(recursive("type=bind,src=/a,dst=/b,ro,bind-recursive=readonly"), BindRecursion::ReadOnly);
    let full = "src=data,dst=/b,volume-nocopy,volume-label=a=b,volume-opt=o=size=1m,volume-subpath=x/y,ro";
    let pair = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let request = VolumeRequest {
        name: Some("data".into()),
        nocopy: true,
        subpath: Some("x/y".into()),
        labels: pair("a", "b"),
        options: pair("o", "size=1m"),
        ..VolumeRequest::default()
    };
    let kind = MountKind::Volume(request);
    assert_eq!(parse(full), Ok(MountRequest { kind, target: "/b".into(), read_only: true }));
    let kind = MountKind::Image { reference: "img".into(), subpath: Some("x".into()), layers: vec![] };
    let image = MountRequest { kind, target: "/b".into(), read_only: true };
    assert_eq!(parse("type=image,src=img,dst=/b,image-subpath=x"), Ok(image));
    for (text, message) in [
        ("", "an empty field"),
        ("type=bind,,dst=/b", "an empty field"),
        ("type=bind,src=/a", "target is required"),
        ("type=bind,dst=/b", "source is required for type=bind"),
        ("type=bind,src=/a,dst=b", "the path in the container, \"b\", is not absolute"),
        ("type=bind,src=/a,dst=", "dst needs a value"),
        ("type=bind,src=/a,dst=/b,foo=1", "unknown key \"foo\""),
        ("type=bind,src=/a,dst=/b,ro=maybe", "ro is neither true nor false"),
        ("type=bind,src=/a,dst=/b,tmpfs-size=1m", "tmpfs-size doesn't go with type=bind"),
        ("type=tmpfs,dst=/b,bind-propagation=shared", "bind-propagation doesn't go with type=tmpfs"),
        ("type=tmpfs,src=/a,dst=/b", "source doesn't go with type=tmpfs"),
        ("type=volume,src=a,dst=/b,bind-propagation=shared", "bind-propagation doesn't go with type=volume"),
        ("type=volume,src=a,dst=/b,image-subpath=x", "image-subpath doesn't go with type=volume"),
        (
            "type=volume,dst=/b,volume-driver=nfs",
            "error looking up volume plugin nfs: plugin \"nfs\" not found",
        ),
        ("type=image,dst=/b", "source is required for type=image"),
        ("type=bnid,src=/a,dst=/b", "unknown type \"bnid\""),
        ("type=bind,src=/a,dst=/b,bind-propagation=x", "unknown propagation \"x\""),
        (
            "type=bind,src=/a,dst=/b,bind-recursive=readonly",
            "bind-recursive=writable and =readonly need readonly as well",
        ),
        ("type=bind,src=\"/a,dst=/b", "stray quote in \"src=\\\"/a\""),
        ("\"type=bind", "a quote isn't closed"),
        ("\"type=bind\"x", "text follows a closed quote"),
    ] {
        assert_eq!(why(parse(text)), message, "{text}");
    }
    assert_eq!(
        parse("type=bind,soruce=/a,dst=/b").expect_err("typo").hint.as_deref(),
        Some("did you mean source?")
    );
}

#[test]
fn tmpfs_parse_as_dockers() {
    let plain = tmpfs::parse("/run").expect("valid");
    assert_eq!(plain.kind, MountKind::Tmpfs { size_bytes: None, mode: None, options: vec![] });
    let full = tmpfs::parse("/run:rw,noexec,size=64m,mode=1777,uid=5").expect("valid");
    let options = vec![TmpfsOption::Flag("noexec".into()), TmpfsOption::Value("uid".into(), "5".into())];
    assert_eq!(full.kind, MountKind::Tmpfs { size_bytes: Some(64 << 20), mode: Some(0o1777), options });
    assert!(tmpfs::parse("/run:ro").expect("valid").read_only);
    for text in ["run", "/", "", "/run:bogus", "/run:size=x", "/run:mode=9", "/run:uid=", "/run:remount"] {
        assert!(tmpfs::parse(text).is_err(), "{text}");
    }
}

#[test]
fn variables_and_their_files_parse_as_dockers() {
    let caller = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
    let set = |key: &str, value: &str| EnvChange::Set(key.into(), value.into());
    assert_eq!(env::variable("A=1", &caller), Ok(set("A", "1")));
    assert_eq!(env::variable("A==", &caller), Ok(set("A", "=")));
    assert_eq!(env::variable("A=", &caller), Ok(set("A", "")));
    assert_eq!(env::variable("HOME", &caller), Ok(set("HOME", "/home/me")));
    assert_eq!(env::variable("NOPE", &caller), Ok(EnvChange::Unset("NOPE".into())));
    for text in ["", "=x", "A=\0"] {
        assert!(env::variable(text, &caller).is_err(), "{text:?}");
    }
    let file = "\u{feff}# comment\n\nA=1 # not a comment\r\n  B='x'\nHOME\nNOPE\nC=\n";
    assert_eq!(
        env::file_changes(file, &caller),
        Ok(vec![set("A", "1 # not a comment"), set("B", "'x'"), set("HOME", "/home/me"), set("C", "")])
    );
    assert_eq!(why(env::pairs("A=1\n=x")), "line 2: no name before the =");
    assert_eq!(why(env::pairs("A B=1")), "line 1: name \"A B\" contains white space");
    assert_eq!(env::label("a=b=c"), Ok(("a".into(), "b=c".into())));
    assert_eq!(env::label("a"), Ok(("a".into(), String::new())));
    assert!(env::label("=b").is_err());
    let mut labels = vec![("a".to_owned(), "1".to_owned())];
    env::merge_labels(&mut labels, [("a".to_owned(), "2".to_owned()), ("b".to_owned(), String::new())]);
    assert_eq!(labels, [("a".to_owned(), "2".to_owned()), ("b".to_owned(), String::new())]);
}

#[test]
fn limits_parse_as_dockers() {
    let limit = |soft, hard| Ok(UlimitRequest { name: "nofile".into(), soft, hard });
    assert_eq!(ulimit::parse("nofile=10"), limit(Some(10), Some(10)));
    assert_eq!(ulimit::parse("nofile=10:20"), limit(Some(10), Some(20)));
    assert_eq!(ulimit::parse("nofile=10:-1"), limit(Some(10), None));
    assert_eq!(ulimit::parse("nofile=unlimited"), limit(None, None));
    for text in ["nofile", "nofile=", "nofile=20:10", "nofile=-1:10", "nofile=1:2:3", "nofile=-2", "bogus=1"]
    {
        assert!(ulimit::parse(text).is_err(), "{text}");
    }
    assert_eq!(ulimit::parse("nofiles=1").expect_err("typo").hint.as_deref(), Some("did you mean nofile?"));
}

#[test]
fn devices_parse_as_dockers() {
    let device = |host: &str, container: &str, permissions: &str| {
        Ok(DeviceRequest { host: host.into(), container: container.into(), permissions: permissions.into() })
    };
    assert_eq!(device::parse("/dev/a"), device("/dev/a", "/dev/a", "rwm"));
    assert_eq!(device::parse("/dev/a:r"), device("/dev/a", "/dev/a", "r"));
    assert_eq!(device::parse("/dev/a:/dev/b"), device("/dev/a", "/dev/b", "rwm"));
    assert_eq!(device::parse("/dev/a:/dev/b:rw"), device("/dev/a", "/dev/b", "rw"));
    for text in ["", "dev/a", "/dev/a:b", "/dev/a:/dev/b:rx", "/dev/a:rr", "/a:/b:r:w", "nvidia.com/gpu=all"]
    {
        assert!(device::parse(text).is_err(), "{text}");
    }
}

#[test]
fn numbers_parse_as_dockers() {
    assert_eq!(number::memory("512m"), Ok(Some(512 << 20)));
    assert_eq!(number::memory("0"), Ok(None));
    assert_eq!(number::memory("1k"), Ok(Some(1024)));
    assert!(number::memory("-1").is_err());
    assert_eq!(number::memory_swap("-1"), Ok(Some(-1)));
    assert_eq!(number::memory_swap("1g"), Ok(Some(1 << 30)));
    for (text, nano) in
        [("1", 1_000_000_000), ("1.5", 1_500_000_000), (".5", 500_000_000), ("0.10", 100_000_000)]
    {
        assert_eq!(number::cpus(text), Ok(Some(nano)), "{text}");
    }
    assert_eq!(number::cpus("0"), Ok(None));
    for text in ["", ".", "x", "-1", "1e3", "1.0000000001", "99999999999999"] {
        assert!(number::cpus(text).is_err(), "{text}");
    }
    assert_eq!(number::within(-1000, 1000)("-1000"), Ok(-1000));
    assert_eq!(why(number::within(-1000, 1000)("1001")), "not between -1000 and 1000");
    assert_eq!(number::blkio_weight("0"), Ok(None));
    assert_eq!(number::blkio_weight("500"), Ok(Some(500)));
    for text in ["9", "1001", "x", "-5"] {
        assert!(number::blkio_weight(text).is_err(), "{text}");
    }
    assert!(number::cpuset("0-3,7").is_ok());
    for text in ["", "3-1", "a", "0,", "+1", "0-"] {
        assert!(number::cpuset(text).is_err(), "{text}");
    }
}

#[test]
fn offsets_of_clocks_parse() {
    let offset = |secs, nanosecs| TimeOffset { secs, nanosecs };
    assert_eq!(clock::seconds("86400"), Ok(offset(86400, 0)));
    assert_eq!(clock::seconds("-60"), Ok(offset(-60, 0)));
    assert_eq!(clock::seconds("1.5"), Ok(offset(1, 500_000_000)));
    assert_eq!(clock::seconds("-0.25"), Ok(offset(-1, 750_000_000)));
    for text in ["", "-", "x", "1.0000000000", "1-", "--1", "99999999999999999999"] {
        assert!(clock::seconds(text).is_err(), "{text}");
    }
    assert_eq!(
        clock::offsets(&["monotonic=5,boottime=-5"]),
        Ok(TimeOffsets { monotonic: Some(offset(5, 0)), boottime: Some(offset(-5, 0)) })
    );
    assert_eq!(why(clock::offsets(&["boottime=1", "boottime=2"])), "boottime is given twice");
    assert!(clock::offsets(&["realtime=1"]).is_err());
    assert!(clock::offsets(&["5"]).is_err());
}

#[test]
fn detach_keys_parse_as_dockers() {
    assert_eq!(detach_keys::parse("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
    assert_eq!(detach_keys::parse("ctrl-@,ctrl-[,ctrl-_,CTRL-A,x"), Ok(vec![0, 27, 31, 1, b'x']));
    assert_eq!(detach_keys::parse("DEL"), Ok(vec![127]));
    for text in ["", "ctrl-", "ctrl-1", "xy", "a,,b", "ctrl-pq", "ä"] {
        assert!(detach_keys::parse(text).is_err(), "{text}");
    }
}

#[test]
fn namespaces_parse_as_dockers() {
    assert_eq!(namespace::joinable("host"), Ok(NamespaceMode::Host));
    assert_eq!(namespace::joinable("container:web"), Ok(NamespaceMode::Container("web".into())));
    assert_eq!(namespace::joinable("ns:/proc/1/ns/pid"), Ok(NamespaceMode::Path("/proc/1/ns/pid".into())));
    assert_eq!(namespace::joinable("").expect("valid"), NamespaceMode::Unset);
    assert_eq!(namespace::own("private"), Ok(NamespaceMode::Private));
    for text in ["container:web", "hots", "ns:x"] {
        assert!(namespace::own(text).is_err(), "{text}");
    }
    assert_eq!(namespace::ipc("shareable"), Ok(IpcMode::Shareable));
    assert!(namespace::ipc("container:").is_err());
    assert_eq!(namespace::network(""), Ok(Some(NetworkMode::Unset)));
    assert_eq!(namespace::network("none"), Ok(Some(NetworkMode::None)));
    assert_eq!(namespace::network("container:a"), Ok(Some(NetworkMode::Container("a".into()))));
    assert_eq!(namespace::network("blue"), Ok(None));
}

#[test]
fn security_options_parse_as_dockers() {
    let apply = |texts: &[&str]| {
        let mut security = Security::default();
        texts.iter().try_for_each(|text| security::apply(text, &mut security)).map(|()| security)
    };
    assert!(apply(&["no-new-privileges"]).expect("valid").no_new_privileges);
    assert!(!apply(&["no-new-privileges", "no-new-privileges=false"]).expect("valid").no_new_privileges);
    assert_eq!(apply(&["seccomp=unconfined"]).expect("valid").seccomp, Seccomp::Unconfined);
    assert_eq!(apply(&["apparmor:unconfined"]).expect("valid").apparmor, AppArmor::Unconfined);
    assert_eq!(apply(&["label=type:x_t"]).expect("valid").label, ["type:x_t"]);
    assert_eq!(apply(&["unmask=/proc/kcore:ALL"]).expect("valid").unmask, ["/proc/kcore", "ALL"]);
    assert_eq!(apply(&["mask=/a:/b"]).expect("valid").mask, ["/a", "/b"]);
    assert!(apply(&["systempaths=unconfined"]).expect("valid").systempaths_unconfined);
    for text in
        ["", "bogus", "seccomp=", "seccomp=/nonexistent", "mask=a", "mask=ALL", "systempaths=x", "label=x"]
    {
        assert!(apply(&[text]).is_err(), "{text}");
    }
    assert_eq!(security::capability("cap_net_admin"), Ok("NET_ADMIN".into()));
    assert_eq!(security::capability("all"), Ok("ALL".into()));
    assert_eq!(
        security::capability("NET_ADMN").expect_err("typo").hint.as_deref(),
        Some("did you mean NET_ADMIN?")
    );
}

#[test]
fn kernel_parameters_of_namespaces_only() {
    assert_eq!(
        sysctl::parse("net.ipv4.ip_forward=1"),
        Ok(("net.ipv4.ip_forward".to_owned(), "1".to_owned()))
    );
    assert_eq!(sysctl::parse("kernel.sem=1 2 3 4").expect("valid").1, "1 2 3 4");
    for text in ["net", "net.=1", "kernel.panic=1", "vm.swappiness=1", "net...x=1"] {
        assert!(sysctl::parse(text).is_err(), "{text}");
    }
}

#[test]
fn names_and_paths_are_checked() {
    assert_eq!(name::name("/web"), Ok("web".into()));
    assert!(name::name("a b").is_err());
    assert!(name::host_name("a.b-c_d").is_ok());
    for text in ["-x", "a b", "x/y", &"x".repeat(65)] {
        assert!(name::host_name(text).is_err(), "{text}");
    }
    assert!(name::absolute("/w").is_ok());
    assert!(name::absolute("w").is_err());
}

#[test]
fn moments_parse_as_dockers() {
    let now = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let at = |text| moment::parse(text, now).expect(text).duration_since(UNIX_EPOCH).expect("after 1970");
    assert_eq!(at("10m"), Duration::from_secs(2_000_000_000 - 600));
    assert_eq!(at("1h1.5s"), Duration::from_millis(2_000_000_000_000 - 3_601_500));
    assert_eq!(at("1136073600.000000001"), Duration::new(1_136_073_600, 1));
    assert_eq!(at("2006-01-01"), Duration::from_secs(1_136_073_600));
    assert_eq!(at("2006-01-01T01:00:00.5+01:00"), Duration::from_millis(1_136_073_600_500));
    for text in ["", "x", "10", "2006-13-01", "2006-01-01T00:00:00", "1x", "-5m", "."] {
        assert!(moment::parse(text, now).is_err() || text == "10", "{text}");
    }
}
