//! What is wrong, where, and what to do.

use crate::dockerfile::parse;

/// The faults of a file, each with what is marked.
fn faults(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err(text);
    let marked = |start, end| text.get(start..end).unwrap_or("?").to_owned();
    errors
        .errors
        .iter()
        .map(|error| format!("{error} @ {}", marked(error.place.span.start, error.place.span.end)))
        .collect()
}

/// The only fault of an instruction behind a `FROM`.
fn check(instruction: &str, expected: &str) {
    assert_eq!(faults(&format!("FROM scratch\n{instruction}")), [expected], "{instruction}");
}

#[test]
fn unknown_names_are_told_with_what_is_near() {
    check("RUNN x", "unknown instruction: RUNN (did you mean RUN?) @ RUNN");
    check("copi a b", "unknown instruction: copi (did you mean copy?) @ copi");
    check("Entrypont x", "unknown instruction: Entrypont (did you mean ENTRYPOINT?) @ Entrypont");
    check("NONSENSE x", "unknown instruction: NONSENSE @ NONSENSE");
    check("COPY --frm=a b c", "unknown flag: --frm (did you mean from?) @ --frm=a");
    check("ADD --from=a b c", "unknown flag: --from @ --from=a");
    check("RUN --moutn=x y", "unknown flag: --moutn (did you mean mount?) @ --moutn=x");
    check("ENV --x a=b", "unknown flag: --x @ --x");
    check("ARG --x a=b", "unknown flag: --x @ --x");
    check("WORKDIR --x /a", "unknown flag: --x @ --x");
    check("ONBUILD --x RUN a", "unknown flag: --x @ --x");
}

#[test]
fn flags_need_right_values() {
    check("COPY --from a b", "missing a value on flag: from @ --from");
    check("COPY --link= a b", "missing a value on flag: link @ --link=");
    check("COPY --link=x a b", "expecting boolean value for flag link, not: x @ --link=x");
    check("COPY --from=a --from=b c d", "duplicate flag specified: from @ --from=b");
    check("RUN --network=nonee x", "invalid network mode \"nonee\" (did you mean none?) @ --network=nonee");
    check("RUN --security=x y", "security \"x\" is not valid @ --security=x");
    check(
        "RUN --mount=from=$x,target=/y z",
        "'from' doesn't support variable expansion, define alias stage instead @ --mount=from=$x,target=/y",
    );
    check("RUN --mount= x", "failed to parse csv mounts: EOF @ --mount=");
    check(
        "HEALTHCHECK --interval=x CMD a",
        "time: invalid duration \"x\" (durations are written as in 30s, 1m30s or 500ms) @ --interval=x",
    );
    check(
        "HEALTHCHECK --interval=1us CMD a",
        "Interval \"interval\" cannot be less than 1ms @ --interval=1us",
    );
    check("HEALTHCHECK --timeout=-1s CMD a", "Interval \"timeout\" cannot be less than 1ms @ --timeout=-1s");
    check("HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1) @ --retries=-1");
    check("HEALTHCHECK --retries=x CMD a", "--retries needs a number, not \"x\" @ --retries=x");
}

#[test]
fn arguments_must_be_there() {
    let whole = |instruction: &str, message: &str| check(instruction, &format!("{message} @ {instruction}"));
    whole(
        "COPY a",
        "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
    );
    whole(
        "ADD",
        "ADD requires at least two arguments, but only one was provided. Destination could not be determined",
    );
    whole(
        "COPY [\"a\"]",
        "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
    );
    whole("ENV", "ENV requires at least one argument");
    whole("ENV a", "ENV must have two arguments");
    whole("LABEL a", "LABEL must have two arguments");
    whole("ARG", "ARG requires at least one argument");
    whole("EXPOSE", "EXPOSE requires at least one argument");
    whole("VOLUME", "VOLUME requires at least one argument");
    whole("USER", "USER requires exactly one argument");
    whole("WORKDIR", "WORKDIR requires exactly one argument");
    whole("STOPSIGNAL", "STOPSIGNAL requires exactly one argument");
    whole("MAINTAINER", "MAINTAINER requires exactly one argument");
    whole("ONBUILD", "ONBUILD requires at least one argument");
    whole("SHELL", "SHELL requires at least one argument");
    whole("SHELL []", "SHELL requires at least one argument");
    whole("HEALTHCHECK", "HEALTHCHECK requires at least one argument");
    whole("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD");
    whole("HEALTHCHECK CMD []", "Missing command after HEALTHCHECK CMD");
    whole("FROM", "FROM requires either one or three arguments");
    whole("FROM a b", "FROM requires either one or three arguments");
    whole("FROM a as", "FROM requires either one or three arguments");
    whole("FROM a is b", "FROM requires either one or three arguments");
    whole("FROM a as b c", "FROM requires either one or three arguments");
}

#[test]
fn arguments_must_be_right() {
    let strings = "when using JSON array syntax, arrays must be comprised of strings only";
    check("CMD [\"a\", 1]", &format!("{strings} @ [\"a\", 1]"));
    check("COPY [\"a\", null]", &format!("{strings} @ [\"a\", null]"));
    check("HEALTHCHECK CMD [1]", &format!("{strings} @ [1]"));
    check("ONBUILD CMD [1]", &format!("{strings} @ [1]"));
    check("ENV a=b c", "Syntax error - can't find = in \"c\". Must be of the form: name=value @ c");
    check("ENV =b", "ENV names can not be blank @ b");
    check("ARG =b", "ARG names can not be blank @ =b");
    check("VOLUME [\"\"]", "VOLUME specified can not be an empty string @ [\"\"]");
    check(
        "SHELL /bin/sh -c",
        "SHELL requires the arguments to be in JSON form (as in SHELL [\"/bin/bash\", \"-c\"]) @ /bin/sh -c",
    );
    check("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments @ x");
    check("HEALTHCHECK TCP x", "Unknown type \"TCP\" in HEALTHCHECK (try CMD) @ TCP");
    check("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed @ ONBUILD");
    check("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger @ FROM");
    check("ONBUILD maintainer x", "MAINTAINER isn't allowed as an ONBUILD trigger @ maintainer");
    check("ONBUILD ENV a", "ENV must have two arguments @ ENV a");
    check("COPY a <<EOF\nEOF", "COPY cannot accept a heredoc as a destination @ <<EOF");
    check(
        "FROM a AS 1b",
        "invalid name for build stage: \"1b\", name can't start with a number or contain symbols @ 1b",
    );
    check(
        "FROM a AS b/c",
        "invalid name for build stage: \"b/c\", name can't start with a number or contain symbols @ b/c",
    );
    check("RUN <<EOF\na", "unterminated heredoc (a line \"EOF\" is missing that ends it) @ RUN <<EOF");
}

#[test]
fn files_must_have_a_stage() {
    assert_eq!(faults(""), ["the Dockerfile cannot be empty @ "]);
    assert_eq!(faults("# nothing\n\n"), ["file with no instructions @ "]);
    assert_eq!(faults("ARG a\n"), ["dockerfile contains no stages to build @ "]);
    assert_eq!(
        faults("RUN a\n"),
        ["no build stage in current context (the first instruction, other than ARG, is FROM) @ RUN a"]
    );
    assert_eq!(
        faults("# escape=x\nFROM a"),
        ["invalid escape token 'x' does not match ` or \\ @ # escape=x"]
    );
    assert_eq!(
        faults("# check=skip=all\n# check=skip=all\nFROM a"),
        ["only one check parser directive can be used @ # check=skip=all"]
    );
}

#[test]
fn all_faults_are_reported_at_once() {
    let text = "FORM scratch\nFROM scratch AS ok\nENV a\nCOPY --frm=x --lnk a b\nRUN ok\nEXPOS 80\nCMD [1]\n";
    assert_eq!(
        faults(text),
        [
            "unknown instruction: FORM (did you mean FROM?) @ FORM",
            "ENV must have two arguments @ ENV a",
            "unknown flag: --frm (did you mean from?) @ --frm=x",
            "unknown flag: --lnk (did you mean link?) @ --lnk",
            "unknown instruction: EXPOS (did you mean EXPOSE?) @ EXPOS",
            "when using JSON array syntax, arrays must be comprised of strings only @ [1]",
        ]
    );
    let lines: Vec<_> =
        parse(text).expect_err("faults").errors.iter().map(|error| error.place.lines.first).collect();
    assert_eq!(lines, [1, 3, 4, 4, 6, 7]);
    assert!(
        parse(text)
            .expect_err("faults")
            .to_string()
            .starts_with("line 1, column 1: unknown instruction: FORM")
    );
}
