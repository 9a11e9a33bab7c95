//! `berth ps`: which containers there are. The list of running ones needs no database.

use crate::find::{self, Brief, Container, State};
use crate::images;
use crate::network::{self, ShownPort};
use crate::pause::is_paused;
use crate::request::{MountKind, NetworkMode, PsFilter, PsRequest};
use crate::system::{self, Sizes};
use crate::{Error, Home};
use regex_lite::Regex;
use std::mem::discriminant;
use types::inert::inert;

/// One container of the list. Text is inert, apart from the command, which is to be quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// All 64 digits.
    pub id: String,
    /// Name.
    pub name: String,
    /// Image as it was asked for.
    pub image: String,
    /// Program and arguments in docker's way: separated by spaces, those with spaces in single quotes.
    pub command: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// State.
    pub state: ListedState,
    /// Ports, while it runs.
    pub ports: Vec<ShownPort>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Sources of binds, names of volumes and images.
    pub mounts: Vec<String>,
    /// Where they and others are mounted.
    pub targets: Vec<String>,
    /// How many volumes it has.
    pub volumes: usize,
    /// Names of networks; none in another container's.
    pub networks: Vec<String>,
    /// What its health checks say; `none` where nothing is checked.
    pub health: &'static str,
    /// Bytes of its files, if they were asked for.
    pub sizes: Option<Sizes>,
}

/// State of a listed container; times are nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedState {
    /// Being made.
    Created,
    /// Running.
    Running {
        /// Since then.
        since_ns: i64,
    },
    /// Paused.
    Paused {
        /// Running since then.
        since_ns: i64,
    },
    /// Ended, and about to be started again.
    Restarting {
        /// Status; `None` if nobody saw it end.
        code: Option<u8>,
        /// When.
        at_ns: i64,
    },
    /// Ended.
    Exited {
        /// Status; `None` if nobody saw it end.
        code: Option<u8>,
        /// When.
        at_ns: i64,
    },
}

impl ListedState {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            ListedState::Created => "created",
            ListedState::Running { .. } => "running",
            ListedState::Paused { .. } => "paused",
            ListedState::Restarting { .. } => "restarting",
            ListedState::Exited { .. } => "exited",
        }
    }
}

/// Lists containers, the newest first.
pub fn ps(home: &Home, request: &PsRequest) -> Result<Vec<Listed>, Error> {
    // As in docker, to ask for a status is to ask for all containers that have it.
    let by_status = request.filters.iter().any(|filter| matches!(filter, PsFilter::Status(_)));
    let all = request.all || request.last.is_some() || by_status;
    let mut containers: Vec<Brief> = if all { find::all_as(home)? } else { find::present_as(home) };
    containers.retain(|container| all || matches!(container.state, State::Running(_) | State::Restarting(_)));
    keep_descendants(home, &mut containers, &request.filters)?;
    keep_between(home, &mut containers, &request.filters)?;
    containers.sort_by_key(|container| std::cmp::Reverse(container.config.created_ns));
    let rows = containers.iter().map(|container| (container, listed(home, container)));
    let filters = Filters::new(&request.filters);
    let mut rows: Vec<(&Brief, Listed)> = rows.filter(|(_, row)| filters.pass(row)).collect();
    rows.truncate(request.last.map_or(usize::MAX, |last| last as usize));
    let (containers, mut rows): (Vec<&Brief>, Vec<Listed>) = rows.into_iter().unzip();
    if request.sizes {
        let sizes = system::sizes(home, &containers)?;
        rows.iter_mut().zip(sizes).for_each(|(row, sizes)| row.sizes = Some(sizes));
    }
    Ok(rows)
}

/// Drops what wasn't made before or after the containers that filters name.
fn keep_between(home: &Home, containers: &mut Vec<Brief>, filters: &[PsFilter]) -> Result<(), Error> {
    let (mut before, mut since) = (i64::MAX, i64::MIN);
    for filter in filters {
        match filter {
            PsFilter::Before(given) => before = find::container(home, given)?.config.created_ns,
            PsFilter::Since(given) => since = find::container(home, given)?.config.created_ns,
            _ => {}
        }
    }
    containers
        .retain(|container| since < container.config.created_ns && container.config.created_ns < before);
    Ok(())
}

/// What lists show of a container.
pub(crate) fn listed<S>(home: &Home, container: &Container<S>) -> Listed {
    let config = &container.config;
    let request = &config.request;
    let mounts = config.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { source, .. } => Some(inert(&source.to_string_lossy()).into_owned()),
        MountKind::Volume(volume) => volume.name.clone(),
        MountKind::Image { reference, .. } => Some(inert(reference).into_owned()),
        MountKind::Tmpfs { .. } => None,
    });
    let targets = config.mounts.iter().map(|mount| inert(&mount.target.to_string_lossy()).into_owned());
    Listed {
        id: config.id.clone(),
        name: inert(&config.name).into_owned(),
        image: inert(&config.image).into_owned(),
        command: command_line(&config.args),
        created_ns: config.created_ns,
        state: match &container.state {
            State::Created | State::Starting => ListedState::Created,
            State::Restarting(ended) => {
                ListedState::Restarting { code: ended.code, at_ns: ended.finished_ns }
            }
            State::Running(running) if is_paused(running) => {
                ListedState::Paused { since_ns: running.started_ns }
            }
            State::Running(running) => ListedState::Running { since_ns: running.started_ns },
            State::Exited(ended) => ListedState::Exited { code: ended.code, at_ns: ended.finished_ns },
        },
        ports: network::shown_ports(home, container),
        labels: config
            .labels()
            .into_iter()
            .map(|(key, value)| (inert(key).into_owned(), inert(value).into_owned()))
            .collect(),
        mounts: mounts.collect(),
        targets: targets.collect(),
        volumes: config.volumes().count(),
        networks: match &request.network {
            NetworkMode::Container(_) => Vec::new(),
            NetworkMode::Networks(networks) => networks.iter().map(|wanted| wanted.network.clone()).collect(),
            mode => vec![network_name(mode)],
        },
        health: container.health.as_ref().map_or("none", |health| health.status.word()),
        sizes: None,
    }
}

/// Drops what wasn't made from one of the images that filters name, or from one on top of it. One that isn't here has
/// no descendants.
fn keep_descendants(home: &Home, containers: &mut Vec<Brief>, filters: &[PsFilter]) -> Result<(), Error> {
    let wanted: Vec<&str> = filters
        .iter()
        .filter_map(|filter| match filter {
            PsFilter::Ancestor(given) => Some(given.as_str()),
            _ => None,
        })
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let ids = images::list::descendants(home, &wanted)?;
    containers.retain(|container| {
        let config = &container.config;
        match &config.image_id {
            Some(id) => ids.contains(id),
            None => wanted.contains(&config.image.as_str()),
        }
    });
    Ok(())
}

/// Docker's `HostConfig.NetworkMode`.
pub(crate) fn network_name(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Unset => network::DEFAULT.to_owned(),
        // Docker names the first; the others are found elsewhere.
        NetworkMode::Networks(networks) => {
            networks.first().map_or(network::DEFAULT, |wanted| &wanted.network).to_owned()
        }
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(name) => format!("container:{name}"),
        NetworkMode::Path(path) => format!("ns:{}", path.display()),
    }
}

fn command_line(args: &[String]) -> String {
    let mut words = args.iter();
    let mut line = words.next().cloned().unwrap_or_default();
    for word in words {
        match word.contains(' ') {
            true => line += &format!(" '{word}'"),
            false => line += &format!(" {word}"),
        }
    }
    line
}

/// Filters, ready for many rows.
struct Filters<'a> {
    filters: &'a [PsFilter],
    /// Those of names. One that is no regular expression matches nothing, as in docker.
    names: Vec<Regex>,
}

impl<'a> Filters<'a> {
    fn new(filters: &'a [PsFilter]) -> Filters<'a> {
        let name = |filter: &PsFilter| match filter {
            PsFilter::Name(pattern) => Regex::new(pattern).ok(),
            _ => None,
        };
        Filters { filters, names: filters.iter().filter_map(name).collect() }
    }

    /// Whether they let a row pass: of each kind one must match, of labels all.
    fn pass(&self, row: &Listed) -> bool {
        self.filters.iter().all(|filter| match filter {
            PsFilter::Label(..) => matches_one(row, filter),
            PsFilter::Name(_) => self.has_name(&row.name),
            _ => {
                let same = self.filters.iter().filter(|f| discriminant(*f) == discriminant(filter));
                same.into_iter().any(|f| matches_one(row, f))
            }
        })
    }

    /// Docker's names have a slash before them, and patterns may or may not.
    fn has_name(&self, name: &str) -> bool {
        let slashed = format!("/{name}");
        self.names.iter().any(|pattern| pattern.is_match(name) || pattern.is_match(&slashed))
    }
}

fn matches_one(row: &Listed, filter: &PsFilter) -> bool {
    match filter {
        PsFilter::Id(start) => row.id.starts_with(start.as_str()),
        PsFilter::Label(key, value) => {
            row.labels.iter().any(|(k, v)| k == key && value.as_ref().is_none_or(|value| v == value))
        }
        PsFilter::Exited(code) => {
            matches!(row.state, ListedState::Exited { code: Some(c), .. } if i32::from(c) == *code)
        }
        PsFilter::Status(word) => row.state.word() == word,
        // Seen to before there were rows, or for all of them.
        PsFilter::Ancestor(_) | PsFilter::Before(_) | PsFilter::Since(_) | PsFilter::Name(_) => true,
        PsFilter::Network(name) => row.networks.contains(name),
        PsFilter::Ports { protocol, range: (first, last), published } => row.ports.iter().any(|port| {
            let number = if *published { port.host.map(|(_, port)| port) } else { Some(port.port) };
            port.protocol == protocol && number.is_some_and(|number| (*first..=*last).contains(&number))
        }),
        PsFilter::Health(word) => row.health == word,
        PsFilter::IsTask(is) => !is,
        PsFilter::Volume(given) => row.mounts.contains(given) || row.targets.contains(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, state: ListedState) -> Listed {
        Listed {
            id: "0123456789abcdef".repeat(4),
            name: name.to_owned(),
            image: "@host".to_owned(),
            command: String::new(),
            created_ns: 0,
            state,
            ports: Vec::new(),
            labels: vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())],
            mounts: vec!["data".to_owned()],
            targets: vec!["/srv".to_owned()],
            volumes: 1,
            networks: vec!["none".to_owned()],
            health: "none",
            sizes: None,
        }
    }

    #[test]
    fn filters_of_one_kind_are_alternatives_and_kinds_add_up() {
        let web = row("web", ListedState::Exited { code: Some(3), at_ns: 0 });
        let name = |text: &str| PsFilter::Name(text.to_owned());
        let label =
            |key: &str, value: Option<&str>| PsFilter::Label(key.to_owned(), value.map(str::to_owned));
        for good in [
            vec![],
            vec![name("db"), name("we")],
            vec![name("^web$"), PsFilter::Exited(3)],
            vec![name("^/web$")],
            vec![name("/web")],
            vec![name("w.b")],
            vec![name("db|^w")],
            vec![name("[a-"), name("[v-x]eb")],
            vec![label("a", Some("1")), label("b", None)],
            vec![PsFilter::Status("running".to_owned()), PsFilter::Status("exited".to_owned())],
            vec![PsFilter::Id("0123".to_owned())],
            vec![PsFilter::Volume("data".to_owned())],
            vec![PsFilter::Volume("/srv".to_owned())],
            vec![PsFilter::Network("none".to_owned()), PsFilter::Health("none".to_owned())],
            vec![PsFilter::IsTask(false)],
        ] {
            assert!(Filters::new(&good).pass(&web), "{good:?}");
        }
        for bad in [
            vec![name("db"), name("^eb")],
            vec![name("[a-")],
            vec![name("^/eb")],
            vec![name("web"), PsFilter::Exited(0)],
            vec![label("a", Some("1")), label("c", None)],
            vec![PsFilter::Id("123".to_owned())],
            vec![PsFilter::Volume("dat".to_owned())],
            vec![PsFilter::Status("running".to_owned())],
            vec![PsFilter::Network("host".to_owned())],
            vec![PsFilter::Ports { protocol: "tcp".to_owned(), range: (80, 80), published: false }],
            vec![PsFilter::IsTask(true)],
        ] {
            assert!(!Filters::new(&bad).pass(&web), "{bad:?}");
        }
    }

    #[test]
    fn commands_are_joined_as_dockers() {
        let words = |list: &[&str]| command_line(&list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["sh", "-c", "sleep 1; true"]), "sh -c 'sleep 1; true'");
        assert_eq!(words(&["true"]), "true");
    }
}
