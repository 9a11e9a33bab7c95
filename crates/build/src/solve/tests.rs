//! The solver over a worker that only computes: what a step makes is a digest of what it's told.

use super::*;
use crate::op::{CopySource, Exec};
use std::collections::BTreeMap;

/// Keeps results in a map; files of the context are texts.
#[derive(Default)]
struct Fake {
    kept: BTreeMap<Key, Record>,
    /// What a program makes, where that isn't a digest of all that it's told.
    makes: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    begun: Vec<String>,
    found: Vec<usize>,
    running: Vec<(StepId, Made)>,
    most_at_once: usize,
    clock: i64,
    fails: Option<String>,
    cancelled: bool,
}

impl Worker for Fake {
    type Error = String;

    fn find(&mut self, key: &Key) -> Result<Option<Record>, String> {
        Ok(self.kept.get(key).cloned())
    }

    fn keep(&mut self, _: &Step, keys: &[&Key], record: &Record) -> Result<(), String> {
        self.kept.extend(keys.iter().map(|key| ((*key).clone(), record.clone())));
        Ok(())
    }

    fn select(&mut self, _: StepId, copy: &Copy, from: Option<(&Tree, &Ignored)>) -> Result<String, String> {
        let [CopySource::Input { pattern }] = &copy.sources[..] else { return Err("no input".to_owned()) };
        match from {
            Some((Tree::Directory(_), _)) => Ok(self.files[pattern].clone()),
            Some((tree, _)) => Ok(format!("{pattern} of {tree:?}")),
            None => Err("no tree".to_owned()),
        }
    }

    fn begin(&mut self, job: Job<'_>) -> Result<(), String> {
        let text = match job.op {
            Op::Exec(exec) => exec.args.join(" "),
            Op::Copy(_) => format!("copy {:?}", self.files),
            Op::MakeDirectory { path, .. } => path.clone(),
        };
        self.begun.push(job.step.name.clone());
        let content = self.makes.get(&text).unwrap_or(&text).clone();
        let tree = Tree::Layers(format!("{:?}+{content}", job.inputs.first()));
        let made = Made { tree, content, diff_id: None, size: 0, is_empty: false, selected: None };
        self.running.push((job.id, made));
        self.most_at_once = self.most_at_once.max(self.running.len());
        Ok(())
    }

    fn wait(&mut self) -> Result<Event<String>, String> {
        let (id, made) = self.running.remove(0);
        self.clock += 1;
        match self.fails.as_ref() == Some(&made.content) {
            true => Ok(Event::Ended(id, Err("exit code: 1".to_owned()))),
            false => Ok(Event::Ended(id, Ok((made, self.clock)))),
        }
    }

    fn cancel(&mut self) {
        self.cancelled = true;
        self.running.clear();
    }

    fn found(&mut self, id: StepId, _: &Record) {
        self.found.push(id.0);
    }
}

impl Fake {
    /// The names of the steps that run.
    fn build(&mut self, graph: &Graph, target: StepId) -> Vec<String> {
        self.begun.clear();
        self.found.clear();
        let solved = solve(graph, &[target], 4, self).unwrap();
        assert!(solved[target.0].is_some());
        self.begun.clone()
    }
}

fn step(what: What, inputs: &[StepId], name: &str) -> Step {
    let (name, slot) = (name.to_owned(), name.to_owned());
    Step { what, inputs: inputs.to_vec(), name, slot, lines: None, ignores_cache: false }
}

fn run(graph: &mut Graph, on: &[StepId], text: &str) -> StepId {
    let exec = Exec { args: vec![text.to_owned()], ..Exec::default() };
    graph.add(step(What::Op(Op::Exec(exec)), on, text))
}

fn copy(graph: &mut Graph, onto: StepId, from: StepId, pattern: &str) -> StepId {
    let copy = Copy::plain(vec![CopySource::Input { pattern: pattern.to_owned() }], "/");
    graph.add(step(What::Op(Op::Copy(copy)), &[onto, from], &format!("copy {pattern}")))
}

fn image(graph: &mut Graph, chain: &str) -> StepId {
    let (reference, chain) = ("base".to_owned(), Some(chain.to_owned()));
    graph.add(step(What::Image { reference, chain }, &[], "base"))
}

fn context(graph: &mut Graph) -> StepId {
    let what = What::Context { name: "context".to_owned(), directory: "/c".into(), ignored: Vec::new() };
    graph.add(step(what, &[], "context"))
}

/// base, copy of `a`, a program, another program.
fn chain(chain: &str) -> (Graph, StepId) {
    let mut graph = Graph::default();
    let base = image(&mut graph, chain);
    let context = context(&mut graph);
    let copied = copy(&mut graph, base, context, "a");
    let first = run(&mut graph, &[copied], "first");
    let last = run(&mut graph, &[first], "last");
    (graph, last)
}

fn fake() -> Fake {
    Fake { files: BTreeMap::from([("a".to_owned(), "1".to_owned())]), ..Fake::default() }
}

#[test]
fn nothing_runs_twice_and_what_a_change_touches_does() {
    let mut fake = fake();
    let (graph, target) = chain("base 1");
    assert_eq!(fake.build(&graph, target), ["copy a", "first", "last"]);
    assert_eq!(fake.build(&graph, target), [""; 0]);
    assert_eq!(fake.found, [2, 3, 4]);
    fake.files.insert("a".to_owned(), "2".to_owned());
    assert_eq!(fake.build(&graph, target), ["copy a", "first", "last"]);
    // Back again: it's all there.
    fake.files.insert("a".to_owned(), "1".to_owned());
    assert_eq!(fake.build(&graph, target), [""; 0]);
    let (other, target) = chain("base 2");
    assert_eq!(fake.build(&other, target), ["copy a", "first", "last"]);
}

#[test]
fn a_step_that_makes_the_same_as_before_ends_the_rebuild() {
    let mut fake = fake();
    fake.makes.insert("first".to_owned(), "same".to_owned());
    let build = |text: &str| {
        let mut graph = Graph::default();
        let base = image(&mut graph, "base");
        let first = run(&mut graph, &[base], text);
        let last = run(&mut graph, &[first], "last");
        (graph, last)
    };
    let (graph, target) = build("first");
    assert_eq!(fake.build(&graph, target), ["first", "last"]);
    fake.makes.insert("first, spelled otherwise".to_owned(), "same".to_owned());
    let (graph, target) = build("first, spelled otherwise");
    assert_eq!(fake.build(&graph, target), ["first, spelled otherwise"]);
    assert_eq!(fake.found, [2]);
    // And is found by its definition from then on.
    assert_eq!(fake.build(&graph, target), [""; 0]);
}

#[test]
fn stages_that_nobody_needs_are_not_built() {
    let mut graph = Graph::default();
    let base = image(&mut graph, "base");
    run(&mut graph, &[base], "not needed");
    let last = run(&mut graph, &[base], "needed");
    assert_eq!(fake().build(&graph, last), ["needed"]);
}

#[test]
fn what_lies_below_a_known_target_needn_t_be_there() {
    let mut fake = fake();
    let (graph, target) = chain("base");
    fake.build(&graph, target);
    // Only the last step's result is left.
    let kept: Vec<Key> = fake
        .kept
        .iter()
        .filter(|(_, record)| record.made.content != "last")
        .map(|(key, _)| key.clone())
        .collect();
    kept.iter().for_each(|key| drop(fake.kept.remove(key)));
    assert_eq!(fake.build(&graph, target), [""; 0]);
    assert_eq!(fake.found, [4]);
}

#[test]
fn equal_steps_run_once_and_independent_ones_at_once() {
    let mut graph = Graph::default();
    let base = image(&mut graph, "base");
    let twins = [run(&mut graph, &[base], "same"), run(&mut graph, &[base], "same")];
    let others: Vec<StepId> = (0..6).map(|n| run(&mut graph, &[base], &format!("other {n}"))).collect();
    let all: Vec<StepId> = twins.into_iter().chain(others).collect();
    let target = run(&mut graph, &all, "all");
    let mut fake = fake();
    let begun = fake.build(&graph, target);
    assert_eq!(begun.iter().filter(|name| *name == "same").count(), 1);
    assert_eq!(begun.len(), 8);
    assert_eq!(fake.most_at_once, 4);
}

#[test]
fn without_the_cache_all_runs_and_is_kept() {
    let mut fake = fake();
    let (mut graph, target) = chain("base");
    fake.build(&graph, target);
    graph.steps.iter_mut().for_each(|step| step.ignores_cache = true);
    assert_eq!(fake.build(&graph, target), ["copy a", "first", "last"]);
    graph.steps.iter_mut().for_each(|step| step.ignores_cache = false);
    assert_eq!(fake.build(&graph, target), [""; 0]);
}

#[test]
fn a_failure_names_its_step_and_ends_the_others() {
    let mut fake = Fake { fails: Some("first".to_owned()), ..fake() };
    let (graph, target) = chain("base");
    match solve(&graph, &[target], 4, &mut fake) {
        Err(Stopped::Step(StepId(3), error)) => assert_eq!(error, "exit code: 1"),
        other => panic!("{other:?}"),
    }
    assert!(fake.cancelled);
    fake.fails = None;
    assert_eq!(fake.build(&graph, target), ["first", "last"]);
}
