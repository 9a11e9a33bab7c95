//! The Dockerfile language. Source: the reference of `docker/dockerfile:1`, and BuildKit's front end where that is silent.
//!
//! ```text
//! text ──parse──▶ Dockerfile: stages of instructions, words as written, with spans
//! word ──expand──▶ text, words, which variables were used
//! ```
//!
//! - [`ast`]: what a Dockerfile says, as data; [`parse`] makes it, [`parse_trigger`] reads what `ONBUILD` left in an image
//! - [`expand`]: variables, quotes and escapes
//! - [`directive`]: which front end a file asks for
//! - [`ignore`]: `.dockerignore`; [`glob`]: patterns of `COPY`
//! - [`mount`]: `RUN --mount`; [`expose`]: ports
//! - [`lint`]: build checks; [`excerpt`]: the lines around a fault
//! - [`error`]: what is wrong with a file
//! - [`source`]: places in it

pub mod ast;
pub mod directive;
pub mod error;
pub mod excerpt;
pub mod expand;
pub mod expose;
mod flags;
pub mod glob;
pub mod heredoc;
pub mod ignore;
mod instruction;
pub mod lint;
pub mod mount;
mod parse;
mod pattern;
pub mod source;
mod split;
pub(crate) mod suggest;

pub use parse::{parse, parse_trigger};

#[cfg(test)]
mod tests;
