//! What is taken, with docker's columns, and the tree of images.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::build::cache::Record;
use engine::images::usage::ImageUsage;
use engine::inert;
use engine::ps::ListedState;
use engine::system::Usage;
use serde_json::{Value as Json, json};

use super::template::{self, Format};
use super::{images, ps, size, table};
use crate::backend;
use crate::failure::Failure;

/// Docker's default columns.
pub const DEFAULT: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

const HEADER: [(&str, &str); 5] = [
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

const IMAGES: &str = "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\tSHARED SIZE\tUNIQUE SIZE\tCONTAINERS";
const CONTAINERS: &str = "CONTAINER ID\tIMAGE\tCOMMAND\tLOCAL VOLUMES\tSIZE\tCREATED\tSTATUS\tNAMES";
const VOLUMES: &str = "VOLUME NAME\tLINKS\tSIZE";
const BUILD_CACHE: &str = "CACHE ID\tCACHE TYPE\tSIZE\tCREATED\tLAST USED\tUSAGE\tSHARED";

const NONE: &str = "<none>";

fn row(kind: &str, total: usize, active: usize, bytes: u64, reclaimable: u64) -> Json {
    let reclaimable = match (reclaimable * 100).checked_div(bytes) {
        Some(percent) => format!("{} ({percent}%)", size::sum(reclaimable)),
        None => size::sum(reclaimable),
    };
    json!({
        "Type": kind, "TotalCount": total.to_string(), "Active": active.to_string(), "Size": size::sum(bytes),
        "Reclaimable": reclaimable,
    })
}

fn rows(usage: &Usage) -> Vec<Json> {
    let images = &usage.images;
    let used = images.images.iter().filter(|image| image.listed.containers > 0).count();
    let runs = |state: ListedState| matches!(state, ListedState::Running { .. } | ListedState::Paused { .. });
    let running = usage.containers.iter().filter(|container| runs(container.listed.state));
    let idle = usage.containers.iter().filter(|container| !runs(container.listed.state));
    let (taken, unused): (Vec<_>, Vec<_>) = usage.volumes.iter().partition(|(v, _)| !v.users.is_empty());
    let sum =
        |volumes: &[&(engine::volumes::Listed, u64)]| volumes.iter().map(|(_, bytes)| bytes).sum::<u64>();
    vec![
        row("Images", images.images.len(), used, images.bytes, images.reclaimable_bytes),
        row(
            "Containers",
            usage.containers.len(),
            running.count(),
            usage.containers.iter().map(|container| container.bytes).sum(),
            idle.map(|container| container.bytes).sum(),
        ),
        row("Local Volumes", usage.volumes.len(), taken.len(), sum(&taken) + sum(&unused), sum(&unused)),
        row(
            "Build Cache",
            usage.builds.len(),
            usage.builds.iter().filter(|record| record.is_in_use).count(),
            bytes_of(&usage.builds, &|_| true),
            // What images have as well stays with them.
            bytes_of(&usage.builds, &|record| !record.is_in_use && !record.is_shared),
        ),
    ]
}

fn bytes_of(records: &[Record], is: &dyn Fn(&Record) -> bool) -> u64 {
    records.iter().filter(|record| is(record)).map(|record| record.size_bytes).sum()
}

/// A row for each sort of thing.
pub fn text(usage: &Usage, format: &Format) -> Result<String, Failure> {
    template::rows(format, &HEADER, rows(usage))
}

/// Everything on its own: docker's tables, or the document behind them by `json` or a template.
pub fn verbose(usage: &Usage, format: &str, now: SystemTime) -> Result<String, Failure> {
    let document = document(usage, now);
    match format.trim() {
        "" | "table" => {}
        "json" => return Ok(format!("{}\n", engine::inert_json(&document.to_string()))),
        source => return Ok(template::one(source, &document)? + "\n"),
    }
    let section = |member: &str, header: &str, fields: &[&str]| {
        let items = document[member].as_array().into_iter().flatten();
        let cells = |item: &Json| {
            let cells = fields.iter().map(|field| item[*field].as_str().unwrap_or_default().to_owned());
            cells.collect::<Vec<_>>().join("\t")
        };
        let lines: Vec<String> = std::iter::once(header.to_owned()).chain(items.map(cells)).collect();
        table::align(&lines)
    };
    let image = ["Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers"];
    let container = ["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"];
    let build = ["ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared"];
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\n\
         Build cache usage: {}\n\n{}",
        section("Images", IMAGES, &image),
        section("Containers", CONTAINERS, &container),
        section("Volumes", VOLUMES, &["Name", "Links", "Size"]),
        size::sum(bytes_of(&usage.builds, &|_| true)),
        section("BuildCache", BUILD_CACHE, &build),
    ))
}

fn document(usage: &Usage, now: SystemTime) -> Json {
    let image = |image: &ImageUsage| {
        let listed = &image.listed;
        let (repository, tag) = listed.names.first().map_or((NONE, NONE), |(r, t)| (&r[..], &t[..]));
        let how = images::How { quiet: false, full: false, human: true, digests: false };
        let mut fields = images::fields(listed, repository, tag, NONE, &how, now);
        fields["SharedSize"] = size::sum(listed.size_bytes.saturating_sub(image.unique_bytes)).into();
        fields["UniqueSize"] = size::sum(image.unique_bytes).into();
        fields
    };
    let container = |container: &engine::system::ContainerUsage| {
        let mut fields = ps::fields(&backend::row(container.listed.clone()), false, now);
        fields["LocalVolumes"] = container.volumes.to_string().into();
        fields["Size"] = size::human(container.bytes).into();
        fields
    };
    let volume = |(listed, bytes): &(engine::volumes::Listed, u64)| {
        json!({
            "Name": inert(&listed.volume.name), "Links": listed.users.len().to_string(), "Size": size::sum(*bytes),
            "Driver": engine::volumes::DRIVER, "Mountpoint": listed.volume.data,
        })
    };
    let ago = |ns: i64| {
        let then = UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap_or_default());
        format!("{} ago", super::time::words_since(then, now))
    };
    let build = |record: &Record| {
        json!({
            "ID": record.id, "Parent": record.parents.join(", "), "CacheType": record.kind,
            "Description": inert(&record.description), "Size": size::sum(record.size_bytes),
            "CreatedSince": ago(record.created_ns), "LastUsedSince": ago(record.used_ns),
            "UsageCount": record.uses.to_string(), "Shared": record.is_shared.to_string(),
            "InUse": record.is_in_use.to_string(),
        })
    };
    json!({
        "Images": usage.images.images.iter().map(image).collect::<Vec<_>>(),
        "Containers": usage.containers.iter().map(container).collect::<Vec<_>>(),
        "Volumes": usage.volumes.iter().map(volume).collect::<Vec<_>>(),
        "BuildCache": usage.builds.iter().map(build).collect::<Vec<_>>(),
    })
}

const LEGEND: &str = "Info ->  U In Use";
const UNTAGGED: &str = "<untagged>";

/// A line of the tree: what it is about, id, bytes on the disk, bytes of them in blobs, whether a container uses it.
struct Line {
    name: String,
    id: String,
    sizes: Option<(u64, u64)>,
    used: bool,
}

/// Images as docker's `images --tree` shows them: names, then what there is for each machine.
pub fn tree(images: &[&ImageUsage]) -> String {
    let mut groups: Vec<Vec<&ImageUsage>> = Vec::new();
    for image in images {
        // What came by one index is one image for several machines.
        let shares = |other: &&ImageUsage| {
            image.listed.digests.iter().any(|digest| other.listed.digests.contains(digest))
        };
        match groups.iter_mut().find(|group| group.iter().any(shares)) {
            Some(group) => group.push(image),
            None => groups.push(vec![image]),
        }
    }
    let mut lines = vec![None];
    for group in &groups {
        lines.push(None);
        lines.extend(group_lines(group).into_iter().map(Some));
    }
    let width = |of: &dyn Fn(&Line) -> usize, title: &str| {
        lines.iter().flatten().map(of).max().unwrap_or(0).max(title.len())
    };
    let names = width(&|line| line.name.chars().count(), "IMAGE");
    let shown = |sizes: Option<(u64, u64)>| {
        sizes.map_or((String::new(), String::new()), |(a, b)| (size::human(a), size::human(b)))
    };
    let whole = names + 3 + 12 + 3 + 10 + 3 + 12 + 3 + 5;
    let mut text = format!("{LEGEND:>whole$}\n\n");
    text += &format!("{:<names$}   {:<12}   DISK USAGE   CONTENT SIZE   EXTRA\n", "IMAGE", "ID");
    for line in lines.iter().skip(2) {
        let Some(Line { name, id, sizes, used }) = line else {
            text.push('\n');
            continue;
        };
        let (disk, content) = shown(*sizes);
        let used = if *used { "U" } else { "" };
        let row = format!("{name:<names$}   {id:<12}   {disk:>10}   {content:>12}   {used}");
        text += row.trim_end();
        text.push('\n');
    }
    text
}

fn group_lines(group: &[&ImageUsage]) -> Vec<Line> {
    let disk = |image: &ImageUsage| image.listed.size_bytes + image.blob_bytes;
    let short = |id: &str| id.strip_prefix("sha256:").unwrap_or(id).chars().take(12).collect::<String>();
    let names: Vec<String> = group
        .iter()
        .flat_map(|image| image.listed.names.iter().map(|(r, t)| inert(&format!("{r}:{t}")).into_owned()))
        .collect();
    let head = group.iter().find(|image| !image.listed.names.is_empty()).unwrap_or(&group[0]);
    let sum = |of: &dyn Fn(&ImageUsage) -> u64| group.iter().map(|image| of(image)).sum::<u64>();
    let used = |image: &ImageUsage| image.listed.containers > 0;
    let (last, others) = match names.split_last() {
        Some((last, others)) => (last.clone(), others),
        None => (UNTAGGED.to_owned(), &[][..]),
    };
    let bare = |name: &String| Line { name: name.clone(), id: String::new(), sizes: None, used: false };
    let mut lines: Vec<Line> = others.iter().map(bare).collect();
    lines.push(Line {
        name: last,
        id: short(&head.listed.id),
        sizes: Some((sum(&disk), sum(&|image| image.blob_bytes))),
        used: group.iter().any(|image| used(image)),
    });
    for (at, image) in group.iter().enumerate() {
        let branch = if at + 1 == group.len() { "└─" } else { "├─" };
        lines.push(Line {
            name: format!("{branch} {}", inert(&image.platform)),
            id: short(&image.listed.id),
            sizes: Some((disk(image), image.blob_bytes)),
            used: used(image),
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::images::Listed;
    use engine::images::usage::ImagesUsage;
    use std::time::{Duration, UNIX_EPOCH};

    fn image(names: &[&str], digest: &str, id: char, platform: &str) -> ImageUsage {
        let listed = Listed {
            id: format!("sha256:{}", id.to_string().repeat(64)),
            names: names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect(),
            digests: vec![("app".to_owned(), digest.to_owned())],
            created_ns: 0,
            size_bytes: 3_000_000,
            labels: Vec::new(),
            containers: usize::from(id == 'a'),
        };
        ImageUsage { listed, platform: platform.to_owned(), unique_bytes: 1_000_000, blob_bytes: 1_500_000 }
    }

    #[test]
    fn a_tree_groups_what_came_by_one_index() {
        let (one, two) = (image(&["app", "b"], "x", 'a', "linux/amd64"), image(&[], "x", 'b', "linux/arm64"));
        let three = image(&[], "y", 'c', "linux/386");
        assert_eq!(
            tree(&[&one, &two, &three]),
            "                                                Info ->  U In Use\n\
             \n\
             IMAGE            ID             DISK USAGE   CONTENT SIZE   EXTRA\n\
             app:1\n\
             b:1              aaaaaaaaaaaa          9MB            3MB   U\n\
             ├─ linux/amd64   aaaaaaaaaaaa        4.5MB          1.5MB   U\n\
             └─ linux/arm64   bbbbbbbbbbbb        4.5MB          1.5MB\n\
             \n\
             <untagged>       cccccccccccc        4.5MB          1.5MB\n\
             └─ linux/386     cccccccccccc        4.5MB          1.5MB\n"
        );
    }

    #[test]
    fn usage_reads_as_dockers() {
        let images = ImagesUsage {
            images: vec![image(&["app"], "x", 'a', ""), image(&[], "y", 'b', "")],
            bytes: 332_700_000,
            reclaimable_bytes: 330_700_000,
        };
        let usage = Usage { images, containers: Vec::new(), volumes: Vec::new(), builds: Vec::new() };
        assert_eq!(
            text(&usage, &Format::parse("", DEFAULT)).expect("valid"),
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
             Images          2         1         332.7MB   330.7MB (99%)\n\
             Containers      0         0         0B        0B\n\
             Local Volumes   0         0         0B        0B\n\
             Build Cache     0         0         0B        0B\n"
        );
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let text = verbose(&usage, "", now).expect("valid");
        assert!(
            text.starts_with(
                "Images space usage:\n\n\
                 REPOSITORY   TAG       IMAGE ID       CREATED   SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS\n\
                 app          1         aaaaaaaaaaaa   N/A       3MB       2MB           1MB           1\n\
                 <none>       <none>    bbbbbbbbbbbb   N/A       3MB       2MB           1MB           0\n\
                 \n\
                 Containers space usage:\n"
            ),
            "{text}"
        );
    }
}
