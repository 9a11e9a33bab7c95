//! The Dockerfile language. Source: the reference of `docker/dockerfile:1`, and BuildKit's front end where that is silent.
