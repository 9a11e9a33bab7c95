//! Results that are kept, and steps that run, for the solver.

use super::copy;
use super::events::{Event, Told};
use super::jobs::{Heard, Jobs};
use super::notes::Notes;
use super::perform::{Answer, Order};
use super::portable::Imported;
use super::request::BuildRequest;
use crate::cell::now_ns;
use crate::images::open_store;
use crate::{Error, Home};
use ::build::graph::{Graph, Step, What};
use ::build::key::Key;
use ::build::op::{Copy, Ignored, Made, Op, StepId, Tree};
use ::build::solve::{self, Job, Record};
use std::collections::VecDeque;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use store::{BuildStep, Store};
use types::digest::{ChainId, DiffId};
use types::kind::Kind;

/// Lines of a failed step's output that are shown again at the end.
const LINES_KEPT: usize = 20;

/// Arguments that programs get as variables, and that no result depends on.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

/// Does what the solver asks for.
pub(super) struct Worker<'a, 't> {
    home: &'a Home,
    request: &'a BuildRequest,
    graph: &'a Graph,
    told: &'a mut Told<'t>,
    /// Closed before a child is forked: the store's library can't be carried over.
    store: Option<Store>,
    jobs: Jobs,
    /// What is told of each step that began, by its number there.
    numbers: BTreeMap<StepId, usize>,
    began: BTreeMap<StepId, Instant>,
    /// How long each step ran, in milliseconds.
    pub took_ms: BTreeMap<StepId, u64>,
    /// The last lines that each step wrote.
    tails: BTreeMap<StepId, VecDeque<String>>,
    inputs: BTreeMap<StepId, Vec<Tree>>,
    used: Vec<String>,
    /// Keys of the steps that were found or made.
    pub keys: BTreeSet<String>,
    imported: Imported,
    proxies: Vec<String>,
}

impl<'a, 't> Worker<'a, 't> {
    pub fn new(
        home: &'a Home,
        request: &'a BuildRequest,
        graph: &'a Graph,
        imported: Imported,
        told: &'a mut Told<'t>,
    ) -> Result<Self, Error> {
        let given = &request.options.build_args;
        let is_proxy = |name: &str| PROXIES.iter().any(|own| own.eq_ignore_ascii_case(name));
        let proxies = given.iter().filter(|(name, _)| is_proxy(name));
        let proxies = proxies.map(|(name, value)| format!("{name}={value}")).collect();
        let (numbers, tails, inputs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (jobs, used) = (Jobs::new()?, Vec::new());
        let (began, took_ms) = (BTreeMap::new(), BTreeMap::new());
        Ok(Worker {
            home,
            request,
            graph,
            told,
            store: None,
            jobs,
            numbers,
            began,
            took_ms,
            tails,
            inputs,
            used,
            keys: BTreeSet::new(),
            imported,
            proxies,
        })
    }

    fn store(&mut self) -> Result<&Store, Error> {
        let opened = match self.store.take() {
            Some(store) => store,
            None => open_store(self.home)?,
        };
        Ok(self.store.insert(opened))
    }

    /// Notes what was used.
    pub fn end(&mut self) {
        let used = std::mem::take(&mut self.used);
        let keys: Vec<&str> = used.iter().map(String::as_str).collect();
        if !keys.is_empty()
            && let Ok(store) = self.store()
        {
            // Only what is pruned first depends on it.
            let _ = store.touch_steps(&keys, now_ns());
        }
        self.store = None;
    }

    /// The last lines that a step wrote.
    pub fn output(&self, id: StepId) -> Vec<String> {
        self.tails.get(&id).map(|lines| lines.iter().cloned().collect()).unwrap_or_default()
    }

    /// A command that opens a shell in the state before a step.
    pub fn shell_before(&mut self, id: StepId) -> Option<String> {
        let What::Op(Op::Exec(exec)) = &self.graph.step(id).what else { return None };
        let Tree::Layers(chain) = self.inputs.get(&id)?.first()?.clone() else { return None };
        let image = super::result::state(self.home, &chain, exec).ok()?;
        Some(format!("berth run -it --rm {image} sh"))
    }

    fn hear_output(&mut self, id: StepId, stream: u8, bytes: Vec<u8>) {
        let lines = self.tails.entry(id).or_default();
        for line in String::from_utf8_lossy(&bytes).split_inclusive('\n') {
            match lines.back_mut() {
                Some(last) if !last.ends_with('\n') => last.push_str(line),
                _ => lines.push_back(line.to_owned()),
            }
        }
        while lines.len() > LINES_KEPT {
            lines.pop_front();
        }
        if let Some(number) = self.numbers.get(&id) {
            self.told.tell(&Event::Output { id: *number, stream, bytes });
        }
    }

    fn hear_end(&mut self, id: StepId, answer: Option<Answer>) -> Result<(Made, i64), Error> {
        let outcome = match answer {
            Some(Answer::Made { made, created_ns, .. }) => Ok((made, created_ns)),
            Some(Answer::Failed { message, hint, kind }) => Err(Error::Reported { message, hint, kind }),
            None => {
                // What it had is taken down by whoever looks.
                let _ = crate::find::present(self.home);
                Err(Error::Reported {
                    message: format!("{}: the process that did it was killed", self.graph.step(id).name),
                    hint: None,
                    kind: Kind::System,
                })
            }
        };
        let took = self.began.get(&id).map_or(0, |began| began.elapsed().as_millis());
        self.took_ms.insert(id, u64::try_from(took).unwrap_or(u64::MAX));
        if let Some(number) = self.numbers.get(&id) {
            let error = outcome.as_ref().err().map(ToString::to_string);
            self.told.tell(&Event::Done { id: *number, error });
        }
        outcome
    }
}

impl solve::Worker for Worker<'_, '_> {
    type Error = Error;

    fn find(&mut self, key: &Key) -> Result<Option<Record>, Error> {
        self.store()?;
        let Some(store) = &self.store else { return Ok(None) };
        let found = match store.find_step(key.as_str())? {
            Some(step) => Some(step),
            None => self.imported.bring(store, key.as_str())?,
        };
        let Some(step) = found else { return Ok(None) };
        let record = serde_json::from_str(&step.detail).ok();
        if record.is_some() {
            self.keys.insert(step.key.clone());
            self.used.push(step.key);
        }
        Ok(record)
    }

    fn keep(&mut self, step: &Step, keys: &[&Key], record: &Record) -> Result<(), Error> {
        let made = &record.made;
        let chain = match &made.tree {
            Tree::Layers(chain) => ChainId::parse(chain),
            _ => None,
        };
        for key in keys {
            self.keys.insert(key.as_str().to_owned());
            let row = BuildStep {
                key: key.as_str().to_owned(),
                chain,
                content: made.content.clone(),
                diff: made.diff_id.as_deref().and_then(DiffId::parse),
                size_bytes: made.size,
                is_empty: made.is_empty,
                // As docker's `builder du` has it; cache directories have rows of their own.
                kind: "regular".to_owned(),
                description: step.name.clone(),
                // Plain data always serialises.
                detail: serde_json::to_string(record).unwrap_or_default(),
                created_ns: record.created_ns,
                used_ns: now_ns(),
                uses: 0,
            };
            self.store()?.put_step(&row)?;
        }
        Ok(())
    }

    fn select(&mut self, _: StepId, copy: &Copy, from: Option<(&Tree, &Ignored)>) -> Result<String, Error> {
        let selected = copy::selected(self.home, copy, from)?;
        // To tell later which files changed.
        Notes::of(self.home)?.keep_list(&selected.digest, &selected.list)?;
        Ok(selected.digest)
    }

    fn begin(&mut self, job: Job<'_>) -> Result<(), Error> {
        self.store = None;
        let number = self.told.begin(&job.step.name);
        self.numbers.insert(job.id, number);
        self.began.insert(job.id, Instant::now());
        self.inputs.insert(job.id, job.inputs.clone());
        let order = Order {
            step: job.id,
            name: job.step.name.clone(),
            op: job.op,
            inputs: job.inputs,
            ignored: job.ignored,
            key: job.key,
            ignores_cache: job.step.ignores_cache,
            secrets: &self.request.secrets,
            proxies: &self.proxies,
            epoch: self.graph.epoch,
        };
        self.jobs.begin(self.home, &order)
    }

    fn wait(&mut self) -> Result<solve::Event<Error>, Error> {
        loop {
            match self.jobs.wait()? {
                Heard::Interrupted => return Ok(solve::Event::Interrupted),
                Heard::Output(id, stream, bytes) => self.hear_output(id, stream, bytes),
                Heard::Ended(id, answer) => return Ok(solve::Event::Ended(id, self.hear_end(id, answer))),
            }
        }
    }

    fn cancel(&mut self) {
        self.jobs.cancel();
    }

    fn found(&mut self, id: StepId, _: &Record) {
        self.told.cached(&self.graph.step(id).name);
    }
}
