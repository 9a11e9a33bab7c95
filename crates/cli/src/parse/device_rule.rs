//! `--device-cgroup-rule 'c 10:200 rwm'`. Source: docker/cli container/opts.go, deviceCgroupRuleRegexp.

use crate::failure::BadValue;

/// The rule, as given.
pub fn parse(text: &str) -> Result<String, BadValue> {
    let number = |text: &str| text == "*" || text.parse::<u32>().is_ok_and(|_| !text.starts_with('+'));
    let rule = || {
        let mut words = text.split(' ');
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let letters = access.bytes().all(|byte| b"rwm".contains(&byte));
        let known = matches!(kind, "a" | "b" | "c") && number(major) && number(minor);
        (known && letters && matches!(access.len(), 1..=3) && words.next().is_none()).then_some(())
    };
    match rule() {
        Some(()) => Ok(text.to_owned()),
        None => Err(BadValue::new(format!("invalid device cgroup format '{text}'"))
            .hint("write a|b|c MAJOR:MINOR and some of r, w, m, as in 'c 10:200 rwm'; * is any number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_three_words() {
        for good in ["c 10:200 rwm", "a *:* r", "b 8:* rw"] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        for bad in ["", "c", "c 1:2", "x 1:2 r", "c 1 r", "c 1:2 x", "c 1:2 rwmr", "c 1:2 r ", "c -1:2 r"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
