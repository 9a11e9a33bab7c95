//! Programs for containers, made from C.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Exchanges the two names that it's given, without end.
pub const EXCHANGER: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(int argc, char **argv) {
    for (;;) syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], 2 /* RENAME_EXCHANGE */);
}
"#;

/// Compiles a C program to the static executable `name` in the new directory `dir`, which a container may mount.
pub fn compile(dir: &Path, name: &str, source: &str) -> PathBuf {
    std::fs::create_dir(dir).unwrap_or_else(|e| panic!("make {}: {e}", dir.display()));
    let (file, program) = (dir.join("source.c"), dir.join(name));
    std::fs::write(&file, source).unwrap_or_else(|e| panic!("write {}: {e}", file.display()));
    let compiled = ["musl-gcc", "cc"].iter().any(|compiler| {
        let mut command = Command::new(compiler);
        command.args(["-static", "-O1", "-w", "-o"]).arg(&program).arg(&file).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    assert!(compiled, "no C compiler made {name}: install musl-tools");
    std::fs::remove_file(&file).unwrap_or_else(|e| panic!("remove {}: {e}", file.display()));
    program
}
