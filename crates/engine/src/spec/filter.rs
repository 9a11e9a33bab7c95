//! The system call filter of a container.

use crate::Error;
use crate::request::{Isolation, RunRequest, Seccomp};
use runtime::seccomp::{self, KernelVersion, Profile, Program};
use types::caps::CapSet;

/// The filter, compiled for the capabilities that the container has; `None` without one.
pub fn seccomp_program(request: &RunRequest, caps: CapSet) -> Result<Option<Program>, Error> {
    let invalid = |error: seccomp::Error| Error::Runtime(error.into());
    match &request.security.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default if request.security.privileged => Ok(None),
        Seccomp::Default if request.isolation == Isolation::Strict => {
            Ok(Some(seccomp::compile_docker_strict(caps)))
        }
        Seccomp::Default => Ok(Some(seccomp::compile_docker_default(caps))),
        Seccomp::Profile { path, json } => {
            let profile = Profile::parse(json.as_bytes()).map_err(|error| {
                Error::invalid(format!("--security-opt seccomp={path}"), error.to_string())
            })?;
            let release = rustix::system::uname();
            let kernel = release.release().to_str().ok().and_then(KernelVersion::parse);
            let document = profile.resolve(caps, kernel.unwrap_or(KernelVersion(6, 1))).map_err(invalid)?;
            Ok(Some(seccomp::compile(&document).map_err(invalid)?))
        }
    }
}
