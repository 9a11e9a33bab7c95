//! The lines of a Dockerfile around a fault, as buildx shows them, and a line that marks the place.
//! Source: BuildKit's solver/errdefs, Source.Print.

use super::source::{Lines, Place, position};
use std::fmt::Write;

/// How many lines are marked with carets: of an instruction that is longer, only the first.
const CARET_LINES: usize = 1;

/// The excerpt of `text`, which is `name`'s, around `place`.
///
/// ```text
/// Dockerfile:2
/// --------------------
///    1 |     FROM busybox
///    2 | >>> COPY --frm=a b c
///      |          ^^^^^^^
///    3 |     CMD ["sh"]
/// --------------------
/// ```
pub fn excerpt(name: &str, text: &str, place: Place) -> String {
    print(name, text, place.lines, Some(place))
}

/// The same without a marked place.
pub fn lines(name: &str, text: &str, lines: Lines) -> String {
    print(name, text, lines, None)
}

fn print(name: &str, text: &str, marked: Lines, place: Option<Place>) -> String {
    let all: Vec<&str> = text.split('\n').collect();
    let first = marked.first;
    if first < 1 || first > all.len() {
        return String::new();
    }
    let last = marked.last.clamp(first, all.len());
    let (start, end) = around(first, last, all.len());
    let mut excerpt = format!("{name}:{first}\n--------------------\n");
    for number in start..=end {
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        let line = types::inert::inert(all[number - 1]);
        let _ = writeln!(excerpt, " {number:3} | {mark} {line}");
        if let Some(carets) = place.and_then(|place| carets(text, place, number, all[number - 1])) {
            let _ = writeln!(excerpt, "     |     {carets}");
        }
    }
    excerpt.push_str("--------------------\n");
    excerpt
}

/// The lines that are shown: some before and behind, more if there is only one.
fn around(first: usize, last: usize, count: usize) -> (usize, usize) {
    let (mut start, mut end) = (first, last);
    let wanted = if first == last { 4 } else { 2 };
    let mut shown = 0;
    while shown < wanted {
        if start > 1 {
            start -= 1;
            shown += 1;
        }
        if end < count {
            end += 1;
            shown += 1;
        }
        shown += 1;
    }
    (start, end)
}

/// Carets below the place, if it's in this line and isn't all of it.
fn carets(text: &str, place: Place, number: usize, line: &str) -> Option<String> {
    let (first, column) = position(text, place.span.start);
    let marked = text.get(place.span.start..place.span.end)?.split('\n').next()?.trim_end();
    let is_whole = marked == line.trim() && first == place.lines.first;
    if number < first || number >= first + CARET_LINES || is_whole || marked.is_empty() {
        return None;
    }
    let before: String = line.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    Some(before + &"^".repeat(marked.chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    #[test]
    fn an_excerpt_looks_as_buildxs_with_carets() {
        let text = "FROM busybox\nCOPY --frm=a b c\n\nRUN x \\\n  y\nCMD [\"sh\"]\n";
        let errors = parse(text).expect_err("an unknown flag");
        assert_eq!(
            excerpt("Dockerfile", text, errors.errors[0].place),
            "Dockerfile:2\n--------------------\n   1 |     FROM busybox\n   2 | >>> COPY --frm=a b c\n     |          ^^^^^^^\n   3 |     \n   4 |     RUN x \\\n--------------------\n"
        );
        assert_eq!(
            lines("a/b", text, Lines { first: 4, last: 5 }),
            "a/b:4\n--------------------\n   3 |     \n   4 | >>> RUN x \\\n   5 | >>>   y\n   6 |     CMD [\"sh\"]\n--------------------\n"
        );
        assert_eq!(
            lines("Dockerfile", "FROM a", Lines { first: 1, last: 1 }),
            "Dockerfile:1\n--------------------\n   1 | >>> FROM a\n--------------------\n"
        );
        assert_eq!(lines("Dockerfile", "", Lines { first: 7, last: 9 }), "");
    }

    #[test]
    fn carets_stand_below_what_they_mark() {
        let check = |text: &str, expected: &str| {
            let errors = parse(text).expect_err("a fault");
            let excerpt = excerpt("D", text, errors.errors[0].place);
            let carets = excerpt.lines().find(|line| line.contains('^')).unwrap_or_default();
            assert_eq!(carets, expected, "{excerpt}");
        };
        check("FRM x", "     |     ^^^");
        check("FROM x\n\tENV\ta=b \u{e9}", "     |     \t   \t    ^");
        check("FROM x\nENV a=b \\\n  c", "     |       ^");
        check("FROM x\nENV a", "");
    }
}
