//! `berth images`.

use std::time::SystemTime;

use super::print;
use crate::backend;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::Format;
use crate::format::images::{self, ImageFilter};
use crate::{suggest, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    flags: &[(
        "Options",
        &[
            Flag::switch("all", "Accepted for docker's sake: there are no hidden images").short('a'),
            Flag::switch("digests", "Show digests"),
            Flag::many(
                "filter",
                "filter",
                "Show those with KEY=VALUE: reference, dangling, label, before, since, until",
            )
            .short('f'),
            Flag::one("format", "string", "table, table TEMPLATE, json, or a Go template"),
            Flag::switch("no-trunc", "Show ids whole"),
            Flag::switch("quiet", "Show ids only").short('q'),
        ],
    )],
    unsupported: unsupported::IMAGES_LIST,
    args: (0, 1),
    trailing: false,
};

const KEYS: [&str; 6] = ["reference", "dangling", "label", "before", "since", "until"];

fn filter(text: &str) -> Result<ImageFilter, BadValue> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(BadValue::new("not KEY=VALUE").hint("write it as in dangling=true"));
    };
    let value_of = |text: &str| text.to_owned();
    Ok(match key.trim() {
        "reference" => ImageFilter::Reference(value_of(value)),
        "dangling" => match crate::flags::parse_bool(value) {
            Some(dangling) => ImageFilter::Dangling(dangling),
            None => return Err(BadValue::new("dangling is true or false")),
        },
        "label" => match value.split_once('=') {
            Some((key, value)) => ImageFilter::Label(value_of(key), Some(value_of(value))),
            None => ImageFilter::Label(value_of(value), None),
        },
        "before" => ImageFilter::Before(value_of(value)),
        "since" => ImageFilter::Since(value_of(value)),
        "until" => ImageFilter::Until(crate::parse::moment::parse(value, SystemTime::now())?),
        key => {
            return Err(
                BadValue::new(format!("unknown filter {key:?}")).did_you_mean(suggest::nearest(key, KEYS))
            );
        }
    })
}

/// Lists images.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let mut filters = parsed.each("filter", filter)?;
    filters.extend(parsed.args().into_iter().map(ImageFilter::Named));
    let how = images::How {
        quiet: parsed.switch("quiet"),
        full: parsed.switch("no-trunc"),
        human: true,
        digests: parsed.switch("digests"),
    };
    let listed = backend::images()?;
    let default = if how.digests { images::DIGESTS_DEFAULT } else { images::DEFAULT };
    let format = Format::parse(parsed.one("format").unwrap_or_default(), default);
    print(&images::text(&listed, &filters, &format, &how, SystemTime::now())?)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_parse_as_dockers() {
        assert_eq!(filter("dangling=1"), Ok(ImageFilter::Dangling(true)));
        assert_eq!(filter("label=a"), Ok(ImageFilter::Label("a".into(), None)));
        assert_eq!(filter("reference=a*:b"), Ok(ImageFilter::Reference("a*:b".into())));
        for text in ["x", "dangling=x", "lable=x", "until=x"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}
