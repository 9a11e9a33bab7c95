//! What a program sees and leaves.

use crate::fixture::{Fixture, sh};
use build::op::{Exec, Network, Tree};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;
use testkit::json;

pub fn what_a_program_changes_is_a_layer() {
    let fixture = Fixture::new();
    let ran = fixture.sh("echo hello > /srv/file; chown web /srv/file; rm /etc/group; mkdir -p /new/dir");
    assert_eq!(fixture.paths(&ran.tree()), ["etc", "etc/group", "new", "new/dir", "srv", "srv/file"]);
    let top = fixture.top(&ran.tree());
    assert_eq!(std::fs::read(top.join("srv/file")).unwrap(), b"hello\n");
    assert_eq!(std::fs::metadata(top.join("srv/file")).unwrap().uid(), 33);
    assert_eq!(std::fs::metadata(top.join("new")).unwrap().uid(), 0);
    // The next step begins there.
    let next = fixture.run_on(&sh("cat /srv/file; ls /etc/group || echo gone"), &[ran.tree()]);
    assert_eq!(next.stdout, "hello\ngone\n");
    assert!(next.is_empty());
    assert_eq!(next.tree(), ran.tree());
}

pub fn a_program_that_changes_nothing_makes_no_layer() {
    let fixture = Fixture::new();
    let ran = fixture.sh("echo $$; cat /proc/1/comm > /dev/null; touch /tmp/x; rm /tmp/x");
    assert_eq!(ran.stdout, "1\n");
    assert_eq!(fixture.paths(&ran.tree()), ["tmp"], "the directory's time has changed");
    let ran = fixture.sh("true");
    assert!(ran.is_empty());
    assert_eq!(ran.tree(), fixture.base);
}

pub fn output_comes_apart_and_a_status_is_told() {
    let fixture = Fixture::new();
    let ran = fixture.sh("echo out; echo err >&2; echo more > /dev/stdout; exit 7");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\nmore\n", "err\n"));
    assert_eq!(ran.value, json!({ "status": 7 }));
    // Of the first process only the kernel may end it so.
    let ran = fixture.sh("sh -c 'kill -9 $$'; exit $?");
    assert_eq!(ran.value, json!({ "status": 137 }));
}

pub fn environment_user_directory_and_host_are_as_asked() {
    let fixture = Fixture::new();
    let exec = Exec {
        user: "guest".to_owned(),
        working_dir: "/home/guest/made".to_owned(),
        env: vec!["PATH=/bin".to_owned(), "A=1=2".to_owned()],
        add_hosts: vec!["db:10.1.2.3".to_owned()],
        ulimits: vec!["nofile=77:88".to_owned()],
        shm_size: Some(1 << 20),
        ..sh(
            "env | sort; id; pwd; hostname; grep 10.1 /etc/hosts; ulimit -n; df -k /dev/shm | tail -1 | awk '{print $2}'",
        )
    };
    let ran = fixture.run_on(&exec, std::slice::from_ref(&fixture.base));
    assert_eq!(
        ran.stdout,
        "A=1=2\nHOME=/home/guest\nPATH=/bin\nPWD=/home/guest/made\nSHLVL=1\n\
         uid=1000(guest) gid=1000(guest) groups=44(extra),1000(guest)\n\
         /home/guest/made\nbuildkitsandbox\n10.1.2.3\tdb\n77\n1024\n",
        "{}",
        ran.stderr
    );
    assert_eq!(fixture.paths(&ran.tree()), ["home", "home/guest", "home/guest/made"]);
}

pub fn the_network_is_the_bridge_or_none_or_the_hosts() {
    let fixture = Fixture::new();
    let links = |network| {
        let exec = Exec {
            network,
            ..sh("ls /sys/class/net; ls /proc/sys/net > /dev/null; ip -o addr | grep -c inet")
        };
        let ran = fixture.run_on(&exec, std::slice::from_ref(&fixture.base));
        ran.tree();
        ran.stdout
    };
    let of_bridge = links(Network::Default);
    assert!(of_bridge.starts_with("eth0\nlo\n"), "{of_bridge}");
    assert!(links(Network::None).starts_with("lo\n"));
    // The host's are the test's own.
    assert!(links(Network::Host).contains("lo\n"));
    let leases = fixture.host.run_dir().join("networks/bridge/leases");
    assert_eq!(std::fs::read_dir(leases).unwrap().count(), 0);
}

pub fn a_missing_program_is_told() {
    let fixture = Fixture::new();
    let exec = Exec { args: vec!["/no/such".to_owned()], ..sh("") };
    let ran = fixture.run_on(&exec, std::slice::from_ref(&fixture.base));
    let error = ran.value["error"].as_str().unwrap();
    assert!(error.contains("/no/such"), "{error}");
    let exec = Exec { user: "nobody-knows".to_owned(), ..sh("true") };
    let ran = fixture.run_on(&exec, std::slice::from_ref(&fixture.base));
    assert!(ran.value["error"].as_str().unwrap().contains("nobody-knows"), "{ran:?}");
    let ran = fixture.run_on(&sh("true"), &[Tree::Scratch]);
    assert!(ran.value["error"].is_string(), "nothing can be run on nothing: {ran:?}");
}

pub fn ids_above_the_first_block_are_there() {
    let fixture = Fixture::new();
    let exec = Exec { user: "200000:200001".to_owned(), ..sh("touch /tmp/mine; id -u") };
    let ran = fixture.run_on(&exec, std::slice::from_ref(&fixture.base));
    assert_eq!(ran.stdout, "200000\n");
    let next = fixture.run_on(&sh("stat -c %u:%g /tmp/mine"), &[ran.tree()]);
    assert_eq!(next.stdout, "200000:200001\n", "{next:?}");
}

/// One of seven small steps of a build may take 20 ms or so (docker's: 130 ms).
pub fn alone_small_steps_take_few_milliseconds() {
    let fixture = Fixture::new();
    let mut times = Vec::new();
    let mut tree = fixture.base.clone();
    for n in 0..30 {
        let begun = Instant::now();
        let mut running = fixture.begin(&sh(&format!("echo {n} > /srv/{n}")), &[tree]);
        // When the result is known the next may begin.
        let value = running.await_value();
        times.push(begun.elapsed());
        tree = serde_json::from_value(value["made"]["tree"].clone()).unwrap();
        running.finish();
    }
    times.sort();
    println!("median {:?}, least {:?}, most {:?}", times[15], times[0], times[29]);
    assert!(times[15].as_millis() < 60, "{times:?}");
}

pub fn nothing_is_younger_than_the_epoch() {
    let mut fixture = Fixture::new();
    fixture.epoch = Some(1_000_000_000);
    let script = "mkdir /d; echo x > /d/f; ln -s f /d/l; touch -d @5 /d/old; rm /etc/group";
    let first = fixture.sh(script);
    let top = fixture.top(&first.tree());
    let time = |path: &str| std::fs::symlink_metadata(top.join(path)).unwrap().mtime();
    assert_eq!(
        ["d", "d/f", "d/l", "d/old", "etc"].map(time),
        [1_000_000_000, 1_000_000_000, 1_000_000_000, 5, 1_000_000_000]
    );
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(fixture.sh(script).value, first.value);
}
