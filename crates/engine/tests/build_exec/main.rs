//! Programs that builds run, each by a fork of this process as builds do it: therefore without threads, and with a harness
//! of its own that says to its caller what libtest would. Needs root.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic")]

mod faults;
mod fixture;
mod mounts;
mod records;
mod runs;

/// The tests: `module::name`.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name as fn())),*]
    };
}

const TESTS: &[(&str, fn())] = tests![
    runs::what_a_program_changes_is_a_layer,
    runs::a_program_that_changes_nothing_makes_no_layer,
    runs::output_comes_apart_and_a_status_is_told,
    runs::environment_user_directory_and_host_are_as_asked,
    runs::the_network_is_the_bridge_or_none_or_the_hosts,
    runs::a_missing_program_is_told,
    runs::ids_above_the_first_block_are_there,
    runs::nothing_is_younger_than_the_epoch,
    runs::alone_small_steps_take_few_milliseconds,
    mounts::files_of_names_leave_no_trace,
    mounts::binds_show_a_part_and_forget_writes,
    mounts::contexts_are_roots,
    mounts::caches_are_kept,
    mounts::a_locked_cache_is_waited_for,
    mounts::secrets_are_in_memory_only,
    mounts::files_and_memory_are_mounted,
    mounts::what_is_mounted_above_hides_files_of_names,
    mounts::what_is_missing_is_told,
    records::records_are_listed_and_the_oldest_leaves_go_first,
    faults::a_cancelled_program_ends_at_once,
    faults::a_killed_build_leaves_nothing,
    faults::a_killed_step_leaves_what_the_next_command_removes,
];

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if has("--list") {
        if !has("--ignored") {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return std::process::ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| {
        wanted.is_empty()
            || wanted.iter().any(|text| if has("--exact") { *text == name } else { name.contains(*text) })
    };
    for (name, test) in TESTS.iter().filter(|(name, _)| is_wanted(name)) {
        println!("test {name} ...");
        test();
    }
    std::process::ExitCode::SUCCESS
}
