//! The flags before a command of compose, and the project that they ask for.

use compose::{Disk, Environment, Error, Loaded, Request};

use crate::failure::{Failure, report};
use crate::flags::Parsed;

/// What the flags before the command say.
pub struct Compose {
    /// The project, of which a command may want a part.
    pub request: Request,
    /// The files, as loading sees them.
    pub files: Disk,
    /// Whether nothing is done.
    pub dry_run: bool,
    /// What stands between the parts of a container's name.
    pub separator: char,
    /// Whether progress is shown.
    pub quiet: bool,
}

impl Compose {
    /// Reads flags, and variables that stand in for them.
    pub fn new(parsed: &Parsed) -> Result<Compose, Failure> {
        let environment: Environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let current_dir = std::env::current_dir()
            .map_err(|error| Failure::new(format!("cannot tell the working directory: {error}")))?
            .into_os_string()
            .into_string()
            .map_err(|dir| Failure::new(format!("the working directory {dir:?} isn't valid UTF-8")))?;
        check(parsed, "ansi", &["never", "always", "auto"])?;
        check(parsed, "progress", &["auto", "tty", "plain", "json", "quiet"])?;
        if let Some(text) = parsed.one("parallel")
            && text.parse::<i64>().is_err()
        {
            return Err(parsed.bad("parallel", text, "it's no whole number"));
        }
        let list = |name: &str| parsed.many(name).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let variable = |name: &str| environment.get(name).map(String::as_str).unwrap_or_default();
        let mut env_files = list("env-file");
        if env_files.is_empty() {
            let names = variable("COMPOSE_ENV_FILES").split(',').filter(|name| !name.is_empty());
            env_files = names.map(str::to_owned).collect();
        }
        let is_on = |name: &str| matches!(variable(name).trim().to_lowercase().as_str(), "1" | "t" | "true");
        let compatible = parsed.switch_or("compatibility", is_on("COMPOSE_COMPATIBILITY"));
        let progress = parsed.one("progress").unwrap_or(variable("COMPOSE_PROGRESS"));
        Ok(Compose {
            dry_run: parsed.switch("dry-run"),
            separator: if compatible { '_' } else { '-' },
            quiet: progress == "quiet",
            files: Disk { home: environment.get("HOME").cloned() },
            request: Request {
                files: list("file"),
                project_name: parsed.one("project-name").map(str::to_owned),
                project_directory: parsed.one("project-directory").map(str::to_owned),
                env_files,
                profiles: list("profile"),
                all_resources: parsed.switch("all-resources"),
                normalize: true,
                environment,
                current_dir,
                ..Request::default()
            },
        })
    }

    /// Loads the project with these services, and says what is worth saying.
    pub fn load(&self, services: &[String]) -> Result<Loaded, Failure> {
        let request = Request { services: services.to_vec(), ..self.request.clone() };
        let loaded = request.load(&self.files).map_err(failure)?;
        say(&loaded.warnings);
        Ok(loaded)
    }
}

fn check(parsed: &Parsed, flag: &str, known: &[&str]) -> Result<(), Failure> {
    match parsed.one(flag) {
        Some(word) if !known.contains(&word) => {
            Err(parsed.bad(flag, word, format!("not one of {}", known.join(", ")).as_str()))
        }
        _ => Ok(()),
    }
}

/// Prints warnings to standard error.
pub fn say(warnings: &[String]) {
    warnings.iter().for_each(|warning| crate::backend::warn(warning));
}

/// The failure that an error of loading is.
pub fn failure(error: Error) -> Failure {
    if let Error::Invalid(found) = &error
        && found.faults.len() > 1
    {
        report(&Failure::new(format!("{} faults in the compose files:", found.faults.len())));
    }
    Failure::of(error.kind(), error.to_string(), error.hint())
}
