//! `.env`, `env_file` and `label_file`. Source: compose's documentation, "Environment variables file syntax"; where it is
//! silent, compose-go's dotenv package. And docker's own format, of `docker run --env-file`, as `format: raw`.

use std::collections::BTreeMap;

use crate::template::{self, Lookup};

/// What is wrong with a file of variables, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFault {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for EnvFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Reads assignments into `out`. Variables within values are looked up by `lookup` first, then among what `out` has.
///
/// Errors: the first line that is no assignment, with its number.
pub fn parse(text: &str, out: &mut BTreeMap<String, String>, lookup: Lookup) -> Result<(), EnvFault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text;
    let line = |rest: &str| 1 + text[..text.len() - rest.len()].matches('\n').count() as u32;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(());
        }
        if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let at = line(rest);
        let fault = |message: String| EnvFault { line: at, message };
        let (key, value) = key_of(rest).map_err(fault)?;
        let Some(value) = value else {
            // A name alone hands a variable of ours on.
            if let Some(value) = lookup(key) {
                out.insert(key.to_owned(), value);
            }
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        };
        let (value, left) = value_of(value, out, lookup).map_err(fault)?;
        out.insert(key.to_owned(), value);
        rest = left;
    }
}

/// The key at the beginning, and what follows its `=` or `:` if there is one in its line.
fn key_of(text: &str) -> Result<(&str, Option<&str>), String> {
    let first_line = text.lines().next().unwrap_or_default();
    let body = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with(is_blank) => rest.trim_start_matches(is_blank),
        _ => text,
    };
    for (index, c) in body.char_indices() {
        match c {
            '=' | ':' => {
                let key = body[..index].trim_end();
                if key.contains(' ') {
                    return Err(format!("key cannot contain a space: \"{key}\""));
                }
                return Ok((key, Some(body[index + 1..].trim_start_matches(is_blank))));
            }
            '\n' => {
                let key = body[..index].trim_end();
                if key.contains(' ') {
                    return Err(format!("key cannot contain a space: \"{key}\""));
                }
                return Ok((key, None));
            }
            '_' | '.' | '-' | '[' | ']' => {}
            c if c.is_alphanumeric() || is_blank(c) => {}
            c => return Err(format!("unexpected character \"{c}\" in variable name \"{first_line}\"")),
        }
    }
    Ok((body.trim_end(), None))
}

/// White space that ends no line.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

/// The value at the beginning, and what follows it.
fn value_of<'a>(
    text: &'a str,
    known: &BTreeMap<String, String>,
    lookup: Lookup,
) -> Result<(String, &'a str), String> {
    let expand = |value: &str| {
        let lookup = |name: &str| lookup(name).or_else(|| known.get(name).cloned());
        template::substitute(value, &lookup, &mut Vec::new()).map_err(|problem| problem.to_string())
    };
    let quote = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => {
            let (value, rest) = text.split_once('\n').unwrap_or((text, ""));
            let value = value.split_once(" #").map_or(value, |(value, _)| value);
            return Ok((expand(value.trim_end())?, rest));
        }
    };
    let mut value = String::new();
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        if c == quote {
            if escaped {
                escaped = false;
                value.push(c);
                continue;
            }
            let value = if quote == '"' { expand(&unescape(&value))? } else { value };
            return Ok((value, &text[index + 1..]));
        }
        if c == '\\' && !escaped {
            escaped = true;
            continue;
        }
        if escaped {
            escaped = false;
            value.push('\\');
        }
        value.push(c);
    }
    Err(format!("unterminated quoted value {}", text.lines().next().unwrap_or_default()))
}

/// The escapes of double quotes: those of a C string, and `\$` for a dollar sign.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('\\') {
        out.push_str(&rest[..start]);
        let code = rest[start + 1..].chars().next();
        let after = |length: usize| &rest[start + 1 + length..];
        rest = match code {
            Some('$') => {
                // The dollar sign that expansion makes one of.
                out.push_str("$$");
                after(1)
            }
            Some(c @ ('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\\')) => {
                out.push(match c {
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\u{b}',
                    c => c,
                });
                after(1)
            }
            Some('0') => {
                let digits: String = after(1).chars().take(3).take_while(char::is_ascii_digit).collect();
                let code = u8::from_str_radix(&digits, 8).ok().filter(|_| digits.len() == 3);
                match code {
                    Some(code) => out.push(char::from(code)),
                    // What is no code loses its 0, as in compose.
                    None => {
                        out.push('\\');
                        out.push_str(&digits);
                    }
                }
                after(1 + digits.len())
            }
            _ => {
                out.push('\\');
                after(0)
            }
        };
    }
    out.push_str(rest);
    out
}

/// Reads docker's format: a line is `NAME=VALUE`, taken as it is, or `NAME`; comments begin with `#` at a line's start.
///
/// Errors: a line without a name, or whose name has white space.
pub fn parse_raw(text: &str, out: &mut BTreeMap<String, String>, lookup: Lookup) -> Result<(), EnvFault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |message: String| EnvFault { line: index as u32 + 1, message };
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        if name.is_empty() {
            return Err(fault(format!("no variable name on line '{line}'")));
        }
        if name.contains(char::is_whitespace) {
            return Err(fault(format!("variable '{name}' contains whitespaces")));
        }
        if let Some(value) = value.map(str::to_owned).or_else(|| lookup(name)) {
            out.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, EnvFault> {
        let mut out = BTreeMap::new();
        let lookup = |name: &str| (name == "OURS").then(|| "ours".to_owned());
        parse(text, &mut out, &lookup).map(|()| out)
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(read(text), Ok(expected), "{text}");
    }

    #[test]
    fn assignments_are_read_as_compose_reads_them() {
        check("A=1\nB = 2\nC: 3\nexport D=4", &[("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")]);
        check("A=x # comment\nB=x#y\n# c\n\nC=", &[("A", "x"), ("B", "x#y"), ("C", "")]);
        check("A='a $OURS\\n'\nB=\"a $OURS\\n\"", &[("A", "a $OURS\\n"), ("B", "a ours\n")]);
        check("A=1\nB=$A-${OURS}-${NONE:-d}", &[("A", "1"), ("B", "1-ours-d")]);
        check("A=\"x\ny\"\nB='it\\'s'", &[("A", "x\ny"), ("B", "it's")]);
        check("A=\"\\$OURS \\\"q\\\" \\0101\"", &[("A", "$OURS \"q\" A")]);
        check("OURS\nNONE\nA=1", &[("OURS", "ours"), ("A", "1")]);
        check("\u{feff}A=1\r\nB=2\r\n", &[("A", "1"), ("B", "2")]);
    }

    #[test]
    fn faults_name_their_line() {
        assert_eq!(read("A=1\nB$=2").unwrap_err().line, 2);
        assert!(read("A B=2").unwrap_err().message.contains("space"));
        assert!(read("A=1\n\nB=\"x").unwrap_err().to_string().starts_with("line 3: unterminated"));
    }

    #[test]
    fn the_raw_format_takes_values_as_they_are() {
        let mut out = BTreeMap::new();
        parse_raw("# c\nA=\"$X\" # y\nOURS\n", &mut out, &|_| Some("o".into())).unwrap();
        assert_eq!(out["A"], "\"$X\" # y");
        assert_eq!(out["OURS"], "o");
        assert!(parse_raw("A B=1", &mut out, &|_| None).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_taken_without_a_panic(text in "[A-C=:\"'\\\\$ #\n0-9{}\u{e9}\r]{0,60}") {
            let _ = read(&text);
            let _ = parse_raw(&text, &mut BTreeMap::new(), &|_| None);
        }
    }
}
