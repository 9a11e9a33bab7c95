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
