//! What would be removed, and what nothing has used for long: `--dry-run`, `--unused-for`.

use super::*;

fn names(host: &Host) -> Vec<String> {
    let text = host.berth(["ps", "-a", "--format", "{{.Names}}"]).text();
    let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// Sets the time of last use, in days before now, of everything in a directory of berth's.
fn age(host: &Host, what: &str, days: u64) {
    let then = std::time::SystemTime::now() - Duration::from_secs(days * 86_400);
    for entry in std::fs::read_dir(host.root_dir().join(what)).unwrap().flatten() {
        std::fs::File::open(entry.path()).unwrap().set_modified(then).unwrap();
    }
}

#[test]
fn a_dry_run_of_rm_tells_and_removes_nothing() {
    let host = Host::new();
    load_app(&host);
    host.berth(["run", "-d", "--name", "web", "-v", "/own", "app", "sleep", "1000"]).run().ok();
    host.berth(["create", "--name", "made", "app"]).run().ok();
    let volume = inspect(&host, "web", "{{range .Mounts}}{{.Name}}{{end}}");
    let told = host.berth(["rm", "--dry-run", "web", "made", "none"]).run().code(1);
    let told = told
        .stderr_has(&["container is running: stop the container before", "no such container: none"])
        .text();
    assert!(told.starts_with("would remove container made (") && told.lines().count() == 1, "{told}");
    let told = host.berth(["rm", "-f", "-v", "--dry-run", "web"]).run().ok().silent().text();
    assert!(told.ends_with(&format!("would remove volume {volume}")), "{told}");
    assert_eq!(names(&host), ["made", "web"]);
    assert_eq!(inspect(&host, "web", "{{.State.Status}}"), "running");
    host.berth(["rm", "-f", "-v", "web", "made"]).run().ok();
}

#[test]
fn many_that_have_ended_are_removed_in_one_go() {
    let host = Host::new();
    let made: Vec<String> = (0..24).map(|number| format!("made{number}")).collect();
    for name in &made {
        host.berth(["create", "--name", name.as_str(), "@host", "true"]).run().ok();
    }
    host.berth(["run", "-d", "--name", "web", "@host", "sleep", "1000"]).run().ok();
    let dirs = || std::fs::read_dir(host.root_dir().join("containers")).unwrap().count();
    assert_eq!(dirs(), 25);
    let words = ["rm", "none"].into_iter().chain(made.iter().map(String::as_str)).chain(["web"]);
    let removed = host.berth(words).run().code(1).stderr_has(&["no such container: none", "is running"]);
    assert_eq!(removed.text().lines().collect::<Vec<_>>(), made);
    assert_eq!((names(&host), dirs()), (vec!["web".to_owned()], 1));
    let told = host.berth([
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
    ]);
    let told = told.text();
    let mut gone: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("destroy ")).collect();
    gone.sort_unstable();
    let mut expected = made.clone();
    expected.sort_unstable();
    assert_eq!(gone, expected, "each is told of once");
    // Their names are free.
    host.berth(["run", "--rm", "--name", "made7", "@host", "true"]).run().ok();
    remove(&host, &["web"]);
}

#[test]
fn a_dry_run_of_prune_tells_what_the_real_one_removes() {
    let host = Host::new();
    load_app(&host);
    host.berth(["run", "--name", "job", "-v", "/own", "app", "sh", "-c", "echo x > /own/f; echo y > /file"])
        .run()
        .ok();
    host.berth(["run", "-d", "--name", "web", "@host", "sleep", "1000"]).run().ok();
    let (id, image) = (inspect(&host, "job", "{{.Id}}"), inspect(&host, "job", "{{.Image}}"));
    let volume = inspect(&host, "job", "{{range .Mounts}}{{.Name}}{{end}}");
    // Nobody is asked.
    let dry = host.berth(["system", "prune", "-a", "--volumes", "--dry-run"]).run().ok().silent().text();
    for part in [
        format!("Would delete Containers:\n{id}\n"),
        format!("Would delete Volumes:\n{volume}\n"),
        "Would delete Images:\nuntagged: app:latest\n".to_owned(),
        format!("deleted: {image}"),
        "Total reclaimable space: ".to_owned(),
    ] {
        assert!(dry.contains(&part), "{part}\n{dry}");
    }
    assert_eq!(names(&host), ["job", "web"]);
    for (object, part) in [("container", &id), ("image", &image), ("volume", &volume)] {
        let told = host.berth([object, "prune", "--dry-run"]).run().ok().silent().text();
        // Image and volume have a container yet.
        assert_eq!(told.contains(part.as_str()), object == "container", "{object}: {told}");
    }
    let done = host.berth(["system", "prune", "-a", "--volumes", "-f"]).run().ok().text();
    let bytes = |text: &str| text.lines().last().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(bytes(&dry), bytes(&done));
    assert!(done.contains(&format!("Deleted Volumes:\n{volume}\n")), "{done}");
    assert_eq!(names(&host), ["web"]);
    remove(&host, &["web"]);
}

#[test]
fn what_was_used_lately_is_kept() {
    let host = Host::new();
    load_app(&host);
    host.berth(["volume", "create", "kept"]).run().ok();
    host.berth(["run", "--name", "job", "app", "true"]).run().ok();
    let prune = |object: &str, flags: &[&str]| {
        host.berth([object, "prune", "-f"].iter().chain(flags)).run().ok().text()
    };
    assert_eq!(prune("container", &["--unused-for", "1h"]), "Total reclaimed space: 0B");
    assert!(prune("container", &["--unused-for", "0s"]).contains("Deleted Containers"));
    // They came here long ago, and nothing has used them since.
    age(&host, "volumes", 20);
    age(&host, "layers", 20);
    assert_eq!(prune("volume", &["-a", "--unused-for", "30d"]), "Total reclaimed space: 0B");
    assert_eq!(prune("image", &["-a", "--unused-for", "3w"]), "Total reclaimed space: 0B");
    // Whoever uses them makes them young again.
    host.berth(["run", "--rm", "-v", "kept:/k", "app", "true"]).run().ok();
    let young =
        |object| prune(object, &["-a", "--dry-run", "--unused-for", "14d"]) == "Total reclaimable space: 0B";
    assert!(until(PATIENCE, || young("image") && young("volume")));
    age(&host, "volumes", 20);
    age(&host, "layers", 20);
    assert!(prune("volume", &["-a", "--unused-for", "14d"]).contains("Deleted Volumes:\nkept"));
    assert!(prune("image", &["-a", "--unused-for", "14d"]).contains("untagged: app:latest"));
    for bad in ["5", "14", "d", "-1d"] {
        let flag = format!("--unused-for={bad}");
        host.berth(["image", "prune", "-f", &flag]).run().failed().stderr_has(&["not a length of time"]);
    }
}
