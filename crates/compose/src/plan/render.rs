//! A plan for readers.

use std::fmt::Write as _;

use super::{Action, Plan, Reason, Step};

impl Plan {
    /// The plan as a diff: `+` is made, `~` changes, `-` goes; each with its reason. Starting what was just made isn't
    /// worth a line.
    pub fn text(&self) -> String {
        if self.is_empty() {
            return format!("{}: nothing to do\n", self.project);
        }
        let mut text = String::new();
        for step in &self.steps {
            if matches!((&step.action, &step.because), (Action::Start { .. }, Reason::Missing)) {
                continue;
            }
            let (sign, verb, kind, name) = words(&step.action);
            _ = write!(text, "{sign} {kind} {name}: {verb}");
            because(&mut text, step);
            text.push('\n');
        }
        text
    }
}

/// The sign of a step, what it does, to what, and to which.
fn words(action: &Action) -> (char, &'static str, &'static str, &str) {
    match action {
        Action::CreateNetwork { name, .. } => ('+', "create", "network", name),
        Action::RemoveNetwork { name } => ('-', "remove", "network", name),
        Action::CreateVolume { name, .. } => ('+', "create", "volume", name),
        Action::RemoveVolume { name } => ('-', "remove", "volume", name),
        Action::Create { name, .. } => ('+', "create", "container", name),
        Action::Recreate { name, .. } => ('~', "recreate", "container", name),
        Action::Start { name, .. } => ('~', "start", "container", name),
        Action::Restart { name, .. } => ('~', "restart", "container", name),
        Action::Stop { name, .. } => ('-', "stop", "container", name),
        Action::Remove { name, .. } => ('-', "remove", "container", name),
        Action::RemoveImage { name } => ('-', "remove", "image", name),
    }
}

fn because(text: &mut String, step: &Step) {
    match &step.because {
        Reason::Missing | Reason::Asked => {}
        Reason::Changed { changes } if changes.is_empty() => text.push_str(" (its configuration changed)"),
        Reason::Changed { changes } => {
            for change in changes {
                _ = write!(text, "\n    {change}");
            }
        }
        Reason::Image { from, to } => {
            _ = write!(text, "\n    image: {} → {}", short(from), short(to));
        }
        Reason::Network { network } => _ = write!(text, " (it isn't on network {network})"),
        Reason::Shares { service } => _ = write!(text, " (it shares with {service}, which is recreated)"),
        Reason::Dependency { service } => _ = write!(text, " (it depends on {service}, which is recreated)"),
        Reason::NotRunning { state } => {
            _ = write!(text, " (it is {})", format!("{state:?}").to_lowercase());
        }
        Reason::Scale { wanted } => _ = write!(text, " (only {wanted} wanted)"),
        Reason::Orphan => text.push_str(" (no service of the project is its own)"),
    }
}

fn short(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}
