//! House rules that neither the compiler nor clippy knows.

use crate::Result;
use crate::cmd::{self, Cmd};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub const HELP: &str = "
usage: cargo xtask tidy

Checks what review shouldn't have to: the direction of dependencies between
crates, `unsafe` only in crate linux and forbidden by every other, no `todo!`,
a TODO names its issue, no large or binary files, licences of dependencies, and
that docs/STATUS.md names every flag of `berth run`, and docs/oci-conformance.md
only tests that are there. Notes, without failing, such tests in STATUS.md, and
files that may hold two concepts.
";

/// Which crates of ours each crate may know (ARCHITECTURE.md, the map). Tests may know testkit as well.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("linux", &[]),
    ("runtime", &["types", "linux"]),
    ("store", &["types", "linux"]),
    ("registry", &["types", "linux"]),
    ("net", &["types", "linux"]),
    ("build", &["types"]),
    ("compose", &["types"]),
    ("engine", &["types", "linux", "runtime", "store", "registry", "net", "build"]),
    // `berth-runtime` is dispatched before anything else exists: cli reaches past engine.
    ("cli", &["types", "linux", "runtime", "net", "engine", "build", "compose"]),
    ("testkit", &["types", "linux"]),
    ("xtask", &[]),
];

/// Files above this many lines are named, as a question: does it hold two concepts?
const FILE_LINES_ASK: usize = 900;

/// Files above this size don't belong into the repository.
const FILE_BYTES_MAX: u64 = 512 * 1024;

/// Binary files above this size don't either.
const BINARY_BYTES_MAX: u64 = 100 * 1024;

pub fn main(args: &[String]) -> Result {
    if !args.is_empty() {
        return Err(format!("tidy takes no arguments, got {}", args.join(" ")));
    }
    all()
}

/// All checks; the error lists every fault.
pub fn all() -> Result {
    let files = tracked_files()?;
    let mut faults = Vec::new();
    check_directions(&mut faults)?;
    for file in &files {
        check_file(file, &mut faults);
    }
    check_status(&files, &mut faults)?;
    check_licences(&mut faults)?;
    if faults.is_empty() {
        return Ok(());
    }
    faults.iter().for_each(|fault| eprintln!("tidy: {fault}"));
    Err(format!("{} house rules broken, listed above", faults.len()))
}

/// What git would commit: tracked files and new ones that aren't ignored, relative to the root.
fn tracked_files() -> Result<Vec<PathBuf>> {
    // A clone that another user made is as good.
    let list = Cmd::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"])
        .capture()?;
    Ok(list.lines().map(PathBuf::from).filter(|file| cmd::root().join(file).is_file()).collect())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

fn check_directions(faults: &mut Vec<String>) -> Result {
    let known: Vec<&str> = MAY_KNOW.iter().map(|(name, _)| *name).collect();
    let crates = cmd::root().join("crates");
    let entries = std::fs::read_dir(&crates).map_err(|e| format!("cannot list {}: {e}", crates.display()))?;
    let mut manifests: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path().join("Cargo.toml")).collect();
    manifests.push(cmd::root().join("xtask/Cargo.toml"));
    for manifest in manifests.iter().filter(|manifest| manifest.is_file()) {
        let directory =
            manifest.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(name, _)| *name == directory) else {
            faults.push(format!("crate {directory} has no line in xtask/src/tidy.rs, MAY_KNOW"));
            continue;
        };
        for (kind, dependency) in dependencies(&read(manifest)?) {
            let ours = known.contains(&dependency.as_str());
            let for_tests = kind == Section::Dev && dependency == "testkit";
            if ours && !for_tests && !allowed.contains(&dependency.as_str()) {
                faults
                    .push(format!("crate {directory} must not know {dependency} (ARCHITECTURE.md, the map)"));
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Section {
    Normal,
    Dev,
    Other,
}

/// The dependencies that a manifest names, with the section each stands in. Understands the forms this repository
/// uses: one dependency a line, or a table of its own.
fn dependencies(manifest: &str) -> Vec<(Section, String)> {
    let mut section = Section::Other;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let (table, name) = header.rsplit_once("dependencies").unwrap_or(("", ""));
            section = match (header.contains("dependencies"), table.ends_with("dev-")) {
                (false, _) => Section::Other,
                (true, true) => Section::Dev,
                (true, false) => Section::Normal,
            };
            if let Some(name) = name.strip_prefix('.') {
                found.push((section, name.to_owned()));
                section = Section::Other;
            }
            continue;
        }
        let name: String = line.chars().take_while(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
        if section != Section::Other && !name.is_empty() {
            found.push((section, name));
        }
    }
    found
}

fn check_file(file: &Path, faults: &mut Vec<String>) {
    let path = cmd::root().join(file);
    let Ok(bytes) = std::fs::read(&path) else { return };
    let name = file.display();
    let length = bytes.len() as u64;
    let generated = file.file_name().is_some_and(|name| name == "Cargo.lock");
    if length > FILE_BYTES_MAX && !generated {
        faults.push(format!("{name} has {length} bytes: too large to commit"));
    }
    if bytes.contains(&0) && length > BINARY_BYTES_MAX {
        faults.push(format!("{name} is binary and has {length} bytes: make it in a test instead"));
    }
    if file.extension().is_some_and(|extension| extension == "rs") {
        check_source(file, &String::from_utf8_lossy(&bytes), faults);
    }
}

fn check_source(file: &Path, text: &str, faults: &mut Vec<String>) {
    let name = file.display();
    let in_linux = file.starts_with("crates/linux");
    // Below src the compiler holds the line, if the root says so; a file in tests is a root of its own.
    let below_root = file.components().any(|part| part.as_os_str() == "src");
    let is_root = file.ends_with("src/lib.rs") || file.ends_with("src/main.rs");
    if is_root && !in_linux && !text.contains("#![forbid(unsafe_code)]") {
        faults.push(format!("{name} lacks #![forbid(unsafe_code)]"));
    }
    if text.lines().count() > FILE_LINES_ASK {
        eprintln!("tidy: note: {name} has more than {FILE_LINES_ASK} lines: does it hold two concepts?");
    }
    for (number, line) in text.lines().enumerate() {
        let at = format!("{name}:{}", number + 1);
        let code = code_of(line);
        if !in_linux && !below_root && has_word(code, "unsafe") {
            faults.push(format!("{at}: unsafe belongs to crate linux"));
        }
        // Split, so that this file doesn't find itself.
        if code.contains(concat!("todo", "!(")) || code.contains(concat!("unimplemented", "!(")) {
            faults.push(format!("{at}: a hole in the code; return an error that names what isn't supported"));
        }
        let comment = &line[code.len()..];
        if has_word(comment, concat!("TO", "DO")) && !comment.contains('#') {
            faults.push(format!("{at}: a {} names its issue", concat!("TO", "DO")));
        }
    }
}

/// The part of a line before `//`, with string literals left in: good enough for words that no string here holds.
fn code_of(line: &str) -> &str {
    let mut in_string = false;
    let mut previous = ' ';
    let mut characters = line.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' if previous != '\\' && previous != '\'' => in_string = !in_string,
            '/' if !in_string && characters.peek().is_some_and(|(_, next)| *next == '/') => {
                return &line[..at];
            }
            _ => {}
        }
        previous = character;
    }
    line
}

/// Whether `word` stands in `code`, outside string literals and not as a part of a longer word.
fn has_word(code: &str, word: &str) -> bool {
    let mut outside = String::new();
    for (index, piece) in code.split('"').enumerate() {
        if index % 2 == 0 {
            outside.push_str(piece);
        }
        outside.push(' ');
    }
    outside.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

/// The status page names each flag of `berth run`, those refused too. It and the table of OCI's demands name only tests
/// that exist.
fn check_status(files: &[PathBuf], faults: &mut Vec<String>) -> Result {
    let root = cmd::root();
    let status = read(&root.join("docs/STATUS.md"))?;
    let supported = read(&root.join("crates/cli/src/commands/run/spec.rs"))?;
    let refused = read(&root.join("crates/cli/src/unsupported.rs"))?;
    let refused = refused.split("\n];").next().unwrap_or_default();
    let flags =
        ["one(\"", "many(\"", "switch(\"", "flag(\""].iter().flat_map(|call| names_after(&supported, call));
    for flag in flags.chain(names_after(refused, "flag(\"")) {
        let named = |mark: char| status.contains(&format!("`--{flag}{mark}"));
        if !['`', ' ', '='].into_iter().any(named) {
            faults.push(format!("docs/STATUS.md doesn't name --{flag} of berth run"));
        }
    }
    let sources: Vec<String> = files
        .iter()
        .filter(|file| file.starts_with("crates") && file.extension().is_some_and(|e| e == "rs"))
        .filter_map(|file| std::fs::read_to_string(root.join(file)).ok())
        .collect();
    let missing = missing_tests(&status, &sources);
    if !missing.is_empty() {
        eprintln!("tidy: note: docs/STATUS.md names tests that aren't there: {}", missing.join(", "));
    }
    let conformance = read(&root.join("docs/oci-conformance.md"))?;
    for test in missing_tests(&conformance, &sources) {
        faults.push(format!("docs/oci-conformance.md names the test {test}, which isn't there"));
    }
    Ok(())
}

/// The tests that a page's tables name and that no source has.
fn missing_tests<'a>(page: &'a str, sources: &[String]) -> Vec<&'a str> {
    let named: BTreeSet<&str> =
        page.lines().filter(|line| line.starts_with('|')).flat_map(tests_in).collect();
    let is_there = |test: &str| sources.iter().any(|text| text.contains(&format!("fn {test}(")));
    named.into_iter().filter(|test| !is_there(test)).collect()
}

/// The words between each `call` and the next quotation mark.
fn names_after<'a>(text: &'a str, call: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(call).skip(1).filter_map(|rest| rest.split('"').next())
}

/// Names of tests in a line of a table: code of three words or more, joined by underscores.
fn tests_in(line: &str) -> impl Iterator<Item = &str> {
    let of_test = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let code = line.split('`').skip(1).step_by(2);
    code.filter(move |word| word.matches('_').count() >= 2 && word.chars().all(of_test))
}

/// Every dependency's licence must offer an alternative that deny.toml allows.
fn check_licences(faults: &mut Vec<String>) -> Result {
    let policy = read(&cmd::root().join("deny.toml"))?;
    let allowed = allowed_licences(&policy);
    let tree = cmd::cargo()
        .args(["tree", "--workspace", "--edges", "normal,build", "--target", cmd::MUSL])
        .args(["--prefix", "none", "--format", "{p}|{l}"])
        .capture()?;
    let mut lines: Vec<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    lines.sort_unstable();
    lines.dedup();
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        let (package, licence) = line.split_once('|').unwrap_or((line, ""));
        if !licence_allowed(licence, &allowed) {
            faults.push(format!("{package} has licence '{licence}', which deny.toml doesn't allow"));
        }
    }
    Ok(())
}

/// The strings of the list `allow` in deny.toml's table `licenses`.
fn allowed_licences(policy: &str) -> Vec<String> {
    policy
        .lines()
        .skip_while(|line| line.trim() != "[licenses]")
        .skip_while(|line| !line.starts_with("allow"))
        .take_while(|line| line.trim() != "]")
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect()
}

/// Evaluates a licence expression of `OR` and `AND` without nested parentheses, in the old spelling with `/` as well.
fn licence_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    // With parentheses only around alternatives, as in `(MIT OR Apache-2.0) AND Unicode-3.0`, AND binds last.
    let (outer, inner) = if expression.contains('(') { (" AND ", " OR ") } else { (" OR ", " AND ") };
    let holds = |term: &str| allowed.iter().any(|name| name == term.trim().trim_matches(['(', ')']));
    if outer == " AND " {
        expression.split(outer).all(|part| part.split(inner).any(holds))
    } else {
        expression.split(outer).any(|part| part.split(inner).all(holds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_in_code_only() {
        assert!(has_word(code_of("let x = unsafe { f() };"), "unsafe"));
        assert!(!has_word(code_of("// unsafe is not here"), "unsafe"));
        assert!(!has_word(code_of("#![forbid(unsafe_code)]"), "unsafe"));
        assert!(!has_word(code_of(r#"print("unsafe // x")"#), "unsafe"));
        assert_eq!(code_of(r#"let url = "http://x"; // why"#), r#"let url = "http://x"; "#);
    }

    #[test]
    fn dependencies_are_read_with_their_section() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\ntypes.workspace = true\nlibc = \"1\"\n\n\
                        [dev-dependencies]\ntestkit = { path = \"..\" }\n[dependencies.store]\npath = \"..\"\n[lints]\na = 1\n";
        let found = dependencies(manifest);
        let expected = [
            (Section::Normal, "types"),
            (Section::Normal, "libc"),
            (Section::Dev, "testkit"),
            (Section::Normal, "store"),
        ];
        assert_eq!(found, expected.map(|(section, name)| (section, name.to_owned())));
    }

    #[test]
    fn tests_are_found_in_the_status_page() {
        let line = "| `--rm`, `x_y` | tested | `rm_removes_it`, `SCMP_ACT_NOTIFY_X`; not in_the_code |";
        assert_eq!(tests_in(line).collect::<Vec<_>>(), ["rm_removes_it"]);
        let sources = ["fn rm_removes_it() {}".to_owned()];
        assert_eq!(missing_tests(line, &sources), [""; 0]);
        assert_eq!(missing_tests("| `it_is_gone` |\n`not_in_table_x`", &sources), ["it_is_gone"]);
        assert_eq!(names_after("one(\"a\", \"b\"), one(\"c\")", "one(\"").collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn licence_expressions_offer_an_allowed_alternative_or_fail() {
        let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        let check =
            |expression, holds| assert_eq!(licence_allowed(expression, &allowed), holds, "{expression}");
        check("MIT", true);
        check("GPL-3.0 OR MIT", true);
        check("Apache-2.0/MIT", true);
        check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
        check("(GPL-3.0 OR Apache-2.0) AND Unicode-3.0", false);
        check("MIT AND GPL-3.0", false);
        check("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true);
        check("", false);
    }
}
