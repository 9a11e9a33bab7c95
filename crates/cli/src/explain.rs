//! `berth run --explain`: the steps of a start, one a line.

use runtime::Step;

/// The steps as a table: who made it, what it took, the call, what it's for. Nothing for no steps.
pub fn text(steps: &[Step]) -> String {
    let mut text = String::new();
    let mut total = 0;
    for step in steps {
        let side = if step.inside { "inside" } else { "holder" };
        let microseconds = step.nanoseconds / 1000;
        total += microseconds;
        text += &format!(
            "{side}  {microseconds:>6} us  {:<28} {:<44} {}\n",
            step.call,
            shorten(&step.object),
            step.what
        );
    }
    if !steps.is_empty() {
        text += &format!("{:>8}{total:>6} us  in {} steps; the two sides overlap\n", "", steps.len());
    }
    text
}

fn shorten(object: &str) -> String {
    const CHARS_MAX: usize = 44;
    let clean: String = object.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if clean.chars().count() <= CHARS_MAX {
        return clean;
    }
    let start: String = clean.chars().take(CHARS_MAX - 3).collect();
    format!("{start}...")
}
