//! How results are printed: docker's tables, templates and words.

pub mod colour;
pub mod compose;
pub mod events;
pub mod glob;
pub mod images;
pub mod json;
pub mod networks;
pub mod ps;
pub mod run_line;
pub mod size;
pub mod stats;
pub mod table;
pub mod template;
pub mod time;
pub mod tree;
pub mod usage;
pub mod volumes;

pub use template::Format;
