//! What files hold, as digests: of a file, of a directory with all that is in it, of what a copy selects.
//!
//! A digest covers path, type, mode, extended attributes that mean the same in any container, link target, device number,
//! bytes, and where it's asked for owners; which names are one file (hard links) counts, times never do. Each directory has
//! a digest of its own, so that two trees are compared by going down where they differ.
//!
//! Invariants:
//! 1. Every directory is opened from the root of the tree, beneath it and through no symbolic link; what a file is was seen
//!    on the very file that is read.
//! 2. Equal digests are equal content. A file that changes while it is read is read again, and in the end refused.
//! 3. What is remembered of a file ([`Seen`]) is used only for the same device, inode, size and times of change, and only on
//!    file systems of this machine. A file that was changed so shortly before it was read that a further change could
//!    have the same time isn't remembered (git's "racy" rule).
//! 4. Memory grows by about 100 bytes and a name for each file that is selected; nothing else does.
//!
//! - [`scan`]: what is there, and its digests; [`seen`]: digests that are remembered from build to build
//! - [`list`]: paths with short digests, kept to tell later what changed

pub mod list;
mod node;
pub mod scan;
pub mod seen;

pub use list::{Difference, How, List};
pub use node::NodeKind;
pub(crate) use node::with_xattrs;
pub use scan::{Listing, Node, Reading, Selection, Take, Tree};
pub use seen::Seen;

/// A SHA-256 digest.
pub type Sum = [u8; 32];

/// A digest as it is written: `sha256:` and 64 digits.
pub fn written(sum: &Sum) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in sum {
        // A String takes all that is written.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
