//! `berth run IMAGE`: the image's configuration and its files, seen from inside.

use super::*;

fn run(host: &Host, options: &[&str], command: &[&str]) -> testkit::Cmd {
    let fixed = ["run", "--rm", "--network", "none"];
    host.berth(fixed.iter().chain(options).chain(&["app"]).chain(command))
}

#[test]
fn the_images_configuration_is_applied_in_full() {
    let host = Host::new();
    load(&host, &rich(), "app");
    assert_eq!(run(&host, &[], &[]).text(), "from the image");
    let see = |options: &[&str], script: &str| run(&host, options, &[script]).text();
    assert_eq!(
        see(&[], "id -u; id -g; id -G; pwd; echo $HOME"),
        "1000\n1000\n1000 44\n/made/when/missing\n/home/guest"
    );
    assert_eq!(see(&["-w", "/data"], "pwd"), "/data");
    assert_eq!(see(&[], "echo $PATH $FROM $BOTH"), "/bin:/usr/bin image image");
    assert_eq!(see(&["-e", "BOTH=flag", "-e", "NEW=flag"], "echo $FROM $BOTH $NEW"), "image flag flag");
    for (user, ids) in [
        ("root", "0 0"),
        ("web", "33 33"),
        ("1000", "1000 1000"),
        ("1234", "1234 0"),
        ("web:guest", "33 1000"),
        ("1234:4321", "1234 4321"),
        ("guest:44", "1000 44"),
    ] {
        assert_eq!(see(&["-u", user], "echo $(id -u) $(id -g)"), ids, "{user}");
    }
    let unknown = run(&host, &["-u", "nobody"], &["id"]).run().failed().stdout_is("");
    unknown.stderr_has(&["nobody"]);
}

#[test]
fn users_of_images_are_names_or_numbers() {
    let host = Host::new();
    for (user, ids) in
        [("web", "33 33"), ("33", "33 33"), ("guest:web", "1000 33"), ("7:8", "7 8"), ("", "0 0")]
    {
        load(&host, &Image::busybox().set("User", json!(user)), "app");
        assert_eq!(run(&host, &[], &["sh", "-c", "echo $(id -u) $(id -g)"]).text(), ids, "{user}");
    }
    load(&host, &Image::busybox().set("User", json!("nobody")), "app");
    run(&host, &[], &["id"]).run().failed().stderr_has(&["nobody"]);
}

#[test]
fn entrypoints_and_commands_override_as_in_docker() {
    let host = Host::new();
    let check =
        |entrypoint: testkit::Value, cmd: testkit::Value, args: (&[&str], &[&str]), expected: &str| {
            let image = Image::busybox().set("Entrypoint", entrypoint.clone()).set("Cmd", cmd.clone());
            load(&host, &image, "app");
            let text = run(&host, args.0, args.1).text();
            assert_eq!(text, expected, "{entrypoint} {cmd} {args:?}");
        };
    let (echo, null) = (json!(["echo", "entry"]), json!(null));
    check(null.clone(), json!(["echo", "cmd"]), (&[], &[]), "cmd");
    check(null, json!(["echo", "cmd"]), (&[], &["echo", "given"]), "given");
    check(echo.clone(), json!(["cmd"]), (&[], &[]), "entry cmd");
    check(echo.clone(), json!(["cmd"]), (&[], &["given"]), "entry given");
    // An entrypoint that is given drops the image's command.
    check(echo.clone(), json!(["cmd"]), (&["--entrypoint", "echo"], &[]), "");
    check(echo.clone(), json!(["cmd"]), (&["--entrypoint", "echo"], &["given"]), "given");
    check(echo, json!(["cmd"]), (&["--entrypoint", ""], &["echo", "given"]), "given");

    load(&host, &Image::busybox().set("Cmd", json!(null)), "app");
    run(&host, &[], &[]).run().code(125).stderr_has(&["command: none was given, and the image has none"]);
    run(&host, &[], &["nosuch"]).run().code(127).stderr_has(&["nosuch"]);
    run(&host, &[], &["/etc/passwd"]).run().code(126).stderr_has(&["/etc/passwd"]);
    run(&host, &[], &["sh", "-c", "exit 7"]).run().code(7);
}

#[test]
fn labels_signal_and_ports_of_the_image_are_the_containers() {
    let host = Host::new();
    load(&host, &rich(), "app");
    let script = "trap 'echo asked; exit 3' USR1; echo ready; while :; do sleep 0.05; done";
    let env = ["-e", "A=0", "-e", "GONE", "-e", "A=1"];
    let options = ["-d", "--name", "it", "--network", "none", "--label", "kind=flag"];
    host.berth(["run"].iter().chain(&options).chain(&env).chain(&["app", script])).text();
    let names = |filter: &str| host.berth(["ps", "-a", "--format", "{{.Names}}", "-f", filter]).text();
    assert_eq!(names("label=colour=blue"), "it");
    assert_eq!(names("label=kind=flag"), "it");
    assert_eq!(names("label=kind=image"), "");
    let document = host.berth(["inspect", "it"]).run().ok().json();
    let config = &document[0]["Config"];
    assert_eq!(config["Image"], json!("app"));
    assert_eq!(document[0]["Image"], json!(rich().id()));
    assert_eq!(config["StopSignal"], json!("SIGUSR1"));
    assert_eq!(config["ExposedPorts"], json!({ "80/tcp": {}, "53/udp": {} }));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "true"]));
    assert_eq!(config["Labels"], json!({ "colour": "blue", "kind": "flag" }));
    assert_eq!(config["WorkingDir"], json!("/made/when/missing"));
    // What was asked for, then what the image has beside it; as with docker nothing that every container gets.
    assert_eq!(config["Env"], json!(["A=1", "GONE", "PATH=/bin:/usr/bin", "FROM=image", "BOTH=image"]));
    testkit::until(testkit::cmd::TIMEOUT, || host.berth(["logs", "it"]).text() == "ready");
    assert_eq!(host.berth(["stop", "-t", "10", "it"]).text(), "it");
    assert_eq!(host.berth(["logs", "it"]).text(), "ready\nasked");
    assert_eq!(host.berth(["inspect", "-f", "{{.State.ExitCode}}", "it"]).text(), "3");
    host.berth(["rm", "it"]).text();
}

#[test]
fn layers_are_stacked_as_the_specification_says() {
    let host = Host::new();
    load(&host, &rich(), "app");
    let see = |script: &str| run(&host, &["-u", "root", "--entrypoint", ""], &["sh", "-c", script]).text();
    assert_eq!(see("ls /data"), "high\nkept");
    assert_eq!(see("ls -A /full"), "above");
    assert_eq!(see("cat /turned/inside /linked /pointing"), "insideone inodekept");
    assert_eq!(see("find / -xdev -name '.wh.*'"), "");
    // Ids of the image are the container's, whatever they are on the host.
    assert_eq!(see("stat -c '%u %g %a %n' /home/guest/own"), "1000 1000 640 /home/guest/own");
    assert_eq!(see("stat -c '%a' /bin/setuid"), "4755");
    assert_eq!(
        see("touch /home/guest/new && chown 1000:1000 /home/guest/new && stat -c %u /home/guest/new"),
        "1000"
    );
    assert_eq!(
        run(&host, &[], &["cat /home/guest/own; echo more >> /home/guest/own; tail -n 1 /home/guest/own"])
            .text(),
        "guest'sguest'smore"
    );
    // And the layers haven't changed.
    assert_eq!(see("cat /home/guest/own"), "guest's");
    let trees = layers(&host).into_iter().map(|name| host.root_dir().join("layers").join(name).join("fs"));
    let found: Vec<_> = trees.map(|tree| tree.join("attributed")).filter(|path| path.exists()).collect();
    assert_eq!(testkit::image::attribute(&found[0], "user.colour").as_deref(), Some(&b"blue"[..]));
}

#[test]
fn alone_twenty_containers_of_one_image_write_apart() {
    let host = Host::new();
    load(&host, &Image::busybox(), "app");
    let script = |at: usize| {
        format!("echo {at} > /etc/own; echo {at} >> /etc/passwd; sync; cat /etc/own; tail -n 1 /etc/passwd")
    };
    let commands: Vec<_> = (0..20).map(|at| run(&host, &[], &["sh", "-c", &script(at)]).spawn()).collect();
    for (at, command) in commands.into_iter().enumerate() {
        assert_eq!(command.wait().ok().silent().text(), format!("{at}\n{at}"));
    }
    assert_eq!(sh(&host, "app", "ls /etc"), "group\nhostname\nhosts\npasswd\nresolv.conf");
}

#[test]
fn an_image_of_500_layers_runs() {
    let host = Host::new();
    let mut image = Image::busybox();
    for at in 1..500 {
        let layer = Layer::new().file(&format!("l{at}"), 0o644, at.to_string());
        image = image.layer(&layer.file("top", 0o644, at.to_string()));
    }
    load(&host, &image, "deep");
    assert_eq!(layers(&host).len(), 500);
    assert_eq!(sh(&host, "deep", "cat /top; echo; cat /l1; echo; ls / | grep -c '^l[0-9]'"), "499\n1\n499");
    host.berth(["rmi", "deep"]).text();
    assert_eq!(layers(&host), [""; 0]);
}

#[test]
fn ids_above_65535_are_the_containers_as_the_images() {
    let host = Host::new();
    let large = 2_000_000u32;
    let layer = Layer::new().owner(large, large + 1).file("far", 0o640, "far");
    load(&host, &rich().layer(&layer).set("User", json!("root")), "app");
    let see = |options: &[&str], script: &str| run(&host, options, &[script]).text();
    let owners = "stat -c %u:%g /data/high /far /data/kept";
    let expected = "70000:70001\n2000000:2000001\n0:0";
    assert_eq!(see(&[], owners), expected);
    // They can be written and given away, with every capability that root has in there.
    let script =
        format!("echo x > /far; chown 70002:70003 /data/high; touch /new; chown {large} /new; {owners} /new");
    let changed = "70002:70003\n2000000:2000001\n0:0\n2000000:0";
    assert_eq!(see(&[], &script), changed);
    // A user of the image's own, and one in neither.
    assert_eq!(see(&["-u", "70000:70001"], "id -u; id -g; cat /data/high"), "70000\n70001\na high id");
    let other = ["-u", "1000000000:2000000000", "--group-add", "140000"];
    assert_eq!(
        see(&other, "echo $(id -u) $(id -g) $(id -G); touch /tmp/x 2>/dev/null; true"),
        "1000000000 2000000000 2000000000 140000"
    );
    // All ranges come back.
    let left = || names_in(&host.run_dir().join("ranges"));
    assert!(testkit::until(std::time::Duration::from_secs(10), || left().is_empty()), "{:?}", left());
    // Who joins has the same ids; in volumes and binds they are themselves.
    let keep = ["run", "-d", "--name", "first", "--network", "none", "-v", "vol:/v", "app", "sleep 100"];
    host.berth(keep).text();
    assert_eq!(see(&["--pid", "container:first"], owners), expected);
    host.berth(["exec", "first", "sh", "-c", "touch /v/f; chown 70000:70001 /v/f"]).text();
    assert_eq!(see(&["-v", "vol:/v"], "stat -c %u:%g /v/f"), "70000:70001");
    let bound = host.path("bound");
    std::fs::create_dir(&bound).unwrap();
    let bind = format!("{}:/b", bound.display());
    assert_eq!(
        see(&["-v", &bind, "-u", "70000:70001"], "touch /b/f; stat -c %u:%g /b /b/f"),
        "70000:70001\n70000:70001"
    );
    use std::os::unix::fs::MetadataExt;
    assert_eq!(bound.join("f").metadata().unwrap().uid(), 0, "its directory's owner is whom it runs as");
    host.berth(["rm", "-f", "-v", "first"]).text();
    host.berth(["volume", "rm", "vol"]).text();
}
