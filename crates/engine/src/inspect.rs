//! `berth inspect`: docker's document of a container, and a `Berth` object with what docker doesn't know.

mod host_config;
mod security;

use crate::cell::Ended;
use crate::config::{RootSource, UserNamespace};
use crate::find::{self, Container, State};
use crate::health::{Health, ProbeResult};
use crate::log::{self, Driver};
use crate::network;
use crate::pause::is_paused;
use crate::request::{
    EnvChange, InspectRequest, MountKind, OnUnhealthy, RunRequest, StdStream, VolumeRequest,
};
use crate::{Config, Error, Home, exec, system};
use serde_json::{Value as Json, json};
use types::image::config::Execution;

/// Docker's time of what has never happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The document of each container; with `security`, one about what it may really do.
pub fn inspect(home: &Home, request: &InspectRequest) -> Vec<(String, Result<Json, Error>)> {
    let found = find::containers(home, &request.containers);
    let document = |container: Container| match request.security {
        true => security::document(&container),
        false => self::document(home, &container),
    };
    let document = |container: Container| {
        let sizes = match request.sizes {
            true => system::sizes(home, &[&container])?.pop(),
            false => None,
        };
        let mut document = document(container);
        if let Some(sizes) = sizes {
            document["SizeRw"] = sizes.changed.into();
            document["SizeRootFs"] = sizes.all.into();
        }
        Ok(document)
    };
    request.containers.iter().cloned().zip(found.into_iter().map(|c| c.and_then(document))).collect()
}

fn document(home: &Home, container: &Container) -> Json {
    let config = &container.config;
    let process = config.spec.process.clone().unwrap_or_default();
    json!({
        "Id": config.id,
        "Created": store::rfc3339(config.created_ns),
        "Path": config.args.first(),
        "Args": config.args.get(1..).unwrap_or_default(),
        "State": state(container),
        "Image": config.image_id.as_ref().unwrap_or(&config.image),
        // The files of the container's own root are used.
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": log_path(home, config),
        "Name": format!("/{}", config.name),
        "RestartCount": restarts(container),
        "Driver": driver(&config.root),
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": process.selinux_label.unwrap_or_default(),
        "AppArmorProfile": process.apparmor_profile.unwrap_or_default(),
        "ExecIDs": exec_ids(home, container),
        "HostConfig": host_config::document(home, config),
        "GraphDriver": { "Name": driver(&config.root), "Data": graph(home, container) },
        "Mounts": mounts(home, config),
        "Config": own_config(container),
        "NetworkSettings": network::settings(home, container),
        "Berth": berth(home, container),
    })
}

/// Where docker's lines are; as with docker, nothing where there are none.
fn log_path(home: &Home, config: &Config) -> String {
    match Driver::of(&config.request.log) {
        Some(Driver::JsonFile) => log::json_path(home, &config.id).display().to_string(),
        _ => String::new(),
    }
}

/// Commands that run in it besides its own; null if there are none, as in docker.
fn exec_ids(home: &Home, container: &Container) -> Option<Vec<String>> {
    match container.state {
        State::Running(_) => Some(exec::record::running(&container.cell(home))).filter(|ids| !ids.is_empty()),
        _ => None,
    }
}

fn state(container: &Container) -> Json {
    let nothing = Ended { code: Some(0), error: None, ..Ended::unseen(0, 0, "") };
    let (status, pid, ended, started) = match &container.state {
        State::Created | State::Starting => ("created", 0, nothing, None),
        State::Running(running) => {
            let status = if is_paused(running) { "paused" } else { "running" };
            (status, running.init.pid, nothing, Some(running.started_ns))
        }
        State::Restarting(ended) => ("restarting", 0, ended.clone(), Some(ended.started_ns)),
        State::Exited(ended) => ("exited", 0, ended.clone(), Some(ended.started_ns)),
    };
    let exited = matches!(status, "exited" | "restarting");
    let mut shown = json!({
        "Status": status,
        // As in docker: one that waits to be started again counts as running.
        "Running": matches!(status, "running" | "paused" | "restarting"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": ended.oom_killed,
        "Dead": false,
        "Pid": pid,
        // Null where nobody saw it end: a status is never invented.
        "ExitCode": ended.code,
        "Error": ended.error.unwrap_or_default(),
        "StartedAt": started.map_or(NEVER.to_owned(), store::rfc3339),
        "FinishedAt": if exited { store::rfc3339(ended.finished_ns) } else { NEVER.to_owned() },
    });
    if let Some(health) = &container.health {
        shown["Health"] = self::health(health);
    }
    shown
}

fn health(health: &Health) -> Json {
    let probe = |probe: &ProbeResult| {
        json!({
            "Start": store::rfc3339(probe.start_ns),
            "End": store::rfc3339(probe.end_ns),
            "ExitCode": probe.code,
            "Output": probe.output,
        })
    };
    json!({
        "Status": health.status.word(),
        "FailingStreak": health.failing_streak,
        "Log": health.log.iter().map(probe).collect::<Vec<Json>>(),
    })
}

/// How often its policy has started it since a user did; one that is waited for counts, as in docker.
fn restarts(container: &Container) -> u32 {
    match &container.state {
        State::Created | State::Starting => 0,
        State::Running(running) => running.restarts.count,
        State::Restarting(ended) => ended.next.map_or(ended.restarts, |next| next.restarts.count),
        State::Exited(ended) => ended.restarts,
    }
}

fn driver(root: &RootSource) -> &'static str {
    match root {
        RootSource::Directory(_) => "directory",
        RootSource::Host | RootSource::Layers(_) => "overlay2",
    }
}

fn graph(home: &Home, container: &Container) -> Json {
    let config = &container.config;
    let own = home.state_dir(&config.id);
    let lower = match &config.root {
        RootSource::Directory(path) => return json!({ "Directory": path }),
        RootSource::Host => "/".to_owned(),
        RootSource::Layers(layers) => {
            let topmost_first = layers.iter().rev().map(|layer| layer.to_string_lossy().into_owned());
            topmost_first.collect::<Vec<_>>().join(":")
        }
    };
    let merged = match &container.state {
        State::Running(running) => format!("/proc/{}/root", running.init.pid),
        _ => String::new(),
    };
    json!({
        "ID": config.id,
        "LowerDir": lower,
        "UpperDir": own.join("upper"),
        "WorkDir": own.join("work"),
        // Mounted in the container's own namespace only.
        "MergedDir": merged,
    })
}

fn mounts(home: &Home, config: &Config) -> Vec<Json> {
    let shown = config.mounts.iter().map(|mount| {
        let mode = if mount.read_only { "ro" } else { "" };
        let mut shown = json!({
            "Type": "tmpfs",
            "Source": "",
            "Destination": mount.target,
            "Mode": mode,
            "RW": !mount.read_only,
            "Propagation": "",
        });
        match &mount.kind {
            MountKind::Tmpfs { .. } => {}
            MountKind::Bind { source, propagation, .. } => {
                shown["Type"] = "bind".into();
                shown["Source"] = json!(source);
                shown["Propagation"] = propagation.word().into();
            }
            MountKind::Volume(volume) => {
                let name = volume.name.as_deref().unwrap_or_default();
                shown["Type"] = "volume".into();
                shown["Name"] = name.into();
                shown["Source"] = json!(crate::volumes::data_path(home, name));
                shown["Driver"] = crate::volumes::DRIVER.into();
                // Docker's, of a volume that was named without a word.
                let default = if volume.anonymous { "" } else { "z" };
                let words =
                    volume.words.as_deref().map(|words| if words.is_empty() { default } else { words });
                shown["Mode"] = words.unwrap_or(mode).into();
            }
            MountKind::Image { reference, layers, .. } => {
                shown["Type"] = "image".into();
                shown["Name"] = reference.as_str().into();
                shown["Source"] = json!(layers.last());
                shown["Propagation"] = "rprivate".into();
            }
        }
        shown
    });
    shown.collect()
}

fn own_config(container: &Container) -> Json {
    let config = &container.config;
    let request = &config.request;
    let process = config.spec.process.clone().unwrap_or_default();
    let image = &config.image_config;
    let (entrypoint, command) = entrypoint_and_command(request, image);
    let mut shown = json!({
        "Hostname": config.spec.hostname.as_deref().unwrap_or_default(),
        "Domainname": request.domainname.as_deref().unwrap_or_default(),
        "User": request.user.as_ref().unwrap_or(&image.user),
        "AttachStdin": request.attaches(StdStream::Stdin),
        "AttachStdout": request.attaches(StdStream::Stdout),
        "AttachStderr": request.attaches(StdStream::Stderr),
        "Tty": request.tty,
        "OpenStdin": request.interactive,
        "StdinOnce": request.interactive && !request.detach,
        "Env": env(request, image),
        "Cmd": command,
        "Image": config.image,
        "Volumes": set(&volume_targets(request, image)),
        "WorkingDir": process.cwd,
        "Entrypoint": entrypoint,
        "OnBuild": null,
        "Labels": config.labels(),
        "StopSignal": types::signal::name(config.stop_signal),
    });
    if let Some(seconds) = request.stop_timeout_secs.or(image.stop_timeout) {
        shown["StopTimeout"] = seconds.into();
    }
    if let Some(mac) = request.network.endpoints().first().and_then(|first| first.mac) {
        shown["MacAddress"] = net::ipam::mac_text(mac).into();
    }
    let published = request.net.publish.iter().map(|port| format!("{}/{}", port.port, port.protocol.word()));
    let ports: Vec<String> =
        image.exposed_ports.iter().chain(&request.expose).cloned().chain(published).collect();
    if !ports.is_empty() {
        shown["ExposedPorts"] = set(&ports);
    }
    if let Some(check) = crate::health::document(config) {
        shown["Healthcheck"] = json!(check);
    }
    shown
}

/// The variables that were asked for, and those of the image that they don't replace; what docker adds to any program's
/// isn't among them. A name alone is one that was taken away.
/// Its environment as it was asked for, with what the image sets.
pub(crate) fn env(request: &RunRequest, image: &Execution) -> Vec<String> {
    let mut own: Vec<(&str, String)> = Vec::new();
    for change in &request.env {
        let (name, shown) = match change {
            EnvChange::Set(name, value) => (name, format!("{name}={value}")),
            EnvChange::Unset(name) => (name, name.clone()),
        };
        match own.iter_mut().find(|(known, _)| *known == name.as_str()) {
            Some((_, old)) => *old = shown,
            None => own.push((name, shown)),
        }
    }
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let is_kept = |variable: &&String| own.iter().all(|(known, _)| *known != name(variable));
    let kept: Vec<String> = image.env.iter().filter(is_kept).cloned().collect();
    own.into_iter().map(|(_, shown)| shown).chain(kept).collect()
}

/// Targets of the volumes that are the container's own by `-v /PATH` or by the image.
fn volume_targets(request: &RunRequest, image: &Execution) -> Vec<String> {
    let asked = request.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume(VolumeRequest { name: None, words: Some(_), .. }) => {
            Some(mount.target.to_string_lossy().into_owned())
        }
        _ => None,
    });
    image.volumes.iter().cloned().chain(asked).collect()
}

/// Go's way to write a set; null if it's empty.
fn set(members: &[String]) -> Json {
    match members {
        [] => Json::Null,
        members => members.iter().map(|member| (member.clone(), json!({}))).collect(),
    }
}

/// What stands for the two in docker's document: the request's over the image's.
pub(crate) fn entrypoint_and_command<'a>(
    request: &'a RunRequest,
    image: &'a Execution,
) -> (Option<&'a [String]>, Option<&'a [String]>) {
    let some = |list: &'a [String]| Some(list).filter(|list| !list.is_empty());
    let given = some(&request.command);
    match &request.entrypoint {
        Some(own) => (some(own), given),
        None => (image.entrypoint.as_deref().and_then(some), given.or(image.cmd.as_deref().and_then(some))),
    }
}

fn berth(home: &Home, container: &Container) -> Json {
    let config = &container.config;
    let ids = || config.user_namespace.mappings().iter().map(|line| line.size).sum();
    let userns = match &config.user_namespace {
        UserNamespace::Own { base, .. } => ("own", *base, ids()),
        UserNamespace::Joined { base, .. } => ("joined", *base, ids()),
        UserNamespace::Host => ("host", 0, u32::MAX),
    };
    let running = match &container.state {
        State::Running(running) => Some(running),
        _ => None,
    };
    json!({
        "UserNamespace": { "Mode": userns.0, "FirstId": userns.1, "Ids": userns.2 },
        "Isolation": match config.request.isolation {
            crate::request::Isolation::Process => "process",
            crate::request::Isolation::Strict => "strict",
        },
        "TasksMax": config.tasks_max,
        // What runs in place of the container's own program.
        "StartedAs": running.and(config.started_as.as_ref()),
        "TimeOffsets": config.spec.linux.as_ref().map(|linux| &linux.time_offsets),
        "HealthOnFailure": match config.request.health.on_failure {
            OnUnhealthy::Nothing => "none",
            OnUnhealthy::Kill => "kill",
            OnUnhealthy::Restart => "restart",
            OnUnhealthy::Stop => "stop",
        },
        // What couldn't be done as asked, such as mounts whose ids can't be mapped.
        "Warnings": running.map(|running| running.warnings.as_slice()).unwrap_or_default(),
        "Cgroup": config.cgroup(home),
        "CgroupPaths": running.map(|running| &running.cgroup),
        "HolderPid": running.map_or(0, |running| running.holder.pid),
        "LogDir": log::kept_of(home, config),
        "StateDir": home.state_dir(&config.id),
        "RunDir": home.run_dir(&config.id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Source;

    #[test]
    fn arguments_split_into_entry_point_and_command() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let mut request = RunRequest::new(Source::Host);
        let image =
            Execution { entrypoint: Some(words(&["e"])), cmd: Some(words(&["c"])), ..Execution::default() };
        let (e, c, x) = (words(&["e"]), words(&["c"]), words(&["x"]));
        assert_eq!(entrypoint_and_command(&request, &image), (Some(&e[..]), Some(&c[..])));
        assert_eq!(entrypoint_and_command(&request, &Execution::default()), (None, None));
        request.command = x.clone();
        assert_eq!(entrypoint_and_command(&request, &image), (Some(&e[..]), Some(&x[..])));
        request.entrypoint = Some(Vec::new());
        assert_eq!(entrypoint_and_command(&request, &image), (None, Some(&x[..])));
    }
}
