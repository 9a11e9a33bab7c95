//! What docker compose makes of the cases in crates/compose/tests/corpus (see the README there). It needs no dockerd.

use std::path::Path;

use crate::{Result, cmd, peers};

/// Words that stand before `config`, with whether a value follows.
const GLOBAL: [(&str, bool); 6] = [
    ("-f", true),
    ("-p", true),
    ("--profile", true),
    ("--env-file", true),
    ("--project-directory", true),
    ("--all-resources", false),
];

/// Runs every case below `/corpus`. Of YAML and hashes, which would say all of it again, only digests are kept.
const RECORD: &str = r#"
set -eu
mkdir -p /corpus
mount --bind "$1" /corpus
compose=/usr/libexec/docker/cli-plugins/docker-compose
for dir in /corpus/*/; do
    cd "$dir"
    mv .case ../case
    run() { # before, after: docker compose, with the case's variables alone
        xargs -a ../case/env -d '\n' env -i PATH=/usr/bin:/bin HOME=/root sh -c '
            before=$1 after=$2 compose=$3; shift 3
            env "$@" xargs -a "$before" -d "\n" sh -c "
                after=\$1 compose=\$2; shift 2
                exec xargs -a \$after -d \"\\n\" \$compose \"\$@\" config" sh "$after" "$compose"' sh "$1" "$2" "$compose"
    }
    printf '%s\n' --format json | cat - ../case/after > ../case/json.args
    printf '%s\n' --format yaml | cat - ../case/after > ../case/yaml.args
    printf '%s\n' --hash '*' | cat - ../case/after > ../case/hash.args
    if run ../case/before ../case/json.args > ../case/out 2> ../case/error; then
        run ../case/before ../case/yaml.args 2> /dev/null | sha256sum | cut -c1-16 > ../case/yaml
        run ../case/before ../case/hash.args 2> ../case/hash.error | sha256sum | cut -c1-16 > ../case/hash
    else
        touch ../case/failed
    fi
    mv ../case .case
done
"#;

/// Records the answers to all cases beside them.
pub fn record() -> Result {
    let root = peers::ensure()?;
    let corpus = cmd::root().join("crates/compose/tests/corpus");
    let dir = cmd::target_dir().join("goldens/compose");
    for entry in std::fs::read_dir(&corpus).map_err(|e| format!("cannot read {}: {e}", corpus.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let _ = std::fs::remove_dir_all(&dir);
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let names = unpack(&text, &dir)?;
        peers::enter(&root, &dir).args(["bash", "-c", RECORD, "record"]).arg(&dir).run()?;
        let answers: Vec<String> = names.iter().map(|name| answer(name, &dir.join(name))).collect();
        super::write(
            &format!("crates/compose/tests/corpus/{}.json", path.file_stem().unwrap_or_default().display()),
            &format!("{{\n{}\n}}\n", answers.join(",\n")),
        )?;
    }
    std::fs::remove_dir_all(&dir).map_err(|e| format!("cannot remove {}: {e}", dir.display()))
}

/// Writes the cases of a file into directories of their own; the names are returned.
fn unpack(text: &str, dir: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let mut file = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            names.push(name.to_owned());
            "compose.yaml".clone_into(&mut file);
            for list in ["env", "before", "after"] {
                append(&dir.join(name).join(".case").join(list), "")?;
            }
            continue;
        }
        let Some(name) = names.last() else { continue };
        let case = dir.join(name);
        if let Some(words) = line.strip_prefix("#args ") {
            let mut words = words.split_whitespace();
            while let Some(word) = words.next() {
                let global = GLOBAL.iter().find(|(name, _)| *name == word);
                let list = case.join(".case").join(if global.is_some() { "before" } else { "after" });
                append(&list, &format!("{word}\n"))?;
                if let Some((_, true)) = global {
                    append(&list, &format!("{}\n", words.next().unwrap_or_default()))?;
                }
            }
        } else if let Some(words) = line.strip_prefix("#env ") {
            for word in words.split_whitespace() {
                append(&case.join(".case/env"), &format!("{word}\n"))?;
            }
        } else if line.starts_with("#differs ") {
        } else if let Some(name) = line.strip_prefix("#file ") {
            name.clone_into(&mut file);
            append(&case.join(name), "")?;
        } else {
            append(&case.join(&file), &format!("{line}\n"))?;
        }
    }
    Ok(names)
}

fn append(path: &Path, text: &str) -> Result {
    use std::io::Write as _;
    let fault = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(fault)?;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(fault)?;
    file.write_all(text.as_bytes()).map_err(fault)
}

/// One case's answer, as an entry of a JSON document.
fn answer(name: &str, dir: &Path) -> String {
    let read = |file: &str| {
        let bytes = std::fs::read(dir.join(".case").join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    if dir.join(".case/failed").exists() {
        // Warnings come first.
        let error =
            read("error").lines().filter(|line| !line.starts_with("time=")).collect::<Vec<_>>().join("\n");
        return format!("{}: {{\"error\": {}}}", string(name), string(&error));
    }
    let out = read("out");
    if out.starts_with('{') {
        let (yaml, hash) = (read("yaml"), read("hash"));
        return format!(
            "{}: {{\"yaml\": {}, \"hash\": {}, \"model\": {}}}",
            string(name),
            string(yaml.trim()),
            string(hash.trim()),
            out.lines().map(str::trim_start).collect::<Vec<_>>().join("\n"),
        );
    }
    let mut lines: Vec<String> = out.lines().map(|line| string(line.trim_end())).collect();
    lines.sort();
    format!("{}: {{\"text\": [{}]}}", string(name), lines.join(", "))
}

/// A JSON string.
fn string(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}
