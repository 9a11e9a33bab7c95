//! Parser directives: `# syntax=`, `# escape=`, `# check=`. Source: BuildKit's parser, directives.go.

use super::ast::Directive;

/// The directives that there are. Another name is a comment, and ends them.
const NAMES: [&str; 3] = ["syntax", "escape", "check"];

/// A line that is a directive: its name in lower case, and its value.
pub(super) fn parse(line: &str, comment: &str) -> Option<(&'static str, String)> {
    let (name, value) = line.strip_prefix(comment)?.trim_start().split_once('=')?;
    let name = NAMES.into_iter().find(|known| name.trim_end().eq_ignore_ascii_case(known))?;
    let value = value.trim();
    (!value.is_empty()).then(|| (name, value.to_owned()))
}

/// The front end that a file asks for: by `# syntax=` or `// syntax=` at its beginning, also below a `#!` line, or as a
/// JSON object.
pub fn syntax(text: &str) -> Option<Directive> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (text, skipped) = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#!") => (rest, 1),
        _ => (text, 0),
    };
    let by_comment = |comment| {
        let directives = text.lines().map(|line| parse(line, comment)).take_while(Option::is_some);
        let mut found = directives.flatten().enumerate().filter(|(_, (name, _))| *name == "syntax");
        found
            .next()
            .map(|(index, (_, value))| Directive { value: first_word(&value), line: index + 1 + skipped })
    };
    by_comment("#").or_else(|| by_comment("//")).or_else(|| {
        let document: serde_json::Value = serde_json::from_str(text).ok()?;
        let value = document.get("syntax")?.as_str()?.to_owned();
        Some(Directive { value, line: 1 + skipped })
    })
}

/// What follows a space is an argument for the front end.
fn first_word(value: &str) -> String {
    value.split(' ').next().unwrap_or_default().to_owned()
}

/// Whether a front end is docker's own for Dockerfiles, of whatever version: then ours does its work.
pub fn is_dockerfile_frontend(reference: &str) -> bool {
    let Ok(reference) = types::reference::Reference::parse(reference) else { return false };
    let is_docker_hub = reference.host() == "docker.io";
    is_docker_hub && matches!(reference.path(), "docker/dockerfile" | "docker/dockerfile-upstream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_is_found_where_buildkit_finds_it() {
        let check = |text, expected: Option<(&str, usize)>| {
            let found = syntax(text);
            let found = found.as_ref().map(|found| (&found.value[..], found.line));
            assert_eq!(found, expected, "{text}");
        };
        check("# syntax=docker/dockerfile:1\nFROM x", Some(("docker/dockerfile:1", 1)));
        check("#syntax = a/b  \r\nFROM x", Some(("a/b", 1)));
        check("# escape=`\n# SYNTAX=a/b and more\n", Some(("a/b", 2)));
        check("#!/usr/bin/env x\n# syntax=a/b", Some(("a/b", 2)));
        check("// syntax=a/b\n{}", Some(("a/b", 1)));
        check("{\"syntax\": \"a/b\"}", Some(("a/b", 1)));
        check("\u{feff}# syntax=a/b", Some(("a/b", 1)));
        check("\n# syntax=a/b", None);
        check("# hello\n# syntax=a/b", None);
        check("# other=1\n# syntax=a/b", None);
        check("FROM x\n# syntax=a/b", None);
        check("# syntax=", None);
        check("", None);
    }

    #[test]
    fn every_version_of_dockers_front_end_is_ours() {
        for name in [
            "docker/dockerfile",
            "docker/dockerfile:1",
            "docker/dockerfile:1.7-labs",
            "docker.io/docker/dockerfile:1.0-experimental",
            "docker/dockerfile:1@sha256:e87caa74dcb7d46cd820352bfea12591f3dba3ddc4285e19c7dcd13359f7cefd",
            "docker/dockerfile-upstream:master",
        ] {
            assert!(is_dockerfile_frontend(name), "{name}");
        }
        for name in [
            "dockerfile",
            "evil/dockerfile:1",
            "ghcr.io/docker/dockerfile:1",
            "docker/dockerfilex",
            "",
            "A B",
        ] {
            assert!(!is_dockerfile_frontend(name), "{name}");
        }
    }
}
