//! Which steps have to run, and in what order: as many at once as are ready.
//!
//! ```text
//! each needed step, inputs first:  definition key ──found──▶ known (cached)
//!                                        │ not found: its inputs have to be known
//!                                        ▼
//!                        content key ──found──▶ known (cached), kept under its definition too
//!                                        │ not found
//!                                        ▼
//!                                     it runs ──▶ known, kept under both
//! ```
//!
//! Only what a target needs is asked for: where a target is found by its definition, nothing below it has to be there.

use crate::graph::{Graph, Step, What};
use crate::key::{self, Key};
use crate::op::{Copy, Ignored, Made, Op, StepId, Tree};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A result that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was made.
    pub made: Made,
    /// Digest of the content of the whole tree.
    pub content: Key,
    /// When it was made, in nanoseconds since the epoch.
    pub created_ns: i64,
}

/// What a step has to be told to begin.
#[derive(Debug)]
pub struct Job<'a> {
    /// Which.
    pub id: StepId,
    /// The step itself.
    pub step: &'a Step,
    /// Its operation.
    pub op: &'a Op,
    /// The trees of its inputs.
    pub inputs: Vec<Tree>,
    /// Ignore lines of each input; empty for all but contexts.
    pub ignored: Vec<&'a [String]>,
    /// Its key by content: whoever runs it may wait here for another build that does the same.
    pub key: &'a Key,
}

/// What happened to a step that runs.
#[derive(Debug)]
pub enum Event<E> {
    /// It ended: with what it made, and when, in nanoseconds since the epoch.
    Ended(StepId, Result<(Made, i64), E>),
    /// The user wants no more of it.
    Interrupted,
}

/// Who does what steps say, and keeps results.
pub trait Worker {
    /// How it fails.
    type Error;

    /// A result that is kept and complete.
    fn find(&mut self, key: &Key) -> Result<Option<Record>, Self::Error>;

    /// Keeps a result under keys.
    fn keep(&mut self, step: &Step, keys: &[&Key], record: &Record) -> Result<(), Self::Error>;

    /// The digest of what a copy takes: of the files that it would copy out of its input, and of what it would fetch.
    fn select(
        &mut self,
        id: StepId,
        copy: &Copy,
        from: Option<(&Tree, &Ignored)>,
    ) -> Result<String, Self::Error>;

    /// Begins a step; [`Worker::wait`] tells of its end.
    fn begin(&mut self, job: Job<'_>) -> Result<(), Self::Error>;

    /// Waits for something to happen to one of the steps that run.
    fn wait(&mut self) -> Result<Event<Self::Error>, Self::Error>;

    /// Ends all steps that run, and waits until nothing of them is left.
    fn cancel(&mut self);

    /// Told of each step whose result was found.
    fn found(&mut self, id: StepId, record: &Record);
}

/// Why there is no result.
#[derive(Debug)]
pub enum Stopped<E> {
    /// A step failed.
    Step(StepId, E),
    /// Something else did.
    Other(E),
    /// The user stopped it.
    Interrupted,
}

/// How a step came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It needs no work: an image, an empty tree, a context.
    Given,
    /// By its definition.
    Definition,
    /// By its inputs' content.
    Content,
    /// It ran.
    Ran,
}

/// What is known of a step at the end.
#[derive(Debug, Clone)]
pub struct Solved {
    /// Its tree.
    pub tree: Tree,
    /// Digest of the whole tree's content.
    pub content: Key,
    /// What it made, if it did something.
    pub record: Option<Record>,
    /// How it came to be known.
    pub how: How,
    /// Its key by definition.
    pub definition: Key,
    /// What a copy took, where that was asked for.
    pub selected: Option<String>,
}

/// Solves for `targets`; what is known of each step, where it is needed. No more than `at_once` steps run at a time.
pub fn solve<W: Worker>(
    graph: &Graph,
    targets: &[StepId],
    at_once: usize,
    worker: &mut W,
) -> Result<Vec<Option<Solved>>, Stopped<W::Error>> {
    let needed = graph.needed(targets);
    let mut solver = Solver {
        graph,
        worker,
        definitions: Vec::with_capacity(graph.steps.len()),
        selected: vec![None; graph.steps.len()],
        solved: vec![None; graph.steps.len()],
        wanted: vec![false; graph.steps.len()],
        running: HashMap::new(),
    };
    solver.define(&needed)?;
    for id in (0..graph.steps.len()).filter(|id| needed[*id]) {
        solver.find_by_definition(StepId(id)).map_err(Stopped::Other)?;
    }
    targets.iter().for_each(|target| solver.want(*target));
    let outcome = solver.run(at_once.max(1));
    if outcome.is_err() {
        solver.worker.cancel();
    }
    outcome?;
    Ok(solver.solved)
}

struct Solver<'a, W: Worker> {
    graph: &'a Graph,
    worker: &'a mut W,
    /// Empty for steps that nobody needs.
    definitions: Vec<Option<Key>>,
    selected: Vec<Option<String>>,
    solved: Vec<Option<Solved>>,
    /// Which results are asked for.
    wanted: Vec<bool>,
    /// By content key: who runs, and who waits for the same.
    running: HashMap<Key, Vec<StepId>>,
}

impl<W: Worker> Solver<'_, W> {
    /// Computes the definition of each needed step.
    fn define(&mut self, needed: &[bool]) -> Result<(), Stopped<W::Error>> {
        for (index, step) in self.graph.steps.iter().enumerate() {
            let definition = match needed[index] {
                false => None,
                true => {
                    Some(self.definition(StepId(index), step).map_err(|e| Stopped::Step(StepId(index), e))?)
                }
            };
            self.definitions.push(definition);
        }
        Ok(())
    }

    fn definition(&mut self, id: StepId, step: &Step) -> Result<Key, W::Error> {
        let op = match &step.what {
            What::Scratch => return Ok(Key::of(&["scratch"])),
            What::Image { chain, .. } => {
                return Ok(Key::of(&["image", chain.as_deref().unwrap_or_default()]));
            }
            // What is taken of it counts.
            What::Context { .. } => return Ok(Key::of(&["context"])),
            What::Op(op) => op,
        };
        if let Op::Copy(copy) = op {
            let from = step.inputs.get(1).map(|from| &self.graph.step(*from).what);
            let context = match from {
                Some(What::Context { directory, ignored, .. }) => {
                    Some((Tree::Directory(directory.clone()), ignored))
                }
                _ => None,
            };
            if context.is_some() || copy.has_urls() {
                let from = context.as_ref().map(|(tree, ignored)| (tree, *ignored));
                self.selected[id.0] = Some(self.worker.select(id, copy, from)?);
            }
        }
        let op = key::text(op, self.graph.epoch);
        let mut words = vec!["definition", &op];
        words.extend(self.selected[id.0].as_deref());
        for input in &step.inputs {
            words.extend(self.definitions[input.0].as_ref().map(Key::as_str));
        }
        Ok(Key::of(&words))
    }

    /// Content of a step's first input, if it's known.
    fn base_content(&self, id: StepId) -> Option<Key> {
        let base = self.graph.step(id).inputs.first()?;
        Some(self.solved[base.0].as_ref()?.content.clone())
    }

    /// Takes what is given, and what is found by its definition.
    fn find_by_definition(&mut self, id: StepId) -> Result<(), W::Error> {
        let Some(definition) = self.definitions[id.0].clone() else { return Ok(()) };
        let step = self.graph.step(id);
        let given = |tree, content: &[&str]| {
            Some(Solved {
                tree,
                content: Key::of(content),
                record: None,
                how: How::Given,
                definition: definition.clone(),
                selected: None,
            })
        };
        match &step.what {
            What::Scratch | What::Image { chain: None, .. } => {
                self.solved[id.0] = given(Tree::Scratch, &["scratch"]);
            }
            What::Image { chain: Some(chain), .. } => {
                self.solved[id.0] = given(Tree::Layers(chain.clone()), &["image", chain]);
            }
            What::Context { directory, .. } => {
                self.solved[id.0] = given(Tree::Directory(directory.clone()), &["context"]);
            }
            What::Op(_) if step.ignores_cache => {}
            What::Op(_) => {
                if let Some(record) = self.worker.find(&definition)? {
                    self.worker.found(id, &record);
                    self.solved[id.0] = self.known(id, record, How::Definition);
                }
            }
        }
        Ok(())
    }

    fn known(&self, id: StepId, record: Record, how: How) -> Option<Solved> {
        Some(Solved {
            tree: record.made.tree.clone(),
            content: record.content.clone(),
            record: Some(record),
            how,
            definition: self.definitions[id.0].clone()?,
            selected: self.selected[id.0].clone(),
        })
    }

    /// Asks for a result, and for what it needs if it isn't known.
    fn want(&mut self, id: StepId) {
        let mut asked = vec![id];
        while let Some(id) = asked.pop() {
            if std::mem::replace(&mut self.wanted[id.0], true) || self.solved[id.0].is_some() {
                continue;
            }
            asked.extend(&self.graph.step(id).inputs);
        }
    }

    fn run(&mut self, at_once: usize) -> Result<(), Stopped<W::Error>> {
        loop {
            let mut next = 0;
            while self.running.len() < at_once {
                let Some(ready) = self.ready(next) else { break };
                next = ready.0 + 1;
                self.advance(ready).map_err(|error| Stopped::Step(ready, error))?;
            }
            // What was found just now may have made others ready.
            if next > 0 && self.running.len() < at_once && self.ready(0).is_some() {
                continue;
            }
            if self.running.is_empty() {
                return Ok(());
            }
            match self.worker.wait().map_err(Stopped::Other)? {
                Event::Interrupted => return Err(Stopped::Interrupted),
                Event::Ended(id, Err(error)) => return Err(Stopped::Step(id, error)),
                Event::Ended(id, Ok((made, created_ns))) => self.ended(id, &made, created_ns)?,
            }
        }
    }

    /// The first step from `from` on that is wanted, not known, doesn't run, and whose inputs are known.
    fn ready(&self, from: usize) -> Option<StepId> {
        (from..self.graph.steps.len()).map(StepId).find(|id| {
            self.wanted[id.0]
                && self.solved[id.0].is_none()
                && !self.running.values().any(|waiting| waiting.contains(id))
                && self.graph.step(*id).inputs.iter().all(|input| self.solved[input.0].is_some())
        })
    }

    /// Finds a step's result by the content of its inputs, or begins it.
    fn advance(&mut self, id: StepId) -> Result<(), W::Error> {
        let step = self.graph.step(id);
        // All others are given.
        let What::Op(op) = &step.what else { return Ok(()) };
        let inputs: Vec<&Solved> =
            step.inputs.iter().filter_map(|input| self.solved[input.0].as_ref()).collect();
        let mut words = vec!["content".to_owned(), key::text(op, self.graph.epoch)];
        words.extend(inputs.first().map(|base| base.content.as_str().to_owned()));
        match op {
            Op::Copy(copy) => {
                let selected = match (&self.selected[id.0], inputs.get(1)) {
                    (Some(selected), _) => Some(selected.clone()),
                    (None, Some(from)) if copy.has_input() => {
                        let tree = from.tree.clone();
                        Some(self.worker.select(id, copy, Some((&tree, &Ignored::new())))?)
                    }
                    (None, _) => None,
                };
                words.extend(selected);
            }
            _ => words.extend(inputs.iter().skip(1).map(|input| input.content.as_str().to_owned())),
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let content_key = Key::of(&words);
        if let Some(waiting) = self.running.get_mut(&content_key) {
            waiting.push(id);
            return Ok(());
        }
        if !step.ignores_cache
            && let Some(record) = self.worker.find(&content_key)?
        {
            if let Some(definition) = &self.definitions[id.0] {
                self.worker.keep(step, &[definition], &record)?;
            }
            self.worker.found(id, &record);
            self.solved[id.0] = self.known(id, record, How::Content);
            return Ok(());
        }
        let ignored = step.inputs.iter().map(|input| match &self.graph.step(*input).what {
            What::Context { ignored, .. } => ignored.as_slice(),
            _ => &[],
        });
        let trees = step.inputs.iter().filter_map(|input| Some(self.solved[input.0].as_ref()?.tree.clone()));
        let job =
            Job { id, step, op, inputs: trees.collect(), ignored: ignored.collect(), key: &content_key };
        self.worker.begin(job)?;
        self.running.insert(content_key, vec![id]);
        Ok(())
    }

    /// A step ended well: all that wait for the same know its result.
    fn ended(&mut self, id: StepId, made: &Made, created_ns: i64) -> Result<(), Stopped<W::Error>> {
        let ended = self.running.iter().find(|(_, waiting)| waiting.contains(&id));
        let Some(key) = ended.map(|(key, _)| key.clone()) else { return Ok(()) };
        let waiting = self.running.remove(&key).unwrap_or_default();
        for each in waiting {
            let Some(base) = self.base_content(each) else { continue };
            let content = Key::of(&["made", &made.content, base.as_str()]);
            let record = Record { made: made.clone(), content, created_ns };
            // What was copied isn't what was to be copied, if the context changed meanwhile: it's used, and not kept.
            let is_as_asked = match (&made.selected, &self.selected[each.0]) {
                (Some(made), Some(asked)) => made == asked,
                _ => true,
            };
            if is_as_asked {
                let definition = self.definitions[each.0].clone();
                let keys: Vec<&Key> = [Some(&key), definition.as_ref()].into_iter().flatten().collect();
                let kept = self.worker.keep(self.graph.step(each), &keys, &record);
                kept.map_err(|error| Stopped::Step(each, error))?;
            }
            if each != id {
                self.worker.found(each, &record);
            }
            self.solved[each.0] = self.known(each, record, if each == id { How::Ran } else { How::Content });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
