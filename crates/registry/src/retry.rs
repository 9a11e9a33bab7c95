//! When to ask again.

use crate::settings::Timing;
use std::time::Duration;

/// Whether an answer of this status may be another one soon.
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long to wait before attempt `next` (1 is the first repetition): what the registry said, or twice as long each time.
/// `None` if there have been enough attempts, or the registry wants more patience than [`Timing::wait_max`].
pub(crate) fn wait(timing: &Timing, next: u32, retry_after: Option<Duration>) -> Option<Duration> {
    if next >= timing.attempts {
        return None;
    }
    let doubled = timing.backoff.saturating_mul(1 << (next - 1).min(16));
    match retry_after {
        Some(asked) if asked > timing.wait_max => None,
        Some(asked) => Some(asked.max(timing.backoff)),
        None => Some(doubled.min(timing.wait_max)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_end() {
        let second = Duration::from_secs(1);
        let timing = Timing { attempts: 5, backoff: second, wait_max: 3 * second, ..Timing::default() };
        let waits: Vec<_> = (1..=5).map(|next| wait(&timing, next, None)).collect();
        assert_eq!(waits, [Some(second), Some(2 * second), Some(3 * second), Some(3 * second), None]);
        assert_eq!(wait(&timing, 1, Some(2 * second)), Some(2 * second));
        assert_eq!(wait(&timing, 1, Some(Duration::ZERO)), Some(second));
        assert_eq!(wait(&timing, 1, Some(4 * second)), None);
    }
}
