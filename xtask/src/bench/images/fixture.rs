//! The image that is measured: six layers of real files of this machine, in a registry's storage and as docker's archive.
//! Made once and kept in the cache.

use crate::bench::registry::Registry;
use crate::cmd::{self, Cmd};
use crate::{Result, peers};
use std::path::{Path, PathBuf};

/// Bytes of files in all layers.
const BYTES: u64 = 605_000_000;
const LAYERS: u64 = 6;
/// Larger files would make a layer of one file.
const FILE_BYTES_MAX: u64 = 20_000_000;
/// Smallest blob that is a layer, not a document.
const LAYER_BYTES_MIN: u64 = 1_000_000;

/// What is measured with.
pub struct Fixture {
    dir: PathBuf,
    /// Of the registry that has `bench:gz` and `bench:zstd`.
    pub storage: PathBuf,
    /// Docker's archive of the image.
    pub archive: PathBuf,
    /// The layers as gzip.
    pub gzip_layers: Vec<PathBuf>,
}

impl Fixture {
    /// Sizes, for the report.
    pub fn about(&self) -> String {
        let bytes = |paths: &[PathBuf]| -> u64 {
            paths.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|data| data.len()).sum()
        };
        let (packed, plain) = (bytes(&self.gzip_layers), bytes(std::slice::from_ref(&self.archive)));
        format!("{LAYERS} layers, {} MB as gzip, {} MB unpacked.\n", packed / 1_000_000, plain / 1_000_000)
    }

    /// The archive below the target directory, which the peers see as well.
    pub fn visible_archive(&self) -> Result<PathBuf> {
        let path = cmd::target_dir().join("bench/image.tar");
        let _ = std::fs::remove_file(&path);
        std::fs::hard_link(&self.archive, &path)
            .or_else(|_| std::fs::copy(&self.archive, &path).map(drop))
            .map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(path)
    }

    /// An archive of `count` images that differ in their configuration only.
    pub fn archive_of_many(&self, count: usize) -> Result<PathBuf> {
        let path = self.dir.join(format!("{count}.tar"));
        if path.exists() {
            return Ok(path);
        }
        let dir = self.dir.join("many");
        let _ = std::fs::remove_dir_all(&dir);
        make_dir(&dir)?;
        Cmd::new("tar").args(["-C", "/", "-cf"]).arg(dir.join("layer.tar")).arg("etc/hostname").run()?;
        let diff = sha256(&dir.join("layer.tar"))?;
        let mut entries = Vec::new();
        for number in 0..count {
            write(
                &dir.join(format!("{number}.json")),
                &config(std::slice::from_ref(&diff), &format!("image {number}")),
            )?;
            entries.push(format!(
                r#"{{"Config":"{number}.json","RepoTags":["many-{number}:latest"],"Layers":["layer.tar"]}}"#
            ));
        }
        write(&dir.join("manifest.json"), &format!("[{}]", entries.join(",")))?;
        pack(&dir, &path)?;
        let _ = std::fs::remove_dir_all(&dir);
        Ok(path)
    }
}

/// Makes the fixture if the cache hasn't it. `root` is the peers', whose skopeo fills the registry.
pub fn prepare(root: &Path) -> Result<Fixture> {
    let dir = cmd::cache_dir()?.join("bench-images-1");
    let (storage, archive) = (dir.join("storage"), dir.join("image.tar"));
    if !archive.exists() {
        cmd::heading(&format!("making {}", dir.display()));
        let _ = std::fs::remove_dir_all(&dir);
        make_dir(&dir)?;
        let made = make_archive(&dir.join("new"))?;
        let registry = Registry::start(&storage)?;
        for (tag, format) in [("gz", "gzip"), ("zstd", "zstd")] {
            peers::enter(root, &dir)
                .args([
                    "skopeo",
                    "copy",
                    "--quiet",
                    "--dest-tls-verify=false",
                    "--dest-compress-format",
                    format,
                ])
                .arg(format!("docker-archive:{}", made.display()))
                .arg(format!("docker://{}/bench:{tag}", registry.host))
                .quiet()
                .run()?;
        }
        drop(registry);
        std::fs::rename(&made, &archive).map_err(|e| format!("cannot move {}: {e}", made.display()))?;
        let _ = std::fs::remove_dir_all(dir.join("new"));
    }
    let registry = Registry::start(&storage)?;
    let is_gzip = |path: &PathBuf| {
        use std::io::Read;
        let mut magic = [0; 2];
        std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
            && magic == [0x1f, 0x8b]
    };
    let gzip_layers = registry.large_blobs(LAYER_BYTES_MIN).into_iter().filter(is_gzip).collect();
    Ok(Fixture { dir, storage, archive, gzip_layers })
}

fn make_archive(dir: &Path) -> Result<PathBuf> {
    make_dir(dir)?;
    let files = Cmd::new("find")
        .args(["/usr", "-xdev", "-type", "f", "-readable", "-size"])
        .arg(format!("-{}c", FILE_BYTES_MAX))
        .args(["-printf", "%s %p\\n"])
        .capture()?;
    let mut files: Vec<(u64, &str)> = files
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(bytes, path)| Some((bytes.parse().ok()?, path.strip_prefix('/')?)))
        .collect();
    files.sort_by_key(|(_, path)| *path);
    let all: u64 = files.iter().map(|(bytes, _)| bytes).sum();
    if all < BYTES {
        return Err(format!("/usr has only {} MB of files for the image", all / 1_000_000));
    }
    // Spread over all of /usr: each layer gets its share of every sort of file.
    let kept = files.iter().scan(0u64, |sum, (bytes, path)| {
        let before = *sum * BYTES / all;
        *sum += bytes;
        Some((*sum * BYTES / all != before, *bytes, *path))
    });
    let mut layers = vec![String::new(); LAYERS as usize];
    let mut taken = 0;
    for (wanted, bytes, path) in kept {
        if wanted && taken < BYTES && !path.contains('\n') {
            layers[(taken * LAYERS / BYTES) as usize].push_str(&format!("{path}\n"));
            taken += bytes;
        }
    }
    let mut diffs = Vec::new();
    let mut names = Vec::new();
    for (number, list) in layers.iter().enumerate() {
        let (list_path, name) = (dir.join("list"), format!("{number}.tar"));
        write(&list_path, list)?;
        let tar = Cmd::new("tar").args(["--owner=0", "--group=0", "--numeric-owner", "-C", "/", "-cf"]);
        tar.arg(dir.join(&name)).arg("-T").arg(&list_path).quiet().run()?;
        if number == 0 {
            add_programs(dir, &name)?;
        }
        diffs.push(sha256(&dir.join(&name))?);
        names.push(format!("{name:?}"));
        std::fs::remove_file(list_path).map_err(|e| format!("cannot remove the list of files: {e}"))?;
    }
    write(&dir.join("config.json"), &config(&diffs, "bench"))?;
    let layers = names.join(",");
    write(
        &dir.join("manifest.json"),
        &format!(r#"[{{"Config":"config.json","RepoTags":["bench:latest"],"Layers":[{layers}]}}]"#),
    )?;
    let archive = dir.with_extension("tar");
    pack(dir, &archive)?;
    Ok(archive)
}

/// Static programs, so that the image runs.
fn add_programs(dir: &Path, layer: &str) -> Result {
    let bin = dir.join("programs/bin");
    make_dir(&bin)?;
    for name in ["sh", "true", "sleep"] {
        std::fs::copy("/usr/bin/busybox", bin.join(name)).map_err(|e| format!("cannot copy busybox: {e}"))?;
    }
    Cmd::new("tar").arg("-C").arg(dir.join("programs")).arg("-rf").arg(dir.join(layer)).arg("bin").run()?;
    std::fs::remove_dir_all(dir.join("programs")).map_err(|e| format!("cannot remove the programs: {e}"))
}

fn config(diffs: &[String], comment: &str) -> String {
    let diffs: Vec<String> = diffs.iter().map(|diff| format!("\"sha256:{diff}\"")).collect();
    format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z","config":{{"Env":["PATH=/bin:/usr/bin"],"Cmd":["true"]}},"history":[{{"created_by":"{comment}"}}],"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diffs.join(",")
    )
}

fn pack(dir: &Path, archive: &Path) -> Result {
    Cmd::new("tar").arg("-C").arg(dir).arg("-cf").arg(archive).arg(".").run()
}

fn sha256(path: &Path) -> Result<String> {
    let line = Cmd::new("sha256sum").arg(path).capture()?;
    line.split_whitespace().next().map(str::to_owned).ok_or(format!("odd answer of sha256sum: {line}"))
}

fn make_dir(dir: &Path) -> Result {
    std::fs::create_dir_all(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))
}

fn write(path: &Path, text: &str) -> Result {
    std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
