//! `--filter KEY=VALUE`, with docker's statuses: what isn't of this form is wrong use, a key or a value that nothing
//! knows is an ordinary failure.

use crate::failure::{BadValue, Failure};
use crate::flags::Parsed;

/// All `--filter`s, each through `parser`, which gets key and value. Source: docker/cli opts.FilterOpt.
pub fn each<T>(
    parsed: &Parsed,
    parser: impl Fn(&str, &str) -> Result<T, BadValue>,
) -> Result<Vec<T>, Failure> {
    let given = parsed.many("filter").into_iter().filter(|text| !text.is_empty());
    let one = |text: &str| {
        let Some((key, value)) = text.split_once('=') else {
            let bad = BadValue::new("bad format of filter (expected name=value)");
            return Err(parsed.bad("filter", text, bad));
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        parser(&key, value).map_err(|bad| {
            let shown = if text.chars().count() > 200 { "(long)" } else { text };
            Failure { hint: bad.hint, ..Failure::new(format!("invalid filter {shown:?}: {}", bad.why)) }
        })
    };
    given.map(one).collect()
}

/// `KEY` or `KEY=VALUE` of a label.
pub fn label(value: &str) -> (String, Option<String>) {
    match value.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (value.to_owned(), None),
    }
}
