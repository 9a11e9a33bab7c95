//! The containers, what they write, and what is known of them.

use super::Camp;
use std::path::PathBuf;

/// What a container runs: it writes numbered lines, and notes in `/ctl`, which is the host's, how many. `$1` is the line
/// after which it ends by itself, with status 3; told to, it ends with 7.
pub const SCRIPT: &str = r#"
n=1; while ! mkdir /ctl/run.$n 2>/dev/null; do n=$((n+1)); done
echo "run $n"
i=0
trap 'echo "end $n $i"; exit 7' TERM
while :; do
    k=0
    while [ $k -lt 20 ]; do i=$((i+1)); k=$((k+1)); echo "$n $i"; done
    echo $i >/ctl/wrote.$n
    [ $i -ge $1 ] && { echo "end $n $i"; exit 3; }
    sleep 0.2
done"#;

/// What is known of a container. Only what a command that wasn't killed has said is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// There is none.
    Absent,
    /// A user started it, and hasn't stopped it since.
    Started,
    /// A user stopped it.
    Stopped,
    /// Whoever said so was killed.
    Nothing,
}

/// How a container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It goes on for ever, and isn't.
    No,
    /// Whenever it ends, which it does by itself.
    Always,
    /// Five times.
    OnFailure,
}

/// One container after the other with the same name.
#[derive(Debug, Clone)]
pub struct OneBox {
    pub name: String,
    pub known: Known,
    pub policy: Policy,
    /// How often there was one of this name.
    pub life: u32,
}

impl OneBox {
    pub fn new(number: usize) -> OneBox {
        OneBox { name: format!("box{number}"), known: Known::Absent, policy: Policy::No, life: 0 }
    }

    /// The directory that it notes in.
    pub fn ctl(&self, camp: &Camp) -> PathBuf {
        camp.dir.join("work").join(format!("{}-{}", self.name, self.life))
    }

    /// What `logs` says must be what it has written: run by run, line by line, and all of it unless both processes that
    /// looked after it were killed, and it ended before a command found that out. `noted` is from before the log was read:
    /// what was written later needn't be in it.
    pub fn check_log(&self, camp: &Camp, noted: &[(u32, u32)], log: &str, id: &str) {
        if let Err(why) = compare(camp, noted, log, id) {
            let path = camp.dir.with_extension(format!("{}.log", self.name));
            let _ = std::fs::write(&path, log);
            camp.fault(format!(
                "log of {} ({id}): {why}; see {}; killed: {}; done: {}",
                self.name,
                path.display(),
                camp.killed(id),
                camp.history(&self.name)
            ));
        }
    }

    /// How many lines each run has written at least.
    pub fn noted(&self, camp: &Camp) -> Vec<(u32, u32)> {
        let entries = std::fs::read_dir(self.ctl(camp)).into_iter().flatten().flatten();
        let note = |entry: std::fs::DirEntry| {
            let run = entry.file_name().to_str()?.strip_prefix("wrote.")?.parse().ok()?;
            Some((run, std::fs::read_to_string(entry.path()).ok()?.trim().parse().ok()?))
        };
        entries.filter_map(note).collect()
    }

    /// How often it was run.
    pub fn runs(ctl: &std::path::Path) -> u32 {
        let entries = std::fs::read_dir(ctl).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("run.")).count() as u32
    }
}

fn compare(camp: &Camp, noted: &[(u32, u32)], log: &str, id: &str) -> Result<(), String> {
    let mut last: Vec<(u32, u32)> = Vec::new();
    for (at, line) in log.lines().enumerate() {
        let at = at + 1;
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<u32>().ok());
        match (words[0], number(0), last.last_mut()) {
            ("run", _, before) => {
                let run = number(1).ok_or_else(|| format!("line {at}, {line:?}, is torn"))?;
                if before.is_some_and(|before| run <= before.0) {
                    return Err(format!("line {at}: run {run} begins a second time"));
                }
                last.push((run, 0));
            }
            ("end", _, Some(before)) => {
                if (number(1), number(2)) != (Some(before.0), Some(before.1)) {
                    return Err(format!("line {at}, {line:?}, follows on {before:?}"));
                }
            }
            (_, Some(run), Some(before)) if run == before.0 && number(1) == Some(before.1 + 1) => {
                before.1 += 1;
            }
            (_, _, before) => return Err(format!("line {at}, {line:?}, follows on {before:?}")),
        }
    }
    for &(run, wrote) in noted {
        let seen = last.iter().find(|(number, _)| *number == run).map_or(0, |(_, seen)| *seen);
        if seen < wrote && !camp.was_alone(id, run) {
            return Err(format!("run {run} wrote {wrote} lines, and {seen} are there"));
        }
    }
    Ok(())
}
