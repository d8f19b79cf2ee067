//! Requests' bodies: short ones have come already, longer ones may come slowly or never, and too long ones are refused.

use super::Shared;
use super::responder::{UnderWay, head_and_body};
use crate::http::BODY_LIMIT;
use crate::metrics::METRICS;
use crate::ocs;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bodies up to this length have been read by tiny_http's connection thread; reading a longer one may block.
const BUFFERED_BODY: usize = 1024;
/// Of a body that was refused, this much is read and thrown away, bytes: a client that is still sending then gets the
/// answer. It is also the longest body that nginx lets through by default.
const DRAINED_BODY: usize = 1 << 20;
/// Most threads that read longer bodies at the same time.
const BODY_READERS: usize = 64;

impl Shared {
    /// Takes a request from tiny_http and passes it on with its body.
    pub(super) fn receive(self: &Arc<Shared>, mut raw: tiny_http::Request) {
        let under_way = UnderWay::begin();
        let length = raw.body_length();
        let chunked = length.is_none() && raw.headers().iter().any(|h| h.field.equiv("Transfer-Encoding"));
        match length.unwrap_or(0) {
            length if length > BODY_LIMIT => self.refuse_body(raw, length),
            length if length > BUFFERED_BODY || chunked => self.read_body_aside(raw, under_way),
            0 => self.dispatch(raw, &[], under_way),
            length => {
                let mut body = vec![0; length];
                if raw.as_reader().read_exact(&mut body).is_ok() {
                    self.dispatch(raw, &body, under_way);
                }
            }
        }
    }

    /// Reads a longer body in a thread of its own, since it may come slowly or never.
    fn read_body_aside(self: &Arc<Shared>, raw: tiny_http::Request, under_way: UnderWay) {
        if !self.take_body_reader() {
            // Dropping it would wait for the body.
            return std::mem::forget(self.writers.watched(|| answer_too_large(raw)));
        }
        self.start_body_reader(move |shared| {
            let mut raw = raw;
            let mut body = Vec::new();
            // One byte more than allowed tells a chunked body that is too long.
            match raw.as_reader().take(BODY_LIMIT as u64 + 1).read_to_end(&mut body) {
                Ok(_) if body.len() > BODY_LIMIT => drain(answer_too_large(raw)),
                Ok(_) => shared.dispatch(raw, &body, under_way),
                Err(error) => log::debug!("a body could not be read: {}", error.kind()),
            }
        });
    }

    /// Answers 413 at once, and then reads what is left of a body that may well come. tiny_http allocates the declared
    /// length and waits for all of it when such a request is dropped, so the reader of a longer one is leaked: that
    /// costs a descriptor, and nginx never lets one through.
    fn refuse_body(self: &Arc<Shared>, raw: tiny_http::Request, length: usize) {
        log::warn!("refused a body of {length} bytes");
        let stream = self.writers.watched(|| answer_too_large(raw));
        if length > DRAINED_BODY || !self.take_body_reader() {
            return std::mem::forget(stream);
        }
        self.start_body_reader(move |_| drain(stream));
    }

    fn take_body_reader(&self) -> bool {
        let free = self.body_readers.fetch_add(1, Ordering::SeqCst) < BODY_READERS;
        if !free {
            self.body_readers.fetch_sub(1, Ordering::SeqCst);
        }
        free
    }

    /// Starts the thread that [`Shared::take_body_reader`] allowed.
    fn start_body_reader(self: &Arc<Shared>, work: impl FnOnce(&Arc<Shared>) + Send + 'static) {
        let shared = self.clone();
        let started = std::thread::Builder::new().name("body".to_owned()).spawn(move || {
            work(&shared);
            shared.body_readers.fetch_sub(1, Ordering::SeqCst);
        });
        if let Err(error) = started {
            self.body_readers.fetch_sub(1, Ordering::SeqCst);
            log::error!("no thread to read a body: {error}");
        }
    }
}

/// Answers 413 without reading the body, which only tiny_http's way to another protocol allows. That writes a head of its
/// own: after its `Connection: upgrade` and `Upgrade` come all the headers that the answer has otherwise.
pub(super) fn answer_too_large(raw: tiny_http::Request) -> Box<dyn tiny_http::ReadWrite + Send> {
    METRICS.refused_bodies.add(1);
    let answer = ocs::body_too_large();
    let head = head_and_body(&answer, true);
    let headers = String::from_utf8_lossy(&head);
    let headers = headers.split_once("\r\n").map_or("", |(_, headers)| headers.trim_end());
    let status = tiny_http::StatusCode(answer.status);
    let response = tiny_http::Response::new(status, Vec::new(), std::io::empty(), None, None);
    // tiny_http writes the protocol's name as it is, line breaks included.
    let mut stream = raw.upgrade(&format!("none\r\n{headers}"), response);
    // The caller may be gone; there is nothing to be done about it.
    let _ = stream.write_all(&answer.body).and_then(|()| stream.flush());
    stream
}

/// Reads what is left of a body, and leaks the reader of one that does not end.
fn drain(mut stream: Box<dyn tiny_http::ReadWrite + Send>) {
    let most = DRAINED_BODY as u64;
    let read = std::io::copy(&mut (&mut stream).take(most), &mut std::io::sink());
    if read.is_ok_and(|length| length == most) {
        std::mem::forget(stream);
    }
}
