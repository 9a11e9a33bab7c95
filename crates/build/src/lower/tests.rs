//! Dockerfiles to graphs: what each step is, and what the image's configuration and history say.

use super::*;
use crate::dockerfile;
use crate::op::{CopySource, MountKind};
use types::image::config::{Execution, History};

/// Knows one image, `base`, and a context.
struct Known(ImageConfig);

impl Bases for Known {
    type Error = String;

    fn image(&mut self, reference: &str, _: &Platform) -> Result<Base, String> {
        match reference {
            "base" => Ok(Base::Image {
                reference: "docker.io/library/base:latest".to_owned(),
                chain: Some("sha256:0".to_owned()),
                config: Box::new(self.0.clone()),
            }),
            other => Err(format!("no {other}")),
        }
    }

    fn context(&mut self, name: &str, _: &Platform) -> Result<Option<Base>, String> {
        let base = Base::Directory { directory: "/context".into(), ignored: Vec::new(), keeps_owner: false };
        Ok((name == "context").then_some(base))
    }
}

fn base() -> Known {
    Known(ImageConfig {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        config: Execution { env: vec!["PATH=/bin".to_owned()], ..Execution::default() },
        history: vec![History { created_by: "base".to_owned(), ..History::default() }],
        ..ImageConfig::default()
    })
}

fn options() -> Options {
    let platform = Platform::linux("amd64", "");
    Options { build_platform: platform, ..Options::default() }
}

#[track_caller]
fn lowered(text: &str, options: &Options) -> Lowered {
    match lower(&dockerfile::parse(text).unwrap(), options, &mut base()) {
        Ok(lowered) => lowered,
        Err(failure) => panic!("{failure:?}"),
    }
}

#[track_caller]
fn refused(text: &str, options: &Options) -> String {
    match lower(&dockerfile::parse(text).unwrap(), options, &mut base()) {
        Err(Failure::Fault(fault)) => fault.message,
        other => panic!("{other:?}"),
    }
}

fn history(lowered: &Lowered) -> Vec<String> {
    let line = |line: &Line| match line {
        Line::Inherited(line) => line.created_by.clone(),
        Line::Own { created_by, .. } => created_by.clone(),
    };
    lowered.history.iter().map(line).collect()
}

fn names(lowered: &Lowered) -> Vec<&str> {
    lowered.graph.steps.iter().map(|step| step.name.as_str()).collect()
}

#[test]
fn steps_are_named_and_told_as_by_buildkit() {
    let text = "FROM base\nARG A=1\nENV B=$A\nWORKDIR /code\nCOPY x .\nRUN echo $B\nCMD [\"sh\"]\n";
    let made = lowered(text, &options());
    assert_eq!(
        names(&made),
        [
            "[1/4] FROM docker.io/library/base:latest",
            "[2/4] WORKDIR /code",
            "[internal] load build context",
            "[3/4] COPY x .",
            "[4/4] RUN echo 1",
        ]
    );
    assert_eq!(
        history(&made),
        [
            "base",
            "ARG A=1",
            "ENV B=1",
            "WORKDIR /code",
            "COPY x . # buildkit",
            "RUN |1 A=1 /bin/sh -c echo $B # buildkit",
            "CMD [\"sh\"]",
        ]
    );
    assert_eq!(made.config.config.env, ["PATH=/bin", "B=1"]);
    let What::Op(Op::Exec(exec)) = &made.graph.step(made.target).what else { panic!() };
    assert_eq!(exec.args, ["/bin/sh", "-c", "echo $B"]);
    assert_eq!(exec.env, ["PATH=/bin", "A=1", "B=1"]);
    assert_eq!(exec.working_dir, "/code");
    let What::Op(Op::Copy(copy)) = &made.graph.steps[3].what else { panic!() };
    assert_eq!((copy.to.as_str(), copy.keeps_owner), ("/code/", false));
}

#[test]
fn only_what_the_target_needs_is_there() {
    let text =
        "FROM base AS one\nRUN 1\nFROM base AS two\nRUN 2\nFROM base AS three\nCOPY --from=one /a /b\n";
    let made = lowered(text, &options());
    assert!(!names(&made).iter().any(|name| name.contains("RUN 2")), "{:?}", names(&made));
    assert!(names(&made).contains(&"[one 2/2] RUN 1"));
    let two = lowered(text, &Options { target: Some("two".to_owned()), ..options() });
    assert_eq!(names(&two), ["[two 1/2] FROM docker.io/library/base:latest", "[two 2/2] RUN 2"]);
    let first = lowered(text, &Options { target: Some("0".to_owned()), ..options() });
    assert!(names(&first)[1].ends_with("RUN 1"));
    assert_eq!(
        refused(text, &Options { target: Some("twoo".to_owned()), ..options() }),
        "target stage \"twoo\" could not be found"
    );
}

#[test]
fn arguments_come_from_the_caller_the_globals_or_the_default() {
    let text = "ARG G=global\nFROM base\nARG G\nARG D=default\nARG N\nRUN x\n";
    let given = BTreeMap::from([("D".to_owned(), "given".to_owned()), ("X".to_owned(), "lost".to_owned())]);
    let made = lowered(text, &Options { build_args: given, ..options() });
    let What::Op(Op::Exec(exec)) = &made.graph.step(made.target).what else { panic!() };
    assert_eq!(exec.env, ["PATH=/bin", "G=global", "D=given"]);
    assert_eq!(made.unused_args, ["X"]);
    assert_eq!(history(&made)[1..4], ["ARG G=global", "ARG D=given", "ARG N"]);
    assert_eq!(history(&made)[4], "RUN |3 G=global D=given N= /bin/sh -c x # buildkit");
    let platform = lowered("FROM base\nARG TARGETARCH\nRUN x\n", &options());
    let What::Op(Op::Exec(exec)) = &platform.graph.step(platform.target).what else { panic!() };
    assert_eq!(exec.env, ["PATH=/bin", "TARGETARCH=amd64"]);
}

#[test]
fn a_stage_goes_on_from_another() {
    let text = "FROM base AS a\nENV X=1\nCMD a\nONBUILD RUN later\nFROM a\nENTRYPOINT [\"e\"]\n";
    let made = lowered(text, &options());
    assert!(names(&made).iter().any(|name| name.contains("ONBUILD RUN later")), "{:?}", names(&made));
    assert_eq!(made.config.config.cmd, None, "an entry point takes the base's command away");
    assert_eq!(made.config.config.entrypoint.as_deref(), Some(&["e".to_owned()][..]));
    assert!(made.config.config.on_build.is_empty());
    assert_eq!(made.config.config.env, ["PATH=/bin", "X=1"]);
}

#[test]
fn triggers_of_images_come_first() {
    let mut bases = base();
    bases.0.config.on_build = vec!["RUN trigger".to_owned()];
    let file = dockerfile::parse("FROM base\nRUN own\n").unwrap();
    let Ok(made) = lower(&file, &options(), &mut bases) else { panic!() };
    assert_eq!(names(&made)[1..], ["[2/3] ONBUILD RUN trigger", "[3/3] RUN own"]);
}

#[test]
fn mounts_of_programs_name_their_inputs() {
    let text = "FROM base AS tools\nFROM base\nRUN --mount=type=cache,target=/c,id=k,sharing=locked \\\n \
        --mount=from=tools,source=/bin,target=/t --mount=type=secret,id=s --mount=target=/src make\n";
    let made = lowered(text, &options());
    let step = made.graph.step(made.target);
    let What::Op(Op::Exec(exec)) = &step.what else { panic!() };
    let kinds: Vec<&MountKind> = exec.mounts.iter().map(|mount| &mount.kind).collect();
    assert!(matches!(kinds[0], MountKind::Cache { id, from: None, mode: 0o755, .. } if id == "k"));
    assert!(matches!(kinds[1], MountKind::Bind { input: 1, source } if source == "/bin"));
    assert!(matches!(kinds[2], MountKind::Secret { id, mode: 0o400, .. } if id == "s"));
    assert!(matches!(kinds[3], MountKind::Bind { input: 2, .. }));
    assert_eq!(exec.mounts[2].target, "/run/secrets/s");
    assert_eq!(step.inputs.len(), 3);
    // What is taken of the context is a tree of its own.
    let What::Op(Op::Copy(copy)) = &made.graph.step(step.inputs[2]).what else { panic!() };
    assert_eq!(copy.sources, [CopySource::Input { pattern: "/".to_owned() }]);
}

#[test]
fn the_configuration_says_all_that_the_file_says() {
    let text = "FROM scratch\nEXPOSE 80 53/udp 8000-8001\nVOLUME /a /b\nUSER u\nSTOPSIGNAL SIGINT\nLABEL a=b c=\"d e\"\n\
        SHELL [\"/bin/bash\", \"-c\"]\nCMD x\nHEALTHCHECK --interval=5s CMD true\nMAINTAINER me\n";
    let made = lowered(text, &options());
    let config = &made.config.config;
    assert_eq!(config.exposed_ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
    assert_eq!(config.volumes, ["/a", "/b"]);
    assert_eq!((config.user.as_str(), config.stop_signal.as_str()), ("u", "SIGINT"));
    assert_eq!(config.labels["c"], "d e");
    assert_eq!(config.cmd.as_deref(), Some(&["/bin/bash", "-c", "x"].map(str::to_owned)[..]));
    assert_eq!(made.config.author.as_deref(), Some("me"));
    let history = history(&made);
    assert_eq!(history[0], "EXPOSE [53/udp 80/tcp 8000/tcp 8001/tcp]");
    assert_eq!(history[1], "VOLUME [/a /b]");
    assert_eq!(history[5], "SHELL [/bin/bash -c]");
    assert_eq!(history[6], "CMD [\"/bin/bash\" \"-c\" \"x\"]");
}

#[test]
fn what_can_t_be_is_refused() {
    for (text, why) in [
        ("FROM base AS a\nCOPY --from=a / /\n", "circular dependency detected on stage: a"),
        (
            "FROM base AS a\nCOPY --from=b / /\nFROM base AS b\nFROM a\n",
            "needs to be defined before current stage",
        ),
        ("FROM base\nCOPY --from=7 / /\n", "invalid stage index 7"),
        ("FROM base\nSTOPSIGNAL nonsense\n", "invalid signal: nonsense"),
        ("FROM base\nEXPOSE 80/x\n", "invalid proto: x"),
        ("FROM base\nCOPY http://a/b /\n", "source can't be a URL for COPY"),
        ("FROM base\nADD https://a/b.git /\n", "ADD of a git repository is not supported by berth yet"),
        ("FROM base\nRUN --security=insecure x\n", "RUN --security=insecure is not allowed"),
        ("FROM ${NONE}\nRUN x\n", "base name (${NONE}) should not be blank"),
        ("FROM base\nRUN --mount=type=cache,target=/ x\n", "invalid mount target \"/\""),
    ] {
        let said = refused(text, &options());
        assert!(said.contains(why), "{text}: {said}");
    }
    assert!(matches!(
        lower(&dockerfile::parse("FROM unknown\n").unwrap(), &options(), &mut base()),
        Err(Failure::Base(Lines { first: 1, last: 1 }, _))
    ));
}
