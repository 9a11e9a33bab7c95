//! The steps of a build, each after those that it needs.

use crate::op::{Copy, CopySource, Ignored, Op, StepId, Unpack};
use std::path::PathBuf;

/// Steps: the inputs of each come before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// By [`StepId`].
    pub steps: Vec<Step>,
    /// No time of a file that a step makes is later than this, in seconds since the epoch (`SOURCE_DATE_EPOCH`).
    pub epoch: Option<i64>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is.
    pub what: What,
    /// What it needs, in the order that its operation speaks of.
    pub inputs: Vec<StepId>,
    /// How it's shown: `[build 2/5] RUN make`.
    pub name: String,
    /// What it's called from build to build, to find what it was in the last one: `build/2`.
    pub slot: String,
    /// Lines of the Dockerfile, the first and the last, counted from 1.
    pub lines: Option<(usize, usize)>,
    /// Whether it runs though its result is known (`--no-cache`).
    pub ignores_cache: bool,
}

/// What a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An empty tree.
    Scratch,
    /// An image's tree.
    Image {
        /// What it's called.
        reference: String,
        /// The chain id of its topmost layer; `None` has no layers.
        chain: Option<String>,
    },
    /// A directory of this host.
    Context {
        /// What it's called; the unnamed one is `context`.
        name: String,
        /// Where it is.
        directory: PathBuf,
        /// Lines of its ignore file.
        ignored: Ignored,
    },
    /// Something that's done.
    Op(Op),
}

impl Graph {
    /// Adds a step, whose inputs are there already.
    pub fn add(&mut self, step: Step) -> StepId {
        debug_assert!(step.inputs.iter().all(|input| input.0 < self.steps.len()));
        self.steps.push(step);
        StepId(self.steps.len() - 1)
    }

    /// The step of that id.
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }

    /// Which steps `targets` need, themselves included: a flag for each step.
    pub fn needed(&self, targets: &[StepId]) -> Vec<bool> {
        let mut needed = vec![false; self.steps.len()];
        targets.iter().for_each(|target| needed[target.0] = true);
        for index in (0..self.steps.len()).rev() {
            if needed[index] {
                self.steps[index].inputs.iter().for_each(|input| needed[input.0] = true);
            }
        }
        needed
    }
}

impl Step {
    /// The copy, if it's one.
    pub fn copy(&self) -> Option<&Copy> {
        match &self.what {
            What::Op(Op::Copy(copy)) => Some(copy),
            _ => None,
        }
    }
}

impl Copy {
    /// What `COPY` without flags does with these sources; owners become root.
    pub fn plain(sources: Vec<CopySource>, to: &str) -> Copy {
        Copy {
            sources,
            to: to.to_owned(),
            chown: String::new(),
            chmod: String::new(),
            keeps_owner: false,
            excludes: Vec::new(),
            has_parents: false,
            is_linked: false,
            unpack: Unpack::Never,
            mtime: None,
        }
    }

    /// Whether it copies from an input.
    pub fn has_input(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, CopySource::Input { .. }))
    }

    /// Whether it fetches anything.
    pub fn has_urls(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, CopySource::Url { .. }))
    }
}
