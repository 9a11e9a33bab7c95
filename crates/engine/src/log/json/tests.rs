use super::*;

fn written(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    line(&mut out, bytes, &ending(Stream::Stdout, b"", "T"));
    String::from_utf8(out).unwrap()
}

#[test]
fn lines_are_dockers_byte_for_byte() {
    let cases: [(&[u8], &str); 7] = [
        (b"hello\n", r#"hello\n"#),
        (b"tab\tcr\rbell\x07 \"q\" back\\slash", r#"tab\u0009cr\rbell\u0007 \"q\" back\\slash"#),
        (b"<a href=x>&</a>", r#"\u003ca href=x\u003e\u0026\u003c/a\u003e"#),
        ("grüße ☃ €".as_bytes(), "grüße ☃ €"),
        ("\u{2028}-\u{2029}".as_bytes(), r#"\u2028-\u2029"#),
        (b"\xff\xe2\x82", r#"\ufffd\ufffd\ufffd"#),
        (b"", ""),
    ];
    for (bytes, text) in cases {
        let expected = format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"T\"}}\n");
        assert_eq!(written(bytes), expected);
    }
    let mut out = Vec::new();
    let attrs = attributes(&[("b".to_owned(), "2".to_owned()), ("a".to_owned(), "<".to_owned())].into());
    line(&mut out, b"x\n", &ending(Stream::Stderr, &attrs, "T"));
    let expected = r#"{"log":"x\n","stream":"stderr","attrs":{"a":"\u003c","b":"2"},"time":"T"}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
}

#[test]
fn times_have_no_zeros_at_their_end() {
    assert_eq!(time(1_500_000_000), "1970-01-01T00:00:01.5Z");
    assert_eq!(time(60_000_000_000), "1970-01-01T00:01:00Z");
    assert_eq!(time(123_456_789), "1970-01-01T00:00:00.123456789Z");
}

#[test]
fn what_is_written_is_read_back() {
    let mut out = Vec::new();
    let attrs = attributes(&[("tag".to_owned(), "web".to_owned())].into());
    let end = ending(Stream::Stderr, &attrs, &time(1_500_000_001));
    line(&mut out, "ä<\u{2028}\t\n".as_bytes(), &end);
    let record = parse(&out).unwrap();
    assert_eq!(record.text, "ä<\u{2028}\t\n".as_bytes());
    assert_eq!((record.stream, record.time_ns), (Stream::Stderr, 1_500_000_001));
    assert_eq!(record.attributes, [("tag".to_owned(), "web".to_owned())].into());
    assert_eq!(parse(b"{\"log\":\"half"), None);
    assert_eq!(parse(b"[]"), None);
}

#[test]
fn what_is_odd_is_found_wherever_it_stands() {
    let plain = "0123456789abcdefghijklmnopqrstuvwxyz0123456789";
    let odd: [(&str, &str); 6] = [
        ("\n", "\\n"),
        ("\"", "\\\""),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("ü", "ü"),
        ("\u{7f}", "\u{7f}"),
    ];
    for (special, escaped) in odd {
        for at in 0..=plain.len() {
            let (before, after) = plain.split_at(at);
            let text = written(format!("{before}{special}{after}{special}").as_bytes());
            let expected = format!("{{\"log\":\"{before}{escaped}{after}{escaped}\",\"stream\"");
            assert!(text.starts_with(&expected), "{text}");
        }
    }
}
