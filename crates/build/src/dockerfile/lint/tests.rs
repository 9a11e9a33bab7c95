//! What the checks say; the expected answers are those of docker 28.5 with buildx 0.29.

use super::*;
use crate::dockerfile::parse;

/// The predefined arguments of a build for this machine.
fn predefined() -> BTreeMap<String, String> {
    let pairs =
        [("TARGETPLATFORM", "linux/amd64"), ("BUILDPLATFORM", "linux/amd64"), ("TARGETARCH", "amd64")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn report(text: &str, build_args: &[(&str, &str)], target: Target<'_>, ignored: &[&str]) -> Report {
    let file = parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let options = Options::of(&file, None).expect("options");
    let build_args =
        build_args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let matcher = Matcher::new(ignored).expect("patterns");
    let base = |name: &str| {
        (name == "busybox")
            .then(|| Base { env: vec!["PATH=/bin".to_owned(), "HOME=/root".to_owned()], has_shell: false })
    };
    check(&Subject {
        file: &file,
        options: &options,
        build_args: &build_args,
        predefined: &predefined(),
        target,
        ignored: Some(&matcher),
        base: &base,
    })
}

fn shown(report: &Report) -> Vec<String> {
    report.warnings.iter().map(Warning::short).collect()
}

/// The warnings of a file.
fn check_file(text: &str, expected: &[&str]) {
    assert_eq!(shown(&report(text, &[], Target::All, &[])), expected, "{text}");
}

/// The warnings of what follows `FROM busybox`.
fn check_stage(text: &str, expected: &[&str]) {
    check_file(&format!("FROM busybox\n{text}"), expected);
}

#[test]
fn everything_at_once_is_in_buildkits_order() {
    let text = "# check=experimental=all\nFROM busybox as Base\nCOPY foo \\\n\n /\n# some comment\n\nARG PASSWORD=1 x\nENV a b\nCMD echo $a\nCMD echo\nMAINTAINER me\nWORKDIR foo\nEXPOSE 127.0.0.1:80:80/TCP\nENV z=$nothing y=$nothing\ncopy foo foo\nFROM --platform=$TARGETPLATFORM busybox$x AS scratch\nFROM --platform=linux/amd64 busybox AS scratch\nENTRYPOINT foo\n";
    let found = shown(&report(text, &[], Target::All, &["foo"]));
    assert_eq!(
        found,
        [
            "NoEmptyContinuation: Empty continuation line (line 5)",
            "StageNameCasing: Stage name 'Base' should be lowercase (line 2)",
            "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 2)",
            "InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>` (line 8)",
            "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 12)",
            "ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\" (line 17)",
            "ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\" (line 18)",
            "DuplicateStageName: Duplicate stage name \"scratch\", stage names should be unique (line 18)",
            "ConsistentInstructionCasing: Command 'copy' should match the case of the command majority (uppercase) (line 16)",
            "UndefinedArgInFrom: FROM argument 'x' is not declared (line 17)",
            "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior (line 17)",
            "FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\" (line 18)",
            "CopyIgnoredFile: Attempting to Copy file \"foo\" that is excluded by .dockerignore (line 3)",
            "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"PASSWORD\") (line 8)",
            "LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format (line 9)",
            "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 10)",
            "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used (line 10)",
            "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 11)",
            "WorkdirRelativePath: Relative workdir \"foo\" can have unexpected results if the base image changes (line 13)",
            "ExposeProtoCasing: Defined protocol '127.0.0.1:80:80/TCP' in EXPOSE instruction should be lowercase (line 14)",
            "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80/TCP' (line 14)",
            "UndefinedVar: Usage of undefined variable '$nothing' (line 15)",
            "UndefinedVar: Usage of undefined variable '$nothing' (line 15)",
            "CopyIgnoredFile: Attempting to Copy file \"foo\" that is excluded by .dockerignore (line 16)",
            "JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals (line 19)",
        ]
    );
    // A build checks only the stages that it needs.
    let found = shown(&report(text, &[], Target::Named("scratch"), &["foo"]));
    assert_eq!(found.len(), 13, "{found:?}");
    assert_eq!(shown(&report(text, &[], Target::Last, &["foo"])), found);
}

#[test]
fn a_good_file_has_no_warnings() {
    check_file(
        "# syntax=docker/dockerfile:1\nARG V=1\nFROM busybox:$V AS base\nARG V\nENV A=$V B=$PATH C=$HOME\nWORKDIR /app\nWORKDIR sub\nCOPY --chown=$A a b\nRUN echo $UNKNOWN\nEXPOSE 80 443/tcp\nSHELL [\"/bin/sh\", \"-c\"]\nCMD x\nENTRYPOINT [\"y\"]\n\nFROM base\nLABEL a=$V\nUSER $A\n",
        &[],
    );
    check_file("from scratch as x\nlabel a=b\n", &[]);
}

#[test]
fn variables_must_be_defined() {
    check_stage("ENV A=$B", &["UndefinedVar: Usage of undefined variable '$B' (line 2)"]);
    check_stage("ENV A=1 B=$A", &["UndefinedVar: Usage of undefined variable '$A' (line 2)"]);
    check_stage("ENV A=1\nENV B=$A", &[]);
    check_stage("ARG A\nENV B=$A", &[]);
    check_stage("ARG A=$B", &["UndefinedVar: Usage of undefined variable '$B' (line 2)"]);
    check_stage(
        "ENV PATHS=$PAHT",
        &["UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?) (line 2)"],
    );
    check_stage("ENV A=${B:-c}", &["UndefinedVar: Usage of undefined variable '$B' (line 2)"]);
    check_stage("WORKDIR /$A", &["UndefinedVar: Usage of undefined variable '$A' (line 2)"]);
    check_stage(
        "USER $A\nVOLUME /$B\nSTOPSIGNAL $C",
        &[
            "UndefinedVar: Usage of undefined variable '$A' (line 2)",
            "UndefinedVar: Usage of undefined variable '$B' (line 3)",
            "UndefinedVar: Usage of undefined variable '$C' (line 4)",
        ],
    );
    check_stage(
        "COPY $A $B /",
        &[
            "UndefinedVar: Usage of undefined variable '$A' (line 2)",
            "UndefinedVar: Usage of undefined variable '$B' (line 2)",
        ],
    );
    check_stage("COPY <<EOF /x\n$A\nEOF", &["UndefinedVar: Usage of undefined variable '$A' (line 2)"]);
    check_stage("COPY <<'EOF' /x\n$A\nEOF", &[]);
    check_stage(
        "RUN --mount=type=cache,target=/$A x",
        &["UndefinedVar: Usage of undefined variable '$A' (line 2)"],
    );
    check_stage("RUN echo $A\nEXPOSE $B\nCMD [\"$C\"]\nENV x='$D' y=\\$E", &[]);
    check_file(
        "ARG G=1\nFROM busybox\nENV A=$G",
        &["UndefinedVar: Usage of undefined variable '$G' (line 3)"],
    );
    check_file("FROM unknown\nENV A=$B", &[]);
    check_file("FROM busybox AS a\nENV A=1\nFROM a\nENV B=$A", &[]);
}

#[test]
fn bases_use_declared_arguments() {
    check_file(
        "FROM busybox:$V",
        &[
            "InvalidDefaultArgInFrom: Default value for ARG busybox:$V results in empty or invalid base image name (line 1)",
            "UndefinedArgInFrom: FROM argument 'V' is not declared (line 1)",
        ],
    );
    check_file(
        "ARG VERSION\nFROM busybox:${VERSOIN:-1}",
        &["UndefinedArgInFrom: FROM argument 'VERSOIN' is not declared (did you mean VERSION?) (line 2)"],
    );
    check_file(
        "ARG V\nFROM busybox:$V",
        &[
            "InvalidDefaultArgInFrom: Default value for ARG busybox:$V results in empty or invalid base image name (line 2)",
        ],
    );
    check_file("ARG V=1\nFROM busybox:$V", &[]);
    check_file("FROM --platform=$BUILDPLATFORM busybox", &[]);
    check_file("FROM --platform=linux/amd64 busybox AS build_amd64", &[]);
    check_file(
        "FROM --platform=linux/arm64 busybox AS x",
        &[
            "FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/arm64\" (line 1)",
        ],
    );
    let given = report("ARG V\nFROM busybox:$V", &[("V", "1")], Target::All, &[]);
    assert_eq!(shown(&given).len(), 1, "without the argument it fails: {given:?}");
}

#[test]
fn secrets_are_known_by_their_names() {
    for name in ["PASSWORD", "db_password", "API_KEY", "GITHUB_TOKEN", "AUTH", "my_secret_thing", "apikey"] {
        let expected = format!(
            "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV {name:?}) (line 2)"
        );
        check_stage(&format!("ENV {name}=x"), &[&expected]);
    }
    for name in ["KEYBOARD", "PUBLIC_KEY", "TOKEN_FILE", "AUTHOR", "monkey", "SECRET_VERSION", "x"] {
        check_stage(&format!("ENV {name}=x"), &[]);
    }
}

#[test]
fn checks_are_skipped_where_that_is_said() {
    check_file("# check=skip=JSONArgsRecommended\nFROM busybox\nCMD x", &[]);
    check_file("# check=skip=all\nFROM busybox\nCMD x\nMAINTAINER y", &[]);
    check_file("# check=skip=Other,JSONArgsRecommended;error=true\nFROM busybox\nCMD x", &[]);
    check_stage(
        "# check=skip=JSONArgsRecommended\nCMD x\nENTRYPOINT y",
        &[
            "JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals (line 4)",
        ],
    );
    let options = |text: &str| Options::parse(text);
    assert!(options("error=true").is_ok_and(|options| options.is_error));
    assert!(options("error=0").is_ok_and(|options| !options.is_error));
    assert_eq!(
        options("foo=true").expect_err("unknown").to_string(),
        "failed to parse check options: invalid check option \"foo\""
    );
    assert_eq!(
        options("skip").expect_err("no value").to_string(),
        "failed to parse check options: invalid check option \"skip\""
    );
    assert!(options("error=x").is_err());
    let file = parse("# check=skip=all and more\nFROM x").expect("a file");
    let of = |argument| Options::of(&file, argument).expect("options");
    assert!(!of(None).checks(&rules::UNDEFINED_VAR));
    assert!(of(Some("error=true")).checks(&rules::UNDEFINED_VAR));
}

#[test]
fn ignored_files_are_told_if_asked_for() {
    let text = |copy: &str| format!("# check=experimental=CopyIgnoredFile\nFROM busybox\n{copy}");
    let check = |copy: &str, ignored: &[&str], expected: &[&str]| {
        assert_eq!(shown(&report(&text(copy), &[], Target::All, ignored)), expected, "{copy}");
    };
    check(
        "COPY a /",
        &["a"],
        &["CopyIgnoredFile: Attempting to Copy file \"a\" that is excluded by .dockerignore (line 3)"],
    );
    check("ADD /a/b /", &["a"], &[]);
    check(
        "ADD a/b/ /",
        &["a"],
        &["CopyIgnoredFile: Attempting to Add file \"a/b\" that is excluded by .dockerignore (line 3)"],
    );
    check("COPY --from=x a /", &["a"], &[]);
    check("COPY a /", &["a", "!a/b"], &[]);
    check("COPY . /", &["a"], &[]);
    check(
        "COPY . /",
        &["*"],
        &["CopyIgnoredFile: Attempting to Copy file \".\" that is excluded by .dockerignore (line 3)"],
    );
}

#[test]
fn faults_that_only_show_with_variables_are_errors() {
    let text = "FROM busybox\nENV a=${b\nRUN --mount=type=bnd x\nEXPOSE x\nENV c=${d:?needed}\n";
    let report = report(text, &[], Target::All, &[]);
    let found: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "failed to process \"${b\": unsupported modifier (\u{fffd}) in substitution",
            "unsupported mount type \"bnd\" (did you mean bind?)",
            "invalid containerPort: x",
            "failed to process \"${d:?needed}\": d: needed",
        ]
    );
}

#[test]
fn reports_are_printed_as_buildx_does() {
    let text = "FROM busybox\nCMD x\nMAINTAINER y\n";
    let found = report(text, &[], Target::All, &[]);
    assert_eq!(found.summary(), "Check complete, 2 warnings have been found!");
    assert_eq!(
        found.text("Dockerfile", text),
        "\nWARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\nJSON arguments recommended for CMD to prevent unintended behavior related to OS signals\nDockerfile:2\n--------------------\n   1 |     FROM busybox\n   2 | >>> CMD x\n   3 |     MAINTAINER y\n   4 |     \n--------------------\n\nWARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\nMaintainer instruction is deprecated in favor of using label\nDockerfile:3\n--------------------\n   1 |     FROM busybox\n   2 |     CMD x\n   3 | >>> MAINTAINER y\n   4 |     \n--------------------\n"
    );
    let json = found.json("Dockerfile", text);
    assert_eq!(json["warnings"][0]["ruleName"], "MaintainerDeprecated");
    assert_eq!(json["warnings"][1]["location"]["ranges"][0]["start"]["line"], 2);
    assert_eq!(json["sources"][0]["data"], "RlJPTSBidXN5Ym94CkNNRCB4Ck1BSU5UQUlORVIgeQo=");
    assert_eq!(
        found.violation().as_deref(),
        Some("lint violation found for rules: MaintainerDeprecated, JSONArgsRecommended")
    );
    assert_eq!(Report::default().summary(), "Check complete, no warnings found.");
    assert_eq!(Report::default().violation(), None);
}

#[test]
fn every_rule_has_a_name_of_its_own_and_a_page() {
    let mut names: Vec<_> = rules::ALL.iter().map(|rule| rule.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 22);
    let without: Vec<_> =
        rules::ALL.iter().filter(|rule| rule.url().is_empty()).map(|rule| rule.name).collect();
    assert_eq!(without, ["InvalidBaseImagePlatform"]);
}
