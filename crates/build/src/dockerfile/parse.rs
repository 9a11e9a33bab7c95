//! The text of a Dockerfile to its instructions: lines, continuations, comments, directives, heredocs.
//!
//! Source: BuildKit's parser, parser.go. One difference: it stops at the first fault, we report all.

use super::ast::{Directive, Dockerfile, Instruction, Stage};
use super::directive;
use super::error::{SyntaxError, SyntaxErrors};
use super::heredoc::Heredoc;
use super::instruction::{self, From, Line, Said};
use super::source::{Lines, Logical, Place, Span};

/// Parses a Dockerfile.
///
/// Errors: all of its faults, in order.
pub fn parse(text: &str) -> Result<Dockerfile, SyntaxErrors> {
    let mut parser = Parser::new(text);
    parser.read();
    let fault = |message: &str| SyntaxError::new(message, Span::default());
    if parser.errors.is_empty() {
        if text.is_empty() {
            parser.errors.push(fault("the Dockerfile cannot be empty"));
        } else if parser.count == 0 {
            parser.errors.push(fault("file with no instructions"));
        } else if parser.file.stages.is_empty() {
            parser.errors.push(fault("dockerfile contains no stages to build"));
        }
    }
    for error in &mut parser.errors {
        if error.place.lines == Lines::default() {
            error.place.lines = Lines { first: 1, last: 1 };
        }
    }
    match parser.errors.is_empty() {
        true => Ok(parser.file),
        false => Err(SyntaxErrors { text: text.to_owned(), errors: parser.errors }),
    }
}

/// Parses the trigger of an `ONBUILD`, as an image's configuration has it.
///
/// Errors: the faults of the trigger; more than one instruction.
pub fn parse_trigger(trigger: &str) -> Result<Instruction, SyntaxErrors> {
    let mut parser = Parser::new(trigger);
    parser.is_trigger = true;
    parser.read();
    let mut instructions = parser.file.global_args;
    if parser.errors.is_empty() && parser.count != 1 {
        let message = "onbuild trigger should be a single expression";
        parser.errors.push(SyntaxError::new(message, Span { start: 0, end: trigger.len() }));
    }
    match instructions.pop() {
        Some(instruction) if parser.errors.is_empty() => Ok(instruction),
        _ => Err(SyntaxErrors { text: trigger.to_owned(), errors: parser.errors }),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Lines with their ends, and where they begin.
    lines: Vec<(usize, &'a str)>,
    /// The next line.
    next: usize,
    file: Dockerfile,
    comments: Vec<String>,
    /// Whether directives may still come.
    may_direct: bool,
    /// How many instructions have been read.
    count: usize,
    /// Whether this is one instruction, without a stage.
    is_trigger: bool,
    errors: Vec<SyntaxError>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        let mut lines = Vec::new();
        let mut offset = 0;
        for line in text.split_inclusive('\n') {
            lines.push((offset, line));
            offset += line.len();
        }
        if let Some(first) = lines.first_mut()
            && let Some(rest) = first.1.strip_prefix('\u{feff}')
        {
            *first = ('\u{feff}'.len_utf8(), rest);
        }
        Parser {
            text,
            lines,
            next: 0,
            file: Dockerfile {
                text: text.to_owned(),
                syntax: directive::syntax(text),
                check: None,
                escape: '\\',
                global_args: Vec::new(),
                stages: Vec::new(),
                empty_continuations: Vec::new(),
            },
            comments: Vec::new(),
            may_direct: true,
            count: 0,
            is_trigger: false,
            errors: Vec::new(),
        }
    }

    fn read(&mut self) {
        let mut seen = Vec::new();
        while let Some((offset, line)) = self.line() {
            let body = line.trim_end_matches(['\r', '\n']);
            let body_start = offset + body.len() - body.trim_start().len();
            let body = body.trim_start();
            let is_directive = self.may_direct && self.direct(body, body_start, &mut seen);
            if body.starts_with('#') {
                if !is_directive {
                    self.comment(line);
                }
                continue;
            }
            if body.is_empty() {
                continue;
            }
            self.instruction(body, body_start);
            self.comments.clear();
        }
    }

    fn line(&mut self) -> Option<(usize, &'a str)> {
        let line = self.lines.get(self.next).copied()?;
        self.next += 1;
        Some(line)
    }

    /// Remembers a comment. An empty one ends those before it.
    fn comment(&mut self, line: &str) {
        let mut chars = line.chars();
        chars.next();
        match chars.as_str().trim() {
            "" => self.comments.clear(),
            comment => self.comments.push(comment.to_owned()),
        }
    }

    /// Obeys a line that is a directive. Any other line ends them.
    fn direct(&mut self, body: &str, start: usize, seen: &mut Vec<&'static str>) -> bool {
        let Some((name, value)) = directive::parse(body, "#") else {
            self.may_direct = false;
            return false;
        };
        let mut fault = |message: String| {
            let place = Place {
                lines: Lines { first: self.next, last: self.next },
                span: Span { start, end: start + body.len() },
            };
            self.errors.push(SyntaxError { message, hint: None, place });
        };
        if seen.contains(&name) {
            fault(format!("only one {name} parser directive can be used"));
            return true;
        }
        seen.push(name);
        match (name, &value[..]) {
            ("escape", "`") => self.file.escape = '`',
            ("escape", "\\") => self.file.escape = '\\',
            ("escape", _) => fault(format!("invalid escape token '{value}' does not match ` or \\")),
            ("check", _) => self.file.check = Some(Directive { value, line: self.next }),
            // It was looked for by other rules, see `directive::syntax`.
            _ => {}
        }
        true
    }

    /// Reads an instruction, of which `body` is the first line.
    fn instruction(&mut self, body: &str, start: usize) {
        self.count += 1;
        let first_line = self.next;
        let escape = self.file.escape;
        let mut logical = Logical::default();
        let (body, mut is_continued) = without_continuation(body, escape);
        logical.push(body, start);
        let mut has_empty_line = false;
        while is_continued && let Some((offset, line)) = self.line() {
            let line = line.trim_end_matches(['\r', '\n']);
            match line.trim_start() {
                "" => has_empty_line = true,
                comment if comment.starts_with('#') => {}
                _ => {
                    let (body, is_more) = without_continuation(line, escape);
                    logical.push(body, offset);
                    is_continued = is_more;
                }
            }
        }
        if has_empty_line {
            self.file.empty_continuations.push(self.next);
        }
        let faults_before = self.errors.len();
        let part = logical.part();
        let line = Line::split(&part, escape);
        let begun = line.heredocs(escape).map_err(|error| self.errors.push(error)).unwrap_or_default();
        if let Some(heredocs) = self.heredocs(begun, line.whole.trim().span())
            && let Some(said) = instruction::read(&line, escape, heredocs, &mut self.errors)
        {
            let lines = Lines { first: first_line, last: self.next };
            let end = self.lines[self.next - 1];
            let span = Span { start, end: end.0 + end.1.trim_end_matches(['\r', '\n']).len() };
            self.add(said, &line, Place { lines, span });
        }
        let lines = Lines { first: first_line, last: self.next };
        self.errors[faults_before..].iter_mut().for_each(|error| error.place.lines = lines);
    }

    /// Reads the contents of heredocs; `None` if one isn't closed.
    fn heredocs(&mut self, mut begun: Vec<Heredoc>, span: Span) -> Option<Vec<Heredoc>> {
        for heredoc in &mut begun {
            let start = self.lines.get(self.next).map_or(self.text.len(), |(offset, _)| *offset);
            let mut end = start;
            loop {
                let Some((offset, line)) = self.line() else {
                    let hint = format!("a line {:?} is missing that ends it", heredoc.name);
                    self.errors.push(SyntaxError::new("unterminated heredoc", span).hint(Some(hint)));
                    return None;
                };
                if heredoc.ends_with(line.trim_end_matches(['\r', '\n'])) {
                    break;
                }
                heredoc.content.push_str(line);
                end = offset + line.len();
            }
            heredoc.span = Span { start, end };
        }
        Some(begun)
    }

    fn add(&mut self, said: Said, line: &Line<'_>, place: Place) {
        let code = line.whole.text().trim().to_owned();
        let comments = std::mem::take(&mut self.comments);
        let keyword = line.keyword.clone();
        match said {
            Said::From(From { base, alias, platform }) => {
                let name = alias.as_ref().map(|(_, name)| name.to_lowercase()).unwrap_or_default();
                let instructions = Vec::new();
                self.file.stages.push(Stage {
                    keyword,
                    name,
                    alias,
                    base,
                    platform,
                    code,
                    place,
                    comments,
                    instructions,
                });
            }
            Said::Other(kind) => {
                let is_arg = matches!(kind, super::ast::Kind::Arg(_));
                let instruction = Instruction { keyword, code, place, comments, kind };
                match self.file.stages.last_mut() {
                    Some(stage) => stage.instructions.push(instruction),
                    None if is_arg || self.is_trigger => self.file.global_args.push(instruction),
                    None => {
                        let hint = Some("the first instruction, other than ARG, is FROM".to_owned());
                        let error = SyntaxError::new("no build stage in current context", place.span);
                        self.errors.push(error.hint(hint));
                    }
                }
            }
        }
    }
}

/// A line without the escape at its end that continues it, and whether there is one. An escaped escape is none.
fn without_continuation(line: &str, escape: char) -> (&str, bool) {
    let body = line.trim_end_matches([' ', '\t']);
    match body.strip_suffix(escape) {
        Some(body) if !body.ends_with(escape) => (body, true),
        _ => (line, false),
    }
}
