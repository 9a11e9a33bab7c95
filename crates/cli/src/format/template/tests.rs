use super::*;
use serde_json::json;

#[test]
fn formats_are_told_apart() {
    let parse = |text| Format::parse(text, "{{.ID}}\t{{.Names}}");
    assert_eq!(parse("json"), Format::Json);
    assert_eq!(parse("{{json .}}"), Format::Json);
    assert_eq!(parse("table"), Format::Table("{{.ID}}\t{{.Names}}".into()));
    assert_eq!(parse("table {{.ID}}\\t{{.X}}"), Format::Table("{{.ID}}\t{{.X}}".into()));
    assert_eq!(parse("{{.ID}}\\t{{.X}}"), Format::Lines("{{.ID}}\t{{.X}}".into()));
    assert_eq!(parse("tablecloth"), Format::Lines("tablecloth".into()));
}

#[test]
fn fields_alone_are_filled_in_as_the_template_would() {
    let document = json!({"A": "b c", "N": 5, "E": ""});
    for (source, filled) in [
        ("{{.A}}\t{{ .E }}|", true),
        ("no field", true),
        ("{{.A}}{{.N}}", false),
        ("{{- .A -}} x", false),
        ("{{upper .A}}", false),
        ("{{.A.B}}", false),
    ] {
        let compiled = compile(source).expect("valid");
        let plain = compiled.plain.as_ref().and_then(|parts| fill(parts, &document));
        assert_eq!(plain.is_some(), filled, "{source}");
        if let Some(plain) = plain {
            assert_eq!(plain, compiled.template.execute_to_string(&value(&document)).expect("valid"));
        }
    }
    assert!(execute(&compile("{{.Nope}}").expect("valid"), &document).is_err());
}

#[test]
fn templates_have_dockers_functions() {
    let document = json!({"A": "b c", "L": ["x", "y"], "N": 5, "O": {"k": null, "f": true}});
    for (source, expected) in [
        ("{{.A}} {{.N}}", "b c 5"),
        ("{{json .}}", r#"{"A":"b c","L":["x","y"],"N":5,"O":{"f":true,"k":null}}"#),
        ("{{json .O.f}}", "true"),
        ("{{upper .A}} {{lower \"AB\"}} {{title .A}}", "B C ab B C"),
        ("{{join .L \",\"}}", "x,y"),
        ("{{range split .A \" \"}}<{{.}}>{{end}}", "<b><c>"),
        ("{{split \"ab\" \"\"}}", "[a b]"),
        ("[{{pad .A 1 2}}]", "[ b c  ]"),
        ("{{truncate .A 2}}|{{truncate .A 9}}", "b |b c"),
        ("{{println .A .N}}", "b c 5\n"),
        ("{{range $i, $e := .L}}{{$i}}={{$e}};{{end}}", "0=x;1=y;"),
        ("{{if eq .N 5}}five{{else}}no{{end}}", "five"),
        ("{{index .L 1}} {{len .L}} {{printf \"%03d\" .N}}", "y 2 005"),
    ] {
        assert_eq!(one(source, &document).as_deref(), Ok(expected), "{source}");
    }
    for source in ["{{.Nope}}", "{{", "{{upper 1}}", "{{pad .A 99999999999 1}}", "{{nofunc}}", "{{json}}"] {
        assert!(one(source, &document).is_err(), "{source}");
    }
}

#[test]
fn a_rows_label_is_called_in_actions_alone() {
    let row = json!({"Label": {"a": "b"}});
    assert_eq!(one("{{.Label \"a\"}} .Label \"a\"", &row).as_deref(), Ok("b .Label \"a\""));
}

#[test]
fn tables_have_a_header() {
    let format = Format::parse("table {{.ID}}\\t{{.Names}}", "");
    let data = [json!({"ID": "c1", "Names": "web"})];
    let text = rows(&format, &[("ID", "CONTAINER ID"), ("Names", "NAMES")], data.clone()).expect("valid");
    assert_eq!(text, "CONTAINER ID   NAMES\nc1             web\n");
    assert_eq!(rows(&Format::Json, &[], data).expect("valid"), "{\"ID\":\"c1\",\"Names\":\"web\"}\n");
}

#[test]
fn rows_of_json_are_escaped_as_gos() {
    let row = json!({"Command": "a <b> && c"});
    let text = rows(&Format::Json, &[], [row]).expect("valid");
    assert_eq!(text, "{\"Command\":\"a \\u003cb\\u003e \\u0026\\u0026 c\"}\n");
}

/// What Go makes of made-up templates, recorded by `go run record.go >goldens.jsonl` with Go 1.19.
const GOLDENS: &str = include_str!("goldens.jsonl");

#[test]
fn templates_answer_as_gos() {
    let mut rows = GOLDENS.lines().map(|line| serde_json::from_str::<Json>(line).expect("a document"));
    let document = rows.next().expect("the first")["document"].take();
    let mut wrong = Vec::new();
    for row in rows {
        let source = row["template"].as_str().expect("a template");
        let answer = one(source, &document);
        match (row["text"].as_str(), &answer) {
            (Some(expected), Ok(text)) if text == expected => {}
            (None, Err(_)) => {}
            (Some(expected), _) => wrong.push(format!("{source:?}\n   go {expected:?}\n    {answer:?}")),
            (None, Ok(text)) => {
                wrong.push(format!("{source:?}\n   go fails to {}\n    {text:?}", row["failed"]))
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

proptest::proptest! {
    #[test]
    fn no_template_panics_and_text_alone_stays_as_it_is(
        words in proptest::collection::vec(proptest::sample::select(WORDS), 0..24)
    ) {
        let source = words.concat();
        let answer = one(&source, &json!({"A": "b c", "L": ["x", "y"], "N": 5, "O": {"k": null}}));
        if !source.contains("{{") {
            proptest::prop_assert_eq!(answer.as_deref(), Ok(source.as_str()));
        }
    }
}

/// Of which templates are made up.
const WORDS: &[&str] = &[
    "{{",
    "}}",
    "{{-",
    "-}}",
    "{",
    " ",
    "\n",
    ".A",
    ".L",
    ".N",
    ".O",
    "$",
    "$v",
    ":=",
    "=",
    "|",
    "(",
    ")",
    "\"a\"",
    "`",
    "'",
    "\\",
    "1",
    "-1",
    "9999999999",
    "1e9",
    "if ",
    "else ",
    "end",
    "range ",
    "with ",
    "define ",
    "template ",
    "block ",
    "break",
    "json ",
    "upper ",
    "split ",
    "join ",
    "pad ",
    "truncate ",
    "printf ",
    "\"%*d\" ",
    "index ",
    "slice ",
    "len ",
    "println ",
    "/*",
    "*/",
    "é",
    "not ",
    "and ",
    "eq ",
];
