use super::*;
use crate::files::Memory;
use crate::out::{Form, Out};
use crate::request::Request;

fn project(text: &str) -> Project {
    let mut files = Memory::default();
    files.texts.insert("/demo/compose.yaml".into(), text.into());
    let request = Request { current_dir: "/demo".into(), ..Request::default() };
    request.load(&files).unwrap_or_else(|error| panic!("{error}\n{text}")).project
}

/// The words of the only service's container, without its labels.
fn words(attributes: &str, rest: &str) -> Vec<String> {
    let project =
        project(&format!("services: {{web: {{image: app, network_mode: none, {attributes}}}}}\n{rest}"));
    let run = project.run_words("web", &project.services["web"], 1, '-', &BTreeMap::new());
    let plain = ["--name=demo-web-1", "--network=none"];
    run.flags
        .into_iter()
        .filter(|flag| !flag.starts_with("--label=") && !plain.contains(&flag.as_str()))
        .collect()
}

#[test]
fn attributes_become_flags() {
    let check = |attributes: &str, flags: &[&str]| assert_eq!(words(attributes, ""), flags, "{attributes}");
    check("environment: {A: 1, B: }", &["--env=A=1", "--env=B"]);
    check(
        "ports: ['127.0.0.1:80:81/udp', '82', '8000-9000:83']",
        &["--publish=127.0.0.1:80:81/udp", "--publish=82/tcp", "--publish=8000-9000:83/tcp"],
    );
    check("ports: ['[::1]:80:80']", &["--publish=[::1]:80:80/tcp"]);
    check(
        "healthcheck: {test: [CMD, echo, a b], interval: 90s, retries: 2}",
        &["--health-cmd=echo 'a b'", "--health-interval=1m30s", "--health-retries=2"],
    );
    check("healthcheck: {disable: true}", &["--no-healthcheck"]);
    check("restart: always", &["--restart=always"]);
    check("deploy: {restart_policy: {condition: on-failure, max_attempts: 3}}", &["--restart=on-failure:3"]);
    check(
        "deploy: {resources: {limits: {cpus: '0.5', memory: 1k, pids: 5}}}",
        &["--cpus=0.5", "--memory=1024", "--pids-limit=5"],
    );
    check("stop_grace_period: 1500ms", &["--stop-timeout=2"]);
    check("ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}", &["--ulimit=nofile=1:2", "--ulimit=nproc=3"]);
    check(
        "volumes: ['./a,b:/x:ro']",
        &["--mount=type=bind,\"source=/demo/a,b\",target=/x,readonly,bind-create-src"],
    );
    check(
        "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1k, mode: 01777}}]",
        &["--mount=type=tmpfs,target=/t,tmpfs-size=1024,tmpfs-mode=1777"],
    );
    check(
        "security_opt: ['no-new-privileges:true', 'seccomp=x']",
        &["--security-opt=no-new-privileges=true", "--security-opt=seccomp=x"],
    );
    check("extra_hosts: ['a=1.2.3.4', 'b=::1']", &["--add-host=a:1.2.3.4", "--add-host=b:::1"]);
    check("devices: ['/dev/a']", &["--device=/dev/a:/dev/a:rwm"]);
}

#[test]
fn other_services_are_their_containers() {
    let project = project(
        "services:\n  web: {image: a, pid: 'service:db', volumes_from: ['db:ro'], links: ['db:store'], volumes: \
         ['data:/d']}\n  db: {image: b}\nvolumes: {data: }\n",
    );
    let names = BTreeMap::from([("db".to_owned(), vec!["demo-db-3".to_owned()])]);
    let flags = project.run_words("web", &project.services["web"], 1, '-', &names).flags;
    for flag in [
        "--pid=container:demo-db-3",
        "--volumes-from=demo-db-3:ro",
        "--link=demo-db-3:store",
        "--network=name=demo_default,alias=demo-web-1,alias=web",
        "--mount=type=volume,source=demo_data,target=/d",
        "--label=com.docker.compose.project=demo",
    ] {
        assert!(flags.iter().any(|it| it == flag), "{flag}: {flags:?}");
    }
}

#[test]
fn secrets_and_configs_keep_their_owners() {
    let project = project(
        "services: {web: {image: a, secrets: [s, {source: s, target: t, uid: '1', gid: '2', mode: 0400}], configs: \
         [c]}}\nsecrets: {s: {file: ./s}}\nconfigs: {c: {content: hello}}\n",
    );
    let files = project.container_files(&project.services["web"]);
    assert_eq!(files[0].target, "/c");
    assert_eq!(files[0].content.as_deref(), Some("hello"));
    assert_eq!(files[1].target, "/run/secrets/s");
    assert_eq!(files[1].source.as_deref(), Some("/demo/s"));
    assert_eq!(
        (files[2].target.as_str(), files[2].uid, files[2].gid, files[2].mode),
        ("/run/secrets/t", Some(1), Some(2), Some(0o400))
    );
}

/// Values that each attribute may have, for the test below.
const VALUES: &[&str] = &[
    "true",
    "5",
    "text",
    "[text]",
    "{a: b}",
    "1m",
    "[{source: x}]",
    "64m",
    "host",
    "process",
    "['80']",
    "'0-1'",
    "{driver: x}",
    "[{command: x}]",
    "{weight: 5}",
    "[{driver: x}]",
    "{nofile: 5}",
    "['/dev/x']",
    "{test: x}",
    "{type: x}",
    "{file: x}",
    "{watch: []}",
    "{replicas: 1}",
    "[{type: npipe, source: a, target: /b}]",
    "['a=1.2.3.4']",
    "always",
];

/// No attribute is dropped without a word: each one changes the words, is refused, or is named as not the container's.
#[test]
fn every_attribute_is_honoured_or_refused() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../schema.json")).unwrap();
    let attributes = schema["definitions"]["service"]["properties"].as_object().unwrap();
    let mut silent = Vec::new();
    for attribute in attributes.keys() {
        if NOT_THE_CONTAINER.contains(&attribute.as_str()) {
            continue;
        }
        let is_heard = VALUES.iter().any(|value| {
            let text = format!(
                "services: {{web: {{image: app, {attribute}: {value}}}, text: {{image: x}}, a: {{image: x}}}}\n\
                 configs: {{text: {{content: x}}, x: {{content: y}}}}\nsecrets: {{text: {{file: s}}, x: {{file: s}}}}\n\
                 networks: {{text: , a: }}\nvolumes: {{text: }}\nmodels: {{text: {{model: x}}}}\n"
            )
            .replace("image: app, image:", "image:");
            let mut files = Memory::default();
            files.texts.insert("/demo/compose.yaml".into(), text);
            let request = Request { current_dir: "/demo".into(), ..Request::default() };
            let Ok(loaded) = request.load(&files) else { return false };
            let project = loaded.project;
            let service = &project.services["web"];
            let plain = super::Project { services: Default::default(), ..project.clone() };
            let mut bare = Service { image: "app".into(), ..Service::default() };
            bare.networks.insert("default".into(), None);
            let of = |service: &Service| {
                let run = plain.run_words("web", service, 1, '-', &BTreeMap::new());
                let flags = run.flags.into_iter().filter(|flag| !flag.contains("config-hash"));
                (flags.collect::<Vec<_>>(), run.image, run.command, run.entrypoint)
            };
            of(service) != of(&bare)
                || !service.refusals().is_empty()
                || !project.container_files(service).is_empty()
        });
        if !is_heard {
            silent.push(attribute.clone());
        }
    }
    assert_eq!(silent, [""; 0]);
    // Nothing stands in the model that the schema hasn't.
    let Out::Map(fields) = Service::default().out(Form::Json) else { panic!("no mapping") };
    assert!(fields.iter().all(|(key, _)| attributes.contains_key(key)));
}
