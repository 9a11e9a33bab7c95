//! `berth images`.

use std::time::SystemTime;

use super::print;
use crate::backend;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::images::{self, ImageFilter};
use crate::format::usage;
use crate::format::{Format, colour};
use crate::parse::filter;
use crate::suggest;

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
            Flag::switch("tree", "Show machines, sizes on the disk, and what is used"),
        ],
    )],
    unsupported: &[],
    args: (0, 1),
    trailing: false,
};

/// What images are filtered by.
pub const KEYS: [&str; 6] = ["reference", "dangling", "label", "before", "since", "until"];

fn filter(key: &str, value: &str) -> Result<ImageFilter, BadValue> {
    Ok(match key {
        "reference" => ImageFilter::Reference(value.to_owned()),
        "dangling" => match crate::flags::parse_bool(value) {
            Some(dangling) => ImageFilter::Dangling(dangling),
            None => return Err(BadValue::new("dangling is true or false")),
        },
        "label" => {
            let (key, value) = filter::label(value);
            ImageFilter::Label(key, value)
        }
        "before" => ImageFilter::Before(value.to_owned()),
        "since" => ImageFilter::Since(value.to_owned()),
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
    let mut filters = filter::each(parsed, filter)?;
    filters.extend(parsed.args().into_iter().map(ImageFilter::Named));
    let how = images::How {
        quiet: parsed.switch("quiet"),
        full: parsed.switch("no-trunc"),
        human: true,
        digests: parsed.switch("digests"),
    };
    if parsed.switch("tree") {
        return tree(parsed, &filters);
    }
    let by_label = filters.iter().any(|filter| matches!(filter, ImageFilter::Label(..)));
    let listed = backend::images(by_label)?;
    let default = if how.digests { images::DIGESTS_DEFAULT } else { images::DEFAULT };
    let format = Format::parse(parsed.one("format").unwrap_or_default(), default);
    let text = images::text(&listed, &filters, &format, &how, SystemTime::now())?;
    print(&colour::with_titles(text, &format.or_quiet(how.quiet, "")))?;
    Ok(0)
}

fn tree(parsed: &Parsed, filters: &[ImageFilter]) -> Result<u8, Failure> {
    let clash = ["quiet", "digests", "no-trunc"].into_iter().find(|flag| parsed.switch(flag));
    if let Some(flag) = clash.or(parsed.one("format").filter(|format| !format.is_empty()).map(|_| "format")) {
        return Err(Failure::new(format!("--{flag} can't be used with --tree")));
    }
    let all = backend::images_usage()?.images;
    let listed: Vec<_> = all.iter().map(|image| image.listed.clone()).collect();
    let mut chosen = Vec::new();
    for image in &all {
        if images::is_chosen(&image.listed, filters, &listed)? {
            chosen.push(image);
        }
    }
    print(&usage::tree(&chosen))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_parse_as_dockers() {
        assert_eq!(filter("dangling", "1"), Ok(ImageFilter::Dangling(true)));
        assert_eq!(filter("label", "a"), Ok(ImageFilter::Label("a".into(), None)));
        assert_eq!(filter("reference", "a*:b"), Ok(ImageFilter::Reference("a*:b".into())));
        for (key, value) in [("dangling", "x"), ("lable", "x"), ("until", "x")] {
            assert!(filter(key, value).is_err(), "{key}={value}");
        }
    }
}
