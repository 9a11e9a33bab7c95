//! Dockerfiles: each is parsed or refused, places are in the text, and what is parsed is checked, expanded, shown.
#![no_main]

use build::dockerfile::ast::Kind;
use build::dockerfile::lint::{self, Base, Options, Subject, Target};
use build::dockerfile::{directive, excerpt, parse, parse_trigger};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|text: &str| {
    if let Some(syntax) = directive::syntax(text) {
        directive::is_dockerfile_frontend(&syntax.value);
    }
    let file = match parse(text) {
        Ok(file) => file,
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            for error in &errors.errors {
                assert!(text.get(error.place.span.start..error.place.span.end).is_some(), "{error:?}");
                excerpt::excerpt("Dockerfile", text, error.place);
            }
            return;
        }
    };
    for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
        let place = instruction.place;
        assert!(text.get(place.span.start..place.span.end).is_some(), "{place:?}");
        assert!(place.lines.first <= place.lines.last);
        match &instruction.kind {
            Kind::Onbuild(onbuild) => drop(parse_trigger(&onbuild.trigger)),
            Kind::Run(run) => drop((run.program(), run.summary())),
            _ => {}
        }
    }
    let options = Options::of(&file, None).unwrap_or_default();
    let build_args = BTreeMap::from([("a".to_owned(), "b*c".to_owned())]);
    let predefined = BTreeMap::from([("TARGETPLATFORM".to_owned(), "linux/amd64".to_owned())]);
    let base = |_: &str| Some(Base { env: vec!["PATH=/usr/bin:/bin".to_owned()], has_shell: false });
    let report = lint::check(&Subject {
        file: &file,
        options: &options,
        build_args: &build_args,
        predefined: &predefined,
        target: Target::All,
        ignored: None,
        base: &base,
    });
    report.text("Dockerfile", text);
    report.json("Dockerfile", text);
});
