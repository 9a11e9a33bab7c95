//! Failures in runc's form: a line of logrus, which containerd and docker read back.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::SystemTime;

use serde_json::json;

use super::Globals;
use crate::failure::Failure;
use crate::format::time;

/// Form of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `time="…" level=error msg="…"`.
    Text,
    /// One JSON object a line.
    Json,
}

/// One message of level error.
fn line(format: LogFormat, message: &str, at: SystemTime) -> String {
    let time = time::rfc3339(at);
    match format {
        LogFormat::Json => format!("{}\n", json!({"level": "error", "msg": message, "time": time})),
        LogFormat::Text => format!("time=\"{time}\" level=error msg={}\n", json!(message)),
    }
}

/// Reports as runc does: to the log if there is one, and then in plain words to standard error; else one log line
/// to standard error.
pub fn report(failure: &Failure, globals: &Globals) {
    let message = match &failure.hint {
        Some(hint) => format!("{} (hint: {hint})", failure.message),
        None => failure.message.clone(),
    };
    let line = line(globals.log_format, &message, SystemTime::now());
    let Some(path) = &globals.log else {
        eprint!("{line}");
        return;
    };
    let log = OpenOptions::new().create(true).append(true).open(path);
    if let Err(error) = log.and_then(|mut log| log.write_all(line.as_bytes())) {
        eprintln!("cannot write the log {}: {error}", path.display());
    }
    eprintln!("{message}");
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn lines_are_logruses() {
        let at = UNIX_EPOCH + Duration::from_secs(951_782_400);
        assert_eq!(
            line(LogFormat::Text, "a \"b\"\n", at),
            "time=\"2000-02-29T00:00:00Z\" level=error msg=\"a \\\"b\\\"\\n\"\n"
        );
        assert_eq!(
            line(LogFormat::Json, "a", at),
            "{\"level\":\"error\",\"msg\":\"a\",\"time\":\"2000-02-29T00:00:00Z\"}\n"
        );
    }
}
