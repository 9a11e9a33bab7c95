//! Connections, and which of them may be unprotected.
//!
//! There is a pool of connections for each set of rules ([`Rules`]), made when first needed. ureq follows no redirects
//! here, keeps no cookies and decodes nothing: one call is one request and its answer.

use crate::error::Error;
use crate::settings::{Proxies, RegistrySettings, Settings, read_bounded};
use crate::url::{Scheme, Url};
use std::collections::HashMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use ureq::http::Uri;
use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, SendBody};

/// Largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What is read from a socket at once, in bytes; each open blob has a buffer of this size.
const INPUT_BUFFER_BYTES: usize = 128 << 10;

/// What is written at once, in bytes.
const OUTPUT_BUFFER_BYTES: usize = 64 << 10;

/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 8;

/// Reasons that hints look for.
pub(crate) const NO_TLS: &str = "it does not speak TLS";
pub(crate) const NO_CLIENT_CERTIFICATE: &str = "it wants a client certificate, or another one";
pub(crate) const UNKNOWN_ISSUER: &str = "its certificate is from an issuer that this machine does not trust";

/// Makes connections by the settings.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) settings: Settings,
    agents: Mutex<HashMap<(Rules, Option<String>), Agent>>,
}

/// What a connection must be like.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Rules {
    /// TLS, verified by the machine's roots.
    Verified,
    /// To a loopback address, plain or with any certificate.
    Loopback,
    /// Plain, to anywhere: the settings say so.
    Plain,
    /// TLS by what the settings say for this host.
    Own(String),
}

/// What a request carries.
pub(crate) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    /// A stream and its length.
    Stream(&'a mut dyn Read, u64),
}

/// Why there was no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody there.
    Connect(String),
    /// What came was no TLS.
    NoTls,
    /// No agreement on protection.
    Tls(String),
    /// The connection was made, and broke.
    Broken(String),
    /// It wasn't tried.
    Never(Error),
}

impl Failure {
    /// The error of a request that was to do `doing` at `url`.
    pub(crate) fn into_error(self, doing: &str, url: &Url) -> Error {
        let host = url.origin.authority();
        match self {
            Failure::Connect(reason) => Error::Connect { host, reason },
            Failure::NoTls => Error::Tls { host, reason: NO_TLS.into() },
            Failure::Tls(reason) => Error::Tls { host, reason },
            Failure::Broken(reason) => Error::Broken { doing: doing.to_owned(), host, reason },
            Failure::Never(error) => error,
        }
    }
}

/// One request.
pub(crate) struct Message<'a> {
    pub(crate) method: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Payload<'a>,
    /// Longest silence of the other side.
    pub(crate) stall: Duration,
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> Transport {
        Transport { settings, agents: Mutex::default() }
    }

    /// Sends one request and reads the head of its answer.
    pub(crate) fn send(
        &self,
        url: &Url,
        message: Message<'_>,
    ) -> Result<ureq::http::Response<Body>, Failure> {
        let agent = self.agent(url).map_err(Failure::Never)?;
        let bad = |error: ureq::http::Error| Failure::Broken(error.to_string());
        let mut request = ureq::http::Request::builder().method(message.method).uri(url.to_string());
        for (name, value) in &message.headers {
            request = request.header(*name, value);
        }
        // ureq takes a length for a stream only from a header.
        let no_bytes: &[u8] = &[];
        let has_body = !matches!(message.method, "GET" | "HEAD" | "DELETE");
        let answer = match message.payload {
            Payload::None if has_body => {
                let request = request.body(no_bytes).map_err(bad)?;
                agent.run(agent.configure_request(request).timeout_per_read(Some(message.stall)).build())
            }
            Payload::None => {
                let request = request.body(()).map_err(bad)?;
                agent.run(agent.configure_request(request).timeout_per_read(Some(message.stall)).build())
            }
            Payload::Bytes(bytes) => {
                let request = request.body(bytes).map_err(bad)?;
                agent.run(agent.configure_request(request).timeout_per_read(Some(message.stall)).build())
            }
            Payload::Stream(reader, length) => {
                let request = request.header("content-length", length.to_string());
                let request = request.body(SendBody::from_reader(reader)).map_err(bad)?;
                agent.run(agent.configure_request(request).timeout_per_read(Some(message.stall)).build())
            }
        };
        answer.map_err(|error| failure(error, url))
    }

    /// Whether there is TLS at `url` at all; asked where plain HTTP is as good.
    pub(crate) fn speaks_tls(&self, url: &Url) -> Result<bool, Failure> {
        let message = Message {
            method: "GET",
            headers: Vec::new(),
            payload: Payload::None,
            stall: self.settings.timing.connect,
        };
        match self.send(url, message) {
            Ok(_) => Ok(true),
            Err(Failure::NoTls | Failure::Broken(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    fn agent(&self, url: &Url) -> Result<Agent, Error> {
        let origin = &url.origin;
        let entry = self.settings.of_origin(origin)?;
        let rules = match origin.scheme {
            Scheme::Http if entry.http || entry.insecure => Rules::Plain,
            Scheme::Http => Rules::Loopback,
            Scheme::Https if entry.has_own_tls() => Rules::Own(origin.authority()),
            Scheme::Https if origin.is_loopback() => Rules::Loopback,
            Scheme::Https => Rules::Verified,
        };
        let proxy = match rules {
            Rules::Loopback => None,
            _ => self.settings.proxies.of(url),
        };
        let key = (rules, proxy.map(|(_, address)| address.clone()));
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let agent = self.make_agent(&key.0, proxy, &entry)?;
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    fn make_agent(
        &self,
        rules: &Rules,
        proxy: Option<&(String, String)>,
        entry: &RegistrySettings,
    ) -> Result<Agent, Error> {
        let timing = &self.settings.timing;
        let proxy = proxy.map(|(variable, address)| {
            let reason = "it is no URL of an HTTP proxy";
            ureq::Proxy::new(address).map_err(|_| Error::Proxy { variable: variable.clone(), reason })
        });
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .proxy(proxy.transpose()?)
            .https_only(matches!(rules, Rules::Verified | Rules::Own(_)))
            .tls_config(tls_config(rules, entry)?)
            .timeout_connect(Some(timing.connect))
            .timeout_recv_response(Some(timing.finish))
            .timeout_per_read(Some(timing.stall))
            .timeout_per_write(Some(timing.stall))
            .max_response_header_size(HEAD_BYTES_MAX)
            .input_buffer_size(INPUT_BUFFER_BYTES)
            .output_buffer_size(OUTPUT_BUFFER_BYTES)
            .build();
        let resolver = Addresses { loopback_only: *rules == Rules::Loopback };
        Ok(Agent::with_parts(config, DefaultConnector::new(), resolver))
    }
}

fn tls_config(rules: &Rules, entry: &RegistrySettings) -> Result<TlsConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let tls = match rules {
        Rules::Verified => tls.root_certs(machine_roots().clone()),
        Rules::Loopback | Rules::Plain => tls.disable_verification(true),
        Rules::Own(host) => tls
            .root_certs(roots_with(host, entry)?)
            .disable_verification(entry.insecure)
            .client_cert(client_certificate(host, entry)?),
    };
    Ok(tls.build())
}

/// The issuers that this machine trusts; where it has none, Mozilla's.
fn machine_roots() -> &'static RootCerts {
    static ROOTS: OnceLock<RootCerts> = OnceLock::new();
    ROOTS.get_or_init(|| match machine_certificates() {
        certificates if certificates.is_empty() => RootCerts::WebPki,
        certificates => RootCerts::Specific(Arc::new(certificates)),
    })
}

fn machine_certificates() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs().certs;
    found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}

fn roots_with(host: &str, entry: &RegistrySettings) -> Result<RootCerts, Error> {
    if entry.ca.is_empty() {
        return Ok(machine_roots().clone());
    }
    let mut certificates = machine_certificates();
    for path in &entry.ca {
        certificates.extend(read_pem(host, path)?.into_iter().filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        }));
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

fn client_certificate(host: &str, entry: &RegistrySettings) -> Result<Option<ClientCert>, Error> {
    let (Some(cert), Some(key)) = (&entry.cert, &entry.key) else { return Ok(None) };
    let missing = |path: &Path, what: &str| Error::Certificate {
        host: host.to_owned(),
        path: path.to_owned(),
        reason: format!("it holds no {what}"),
    };
    let mut chain = Vec::new();
    for item in read_pem(host, cert)? {
        if let PemItem::Certificate(certificate) = item {
            chain.push(certificate);
        }
    }
    if chain.is_empty() {
        return Err(missing(cert, "certificate"));
    }
    let keys = read_pem(host, key)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    let found = keys.ok_or_else(|| missing(key, "private key"))?;
    check_key(&chain, &found).map_err(|reason| Error::Certificate {
        host: host.to_owned(),
        path: key.clone(),
        reason,
    })?;
    Ok(Some(ClientCert::new_with_certs(&chain, found)))
}

/// ureq panics on a key that rustls can't use, so it is tried first.
fn check_key(chain: &[Certificate<'static>], key: &ureq::tls::PrivateKey<'static>) -> Result<(), String> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let der = PrivateKeyDer::try_from(key.der().to_vec()).map_err(str::to_owned)?;
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    let certified = rustls::sign::CertifiedKey::from_der(chain, der, &provider);
    certified.map(drop).map_err(|error| error.to_string())
}

fn read_pem(host: &str, path: &Path) -> Result<Vec<PemItem<'static>>, Error> {
    let fault = |reason: String| Error::Certificate { host: host.to_owned(), path: path.to_owned(), reason };
    let bytes = read_bounded(path).map_err(|error| fault(error.to_string()))?;
    ureq::tls::parse_pem(&bytes).collect::<Result<_, _>>().map_err(|error| fault(error.to_string()))
}

impl Proxies {
    /// The proxy for `url`: the variable that names it, and its address.
    fn of(&self, url: &Url) -> Option<&(String, String)> {
        let origin = &url.origin;
        let proxy = match origin.scheme {
            Scheme::Https => self.https.as_ref()?,
            Scheme::Http => self.http.as_ref()?,
        };
        let skipped =
            origin.is_loopback() || self.none.iter().any(|entry| bypasses(entry, &origin.host, origin.port));
        (!skipped).then_some(proxy)
    }
}

/// Whether `entry` of `NO_PROXY` means `host`: `*`, `HOST` and what lies below, `.HOST`, an address, `ADDRESS/BITS`, each
/// perhaps with a port. Source: Go's httpproxy, which docker uses.
fn bypasses(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>().ok();
    if let Some((network, bits)) = entry.split_once('/') {
        let (Some(address), Ok(network), Ok(bits)) = (address, network.parse(), bits.parse()) else {
            return false;
        };
        return is_in(address, network, bits);
    }
    let (name, wanted) = match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse().ok()),
        _ => (entry, None),
    };
    if wanted.is_some_and(|wanted: u16| wanted != port) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let name = name.strip_prefix('*').unwrap_or(&name);
    match (name.parse::<IpAddr>(), address) {
        (Ok(named), Some(address)) => named == address,
        (Ok(_), None) | (Err(_), Some(_)) => false,
        (Err(_), None) => match name.strip_prefix('.') {
            Some(_) => bare.ends_with(name),
            None => bare == name || bare.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
        },
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (address, network, width): (u128, u128, u32) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits().into(), network.to_bits().into(), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    bits <= width && (bits == 0 || (address ^ network) >> (width - bits) == 0)
}

/// Finds addresses, without threads: the resolver has timeouts of its own.
#[derive(Debug)]
struct Addresses {
    loopback_only: bool,
}

/// What [`Addresses`] says of a host that isn't this machine, where it must be.
#[derive(Debug, thiserror::Error)]
#[error("it has no loopback address")]
struct NotLoopback;

/// What [`Addresses`] says of a name that can't be looked up.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct LookUp(String);

impl Resolver for Addresses {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = (bare, uri.port_u16().unwrap_or(default)).to_socket_addrs().map_err(|error| {
            let text = error.to_string();
            let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
            ureq::Error::Io(std::io::Error::other(LookUp(format!("cannot look up {bare}: {text}"))))
        })?;
        let mut addresses = self.empty();
        for address in usable(found, self.loopback_only) {
            addresses.push(address);
        }
        match (addresses.is_empty(), self.loopback_only) {
            (false, _) => Ok(addresses),
            (true, true) => Err(ureq::Error::Io(std::io::Error::other(NotLoopback))),
            (true, false) => Err(ureq::Error::HostNotFound),
        }
    }
}

/// The addresses that may be dialled. A name may have loopback addresses and others: what counts is what is dialled.
fn usable(found: impl Iterator<Item = SocketAddr>, loopback_only: bool) -> impl Iterator<Item = SocketAddr> {
    let may = move |address: &SocketAddr| !loopback_only || address.ip().to_canonical().is_loopback();
    found.filter(may).take(ADDRESSES_MAX)
}

fn failure(error: ureq::Error, url: &Url) -> Failure {
    match error {
        ureq::Error::HostNotFound => Failure::Connect("no such host".into()),
        ureq::Error::ConnectProxyFailed(reason) => {
            Failure::Connect(format!("the proxy refused: {}", types::inert::inert(&reason)))
        }
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            Failure::Connect("no answer in time".into())
        }
        ureq::Error::Timeout(_) => Failure::Broken("no answer in time".into()),
        ureq::Error::Tls(reason) => Failure::Tls(reason.into()),
        ureq::Error::Rustls(reason) => tls_failure(&reason),
        ureq::Error::TlsRequired | ureq::Error::RequireHttpsOnly(_) => {
            Failure::Never(Error::Plaintext { host: url.origin.authority() })
        }
        ureq::Error::LargeResponseHeader(..) => Failure::Broken("the head of its answer is too large".into()),
        ureq::Error::Io(error) => io_failure(&error, url),
        other => Failure::Broken(types::inert::inert(&other.to_string()).into_owned()),
    }
}

fn io_failure(error: &std::io::Error, url: &Url) -> Failure {
    use std::io::ErrorKind;
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<NotLoopback>()) {
        return Failure::Never(Error::Plaintext { host: url.origin.authority() });
    }
    if let Some(look_up) = inner.and_then(|inner| inner.downcast_ref::<LookUp>()) {
        return Failure::Connect(look_up.to_string());
    }
    if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls_failure(tls);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable
        | ErrorKind::PermissionDenied => Failure::Connect(error_text(error)),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Failure::Broken("no answer in time".into()),
        ErrorKind::UnexpectedEof => Failure::Broken("it closed the connection".into()),
        _ => Failure::Broken(error_text(error)),
    }
}

/// Why reading a body failed.
pub(crate) fn body_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => "nothing came for too long".into(),
        std::io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        _ => types::inert::inert(&error_text(error)).into_owned(),
    }
}

/// The kernel's words without its number.
fn error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}

fn tls_failure(error: &rustls::Error) -> Failure {
    Failure::Tls(match error {
        rustls::Error::InvalidMessage(_) => return Failure::NoTls,
        // A bad signature is another issuer of the same name.
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        ) => UNKNOWN_ISSUER.into(),
        // Go's servers say the second where there is none, before TLS 1.3.
        rustls::Error::AlertReceived(
            rustls::AlertDescription::CertificateRequired | rustls::AlertDescription::BadCertificate,
        ) => NO_CLIENT_CERTIFICATE.into(),
        other => types::inert::inert(&other.to_string()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        let check = |entry: &str, host: &str, port: u16, expected: bool| {
            assert_eq!(bypasses(entry, host, port), expected, "{entry} {host}:{port}");
        };
        check("*", "a.io", 443, true);
        check("a.io", "a.io", 443, true);
        check("A.io", "a.io", 443, true);
        check("a.io", "b.a.io", 443, true);
        check("a.io", "ba.io", 443, false);
        check(".a.io", "b.a.io", 443, true);
        check(".a.io", "a.io", 443, false);
        check("*.a.io", "b.a.io", 443, true);
        check("a.io:443", "a.io", 443, true);
        check("a.io:80", "a.io", 443, false);
        check("10.1.2.3", "10.1.2.3", 80, true);
        check("10.0.0.0/8", "10.1.2.3", 80, true);
        check("10.0.0.0/8", "11.1.2.3", 80, false);
        check("0.0.0.0/0", "11.1.2.3", 80, true);
        check("fd00::/8", "[fd00::1]", 80, true);
        check("fd00::1", "[fd00::1]", 80, true);
        check("10.0.0.0/99", "10.1.2.3", 80, false);
        check("3", "10.1.2.3", 80, false);
    }

    /// CVE-2025-6032's class: an unprotected connection is judged by the address that is dialled, not by the name.
    #[test]
    fn of_mixed_addresses_only_loopback_ones_are_dialled_in_the_clear() {
        let all =
            ["93.184.216.34:80", "127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "[::ffff:10.0.0.1]:80"];
        let all = || all.iter().map(|text| text.parse().unwrap());
        let dialled: Vec<String> = usable(all(), true).map(|address| address.to_string()).collect();
        assert_eq!(dialled, ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"]);
        assert_eq!(usable(all(), false).count(), 5);
    }
}
