//! Sizes for people, as docker's go-units writes them: three digits, powers of 1000.

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// `605MB`, `1.84MB`, `0B`. Source: go-units HumanSizeWithPrecision(size, 3).
pub fn human(bytes: u64) -> String {
    human_of(bytes, 3)
}

fn human_of(bytes: u64, most: usize) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    format!("{}{}", digits(size, most), UNITS[unit])
}

/// The same with four digits, as where docker adds sizes up: `1.982MB`. Source: go-units HumanSize.
pub fn sum(bytes: u64) -> String {
    human_of(bytes, 4)
}

/// `23.54GiB`, `328KiB`: four digits, powers of 1024. Source: go-units BytesSize.
pub fn binary(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{}{}", digits(size, 4), UNITS[unit])
}

/// As Go's `%.4g` writes a number below ten thousand: so many digits, without zeros at the end.
fn digits(number: f64, most: usize) -> String {
    // As many as wanted, after rounding to them: 9.9995 has two before the point, not one.
    let decimals = (0..most).rev().find(|decimals| {
        let rounded = format!("{number:.decimals$}");
        rounded.split('.').next().map_or(0, str::len) + decimals <= most
    });
    let decimals = decimals.unwrap_or(0);
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_dockers() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_839_000, "1.84MB"),
            (12_345_678, "12.3MB"),
            (605_000_000, "605MB"),
            (9_999, "10kB"),
            (1_000_000_000_000, "1TB"),
        ] {
            assert_eq!(human(bytes), text);
        }
        for (bytes, text) in [
            (0, "0B"),
            (1_982_345, "1.982MB"),
            (332_700_000, "332.7MB"),
            (330_740_000, "330.7MB"),
            (9_999_960, "10MB"),
            (999, "999B"),
        ] {
            assert_eq!(sum(bytes), text);
        }
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (328 << 10, "328KiB"),
            (25_276_000_000, "23.54GiB"),
            ((1 << 20) - 1, "1024KiB"),
            (1_572_864, "1.5MiB"),
        ] {
            assert_eq!(binary(bytes), text);
        }
    }
}
