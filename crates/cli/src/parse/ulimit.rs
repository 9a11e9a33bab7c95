//! `--ulimit NAME=SOFT[:HARD]`.

use engine::request::UlimitRequest;

use crate::failure::BadValue;
use crate::suggest;

/// Names of limits. Source: setrlimit(2), docker/go-units ulimit.go.
pub const NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One limit; -1 and `unlimited` are no limit, without a hard limit it is the soft one.
pub fn parse(text: &str) -> Result<UlimitRequest, BadValue> {
    let Some((name, limits)) = text.split_once('=') else {
        return Err(BadValue::new("not NAME=SOFT[:HARD]").hint("write it as in nofile=1024:4096"));
    };
    let Some(name) = NAMES.iter().find(|known| **known == name) else {
        return Err(BadValue::new(format!("no limit {name:?}")).did_you_mean(suggest::nearest(name, NAMES)));
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
        return Err("the soft limit is above the hard limit".into());
    }
    Ok(UlimitRequest { name: (*name).to_owned(), soft, hard })
}

fn limit(text: &str) -> Result<Option<u64>, BadValue> {
    match text {
        "-1" | "unlimited" => Ok(None),
        _ => match text.parse::<u64>() {
            Ok(u64::MAX) => Ok(None),
            Ok(limit) => Ok(Some(limit)),
            Err(_) => Err(BadValue::new(format!("limit {text:?} is neither a number nor -1 for unlimited"))),
        },
    }
}
