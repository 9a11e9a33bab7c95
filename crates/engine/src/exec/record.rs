//! What is known of commands that `exec` runs: a file each in the container's directory of this boot, `exec.<id>`. It's
//! there while the command runs; of one that was left behind (`-d`), a while longer, with its exit status.
//!
//! Whether a command runs is the kernel's to say: a file whose process is gone, and that has no status, was left by a client
//! that was killed.

use crate::cell::{Cell, ProcessName};
use crate::request::ExecRequest;
use crate::{Error, Home};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::time::SystemTime;

/// How the files' names begin.
const PREFIX: &str = "exec.";

/// Files of ended commands that are kept.
const KEPT_MAX: usize = 64;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    id: String,
    request: ExecRequest,
    process: Option<ProcessName>,
    code: Option<u8>,
}

impl Record {
    /// Writes down that `pid` runs it. Failing that, the command runs unrecorded.
    pub fn begin(cell: &Cell, id: &str, request: &ExecRequest, pid: i32) -> Record {
        // Passwords and the like aren't for others to see.
        let request = ExecRequest { env: Vec::new(), ..request.clone() };
        let record = Record { id: id.to_owned(), request, process: ProcessName::of(pid), code: None };
        let _ = cell.write(&record.file(), &record);
        record
    }

    /// Writes down how it ended; those that ended before it are forgotten, beyond the last few.
    pub fn end(self, cell: &Cell, code: u8) {
        let file = self.file();
        // Not into another run of the container's.
        if cell.path.join(&file).exists() {
            let _ = cell.write(&file, &Record { code: Some(code), ..self });
        }
        forget_old(cell);
    }

    /// Forgets it.
    pub fn forget(self, cell: &Cell) {
        let _ = std::fs::remove_file(cell.path.join(self.file()));
    }

    fn file(&self) -> String {
        format!("{PREFIX}{}", self.id)
    }

    fn is_running(&self) -> bool {
        self.code.is_none() && self.process.is_some_and(|process| process.open().is_some())
    }

    /// Docker's document, that of the API.
    fn document(&self, container: &str) -> Json {
        let request = &self.request;
        let running = self.is_running();
        json!({
            "ID": self.id,
            "Running": running,
            // Null while it runs, and where nobody saw it end.
            "ExitCode": self.code,
            "ProcessConfig": {
                "tty": request.tty,
                "entrypoint": request.command.first(),
                "arguments": request.command.get(1..).unwrap_or_default(),
                "privileged": request.privileged,
                "user": request.user,
            },
            "OpenStdin": request.interactive,
            "OpenStderr": !request.detach,
            "OpenStdout": !request.detach,
            "CanRemove": false,
            "ContainerID": container,
            "DetachKeys": "",
            "Pid": self.process.filter(|_| running).map_or(0, |process| process.pid),
        })
    }
}

fn files(cell: &Cell) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(&cell.path) else { return Vec::new() };
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name.strip_prefix(PREFIX)?.to_owned(), entry.path()))
    };
    entries.flatten().filter_map(file).collect()
}

fn read(path: &PathBuf) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Ids of the commands that run in a container.
pub(crate) fn running(cell: &Cell) -> Vec<String> {
    let records = files(cell).into_iter().filter_map(|(_, path)| read(&path));
    records.filter(Record::is_running).map(|record| record.id).collect()
}

/// Removes all files: the container's run has ended.
pub(crate) fn clear(cell: &Cell) {
    files(cell).into_iter().for_each(|(_, path)| drop(std::fs::remove_file(path)));
}

fn forget_old(cell: &Cell) {
    let files = files(cell);
    if files.len() <= KEPT_MAX {
        return;
    }
    let ended = files.into_iter().filter(|(_, path)| read(path).is_some_and(|record| !record.is_running()));
    let time =
        |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut ended: Vec<(SystemTime, PathBuf)> = ended.map(|(_, path)| (time(&path), path)).collect();
    ended.sort();
    let excess = ended.len().saturating_sub(KEPT_MAX);
    ended.into_iter().take(excess).for_each(|(_, path)| drop(std::fs::remove_file(path)));
}

/// `berth inspect --type exec`: the document of the command that `given` is the id of, or the only beginning of one.
///
/// Errors: [`Error::NoExec`], [`Error::Ambiguous`].
pub fn inspect(home: &Home, given: &str) -> Result<Json, Error> {
    let mut found = Vec::new();
    for cell in Cell::all(home) {
        let named = files(&cell).into_iter().filter(|(id, _)| !given.is_empty() && id.starts_with(given));
        let records = named.filter_map(|(_, path)| read(&path));
        found.extend(records.map(|record| (record.id.clone(), record.document(&cell.id))));
    }
    if found.len() > 1 {
        let ids: Vec<&str> = found.iter().take(5).map(|(id, _)| &id[..12.min(id.len())]).collect();
        return Err(Error::Ambiguous { given: given.to_owned(), matches: ids.join(", ") });
    }
    let (_, document) = found.pop().ok_or_else(|| Error::NoExec { given: given.to_owned() })?;
    Ok(document)
}
