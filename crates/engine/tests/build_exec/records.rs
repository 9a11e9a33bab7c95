//! What builds keep.

use crate::fixture::{Fixture, sh};
use build::op::{Exec, Mount, MountKind, Sharing, Tree};
use engine::build::cache::{self, Compare, Filter, Flag, PruneRequest, Word};
use store::{BuildStep, ChainId};

/// Records what a script makes, used at a moment.
fn keep(fixture: &Fixture, exec: &Exec, on: &Tree, name: &str, used_ns: i64) -> Tree {
    let ran = fixture.run_on(exec, std::slice::from_ref(on));
    let Tree::Layers(chain) = ran.tree() else { panic!("no layers: {ran:?}") };
    let step = BuildStep {
        key: name.to_owned(),
        chain: ChainId::parse(&chain),
        content: String::new(),
        diff: None,
        size_bytes: ran.value["made"]["size"].as_u64().unwrap(),
        is_empty: ran.is_empty(),
        kind: "regular".to_owned(),
        description: format!("RUN {name}"),
        detail: "{}".to_owned(),
        created_ns: used_ns,
        used_ns,
        uses: 0,
    };
    fixture.store().put_step(&step).unwrap();
    // It's found by its definition as well.
    fixture.store().put_step(&BuildStep { key: format!("{name}-definition"), ..step }).unwrap();
    ran.tree()
}

pub fn records_are_listed_and_the_oldest_leaves_go_first() {
    let fixture = Fixture::new();
    let cache = Mount {
        target: "/cache".to_owned(),
        kind: MountKind::Cache {
            id: "c".to_owned(),
            sharing: Sharing::Shared,
            from: None,
            mode: 0o755,
            uid: 0,
            gid: 0,
        },
        read_only: false,
    };
    let bytes = |n: u32, to: &str| sh(&format!("head -c {n} /dev/zero > {to}"));
    let lower = keep(&fixture, &bytes(1000, "/srv/lower"), &fixture.base, "lower", 1);
    let upper = keep(&fixture, &bytes(2000, "/srv/upper"), &lower, "upper", 2);
    keep(&fixture, &bytes(4000, "/srv/side"), &fixture.base, "side", 3);
    keep(&fixture, &sh("true"), &upper, "empty", 2);
    keep(&fixture, &Exec { mounts: vec![cache], ..bytes(8000, "/cache/f") }, &fixture.base, "cached", 5);

    let all = cache::list(&fixture.home, &[]).unwrap();
    let shown = |records: &[cache::Record]| -> Vec<(String, u64)> {
        records.iter().map(|record| (record.description.clone(), record.size_bytes)).collect()
    };
    let of = |name: &str| all.iter().find(|record| record.description == format!("RUN {name}")).unwrap();
    assert_eq!(shown(&all).len(), 5, "{all:#?}");
    assert_eq!((of("lower").size_bytes, of("upper").size_bytes, of("side").size_bytes), (1000, 2000, 4000));
    assert_eq!(of("upper").parents, [of("lower").id.clone()]);
    assert_eq!(of("lower").parents, Vec::<String>::new());
    assert_eq!(of("cached").size_bytes, 0, "the base is the image's");
    let by = |filter| shown(&cache::list(&fixture.home, &[filter]).unwrap());
    let caches = by(Filter::Word(Word::Kind, Compare::Is, "exec.cachemount".to_owned()));
    assert_eq!(caches, [("cached mount /cache with id \"c\"".to_owned(), 8000)]);
    assert_eq!(by(Filter::Flag(Flag::Mutable, true)), caches);
    assert_eq!(by(Filter::Until(2)), [("RUN lower".to_owned(), 1000)]);

    let prune = |keep_bytes, dry_run| {
        let request = PruneRequest { max_used_bytes: Some(keep_bytes), dry_run, ..PruneRequest::default() };
        cache::prune(&fixture.home, &request).unwrap()
    };
    // The lower is older, but the upper lies on it. The cache was used just now.
    let planned = prune(12_500, true);
    assert_eq!(shown(&planned.removed), [("RUN upper".to_owned(), 2000), ("RUN lower".to_owned(), 1000)]);
    assert_eq!(planned.reclaimed_bytes, 3000);
    let gone = prune(12_500, false);
    assert_eq!((shown(&gone.removed), gone.reclaimed_bytes), (shown(&planned.removed), 3000));
    assert_eq!(cache::list(&fixture.home, &[]).unwrap().len(), 3);
    assert_eq!(prune(0, false).reclaimed_bytes, 12_000);
    assert_eq!(cache::list(&fixture.home, &[]).unwrap().len(), 0);
    assert_eq!(std::fs::read_dir(fixture.home.root.join("layers")).unwrap().count(), 1);
    cache::keep_within_bound(&fixture.home).unwrap();
}
