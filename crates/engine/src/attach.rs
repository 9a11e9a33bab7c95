//! The client's side of a container in the foreground: its streams, its terminal, its signals.
//!
//! ```text
//! container ─▶ FIFO ─▶ keeper ─▶ log ─▶ pipe ─▶ this ─▶ the caller's stdout
//! the caller's stdin, if it's a pipe ────────────────▶ container   (the same pipe: nothing is copied)
//! the caller's stdin, otherwise ─▶ this ─▶ pipe ─────▶ container
//! the caller's terminal ─▶ this ─▶ master ───────────▶ container   (raw, but for the keys that leave)
//! ```

mod detach;
mod live;
mod pump;
mod terminal;

pub use live::attach_running;
pub use terminal::terminal_size;

use crate::cell::Cell;
use crate::log::{self, Cursor, Plan};
use crate::request::{ExecRequest, RunRequest, StartRequest, StdStream};
use crate::wire::{self, FromClient, ToClient};
use crate::{Error, Home, find};
use detach::DetachKeys;
use linux::{Errno, signal};
use pump::{Moved, Pump};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PipeFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use terminal::RawTerminal;

/// How an attached run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With the container: its status, 0 to 255; `None` if nobody saw it.
    Exited(Option<u8>),
    /// The client left by the detach keys, or its terminal went away; the container runs on.
    Detached,
    /// A signal of this number told the client, which passes none on, to leave; the container runs on.
    Interrupted(i32),
}

/// The client's ends, and until the holder takes them, the container's.
#[derive(Debug, Default)]
pub struct Streams {
    out: [Option<OwnedFd>; 2],
    writers: Option<[OwnedFd; 2]>,
    /// What becomes the container's stdin.
    stdin: Option<OwnedFd>,
    /// Where this process writes what it reads from the caller's stdin.
    stdin_writer: Option<OwnedFd>,
    interactive: bool,
    tty: bool,
    detach_keys: Vec<u8>,
    sig_proxy: bool,
    /// Where the output goes to; `None` for one that has no log.
    plan: Option<Plan>,
    /// Whether an output is thrown away, because the caller doesn't stay with it.
    silent: [bool; 2],
}

impl Streams {
    /// Makes the pipes that a new container needs.
    pub fn prepare(request: &RunRequest) -> Result<Streams, Error> {
        let streams = Streams {
            interactive: request.interactive,
            tty: request.tty,
            detach_keys: request.detach_keys.clone(),
            sig_proxy: request.sig_proxy,
            plan: Plan::of(&request.log).ok(),
            silent: [StdStream::Stdout, StdStream::Stderr].map(|stream| !request.attaches(stream)),
            ..Streams::default()
        };
        streams.with_pipes(request.detach, true)
    }

    /// Makes the pipes that a container needs which is started again.
    pub fn for_start(made: &RunRequest, start: &StartRequest) -> Result<Streams, Error> {
        let streams = Streams {
            interactive: made.interactive,
            tty: made.tty,
            detach_keys: start.detach_keys.clone(),
            sig_proxy: start.sig_proxy,
            plan: Plan::of(&made.log).ok(),
            ..Streams::default()
        };
        // Without the caller's stdin, the container's waits for somebody else.
        let own_stdin = start.attach && start.interactive;
        let mut streams = streams.with_pipes(!own_stdin, false)?;
        if start.attach {
            streams.make_output()?;
        }
        streams.interactive &= own_stdin;
        Ok(streams)
    }

    /// Makes the pipes that a process in a container needs.
    pub fn for_exec(request: &ExecRequest) -> Result<Streams, Error> {
        let streams = Streams {
            interactive: request.interactive,
            tty: request.tty,
            detach_keys: request.detach_keys.clone(),
            sig_proxy: false,
            ..Streams::default()
        };
        // A terminal's output is read from its master.
        streams.with_pipes(request.detach, !request.tty)
    }

    fn with_pipes(mut self, detach: bool, output: bool) -> Result<Streams, Error> {
        let failed = |errno| Error::system("make", "a pipe", errno);
        if !detach && output {
            self.make_output()?;
        }
        if self.interactive && !self.tty {
            let own = rustix::stdio::stdin();
            if !detach && pump::is_anonymous_pipe(own) {
                let fd = rustix::io::fcntl_dupfd_cloexec(own, 3).map_err(failed)?;
                self.stdin = Some(fd);
            } else {
                let (reader, writer) = pipe()?;
                self.stdin = Some(reader);
                self.stdin_writer = Some(writer);
            }
        }
        Ok(self)
    }

    fn make_output(&mut self) -> Result<(), Error> {
        let mut writers = Vec::new();
        for slot in &mut self.out {
            let (reader, writer) = pipe()?;
            let _ = rustix::pipe::fcntl_setpipe_size(&writer, log::FRAME_BYTES_MAX);
            let _ = rustix::io::ioctl_fionbio(&reader, true);
            *slot = Some(reader);
            writers.push(writer);
        }
        if let (Some(err), Some(out)) = (writers.pop(), writers.pop()) {
            self.writers = Some([out, err]);
        }
        Ok(())
    }

    /// The keeper's ends of the output.
    pub fn take_writers(&mut self) -> Option<[OwnedFd; 2]> {
        self.writers.take()
    }

    /// The container's stdin.
    pub fn take_stdin(&mut self) -> Option<OwnedFd> {
        self.stdin.take()
    }

    /// The other end of it.
    pub fn take_stdin_writer(&mut self) -> Option<OwnedFd> {
        self.stdin_writer.take()
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::system("make", "a pipe", errno))
}

/// Signals that are passed on to the container: those that docker passes on, and that can be.
const PROXIED: [i32; 12] = [
    libc_signal::HUP,
    libc_signal::INT,
    libc_signal::QUIT,
    libc_signal::USR1,
    libc_signal::USR2,
    libc_signal::ALRM,
    libc_signal::TERM,
    libc_signal::CONT,
    libc_signal::XCPU,
    libc_signal::XFSZ,
    libc_signal::VTALRM,
    libc_signal::PROF,
];

/// Signal numbers. Source: signal(7), x86-64 and arm64.
mod libc_signal {
    pub const HUP: i32 = 1;
    pub const INT: i32 = 2;
    pub const QUIT: i32 = 3;
    pub const USR1: i32 = 10;
    pub const USR2: i32 = 12;
    pub const ALRM: i32 = 14;
    pub const TERM: i32 = 15;
    pub const CONT: i32 = 18;
    pub const XCPU: i32 = 24;
    pub const XFSZ: i32 = 25;
    pub const VTALRM: i32 = 26;
    pub const PROF: i32 = 27;
    pub const WINCH: i32 = 28;
}

/// Stays with container `id` until it ends or the client leaves.
pub fn attach(
    home: &Home,
    id: &str,
    socket: OwnedFd,
    streams: Streams,
    master: Option<OwnedFd>,
    pid: i32,
) -> Result<Outcome, Error> {
    let frames = streams.plan.as_ref().map(|plan| log::frames_dir(home, id, plan)).unwrap_or_default();
    let keeper = Keeper { home, id, frames, socket: Some(socket) };
    stay(Source::Keeper(keeper), streams, master, linux::process::pidfd_open(pid).ok())
}

/// Stays with a child of the caller's until it ends or the client leaves.
pub fn attach_child(
    mut streams: Streams,
    master: Option<OwnedFd>,
    pid: i32,
    pidfd: OwnedFd,
) -> Result<Outcome, Error> {
    if let Some(master) = &master {
        let _ = rustix::io::ioctl_fionbio(master, true);
        streams.out[0] = Some(master.try_clone().map_err(|error| Error::io("read", "the terminal", &error))?);
    }
    stay(Source::Child(pid), streams, master, Some(pidfd))
}

/// Who tells of the end.
enum Source<'a> {
    Keeper(Keeper<'a>),
    Child(i32),
    Log(Box<live::Live>),
}

/// How often a client that reads the log looks whether anybody looks after the container.
const LOOK_AGAIN_SECS: i64 = 1;

struct Keeper<'a> {
    home: &'a Home,
    id: &'a str,
    /// Where its output is.
    frames: PathBuf,
    /// `None` once there is no keeper any more.
    socket: Option<OwnedFd>,
}

fn stay(
    source: Source<'_>,
    streams: Streams,
    master: Option<OwnedFd>,
    init: Option<OwnedFd>,
) -> Result<Outcome, Error> {
    let failed = |errno| Error::system("watch over", "the container", errno);
    let mut watched = PROXIED.to_vec();
    watched.push(libc_signal::WINCH);
    signal::set_blocked(&watched).map_err(failed)?;
    let signals = signal::signalfd(&watched).map_err(failed)?;
    let raw = match &master {
        Some(_) if streams.interactive => RawTerminal::enter(rustix::stdio::stdin()),
        _ => None,
    };
    if let Some(master) = &master {
        terminal::copy_size(master.as_fd());
    }
    let [out, err] = streams.out;
    let pumps = [out, err].into_iter().zip([rustix::stdio::stdout(), rustix::stdio::stderr()]);
    let pumps = pumps.zip(streams.silent).map(|((from, to), silent)| {
        let mut pump = Pump::new(from?, to);
        if silent {
            pump.discard();
        }
        Some(pump)
    });
    let mut attached = Attached {
        source,
        output: pumps.collect(),
        input: Input::new(streams.interactive, streams.tty, master.as_ref(), streams.stdin_writer),
        keys: DetachKeys::new(streams.detach_keys),
        master: master.as_ref(),
        signals,
        sig_proxy: streams.sig_proxy,
        init,
        end: None,
    };
    let outcome = attached.run();
    drop(raw);
    outcome
}

enum Input<'a> {
    None,
    /// From the caller's terminal to the container's.
    Keys(&'a OwnedFd),
    /// From the caller's stdin to a pipe.
    Pump(OwnedFd),
}

impl<'a> Input<'a> {
    fn new(interactive: bool, tty: bool, master: Option<&'a OwnedFd>, writer: Option<OwnedFd>) -> Input<'a> {
        match (interactive, tty, master, writer) {
            (true, true, Some(master), _) => Input::Keys(master),
            (true, false, _, Some(writer)) => {
                let _ = rustix::io::ioctl_fionbio(&writer, true);
                Input::Pump(writer)
            }
            _ => Input::None,
        }
    }
}

struct Attached<'a> {
    source: Source<'a>,
    output: Vec<Option<Pump>>,
    input: Input<'a>,
    keys: DetachKeys,
    master: Option<&'a OwnedFd>,
    signals: OwnedFd,
    sig_proxy: bool,
    init: Option<OwnedFd>,
    /// Status and total of each stream, once the container has ended.
    end: Option<(Option<u8>, [u64; 2])>,
}

impl Attached<'_> {
    fn run(&mut self) -> Result<Outcome, Error> {
        loop {
            if let Some((code, totals)) = self.end
                && self.has_all(totals)?
            {
                return Ok(Outcome::Exited(code));
            }
            let ready = self.wait()?;
            if ready.signals
                && let Some(outcome) = self.handle_signals()
            {
                return Ok(outcome);
            }
            for n in 0..2 {
                if ready.output[n] {
                    self.pump_output(n)?;
                }
            }
            if ready.source {
                self.hear()?;
            }
            if ready.input && self.pass_input()? {
                return Ok(Outcome::Detached);
            }
        }
    }

    fn wait(&self) -> Result<Ready, Error> {
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let mut what = vec![What::Signals];
        if let Some(source) = self.source_fd() {
            fds.push(PollFd::from_borrowed_fd(source, PollFlags::IN));
            what.push(What::Source);
        }
        for (n, pump) in self.output.iter().enumerate() {
            if let Some(pump) = pump {
                fds.push(PollFd::from_borrowed_fd(pump.source(), PollFlags::IN));
                what.push(What::Output(n));
            }
        }
        let stdin = rustix::stdio::stdin();
        match &self.input {
            Input::None => {}
            Input::Keys(_) => {
                fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
                what.push(What::Input);
            }
            Input::Pump(writer) => {
                // Only once there is room; a regular file is always ready.
                fds.push(PollFd::new(writer, PollFlags::OUT));
                what.push(What::Room);
                fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
                what.push(What::Input);
            }
        }
        // Without a keeper there is nobody to tell of the end.
        let timeout = match &self.source {
            Source::Log(live) if live.has_more() => Some(Timespec { tv_sec: 0, tv_nsec: 0 }),
            Source::Log(_) => Some(Timespec { tv_sec: LOOK_AGAIN_SECS, tv_nsec: 0 }),
            _ => self.source_fd().is_none().then_some(Timespec { tv_sec: 0, tv_nsec: 20_000_000 }),
        };
        let changed = match poll(&mut fds, timeout.as_ref()) {
            Ok(changed) => changed,
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(Error::system("wait for", "the container", errno)),
        };
        let mut ready = Ready::default();
        let mut room = true;
        for (fd, what) in fds.iter().zip(&what) {
            let is = !fd.revents().is_empty();
            match what {
                What::Signals => ready.signals = is,
                What::Source => ready.source = is,
                What::Output(n) => ready.output[*n] = is,
                What::Room => room = is,
                What::Input => ready.input = is && room,
            }
        }
        if !room && ready == Ready::default() {
            // Only a full pipe holds it up: wait for that alone.
            if let Input::Pump(writer) = &self.input {
                let signals = PollFd::new(&self.signals, PollFlags::IN);
                let mut fds = vec![PollFd::new(writer, PollFlags::OUT), signals];
                fds.extend(self.source_fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
                let sources = self.output.iter().flatten();
                fds.extend(sources.map(|p| PollFd::from_borrowed_fd(p.source(), PollFlags::IN)));
                let _ = poll(&mut fds, timeout.as_ref());
            }
        }
        match &self.source {
            Source::Log(live) => ready.source |= changed == 0 || live.has_more(),
            _ => ready.source |= self.source_fd().is_none(),
        }
        Ok(ready)
    }

    fn pump_output(&mut self, n: usize) -> Result<(), Error> {
        let Some(pump) = &mut self.output[n] else { return Ok(()) };
        match pump.run() {
            Ok(Moved::Some | Moved::Nothing) => Ok(()),
            Ok(Moved::SourceEnded) => {
                self.output[n] = None;
                Ok(())
            }
            // Nobody reads our output any more: as any program in a pipeline, be gone; the container finds out by itself.
            Err(Errno::PIPE) => {
                pump.discard();
                Ok(())
            }
            Err(errno) => Err(Error::system("pass on the output of", "the container", errno)),
        }
    }

    /// Whether everything has arrived that was announced.
    fn has_all(&mut self, totals: [u64; 2]) -> Result<bool, Error> {
        for (n, total) in totals.into_iter().enumerate() {
            while self.output[n].as_ref().is_some_and(|pump| pump.received() < total) {
                let before = self.output[n].as_ref().map(Pump::received);
                self.pump_output(n)?;
                if self.output[n].as_ref().map(Pump::received) == before {
                    return Ok(self.source_fd().is_none());
                }
            }
        }
        Ok(true)
    }

    /// What becomes readable when there is news of the end.
    fn source_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.source {
            Source::Keeper(keeper) => keeper.socket.as_ref().map(AsFd::as_fd),
            Source::Child(_) => self.init.as_ref().map(AsFd::as_fd),
            Source::Log(live) => Some(live.fd()),
        }
    }

    fn hear(&mut self) -> Result<(), Error> {
        let socket = match &self.source {
            Source::Log(_) => return self.hear_log(),
            Source::Child(pid) => {
                let exit = linux::process::wait_child(*pid).ok();
                // What it wrote is in the pipes; others may hold them open for longer.
                for n in 0..2 {
                    self.pump_output(n)?;
                }
                self.end = Some((exit.map(linux::process::Exit::shell_code), [0; 2]));
                return Ok(());
            }
            Source::Keeper(Keeper { socket: Some(socket), .. }) => socket,
            Source::Keeper(keeper) => {
                let (home, id, frames) = (keeper.home, keeper.id, keeper.frames.clone());
                return self.look_for_end(home, id, frames);
            }
        };
        match wire::receive::<ToClient>(socket) {
            Ok(Some((ToClient::Exited { code, totals, .. }, _))) => self.end = Some((code, totals)),
            Ok(Some((ToClient::Resume { generation }, _))) => {
                for n in 0..2 {
                    self.pump_output(n)?;
                }
                let totals = [0, 1].map(|n: usize| self.output[n].as_ref().map_or(0, Pump::received));
                if let Some(socket) = self.source_fd() {
                    let _ = wire::send(socket, &FromClient::Have { generation, totals }, &[]);
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                if let Source::Keeper(keeper) = &mut self.source {
                    keeper.socket = None;
                }
            }
        }
        Ok(())
    }

    /// Holder and keeper were both killed. The container has a new keeper once somebody looks at it: that is done here;
    /// its output is read from the log.
    fn look_for_end(&mut self, home: &Home, id: &str, frames: PathBuf) -> Result<(), Error> {
        if self.end.is_some() {
            return Ok(());
        }
        let cell = Cell::of(home, id);
        find::recover(home, &cell);
        let mut cursor = Cursor::new(frames);
        for n in 0..2 {
            self.pump_output(n)?;
        }
        let mut totals = [0; 2];
        while let Some((header, left)) = cursor.next_piece()? {
            let n = header.stream.index();
            let at = header.offset + u64::from(header.length - left.min(header.length));
            totals[n] = at + u64::from(left);
            let have = self.output[n].as_ref().map_or(u64::MAX, Pump::received);
            let had = have.saturating_sub(at).min(left.into()) as u32;
            if had == left {
                cursor.skip(left);
                continue;
            }
            cursor.skip(had);
            let mut buffer = vec![0; (left - had) as usize];
            let read = cursor
                .read(&mut buffer)
                .map_err(|errno| Error::system("read", "the container's log", errno))?;
            if let Some(pump) = &mut self.output[n] {
                pump.write_all(&buffer[..read])
                    .map_err(|errno| Error::system("pass on the output of", "the container", errno))?;
            }
        }
        let gone = self.init.as_ref().is_none_or(|init| crate::cell::has_ended(init.as_fd()));
        if gone && cell.try_lock().ok().flatten().is_some() | !cell.path.exists() {
            let code =
                cell.ended().or_else(|| crate::cell::read_ended(home, id)).and_then(|ended| ended.code);
            self.end = Some((code, [0; 2]));
        }
        Ok(())
    }

    fn handle_signals(&mut self) -> Option<Outcome> {
        while let Ok(Some(received)) = signal::read_signalfd(self.signals.as_fd()) {
            match received.number {
                libc_signal::WINCH => {
                    if let Some(master) = self.master {
                        terminal::copy_size(master.as_fd());
                    }
                }
                // The terminal is gone: the container stays, as with docker.
                libc_signal::HUP if self.master.is_some() => return Some(Outcome::Detached),
                number if self.sig_proxy => {
                    if let Some(init) = &self.init {
                        let _ = linux::process::pidfd_signal(init.as_fd(), number);
                    }
                }
                number => return Some(Outcome::Interrupted(number)),
            }
        }
        None
    }

    /// Passes input on; `true` if the detach keys were pressed.
    fn pass_input(&mut self) -> Result<bool, Error> {
        let stdin = rustix::stdio::stdin();
        match &self.input {
            Input::None => Ok(false),
            Input::Keys(master) => {
                let mut buffer = [0; 4096];
                let read = match rustix::io::read(stdin, &mut buffer[..]) {
                    Ok(0) | Err(Errno::IO) => {
                        self.input = Input::None;
                        return Ok(false);
                    }
                    Ok(n) => n,
                    Err(_) => return Ok(false),
                };
                let (bytes, detach) = self.keys.filter(&buffer[..read]);
                if write_terminal(master.as_fd(), &bytes).is_err() {
                    self.input = Input::None;
                }
                Ok(detach)
            }
            Input::Pump(writer) => {
                match pump::move_once(stdin, writer.as_fd()) {
                    Ok(Moved::Some | Moved::Nothing) => {}
                    // Its end is what the container should see.
                    Ok(Moved::SourceEnded) | Err(_) => self.input = Input::None,
                }
                Ok(false)
            }
        }
    }
}

/// Writes to a master that the keeper may have made non-blocking.
fn write_terminal(master: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(master, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(master, PollFlags::OUT)];
                poll(&mut fds, None)?;
                if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
                    return Err(Errno::IO);
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[derive(Default, PartialEq, Eq)]
struct Ready {
    signals: bool,
    source: bool,
    output: [bool; 2],
    input: bool,
}

#[derive(Clone, Copy)]
enum What {
    Signals,
    Source,
    Output(usize),
    Room,
    Input,
}
