//! Sizes for people, as docker's go-units writes them: three digits, powers of 1000.

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// `605MB`, `1.84MB`, `0B`. Source: go-units HumanSizeWithPrecision(size, 3).
pub fn human(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let decimals = if size < 9.995 { 2 } else { usize::from(size < 99.95) };
    let number = format!("{size:.decimals$}");
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    format!("{number}{}", UNITS[unit])
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
    }
}
