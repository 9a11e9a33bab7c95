//! A logical line to an instruction. Source: BuildKit's instructions, parse.go.

use super::ast::{ArgPair, Command, Copy, Healthcheck, Kind, Onbuild, Pair, Run, RunNetwork};
use super::error::SyntaxError;
use super::flags::{Given, Known, Takes};
use super::heredoc::{self, Heredoc};
use super::mount::MountFlag;
use super::source::{Part, Word};
use super::split::{self, Json};
use super::suggest;
use std::time::Duration;

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

const NOT_STRINGS: &str = "when using JSON array syntax, arrays must be comprised of strings only";

/// Shortest interval of a health check but none. Source: docker's container.MinimumDuration.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// A logical line, split.
pub(super) struct Line<'a> {
    pub keyword: Word,
    pub flags: Vec<Word>,
    pub rest: Part<'a>,
    pub whole: Part<'a>,
}

/// What a line says.
pub(super) enum Said {
    From(From),
    Other(Kind),
}

/// `FROM`
pub(super) struct From {
    pub base: Word,
    pub alias: Option<(Word, Word)>,
    pub platform: Option<Word>,
}

impl<'a> Line<'a> {
    pub fn split(line: &Part<'a>, escape: char) -> Line<'a> {
        let (keyword, flags, rest) = split::instruction(line, escape);
        Line { keyword: keyword.word(), flags, rest, whole: line.clone() }
    }

    fn is(&self, name: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(name)
    }

    /// The heredocs that begin in this line.
    pub fn heredocs(&self, escape: char) -> Result<Vec<Heredoc>, SyntaxError> {
        if !self.whole.text().contains("<<") {
            return Ok(Vec::new());
        }
        let inner = self.is("ONBUILD").then(|| Line::split(&self.rest, escape));
        let command = inner.as_ref().unwrap_or(self);
        let may_have = command.is("ADD") || command.is("COPY") || command.is("RUN");
        if !may_have || matches!(split::json(command.rest.text()), Json::Strings(_)) {
            return Ok(Vec::new());
        }
        heredoc::of_line(self.whole.text())
            .map_err(|error| SyntaxError::new(error.to_string(), self.whole.span()))
    }

    /// Faults of how the line is written that make it no instruction at all: also in a trigger, which isn't read further.
    fn check(&self, escape: char) -> Result<(), SyntaxError> {
        let keyword = self.keyword.to_ascii_uppercase();
        match &keyword[..] {
            "ADD" | "COPY" | "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" | "VOLUME" => {
                self.list_or_text().map(|_| ())
            }
            "HEALTHCHECK" => {
                let (_, after) = first_at_spaces(&self.rest);
                not_others(split::json(after.text()), &after).map(|_| ())
            }
            "ENV" | "LABEL" => self.pairs(&keyword, escape).map(|_| ()),
            "ONBUILD" => Line::split(&self.rest, escape).check(escape),
            _ => Ok(()),
        }
    }

    /// A JSON array of strings, if the rest is one.
    fn list_or_text(&self) -> Result<Option<Vec<String>>, SyntaxError> {
        not_others(split::json(self.rest.text()), &self.rest)
    }

    fn command(&self) -> Result<Command, SyntaxError> {
        Ok(match self.list_or_text()? {
            Some(args) => Command::Exec(args),
            None => Command::Shell(self.rest.text().to_owned()),
        })
    }

    /// A JSON array of strings, or words between blanks.
    fn list(&self) -> Result<Vec<Word>, SyntaxError> {
        Ok(match self.list_or_text()? {
            Some(args) => args.into_iter().map(|text| self.rest.word_as(text)).collect(),
            None => split::at_blanks(&self.rest),
        })
    }

    fn fault(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(message, self.whole.trim().span())
    }

    /// The rest as one word.
    fn one(&self, name: &str) -> Result<Word, SyntaxError> {
        match self.rest.text() {
            "" => Err(self.fault(format!("{name} requires exactly one argument"))),
            _ => Ok(self.rest.word()),
        }
    }

    fn at_least_one<T>(&self, name: &str, list: Vec<T>) -> Result<Vec<T>, SyntaxError> {
        match list.is_empty() {
            true => Err(self.fault(format!("{name} requires at least one argument"))),
            false => Ok(list),
        }
    }

    fn pairs(&self, name: &str, escape: char) -> Result<Vec<Pair>, SyntaxError> {
        let words = split::quoted_words(&self.rest, escape);
        let Some(first) = words.first() else { return Ok(Vec::new()) };
        if !first.text().contains('=') {
            let (key, value) = split::first_at_blanks(&self.rest);
            let value = value.ok_or_else(|| self.fault(format!("{name} must have two arguments")))?;
            return Ok(vec![Pair { name: key, value: value.word(), is_legacy: true }]);
        }
        let pair = |word: &Part<'_>| match word.text().find('=') {
            Some(at) => {
                Ok(Pair { name: word.sub(0..at).word(), value: word.from(at + 1).word(), is_legacy: false })
            }
            None => {
                let message = format!(
                    "Syntax error - can't find = in {:?}. Must be of the form: name=value",
                    word.text()
                );
                Err(SyntaxError::new(message, word.span()))
            }
        };
        words.iter().map(pair).collect()
    }
}

fn not_others(json: Json, part: &Part<'_>) -> Result<Option<Vec<String>>, SyntaxError> {
    match json {
        Json::Strings(args) => Ok(Some(args)),
        Json::No => Ok(None),
        Json::Others => Err(SyntaxError::new(NOT_STRINGS, part.span())),
    }
}

/// The first word, and the rest behind the spaces that follow it.
fn first_at_spaces<'a>(part: &Part<'a>) -> (Word, Part<'a>) {
    let text = part.text();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (part.sub(0..end).word(), part.from(end).trim())
}

/// What a line says. Faults are added to `errors`; then there may be no answer.
pub(super) fn read(
    line: &Line<'_>,
    escape: char,
    heredocs: Vec<Heredoc>,
    errors: &mut Vec<SyntaxError>,
) -> Option<Said> {
    let before = errors.len();
    let said = of_keyword(line, escape, heredocs, errors).map_err(|error| errors.push(error)).ok();
    said.filter(|_| errors.len() == before)
}

fn of_keyword(
    line: &Line<'_>,
    escape: char,
    heredocs: Vec<Heredoc>,
    errors: &mut Vec<SyntaxError>,
) -> Result<Said, SyntaxError> {
    let keyword = line.keyword.to_ascii_uppercase();
    let mut no_flags = || Given::parse(&line.flags, &[], errors);
    let kind = match &keyword[..] {
        "FROM" => return from(line, errors).map(Said::From),
        "ADD" => Kind::Add(copy(line, "ADD", heredocs, ADD_FLAGS, errors)?),
        "COPY" => Kind::Copy(copy(line, "COPY", heredocs, COPY_FLAGS, errors)?),
        "RUN" => Kind::Run(run(line, heredocs, errors)?),
        "HEALTHCHECK" => Kind::Healthcheck(healthcheck(line, errors)?),
        "ARG" => {
            no_flags();
            Kind::Arg(args(line, escape)?)
        }
        "CMD" => {
            no_flags();
            Kind::Cmd(line.command()?)
        }
        "ENTRYPOINT" => {
            no_flags();
            Kind::Entrypoint(line.command()?)
        }
        "ENV" | "LABEL" => {
            no_flags();
            let pairs = line.at_least_one(&keyword, line.pairs(&keyword, escape)?)?;
            if let Some(pair) = pairs.iter().find(|pair| pair.name.is_empty()) {
                let place = if pair.value.is_empty() { line.rest.span() } else { pair.value.span };
                return Err(SyntaxError::new(format!("{keyword} names can not be blank"), place));
            }
            if keyword == "ENV" { Kind::Env(pairs) } else { Kind::Label(pairs) }
        }
        "EXPOSE" => {
            no_flags();
            let mut ports = line.at_least_one("EXPOSE", split::at_blanks(&line.rest))?;
            ports.sort_by(|a, b| a.text.cmp(&b.text));
            Kind::Expose(ports)
        }
        "MAINTAINER" => {
            no_flags();
            Kind::Maintainer(line.one("MAINTAINER")?)
        }
        "ONBUILD" => {
            no_flags();
            Kind::Onbuild(onbuild(line, escape, &heredocs)?)
        }
        "SHELL" => {
            no_flags();
            Kind::Shell(shell(line)?)
        }
        "STOPSIGNAL" => {
            no_flags();
            Kind::StopSignal(line.one("STOPSIGNAL")?)
        }
        "USER" => {
            no_flags();
            Kind::User(line.one("USER")?)
        }
        "VOLUME" => {
            no_flags();
            Kind::Volume(volumes(line)?)
        }
        "WORKDIR" => {
            no_flags();
            Kind::Workdir(line.one("WORKDIR")?)
        }
        _ => return Err(unknown(&line.keyword)),
    };
    Ok(Said::Other(kind))
}

fn unknown(keyword: &Word) -> SyntaxError {
    let is_lower = keyword.text == keyword.to_lowercase();
    let near = suggest::nearest(&keyword.to_uppercase(), NAMES);
    let name = near.map(|name| if is_lower { name.to_lowercase() } else { name.to_owned() });
    SyntaxError::new(format!("unknown instruction: {keyword}"), keyword.span)
        .hint(name.map(|name| format!("did you mean {name}?")))
}

fn from(line: &Line<'_>, errors: &mut Vec<SyntaxError>) -> Result<From, SyntaxError> {
    let flags = Given::parse(&line.flags, &[("platform", Takes::Value)], errors);
    let mut words = split::at_blanks(&line.rest).into_iter();
    let (base, alias) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(base), None, ..) => (base, None),
        (Some(base), Some(keyword), Some(name), None) if keyword.eq_ignore_ascii_case("as") => {
            if !is_stage_name(&name.to_lowercase()) {
                let message = format!(
                    "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
                    name.text
                );
                return Err(SyntaxError::new(message, name.span));
            }
            (base, Some((keyword, name)))
        }
        _ => return Err(line.fault("FROM requires either one or three arguments")),
    };
    Ok(From { base, alias, platform: flags.value("platform") })
}

/// Whether a stage may have this name, which is in lower case.
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
}

const COPY_FLAGS: &[Known] = &[
    ("chmod", Takes::Value),
    ("chown", Takes::Value),
    ("exclude", Takes::Values),
    ("from", Takes::Value),
    ("link", Takes::Boolean),
    ("parents", Takes::Boolean),
];

const ADD_FLAGS: &[Known] = &[
    ("checksum", Takes::Value),
    ("chmod", Takes::Value),
    ("chown", Takes::Value),
    ("exclude", Takes::Values),
    ("keep-git-dir", Takes::Boolean),
    ("link", Takes::Boolean),
    ("unpack", Takes::Boolean),
];

fn copy(
    line: &Line<'_>,
    name: &str,
    heredocs: Vec<Heredoc>,
    known: &[Known],
    errors: &mut Vec<SyntaxError>,
) -> Result<Copy, SyntaxError> {
    let flags = Given::parse(&line.flags, known, errors);
    let mut words = line.list()?;
    let Some(dest) = words.pop().filter(|_| !words.is_empty()) else {
        return Err(line.fault(format!(
            "{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        )));
    };
    let begins_heredoc = |word: &Word| heredoc::parse_word(word).ok().flatten();
    if begins_heredoc(&dest).is_some() {
        let message = format!("{name} cannot accept a heredoc as a destination");
        return Err(SyntaxError::new(message, dest.span));
    }
    let mut copy = Copy {
        from: flags.value("from"),
        chown: flags.value("chown"),
        chmod: flags.value("chmod"),
        is_linked: flags.is_on("link").unwrap_or_default(),
        has_parents: flags.is_on("parents").unwrap_or_default(),
        excludes: flags.values("exclude").collect(),
        checksum: flags.value("checksum"),
        keeps_git_dir: flags.is_on("keep-git-dir").unwrap_or_default(),
        unpack: flags.is_on("unpack"),
        dest,
        ..Copy::default()
    };
    for word in words {
        match begins_heredoc(&word) {
            Some(begun) => {
                let content = heredocs.iter().rev().find(|heredoc| heredoc.name == begun.name);
                let (content, span) =
                    content.map(|found| (found.content.clone(), found.span)).unwrap_or_default();
                copy.heredocs.push(Heredoc { content, span, ..begun });
            }
            None => copy.sources.push(word),
        }
    }
    Ok(copy)
}

fn run(line: &Line<'_>, heredocs: Vec<Heredoc>, errors: &mut Vec<SyntaxError>) -> Result<Run, SyntaxError> {
    const FLAGS: &[Known] = &[
        ("device", Takes::Values),
        ("mount", Takes::Values),
        ("network", Takes::Value),
        ("security", Takes::Value),
    ];
    let flags = Given::parse(&line.flags, FLAGS, errors);
    let mut mounts = Vec::new();
    for word in flags.values("mount") {
        let span = word.span;
        match MountFlag::parse(word) {
            Ok(mount) => mounts.push(mount),
            Err(error) => errors.push(SyntaxError::new(error.message, span).hint(error.hint)),
        }
    }
    let network = match flags.values("network").next() {
        None => RunNetwork::Default,
        Some(value) => match &value.text[..] {
            "default" => RunNetwork::Default,
            "none" => RunNetwork::None,
            "host" => RunNetwork::Host,
            other => {
                let hint = suggest::hint(other, ["default", "none", "host"]);
                return Err(
                    SyntaxError::new(format!("invalid network mode {other:?}"), value.span).hint(hint)
                );
            }
        },
    };
    let is_insecure = match flags.values("security").next() {
        None => false,
        Some(value) => match &value.text[..] {
            "sandbox" => false,
            "insecure" => true,
            other => {
                let hint = suggest::hint(other, ["sandbox", "insecure"]);
                let message = format!("security {other:?} is not valid");
                return Err(SyntaxError::new(message, value.span).hint(hint));
            }
        },
    };
    let devices = flags.values("device").collect();
    Ok(Run { mounts, network, is_insecure, devices, command: line.command()?, heredocs })
}

fn args(line: &Line<'_>, escape: char) -> Result<Vec<ArgPair>, SyntaxError> {
    let words = line.at_least_one("ARG", split::quoted_words(&line.rest, escape))?;
    let pair = |word: &Part<'_>| match word.text().find('=') {
        Some(0) => Err(SyntaxError::new("ARG names can not be blank", word.span())),
        Some(at) => Ok(ArgPair { name: word.sub(0..at).word(), value: Some(word.from(at + 1).word()) }),
        None => Ok(ArgPair { name: word.word(), value: None }),
    };
    words.iter().map(pair).collect()
}

fn healthcheck(line: &Line<'_>, errors: &mut Vec<SyntaxError>) -> Result<Healthcheck, SyntaxError> {
    const FLAGS: &[Known] = &[
        ("interval", Takes::Value),
        ("retries", Takes::Value),
        ("start-interval", Takes::Value),
        ("start-period", Takes::Value),
        ("timeout", Takes::Value),
    ];
    let flags = Given::parse(&line.flags, FLAGS, errors);
    let (kind, after) = first_at_spaces(&line.rest);
    if kind.is_empty() {
        return Err(line.fault("HEALTHCHECK requires at least one argument"));
    }
    let args = not_others(split::json(after.text()), &after)?;
    match &kind.to_uppercase()[..] {
        "NONE" if after.text().is_empty() || args.as_ref().is_some_and(Vec::is_empty) => {
            return Ok(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() });
        }
        "NONE" => return Err(SyntaxError::new("HEALTHCHECK NONE takes no arguments", after.span())),
        "CMD" => {}
        other => {
            let message = format!("Unknown type {other:?} in HEALTHCHECK (try CMD)");
            return Err(SyntaxError::new(message, kind.span));
        }
    }
    let (kind, words) = match args {
        Some(args) => ("CMD", args),
        None if after.text().is_empty() => ("CMD-SHELL", Vec::new()),
        None => ("CMD-SHELL", vec![after.text().to_owned()]),
    };
    if words.is_empty() {
        return Err(line.fault("Missing command after HEALTHCHECK CMD"));
    }
    let mut duration = |name| {
        let Some(value) = flags.value(name) else { return Duration::ZERO };
        interval(name, &value).unwrap_or_else(|error| {
            errors.push(error);
            Duration::ZERO
        })
    };
    let mut check = Healthcheck {
        test: [vec![kind.to_owned()], words].concat(),
        interval: duration("interval"),
        timeout: duration("timeout"),
        start_period: duration("start-period"),
        start_interval: duration("start-interval"),
        retries: 0,
    };
    if let Some(value) = flags.value("retries") {
        check.retries = match value.parse::<i32>() {
            Ok(number) => u32::try_from(number).map_err(|_| {
                SyntaxError::new(format!("--retries cannot be negative ({number})"), value.span)
            })?,
            Err(_) => {
                let message = format!("--retries needs a number, not {:?}", value.text);
                return Err(SyntaxError::new(message, value.span));
            }
        };
    }
    Ok(check)
}

fn interval(name: &str, value: &Word) -> Result<Duration, SyntaxError> {
    let positive = value.strip_prefix('-').unwrap_or(value);
    let Some(duration) = types::duration::parse(positive) else {
        let message = format!("time: invalid duration {:?}", value.text);
        let hint = "durations are written as in 30s, 1m30s or 500ms".to_owned();
        return Err(SyntaxError::new(message, value.span).hint(Some(hint)));
    };
    match duration {
        Duration::ZERO => Ok(duration),
        _ if duration < INTERVAL_MIN || value.starts_with('-') => {
            Err(SyntaxError::new(format!("Interval {name:?} cannot be less than 1ms"), value.span))
        }
        _ => Ok(duration),
    }
}

fn shell(line: &Line<'_>) -> Result<Vec<String>, SyntaxError> {
    if line.rest.text().is_empty() {
        return Err(line.fault("SHELL requires at least one argument"));
    }
    match line.list_or_text()? {
        Some(args) => line.at_least_one("SHELL", args),
        None => {
            let hint = r#"as in SHELL ["/bin/bash", "-c"]"#.to_owned();
            let message = "SHELL requires the arguments to be in JSON form";
            Err(SyntaxError::new(message, line.rest.span()).hint(Some(hint)))
        }
    }
}

fn volumes(line: &Line<'_>) -> Result<Vec<Word>, SyntaxError> {
    let mut volumes = line.at_least_one("VOLUME", line.list()?)?;
    for volume in &mut volumes {
        volume.text = volume.trim().to_owned();
        if volume.is_empty() {
            return Err(SyntaxError::new("VOLUME specified can not be an empty string", volume.span));
        }
    }
    Ok(volumes)
}

fn onbuild(line: &Line<'_>, escape: char, heredocs: &[Heredoc]) -> Result<Onbuild, SyntaxError> {
    if line.rest.text().is_empty() {
        return Err(line.fault("ONBUILD requires at least one argument"));
    }
    let inner = Line::split(&line.rest, escape);
    let keyword = inner.keyword.to_uppercase();
    match &keyword[..] {
        "ONBUILD" => {
            let message = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed";
            return Err(SyntaxError::new(message, inner.keyword.span));
        }
        "MAINTAINER" | "FROM" => {
            let message = format!("{keyword} isn't allowed as an ONBUILD trigger");
            return Err(SyntaxError::new(message, inner.keyword.span));
        }
        _ => inner.check(escape)?,
    }
    let whole = line.whole.text().trim_start();
    let mut trigger = whole[line.keyword.len()..].trim_start().to_owned();
    for heredoc in heredocs {
        trigger.push('\n');
        trigger.push_str(&heredoc.content);
        trigger.push_str(&heredoc.name);
    }
    Ok(Onbuild { trigger })
}
