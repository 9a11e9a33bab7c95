//! Content by digest, as a stream that survives broken connections.

use crate::client::{Client, Endpoint, Reply, Request, read_bounded};
use crate::error::Error;
use crate::headers::content_range;
use crate::manifest::{Action, refusal};
use crate::retry;
use crate::transport::{Payload, body_reason};
use std::io::{self, Read};
use std::time::{Duration, Instant};
use types::digest::Hasher;
use types::image::Descriptor;
use types::reference::Repository;

/// Least that a registry sends while as long as the longest silence is waited for it, in bytes: one that dribbles would
/// never end.
const DRIBBLE_BYTES_MIN: u64 = 4 << 10;

/// What is read at once where bytes are skipped, in bytes.
const SKIP_BYTES: usize = 64 << 10;

/// The bytes that a descriptor names. Its last byte is handed out only when size and digest of all are right; a reader that
/// has seen the end, or `descriptor.size` bytes, has seen what was asked for.
///
/// Errors of reading carry an [`Error`], see [`Error::of_io`]. After one, all further reads fail.
pub struct Blob {
    client: Client,
    repository: Repository,
    descriptor: Descriptor,
    /// Who is left to be asked, the current one first.
    endpoints: Vec<Endpoint>,
    /// What comes from the first of them; `None` while there is no connection.
    source: Option<Source>,
    hasher: Option<Hasher>,
    /// Bytes handed out.
    offset: u64,
    /// Attempts since the last byte.
    attempts: u32,
    pace: Pace,
    failed: bool,
}

/// How much has come while how long it was waited for; our own time doesn't count.
#[derive(Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

struct Source {
    reply: Reply,
    /// Whether the end of the body is known to be the end of the blob.
    is_sized: bool,
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob").field("digest", &self.descriptor.digest).field("offset", &self.offset).finish()
    }
}

impl Client {
    /// Begins to fetch the blob that `descriptor` names. The registry has answered when this returns.
    ///
    /// Errors: [`Error::BlobUnknown`], [`Error::PullDenied`], [`Error::WrongSize`], and those of the connection.
    pub fn blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Blob, Error> {
        let mut blob = Blob {
            client: self.clone(),
            repository: repository.clone(),
            descriptor: descriptor.clone(),
            endpoints: self.endpoints(repository)?,
            source: None,
            hasher: Some(Hasher::new(descriptor.digest.algorithm())),
            offset: 0,
            attempts: 0,
            pace: Pace::default(),
            failed: false,
        };
        blob.connect()?;
        Ok(blob)
    }

    /// The whole of a small blob, such as a configuration.
    ///
    /// Errors: as [`Client::blob`]; [`Error::Unsupported`] if it is larger than `bytes_max`.
    pub fn small_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        bytes_max: usize,
    ) -> Result<Vec<u8>, Error> {
        if descriptor.size > bytes_max as u64 {
            return Err(Error::Unsupported {
                reference: format!("{}@{}", repository.familiar(), descriptor.digest),
                reason: format!("it has {} bytes, more than {bytes_max}", descriptor.size),
            });
        }
        let mut blob = self.blob(repository, descriptor)?;
        let mut bytes = Vec::with_capacity(descriptor.size as usize);
        loop {
            let start = bytes.len();
            bytes.resize(start + SKIP_BYTES.min(bytes_max + 1 - start), 0);
            let count = blob.next(&mut bytes[start..])?;
            bytes.truncate(start + count);
            if count == 0 {
                return Ok(bytes);
            }
        }
    }
}

impl Blob {
    /// What it is the content of.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads what is left and throws it away: a reader of an archive may stop before the end, and isn't entitled to
    /// anything until that has been verified.
    pub fn finish(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; SKIP_BYTES];
        while self.read(&mut buffer)? > 0 {}
        Ok(())
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let size = self.descriptor.size;
        if self.offset == size && self.hasher.is_none() || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(source) = &mut self.source else {
                self.connect()?;
                continue;
            };
            // One byte more than there should be is asked for, and must not come.
            let left = usize::try_from(size - self.offset).unwrap_or(usize::MAX);
            let wanted = buffer.len().min(left);
            let begun = Instant::now();
            let result = match wanted {
                // An empty blob.
                0 => Ok(0),
                _ => source.reply.body.read(&mut buffer[..wanted]),
            };
            self.pace.waited += begun.elapsed();
            match result {
                Ok(count) if count > 0 || left == 0 => {
                    self.attempts = 0;
                    self.check_pace(count as u64)?;
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&buffer[..count]);
                    }
                    if count == left {
                        self.verify()?;
                    }
                    self.offset += count as u64;
                    return Ok(count);
                }
                Ok(_) if source.is_sized => {
                    // The body had the length that it announced, and that was right: it can't end early.
                    self.broken("it closed the connection".into())?;
                }
                Ok(_) => {
                    let (digest, host) = (self.descriptor.digest.clone(), source.reply.host());
                    let actual = self.offset;
                    return Err(Error::WrongSize { what: "blob", digest, host, expected: size, actual });
                }
                Err(error) => self.broken(body_reason(&error))?,
            }
        }
    }

    /// Refuses to wait for one that dribbles; a new connection to it would be no better.
    fn check_pace(&mut self, count: u64) -> Result<(), Error> {
        let stall = self.client.shared.transport.settings.timing.stall;
        self.pace.bytes += count;
        if self.pace.waited < stall {
            return Ok(());
        }
        let Pace { bytes, .. } = std::mem::take(&mut self.pace);
        if bytes >= DRIBBLE_BYTES_MIN {
            return Ok(());
        }
        let host = self.endpoints.first().map(|endpoint| endpoint.origin.authority()).unwrap_or_default();
        let reason = format!("it sent {bytes} bytes in {} seconds", stall.as_secs());
        Err(Error::Broken { doing: self.doing(), host, reason })
    }

    /// After the last byte: the body must be over, and the digest right.
    fn verify(&mut self) -> Result<(), Error> {
        let Some(source) = &mut self.source else { return Ok(()) };
        let (digest, host) = (self.descriptor.digest.clone(), source.reply.host());
        let expected = self.descriptor.size;
        // This read also gives the connection back.
        let rest = read_bounded(&mut source.reply.body, 0);
        if rest.is_err() && !source.is_sized {
            return Err(Error::WrongSize { what: "blob", digest, host, expected, actual: expected + 1 });
        }
        self.source = None;
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        match hasher.finish() {
            actual if actual == digest => Ok(()),
            actual => Err(Error::WrongDigest { what: "blob", host, expected: digest, actual }),
        }
    }

    /// The connection is gone: waits until it is worth trying again, or says that it isn't any more.
    fn broken(&mut self, reason: String) -> Result<(), Error> {
        self.source = None;
        self.attempts += 1;
        let timing = &self.client.shared.transport.settings.timing;
        if let Some(pause) = retry::wait(timing, self.attempts, None) {
            std::thread::sleep(pause);
            return Ok(());
        }
        let host = self.endpoints.first().map(|endpoint| endpoint.origin.authority()).unwrap_or_default();
        let error = Error::Broken { doing: self.doing(), host, reason };
        self.give_up(error)
    }

    /// Goes on with the next endpoint, if there is one.
    fn give_up(&mut self, error: Error) -> Result<(), Error> {
        if self.endpoints.len() < 2 {
            return Err(error);
        }
        let gone = self.endpoints.remove(0);
        self.client.note(&gone, &error);
        self.attempts = 0;
        Ok(())
    }

    fn doing(&self) -> String {
        format!("pull blob {} of {}", self.descriptor.digest, self.repository.familiar())
    }

    /// Makes `source` begin at `offset`.
    fn connect(&mut self) -> Result<(), Error> {
        loop {
            let Some(endpoint) = self.endpoints.first() else {
                return Err(Error::Connect {
                    host: self.repository.host().into(),
                    reason: "there is nobody to ask".into(),
                });
            };
            match self.ask(endpoint) {
                Ok(source) => {
                    self.source = Some(source);
                    return Ok(());
                }
                // A registry that was there will be again.
                Err(Error::Connect { reason, .. }) if self.offset > 0 => self.broken(reason)?,
                Err(error) => self.give_up(error)?,
            }
        }
    }

    fn ask(&self, endpoint: &Endpoint) -> Result<Source, Error> {
        let doing = self.doing();
        let digest = &self.descriptor.digest;
        let mut headers = Vec::new();
        if self.offset > 0 {
            headers.push(("range", format!("bytes={}-", self.offset)));
        }
        let request = Request {
            method: "GET",
            url: endpoint.origin.url(&format!("/v2/{}/blobs/{digest}", endpoint.path)),
            headers,
            payload: Payload::None,
            scopes: vec![format!("repository:{}:pull", endpoint.path)],
            doing: &doing,
            stall: self.client.shared.transport.settings.timing.stall,
        };
        let mut reply = self.client.send(endpoint, request)?;
        let host = reply.host();
        let skipped = match reply.status {
            200 => self.offset,
            206 if self.offset > 0 => {
                let range = reply.header("content-range").and_then(content_range);
                let fits = |(start, total): (u64, Option<u64>)| {
                    start == self.offset && total.is_none_or(|total| total == self.descriptor.size)
                };
                if !range.is_some_and(fits) {
                    let reason = format!("answers with other bytes than from {} on", self.offset);
                    return Err(Error::Protocol { doing, host, reason });
                }
                0
            }
            404 => {
                let repository = self.repository.familiar();
                return Err(Error::BlobUnknown { repository, digest: digest.clone(), host });
            }
            _ => return Err(refusal(&mut reply, &self.repository, &doing, Action::Pull)),
        };
        let expected = self.descriptor.size;
        let announced = reply.header("content-length").and_then(|text| text.parse::<u64>().ok());
        let begins_at = self.offset - skipped;
        if let Some(length) = announced.filter(|length| begins_at.checked_add(*length) != Some(expected)) {
            let actual = begins_at.saturating_add(length);
            return Err(Error::WrongSize { what: "blob", digest: digest.clone(), host, expected, actual });
        }
        // A server that knows no ranges begins anew. That these are the same bytes as before, the digest will tell.
        let copied = io::copy(&mut (&mut reply.body).take(skipped), &mut io::sink());
        match copied {
            Ok(count) if count == skipped => Ok(Source { reply, is_sized: announced.is_some() }),
            Ok(_) => Err(Error::Broken { doing, host, reason: "it closed the connection".into() }),
            Err(error) => Err(Error::Broken { doing, host, reason: body_reason(&error) }),
        }
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("the blob could not be fetched"));
        }
        self.next(buffer).map_err(|error| {
            self.failed = true;
            io::Error::other(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_can_go_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Blob>();
        is_send::<Client>();
    }
}
