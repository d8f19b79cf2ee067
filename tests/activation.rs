//! A socket that systemd made and passes on, and a server that nobody has configured yet.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The only account, whose login [`ask`] sends.
const ACCOUNT: &str = "[[users]]\nid = \"alice\"\npassword = \"alice\"\n";

/// A socket that systemd holds, and the folder of the servers that get it.
struct SocketUnit {
    folder: PathBuf,
    path: PathBuf,
    listener: UnixListener,
}

impl SocketUnit {
    fn new(name: &str, config: &str) -> SocketUnit {
        let folder = std::env::temp_dir().join(format!("roomd-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("roomd.toml"), config).unwrap();
        let path = folder.join("roomd.sock");
        SocketUnit { listener: UnixListener::bind(&path).unwrap(), path, folder }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }

    /// Starts the server as systemd does, with the listener as descriptor 3, and waits until it listens.
    fn start(&self) -> Started {
        let input: OwnedFd = self.listener.try_clone().unwrap().into();
        let mut server = Command::new("sh")
            .args(["-c", r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@""#, "sh"])
            .args([env!("CARGO_BIN_EXE_roomd"), "serve", "--listen", "unix:/nonexistent/socket", "--config"])
            .arg(self.folder.join("roomd.toml"))
            .arg("--data")
            .arg(self.folder.join("data"))
            .stdin(input)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
        let started = Started(server);
        assert!(log.any(|line| line.is_ok_and(|line| line.contains("listening on"))), "it listens");
        // Nobody else reads it, and a full pipe would stop the server.
        std::thread::spawn(move || log.for_each(drop));
        started
    }
}

impl Drop for SocketUnit {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A server, which does not outlive a test that fails.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stop(mut server: Started) {
    let server = &mut server.0;
    let asked = Command::new("sh").args(["-c", &format!("kill -TERM {}", server.id())]).status().unwrap();
    assert!(asked.success());
    support::eventually("the server ends", || server.try_wait().unwrap().is_some());
    assert!(server.wait().unwrap().success());
}

/// Sends a request with a login and reads the answer's status line.
fn ask(stream: &mut UnixStream) -> String {
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let head = "GET /ocs/v2.php/apps/spreed/api/v1/room HTTP/1.0\r\nHost: x\r\nOCS-APIRequest: true\r\n\
                Accept: application/json\r\nAuthorization: Basic YWxpY2U6YWxpY2U=\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_passed_socket_is_served_and_outlives_the_server() {
    let socket = SocketUnit::new("activation", ACCOUNT);
    let server = socket.start();
    let answer = ask(&mut socket.connect());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stop(server);
    assert!(socket.path.exists(), "the socket's file is still there");

    // Who calls while no server runs is answered by the next one.
    let mut waiting = socket.connect();
    let server = socket.start();
    let answer = ask(&mut waiting);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stop(server);
}

#[test]
fn callers_who_wait_before_the_start_are_in_nobodys_way() {
    let socket = SocketUnit::new("early", ACCOUNT);
    // They hold their connections and say nothing.
    let silent: Vec<_> = (0..40).map(|_| socket.connect()).collect();
    let mut waiting: Vec<_> = (0..8).map(|_| socket.connect()).collect();
    let server = socket.start();
    for stream in &mut waiting {
        let answer = ask(stream);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Or the server would wait a while for them, before it ends.
    drop(silent);
    stop(server);
}

#[test]
fn a_restart_loses_no_request() {
    let socket = SocketUnit::new("restarts", ACCOUNT);
    let mut server = socket.start();
    let over = AtomicBool::new(false);
    let server = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        let answer = ask(&mut socket.connect());
                        assert!(answer.starts_with("HTTP/1.1 200"), "answered with {answer:?}");
                    }
                })
            })
            .collect();
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(100));
            stop(server);
            server = socket.start();
        }
        over.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| client.join().unwrap());
        server
    });
    stop(server);
}

#[test]
fn who_was_accepted_before_a_stop_is_answered() {
    let socket = SocketUnit::new("last", ACCOUNT);
    let server = socket.start();
    let mut slow = socket.connect();
    // Who comes later is accepted later.
    ask(&mut socket.connect());
    let stopping = std::thread::spawn(move || stop(server));
    std::thread::sleep(Duration::from_millis(300));
    let answer = ask(&mut slow);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    stopping.join().unwrap();
}

#[test]
fn the_shipped_configuration_starts_and_says_what_is_missing() {
    let socket = SocketUnit::new("unconfigured", include_str!("../config/roomd.toml"));
    let server = socket.start();
    let answer = ask(&mut socket.connect());
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("must set nextcloud.url"), "{answer}");
    stop(server);
}
