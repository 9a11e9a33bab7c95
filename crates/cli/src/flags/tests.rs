use super::*;

static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "",
    flags: &[(
        "Options",
        &[
            Flag::switch("interactive", "").short('i'),
            Flag::switch("tty", "").short('t'),
            Flag::switch("rm", ""),
            Flag::one("memory-swap", "bytes", ""),
            Flag::one("name", "string", ""),
            Flag::many("env", "list", "").short('e'),
            Flag::one("network", "network", "").alias("net"),
            Flag::maybe("mount-proc", "dir", "/proc", ""),
        ],
    )],
    unsupported: &[Unsupported { name: "gpus", short: Some('g'), why: "" }],
    args: (1, usize::MAX),
    trailing: true,
};

fn parsed(line: &[&str]) -> Parsed {
    let args: Vec<_> = line.iter().map(Into::into).collect();
    match parse(&SPEC, "berth run", &args) {
        Ok(Asked::Work(parsed)) => parsed,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn failure(line: &[&str]) -> Failure {
    let args: Vec<_> = line.iter().map(Into::into).collect();
    parse(&SPEC, "berth run", &args).expect_err("it should fail")
}

#[test]
fn flags_are_read_as_docker_reads_them() {
    let p = parsed(&["-it", "--rm=false", "-eA=1", "-e", "B", "--name=x", "--name", "y", "img"]);
    assert!(p.switch("interactive") && p.switch("tty") && !p.switch("rm"));
    assert_eq!(p.many("env"), ["A=1", "B"]);
    assert_eq!(p.one("name"), Some("y"));
    assert_eq!(p.args(), ["img"]);
    assert_eq!(parsed(&["--memory-swap", "-1", "img"]).one("memory-swap"), Some("-1"));
    assert_eq!(parsed(&["-ite", "A=1", "img"]).many("env"), ["A=1"]);
    assert_eq!(parsed(&["-e=A=1", "img"]).many("env"), ["A=1"]);
    assert_eq!(parsed(&["--net", "host", "img"]).one("network"), Some("host"));
    assert!(!parsed(&["-i=false", "img"]).switch("interactive"));
    assert_eq!(parsed(&["--name", "", "img"]).one("name"), Some(""));
    assert_eq!(parsed(&["--mount-proc", "img"]).one("mount-proc"), Some("/proc"));
    assert_eq!(parsed(&["--mount-proc=/x", "img"]).one("mount-proc"), Some("/x"));
}

#[test]
fn flags_end_at_the_first_argument() {
    assert_eq!(parsed(&["img", "ls", "-l", "--rm", "--bad"]).args(), ["img", "ls", "-l", "--rm", "--bad"]);
    assert!(!parsed(&["img", "--rm"]).switch("rm"));
    assert_eq!(parsed(&["--", "img", "-x"]).args(), ["img", "-x"]);
    assert_eq!(parsed(&["img", "--", "-x"]).args(), ["img", "--", "-x"]);
    assert_eq!(parsed(&["img", "--help"]).args(), ["img", "--help"]);
    assert_eq!(parsed(&["img", ""]).args(), ["img", ""]);
}

#[test]
fn wrong_flags_are_named() {
    for (line, message, hint) in [
        (&["--nmae", "x", "img"][..], "unknown flag: --nmae", Some("did you mean --name?")),
        (&["--bad", "img"], "unknown flag: --bad", None),
        (&["-q", "img"], "unknown shorthand flag: 'q' in -q", None),
        (&["-itq", "img"], "unknown shorthand flag: 'q' in -q", None),
        (&["--name"], "flag needs an argument: --name", None),
        (&["-e"], "flag needs an argument: --env", None),
        (&["--rm=x", "img"], "invalid argument \"x\" for --rm: neither true nor false", None),
        (&["--gpus", "all", "img"], "--gpus isn't supported yet", None),
        (&["--gpus=all", "img"], "--gpus isn't supported yet", None),
        (&["-itg", "img"], "--gpus isn't supported yet", None),
    ] {
        let failure = failure(line);
        assert_eq!(failure.message, message, "{line:?}");
        assert_eq!(failure.exit_code, 125, "{line:?}");
        if hint.is_some() {
            assert_eq!(failure.hint.as_deref(), hint, "{line:?}");
        }
    }
    let failure = failure(&["--rm"]);
    assert_eq!((failure.message.as_str(), failure.exit_code), ("requires at least 1 argument", 1));
}

#[test]
fn places_keep_the_order_between_flags() {
    let p = parsed(&["-e", "A", "--name", "n", "-e", "B", "img"]);
    let env = p.placed("env");
    let name = p.placed("name");
    assert!(env[0].0 < name[0].0 && name[0].0 < env[1].0);
}

#[test]
fn a_parser_of_few_flags_reads_what_one_of_all_reads() {
    let words =
        ["-it", "--rm=false", "--name", "--name=x", "-e", "-eA=-t", "--", "-l", "img", "--net", "--tty"];
    let read = |command: Command, args: &[std::ffi::OsString]| {
        let parsed = Parsed { matches: command.try_get_matches_from(args).ok()?, command: String::new() };
        let placed = |flag: &Flag| {
            let values = parsed.placed(flag.name).into_iter().map(|(at, value)| (at, value.to_owned()));
            values.collect::<Vec<_>>()
        };
        Some((SPEC.all_flags().map(placed).collect::<Vec<_>>(), parsed.args()))
    };
    for number in 0..words.len().pow(4) {
        let places = [1, 11, 121, 1331].map(|place| number / place % words.len());
        let args: Vec<std::ffi::OsString> = places.map(|at| words[at].into()).to_vec();
        let few = read(command(&SPEC, |flag| flag.may_be_in(&args)), &args);
        let all = read(command(&SPEC, |_| true), &args);
        assert!(few.is_none() || few == all, "{args:?}: {few:?} {all:?}");
        assert_eq!(few.is_some(), all.is_some(), "{args:?}");
    }
}
