//! Bytes that are no HTTP, bodies that never come, readers that never read: the process lives, and honest people are
//! served meanwhile. nginx keeps all of this away; here it is sent to the bare socket.

mod support;

use roomd::ask::ask;
use roomd::config::Listen;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::eventually;

/// How long an honest person waits at most: not until the server gives up on somebody who takes no answer, which is after
/// ten seconds. Less than one is what they should wait; this is no measurement.
const PATIENCE: Duration = Duration::from_secs(9);
/// A request that is well-formed, keeps the connection, and is answered with a refusal of about a kilobyte.
const KEPT: &str = "GET /ocs/v2.php/apps/spreed/api/v1/room HTTP/1.1\r\nHost: x\r\nOCS-APIRequest: true\r\n\r\n";
const ACCOUNT: &str = "[[users]]\nid = \"alice\"\npassword = \"secret\"\n";
/// `alice:secret`
const LOGIN: &str = "Authorization: Basic YWxpY2U6c2VjcmV0\r\n";

/// The server on a socket of its own.
struct Target {
    folder: PathBuf,
    listen: Listen,
    child: Child,
}

trait Connection: Read + Write + Send {}
impl Connection for TcpStream {}
impl Connection for UnixStream {}

impl Target {
    fn on_unix_socket() -> Target {
        Target::start(true, "")
    }

    fn on_tcp() -> Target {
        Target::start(false, "")
    }

    /// With this put before `exec` in the shell that starts it.
    fn start(unix: bool, before: &str) -> Target {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("roomd-hostile-{}-{number}", std::process::id()));
        std::fs::create_dir_all(folder.join("data")).unwrap();
        std::fs::write(folder.join("roomd.toml"), ACCOUNT).unwrap();
        let listen =
            if unix { Listen::Unix(folder.join("roomd.sock")) } else { Listen::Tcp(([127, 0, 0, 1], 0).into()) };
        let child = Command::new("sh")
            .args(["-c", &format!("{before} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_roomd"), "serve"])
            .args(["--listen", &listen.to_string(), "--config"])
            .arg(folder.join("roomd.toml"))
            .arg("--data")
            .arg(folder.join("data"))
            .env("ROOMD_ADMIN_LISTEN", format!("unix:{}", folder.join("admin.sock").display()))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut target = Target { folder, listen, child };
        eventually("the server says where it listens", || target.log().contains(" listening on "));
        let log = target.log();
        let address = log.split(" listening on ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        target.listen = address.parse().unwrap();
        target
    }

    fn connect(&self) -> std::io::Result<Box<dyn Connection>> {
        match &self.listen {
            Listen::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(Duration::from_secs(1)))?;
                stream.set_read_timeout(Some(Duration::from_millis(100)))?;
                Ok(Box::new(stream))
            }
            Listen::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_write_timeout(Some(Duration::from_secs(1)))?;
                stream.set_read_timeout(Some(Duration::from_millis(100)))?;
                Ok(Box::new(stream))
            }
        }
    }

    /// Sends bytes and leaves the connection open. The server may close it before everything is sent.
    fn send(&self, bytes: &[u8]) -> Box<dyn Connection> {
        let mut stream = self.connect().unwrap();
        let _ = stream.write_all(bytes);
        stream
    }

    /// The process lives, and answers everybody who behaves, on every lane and many at a time.
    #[track_caller]
    fn serves(&mut self, after: &str) {
        assert!(self.child.try_wait().unwrap().is_none(), "the server died after {after}: {}", self.log());
        let started = Instant::now();
        let listen = &self.listen;
        let create = format!(
            "POST /ocs/v2.php/apps/spreed/api/v1/room?roomType=2&roomName=x HTTP/1.1\r\nHost: x\r\n\
             Connection: close\r\nOCS-APIRequest: true\r\n{LOGIN}Content-Length: 0\r\n\r\n"
        );
        std::thread::scope(|scope| {
            let reads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| ask(listen, "GET", "/health", b"", PATIENCE).map(|(status, _)| status)))
                .collect();
            for read in reads {
                let status = read.join().unwrap();
                assert!(matches!(status, Ok(200)), "after {after}: {status:?}: {}", self.log());
            }
        });
        let reading = started.elapsed();
        let mut writer = self.connect().unwrap();
        writer.write_all(create.as_bytes()).unwrap();
        let answer = read_until(&mut writer, "HTTP/1.1 201", PATIENCE);
        assert!(answer.contains("HTTP/1.1 201"), "after {after} a change: {answer:?}: {}", self.log());
        println!("after {after}: 8 reads {reading:.1?}, then a change {:.1?}", started.elapsed() - reading);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What comes until this text has come, the connection ends or the time is over.
fn read_until(stream: &mut Box<dyn Connection>, text: &str, wait: Duration) -> String {
    let deadline = Instant::now() + wait;
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while Instant::now() < deadline && !String::from_utf8_lossy(&bytes).contains(text) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Requests that are wrong in one way each.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let post = |headers: &str, body: &str| {
        let path = "/ocs/v2.php/apps/spreed/api/v1/room";
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nOCS-APIRequest: true\r\n{headers}\r\n{body}").into_bytes()
    };
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let get = |rest: &str| format!("GET {rest}").into_bytes();
    vec![
        ("a huge Content-Length", post("Content-Length: 10000000000000\r\n", "x")),
        ("a Content-Length beyond all numbers", post("Content-Length: 99999999999999999999999999\r\n", "x")),
        ("the largest Content-Length", post("Content-Length: 18446744073709551615\r\n", "x")),
        ("a negative Content-Length", post("Content-Length: -5\r\n", "x")),
        ("a Content-Length of letters", post("Content-Length: abc\r\n", "x")),
        ("an empty Content-Length", post("Content-Length:\r\n", "x")),
        ("two Content-Lengths", post("Content-Length: 3\r\nContent-Length: 90000\r\n", "a=b")),
        ("no Content-Length", post("", "roomType=2&roomName=x")),
        ("length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("a chunk without a size", chunked("\r\n\r\n\r\n")),
        ("a chunk of letters", chunked("xyz\r\nabc\r\n0\r\n\r\n")),
        ("a huge chunk", chunked("ffffffffffffffff\r\nabc\r\n")),
        ("a chunk beyond all numbers", chunked("fffffffffffffffffffffff\r\nabc\r\n")),
        ("a negative chunk", chunked("-1\r\nabc\r\n0\r\n\r\n")),
        ("a chunk that is longer than it says", chunked("1\r\nabcdef\r\n0\r\n\r\n")),
        ("chunks that never end", chunked("3\r\nabc\r\n")),
        ("an unknown encoding", post("Transfer-Encoding: nonsense\r\n", "abc")),
        ("half a request line", get("/ocs/v2")),
        ("half a head", get("/ HTTP/1.1\r\nHost: x\r\nAcc")),
        ("a header without a colon", get("/ HTTP/1.1\r\nnonsense\r\n\r\n")),
        ("a header without a name", get("/ HTTP/1.1\r\n: x\r\n\r\n")),
        ("a header of 100 KB", get(&format!("/ HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000)))),
        ("headers of 100 KB", get(&format!("/ HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(17_000)))),
        ("a path of 100 KB", get(&format!("/{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)))),
        ("NUL in the path", get("/\0 HTTP/1.1\r\n\r\n")),
        ("NUL in a header", get("/ HTTP/1.1\r\nA: \0\r\n\r\n")),
        ("CR in a header", get("/ HTTP/1.1\r\nA: b\rc: d\r\n\r\n")),
        ("LF alone", get("/ HTTP/1.1\nA: b\n\n")),
        ("CR alone", get("/ HTTP/1.1\rA: b\r\r")),
        ("bytes beyond ASCII in the path", get("/\u{fc} HTTP/1.1\r\n\r\n")),
        ("bytes beyond ASCII in a header", get("/ HTTP/1.1\r\nA: \u{fc}\r\n\r\n")),
        ("bytes that are no text", [b"GET /\xff\xfe HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 2000]].concat()),
        ("HTTP/0.9", get("/\r\n")),
        ("HTTP/2.0", get("/ HTTP/2.0\r\n\r\n")),
        ("HTTP/2's first words", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("HTTP/9.9", get("/ HTTP/9.9\r\n\r\n")),
        ("no version", get("/ \r\n\r\n")),
        ("an unknown Expect", post("Expect: 200-magic\r\nContent-Length: 3\r\n", "a=b")),
        ("an Expect whose body does not come", post("Expect: 100-continue\r\nContent-Length: 3000\r\n", "")),
        ("an upgrade", get("/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")),
        ("a proxy's request", get("http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n")),
        ("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\n\r\n".to_vec()),
        ("an unknown method", b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("nothing but line ends", b"\r\n".repeat(1000)),
        ("broken percent signs", get("/ocs/v2.php/apps/spreed/api/v1/room?a=%zz&%=%&=%u00 HTTP/1.1\r\n\r\n")),
        ("a range", get("/health HTTP/1.1\r\nRange: bytes=99999999999999999999-\r\n\r\n")),
    ]
}

fn malformed_on(mut target: Target) {
    for (what, bytes) in malformed() {
        // One that goes away, one that sends no more, and ten that stay.
        drop(target.send(&bytes));
        let open: Vec<_> = (0..10).map(|_| target.send(&bytes)).collect();
        target.serves(what);
        drop(open);
    }
    target.serves("all of it");
}

#[test]
fn malformed_requests_on_a_unix_socket() {
    malformed_on(Target::on_unix_socket());
}

#[test]
fn malformed_requests_on_tcp() {
    malformed_on(Target::on_tcp());
}

#[test]
fn ten_thousand_requests_on_one_connection_are_answered_in_their_order() {
    for mut target in [Target::on_unix_socket(), Target::on_tcp()] {
        let mut stream = target.connect().unwrap();
        let mut answers = 0;
        let mut rest = String::new();
        for _ in 0..100 {
            stream.write_all(KEPT.repeat(100).as_bytes()).unwrap();
            let deadline = Instant::now() + Duration::from_secs(30);
            let mut buffer = [0; 64 * 1024];
            let wanted = answers + 100;
            while answers < wanted && Instant::now() < deadline {
                if let Ok(count) = stream.read(&mut buffer) {
                    assert!(count > 0, "closed after {answers} answers");
                    rest.push_str(&String::from_utf8_lossy(&buffer[..count]));
                    answers += rest.matches("HTTP/1.1 401").count();
                    // What may be the beginning of the next one.
                    rest = rest[rest.len() - rest.len().min(11)..].to_owned();
                }
            }
            assert_eq!(answers, wanted);
        }
        target.serves("10,000 requests on one connection");
    }
}

/// Answers that workers make at once, ones that come after a commit, and ones that wait for a login: written by different
/// threads.
#[test]
fn many_kinds_of_requests_on_one_connection_are_answered_in_their_order() {
    let head = format!("HTTP/1.1\r\nHost: x\r\nOCS-APIRequest: true\r\n{LOGIN}");
    let api = "/ocs/v2.php/apps/spreed/api/v1";
    let round = [
        (200, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (201, format!("POST {api}/room?roomType=2&roomName=x {head}Content-Length: 0\r\n\r\n")),
        (401, KEPT.to_owned()),
        (404, format!("GET {api}/room/abcdefgh {head}\r\n")),
        (405, format!("PUT {api}/room {head}Content-Length: 0\r\n\r\n")),
    ];
    let rounds = 20;
    let requests: String = round.iter().map(|(_, request)| request.as_str()).collect();
    let wanted: Vec<u16> = round.iter().map(|(status, _)| *status).cycle().take(rounds * round.len()).collect();
    come_in_order("answers of many kinds", &wanted, |_| requests.repeat(rounds));
}

/// Whoever asks about a login answers all requests that wait for it: in any order, and others come in between.
#[test]
fn requests_on_one_connection_that_wait_for_the_same_login_are_answered_in_their_order() {
    let request = |number: usize, last: bool| {
        let login = format!("Authorization: Bearer {number}\r\n");
        let waiting = format!("GET /ocs/v2.php/apps/spreed/api/v1/room HTTP/1.1\r\nHost: x\r\n{login}\r\n");
        let end = if last { "PUT /ocs/v2.php/apps/spreed/api/v1/room" } else { "GET /health" };
        format!("{}{end} HTTP/1.1\r\nHost: x\r\n\r\n", waiting.repeat(3))
    };
    let rounds = 4;
    let wanted: Vec<u16> = (0..rounds).flat_map(|n| [401, 401, 401, if n + 1 < rounds { 200 } else { 405 }]).collect();
    come_in_order("logins that many waited for", &wanted, |caller| {
        (0..rounds).map(|n| request(caller * rounds + n, n + 1 == rounds)).collect()
    });
}

/// Eight callers send their requests at once, each on one connection, and get answers with these statuses in this order.
fn come_in_order(what: &str, wanted: &[u16], requests: impl Fn(usize) -> String + Sync) {
    for mut target in [Target::on_unix_socket(), Target::on_tcp()] {
        let answered = |caller| statuses(&mut target.send(requests(caller).as_bytes()), wanted.len());
        let answered = &answered;
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..8).map(|caller| scope.spawn(move || answered(caller))).collect();
            callers.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap(), wanted));
        });
        target.serves(what);
    }
}

/// The statuses of the next `count` answers.
fn statuses(stream: &mut Box<dyn Connection>, count: usize) -> Vec<u16> {
    let (mut text, mut buffer) = (String::new(), [0; 64 * 1024]);
    let deadline = Instant::now() + Duration::from_secs(30);
    // The last one has no body.
    while (text.matches("HTTP/1.1 ").count() < count || !text.ends_with("\r\n\r\n")) && Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => text.push_str(&String::from_utf8_lossy(&buffer[..read])),
            Err(_) => {}
        }
    }
    text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}

#[test]
fn readers_that_never_read() {
    for mut target in [Target::on_unix_socket(), Target::on_tcp()] {
        // More than the buffers of both sides hold. Sending stops when the server stops to read, if ever.
        let flood = KEPT.repeat(10_000);
        let open: Vec<_> = (0..3).map(|_| target.send(flood.as_bytes())).collect();
        for _ in 0..5 {
            target.serves("30,000 answers that nobody reads");
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(open);
        target.serves("the readers that never read");
    }
}

#[test]
fn requests_behind_one_that_waits() {
    for mut target in [Target::on_unix_socket(), Target::on_tcp()] {
        let poll = waiting_request(&target);
        // Sent in pieces, so that many connections have something waiting while the first are being looked at.
        let open: Vec<_> = (0..10).map(|_| target.send(format!("{poll}{}", KEPT.repeat(50)).as_bytes())).collect();
        for _ in 0..5 {
            target.serves("500 requests behind others that wait");
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(open);
    }
}

/// A request for messages that are not there yet, in a new conversation.
fn waiting_request(target: &Target) -> String {
    let head = format!("HTTP/1.1\r\nHost: x\r\nOCS-APIRequest: true\r\nAccept: application/json\r\n{LOGIN}");
    let api = "/ocs/v2.php/apps/spreed/api/v1";
    let exchange = |method: &str, path: &str| {
        let request = format!("{method} {api}{path} {head}Connection: close\r\nContent-Length: 0\r\n\r\n");
        read_until(&mut target.send(request.as_bytes()), "\u{0}", PATIENCE)
    };
    let created = exchange("POST", "/room?roomType=2&roomName=x");
    let token = created.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let token = token.unwrap_or_else(|| panic!("no conversation: {created}"));
    exchange("POST", &format!("/room/{token}/participants/active"));
    let last = exchange("POST", &format!("/chat/{token}?message=x"));
    let last: u64 = last.split("\"id\":").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap();
    format!("GET {api}/chat/{token}?lookIntoFuture=1&timeout=30&lastKnownMessageId={last} {head}\r\n")
}

#[test]
fn bodies_that_never_come() {
    for mut target in [Target::on_unix_socket(), Target::on_tcp()] {
        let head = |length: usize| {
            format!("POST /ocs/v2.php/apps/spreed/api/v1/room HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nx")
        };
        let open: Vec<_> = [10, 2000, 60_000, 100_000, 2_000_000]
            .iter()
            .flat_map(|length| (0..100).map(|_| target.send(head(*length).as_bytes())).collect::<Vec<_>>())
            .collect();
        target.serves("500 bodies that never come");
        drop(open);
        target.serves("500 bodies that never came");
        eventually("longer bodies are read again", || {
            let body = format!("roomType=2&roomName={}", "x".repeat(2000));
            let request = format!(
                "POST /ocs/v2.php/apps/spreed/api/v1/room HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nOCS-APIRequest: true\r\n{LOGIN}\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            !read_until(&mut target.send(request.as_bytes()), "\r\n\r\n", PATIENCE).starts_with("HTTP/1.1 413")
        });
    }
}

fn idle_connections(count: usize) {
    for mut target in [Target::on_unix_socket(), Target::on_tcp()] {
        let open: Vec<_> = (0..count).filter_map(|_| target.connect().ok()).collect();
        target.serves(&format!("{} idle connections", open.len()));
        drop(open);
        target.serves("idle connections that went away");
    }
}

#[test]
fn a_hundred_idle_connections() {
    idle_connections(100);
}

#[test]
#[ignore = "slow: a thousand threads on each side of the socket"]
fn a_thousand_idle_connections() {
    idle_connections(1000);
}

#[test]
fn no_descriptors_are_left() {
    for unix in [true, false] {
        // Of two descriptors that a connection takes the last one is free, or none: which depends on the number. Both at
        // the same time, since most of it is waiting.
        std::thread::scope(|scope| {
            for limit in [64, 65] {
                scope.spawn(move || all_descriptors_are_taken(unix, limit));
            }
        });
    }
}

fn all_descriptors_are_taken(unix: bool, limit: usize) {
    let mut target = Target::start(unix, &format!("ulimit -n {limit};"));
    for round in 0..3 {
        let operators = Listen::Unix(target.folder.join("admin.sock"));
        let open: Vec<_> = (0..100).filter_map(|_| target.connect().ok()).collect();
        // They try as well, in vain.
        for _ in 0..3 {
            roomd::ask::answers(&operators, Duration::from_millis(100));
        }
        drop(open);
        let listen = target.listen.clone();
        eventually(&format!("it answers again, with {limit} descriptors, round {round}"), || {
            roomd::ask::answers(&listen, Duration::from_secs(1))
        });
        target.serves(&format!("all {limit} descriptors were taken"));
        eventually(&format!("operators are answered, with {limit} descriptors, round {round}"), || {
            roomd::ask::answers(&operators, Duration::from_secs(1))
        });
    }
    let panics = target.log().matches("panicked").count();
    println!("{limit} descriptors, unix {unix}: tiny_http stopped accepting {panics} times by a panic");
}
