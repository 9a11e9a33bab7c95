use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn account(home: &Path, ids: Option<(u32, u32)>) -> Account {
    Account { name: "u".into(), home: home.into(), ids, path: Some(home.join("bin").display().to_string()) }
}

fn at(home: &Path) -> Credentials {
    Credentials::of_directory(account(home, None), home.join(".docker"))
}

fn password(user: &str, secret: &str) -> Login {
    Login::Password { user: user.into(), password: Secret::new(secret) }
}

fn document(home: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(home.join(".docker/config.json")).unwrap()).unwrap()
}

#[test]
fn registries_are_named_in_many_ways() {
    for text in ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"] {
        assert_eq!(host_of(text).unwrap(), "docker.io", "{text}");
    }
    assert_eq!(host_of("https://R.io:5000/v2/").unwrap(), "r.io:5000");
    assert_eq!(host_of("localhost").unwrap(), "localhost");
    for bad in ["", "https://", "a b", "u@r.io", "r.io:x"] {
        assert!(host_of(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_login_is_kept_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let credentials = at(dir.path());
    let file = dir.path().join(".docker/config.json");
    assert_eq!(credentials.keep("docker.io", &password("u", "p:w")).unwrap(), Kept::File(file.clone()));
    credentials.keep("r.io:5000", &password("a", "b")).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(dir.path().join(".docker")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(document(dir.path())["auths"]["https://index.docker.io/v1/"]["auth"], "dTpwOnc=");
    assert_eq!(credentials.get("docker.io").unwrap(), Some(password("u", "p:w")));
    assert_eq!(credentials.get("r.io:5000").unwrap(), Some(password("a", "b")));
    assert!(credentials.logout("docker.io").unwrap());
    assert!(!credentials.logout("docker.io").unwrap());
    assert_eq!(credentials.get("docker.io").unwrap(), None);
    assert_eq!(credentials.get("r.io:5000").unwrap(), Some(password("a", "b")));
    let names: Vec<_> =
        std::fs::read_dir(dir.path().join(".docker")).unwrap().flatten().map(|f| f.file_name()).collect();
    assert_eq!(names, [FILE]);
}

#[test]
fn what_else_is_in_the_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".docker")).unwrap();
    let real = dir.path().join("dotfiles.json");
    let before = serde_json::json!({"psFormat": "x", "auths": {"http://R.io/v1/": {"auth": "eDp5"}, "z": {}}, "n": [1, null]});
    std::fs::write(&real, before.to_string()).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&real, dir.path().join(".docker/config.json")).unwrap();
    at(dir.path()).keep("r.io", &password("a", "b")).unwrap();
    let after =
        serde_json::json!({"psFormat": "x", "auths": {"r.io": {"auth": "YTpi"}, "z": {}}, "n": [1, null]});
    assert_eq!(document(dir.path()), after);
    assert!(dir.path().join(".docker/config.json").is_symlink());
    assert_eq!(std::fs::metadata(&real).unwrap().mode() & 0o7777, 0o600);
    std::fs::write(&real, "{broken").unwrap();
    assert!(at(dir.path()).keep("r.io", &password("a", "b")).is_err());
    assert_eq!(std::fs::read(&real).unwrap(), b"{broken");
}

#[test]
fn a_helper_keeps_the_secret_out_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let helper = bin.join("docker-credential-fake");
    std::fs::write(
        &helper,
        r#"#!/bin/sh
case $1 in
store) cat > "$HOME/kept" ;;
get) cat "$HOME/kept" 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
erase) rm -f "$HOME/kept" ;;
esac"#,
    )
    .unwrap();
    for path in [&bin, &helper] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::create_dir(dir.path().join(".docker")).unwrap();
    std::fs::write(dir.path().join(".docker/config.json"), r#"{"credsStore": "fake"}"#).unwrap();
    let credentials = at(dir.path());
    assert_eq!(credentials.keep("r.io", &password("a", "canary")).unwrap(), Kept::Helper("fake".into()));
    assert_eq!(document(dir.path()), serde_json::json!({"credsStore": "fake", "auths": {"r.io": {}}}));
    assert!(std::fs::read_to_string(dir.path().join("kept")).unwrap().contains(r#""ServerURL":"r.io""#));
    assert_eq!(credentials.get("r.io").unwrap(), Some(password("a", "canary")));
    assert!(credentials.logout("r.io").unwrap());
    assert_eq!((credentials.get("r.io").unwrap(), credentials.logout("r.io").unwrap()), (None, false));
}

/// Under sudo the file is the calling user's, and no link in the home directory gives that user what only root may write.
#[test]
fn another_users_file_is_written_with_that_users_rights() {
    if !rustix::process::geteuid().is_root() {
        testkit::skip!("not root");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(1), Some(1)).unwrap();
    let credentials = || Credentials::of_directory(account(&home, Some((1, 1))), home.join(".docker"));
    credentials().keep("r.io", &password("a", "b")).unwrap();
    let file = std::fs::metadata(home.join(".docker/config.json")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (1, 1, 0o600));
    std::fs::remove_dir_all(home.join(".docker")).unwrap();
    let roots = dir.path().join("roots");
    std::fs::create_dir(&roots).unwrap();
    std::os::unix::fs::symlink(&roots, home.join(".docker")).unwrap();
    let error = credentials().keep("r.io", &password("a", "b")).unwrap_err().to_string();
    assert!(error.contains("ermission denied"), "{error}");
    assert_eq!(std::fs::read_dir(&roots).unwrap().count(), 0);
}
