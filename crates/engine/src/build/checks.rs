//! Build checks: what is allowed in a Dockerfile, but likely not meant.

use super::events::{Event, Told};
use super::request::BuildRequest;
use super::source::Source;
use super::{Failure, source};
use crate::images::look_at_store;
use crate::{Error, Home};
use ::build::dockerfile::ast::Dockerfile;
use ::build::dockerfile::ignore::Matcher;
use ::build::dockerfile::lint::{self, Options, Report, Subject, Target};
use ::build::{dockerfile, lower};
use types::image::ImageConfig;

/// What was found, and in what.
#[derive(Debug)]
pub struct Checked {
    /// The findings.
    pub report: Report,
    /// What the Dockerfile is called.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether findings are errors (`# check=error=true`).
    pub is_error: bool,
}

/// Checks a Dockerfile without building it.
///
/// Errors: what keeps it from being read. What is wrong with its text is in the report.
pub fn check(home: &Home, request: &BuildRequest) -> Result<Checked, Box<Failure>> {
    let mut sink = |_: &Event| {};
    let source = source::Source::open(home, request, &mut Told::new(&mut sink))?;
    let (report, is_error) = match dockerfile::parse(&source.text) {
        Ok(file) => look(home, request, &source, &file, Target::All)?,
        Err(errors) => (Report { errors: errors.errors, ..Report::default() }, true),
    };
    Ok(Checked { report, name: source.shown, text: source.text, is_error })
}

/// Checks it for a build, which tells of the findings.
pub(super) fn tell(
    home: &Home,
    request: &BuildRequest,
    source: &Source,
    file: &Dockerfile,
    told: &mut Told<'_>,
) -> Result<(), Error> {
    let (report, is_error) = look(home, request, source, file, Target::Last)?;
    for warning in &report.warnings {
        told.tell(&Event::Warning { text: warning.short(), line: Some(warning.place.lines.first) });
    }
    match report.violation() {
        Some(violation) if is_error => Err(Error::invalid("check", violation)),
        _ => Ok(()),
    }
}

fn look(
    home: &Home,
    request: &BuildRequest,
    source: &Source,
    file: &Dockerfile,
    without_target: Target<'_>,
) -> Result<(Report, bool), Error> {
    let asked = &request.options;
    let argument = asked.build_args.get("BUILDKIT_DOCKERFILE_CHECK").map(String::as_str);
    let options = Options::of(file, argument).map_err(|error| Error::invalid("check", error.to_string()))?;
    let ignored = Matcher::new(&source.context.ignored).ok();
    let store = look_at_store(home)?;
    let base = |name: &str| {
        let image = store.as_ref()?.resolve_image(name).ok()?;
        let config = ImageConfig::parse(image.config_json.as_bytes()).ok()?.config;
        Some(lint::Base { env: config.env, has_shell: !config.shell.is_empty() })
    };
    let report = lint::check(&Subject {
        file,
        options: &options,
        build_args: &asked.build_args,
        predefined: &lower::predefined(file, asked),
        target: asked.target.as_deref().map_or(without_target, Target::Named),
        ignored: ignored.as_ref(),
        base: &base,
    });
    Ok((report, options.is_error))
}
