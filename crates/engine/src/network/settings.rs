//! What the host's administrator has set about networks: `/etc/berth/networks.json`, or the file that `BERTH_NETWORKS` names.

use crate::Error;
use serde::Deserialize;
use std::io::Read;
use std::path::PathBuf;

/// The machine's file.
const FILE: &str = "/etc/berth/networks.json";

/// The variable that names another.
const VARIABLE: &str = "BERTH_NETWORKS";

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Settings. Without a file, all as they are by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// Who decides about connections from outside to published ports.
    pub firewall: Policy,
}

/// Who decides about connections from outside to published ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Policy {
    /// Whoever publishes them: a place for them is made in other firewalls, or advised.
    #[default]
    Berth,
    /// The host's own firewall, by its chains at forward.
    Host,
}

impl Settings {
    /// Reads them.
    ///
    /// Errors: a file that can't be read or understood. Only the machine's may be missing.
    pub(super) fn load() -> Result<Settings, Error> {
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = named.clone().unwrap_or_else(|| FILE.into());
        let fault = |why: String| Error::invalid(format!("settings in {}", path.display()), why);
        let mut text = Vec::new();
        let read =
            std::fs::File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
        match read {
            Ok(_) => serde_json::from_slice(&text).map_err(|error| fault(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
                Ok(Settings::default())
            }
            Err(error) => Err(fault(error.to_string())),
        }
    }
}
