//! `berth import`.

use engine::request::{ImportFrom, ImportRequest, ImportSource};

use super::print;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] FILE|URL|- [NAME]",
    about: "Make an image of a tar of a root file system",
    flags: &[(
        "Options",
        &[
            Flag::many("change", "list", "Apply a Dockerfile instruction to the image").short('c'),
            Flag::one("message", "string", "Remark in the history").short('m'),
            Flag::one("platform", "string", "Machine that the image is for, as OS/ARCH[/VARIANT]"),
        ],
    )],
    unsupported: &[],
    args: (1, 2),
    trailing: false,
};

/// Makes the image and prints its id.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let args = parsed.args();
    let name = args.get(1).cloned();
    if let Some(name) = name.as_ref().filter(|name| name.is_empty() || name.starts_with('@')) {
        return Err(parsed.wrong(format!("{name:?} can't name an image")));
    }
    let given = |flag| parsed.one(flag).filter(|text| !text.is_empty()).map(str::to_owned);
    let request = ImportRequest {
        source: match args[0].as_str() {
            "-" => ImportFrom::Here(ImportSource::Stdin),
            url if url.starts_with("http://") || url.starts_with("https://") => {
                ImportFrom::Url(url.to_owned())
            }
            path => ImportFrom::Here(ImportSource::File(path.into())),
        },
        name,
        changes: parsed.many("change").into_iter().map(str::to_owned).collect(),
        message: given("message"),
        platform: given("platform"),
    };
    print(&(backend::import(&request)? + "\n"))?;
    Ok(0)
}
