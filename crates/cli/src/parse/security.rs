//! `--security-opt`, `--cap-add`, `--cap-drop`.

use engine::request::{AppArmor, Seccomp, Security};
use types::caps;

use crate::failure::BadValue;
use crate::flags::parse_bool;
use crate::parse::env::error_text;
use crate::suggest;

const KEYS: [&str; 7] =
    ["seccomp", "apparmor", "label", "no-new-privileges", "systempaths", "mask", "unmask"];

/// Largest seccomp profile; docker's default is 20 KB.
const PROFILE_BYTES_MAX: u64 = 4 << 20;

/// A capability, bare and in upper case, or `ALL`.
pub fn capability(text: &str) -> Result<String, BadValue> {
    let upper = text.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(upper);
    }
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    match caps::number(bare) {
        Some(_) => Ok(bare.to_owned()),
        None => Err(BadValue::new("no such capability").did_you_mean(suggest::nearest(bare, caps::NAMES))),
    }
}

/// Applies one `--security-opt`; reads the profile that `seccomp=FILE` names.
pub fn apply(text: &str, security: &mut Security) -> Result<(), BadValue> {
    // Docker still takes its old separator, as in `label:disable`.
    let at = text.find(['=', ':']);
    let (key, value) = at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    let needed = || match value {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(BadValue::new(format!("{key} needs a value"))),
    };
    match key {
        "no-new-privileges" => {
            let wrong = || BadValue::new("neither true nor false");
            security.no_new_privileges =
                value.map_or(Ok(true), |value| parse_bool(value).ok_or_else(wrong))?;
        }
        "seccomp" => {
            security.seccomp = match needed()? {
                "unconfined" => Seccomp::Unconfined,
                "builtin" => Seccomp::Default,
                path => profile(path)?,
            }
        }
        "apparmor" => {
            security.apparmor = match needed()? {
                "unconfined" => AppArmor::Unconfined,
                name => AppArmor::Profile(name.to_owned()),
            }
        }
        "label" => {
            let label = needed()?;
            let kind = label.split([':', '=']).next().unwrap_or(label);
            if !["disable", "nested", "user", "role", "type", "level", "filetype"].contains(&kind) {
                return Err(BadValue::new(format!("unknown label option {label:?}"))
                    .hint("disable, user:…, role:…, type:… and level:… are known"));
            }
            security.label.push(label.replacen('=', ":", 1));
        }
        "systempaths" => match needed()? {
            "unconfined" => security.systempaths_unconfined = true,
            _ => return Err("systempaths knows only unconfined".into()),
        },
        "mask" => security.mask.extend(paths(needed()?, false)?),
        "unmask" => security.unmask.extend(paths(needed()?, true)?),
        _ => {
            return Err(
                BadValue::new(format!("unknown option {key:?}")).did_you_mean(suggest::nearest(key, KEYS))
            );
        }
    }
    Ok(())
}

fn paths(text: &str, all: bool) -> Result<Vec<String>, BadValue> {
    let one = |path: &str| match path {
        path if path.starts_with('/') => Ok(path.to_owned()),
        path if all && path.eq_ignore_ascii_case("all") => Ok("ALL".to_owned()),
        path => Err(BadValue::new(format!("{path:?} is not an absolute path"))),
    };
    text.split(':').map(one).collect()
}

fn profile(path: &str) -> Result<Seccomp, BadValue> {
    let failed = |error: std::io::Error| BadValue::new(format!("cannot read {path}: {}", error_text(&error)));
    if std::fs::metadata(path).map_err(failed)?.len() > PROFILE_BYTES_MAX {
        return Err(BadValue::new(format!("{path} is larger than 4 MiB")));
    }
    let json = std::fs::read_to_string(path).map_err(failed)?;
    match serde_json::from_str::<serde_json::Value>(&json) {
        Ok(serde_json::Value::Object(_)) => Ok(Seccomp::Profile { path: path.to_owned(), json }),
        Ok(_) => Err(BadValue::new(format!("{path} isn't a JSON object"))),
        Err(error) => Err(BadValue::new(format!("{path} isn't JSON: {error}"))),
    }
}
