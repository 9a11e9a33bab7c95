//! `--log-driver` and `--log-opt`.

use engine::request::LogRequest;

/// Options as docker/cli reads them: the last of a name counts, and one without `=` has an empty value.
pub fn request(driver: Option<&str>, options: &[&str]) -> LogRequest {
    let pair = |option: &&str| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        (name.to_owned(), value.to_owned())
    };
    LogRequest {
        driver: driver.filter(|name| !name.is_empty()).map(str::to_owned),
        options: options.iter().map(pair).collect(),
    }
}
