//! Programs that don't end by themselves.

use crate::fixture::{Fixture, Running, sh};
use linux::process::{Fork, fork};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};
use testkit::json;

const ENDLESS: &str = "(sleep 1000 &) ; echo begun; sleep 1000";

fn begun(fixture: &Fixture) -> Running {
    let running = fixture.begin(&sh(ENDLESS), std::slice::from_ref(&fixture.base));
    await_begin(&running);
    running
}

fn await_begin(running: &Running) {
    let mut line = String::new();
    BufReader::new(running.stdout.try_clone().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n");
}

fn entries(path: std::path::PathBuf) -> usize {
    std::fs::read_dir(path).map_or(0, |entries| entries.count())
}

/// What the programs have of the host.
fn held(fixture: &Fixture) -> usize {
    let run = fixture.host.run_dir();
    entries(run.join("containers"))
        + entries(run.join("ranges"))
        + entries(run.join("networks/bridge/leases"))
}

pub fn a_cancelled_program_ends_at_once() {
    let fixture = Fixture::new();
    let mut running = begun(&fixture);
    assert_eq!(held(&fixture), 3);
    // Lists don't show it.
    assert_eq!(engine::find::all(&fixture.home).unwrap().len(), 0);
    let asked = Instant::now();
    running.cancel = None;
    assert_eq!(running.finish().value, json!("cancelled"));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(held(&fixture), 0);
    assert_eq!(entries(fixture.host.root_dir().join("tmp")), 0);
}

pub fn a_killed_build_leaves_nothing() {
    let fixture = Fixture::new();
    // A build, which has the step as its child and is killed.
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let build = match fork().unwrap() {
        Fork::Parent(build) => build,
        Fork::Child => {
            let running = begun(&fixture);
            rustix::io::write(&writer, b"begun").unwrap();
            drop(writer);
            // Until it's killed.
            linux::process::wait_child(running.pid).ok();
            linux::process::exit(1)
        }
    };
    drop(writer);
    let mut said = [0; 5];
    rustix::io::read(&reader, &mut said[..]).unwrap();
    assert_eq!(held(&fixture), 3);
    linux::process::kill(build, 9).unwrap();
    linux::process::wait_child(build).unwrap();
    let limit = Duration::from_secs(2);
    assert!(testkit::until(limit, || held(&fixture) == 0), "not all is given back");
    let tmp = fixture.host.root_dir().join("tmp");
    assert!(testkit::until(limit, || entries(tmp.clone()) == 0), "the draft is there");
}

pub fn a_killed_step_leaves_what_the_next_command_removes() {
    let fixture = Fixture::new();
    let running = begun(&fixture);
    linux::process::kill(running.pid, 9).unwrap();
    // Its program is killed by the kernel, which closes the output.
    let asked = Instant::now();
    running.finish();
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(held(&fixture), 3);
    assert_eq!(engine::find::all(&fixture.home).unwrap().len(), 0);
    assert_eq!(held(&fixture), 0);
    assert_eq!(fixture.store().sweep().unwrap().leftovers, 1);
    assert_eq!(entries(fixture.host.root_dir().join("tmp")), 0);
}
