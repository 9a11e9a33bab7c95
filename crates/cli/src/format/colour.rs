//! Colours, for people at a terminal only: what is printed into pipes and files has none.
//!
//! `NO_COLOR`, set to anything, switches them off (<https://no-color.org>), and so does a terminal without any
//! (`TERM=dumb`). Text that comes from elsewhere is inert before it's coloured.

use std::io::IsTerminal;

use super::Format;

/// What a colour says, the same in every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// It is as it should be.
    Good,
    /// It isn't at rest, or something falls back.
    Watch,
    /// It failed.
    Bad,
    /// It's of no concern now.
    Past,
    /// A heading.
    Head,
}

const OFF: &str = "\x1b[0m";

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Colour::Good => "\x1b[32m",
            Colour::Watch => "\x1b[33m",
            Colour::Bad => "\x1b[31m",
            Colour::Past => "\x1b[2m",
            Colour::Head => "\x1b[1m",
        }
    }

    /// The text in this colour.
    pub fn paint(self, text: &str) -> String {
        format!("{}{text}{OFF}", self.code())
    }
}

/// Whether the environment allows colours at all.
pub fn are_allowed() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// Whether results are coloured: standard output is a terminal that may have colours.
pub fn of_results() -> bool {
    std::io::stdout().is_terminal() && are_allowed()
}

/// `text`, a list printed as `format` asks, with its titles in bold if it's a table for a terminal.
pub fn with_titles(text: String, format: &Format) -> String {
    match (format, text.split_once('\n')) {
        (Format::Table(_), Some((titles, rest))) if of_results() => {
            format!("{}\n{rest}", Colour::Head.paint(titles.trim_end()))
        }
        _ => text,
    }
}

/// Characters that a terminal shows of a cell.
pub fn shown_chars(text: &str) -> usize {
    let mut count = 0;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        count += before.chars().count();
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    count + rest.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_room() {
        assert_eq!(shown_chars("wéb"), 3);
        assert_eq!(shown_chars(&format!("a{}b", Colour::Good.paint("Up"))), 4);
        assert_eq!(shown_chars("\x1b[31"), 0);
    }
}
