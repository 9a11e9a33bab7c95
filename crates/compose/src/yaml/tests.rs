use super::*;

fn one(text: &str) -> Node {
    parse(text, 0).unwrap().remove(0)
}

fn fault(text: &str) -> Fault {
    parse(text, 0).unwrap_err()
}

#[test]
fn scalars_resolve_as_in_go_yaml() {
    let check = |text: &str, value: Value| assert_eq!(plain(text), value, "{text}");
    check("1.50", Value::Float(1.5));
    check("1e3", Value::Float(1000.0));
    check("017", Value::Int(15));
    check("0o17", Value::Int(15));
    check("0x10", Value::Int(16));
    check("08", Value::Float(8.0));
    check("1_000", Value::Int(1000));
    check("-5", Value::Int(-5));
    check("12:30", Value::Text("12:30".into()));
    check("yes", Value::Text("yes".into()));
    check("on", Value::Text("on".into()));
    check("2001-01-01", Value::Text("2001-01-01".into()));
    check("10.0.0.1", Value::Text("10.0.0.1".into()));
    check("~", Value::Null);
    check("-", Value::Text("-".into()));
    check("0b", Value::Text("0b".into()));
    check("99999999999999999999", Value::Float(99999999999999999999.0));
}

#[test]
fn merge_keys_give_what_the_mapping_lacks() {
    let node = one("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 9}\nd:\n  <<: *a\n");
    let c = node.get("c").unwrap();
    assert_eq!(c.get("x").unwrap().value, Value::Int(9));
    assert_eq!(c.get("y").unwrap().value, Value::Int(2));
    assert_eq!(c.get("z").unwrap().value, Value::Int(4));
    assert_eq!(node.get("d").unwrap().get("y").unwrap().value, Value::Int(2));
}

#[test]
fn marks_count_from_one() {
    let node = one("a:\n  key: value\n");
    let value = node.get("a").unwrap().get("key").unwrap();
    assert_eq!((value.key.line, value.key.column, value.key.width), (2, 3, 3));
    assert_eq!((value.at.line, value.at.column, value.at.width), (2, 8, 5));
}

#[test]
fn tags_of_compose_are_kept() {
    let node = one("a: !reset null\nb: !override [1]\nc: !!str 12\nd: !other x\n");
    assert_eq!(node.get("a").unwrap().tag, Tag::Reset);
    assert_eq!(node.get("b").unwrap().tag, Tag::Override);
    assert_eq!(node.get("c").unwrap().as_text(), Some("12"));
    assert_eq!(node.get("d").unwrap().tag, Tag::None);
}

#[test]
fn faults_have_their_places() {
    let twice = fault("a: 1\nb: 2\na: 3\n");
    assert_eq!(twice.message, "mapping key \"a\" already defined at line 1");
    assert_eq!((twice.at.line, twice.at.column), (3, 1));
    assert!(fault("80: x\n").message.contains("a key is an integer"));
    assert_eq!(fault("a: [1\nb: 2\n").at.line, 2);
    assert!(fault("a: *nothing\n").message.contains("not valid YAML"));
    assert!(fault("a: &a [*a]\n").message.contains("inside of what it names"));
}

#[test]
fn bombs_are_bounded() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let list = format!("*a{}, ", i - 1).repeat(10);
        text += &format!("a{i}: &a{i} [{}]\n", list.trim_end_matches(", "));
    }
    assert!(fault(&text).message.contains("with aliases expanded"), "{}", fault(&text).message);
    let deep = "[".repeat(100_000);
    assert!(parse(&deep, 0).is_err());
}

#[test]
fn several_documents_are_read_one_by_one() {
    let documents = parse("a: 1\n---\nb: 2\n---\n", 0).unwrap();
    assert_eq!(documents.len(), 3);
    assert!(documents[2].is_null());
    assert!(parse("", 0).unwrap().is_empty());
}
