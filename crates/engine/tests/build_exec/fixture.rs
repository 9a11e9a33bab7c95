//! A host with a tree of busybox, and steps that are run on it.

use build::op::{Exec, Tree};
use engine::Home;
use engine::build::exec::{self, Outcome, Step};
use linux::process::{Fork, fork};
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use store::Store;
use testkit::{Host, Value, json};

/// A host, and what its steps are told.
pub struct Fixture {
    pub host: Host,
    pub home: Home,
    pub base: Tree,
    pub secrets: BTreeMap<String, Vec<u8>>,
    pub epoch: Option<i64>,
    /// Of the second input.
    pub ignored: Vec<String>,
}

/// What came of a step.
#[derive(Debug)]
pub struct Ran {
    /// `{"made": …}`, `{"status": …}`, `"cancelled"` or `{"error": …}`.
    pub value: Value,
    pub stdout: String,
    pub stderr: String,
}

/// A step that runs.
pub struct Running {
    /// The process that does it.
    pub pid: i32,
    /// Closed, it's cancelled.
    pub cancel: Option<OwnedFd>,
    pub stdout: File,
    stderr: File,
    value: File,
}

impl Fixture {
    pub fn new() -> Fixture {
        let host = Host::for_many(20);
        let home = Home {
            root: host.root_dir(),
            run: host.run_dir(),
            cgroup_parent: format!("/{}", host.cgroup()),
            ids_base: host.first_id(),
            ranges: host.id_count() / 65_536,
        };
        let store = Store::open(&home.root).unwrap();
        let mut tar = File::open(host.rootfs_tar()).unwrap();
        let id = store.import(&mut tar, None, "test", &|_| {}).unwrap();
        let image = store.resolve_image(&id.to_string()).unwrap();
        let base = Tree::Layers(image.layers.last().unwrap().chain.to_string());
        Fixture { host, home, base, secrets: BTreeMap::new(), epoch: None, ignored: Vec::new() }
    }

    /// Begins a step on `inputs`.
    pub fn begin(&self, exec: &Exec, inputs: &[Tree]) -> Running {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (stdout, stdout_end) = pipe();
        let (stderr, stderr_end) = pipe();
        let (value, value_end) = pipe();
        let (cancel_end, cancel) = pipe();
        match fork().unwrap() {
            Fork::Parent(pid) => Running {
                pid,
                cancel: Some(cancel),
                stdout: stdout.into(),
                stderr: stderr.into(),
                value: value.into(),
            },
            Fork::Child => {
                drop(cancel);
                let step = Step {
                    exec,
                    inputs,
                    ignored: &[&[], &self.ignored],
                    secrets: &self.secrets,
                    stdout: stdout_end,
                    stderr: stderr_end,
                    epoch: self.epoch,
                    cancel: cancel_end.as_fd(),
                };
                let ran = exec::exec(&self.home, step);
                let value = match &ran {
                    Ok(ran) => match &ran.outcome {
                        Outcome::Made(made) => json!({ "made": made }),
                        Outcome::Failed { status, .. } => json!({ "status": status }),
                        Outcome::Cancelled => json!("cancelled"),
                    },
                    Err(error) => json!({ "error": error.to_string() }),
                };
                let _ = File::from(value_end).write_all(value.to_string().as_bytes());
                drop(ran);
                linux::process::exit(0)
            }
        }
    }

    pub fn run_on(&self, exec: &Exec, inputs: &[Tree]) -> Ran {
        self.begin(exec, inputs).finish()
    }

    /// Runs a script on the tree of busybox.
    pub fn sh(&self, script: &str) -> Ran {
        self.run_on(&sh(script), std::slice::from_ref(&self.base))
    }

    pub fn store(&self) -> Store {
        Store::open(&self.home.root).unwrap()
    }

    /// The tree of a result's topmost layer.
    pub fn top(&self, tree: &Tree) -> PathBuf {
        let Tree::Layers(chain) = tree else { panic!("no layers: {tree:?}") };
        let layers = self.store().layers_of(&store::ChainId::parse(chain).unwrap()).unwrap();
        layers.last().unwrap().tree.clone()
    }

    /// Every path in it, sorted.
    pub fn paths(&self, tree: &Tree) -> Vec<String> {
        let top = self.top(tree);
        let mut found = Vec::new();
        let mut todo = vec![top.clone()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                found.push(entry.path().strip_prefix(&top).unwrap().to_str().unwrap().to_owned());
                if entry.file_type().unwrap().is_dir() {
                    todo.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }
}

/// A shell's script as a program of a build.
pub fn sh(script: &str) -> Exec {
    Exec {
        args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec!["PATH=/bin".to_owned()],
        working_dir: "/".to_owned(),
        ..Exec::default()
    }
}

impl Running {
    /// What came of it, before it has taken everything down.
    pub fn await_value(&mut self) -> Value {
        let mut buffer = [0; 4096];
        let count = self.value.read(&mut buffer).unwrap();
        serde_json::from_slice(&buffer[..count]).unwrap()
    }

    pub fn finish(mut self) -> Ran {
        let (mut stdout, mut stderr, mut value) = (String::new(), String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        self.value.read_to_string(&mut value).unwrap();
        linux::process::wait_child(self.pid).unwrap();
        Ran { value: serde_json::from_str(&value).unwrap_or(Value::Null), stdout, stderr }
    }
}

impl Ran {
    /// Its tree; it must have ended well.
    #[track_caller]
    pub fn tree(&self) -> Tree {
        assert!(self.value.get("made").is_some(), "{self:?}");
        serde_json::from_value(self.value["made"]["tree"].clone()).unwrap()
    }

    #[track_caller]
    pub fn is_empty(&self) -> bool {
        assert!(self.value.get("made").is_some(), "{self:?}");
        self.value["made"]["is_empty"] == json!(true)
    }
}
