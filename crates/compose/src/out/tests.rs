use super::*;
use proptest::prelude::*;

fn text(value: &str) -> String {
    Out::Map(vec![("k".into(), Out::Text(value.into()))]).yaml()
}

#[test]
fn strings_are_quoted_as_in_go_yaml() {
    // Recorded from docker compose 2.40's `config`.
    for (value, written) in [
        ("plain", "plain"),
        ("a: b", "'a: b'"),
        ("80", "\"80\""),
        ("1.5", "\"1.5\""),
        ("yes", "\"yes\""),
        ("", "\"\""),
        (" lead", "' lead'"),
        ("#x", "'#x'"),
        ("a #x", "'a #x'"),
        ("2001-01-01", "\"2001-01-01\""),
        ("0o17", "\"0o17\""),
        ("12:30", "\"12:30\""),
        ("<a&b>", "<a&b>"),
        ("tab\there", "\"tab\\there\""),
        ("it's", "it's"),
        ("'q'", "'''q'''"),
        ("a:b", "a:b"),
        ("- x", "'- x'"),
        ("-x", "-x"),
        ("null", "\"null\""),
        ("<<", "<<"),
        ("\u{1f600}", "\"\\U0001F600\""),
        ("\u{e9}", "\u{e9}"),
        ("127.0.0.1", "127.0.0.1"),
        ("*", "'*'"),
        ("x,y", "x,y"),
    ] {
        assert_eq!(text(value), format!("k: {written}\n"), "{value:?}");
    }
    assert_eq!(text("x\ny"), "k: |-\n  x\n  y\n");
    assert_eq!(text("x\ny\n"), "k: |\n  x\n  y\n");
    assert_eq!(text("x\n\n"), "k: |+\n  x\n\n");
    assert_eq!(text("  x\ny\n"), "k: |2\n    x\n  y\n");
    assert_eq!(text("x \ny"), "k: \"x \\ny\"\n");
}

#[test]
fn keys_are_sorted_as_in_go_yaml() {
    let keys = ["b10", "b9", "a", "B", "1", "10", "2", "_x"];
    let sorted = Out::sorted(keys.iter().map(|key| (key.to_string(), Out::Null)), Form::Yaml);
    let Out::Map(entries) = sorted else { panic!("no mapping") };
    let keys: Vec<_> = entries.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["_x", "1", "2", "10", "B", "a", "b9", "b10"]);
}

#[test]
fn json_is_go_s() {
    let out = Out::Map(vec![
        ("a".into(), Out::List(vec![Out::Int(1), Out::Map(vec![])])),
        ("b".into(), Out::Text("<&>\u{1}\"".into())),
        ("c".into(), Out::Float32(0.1)),
    ]);
    assert_eq!(
        out.json(true),
        "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"\\u003c\\u0026\\u003e\\u0001\\\"\",\n  \"c\": 0.1\n}"
    );
    assert_eq!(out.json(false), "{\"a\":[1,{}],\"b\":\"\\u003c\\u0026\\u003e\\u0001\\\"\",\"c\":0.1}");
}

fn tree() -> impl Strategy<Value = Out> {
    let leaf = prop_oneof![
        Just(Out::Null),
        any::<bool>().prop_map(Out::Bool),
        any::<i64>().prop_map(Out::Int),
        "[ -~\n\t\u{e9}\u{7}]{0,12}".prop_map(Out::Text),
        "[0-9.:eyno<~|#' \n-]{0,6}".prop_map(Out::Text),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Out::List),
            prop::collection::btree_map("[ -~]{1,6}", inner, 0..4)
                .prop_map(|map| Out::sorted(map.into_iter(), Form::Yaml)),
        ]
    })
}

proptest! {
    /// What is written is read back as what it was.
    #[test]
    fn yaml_reads_back(out in tree()) {
        let out = Out::Map(vec![("k".into(), out)]);
        let text = out.yaml();
        let read = crate::yaml::parse(&text, 0).map_err(|fault| TestCaseError::fail(format!("{}\n{text}", fault.message)))?;
        prop_assert_eq!(Out::of(&read[0], Form::Yaml), out, "{}", text);
    }

    #[test]
    fn json_reads_back(out in tree()) {
        let json: serde_json::Value = serde_json::from_str(&out.json(true)).unwrap();
        let again: serde_json::Value = serde_json::from_str(&out.json(false)).unwrap();
        prop_assert_eq!(json, again);
    }
}
