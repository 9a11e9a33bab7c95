//! `manifest inspect`, in docker 28's words.

use super::*;
use testkit::image::{self, INDEX, MANIFEST, Parts, Repository};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// An image's parts, with the manifest in docker's form.
fn dockers() -> Parts {
    let mut parts = Image::busybox().parts();
    parts.manifest["mediaType"] = json!(DOCKER_MANIFEST);
    parts.manifest["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
    parts.manifest["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
    parts
}

#[test]
fn a_manifest_is_shown_as_docker_shows_it() {
    let host = Host::new();
    let (plain, docker) = (Image::busybox().parts(), dockers());
    let mut repository = Repository::default();
    for parts in [&plain, &docker] {
        repository.put_parts(parts);
    }
    repository.tag("latest", &plain.manifest);
    let docker_digest = repository.tag("docker", &docker.manifest);
    let entry = |digest: &str, architecture: &str| {
        json!({ "mediaType": DOCKER_MANIFEST, "digest": digest, "size": docker.manifest_bytes().len(),
            "platform": { "os": "linux", "architecture": architecture }, "annotations": { "a": "b" } })
    };
    let entries = [entry(&docker_digest, "arm64")];
    repository.tag("list", &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }));
    let served = repository.serve();
    let name = served.name();
    let inspect = |args: &[&str]| host.berth(["manifest", "inspect"].iter().chain(args)).text();

    let (config, layer) = (&plain.manifest["config"], &plain.manifest["layers"][0]);
    let (config_digest, config_size) = (config["digest"].as_str().unwrap(), &config["size"]);
    let (layer_digest, layer_size) = (layer["digest"].as_str().unwrap(), &layer["size"]);
    // In the order of the document: the test's own is alphabetical.
    let expected = format!(
        "{{\n\t\"config\": {{\n\t\t\"digest\": \"{config_digest}\",\n\t\t\"mediaType\": \"{}\",\n\t\t\
         \"size\": {config_size}\n\t}},\n\t\"layers\": [\n\t\t{{\n\t\t\t\"digest\": \"{layer_digest}\",\n\t\t\t\
         \"mediaType\": \"application/vnd.oci.image.layer.v1.tar+gzip\",\n\t\t\t\"size\": {layer_size}\n\t\t}}\n\t],\n\t\
         \"mediaType\": \"{MANIFEST}\",\n\t\"schemaVersion\": 2\n}}",
        image::CONFIG
    );
    assert_eq!(inspect(&[&name]), expected);
    let list = inspect(&["--insecure", &format!("{name}:list")]);
    let (start, rest) = list.split_once("\"size\": ").unwrap();
    let head = "{\n   \"schemaVersion\": 2,\n   \"mediaType\": ";
    assert_eq!(
        start,
        format!(
            "{head}\"{INDEX}\",\n   \"manifests\": [\n      {{\n         \"mediaType\": \"{DOCKER_MANIFEST}\",\n         "
        )
    );
    assert!(
        rest.ends_with(&format!(
            ",\n         \"digest\": \"{docker_digest}\",\n         \"platform\": {{\n            \"architecture\": \
             \"arm64\",\n            \"os\": \"linux\"\n         }}\n      }}\n   ]\n}}"
        )),
        "{rest}"
    );

    // A manifest alone is for the machine that its configuration names, one in an index for the one named there.
    let parse = |text: &str| serde_json::from_str::<testkit::Value>(text).unwrap();
    let verbose = parse(&inspect(&["-v", &name]));
    let own = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    assert_eq!(verbose["Ref"], json!(format!("{name}:latest")));
    assert_eq!(verbose["Descriptor"]["platform"], json!({ "architecture": own, "os": "linux" }));
    assert_eq!(verbose["Descriptor"]["size"], json!(plain.manifest_bytes().len()));
    assert_eq!(verbose["OCIManifest"], plain.manifest);
    assert_eq!(verbose["SchemaV2Manifest"], json!(null));
    let verbose = parse(&inspect(&["--verbose", &format!("{name}:list")]));
    assert_eq!(verbose.as_array().unwrap().len(), 1);
    assert_eq!(verbose[0]["Ref"], json!(format!("{name}:list@{docker_digest}")));
    assert_eq!(verbose[0]["Descriptor"]["platform"]["architecture"], json!("arm64"));
    assert_eq!(verbose[0]["SchemaV2Manifest"], docker.manifest);
    assert!(verbose[0]["Raw"].as_str().is_some_and(|raw| raw.starts_with("ey")));
    assert!(!host.root_dir().join("store.db").exists(), "nothing is kept of what was looked at");
}

#[test]
fn what_no_registry_has_is_no_manifest() {
    let host = Host::new();
    let served = Repository::of(&Image::busybox()).serve();
    let name = format!("{}:other", served.name());
    let missing = host.berth(["manifest", "inspect", &name]).run().code(1).stdout_is("");
    missing.stderr_has(&[&format!("no such manifest: {name}")]);
    host.berth(["manifest", "inspect", "Bad"]).run().code(1).stderr_has(&["must be lower case"]);
    host.berth(["manifest", "inspect"]).run().code(1).stderr_has(&["requires 1 argument"]);
    host.berth(["manifest", "inspect", "127.0.0.1:1/x"]).run().code(1).stderr_has(&["127.0.0.1:1"]);
}
