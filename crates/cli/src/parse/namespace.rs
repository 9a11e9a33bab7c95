//! `--pid`, `--ipc`, `--uts`, `--userns`, `--cgroupns`, `--network`.

use engine::request::{IpcMode, NamespaceMode, NetworkMode};

use crate::failure::BadValue;
use crate::suggest;

/// `private`, `host`, `container:NAME`, `ns:PATH`; anything else by its word.
enum Word<'a> {
    Private,
    Host,
    Container(String),
    Path(std::path::PathBuf),
    Other(&'a str),
}

fn word(text: &str) -> Result<Word<'_>, BadValue> {
    Ok(match text.split_once(':') {
        Some(("container", "")) => {
            return Err(BadValue::new("no container is named").hint("write it as in container:web"));
        }
        Some(("container", name)) => Word::Container(name.to_owned()),
        Some(("ns", path)) if path.starts_with('/') => Word::Path(path.into()),
        Some(("ns", path)) => return Err(BadValue::new(format!("{path:?} is not an absolute path"))),
        _ => match text {
            "private" => Word::Private,
            "host" => Word::Host,
            other => Word::Other(other),
        },
    })
}

fn unknown(text: &str, known: &[&'static str]) -> BadValue {
    BadValue::new(format!("not one of {}", known.join(", ")))
        .did_you_mean(suggest::nearest(text, known.iter().copied()))
}

/// `--pid` and `--userns`: docker's words, and `private` and `ns:PATH`.
pub fn joinable(text: &str) -> Result<NamespaceMode, BadValue> {
    Ok(match word(text)? {
        Word::Private => NamespaceMode::Private,
        Word::Host => NamespaceMode::Host,
        Word::Container(name) => NamespaceMode::Container(name),
        Word::Path(path) => NamespaceMode::Path(path),
        Word::Other("") => NamespaceMode::Unset,
        Word::Other(_) => return Err(unknown(text, &["private", "host", "container:NAME", "ns:PATH"])),
    })
}

/// `--uts` and `--cgroupns`, which join no container.
pub fn own(text: &str) -> Result<NamespaceMode, BadValue> {
    match joinable(text) {
        Ok(NamespaceMode::Container(_)) | Err(_) => Err(unknown(text, &["private", "host", "ns:PATH"])),
        mode => mode,
    }
}

/// `--ipc`.
pub fn ipc(text: &str) -> Result<IpcMode, BadValue> {
    Ok(match word(text)? {
        Word::Private => IpcMode::Private,
        Word::Host => IpcMode::Host,
        Word::Container(name) => IpcMode::Container(name),
        Word::Path(path) => IpcMode::Path(path),
        Word::Other("") => IpcMode::Unset,
        Word::Other("none") => IpcMode::None,
        Word::Other("shareable") => IpcMode::Shareable,
        Word::Other(_) => {
            let known = ["none", "private", "shareable", "host", "container:NAME", "ns:PATH"];
            return Err(unknown(text, &known));
        }
    })
}

/// `--network` where that is no network: the host's, none, another's. `None` for a network by name.
pub fn network(text: &str) -> Result<Option<NetworkMode>, BadValue> {
    Ok(Some(match word(text)? {
        Word::Host => NetworkMode::Host,
        Word::Container(name) => NetworkMode::Container(name),
        Word::Path(path) => NetworkMode::Path(path),
        Word::Other("" | "default") => NetworkMode::Unset,
        Word::Other("none") => NetworkMode::None,
        Word::Private | Word::Other(_) => return Ok(None),
    }))
}
