//! Compose files: from their texts to one merged, interpolated, validated model, and to a plan of what has to change.
//!
//! Pure: this crate starts nothing. Source: the compose specification, and docker compose where that is silent.
#![forbid(unsafe_code)]
