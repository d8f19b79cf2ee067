//! A real nginx with the shipped configuration in front of the real server, a stand-in Nextcloud behind both.
//!
//! Without nginx (Debian: `apt-get install nginx-light`) these tests say so and check nothing.

mod support;

use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::nginx::Front;
use support::{PATIENCE, Request, eventually};

/// How many answers there are in what came back; `100 Continue` is none.
fn answers(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    text.matches("HTTP/1.1 ").count() - text.matches("HTTP/1.1 100 ").count()
}

fn status(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).split(' ').nth(1).unwrap_or("nothing").to_owned()
}

#[test]
fn talk_goes_to_roomd_and_everything_else_to_nextcloud() {
    let Some(front) = Front::start() else { return };
    let alice = front.alice();
    let room = alice.creates_group("Plans");
    assert_eq!(alice.sees(&room)["displayName"], "Plans");
    alice.send(Request::new("GET", "/ocs/v1.php/apps/spreed/api/v1/room")).has_status(200);
    // Unknown to roomd, and its to answer.
    alice.send(Request::new("GET", "/ocs/v2.php/apps/spreed/api/v9/nothing")).invalid_query();
    assert_eq!(front.nextcloud.requests("/ocs/v2.php/apps/spreed/api/v9/nothing"), 0);
    for path in [
        "/ocs/v2.php/cloud/user",
        "/ocs/v2.php/cloud/capabilities/more",
        "/ocs/v2.php/apps/spreedsheet/api",
        "/ocs/v3.php/apps/spreed/api/v1/room",
        "/ocs/v2.php/core/apps/spreed/",
    ] {
        let before = front.nextcloud.requests(path);
        alice.send(Request::new("GET", path));
        assert_eq!(front.nextcloud.requests(path), before + 1, "{path}");
    }
    front.raw(b"GET /index.php/apps/spreed/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", PATIENCE);
    assert_eq!(front.nextcloud.requests("/index.php/apps/spreed/"), 1);
}

#[test]
fn a_body_may_have_64_kib() {
    let Some(front) = Front::start() else { return };
    let alice = front.alice();
    let body = |length: usize| format!("roomType=2&roomName=Plans&filler={}", "x".repeat(length - 33));
    let send =
        |length| alice.send(Request::new("POST", "/room").raw("application/x-www-form-urlencoded", body(length)));
    assert_eq!(body(100).len(), 100);
    send(64 << 10).expect(201);
    send((64 << 10) + 1).has_status(413);
    assert_eq!(alice.lists().len(), 1);
}

#[test]
fn nobody_chooses_their_own_address() {
    let Some(front) = Front::start() else { return };
    let spoofed = Request::new("GET", "/room")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Real-IP", "203.0.113.9")
        .header("Forwarded", "for=203.0.113.9");
    front.alice().send(spoofed).expect(200);
    let asked = front.nextcloud.last();
    assert_eq!(asked.path, "/ocs/v2.php/cloud/user");
    assert_eq!(asked.header("x-forwarded-for"), Some("127.0.0.1"));
    assert!(!format!("{asked:?}").contains("203.0.113.9"), "{asked:?}");
}

#[test]
fn query_strings_are_in_no_log() {
    let Some(mut front) = Front::start() else { return };
    let alice = front.alice();
    let secret = || Request::new("GET", "/room").query(&[("password", "marked-secret")]);
    alice.send(secret().header("Referer", "http://x/?marked-secret")).has_status(200);
    let path = "\"GET /ocs/v2.php/apps/spreed/api/v1/room HTTP/1.1\" 200 ";
    eventually("the request is logged", || front.text_of("roomd.access.log").contains(path));
    // Without a server there is more to be logged.
    front.kill_roomd();
    alice.send(secret()).has_status(502);
    std::fs::remove_file(front.socket()).unwrap();
    alice.send(secret()).has_status(502);
    let long = "x".repeat(70_000);
    alice
        .send(Request::new("POST", "/room").query(&[("password", "marked-secret")]).raw("text/plain", long))
        .has_status(413);
    eventually("all are logged", || front.text_of("roomd.access.log").matches(" 502 ").count() == 2);
    for log in ["roomd.access.log", "access.log", "error.log", "roomd.log"] {
        assert!(!front.text_of(log).contains("marked-secret"), "{log}: {}", front.text_of(log));
    }
}

#[test]
fn what_roomd_cannot_read_is_answered_by_nginx() {
    let Some(mut front) = Front::start() else { return };
    let at = "/ocs/v2.php/apps/spreed/api/v1/room";
    let head = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let mut requests: Vec<Vec<u8>> =
        ["\u{e4}", "?search=\u{fc}", "/\u{1f600}"].map(|odd| format!("GET {at}{odd} {head}\r\n").into_bytes()).into();
    requests.push([format!("GET {at}?x=").as_bytes(), &[0xff], format!(" {head}\r\n").as_bytes()].concat());
    for name in ["Cookie", "Authorization", "User-Agent", "Accept", "Content-Type", "requesttoken", "OCS-APIRequest"] {
        requests.push(format!("GET {at} {head}{name}: caf\u{e9}\r\n\r\n").into_bytes());
    }
    for method in ["PROPFIND", "BREW", "MKCOL"] {
        requests.push(format!("{method} {at} {head}\r\n").into_bytes());
    }
    for request in requests {
        let answer = front.raw(&request, PATIENCE);
        let shown = String::from_utf8_lossy(&request).into_owned();
        assert_eq!((status(&answer).as_str(), answers(&answer)), ("400", 1), "{shown}");
    }
    // Encoded, it is text like any other.
    front.alice().get("/room?search=%C3%A4").has_status(200);
    assert!(front.roomd_lives());
}

/// Stands where roomd stands, keeps what it is sent, and answers.
fn recorder(path: &Path) -> Arc<Mutex<Vec<String>>> {
    let listener = UnixListener::bind(path).unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = seen.clone();
    thread::spawn(move || {
        // As in roomd, a connection may stay open after the answer: here for as long as the test runs.
        let mut open = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            kept.lock().unwrap().push(whole_request(&mut stream));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            open.push(stream);
        }
    });
    seen
}

/// A request with its body, which may come in pieces.
fn whole_request(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
            _ => return text,
        }
    }
}

#[test]
fn only_known_headers_reach_roomd() {
    let Some(front) = Front::without_server() else { return };
    let seen = recorder(&front.socket());
    let mut request = Request::new("POST", "/room?a=b%20c").raw("application/json", "{}");
    for (name, value) in [
        ("User-Agent", "phone"),
        ("requesttoken", "token"),
        ("Cookie", "nc_session=alice"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Real-IP", "203.0.113.9"),
        ("X-Forwarded-Host", "elsewhere"),
        ("Forwarded", "for=203.0.113.9"),
        ("Expect", ""),
        ("Connection", "keep-alive, Authorization"),
        ("Upgrade", "websocket"),
        ("Transfer-Encodings", "chunked"),
        ("X-Anything", "else"),
        ("Proxy", "http://elsewhere"),
    ] {
        request = request.header(name, value);
    }
    front.alice().send(request).has_status(200);
    let received = seen.lock().unwrap()[0].clone();
    let (line, headers) = received.split_once("\r\n").unwrap();
    assert_eq!(line, "POST /ocs/v2.php/apps/spreed/api/v1/room?a=b%20c HTTP/1.0");
    let mut headers: Vec<&str> = headers.split("\r\n").take_while(|line| !line.is_empty()).collect();
    headers.sort_unstable();
    let wanted = [
        "Accept: application/json",
        "Authorization: Basic YWxpY2U6YWxpY2UxMjM0NTY=",
        "Connection: close",
        "Content-Length: 2",
        "Content-Type: application/json",
        "Cookie: nc_session=alice",
        "Host: 127.0.0.1",
        "OCS-APIRequest: true",
        "User-Agent: phone",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Real-IP: 127.0.0.1",
        "requesttoken: token",
    ];
    assert_eq!(headers, wanted);
    assert!(received.ends_with("\r\n\r\n{}"), "{received}");
}

#[test]
fn capabilities_go_to_roomd_and_its_own_question_to_nextcloud() {
    let Some(front) = Front::without_server() else { return };
    let seen = recorder(&front.socket());
    for path in ["/ocs/v1.php/cloud/capabilities", "/ocs/v2.php/cloud/capabilities"] {
        front.alice().send(Request::new("GET", path).query(&[("format", "json")])).has_status(200);
        assert!(seen.lock().unwrap().pop().unwrap().starts_with(&format!("GET {path}?format=json ")));
        front.alice().send(Request::new("GET", path).header("User-Agent", "roomd/0.1.0"));
        assert_eq!(front.nextcloud.requests(path), 1, "{path}");
        assert!(seen.lock().unwrap().is_empty(), "roomd does not ask itself");
    }
}

#[test]
fn a_poll_is_answered_when_roomd_answers() {
    let Some(front) = Front::without_server() else { return };
    // Which does not close the connection: nginx does not wait for that.
    recorder(&front.socket());
    front.alice().get("/chat/abcd1234?lookIntoFuture=1").has_status(200);
}

#[test]
fn sixty_four_at_once_are_all_answered() {
    let Some(front) = Front::start() else { return };
    let alice = front.alice();
    alice.creates_group("Plans");
    thread::scope(|scope| {
        let clients: Vec<_> = (0..64)
            .map(|_| {
                let alice = alice.clone();
                scope.spawn(move || (0..5).for_each(|_| assert_eq!(alice.lists().len(), 1)))
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

/// What no honest client sends. Each is one request, or none: where bytes behind the end of one may be left, it says
/// that it is the last.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let at = "/ocs/v2.php/apps/spreed/api/v1/room";
    let head = format!("POST {at} HTTP/1.1\r\nHost: x\r\nOCS-APIRequest: true\r\n");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let with = |rest: &str| format!("{head}{form}{rest}").into_bytes();
    let chunked = |body: &str| with(&format!("Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    let smuggled = format!("GET {at} HTTP/1.1\r\nHost: x\r\n\r\n");
    let length = smuggled.len();
    let mut cases = vec![
        ("huge length", with("Content-Length: 10000000000000\r\n\r\nx")),
        ("longer than any number", with("Content-Length: 99999999999999999999999999\r\n\r\nx")),
        ("negative length", with("Content-Length: -1\r\n\r\nx")),
        ("length with a plus", with("Content-Length: +5\r\n\r\nhello")),
        ("length in words", with("Content-Length: five\r\n\r\nhello")),
        ("two lengths", with("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")),
        ("two lengths in one", with("Content-Length: 5, 5\r\n\r\nhello")),
        ("no length", with("Connection: close\r\n\r\nhello")),
        (
            "length too short, a request behind",
            with(&format!("Content-Length: 0\r\nConnection: close\r\n\r\n{smuggled}")),
        ),
        (
            "length and chunks",
            with(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}")),
        ),
        ("chunk size is no number", chunked("zz\r\nhello\r\n0\r\n\r\n")),
        ("chunk size is negative", chunked("-5\r\nhello\r\n0\r\n\r\n")),
        ("chunk size is huge", chunked("ffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
        ("chunk is shorter than its size", chunked("ff\r\nhello\r\n0\r\n\r\n")),
        ("chunk is longer than its size", chunked("1\r\nhello\r\n0\r\n\r\n")),
        ("chunks without an end", chunked("5\r\nhello\r\n")),
        ("chunked twice", with("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")),
        ("an encoding that nobody knows", with("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("half a head", head.clone().into_bytes()),
        ("half a line", b"GET /ocs/v2.ph".to_vec()),
        ("a body that never comes", with("Content-Length: 60000\r\n\r\n")),
        ("half a body", with(&format!("Content-Length: 2000\r\n\r\n{}", "x".repeat(1000)))),
        ("a header of 100 KB", with(&format!("X-Long: {}\r\n\r\n", "x".repeat(100_000)))),
        ("a URL of 100 KB", format!("GET {at}?{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000)).into_bytes()),
        ("10,000 headers", with(&format!("{}\r\n", "X-Many: x\r\n".repeat(10_000)))),
        ("HTTP/0.9", format!("GET {at}\r\n").into_bytes()),
        ("HTTP/2.0", format!("GET {at} HTTP/2.0\r\nHost: x\r\n\r\n").into_bytes()),
        ("HTTP/1.9", format!("GET {at} HTTP/1.9\r\nHost: x\r\n\r\n").into_bytes()),
        ("HTTP/x", format!("GET {at} HTTP/x\r\nHost: x\r\n\r\n").into_bytes()),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("an unknown Expect", with("Expect: the-unexpected\r\nContent-Length: 2\r\n\r\nhi")),
        ("Expect: 100-continue and no body", with("Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")),
        ("no host", format!("GET {at} HTTP/1.1\r\n\r\n").into_bytes()),
        ("two hosts", format!("GET {at} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").into_bytes()),
        ("a folded header", format!("GET {at} HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n").into_bytes()),
        ("a header without a colon", format!("GET {at} HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n").into_bytes()),
        ("a space before the colon", with("Content-Length : 5\r\n\r\nhello")),
        (
            "upgrade",
            format!("GET {at} HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n").into_bytes(),
        ),
        ("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec()),
        ("TRACE", format!("TRACE {at} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec()),
        ("nothing but line ends", b"\r\n\r\n\r\n\r\n".to_vec()),
        ("a line feed in the path", format!("GET {at}%0aX HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()),
        (
            "line ends encoded",
            format!("GET {at}?x=%0d%0aX-Forwarded-For:%201.2.3.4 HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(),
        ),
    ];
    for (name, byte) in [("NUL", b'\0'), ("CR", b'\r'), ("LF", b'\n'), ("DEL", 0x7f), ("0xFF", 0xff)] {
        let line = [format!("GET {at}?x=").as_bytes(), &[byte], b"y HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        let header = [head.as_bytes(), b"X-Odd: a", &[byte], b"b\r\nCookie: a", &[byte], b"b\r\n\r\n"].concat();
        cases.push((name, line));
        cases.push((name, header));
    }
    cases
}

#[test]
fn no_malformed_request_hurts_an_honest_client_or_is_answered_twice() {
    let Some(mut front) = Front::start() else { return };
    let alice = front.alice();
    let room = alice.creates_group("Plans");
    let cases = malformed();
    thread::scope(|scope| {
        let front = &front;
        let tests: Vec<_> = cases
            .iter()
            .map(|(name, bytes)| scope.spawn(move || (*name, front.raw(bytes, Duration::from_secs(2)))))
            .collect();
        for test in tests {
            let (name, answer) = test.join().unwrap();
            assert!(answers(&answer) <= 1, "{name}: {}", String::from_utf8_lossy(&answer));
        }
    });
    for (_, bytes) in &cases {
        let mut open = TcpStream::connect(front.address).unwrap();
        let _ = open.write_all(bytes);
        alice.sees(&room);
    }
    assert!(front.roomd_lives(), "{}", front.text_of("roomd.log"));
    assert_eq!(alice.lists().len(), 1, "none of it changed anything");
}

#[test]
fn pipelined_requests_are_answered_once_each_and_in_order() {
    let Some(mut front) = Front::start() else { return };
    let alice = front.alice();
    let room = alice.creates_public("Square");
    let count = 500;
    // Every second one is for another route: an answer in the wrong place shows.
    let requests: String = (0..count)
        .map(|n| {
            let path = if n % 2 == 0 { room.at("") } else { "/nothing".to_owned() };
            let last = if n == count - 1 { "Connection: close\r\n" } else { "" };
            format!(
                "GET /ocs/v2.php/apps/spreed/api/v1{path} HTTP/1.1\r\nHost: x\r\nOCS-APIRequest: true\r\n\
                 Accept: application/json\r\n{last}\r\n"
            )
        })
        .collect();
    let bytes = front.raw(requests.as_bytes(), PATIENCE);
    let text = String::from_utf8_lossy(&bytes);
    let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.split(' ').next()).collect();
    let wanted: Vec<&str> = (0..count).map(|n| if n % 2 == 0 { "200" } else { "404" }).collect();
    assert_eq!(statuses, wanted);
    assert!(front.roomd_lives());
    assert_eq!(alice.sees(&room)["token"], json!(room.token));
}

#[test]
fn idle_slow_and_silent_clients_keep_nobody_else_waiting() {
    let Some(front) = Front::start() else { return };
    let alice = front.alice();
    alice.creates_group("Plans");
    let at = "POST /ocs/v2.php/apps/spreed/api/v1/room HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n";
    let mut held = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(front.address).unwrap();
        match n % 3 {
            0 => {}
            1 => stream.write_all(b"GET /ocs/v2.php/apps/spreed/").unwrap(),
            _ => stream.write_all(at.as_bytes()).unwrap(),
        }
        held.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(alice.lists().len(), 1);
    }
    // She has not waited until nginx gave them up: it still waits for all of them.
    for mut stream in held {
        stream.set_nonblocking(true).unwrap();
        assert_eq!(stream.read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    }
}
