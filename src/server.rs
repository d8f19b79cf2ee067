//! Listening, threads, limits, shutdown. Only this file and those in `server/` name tiny_http.

mod admin;
mod run;
mod socket;
mod writers;

pub use run::run;

use crate::api::App;
use crate::auth::Logins;
use crate::config::Config;
use crate::dispatch::{Dispatcher, Work, unix_time};
use crate::error::Error;
use crate::http::{BODY_LIMIT, Headers, Request};
use crate::metrics::{self, METRICS};
use crate::ocs::{self, Answer};
use crate::polls::{Polls, Topic};
use crate::presence::Presence;
use crate::signals::Signals;
use crate::store::Store;
use crate::talk::view::Policy;
use crate::{buffers, nextcloud, password, store, sweep};
use sha1::{Digest, Sha1};
use socket::{Inherited, Socket};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use writers::{MOST_REPLACED, Outgoing, Writers};

/// Bodies up to this length have been read by tiny_http's connection thread; reading a longer one may block.
const BUFFERED_BODY: usize = 1024;
/// Of a body that was refused, this much is read and thrown away, bytes: a client that is still sending then gets the
/// answer. It is also the longest body that nginx lets through by default.
const DRAINED_BODY: usize = 1 << 20;
/// Most threads that read longer bodies at the same time.
const BODY_READERS: usize = 64;
/// A body longer than this, bytes, is written by a call of its own: copying it behind its head costs more.
const LONG_BODY: usize = 32 << 10;
/// Longest time that shutting down waits for requests under way.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(9);
/// How long callers who were accepted already have to be read and answered when the server stops. Only those who say
/// nothing make it wait for so long.
const LAST_REQUESTS: Duration = Duration::from_secs(3);
/// The same where the system does not tell whether there are any.
const BLIND_PAUSE: Duration = Duration::from_millis(300);
/// How long a server waits after `accept` failed, which it does again at once while descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Descriptors that are opened after the first connection may have come: copies of both listening sockets.
const LATE_DESCRIPTORS: usize = 2;
/// So many open connections cannot be in one another's way.
const FEW_CONNECTIONS: usize = 2;
/// How many connections end at a time for the sake of those that wait.
const KNOCKS: usize = 8;
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
    under_way: UnderWay,
    writers: Arc<Writers>,
}

/// A request that has not been answered yet: it counts as under way until this goes.
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

fn head_and_body(answer: &Answer, head_only: bool) -> Vec<u8> {
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

/// A running server.
pub struct Running {
    shared: Arc<Shared>,
    polls: Arc<Polls<Box<crate::dispatch::Job>>>,
    threads: Vec<JoinHandle<()>>,
    name: String,
    /// The operators' unix socket, where it is our own.
    admin_file: Option<std::path::PathBuf>,
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
    /// The last connection was accepted: tiny_http has said that it cannot accept any more.
    accepted_all: AtomicBool,
    /// Nothing is read any more.
    stopped: AtomicBool,
    body_readers: AtomicUsize,
    /// How many descriptors the process has without any connection.
    own_descriptors: usize,
    writers: Arc<Writers>,
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
    let (dispatcher, work) = Dispatcher::new(app.clone(), logins, polls.clone(), config.server.slow_queue);
    // Before anybody is let in: callers who wait already are accepted at once.
    let own_descriptors = open_descriptors() + LATE_DESCRIPTORS;
    let server = socket.serve().map_err(|e| format!("cannot serve {name}: {e}"))?;
    let shared = Arc::new(Shared {
        socket,
        own_descriptors,
        servers: RwLock::new(vec![Arc::new(server)]),
        live: Live { log_requests: AtomicBool::new(config.log.requests) },
        config,
        dispatcher,
        stopping: AtomicBool::new(false),
        accepted_all: AtomicBool::new(false),
        stopped: AtomicBool::new(false),
        body_readers: AtomicUsize::new(0),
        writers: Writers::new(),
        app,
    });
    let threads = start_threads(&shared, work).map_err(|e| format!("cannot start a thread: {e}"))?;
    let mut admin_file = None;
    if let Some(socket) = admin_socket {
        admin_file = socket.own_file();
        admin::start(socket, &shared, &polls)?;
    }
    Ok(Running { shared, polls, threads, name, admin_file })
}

fn start_threads(shared: &Arc<Shared>, work: Work) -> std::io::Result<Vec<JoinHandle<()>>> {
    let writers = &shared.writers;
    let worker = shared.clone();
    let mut threads = writers.start("worker", shared.config.server.workers, move || worker.work())?;
    let Work { slow, hashing, answers } = work;
    let dispatcher = shared.dispatcher.clone();
    writers.start("slow", shared.config.server.slow_workers, move || dispatcher.serve_slow_lane(&slow))?;
    let dispatcher = shared.dispatcher.clone();
    writers.start("hash", password::MAX_AT_ONCE, move || dispatcher.serve_hashing_lane(&hashing))?;
    writers.start("answer", ANSWER_THREADS, move || Dispatcher::write_answer(&answers))?;
    let dispatcher = shared.dispatcher.clone();
    writers.start("polls", 1, move || dispatcher.serve_polls())?;
    writers.watch()?;
    let mut start = |name: &str, work: Box<dyn FnOnce() + Send>| -> std::io::Result<()> {
        threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    };
    let app = Arc::downgrade(&shared.app);
    start("sweep", Box::new(move || sweep::run(&app)))?;
    let app = Arc::downgrade(&shared.app);
    start("accounts", Box::new(move || sweep::look_for_gone_accounts(&app)))?;
    socket::count_panics();
    let connections = shared.clone();
    start("connections", Box::new(move || connections.look_after_connections()))?;
    Ok(threads)
}

/// How many descriptors the process has; none where that cannot be told.
fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
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

    /// A worker's piece of work: receives a request and brings it on its way. False when the server has stopped.
    fn work(self: &Arc<Shared>) -> bool {
        let Some(server) = self.server() else { return false };
        match server.recv() {
            Ok(raw) => self.receive(raw),
            Err(_) if self.stopped.load(Ordering::SeqCst) => return false,
            // The socket was closed; requests that were read before come after this.
            Err(_) if self.stopping.load(Ordering::SeqCst) => self.accepted_all.store(true, Ordering::SeqCst),
            Err(error) => self.accept_again(&server, &error),
        }
        true
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
                (1..self.config.server.workers + MOST_REPLACED).for_each(|_| failed.unblock());
            }
            Err(error) => {
                log::error!("cannot serve again: {error}");
                // This worker comes back to try once more.
                failed.unblock();
            }
        }
    }

    /// Waits until everybody who was accepted has been answered: what they sent may not have been read yet.
    fn serve_the_last(&self) {
        let began = Instant::now();
        let most = if self.socket.connections().is_some() { LAST_REQUESTS } else { BLIND_PAUSE };
        let done = || self.accepted_all.load(Ordering::SeqCst) && self.socket.connections() == Some(0);
        while !done() && began.elapsed() < most {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes up for two weaknesses of tiny_http's, for as long as the process lives.
    ///
    /// When several connections come at once it may give more of them to its idle threads than there are: the rest wait
    /// until another connection ends, which they do not when nobody says anything on them. An end of a connection is
    /// what it gets here. The other is that it may cease to accept without a word, see [`Socket::is_deaf`].
    fn look_after_connections(&self) {
        let mut panics = 0;
        while !self.stopping.load(Ordering::SeqCst) {
            std::thread::sleep(ACCEPT_PAUSE);
            if open_descriptors() > self.own_descriptors + FEW_CONNECTIONS {
                // The first that fails has told that there is no more to be done now.
                let _ = (0..KNOCKS).all(|_| self.socket.knock());
            }
            if self.socket.is_deaf(&mut panics)
                && let Some(server) = self.server()
            {
                // The worker that this wakes takes it for a failure to accept, which it is.
                server.unblock();
            }
        }
    }

    fn receive(self: &Arc<Shared>, mut raw: tiny_http::Request) {
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
            under_way,
            writers: self.writers.clone(),
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

/// Answers 413 without reading the body, which only tiny_http's way to another protocol allows. That writes a head of its
/// own: after its `Connection: upgrade` and `Upgrade` come all the headers that the answer has otherwise.
fn answer_too_large(raw: tiny_http::Request) -> Box<dyn tiny_http::ReadWrite + Send> {
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
        // Those who wait for news are answered that there is none.
        self.polls.close();
        self.shared.serve_the_last();
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(server) = self.shared.server() {
            (0..self.shared.config.server.workers + MOST_REPLACED).for_each(|_| server.unblock());
        }
        let worker = |thread: &&JoinHandle<()>| thread.thread().name().is_some_and(|name| name.starts_with("worker"));
        let workers: Vec<_> = self.threads.iter().filter(worker).collect();
        let idle = || METRICS.in_flight.get() == 0 && workers.iter().all(|worker| worker.is_finished());
        while !idle() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let finished = idle();
        // Last, so that no ping of a request that was under way is left out.
        sweep::once(&self.shared.app, unix_time());
        self.shared.app.store.close();
        if let Some(file) = &self.admin_file {
            // The next start removes it if this does not.
            let _ = std::fs::remove_file(file);
        }
        if self.shared.socket.is_inherited() {
            // tiny_http removes a socket's file when it is dropped, and this one is systemd's: never drop it.
            std::mem::forget(self.shared.clone());
        }
        finished
    }
}
