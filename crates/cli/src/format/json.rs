//! JSON that somebody else wrote, with other white space.

/// `document`, a valid one, with each member and item on a line of its own, indented by `unit` for each level. Names,
/// order and numbers stay as they were written. Source: Go's json.Indent.
pub fn indent(document: &str, unit: &str) -> String {
    let mut text = String::with_capacity(document.len() * 2);
    let mut depth = 0;
    let (mut in_string, mut escaped, mut opened) = (false, false, false);
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        (0..depth).for_each(|_| text.push_str(unit));
    };
    for c in document.chars() {
        if in_string {
            text.push(c);
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        if matches!(c, ' ' | '\t' | '\r' | '\n') {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if opened && !closes {
            depth += 1;
            line(&mut text, depth);
        }
        if closes && !opened {
            depth -= usize::from(depth > 0);
            line(&mut text, depth);
        }
        opened = matches!(c, '{' | '[');
        in_string = c == '"';
        text.push(c);
        match c {
            ',' => line(&mut text, depth),
            ':' => text.push(' '),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_all_that_changes() {
        for (document, shown) in [
            ("{}", "{}"),
            ("[ ]", "[]"),
            (" 1.50e3 ", "1.50e3"),
            (r#"{"b":[],"a":{ },"c":null}"#, "{\n\t\"b\": [],\n\t\"a\": {},\n\t\"c\": null\n}"),
            (
                r#"[{"x":"a, b: {\"}\\"},[1,2]]"#,
                "[\n\t{\n\t\t\"x\": \"a, b: {\\\"}\\\\\"\n\t},\n\t[\n\t\t1,\n\t\t2\n\t]\n]",
            ),
        ] {
            assert_eq!(indent(document, "\t"), shown);
            assert_eq!(indent(shown, "\t"), shown);
        }
    }
}
