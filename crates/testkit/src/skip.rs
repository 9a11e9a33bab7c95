//! Tests that this machine can't do.

use std::io::Write;

/// Ends the test as skipped, visibly: `skip!("no AppArmor")`. The reason takes arguments as `format!` does.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        fn here() {}
        $crate::skip::record(std::any::type_name_of_val(&here), &format!($($reason)*));
        return;
    }};
}

/// Appends the line `SKIP: test: reason` to the file that BERTH_SKIPS names, and to standard error.
///
/// `place` is the path of an item inside the test, of which the last part is dropped.
pub fn record(place: &str, reason: &str) {
    let test = place.rsplit_once("::").map_or(place, |(test, _)| test);
    let line = format!("SKIP: {test}: {reason}\n");
    eprint!("{line}");
    let Some(path) = std::env::var_os("BERTH_SKIPS") else { return };
    // One write of one line: O_APPEND keeps the lines of parallel tests whole.
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        panic!("cannot record a skip in {}: {error}", path.display());
    }
}
