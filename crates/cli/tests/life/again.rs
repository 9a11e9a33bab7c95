//! What would make a container again: `inspect --as`.

use super::*;

/// Runs a line in a shell that finds berth.
fn sh(host: &Host, line: &str) -> testkit::Output {
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", host.dir().join("bin").display());
    let shell = testkit::Cmd::new("/bin/sh", ["-c", line]).env("PATH", path);
    host.env().into_iter().fold(shell, |shell, (name, value)| shell.env(name, value)).run()
}

#[test]
fn the_command_line_of_a_container_comes_back() {
    let host = Host::new();
    let flags = ["-e", "WORD=it's $HOME", "--label", "k=v", "--tmpfs", "/t:size=1m", "-w", "/t", "--init"];
    let script = "echo \"$WORD\"; pwd";
    let create = ["create", "--name", "web"].iter().chain(&flags).chain(&["@host", "sh", "-c"]);
    host.berth(create.chain(&[script])).run().ok();
    let line = host.berth(["inspect", "--as", "run", "web"]).text();
    assert!(line.starts_with("berth run --name=web --init "), "{line}");
    host.berth(["rm", "web"]).run().ok();
    sh(&host, &line).ok().stdout_is("it's $HOME\n/t");
    assert_eq!(host.berth(["inspect", "--as", "run", "web"]).text(), line);
    // What it's called and may use now.
    host.berth(["rename", "web", "shop"]).run().ok();
    host.berth(["update", "--cpus", "1.5", "--restart", "always", "shop"]).run().ok();
    let line = host.berth(["inspect", "--as", "run", "shop"]).text();
    assert!(
        line.contains("--name=shop") && line.contains("--cpus=1.5") && line.contains("--restart=always"),
        "{line}"
    );
    let file = host.berth(["inspect", "--as", "compose", "shop"]).text();
    for part in [
        "services:\n  shop:\n    image: \"@host\"\n    command:\n      - sh\n",
        "    environment:\n      - \"WORD=it's $$HOME\"",
        "    cpus: \"1.5\"",
        "    restart: always",
        "    tmpfs:\n      - \"/t:size=1048576\"",
        "    working_dir: /t",
    ] {
        assert!(file.contains(part), "{part}\n{file}");
    }
    host.berth(["inspect", "--as", "run", "none"]).run().code(1).stderr_has(&["no such container: none"]);
    host.berth(["inspect", "--as", "kube", "shop"]).run().failed().stderr_has(&["not one of run, compose"]);
    remove(&host, &["shop"]);
}

#[test]
fn a_clone_is_made_like_another_but_for_what_is_given() {
    let host = Host::new();
    load_app(&host);
    let flags = ["-e", "A=1", "-e", "HIDDEN", "-m", "64m", "--tmpfs", "/t", "-v", "/own", "--label", "k=v"];
    let run = ["run", "-d", "--name", "web"].iter().chain(&flags).chain(&[
        "app",
        "sh",
        "-c",
        "touch /made; sleep 1000",
    ]);
    host.berth(run).run().ok();
    assert!(until(PATIENCE, || host.berth(["exec", "web", "test", "-e", "/made"]).run().status == 0));
    let clone = ["clone", "web", "copy", "-e", "B=2", "-m", "32m", "--tmpfs", "/t:size=1m", "--init"];
    let id = host.berth(clone).env("HIDDEN", "the caller's").run().ok().silent().text();
    assert_eq!(inspect(&host, "copy", "{{.Id}} {{.State.Status}}"), format!("{id} created"));
    let shown = "{{.HostConfig.Memory}} {{.HostConfig.Init}} {{json .HostConfig.Tmpfs}} {{.Config.Labels.k}}";
    assert_eq!(inspect(&host, "copy", shown), r#"33554432 true {"/t":"size=1048576"} v"#);
    assert_eq!(inspect(&host, "copy", "{{json .Config.Env}}").matches("HIDDEN=").count(), 0);
    // A volume of its own, and none of the files.
    assert_ne!(
        inspect(&host, "copy", "{{range .Mounts}}{{.Source}}{{end}}"),
        inspect(&host, "web", "{{range .Mounts}}{{.Source}}{{end}}")
    );
    host.berth(["start", "copy"]).run().ok();
    host.berth(["exec", "copy", "sh", "-c", "echo $A$B"]).run().ok().stdout_is("12");
    // With them.
    host.berth(["exec", "web", "sh", "-c", "echo changed > /etc/mark"]).run().ok();
    host.berth(["clone", "--with-files", "web", "twin"]).run().ok().silent();
    host.berth(["start", "twin"]).run().ok();
    host.berth(["exec", "twin", "cat", "/etc/mark"]).run().ok().stdout_is("changed");
    host.berth(["exec", "copy", "cat", "/etc/mark"]).run().failed();
    host.berth(["clone", "web", "copy"]).run().failed().stderr_has(&["already in use"]);
    host.berth(["clone", "none"]).run().code(1).stderr_has(&["no such container: none"]);
    host.berth(["clone", "web", "--cpus", "many"]).run().failed().stderr_has(&["--cpus"]);
    host.berth(["rm", "-f", "-v", "web", "copy", "twin"]).run().ok();
}

#[test]
fn another_program_is_started_once() {
    let host = Host::new();
    load_app(&host);
    // Broken: its program isn't there.
    host.berth(["create", "--name", "web", "app", "/no/such/program"]).run().ok();
    host.berth(["start", "web"]).run().failed();
    host.berth(["start", "--entrypoint", r#"["sleep", "1000"]"#, "web"]).run().ok().silent();
    assert_eq!(
        inspect(&host, "web", "{{.Path}} {{json .Args}} {{json .Berth.StartedAs}}"),
        r#"sleep ["1000"] ["sleep","1000"]"#
    );
    assert_eq!(inspect(&host, "web", "{{json .Config.Cmd}}"), r#"["/no/such/program"]"#);
    let mend = "mkdir -p /no/such; echo '#!/bin/sh' > /no/such/program; chmod 755 /no/such/program";
    host.berth(["exec", "web", "sh", "-c", mend]).run().ok();
    host.berth(["start", "--entrypoint", "sh", "web"]).run().code(1).stderr_has(&["it is running already"]);
    host.berth(["stop", "-t", "0", "web"]).run().ok();
    assert_eq!(inspect(&host, "web", "{{.Path}} {{json .Berth.StartedAs}}"), "/no/such/program null");
    // Mended, it runs as it was made.
    host.berth(["start", "-a", "web"]).run().ok();
    host.berth(["start", "-a", "--entrypoint", "pwd", "web"]).run().ok().stdout_is("/");
    for bad in ["[]", "[1]", "[\"x\""] {
        host.berth(["start", "--entrypoint", bad, "web"]).run().failed().stderr_has(&["not a list of words"]);
    }
    remove(&host, &["web"]);
}
