//! `--filter KEY=VALUE`, with docker's statuses: what isn't of this form is wrong use, a key or a value that nothing
//! knows is an ordinary failure.

use engine::system::PruneFilter;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::{BadValue, Failure};
use crate::flags::{Parsed, parse_bool};
use crate::suggest;

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

/// The filters of a `prune`, and whether only what has no name is meant, if that is said.
pub fn prune(parsed: &Parsed, knows_dangling: bool) -> Result<(PruneFilter, Option<bool>), Failure> {
    let (mut filter, mut dangling) = (PruneFilter::default(), None);
    for change in each(parsed, |key, value| change(key, value, knows_dangling))? {
        match change {
            Change::Until(until) => filter.until_ns = Some(until),
            Change::Label(key, value) => filter.labels.push((key, value)),
            Change::LabelNot(key, value) => filter.labels_not.push((key, value)),
            Change::Dangling(is) => dangling = Some(is),
        }
    }
    filter.unused_since_ns = unused_since(parsed)?;
    Ok((filter, dangling))
}

/// The moment since which nothing must have used what `--unused-for` lets go, nanoseconds since the epoch.
pub fn unused_since(parsed: &Parsed) -> Result<Option<i64>, Failure> {
    let Some(span) = parsed.given("unused-for", super::span::parse)? else { return Ok(None) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = now.saturating_sub(span);
    Ok(Some(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)))
}

enum Change {
    Until(i64),
    Label(String, Option<String>),
    LabelNot(String, Option<String>),
    Dangling(bool),
}

/// What a `prune` can be limited by.
pub const PRUNE_KEYS: [&str; 4] = ["until", "label", "label!", "dangling"];

fn change(key: &str, value: &str, knows_dangling: bool) -> Result<Change, BadValue> {
    let (name, of_label) = label(value);
    Ok(match key {
        "until" => {
            let at = super::moment::parse(value, SystemTime::now())?;
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            Change::Until(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
        }
        "label" => Change::Label(name, of_label),
        "label!" => Change::LabelNot(name, of_label),
        "dangling" if knows_dangling => match parse_bool(value) {
            Some(dangling) => Change::Dangling(dangling),
            None => return Err(BadValue::new("dangling is true or false")),
        },
        key => {
            let known = &PRUNE_KEYS[..if knows_dangling { 4 } else { 3 }];
            let near = suggest::nearest(key, known.iter().copied());
            return Err(BadValue::new(format!("unknown filter {key:?}")).did_you_mean(near));
        }
    })
}
