//! What builds keep: `berth builder du`, `ls` and `prune`, and the bound that each build sees to at its end.
//!
//! A record is what docker calls so: a layer, with all steps that lead to it; or a cache directory; or a step whose result
//! is no layer of its own. What lies below another record goes after it: only then is its space free.

use crate::images::{look_at_store, open_store};
use crate::{Error, Home};
use std::collections::{BTreeMap, BTreeSet};
use store::{BuildStep, CACHE_KIND, ChainId, LayerNode, Store};

/// Digits of a record's id.
const ID_DIGITS: usize = 25;

/// Part of the file system that records may take, without a bound of the user's: as BuildKit, a tenth.
const BOUND_PART: u64 = 10;

/// The least bound, whatever the file system's size.
const BOUND_BYTES_MIN: u64 = 2 << 30;

/// Something that's kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// Ids of those that it's made from.
    pub parents: Vec<String>,
    /// Docker's word: `regular`, `source.local`, `exec.cachemount`, …
    pub kind: String,
    /// What made it.
    pub description: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// When it was used last, in nanoseconds since the epoch.
    pub used_ns: i64,
    /// How often it was used after it was made.
    pub uses: u64,
    /// Bytes of what it alone has.
    pub size_bytes: u64,
    /// Whether an image has it too.
    pub is_shared: bool,
    /// Whether a build or a container works with it now.
    pub is_in_use: bool,
    /// Whether its content changes from build to build.
    pub is_mutable: bool,
    keys: Vec<String>,
    chain: Option<ChainId>,
}

/// A condition on records: `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Not used since then, in nanoseconds since the epoch.
    Until(i64),
    /// A word about it, compared.
    Word(Word, Compare, String),
    /// A yes or no about it.
    Flag(Flag, bool),
}

/// What words a filter can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `id`
    Id,
    /// `parents`
    Parents,
    /// `description`
    Description,
    /// `type`
    Kind,
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `=`
    Is,
    /// `!=`
    IsNot,
    /// `~=`, a regular expression.
    Matches,
}

/// What else it can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// `inuse`
    InUse,
    /// `shared`
    Shared,
    /// `private`
    Private,
    /// `mutable`
    Mutable,
    /// `immutable`
    Immutable,
}

/// `builder prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Those that images have as well, which frees nothing.
    pub all: bool,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Bytes of records that stay in any case: those used last.
    pub reserved_bytes: Option<u64>,
    /// Bytes that all records may take.
    pub max_used_bytes: Option<u64>,
    /// Bytes of the disk that are to be free.
    pub min_free_bytes: Option<u64>,
    /// Whether it's only told what would be removed.
    pub dry_run: bool,
}

/// What prune removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The records.
    pub removed: Vec<Record>,
    /// Bytes of what is gone from the disk.
    pub reclaimed_bytes: u64,
}

impl Filter {
    /// Reads a condition as docker has it: `until=24h`, `type!=regular`, `description~=pip`, `inuse`, `shared=false`. `until`
    /// gives the moment that a text of that means.
    ///
    /// Errors: what is wrong with it.
    pub fn parse(text: &str, until: impl Fn(&str) -> Result<i64, String>) -> Result<Filter, String> {
        let operators = [("~=", Compare::Matches), ("!=", Compare::IsNot), ("=", Compare::Is)];
        let found = operators.iter().find_map(|(operator, compare)| {
            let (name, value) = text.split_once(operator)?;
            Some((name, *compare, value))
        });
        let (name, compare, value) = found.unwrap_or((text, Compare::Is, ""));
        let word = match name {
            "id" => Some(Word::Id),
            "parents" | "parent" => Some(Word::Parents),
            "description" => Some(Word::Description),
            "type" => Some(Word::Kind),
            _ => None,
        };
        if let Some(word) = word {
            if compare == Compare::Matches {
                regex_lite::Regex::new(value).map_err(|error| error.to_string())?;
            }
            return Ok(Filter::Word(word, compare, value.to_owned()));
        }
        if matches!(name, "until" | "unused-for") && compare == Compare::Is {
            return until(value).map(Filter::Until);
        }
        let flag = match name {
            "inuse" => Flag::InUse,
            "shared" => Flag::Shared,
            "private" => Flag::Private,
            "mutable" => Flag::Mutable,
            "immutable" => Flag::Immutable,
            _ => return Err(format!("{text:?}: there is no filter {name:?}")),
        };
        let is_set = match (compare, value) {
            (Compare::Is, "" | "true" | "1") => true,
            (Compare::Is, "false" | "0") => false,
            _ => return Err(format!("{text:?}: true or false")),
        };
        Ok(Filter::Flag(flag, is_set))
    }

    /// Whether it holds for a record.
    pub fn holds(&self, record: &Record) -> bool {
        match self {
            Filter::Until(moment) => record.used_ns < *moment,
            Filter::Word(word, compare, value) => {
                let words = match word {
                    Word::Id => std::slice::from_ref(&record.id),
                    Word::Parents => &record.parents,
                    Word::Description => std::slice::from_ref(&record.description),
                    Word::Kind => std::slice::from_ref(&record.kind),
                };
                let is = |own: &String| match (word, compare) {
                    (_, Compare::Matches) => {
                        regex_lite::Regex::new(value).is_ok_and(|wanted| wanted.is_match(own))
                    }
                    // The beginning of an id is enough.
                    (Word::Id | Word::Parents, _) => !value.is_empty() && own.starts_with(value.as_str()),
                    _ => own == value,
                };
                words.iter().any(is) != (*compare == Compare::IsNot)
            }
            Filter::Flag(flag, wanted) => {
                let is = match flag {
                    Flag::InUse => record.is_in_use,
                    Flag::Shared => record.is_shared,
                    Flag::Private => !record.is_shared,
                    Flag::Mutable => record.is_mutable,
                    Flag::Immutable => !record.is_mutable,
                };
                is == *wanted
            }
        }
    }
}

/// All records, the one that was used last first.
pub fn list(home: &Home, filters: &[Filter]) -> Result<Vec<Record>, Error> {
    let Some(store) = look_at_store(home)? else { return Ok(Vec::new()) };
    let mut records = records(&store, &store.layer_nodes()?)?;
    records.retain(|record| filters.iter().all(|filter| filter.holds(record)));
    Ok(records)
}

fn records(store: &Store, layers: &BTreeMap<ChainId, LayerNode>) -> Result<Vec<Record>, Error> {
    let mut groups: BTreeMap<String, Vec<BuildStep>> = BTreeMap::new();
    for step in store.steps()? {
        let name = step.chain.map_or_else(|| step.key.clone(), |chain| chain.hex());
        groups.entry(name).or_default().push(step);
    }
    let made: BTreeSet<ChainId> =
        groups.values().flatten().filter(|step| !step.is_empty).filter_map(|step| step.chain).collect();
    let mut records = Vec::new();
    for (name, steps) in groups {
        records.extend(record(store, layers, &made, &name, &steps)?);
    }
    records.sort_by(|a, b| b.used_ns.cmp(&a.used_ns).then_with(|| a.id.cmp(&b.id)));
    Ok(records)
}

/// The record of steps with one result.
fn record(
    store: &Store,
    layers: &BTreeMap<ChainId, LayerNode>,
    made: &BTreeSet<ChainId>,
    name: &str,
    steps: &[BuildStep],
) -> Result<Option<Record>, Error> {
    // The step that made it; others found it, or add nothing to it.
    let first = steps.iter().min_by_key(|step| (step.is_empty, step.created_ns, step.key.clone()));
    let Some(first) = first else { return Ok(None) };
    // Without one that adds something, the layer is another's.
    let node = first.chain.filter(|_| !first.is_empty).and_then(|chain| layers.get(&chain));
    let mut below = node.and_then(|node| node.parent);
    while let Some(chain) = below.filter(|chain| !made.contains(chain)) {
        below = layers.get(&chain).and_then(|node| node.parent);
    }
    let size_bytes = match (node, store.cache_bytes(&first.key)?) {
        (Some(node), _) => node.bytes,
        (None, Some(bytes)) => bytes,
        (None, None) if first.is_empty => 0,
        (None, None) => first.size_bytes,
    };
    Ok(Some(Record {
        id: id(name),
        parents: below.map(|chain| id(&chain.hex())).into_iter().collect(),
        kind: first.kind.clone(),
        description: first.description.clone(),
        created_ns: steps.iter().map(|step| step.created_ns).min().unwrap_or_default(),
        used_ns: steps.iter().map(|step| step.used_ns).max().unwrap_or_default(),
        uses: steps.iter().map(|step| step.uses).max().unwrap_or_default(),
        size_bytes,
        is_shared: node.is_some_and(|node| node.is_in_image),
        is_in_use: store.is_step_in_use(first)?,
        is_mutable: first.kind == CACHE_KIND,
        keys: steps.iter().map(|step| step.key.clone()).collect(),
        chain: first.chain,
    }))
}

/// A record's id: digits only, as docker's are letters.
fn id(name: &str) -> String {
    let own = name.strip_prefix("cache:").unwrap_or(name);
    let plain: String = own.chars().filter(char::is_ascii_alphanumeric).collect();
    // What tells private caches of one name apart is at the end.
    match own.split_once('/') {
        Some((hash, n)) => format!("{}{n}", &hash[..hash.len().min(ID_DIGITS - n.len().min(ID_DIGITS))]),
        None => plain.chars().take(ID_DIGITS).collect(),
    }
}

/// Removes records that nobody works with, those that weren't used for the longest time first; what others are made from
/// goes after those.
pub fn prune(home: &Home, request: &PruneRequest) -> Result<Pruned, Error> {
    let mut pruned = Pruned::default();
    if look_at_store(home)?.is_none() {
        return Ok(pruned);
    }
    let store = open_store(home)?;
    let mut layers = store.layer_nodes()?;
    let mut left = records(&store, &layers)?;
    // An image has it whatever becomes of the record.
    let own_bytes = |record: &Record| if record.is_shared { 0 } else { record.size_bytes };
    let mut total: u64 = left.iter().map(own_bytes).sum();
    let is_meant = |record: &Record| {
        !record.is_in_use
            && (request.all || !record.is_shared)
            && request.filters.iter().all(|filter| filter.holds(record))
    };
    let keep = request.keep_bytes(total, free_bytes(home));
    loop {
        if keep.is_some_and(|keep| total <= keep) {
            break;
        }
        let parents: BTreeSet<ChainId> = left
            .iter()
            .filter_map(|record| layers.get(&record.chain?))
            .flat_map(|node| std::iter::successors(node.parent, |chain| layers.get(chain)?.parent))
            .collect();
        // The last one is the one not used for the longest time.
        let is_free = |record: &Record| record.chain.is_none_or(|chain| !parents.contains(&chain));
        let Some(at) = left.iter().rposition(|record| is_meant(record) && is_free(record)) else { break };
        let record = left.remove(at);
        total = total.saturating_sub(own_bytes(&record));
        if request.dry_run {
            pruned.reclaimed_bytes += own_bytes(&record);
        } else {
            let keys: Vec<&str> = record.keys.iter().map(String::as_str).collect();
            let removed = store.remove_steps(&keys)?;
            pruned.reclaimed_bytes += removed.bytes;
            for chain in &removed.layers {
                layers.remove(chain);
            }
            if removed.keys.is_empty() {
                // Somebody has begun to work with it.
                continue;
            }
        }
        pruned.removed.push(record);
    }
    if !request.dry_run {
        store.sweep()?;
    }
    Ok(pruned)
}

/// Keeps records from taking more than their part of the disk. For the end of a build; it costs little where they don't.
pub fn keep_within_bound(home: &Home) -> Result<Pruned, Error> {
    let bound = bound(home);
    let Some(store) = look_at_store(home)? else { return Ok(Pruned::default()) };
    // Without measuring caches.
    let steps = store.steps()?;
    let chains: BTreeSet<ChainId> = steps.iter().filter_map(|step| step.chain).collect();
    let layers = store.layer_nodes()?;
    let bytes: u64 = chains.iter().filter_map(|chain| layers.get(chain)).map(|node| node.bytes).sum();
    let caches = steps.iter().any(|step| step.kind == CACHE_KIND);
    drop(store);
    if bytes < bound && !(caches && is_due(home)) {
        return Ok(Pruned::default());
    }
    prune(home, &PruneRequest { max_used_bytes: Some(bound), ..PruneRequest::default() })
}

impl PruneRequest {
    /// Bytes that records may go on taking, of `total`; `None` is none at all. Source: moby/buildkit cache/manager.go,
    /// calculateKeepBytes.
    fn keep_bytes(&self, total: u64, free: u64) -> Option<u64> {
        let excess = self.min_free_bytes.map(|wanted| wanted.saturating_sub(free));
        let by_free = excess.filter(|excess| *excess > 0).map(|excess| total.saturating_sub(excess));
        let most = self.max_used_bytes.into_iter().chain(by_free).min();
        match (most, self.reserved_bytes, self.min_free_bytes) {
            (None, None, None) => None,
            // Enough is free already.
            (None, None, Some(_)) => Some(total),
            (most, reserved, _) => most.max(reserved),
        }
    }
}

fn free_bytes(home: &Home) -> u64 {
    rustix::fs::statvfs(&home.root).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes that records may take.
fn bound(home: &Home) -> u64 {
    let bytes = rustix::fs::statvfs(&home.root).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize));
    (bytes / BOUND_PART).max(BOUND_BYTES_MIN)
}

/// Whether caches were last measured some time ago; notes that they are now.
fn is_due(home: &Home) -> bool {
    const PAUSE: std::time::Duration = std::time::Duration::from_secs(3600);
    let path = home.run.join("caches-measured");
    let measured = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
    if measured.is_ok_and(|time| time.elapsed().is_ok_and(|since| since < PAUSE)) {
        return false;
    }
    let _ = std::fs::write(&path, b"");
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            id: "abcdef".to_owned(),
            parents: vec!["123456".to_owned()],
            kind: "regular".to_owned(),
            description: "[2/3] RUN pip install".to_owned(),
            created_ns: 1,
            used_ns: 10,
            uses: 0,
            size_bytes: 5,
            is_shared: false,
            is_in_use: false,
            is_mutable: false,
            keys: Vec::new(),
            chain: None,
        }
    }

    #[test]
    fn filters_are_dockers() {
        let holds = |text: &str| {
            let until = |text: &str| text.parse().map_err(|_| "no moment".to_owned());
            Filter::parse(text, until).map(|filter| filter.holds(&record()))
        };
        for text in [
            "id=abc",
            "parents=1234",
            "type=regular",
            "type!=source.local",
            "description~=pip",
            "until=11",
            "private",
            "private=true",
            "shared=false",
            "inuse=0",
            "immutable",
        ] {
            assert_eq!(holds(text), Ok(true), "{text}");
        }
        for text in
            ["id=bc", "id!=abc", "type=x", "description~=^pip", "until=10", "mutable", "id=", "shared"]
        {
            assert_eq!(holds(text), Ok(false), "{text}");
        }
        for text in ["colour=red", "until=x", "description~=(", "shared~=x", "shared=maybe", ""] {
            assert!(holds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_of_space_are_buildkits() {
        let keep = |reserved, max, min_free| {
            let (reserved_bytes, max_used_bytes, min_free_bytes) = (reserved, max, min_free);
            let request =
                PruneRequest { reserved_bytes, max_used_bytes, min_free_bytes, ..PruneRequest::default() };
            request.keep_bytes(100, 30)
        };
        assert_eq!(keep(None, None, None), None);
        assert_eq!(keep(Some(10), None, None), Some(10));
        assert_eq!(keep(None, Some(60), None), Some(60));
        assert_eq!(keep(None, None, Some(50)), Some(80));
        assert_eq!(keep(None, None, Some(20)), Some(100));
        assert_eq!(keep(Some(90), Some(60), Some(50)), Some(90));
        assert_eq!(keep(None, Some(60), Some(50)), Some(60));
    }

    #[test]
    fn ids_tell_records_apart() {
        let hash = "a".repeat(64);
        assert_eq!(id(&hash).len(), ID_DIGITS);
        assert_ne!(id(&format!("cache:{hash}/0")), id(&format!("cache:{hash}/1")));
        assert_eq!(id(&format!("cache:{hash}/12")).len(), ID_DIGITS);
    }
}
