//! Typed system calls.
