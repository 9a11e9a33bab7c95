//! `cargo xtask COMMAND`: everything that a developer or CI does to berth, in one place.
//!
//! Plain Rust with the standard library alone, so that it builds in seconds. It runs other programs (cargo, apt-get,
//! cc) and never becomes part of the product.
//!
//! - [`setup`], [`build`], [`dist`], [`run`]: from a fresh machine to a binary
//! - [`test`], [`leaks`], [`soak`], [`vm`], [`fuzz`], [`goldens`]: proof; [`programs`], [`host`], [`netns`]: what they share
//! - [`lint`], [`tidy`]: what machines check of the house style
//! - [`commit`]: the same changes in docker's containers and in ours
//! - [`bench`], [`peers`]: speed, beside the kernel's floor and other engines
#![forbid(unsafe_code)]

mod bench;
mod build;
mod cmd;
mod commit;
mod dist;
mod fuzz;
mod goldens;
mod host;
mod leaks;
mod lint;
mod netns;
mod peers;
mod programs;
mod run;
mod setup;
mod soak;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

/// What a command gives back; the message says what failed, on what, and why.
type Result<T = ()> = std::result::Result<T, String>;

struct Command {
    name: &'static str,
    about: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result,
}

const COMMANDS: &[Command] = &[
    Command { name: "run", about: "build berth and run `berth run`", help: run::HELP, run: run::main },
    Command {
        name: "test",
        about: "set up, lint, build and run every test",
        help: test::HELP,
        run: test::main,
    },
    Command {
        name: "setup",
        about: "install what building and testing need",
        help: setup::HELP,
        run: setup::main,
    },
    Command { name: "lint", about: "formatting, clippy, tidy, licences", help: lint::HELP, run: lint::main },
    Command {
        name: "tidy",
        about: "the house rules that no compiler checks",
        help: tidy::HELP,
        run: tidy::main,
    },
    Command {
        name: "bench",
        about: "measure against the kernel's floor and peers",
        help: bench::HELP,
        run: bench::main,
    },
    Command {
        name: "peers",
        about: "build the root that holds other engines",
        help: peers::HELP,
        run: peers::main,
    },
    Command { name: "dist", about: "build the one static binary", help: dist::HELP, run: dist::main },
    Command { name: "soak", about: "many random rounds of kill -9", help: soak::HELP, run: soak::main },
    Command { name: "fuzz", about: "feed parsers with made-up input", help: fuzz::HELP, run: fuzz::main },
    Command {
        name: "test-vm",
        about: "a subset of the tests under cgroup v2",
        help: vm::HELP,
        run: vm::main,
    },
    Command {
        name: "goldens",
        about: "record what other engines answer",
        help: goldens::HELP,
        run: goldens::main,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result {
    let Some((name, rest)) = args.split_first() else {
        print_usage();
        return Err("a command is needed".into());
    };
    if matches!(name.as_str(), "-h" | "--help" | "help") {
        print_usage();
        return Ok(());
    }
    // Hidden: the half of a measurement that runs inside the peers' namespace.
    if name == "bench-worker" {
        return bench::worker::main();
    }
    let command = COMMANDS
        .iter()
        .find(|command| command.name == name)
        .ok_or_else(|| format!("no command {name}; cargo xtask --help lists them"))?;
    // `run` hands its arguments to berth, --help among them; only a lone one is ours.
    let asks_help = rest.iter().any(|arg| arg == "--help" || arg == "-h");
    if asks_help && (command.name != "run" || rest.len() == 1) {
        println!("{}", command.help.trim());
        return Ok(());
    }
    (command.run)(rest)
}

fn print_usage() {
    println!("usage: cargo xtask COMMAND [--help]\n");
    for command in COMMANDS {
        println!("  {:<9} {}", command.name, command.about);
    }
}
