//! Listening, threads, limits, shutdown. Only this file and those in `server/` name tiny_http.

mod admin;
mod bodies;
mod responder;
mod run;
mod socket;
mod turns;
mod writers;

pub use responder::Responder;
pub use run::run;

use crate::api::App;
use crate::auth::Logins;
use crate::config::Config;
use crate::dispatch::{Dispatcher, Work, unix_time};
use crate::http::{Headers, Request};
use crate::metrics::METRICS;
use crate::polls::{Polls, Topic};
use crate::presence::Presence;
use crate::signals::Signals;
use crate::store::Store;
use crate::talk::view::Policy;
use crate::{nextcloud, password, store, sweep};
use responder::UnderWay;
use sha1::{Digest, Sha1};
use smol_str::SmolStr;
use socket::{Inherited, Socket};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use writers::{ASKERS, MOST_REPLACED, WORKERS, Writers};

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
/// Threads that write the answers of committed changes. With two, the slowest reads beside 64 writers took 7 % longer,
/// and the writers did not get more done.
const ANSWER_THREADS: usize = 1;

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
    let mut threads = writers.start(WORKERS, shared.config.server.workers, move || worker.work())?;
    let Work { slow, hashing, answers } = work;
    let dispatcher = shared.dispatcher.clone();
    writers.start(ASKERS, shared.config.server.slow_workers, move || dispatcher.serve_slow_lane(&slow))?;
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
fn talk_hash(config: &Config) -> SmolStr {
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

    fn dispatch(self: &Arc<Shared>, raw: tiny_http::Request, body: &[u8], under_way: UnderWay) {
        let mut headers = Headers::default();
        raw.headers().iter().for_each(|h| headers.keep(h.field.as_str().as_str(), h.value.as_str()));
        let address = self.caller_address(raw.remote_addr().map(|a| a.ip()), &headers);
        let request = Request::new(raw.method().as_str(), raw.url(), headers, address, body);
        let log = self.live.log_requests.load(Ordering::Relaxed).then(|| format!("{} {}", raw.method(), request.path));
        let responder = Responder::new(raw, request.head_only, log, under_way, self.writers.clone());
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
        let worker = |thread: &&JoinHandle<()>| thread.thread().name().is_some_and(|name| name == WORKERS);
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
