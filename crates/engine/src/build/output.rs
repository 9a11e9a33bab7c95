//! What becomes of a build's result (`--output`): files, an archive of files, an archive or a layout of the image; an image of
//! the store, perhaps pushed, is [`super::build`]'s. Source of the grammar: docker buildx, `ParseExports`.

use super::copy::tree_of;
use super::fault;
use crate::images::{open_store, save};
use crate::{Error, Home};
use build::op;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use store::listing::scan::everything;
use store::listing::{Reading, Seen};
use store::tar::Reader;
use store::transfer::{Attributes, Target};
use store::unpack::{Owners, unpack_over};
use store::{Limits, WorkDir, pack};
use types::kind::Kind;
use types::reference::Reference;

/// One output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The result's files, into a directory.
    Local {
        /// Which; made if it's missing.
        dest: PathBuf,
    },
    /// The result's files, as an archive.
    Tar {
        /// Where to.
        dest: Dest,
    },
    /// The image, as an archive or a directory.
    Archive {
        /// With docker's files or without.
        format: save::Format,
        /// Names that it has there; those of the build if there are none.
        names: Vec<String>,
        /// Where to.
        dest: Dest,
        /// Whether it's a directory (`tar=false`).
        is_directory: bool,
    },
    /// An image of the store.
    Image {
        /// Names; those of the build if there are none.
        names: Vec<String>,
        /// Whether it's pushed as well.
        pushes: bool,
    },
    /// Nothing but what the cache keeps.
    Nothing,
}

/// Where an archive goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dest {
    /// Standard output.
    Stdout,
    /// A file, or a directory.
    Path(PathBuf),
}

/// Attributes that change nothing here: what they ask for is so, or concerns what isn't made.
const WITHOUT_EFFECT: [&str; 6] =
    ["oci-mediatypes", "unpack", "store", "name-canonical", "force-compression", "rewrite-timestamp"];

impl Output {
    /// Reads `--output`. Errors: [`Error::Invalid`], in buildx's words where it has some; [`Error::Copy`] for what isn't supported.
    pub fn parse(text: &str) -> Result<Output, Error> {
        let invalid = |why: String| Error::invalid(format!("--output {text}"), why);
        let fields = csv(text).ok_or_else(|| invalid("a quote isn't closed".to_owned()))?;
        if let [only] = fields.as_slice()
            && only == text
            && !only.starts_with("type=")
        {
            return Ok(match only.as_str() {
                "-" => Output::Tar { dest: Dest::Stdout },
                directory => Output::Local { dest: directory.into() },
            });
        }
        let mut attributes = BTreeMap::new();
        for field in &fields {
            let (key, value) =
                field.split_once('=').ok_or_else(|| invalid(format!("invalid value {field}")))?;
            attributes.insert(key.trim().to_ascii_lowercase(), value.to_owned());
        }
        let mut take = |key: &str| attributes.remove(key);
        let kind = take("type").ok_or_else(|| invalid("type is required for output".to_owned()))?;
        let names = take("name").map_or_else(Vec::new, |names| names.split(',').map(str::to_owned).collect());
        let dest = take("dest");
        let flag = |value: Option<String>, otherwise: bool| match value.as_deref() {
            None => Ok(otherwise),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(invalid(format!("{other} is neither true nor false"))),
        };
        let is_directory = !flag(take("tar"), true)?;
        let pushes = flag(take("push"), kind == "registry")?;
        if let Some(compression) = take("compression").filter(|name| name != "uncompressed") {
            return Err(unsupported(&format!("compression={compression}"), "archives have plain layers"));
        }
        if let Some(key) = attributes.keys().find(|key| !WITHOUT_EFFECT.contains(&key.as_str())) {
            return Err(unsupported(key, "leave it out"));
        }
        let place = |dest: Option<String>| match dest.as_deref() {
            None | Some("" | "-") => Dest::Stdout,
            Some(path) => Dest::Path(path.into()),
        };
        match kind.as_str() {
            "local" => {
                let dest = dest.filter(|dest| !dest.is_empty());
                let dest = dest.ok_or_else(|| invalid("dest is required for local exporter".to_owned()))?;
                Ok(Output::Local { dest: dest.into() })
            }
            "tar" => Ok(Output::Tar { dest: place(dest) }),
            "docker" if dest.is_none() => Ok(Output::Image { names, pushes }),
            "oci" | "docker" => {
                let format = if kind == "oci" { save::Format::Oci } else { save::Format::Docker };
                if is_directory && dest.as_deref().is_none_or(|dest| dest.is_empty() || dest == "-") {
                    return Err(invalid(format!("dest is required for {kind} exporter")));
                }
                Ok(Output::Archive { format, names, dest: place(dest), is_directory })
            }
            "image" | "registry" => Ok(Output::Image { names, pushes }),
            "cacheonly" => Ok(Output::Nothing),
            other => Err(unsupported(
                &format!("type={other}"),
                "there are local, tar, oci, docker, image, registry",
            )),
        }
    }

    /// Whether there has to be an image.
    pub fn wants_image(&self) -> bool {
        matches!(self, Output::Archive { .. } | Output::Image { .. })
    }
}

fn unsupported(what: &str, hint: &str) -> Error {
    fault(Kind::Unsupported, format!("--output: {what} is not supported"), Some(hint.to_owned()))
}

/// The fields of a line of comma-separated values.
fn csv(text: &str) -> Option<Vec<String>> {
    let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if is_quoted => is_quoted = false,
            '"' if field.is_empty() => is_quoted = true,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    (!is_quoted).then_some(fields)
}

/// Writes a result's files into a directory, which is made if it's missing, with `epoch` as their time if there is one. What is
/// there is overwritten, and stays if the result hasn't it. Files become the caller's, as with docker.
///
/// Errors: [`Error::System`], those of copies.
pub fn local(home: &Home, tree: &op::Tree, dest: &Path, epoch: Option<i64>) -> Result<(), Error> {
    let made = std::fs::create_dir_all(dest);
    made.map_err(|error| Error::io("make", dest.display(), &error))?;
    let Some(held) = tree_of(home, tree)? else { return Ok(()) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(dest, flags, Mode::empty());
    let root = root.map_err(|errno| Error::system("open", dest.display(), errno))?;
    let reading = Reading { owners: false, contents: false, threads: 1 };
    let listing = held.tree().scan(b"", &everything, &reading, &mut Seen::nothing())?;
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let attributes = Attributes { owner: Some(owner), mode: None, mtime: epoch };
    Ok(Target::new(root).copy((held.tree(), b""), &listing, b"", &attributes)?)
}

/// Writes the archive of a result's files, with `epoch` as their time if there is one.
///
/// Errors: [`Error::Store`].
pub fn tar(home: &Home, tree: &op::Tree, out: &mut dyn Write, epoch: Option<i64>) -> Result<(), Error> {
    let written = match tree_of(home, tree)? {
        // The archive of nothing.
        None => store::tar::Writer::new(out).finish().map(drop).map_err(|error| error.to_string()),
        Some(held) => {
            let root = held.tree().root();
            match epoch {
                Some(seconds) => pack::write_tree_at(root, seconds, out)?,
                None => pack::write_tree(root, out)?,
            };
            Ok(())
        }
    };
    written.map_err(|why| fault(Kind::System, why, None))
}

/// Writes an image of the store, under these names, as an archive.
///
/// Errors: those of [`save::save`].
pub fn archive(
    home: &Home,
    image: &str,
    names: &[String],
    format: save::Format,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let store = open_store(home)?;
    let found = store.resolve_image(image)?;
    let parse = |name: &String| crate::images::reference(name);
    let names: Vec<Reference> = names.iter().map(parse).collect::<Result<_, _>>()?;
    save::write(&store, vec![(found, names)], format, out)
}

/// [`archive`] as a directory, which is made if it's missing: an OCI image layout.
///
/// Errors: as [`archive`].
pub fn layout(
    home: &Home,
    image: &str,
    names: &[String],
    format: save::Format,
    dest: &Path,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::io("write into", dest.display(), &error);
    std::fs::create_dir_all(dest).map_err(failed)?;
    let work = WorkDir::create(&store::Paths::of(&home.root).tmp())?;
    let path = store::Paths::of(&home.root).tmp().join(work.name()).join("archive");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
    let mut out = BufWriter::new(&mut file);
    archive(home, image, names, format, &mut out)?;
    out.flush().map_err(failed)?;
    drop(out);
    file.rewind().map_err(failed)?;
    let root = rustix::fs::open(dest, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(|errno| Error::system("open", dest.display(), errno))?;
    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, file));
    unpack_over(&mut reader, root.as_fd(), Owners::Archived, &Limits::default())?;
    Ok(())
}

/// Opens what an archive is written to, a path being one from `here`.
///
/// Errors: [`Error::Invalid`] for a terminal, in buildx's words; [`Error::System`].
pub fn open_dest(dest: &Dest, kind: &str, here: &Path) -> Result<Box<dyn Write>, Error> {
    match dest {
        Dest::Stdout => {
            let out = std::io::stdout();
            if std::io::IsTerminal::is_terminal(&out) {
                let why = format!("dest file is required for {kind} exporter. refusing to write to console");
                return Err(Error::invalid("--output", why));
            }
            Ok(Box::new(BufWriter::with_capacity(256 << 10, out)))
        }
        Dest::Path(path) => {
            let path = here.join(path);
            let file = File::create(&path).map_err(|error| Error::io("write", path.display(), &error))?;
            Ok(Box::new(BufWriter::with_capacity(256 << 10, file)))
        }
    }
}

#[cfg(test)]
mod tests;
