//! Sizes for people, as docker's go-units writes them: three digits, powers of 1000.

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// `605MB`, `1.84MB`, `0B`. Source: go-units HumanSizeWithPrecision(size, 3).
pub fn human(bytes: u64) -> String {
    human_of(bytes, 3)
}

fn human_of(bytes: u64, digits: usize) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    // As many digits as wanted, after rounding to them: 9.9995 has two before the point, not one.
    let decimals = (0..digits).rev().find(|decimals| {
        let rounded = format!("{size:.decimals$}");
        rounded.split('.').next().map_or(0, str::len) + decimals <= digits
    });
    let decimals = decimals.unwrap_or(0);
    let number = format!("{size:.decimals$}");
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    format!("{number}{}", UNITS[unit])
}

/// The same with four digits, as where docker adds sizes up: `1.982MB`. Source: go-units HumanSize.
pub fn sum(bytes: u64) -> String {
    human_of(bytes, 4)
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
    }
}
