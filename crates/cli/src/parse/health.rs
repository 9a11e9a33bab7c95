//! `--health-*`, with docker's rules and words.

use engine::request::{HealthRequest, HealthTest, OnUnhealthy};

use crate::failure::{BadValue, Failure};
use crate::flags::Parsed;

/// Docker's least: 1 ms.
const NANOS_MIN: i64 = 1_000_000;

/// All of the flags.
pub fn request(parsed: &Parsed) -> Result<HealthRequest, Failure> {
    let time = |name: &str| {
        let nanos = parsed.parsed(name, |text| nanos(name, text))?;
        Ok::<_, Failure>(nanos.filter(|nanos| *nanos != 0))
    };
    let test = [
        parsed.given("health-cmd", |line| Ok::<_, BadValue>(HealthTest::Shell(line.to_owned())))?,
        parsed.given("health-http", http)?,
        parsed.given("health-tcp", tcp)?,
    ];
    let mut tests = test.into_iter().flatten();
    let request = HealthRequest {
        test: tests.next(),
        interval_ns: time("health-interval")?,
        timeout_ns: time("health-timeout")?,
        start_period_ns: time("health-start-period")?,
        start_interval_ns: time("health-start-interval")?,
        retries: parsed.parsed("health-retries", retries)?.filter(|retries| *retries != 0),
        on_failure: parsed.given("health-on-failure", on_failure)?.unwrap_or_default(),
    };
    if tests.next().is_some() {
        return Err(
            parsed.wrong("conflicting options: only one of --health-cmd, --health-http, --health-tcp")
        );
    }
    if !parsed.switch("no-healthcheck") {
        return Ok(request);
    }
    if request != HealthRequest::default() {
        return Err(parsed.wrong("--no-healthcheck conflicts with --health-* options"));
    }
    Ok(HealthRequest { test: Some(HealthTest::None), ..request })
}

fn nanos(name: &str, text: &str) -> Result<i64, BadValue> {
    if text.strip_prefix('-').is_some_and(|text| types::duration::parse(text).is_some()) {
        return Err(format!("--{name} cannot be negative").into());
    }
    let duration = types::duration::parse(text)
        .ok_or_else(|| BadValue::new("not a duration").hint("write it as in 30s, 1m30s or 500ms"))?;
    let nanos = i64::try_from(duration.as_nanos()).map_err(|_| BadValue::new("too long"))?;
    match nanos {
        1..NANOS_MIN => Err("cannot be less than 1ms".into()),
        _ => Ok(nanos),
    }
}

fn retries(text: &str) -> Result<i64, BadValue> {
    match text.parse() {
        Ok(..0) => Err("--health-retries cannot be negative".into()),
        Ok(retries) => Ok(retries),
        Err(_) => Err("not a whole number".into()),
    }
}

fn http(text: &str) -> Result<HealthTest, BadValue> {
    HealthTest::http(text).ok_or_else(|| {
        let wrong = BadValue::new("not a page of the container's over plain HTTP, by its address");
        wrong.hint("write it as in :8080/ready or http://localhost:8080/ready")
    })
}

fn tcp(text: &str) -> Result<HealthTest, BadValue> {
    HealthTest::tcp(text).ok_or_else(|| {
        BadValue::new("not a port of the container's").hint("write it as in 5432 or 127.0.0.1:5432")
    })
}

fn on_failure(text: &str) -> Result<OnUnhealthy, BadValue> {
    match text {
        "none" => Ok(OnUnhealthy::Nothing),
        "kill" => Ok(OnUnhealthy::Kill),
        "restart" => Ok(OnUnhealthy::Restart),
        "stop" => Ok(OnUnhealthy::Stop),
        _ => Err("not one of none, kill, restart, stop".into()),
    }
}
