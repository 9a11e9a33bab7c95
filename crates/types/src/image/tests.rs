use super::media::Compression;
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn descriptor(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{HEX}"), "size": 7})
}

fn manifest(media_type: &str) -> Value {
    let layers = [descriptor(media::OCI_LAYER_GZIP)];
    json!({"schemaVersion": 2, "mediaType": media_type, "config": descriptor(media::OCI_CONFIG), "layers": layers})
}

fn index(media_type: &str) -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [descriptor(media::OCI_MANIFEST)]})
}

fn with(mut document: Value, name: &str, value: Value) -> Value {
    match value {
        Value::Null => document.as_object_mut().unwrap().remove(name),
        value => document.as_object_mut().unwrap().insert(name.into(), value),
    };
    document
}

#[test]
fn a_media_type_says_what_the_content_is() {
    let check = |text: &str, kind| assert_eq!(MediaKind::of(text), kind, "{text}");
    check(media::OCI_MANIFEST, MediaKind::Manifest);
    check("Application/vnd.docker.distribution.manifest.v2+json; charset=utf-8", MediaKind::Manifest);
    check(media::DOCKER_INDEX, MediaKind::Index);
    check(media::DOCKER_CONFIG, MediaKind::Config);
    check(media::OCI_LAYER, MediaKind::Layer(Compression::None));
    check(media::DOCKER_LAYER_GZIP, MediaKind::Layer(Compression::Gzip));
    check(media::OCI_LAYER_ZSTD, MediaKind::Layer(Compression::Zstd));
    check("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MediaKind::ForeignLayer);
    check(media::OCI_RESTRICTED, MediaKind::Layer(Compression::None));
    check(media::OCI_RESTRICTED_GZIP, MediaKind::Layer(Compression::Gzip));
    check(media::OCI_RESTRICTED_ZSTD, MediaKind::Layer(Compression::Zstd));
    check("application/vnd.docker.distribution.manifest.v1+prettyjws", MediaKind::SchemaOne);
    check("application/json", MediaKind::Unknown);
    check("", MediaKind::Unknown);
}

#[test]
fn manifests_and_indexes_of_both_families_are_read() {
    let check = |document: Value, claims: &[&str], is_index: bool| {
        let read = Document::parse(document.to_string().as_bytes(), claims).unwrap();
        assert_eq!(matches!(read, Document::Index(_)), is_index);
        let written = match &read {
            Document::Manifest(manifest) => serde_json::to_value(manifest).unwrap(),
            Document::Index(index) => serde_json::to_value(index).unwrap(),
        };
        assert_eq!(written, document);
    };
    for media_type in [media::OCI_MANIFEST, media::DOCKER_MANIFEST] {
        check(manifest(media_type), &[media_type], false);
        check(manifest(media_type), &[], false);
        check(manifest(media_type), &["text/plain", "application/octet-stream"], false);
    }
    for media_type in [media::OCI_INDEX, media::DOCKER_INDEX] {
        check(index(media_type), &[media_type, &format!("{media_type}; charset=utf-8")], true);
    }
    // The largest that registries take.
    let mut large = manifest(media::OCI_MANIFEST).to_string();
    large += &" ".repeat(MANIFEST_BYTES_MAX - large.len());
    assert!(Document::parse(large.as_bytes(), &[]).is_ok());
    // OCI's documents may leave their own type out.
    check(with(manifest(""), "mediaType", Value::Null), &[media::OCI_MANIFEST], false);
    check(with(index(""), "mediaType", Value::Null), &[media::OCI_INDEX], true);
}

/// CVE-2021-41190, CVE-2021-21285 (a document that two readers take for two things).
#[test]
fn a_document_that_can_be_read_in_two_ways_is_refused() {
    let check = |document: &str, claims: &[&str], reason: &str| {
        let error = Document::parse(document.as_bytes(), claims).unwrap_err();
        assert!(matches!(&error, Error::Invalid(text) if text.contains(reason)), "{document}: {error:?}");
    };
    let oci = manifest(media::OCI_MANIFEST);
    let both = with(oci.clone(), "manifests", json!([])).to_string();
    check(&both, &[media::OCI_MANIFEST], "a manifest and of an index");
    let both = with(index(media::OCI_INDEX), "layers", json!([])).to_string();
    check(&both, &[media::OCI_INDEX], "a manifest and of an index");
    check(&oci.to_string(), &[media::OCI_INDEX], "its media type is");
    check(&oci.to_string(), &[media::DOCKER_MANIFEST], "its media type is");
    check(&oci.to_string(), &[media::OCI_MANIFEST, media::DOCKER_INDEX], "its media type is");
    check(&with(oci.clone(), "mediaType", Value::Null).to_string(), &["text/plain"], "nothing says");
    check(&with(oci.clone(), "Manifests", json!([])).to_string(), &[], "readers differ");
    check(&with(oci.clone(), "MEDIATYPE", json!(media::OCI_INDEX)).to_string(), &[], "readers differ");
    let twice = oci.to_string().replacen('{', &format!("{{\"mediaType\":\"{}\",", media::OCI_INDEX), 1);
    check(&twice, &[], "twice");
    // The kind that is claimed, with the members of the other.
    check(&index(media::OCI_MANIFEST).to_string(), &[], "missing field");
    check(&manifest(media::OCI_INDEX).to_string(), &[], "missing field");
}

#[test]
fn malformed_documents_are_refused() {
    let check = |document: String, reason: &str| {
        let error = Document::parse(document.as_bytes(), &[media::OCI_MANIFEST]).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    };
    let oci = manifest(media::OCI_MANIFEST);
    let bad_layer = |name: &str, value: Value| {
        with(oci.clone(), "layers", json!([with(descriptor(media::OCI_LAYER), name, value)])).to_string()
    };
    check("[]".into(), "expected an object");
    check("{".into(), "not a manifest");
    check(String::new(), "not a manifest");
    check("[".repeat(100_000), "not a manifest");
    check(format!("{{\"a\":{}", "[".repeat(100_000)), "not a manifest");
    check(with(oci.clone(), "schemaVersion", json!(3)).to_string(), "schemaVersion");
    check(with(oci.clone(), "config", Value::Null).to_string(), "config");
    check(bad_layer("size", json!(-1)), "invalid value");
    check(bad_layer("size", json!(1.5)), "invalid type");
    check(bad_layer("digest", json!("sha256:../../../etc/passwd")), "a digest has");
    check(
        with(oci.clone(), "layers", json!(vec![descriptor(media::OCI_LAYER); 1001])).to_string(),
        "at most 1000 layers",
    );
    let many = with(index(media::OCI_INDEX), "manifests", json!(vec![descriptor(media::OCI_MANIFEST); 4097]));
    let error = Document::parse(many.to_string().as_bytes(), &[]).unwrap_err();
    assert!(error.to_string().contains("at most 4096"), "{error}");
    check(format!("{oci}{}", " ".repeat(MANIFEST_BYTES_MAX)), "at most 4194304 bytes");
}

#[test]
fn schema_one_and_artifacts_of_other_types_are_unsupported() {
    let check = |document: Value, claims: &[&str]| {
        let error = Document::parse(document.to_string().as_bytes(), claims).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    };
    check(json!({"schemaVersion": 1, "fsLayers": []}), &[media::OCI_MANIFEST]);
    check(manifest("application/vnd.docker.distribution.manifest.v1+json"), &[]);
    check(manifest("application/vnd.oci.artifact.manifest.v1+json"), &[]);
}

#[test]
fn a_configuration_of_dockers_is_read_with_its_nulls() {
    let text = json!({
        "architecture": "arm64", "os": "linux", "variant": "v8", "docker_version": "27.0", "container": "x",
        "created": "2024-01-01T00:00:00Z",
        "config": {
            "Hostname": "", "User": "1000:www", "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Tty": false,
            "Env": ["A=b"], "Cmd": ["-v"], "Entrypoint": null, "Volumes": null, "WorkingDir": "/srv",
            "OnBuild": null, "Labels": {"a": "b"}, "StopSignal": "SIGQUIT", "ArgsEscaped": true, "StopTimeout": 3,
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_i64, "Retries": 2},
            "Shell": ["/bin/bash", "-c"],
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{HEX}")]},
        "history": [{"created_by": "x", "empty_layer": true}, {"comment": "y"}],
    });
    let config = ImageConfig::parse(text.to_string().as_bytes()).unwrap();
    assert_eq!(config.platform(), Platform::linux("arm64", ""));
    let run = &config.config;
    assert_eq!((run.user.as_str(), run.working_dir.as_str()), ("1000:www", "/srv"));
    assert_eq!(run.exposed_ports, ["53/udp", "80/tcp"]);
    assert_eq!((&run.entrypoint, run.cmd.as_deref()), (&None, Some(&["-v".to_owned()][..])));
    let health = run.healthcheck.as_ref().unwrap();
    assert_eq!((health.interval, health.retries, health.timeout), (5_000_000_000, 2, 0));
    assert_eq!((run.stop_timeout, run.args_escaped, run.shell.len()), (Some(3), true, 2));
    assert_eq!(config.rootfs.diff_ids.len(), 1);
    assert!(config.history[0].empty_layer && !config.history[1].empty_layer);
    let written = serde_json::to_vec(&config).unwrap();
    assert_eq!(ImageConfig::parse(&written).unwrap(), config);
}

#[test]
fn a_configuration_may_be_nearly_empty_but_not_wrong() {
    assert_eq!(ImageConfig::parse(b"{}").unwrap(), ImageConfig::default());
    let old = ImageConfig::parse(br#"{"config":{"Entrypoint":"/init","Cmd":[]}}"#).unwrap();
    assert_eq!(old.config.entrypoint, Some(vec!["/init".to_owned()]));
    assert_eq!(old.config.cmd, Some(vec![]));
    let large = format!("{{}}{}", " ".repeat(CONFIG_BYTES_MAX));
    for bad in [
        "",
        "[]",
        r#"{"config":{"Env":"x"}}"#,
        r#"{"config":{"Entrypoint":3}}"#,
        r#"{"rootfs":{"type":"layers","diff_ids":["sha256:00"]}}"#,
        r#"{"rootfs":{"type":"windows"}}"#,
        r#"{"config":{"Healthcheck":{"Interval":"5s"}}}"#,
        &large,
    ] {
        assert!(ImageConfig::parse(bad.as_bytes()).is_err(), "{:?}", &bad[..bad.len().min(80)]);
    }
}

#[test]
fn platforms_are_read_and_normalised() {
    let host = Platform::host("x86_64");
    let check = |text: &str, shown: &str| {
        let platform = Platform::parse(text, &host).unwrap();
        assert_eq!(platform.to_string(), shown, "{text}");
        assert_eq!(Platform::parse(shown, &host).unwrap(), platform);
    };
    check("linux", "linux/amd64");
    check("amd64", "linux/amd64");
    check("x86_64", "linux/amd64");
    check("Linux/X86-64/v1", "linux/amd64");
    check("linux/amd64/v3", "linux/amd64/v3");
    check("i386", "linux/386");
    check("aarch64", "linux/arm64");
    check("linux/arm64/v8", "linux/arm64");
    check("linux/arm64/8", "linux/arm64");
    check("linux/arm64/v9.0", "linux/arm64/v9");
    check("arm", "linux/arm/v7");
    check("linux/arm", "linux/arm/v7");
    check("linux/arm/6", "linux/arm/v6");
    check("armhf", "linux/arm/v7");
    check("armel", "linux/arm/v6");
    check("linux/s390x", "linux/s390x");
    check("macos/arm64", "darwin/arm64");
    check("windows/amd64", "windows/amd64");
    for bad in ["", "/", "linux/", "linux/arm/v7/x", "nonsense", "linux/a b", "lin\u{1b}ux", &"a".repeat(200)]
    {
        assert!(Platform::parse(bad, &host).is_err(), "{bad:?}");
    }
    assert_eq!(Platform::host("aarch64"), Platform::linux("arm64", ""));
    assert_eq!(Platform::host("armv7l"), Platform::linux("arm", "v7"));
    assert_eq!(Platform::host("i686"), Platform::linux("386", ""));
    assert_eq!(Platform::host("powerpc64le"), Platform::linux("ppc64le", ""));
}

#[test]
fn an_index_gives_the_best_that_runs() {
    let host = Platform::host("x86_64");
    let offer = |text: &str| {
        let mut entry = Descriptor::new(media::OCI_MANIFEST, crate::digest::Digest::of(text.as_bytes()), 1);
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (os, architecture, variant) = (next(), next(), next());
        entry.platform = (text != "-").then(|| Platform { os, architecture, variant, ..Platform::default() });
        entry
    };
    let check = |wanted: &str, offers: &[&str], best: Option<usize>| {
        let manifests: Vec<Descriptor> = offers.iter().map(|text| offer(text)).collect();
        let index = Index {
            schema_version: 2,
            media_type: String::new(),
            artifact_type: None,
            manifests: manifests.clone(),
            subject: None,
            annotations: Default::default(),
        };
        let wanted = Platform::parse(wanted, &host).unwrap();
        assert_eq!(index.pick(&wanted), best.map(|best| &manifests[best]), "{wanted} of {offers:?}");
    };
    check("linux/amd64", &["linux/arm64", "linux/amd64", "linux/386"], Some(1));
    check("linux/amd64", &["linux/amd64", "linux/amd64"], Some(0));
    check("linux/amd64", &["unknown/unknown", "linux/x86_64/v1"], Some(1));
    check("linux/amd64", &["linux/386", "linux/amd64/v2"], Some(0));
    check("linux/amd64", &["windows/amd64", "linux/arm64/v8"], None);
    check("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], Some(1));
    check("linux/amd64/v3", &["linux/386", "linux/amd64"], Some(1));
    check("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"], Some(1));
    check("linux/arm64", &["linux/arm/v6", "linux/arm/v7"], Some(1));
    check("linux/arm64", &["linux/arm64/v9"], None);
    check("linux/arm64/v9", &["linux/arm/v7", "linux/arm64/v8", "linux/arm64/v8.4"], Some(2));
    check("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm64"], Some(1));
    check("linux/arm/v6", &["linux/arm", "linux/arm/v5"], Some(1));
    check("linux/arm/v6", &["linux/arm/v7"], None);
    check("linux/s390x", &["-"], Some(0));
    check("linux/s390x", &["-", "linux/amd64"], None);
}

/// Source: image-spec image-index.md, `manifests`: an unknown media type is no error.
#[test]
fn entries_of_unknown_types_are_passed_over() {
    let platform = json!({"os": "linux", "architecture": "amd64"});
    let entry = |media_type: &str| with(descriptor(media_type), "platform", platform.clone());
    let parse = |entries: Value| {
        let document = with(index(media::OCI_INDEX), "manifests", entries);
        match Document::parse(document.to_string().as_bytes(), &[]).unwrap() {
            Document::Index(index) => *index,
            Document::Manifest(_) => panic!("it is an index"),
        }
    };
    let wanted = Platform::linux("amd64", "");
    let future = "application/vnd.example.manifest.v9+json";
    let mixed = parse(json!([entry(future), entry(media::OCI_LAYER_GZIP), entry(media::OCI_MANIFEST)]));
    assert_eq!(mixed.pick(&wanted).map(|entry| entry.media_type.as_str()), Some(media::OCI_MANIFEST));
    assert_eq!(parse(json!([entry(future)])).pick(&wanted), None);
    assert_eq!(parse(json!([descriptor(future)])).pick(&wanted), None);
    assert_eq!(parse(json!([])).pick(&wanted), None);
}

/// Source: image-spec considerations.md, Extensibility; annotations.md, Rules; descriptor.md, Embedded Content.
#[test]
fn what_is_unknown_in_a_document_is_no_error() {
    let annotations = json!({"com.example.unknown": "x", "org.opencontainers.image.later": ""});
    let entry = with(descriptor(media::OCI_LAYER), "data", json!("AAAA"));
    let entry = with(with(entry, "annotations", annotations.clone()), "later", json!({"a": [1]}));
    let document = with(manifest(media::OCI_MANIFEST), "layers", json!([entry]));
    let document = with(with(document, "annotations", annotations), "later", json!(7));
    let document = with(document, "artifactType", json!("application/vnd.example+type"));
    let read = Document::parse(document.to_string().as_bytes(), &[]).unwrap();
    let Document::Manifest(read) = read else { panic!("it is a manifest") };
    // Embedded content counts for nothing: the bytes come from where the digest is checked.
    assert_eq!(serde_json::to_value(&read.layers[0]).unwrap().get("data"), None);
    assert_eq!(read.layers[0].annotations["org.opencontainers.image.later"], "");
    let config = json!({"later": 1, "config": {"Later": [1]}, "history": null, "created": null, "author": null,
        "rootfs": {"type": "layers", "diff_ids": [], "later": 2}, "os.features": null, "variant": null});
    ImageConfig::parse(config.to_string().as_bytes()).unwrap();
}

proptest! {
    #[test]
    fn a_normal_form_is_its_own(os in "[a-zA-Z]{1,8}", arch in "(amd64|arm|arm64|x86_64|[a-z0-9]{1,6})", variant in "v?[0-9.]{0,3}") {
        let platform = Platform { os, architecture: arch, variant, ..Platform::default() }.normalized();
        prop_assert_eq!(platform.clone().normalized(), platform.clone());
        prop_assert_eq!(platform.rank(&platform), Some(0));
    }
}
