#![forbid(unsafe_code)]
pub mod seccomp;
