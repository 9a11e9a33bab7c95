//! What is at URLs: `ADD https://…`, and contexts.
//!
//! What was fetched is kept with the entity tag that its server gave it, and asked for again only if that has changed. Its
//! digest is computed as it comes, and again by whoever uses it (security.md T7).

use super::fault;
use super::notes::{Notes, hex, place};
use crate::Error;
use crate::images::pull;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use types::digest::Digest;
use types::kind::Kind;

/// Most bytes that are fetched from one URL.
const BYTES_MAX: u64 = 64 << 30;

/// Something that was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// Its bytes.
    pub file: File,
    /// Digest of them.
    pub sum: [u8; 32],
    /// When it was changed on its server, in seconds since the epoch.
    pub last_modified: Option<i64>,
}

/// What is known of a file that was fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// `sha256:…`.
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<i64>,
}

/// The name of a file from `url`. Source: BuildKit, `dispatchCopy`.
pub fn name_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let name = decoded(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
    match name.as_str() {
        "" | "." | ".." => "__unnamed__".to_owned(),
        // An escaped slash is no part of a name.
        name => name.rsplit('/').next().unwrap_or_default().replace('\0', ""),
    }
}

/// Text in which `%41` stands for a byte.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let digits =
            tail.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The digest that `--checksum` asks for. Errors: another algorithm, or no digest.
pub fn checksum(text: &str) -> Result<[u8; 32], Error> {
    let wrong = |why: &str| Error::invalid(format!("--checksum={text}"), why);
    let digest = Digest::parse(text).map_err(wrong)?;
    let sum = digest.sha256().ok_or_else(|| wrong("only sha256 is supported"))?;
    let mut bytes = [0; 32];
    let digits = sum.hex();
    for (byte, digits) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        // Its own digits.
        *byte = std::str::from_utf8(digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok()).unwrap_or(0);
    }
    Ok(bytes)
}

/// Fetches what is at `url`, or takes what was fetched before: without asking if it has the `expected` digest, and
/// otherwise if the server says that it's unchanged.
///
/// Errors: those of [`registry::Client::download`]; [`Error::Copy`] if it hasn't the expected digest.
pub fn fetch(url: &str, expected: Option<&[u8; 32]>, notes: &Notes) -> Result<Fetched, Error> {
    let path = notes.fetched(url);
    let known = known(&path);
    if let (Some(expected), Some((record, file))) = (expected, &known)
        && record.digest == digest(expected)
        && let Ok(file) = file.try_clone()
    {
        return Ok(Fetched { file, sum: *expected, last_modified: record.last_modified });
    }
    let etag = known.as_ref().and_then(|(record, _)| record.etag.as_deref());
    let Some(mut download) = pull::client()?.download_unless(url, etag)? else {
        // Only where there was a tag, and so a file.
        let (record, mut file) = known.ok_or_else(|| Error::invalid(url, "it was not fetched before"))?;
        let sum = sum_of(&mut file, &path)?;
        if digest(&sum) != record.digest {
            // Damaged by something else: fetched anew.
            let _ = std::fs::remove_file(&path);
            return fetch(url, expected, notes);
        }
        check(url, &sum, expected)?;
        return Ok(Fetched { file, sum, last_modified: record.last_modified });
    };
    let (etag, last_modified) = (download.etag().map(str::to_owned), download.last_modified());
    let (file, sum) = receive(&mut download, &path)?;
    check(url, &sum, expected)?;
    let record = Record { digest: digest(&sum), etag, last_modified };
    // The record comes last: without it the file is not used. Plain data always serialises.
    place(&record_path(&path), &serde_json::to_vec(&record).unwrap_or_default())?;
    Ok(Fetched { file, sum, last_modified })
}

fn check(url: &str, sum: &[u8; 32], expected: Option<&[u8; 32]>) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != sum => {
            let url = url.split(['?', '#']).next().unwrap_or_default();
            let message =
                format!("digest mismatch for {url}: {} (expected: {})", digest(sum), digest(expected));
            let hint = "what is there has changed, or isn't what was meant".to_owned();
            Err(fault(Kind::Invalid, message, Some(hint)))
        }
        _ => Ok(()),
    }
}

fn digest(sum: &[u8; 32]) -> String {
    format!("sha256:{}", hex(sum))
}

fn record_path(path: &Path) -> std::path::PathBuf {
    path.with_extension("json")
}

fn known(path: &Path) -> Option<(Record, File)> {
    let record = serde_json::from_slice(&std::fs::read(record_path(path)).ok()?).ok()?;
    Some((record, File::open(path).ok()?))
}

fn sum_of(file: &mut File, path: &Path) -> Result<[u8; 32], Error> {
    let failed = |error: std::io::Error| Error::io("read", path.display(), &error);
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    std::io::Seek::rewind(file).map_err(failed)?;
    Ok(hasher.finalize().into())
}

/// Writes it into a file of its own, which then takes the place of an older one.
fn receive(download: &mut impl Read, path: &Path) -> Result<(File, [u8; 32]), Error> {
    let failed = |error: std::io::Error| match registry::Error::of_io(&error) {
        Some(_) => Error::Copy { message: error.to_string(), kind: Kind::System, hint: None },
        None => Error::io("fetch into", path.display(), &error),
    };
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let options = std::os::unix::fs::OpenOptionsExt::mode(
        options.read(true).write(true).create(true).truncate(true),
        0o600,
    );
    let mut file = options.open(&temporary).map_err(failed)?;
    let guard = Guard(&temporary);
    let (mut hasher, mut buffer, mut total) = (Sha256::new(), vec![0; 256 << 10], 0);
    loop {
        let count = match download.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            count => count.map_err(failed)?,
        };
        total += count as u64;
        if total > BYTES_MAX {
            let message = format!("it has more than {BYTES_MAX} bytes");
            return Err(fault(Kind::Invalid, message, None));
        }
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(failed)?;
    }
    std::io::Seek::rewind(&mut file).map_err(failed)?;
    // An older record must not go with this file. What is lost in a power cut is fetched again.
    let _ = std::fs::remove_file(record_path(path));
    let renamed = rustix::fs::rename(&temporary, path);
    renamed.map_err(|errno| Error::system("fetch into", path.display(), errno))?;
    std::mem::forget(guard);
    Ok((file, hasher.finalize().into()))
}

struct Guard<'a>(&'a Path);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_buildkit() {
        for (url, name) in [
            ("https://h.io/a/b.tar.gz?x=/y", "b.tar.gz"),
            ("https://h.io/a/b/", "b"),
            ("https://h.io", "__unnamed__"),
            ("https://h.io/", "__unnamed__"),
            ("https://h.io/a%20b", "a b"),
            ("https://h.io/..%2f..%2fetc%2fpasswd", "passwd"),
            ("https://h.io/x/..", "__unnamed__"),
            ("https://h.io/100%", "100%"),
        ] {
            assert_eq!(name_of(url), name, "{url}");
        }
    }

    /// Answers requests of one connection each with what `answer` makes of them, and says what it was asked.
    fn serve<T>(
        answers: usize,
        answer: impl Fn(&str) -> String + Sync,
        ask: impl FnOnce(&str) -> T,
    ) -> (T, Vec<String>) {
        use std::io::BufRead;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let serve_one = |_| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
                    let head: Vec<String> =
                        lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
                    let head = head.join("\n");
                    stream.write_all(answer(&head).as_bytes()).unwrap();
                    head
                };
                (0..answers).map(serve_one).collect::<Vec<_>>()
            });
            let asked = ask(&url);
            (asked, server.join().unwrap())
        })
    }

    fn ok(body: &str, headers: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
    }

    const TIME: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

    #[test]
    fn what_is_unchanged_is_not_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::at(dir.path().join("build")).unwrap();
        let answer = |head: &str| match head.to_ascii_lowercase().contains("if-none-match: \"v1\"") {
            true => "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".to_owned(),
            false => ok("hello", &format!("ETag: \"v1\"\r\n{TIME}")),
        };
        let read = |mut fetched: Fetched| {
            let mut text = String::new();
            fetched.file.read_to_string(&mut text).unwrap();
            assert_eq!(fetched.last_modified, Some(784_111_777));
            (text, fetched.sum)
        };
        let (_, asked) = serve(2, answer, |url| {
            let url = format!("{url}/f?token=canary");
            let first = read(fetch(&url, None, &notes).unwrap());
            assert_eq!(first.0, "hello");
            assert_eq!(read(fetch(&url, None, &notes).unwrap()), first);
            // Whose digest is known isn't asked for at all.
            assert_eq!(read(fetch(&url, Some(&first.1), &notes).unwrap()), first);
        });
        assert!(!asked[0].to_ascii_lowercase().contains("if-none-match"));
        for entry in std::fs::read_dir(dir.path().join("build/fetched")).unwrap() {
            let entry = entry.unwrap();
            assert!(!std::fs::read_to_string(entry.path()).unwrap().contains("canary"));
            assert!(!entry.file_name().to_string_lossy().ends_with(".tmp"));
        }
    }

    #[test]
    fn what_has_changed_is_fetched_and_another_digest_refused() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::at(dir.path().join("build")).unwrap();
        let count = std::sync::atomic::AtomicUsize::new(0);
        let answer = |_: &str| {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            ok(&number.to_string(), &format!("ETag: \"{number}\"\r\n"))
        };
        serve(3, answer, |url| {
            let first = fetch(url, None, &notes).unwrap().sum;
            assert_ne!(fetch(url, None, &notes).unwrap().sum, first);
            let error = fetch(url, Some(&first), &notes).unwrap_err().to_string();
            assert!(error.starts_with(&format!("digest mismatch for {url}: sha256:")), "{error}");
        });
    }

    #[test]
    fn refusals_name_the_url_without_its_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::at(dir.path().join("build")).unwrap();
        let answer =
            |_: &str| "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned();
        let (error, _) = serve(1, answer, |url| {
            fetch(&format!("{url}/a?token=canary"), None, &notes).unwrap_err().to_string()
        });
        assert!(error.contains("404") && error.contains("/a") && !error.contains("canary"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path().join("build/fetched")).unwrap().count(), 0);
    }

    #[test]
    fn checksums_are_sha256() {
        let digits = "0f".repeat(32);
        assert_eq!(checksum(&format!("sha256:{digits}")).unwrap(), [0x0f; 32]);
        assert!(checksum(&format!("sha512:{}", "0f".repeat(64))).is_err());
        assert!(checksum("sha256:00").is_err() && checksum("").is_err());
    }
}
