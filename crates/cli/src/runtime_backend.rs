//! `berth-runtime`'s door: requests to calls of [`runtime::container`], answers and failures in runc's form.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use runtime::Error;
use runtime::container::{self, Merge, RunOptions, State};
use serde::Serialize;
use types::oci::Status;

use crate::commands::print;
use crate::failure::Failure;
use crate::format::time;
use crate::runtime_cli::{CreateOptions, ExecOptions, RuntimeCommand, RuntimeRequest};

/// Status of `exec` that failed, as runc's: the process's own are 0 to 254 for the most part.
const EXEC_FAILED: u8 = 255;

/// One call of `berth-runtime`; answers the status to leave with.
pub fn runtime(request: &RuntimeRequest) -> Result<u8, Failure> {
    let root = request.globals.root.as_deref().unwrap_or(Path::new(container::DEFAULT_ROOT));
    match &request.command {
        RuntimeCommand::Create(options) => {
            let warnings =
                container::create(root, &options.id, &create_options(options)?).map_err(failure)?;
            warn(&warnings);
            Ok(0)
        }
        RuntimeCommand::Start { id } => container::start(root, id).map_err(failure).map(|()| 0),
        RuntimeCommand::State { id } => {
            let state = container::state(root, id).map_err(failure)?;
            let text = serde_json::to_string_pretty(&Document::of(&state)).unwrap_or_default();
            print(&format!("{text}\n")).map(|()| 0)
        }
        RuntimeCommand::Kill { id, signal, all } => match container::kill(root, id, *signal, *all) {
            // What containerd and docker look for.
            Err(Error::Status { .. }) => Err(Failure::new("container not running")),
            other => other.map_err(failure).map(|()| 0),
        },
        RuntimeCommand::Delete { id, force } => match container::delete(root, id, *force) {
            Err(Error::Status { status, .. }) => {
                let text = format!("cannot delete container {id} that is not stopped: {status}");
                Err(Failure::new(text).hint("kill it first, or use --force"))
            }
            other => other.map_err(failure).map(|()| 0),
        },
        RuntimeCommand::Run { create, detach, keep, no_subreaper } => {
            let run = RunOptions { detach: *detach, keep: *keep, subreaper: !no_subreaper };
            let (status, warnings) =
                container::run(root, &create.id, &create_options(create)?, run).map_err(failure)?;
            warn(&warnings);
            Ok(status)
        }
        RuntimeCommand::Exec(options) => {
            let (status, warnings) = container::exec(root, &options.id, &exec_options(options))
                .map_err(|error| failure(error).code(EXEC_FAILED))?;
            warn(&warnings);
            Ok(status)
        }
        RuntimeCommand::List { json, quiet } => list(root, *json, *quiet),
    }
}

fn failure(error: Error) -> Failure {
    let hint = error.hint();
    Failure { hint, ..Failure::new(error.to_string()) }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        // Nobody reads it: no reason to fail.
        let _ = writeln!(std::io::stderr(), "berth-runtime: warning: {warning}");
    }
}

fn create_options(options: &CreateOptions) -> Result<container::CreateOptions, Failure> {
    if options.no_pivot {
        return Err(Failure::new("--no-pivot isn't supported yet"));
    }
    Ok(container::CreateOptions {
        bundle: options.bundle.clone(),
        console_socket: options.console_socket.clone(),
        pidfd_socket: options.pidfd_socket.clone(),
        pid_file: options.pid_file.clone(),
        preserve_fds: options.preserve_fds,
    })
}

fn exec_options(options: &ExecOptions) -> container::ExecOptions {
    container::ExecOptions {
        process: options.process.clone(),
        merge: Merge {
            args: options.args.clone(),
            cwd: options.cwd.clone(),
            env: options.env.clone(),
            tty: options.tty,
            user: options.user,
            additional_gids: options.additional_gids.clone(),
            process_label: options.process_label.clone(),
            apparmor: options.apparmor.clone(),
            no_new_privs: options.no_new_privs,
            caps: options.caps.clone(),
        },
        detach: options.detach,
        pid_file: options.pid_file.clone(),
        console_socket: options.console_socket.clone(),
        pidfd_socket: options.pidfd_socket.clone(),
        preserve_fds: options.preserve_fds,
        cgroup: options.cgroup.clone(),
        ignore_paused: options.ignore_paused,
    }
}

/// The document of `state`, in runc's order. Source: runc list.go, containerState.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: i32,
    status: Status,
    bundle: &'a str,
    rootfs: &'a str,
    created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    owner: String,
}

impl<'a> Document<'a> {
    fn of(state: &'a State) -> Document<'a> {
        Document {
            oci_version: &state.oci_version,
            id: &state.id,
            pid: state.pid,
            status: state.status,
            bundle: &state.bundle,
            rootfs: &state.rootfs,
            created: time::rfc3339_nanos(state.created),
            annotations: &state.annotations,
            owner: owner(state.owner),
        }
    }
}

/// A user's name, as far as it's known without NSS: it would load code of the host's.
fn owner(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("#{uid}") }
}

fn list(root: &Path, as_json: bool, quiet: bool) -> Result<u8, Failure> {
    let mut states = Vec::new();
    for (id, state) in container::list(root).map_err(failure)? {
        match state {
            Ok(state) => states.push(state),
            Err(error) => warn(&[format!("container {id}: {error}")]),
        }
    }
    if quiet {
        let ids: String = states.iter().map(|state| format!("{}\n", state.id)).collect();
        return print(&ids).map(|()| 0);
    }
    if as_json {
        let documents: Vec<Document<'_>> = states.iter().map(Document::of).collect();
        let text = serde_json::to_string(&documents).unwrap_or_default();
        return print(&format!("{text}\n")).map(|()| 0);
    }
    print(&table(&states)).map(|()| 0)
}

/// The table of `list`: columns at least twelve wide, three spaces apart. Source: runc list.go.
fn table(states: &[State]) -> String {
    const COLUMN_CHARS_MIN: usize = 12;
    const GAP_CHARS: usize = 3;
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(states.iter().map(|state| {
        let status = serde_json::to_value(state.status).unwrap_or_default();
        [
            state.id.clone(),
            state.pid.to_string(),
            status.as_str().unwrap_or_default().to_owned(),
            state.bundle.clone(),
            time::rfc3339_nanos(state.created),
            owner(state.owner),
        ]
    }));
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (longest + GAP_CHARS).max(COLUMN_CHARS_MIN)
    };
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            5 => cell.clone(),
            _ => format!("{cell:<0$}", width(column)),
        });
        text.extend(cells);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn state() -> State {
        State {
            oci_version: "1.3.0".into(),
            id: "a".into(),
            pid: 7,
            status: Status::Running,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: UNIX_EPOCH + Duration::new(951_782_400, 5_000_000),
            annotations: Default::default(),
            owner: 0,
        }
    }

    #[test]
    fn state_has_runcs_fields() {
        assert_eq!(
            serde_json::to_string(&Document::of(&state())).unwrap(),
            r#"{"ociVersion":"1.3.0","id":"a","pid":7,"status":"running","bundle":"/b","rootfs":"/b/rootfs","#
                .to_owned() + r#""created":"2000-02-29T00:00:00.005Z","owner":"root"}"#
        );
    }

    #[test]
    fn the_table_is_runcs() {
        assert_eq!(
            table(&[state()]),
            "ID          PID         STATUS      BUNDLE      CREATED                    OWNER\n\
             a           7           running     /b          2000-02-29T00:00:00.005Z   root\n"
        );
    }
}
