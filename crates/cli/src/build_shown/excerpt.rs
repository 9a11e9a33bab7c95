//! How a build failed: the step's last output, the Dockerfile's lines, and what to do.

use build::dockerfile::excerpt;
use build::dockerfile::source::Lines;

use super::{BuildFailure, Failure};

/// What is printed of a failure.
pub fn failed(failure: &BuildFailure) -> Failure {
    let mut text = String::new();
    if let Some(step) = &failure.step {
        text.push_str(&format!("\n------\n > {step}:\n"));
        for line in &failure.output {
            text.push_str(line.trim_end_matches('\n'));
            text.push('\n');
        }
        text.push_str("------\n");
    }
    match (&failure.dockerfile, failure.lines, &failure.syntax) {
        (Some((name, dockerfile)), _, Some(errors)) => {
            for error in &errors.errors {
                text.push_str(&excerpt::excerpt(name, dockerfile, error.place));
            }
        }
        (Some((name, dockerfile)), Some((first, last)), None) => {
            text.push_str(&excerpt::lines(name, dockerfile, Lines { first, last }));
        }
        _ => {}
    }
    let text: String =
        text.split_inclusive('\n').map(|line| engine::inert(line.trim_end_matches('\n')) + "\n").collect();
    eprint!("{text}");
    let message = match failure.is_interrupted {
        true => "the build was stopped; what was complete is found by the next one".to_owned(),
        false => format!("failed to build: {}", failure.message),
    };
    let mut hint = failure.hint.clone();
    if let Some(shell) = &failure.shell {
        hint = Some(format!("a shell in the state before that step: {shell}"));
    }
    Failure { hint, exit_code: if failure.is_interrupted { 130 } else { 1 }, ..Failure::new(message) }
}
