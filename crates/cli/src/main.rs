//! berth: containers without a daemon.
//!
//! One executable under several names: `berth` is the command line, `berth-runtime` the OCI runtime, `docker-compose` is
//! `berth compose`. This crate parses,
//! makes one call of the engine, and prints; it knows no system call.
//!
//! - [`commands`]: the commands, their flags and requests; [`help`] prints the same tables
//! - [`runtime_cli`]: the OCI runtime's command line
//! - [`flags`], [`parse`], [`unsupported`]: docker's flags, the grammar of their values, those to come
//! - [`format`]: tables, templates and docker's words
//! - [`progress`]: how far an image's layers are
//! - [`failure`], [`suggest`]: how commands fail
//! - [`backend`]: the engine's door
#![forbid(unsafe_code)]

mod backend;
mod build_shown;
mod commands;
mod explain;
mod failure;
mod flags;
mod format;
mod help;
mod parse;
mod progress;
mod runtime_backend;
mod runtime_cli;
mod suggest;
mod unsupported;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    let called = |as_name: &str| Path::new(&name).file_name().is_some_and(|name| name == as_name);
    if called("berth-runtime") {
        return runtime_cli::main(&words).into();
    }
    if called("berth-init") {
        return runtime::init::main(&words).into();
    }
    let done = match called("docker-compose") {
        true => commands::compose::dispatch("docker-compose", &words),
        false => commands::dispatch(&words),
    };
    match done {
        Ok(status) => status.into(),
        Err(failure) => {
            failure::report(&failure);
            failure.exit_code.into()
        }
    }
}
