//! Work on many things by several processes at once: the kernel removes files one after the other, and where their blocks are
//! discarded at once it waits for the disk at each.

use linux::process::{self, Exit, Fork};

/// How many processes at most.
const WORKERS_MAX: usize = 4;

/// Things that are worth a process.
const THINGS_MIN: usize = 4;

/// Does `work` on all of `things`; what it does in another process is gone but for its effects. It may be done on one of them
/// a second time, if a process was killed.
///
/// Forks: the caller has one thread.
pub fn over<T>(things: &[T], work: impl Fn(&T)) {
    let workers = (things.len() / THINGS_MIN).clamp(1, WORKERS_MAX);
    let share = |worker: usize| things.iter().skip(worker).step_by(workers);
    let forks: Vec<_> = (1..workers)
        .map(|worker| match process::fork() {
            Ok(Fork::Child) => {
                share(worker).for_each(&work);
                process::exit(0)
            }
            Ok(Fork::Parent(pid)) => (worker, Some(pid)),
            Err(_) => (worker, None),
        })
        .collect();
    share(0).for_each(&work);
    for (worker, pid) in forks {
        if pid.is_none_or(|pid| process::wait_child(pid) != Ok(Exit::Code(0))) {
            share(worker).for_each(&work);
        }
    }
}
