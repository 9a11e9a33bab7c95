//! What is told of a build while it goes on.

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A piece of work begins.
    Begun {
        /// Its number, from 1.
        id: usize,
        /// What it is.
        name: String,
    },
    /// A remark on how it goes.
    Status {
        /// Which.
        id: usize,
        /// The remark.
        text: String,
    },
    /// It wrote something.
    Output {
        /// Which.
        id: usize,
        /// 1 for stdout, 2 for stderr.
        stream: u8,
        /// What.
        bytes: Vec<u8>,
    },
    /// It needn't be done.
    Cached {
        /// Its number, from 1.
        id: usize,
        /// What it is.
        name: String,
    },
    /// It ended.
    Done {
        /// Which.
        id: usize,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// Something that keeps nobody from building.
    Warning {
        /// What.
        text: String,
        /// The line of the Dockerfile.
        line: Option<usize>,
    },
}

/// Who is told.
pub type Sink<'a> = &'a mut dyn FnMut(&Event);

/// Tells, and numbers what is told of.
pub struct Told<'a> {
    sink: Sink<'a>,
    last: usize,
}

impl std::fmt::Debug for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").field("last", &self.last).finish_non_exhaustive()
    }
}

impl<'a> Told<'a> {
    /// Tells `sink`.
    pub fn new(sink: Sink<'a>) -> Told<'a> {
        Told { sink, last: 0 }
    }

    /// Tells of an event.
    pub fn tell(&mut self, event: &Event) {
        (self.sink)(event);
    }

    /// Tells that a piece of work begins; its number.
    pub fn begin(&mut self, name: &str) -> usize {
        self.last += 1;
        self.tell(&Event::Begun { id: self.last, name: name.to_owned() });
        self.last
    }

    /// Tells that a piece of work needn't be done.
    pub fn cached(&mut self, name: &str) {
        self.last += 1;
        self.tell(&Event::Cached { id: self.last, name: name.to_owned() });
    }

    /// Tells that a piece of work ended.
    pub fn done(&mut self, id: usize) {
        self.tell(&Event::Done { id, error: None });
    }

    /// Does a piece of work, and tells of it.
    pub fn work<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Told<'a>, usize) -> Result<T, E>,
    ) -> Result<T, E> {
        let id = self.begin(name);
        let outcome = work(self, id);
        let error = outcome.as_ref().err().map(ToString::to_string);
        self.tell(&Event::Done { id, error });
        outcome
    }
}
