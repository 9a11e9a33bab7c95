//! `compose config`, `graph` and what is said of wrong files. What the model is, crate compose's own tests compare with
//! docker compose.

use super::Project;

#[test]
fn config_prints_the_project_in_one_form() {
    let project = Project::of("services: {web: {image: app, ports: ['80'], command: echo $$HOME}}\n");
    project.compose("config").run().ok().stdout_is(
        "name: demo\nservices:\n  web:\n    command:\n      - echo\n      - $$HOME\n    image: app\n    networks:\n      \
         default: null\n    ports:\n      - mode: ingress\n        target: 80\n        protocol: tcp\nnetworks:\n  \
         default:\n    name: demo_default\n",
    );
    let json = project.compose("config --format json").run().ok().json();
    assert_eq!(json["services"]["web"]["ports"][0]["target"], 80);
    assert_eq!(project.compose("config --services").text(), "web");
    project.compose("config -q -o nowhere").run().ok().silent();
    assert_eq!(project.compose("-p other config --format json").run().ok().json()["name"], "other");
}

#[test]
fn the_same_binary_is_docker_compose() {
    let project = Project::of("services: {web: {image: app}}\n");
    let link = project.dir.join("docker-compose");
    std::os::unix::fs::symlink(testkit::host::binary(), &link).unwrap();
    testkit::Cmd::new(link, ["config", "--services"]).cwd(&project.dir).run().ok().stdout_is("web\n");
}

#[test]
fn all_faults_are_told_at_once_with_their_lines() {
    let project = Project::of(
        "services:\n  web:\n    iamge: app\n    ports: 80\n  db:\n    image: db\n    volumes: ['data:/d']\n",
    );
    project.compose("up -d").run().code(1).stderr_has(&[
        "compose.yaml:3:5: services.web additional properties 'iamge' not allowed",
        "^^^^^ did you mean \"image\"?",
        "compose.yaml:4:12: services.web.ports must be a list, not an integer",
    ]);
    project.write(
        "compose.yaml",
        "services: {db: {image: db, volumes: ['data:/d'], depends_on: [wbe]}, web: {image: w}}\n",
    );
    project.compose("config").run().code(1).stderr_has(&[
        "service \"db\" refers to undefined volume data",
        "service \"db\" depends on undefined service \"wbe\"",
        "did you mean \"web\"?",
    ]);
    project.compose("-f none.yaml config").run().code(1).stderr_has(&["none.yaml"]);
}

#[test]
fn what_isnt_supported_is_refused_by_name() {
    let project = Project::of(
        "services:\n  web: {image: app, gpus: all, credential_spec: {file: x}, secrets: [s]}\nsecrets: {s: {file: \
         ./none}}\n",
    );
    project.compose("up -d").run().code(1).stderr_has(&[
        "services.web.gpus isn't supported",
        "services.web.credential_spec isn't supported",
        "none, which /run/secrets/s is, doesn't exist",
    ]);
    project.compose("up").run().code(125).stderr_has(&["up in the foreground isn't supported yet"]);
    project.compose("up -d --watch").run().code(125).stderr_has(&["--watch isn't supported yet"]);
}

#[test]
fn graph_draws_the_project() {
    let project =
        Project::of("services: {web: {image: w, ports: ['80:80'], depends_on: [db]}, db: {image: d}}\n");
    let graph = project.compose("graph").text();
    assert!(graph.contains("└─ web  w") && graph.contains("ports 80→80"), "{graph}");
}
