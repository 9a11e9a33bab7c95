use super::*;
use crate::request::{RunRequest, Source};

fn plan(driver: Option<&str>, options: &[(&str, &str)]) -> Result<Plan, String> {
    let request = LogRequest {
        driver: driver.map(str::to_owned),
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    };
    Plan::of(&request).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_bounded_for_local_and_dockers_for_json_file() {
    let local = plan(None, &[]).unwrap();
    assert_eq!((local.driver, local.file_bytes, local.files), (Driver::Local, Some(20_000_000), 5));
    let json =
        plan(Some("json-file"), &[("max-size", "10m"), ("max-file", "3"), ("compress", "true")]).unwrap();
    assert_eq!((json.file_bytes, json.files, json.compress), (Some(10_000_000), 3, true));
    assert_eq!(plan(Some("json-file"), &[]).unwrap().file_bytes, None);
    let waits = plan(None, &[("mode", "non-blocking")]).unwrap();
    assert_eq!(waits.buffer_bytes, Some(1_000_000));
    let waits = plan(None, &[("mode", "non-blocking"), ("max-buffer-size", "4m")]).unwrap();
    assert_eq!(waits.buffer_bytes, Some(4 << 20));
}

#[test]
fn what_there_is_not_is_refused_in_dockers_words() {
    type Case<'a> = (Option<&'a str>, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 12] = [
        (Some("syslog"), &[], "logger: no log driver named 'syslog' is registered"),
        (Some("none"), &[("max-size", "1m")], "invalid logging opts for driver none"),
        (Some("json-file"), &[("max-sise", "1m")], "unknown log opt 'max-sise' for json-file log driver"),
        (None, &[("labels", "a")], "unknown log opt 'labels' for log driver local"),
        (None, &[("mode", "fast")], "logger: logging mode not supported: fast"),
        (
            None,
            &[("max-buffer-size", "1m")],
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (Some("json-file"), &[("max-size", "0")], "max-size must be a positive number"),
        (Some("json-file"), &[("max-file", "0")], "max-file cannot be less than 1"),
        (
            Some("json-file"),
            &[("compress", "true")],
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        (Some("json-file"), &[("max-size", "big")], "invalid value for max-size: invalid size: 'big'"),
        (Some("json-file"), &[("tag", "{{.Nome}}")], "invalid log opt tag: {{.Nome}}"),
        (Some("json-file"), &[("tag", "{{.Name")], "invalid log opt tag: {{.Name"),
    ];
    for (driver, options, message) in cases {
        assert_eq!(plan(driver, options), Err(message.to_owned()));
    }
    assert!(plan(Some("json-file"), &[("env-regex", "(")]).is_err());
}

#[test]
fn tags_and_attributes_are_resolved() {
    let options = [("labels", "tier"), ("env-regex", "^APP_"), ("tag", "{{.Name}}/{{ .ID }}!")];
    let mut request = RunRequest::new(Source::Host);
    request.labels = vec![("tier".to_owned(), "db".to_owned()), ("other".to_owned(), "x".to_owned())];
    request.log.options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let process = types::oci::Process {
        env: vec!["APP_MODE=slow=er".to_owned(), "PATH=/bin".to_owned()],
        ..Default::default()
    };
    let config = Config {
        id: "0123456789abcdef".to_owned(),
        name: "web".to_owned(),
        image: "@host".to_owned(),
        image_id: None,
        image_config: Default::default(),
        created_ns: 0,
        request,
        mounts: Vec::new(),
        args: Vec::new(),
        root: crate::config::RootSource::Host,
        user_namespace: crate::config::UserNamespace::Host,
        stop_signal: 15,
        tasks_max: None,
        spec: types::oci::Spec { process: Some(process), ..Default::default() },
        made_first: false,
        started_as: None,
    };
    let found: Vec<_> = attributes::of_container(&config).into_iter().collect();
    let expected = [("APP_MODE", "slow=er"), ("tag", "web/0123456789ab!"), ("tier", "db")];
    assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
}
