//! What a registry demands in `WWW-Authenticate`. Source: RFC 9110 11.6.1, distribution "Token Authentication".

/// Most challenges of an answer that are read.
const CHALLENGES_MAX: usize = 16;

/// A way to prove who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password.
    Basic,
    /// A token, to be had at `realm`.
    Bearer {
        /// Where tokens are made.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
        /// What the request needed, as words between spaces.
        scope: Option<String>,
        /// `insufficient_scope`, `invalid_token`.
        error: Option<String>,
    },
    /// A way that berth doesn't know.
    Other(String),
}

/// Reads all challenges of one header's value; what is malformed ends the list.
pub(crate) fn parse(value: &str) -> Vec<Challenge> {
    let mut rest = value;
    let mut challenges = Vec::new();
    while challenges.len() < CHALLENGES_MAX {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((scheme, after)) = token(rest) else { break };
        let (parameters, after) = parameters(after);
        challenges.push(challenge(scheme, &parameters));
        rest = after;
    }
    challenges
}

fn challenge(scheme: &str, parameters: &[(&str, String)]) -> Challenge {
    let get = |name: &str| {
        let found = parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    match (scheme.to_ascii_lowercase().as_str(), get("realm")) {
        ("basic", _) => Challenge::Basic,
        ("bearer", Some(realm)) => {
            Challenge::Bearer { realm, service: get("service"), scope: get("scope"), error: get("error") }
        }
        _ => Challenge::Other(scheme.to_owned()),
    }
}

/// The parameters at the start of `text`, and what follows: the next challenge.
fn parameters(text: &str) -> (Vec<(&str, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let next = rest.trim_start_matches([' ', '\t', ',']);
        let Some((name, after)) = token(next) else { return (found, next) };
        // A word without `=` is the next scheme.
        let Some(after) = after.trim_start().strip_prefix('=') else { return (found, next) };
        let Some((value, after)) = value(after.trim_start()) else { return (found, "") };
        found.push((name, value));
        rest = after;
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token or a quoted string.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.into(), service: own(service), scope: own(scope), error: None }
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        let check = |text: &str, expected: &[Challenge]| assert_eq!(parse(text), expected, "{text}");
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull""#,
            &[bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:library/alpine:pull"),
            )],
        );
        check(r#"Basic realm="Registry Realm""#, &[Challenge::Basic]);
        check("Basic", &[Challenge::Basic]);
        check(r#"bearer REALM = "x" , service=y"#, &[bearer("x", Some("y"), None)]);
        check(r#"Bearer realm="a\"b,c", Basic realm="d""#, &[bearer("a\"b,c", None, None), Challenge::Basic]);
        check(r#"Negotiate, Basic realm="d""#, &[Challenge::Other("Negotiate".into()), Challenge::Basic]);
        check(r#"Bearer service="no realm""#, &[Challenge::Other("Bearer".into())]);
        check(r#"Bearer realm="unterminated"#, &[Challenge::Other("Bearer".into())]);
        check("", &[]);
        check("=", &[]);
    }

    #[test]
    fn their_number_is_bounded() {
        assert_eq!(parse(&"Basic, ".repeat(10_000)).len(), CHALLENGES_MAX);
    }

    proptest! {
        #[test]
        fn anything_is_survived(text in "\\PC{0,200}") {
            parse(&text);
        }

        #[test]
        fn a_quoted_value_comes_back(realm in "[ -~]{0,40}") {
            let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(parse(&format!("Bearer realm=\"{quoted}\"")), vec![bearer(&realm, None, None)]);
        }
    }
}
