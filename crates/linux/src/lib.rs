//! Typed system calls.
pub mod bpf;
