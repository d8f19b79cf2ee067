//! One GET request to Nextcloud and what came back. Nothing here knows what the answers mean.

use super::directory::Asker;
use crate::config;
use crate::error::{Error, Result};
use crate::metrics::{METRICS, Outcome};
use crate::secret::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use ureq::http::header::{ACCEPT, AUTHORIZATION, COOKIE, DATE, SET_COOKIE};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig};

/// Longest answer that is read, bytes. A circle's members take about 6 KiB each.
const MAX_ANSWER: u64 = 8 * 1024 * 1024;
/// Idle connections that are kept: more than there are slow workers by default, so that none is opened anew under load.
const IDLE_CONNECTIONS: usize = 16;
/// How long one is kept. Apache closes its side after 5 seconds by default; asking on a connection that is just
/// being closed would fail.
const IDLE_AGE: Duration = Duration::from_secs(4);
const USER_AGENT: &str = concat!("roomd/", env!("CARGO_PKG_VERSION"));

/// Nextcloud did not answer within the timeouts of the configuration.
pub(super) const TOO_SLOW: Error = Error::Unavailable("Nextcloud did not answer in time");
/// No connection, or it broke.
pub(super) const UNREACHABLE: Error = Error::Unavailable("Nextcloud cannot be reached");
/// The TLS handshake failed.
pub(super) const NOT_TRUSTED: Error = Error::Unavailable("Nextcloud's certificate was not accepted");
/// The answer is longer than anything that Nextcloud sends.
pub(super) const TOO_LONG: Error = Error::Unavailable("Nextcloud's answer was too long");
/// A redirect, which is never followed: credentials would go where the administrator did not send them.
pub(super) const REDIRECTED: Error =
    Error::Unavailable("Nextcloud answered with a redirect: nextcloud.url must be the address where it ends");
/// Nextcloud's brute-force guard or a rate limit in front of it.
pub(super) const THROTTLED: Error = Error::Unavailable("Nextcloud answered that there were too many requests");
/// Any other status that the question does not have.
pub(super) const UNEXPECTED_STATUS: Error = Error::Unavailable("Nextcloud answered with an unexpected status");
/// HTML, broken JSON, or no HTTP at all.
pub(super) const NOT_OCS: Error = Error::Unavailable("what answered did not answer like Nextcloud");

/// Asks questions of one Nextcloud.
pub(super) struct Client {
    agent: ureq::Agent,
    /// `nextcloud.url` without a slash at its end.
    base: String,
    /// The latest question got no usable answer.
    failing: AtomicBool,
}

/// What came back: any status but a redirect, and the whole body.
pub(super) struct Answer {
    /// Which question it answers, for the log.
    call: &'static str,
    /// The HTTP status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: Vec<u8>,
    /// The `Set-Cookie` values.
    pub(super) set_cookies: Vec<Secret>,
    /// The `Date` header.
    pub(super) date: Option<String>,
    /// Whether roomd answered, and not Nextcloud.
    pub(super) is_roomd: bool,
}

/// The envelope around every answer.
#[derive(Deserialize)]
struct Envelope<T> {
    ocs: Ocs<T>,
}

#[derive(Deserialize)]
struct Ocs<T> {
    meta: Meta,
    data: T,
}

/// The envelope's own status.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Meta {
    /// The OCS status, which is not always the HTTP one.
    pub(super) statuscode: i64,
    message: Option<String>,
}

impl Meta {
    /// Whether this is the answer to a route that Nextcloud does not have, such as that of an app that is not enabled.
    /// Nextcloud never translates this sentence.
    pub(super) fn is_unknown_route(&self) -> bool {
        self.message.as_deref().is_some_and(|message| message.starts_with("Invalid query"))
    }
}

impl Client {
    /// Prepares the connections; nothing is asked yet. The error names the key.
    pub(super) fn new(config: &config::Nextcloud) -> std::result::Result<Client, String> {
        let base = config.url.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|e| format!("nextcloud.url is `{base}`, which is no URL: {e}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() || base.contains(['@', '#']) {
            return Err(
                "nextcloud.url is https:// or http://, a host, and maybe a port and a path; nothing else".into()
            );
        }
        let proxy = match config.proxy.as_str() {
            "" => None,
            proxy => Some(ureq::Proxy::new(proxy).map_err(|e| format!("nextcloud.proxy: {e}"))?),
        };
        let roots = match &config.ca_file {
            None => RootCerts::WebPki,
            Some(file) => authorities(file).map_err(|e| format!("nextcloud.ca_file, {}: {e}", file.display()))?,
        };
        let connect = Some(Duration::from_secs(config.connect_timeout));
        let answer = Some(Duration::from_secs(config.answer_timeout));
        // Neither timeout_global, timeout_per_call nor timeout_resolve: each of them makes ureq start a thread a call.
        // So a look-up of the host's address takes as long as the system's resolver lets it.
        let agent = ureq::Agent::config_builder()
            .timeout_connect(connect)
            .timeout_send_request(connect)
            .timeout_recv_response(answer)
            .timeout_recv_body(answer)
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .max_idle_age(IDLE_AGE)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(proxy)
            .user_agent(USER_AGENT)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build()
            .new_agent();
        Ok(Client { agent, base, failing: AtomicBool::new(false) })
    }

    /// Asks for `path` (with its query) on behalf of `asker`. `call` names the question in the log, where neither
    /// path nor query appear.
    ///
    /// [`Error::BadRequest`] when the asker's credentials hold characters that no header can carry.
    pub(super) fn get(&self, call: &'static str, path: &str, asker: &Asker) -> Result<Answer> {
        let mut request = Request::get(format!("{}{path}", self.base))
            .body(())
            .map_err(|_| Error::internal(format!("Nextcloud, {call}: the question does not make a URL")))?;
        *request.headers_mut() = headers(asker)?;
        let outcome = self.exchange(call, request);
        self.failing.store(outcome.is_err(), Ordering::Relaxed);
        METRICS.asked_nextcloud(outcome_of(&outcome), unix_time());
        outcome
    }

    /// Whether the latest question got no usable answer.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn exchange(&self, call: &'static str, request: Request<()>) -> Result<Answer> {
        let mut response = self.agent.run(request).map_err(|error| unavailable(call, &error))?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        // Read first, then judged: only a connection whose answer was read to its end can be used again.
        let body = body.map_err(|error| unavailable(call, &error))?;
        if status.is_redirection() {
            log::warn!("Nextcloud, {call}: status {status}, which is not followed");
            return Err(REDIRECTED);
        }
        let values = response.headers().get_all(SET_COOKIE).iter();
        let set_cookies = values.filter_map(|value| value.to_str().ok()).map(Secret::new).collect();
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
        let is_roomd = response.headers().contains_key(super::diagnosis::OWN_HEADER);
        Ok(Answer { call, status: status.as_u16(), body, set_cookies, date, is_roomd })
    }
}

fn outcome_of(outcome: &Result<Answer>) -> Outcome {
    match outcome {
        Ok(answer) if answer.status == 429 => Outcome::Throttled,
        Ok(answer) if answer.status >= 500 => Outcome::Failed,
        Ok(_) => Outcome::Answered,
        Err(error) if *error == TOO_SLOW => Outcome::Slow,
        Err(error) if *error == NOT_TRUSTED => Outcome::Untrusted,
        Err(error) if *error == REDIRECTED => Outcome::Redirected,
        Err(error) if *error == TOO_LONG || *error == NOT_OCS => Outcome::Nonsense,
        Err(_) => Outcome::Unreachable,
    }
}

impl Answer {
    /// The `data` of the answer. [`Error::Unavailable`] when it is not OCS in JSON, or not of this shape.
    pub(super) fn data<T: DeserializeOwned>(&self) -> Result<T> {
        let envelope: Envelope<T> = serde_json::from_slice(&self.body).map_err(|error| {
            // Only where, not what: serde_json's own words may quote the answer.
            log::warn!("Nextcloud, {}: no OCS answer, line {}, column {}", self.call, error.line(), error.column());
            NOT_OCS
        })?;
        Ok(envelope.ocs.data)
    }

    /// The envelope's own status; `None` when there is no envelope.
    pub(super) fn meta(&self) -> Option<Meta> {
        let envelope: Envelope<serde_json::Value> = serde_json::from_slice(&self.body).ok()?;
        Some(envelope.ocs.meta)
    }

    /// The error for a status that the question does not have.
    pub(super) fn unexpected(&self) -> Error {
        log::warn!("Nextcloud, {}: unexpected status {}", self.call, self.status);
        if self.status == 429 { THROTTLED } else { UNEXPECTED_STATUS }
    }
}

/// The certificates of a PEM file; other things in it are passed over.
fn authorities(file: &Path) -> std::result::Result<RootCerts, String> {
    let text = std::fs::read(file).map_err(|e| e.to_string())?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| e.to_string())? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err("there is no certificate in it (BEGIN CERTIFICATE)".to_owned());
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn headers(asker: &Asker) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("ocs-apirequest"), HeaderValue::from_static("true"));
    if let Some(address) = asker.address {
        let address = HeaderValue::from_str(&address.to_canonical().to_string()).map_err(|_| Error::BadRequest)?;
        headers.insert(HeaderName::from_static("x-forwarded-for"), address);
    }
    let credentials = &asker.credentials;
    for (name, secret) in [
        (AUTHORIZATION, &credentials.authorization),
        (COOKIE, &credentials.cookie),
        (HeaderName::from_static("requesttoken"), &credentials.request_token),
    ] {
        if let Some(secret) = secret {
            let mut value = HeaderValue::from_bytes(secret.reveal().as_bytes()).map_err(|_| Error::BadRequest)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

fn unix_time() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64)
}

fn unavailable(call: &'static str, error: &ureq::Error) -> Error {
    log::warn!("Nextcloud, {call}: {error}");
    match error {
        ureq::Error::Timeout(_) => TOO_SLOW,
        ureq::Error::BodyExceedsLimit(_) => TOO_LONG,
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => NOT_TRUSTED,
        // rustls' own complaints come wrapped in an I/O error of this kind.
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => NOT_TRUSTED,
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => NOT_OCS,
        _ => UNREACHABLE,
    }
}
