//! The names of what is here.

use super::Answer;
use crate::backend;
use crate::failure::Failure;
use crate::format::ps::PsState;
use engine::request::PsRequest;

/// In which state containers are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// In any.
    All,
    /// Running or paused.
    Running,
    /// Paused.
    Paused,
    /// Neither running nor about to be.
    Stopped,
}

impl Which {
    fn has(self, state: PsState) -> bool {
        match self {
            Which::All => true,
            Which::Running => {
                matches!(state, PsState::Running(_) | PsState::Paused(_) | PsState::Restarting(..))
            }
            Which::Paused => matches!(state, PsState::Paused(_)),
            Which::Stopped => matches!(state, PsState::Created | PsState::Exited(..)),
        }
    }
}

impl Answer {
    /// The answer without the words that were `named` already.
    pub(super) fn without(mut self, named: &[String]) -> Answer {
        self.words.retain(|(word, _)| !named.contains(word));
        self
    }
}

/// Names of containers, with the images that they are of.
pub(super) fn containers(which: Which, named: &[String]) -> Result<Answer, Failure> {
    let request = PsRequest { all: which != Which::Running, ..PsRequest::default() };
    let rows = backend::ps(&request)?.into_iter().filter(|row| which.has(row.state));
    let words = rows.map(|row| (row.name, row.image)).collect();
    Ok(Answer { words, ..Answer::default() }.without(named))
}

/// Names of images; of this host's own files too, if they count as one.
pub(super) fn images(with_host: bool) -> Result<Answer, Failure> {
    let listed = backend::images(false)?;
    let names = listed.into_iter().flat_map(|image| image.names);
    let mut words: Vec<(String, String)> =
        names.map(|(repository, tag)| (format!("{repository}:{tag}"), String::new())).collect();
    if with_host {
        words.push(("@host".to_owned(), "This host's own files, copied on write".to_owned()));
    }
    Ok(Answer { words, ..Answer::default() })
}

/// Names of volumes.
pub(super) fn volumes() -> Result<Answer, Failure> {
    let volumes = backend::volumes(&[])?;
    let words = volumes.into_iter().map(|listed| (listed.volume.name, String::new())).collect();
    Ok(Answer { words, ..Answer::default() })
}
