//! Lines, continuations, comments, directives, heredocs.

use super::{dump, file, one};
use crate::dockerfile::ast::{Kind, Program};
use crate::dockerfile::parse;

/// What follows `FROM scratch`.
fn check(text: &str, expected: &[&str]) {
    let lines = dump(&format!("FROM scratch\n{text}"));
    assert_eq!(lines[1..], *expected, "{text}");
}

#[test]
fn lines_are_joined_where_they_are_continued() {
    check("RUN a \\\n  b", &["RUN \"a   b\""]);
    check("RUN a \\\n\\\n b", &["RUN \"a  b\""]);
    check("RUN a\\\nb", &["RUN \"ab\""]);
    check("RUN a \\  \t\nb", &["RUN \"a b\""]);
    check("RUN a \\\r\n b\r\n", &["RUN \"a  b\""]);
    check("RUN a \\\n# comment\nb", &["RUN \"a b\""]);
    check("RUN a \\\n   # comment\n b", &["RUN \"a  b\""]);
    check("RUN a \\\n\n\nb", &["RUN \"a b\""]);
    check("RUN a # not a comment", &["RUN \"a # not a comment\""]);
    check("RUN a \\\\\nRUN b", &["RUN \"a \\\\\\\\\"", "RUN \"b\""]);
    check("RUN a \\", &["RUN \"a\""]);
    check("RUN a \\\n", &["RUN \"a\""]);
    check("  RUN a", &["RUN \"a\""]);
    check("\tRUN\ta\t", &["RUN \"a\""]);
    check("R\\\nUN a", &["RUN \"a\""]);
    check("run a\nRun b", &["RUN \"a\"", "RUN \"b\""]);
}

#[test]
fn the_escape_directive_changes_continuations() {
    let lines = dump("# escape=`\nFROM scratch\nRUN a `\n b \\\nCOPY c:\\x d:\\\\");
    assert_eq!(lines[1..], ["RUN \"a  b \\\\\"", "COPY [\"c:\\\\x\"] [] -> \"d:\\\\\\\\\""]);
}

#[test]
fn directives_come_first() {
    let of = |text: &str| {
        let file = file(text);
        (file.syntax.map(|d| d.value), file.escape, file.check.map(|d| (d.value, d.line)))
    };
    assert_eq!(
        of("# syntax=docker/dockerfile:1\n#check=skip=all;error=true\n# Escape = `\nFROM x"),
        (Some("docker/dockerfile:1".to_owned()), '`', Some(("skip=all;error=true".to_owned(), 2)))
    );
    assert_eq!(of("# comment\n# escape=`\nFROM x"), (None, '\\', None));
    assert_eq!(of("\n# escape=`\nFROM x"), (None, '\\', None));
    assert_eq!(of("# unknown=1\n# escape=`\nFROM x"), (None, '\\', None));
    assert_eq!(of("FROM x\n# escape=`"), (None, '\\', None));
    assert_eq!(of("\u{feff}# escape=`\nFROM x"), (None, '`', None));
}

#[test]
fn comments_before_an_instruction_belong_to_it() {
    let file = file(
        "# syntax=a/b\n# base is first\n# more\nFROM x AS base\n# V is a version\nARG V W\n#\n# none\n#\nARG Z\n",
    );
    let stage = &file.stages[0];
    assert_eq!(stage.comments, ["base is first", "more"]);
    assert_eq!(stage.description(), Some("is first"));
    assert_eq!(stage.instructions[0].description("V"), Some("is a version"));
    assert_eq!(stage.instructions[0].description("W"), None);
    assert_eq!(stage.instructions[1].comments, Vec::<String>::new());
}

#[test]
fn empty_lines_in_continuations_are_remembered() {
    let file = file("FROM x\nRUN a \\\n\n b\nRUN c \\\n# no\n d\n");
    assert_eq!(file.empty_continuations, [4]);
}

#[test]
fn places_are_those_in_the_file() {
    let text =
        "\u{feff}ARG a\nFROM x AS y\n\nRUN <<EOF \\\n cat\nhello\nEOF\nCOPY --frm=z --from=w \\\n  é   ö\n";
    let errors = parse(text).expect_err("an unknown flag");
    let error = &errors.errors[0];
    assert_eq!(&text[error.place.span.start..error.place.span.end], "--frm=z");
    assert_eq!((error.place.lines.first, error.place.lines.last), (8, 9));
    let file = file(&text.replace("--frm=z ", ""));
    let stage = &file.stages[0];
    let at = |span: crate::dockerfile::source::Span| &file.text[span.start..span.end];
    assert_eq!(at(stage.keyword.span), "FROM");
    assert_eq!(at(stage.place.span), "FROM x AS y");
    assert_eq!(at(stage.alias.as_ref().expect("a name").1.span), "y");
    let run = &stage.instructions[0];
    assert_eq!((run.place.lines.first, run.place.lines.last), (4, 7));
    assert_eq!(at(run.place.span), "RUN <<EOF \\\n cat\nhello\nEOF");
    let Kind::Run(said) = &run.kind else { panic!("{run:?}") };
    assert_eq!(at(said.heredocs[0].span), "hello\n");
    let Kind::Copy(copy) = &stage.instructions[1].kind else { panic!("no copy") };
    assert_eq!(at(copy.from.as_ref().expect("--from").span), "--from=w");
    assert_eq!((at(copy.sources[0].span), at(copy.dest.span)), ("é", "ö"));
}

#[test]
fn heredocs_of_run_are_run() {
    let program = |text: &str| {
        let Kind::Run(run) = one(text).kind else { panic!("{text}") };
        (run.program(), run.summary())
    };
    let shell = |text: &str| Program::Shell(text.to_owned());
    assert_eq!(program("RUN <<EOF\na\nb\nEOF"), (shell("a\nb\n"), Some("a...".to_owned())));
    assert_eq!(program("RUN <<EOF\na\nEOF\n"), (shell("a\n"), Some("a".to_owned())));
    assert_eq!(program("RUN <<EOF\nEOF"), (shell(""), Some(String::new())));
    assert_eq!(program("RUN <<-EOF\n\t\ta\n\tEOF"), (shell("a\n"), Some("a".to_owned())));
    assert_eq!(program("RUN <<'EOF'\n$a\nEOF"), (shell("$a\n"), Some("$a".to_owned())));
    assert_eq!(program("RUN <<E\"O\"F\n$a\nEOF"), (shell("$a\n"), Some("$a".to_owned())));
    assert_eq!(program("RUN cat <<EOF\na\nEOF"), (shell("cat <<EOF\na\nEOF"), None));
    assert_eq!(
        program("RUN cat <<A 3<<-B >x\n1\nA\n\t2\n\tB"),
        (shell("cat <<A 3<<-B >x\n1\nA\n\t2\nB"), None)
    );
    let script = Program::Script { name: "EOF".to_owned(), content: "#!/bin/x\na\n".to_owned() };
    assert_eq!(program("RUN <<EOF\n#!/bin/x\na\nEOF"), (script, Some("#!/bin/x...".to_owned())));
    assert_eq!(program("RUN <<EOF\r\na\r\nEOF\r\n").0, shell("a\r\n"));
    // No heredocs.
    assert_eq!(program("RUN echo <<").0, shell("echo <<"));
    assert_eq!(program("RUN echo $((1<<2))").0, shell("echo $((1<<2))"));
    assert_eq!(program("RUN echo \"<<EOF\"").0, shell("echo \"<<EOF\""));
    assert_eq!(program("RUN cat <<<x").0, shell("cat <<<x"));
    assert_eq!(
        program("RUN [\"cat\", \"<<EOF\"]").0,
        Program::Exec(vec!["cat".to_owned(), "<<EOF".to_owned()])
    );
}

#[test]
fn heredocs_of_copy_are_files() {
    check("COPY <<EOF /x\n$a\nEOF", &[r#"COPY [] [("EOF", "$a\n", true)] -> "/x""#]);
    check("COPY <<'EOF' /x\n$a\nEOF", &[r#"COPY [] [("EOF", "$a\n", false)] -> "/x""#]);
    check(
        "COPY a <<B <<-\"C\" d/\n1\nB\n\t2\n\tC\nRUN x",
        &[r#"COPY ["a"] [("B", "1\n", true), ("C", "2\n", false)] -> "d/""#, "RUN \"x\""],
    );
    check(
        "ADD <<EOF /x\n# no comment\n\nEOF\n",
        &[r##"ADD [] [("EOF", "# no comment\n\n", true)] -> "/x""##],
    );
    check("COPY <<EOF \\\n /x\na \\\nEOF", &[r#"COPY [] [("EOF", "a \\\n", true)] -> "/x""#]);
}

#[test]
fn heredocs_in_triggers_are_kept() {
    check("ONBUILD RUN <<EOF\na\nEOF\nRUN b", &["ONBUILD \"RUN <<EOF\\na\\nEOF\"", "RUN \"b\""]);
    check("onbuild  COPY <<-EOF  /x\n\ta\n\tEOF", &["ONBUILD \"COPY <<-EOF  /x\\n\\ta\\nEOF\""]);
    check("ONBUILD ENV a=<<EOF", &["ONBUILD \"ENV a=<<EOF\""]);
    let Kind::Onbuild(onbuild) = one("ONBUILD RUN <<EOF\na\nEOF").kind else { panic!() };
    let trigger = crate::dockerfile::parse_trigger(&onbuild.trigger).expect("a trigger");
    assert_eq!(super::show(&trigger), "RUN Shell(\"a\\n\")");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in r"(?s)(FROM|RUN|COPY|ENV|ARG|ONBUILD|HEALTHCHECK|# escape=`|)?.{0,60}") {
        check_spans(&text);
    }

    #[test]
    fn texts_of_the_alphabet_of_dockerfiles_are_parsed(text in r#"((FROM|RUN|COPY|ADD|ENV|ONBUILD|SHELL|[a-z=<\[\]"' \\-]|<<E|\nE|\n|\r\n|\t|é|--from=x ){1,4}\n){0,8}"#) {
        check_spans(&text);
    }
}

/// Spans are within the text, at characters, and words that are written as they are stand at their span.
fn check_spans(text: &str) {
    match parse(text) {
        Ok(file) => {
            let places = file.stages.iter().flat_map(|stage| {
                let of_stage = [(stage.place, &stage.keyword), (stage.place, &stage.base)];
                let inner = stage.instructions.iter().map(|inner| (inner.place, &inner.keyword));
                of_stage.into_iter().chain(inner).collect::<Vec<_>>()
            });
            for (place, word) in places {
                let whole = &text[place.span.start..place.span.end];
                let found = &text[word.span.start..word.span.end];
                assert!(found == word.text || whole.contains('\n'), "{found:?} {word:?} in {text:?}");
                assert!(place.span.start <= word.span.start && word.span.end <= place.span.end, "{text:?}");
                let lines = text[..place.span.end].matches('\n').count() + 1;
                assert_eq!(place.lines.last, lines, "{text:?}");
            }
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            for error in errors.errors {
                assert!(
                    text.get(error.place.span.start..error.place.span.end).is_some(),
                    "{error:?} in {text:?}"
                );
                assert!(error.place.lines.first >= 1, "{error:?}");
            }
        }
    }
}
