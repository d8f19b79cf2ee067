//! Listening, threads, limits, shutdown. Only this file and those in `server/` name tiny_http.

mod admin;
mod run;
mod socket;

pub use run::run;

use crate::api::{App, account};
use crate::auth::Logins;
use crate::config::Config;
use crate::dispatch::{Dispatcher, SlowWork, unix_time};
use crate::error::Error;
use crate::http::{BODY_LIMIT, Headers, OWN_HEADER, Request};
use crate::metrics::{self, METRICS};
use crate::ocs::{self, Answer};
use crate::polls::{Polls, Topic};
use crate::presence::Presence;
use crate::signals::Signals;
use crate::store::{Store, participants, rooms};
use crate::talk::participant::Actor;
use crate::talk::view::Policy;
use crate::{nextcloud, store};
use sha1::{Digest, Sha1};
use socket::{Inherited, Socket};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bodies up to this length have been read by tiny_http's connection thread; reading a longer one may block.
const BUFFERED_BODY: usize = 1024;
/// Most threads that read longer bodies at the same time.
const BODY_READERS: usize = 64;
/// Longest time that shutting down waits for requests under way.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(9);
/// How long requests that were accepted already have to be read when the server stops.
const LAST_REQUESTS: Duration = Duration::from_millis(50);
/// How often pings reach the disk and silent sessions are looked for.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);
/// How long a server waits after `accept` failed, which it does again at once while descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Threads that write the answers of committed changes.
const ANSWER_THREADS: usize = 2;

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
    /// The request counts as under way until this goes.
    _under_way: UnderWay,
}

/// A request that has not been answered yet.
struct UnderWay;

impl UnderWay {
    fn begin() -> UnderWay {
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

    /// Writes the answer. A caller who is gone by now is nobody's fault.
    pub fn send(self, answer: Answer) {
        self.write_log(answer.status);
        METRICS.answered(self.route, answer.status, self.lane, self.arrived.elapsed());
        let bytes = head_and_body(&answer, self.head_only);
        let mut writer = self.raw.into_writer();
        if let Err(error) = writer.write_all(&bytes).and_then(|()| writer.flush()) {
            log::debug!("request {}: the caller did not take the answer: {}", self.id, error.kind());
        }
    }

    fn write_log(&self, status: u16) {
        match &self.error {
            Some(error @ (Error::Internal(_) | Error::StorageFull)) => log::error!("request {}: {error}", self.id),
            Some(error @ (Error::Unavailable(_) | Error::NotConfigured(_))) => {
                log::warn!("request {}: {error}", self.id);
            }
            Some(_) | None => {}
        }
        if let Some(what) = &self.log {
            log::info!("request {}: {what} {status} {:.1?}", self.id, self.arrived.elapsed());
        }
    }
}

fn head_and_body(answer: &Answer, head_only: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024 + answer.body.len());
    bytes.extend_from_slice(format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status)).as_bytes());
    bytes.extend_from_slice(COMMON_HEADERS.as_bytes());
    bytes.extend_from_slice(format!("{OWN_HEADER}: 1\r\n").as_bytes());
    if let Some(content_type) = answer.content_type {
        bytes.extend_from_slice(format!("Content-Type: {content_type}\r\n").as_bytes());
    }
    for (name, value) in &answer.headers {
        // tiny_http does not check: a line break would let a value speak for itself.
        if !value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    // A 304 describes the answer that it stands for, whose length is not known (SPEC D.4).
    if answer.status != 304 {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", answer.body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    if !head_only {
        bytes.extend_from_slice(&answer.body);
    }
    bytes
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

/// A running server.
pub struct Running {
    shared: Arc<Shared>,
    polls: Arc<Polls<Box<crate::dispatch::Job>>>,
    threads: Vec<JoinHandle<()>>,
    name: String,
}

/// What a reload may change while the server runs.
struct Live {
    /// Whether each request gets a line in the log.
    log_requests: AtomicBool,
}

/// What the threads of a server share.
struct Shared {
    socket: Socket,
    /// Replaced when accepting failed. Old ones are kept: dropping one would remove the socket's file.
    servers: RwLock<Vec<Arc<tiny_http::Server>>>,
    config: Config,
    dispatcher: Arc<Dispatcher>,
    live: Live,
    /// No connection is accepted any more; what was sent is still read.
    stopping: AtomicBool,
    /// Nothing is read any more.
    stopped: AtomicBool,
    body_readers: AtomicUsize,
    app: Arc<App>,
}

/// Opens the database, binds the socket and starts all threads. The error is a sentence for the administrator.
pub fn start(config: Config) -> Result<Running, String> {
    config.check()?;
    let inherited = Inherited::take()?;
    let directory = nextcloud::open(&config)?;
    let polls: Arc<Polls<Box<crate::dispatch::Job>>> = Arc::default();
    let waker = polls.clone();
    let signals: Arc<Signals> = Arc::default();
    let mailboxes = signals.clone();
    let wake: store::OnCommit = Arc::new(move |changed| {
        changed.messages.iter().for_each(|room| waker.wake(Topic::Messages(*room)));
        for room in &changed.sessions {
            mailboxes.refresh(*room).into_iter().for_each(|no| waker.wake(Topic::Signals(*room, no)));
        }
    });
    let store = Store::open(&config.store.data, config.store.cache_mib, Arc::new(Presence::default()), wake)?;
    let socket = match inherited.api {
        Some(socket) => socket,
        None => Socket::bind(&config.server.listen, config.server.mode()?, &config.server.socket_group)?,
    };
    let admin_socket = admin::listen(&config, inherited.admin)?;
    socket.set_options().map_err(|e| format!("cannot set socket options: {e}"))?;
    let name = socket.name();
    let app = Arc::new(App {
        policy: Policy {
            start_calls: config.talk.start_calls,
            default_group_notification: config.talk.default_group_notification,
        },
        talk_hash: talk_hash(&config),
        signals,
        wake: Box::new({
            let polls = polls.clone();
            move |topic| polls.wake(topic)
        }),
        store,
        directory,
        config: config.clone(),
    });
    let seconds = Duration::from_secs;
    let logins = Logins::new(seconds(config.nextcloud.login_cache), seconds(config.nextcloud.refusal_cache))
        .map_err(|e| e.to_string())?;
    let (slow, slow_work) = sync_channel(config.server.slow_queue);
    let (answers, answer_work) = channel();
    let dispatcher = Arc::new(Dispatcher::new(app.clone(), logins, polls.clone(), slow, answers));
    let server = socket.serve().map_err(|e| format!("cannot serve {name}: {e}"))?;
    let shared = Arc::new(Shared {
        socket,
        servers: RwLock::new(vec![Arc::new(server)]),
        live: Live { log_requests: AtomicBool::new(config.log.requests) },
        config,
        dispatcher,
        stopping: AtomicBool::new(false),
        stopped: AtomicBool::new(false),
        body_readers: AtomicUsize::new(0),
        app,
    });
    let threads = start_threads(&shared, slow_work, answer_work).map_err(|e| format!("cannot start a thread: {e}"))?;
    if let Some(socket) = admin_socket {
        admin::start(socket, &shared, &polls)?;
    }
    Ok(Running { shared, polls, threads, name })
}

fn start_threads(
    shared: &Arc<Shared>,
    slow_work: Receiver<SlowWork>,
    answer_work: Receiver<(Responder, Answer)>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    let mut start = |name: String, work: Box<dyn FnOnce() + Send>| -> std::io::Result<()> {
        threads.push(std::thread::Builder::new().name(name).spawn(work)?);
        Ok(())
    };
    for n in 0..shared.config.server.workers {
        let shared = shared.clone();
        start(format!("worker-{n}"), Box::new(move || shared.work()))?;
    }
    let slow_work = Arc::new(Mutex::new(slow_work));
    for n in 0..shared.config.server.slow_workers {
        let (dispatcher, work) = (shared.dispatcher.clone(), slow_work.clone());
        start(format!("slow-{n}"), Box::new(move || dispatcher.serve_slow_lane(&work)))?;
    }
    let answer_work = Arc::new(Mutex::new(answer_work));
    for n in 0..ANSWER_THREADS {
        let work = answer_work.clone();
        start(format!("answer-{n}"), Box::new(move || write_answers(&work)))?;
    }
    let dispatcher = shared.dispatcher.clone();
    start("polls".to_owned(), Box::new(move || dispatcher.serve_polls()))?;
    let app = Arc::downgrade(&shared.app);
    start("sweep".to_owned(), Box::new(move || sweep(&app)))?;
    Ok(threads)
}

fn write_answers(work: &Mutex<Receiver<(Responder, Answer)>>) {
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok((responder, answer)) => responder.send(answer),
            Err(_) => return,
        }
    }
}

/// What clients compare to learn that the server's settings changed.
fn talk_hash(config: &Config) -> String {
    let talk = &config.talk;
    let servers: Vec<&str> = talk.turn_servers.iter().map(|turn| turn.server.as_str()).collect();
    let settings = [
        env!("CARGO_PKG_VERSION").to_owned(),
        talk.stun_servers.join(","),
        servers.join(","),
        talk.allowed_groups.join(","),
        talk.start_calls.to_string(),
        talk.default_group_notification.to_string(),
    ];
    Sha1::digest(settings.join("#")).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Shared {
    fn server(&self) -> Option<Arc<tiny_http::Server>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    /// A worker: receives requests and brings them on their way, until the server stops.
    fn work(self: &Arc<Shared>) {
        while let Some(server) = self.server() {
            match server.recv() {
                Ok(raw) => self.receive(raw),
                Err(_) if self.stopped.load(Ordering::SeqCst) => return,
                // The socket was closed; requests that were read before come after this.
                Err(_) if self.stopping.load(Ordering::SeqCst) => {}
                Err(error) => self.accept_again(&server, &error),
            }
        }
    }

    /// After an error, too many open files for instance, tiny_http never accepts again: a new server takes over.
    fn accept_again(&self, failed: &Arc<tiny_http::Server>, error: &std::io::Error) {
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        if !servers.last().is_some_and(|current| Arc::ptr_eq(current, failed)) {
            return;
        }
        log::warn!("accepting connections failed: {error}");
        METRICS.accept_restarts.add(1);
        std::thread::sleep(ACCEPT_PAUSE);
        match self.socket.serve() {
            Ok(server) => {
                servers.push(Arc::new(server));
                // The other workers wait at the server that is dead.
                (1..self.config.server.workers).for_each(|_| failed.unblock());
            }
            Err(error) => {
                log::error!("cannot serve again: {error}");
                // This worker comes back to try once more.
                failed.unblock();
            }
        }
    }

    fn receive(self: &Arc<Shared>, mut raw: tiny_http::Request) {
        let under_way = UnderWay::begin();
        let length = raw.body_length();
        let chunked = length.is_none() && raw.headers().iter().any(|h| h.field.equiv("Transfer-Encoding"));
        match length.unwrap_or(0) {
            length if length > BODY_LIMIT => refuse_body(raw, length),
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
        if self.body_readers.fetch_add(1, Ordering::SeqCst) >= BODY_READERS {
            self.body_readers.fetch_sub(1, Ordering::SeqCst);
            // Dropping it would wait for the body.
            return refuse_body(raw, BODY_LIMIT);
        }
        let shared = self.clone();
        let started = std::thread::Builder::new().name("body".to_owned()).spawn(move || {
            let mut raw = raw;
            let mut body = Vec::new();
            // One byte more than allowed tells a chunked body that is too long.
            let read = raw.as_reader().take(BODY_LIMIT as u64 + 1).read_to_end(&mut body);
            shared.body_readers.fetch_sub(1, Ordering::SeqCst);
            match read {
                Ok(_) if body.len() > BODY_LIMIT => refuse_body(raw, usize::MAX),
                Ok(_) => shared.dispatch(raw, &body, under_way),
                Err(error) => log::debug!("a body could not be read: {}", error.kind()),
            }
        });
        if let Err(error) = started {
            self.body_readers.fetch_sub(1, Ordering::SeqCst);
            log::error!("no thread to read a body: {error}");
        }
    }

    fn dispatch(self: &Arc<Shared>, raw: tiny_http::Request, body: &[u8], under_way: UnderWay) {
        let mut headers = Headers::default();
        raw.headers().iter().for_each(|h| headers.keep(h.field.as_str().as_str(), h.value.as_str()));
        let address = self.caller_address(raw.remote_addr().map(|a| a.ip()), &headers);
        let request = Request::new(raw.method().as_str(), raw.url(), headers, address, body);
        let log = self.live.log_requests.load(Ordering::Relaxed).then(|| format!("{} {}", raw.method(), request.path));
        let id = REQUEST_ID.fetch_add(1, Ordering::Relaxed);
        let head_only = request.head_only;
        let responder = Responder {
            raw,
            id,
            arrived: Instant::now(),
            head_only,
            log,
            error: None,
            route: metrics::OTHER,
            lane: metrics::Lane::Fast,
            _under_way: under_way,
        };
        self.dispatcher.begin(request, responder);
    }

    /// Where the caller is: what the proxy says, if the peer is one that is believed.
    fn caller_address(&self, peer: Option<IpAddr>, headers: &Headers) -> Option<IpAddr> {
        match peer {
            None => headers.forwarded_address(),
            Some(peer) if self.config.server.trusted_proxies.contains(&peer) => {
                headers.forwarded_address().or(Some(peer))
            }
            Some(peer) => Some(peer),
        }
    }
}

/// Answers 413 without reading the body. tiny_http allocates the declared length and waits for all of it when such a
/// request is dropped, so its reader is leaked: it costs a descriptor, and nginx never lets one through.
fn refuse_body(raw: tiny_http::Request, length: usize) {
    log::warn!("refused a body of {length} bytes");
    METRICS.refused_bodies.add(1);
    let answer = ocs::body_too_large();
    let header = |name: &str, value: &str| tiny_http::Header::from_bytes(name, value);
    let headers = [
        header("Content-Type", answer.content_type.unwrap_or("")),
        header("Content-Length", &answer.body.len().to_string()),
    ];
    let response = tiny_http::Response::new(
        tiny_http::StatusCode(answer.status),
        headers.into_iter().flatten().collect(),
        std::io::empty(),
        None,
        None,
    );
    let mut stream = raw.upgrade("close", response);
    // The caller may be gone; there is nothing to be done about it.
    let _ = stream.write_all(&answer.body).and_then(|()| stream.flush());
    std::mem::forget(stream);
}

/// Stores pings and drops silent sessions every few seconds, for as long as the server lives.
fn sweep(app: &std::sync::Weak<App>) {
    let mut next = Instant::now() + SWEEP_PAUSE;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let Some(app) = app.upgrade() else { return };
        if Instant::now() >= next {
            sweep_once(&app, unix_time());
            app.signals.forget_idle(Instant::now());
            forget_attempts(&app, unix_time());
            account::look_for_gone(&app, unix_time());
            next = Instant::now() + SWEEP_PAUSE;
        }
    }
}

/// Throws away attempts at guessing that no longer count.
fn forget_attempts(app: &App, now: i64) {
    if let Err(error) = app.store.write(move |t| t.forget_attempts(now)) {
        log::error!("old attempts could not be thrown away: {error}");
    }
}

/// One sweep: every conversation with pings in memory or with somebody connected.
fn sweep_once(app: &App, now: i64) {
    let pinged = app.store.presence().pending();
    let connected = match app.store.read(|t| participants::connected_rooms(t)) {
        Ok(connected) => connected,
        Err(error) => return log::error!("sessions could not be looked through: {error}"),
    };
    let mut all = pinged.clone();
    all.extend(connected);
    all.sort_unstable();
    all.dedup();
    for id in all {
        let has_pings = pinged.contains(&id);
        let stored = app.store.write(move |t| {
            let Some(mut room) = rooms::get(t, id)? else { return Ok(()) };
            let silent = crate::api::conversation::needs_tidying(&room, now);
            if silent {
                crate::api::conversation::tidy(t, &mut room, &Actor::Bot, now)?;
            } else if has_pings {
                t.save(&mut room)?;
            }
            Ok(())
        });
        match stored {
            Ok(()) => app.store.presence().stored(id, now),
            Err(error) => log::error!("a conversation could not be swept: {error}"),
        }
    }
}

impl Running {
    /// Where the server listens.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the server listens, for itself to ask whether it answers.
    fn address(&self) -> Option<crate::config::Listen> {
        self.shared.socket.address()
    }

    /// Stops accepting, answers what is under way, and stores everything. True when nothing was cut off.
    pub fn stop(self) -> bool {
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.socket.close();
        std::thread::sleep(LAST_REQUESTS);
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(server) = self.shared.server() {
            (0..self.shared.config.server.workers).for_each(|_| server.unblock());
        }
        let worker = |thread: &&JoinHandle<()>| thread.thread().name().is_some_and(|name| name.starts_with("worker"));
        let workers: Vec<_> = self.threads.iter().filter(worker).collect();
        // Those who wait for news are answered that there is none.
        self.polls.close();
        let idle = || METRICS.in_flight.get() == 0 && workers.iter().all(|worker| worker.is_finished());
        while !idle() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let finished = idle();
        sweep_once(&self.shared.app, unix_time());
        self.shared.app.store.close();
        if self.shared.socket.is_inherited() {
            // tiny_http removes a socket's file when it is dropped, and this one is systemd's: never drop it.
            std::mem::forget(self.shared.clone());
        }
        finished
    }
}
