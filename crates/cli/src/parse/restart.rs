//! `--restart`.

use engine::request::RestartPolicy;

use crate::failure::BadValue;

/// Reads a policy: `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:TIMES`, of which 0 is without end.
pub fn parse(text: &str) -> Result<RestartPolicy, BadValue> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    let policy = match name {
        "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => {
            let Some(count) = count else { return Ok(RestartPolicy::OnFailure(None)) };
            let count: u32 = count.parse().map_err(|_| "maximum retry count must be a positive integer")?;
            return Ok(RestartPolicy::OnFailure(Some(count).filter(|count| *count > 0)));
        }
        _ => return Err("not one of no, on-failure[:TIMES], always, unless-stopped".into()),
    };
    match count {
        Some(_) => Err("maximum retry count cannot be used with this restart policy".into()),
        None => Ok(policy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_dockers() {
        let good = |text| parse(text).ok();
        assert_eq!(good("no"), Some(RestartPolicy::No));
        assert_eq!(good("on-failure"), Some(RestartPolicy::OnFailure(None)));
        assert_eq!(good("on-failure:0"), Some(RestartPolicy::OnFailure(None)));
        assert_eq!(good("on-failure:3"), Some(RestartPolicy::OnFailure(Some(3))));
        assert_eq!(good("unless-stopped"), Some(RestartPolicy::UnlessStopped));
        for bad in ["always:3", "on-failure:", "on-failure:-1", "on-failure:x", "sometimes", "on-failure:1:2"]
        {
            assert_eq!(good(bad), None, "{bad}");
        }
    }
}
