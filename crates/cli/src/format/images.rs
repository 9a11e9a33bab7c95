//! The list of images and the history of one, with docker's columns.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::images::{HistoryStep, Listed};
use engine::inert;
use serde_json::{Value as Json, json};

use super::template::{self, Format};
use super::{glob, size, table, time};
use crate::failure::Failure;

/// Docker's default columns.
pub const DEFAULT: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
/// The same with `--digests`.
pub const DIGESTS_DEFAULT: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
/// Docker's default columns of a history.
pub const HISTORY_DEFAULT: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const HEADER: [(&str, &str); 11] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const HISTORY_HEADER: [(&str, &str); 6] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Characters of a command that a history shows. Source: docker/cli history.go.
const SHOWN_CHARS: usize = 45;

const NONE: &str = "<none>";
const MISSING: &str = "<missing>";

/// One `--filter`, or the argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageFilter {
    /// A repository with its tag, or with any, in the shell's wildcards.
    Reference(String),
    /// The argument: the same.
    Named(String),
    /// Whether it has no name.
    Dangling(bool),
    /// A label, and its value if given.
    Label(String, Option<String>),
    /// Made before the image of that name or id.
    Before(String),
    /// Made after it.
    Since(String),
    /// Made before then.
    Until(SystemTime),
}

/// How a list is shown.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Ids only.
    pub quiet: bool,
    /// Ids and commands whole.
    pub full: bool,
    /// Sizes and dates for people.
    pub human: bool,
    /// Digests as well.
    pub digests: bool,
}

fn moment(ns: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap_or_default())
}

/// Images that never said when they were made have no age.
fn since(ns: i64, now: SystemTime) -> String {
    match ns {
        0 => "N/A".to_owned(),
        ns => format!("{} ago", time::words_since(moment(ns), now)),
    }
}

fn short_id(id: &str, full: bool) -> &str {
    match full {
        true => id,
        false => id.strip_prefix("sha256:").and_then(|digits| digits.get(..12)).unwrap_or(id),
    }
}

/// Whether the name passes the filters about names: docker takes those of one kind as alternatives.
fn name_passes(name: &(String, String), filters: &[ImageFilter]) -> bool {
    let (repository, tag) = name;
    let full = format!("{repository}:{tag}");
    let mut wanted = filters.iter().filter_map(|filter| match filter {
        ImageFilter::Reference(pattern) | ImageFilter::Named(pattern) => Some(pattern),
        _ => None,
    });
    let familiar = |pattern: &str| {
        let short = pattern.strip_prefix("docker.io/").unwrap_or(pattern);
        short.strip_prefix("library/").unwrap_or(short).to_owned()
    };
    let matches = |pattern: &str| glob::matches(pattern, &full) || glob::matches(pattern, repository);
    let mut any = false;
    let passes = wanted.any(|pattern| {
        any = true;
        matches(&familiar(pattern))
    });
    passes || !any
}

fn passes(image: &Listed, filters: &[ImageFilter], all: &[Listed]) -> Result<bool, Failure> {
    let find = |given: &str| {
        let is = |image: &&Listed| {
            let names =
                image.names.iter().any(|(r, t)| format!("{r}:{t}") == given || (r == given && t == "latest"));
            let digits = given.strip_prefix("sha256:").unwrap_or(given);
            names || image.id.strip_prefix("sha256:").is_some_and(|id| id.starts_with(digits))
        };
        all.iter().find(is).ok_or_else(|| Failure::new(format!("no such image: {given}")))
    };
    for filter in filters {
        let holds = match filter {
            ImageFilter::Reference(_) | ImageFilter::Named(_) => true,
            ImageFilter::Dangling(dangling) => image.names.is_empty() == *dangling,
            ImageFilter::Label(key, value) => {
                image.labels.iter().any(|(k, v)| k == key && value.as_ref().is_none_or(|value| v == value))
            }
            ImageFilter::Before(given) => image.created_ns < find(given)?.created_ns,
            ImageFilter::Since(given) => image.created_ns > find(given)?.created_ns,
            ImageFilter::Until(until) => moment(image.created_ns) < *until,
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether an image passes all filters: those about names with one of its names.
pub fn is_chosen(image: &Listed, filters: &[ImageFilter], all: &[Listed]) -> Result<bool, Failure> {
    let by_name = filters.iter().any(|f| matches!(f, ImageFilter::Reference(_) | ImageFilter::Named(_)));
    let named = image.names.iter().any(|name| name_passes(name, filters));
    Ok(passes(image, filters, all)? && (named || !by_name))
}

/// The list as text: a row for each name, and one for an image without any.
pub fn text(
    all: &[Listed],
    filters: &[ImageFilter],
    format: &Format,
    how: &How,
    now: SystemTime,
) -> Result<String, Failure> {
    let mut rows = Vec::new();
    let by_name = filters.iter().any(|f| matches!(f, ImageFilter::Reference(_) | ImageFilter::Named(_)));
    for image in all {
        if !passes(image, filters, all)? {
            continue;
        }
        let names: Vec<_> = image.names.iter().filter(|name| name_passes(name, filters)).collect();
        for (repository, tag) in &names {
            let digest = image.digests.iter().find(|(known, _)| known == repository);
            let digest = digest.map_or(NONE, |(_, digest)| digest);
            rows.push((image, &repository[..], &tag[..], digest));
        }
        if image.names.is_empty() && !by_name {
            let (repository, digest) = image.digests.first().map_or((NONE, NONE), |(r, d)| (&r[..], &d[..]));
            rows.push((image, repository, NONE, digest));
        }
    }
    let rows = rows
        .into_iter()
        .map(|(image, repository, tag, digest)| fields(image, repository, tag, digest, how, now));
    template::rows(&format.or_quiet(how.quiet, "{{.ID}}"), &HEADER, rows)
}

/// The fields of one image under one of its names.
pub fn fields(image: &Listed, repository: &str, tag: &str, digest: &str, how: &How, now: SystemTime) -> Json {
    let size = size::human(image.size_bytes);
    json!({
        "ID": short_id(&image.id, how.full),
        "Repository": inert(repository),
        "Tag": inert(tag),
        "Digest": digest,
        "CreatedSince": since(image.created_ns, now),
        "CreatedAt": time::go_utc(moment(image.created_ns)),
        "Size": size,
        "Containers": image.containers.to_string(),
        "VirtualSize": size,
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
    })
}

/// A history as text.
pub fn history_text(
    steps: &[HistoryStep],
    format: &Format,
    how: &How,
    now: SystemTime,
) -> Result<String, Failure> {
    let row = |step: &HistoryStep| {
        let command = step.created_by.replace('\t', " ");
        let command = if how.full { command } else { table::ellipsis(&command, SHOWN_CHARS) };
        let at = time::rfc3339(moment(step.created_ns));
        json!({
            "ID": step.id.as_deref().map_or(MISSING, |id| short_id(id, how.full)),
            "CreatedSince": if how.human { since(step.created_ns, now) } else { at.clone() },
            "CreatedAt": at,
            "CreatedBy": inert(&command),
            "Size": if how.human { size::human(step.size_bytes) } else { step.size_bytes.to_string() },
            "Comment": inert(&step.comment),
        })
    };
    template::rows(&format.or_quiet(how.quiet, "{{.ID}}"), &HISTORY_HEADER, steps.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_SECS: u64 = 1_795_593_600;
    const HOW: How = How { quiet: false, full: false, human: true, digests: false };

    fn image(names: &[(&str, &str)], age_secs: u64) -> Listed {
        let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        Listed {
            id: format!("sha256:{age_secs:064}"),
            names: names.iter().map(own).collect(),
            digests: vec![own(&("app", "sha256:abc"))],
            created_ns: ((NOW_SECS - age_secs) * 1_000_000_000) as i64,
            size_bytes: 1_839_000,
            labels: vec![own(&("a", "1"))],
            containers: 2,
        }
    }

    fn list(filters: &[ImageFilter], format: &str, how: How) -> String {
        let images =
            [image(&[("app", "1"), ("app", "2")], 120), image(&[("reg.io/b", "x")], 7200), image(&[], 9000)];
        let now = UNIX_EPOCH + Duration::from_secs(NOW_SECS);
        text(&images, filters, &Format::parse(format, DEFAULT), &how, now).expect("valid")
    }

    #[test]
    fn rows_read_as_dockers() {
        assert_eq!(
            list(&[], "", HOW),
            "REPOSITORY   TAG       IMAGE ID       CREATED         SIZE\n\
             app          1         000000000000   2 minutes ago   1.84MB\n\
             app          2         000000000000   2 minutes ago   1.84MB\n\
             reg.io/b     x         000000000000   2 hours ago     1.84MB\n\
             app          <none>    000000000000   3 hours ago     1.84MB\n"
        );
        assert_eq!(list(&[], "", How { quiet: true, ..HOW }).lines().count(), 4);
        let digests = list(&[], "{{.Repository}}@{{.Digest}} {{.Containers}}", HOW);
        assert_eq!(digests.lines().next(), Some("app@sha256:abc 2"));
    }

    #[test]
    fn filters_choose() {
        let names = |filters: &[ImageFilter]| list(filters, "{{.Repository}}:{{.Tag}}", HOW);
        assert_eq!(names(&[ImageFilter::Named("app".into())]), "app:1\napp:2\n");
        assert_eq!(names(&[ImageFilter::Named("app:2".into())]), "app:2\n");
        assert_eq!(names(&[ImageFilter::Reference("reg.io/*".into())]), "reg.io/b:x\n");
        assert_eq!(names(&[ImageFilter::Reference("*".into())]), "app:1\napp:2\n");
        assert_eq!(names(&[ImageFilter::Dangling(true)]), "app:<none>\n");
        assert_eq!(names(&[ImageFilter::Before("app:1".into())]), "reg.io/b:x\napp:<none>\n");
        assert_eq!(names(&[ImageFilter::Since("reg.io/b:x".into())]), "app:1\napp:2\n");
        assert_eq!(names(&[ImageFilter::Label("a".into(), Some("2".into()))]), "");
    }

    #[test]
    fn a_history_reads_as_dockers() {
        let step = |id: Option<&str>, by: &str| HistoryStep {
            id: id.map(str::to_owned),
            created_ns: 0,
            created_by: by.to_owned(),
            size_bytes: 0,
            comment: String::new(),
        };
        let long = "x".repeat(60);
        let steps = [step(Some("sha256:0123456789abcdef"), "CMD [\"sh\"]"), step(None, &long)];
        let now = UNIX_EPOCH + Duration::from_secs(NOW_SECS);
        let text = history_text(&steps, &Format::parse("", HISTORY_DEFAULT), &HOW, now).expect("valid");
        assert_eq!(
            text,
            format!(
                "IMAGE          CREATED   CREATED BY                                      SIZE      COMMENT\n\
                 0123456789ab   N/A       CMD [\"sh\"]                                      0B        \n\
                 <missing>      N/A       {}…   0B        \n",
                "x".repeat(44)
            )
        );
    }
}
