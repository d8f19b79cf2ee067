//! What operators see of a running server, and how it ends.

mod support;

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::nextcloud::{Behaviour, FakeNextcloud};
use support::{PATIENCE, Server, eventually};

fn beside(nextcloud: &FakeNextcloud) -> Server {
    Server::with_only(&nextcloud.section())
}

#[track_caller]
fn ready(server: &Server, status: u16) -> Value {
    let (found, body) = server.operator_asks("/ready");
    assert_eq!(found, status, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn health_and_readiness_are_told_on_a_private_socket() {
    let server = Server::start();
    assert_eq!(server.operator_asks("/health"), (200, "ok\n".to_owned()));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        ready(&server, 200),
        json!({"ready": true, "stopping": false, "store": "ok", "nextcloud": "not used: local users", "version": version})
    );
    assert_eq!(server.operator_asks("/nothing").0, 404);
    let roomd::config::Listen::Unix(socket) = server.admin() else { panic!("a unix socket") };
    assert_eq!(std::fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn readiness_depends_on_nextcloud() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud);
    nextcloud.set(Behaviour::Status(503));
    let state = ready(&server, 503);
    assert_eq!(state["store"], "ok");
    assert!(state["nextcloud"].as_str().unwrap().starts_with("fails: "), "{state}");
    nextcloud.set(Behaviour::Ok);
    assert_eq!(ready(&server, 200)["nextcloud"], "ok");
}

#[test]
fn requests_are_counted() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud);
    let alice = server.login("alice", "alice123456");
    alice.creates_group("Plans");
    alice.lists();
    alice.get("/room/nothing4").has_status(404);
    alice.get("/nothing").has_status(404);
    // The last answer arrives a moment before its request counts as done.
    eventually("all is done", || server.operator_asks("/metrics").1.contains("roomd_requests_in_flight 0\n"));
    let (status, text) = server.operator_asks("/metrics");
    assert_eq!(status, 200);
    for wanted in [
        r#"roomd_requests_total{method="POST",route="/apps/spreed/api/v1/room",status="2xx",lane="slow"} 1"#,
        r#"roomd_requests_total{method="GET",route="/apps/spreed/api/v1/room",status="2xx",lane="fast"} 1"#,
        r#"roomd_requests_total{method="GET",route="/apps/spreed/api/v1/room/{token}",status="4xx",lane="fast"} 1"#,
        r#"roomd_nextcloud_requests_total{outcome="answered"} 1"#,
        r#"roomd_logins_total{outcome="known"} 2"#,
        r#"roomd_logins_total{outcome="asked"} 1"#,
        concat!("roomd_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|line| line == wanted), "{wanted} is missing in\n{text}");
    }
    let documentation = include_str!("../README.md");
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(documentation.contains(&format!("`{name}`")), "README.md does not tell what {name} is");
    }
    assert!(!text.contains("nothing4") && !text.contains("alice"), "metrics name nobody\n{text}");
}

#[test]
fn a_reload_takes_over_what_it_can_and_names_the_rest() {
    let server = Server::start();
    let file = server.config();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}[log]\nrequests = true\n[store]\ncache_mib = 32\n")).unwrap();
    server.signal("HUP");
    eventually("the new keys are named", || {
        let log = server.log();
        log.contains("in force now: log.requests") && log.contains("needs a restart: store.cache_mib")
    });
    server.user("alice").lists();
    eventually("requests are logged", || server.log().contains("GET /ocs/v2.php/apps/spreed/api/v1/room 200"));
    // Requests would be logged if the level were not in force; what needs a restart is said on this level, too.
    let quiet = "[log]\nlevel = \"warn\"\nrequests = true\n[store]\ncache_mib = 64\n";
    std::fs::write(&file, format!("{text}{quiet}")).unwrap();
    server.signal("HUP");
    let count = |words: &str| server.log().matches(words).count();
    eventually("the new level is in force", || count("needs a restart: store.cache_mib") == 2);
    std::fs::write(&file, "[log]\nlevle = \"info\"\nrequests = true\n").unwrap();
    server.signal("HUP");
    eventually("a broken file is told", || count("line 2, `levle`") == 1);
    let lines = server.log().lines().count();
    server.user("alice").lists();
    // What comes after it in the log says that the log is complete so far.
    server.signal("HUP");
    eventually("it is told again", || count("line 2, `levle`") == 2);
    assert_eq!(server.log().lines().count(), lines + 1, "it changes nothing: {}", server.log());
}

#[test]
fn a_question_to_a_slow_nextcloud_is_answered_before_the_end() {
    let nextcloud = FakeNextcloud::start();
    let mut server = beside(&nextcloud);
    nextcloud.set(Behaviour::Held);
    let alice = server.login("alice", "alice123456");
    let request = std::thread::spawn(move || alice.get("/room"));
    eventually("Nextcloud was asked", || nextcloud.all_requests() > 0);
    server.signal("TERM");
    eventually("it is to end", || server.log().contains("stopping"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.runs(), "it did not wait");
    nextcloud.set(Behaviour::Ok);
    assert!(server.ended().success(), "{}", server.log());
    request.join().unwrap().expect(200);
}

#[test]
fn nothing_is_cut_when_it_ends_under_load() {
    let mut server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let all_answered: Arc<[AtomicUsize; 4]> = Arc::default();
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (alice, path, all_answered) = (alice.clone(), room.at(""), all_answered.clone());
            std::thread::spawn(move || {
                let mut answered = 0;
                loop {
                    let name = format!("{client} {answered}");
                    let request = support::Request::new("PUT", &path).form(&[("roomName", &name)]);
                    match alice.try_send(&request) {
                        Ok(answer) => answer.has_status(200),
                        // The socket is closed: this request was never taken.
                        Err(error) => return error.kind(),
                    }
                    answered += 1;
                    all_answered[client].store(answered, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let busy = || all_answered.iter().all(|answered| answered.load(Ordering::Relaxed) > 10);
    eventually("everybody is answered", busy);
    server.signal("TERM");
    assert!(server.ended().success(), "{}", server.log());
    for client in clients {
        let error = client.join().unwrap();
        // Refused, or reset while it waited to be accepted; never in the middle of an answer.
        let refused = matches!(error, std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::ConnectionReset);
        assert!(refused, "cut off: {error:?}");
    }
}

#[test]
fn who_was_accepted_is_answered_before_the_end() {
    let mut server = Server::start();
    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    // Who comes later is accepted later.
    server.stranger().get("/health").has_status(200);
    server.signal("TERM");
    eventually("it is to end", || server.log().contains("stopping"));
    std::thread::sleep(Duration::from_millis(200));
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(server.ended().success(), "{}", server.log());
}

#[test]
fn parked_polls_are_answered_before_the_end() {
    let mut server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let last = alice.sees(&room)["lastMessage"]["id"].as_i64().unwrap();
    let path = format!("{}?lookIntoFuture=1&timeout=30&lastKnownMessageId={last}", room.chat());
    let polls: Vec<_> = (0..8)
        .map(|_| {
            let (alice, path) = (alice.clone(), path.as_str());
            // As nginx asks: a parked request on a connection that is kept occupies a thread of tiny_http's.
            let request = support::Request::new("GET", path).header("Connection", "close");
            std::thread::spawn(move || alice.send(request))
        })
        .collect();
    server.parks(8);
    server.signal("TERM");
    assert!(server.ended().success(), "{}", server.log());
    polls.into_iter().for_each(|poll| poll.join().unwrap().not_modified());
}

#[test]
fn systemd_is_told_how_it_goes() {
    let server = Server::start();
    let path = server.data().join("notify.sock");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = |wanted: &str| {
        let mut buffer = [0; 256];
        loop {
            let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted}: {error}"));
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                return;
            }
        }
    };
    let mut command = server.command(&["serve", "--listen", "127.0.0.1:0", "--admin", "", "--data"]);
    command.arg(server.data().join("another")).stderr(std::process::Stdio::null());
    let mut child = command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000").spawn().unwrap();
    let signal = |name: &str| {
        let kill = format!("kill -{name} {}", child.id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    };
    heard("READY=1");
    heard("WATCHDOG=1");
    heard("WATCHDOG=1");
    signal("HUP");
    heard("RELOADING=1");
    heard("READY=1");
    signal("TERM");
    heard("STOPPING=1");
    assert!(child.wait().unwrap().success());
}
