use super::*;

fn read(line: &str) -> Result<(Globals, RuntimeCommand), Failure> {
    let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
    let mut globals = Globals { root: None, log: None, log_format: LogFormat::Text, debug: false };
    let Asked::Work(parsed) = flags::parse(&options::GLOBAL, "berth-runtime", &words)? else {
        panic!("help")
    };
    read::globals(&parsed, &mut globals)?;
    let args = parsed.args();
    let entry = ENTRIES.iter().find(|entry| entry.name == args[0]).ok_or_else(|| unknown(&args[0]))?;
    let rest: Vec<OsString> = args[1..].iter().map(Into::into).collect();
    let Asked::Work(parsed) = flags::parse(entry.spec, entry.name, &rest)? else { panic!("help") };
    let read = entry.read.expect("not spec");
    Ok((globals, read(&parsed)?))
}

#[test]
fn containerds_lines_parse() {
    let (globals, command) = read(
        "--root /run/r --log /l.json --log-format json --rootless auto create --bundle /b --pid-file /p \
         --console-socket /s --preserve-fds 2 --no-pivot c1",
    )
    .expect("valid");
    assert_eq!(globals.root, Some("/run/r".into()));
    assert_eq!((globals.log, globals.log_format), (Some("/l.json".into()), LogFormat::Json));
    let RuntimeCommand::Create(options) = command else { panic!("{command:?}") };
    assert_eq!((options.id.as_str(), options.bundle), ("c1", "/b".into()));
    assert_eq!((options.preserve_fds, options.no_pivot), (2, true));

    let kill = |id: &str, signal, all| RuntimeCommand::Kill { id: id.into(), signal, all };
    assert_eq!(read("kill c1").expect("valid").1, kill("c1", 15, false));
    assert_eq!(read("kill --all c1 9").expect("valid").1, kill("c1", 9, true));
    assert_eq!(read("kill c1 SIGHUP").expect("valid").1, kill("c1", 1, false));
    assert_eq!(
        read("delete --force c1").expect("valid").1,
        RuntimeCommand::Delete { id: "c1".into(), force: true }
    );
    assert_eq!(read("list -f json -q").expect("valid").1, RuntimeCommand::List { json: true, quiet: true });
    let run = read("run -d -b /b c1").expect("valid").1;
    assert!(matches!(run, RuntimeCommand::Run { detach: true, keep: false, .. }));
}

#[test]
fn exec_takes_a_document_or_options() {
    let (_, command) = read("exec --process /p.json --detach --pid-file /p c1").expect("valid");
    let RuntimeCommand::Exec(options) = command else { panic!("{command:?}") };
    assert_eq!((options.process, options.args.len()), (Some("/p.json".into()), 0));
    let (_, command) =
        read("exec -t -u 1:2 -g 3 -g 4 -e A=1 -c net_admin --cwd /w c1 sh -c id").expect("valid");
    let RuntimeCommand::Exec(options) = command else { panic!("{command:?}") };
    assert_eq!((options.user, options.additional_gids), (Some((1, Some(2))), vec![3, 4]));
    assert_eq!(
        (options.caps, options.args),
        (vec!["CAP_NET_ADMIN".into()], vec!["sh".into(), "-c".into(), "id".into()])
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (line, message) in [
        ("--systemd-cgroup create c1", "--systemd-cgroup isn't supported yet"),
        ("--rootless true create c1", "--rootless true isn't supported yet"),
        ("--log-format xml state c1", "invalid log-format: xml"),
        ("create", "requires 1 argument"),
        ("create ../x", "invalid container ID format: \"../x\""),
        ("create ..", "invalid container ID format: \"..\""),
        ("kill c1 NOPE", "unknown signal \"NOPE\""),
        ("exec c1", "process args cannot be empty"),
        ("list -f xml", "invalid format option"),
        ("creat c1", "No help topic for 'creat'"),
        ("create --bogus c1", "unknown flag: --bogus"),
    ] {
        assert_eq!(read(line).expect_err(line).message, message, "{line}");
    }
}
