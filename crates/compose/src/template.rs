//! `${NAME:-default}` and its like in one string. Source: compose specification, "Interpolation"; where it is silent,
//! compose-go's template package.
//!
//! Unlike compose's, a default or message is only looked at when it is used, and may have several lines.

/// How deep `${A:-${B:-…}}` may nest.
const DEPTH_MAX: usize = 50;

/// Gives the value of a variable, if it is set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a template has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It isn't of the form that templates have.
    Format(String),
    /// A variable that `:?` or `?` requires is missing.
    Missing {
        /// The variable.
        name: String,
        /// What the template says of it.
        reason: String,
    },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Format(template) => write!(f, "invalid interpolation format: \"{template}\""),
            Problem::Missing { name, reason } if reason.is_empty() => {
                write!(f, "required variable {name} is missing a value")
            }
            Problem::Missing { name, reason } => {
                write!(f, "required variable {name} is missing a value: {reason}")
            }
        }
    }
}

/// A variable that a template speaks of. Source: `docker compose config --variables`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What stands behind `-` or `:-`.
    pub default: String,
    /// What stands behind `+` or `:+`.
    pub alternate: String,
    /// Whether `?` or `:?` requires it.
    pub required: bool,
}

/// The text with all variables replaced. Names of variables that are not set, and have no default, go to `unset`; their
/// value is empty.
///
/// Errors: a `${` that isn't closed or names no variable, a required variable that is missing.
pub fn substitute(text: &str, lookup: Lookup, unset: &mut Vec<String>) -> Result<String, Problem> {
    replace(text, lookup, unset, 0)
}

fn replace(text: &str, lookup: Lookup, unset: &mut Vec<String>, depth: usize) -> Result<String, Problem> {
    if depth > DEPTH_MAX {
        return Err(Problem::Format(text.to_owned()));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        match piece(rest).ok_or_else(|| Problem::Format(text.to_owned()))? {
            Piece::Dollar(length) => {
                out.push('$');
                rest = &rest[length..];
            }
            Piece::Variable { name, operator, word, length } => {
                rest = &rest[length..];
                let value = lookup(name);
                let is_there = match &value {
                    Some(value) => !(operator.starts_with(':') && value.is_empty()),
                    None => false,
                };
                match (operator.trim_start_matches(':'), is_there) {
                    ("-", false) | ("+", true) => out.push_str(&replace(word, lookup, unset, depth + 1)?),
                    ("?", false) => {
                        let reason = replace(word, lookup, unset, depth + 1)?;
                        return Err(Problem::Missing { name: name.to_owned(), reason });
                    }
                    ("", false) if value.is_none() => unset.push(name.to_owned()),
                    _ => out.push_str(&value.unwrap_or_default()),
                }
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The variables that a text speaks of, those within defaults too. What is no template is passed over.
pub fn variables(text: &str, found: &mut Vec<Variable>) {
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        rest = &rest[start..];
        match piece(rest) {
            None => rest = &rest[1..],
            Some(Piece::Dollar(length)) => rest = &rest[length..],
            Some(Piece::Variable { name, operator, word, length }) => {
                let mut variable = Variable { name: name.to_owned(), ..Variable::default() };
                match operator.trim_start_matches(':') {
                    "-" => variable.default = word.to_owned(),
                    "+" => variable.alternate = word.to_owned(),
                    "?" => variable.required = true,
                    _ => {}
                }
                found.push(variable);
                if !operator.ends_with('?') && word.len() < text.len() {
                    variables(word, found);
                }
                rest = &rest[length..];
            }
        }
    }
}

/// What begins with a dollar sign.
enum Piece<'a> {
    /// A dollar sign that stands for itself, and how many bytes say so: `$$`, or one before what is no name.
    Dollar(usize),
    Variable {
        name: &'a str,
        operator: &'a str,
        word: &'a str,
        length: usize,
    },
}

/// Reads the piece at the beginning of `text`, which begins with a dollar sign. None if it is malformed.
fn piece(text: &str) -> Option<Piece<'_>> {
    let body = &text[1..];
    if body.starts_with('$') {
        return Some(Piece::Dollar(2));
    }
    let Some(braced) = body.strip_prefix('{') else {
        let name = name_of(body);
        return Some(match name.is_empty() {
            true => Piece::Dollar(1),
            false => Piece::Variable { name, operator: "", word: "", length: 1 + name.len() },
        });
    };
    let name = name_of(braced);
    if name.is_empty() {
        return None;
    }
    let rest = &braced[name.len()..];
    if rest.starts_with('}') {
        return Some(Piece::Variable { name, operator: "", word: "", length: 2 + name.len() + 1 });
    }
    let operator = [":-", ":+", ":?", "-", "+", "?"].into_iter().find(|op| rest.starts_with(op))?;
    let end = closing(rest)?;
    let word = &rest[operator.len()..end];
    Some(Piece::Variable { name, operator: &rest[..operator.len()], word, length: 2 + name.len() + end + 1 })
}

fn name_of(text: &str) -> &str {
    let is_name =
        |(index, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || index > 0 && c.is_ascii_digit();
    let end = text.char_indices().find(|&at| !is_name(at)).map_or(text.len(), |(index, _)| index);
    &text[..end]
}

/// Where the brace closes that was open before `text`. Braces within count, whatever they are of; if they don't match,
/// the last one of the line closes.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(index);
        }
    }
    text.lines().next()?.rfind('}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SET" => Some("set".into()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("$SET".into()),
            _ => None,
        }
    }

    fn check(template: &str, value: &str) {
        assert_eq!(substitute(template, &lookup, &mut Vec::new()).as_deref(), Ok(value), "{template}");
    }

    #[test]
    fn every_operator_gives_what_compose_gives() {
        check("$SET-${SET}", "set-set");
        check("${SET:-x} ${EMPTY:-x} ${NONE:-x}", "set x x");
        check("${SET-x} ${EMPTY-x} ${NONE-x}", "set  x");
        check("${SET:+x}|${EMPTY:+x}|${NONE:+x}", "x||");
        check("${SET+x}|${EMPTY+x}|${NONE+x}", "x|x|");
        check("${SET:?m} ${SET?m} ${EMPTY?m}", "set set ");
        check("${NONE:-${SET}/${NONE:-{\"a\": 1}}}", "set/{\"a\": 1}");
        check("$$SET $1 $ $( $", "$SET $1 $ $( $");
        check("$DOLLAR", "$SET");
        check("${NONE:-a\nb}", "a\nb");
        check("${SET:-${NONE:?never}}", "set");
        check("${NONE:-:-?}", ":-?");
    }

    #[test]
    fn wrong_templates_and_missing_variables_are_errors() {
        let problem = |template: &str| substitute(template, &lookup, &mut Vec::new()).unwrap_err();
        for template in ["${", "${}", "${1}", "${A B}", "${SET", "${SET:x}", "${SET:-", "a ${-x}"] {
            assert_eq!(problem(template), Problem::Format(template.into()));
        }
        let missing =
            |reason: &str, name: &str| Problem::Missing { name: name.into(), reason: reason.into() };
        assert_eq!(problem("${NONE:?set it to $SET}"), missing("set it to set", "NONE"));
        assert_eq!(problem("${EMPTY:?}"), missing("", "EMPTY"));
        assert_eq!(problem("${NONE?}"), missing("", "NONE"));
    }

    #[test]
    fn unset_variables_are_named() {
        let mut unset = Vec::new();
        substitute("$NONE ${OTHER} ${EMPTY} ${X:-1} ${Y+2}", &lookup, &mut unset).unwrap();
        assert_eq!(unset, ["NONE", "OTHER"]);
    }

    #[test]
    fn variables_are_found_with_their_defaults() {
        let mut found = Vec::new();
        variables("${A:-x${B:?m}} $C ${D+y} $$E ${", &mut found);
        let names: Vec<_> = found.iter().map(|variable| variable.name.as_str()).collect();
        assert_eq!(names, ["A", "B", "C", "D"]);
        assert_eq!(found[0].default, "x${B:?m}");
        assert!(found[1].required);
        assert_eq!(found[3].alternate, "y");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_without_a_panic(text in "[${}:?+\\-A-C a\n\u{e9}]{0,40}") {
            let _ = substitute(&text, &lookup, &mut Vec::new());
            variables(&text, &mut Vec::new());
        }

        #[test]
        fn text_without_dollars_stays(text in "[^$]{0,40}") {
            check(&text, &text);
        }

        #[test]
        fn doubled_dollars_give_the_text_back(text in "[${}:A-C\\- ]{0,40}") {
            check(&text.replace('$', "$$"), &text);
        }
    }
}
