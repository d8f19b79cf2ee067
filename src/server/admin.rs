//! The operators' listener: whether roomd is well, its counters, and the changes that commands ask for.

use super::bodies::answer_too_large;
use super::responder::head_and_body;
use super::{Shared, Socket};
use crate::api::App;
use crate::config::{Config, DEFAULT_ADMIN_SOCKET, Listen};
use crate::dispatch::{Job, unix_time};
use crate::http::BODY_LIMIT;
use crate::metrics::METRICS;
use crate::nextcloud::directory::{Asker, Credentials};
use crate::ocs::Answer;
use crate::operations::Operation;
use crate::polls::Polls;
use crate::routes;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Permissions of the unix socket: nobody but roomd's own user, and root.
const MODE: u32 = 0o600;
/// How long a test write may take until the database counts as stuck.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
/// An answer of Nextcloud's that is older than this many seconds says nothing about now.
const LATELY: i64 = 60;
/// How long to wait before accepting anew.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the listener shows.
struct Operators {
    shared: Arc<Shared>,
    polls: Arc<Polls<Box<Job>>>,
    /// Changes are taken; not on an address that everybody on this machine can reach.
    may_change: bool,
}

/// Makes the socket of the configuration, if there is one. At its default place it may fail: on a laptop there is no
/// `/run/roomd`.
pub fn listen(config: &Config, inherited: Option<Socket>) -> Result<Option<Socket>, String> {
    if inherited.is_some() {
        return Ok(inherited);
    }
    let Some(listen) = &config.server.admin_listen else { return Ok(None) };
    let is_default = *listen == Listen::Unix(DEFAULT_ADMIN_SOCKET.into());
    if let Listen::Unix(path) = listen
        && let Some(folder) = path.parent().filter(|folder| !is_default && *folder != Path::new(""))
    {
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    }
    match Socket::bind(listen, MODE, "") {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if is_default => {
            log::warn!("no socket for operators (server.admin_listen): {error}");
            Ok(None)
        }
        Err(error) => Err(format!("server.admin_listen: {error}")),
    }
}

/// Starts to answer on the socket, for as long as the process lives.
pub fn start(socket: Socket, shared: &Arc<Shared>, polls: &Arc<Polls<Box<Job>>>) -> Result<(), String> {
    socket.set_options().map_err(|e| format!("cannot set socket options: {e}"))?;
    let operators = Operators { shared: shared.clone(), polls: polls.clone(), may_change: socket.is_private() };
    log::info!("serving operators on {}", socket.name());
    let operators = Arc::new(operators);
    let thread = std::thread::Builder::new().name("admin".to_owned());
    thread.spawn(move || accept_all(&socket, &operators)).map_err(|e| format!("cannot start a thread: {e}"))?;
    Ok(())
}

fn accept_all(socket: &Socket, operators: &Arc<Operators>) {
    loop {
        match socket.serve() {
            Ok(server) => {
                accept_from(&server, socket, operators);
                // Dropping it would remove the socket's file.
                std::mem::forget(server);
            }
            Err(error) => log::error!("cannot serve operators: {error}"),
        }
        METRICS.accept_restarts.add(1);
        std::thread::sleep(ACCEPT_PAUSE);
    }
}

/// Takes requests until no more can come.
fn accept_from(server: &tiny_http::Server, socket: &Socket, operators: &Arc<Operators>) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let listen = || {
            let mut panics = 0;
            while !ended.load(Ordering::SeqCst) {
                std::thread::sleep(ACCEPT_PAUSE);
                if socket.is_deaf(&mut panics) {
                    server.unblock();
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("admin-ear".to_owned()).spawn_scoped(scope, listen) {
            log::error!("nobody looks whether operators are heard: {error}");
        }
        while let Ok(request) = server.recv() {
            let operators = operators.clone();
            // Each in a thread of its own: whether Nextcloud answers may take seconds to find out.
            let started =
                std::thread::Builder::new().name("operator".to_owned()).spawn(move || operators.serve(request));
            if let Err(error) = started {
                log::error!("no thread for an operator's request: {error}");
            }
        }
        ended.store(true, Ordering::SeqCst);
    });
}

impl Operators {
    fn serve(&self, mut raw: tiny_http::Request) {
        let length = raw.body_length().unwrap_or(0);
        if length > BODY_LIMIT {
            return std::mem::forget(answer_too_large(raw));
        }
        let mut body = vec![0; length];
        if raw.as_reader().read_exact(&mut body).is_err() {
            return;
        }
        let path = raw.url().split('?').next().unwrap_or("").to_owned();
        let answer = self.answer(raw.method().as_str(), &path, &body);
        let mut writer = raw.into_writer();
        // An operator who is gone by now is nobody's fault.
        let _ = writer.write_all(&head_and_body(&answer, false)).and_then(|()| writer.flush());
    }

    fn answer(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        match (method, path) {
            ("GET", "/health") => text("ok\n".to_owned()),
            ("GET", "/ready") => self.ready(),
            ("GET", "/metrics") => text(METRICS.text(&routes::names(), self.polls.parked())),
            ("POST", "/admin/changes") => self.change(body),
            _ => {
                json_answer(404, &json!({ "error": "there is GET /health, /ready, /metrics and POST /admin/changes" }))
            }
        }
    }

    /// Carries out an [`Operation`]: 200 with what came of it, 422 with the reason why not.
    fn change(&self, body: &[u8]) -> Answer {
        if !self.may_change {
            return json_answer(403, &json!({ "error": "changes are taken on a unix socket only" }));
        }
        let operation: Operation = match serde_json::from_slice(body) {
            Ok(operation) => operation,
            Err(error) => return json_answer(400, &json!({ "error": format!("no operation: {error}") })),
        };
        match operation.carry_out(&self.shared.app.store, unix_time()) {
            Ok(outcome) => json_answer(200, &outcome),
            Err(error) => json_answer(422, &json!({ "error": error })),
        }
    }

    /// 200 when requests can be served, 503 with the reasons otherwise.
    fn ready(&self) -> Answer {
        let stopping = self.shared.stopping.load(Ordering::SeqCst);
        let app = &self.shared.app;
        let store = app.store.probe(unix_time(), WRITE_PATIENCE).map_or_else(|e| e.to_string(), |()| "ok".to_owned());
        let nextcloud = nextcloud_state(app);
        let ready = !stopping && store == "ok" && !nextcloud.starts_with("fails");
        let version = env!("CARGO_PKG_VERSION");
        let state =
            json!({ "ready": ready, "stopping": stopping, "store": store, "nextcloud": nextcloud, "version": version });
        json_answer(if ready { 200 } else { 503 }, &state)
    }
}

fn nextcloud_state(app: &App) -> String {
    if app.config.nextcloud.url.is_empty() {
        return "not used: local users".to_owned();
    }
    if unix_time() - METRICS.nextcloud_seen.get() as i64 <= LATELY {
        return "ok".to_owned();
    }
    let nobody = Asker { credentials: Credentials::default(), address: None };
    match app.directory.capabilities(&nobody) {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("fails: {error}"),
    }
}

fn text(body: String) -> Answer {
    let content_type = Some("text/plain; version=0.0.4; charset=utf-8");
    Answer { status: 200, content_type, headers: Vec::new(), body: body.into_bytes() }
}

fn json_answer(status: u16, value: &Value) -> Answer {
    let body = format!("{value}\n").into_bytes();
    Answer { status, content_type: Some("application/json; charset=utf-8"), headers: Vec::new(), body }
}
