//! `berth volume`, with docker's words.

use super::*;
use testkit::Output;

#[test]
fn a_volume_is_made_listed_inspected_and_removed() {
    let host = Host::new();
    host.berth(["volume", "ls"]).run().ok().stdout_is("DRIVER    VOLUME NAME\n");
    host.berth(["volume", "create", "data"]).run().ok().stdout_is("data\n");
    host.berth(["volume", "create", "data"]).run().ok().stdout_is("data\n").silent_stderr();
    let again = host.berth(["volume", "create", "--label", "a=b", "data"]).run().ok();
    again.stdout_is("data\n").stderr_has(&["exists and stays as it is"]);
    host.berth(["volume", "create", "--label", "x=y", "tagged"]).run().ok().stdout_is("tagged\n");
    let anonymous = host.berth(["volume", "create"]).text();
    assert_eq!(anonymous.len(), 64);
    host.berth(["volume", "ls", "-q"])
        .run()
        .ok()
        .stdout_is(&format!("{}\n", sorted(&[&anonymous, "data", "tagged"])));

    let inspected = host.berth(["volume", "inspect", "tagged"]).run().ok().json();
    let volume = &inspected[0];
    let path = host.root_dir().join("volumes/tagged/_data");
    assert_eq!(volume["Mountpoint"], path.to_str().unwrap());
    assert_eq!(volume["Labels"], json!({ "x": "y" }));
    assert_eq!(volume["Options"], json!(null));
    assert_eq!(
        (&volume["Driver"], &volume["Scope"], &volume["Name"]),
        (&json!("local"), &json!("local"), &json!("tagged"))
    );
    assert_eq!(host.berth(["inspect", "tagged"]).run().ok().json(), inspected);
    assert_eq!(host.berth(["inspect", "--type", "volume", "-f", "{{.Name}}", "tagged"]).text(), "tagged");
    host.berth(["volume", "inspect", "none"])
        .run()
        .code(1)
        .stdout_is("[]\n")
        .stderr_has(&["get none: no such volume"]);

    host.berth(["volume", "rm", "data", "none", "tagged"])
        .run()
        .code(1)
        .stdout_is("data\ntagged\n")
        .stderr_has(&["no such volume"]);
    host.berth(["volume", "rm", "-f", "none"]).run().ok().stdout_is("none\n");
    host.berth(["volume", "rm", &anonymous]).text();
    nothing_left(&host);
}

fn sorted(names: &[&str]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.join("\n")
}

trait Silent {
    fn silent_stderr(self) -> Self;
}

impl Silent for Output {
    #[track_caller]
    fn silent_stderr(self) -> Output {
        assert_eq!(self.err(), "");
        self
    }
}

#[test]
fn lists_are_filtered_and_formatted_as_dockers() {
    let host = Host::new();
    load(&host, &image(), "app");
    host.berth(["volume", "create", "--label", "x=y", "tagged"]).text();
    host.berth(["volume", "create", "plain"]).text();
    host.berth(["run", "--name", "box", "--network", "none", "-v", "used:/u", "app", "true"]).text();
    let list = |options: &[&str]| host.berth(["volume", "ls", "-q"].iter().chain(options)).text();
    assert_eq!(list(&["-f", "dangling=true"]), "plain\ntagged");
    assert_eq!(list(&["-f", "dangling=false"]), "used");
    assert_eq!(list(&["-f", "label=x"]), "tagged");
    assert_eq!(list(&["-f", "label=x=z"]), "");
    assert_eq!(list(&["-f", "name=a"]), "plain\ntagged");
    assert_eq!(list(&["-f", "name=us", "-f", "name=pl"]), "plain\nused");
    assert_eq!(list(&["-f", "driver=nfs"]), "");
    host.berth(["volume", "ls", "-f", "foo=bar"])
        .run()
        .failed()
        .stderr_has(&["invalid filter", "unknown filter \"foo\""]);
    let row: testkit::Value =
        serde_json::from_str(&host.berth(["volume", "ls", "--format", "json", "-f", "name=tagged"]).text())
            .unwrap();
    assert_eq!(
        (&row["Name"], &row["Labels"], &row["Links"]),
        (&json!("tagged"), &json!("x=y"), &json!("N/A"))
    );
    let template = ["volume", "ls", "--format", "{{.Name}}:{{.Driver}}", "-f", "name=used"];
    assert_eq!(host.berth(template).text(), "used:local");
    let ps = |filter: &str| {
        host.berth(["ps", "-a", "--format", "{{.Names}} {{.Mounts}} {{.LocalVolumes}}", "-f", filter]).text()
    };
    assert_eq!(ps("volume=used"), "box used 1");
    assert_eq!(ps("volume=/u"), "box used 1");
    assert_eq!(ps("volume=tagged"), "");
    host.berth(["rm", "box"]).text();
}

#[test]
fn a_volume_in_use_stays() {
    let host = Host::new();
    load(&host, &image(), "app");
    for (options, command) in [(&["--rm", "-d"][..], "sleep 100"), (&[], "true")] {
        let fixed = ["run", "--name", "box", "--network", "none", "-v", "vol:/v"];
        let run = fixed.iter().chain(options).copied().chain(["app", "sh", "-c", command]);
        host.berth(run).text();
        let id = host.berth(["inspect", "-f", "{{.Id}}", "box"]).text();
        host.berth(["volume", "rm", "-f", "vol"])
            .run()
            .code(1)
            .stderr_has(&["remove vol: volume is in use - [", &id]);
        host.berth(["volume", "prune", "-af"]).run().ok().stdout_is("Total reclaimed space: 0B\n");
        host.berth(["rm", "-f", "-v", "box"]).text();
        host.berth(["volume", "rm", "vol"]).text();
    }
    nothing_left(&host);
}

#[test]
fn prune_removes_anonymous_ones_or_all() {
    let host = Host::new();
    let anonymous = host.berth(["volume", "create"]).text();
    host.berth(["volume", "create", "--label", "keep", "kept"]).text();
    host.berth(["volume", "create", "gone"]).text();
    std::fs::write(host.root_dir().join("volumes/gone/_data/f"), "12345").unwrap();
    let asked = host.berth(["volume", "prune"]).stdin("n\n").run().ok();
    assert!(asked.text().starts_with("WARNING! This will remove anonymous local volumes not used by"));
    assert_eq!(names(&host).len(), 3);
    host.berth(["volume", "prune", "-f", "--filter", "label=keep"])
        .run()
        .ok()
        .stdout_is("Total reclaimed space: 0B\n");
    let pruned = format!("Deleted Volumes:\n{anonymous}\n\nTotal reclaimed space: 0B\n");
    host.berth(["volume", "prune", "-f"]).run().ok().stdout_is(&pruned);
    let all = ["volume", "prune", "-f", "-a", "--filter", "label!=keep"];
    host.berth(all).run().ok().stdout_is("Deleted Volumes:\ngone\n\nTotal reclaimed space: 5B\n");
    host.berth(["volume", "prune", "-f", "--filter", "foo=x"]).run().failed().stderr_has(&["invalid filter"]);
    host.berth(["volume", "prune", "-f", "--filter", "all=1"]).text();
    nothing_left(&host);
}

#[test]
fn bad_names_drivers_and_options_are_refused_and_leave_nothing() {
    let host = Host::new();
    let refused = |args: &[&str], words: &[&str]| {
        host.berth(["volume", "create"].iter().chain(args)).run().code(1).stdout_is("").stderr_has(words);
    };
    refused(
        &["x"],
        &["create x: volume name is too short, names should be at least two alphanumeric characters"],
    );
    refused(&["b/d"], &["includes invalid characters for a local volume name", "use absolute path"]);
    refused(&["../etc"], &["includes invalid characters"]);
    refused(&["-d", "foo", "zz"], &["error looking up volume plugin foo: plugin \"foo\" not found"]);
    refused(&["-o", "foo=bar", "zz"], &["create zz: invalid option: \"foo\""]);
    refused(&["-o", "type=none", "-o", "o=bind", "zz"], &["missing required option: \"device\""]);
    refused(
        &["-o", "type=nfs", "-o", "o=addr=1.2.3.4", "-o", "device=:/x", "zz"],
        &["nfs isn't supported yet"],
    );
    host.berth(["volume", "create", "aa", "bb"]).run().failed();
    host.berth(["volume", "rm"]).run().failed();
    assert_eq!(names(&host), [""; 0]);
    load(&host, &image(), "app");
    for (options, words) in [
        (["-v", "d?d:/data"], "includes invalid characters"),
        (["-v", "dd:/data:foo"], "unknown option \"foo\""),
        (["-v", "dd:/data:rshared"], "propagation"),
        (["--volumes-from", "none"], "no such container: none"),
        (["--volumes-from", "none:foo"], "invalid mode: foo"),
        (["--volume-driver", "nfs"], "plugin \"nfs\" not found"),
    ] {
        run(&host, &options, "true").run().code(125).stderr_has(&[words]);
    }
    // A start that fails takes back what was made for it.
    run(&host, &["-v", "/anon", "-u", "nosuch"], "true").run().code(125);
    run(&host, &["-v", "/anon", "-w", "/file"], "true").run().failed();
    let program = ["run", "--network", "none", "-v", "/anon", "app", "nosuch"];
    host.berth(program).run().code(127);
    nothing_left(&host);
}
