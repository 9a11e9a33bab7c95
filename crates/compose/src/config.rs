//! What `compose config` prints. Source: docker compose's cmd/compose/config.go.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::error::Error;
use crate::files::Files;
use crate::model::Project;
use crate::node::{Node, Value};
use crate::out::{Form, Out};
use crate::request::Request;
use crate::template::{self, Variable};

/// What of a project is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// All of it.
    #[default]
    Model,
    /// `--services`: names of services, dependencies first.
    Services,
    /// `--volumes`: keys of volumes.
    Volumes,
    /// `--networks`: keys of networks.
    Networks,
    /// `--models`: language models.
    Models,
    /// `--images`: images, also those that will be built.
    Images,
    /// `--profiles`: profiles.
    Profiles,
    /// `--hash`: hashes of services; none are all.
    Hash(Vec<String>),
    /// `--variables`: variables that the files speak of.
    Variables,
    /// `--environment`: variables that interpolation saw.
    Environment,
}

/// A `config` command.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The project.
    pub request: Request,
    /// What is printed.
    pub show: Show,
    /// `--format`, if it was given.
    pub format: Option<Form>,
    /// `--lock-image-digests`: images alone.
    pub images_only: bool,
}

/// Gives an image's reference with its digest.
pub type Resolver<'a> = &'a mut dyn FnMut(&str) -> Result<String, String>;

/// What is printed, and what is said besides.
#[derive(Clone, Debug, Default)]
pub struct Printed {
    /// The text for standard output.
    pub text: String,
    /// Warnings, a line each.
    pub warnings: Vec<String>,
}

impl Config {
    /// What the command prints. With a `resolver`, images are printed with their digests.
    ///
    /// Errors: those of loading; an image that the resolver doesn't find.
    pub fn print(&self, files: &dyn Files, resolver: Option<Resolver>) -> Result<Printed, ConfigError> {
        let form = self.format.unwrap_or(Form::Yaml);
        if self.show == Show::Variables || self.show == Show::Model && !self.request.interpolate {
            let request = Request { interpolate: false, ..self.request.clone() };
            let mut loaded = request.load_tree(files)?;
            let text = match self.show {
                Show::Variables => variables_text(&loaded.tree, self.format),
                _ => {
                    if let Some(resolver) = resolver {
                        resolve_tree(&mut loaded.tree, resolver)?;
                    }
                    if self.images_only {
                        keep_images(&mut loaded.tree);
                    }
                    document(&Out::of(&loaded.tree, form), form)
                }
            };
            return Ok(Printed { text, warnings: loaded.warnings });
        }
        let whole = matches!(self.show, Show::Model | Show::Environment);
        let mut request = Request { resolve_environment: whole, ..self.request.clone() };
        // These don't look at the services that are named.
        if matches!(self.show, Show::Hash(_) | Show::Services | Show::Volumes | Show::Networks | Show::Models)
        {
            request.services.clear();
        }
        let loaded = request.load(files)?;
        let mut project = loaded.project;
        let text = match &self.show {
            Show::Model => {
                if let Some(resolver) = resolver {
                    resolve_images(&mut project, resolver)?;
                }
                let out = if self.images_only { images_of(&project) } else { project.out(form) };
                document(&out, form).replace('$', "$$")
            }
            Show::Services => lines(project.start_order()),
            Show::Volumes => lines(project.volumes.into_keys()),
            Show::Networks => lines(project.networks.into_keys()),
            Show::Models => lines(project.models.into_values().map(|model| model.model)),
            Show::Images => {
                let name = &project.name;
                lines(project.services.iter().map(|(key, service)| match service.image.as_str() {
                    "" => format!("{name}-{key}"),
                    image => image.to_owned(),
                }))
            }
            Show::Profiles => {
                let all = project.services.values().chain(project.disabled.values());
                let profiles: std::collections::BTreeSet<&String> =
                    all.flat_map(|service| &service.profiles).collect();
                lines(profiles.into_iter().cloned())
            }
            Show::Hash(names) => hashes(&project, names)?,
            Show::Environment => {
                lines(project.environment.iter().map(|(name, value)| format!("{name}={value}")))
            }
            Show::Variables => String::new(),
        };
        Ok(Printed { text, warnings: loaded.warnings })
    }
}

/// Why `config` prints nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The project can't be loaded.
    #[error(transparent)]
    Load(#[from] Error),
    /// An image's digest isn't to be had.
    #[error("cannot resolve {image}: {reason}")]
    Resolve {
        /// The image.
        image: String,
        /// Why.
        reason: String,
    },
}

impl Project {
    /// Names of services, each behind those that it depends on.
    pub fn start_order(&self) -> Vec<String> {
        fn visit(project: &Project, name: &str, order: &mut Vec<String>, depth: usize) {
            let Some(service) = project.services.get(name) else { return };
            // Cycles were refused, or weren't looked for.
            if depth > project.services.len() || order.iter().any(|known| known == name) {
                return;
            }
            service.depends_on.keys().for_each(|next| visit(project, next, order, depth + 1));
            if !order.iter().any(|known| known == name) {
                order.push(name.to_owned());
            }
        }
        let mut order = Vec::new();
        self.services.keys().for_each(|name| visit(self, name, &mut order, 0));
        order
    }
}

fn lines(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().map(|word| word + "\n").collect()
}

fn document(out: &Out, form: Form) -> String {
    match form {
        Form::Json => out.json(true),
        Form::Yaml => out.yaml(),
    }
}

fn hashes(project: &Project, names: &[String]) -> Result<String, Error> {
    let mut text = String::new();
    let mut names: Vec<&String> =
        if names.is_empty() { project.services.keys().collect() } else { names.iter().collect() };
    names.sort();
    for name in names {
        let service =
            project.services.get(name).ok_or_else(|| Error::NoService { name: name.clone(), near: None })?;
        _ = writeln!(text, "{name} {}", service.hash());
    }
    Ok(text)
}

fn resolve_images(project: &mut Project, resolver: Resolver) -> Result<(), ConfigError> {
    for service in project.services.values_mut().filter(|service| !service.image.is_empty()) {
        service.image = resolve(&service.image, resolver)?;
    }
    Ok(())
}

fn resolve_tree(tree: &mut Node, resolver: Resolver) -> Result<(), ConfigError> {
    for (_, service) in crate::canonical::entries(tree, "services") {
        if let Some(Node { value: Value::Text(image), .. }) = service.get_mut("image") {
            *image = resolve(image, resolver)?;
        }
    }
    Ok(())
}

fn resolve(
    image: &str,
    resolver: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<String, ConfigError> {
    if image.contains("@sha256:") {
        return Ok(image.to_owned());
    }
    resolver(image).map_err(|reason| ConfigError::Resolve { image: image.to_owned(), reason })
}

fn images_of(project: &Project) -> Out {
    let services = project.services.iter().map(|(name, service)| {
        let mut entries = Vec::new();
        if !service.image.is_empty() {
            entries.push(("image".to_owned(), Out::Text(service.image.clone())));
        }
        (name.clone(), Out::Map(entries))
    });
    Out::Map(vec![("services".to_owned(), Out::Map(services.collect()))])
}

fn keep_images(tree: &mut Node) {
    tree.as_map_mut().into_iter().for_each(|map| map.retain(|key, _| key == "services"));
    for (_, service) in crate::canonical::entries(tree, "services") {
        service.as_map_mut().into_iter().for_each(|map| map.retain(|key, _| key == "image"));
    }
}

fn variables_text(tree: &Node, format: Option<Form>) -> String {
    let mut found = Vec::new();
    let mut tree = tree.clone();
    crate::interpolate::walk(&mut tree, crate::path::Path::root(), &mut |_, node| {
        node.as_text().into_iter().for_each(|text| template::variables(text, &mut found));
    });
    let variables: BTreeMap<String, Variable> =
        found.into_iter().map(|variable| (variable.name.clone(), variable)).collect();
    let Some(form) = format else { return table(&variables) };
    let key = |json: &str| match form {
        Form::Json => json.to_owned(),
        Form::Yaml => json.to_lowercase(),
    };
    let entries = variables.into_iter().map(|(name, variable)| {
        let fields = vec![
            (key("Name"), Out::Text(variable.name)),
            (key("DefaultValue"), Out::Text(variable.default)),
            (key("PresenceValue"), Out::Text(variable.alternate)),
            (key("Required"), Out::Bool(variable.required)),
        ];
        (name, Out::Map(fields))
    });
    let out = Out::sorted(entries, form);
    match form {
        Form::Json => out.json(false) + "\n",
        // compose indents these by four.
        Form::Yaml => out.yaml().replace("\n  ", "\n    "),
    }
}

/// The columns of `config --variables`, each at least 20 wide.
fn table(variables: &BTreeMap<String, Variable>) -> String {
    let header = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned);
    let rows = variables.values().map(|variable| {
        [
            variable.name.clone(),
            variable.required.to_string(),
            variable.default.clone(),
            variable.alternate.clone(),
        ]
    });
    let rows: Vec<[String; 4]> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or_default().max(20)
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [name, required, default, alternate] in &rows {
        let [a, b, c] = widths;
        _ = writeln!(text, "{name:<a$}{required:<b$}{default:<c$}{alternate}");
    }
    text
}
