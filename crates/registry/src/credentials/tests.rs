use super::*;

fn account(home: &Path) -> Account {
    Account {
        name: "u".into(),
        home: home.into(),
        ids: None,
        path: Some(home.join("bin").display().to_string()),
    }
}

fn stored(text: &str, host: &str) -> Option<Login> {
    let path = Path::new("/f");
    Config::parse(text.as_bytes(), path).unwrap().stored(host, path).unwrap()
}

fn password(user: &str, password: &str) -> Option<Login> {
    Some(Login::Password { user: user.into(), password: Secret::new(password) })
}

#[test]
fn dockers_file_is_read() {
    let text = r#"{"auths": {
        "https://index.docker.io/v1/": {"auth": "dTpwOnc="},
        "r.io:5000": {"auth": "YTpi"},
        "https://old.io/v1/": {"username": "c", "password": "d"},
        "token.io": {"auth": "YTo", "identitytoken": "t"},
        "bearer.io": {"registrytoken": "b"},
        "empty.io": {}
    }, "HttpHeaders": {"X": "y"}}"#;
    assert_eq!(stored(text, "docker.io"), password("u", "p:w"));
    assert_eq!(stored(text, "r.io:5000"), password("a", "b"));
    assert_eq!(stored(text, "r.io"), None);
    assert_eq!(stored(text, "old.io"), password("c", "d"));
    assert_eq!(stored(text, "token.io"), Some(Login::Identity { user: "a".into(), token: Secret::new("t") }));
    assert_eq!(stored(text, "bearer.io"), Some(Login::Bearer { token: Secret::new("b") }));
    assert_eq!(stored(text, "empty.io"), None);
    assert_eq!(stored("", "docker.io"), None);
    assert_eq!(stored(r#"{"auths": null, "credHelpers": null}"#, "docker.io"), None);
}

#[test]
fn a_malformed_file_is_an_error_that_shows_no_secret() {
    let path = Path::new("/f");
    let config = Config::parse(br#"{"auths": {"a.io": {"auth": "cGFzc3dvcmQ="}}}"#, path).unwrap();
    let error = config.stored("a.io", path).unwrap_err().to_string();
    assert!(error.contains("a.io") && !error.contains("cGFz") && !error.contains("password"), "{error}");
    assert!(Config::parse(b"{", path).is_err());
    assert_eq!(format!("{:?}", Secret::new("hidden")), "(secret)");
}

#[test]
fn the_callers_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().display().to_string();
    let file = |variables: &[(&str, &str)]| {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Credentials::of_caller(&get).file.map(|(account, path)| (account.ids, path.display().to_string()))
    };
    assert_eq!(file(&[("HOME", &home)]), Some((None, format!("{home}/.docker/config.json"))));
    assert_eq!(file(&[("HOME", &home), ("DOCKER_CONFIG", "/d")]), Some((None, "/d/config.json".into())));
    let all = [("HOME", home.as_str()), ("DOCKER_CONFIG", "/d"), ("BERTH_CONFIG", "/b")];
    assert_eq!(file(&all), Some((None, "/b/config.json".into())));
    if rustix::process::geteuid().is_root() {
        // `daemon` is in every Debian.
        let found = file(&[("HOME", &home), ("SUDO_UID", "1"), ("SUDO_GID", "1")]).unwrap();
        assert_eq!(found, (Some((1, 1)), "/usr/sbin/.docker/config.json".into()));
        assert_eq!(file(&[("HOME", &home), ("SUDO_UID", "0")]).unwrap().0, None);
    }
}

/// A helper is a program: this one is a script that knows one server.
fn install_helper(home: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let bin = home.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let file = bin.join("docker-credential-fake");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&bin, std::fs::Permissions::from_mode(0o755)).unwrap();
}

const SCRIPT: &str = r#"
read -r server
case $1/$server in
get/https://index.docker.io/v1/) echo '{"ServerURL":"x","Username":"u","Secret":"p"}' ;;
get/token.io) echo '{"Username":"<token>","Secret":"t"}' ;;
get/broken.io) echo 'the keyring is locked'; exit 1 ;;
*) echo 'credentials not found in native keychain'; exit 1 ;;
esac"#;

#[test]
fn helpers_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    install_helper(dir.path(), SCRIPT);
    let text = r#"{"credsStore": "fake", "auths": {"plain.io": {"auth": "YTpi"}}, "credHelpers": {"other.io": "none"}}"#;
    std::fs::write(dir.path().join(FILE), text).unwrap();
    let credentials = Credentials::of_directory(account(dir.path()), dir.path().into());
    assert_eq!(credentials.get("docker.io").unwrap(), password("u", "p"));
    assert_eq!(
        credentials.get("token.io").unwrap(),
        Some(Login::Identity { user: String::new(), token: Secret::new("t") })
    );
    assert_eq!(credentials.get("plain.io").unwrap(), password("a", "b"));
    assert_eq!(credentials.get("unknown.io").unwrap(), None);
    let error = credentials.get("broken.io").unwrap_err().to_string();
    assert!(error.ends_with("docker-credential-fake: the keyring is locked"), "{error}");
    let error = credentials.get("other.io").unwrap_err().to_string();
    assert!(error.ends_with("docker-credential-none: it is not installed"), "{error}");
}

/// CVE-2019-15752, CVE-2025-15558.
#[test]
fn a_helper_that_others_could_have_placed_is_not_run() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    install_helper(dir.path(), "touch \"$HOME/ran\"");
    std::fs::set_permissions(dir.path().join("bin"), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::write(dir.path().join(FILE), r#"{"credsStore": "fake"}"#).unwrap();
    let credentials = Credentials::of_directory(account(dir.path()), dir.path().into());
    let error = credentials.get("a.io").unwrap_err().to_string();
    assert!(error.contains("others than root and you"), "{error}");
    for name in ["../../bin/sh", "", "a b"] {
        std::fs::write(dir.path().join(FILE), serde_json::json!({"credHelpers": {"a.io": name}}).to_string())
            .unwrap();
        let found = credentials.get("a.io");
        assert!(
            name.is_empty() && found.as_ref().is_ok_and(Option::is_none) || found.is_err(),
            "{name}: {found:?}"
        );
    }
    assert!(!dir.path().join("ran").exists());
}

#[test]
fn another_users_file_is_read_with_that_users_rights() {
    if !rustix::process::geteuid().is_root() {
        testkit::skip!("not root");
    }
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join(FILE);
    std::fs::write(&path, r#"{"auths": {"a.io": {"auth": "YTpi"}}}"#).unwrap();
    let other = Account { ids: Some((1, 1)), ..account(dir.path()) };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let credentials = Credentials::of_directory(other, dir.path().into());
    let error = credentials.get("a.io").unwrap_err().to_string();
    assert!(error.contains("ermission denied"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(credentials.get("a.io").unwrap(), password("a", "b"));
    assert!(rustix::process::geteuid().is_root());
}
