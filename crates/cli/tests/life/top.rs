//! `berth top`.

use super::*;

fn lines(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn processes_are_shown_as_ps_shows_them() {
    let host = Host::new();
    start(&host, "web", "sleep 1000 & exec sleep 2000");
    host.berth(["exec", "-d", "-u", "33:7", "web", "sleep", "3000"]).run().ok();
    assert!(until(PATIENCE, || host.berth(["top", "web"]).text().lines().count() == 4));
    let text = host.berth(["container", "top", "web"]).text();
    assert!(
        text.starts_with(
            "UID                 PID                 PPID                C                   STIME"
        ),
        "{text}"
    );
    let rows = lines(&text);
    let pid = inspect(&host, "web", "{{.State.Pid}}");
    let of = |program: &str| rows.iter().find(|row| row.last().unwrap() == program).unwrap().clone();
    let (first, second, third) = (of("2000"), of("1000"), of("3000"));
    assert_eq!(first[0], "root");
    assert_eq!((&first[1], &second[2]), (&pid, &pid));
    assert_eq!((&*first[5], &*first[6], &*first[7]), ("?", "00:00:00", "sleep"));
    // Of the container's own names and numbers, not the host's.
    let name = host.berth(["exec", "web", "id", "-nu", "33"]).run();
    assert_eq!(third[0], if name.status == 0 { name.text() } else { "33".to_owned() });
    let chosen = host.berth(["top", "web", "-eo", "pid,uid,gid,args,s"]).text();
    assert!(chosen.contains(" 33                  7                   sleep 3000          S"), "{chosen}");
    // What ps itself says of the same process.
    let own = testkit::Cmd::new("ps", ["-o", "ppid=,sid=,pgid=,vsz=,nlwp=,ni=,pri=", "-p", &pid]).text();
    let ours = host.berth(["top", "web", "-o", "pid,ppid,sid,pgid,vsz,nlwp,ni,pri"]).text();
    let row = lines(&ours).into_iter().find(|row| row[0] == pid).unwrap();
    assert_eq!(row[1..], lines(&own)[0]);
    assert!(host.berth(["top", "web", "aux"]).text().starts_with("USER                PID"));
    host.berth(["pause", "web"]).run().ok();
    assert_eq!(host.berth(["top", "web"]).text().lines().count(), 4);
    remove(&host, &["web"]);
}

#[test]
fn what_top_cannot_show_is_named() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    start(&host, "job", "true");
    host.berth(["wait", "job"]).run().ok();
    for (args, says) in [
        (&["job"][..], "container job is not running"),
        (&["none"], "no such container: none"),
        (&["web", "-eo", "args"], "couldn't find PID field in ps output"),
        (&["web", "-T"], "option T isn't supported"),
        (&["web", "--forest"], "--forest"),
    ] {
        host.berth(["top"].iter().chain(args)).run().code(1).stdout_is("").stderr_has(&[says]);
    }
    host.berth(["top"]).run().code(1).stderr_has(&["requires at least 1 argument"]);
    // A command line that would draw on the terminal.
    host.berth(["exec", "-d", "web", "sh", "-c", "sleep 1000; :", "\u{1b}[31mred"]).run().ok();
    assert!(until(PATIENCE, || host.berth(["top", "web"]).text().contains("red")));
    assert!(!host.berth(["top", "web"]).text().contains('\u{1b}'));
    remove(&host, &["web", "job"]);
}
