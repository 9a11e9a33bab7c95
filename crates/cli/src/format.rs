//! How results are printed: docker's tables, templates and words.

pub mod ps;
pub mod table;
pub mod template;
pub mod time;
pub mod tree;

pub use template::Format;
