//! Compose files: nothing panics, however wrong; what loads prints YAML that loads again as the same, and plans to nothing
//! once it is made.
#![no_main]

use compose::{Form, Memory, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut files = Memory::default();
    // One input is several files: an override, a file that is included or extended, variables.
    for (part, name) in
        text.split("\n===\n").zip(["compose.yaml", "compose.override.yaml", "other.yaml", ".env"])
    {
        files.texts.insert(format!("/demo/{name}"), part.to_owned());
    }
    let request = Request { current_dir: "/demo".to_owned(), ..Request::default() };
    // An error can be shown.
    let loaded = match request.load(&files) {
        Ok(loaded) => loaded,
        Err(error) => {
            let _ = error.to_string();
            let _ = Request { interpolate: false, ..request }
                .load_tree(&files)
                .map_err(|error| error.to_string());
            return;
        }
    };
    let project = loaded.project;
    let _ = (project.graph(), project.out(Form::Json).json(true));
    for (name, service) in &project.services {
        let _ = (service.hash(), service.refusals(), project.container_files(service));
        let _ = project.run_words(name, service, 1, '-', &Default::default());
    }
    let yaml = project.out(Form::Yaml).yaml().replace('$', "$$");
    let mut again = Memory::default();
    again.texts.insert("/demo/compose.yaml".to_owned(), yaml.clone());
    let request = Request { current_dir: "/demo".to_owned(), check_consistency: false, ..Request::default() };
    // What a list of keys and builds print isn't always a file again: agents of ssh.
    if let Ok(second) = request.load(&again) {
        assert_eq!(second.project.name, project.name, "{yaml}");
        let names = |project: &compose::model::Project| project.services.keys().cloned().collect::<Vec<_>>();
        let all: Vec<_> =
            names(&second.project).into_iter().filter(|name| project.services.contains_key(name)).collect();
        assert!(all.len() <= names(&project).len());
    }
});
