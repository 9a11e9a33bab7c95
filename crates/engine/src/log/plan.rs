//! Docker's log drivers and their options: what is asked for, checked in docker's words.

use crate::request::LogRequest;
use crate::{Config, Error};
use std::collections::BTreeMap;
use types::kind::Kind;
use types::units;

/// Where what a container writes is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// In berth's own frames: the default.
    Local,
    /// In docker's JSON lines.
    JsonFile,
    /// Nowhere.
    None,
}

impl Driver {
    /// Docker's name.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Local => "local",
            Driver::JsonFile => "json-file",
            Driver::None => "none",
        }
    }

    /// The driver that is asked for; `None` if berth doesn't have it.
    pub fn of(request: &LogRequest) -> Option<Driver> {
        match request.driver.as_deref() {
            None => Some(Driver::Local),
            Some(name) => {
                [Driver::Local, Driver::JsonFile, Driver::None].into_iter().find(|d| d.name() == name)
            }
        }
    }
}

/// How a container's log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where.
    pub driver: Driver,
    /// Bytes after which a file is followed by another; `None` is never.
    pub file_bytes: Option<u64>,
    /// Files kept.
    pub files: u64,
    /// Whether files that are written to no more are compressed.
    pub compress: bool,
    /// Bytes that may wait for the disk before output is dropped; `None` makes the container wait.
    pub buffer_bytes: Option<u64>,
}

/// Docker's `max-buffer-size` where none is given.
const BUFFER_BYTES: u64 = 1_000_000;

/// Options that both drivers have.
const COMMON: [&str; 5] = ["mode", "max-buffer-size", "max-size", "max-file", "compress"];

/// Options of `json-file` alone: what is added to each line.
const ATTRIBUTES: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];

/// Docker's drivers that berth doesn't have.
const OTHERS: [&str; 8] =
    ["journald", "syslog", "gelf", "fluentd", "awslogs", "gcplogs", "splunk", "etwlogs"];

fn refused(message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Reported { message: message.into(), hint: Some(hint.into()), kind: Kind::Invalid }
}

impl Plan {
    /// What `request` asks for.
    ///
    /// Errors: docker's, for drivers and options that berth doesn't have, and for values that make no sense.
    pub fn of(request: &LogRequest) -> Result<Plan, Error> {
        let option = |name: &str| request.options.get(name).map(String::as_str);
        if request.driver.as_deref() == Some(Driver::None.name()) {
            return match request.options.keys().next() {
                Some(_) => Err(refused("invalid logging opts for driver none", "it has no options")),
                None => Ok(Plan::none()),
            };
        }
        let buffer_bytes = buffer(option("mode"), option("max-buffer-size"))?;
        let Some(driver) = Driver::of(request) else {
            let name = request.driver.as_deref().unwrap_or_default();
            let hint = match OTHERS.contains(&name) {
                true => "berth has local, json-file and none; what ships logs elsewhere can read json-file's",
                false => "berth has local (the default), json-file and none",
            };
            return Err(refused(format!("logger: no log driver named '{name}' is registered"), hint));
        };
        let known =
            |name: &str| COMMON.contains(&name) || (driver == Driver::JsonFile && ATTRIBUTES.contains(&name));
        if let Some(unknown) = request.options.keys().find(|name| !known(name)) {
            let message = match driver {
                Driver::JsonFile => format!("unknown log opt '{unknown}' for json-file log driver"),
                _ => format!("unknown log opt '{unknown}' for log driver {}", driver.name()),
            };
            let hint = match ATTRIBUTES.contains(&unknown.as_str()) {
                true => "json-file has it: --log-driver json-file".to_owned(),
                false => format!("{} has {}", driver.name(), options_of(driver)),
            };
            return Err(refused(message, hint));
        }
        let file_bytes = option("max-size").map(size).transpose()?;
        let files = option("max-file").map(count).transpose()?;
        let compress = option("compress").map(boolean).transpose()?.unwrap_or(false);
        let plan = match driver {
            Driver::JsonFile => {
                Plan { driver, file_bytes, files: files.unwrap_or(1), compress, buffer_bytes }
            }
            _ => Plan {
                driver,
                file_bytes: Some(file_bytes.unwrap_or(super::FILE_BYTES_MAX)),
                files: files.unwrap_or(super::FILES_MAX),
                compress,
                buffer_bytes,
            },
        };
        if plan.compress && (plan.files < 2 || plan.file_bytes.is_none()) {
            return Err(refused(
                "compress cannot be true when max-file is less than 2 or max-size is not set",
                "only files that are written to no more are compressed: --log-opt max-size=10m --log-opt max-file=3",
            ));
        }
        attributes::check(request)?;
        Ok(plan)
    }

    /// Whether the keeper leaves it to another process to write it.
    pub fn is_written_behind(&self) -> bool {
        self.buffer_bytes.is_some()
    }

    fn none() -> Plan {
        Plan { driver: Driver::None, file_bytes: None, files: 1, compress: false, buffer_bytes: None }
    }

    /// That of a container, whose request was checked when it was made.
    pub fn of_container(config: &Config) -> Plan {
        Plan::of(&config.request.log).unwrap_or_else(|_| Plan::none())
    }
}

fn options_of(driver: Driver) -> String {
    let own: &[&str] = if driver == Driver::JsonFile { &ATTRIBUTES } else { &[] };
    COMMON.iter().chain(own).copied().collect::<Vec<_>>().join(", ")
}

/// Bytes that may wait in non-blocking mode.
fn buffer(mode: Option<&str>, size: Option<&str>) -> Result<Option<u64>, Error> {
    let non_blocking = match mode {
        None | Some("" | "blocking") => false,
        Some("non-blocking") => true,
        Some(other) => {
            return Err(refused(
                format!("logger: logging mode not supported: {other}"),
                "take mode=blocking or mode=non-blocking",
            ));
        }
    };
    let Some(size) = size else { return Ok(non_blocking.then_some(BUFFER_BYTES)) };
    if !non_blocking {
        return Err(refused(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            "add --log-opt mode=non-blocking",
        ));
    }
    match units::parse_bytes(size).and_then(|bytes| u64::try_from(bytes).ok()) {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(refused(
            format!("error parsing option max-buffer-size: invalid size: '{size}'"),
            "write a number and a unit, as in 4m",
        )),
    }
}

/// `max-size`: as docker has it, in powers of 1,000.
fn size(text: &str) -> Result<u64, Error> {
    match units::parse_decimal_bytes(text) {
        Some(0) => {
            Err(refused("max-size must be a positive number", "leave it out for a file without limit"))
        }
        Some(bytes) => Ok(bytes),
        None => Err(refused(
            format!("invalid value for max-size: invalid size: '{text}'"),
            "write a number and a unit, as in 10m",
        )),
    }
}

fn count(text: &str) -> Result<u64, Error> {
    match text.parse::<u64>() {
        Ok(0) => Err(refused("max-file cannot be less than 1", "max-file=1 keeps the newest file alone")),
        Ok(count) if count <= FILES_LIMIT => Ok(count),
        _ => Err(refused(
            format!("invalid value for max-file: {text}: not a number of files"),
            format!("write a number between 1 and {FILES_LIMIT}"),
        )),
    }
}

/// Most files of one log: each rotation renames them all.
const FILES_LIMIT: u64 = 10_000;

/// As Go's strconv.ParseBool reads it.
fn boolean(text: &str) -> Result<bool, Error> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(refused(
            format!("invalid boolean value for compress: {text}"),
            "write compress=true or compress=false",
        )),
    }
}

/// What is added to each line of `json-file`.
pub mod attributes {
    use super::{BTreeMap, Config, Error, LogRequest, refused};
    use regex_lite::Regex;

    fn regex(request: &LogRequest, name: &str) -> Result<Option<Regex>, Error> {
        let Some(text) = request.options.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        Regex::new(text).map(Some).map_err(|error| {
            refused(format!("error parsing regexp of log opt {name}: {error}"), "write a regular expression")
        })
    }

    /// Refuses what can't be resolved.
    pub fn check(request: &LogRequest) -> Result<(), Error> {
        regex(request, "labels-regex")?;
        regex(request, "env-regex")?;
        tag(request, &|_| Some(String::new())).map(drop)
    }

    /// Those of a container, by name.
    pub fn of_container(config: &Config) -> BTreeMap<String, String> {
        let request = &config.request.log;
        let labels = config.labels().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let environment =
            config.spec.process.iter().flat_map(|process| &process.env).filter_map(|variable| {
                let (name, value) = variable.split_once('=')?;
                Some((name.to_owned(), value.to_owned()))
            });
        let mut found = BTreeMap::new();
        choose(request, "labels", &labels.collect(), &mut found);
        choose(request, "env", &environment.collect(), &mut found);
        if let Ok(Some(tag)) = tag(request, &|field| value_of(config, field)) {
            found.insert("tag".to_owned(), tag);
        }
        found
    }

    fn choose(
        request: &LogRequest,
        option: &str,
        from: &BTreeMap<String, String>,
        into: &mut BTreeMap<String, String>,
    ) {
        let listed = request.options.get(option).map(String::as_str).unwrap_or_default();
        let pattern = regex(request, &format!("{option}-regex")).ok().flatten();
        let chosen = from.iter().filter(|(key, _)| {
            listed.split(',').any(|one| one == key.as_str())
                || pattern.as_ref().is_some_and(|pattern| pattern.is_match(key))
        });
        into.extend(chosen.map(|(key, value)| (key.clone(), value.clone())));
    }

    /// Fields of docker's template of `tag`. Source: docker docs, "Log tags".
    fn value_of(config: &Config, field: &str) -> Option<String> {
        let image = config.image_id.as_deref().unwrap_or_default();
        let short = |id: &str| id.strip_prefix("sha256:").unwrap_or(id).chars().take(12).collect::<String>();
        Some(match field {
            "ID" => short(&config.id),
            "FullID" => config.id.clone(),
            "Name" => config.name.clone(),
            "ImageID" => short(image),
            "ImageFullID" => image.to_owned(),
            "ImageName" => config.image.clone(),
            "DaemonName" => "berth".to_owned(),
            _ => return None,
        })
    }

    const FIELDS: [&str; 7] = ["ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName"];

    /// The `tag`, its fields replaced; of docker's templates only those are understood.
    fn tag(request: &LogRequest, value_of: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, Error> {
        let Some(template) = request.options.get("tag").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let mut rest = template.as_str();
        let mut text = String::new();
        while let Some((before, after)) = rest.split_once("{{") {
            let wrong = || {
                let hint = FIELDS.map(|field| format!("{{{{.{field}}}}}")).join(", ");
                refused(format!("invalid log opt tag: {template}"), format!("it may have {hint}"))
            };
            let (inside, end) = after.split_once("}}").ok_or_else(wrong)?;
            let field = inside.trim().strip_prefix('.').filter(|field| FIELDS.contains(field));
            text += before;
            text += &field.and_then(value_of).ok_or_else(wrong)?;
            rest = end;
        }
        Ok(Some(text + rest))
    }
}

#[cfg(test)]
mod tests;
