//! `--change`: a Dockerfile instruction that changes an image's configuration. Source: docker's reference of `commit` and
//! `import`; the grammar is the Dockerfile reference's, without variables.

use super::healthcheck;
use types::image::config::Execution;

/// Applies one instruction.
///
/// Errors: what is wrong with it, as the end of a sentence.
pub(crate) fn apply(text: &str, config: &mut Execution) -> Result<(), String> {
    let text = text.trim();
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(format!("{name} needs an argument"));
    }
    match name.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(rest));
            // As in a build: the command of another entry point isn't this one's.
            config.cmd = None;
        }
        "ENV" => {
            for (key, value) in pairs(rest)? {
                let variable = format!("{key}={value}");
                let is_it = |known: &&mut String| known.split('=').next() == Some(&key);
                match config.env.iter_mut().find(is_it) {
                    Some(known) => *known = variable,
                    None => config.env.push(variable),
                }
            }
        }
        "LABEL" => config.labels.extend(pairs(rest)?),
        "EXPOSE" => {
            for port in words(rest)? {
                add(&mut config.exposed_ports, if port.contains('/') { port } else { format!("{port}/tcp") });
            }
        }
        "VOLUME" => {
            let paths = match serde_json::from_str::<Vec<String>>(rest) {
                Ok(paths) => paths,
                Err(_) => words(rest)?,
            };
            paths.into_iter().for_each(|path| add(&mut config.volumes, path));
        }
        "USER" => config.user = rest.to_owned(),
        "WORKDIR" => {
            config.working_dir = match rest.starts_with('/') {
                true => rest.to_owned(),
                false => format!("{}/{rest}", config.working_dir.trim_end_matches('/')),
            }
        }
        "STOPSIGNAL" => {
            types::signal::parse(rest).ok_or_else(|| format!("no signal is called {rest}"))?;
            config.stop_signal = rest.to_owned();
        }
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck::parse(rest)?),
        "" => return Err("it is empty".to_owned()),
        other => return Err(format!("{other} changes no configuration")),
    }
    Ok(())
}

fn add(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
        list.sort();
    }
}

/// The exec form, a JSON list, or else the shell form.
fn command(text: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) => words,
        Err(_) => ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
    }
}

/// `KEY=value …`, or the old form `KEY value`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(text)?;
    match words.first() {
        Some(first) if !first.contains('=') => {
            let (key, value) = text.split_once(char::is_whitespace).ok_or("a value is missing")?;
            Ok(vec![(key.to_owned(), value.trim().to_owned())])
        }
        _ => words
            .iter()
            .map(|word| match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
                _ => Err(format!("{word:?} is not KEY=value")),
            })
            .collect(),
    }
}

/// Words as a shell splits them: quotes keep spaces, a backslash keeps what follows.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                let next = chars.next().ok_or("it ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    match quote {
        Some(open) => Err(format!("a {open} is not closed")),
        None => {
            words.extend(word);
            Ok(words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Execution {
        let mut config = Execution::default();
        changes.iter().for_each(|change| apply(change, &mut config).unwrap());
        config
    }

    #[test]
    fn instructions_change_what_they_name() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let config = changed(&["CMD [\"a\", \"b c\"]", "cmd echo hi"]);
        assert_eq!(config.cmd, Some(words(&["/bin/sh", "-c", "echo hi"])));
        let config = changed(&["CMD x", "ENTRYPOINT [\"e\"]"]);
        assert_eq!((config.entrypoint, config.cmd), (Some(words(&["e"])), None));
        let config = changed(&["ENV A=1 B=\"two words\"", "ENV A=3", "ENV C old form"]);
        assert_eq!(config.env, ["A=3", "B=two words", "C=old form"]);
        let config = changed(&["LABEL a=1 'b=2 3'", "EXPOSE 80 53/udp", "VOLUME [\"/x\"]", "VOLUME /y /x"]);
        assert_eq!(config.labels["b"], "2 3");
        assert_eq!(config.exposed_ports, ["53/udp", "80/tcp"]);
        assert_eq!(config.volumes, ["/x", "/y"]);
        let config =
            changed(&["USER ann:7", "WORKDIR /a", "WORKDIR b", "STOPSIGNAL SIGINT", "ONBUILD RUN x"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("ann:7", "/a/b"));
        assert_eq!((config.stop_signal.as_str(), &config.on_build[..]), ("SIGINT", &words(&["RUN x"])[..]));
    }

    #[test]
    fn what_is_no_instruction_is_refused() {
        let mut config = Execution::default();
        for bad in [
            "",
            "CMD",
            "RUN x",
            "FROM y",
            "ENV A",
            "ENV A='x",
            "LABEL =x",
            "STOPSIGNAL NOPE",
            "HEALTHCHECK x",
        ] {
            assert!(apply(bad, &mut config).is_err(), "{bad:?}");
        }
        assert_eq!(config, Execution::default());
    }
}
