//! Timing: sides that take turns, and the statistics of what they took.

use crate::Result;
use std::time::Duration;

/// One of the things compared.
pub struct Side<'a> {
    pub name: String,
    /// Runs it once and says how long it took.
    pub run: Box<dyn FnMut() -> Result<Duration> + 'a>,
}

impl<'a> Side<'a> {
    pub fn new(name: impl Into<String>, run: impl FnMut() -> Result<Duration> + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// How a comparison is run.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Rounds whose times are thrown away.
    pub warmup: usize,
    pub rounds: usize,
    /// Idleness before each single run.
    pub idle: Duration,
}

/// Runs every side once a round, in an order that turns round by round, and returns each side's sample.
pub fn interleave(sides: &mut [Side<'_>], plan: Plan) -> Result<Vec<Sample>> {
    let count = sides.len();
    let mut times = vec![Vec::with_capacity(plan.rounds); count];
    for round in 0..plan.warmup + plan.rounds {
        for turn in 0..count {
            let index = (round + turn) % count;
            std::thread::sleep(plan.idle);
            let side = &mut sides[index];
            let took = (side.run)().map_err(|e| format!("{}: {e}", side.name))?;
            if round >= plan.warmup {
                times[index].push(took.as_secs_f64() * 1e3);
            }
        }
    }
    Ok(sides.iter().zip(times).map(|(side, ms)| Sample::new(side.name.clone(), ms)).collect())
}

/// What one side took, in milliseconds, sorted.
pub struct Sample {
    pub name: String,
    ms: Vec<f64>,
}

impl Sample {
    pub fn new(name: String, mut ms: Vec<f64>) -> Self {
        ms.sort_by(f64::total_cmp);
        Self { name, ms }
    }

    pub fn len(&self) -> usize {
        self.ms.len()
    }

    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn p95(&self) -> f64 {
        self.quantile(0.95)
    }

    /// The nearest value at or above that share of the sample; NaN for none.
    fn quantile(&self, share: f64) -> f64 {
        let last = self.ms.len().saturating_sub(1);
        self.ms.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_sample() {
        let sample = Sample::new("x".into(), (0..=100).rev().map(f64::from).collect());
        assert_eq!((sample.min(), sample.median(), sample.p95()), (0.0, 50.0, 95.0));
        assert!(Sample::new("none".into(), Vec::new()).median().is_nan());
    }

    #[test]
    fn sides_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let side = |letter: char| {
            let order = &order;
            Side::new(letter, move || {
                order.borrow_mut().push(letter);
                Ok(Duration::from_millis(1))
            })
        };
        let plan = Plan { warmup: 1, rounds: 2, idle: Duration::ZERO };
        let samples = interleave(&mut [side('a'), side('b')], plan).unwrap();
        assert_eq!(*order.borrow(), "abbaab");
        assert_eq!(samples.iter().map(Sample::len).collect::<Vec<_>>(), [2, 2]);
    }
}
