//! The caller's terminal: raw while the container has it, and its size.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::os::fd::BorrowedFd;

/// Rows and columns of the caller's terminal, whichever of its streams is one.
pub fn terminal_size() -> Option<(u16, u16)> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    streams.into_iter().find_map(|fd| tcgetwinsize(fd).ok()).map(|size| (size.ws_row, size.ws_col))
}

/// Gives the container's terminal the size of the caller's; the container's foreground group hears of it.
pub fn copy_size(master: BorrowedFd<'_>) {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    if let Some(size) = streams.into_iter().find_map(|fd| tcgetwinsize(fd).ok()) {
        let _ = tcsetwinsize(master, size);
    }
}

/// Gives it a size that it doesn't keep, so that whatever draws on it draws anew once it has the right one, as docker does
/// for who attaches again.
pub fn nudge(master: BorrowedFd<'_>) {
    if let Ok(mut size) = tcgetwinsize(master) {
        size.ws_row = size.ws_row.saturating_add(1);
        size.ws_col = size.ws_col.saturating_add(1);
        let _ = tcsetwinsize(master, size);
    }
}

/// A terminal in raw mode, put back when dropped.
pub struct RawTerminal {
    fd: BorrowedFd<'static>,
    before: Termios,
}

impl RawTerminal {
    /// `None` if it's no terminal.
    pub fn enter(fd: BorrowedFd<'static>) -> Option<RawTerminal> {
        let before = tcgetattr(fd).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(fd, OptionalActions::Now, &raw).ok()?;
        Some(RawTerminal { fd, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(self.fd, OptionalActions::Drain, &self.before);
    }
}
