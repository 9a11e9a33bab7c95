//! `RUN --mount`. Source: BuildKit's instructions, parseMount and validateMount.

use super::source::Word;
use super::suggest;

/// A mount as written: what its values mean is known only once variables are expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// The flag's value.
    pub word: Word,
    /// Its fields.
    fields: Vec<String>,
}

/// The kind of a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MountType {
    /// Files of a stage, an image or the context.
    #[default]
    Bind,
    /// A directory that is kept from build to build.
    Cache,
    /// A file system in memory.
    Tmpfs,
    /// A secret.
    Secret,
    /// An agent of keys.
    Ssh,
}

impl MountType {
    const ALL: [(&'static str, MountType); 5] = [
        ("bind", MountType::Bind),
        ("cache", MountType::Cache),
        ("tmpfs", MountType::Tmpfs),
        ("secret", MountType::Secret),
        ("ssh", MountType::Ssh),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// A mount whose variables are expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunMount {
    /// `type`
    pub kind: MountType,
    /// `from`: a stage, a named context or an image; empty for the context.
    pub from: String,
    /// `source`; empty for the whole.
    pub source: String,
    /// `target`; empty if not given.
    pub target: String,
    /// Whether it can't be written to: `ro`, `rw`, or as is usual for its type.
    pub is_read_only: bool,
    /// `size` of a tmpfs, in bytes.
    pub size: Option<i64>,
    /// `id`; empty if not given.
    pub id: String,
    /// `sharing`; `None` if not given, which means shared.
    pub sharing: Option<crate::op::Sharing>,
    /// `required`
    pub is_required: bool,
    /// `mode`
    pub mode: Option<u32>,
    /// `uid`
    pub uid: Option<u32>,
    /// `gid`
    pub gid: Option<u32>,
    /// `env`: the variable that a secret is set as.
    pub env: Option<String>,
}

/// What is wrong with a mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MountError {
    /// What, in BuildKit's words.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl From<String> for MountError {
    fn from(message: String) -> MountError {
        MountError { message, hint: None }
    }
}

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
];

impl MountFlag {
    /// Reads the fields. What they mean is checked by [`MountFlag::evaluate`].
    ///
    /// Errors: quotes that aren't closed; a variable in `from`.
    pub(super) fn parse(word: Word) -> Result<MountFlag, MountError> {
        let fields =
            split_fields(&word.text).map_err(|reason| format!("failed to parse csv mounts: {reason}"))?;
        for field in &fields {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            if key.eq_ignore_ascii_case("from") && has_variable(value) {
                let message = "'from' doesn't support variable expansion, define alias stage instead";
                return Err(message.to_owned().into());
            }
        }
        Ok(MountFlag { word, fields })
    }

    /// The stage, named context or image that it's from, if it says so: it can have no variables.
    pub fn from(&self) -> Option<&str> {
        let pairs = self.fields.iter().rev().filter_map(|field| field.split_once('='));
        pairs.into_iter().find_map(|(key, value)| key.eq_ignore_ascii_case("from").then_some(value))
    }

    /// What it says, with each value expanded by `expand`.
    ///
    /// Errors: an unknown field, a value that isn't one, fields that don't go together; those of `expand`.
    pub fn evaluate<E: ToString>(
        &self,
        mut expand: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<RunMount, MountError> {
        let mut mount = RunMount::default();
        let mut read_only = None;
        for field in &self.fields {
            let Some((key, value)) = field.split_once('=') else {
                match &field.to_lowercase()[..] {
                    "readonly" | "ro" => read_only = Some(true),
                    "readwrite" | "rw" => read_only = Some(false),
                    "required" => mount.is_required = mount.allows_required("required").map(|()| true)?,
                    _ => return Err(format!("invalid field '{field}' must be a key=value pair").into()),
                }
                continue;
            };
            let key = key.to_lowercase();
            let value = expand(value).map_err(|error| error.to_string())?;
            match &key[..] {
                "readonly" | "ro" => read_only = Some(boolean(&key, &value)?),
                "readwrite" | "rw" => read_only = Some(!boolean(&key, &value)?),
                _ => mount.set(&key, value, field)?,
            }
        }
        mount.check()?;
        let is_writable = matches!(mount.kind, MountType::Cache | MountType::Tmpfs);
        mount.is_read_only = read_only.unwrap_or(!is_writable);
        Ok(mount)
    }
}

impl RunMount {
    fn set(&mut self, key: &str, value: String, field: &str) -> Result<(), MountError> {
        let number = |radix| {
            u32::from_str_radix(&value, radix).map_err(|_| format!("invalid value {value} for {key}"))
        };
        match key {
            "type" => self.kind = kind(&value)?,
            "from" => self.from = value,
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "required" => {
                self.allows_required(key)?;
                self.is_required = boolean(key, &value)?;
            }
            "size" if self.kind == MountType::Tmpfs => {
                let invalid = || format!("invalid value for {key}: {value}");
                self.size = Some(types::units::parse_bytes(&value).ok_or_else(invalid)?);
            }
            "size" => return Err(self.unexpected(key)),
            "id" => self.id = value,
            "sharing" => self.sharing = Some(sharing(&value)?),
            "mode" => self.mode = Some(number(8)?),
            "uid" => self.uid = Some(number(10)?),
            "gid" => self.gid = Some(number(10)?),
            "env" => self.env = Some(value),
            _ => {
                let message = format!("unexpected key '{key}' in '{field}'");
                return Err(MountError { message, hint: suggest::hint(key, KEYS) });
            }
        }
        Ok(())
    }

    fn unexpected(&self, key: &str) -> MountError {
        format!("unexpected key '{key}' for mount type '{}'", self.kind.name()).into()
    }

    fn allows_required(&self, key: &str) -> Result<(), MountError> {
        match self.kind {
            MountType::Secret | MountType::Ssh => Ok(()),
            _ => Err(self.unexpected(key)),
        }
    }

    fn check(&self) -> Result<(), MountError> {
        let name = self.kind.name();
        let has_owner = matches!(self.kind, MountType::Secret | MountType::Ssh | MountType::Cache);
        let given = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
        if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some() && !has_owner) {
            return Err(format!("{key} not allowed for \"{name}\" type mounts").into());
        }
        let fault = match self.kind {
            MountType::Secret if !self.from.is_empty() => "secret mount should not have a from",
            MountType::Secret if self.sharing.is_some() => "secret mount should not define sharing",
            MountType::Secret if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() => {
                "invalid secret mount. one of source, target required"
            }
            MountType::Secret if !self.source.is_empty() && !self.id.is_empty() => {
                "both source and id can't be set"
            }
            MountType::Cache | MountType::Secret => return Ok(()),
            _ if self.sharing.is_some() => {
                return Err(format!("invalid cache sharing set for {name} mount").into());
            }
            _ => return Ok(()),
        };
        Err(fault.to_owned().into())
    }
}

/// Whether `$` stands before anything.
fn has_variable(value: &str) -> bool {
    value.char_indices().any(|(at, c)| c == '$' && value.len() > at + 1)
}

/// A truth value as Go's strconv.ParseBool takes it.
fn boolean(key: &str, value: &str) -> Result<bool, MountError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value}").into()),
    }
}

fn kind(value: &str) -> Result<MountType, MountError> {
    let known = MountType::ALL.iter().find(|(name, _)| value.eq_ignore_ascii_case(name));
    known.map(|(_, kind)| *kind).ok_or_else(|| MountError {
        message: format!("unsupported mount type {value:?}"),
        hint: suggest::hint(value, MountType::ALL.iter().map(|(name, _)| *name)),
    })
}

fn sharing(value: &str) -> Result<crate::op::Sharing, MountError> {
    use crate::op::Sharing;
    match &value.to_ascii_lowercase()[..] {
        "shared" => Ok(Sharing::Shared),
        "private" => Ok(Sharing::Private),
        "locked" => Ok(Sharing::Locked),
        _ => Err(MountError {
            message: format!("unsupported sharing value {value:?}"),
            hint: suggest::hint(value, ["shared", "private", "locked"]),
        }),
    }
}

/// The fields of one record of comma-separated values. Source: Go's encoding/csv.
fn split_fields(text: &str) -> Result<Vec<String>, &'static str> {
    if text.is_empty() {
        return Err("EOF");
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].contains('"') {
                    return Err("bare \" in non-quoted field");
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("extraneous or missing \" in quoted field"),
        }
    }
}

/// A quoted field, of which the opening quote is taken away; and what follows it.
fn quoted_field(text: &str) -> Result<(String, &str), &'static str> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some(at) = rest.find('"') else { return Err("extraneous or missing \" in quoted field") };
        field.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, rest)),
        }
    }
}
