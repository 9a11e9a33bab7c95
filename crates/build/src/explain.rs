//! Why steps ran: what differs from the last build of the same Dockerfile.

use crate::graph::{Graph, Step, What};
use crate::op::{Op, StepId};
use crate::solve::{How, Solved};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A build, as it's remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its steps, each after those that it needs.
    pub steps: Vec<StepReport>,
}

/// A step of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// What it's called from build to build.
    pub slot: String,
    /// How it was shown.
    pub name: String,
    /// How it came to be known.
    pub how: How,
    /// What it did; of an image its reference and chain.
    pub op: Value,
    /// Digest of what a copy took.
    pub selected: Option<String>,
    /// What it needed: slots, and digests of their content.
    pub inputs: Vec<(String, String)>,
    /// Digest of its whole content.
    pub content: String,
    /// How long it ran, in milliseconds.
    pub took_ms: u64,
    /// Why it ran; nothing for one that didn't.
    #[serde(default)]
    pub cause: Option<Cause>,
}

/// Why a step ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Cause {
    /// It was to run whatever is known.
    NoCache,
    /// This Dockerfile wasn't built here before.
    First,
    /// The last build had no such step.
    New,
    /// It says something else than in the last build.
    Changed {
        /// What, each as a sentence.
        changes: Vec<String>,
    },
    /// Files that it takes are others.
    Files {
        /// Which, each as a sentence; empty if that isn't known.
        changes: Vec<String>,
    },
    /// What it's based on, or takes files from, is another.
    Input {
        /// The step that made that.
        slot: String,
        /// How it was shown.
        name: String,
    },
    /// All is as it was, and its result isn't here any more.
    Gone,
}

/// Tells what changed between two sets of files that copies took, by their digests.
pub type FileChanges<'a> = &'a dyn Fn(&str, &str) -> Vec<String>;

/// Reports a build, and why its steps ran, the last one being `before`.
pub fn report(
    graph: &Graph,
    solved: &[Option<Solved>],
    took_ms: &BTreeMap<StepId, u64>,
    before: Option<&Report>,
    files: FileChanges<'_>,
) -> Report {
    let mut report = Report::default();
    for (index, step) in graph.steps.iter().enumerate() {
        let Some(known) = &solved[index] else { continue };
        let input = |id: &StepId| {
            let content = solved[id.0].as_ref().map(|own| own.content.as_str().to_owned());
            (graph.step(*id).slot.clone(), content.unwrap_or_default())
        };
        let mut told = StepReport {
            slot: step.slot.clone(),
            name: step.name.clone(),
            how: known.how,
            op: op_of(step),
            selected: known.selected.clone(),
            inputs: step.inputs.iter().map(input).collect(),
            content: known.content.as_str().to_owned(),
            took_ms: took_ms.get(&StepId(index)).copied().unwrap_or_default(),
            cause: None,
        };
        if known.how == How::Ran {
            told.cause = Some(cause(step, &told, before, &report, files));
        }
        report.steps.push(told);
    }
    report
}

fn op_of(step: &Step) -> Value {
    // Plain data always serialises.
    match &step.what {
        What::Op(op) => serde_json::to_value(op).unwrap_or_default(),
        What::Image { reference, chain } => {
            serde_json::json!({ "op": "image", "reference": reference, "chain": chain })
        }
        What::Scratch => serde_json::json!({ "op": "scratch" }),
        What::Context { directory, .. } => serde_json::json!({ "op": "context", "directory": directory }),
    }
}

fn stage_of(slot: &str) -> &str {
    slot.rsplit_once('/').map_or(slot, |(stage, _)| stage)
}

fn cause(
    step: &Step,
    now: &StepReport,
    before: Option<&Report>,
    report: &Report,
    files: FileChanges<'_>,
) -> Cause {
    if step.ignores_cache {
        return Cause::NoCache;
    }
    let Some(before) = before else { return Cause::First };
    // Instructions before it may have come or gone.
    let is_same = |old: &&StepReport| stage_of(&old.slot) == stage_of(&now.slot) && old.op == now.op;
    let known = before.steps.iter().find(|old| old.slot == now.slot && old.op == now.op);
    let known = known.or_else(|| before.steps.iter().find(is_same));
    let Some(old) = known.or_else(|| before.steps.iter().find(|old| old.slot == now.slot)) else {
        return Cause::New;
    };
    let changes = changes(&step.what, &old.op, &now.op);
    if !changes.is_empty() {
        return Cause::Changed { changes };
    }
    for (position, (slot, content)) in now.inputs.iter().enumerate() {
        let was = old.inputs.get(position).map(|(_, content)| content);
        // What is taken of it is what counts of files that are copied.
        let is_taken_from = position == 1 && now.selected.is_some();
        if was != Some(content) && !is_taken_from {
            let name = report.steps.iter().find(|own| own.slot == *slot).map(|own| own.name.clone());
            return Cause::Input { slot: slot.clone(), name: name.unwrap_or_else(|| slot.clone()) };
        }
    }
    match (&old.selected, &now.selected) {
        (Some(old), Some(now)) if old != now => Cause::Files { changes: files(old, now) },
        _ => Cause::Gone,
    }
}

/// What an operation says otherwise than before, in sentences.
fn changes(what: &What, old: &Value, new: &Value) -> Vec<String> {
    let mut said = Vec::new();
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return said };
    if let (What::Op(Op::Exec(_)), Some(old), Some(new)) = (what, old.get("env"), new.get("env")) {
        said.extend(variables(old, new));
    }
    for (key, value) in new {
        let was = old.get(key);
        if key == "env" || was == Some(value) {
            continue;
        }
        let was = was.map_or_else(|| "nothing".to_owned(), short);
        said.push(match key.as_str() {
            "args" => format!("its command was {was}, and is {}", short(value)),
            "op" => format!("it was another instruction: {was}"),
            key => format!("{} was {was}, and is {}", key.replace('_', " "), short(value)),
        });
    }
    said
}

/// Which variables differ.
fn variables(old: &Value, new: &Value) -> Vec<String> {
    let read = |list: &Value| -> BTreeMap<String, String> {
        let lines = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        lines
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let (old, new) = (read(old), read(new));
    let mut said = Vec::new();
    for (name, value) in &new {
        match old.get(name) {
            Some(was) if was == value => {}
            Some(was) => said.push(format!("the variable {name} was {was:?}, and is {value:?}")),
            None => said.push(format!("the variable {name}={value:?} is new")),
        }
    }
    said.extend(
        old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("the variable {name} is gone")),
    );
    said
}

/// A value in few words.
fn short(value: &Value) -> String {
    const CHARS_MAX: usize = 120;
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(words) if words.iter().all(Value::is_string) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            match &words[..] {
                [shell, "-c", line] if shell.ends_with("sh") => format!("{line:?}"),
                _ => format!("{:?}", words.join(" ")),
            }
        }
        other => other.to_string(),
    };
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Cause {
    /// In words, the first line being the whole in short.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Cause::NoCache => vec!["it was to run whatever is known (--no-cache)".to_owned()],
            Cause::First => vec!["this Dockerfile wasn't built here before".to_owned()],
            Cause::New => vec!["the last build had no such step".to_owned()],
            Cause::Changed { changes } => changes.clone(),
            Cause::Files { changes } if changes.is_empty() => vec!["files that it copies changed".to_owned()],
            Cause::Files { changes } => changes.clone(),
            Cause::Input { name, .. } => vec![format!("what it's based on changed: {name}")],
            Cause::Gone => vec!["its result isn't here any more: it was removed".to_owned()],
        }
    }
}

impl Report {
    /// For people: a line for each step, the cause below those that ran.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for step in self.steps.iter().filter(|step| step.how != How::Given) {
            match &step.cause {
                None => text.push_str(&format!("CACHED  {}\n", step.name)),
                Some(cause) => {
                    text.push_str(&format!("RAN     {} ({:.1}s)\n", step.name, step.took_ms as f64 / 1000.0));
                    cause.lines().iter().for_each(|line| text.push_str(&format!("        {line}\n")));
                }
            }
        }
        text
    }

    /// The steps that the end waited for, one after the other, with what each took.
    pub fn critical_path(&self) -> Vec<&StepReport> {
        let by_slot: BTreeMap<&str, usize> =
            self.steps.iter().enumerate().map(|(index, step)| (step.slot.as_str(), index)).collect();
        let mut longest: Vec<(u64, Option<usize>)> = Vec::with_capacity(self.steps.len());
        for (index, step) in self.steps.iter().enumerate() {
            let inputs = step.inputs.iter().filter_map(|(slot, _)| by_slot.get(slot.as_str()).copied());
            let before = inputs.filter(|input| *input < index).max_by_key(|input| longest[*input].0);
            let time = before.map_or(0, |input| longest[input].0) + step.took_ms;
            longest.push((time, before));
        }
        let mut path = Vec::new();
        let mut at = (0..longest.len()).max_by_key(|index| longest[*index].0);
        while let Some(index) = at {
            path.push(&self.steps[index]);
            at = longest[index].1;
        }
        path.reverse();
        path
    }

    /// The critical path, as text.
    pub fn timings(&self) -> String {
        let path = self.critical_path();
        let total: u64 = path.iter().map(|step| step.took_ms).sum();
        let all: u64 = self.steps.iter().map(|step| step.took_ms).sum();
        let seconds = |ms: u64| format!("{:>8.3}s", ms as f64 / 1000.0);
        let mut text = format!(
            "The longest chain of steps took {} of {} in all:\n",
            seconds(total).trim_start(),
            seconds(all).trim_start()
        );
        for step in path.iter().filter(|step| step.how != How::Given) {
            let what = if step.how == How::Ran { "" } else { " (cached)" };
            text.push_str(&format!("{}  {}{what}\n", seconds(step.took_ms), step.name));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use crate::op::{Exec, Tree};
    use serde_json::json;

    fn exec(graph: &mut Graph, on: &[StepId], slot: &str, command: &str, env: &[&str]) -> StepId {
        let exec = Exec {
            args: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
            env: env.iter().map(|line| (*line).to_owned()).collect(),
            ..Exec::default()
        };
        let (what, name) = (What::Op(Op::Exec(exec)), format!("RUN {command}"));
        graph.add(Step {
            what,
            inputs: on.to_vec(),
            name,
            slot: slot.to_owned(),
            lines: None,
            ignores_cache: false,
        })
    }

    fn ran(content: &str) -> Option<Solved> {
        let (content, definition) = (Key::of(&[content]), Key::of(&[]));
        Some(Solved { tree: Tree::Scratch, content, record: None, how: How::Ran, definition, selected: None })
    }

    fn told(graph: &Graph, solved: &[Option<Solved>], before: Option<&Report>) -> Report {
        report(graph, solved, &BTreeMap::new(), before, &|_, _| vec!["a changed".to_owned()])
    }

    fn two(first: &str, env: &[&str]) -> Graph {
        let mut graph = Graph::default();
        let base = exec(&mut graph, &[], "s/1", first, &[]);
        exec(&mut graph, &[base], "s/2", "second", env);
        graph
    }

    #[test]
    fn the_first_thing_that_differs_is_named() {
        let solved = [ran("1"), ran("2")];
        let first = told(&two("first", &["A=1"]), &solved, None);
        assert_eq!(first.steps[0].cause, Some(Cause::First));
        let causes = |graph: &Graph, solved: &[Option<Solved>]| {
            let now = told(graph, solved, Some(&first));
            now.steps.iter().map(|step| step.cause.as_ref().unwrap().lines().join("; ")).collect::<Vec<_>>()
        };
        let gone = "its result isn't here any more: it was removed";
        assert_eq!(causes(&two("first", &["A=1"]), &solved), [gone, gone]);
        let changed = [ran("other"), ran("2")];
        assert_eq!(
            causes(&two("other", &["A=1"]), &changed),
            ["its command was \"first\", and is \"other\"", "what it's based on changed: RUN other"]
        );
        assert_eq!(causes(&two("first", &["A=2"]), &solved)[1], "the variable A was \"1\", and is \"2\"");
        assert_eq!(
            causes(&two("first", &["B=2"]), &solved)[1],
            "the variable B=\"2\" is new; the variable A is gone"
        );
    }

    #[test]
    fn another_instruction_in_its_place_is_told() {
        let mut graph = Graph::default();
        let op = Op::MakeDirectory { path: "/a".to_owned(), owner: String::new() };
        let (what, name, slot) = (What::Op(op), "WORKDIR /a".to_owned(), "s/1".to_owned());
        graph.add(Step { what, inputs: Vec::new(), name, slot, lines: None, ignores_cache: false });
        let before = told(&graph, &[ran("1")], None);
        let now = told(&two("first", &[]), &[ran("1"), ran("2")], Some(&before));
        let said = now.steps[0].cause.as_ref().unwrap().lines().join("; ");
        assert!(said.contains("it was another instruction: \"make-directory\""), "{said}");
        assert_eq!(now.steps[1].cause, Some(Cause::New));
    }

    #[test]
    fn a_step_before_which_another_came_is_the_same_step() {
        let before = told(&two("first", &[]), &[ran("1"), ran("2")], None);
        let mut graph = Graph::default();
        let base = exec(&mut graph, &[], "s/1", "first", &[]);
        let new = exec(&mut graph, &[base], "s/2", "new", &[]);
        exec(&mut graph, &[new], "s/3", "second", &[]);
        let now = told(&graph, &[ran("1"), ran("new"), ran("3")], Some(&before));
        assert_eq!(now.steps[2].cause.as_ref().unwrap().lines(), ["what it's based on changed: RUN new"]);
    }

    #[test]
    fn the_longest_chain_is_found() {
        let mut graph = Graph::default();
        let long = exec(&mut graph, &[], "a/1", "long", &[]);
        let short = exec(&mut graph, &[], "b/1", "short", &[]);
        exec(&mut graph, &[short, long], "c/1", "end", &[]);
        let took = [(StepId(0), 900), (StepId(1), 10), (StepId(2), 100)].into();
        let solved = [ran("1"), ran("2"), ran("3")];
        let told = report(&graph, &solved, &took, None, &|_, _| Vec::new());
        let names: Vec<&str> = told.critical_path().iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["RUN long", "RUN end"]);
        assert!(told.timings().starts_with("The longest chain of steps took 1.000s of 1.010s in all:\n"));
        let copy: Report = serde_json::from_value(json!(told)).unwrap();
        assert_eq!(copy, told);
    }
}
