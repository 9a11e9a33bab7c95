use super::*;
use crate::files::Memory;
use crate::model::Project;
use crate::request::Request;
use proptest::prelude::*;

fn project(text: &str) -> Project {
    let mut files = Memory::default();
    files.texts.insert("/demo/compose.yaml".into(), text.into());
    let request = Request { current_dir: "/demo".into(), ..Request::default() };
    request.load(&files).unwrap_or_else(|error| panic!("{error}\n{text}")).project
}

/// What a faithful executor would have made of a project.
fn made(project: &Project) -> Actual {
    let mut actual = Actual::default();
    for (key, network) in project.networks.iter().filter(|(_, network)| !network.external) {
        let labels = project.network_labels(key);
        actual.networks.insert(network.name.clone(), Resource { labels });
    }
    for (key, volume) in project.volumes.iter().filter(|(_, volume)| !volume.external) {
        let labels = project.volume_labels(key);
        actual.volumes.insert(volume.name.clone(), Resource { labels });
    }
    for (name, service) in &project.services {
        for number in 1..=service.replicas() as u32 {
            let container_name = service.container_name(&project.name, name, number, '-');
            actual.containers.push(Container {
                id: format!("id-{container_name}"),
                name: container_name,
                labels: project.container_labels(name, service, number, false),
                state: State::Running,
                image: "sha256:one".into(),
                networks: service.networks.keys().map(|key| project.networks[key].name.clone()).collect(),
                model: Some(service.container_part().out(Form::Json).json(false)),
            });
        }
        actual.images.insert(service.image_name(&project.name, name), "sha256:one".into());
    }
    actual
}

const DEMO: &str = "services:\n  web: {image: w, depends_on: {db: {condition: service_healthy, restart: true}}, \
                    networks: [n], ports: ['80:80']}\n  db: {image: d, networks: [n], volumes: ['data:/d']}\n  side: \
                    {image: s, network_mode: 'service:db'}\nnetworks: {n: }\nvolumes: {data: }\n";

#[test]
fn a_new_project_is_made_from_its_networks_up() {
    let project = project(DEMO);
    let plan = plan_up(&project, &Actual::default(), &UpOptions::default());
    assert_eq!(
        plan.text(),
        "+ network demo_n: create\n+ volume demo_data: create\n+ container demo-db-1: create\n+ container demo-side-1: \
         create\n+ container demo-web-1: create\n"
    );
    let web = plan.steps.iter().position(|step| step_container(step) == "demo-web-1").unwrap();
    let health = plan.steps[web].after.iter().find(|after| after.condition == Condition::Healthy).unwrap();
    assert!(matches!(&plan.steps[health.step].action, Action::Start { service, .. } if service == "db"));
    for (index, step) in plan.steps.iter().enumerate() {
        assert!(step.after.iter().all(|after| after.step < index), "{step:?}");
    }
}

#[test]
fn what_is_as_wanted_stays() {
    let project = project(DEMO);
    let plan = plan_up(&project, &made(&project), &UpOptions::default());
    assert!(plan.is_empty(), "{}", plan.text());
    assert_eq!(plan.text(), "demo: nothing to do\n");
}

#[test]
fn a_changed_service_is_recreated_and_its_dependents_follow() {
    let old = project(DEMO);
    let new = project(&DEMO.replace("image: d,", "image: d2, environment: {PASSWORD: x},"));
    let plan = plan_up(&new, &made(&old), &UpOptions::default());
    assert_eq!(
        plan.text(),
        "~ container demo-db-1: recreate\n    environment.PASSWORD: none → (hidden)\n    image: d → d2\n~ container \
         demo-side-1: recreate (it shares with db, which is recreated)\n~ container demo-web-1: restart (it depends on \
         db, which is recreated)\n"
    );
}

#[test]
fn images_networks_and_states_are_reasons() {
    let project = project(DEMO);
    let check = |change: fn(&mut Actual), expected: &str| {
        let mut actual = made(&project);
        change(&mut actual);
        let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
        let text = plan_up(&project, &actual, &options).text();
        assert!(text.contains(expected), "{text}");
    };
    check(|it| _ = it.images.insert("w".into(), "sha256:two".into()), "image: one → two");
    check(|it| it.containers[2].networks.clear(), "web-1: recreate (it isn't on network demo_n)");
    check(|it| it.containers[0].state = State::Exited, "db-1: start (it is exited)");
    check(|it| _ = it.networks.remove("demo_n"), "+ network demo_n: create");
    check(
        |it| {
            let mut other = it.containers[0].clone();
            other.labels.insert(labels::SERVICE.into(), "gone".into());
            other.name = "demo-gone-1".into();
            it.containers.push(other);
        },
        "- container demo-gone-1: stop (no service of the project is its own)\n- container demo-gone-1: remove",
    );
}

#[test]
fn scaling_keeps_the_lowest_numbers() {
    let project = project("services: {web: {image: w, scale: 3}}");
    let actual = made(&project);
    let scale =
        |count: u32| UpOptions { scale: BTreeMap::from([("web".into(), count)]), ..UpOptions::default() };
    let down = plan_up(&project, &actual, &scale(1)).text();
    assert_eq!(down.lines().count(), 4, "{down}");
    assert!(!down.contains("web-1:") && down.contains("web-3: remove (only 1 wanted)"), "{down}");
    let up = plan_up(&project, &actual, &scale(5)).text();
    assert_eq!(up, "+ container demo-web-4: create\n+ container demo-web-5: create\n");
}

#[test]
fn recreating_is_forced_or_forbidden() {
    let old = project(DEMO);
    let new = project(&DEMO.replace("image: w", "image: w2"));
    let options = |recreate| UpOptions { recreate, ..UpOptions::default() };
    assert!(plan_up(&new, &made(&old), &options(Recreate::Never)).is_empty());
    let all = plan_up(&old, &made(&old), &options(Recreate::Always)).text();
    assert_eq!(all.matches("recreate\n").count(), 3, "{all}");
}

#[test]
fn down_removes_dependents_first() {
    let project = project(DEMO);
    let actual = made(&project);
    let plan = plan_down(&project, &actual, &DownOptions { volumes: true, ..DownOptions::default() });
    let text = plan.text();
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}\n{text}"));
    assert!(place("web-1: remove") < place("db-1: stop"));
    assert!(place("db-1: remove") < place("- network demo_n: remove"));
    assert!(text.contains("- volume demo_data: remove"));
    assert!(plan_down(&project, &Actual::default(), &DownOptions::default()).is_empty());
    let one = DownOptions { services: vec!["web".into()], ..DownOptions::default() };
    assert_eq!(
        plan_down(&project, &actual, &one).text(),
        "- container demo-web-1: stop\n- container demo-web-1: remove\n"
    );
}

#[test]
fn a_plan_is_json_for_machines() {
    let project = project("services: {web: {image: w}}");
    let plan = plan_up(&project, &Actual::default(), &UpOptions::default());
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["steps"][1]["action"], "create");
    assert_eq!(json["steps"][1]["because"]["reason"], "missing");
}

proptest! {
    #[test]
    fn a_plan_for_what_is_wanted_is_empty(
        services in prop::collection::btree_map("[a-e]", (0u8..3, "[x-z]", any::<bool>()), 1..5)
    ) {
        let mut text = String::from("services:\n");
        let mut before: Vec<String> = Vec::new();
        for (name, (scale, image, depends)) in &services {
            let list = if *depends { before.join(", ") } else { String::new() };
            text += &format!("  {name}: {{image: {image}, scale: {scale}, depends_on: [{list}]}}\n");
            before.push(name.clone());
        }
        let project = project(&text);
        let plan = plan_up(&project, &made(&project), &UpOptions::default());
        prop_assert!(plan.is_empty(), "{}", plan.text());
    }
}
