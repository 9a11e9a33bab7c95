//! `COPY` and `ADD`.

use super::stage::State;
use super::{Bases, Failure, Fault, Lowerer, fault, path};
use crate::dockerfile::ast::{self, Instruction};
use crate::dockerfile::expand::Lexer;
use crate::op::{Copy, CopySource, Op, Unpack};

impl<B: Bases> Lowerer<'_, B> {
    pub(super) fn copy(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        copy: &ast::Copy,
        is_add: bool,
    ) -> Result<(), Failure<B::Error>> {
        let lines = instruction.place.lines;
        let optional = |word: &Option<crate::dockerfile::source::Word>| -> Result<String, Fault> {
            word.as_ref().map_or(Ok(String::new()), |word| self.word(state, word, lines))
        };
        let (chown, chmod, checksum) =
            (optional(&copy.chown)?, optional(&copy.chmod)?, optional(&copy.checksum)?);
        if copy.keeps_git_dir {
            return Err(refused("ADD --keep-git-dir", instruction).into());
        }
        let mut sources = Vec::new();
        let mut said = if is_add { "ADD" } else { "COPY" }.to_owned();
        for (flag, value) in [("--chown=", &chown), ("--chmod=", &chmod)] {
            if flag == "--chown=" && copy.has_parents {
                said.push_str(" --parents");
            }
            if !value.is_empty() {
                said.push_str(&format!(" {flag}{value}"));
            }
        }
        for word in &copy.sources {
            let source = self.word(state, word, lines)?;
            said.push_str(&format!(" {source}"));
            let source = kind_of(&source, is_add, instruction)?;
            sources.push(match source {
                Source::Url(url) => CopySource::Url { url, checksum: checksum.clone() },
                Source::Path(pattern) => CopySource::Input { pattern },
            });
        }
        if !checksum.is_empty() {
            let why = match &sources[..] {
                [CopySource::Url { .. }] => None,
                [_] => Some("checksum can't be specified for non-HTTP(S) sources"),
                _ => Some("checksum can't be specified for multiple sources"),
            };
            if let Some(why) = why {
                return Err(fault(why, lines).into());
            }
            if types::digest::Digest::parse(&checksum).is_err() {
                return Err(fault(format!("invalid checksum digest format: {checksum}"), lines).into());
            }
        }
        for heredoc in &copy.heredocs {
            said.push_str(&format!(" <<{}", heredoc.name));
            let text = heredoc.text();
            let content = match heredoc.is_expanded {
                true => Lexer::for_heredocs()
                    .word(&text, &state.env)
                    .map_err(|error| fault(error.to_string(), lines))?,
                false => text.into_owned(),
            };
            sources.push(CopySource::Text { name: heredoc.name.clone(), content });
        }
        let dest = self.word(state, &copy.dest, lines)?;
        said.push_str(&format!(" {dest}"));
        let mut excludes = Vec::new();
        for word in &copy.excludes {
            excludes.push(self.word(state, word, lines)?);
        }
        let has_input = sources.iter().any(|source| matches!(source, CopySource::Input { .. }));
        let mut inputs = vec![state.tree];
        match &copy.from {
            Some(from) => inputs.push(self.source(from, state.index, lines)?),
            None if has_input => inputs.push(self.main_context(lines)?),
            None => {}
        }
        let unpack = match (copy.unpack, is_add) {
            (Some(true), _) => Unpack::Always,
            (None, true) => Unpack::Local,
            _ => Unpack::Never,
        };
        let op = Copy {
            sources,
            to: path::target(state.working_dir(), &dest),
            chown,
            chmod,
            keeps_owner: inputs.get(1).is_some_and(|from| self.keeps_owner(*from)),
            excludes,
            has_parents: copy.has_parents,
            is_linked: copy.is_linked,
            unpack,
            mtime: None,
        };
        let shown = self.shown_text(&self.lexer, state, &instruction.code);
        let at = self.at(state, &shown, lines);
        let step = self.add_op(Op::Copy(op), inputs, at);
        state.commit_step(&said, step);
        Ok(())
    }
}

enum Source {
    Url(String),
    Path(String),
}

fn kind_of(source: &str, is_add: bool, instruction: &Instruction) -> Result<Source, Fault> {
    let lines = instruction.place.lines;
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let without_fragment = source.split(['#', '?']).next().unwrap_or_default();
    let is_git = ["git@", "git://", "ssh://"].iter().any(|start| source.starts_with(start))
        || (is_url && without_fragment.ends_with(".git"));
    match (is_git, is_url, is_add) {
        (true, _, true) => Err(refused("ADD of a git repository", instruction)),
        (true, _, false) => Err(fault("source can't be a git ref for COPY", lines)),
        (_, true, false) => Err(fault("source can't be a URL for COPY", lines)),
        (_, true, true) => Ok(Source::Url(source.to_owned())),
        (_, false, _) => Ok(Source::Path(source.to_owned())),
    }
}

pub(super) fn refused(what: &str, instruction: &Instruction) -> Fault {
    fault(format!("{what} is not supported by berth yet"), instruction.place.lines)
}
