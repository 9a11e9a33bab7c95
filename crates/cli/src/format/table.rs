//! Aligned columns, as docker's tabwriter makes them: at least ten wide, three spaces apart.

use super::colour::shown_chars;

/// Least width of a column with its gap.
const COLUMN_CHARS_MIN: usize = 10;
/// Spaces between columns.
const GAP_CHARS: usize = 3;

/// Aligns lines whose cells are separated by tabs; the last cell of a line is never padded.
pub fn align(lines: &[String]) -> String {
    align_wide(lines, COLUMN_CHARS_MIN)
}

/// The same with columns of at least `least` characters with their gap.
pub fn align_wide(lines: &[String], least: usize) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| column + 1 < row.len()).map(|row| shown_chars(row[column]));
        cells.max().map_or(0, |most| (most + GAP_CHARS).max(least))
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            text += cell;
            if column + 1 < row.len() {
                text.extend(std::iter::repeat_n(' ', widths[column] - shown_chars(cell)));
            }
        }
        text.push('\n');
    }
    text
}

/// `text` in at most `most` characters, the last an ellipsis where it was cut. Source: docker/cli Ellipsis.
pub fn ellipsis(text: &str, most: usize) -> String {
    match text.chars().count() <= most {
        true => text.to_owned(),
        false => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_the_last_is_bare() {
        let lines = ["ID\tNAME\tX", "0123456789ab\twéb\t", "c\td\te"].map(str::to_owned);
        assert_eq!(
            align(&lines),
            "ID             NAME      X\n0123456789ab   wéb       \nc              d         e\n"
        );
        assert_eq!(align(&[]), "");
        assert_eq!(align(&["only".to_owned()]), "only\n");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(ellipsis("abcdef", 6), "abcdef");
        assert_eq!(ellipsis("abcdefg", 6), "abcde…");
    }
}
