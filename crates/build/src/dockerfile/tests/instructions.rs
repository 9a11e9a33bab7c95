//! What instructions say.

use super::{dump, file, one};
use crate::dockerfile::ast::{Kind, RunNetwork};
use crate::dockerfile::mount::{MountType, RunMount};
use crate::op::Sharing;
use std::time::Duration;

/// What follows `FROM scratch`.
fn check(text: &str, expected: &str) {
    let lines = dump(&format!("FROM scratch\n{text}"));
    assert_eq!(lines[1..], [expected.to_owned()], "{text}");
}

#[test]
fn stages_have_bases_and_names() {
    let check = |text: &str, expected: &[&str]| assert_eq!(dump(text), expected, "{text}");
    check("FROM x", &["FROM x as \"\""]);
    check("from x as y", &["FROM x as \"y\""]);
    check("FROM x AS Build-1.2_a", &["FROM x as \"build-1.2_a\""]);
    check(
        "FROM --platform=$BUILDPLATFORM x:1@sha256:ab AS y",
        &["FROM x:1@sha256:ab on $BUILDPLATFORM as \"y\""],
    );
    check("FROM --platform=\"linux/amd64\"   x", &["FROM x on linux/amd64 as \"\""]);
    check(
        "ARG a=1\nARG b\nFROM x:$a\nARG b\nFROM y",
        &["ARG a=1", "ARG b", "FROM x:$a as \"\"", "ARG b", "FROM y as \"\""],
    );
}

#[test]
fn commands_are_json_or_lines_for_the_shell() {
    check("RUN echo hi", "RUN \"echo hi\"");
    check("RUN [\"echo\", \"a b\"]", "RUN [\"echo\", \"a b\"]");
    check("RUN  [ \"a\" ]  ", "RUN [\"a\"]");
    check("RUN ['a']", "RUN \"['a']\"");
    check("RUN [\"a\",]", "RUN \"[\\\"a\\\",]\"");
    check("RUN [\"a\"] && b", "RUN \"[\\\"a\\\"] && b\"");
    check("RUN [ -f x ]", "RUN \"[ -f x ]\"");
    check("RUN []", "RUN []");
    check("CMD []", "CMD []");
    check("CMD", "CMD \"\"");
    check("CMD a 'b'", "CMD \"a 'b'\"");
    check("CMD [\"\\u0041\\n\"]", "CMD [\"A\\n\"]");
    check("ENTRYPOINT [\"/a\", \"$b\"]", "ENTRYPOINT [\"/a\", \"$b\"]");
    check("ENTRYPOINT exec top -b", "ENTRYPOINT \"exec top -b\"");
    check("SHELL [\"/bin/bash\", \"-c\"]", "SHELL [\"/bin/bash\", \"-c\"]");
    check("RUN --network=none -- --not-a-flag", "RUN \"--not-a-flag\"");
}

#[test]
fn pairs_have_an_old_and_a_new_form() {
    check("ENV a=b", "ENV a=b");
    check("ENV a=b c=d", "ENV a=b|c=d");
    check("ENV a=", "ENV a=");
    check("ENV a='b c' d=\"e f\"", "ENV a='b c'|d=\"e f\"");
    check("ENV a=b\\ c d=e", "ENV a=b\\ c|d=e");
    check("ENV a b c", "ENV a b c");
    check("ENV a   b=c", "ENV a b=c");
    check("ENV a\tb", "ENV a b");
    check("ENV PATH=$PATH:/x y=${z:-a} z=${y:-'a b'}", "ENV PATH=$PATH:/x|y=${z:-a}|z=${y:-'a b'}");
    check("ENV a=b=c", "ENV a=b=c");
    check("ENV a=b \\\n c=d", "ENV a=b|c=d");
    check("LABEL \"a b\"=c", "LABEL \"a b\"=c");
    check("LABEL a.b=\"c\\\nd\"", "LABEL a.b=\"cd\"");
}

#[test]
fn arguments_may_have_defaults() {
    check("ARG a", "ARG a");
    check("ARG a=b", "ARG a=b");
    check("ARG a=", "ARG a=");
    check("ARG a b=c d='e f'", "ARG a|b=c|d='e f'");
    check("ARG a=$b", "ARG a=$b");
}

#[test]
fn copies_have_sources_and_a_destination() {
    check("COPY a b", "COPY [\"a\"] [] -> \"b\"");
    check("COPY a b c/", "COPY [\"a\", \"b\"] [] -> \"c/\"");
    check("COPY [\"a b\", \"c\"]", "COPY [\"a b\"] [] -> \"c\"");
    check("ADD http://x/y /z", "ADD [\"http://x/y\"] [] -> \"/z\"");
    check("COPY \"a\" 'b'", "COPY [\"\\\"a\\\"\"] [] -> \"'b'\"");
    let Kind::Copy(copy) = one(
        "COPY --from=b --chown=1:2 --chmod=u=rwX,go=rX --link --parents --exclude=*.a --exclude=\"b c\" x y",
    )
    .kind
    else {
        panic!()
    };
    let text = |word: Option<crate::dockerfile::source::Word>| word.map(|word| word.text);
    assert_eq!(text(copy.from), Some("b".to_owned()));
    assert_eq!(text(copy.chown), Some("1:2".to_owned()));
    assert_eq!(text(copy.chmod), Some("u=rwX,go=rX".to_owned()));
    assert!(copy.is_linked && copy.has_parents);
    assert_eq!(copy.excludes.iter().map(|word| &word.text[..]).collect::<Vec<_>>(), ["*.a", "b c"]);
    let Kind::Copy(copy) = one("COPY --link=false --parents=TRUE x y").kind else { panic!() };
    assert!(!copy.is_linked && copy.has_parents);
    let Kind::Add(add) = one("ADD --checksum=sha256:ab --keep-git-dir --unpack=false x y").kind else {
        panic!()
    };
    assert_eq!(text(add.checksum), Some("sha256:ab".to_owned()));
    assert!(add.keeps_git_dir);
    assert_eq!(add.unpack, Some(false));
}

#[test]
fn other_instructions_have_one_argument_or_a_list() {
    check("EXPOSE 80 443/tcp 53/udp", "EXPOSE [\"443/tcp\", \"53/udp\", \"80\"]");
    check("EXPOSE $P", "EXPOSE [\"$P\"]");
    check("VOLUME /a /b", "VOLUME [\"/a\", \"/b\"]");
    check("VOLUME [\"/a b\", \" /c \"]", "VOLUME [\"/a b\", \"/c\"]");
    check("USER a b", "USER \"a b\"");
    check("USER $u:$g", "USER \"$u:$g\"");
    check("WORKDIR  /a/$b ", "WORKDIR \"/a/$b\"");
    check("STOPSIGNAL SIGTERM", "STOPSIGNAL \"SIGTERM\"");
    check("MAINTAINER Some One <a@b>", "MAINTAINER \"Some One <a@b>\"");
    check("ONBUILD  RUN a  b", "ONBUILD \"RUN a  b\"");
    check("ONBUILD COPY [\"a\", \"b\"]", "ONBUILD \"COPY [\\\"a\\\", \\\"b\\\"]\"");
    check("ONBUILD NONSENSE x", "ONBUILD \"NONSENSE x\"");
}

#[test]
fn health_checks_have_a_test_and_durations() {
    check("HEALTHCHECK NONE", "HEALTHCHECK [\"NONE\"] every 0ns");
    check("HEALTHCHECK none", "HEALTHCHECK [\"NONE\"] every 0ns");
    check("HEALTHCHECK CMD a  b", "HEALTHCHECK [\"CMD-SHELL\", \"a  b\"] every 0ns");
    check("HEALTHCHECK cmd [\"a\", \"b\"]", "HEALTHCHECK [\"CMD\", \"a\", \"b\"] every 0ns");
    check("HEALTHCHECK --interval=1m30s CMD a", "HEALTHCHECK [\"CMD-SHELL\", \"a\"] every 90s");
    let text = "HEALTHCHECK --timeout=2s --start-period=500ms --start-interval=1s --retries=4 CMD a";
    let Kind::Healthcheck(check) = one(text).kind else { panic!() };
    assert_eq!(check.timeout, Duration::from_secs(2));
    assert_eq!(check.start_period, Duration::from_millis(500));
    assert_eq!(check.start_interval, Duration::from_secs(1));
    assert_eq!(check.retries, 4);
}

#[test]
fn flags_of_run_are_read() {
    let Kind::Run(run) =
        one("RUN --network=host --security=insecure --mount=type=tmpfs,target=/t --device=x a").kind
    else {
        panic!()
    };
    assert_eq!(
        (run.network, run.is_insecure, run.mounts.len(), run.devices.len()),
        (RunNetwork::Host, true, 1, 1)
    );
    let Kind::Run(run) = one("RUN --network=default --security=sandbox a").kind else { panic!() };
    assert_eq!((run.network, run.is_insecure), (RunNetwork::Default, false));
}

fn mount(flag: &str) -> Result<RunMount, String> {
    let Kind::Run(run) = one(&format!("RUN --mount={flag} x")).kind else { panic!() };
    let value = |word: &str| -> Result<String, String> { Ok(word.replace("$v", "value")) };
    run.mounts[0].evaluate(value).map_err(|error| match error.hint {
        Some(hint) => format!("{} ({hint})", error.message),
        None => error.message,
    })
}

#[test]
fn mounts_have_fields_and_defaults() {
    let bind = RunMount { target: "/t".to_owned(), is_read_only: true, ..RunMount::default() };
    assert_eq!(mount("target=/t"), Ok(bind.clone()));
    assert_eq!(mount("type=bind,dst=/t,rw"), Ok(RunMount { is_read_only: false, ..bind.clone() }));
    assert_eq!(mount("destination=/t,readwrite=false"), Ok(bind.clone()));
    assert_eq!(mount("dst=/t,ro=0"), Ok(RunMount { is_read_only: false, ..bind.clone() }));
    let from = RunMount { from: "stage".to_owned(), source: "/s".to_owned(), ..bind.clone() };
    assert_eq!(mount("from=stage,src=/s,target=/t"), Ok(from));
    let cache = RunMount {
        kind: MountType::Cache,
        target: "/c/value".to_owned(),
        id: "i-value".to_owned(),
        sharing: Some(Sharing::Locked),
        mode: Some(0o750),
        uid: Some(1),
        gid: Some(2),
        ..RunMount::default()
    };
    assert_eq!(mount("type=cache,target=/c/$v,id=i-$v,sharing=locked,mode=0750,uid=1,gid=2"), Ok(cache));
    let tmpfs = RunMount {
        kind: MountType::Tmpfs,
        target: "/t".to_owned(),
        size: Some(64 << 20),
        ..RunMount::default()
    };
    assert_eq!(mount("type=tmpfs,target=/t,size=64m"), Ok(tmpfs));
    let secret = RunMount {
        kind: MountType::Secret,
        id: "s".to_owned(),
        is_required: true,
        is_read_only: true,
        env: Some("E".to_owned()),
        ..RunMount::default()
    };
    assert_eq!(mount("type=secret,id=s,required,env=E"), Ok(secret.clone()));
    assert_eq!(mount("TYPE=Secret,ID=s,required=1,env=E"), Ok(secret));
    assert_eq!(mount("'\"target=/a,b\"'").map(|mount| mount.target), Ok("/a,b".to_owned()));
}

#[test]
fn wrong_mounts_say_why() {
    let check = |flag: &str, expected: &str| assert_eq!(mount(flag), Err(expected.to_owned()), "{flag}");
    check("type=bnd,target=/t", "unsupported mount type \"bnd\" (did you mean bind?)");
    check("target=/t,x=1", "unexpected key 'x' in 'x=1'");
    check("targt=/t", "unexpected key 'targt' in 'targt=/t' (did you mean target?)");
    check("target", "invalid field 'target' must be a key=value pair");
    check("target=/t,ro=x", "invalid value for ro: x");
    check("target=/t,required", "unexpected key 'required' for mount type 'bind'");
    check("target=/t,size=1", "unexpected key 'size' for mount type 'bind'");
    check("type=tmpfs,target=/t,size=x", "invalid value for size: x");
    check("type=cache,target=/t,sharing=lock", "unsupported sharing value \"lock\" (did you mean locked?)");
    check("type=cache,target=/t,mode=9", "invalid value 9 for mode");
    check("type=cache,target=/t,uid=x", "invalid value x for uid");
    check("target=/t,mode=0700", "mode not allowed for \"bind\" type mounts");
    check("type=tmpfs,target=/t,uid=1", "uid not allowed for \"tmpfs\" type mounts");
    check("target=/t,sharing=shared", "invalid cache sharing set for bind mount");
    check("type=secret", "invalid secret mount. one of source, target required");
    check("type=secret,id=a,source=b", "both source and id can't be set");
    check("type=secret,id=a,from=b", "secret mount should not have a from");
    check("type=secret,id=a,sharing=shared", "secret mount should not define sharing");
}

#[test]
fn a_line_with_an_escape_at_its_end_is_whole() {
    let file = file("FROM scratch\nENV a=b \\");
    assert_eq!(file.stages[0].instructions[0].code, "ENV a=b");
}
