//! Tests of the parser. What BuildKit answers to whole files is compared in crates/cli/tests/build.

mod errors;
mod instructions;
mod lines;

use super::ast::{Command, Dockerfile, Instruction, Kind, Stage};
use super::parse;

/// The instructions of a file that is right, each as a line.
fn dump(text: &str) -> Vec<String> {
    let file = parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let stage = |stage: &Stage| {
        let platform = stage.platform.as_ref().map(|platform| format!(" on {platform}")).unwrap_or_default();
        let head = format!("FROM {}{platform} as {:?}", stage.base, stage.name);
        std::iter::once(head).chain(stage.instructions.iter().map(show)).collect::<Vec<_>>()
    };
    file.global_args.iter().map(show).chain(file.stages.iter().flat_map(stage)).collect()
}

fn show(instruction: &Instruction) -> String {
    let name = instruction.kind.name();
    let texts =
        |words: &[super::source::Word]| words.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
    let command = |command: &Command| match command {
        Command::Shell(line) => format!("{line:?}"),
        Command::Exec(args) => format!("{args:?}"),
    };
    let rest = match &instruction.kind {
        Kind::Add(copy) | Kind::Copy(copy) => {
            let docs: Vec<_> =
                copy.heredocs.iter().map(|doc| (&doc.name, doc.text(), doc.is_expanded)).collect();
            format!("{:?} {docs:?} -> {:?}", texts(&copy.sources), copy.dest.text)
        }
        Kind::Arg(pairs) => {
            let pair = |pair: &super::ast::ArgPair| match &pair.value {
                Some(value) => format!("{}={value}", pair.name),
                None => pair.name.text.clone(),
            };
            pairs.iter().map(pair).collect::<Vec<_>>().join("|")
        }
        Kind::Env(pairs) | Kind::Label(pairs) => {
            let pair = |pair: &super::ast::Pair| {
                let sign = if pair.is_legacy { " " } else { "=" };
                format!("{}{sign}{}", pair.name, pair.value)
            };
            pairs.iter().map(pair).collect::<Vec<_>>().join("|")
        }
        Kind::Cmd(line) | Kind::Entrypoint(line) => command(line),
        Kind::Run(run) => match run.heredocs.is_empty() {
            true => command(&run.command),
            false => format!("{:?}", run.program()),
        },
        Kind::Expose(words) | Kind::Volume(words) => format!("{:?}", texts(words)),
        Kind::Healthcheck(check) => format!("{:?} every {:?}", check.test, check.interval),
        Kind::Onbuild(onbuild) => format!("{:?}", onbuild.trigger),
        Kind::Shell(args) => format!("{args:?}"),
        Kind::Maintainer(word) | Kind::StopSignal(word) | Kind::User(word) | Kind::Workdir(word) => {
            format!("{:?}", word.text)
        }
    };
    format!("{name} {rest}")
}

/// The only instruction behind a `FROM`.
fn one(text: &str) -> Instruction {
    let file = file(&format!("FROM scratch\n{text}"));
    assert_eq!(file.stages[0].instructions.len(), 1, "{text}");
    file.stages[0].instructions[0].clone()
}

fn file(text: &str) -> Dockerfile {
    parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}
