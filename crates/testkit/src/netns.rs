//! Network namespaces of a test's own: nothing that it makes in one is seen outside, and all of it goes with the last thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `CLONE_NEWNET`.
const NEWNET: u64 = 0x4000_0000;

/// Moves this thread, and every process and thread that it starts from now on, into a fresh network namespace with loopback
/// up.
pub fn own() {
    linux::process::unshare(NEWNET).expect("make a network namespace");
    linux::net::loopback_up().expect("bring loopback up");
}

/// Moves this thread into the network namespace of the test, which is made by the first who asks: all hosts and servers of
/// a test are in one.
pub fn of_test() {
    static OWN: std::sync::OnceLock<Netns> = std::sync::OnceLock::new();
    let mut is_first = false;
    let netns = OWN.get_or_init(|| {
        is_first = true;
        own();
        Netns::current()
    });
    if !is_first {
        linux::process::setns(netns.as_fd(), NEWNET).expect("enter the test's network namespace");
    }
}

/// A network namespace beside this thread's: another machine, or a container.
#[derive(Debug)]
pub struct Netns {
    file: OwnedFd,
}

impl Netns {
    /// A fresh one, loopback up.
    #[expect(clippy::new_without_default, reason = "it makes a namespace")]
    pub fn new() -> Netns {
        let made = std::thread::spawn(|| {
            own();
            std::fs::File::open("/proc/thread-self/ns/net").expect("open the namespace")
        });
        Netns { file: made.join().expect("make a namespace").into() }
    }

    /// That of this thread.
    pub fn current() -> Netns {
        Netns { file: std::fs::File::open("/proc/thread-self/ns/net").expect("open the namespace").into() }
    }

    /// A path by which other processes find it, for as long as this lives.
    pub fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs `work` in it, on a thread of its own; processes that it starts are in it too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                linux::process::setns(self.file.as_fd(), NEWNET).expect("enter the namespace");
                work()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
