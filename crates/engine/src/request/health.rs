//! How to tell whether a container's program works.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// What a probe does. Docker has the first two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthTest {
    /// Nothing is probed, whatever the image says.
    None,
    /// A line for the image's shell.
    Shell(String),
    /// A request for a page, by the keeper in the container's network: any status from 200 to 399 is well.
    Http(Endpoint, String),
    /// A connection, by the keeper in the container's network.
    Tcp(Endpoint),
}

/// Where something listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Address in the container's network.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
}

impl Endpoint {
    /// `PORT`, `ADDRESS:PORT`, `localhost:PORT`; without a port it's `port`, if there is one. Names aren't resolved.
    fn parse(text: &str, port: Option<u16>) -> Option<Endpoint> {
        let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let address = |text: &str| match text {
            "" | "localhost" => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
            text => text.trim_start_matches('[').trim_end_matches(']').parse().ok(),
        };
        if let (Some(only), None) = (number(text), port) {
            return Some(Endpoint { address: Ipv4Addr::LOCALHOST.into(), port: only });
        }
        if let Some(address) = address(text) {
            return Some(Endpoint { address, port: port? });
        }
        let (host, given) = text.rsplit_once(':')?;
        Some(Endpoint { address: address(host)?, port: number(given)? })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

impl HealthTest {
    /// `--health-http`: `http://localhost:8080/ready`, `:8080/ready`, `8080`. `None` if it's none.
    pub fn http(text: &str) -> Option<HealthTest> {
        let text = text.strip_prefix("http://").unwrap_or(text);
        let (endpoint, path) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, "/"),
        };
        let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic());
        let endpoint = match endpoint.parse::<u16>() {
            Ok(_) => Endpoint::parse(endpoint, None),
            Err(_) => Endpoint::parse(endpoint, Some(80)),
        };
        endpoint.filter(|_| is_plain).map(|endpoint| HealthTest::Http(endpoint, path.to_owned()))
    }

    /// `--health-tcp`: `5432`, `localhost:5432`, `[::1]:5432`. `None` if it's none.
    pub fn tcp(text: &str) -> Option<HealthTest> {
        Endpoint::parse(text, None).map(HealthTest::Tcp)
    }

    /// As docker's document has it; its first word is `HTTP` or `TCP` for those that docker lacks.
    pub fn words(&self) -> Vec<String> {
        let words = |word: &str, rest: String| vec![word.to_owned(), rest];
        match self {
            HealthTest::None => vec!["NONE".to_owned()],
            HealthTest::Shell(line) => words("CMD-SHELL", line.clone()),
            HealthTest::Http(endpoint, path) => words("HTTP", format!("http://{endpoint}{path}")),
            HealthTest::Tcp(endpoint) => words("TCP", endpoint.to_string()),
        }
    }
}

/// What becomes of a container that doesn't work any more. Podman's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnUnhealthy {
    /// Nothing: it's shown.
    #[default]
    Nothing,
    /// It's killed; its restart policy may start it again.
    Kill,
    /// It's stopped and started again.
    Restart,
    /// It's stopped, and stays so.
    Stop,
}

/// The flags `--health-*`; what isn't given is the image's, and docker's default where that has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRequest {
    /// What a probe does.
    pub test: Option<HealthTest>,
    /// Nanoseconds between two probes.
    pub interval_ns: Option<i64>,
    /// Nanoseconds that one may take.
    pub timeout_ns: Option<i64>,
    /// Nanoseconds since the start in which failures don't count.
    pub start_period_ns: Option<i64>,
    /// Nanoseconds between two probes in that time.
    pub start_interval_ns: Option<i64>,
    /// Failures in a row until it counts as broken.
    pub retries: Option<i64>,
    /// What happens then.
    pub on_failure: OnUnhealthy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written() {
        for (text, words) in [
            ("http://localhost:8080/ready", "http://127.0.0.1:8080/ready"),
            (":8080/ready?x=1", "http://127.0.0.1:8080/ready?x=1"),
            ("8080", "http://127.0.0.1:8080/"),
            ("/up", "http://127.0.0.1:80/up"),
            ("http://[::1]:81", "http://[::1]:81/"),
            ("10.0.0.1", "http://10.0.0.1:80/"),
        ] {
            assert_eq!(
                HealthTest::http(text).map(|test| test.words()[1].clone()).as_deref(),
                Some(words),
                "{text}"
            );
        }
        for text in ["https://localhost", "http://example.org/", ":0/", ":70000", "80/a b", "80/\r\nX: y"] {
            assert_eq!(HealthTest::http(text), None, "{text}");
        }
        for (text, words) in
            [("5432", "127.0.0.1:5432"), ("localhost:1", "127.0.0.1:1"), ("[::1]:2", "[::1]:2")]
        {
            assert_eq!(
                HealthTest::tcp(text).map(|test| test.words()[1].clone()).as_deref(),
                Some(words),
                "{text}"
            );
        }
        for text in ["", "0", "localhost", "a:1", "1:2:3"] {
            assert_eq!(HealthTest::tcp(text), None, "{text}");
        }
    }
}
