use super::*;

fn failure(line: &str) -> Failure {
    let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
    dispatch("berth compose", &words).expect_err(line)
}

#[test]
fn unknown_commands_name_the_nearest() {
    assert_eq!(failure("confg").hint.as_deref(), Some("did you mean berth compose config?"));
    assert_eq!(failure("publish x").exit_code, 125);
    assert_eq!(failure("--no-such-flag config").exit_code, 125);
    assert_eq!(failure("--ansi sometimes config").exit_code, 125);
}

#[test]
fn flags_after_the_command_are_its_own() {
    assert!(failure("config -f x").message.contains("unknown shorthand flag"));
}
