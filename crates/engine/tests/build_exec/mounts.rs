//! What is mounted into a program.

use crate::fixture::{Fixture, sh};
use build::op::{Exec, Mount, MountKind, Sharing, Tree};
use std::io::{BufRead, BufReader};
use testkit::json;

fn mount(target: &str, kind: MountKind, read_only: bool) -> Mount {
    Mount { target: target.to_owned(), kind, read_only }
}

fn cache(target: &str, sharing: Sharing, from: Option<(usize, String)>) -> Mount {
    let kind = MountKind::Cache { id: target.to_owned(), sharing, from, mode: 0o755, uid: 33, gid: 0 };
    mount(target, kind, false)
}

fn with(script: &str, mounts: Vec<Mount>) -> Exec {
    Exec { mounts, ..sh(script) }
}

pub fn files_of_names_leave_no_trace() {
    let fixture = Fixture::new();
    // The tree has neither; what is mounted can't be written to, as with BuildKit.
    let ran =
        fixture.sh("cat /etc/hosts /etc/resolv.conf > /dev/null; echo x > /etc/hosts || echo read-only");
    assert_eq!(ran.stdout, "read-only\n");
    assert!(ran.is_empty(), "{:?}", fixture.paths(&ran.tree()));
    let ran = fixture.sh("echo mine > /etc/hostname; ls /etc");
    assert_eq!(fixture.paths(&ran.tree()), ["etc", "etc/hostname"]);
    assert_eq!(ran.stdout, "group\nhostname\nhosts\npasswd\nresolv.conf\n");
}

pub fn binds_show_a_part_and_forget_writes() {
    let fixture = Fixture::new();
    let stage =
        fixture.sh("mkdir -p /out/deep; echo built > /out/deep/bin; chown guest /out/deep/bin").tree();
    let bind = |target: &str, source: &str, read_only| {
        mount(target, MountKind::Bind { input: 1, source: source.to_owned() }, read_only)
    };
    let script = "cat /a/deep/bin /b/bin /c; stat -c %U /b/bin; echo x > /a/new || echo read-only; \
                  echo changed > /b/bin; echo more > /b/more; cat /b/bin /b/more; echo y > /c; cat /c";
    let mounts =
        vec![bind("/a", "/out", true), bind("/b", "out/deep", false), bind("/c", "/out/deep/bin", false)];
    let ran = fixture.run_on(&with(script, mounts), &[fixture.base.clone(), stage.clone()]);
    assert_eq!(ran.stdout, "built\nbuilt\nbuilt\nguest\nread-only\nchanged\nmore\ny\n", "{}", ran.stderr);
    assert!(ran.is_empty(), "{:?}", fixture.paths(&ran.tree()));
    assert_eq!(std::fs::read(fixture.top(&stage).join("out/deep/bin")).unwrap(), b"built\n");
    // The part that the step itself runs on.
    let ran = fixture.run_on(
        &with("ls /mnt/out", vec![mount("/mnt", MountKind::Bind { input: 0, source: "/".to_owned() }, true)]),
        &[stage],
    );
    assert_eq!(ran.stdout, "deep\n");
    assert_eq!(std::fs::read_dir(fixture.home.root.join("tmp")).unwrap().count(), 0);
}

pub fn contexts_are_roots() {
    let fixture = Fixture::new();
    let context = fixture.host.path("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("file"), "content\n").unwrap();
    for path in [context.clone(), context.join("file")] {
        std::os::unix::fs::chown(path, Some(12345), Some(12345)).unwrap();
    }
    let bind = |read_only| mount("/ctx", MountKind::Bind { input: 1, source: "/".to_owned() }, read_only);
    let script = "stat -c %u:%g /ctx/file; cat /ctx/file; echo x > /ctx/new && cat /ctx/new";
    let inputs = [fixture.base.clone(), Tree::Directory(context.clone())];
    let ran = fixture.run_on(&with(script, vec![bind(true)]), &inputs);
    assert_eq!(
        (ran.stdout.as_str(), &ran.value),
        ("0:0\ncontent\n", &json!({ "status": 1 })),
        "{}",
        ran.stderr
    );
    let ran = fixture.run_on(&with(script, vec![bind(false)]), &inputs);
    assert_eq!(ran.stdout, "0:0\ncontent\nx\n", "{}", ran.stderr);
    assert!(ran.is_empty());
    assert!(!context.join("new").exists());
    // What is ignored isn't there, whether it's written to or not.
    let mut fixture = fixture;
    std::fs::create_dir_all(context.join("node_modules/deep")).unwrap();
    std::fs::create_dir_all(context.join("src/sub")).unwrap();
    for name in ["src/a.pyc", "src/a.py", "src/sub/b.pyc", "node_modules/deep/x", "node_modules/keep"] {
        std::fs::write(context.join(name), "").unwrap();
    }
    fixture.ignored = ["file", "node_modules", "!node_modules/keep", "**/*.pyc"].map(str::to_owned).to_vec();
    for read_only in [true, false] {
        let ran = fixture
            .run_on(&with("cd /ctx; find . | sort; stat -c %u:%g src", vec![bind(read_only)]), &inputs);
        let seen = ".\n./node_modules\n./node_modules/keep\n./src\n./src/a.py\n./src/sub\n";
        assert_eq!(ran.stdout, format!("{seen}0:0\n"), "{ran:?}");
        assert!(ran.is_empty());
    }
}

pub fn caches_are_kept() {
    let fixture = Fixture::new();
    let on = |script: &str, mount: Mount, inputs: &[Tree]| {
        let ran = fixture.run_on(&with(script, vec![mount]), inputs);
        assert!(ran.is_empty(), "{ran:?} {:?}", fixture.paths(&ran.tree()));
        ran.stdout
    };
    let base = [fixture.base.clone()];
    let seen = on(
        "stat -c %u:%g:%a /root/.cache/pip; echo 1 > /root/.cache/pip/f",
        cache("/root/.cache/pip", Sharing::Shared, None),
        &base,
    );
    assert_eq!(seen, "33:0:755\n");
    let seen = on(
        "cat /root/.cache/pip/f; stat -c %u /root/.cache/pip/f",
        cache("/root/.cache/pip", Sharing::Locked, None),
        &base,
    );
    assert_eq!(seen, "1\n0\n");
    // One that begins as something is another one.
    let stage = fixture.sh("mkdir /seed; echo seed > /seed/s; chown web /seed/s").tree();
    let inputs = [fixture.base.clone(), stage];
    let seeded = || cache("/root/.cache/pip", Sharing::Private, Some((1, "/seed".to_owned())));
    assert_eq!(
        on("ls /root/.cache/pip; stat -c %U /root/.cache/pip/s; rm /root/.cache/pip/s", seeded(), &inputs),
        "s\nweb\n"
    );
    assert_eq!(on("ls /root/.cache/pip", seeded(), &inputs), "");
    let steps = fixture.store().steps().unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].description, "cached mount /root/.cache/pip with id \"/root/.cache/pip\"");
    let keys: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
    assert_eq!(fixture.store().remove_steps(&keys).unwrap().keys.len(), 2);
}

pub fn a_locked_cache_is_waited_for() {
    let fixture = Fixture::new();
    let begin = |script: &str, sharing| {
        fixture.begin(&with(script, vec![cache("/c", sharing, None)]), std::slice::from_ref(&fixture.base))
    };
    let first =
        begin("echo begun; while [ ! -e /c/go ]; do sleep 0.01; done; echo done > /c/done", Sharing::Shared);
    let mut output = BufReader::new(first.stdout.try_clone().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let waiting = begin("cat /c/done", Sharing::Locked);
    let mut given_up = begin("cat /c/done", Sharing::Locked);
    given_up.cancel = None;
    assert_eq!(given_up.finish().value, json!("cancelled"));
    begin("touch /c/go", Sharing::Shared).finish().tree();
    assert_eq!(waiting.finish().stdout, "done\n");
    first.finish().tree();
}

pub fn secrets_are_in_memory_only() {
    let mut fixture = Fixture::new();
    fixture.secrets.insert("token".to_owned(), b"s3cr3t-value".to_vec());
    let secret = |env: Option<&str>, is_file, id: &str, is_required| MountKind::Secret {
        id: id.to_owned(),
        mode: 0o400,
        uid: 1000,
        gid: 33,
        is_required,
        env: env.map(str::to_owned),
        is_file,
    };
    let script = "cat /run/secrets/token; echo; stat -c %u:%g:%a:%T /run/secrets/token; \
                  stat -f -c %T /run/secrets/token; echo $TOKEN; ls /run/secrets; ls /other || echo none";
    let mounts = vec![
        mount("/run/secrets/token", secret(Some("TOKEN"), true, "token", true), true),
        mount("/other", secret(None, true, "unknown", false), true),
    ];
    let exec = Exec { user: "0".to_owned(), ..with(script, mounts) };
    let ran = fixture.run_on(&exec, std::slice::from_ref(&fixture.base));
    assert_eq!(
        ran.stdout, "s3cr3t-value\n1000:33:400:0\ntmpfs\ns3cr3t-value\ntoken\nnone\n",
        "{}",
        ran.stderr
    );
    assert!(ran.is_empty(), "{:?}", fixture.paths(&ran.tree()));
    let found = std::process::Command::new("grep")
        .arg("-r")
        .arg("s3cr3t-value")
        .arg(fixture.host.dir())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    let wanted = vec![mount("/s", secret(None, true, "unknown", true), true)];
    let ran = fixture.run_on(&with("true", wanted), std::slice::from_ref(&fixture.base));
    assert!(ran.value["error"].as_str().unwrap().contains("unknown"), "{ran:?}");
}

pub fn files_and_memory_are_mounted() {
    let fixture = Fixture::new();
    let file = MountKind::File { content: "#!/bin/sh\necho I am $0\n".to_owned(), mode: 0o755 };
    let script = "/dev/pipes/EOF; echo x > /t/x; stat -f -c %T /t; df -k /t | tail -1 | awk '{print $2}'; \
                  cp /dev/pipes/EOF /t/run; /t/run";
    let mounts = vec![
        mount("/dev/pipes/EOF", file, true),
        mount("/t", MountKind::Tmpfs { size: Some(1 << 20) }, false),
    ];
    let ran = fixture.run_on(&with(script, mounts), std::slice::from_ref(&fixture.base));
    assert_eq!(ran.stdout, "I am /dev/pipes/EOF\ntmpfs\n1024\nI am /t/run\n", "{}", ran.stderr);
    assert!(ran.is_empty(), "{:?}", fixture.paths(&ran.tree()));
}

pub fn what_is_mounted_above_hides_files_of_names() {
    let fixture = Fixture::new();
    let ran = fixture.run_on(
        &with("ls -A /etc", vec![mount("/etc", MountKind::Tmpfs { size: None }, false)]),
        std::slice::from_ref(&fixture.base),
    );
    assert_eq!(ran.stdout, "", "{ran:?}");
    assert!(ran.is_empty());
}

pub fn what_is_missing_is_told() {
    let fixture = Fixture::new();
    let bind = mount("/m", MountKind::Bind { input: 1, source: "/no/such".to_owned() }, true);
    let ran = fixture.run_on(&with("true", vec![bind]), &[fixture.base.clone(), fixture.base.clone()]);
    assert!(ran.value["error"].as_str().unwrap().contains("no/such"), "{ran:?}");
    let bind = mount("/m", MountKind::Bind { input: 5, source: "/".to_owned() }, true);
    let ran = fixture.run_on(&with("true", vec![bind]), std::slice::from_ref(&fixture.base));
    assert!(ran.value["error"].as_str().unwrap().contains("no input 5"), "{ran:?}");
    // Links lead nowhere but within the tree.
    let stage = fixture.sh("ln -s ../../../../../../etc /out").tree();
    let bind = mount("/m", MountKind::Bind { input: 1, source: "/out".to_owned() }, true);
    let ran =
        fixture.run_on(&with("cat /m/passwd | grep -c guest", vec![bind]), &[fixture.base.clone(), stage]);
    assert_eq!(ran.stdout, "1\n", "{ran:?}");
}
