//! config.json to a plan: any document is planned or refused, and what it becomes when written is planned alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::Plan;
use types::oci::Spec;

fuzz_target!(|bytes: &[u8]| {
    let Ok(spec) = serde_json::from_slice::<Spec>(bytes) else { return };
    let first = Plan::new(&spec);
    let text = serde_json::to_string(&spec).expect("a document that was read can be written");
    let again: Spec = serde_json::from_str(&text).expect("a document that was written can be read");
    assert_eq!(spec, again);
    match (first, Plan::new(&again)) {
        (Ok(first), Ok(second)) => assert_eq!(format!("{first:?}"), format!("{second:?}")),
        (Err(first), Err(second)) => assert_eq!(first.to_string(), second.to_string()),
        (first, second) => panic!("planned once as {first:?}, once as {second:?}"),
    }
});
