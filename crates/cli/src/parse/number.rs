//! Sizes, shares and other numbers.

use types::units;

use crate::failure::BadValue;

/// A size: `512m`.
pub fn bytes(text: &str) -> Result<u64, BadValue> {
    let size = units::parse_bytes(text).and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(|| BadValue::new("not a size").hint("write a number and a unit, as in 512m or 1.5g"))
}

/// A memory limit; 0 is none.
pub fn memory(text: &str) -> Result<Option<u64>, BadValue> {
    match bytes(text)? {
        0 => Ok(None),
        size => Ok(Some(size)),
    }
}

/// `--memory-swap`: a size, or -1 for no limit; 0 is as if it weren't given.
pub fn memory_swap(text: &str) -> Result<Option<i64>, BadValue> {
    match text {
        "-1" => Ok(Some(-1)),
        _ => bytes(text).map(|size| (size > 0).then_some(size as i64)),
    }
}

/// `--cpus`: a decimal number of processors, in billionths; 0 is no limit. Source: docker/cli opts.ParseCPUs.
pub fn cpus(text: &str) -> Result<Option<u64>, BadValue> {
    let wrong = || BadValue::new("not a number of processors").hint("write a decimal number, as in 1.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return Err(wrong());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err(BadValue::new("too precise: nine decimals at most"));
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
    let billionths: u64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    let total = whole.checked_mul(1_000_000_000).and_then(|n| n.checked_add(billionths)).ok_or_else(wrong)?;
    Ok((total > 0).then_some(total))
}

/// A whole number from `least` to `most`.
pub fn within(least: i64, most: i64) -> impl Fn(&str) -> Result<i64, BadValue> {
    move |text| match text.parse::<i64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) if most == i64::MAX => Err(BadValue::new(format!("less than {least}"))),
        Ok(_) => Err(BadValue::new(format!("not between {least} and {most}"))),
        Err(_) => Err(BadValue::new("not a whole number")),
    }
}

/// `--blkio-weight`: 10 to 1000; 0 is as if it weren't given.
pub fn blkio_weight(text: &str) -> Result<Option<u16>, BadValue> {
    match text.parse::<u16>() {
        Ok(0) => Ok(None),
        Ok(weight @ 10..=1000) => Ok(Some(weight)),
        _ => Err(BadValue::new("not a weight between 10 and 1000")),
    }
}

/// `--memory-swappiness`: 0 to 100; -1 is as if it weren't given.
pub fn swappiness(text: &str) -> Result<i64, BadValue> {
    match text.parse() {
        Ok(swappiness @ -1..=100) => Ok(swappiness),
        Ok(other) => {
            Err(BadValue::new(format!("invalid value: {other}. Valid memory swappiness range is 0-100")))
        }
        Err(_) => Err(BadValue::new("not a whole number")),
    }
}

/// A list of processors or memory nodes, as the kernel reads it: `0-3,7`.
pub fn cpuset(text: &str) -> Result<String, BadValue> {
    let wrong = || BadValue::new("not a list of numbers and ranges").hint("write it as in 0-3,7");
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u32>().map_err(|_| wrong()),
            false => Err(wrong()),
        };
        if number(first)? > number(last)? {
            return Err(BadValue::new(format!("range {part} runs backwards")));
        }
    }
    Ok(text.to_owned())
}

/// A signal: `9`, `KILL`, `SIGKILL`, `RTMIN+3`.
pub fn signal(text: &str) -> Result<i32, BadValue> {
    types::signal::parse(text)
        .ok_or_else(|| BadValue::new("no such signal").hint("write a name or number, as in TERM or 15"))
}
