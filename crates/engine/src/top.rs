//! `berth top`: a container's processes, in the words of ps(1), whose options it takes. Nothing is executed: all is read
//! from `/proc`.
//!
//! Ids of processes are the host's, as docker's. Users are the container's: its own number, by the name that its own
//! `/etc/passwd` has for it, because the number on the host says only whose range it is. Times are UTC, as in lists.

mod columns;
mod options;
mod process;

use crate::find::{self, State};
use crate::users::UserFiles;
use crate::{Error, Home, root};
use columns::Context;
use process::Process;
use runtime::cgroup::Cgroup;
use rustix::fs::{CWD, Mode, OFlags, openat};

/// Titles, and a row for each process, by ascending id. Text is inert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// Titles of the columns.
    pub titles: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

/// The processes of the container `given`, as `ps` shows them with `ps_options`; with none, as with `-ef`.
///
/// Errors: [`Error::State`] for a container that doesn't run, [`Error::Invalid`] for options that aren't known here.
pub fn top(home: &Home, given: &str, ps_options: &[String]) -> Result<Top, Error> {
    let container = find::container(home, given)?;
    let State::Running(running) = &container.state else {
        return Err(Error::State { id: given.to_owned(), why: "is not running".to_owned() });
    };
    let columns = options::parse(ps_options)?;
    let group = Cgroup::open(&running.cgroup).map_err(runtime::Error::from)?;
    let mut pids = group.pids().map_err(runtime::Error::from)?;
    pids.sort_unstable();
    let context = Context::new(container.config.user_namespace.mappings(), files_of(running.init.pid));
    let processes = pids.into_iter().filter_map(|pid| Process::read(i32::try_from(pid).ok()?));
    let cells = |process: Process| {
        let cell = |column: &columns::Column| crate::inert(&context.cell(*column, &process)).into_owned();
        columns.iter().map(|(_, column)| cell(column)).collect()
    };
    crate::events::container(home, &container.config, "top", &[]);
    Ok(Top {
        rows: processes.map(cells).collect(),
        titles: columns.iter().map(|(title, _)| (*title).to_owned()).collect(),
    })
}

/// The container's own files of names.
fn files_of(pid: i32) -> UserFiles {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = openat(CWD, format!("/proc/{pid}/root").as_str(), flags, Mode::empty()) else {
        return UserFiles::default();
    };
    UserFiles {
        passwd: root::read_beneath(&root, "/etc/passwd").unwrap_or_default(),
        group: root::read_beneath(&root, "/etc/group").unwrap_or_default(),
    }
}
