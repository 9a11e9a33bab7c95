//! `berth build`: an image from a Dockerfile.
//!
//! ```text
//! Dockerfile ──::build::lower──▶ steps ──::build::solve──▶ those whose result isn't known ──▶ layers ──▶ image
//!                  │ asks for images, contexts                 │ each is a child of this process
//!                  ▼                                           ▼
//!               bases                              jobs ──▶ perform (in the child): exec, copy
//! ```
//!
//! The process that builds has one thread and forks a child for each step, which runs containers as `run` does. Whatever
//! kills it ends them all: they die with it. What is complete is found by the next build.
//!
//! - [`request`]: what is asked for; [`events`]: what is told meanwhile
//! - [`checks`]: what is likely not meant
//! - [`bases`]: images and contexts; [`result`]: the image at the end
//! - [`worker`]: results that are kept; [`jobs`]: children; [`cache`]: what is kept, listed and removed
//! - [`context`]: where files come from; [`fetch`]: what is at URLs
//! - [`copy`]: `COPY`, `ADD` and `WORKDIR`; [`output`]: results as files and archives
//! - [`notes`]: what is remembered from build to build beside the store's rows
//! - [`emulation`]: programs for other machines

pub mod bases;
pub mod cache;
pub mod checks;
pub mod context;
pub mod copy;
pub mod emulation;
pub mod events;
pub mod exec;
mod failure;
pub mod fetch;
mod jobs;
pub mod memory;
pub mod notes;
pub mod output;
mod perform;
pub mod portable;
pub mod request;
mod result;
mod source;
mod worker;

pub use events::{Event, Sink};
pub use failure::Failure;
pub use request::{BuildRequest, SecretSource};

use crate::{Error, Home};
use ::build::dockerfile;
use ::build::graph::What;
use ::build::lower::{self, Lowered};
use ::build::op::{Made, MountKind, Op, Tree};
use ::build::solve::{self, Solved, Stopped};
use events::Told;
use output::Output;
use std::collections::BTreeSet;

/// Steps that run at once: more than there are processors, since steps wait for the network and for disks.
const AT_ONCE: usize = 8;

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The image's id.
    pub image: String,
    /// Names that it got.
    pub names: Vec<String>,
    /// Its configuration, byte for byte.
    pub config: Vec<u8>,
    /// Arguments that nothing declares.
    pub unused_args: Vec<String>,
    /// How many steps ran, and how many were known.
    pub ran: usize,
    /// Steps whose result was known.
    pub cached: usize,
    /// What each step did, and why.
    pub report: ::build::explain::Report,
}

/// Builds an image. The caller has one thread.
///
/// Errors: [`Failure`], which knows the Dockerfile.
pub fn build(home: &Home, request: &BuildRequest, sink: Sink<'_>) -> Result<Built, Box<Failure>> {
    let mut told = Told::new(sink);
    if !rustix::process::geteuid().is_root() {
        return Err(Box::new(Error::NotRoot.into()));
    }
    if request.options.allows_insecure {
        // The program may start again from its beginning.
        exec::prepare_for_privileged().map_err(Box::<Failure>::from)?;
    }
    let source = source::Source::open(home, request, &mut told)?;
    let with_source = |mut failure: Failure| {
        failure.dockerfile = Some((source.shown.clone(), source.text.clone()));
        Box::new(failure)
    };
    built(home, request, &source, &mut told).map_err(with_source)
}

#[expect(clippy::result_large_err, reason = "there is one in a build")]
fn built(
    home: &Home,
    request: &BuildRequest,
    source: &source::Source,
    told: &mut Told<'_>,
) -> Result<Built, Failure> {
    let file = dockerfile::parse(&source.text).map_err(Failure::syntax)?;
    let mut bases = bases::Bases::new(home, request, source, told);
    let lowered = match lower::lower(&file, &request.options, &mut bases) {
        Ok(lowered) => lowered,
        Err(lower::Failure::Fault(fault)) => return Err(fault.into()),
        Err(lower::Failure::Base(lines, error)) => return Err(Failure::at(lines, error)),
    };
    let (pins, opened) = (bases.pins, bases.opened);
    checks::tell(home, request, source, &file, told)?;
    for step in &lowered.graph.steps {
        if matches!(step.what, ::build::graph::What::Image { .. }) && step.name.starts_with('[') {
            told.cached(&step.name);
        }
    }
    let imported = portable::Imported::open(&request.cache_from, &request.here, told);
    if !imported.is_empty() {
        imported.bring_mounts(&crate::images::open_store(home)?)?;
    }
    let mut worker = worker::Worker::new(home, request, &lowered.graph, imported, told)?;
    let solved = solve::solve(&lowered.graph, &[lowered.target], AT_ONCE, &mut worker);
    worker.end();
    let solved = solved.map_err(|stopped| stopped_by(&lowered, stopped, &mut worker))?;
    let before = memory::last(home, request);
    let report = memory::report(home, &lowered, &solved, &worker.took_ms, before.as_ref());
    memory::keep(home, request, &report)?;
    let counts = count(&lowered, &solved);
    let keys = std::mem::take(&mut worker.keys);
    let (image, config) = outputs(home, request, &lowered, &solved, told)?;
    carry(home, request, &lowered, &solved, &keys, told)?;
    drop((pins, opened));
    if let Ok(notes) = notes::Notes::of(home) {
        notes.trim();
    }
    // What is removed is made again if it's needed: no reason to fail.
    let _ = cache::keep_within_bound(home);
    Ok(Built {
        report,
        image,
        names: request.names(),
        config,
        unused_args: lowered.unused_args,
        ran: counts.0,
        cached: counts.1,
    })
}

/// Writes what was asked for: the image's id, if one stays, and its configuration.
fn outputs(
    home: &Home,
    request: &BuildRequest,
    lowered: &Lowered,
    solved: &[Option<Solved>],
    told: &mut Told<'_>,
) -> Result<(String, Vec<u8>), Error> {
    let tree = result::tree(lowered, solved);
    let config = result::configuration(home, request, lowered, solved)?;
    let mut image = String::new();
    if request.makes_image() {
        image = result::name(home, &request.names(), &tree, &config, told)?;
    }
    for output in &request.outputs {
        match output {
            Output::Image { .. } | Output::Nothing => {}
            Output::Local { dest } => told.work("exporting to client directory", |_, _| {
                output::local(home, &tree, &request.here.join(dest), request.options.epoch)
            })?,
            Output::Tar { dest } => told.work("exporting to client tarball", |_, _| {
                let mut out = output::open_dest(dest, "tar", &request.here)?;
                output::tar(home, &tree, &mut out, request.options.epoch)
            })?,
            Output::Archive { format, names, dest, is_directory } => {
                let names = if names.is_empty() { &request.tags } else { names };
                let kind = format.name();
                let unnamed = result::Unnamed::make(home, &tree, &config)?;
                told.work(&format!("exporting to {kind} image format"), |_, _| match (is_directory, dest) {
                    (true, output::Dest::Path(dest)) => {
                        output::layout(home, &unnamed.id, names, *format, &request.here.join(dest))
                    }
                    _ => {
                        let mut out = output::open_dest(dest, kind, &request.here)?;
                        output::archive(home, &unnamed.id, names, *format, &mut out)
                    }
                })?;
                unnamed.forget(home)?;
            }
        }
    }
    Ok((image, config.bytes))
}

/// Writes caches that are to be carried elsewhere.
fn carry(
    home: &Home,
    request: &BuildRequest,
    lowered: &Lowered,
    solved: &[Option<Solved>],
    keys: &BTreeSet<String>,
    told: &mut Told<'_>,
) -> Result<(), Error> {
    let mounts = lowered.graph.steps.iter().flat_map(|step| match &step.what {
        What::Op(Op::Exec(exec)) => exec.mounts.as_slice(),
        _ => &[],
    });
    let ids = mounts.filter_map(|mount| match &mount.kind {
        MountKind::Cache { id, .. } => Some(id.clone()),
        _ => None,
    });
    let (tree, mounts) = (result::tree(lowered, solved), ids.collect());
    let wanted = portable::Wanted { keys, mounts: &mounts, result: &tree };
    for to in &request.cache_to {
        let to = portable::CacheTo { dest: request.here.join(&to.dest), ..to.clone() };
        let written = told.work("exporting cache to client directory", |_, _| {
            portable::export(&crate::images::open_store(home)?, &to, wanted)
        });
        if !to.ignores_errors {
            written?;
        }
    }
    Ok(())
}

fn count(lowered: &Lowered, solved: &[Option<Solved>]) -> (usize, usize) {
    let of = |id: usize| solved[id].as_ref().map(|own| own.how);
    let ids = 0..lowered.graph.steps.len();
    let ran = ids.clone().filter(|id| of(*id) == Some(solve::How::Ran)).count();
    let is_cached = |id: &usize| matches!(of(*id), Some(solve::How::Definition | solve::How::Content));
    (ran, ids.filter(is_cached).count())
}

/// Makes a layer of what a step wrote, in which no time is later than `epoch`, in seconds.
fn adopted(store: &store::Store, draft: store::Draft, epoch: Option<i64>) -> Result<Made, Error> {
    if let Some(epoch) = epoch {
        draft.clamp_times(epoch)?;
    }
    let adopted = store.adopt(draft)?;
    Ok(Made {
        tree: adopted.chain.map_or(Tree::Scratch, |chain| Tree::Layers(chain.to_string())),
        content: adopted.content.hex(),
        diff_id: (!adopted.is_empty).then(|| adopted.diff.to_string()),
        size: adopted.size_bytes,
        is_empty: adopted.is_empty,
        selected: None,
    })
}

fn stopped_by(lowered: &Lowered, stopped: Stopped<Error>, worker: &mut worker::Worker<'_, '_>) -> Failure {
    match stopped {
        Stopped::Interrupted => Failure::interrupted(),
        Stopped::Other(error) => error.into(),
        Stopped::Step(id, error) => {
            let step = lowered.graph.step(id);
            let mut failure: Failure = error.into();
            failure.lines = step.lines;
            failure.step = Some(step.name.clone());
            failure.output = worker.output(id);
            failure.shell = worker.shell_before(id);
            failure
        }
    }
}

/// A failure that has no variant of its own.
pub(crate) fn fault(kind: types::kind::Kind, message: impl Into<String>, hint: Option<String>) -> Error {
    Error::Copy { message: message.into(), kind, hint }
}
