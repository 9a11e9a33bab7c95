//! The engine's door: one function for each command. Until the engine is joined, each says that it isn't built.

use engine::request::{
    EnterRequest, ExecRequest, ImportRequest, InspectRequest, KillRequest, LogsRequest, PsRequest, RmRequest,
    RunRequest, StopRequest, TreeRequest, UnshareRequest,
};
use serde_json::Value as Json;

use engine::{Home, attach};

use crate::explain;
use crate::failure::Failure;
use crate::format::ps::PsRow;

/// What became of one of several objects of a command, by the name that the caller gave.
pub type Outcome<T = ()> = (String, Result<T, Failure>);

fn not_built(what: &str) -> Failure {
    Failure::new(format!("{what} isn't built yet"))
}

/// Runs a container; answers the status to leave with.
pub fn run(request: &RunRequest) -> Result<u8, Failure> {
    let of_run = |error: engine::Error| Failure::of_run(error.kind(), error.to_string(), error.hint());
    let ran = engine::run::run(&Home::from_env().map_err(of_run)?, request.clone()).map_err(of_run)?;
    if request.explain {
        eprint!("{}", explain::text(&ran.steps));
    }
    match ran.outcome {
        None => {
            println!("{}", ran.id);
            Ok(0)
        }
        Some(attach::Outcome::Detached) => Ok(0),
        Some(attach::Outcome::Exited(Some(code))) => Ok(code),
        Some(attach::Outcome::Exited(None)) => Err(Failure::new(format!(
            "nobody saw container {} end: its holder and its keeper were killed",
            ran.name
        ))
        .code(125)),
    }
}

/// Runs a process in a container; answers the status to leave with.
pub fn exec(_request: &ExecRequest) -> Result<u8, Failure> {
    Err(not_built("exec"))
}

/// Lists containers, newest first.
pub fn ps(_request: &PsRequest) -> Result<Vec<PsRow>, Failure> {
    Err(not_built("ps"))
}

/// Removes containers.
pub fn rm(_request: &RmRequest) -> Result<Vec<Outcome>, Failure> {
    Err(not_built("rm"))
}

/// Stops containers.
pub fn stop(_request: &StopRequest) -> Result<Vec<Outcome>, Failure> {
    Err(not_built("stop"))
}

/// Sends containers a signal.
pub fn kill(_request: &KillRequest) -> Result<Vec<Outcome>, Failure> {
    Err(not_built("kill"))
}

/// Copies a container's log to stdout and stderr.
pub fn logs(_request: &LogsRequest) -> Result<(), Failure> {
    Err(not_built("logs"))
}

/// Docker's inspect document of each container.
pub fn inspect(_request: &InspectRequest) -> Result<Vec<Outcome<Json>>, Failure> {
    Err(not_built("inspect"))
}

/// Makes an image of a tar; answers its id.
pub fn import(_request: &ImportRequest) -> Result<String, Failure> {
    Err(not_built("import"))
}

/// Runs a command in new namespaces; answers the status to leave with.
pub fn unshare(_request: &UnshareRequest) -> Result<u8, Failure> {
    Err(not_built("unshare"))
}

/// Runs a command in another's namespaces; answers the status to leave with.
pub fn enter(_request: &EnterRequest) -> Result<u8, Failure> {
    Err(not_built("enter"))
}

/// Draws a container's namespaces, id maps and processes.
pub fn tree(_request: &TreeRequest) -> Result<String, Failure> {
    Err(not_built("tree"))
}

/// What this host offers, and which features fall back.
pub fn info() -> Result<Json, Failure> {
    Err(not_built("info"))
}

pub use crate::runtime_backend::runtime;
