//! `berth cp`.

use serde::{Deserialize, Serialize};

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyEnd {
    /// A path of this host.
    Local(String),
    /// An archive, on standard input or output.
    Stream,
    /// A path of a container or, if there is none of that name, of an image.
    Of {
        /// Its name.
        name: String,
        /// From its root.
        path: String,
    },
}

/// `berth cp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyRequest {
    /// What is copied.
    pub source: CopyEnd,
    /// To where.
    pub destination: CopyEnd,
    /// Whether the copies belong to whom the source belongs to.
    pub archive: bool,
    /// Whether a link at the end of the source's path is followed.
    pub follow_link: bool,
}
