//! "Did you mean …?"

/// Words farther away than this aren't meant.
const DISTANCE_MAX: usize = 2;

/// The option that is nearest to `word`, if one is near enough and none is the word itself.
pub(crate) fn nearest<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Of a short word, another would be left if two letters were changed.
    let distance_max = DISTANCE_MAX.min(word.chars().count().saturating_sub(1));
    let mut best = None;
    for option in options {
        match distance(word, option) {
            0 => return None,
            distance if distance <= distance_max && best.is_none_or(|(known, _)| distance < known) => {
                best = Some((distance, option));
            }
            _ => {}
        }
    }
    best.map(|(_, option)| option)
}

/// The hint that names it.
pub(crate) fn hint<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, options).map(|option| format!("did you mean {option}?"))
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let a_length = a.chars().count();
    if a_length.abs_diff(b.len()) > DISTANCE_MAX {
        return DISTANCE_MAX + 1;
    }
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_unless_all_are_far() {
        let check = |word, expected| {
            assert_eq!(nearest(word, ["from", "chown", "chmod", "link"]), expected, "{word}");
        };
        check("frm", Some("from"));
        check("form", Some("from"));
        check("chwon", Some("chown"));
        check("lnk", Some("link"));
        check("from", None);
        check("parents", None);
        check("fo", None);
        check("x", None);
        check("", None);
        check("größe", None);
    }
}
