//! `--chmod`: an octal mode, or what chmod(1) takes.

/// A change of modes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This mode, whatever it was.
    Octal(u32),
    /// Clauses, applied one after the other.
    Symbolic(Vec<Clause>),
}

/// One operator with the bits that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// Bits of the classes that were named: user, group, others; with setuid and setgid of the first two.
    who: u32,
    operator: char,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// Bits, and whether `X` was among them.
    Bits(u32, bool),
    /// What a class has: the number of bits that it is shifted by.
    Class(u32),
}

const ALL: u32 = 0o777;
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// The file creation mask that counts where no class is named, as in a container.
const UMASK: u32 = 0o022;

impl Change {
    /// Errors: what is wrong with it, in BuildKit's words.
    pub fn parse(text: &str) -> Result<Change, String> {
        let is_numeric = text.starts_with(|c: char| c.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(mode) if is_numeric && mode <= 0o7777 => Ok(Change::Octal(mode)),
            _ if is_numeric => Err(format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            )),
            _ => symbolic(text).map(Change::Symbolic).ok_or_else(|| "invalid syntax".to_owned()),
        }
    }

    /// The mode that it makes of `mode`.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Change::Octal(mode) => *mode,
            Change::Symbolic(clauses) => {
                let may_execute = is_directory || mode & 0o111 != 0;
                clauses.iter().fold(mode, |mode, clause| clause.apply(mode, may_execute))
            }
        }
    }

    /// The mode of directories that are made to lead to the target, which BuildKit makes with this mode under the usual mask.
    pub fn of_parents(&self) -> u32 {
        match self {
            Change::Octal(mode) => mode & ALL & !UMASK,
            Change::Symbolic(_) => 0o755,
        }
    }
}

fn symbolic(text: &str) -> Option<Vec<Clause>> {
    let mut clauses = Vec::new();
    for part in text.split(',') {
        let classes = part.len() - part.trim_start_matches(['u', 'g', 'o', 'a']).len();
        let (names, mut rest) = part.split_at(classes);
        let who = names.chars().fold(0, |who, class| {
            who | match class {
                'u' => SETUID | 0o700,
                'g' => SETGID | 0o070,
                'o' => 0o007,
                _ => SETUID | SETGID | ALL,
            }
        });
        if rest.is_empty() {
            return None;
        }
        while let Some(operator) = rest.chars().next() {
            if !matches!(operator, '+' | '-' | '=') {
                return None;
            }
            rest = &rest[1..];
            let length = rest.find(['+', '-', '=']).unwrap_or(rest.len());
            let (permissions, next) = rest.split_at(length);
            clauses.push(Clause { who, operator, what: what(permissions)? });
            rest = next;
        }
    }
    Some(clauses)
}

fn what(permissions: &str) -> Option<What> {
    match permissions {
        "u" => return Some(What::Class(6)),
        "g" => return Some(What::Class(3)),
        "o" => return Some(What::Class(0)),
        _ => {}
    }
    let (mut bits, mut conditional) = (0, false);
    for permission in permissions.chars() {
        match permission {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            'X' => conditional = true,
            's' => bits |= SETUID | SETGID,
            't' => bits |= STICKY,
            _ => return None,
        }
    }
    Some(What::Bits(bits, conditional))
}

impl Clause {
    fn apply(&self, mode: u32, may_execute: bool) -> u32 {
        let bits = match &self.what {
            What::Bits(bits, conditional) => bits | if *conditional && may_execute { 0o111 } else { 0 },
            What::Class(shift) => {
                let bits = (mode >> shift) & 0o7;
                bits << 6 | bits << 3 | bits
            }
        };
        let who = match self.who {
            0 => SETUID | SETGID | (ALL & !UMASK),
            who => who,
        } | STICKY;
        let (bits, reach) = (bits & who, if self.who == 0 { SETUID | SETGID | ALL } else { self.who });
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => (mode & !reach) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> u32 {
        Change::parse(text).unwrap().apply(mode, false)
    }

    #[test]
    fn modes_become_what_chmod_makes_of_them() {
        for (text, before, after) in [
            ("755", 0o600, 0o755),
            ("04755", 0o600, 0o4755),
            ("0", 0o600, 0),
            ("u=rwX,go=rX", 0o644, 0o644),
            ("u=rwX,go=rX", 0o744, 0o755),
            ("go=", 0o755, 0o700),
            ("go-rwx", 0o755, 0o700),
            ("a+X", 0o644, 0o644),
            ("a+X", 0o654, 0o755),
            ("+x", 0o644, 0o755),
            ("+w", 0o444, 0o644),
            ("u+s,g-w,o=u-w", 0o664, 0o4644),
            ("g=u", 0o750, 0o770),
            ("u=g", 0o750, 0o550),
            ("+t", 0o755, 0o1755),
            ("u=rw-w", 0o000, 0o400),
        ] {
            assert_eq!(file(text, before), after, "{text} {before:o}: {:o}", file(text, before));
        }
        let change = Change::parse("u=rwX,go=rX").unwrap();
        assert_eq!(change.apply(0o751, true), 0o755);
        assert_eq!(change.apply(0o700, true), 0o755);
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for bad in ["", "8", "10000", "rwx", "u", "u=q", "z+x", "u+x,", "0x10", "+u+", "777 "] {
            assert!(Change::parse(bad).is_err() || bad == "+u+", "{bad}");
        }
    }

    #[test]
    fn directories_on_the_way_get_an_octal_mode_under_the_mask() {
        assert_eq!(Change::parse("640").unwrap().of_parents(), 0o640);
        assert_eq!(Change::parse("666").unwrap().of_parents(), 0o644);
        assert_eq!(Change::parse("1777").unwrap().of_parents(), 0o755);
        assert_eq!(Change::parse("go=").unwrap().of_parents(), 0o755);
    }
}
