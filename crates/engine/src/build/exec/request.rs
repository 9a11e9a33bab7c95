//! A program of a build as a container's request: docker's defaults for builds live here.

use crate::Error;
use crate::request::{EnvChange, HostAddress, NamespaceMode, NetworkMode, RunRequest, Source, UlimitRequest};
use build::op::{Exec, Network};

/// What a build's machine is called, as with BuildKit.
const HOSTNAME: &str = "buildkitsandbox";

/// The request. `secrets` are variables that are set besides.
pub fn request(exec: &Exec, secrets: Vec<(String, String)>) -> Result<RunRequest, Error> {
    let mut request = RunRequest::new(Source::Image("a step of a build".to_owned()));
    request.rm = true;
    request.entrypoint = Some(exec.args.clone());
    let split = |variable: &String| {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        (name.to_owned(), value.to_owned())
    };
    let variables: Vec<(String, String)> = exec.env.iter().map(split).chain(secrets).collect();
    // docker's containers have it, its builds don't.
    if !variables.iter().any(|(name, _)| name == "HOSTNAME") {
        request.env.push(EnvChange::Unset("HOSTNAME".to_owned()));
    }
    request.env.extend(variables.into_iter().map(|(name, value)| EnvChange::Set(name, value)));
    request.workdir = Some(exec.working_dir.clone()).filter(|path| !path.is_empty());
    request.user = Some(exec.user.clone()).filter(|user| !user.is_empty());
    let hostname = Some(exec.hostname.clone()).filter(|name| !name.is_empty());
    request.hostname = Some(hostname.unwrap_or_else(|| HOSTNAME.to_owned()));
    request.security.privileged = exec.is_privileged;
    request.network = match exec.network {
        Network::Default => NetworkMode::Unset,
        Network::None => NetworkMode::None,
        Network::Host => NetworkMode::Host,
    };
    if exec.network == Network::Host && !exec.is_privileged {
        // Of the host's it has the network and nothing else.
        request.userns = NamespaceMode::Private;
    }
    for text in &exec.add_hosts {
        request.net.hosts.push(host(text)?);
    }
    request.resources.shm_size_bytes = exec.shm_size.filter(|bytes| *bytes > 0);
    for text in &exec.ulimits {
        request.resources.ulimits.push(ulimit(text)?);
    }
    request.resources.cgroup_parent = Some(exec.cgroup_parent.clone()).filter(|parent| !parent.is_empty());
    Ok(request)
}

fn host(text: &str) -> Result<(String, HostAddress), Error> {
    let bad = || Error::invalid("--add-host", format!("{text:?} is not NAME:ADDRESS"));
    let (name, address) = text.split_once([':', '=']).filter(|(name, _)| !name.is_empty()).ok_or_else(bad)?;
    let address = match address.trim_start_matches('[').trim_end_matches(']') {
        "host-gateway" => HostAddress::Gateway,
        address => HostAddress::Ip(address.parse().map_err(|_| bad())?),
    };
    Ok((name.to_owned(), address))
}

fn ulimit(text: &str) -> Result<UlimitRequest, Error> {
    let bad = || Error::invalid("--ulimit", format!("{text:?} is not NAME=SOFT[:HARD]"));
    let (name, limits) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        text => text.parse().map(Some).map_err(|_| bad()),
    };
    Ok(UlimitRequest { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? })
}
