//! Where an answer goes: its head, its line in the log, and one buffer with all of it.

use super::writers::{Outgoing, Writers};
use crate::error::Error;
use crate::metrics::{self, METRICS};
use crate::ocs::Answer;
use crate::{buffers, nextcloud};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A body longer than this, bytes, is written by a call of its own: copying it behind its head costs more.
const LONG_BODY: usize = 32 << 10;

/// Headers of every answer, as Nextcloud and its web server set them (SPEC A.3). tiny_http's bursts need the last.
const COMMON_HEADERS: &str = "Cache-Control: no-cache, no-store, must-revalidate\r\n\
    Content-Security-Policy: default-src 'none';base-uri 'none';manifest-src 'self'\r\n\
    Feature-Policy: autoplay 'none';camera 'none';fullscreen 'none';geolocation 'none';microphone 'none';payment 'none'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    X-Frame-Options: SAMEORIGIN\r\n\
    X-Robots-Tag: none\r\n\
    X-Download-Options: noopen\r\n\
    X-Permitted-Cross-Domain-Policies: none\r\n\
    Referrer-Policy: no-referrer\r\n\
    X-XSS-Protection: 1; mode=block\r\n\
    Connection: close\r\n";

/// The numbers of requests, for the log.
static REQUEST_ID: AtomicU64 = AtomicU64::new(1);

/// Where an answer goes.
pub struct Responder {
    raw: tiny_http::Request,
    id: u64,
    arrived: Instant,
    head_only: bool,
    log: Option<String>,
    error: Option<Error>,
    route: usize,
    lane: metrics::Lane,
    under_way: UnderWay,
    writers: Arc<Writers>,
}

/// A request that has not been answered yet: it counts as under way until this goes.
pub struct UnderWay;

impl UnderWay {
    /// One more.
    pub(super) fn begin() -> UnderWay {
        METRICS.in_flight.add(1);
        UnderWay
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        METRICS.in_flight.subtract(1);
    }
}

impl Responder {
    /// For a request that has just been read: its body is left out when it asks for the head alone, and `log` begins its
    /// line in the log, if it gets one.
    pub(super) fn new(
        raw: tiny_http::Request,
        head_only: bool,
        log: Option<String>,
        under_way: UnderWay,
        writers: Arc<Writers>,
    ) -> Responder {
        Responder {
            raw,
            id: REQUEST_ID.fetch_add(1, Ordering::Relaxed),
            arrived: Instant::now(),
            head_only,
            log,
            error: None,
            route: metrics::OTHER,
            lane: metrics::Lane::Fast,
            under_way,
            writers,
        }
    }

    /// Notes under which route, by its number, the answer is counted.
    pub fn count_as(&mut self, route: usize) {
        self.route = route;
    }

    /// Notes how the request is being served.
    pub fn served_in(&mut self, lane: metrics::Lane) {
        self.lane = lane;
    }

    /// Notes why a request failed, for its line in the log.
    pub fn note(&mut self, error: &Error) {
        self.error = Some(error.clone());
    }

    /// How long ago the request was read.
    pub fn age(&self) -> Duration {
        self.arrived.elapsed()
    }

    /// Writes the answer.
    pub fn send(self, answer: Answer) {
        self.write_log(answer.status);
        METRICS.answered(self.route, answer.status, self.lane, self.arrived.elapsed());
        let apart = answer.body.len() > LONG_BODY && !self.head_only;
        let bytes = head_and_body(&answer, self.head_only || apart);
        let long_body = if apart {
            answer.body
        } else {
            buffers::give_back(answer.body);
            Vec::new()
        };
        self.writers.send(Outgoing { raw: self.raw, bytes, long_body, id: self.id, _under_way: self.under_way });
    }

    fn write_log(&self, status: u16) {
        match &self.error {
            Some(error @ (Error::Internal(_) | Error::StorageFull)) => log::error!("request {}: {error}", self.id),
            Some(error @ Error::NotConfigured(_)) => log::warn!("request {}: {error}", self.id),
            // The cause is in the log once; strangers must not fill the disk with what follows from it.
            Some(error @ Error::Unavailable(_)) => log::debug!("request {}: {error}", self.id),
            Some(_) | None => {}
        }
        if let Some(what) = &self.log {
            log::info!("request {}: {what} {status} {:.1?}", self.id, self.arrived.elapsed());
        }
    }
}

/// The bytes of an answer, or of its head.
pub(super) fn head_and_body(answer: &Answer, head_only: bool) -> Vec<u8> {
    let mut bytes = buffers::take();
    // Writing to memory does not fail.
    let _ = write_head(&mut bytes, answer);
    if !head_only {
        bytes.extend_from_slice(&answer.body);
    }
    bytes
}

fn write_head(out: &mut Vec<u8>, answer: &Answer) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 {} {}\r\n{COMMON_HEADERS}", answer.status, reason(answer.status))?;
    write!(out, "{}: 1\r\n", nextcloud::diagnosis::OWN_HEADER)?;
    if let Some(content_type) = answer.content_type {
        write!(out, "Content-Type: {content_type}\r\n")?;
    }
    for (name, value) in &answer.headers {
        // tiny_http does not check: a line break would let a value speak for itself.
        if !value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            write!(out, "{name}: {value}\r\n")?;
        }
    }
    // A 304 describes the answer that it stands for, whose length is not known (SPEC D.4).
    if answer.status != 304 {
        write!(out, "Content-Length: {}\r\n", answer.body.len())?;
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "Unknown",
    }
}
