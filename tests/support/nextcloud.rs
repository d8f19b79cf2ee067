//! A Nextcloud for tests: it answers the questions that roomd asks as versions 18 and 30 do, and misbehaves on demand.
//!
//! It knows admin (password `admin`), alice, bob, carol, dave, erin and frank (password: the name and `123456`), the
//! groups admin, big, team and empty, and the circle `86d9e02a719180` of alice, bob and carol. A cookie
//! `nc_session=alice` is a logged-in browser of alice's, a Bearer token `token-alice` is a token of hers.

mod answers;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Body of [`Behaviour::Huge`], bytes.
const HUGE: usize = 10_000_000;

/// Which Nextcloud is imitated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 18.0.2, the one that Talk 8 belongs to: no circles API.
    V18,
    /// 30.0.5.
    V30,
}

/// What is done with each request from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Answer as Nextcloud does.
    Ok,
    /// Answer as Nextcloud does, after this time.
    Slow(Duration),
    /// Say nothing until the behaviour changes, then answer as Nextcloud does.
    Held,
    /// Say nothing until the behaviour changes, then close the connection.
    Hang,
    /// Promise an answer, send half of it, then do as [`Behaviour::Hang`].
    Stall,
    /// This status with a short JSON body that is no OCS answer.
    Status(u16),
    /// 200 with a web page.
    Html,
    /// 200 with JSON of 10 MB.
    Huge,
    /// 302 to the same path at this base URL.
    Redirect(String),
    /// 200 with JSON that breaks off.
    BrokenJson,
    /// Bytes that are no HTTP.
    Garbage,
    /// Close the connection without a word.
    Closed,
}

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// `GET`, …
    pub method: String,
    /// The path as it was sent, without the query.
    pub path: String,
    /// The query as it was sent, without the question mark.
    pub query: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl Received {
    /// The value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The decoded value of a query parameter.
    fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// The running server. It stops answering when it is dropped.
pub struct FakeNextcloud {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    behaviour: Behaviour,
    version: Version,
    /// Accounts that were deleted or disabled.
    gone: HashSet<String>,
    /// Display names that were changed.
    names: HashMap<String, String>,
    /// The data of `/cloud/capabilities`, in place of the usual.
    capabilities: Option<serde_json::Value>,
    /// Whether forwarded addresses are believed; the app that would show it is not installed otherwise.
    trusts_proxies: Option<bool>,
    /// Requests by path.
    counts: HashMap<String, usize>,
    connections: usize,
    last: Received,
    stopped: bool,
}

impl FakeNextcloud {
    /// Starts one of version 30 on a free loopback port, behaving well.
    pub fn start() -> FakeNextcloud {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            behaviour: Behaviour::Ok,
            version: Version::V30,
            gone: HashSet::new(),
            names: HashMap::new(),
            capabilities: None,
            trusts_proxies: None,
            counts: HashMap::new(),
            connections: 0,
            last: Received::default(),
            stopped: false,
        }));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if lock(&shared).stopped {
                    return;
                }
                lock(&shared).connections += 1;
                let shared = shared.clone();
                thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        FakeNextcloud { address, state }
    }

    /// Its base URL, for `nextcloud.url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The configuration's section that names it, for a server that waits for its answers on however slow a machine.
    /// More keys of the section may follow.
    pub fn section(&self) -> String {
        format!("[nextcloud]\nurl = \"{}\"\nconnect_timeout = 60\nanswer_timeout = 60\n", self.url())
    }

    /// The same for a server that soon gives up: for tests in which nothing is answered.
    pub fn impatient_section(&self) -> String {
        self.section().replace("answer_timeout = 60", "answer_timeout = 1")
    }

    /// What to do from now on, also with connections that are open.
    pub fn set(&self, behaviour: Behaviour) {
        lock(&self.state).behaviour = behaviour;
    }

    /// Which version to imitate from now on.
    pub fn set_version(&self, version: Version) {
        lock(&self.state).version = version;
    }

    /// Deletes an account: its logins are refused and nobody finds it.
    pub fn remove(&self, user: &str) {
        lock(&self.state).gone.insert(user.to_owned());
    }

    /// Changes an account's display name.
    pub fn rename(&self, user: &str, name: &str) {
        lock(&self.state).names.insert(user.to_owned(), name.to_owned());
    }

    /// Says from now on that it can do this.
    pub fn set_capabilities(&self, data: serde_json::Value) {
        lock(&self.state).capabilities = Some(data);
    }

    /// Installs the push app, which tells what address Nextcloud sees; whether that is a forwarded one.
    pub fn trusts_proxies(&self, trusts: bool) {
        lock(&self.state).trusts_proxies = Some(trusts);
    }

    /// How many requests there were for a path (without query).
    pub fn requests(&self, path: &str) -> usize {
        lock(&self.state).counts.get(path).copied().unwrap_or(0)
    }

    /// How many requests there were in all.
    pub fn all_requests(&self) -> usize {
        lock(&self.state).counts.values().sum()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// The newest request; an empty one when there was none.
    pub fn last(&self) -> Received {
        lock(&self.state).last.clone()
    }
}

impl Drop for FakeNextcloud {
    fn drop(&mut self) {
        lock(&self.state).stopped = true;
        // Wakes the thread that accepts, which then ends. Nothing is lost when that fails.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// One connection, request after request, until either side closes it.
fn serve(stream: TcpStream, state: &Mutex<State>) {
    stream.set_nodelay(true).unwrap();
    let mut output = stream.try_clone().unwrap();
    let mut input = BufReader::new(stream);
    while let Some(received) = receive(&mut input) {
        let behaviour = {
            let mut state = lock(state);
            if state.stopped {
                return;
            }
            *state.counts.entry(received.path.clone()).or_default() += 1;
            state.last = received.clone();
            state.behaviour.clone()
        };
        let reply = match &behaviour {
            Behaviour::Ok => answers::answer(&lock(state), &received),
            Behaviour::Slow(time) => {
                thread::sleep(*time);
                answers::answer(&lock(state), &received)
            }
            Behaviour::Held => {
                wait_for_change(state, &behaviour);
                answers::answer(&lock(state), &received)
            }
            Behaviour::Status(status) => Reply::json(*status, r#"{"message":"no"}"#.to_owned()),
            Behaviour::Html => Reply::new(200, "text/html; charset=UTF-8", "<!DOCTYPE html><p>Hello".to_owned()),
            Behaviour::Huge => Reply::json(200, format!("{{\"ocs\":\"{}\"}}", "x".repeat(HUGE))),
            Behaviour::Redirect(to) => {
                let mut reply = Reply::new(302, "text/html; charset=UTF-8", String::new());
                reply.headers.push(("Location", format!("{to}{}?{}", received.path, received.query)));
                reply
            }
            Behaviour::BrokenJson => Reply::json(200, r#"{"ocs":{"meta":{"status":"ok","statusc"#.to_owned()),
            Behaviour::Hang => return wait_for_change(state, &behaviour),
            Behaviour::Stall => {
                let _ = output.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ocs\":");
                return wait_for_change(state, &behaviour);
            }
            Behaviour::Garbage => {
                let _ = output.write_all(b"\x00\xff\x13 220 mail.example.com ESMTP\r\n\r\n");
                return;
            }
            Behaviour::Closed => return,
        };
        if output.write_all(&reply.bytes()).is_err() {
            return;
        }
    }
}

fn wait_for_change(state: &Mutex<State>, behaviour: &Behaviour) {
    loop {
        thread::sleep(Duration::from_millis(20));
        let state = lock(state);
        if state.stopped || state.behaviour != *behaviour {
            return;
        }
    }
}

/// The next request; `None` at the end of the connection.
fn receive(input: &mut BufReader<TcpStream>) -> Option<Received> {
    let first = line(input)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut received = Received { method, path: path.to_owned(), query: query.to_owned(), headers: Vec::new() };
    loop {
        let line = line(input)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        received.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = received.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    input.read_exact(&mut vec![0; length]).ok()?;
    Some(received)
}

fn line(input: &mut BufReader<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    input.read_until(b'\n', &mut bytes).ok().filter(|length| *length > 0)?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// An answer that is sent whole.
struct Reply {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, body: String) -> Reply {
        Reply { status, content_type, headers: Vec::new(), body }
    }

    fn json(status: u16, body: String) -> Reply {
        Reply::new(status, "application/json; charset=utf-8", body)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Whatever\r\nContent-Type: {}\r\n", self.status, self.content_type);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        text.into_bytes()
    }
}
