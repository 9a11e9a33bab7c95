//! From parsed options to requests.

use std::path::PathBuf;

use types::caps;

use super::{CreateOptions, ExecOptions, Globals, LogFormat, RuntimeCommand};
use crate::failure::{BadValue, Failure};
use crate::flags::Parsed;
use crate::parse::number;

const SIGTERM: i32 = 15;

/// Longest name of a container, in bytes, so that it fits a file name.
const ID_BYTES_MAX: usize = 255;

fn path(parsed: &Parsed, name: &str) -> Option<PathBuf> {
    parsed.one(name).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Fills in the options before the command; what was read before a failure stays, so that it goes to the log.
pub fn globals(parsed: &Parsed, globals: &mut Globals) -> Result<(), Failure> {
    globals.log = path(parsed, "log");
    globals.root = path(parsed, "root");
    globals.debug = parsed.switch("debug");
    globals.log_format = match parsed.one("log-format").unwrap_or("text") {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => return Err(parsed.wrong(format!("invalid log-format: {other}"))),
    };
    if parsed.switch("systemd-cgroup") {
        return Err(parsed.wrong("--systemd-cgroup isn't supported yet"));
    }
    match parsed.one("rootless").unwrap_or("auto") {
        "auto" | "false" => Ok(()),
        "true" => Err(parsed.wrong("--rootless true isn't supported yet")),
        other => Err(parsed.bad("rootless", other, "not one of auto, true, false")),
    }
}

/// The container's name: runc's letters, and neither `.` nor `..`.
fn id(parsed: &Parsed) -> Result<String, Failure> {
    let id = parsed.args().remove(0);
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.');
    match !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(good) && id != "." && id != ".." {
        true => Ok(id),
        false => Err(Failure::new(format!("invalid container ID format: {id:?}"))),
    }
}

fn preserve_fds(parsed: &Parsed) -> Result<u32, Failure> {
    Ok(parsed.parsed("preserve-fds", number::within(0, 4096))?.unwrap_or(0) as u32)
}

fn create_options(parsed: &Parsed) -> Result<CreateOptions, Failure> {
    Ok(CreateOptions {
        id: id(parsed)?,
        bundle: path(parsed, "bundle").unwrap_or_else(|| ".".into()),
        console_socket: path(parsed, "console-socket"),
        pidfd_socket: path(parsed, "pidfd-socket"),
        pid_file: path(parsed, "pid-file"),
        preserve_fds: preserve_fds(parsed)?,
        no_pivot: parsed.switch("no-pivot"),
        no_new_keyring: parsed.switch("no-new-keyring"),
    })
}

/// Reads `create`.
pub fn create(parsed: &Parsed) -> Result<RuntimeCommand, Failure> {
    Ok(RuntimeCommand::Create(create_options(parsed)?))
}

/// Reads `run`.
pub fn run(parsed: &Parsed) -> Result<RuntimeCommand, Failure> {
    Ok(RuntimeCommand::Run {
        create: create_options(parsed)?,
        detach: parsed.switch("detach"),
        keep: parsed.switch("keep"),
        no_subreaper: parsed.switch("no-subreaper"),
    })
}

/// Reads `start`.
pub fn start(parsed: &Parsed) -> Result<RuntimeCommand, Failure> {
    Ok(RuntimeCommand::Start { id: id(parsed)? })
}

/// Reads `state`.
pub fn state(parsed: &Parsed) -> Result<RuntimeCommand, Failure> {
    Ok(RuntimeCommand::State { id: id(parsed)? })
}

/// Reads `kill`.
pub fn kill(parsed: &Parsed) -> Result<RuntimeCommand, Failure> {
    let signal = match parsed.args().get(1) {
        None => SIGTERM,
        Some(text) => {
            types::signal::parse(text).ok_or_else(|| Failure::new(format!("unknown signal {text:?}")))?
        }
    };
    Ok(RuntimeCommand::Kill { id: id(parsed)?, signal, all: parsed.switch("all") })
}

/// Reads `delete`.
pub fn delete(parsed: &Parsed) -> Result<RuntimeCommand, Failure> {
    Ok(RuntimeCommand::Delete { id: id(parsed)?, force: parsed.switch("force") })
}

/// Reads `list`.
pub fn list(parsed: &Parsed) -> Result<RuntimeCommand, Failure> {
    let json = match parsed.one("format").unwrap_or("table") {
        "json" => true,
        "table" | "" => false,
        _ => return Err(Failure::new("invalid format option")),
    };
    Ok(RuntimeCommand::List { json, quiet: parsed.switch("quiet") })
}

fn number(text: &str) -> Result<u32, BadValue> {
    text.parse().map_err(|_| BadValue::new("not an id"))
}

fn user(text: &str) -> Result<(u32, Option<u32>), BadValue> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}

fn capability(text: &str) -> Result<String, BadValue> {
    let known = caps::number(text).and_then(|n| caps::NAMES.get(usize::from(n)));
    known.map(|name| format!("CAP_{name}")).ok_or_else(|| BadValue::new("no such capability"))
}

/// A path below the container's cgroup; `controller:path`, of v1 alone, isn't supported yet.
fn cgroup(text: &str) -> Result<String, BadValue> {
    match text.contains(':') {
        true => Err("a cgroup for one controller isn't supported yet".into()),
        false => Ok(text.to_owned()),
    }
}

/// Reads `exec`.
pub fn exec(parsed: &Parsed) -> Result<RuntimeCommand, Failure> {
    let process = path(parsed, "process");
    let args = parsed.args().split_off(1);
    if process.is_none() && args.is_empty() {
        return Err(Failure::new("process args cannot be empty"));
    }
    let text = |name| parsed.one(name).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(RuntimeCommand::Exec(Box::new(ExecOptions {
        id: id(parsed)?,
        process,
        args,
        cwd: text("cwd"),
        env: parsed.many("env").into_iter().map(str::to_owned).collect(),
        tty: parsed.switch("tty"),
        user: parsed.parsed("user", user)?,
        additional_gids: parsed.each("additional-gids", number)?,
        detach: parsed.switch("detach"),
        pid_file: path(parsed, "pid-file"),
        console_socket: path(parsed, "console-socket"),
        pidfd_socket: path(parsed, "pidfd-socket"),
        process_label: text("process-label"),
        apparmor: text("apparmor"),
        no_new_privs: parsed.switch("no-new-privs"),
        caps: parsed.each("cap", capability)?,
        preserve_fds: preserve_fds(parsed)?,
        cgroup: parsed.parsed("cgroup", cgroup)?,
        ignore_paused: parsed.switch("ignore-paused"),
    })))
}
