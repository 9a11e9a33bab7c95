//! Steps: each kernel call of a start with what it's for, timed when somebody wants to see them.

use crate::Error;
use linux::Errno;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::time::Instant;

/// One step of a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Whether the container's first process made it; otherwise its holder did.
    pub inside: bool,
    /// The system call, or several.
    pub call: String,
    /// What it was applied to.
    pub object: String,
    /// What it's for.
    pub what: String,
    /// What it took, in nanoseconds.
    pub nanoseconds: u64,
}

/// Performs steps; remembers them if it was made to.
#[derive(Debug)]
pub struct Steps {
    record: bool,
    inside: bool,
    steps: Vec<Step>,
}

impl Steps {
    /// Performs the steps of the holder (or of the first process, `inside`), recording them if `record`.
    pub fn new(record: bool, inside: bool) -> Steps {
        Steps { record, inside, steps: Vec::new() }
    }

    /// What was recorded so far.
    pub fn take(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// Whether steps are recorded.
    pub fn records(&self) -> bool {
        self.record
    }

    /// Performs `call` on `object`; a refusal becomes an error that says what the step was for.
    pub fn run<T>(
        &mut self,
        call: &'static str,
        object: impl Display,
        what: &'static str,
        f: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Error> {
        if !self.record {
            let result = f().map_err(|errno| Error::step(what, call, object, errno));
            linux::fault::point(call);
            return result;
        }
        let object = object.to_string();
        let start = Instant::now();
        let result = f();
        self.steps.push(Step {
            inside: self.inside,
            call: call.to_owned(),
            object: object.clone(),
            what: what.to_owned(),
            nanoseconds: start.elapsed().as_nanos() as u64,
        });
        result.map_err(|errno| Error::step(what, call, object, errno))
    }

    /// As [`Steps::run`] for something that consists of several calls and names its own failures.
    pub fn group<T>(
        &mut self,
        call: &'static str,
        object: impl Display,
        what: &'static str,
        f: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        let result = f();
        linux::fault::point(call);
        if self.record {
            self.steps.push(Step {
                inside: self.inside,
                call: call.to_owned(),
                object: object.to_string(),
                what: what.to_owned(),
                nanoseconds: start.elapsed().as_nanos() as u64,
            });
        }
        result
    }
}
