//! `berth build`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use build::explain::Report;
use build::lower::Options;
use build::op::Network;
use engine::build::output::Output;
use engine::build::portable::{CacheFrom, CacheTo};
use engine::build::{BuildRequest, SecretSource};

use types::image::Platform;
use types::image::media::Compression;

use super::{print, push};
use crate::build_shown::{self, Shown};
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::{env, network, number, ulimit};
use crate::{backend, suggest, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] PATH | URL | -",
    about: "Make an image from a Dockerfile",
    flags: &[
        (
            "What is built",
            &[
                Flag::one(
                    "file",
                    "string",
                    "Name of the Dockerfile (default: PATH/Dockerfile; - reads standard input)",
                )
                .short('f'),
                Flag::many("build-arg", "stringArray", "Value of an ARG, NAME=VALUE, or NAME to pass it on"),
                Flag::many(
                    "build-context",
                    "stringArray",
                    "Further build context, NAME=PATH or NAME=docker-image://IMAGE",
                ),
                Flag::one("target", "string", "Stage to build (default: the last one)"),
                Flag::many("platform", "stringArray", "Machine that it's for, such as linux/arm64"),
                Flag::many("secret", "stringArray", "Secret, id=NAME,src=FILE or id=NAME,env=VARIABLE"),
                Flag::many("allow", "stringArray", "Allow network.host or security.insecure to RUN"),
            ],
        ),
        (
            "The result",
            &[
                Flag::many("tag", "stringArray", "Name of the image").short('t'),
                Flag::many("label", "stringArray", "Label of the image, KEY=VALUE"),
                Flag::many(
                    "output",
                    "stringArray",
                    "What becomes of it: a directory, - for an archive, type=oci|docker|tar|local,dest=PATH",
                )
                .short('o'),
                Flag::one("iidfile", "string", "File that gets the image's id"),
                Flag::one("metadata-file", "string", "File that gets what is known of the result, as JSON"),
                Flag::switch("load", "Has no effect: images are here anyway"),
                Flag::switch("push", "Push the image to its registries"),
            ],
        ),
        (
            "How it's built",
            &[
                Flag::switch("no-cache", "Run every step"),
                Flag::many("cache-from", "stringArray", "Cache to use as well, type=local,src=DIRECTORY"),
                Flag::many(
                    "cache-to",
                    "stringArray",
                    "Directory to keep the cache in, type=local,dest=DIRECTORY[,mode=max]",
                ),
                Flag::many("no-cache-filter", "stringArray", "Run every step of these stages"),
                Flag::switch("pull", "Ask registries for newer base images"),
                Flag::many("add-host", "strings", "Name in /etc/hosts of RUN, NAME:IP"),
                Flag::one("network", "string", "Network of RUN: default, none, host"),
                Flag::one("shm-size", "bytes", "Size of /dev/shm of RUN"),
                Flag::many("ulimit", "ulimit", "Limit of RUN, NAME=SOFT[:HARD]"),
                Flag::one("cgroup-parent", "string", "Control group above those of RUN"),
                Flag::one("builder", "string", "Has no effect: there is one, this host"),
            ],
        ),
        (
            "What is shown",
            &[
                Flag::maybe(
                    "explain",
                    "string",
                    "now",
                    "Show why each step ran; =last does so for the build before, =json as JSON",
                ),
                Flag::switch("timings", "Show which steps the end waited for"),
                Flag::switch("check", "Check the Dockerfile, and build nothing"),
                Flag::one("call", "string", "build, or check; check,format=json"),
                Flag::one("progress", "string", "auto, plain, tty, rawjson, quiet"),
                Flag::switch("quiet", "Show the image's id only").short('q'),
                Flag::switch("debug", "Has no effect").short('D'),
            ],
        ),
    ],
    unsupported: unsupported::BUILD,
    args: (0, 1),
    trailing: false,
};

/// Builds.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let explain = parsed.one("explain").unwrap_or_default();
    if !["", "now", "json", "last", "last,json"].contains(&explain) {
        return Err(parsed.bad("explain", explain, BadValue::new("neither last nor json")));
    }
    if explain.starts_with("last") {
        return last(parsed, explain.ends_with("json"));
    }
    if parsed.args().is_empty() {
        let usage = format!("usage: {} {}", parsed.command, SPEC.usage);
        return Err(parsed.wrong("requires 1 argument").hint(usage).code(1));
    }
    let request = request(parsed)?;
    let call = if parsed.switch("check") { "check" } else { parsed.one("call").unwrap_or("build") };
    let (call, options) = call.split_once(',').unwrap_or((call, ""));
    match call {
        "" | "build" => {}
        "check" | "lint" => return check(&request, options.split(',').any(|option| option == "format=json")),
        _ => {
            let bad = BadValue::new("neither build nor check")
                .did_you_mean(suggest::nearest(call, ["build", "check"]));
            return Err(parsed.bad("call", call, bad));
        }
    }
    let pushes = parsed.switch("push") || request.pushes();
    if pushes && request.names().is_empty() {
        return Err(parsed
            .wrong("tag is needed when pushing to registry")
            .hint("give the image a name with -t"));
    }
    let is_quiet = parsed.switch("quiet");
    let wanted = match parsed.one("progress") {
        Some(given) => given.to_owned(),
        None => std::env::var("BUILDKIT_PROGRESS").unwrap_or_default(),
    };
    let mut shown = match is_quiet {
        true => Shown::new("quiet"),
        false => Shown::new(&wanted),
    }
    .map_err(|bad| parsed.bad("progress", &wanted, bad))?;
    let built = backend::build(&request, &mut |event| shown.tell(event));
    shown.end();
    let built = match built {
        Ok(built) => built,
        Err(failure) => return Err(build_shown::failed(&failure)),
    };
    if pushes {
        for name in &built.names {
            let reference =
                engine::images::reference(name).map_err(|error| Failure::new(error.to_string()))?;
            push::push(&reference, Compression::Gzip, true)?;
        }
    }
    if !built.unused_args.is_empty() {
        let names = built.unused_args.join(" ");
        backend::warn(&format!("one or more build-args [{names}] were not consumed: no ARG declares them"));
    }
    let written = |flag: &str, text: &str| match parsed.one(flag).filter(|path| !path.is_empty()) {
        Some(path) => std::fs::write(path, text)
            .map_err(|error| Failure::new(format!("cannot write {path}: {}", env::error_text(&error)))),
        None => Ok(()),
    };
    if !built.image.is_empty() {
        written("iidfile", &built.image)?;
    }
    written("metadata-file", &metadata(&built))?;
    let report = &built.report;
    match explain {
        "" => {}
        "json" => print(&as_json(report))?,
        _ => print(&report.text())?,
    }
    if parsed.switch("timings") {
        print(&report.timings())?;
    }
    if is_quiet && !built.image.is_empty() {
        print(&format!("{}\n", built.image))?;
    }
    Ok(0)
}

fn as_json(report: &Report) -> String {
    // Plain data always serialises.
    serde_json::to_string_pretty(report).unwrap_or_default() + "\n"
}

/// Why the steps of the last build ran.
fn last(parsed: &Parsed, is_json: bool) -> Result<u8, Failure> {
    let Some(report) = backend::last_build()? else {
        return Err(Failure::new("nothing has been built here yet").hint("berth build PATH"));
    };
    print(&if is_json { as_json(&report) } else { report.text() })?;
    if parsed.switch("timings") {
        print(&report.timings())?;
    }
    Ok(0)
}

/// Status 1 where something is wrong, or where the file says that findings are errors.
fn check(request: &BuildRequest, as_json: bool) -> Result<u8, Failure> {
    let checked = backend::check_build(request).map_err(|failure| build_shown::failed(&failure))?;
    let report = &checked.report;
    print(&match as_json {
        // Plain data always serialises.
        true => {
            serde_json::to_string_pretty(&report.json(&checked.name, &checked.text)).unwrap_or_default()
                + "\n"
        }
        false => format!("{}\n{}", report.summary(), report.text(&checked.name, &checked.text)),
    })?;
    let is_wrong = !report.errors.is_empty() || (checked.is_error && report.violation().is_some());
    Ok(u8::from(is_wrong))
}

fn metadata(built: &engine::build::Built) -> String {
    let names: Vec<String> = built
        .names
        .iter()
        .map(|own| engine::images::reference(own).map_or_else(|_| own.clone(), |name| name.to_string()))
        .collect();
    let mut about = serde_json::json!({
        "containerimage.config.digest": built.image,
        "containerimage.digest": built.image,
    });
    if !names.is_empty() {
        about["image.name"] = names.join(",").into();
    }
    // Plain data always serialises.
    serde_json::to_string_pretty(&about).unwrap_or_default() + "\n"
}

fn request(parsed: &Parsed) -> Result<BuildRequest, Failure> {
    let pair = |text: &str| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(BadValue::new("not NAME=VALUE")),
    };
    let mut tags = parsed.each("tag", |text| {
        engine::images::reference(text)
            .map(|_| text.to_owned())
            .map_err(|error| BadValue::new(error.to_string()))
    })?;
    tags.dedup();
    let secrets = parsed.each("secret", secret)?.into_iter().collect();
    let contexts = parsed.each("build-context", pair)?.into_iter().collect();
    Ok(BuildRequest {
        context: parsed.args().into_iter().next().unwrap_or_default(),
        file: parsed.one("file").unwrap_or_default().to_owned(),
        text: None,
        here: std::env::current_dir().unwrap_or_default(),
        tags,
        options: options(parsed)?,
        pull: parsed.switch("pull"),
        contexts,
        secrets,
        cache_from: parsed.each("cache-from", |text| {
            CacheFrom::parse(text).map_err(|error| BadValue::new(error.to_string()))
        })?,
        cache_to: parsed.each("cache-to", |text| {
            CacheTo::parse(text).map_err(|error| BadValue::new(error.to_string()))
        })?,
        outputs: parsed
            .each("output", |text| Output::parse(text).map_err(|error| BadValue::new(error.to_string())))?,
    })
}

fn options(parsed: &Parsed) -> Result<Options, Failure> {
    let mut build_args = BTreeMap::new();
    for given in parsed.many("build-arg") {
        match given.split_once('=') {
            Some((name, value)) => drop(build_args.insert(name.to_owned(), value.to_owned())),
            None => {
                if let Ok(value) = std::env::var(given) {
                    build_args.insert(given.to_owned(), value);
                }
            }
        }
    }
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        build_args.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert(epoch);
    }
    let epoch = match build_args.get("SOURCE_DATE_EPOCH").map(String::as_str) {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| {
            parsed.wrong(format!("invalid SOURCE_DATE_EPOCH: {text}")).hint("seconds since 1970, as a number")
        })?),
    };
    let host = engine::images::host_platform();
    let mut platforms = Vec::new();
    let given: Vec<String> = match parsed.many("platform") {
        none if none.is_empty() => std::env::var("DOCKER_DEFAULT_PLATFORM").into_iter().collect(),
        given => given.into_iter().map(str::to_owned).collect(),
    };
    for text in given.iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty()) {
        platforms.push(
            Platform::parse(text, &host)
                .map_err(|error| parsed.bad("platform", text, BadValue::new(error.to_string())))?,
        );
    }
    if platforms.len() > 1 {
        return Err(parsed
            .wrong("several platforms at once aren't supported yet")
            .hint("give one --platform at a time"));
    }
    let mut no_cache: Vec<String> = parsed
        .many("no-cache-filter")
        .into_iter()
        .flat_map(|text| text.split(','))
        .map(str::to_owned)
        .collect();
    no_cache.retain(|name| !name.is_empty());
    if parsed.switch("no-cache") {
        no_cache.push(String::new());
    }
    let network = match parsed.one("network").unwrap_or_default() {
        "" | "default" | "bridge" => Network::Default,
        "none" => Network::None,
        "host" => Network::Host,
        other => return Err(parsed.bad("network", other, "neither default, none nor host")),
    };
    let allowed: Vec<&str> = parsed.many("allow").into_iter().flat_map(|text| text.split(',')).collect();
    const ENTITLEMENTS: [&str; 2] = ["network.host", "security.insecure"];
    if let Some(unknown) = allowed.iter().find(|own| !ENTITLEMENTS.contains(own)) {
        let bad = BadValue::new("unknown entitlement").did_you_mean(suggest::nearest(unknown, ENTITLEMENTS));
        return Err(parsed.bad("allow", unknown, bad));
    }
    let hosts = parsed.each("add-host", |text| network::host(text).map(|host| network::host_word(&host)))?;
    parsed.each("ulimit", ulimit::parse)?;
    Ok(Options {
        hostname: build_args.get("BUILDKIT_SANDBOX_HOSTNAME").cloned().unwrap_or_default(),
        build_args,
        target: parsed.one("target").filter(|name| !name.is_empty()).map(str::to_owned),
        build_platform: host,
        target_platform: platforms.into_iter().next(),
        is_multi_platform: false,
        no_cache,
        labels: parsed.each("label", env::label)?.into_iter().collect(),
        network,
        add_hosts: hosts,
        shm_size: parsed.given("shm-size", number::bytes)?,
        ulimits: parsed.many("ulimit").into_iter().map(str::to_owned).collect(),
        cgroup_parent: parsed.one("cgroup-parent").unwrap_or_default().to_owned(),
        epoch,
        allows_insecure: allowed.contains(&"security.insecure"),
        allows_host_network: network == Network::Host || allowed.contains(&"network.host"),
    })
}

/// `id=NAME,src=FILE`, `id=NAME,env=VARIABLE`, `id=NAME`: the variable of that name, if there is one, else the file.
fn secret(text: &str) -> Result<(String, SecretSource), BadValue> {
    let (mut id, mut kind, mut file, mut variable) = (String::new(), String::new(), None, None);
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(BadValue::new(format!("invalid field {field:?} must be a key=value pair")));
        };
        match key.to_ascii_lowercase().as_str() {
            "id" => id = value.to_owned(),
            "type" if ["file", "env"].contains(&value) => kind = value.to_owned(),
            "type" => return Err(BadValue::new(format!("unsupported secret type {value:?}"))),
            "source" | "src" => file = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            other => {
                let near = suggest::nearest(other, ["id", "type", "source", "src", "env"]);
                return Err(
                    BadValue::new(format!("unexpected key {other:?} in {field:?}")).did_you_mean(near)
                );
            }
        }
    }
    if kind == "env" && variable.is_none() {
        variable = file.take();
    }
    if id.is_empty() {
        return Err(BadValue::new("it has no id"));
    }
    let source = match (variable, file) {
        (Some(_), Some(_)) => return Err(BadValue::new("both a file and a variable are given")),
        (Some(variable), None) => SecretSource::Env(variable),
        (None, Some(file)) => SecretSource::File(PathBuf::from(file)),
        (None, None) if std::env::var_os(&id).is_some() => SecretSource::Env(id.clone()),
        (None, None) => SecretSource::File(PathBuf::from(&id)),
    };
    match &source {
        SecretSource::Env(name) if std::env::var_os(name).is_none() => {
            return Err(BadValue::new(format!("the variable {name} isn't set")));
        }
        SecretSource::File(path) if !path.is_file() => {
            return Err(BadValue::new(format!(
                "failed to stat {}: no such file or directory",
                path.display()
            )));
        }
        _ => {}
    }
    Ok((id, source))
}
