//! How a build failed: the step's last output, the Dockerfile's lines, and what to do.

use super::{BuildFailure, Failure};

/// Lines around those that failed.
const AROUND: usize = 3;

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
    if let (Some((name, dockerfile)), Some(lines)) = (&failure.dockerfile, failure.lines) {
        text.push_str(&excerpt(name, dockerfile, lines));
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

/// Lines of a Dockerfile, as buildx shows them.
fn excerpt(name: &str, text: &str, (first, last): (usize, usize)) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = first.saturating_sub(AROUND).max(1);
    let to = (last + AROUND).min(lines.len());
    let dashes = "-".repeat(20);
    let mut out = format!("{name}:{first}\n{dashes}\n");
    for number in from..=to {
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        let line = lines.get(number - 1).unwrap_or(&"");
        out.push_str(format!("{number:>4} | {mark} {line}").trim_end());
        out.push('\n');
    }
    out.push_str(&dashes);
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_marked() {
        let shown = excerpt("Dockerfile", "FROM a\nRUN b\nRUN c", (2, 2));
        assert_eq!(
            shown,
            "Dockerfile:2\n--------------------\n   1 |     FROM a\n   2 | >>> RUN b\n   3 |     RUN c\n--------------------\n"
        );
    }
}
