//! Tar archives as a stream of entries: ustar, GNU long names, pax, and sparse files of both.
//!
//! The reader believes nothing. Whatever a header says, memory is bounded by the constants here, an entry has one size
//! (pax before header, and a header that readers of the world disagree about is refused), and the content is delivered
//! as it comes. What it does not know, it refuses by name: multi-volume archives, dump directories.
//!
//! - [`header`]: one block of 512 bytes
//! - [`pax`]: extended records
//! - [`sparse`]: maps of files with holes
//! - [`reader`]: entries and their content
//! - [`writer`]: the other way

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use reader::{Entry, EntryKind, Reader, Xattrs};
pub use writer::{WriteError, Writer};

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 512;

/// Longest name or link target, in bytes: Linux takes none above `PATH_MAX`, the closing NUL included.
pub const NAME_BYTES_MAX: usize = 4095;

/// Most bytes of the extended records before one entry, as in Go's reader; an extended attribute has 64 KiB at most.
pub const EXTENDED_BYTES_MAX: u64 = 1 << 20;

/// What is wrong with an archive, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}at byte {offset}: {fault}", entry.as_ref().map(|name| format!("entry \"{name}\" ")).unwrap_or_default())]
pub struct Error {
    /// Offset in the uncompressed archive of the header in question.
    pub offset: u64,
    /// The entry's name, escaped, where it is known.
    pub entry: Option<String>,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}

/// What can be wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The stream under the archive failed.
    #[error("{0}")]
    Read(std::io::Error),
    /// The archive ends before its end.
    #[error("the archive ends in the middle of {0}")]
    Truncated(&'static str),
    /// The first block is no header.
    #[error("this is not a tar archive")]
    NotTar,
    /// A later block is no header.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// A field of a header or a record that holds no number, or one out of range.
    #[error("field {0} holds no valid number")]
    Number(&'static str),
    /// Extended records that break their grammar.
    #[error("extended header: {0}")]
    Pax(&'static str),
    /// A sparse file whose map can't be right.
    #[error("sparse file: {0}")]
    Sparse(&'static str),
    /// More bytes than berth takes.
    #[error("{what} has more than {max} bytes")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// The most berth takes.
        max: u64,
    },
    /// Something that readers disagree about: what one sees, another doesn't.
    #[error("{0}")]
    Ambiguous(&'static str),
    /// Something berth doesn't read.
    #[error("{0} is not supported")]
    Unsupported(String),
}
