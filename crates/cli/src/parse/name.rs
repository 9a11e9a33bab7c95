//! Names and paths of the container: `--name`, `--hostname`, `--workdir`.

use crate::failure::BadValue;

/// Name of a container.
pub fn name(text: &str) -> Result<String, BadValue> {
    let text = text.strip_prefix('/').unwrap_or(text);
    match types::id::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(BadValue::new("not a name for a container")
            .hint("2 to 128 letters, digits, _, . and -, the first a letter or digit")),
    }
}

/// Host or domain name.
pub fn host_name(text: &str) -> Result<String, BadValue> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match text.len() {
        0..=64 if text.bytes().all(good) && !text.starts_with(['-', '.']) => Ok(text.to_owned()),
        0..=64 => Err("letters, digits, -, _ and . may stand in it, the first a letter or digit".into()),
        _ => Err("longer than the kernel's 64 bytes".into()),
    }
}

/// Longest path of a parent of control groups.
const CGROUP_PARENT_BYTES_MAX: usize = 255;

/// Parent of a container's control group.
pub fn cgroup_parent(text: &str) -> Result<String, BadValue> {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    if text.len() > CGROUP_PARENT_BYTES_MAX || text.chars().any(char::is_control) {
        return Err("longer than 255 bytes, or with control characters".into());
    }
    match parts.is_empty() || parts.iter().any(|part| matches!(*part, "." | "..")) {
        true => Err(BadValue::new("not the path of a control group").hint("write it as in /limited/web")),
        false => Ok(text.to_owned()),
    }
}

/// A stream of `--attach`.
pub fn stream(text: &str) -> Result<engine::request::StdStream, BadValue> {
    use engine::request::StdStream;
    match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(StdStream::Stdin),
        "stdout" => Ok(StdStream::Stdout),
        "stderr" => Ok(StdStream::Stderr),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".into()),
    }
}

/// Absolute directory of the container.
pub fn absolute(text: &str) -> Result<String, BadValue> {
    match text.starts_with('/') && !text.contains('\0') {
        true => Ok(text.to_owned()),
        false => Err(BadValue::new("not an absolute path").hint(format!("did you mean /{text}?"))),
    }
}

/// Driver of a volume. Docker's plugins aren't to be had.
pub fn volume_driver(text: &str) -> Result<(), BadValue> {
    match text {
        engine::volumes::DRIVER => Ok(()),
        _ => Err(BadValue::new(format!("error looking up volume plugin {text}: plugin {text:?} not found"))
            .hint("leave it out; local is the only driver")),
    }
}
