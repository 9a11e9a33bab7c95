//! The options of ps(1), as far as they choose columns. Which processes are shown is decided already: the container's.

use super::columns::{Column, FORMATS};
use crate::Error;

/// Columns with their titles.
pub type Columns = Vec<(&'static str, Column)>;

const PLAIN: &str = "pid,tname,time,ucmd";
const FULL: &str = "ppid,c,stime,tname,time,cmd";
const EXTRA_FULL: &str = "ppid,c,sz,rss,psr,stime,tname,time,cmd";
const BSD: &str = "pid,tname,stat,bsdtime,args";
const BSD_USER: &str = "user,pid,pcpu,pmem,vsz,rss,tname,stat,start_time,bsdtime,args";

/// What the options said so far.
#[derive(Default)]
struct Asked {
    formats: Columns,
    full: bool,
    extra_full: bool,
    bsd: bool,
    bsd_user: bool,
}

/// The columns that options ask for: those of docker's `-ef` if there are none.
///
/// Errors: [`Error::Invalid`] for an option or a format that isn't known, and for columns without PID, as docker.
pub fn parse(options: &[String]) -> Result<Columns, Error> {
    let text = options.join(" ");
    let mut words = text.split_ascii_whitespace().peekable();
    let mut asked = Asked { full: words.peek().is_none(), ..Asked::default() };
    while let Some(word) = words.next() {
        let mut value = |rest: &str| match rest {
            "" => {
                words.next().map(str::to_owned).ok_or_else(|| refused(word, "list of formats must follow -o"))
            }
            rest => Ok(rest.to_owned()),
        };
        if let Some(long) = word.strip_prefix("--") {
            match long.split_once('=').unwrap_or((long, "")) {
                ("format", rest) => asked.formats.extend(formats(&value(rest)?)?),
                _ => return Err(refused(word, "unknown long option")),
            }
            continue;
        }
        // As ps, which takes -aux for what almost everybody means by it.
        let (letters, is_bsd) = match word.strip_prefix('-') {
            Some("aux" | "axu") => (&word[1..], true),
            Some(letters) => (letters, false),
            None => (word, true),
        };
        asked.bsd |= is_bsd;
        for (at, letter) in letters.char_indices() {
            match (is_bsd, letter) {
                (_, 'o') => {
                    asked.formats.extend(formats(&value(&letters[at + 1..])?)?);
                    break;
                }
                (true, 'u') => asked.bsd_user = true,
                (true, 'a' | 'x' | 'g' | 'w') | (false, 'e' | 'A' | 'a' | 'd' | 'w') => {}
                (false, 'f') => asked.full = true,
                (false, 'F') => asked.extra_full = true,
                _ => return Err(refused(word, &format!("option {letter} isn't supported"))),
            }
        }
    }
    let columns = asked.columns()?;
    match columns.iter().any(|(_, column)| *column == Column::Pid) {
        true => Ok(columns),
        false => Err(Error::invalid("ps options", "couldn't find PID field in ps output")),
    }
}

impl Asked {
    fn columns(self) -> Result<Columns, Error> {
        // As of -f: it calls the name of the user UID.
        let full = |rest: &str| {
            let first = [("UID", Column::User), ("PID", Column::Pid)];
            Ok(first.into_iter().chain(formats(rest)?).collect())
        };
        match self {
            Asked { formats, .. } if !formats.is_empty() => Ok(formats),
            Asked { bsd_user: true, .. } => formats(BSD_USER),
            Asked { bsd: true, .. } => formats(BSD),
            Asked { extra_full: true, .. } => full(EXTRA_FULL),
            Asked { full: true, .. } => full(FULL),
            _ => formats(PLAIN),
        }
    }
}

/// A list of formats, separated by commas.
fn formats(list: &str) -> Result<Columns, Error> {
    let one = |name: &str| {
        if name.contains('=') {
            return Err(refused(name, "titles of one's own aren't supported"));
        }
        let known = FORMATS.iter().find(|(names, ..)| names.contains(&name));
        known
            .map(|(_, title, column)| (*title, *column))
            .ok_or_else(|| refused(name, &format!("unknown user-defined format specifier {name:?}")))
    };
    list.split(',').filter(|name| !name.is_empty()).map(one).collect()
}

fn refused(word: &str, why: &str) -> Error {
    Error::invalid(format!("ps option {word}"), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(options: &str) -> Result<String, String> {
        let words: Vec<String> = options.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect();
        let columns = parse(&words).map_err(|error| error.to_string())?;
        Ok(columns.iter().map(|(title, _)| *title).collect::<Vec<_>>().join(" "))
    }

    /// Compared with procps-ng 4.0.2 behind docker 28.5.
    #[test]
    fn options_choose_the_columns_of_ps() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        let aux = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND";
        for (options, shown) in [
            ("", full),
            ("-ef", full),
            ("-f", full),
            ("-eF", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
            ("-e", "PID TTY TIME CMD"),
            ("aux", aux),
            ("-aux", aux),
            ("u", aux),
            ("ax", "PID TTY STAT TIME COMMAND"),
            ("-eo pid,cmd", "PID CMD"),
            ("-o pid -o comm,user", "PID COMMAND USER"),
            ("-opid,args", "PID COMMAND"),
            ("axo pid,comm", "PID COMMAND"),
            ("--format pid,tty", "PID TT"),
            ("--format=pid,%cpu", "PID %CPU"),
        ] {
            assert_eq!(titles(options).as_deref(), Ok(shown), "{options}");
        }
        for (options, says) in [
            ("-eo user,args", "couldn't find PID field in ps output"),
            ("--bad", "--bad"),
            ("-o pid,nonsense", "unknown user-defined format specifier \"nonsense\""),
            ("-o", "list of formats must follow"),
            ("-o pid=X", "pid=X"),
            ("-eT", "option T isn't supported"),
            ("f", "option f isn't supported"),
        ] {
            assert!(
                titles(options).is_err_and(|error| error.contains(says)),
                "{options}: {:?}",
                titles(options)
            );
        }
    }
}
