//! What a command line asks for, and how it becomes a project: which files, which variables, which name.
//!
//! Source: compose-go's package cli, and docker compose's ProjectOptions.

use crate::dotenv;
use crate::error::Error;
use crate::field::Decoder;
use crate::files::{FileKind, Files};
use crate::load::{Environment, Loader, Place, Steps, Stopped};
use crate::model::Project;
use crate::node::Node;
use crate::{consistency, fault, load, resolve, short, template};

/// Names of compose files, the best first.
const FILE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// Names of the files that are laid over them.
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What a command line says about its project.
#[derive(Clone, Debug)]
pub struct Request {
    /// `-f`: files, or `-`.
    pub files: Vec<String>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--project-directory`.
    pub project_directory: Option<String>,
    /// `--env-file`.
    pub env_files: Vec<String>,
    /// `--profile`.
    pub profiles: Vec<String>,
    /// The variables of the process.
    pub environment: Environment,
    /// The working directory of the process, absolute.
    pub current_dir: String,
    /// Services that are meant; none means all.
    pub services: Vec<String>,
    /// `--no-deps`: services alone, without what they depend on.
    pub without_dependencies: bool,
    /// `--all-resources`: networks, volumes, secrets and configs that no service uses are kept.
    pub all_resources: bool,
    /// Whether variables are replaced.
    pub interpolate: bool,
    /// Whether relative paths become absolute.
    pub resolve_paths: bool,
    /// Whether what is implied is added.
    pub normalize: bool,
    /// Whether references between parts of the project are checked.
    pub check_consistency: bool,
    /// Whether services' files of variables are read.
    pub resolve_environment: bool,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            files: Vec::new(),
            project_name: None,
            project_directory: None,
            env_files: Vec::new(),
            profiles: Vec::new(),
            environment: Environment::new(),
            current_dir: "/".to_owned(),
            services: Vec::new(),
            without_dependencies: false,
            all_resources: false,
            interpolate: true,
            resolve_paths: true,
            normalize: true,
            check_consistency: true,
            resolve_environment: true,
        }
    }
}

/// A project, and what was noticed on the way to it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// The tree it was read from, with places.
    pub tree: Node,
    /// What isn't wrong but worth saying, a line each.
    pub warnings: Vec<String>,
}

/// A project's tree, where no model can be made of it because variables in it aren't replaced.
#[derive(Clone, Debug)]
pub struct LoadedTree {
    /// The merged and completed tree.
    pub tree: Node,
    /// The project's name.
    pub name: String,
    /// What isn't wrong but worth saying.
    pub warnings: Vec<String>,
}

/// What is known before anything is read.
struct Found {
    files: Vec<String>,
    dir: String,
    environment: Environment,
    profiles: Vec<String>,
    warnings: Vec<String>,
}

impl Request {
    /// Loads the project.
    ///
    /// Errors: no file, or all that is wrong with what the files say.
    pub fn load(&self, files: &dyn Files) -> Result<Loaded, Error> {
        let found = self.find(files)?;
        let mut loader = self.loader(files);
        let (tree, name, environment) = self.tree(&mut loader, &found)?;
        let mut faults = Vec::new();
        let mut project = Project::decode(&tree, &mut Decoder::new(&mut faults));
        loader.faults.extend(faults);
        if !loader.faults.is_empty() {
            return Err(loader.error());
        }
        project.name = name;
        project.working_dir = found.dir.clone();
        project.files = found.files.clone();
        project.env_files = self.env_files.clone();
        project.environment = environment;
        project.enable_profiles(&found.profiles);
        if self.check_consistency {
            consistency::check(&mut project, &tree, &mut loader.faults);
        }
        resolve_variables(&mut project, &tree, files, self.resolve_environment, &mut loader.faults);
        if !loader.faults.is_empty() {
            return Err(loader.error());
        }
        project.enable_services(&self.services);
        project.select(&self.services, self.without_dependencies)?;
        if !self.all_resources {
            project.drop_unused_resources();
        }
        let warnings = warnings(found, loader);
        Ok(Loaded { project, tree, warnings })
    }

    /// Loads the project as a tree, for `--no-interpolate`.
    ///
    /// Errors: as [`Request::load`].
    pub fn load_tree(&self, files: &dyn Files) -> Result<LoadedTree, Error> {
        let found = self.find(files)?;
        let mut loader = self.loader(files);
        let (tree, name, _) = self.tree(&mut loader, &found)?;
        let warnings = warnings(found, loader);
        Ok(LoadedTree { tree, name, warnings })
    }

    /// The project's name, for commands that need no more of it. It may be known without any file.
    ///
    /// Errors: as [`Request::load`].
    pub fn name(&self, files: &dyn Files) -> Result<String, Error> {
        if let Some(name) = &self.project_name {
            return checked_name(name);
        }
        let found = self.find(files)?;
        self.name_of(&mut self.loader(files), &found)
    }

    fn loader<'a>(&self, files: &'a dyn Files) -> Loader<'a> {
        let steps = Steps {
            interpolate: self.interpolate,
            resolve_paths: self.resolve_paths,
            normalize: self.normalize,
        };
        Loader::new(files, steps)
    }

    fn tree(&self, loader: &mut Loader, found: &Found) -> Result<(Node, String, Environment), Error> {
        let name = self.name_of(loader, found)?;
        let mut environment = found.environment.clone();
        environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
        let place = Place { dir: &found.dir, base: &found.dir, environment: &environment };
        let mut tree = match loader.project(&found.files, place, &[]) {
            Ok(tree) => tree,
            Err(Stopped) => return Err(loader.error()),
        };
        if tree.as_map().is_none_or(|map| map.is_empty()) {
            return Err(Error::Empty);
        }
        if loader.steps.normalize {
            if let Some(map) = tree.as_map_mut() {
                let name = Node::new(crate::node::Value::Text(name.clone()));
                map.insert("name".to_owned(), name);
            }
            // Where variables stay, so do those that have no value yet.
            let lookup = |name: &str| environment.get(name).filter(|_| self.interpolate).cloned();
            resolve::normalize(&mut tree, &name, &lookup);
        }
        Ok((tree, name, environment))
    }

    /// Finds the files and the variables.
    fn find(&self, files: &dyn Files) -> Result<Found, Error> {
        let mut warnings = Vec::new();
        let mut environment = self.environment.clone();
        environment.entry("PWD".to_owned()).or_insert_with(|| self.current_dir.clone());
        let full = |path: &str| match path {
            "-" => path.to_owned(),
            path if path.starts_with('/') => short::clean(path),
            path => short::join(&self.current_dir, path),
        };
        let given = self.project_directory.as_deref().filter(|dir| !dir.is_empty()).map(full);
        let dir_of = |paths: &[String]| {
            let first = paths.iter().find(|path| *path != "-");
            given.clone().unwrap_or_else(|| {
                first.map_or(self.current_dir.clone(), |path| load::parent(path).to_owned())
            })
        };
        if let Some(path) = self.files.iter().find(|path| load::remote(path).is_some()) {
            let kind = load::remote(path).unwrap_or_default();
            return Err(Error::Remote { path: path.clone(), kind });
        }
        let mut paths: Vec<String> = self.files.iter().map(|path| full(path)).collect();
        let env_files = self.env_files(&dir_of(&paths), files)?;
        read_env_files(&env_files, &mut environment, files)?;
        if paths.is_empty()
            && let Some(list) = environment.get("COMPOSE_FILE")
        {
            let separator = environment.get("COMPOSE_PATH_SEPARATOR").filter(|text| !text.is_empty());
            paths = list.split(separator.map_or(":", String::as_str)).map(full).collect();
        }
        if paths.is_empty() {
            paths = default_files(&dir_of(&paths), files, &mut warnings);
        }
        let dir = dir_of(&paths);
        let again = self.env_files(&dir, files)?;
        if !again.is_empty() && again != env_files {
            read_env_files(&again, &mut environment, files)?;
        }
        for path in paths.iter().filter(|path| *path != "-") {
            if files.kind(path).is_none() {
                let source = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(Error::Read { path: path.clone(), source });
            }
        }
        let profiles = match self.profiles.is_empty() {
            false => self.profiles.clone(),
            true => {
                let list = environment.get("COMPOSE_PROFILES").map(String::as_str).unwrap_or_default();
                list.split(',').map(|profile| profile.trim().to_owned()).collect()
            }
        };
        Ok(Found { files: paths, dir, environment, profiles, warnings })
    }

    /// Files of variables: those that are named, else `.env` in the project's directory.
    fn env_files(&self, dir: &str, files: &dyn Files) -> Result<Vec<String>, Error> {
        if !self.env_files.is_empty() {
            let full = |path: &String| resolve::absolute(&self.current_dir, path, files);
            return Ok(self.env_files.iter().map(full).collect());
        }
        match self.environment.get("COMPOSE_DISABLE_ENV_FILE").map(String::as_str) {
            None => {}
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => return Ok(Vec::new()),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => {}
            Some(value) => {
                return Err(Error::Variable { name: "COMPOSE_DISABLE_ENV_FILE", value: value.to_owned() });
            }
        }
        let default = short::join(dir, ".env");
        Ok(if files.kind(&default) == Some(FileKind::File) { vec![default] } else { Vec::new() })
    }

    /// The project's name: of the command line, of the environment, of the files, of the directory.
    fn name_of(&self, loader: &mut Loader, found: &Found) -> Result<String, Error> {
        if found.files.is_empty() {
            return Err(Error::NoFile);
        }
        let from_environment = found.environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
        let set = self.project_name.as_ref().filter(|name| !name.is_empty()).or(from_environment);
        let mut in_files = None;
        for path in &found.files {
            let Ok(documents) = loader.parse_ahead(path, &found.dir) else { return Err(loader.error()) };
            let mut names = documents.iter().filter_map(|document| document.get("name"));
            in_files = names.rfind(|name| !name.plain().is_empty()).cloned().or(in_files);
        }
        if let Some(name) = set {
            return checked_name(name);
        }
        let name = match in_files {
            Some(node) if self.interpolate => {
                let lookup = |name: &str| found.environment.get(name).cloned();
                template::substitute(&node.plain(), &lookup, &mut Vec::new()).map_err(|problem| {
                    loader.faults.push(fault::Fault::of(&node, format!("name: {problem}")));
                    loader.error()
                })?
            }
            Some(node) => node.plain(),
            None => found.dir.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let name = if self.normalize { normalized_name(&name) } else { name };
        if name.is_empty() { Err(Error::NoProjectName) } else { Ok(name) }
    }
}

/// The compose file of a directory or of one above it, and what is laid over it. None if there is none.
fn default_files(start: &str, files: &dyn Files, warnings: &mut Vec<String>) -> Vec<String> {
    let mut dir = start.to_owned();
    let is_there = |dir: &str, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| short::join(dir, name)).filter(|path| files.kind(path).is_some()).collect()
    };
    let mut best = |mut paths: Vec<String>, what: &str| {
        if paths.len() > 1 {
            warnings.push(format!("Found multiple {what} files with supported names: {}", paths.join(", ")));
            warnings.push(format!("Using {}", paths[0]));
        }
        paths.truncate(1);
        paths
    };
    loop {
        let paths = is_there(&dir, &FILE_NAMES);
        if !paths.is_empty() {
            let mut paths = best(paths, "config");
            paths.extend(best(is_there(&dir, &OVERRIDE_NAMES), "override"));
            return paths;
        }
        if dir == "/" {
            return Vec::new();
        }
        dir = load::parent(&dir).to_owned();
    }
}

fn read_env_files(paths: &[String], environment: &mut Environment, files: &dyn Files) -> Result<(), Error> {
    let mut found = Environment::new();
    for path in paths {
        let read = match files.kind(path) {
            Some(FileKind::Directory) => Err(std::io::ErrorKind::IsADirectory.into()),
            _ => files.read(path),
        };
        let bytes = read.map_err(|source| Error::Read { path: path.clone(), source })?;
        let text = String::from_utf8_lossy(&bytes);
        dotenv::parse(&text, &mut found, &|name| environment.get(name).cloned())
            .map_err(|fault| Error::EnvFile { path: path.clone(), fault })?;
    }
    for (name, value) in found {
        environment.entry(name).or_insert(value);
    }
    Ok(())
}

/// A name that was asked for, if it is one.
fn checked_name(name: &str) -> Result<String, Error> {
    if normalized_name(name) == name { Ok(name.to_owned()) } else { Err(Error::ProjectName(name.to_owned())) }
}

/// The letters of a name that a project's name may have.
pub fn normalized_name(name: &str) -> String {
    let lower = name.to_lowercase();
    let kept =
        lower.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
    kept.collect::<String>().trim_start_matches(['_', '-']).to_owned()
}

fn warnings(found: Found, loader: Loader) -> Vec<String> {
    let unset = loader
        .unset
        .into_iter()
        .map(|name| format!("The \"{name}\" variable is not set. Defaulting to a blank string."));
    found.warnings.into_iter().chain(unset).chain(loader.warnings).collect()
}

/// Gives services the variables of their `env_file` and the labels of their `label_file`. What they say themselves wins.
fn resolve_variables(
    project: &mut Project,
    tree: &Node,
    files: &dyn Files,
    env_files: bool,
    faults: &mut Vec<fault::Fault>,
) {
    let environment = &project.environment;
    for (name, service) in &mut project.services {
        let at = |key: &str| {
            let node =
                tree.get("services").and_then(|services| services.get(name)).and_then(|node| node.get(key));
            node.map(Node::mark).unwrap_or_default()
        };
        let mut fault = |key: &str, message: String| {
            faults.push(fault::Fault::at(at(key), format!("services.{name}.{key}: {message}")));
        };
        let own = &mut service.environment.0;
        for (variable, value) in own.iter_mut() {
            if value.is_none() {
                *value = environment.get(variable).cloned();
            }
        }
        let mut found: Environment =
            own.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        for file in service.env_file.iter().filter(|_| env_files) {
            let text = match files.read(&file.path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !file.required => continue,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    fault("env_file", format!("env file {} not found", file.path));
                    continue;
                }
                Err(error) => {
                    fault("env_file", format!("cannot read {}: {error}", file.path));
                    continue;
                }
            };
            let lookup =
                |name: &str| environment.get(name).cloned().or_else(|| own.get(name).cloned().flatten());
            let read = match file.format.as_str() {
                "" | ".env" => dotenv::parse(&text, &mut found, &lookup),
                "raw" => dotenv::parse_raw(&text, &mut found, &lookup),
                format => {
                    fault("env_file", format!("unsupported env_file format \"{format}\""));
                    continue;
                }
            };
            if let Err(problem) = read {
                fault("env_file", format!("failed to read {}: {problem}", file.path));
            }
        }
        for (variable, value) in found {
            own.entry(variable).or_insert(Some(value));
        }
        if env_files {
            service.env_file.clear();
        }
        let mut labels = Environment::new();
        for path in &service.label_file {
            match files.read(path) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    let known = labels.clone();
                    let lookup = |name: &str| known.get(name).cloned();
                    if let Err(problem) = dotenv::parse(&text, &mut labels, &lookup) {
                        fault("label_file", format!("failed to read {path}: {problem}"));
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    fault("label_file", format!("label file {path} not found"));
                }
                Err(error) => fault("label_file", format!("cannot read {path}: {error}")),
            }
        }
        labels.extend(std::mem::take(&mut service.labels.0));
        service.labels.0 = labels;
        service.label_file.clear();
    }
}
