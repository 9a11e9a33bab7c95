//! `compose up`, `down`, and what containers are in between.

use super::Project;
use std::time::Duration;
use testkit::until;

const DEMO: &str = "services:\n  web:\n    image: box\n    command: sleep 1000\n    environment: {WHO: web}\n    \
                    depends_on: {db: {condition: service_healthy}}\n    networks: [front]\n  db:\n    image: box\n    \
                    command: sh -c 'sleep 0.3; touch /ready; exec sleep 1000'\n    init: true\n    healthcheck: {test: \
                    'test -e /ready', interval: 100ms, retries: 50}\n    networks: [front]\n    volumes: \
                    ['data:/data']\nnetworks: {front: }\nvolumes: {data: }\n";

#[test]
fn up_makes_what_is_missing_and_down_leaves_nothing() {
    let project = Project::with_image(DEMO);
    let up = project.compose("up -d").run().ok();
    let said = up.err();
    let place = |what: &str| said.find(what).unwrap_or_else(|| panic!("{what}\n{said}"));
    assert!(place("Network demo_front  Created") < place("Container demo-db-1  Started"));
    assert!(place("Container demo-db-1  Started") < place("Container demo-web-1  Starting"));
    // web came when db was healthy, and reaches it by its name.
    assert_eq!(project.shows("demo-db-1", "{{.State.Health.Status}}"), "healthy");
    assert_eq!(project.exec("demo-web-1", "echo $WHO"), "web");
    project.exec("demo-web-1", "nslookup db");
    for (label, value) in [
        ("com.docker.compose.project", "demo"),
        ("com.docker.compose.service", "web"),
        ("com.docker.compose.container-number", "1"),
        ("com.docker.compose.oneoff", "False"),
        ("com.docker.compose.depends_on", "db:service_healthy:false"),
    ] {
        let template = format!("{{{{index .Config.Labels \"{label}\"}}}}");
        assert_eq!(project.shows("demo-web-1", &template), value, "{label}");
    }
    let hash = project.compose("config --hash web").text();
    let label = project.shows("demo-web-1", "{{index .Config.Labels \"com.docker.compose.config-hash\"}}");
    assert_eq!(hash, format!("web {label}"));
    // Nothing changed: nothing is done.
    let id = project.shows("demo-web-1", "{{.Id}}");
    project.compose("up -d").run().ok().silent();
    assert_eq!(project.shows("demo-web-1", "{{.Id}}"), id);
    assert_eq!(
        project.compose("ps --format {{.Name}}:{{.Service}}:{{.State}}").text(),
        "demo-db-1:db:running\ndemo-web-1:web:running"
    );
    project.down();
}

#[test]
fn a_changed_service_is_recreated_and_keeps_its_volumes() {
    let yaml = "services: {web: {image: box, command: sleep 1000, init: true, volumes: [/anon], environment: {A: '1'}}, side: {image: box, \
                command: sleep 1000, init: true}}\n";
    let project = Project::with_image(yaml);
    project.compose("up -d").run().ok();
    project.exec("demo-web-1", "echo kept > /anon/file");
    let side = project.shows("demo-side-1", "{{.Id}}");
    project.write("compose.yaml", &yaml.replace("A: '1'", "A: '2'"));
    project
        .compose("--dry-run up")
        .run()
        .ok()
        .stdout_is("~ container demo-web-1: recreate\n    environment.A: (hidden) → (hidden)\n");
    project.compose("up -d").run().ok();
    assert_eq!(project.exec("demo-web-1", "echo $A; cat /anon/file"), "2\nkept");
    assert_eq!(project.shows("demo-side-1", "{{.Id}}"), side);
    project.compose("up -d -V --force-recreate web").run().ok();
    assert_eq!(project.exec("demo-web-1", "ls /anon"), "");
    project.down();
}

#[test]
fn scale_orphans_and_states_are_put_right() {
    let project =
        Project::with_image("services: {web: {image: box, command: sleep 1000, init: true, scale: 3}}\n");
    project.compose("up -d").run().ok();
    let names = || project.compose("ps -a --format {{.Name}}").text();
    assert_eq!(names(), "demo-web-1\ndemo-web-2\ndemo-web-3");
    project.compose("up -d --scale web=1").run().ok();
    assert_eq!(names(), "demo-web-1");
    project.compose("stop -t 0").run().ok();
    assert_eq!(project.shows("demo-web-1", "{{.State.Status}}"), "exited");
    project.compose("up -d --scale web=1").run().ok();
    assert_eq!(project.shows("demo-web-1", "{{.State.Status}}"), "running");
    project.write("compose.yaml", "services: {other: {image: box, command: sleep 1000, init: true}}\n");
    project.compose("up -d").run().ok().stderr_has(&["Found orphan containers ([demo-web-1])"]);
    project.compose("up -d --remove-orphans").run().ok();
    assert_eq!(names(), "demo-other-1");
    project.down();
}

#[test]
fn secrets_and_configs_have_their_owners_and_modes() {
    let project = Project::with_image(
        "services: {web: {image: box, command: sleep 1000, init: true, secrets: [plain, {source: plain, target: owned, uid: '7', gid: \
         '8', mode: 0440}, env], configs: [{source: text, target: /etc/text}]}}\nsecrets: {plain: {file: ./secret}, env: \
         {environment: TOKEN}}\nconfigs: {text: {content: 'hello $${x}'}}\n",
    );
    project.write("secret", "hidden\n");
    project.compose("up -d").env("TOKEN", "t0k").run().ok();
    assert_eq!(project.exec("demo-web-1", "cat /run/secrets/plain /run/secrets/env"), "hidden\nt0k");
    assert_eq!(project.exec("demo-web-1", "stat -c '%u %g %a' /run/secrets/owned"), "7 8 440");
    assert_eq!(project.exec("demo-web-1", "cat /etc/text"), "hello ${x}");
    project.down();
    assert!(!project.host.root_dir().join("compose/demo").exists());
}

#[test]
fn a_dependency_that_fails_is_told_with_its_last_lines() {
    let project = Project::with_image(
        "services: {web: {image: box, depends_on: {job: {condition: service_completed_successfully}}, command: 'true'}, job: \
         {image: box, command: \"sh -c 'echo broken pipe; exit 3'\"}}\n",
    );
    project.compose("up -d").run().code(1).stderr_has(&["container demo-job-1 exited (3)"]);
    assert_eq!(project.compose("ps -aq web").text(), "");
    project.write(
        "compose.yaml",
        "services: {web: {image: box, depends_on: {job: {condition: service_completed_successfully}}, command: sleep 1000, init: \
         true}, job: {image: box, command: 'true'}}\n",
    );
    project.compose("up -d").run().ok();
    project.down();
}

#[test]
fn hooks_run_in_their_containers() {
    let project = Project::with_image(
        "services: {web: {image: box, command: sleep 1000, init: true, volumes: ['./out:/out'], post_start: [{command: sh -c \
         'echo started >> /out/log'}], pre_stop: [{command: sh -c 'echo stopping >> /out/log'}]}}\n",
    );
    project.compose("up -d").run().ok();
    project.down();
    let log = || std::fs::read_to_string(project.dir.join("out/log")).unwrap_or_default();
    assert!(until(Duration::from_secs(5), || log() == "started\nstopping\n"), "{}", log());
}

#[test]
fn logs_are_merged_and_other_commands_find_the_containers() {
    let project = Project::with_image(
        "services: {a: {image: box, init: true, ports: ['18080:80'], command: sh -c 'echo from-a; exec sleep 1000'}, b: {image: box, init: true, command: sh -c \
         'echo from-b; exec sleep 1000'}}\n",
    );
    project.compose("up -d --wait").run().ok();
    assert!(until(Duration::from_secs(5), || {
        let logs = project.compose("logs").text();
        logs.contains("from-a") && logs.contains("from-b")
    }));
    assert!(!project.compose("logs a").text().contains("from-b"));
    assert!(project.compose("exec -T -e X=y a sh -c set").text().contains("X='y'"));
    assert!(project.compose("top a").text().contains("sleep 1000"));
    assert_eq!(project.compose("port a 80").text(), "0.0.0.0:18080");
    let listed = project.compose("ls --format json").run().ok().json();
    assert_eq!((&listed[0]["Name"], &listed[0]["Status"]), (&"demo".into(), &"running(2)".into()));
    project.compose("exec -T nothing true").run().code(1).stderr_has(&["no such service: nothing"]);
    project.compose("pause a").run().ok();
    assert_eq!(project.shows("demo-a-1", "{{.State.Status}}"), "paused");
    project.compose("unpause").run().ok();
    project.compose("kill b").run().ok();
    assert!(until(Duration::from_secs(5), || project.shows("demo-b-1", "{{.State.Status}}") == "exited"));
    project.compose("rm -f b").run().ok();
    assert_eq!(project.compose("ps -a --services").text(), "a");
    project.compose("restart -t 0 a").run().ok();
    project.compose("logs nothing").run().code(1).stderr_has(&["no such service: nothing"]);
    project.down();
}
