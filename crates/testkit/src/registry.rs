//! Debian's `docker-registry` on a port of loopback, with its storage in a directory of the test's.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The one user of a registry that wants a password, and that password.
pub const LOGIN: (&str, &str) = ("u", "canary-password");

/// bcrypt of the password, at the least cost.
const HTPASSWD: &str = "u:$2b$05$xQi0qgTxhQvDMd56ql0GfOO8WngIN.2qvfaEZnEAP0bE4OKImo3OO\n";

/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// What a registry demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demands {
    /// [`LOGIN`], by basic authorisation.
    pub password: bool,
    /// TLS, with a certificate by [`Registry::ca`].
    pub tls: bool,
    /// A certificate of the client's by the same issuer; see [`Registry::client_certificate`].
    pub client_certificate: bool,
}

/// A running registry. Dropping it kills it.
pub struct Registry {
    child: Child,
    address: String,
    dir: PathBuf,
}

impl Registry {
    /// Starts one with everything in `dir`, which must be there, and waits until it listens.
    pub fn start(dir: &Path, demands: Demands) -> Registry {
        crate::netns::of_test();
        // Between this and its start another process may take the port: then it doesn't come up, and another is tried.
        for _ in 0..3 {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            let address = port.expect("loopback has a free port").to_string();
            let mut registry =
                Registry { child: launch(dir, &address, demands), address, dir: dir.to_owned() };
            let listens = || TcpStream::connect(&registry.address).is_ok();
            let mut ended = false;
            let came_up = crate::until(START_MAX, || {
                ended = registry.child.try_wait().is_ok_and(|status| status.is_some());
                ended || listens()
            });
            if came_up && !ended {
                return registry;
            }
        }
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        panic!("docker-registry doesn't start:\n{log}");
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.clone()
    }

    /// The issuer of its certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// A certificate and its key for clients.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        (self.dir.join("peer.crt"), self.dir.join("peer.key"))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn launch(dir: &Path, address: &str, demands: Demands) -> Child {
    let shown = dir.display();
    let mut config = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {shown}/storage}}\n  \
         delete: {{enabled: true}}\nhttp:\n  addr: {address}\n"
    );
    if demands.tls || demands.client_certificate {
        make_certificates(dir);
        config += &format!("  tls:\n    certificate: {shown}/peer.crt\n    key: {shown}/peer.key\n");
        if demands.client_certificate {
            config += &format!("    clientcas: [{shown}/ca.crt]\n");
        }
    }
    if demands.password {
        std::fs::write(dir.join("htpasswd"), HTPASSWD).expect("write htpasswd");
        config += &format!("auth:\n  htpasswd: {{realm: test, path: {shown}/htpasswd}}\n");
    }
    std::fs::write(dir.join("config.yml"), config).expect("write the registry's configuration");
    let log = std::fs::File::create(dir.join("log")).expect("make the registry's log");
    Command::new("docker-registry")
        .arg("serve")
        .arg(dir.join("config.yml"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("copy a descriptor"))
        .stderr(log)
        .spawn()
        .expect("start docker-registry: install Debian's package of that name")
}

/// An issuer, and a certificate by it for 127.0.0.1, good for servers and clients.
fn make_certificates(dir: &Path) {
    if dir.join("peer.crt").exists() {
        return;
    }
    let new_key =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").current_dir(dir).args(new_key).args(arguments).output();
        let output = output.expect("run openssl: install Debian's package of that name");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(&["-subj", "/CN=berth test issuer", "-keyout", "ca.key", "-out", "ca.crt"]);
    let names = "subjectAltName=IP:127.0.0.1,DNS:localhost";
    let by = [
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        names,
    ];
    let files = ["-subj", "/CN=localhost", "-keyout", "peer.key", "-out", "peer.crt"];
    openssl(&[&by[..], &files[..]].concat());
}
