//! Results as Markdown: on the screen while they come, and in benches/results.

use super::measure::Sample;
use crate::Result;
use crate::cmd::{self, Cmd};

/// The page that is being written.
pub struct Report {
    name: &'static str,
    text: String,
}

impl Report {
    /// Begins the page with what the numbers depend on: date, kernel, machine, versions.
    pub fn new(name: &'static str, title: &str, versions: &[(&str, String)]) -> Self {
        let mut report = Self { name, text: String::new() };
        report.line(&format!("# {title}\n"));
        report
            .line("Written by `cargo xtask bench`. Milliseconds unless named; compare ratios, not times.\n");
        report.line("| what | this run |\n|---|---|");
        let first = |program: &str, args: &[&str]| Cmd::new(program).args(args).capture().unwrap_or_default();
        let machine =
            format!("{}, {} cores", cpu_model(), std::thread::available_parallelism().map_or(0, usize::from));
        let facts = [
            ("date", first("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
            ("kernel", first("uname", &["-sr"])),
            ("machine", machine),
            ("commit", first("git", &["describe", "--always", "--dirty"])),
            ("compiler", first("rustc", &["--version"])),
        ];
        for (key, value) in facts.iter().map(|(k, v)| (*k, v)).chain(versions.iter().map(|(k, v)| (*k, v))) {
            report.line(&format!("| {key} | {value} |"));
        }
        report
    }

    pub fn line(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub fn section(&mut self, title: &str) {
        self.line(&format!("\n## {title}\n"));
    }

    /// A table of samples. Ratios are those to `samples[base]`; the goal is a ratio of medians, for the first sample.
    pub fn compare(&mut self, samples: &[Sample], base: usize, goal: Option<f64>) {
        self.line("| what | rounds | min | median | p95 | ratio of medians | ratio of minima |");
        self.line("|---|--:|--:|--:|--:|--:|--:|");
        for (index, sample) in samples.iter().enumerate() {
            let (of_medians, of_minima) =
                (sample.median() / samples[base].median(), sample.min() / samples[base].min());
            let ratios = if index == base {
                "1 | 1".to_owned()
            } else {
                format!("**{of_medians:.2}** | {of_minima:.2}")
            };
            self.line(&format!(
                "| {} | {} | {:.2} | {:.2} | {:.2} | {ratios} |",
                sample.name,
                sample.len(),
                sample.min(),
                sample.median(),
                sample.p95()
            ));
        }
        if let Some(goal) = goal {
            let ratio = samples[0].median() / samples[base].median();
            self.line(&format!("\nGoal: at most {goal}x. {}", verdict(ratio <= goal)));
        }
    }

    /// A single figure against its goal, both in `unit`; smaller is better.
    pub fn figure(&mut self, what: &str, value: f64, goal: f64, unit: &str) {
        self.line(&format!(
            "- {what}: **{value:.2} {unit}** (goal: at most {goal} {unit}. {})",
            verdict(value <= goal)
        ));
    }

    /// Writes the page and says where.
    pub fn save(&self) -> Result {
        let path = cmd::root().join("benches/results").join(format!("{}.md", self.name));
        std::fs::create_dir_all(path.with_file_name(""))
            .and_then(|()| std::fs::write(&path, &self.text))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        eprintln!("==> {}", path.display());
        Ok(())
    }
}

pub fn verdict(met: bool) -> &'static str {
    if met { "Met." } else { "**Missed.**" }
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or_else(|| "unknown".to_owned(), |rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
}
