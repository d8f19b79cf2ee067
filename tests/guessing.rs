//! Guessing passwords and tokens: counted for each address, kept across restarts, and nobody else's trouble.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;
use support::{PATIENCE, Person, Request, Room, Server, eventually};

/// The attempts after which an address is refused.
const LIMIT: usize = 10;

/// A server that believes where callers say they are, as behind nginx.
fn behind_a_proxy() -> Server {
    Server::with_config("[server]\ntrusted_proxies = [\"127.0.0.1\"]\n")
}

fn join(room: &Room, password: &str, from: &str) -> Request {
    Request::new("POST", room.at("/participants/active"))
        .form(&[("password", password)])
        .header("X-Forwarded-For", from)
}

/// Guesses wrong until the address is refused: all at once, since each attempt waits longer than the one before.
fn guesses_until_refused(server: &Server, room: &Room, from: &str) {
    let (tell, told) = channel();
    for _ in 0..LIMIT + 5 {
        let (tell, guest, request) = (tell.clone(), server.guest(), join(room, "wrong", from));
        std::thread::spawn(move || {
            if let Ok(answer) = guest.try_send(&request) {
                // The test may be over by then.
                let _ = tell.send(answer.status);
            }
        });
    }
    let mut first = Vec::new();
    while first.iter().filter(|status| **status == 429).count() < 4 {
        match told.recv_timeout(PATIENCE) {
            Ok(status) => first.push(status),
            Err(_) => panic!("asked from {from}, and never refused: {first:?}"),
        }
    }
    assert!(first.iter().all(|status| [403, 429].contains(status)), "asked from {from}: {first:?}");
}

fn asks_from(who: &Person, room: &Room, password: &str, from: &str) -> u16 {
    who.send(join(room, password, from)).status
}

#[test]
fn too_many_wrong_passwords_are_refused_and_a_restart_does_not_help() {
    let mut server = behind_a_proxy();
    let alice = server.user("alice");
    let room = alice.creates_locked("Vault", "right");
    guesses_until_refused(&server, &room, "203.0.113.5");
    assert_eq!(asks_from(&server.guest(), &room, "right", "203.0.113.5"), 429, "not even with the right one");
    server.restart();
    assert_eq!(asks_from(&server.guest(), &room, "right", "203.0.113.5"), 429, "after a restart");
}

#[test]
fn a_stranger_locks_nobody_else_out() {
    let server = behind_a_proxy();
    let alice = server.user("alice");
    let (room, other) = (alice.creates_locked("Vault", "right"), alice.creates_locked("Attic", "right"));
    let inside = server.guest();
    assert_eq!(asks_from(&inside, &room, "right", "203.0.113.5"), 200);
    guesses_until_refused(&server, &room, "203.0.113.5");
    assert_eq!(asks_from(&server.guest(), &room, "right", "203.0.113.6"), 200, "another address");
    assert_eq!(asks_from(&server.guest(), &other, "right", "203.0.113.5"), 200, "another conversation");
    assert_eq!(asks_from(&alice, &room, "", "203.0.113.5"), 200, "a member at the same address");
    assert_eq!(asks_from(&inside, &room, "right", "203.0.113.5"), 200, "a guest who is in the conversation");
}

#[test]
fn a_network_of_version_6_counts_as_one() {
    let server = behind_a_proxy();
    let room = server.user("alice").creates_locked("Vault", "right");
    guesses_until_refused(&server, &room, "2001:db8:1:2::5");
    assert_eq!(asks_from(&server.guest(), &room, "right", "2001:db8:1:2:ffff::9"), 429);
    assert_eq!(asks_from(&server.guest(), &room, "right", "2001:db8:1:3::5"), 200);
}

#[test]
fn the_right_password_clears_the_count() {
    let server = behind_a_proxy();
    let room = server.user("alice").creates_locked("Vault", "right");
    for _ in 0..4 {
        assert_eq!(asks_from(&server.guest(), &room, "wrong", "203.0.113.5"), 403);
        assert_eq!(asks_from(&server.guest(), &room, "right", "203.0.113.5"), 200);
    }
}

#[test]
fn tokens_cannot_be_tried_out() {
    let server = behind_a_proxy();
    let open = server.user("alice").creates_public("Open");
    let look = |who: &Person, token: &str, from: &str| {
        who.send(Request::new("GET", format!("/room/{token}")).header("X-Forwarded-For", from)).status
    };
    let inside = server.guest();
    assert_eq!(asks_from(&inside, &open, "", "203.0.113.5"), 200);
    for n in 0..=LIMIT {
        assert_eq!(look(&server.guest(), &format!("guess{n}"), "203.0.113.5"), 404, "guess {n}");
    }
    assert_eq!(look(&server.guest(), "guess99", "203.0.113.5"), 429);
    assert_eq!(look(&inside, &open.token, "203.0.113.5"), 200, "who is in it has not guessed");
    assert_eq!(look(&server.guest(), &open.token, "203.0.113.6"), 200, "another address");
    assert_eq!(look(&server.user("bob"), "guess99", "203.0.113.5"), 404, "whoever logs in is known");
}

#[test]
fn asking_for_what_is_gone_is_no_guessing() {
    let server = behind_a_proxy();
    let gone = Request::new("GET", "/room/gone2gone").header("X-Forwarded-For", "203.0.113.5");
    for _ in 0..40 {
        assert_eq!(server.guest().send(gone.clone()).status, 404);
    }
}

#[test]
fn a_private_conversation_looks_like_a_missing_one() {
    let server = Server::start();
    let private = server.user("alice").creates_group("Secret");
    for who in [server.guest(), server.stranger(), server.user("dave")] {
        let hidden = who.get(private.at(""));
        let missing = who.get("/room/nosuchroom");
        assert_eq!((hidden.status, hidden.text()), (missing.status, missing.text()));
    }
}

#[test]
#[ignore = "slow: the last guesses wait for 25 seconds"]
fn ten_of_twenty_guesses_at_once_are_looked_at() {
    let server = behind_a_proxy();
    let room = server.user("alice").creates_locked("Vault", "right");
    let begun = Instant::now();
    let guess = || asks_from(&server.guest(), &room, "wrong", "203.0.113.5");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guesses: Vec<_> = (0..20).map(|_| scope.spawn(guess)).collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    println!("twenty guesses at once took {} ms", begun.elapsed().as_millis());
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(403), count(429)), (LIMIT, 20 - LIMIT));
}

#[test]
fn checking_passwords_does_not_hold_up_the_others() {
    let server = behind_a_proxy();
    let alice = server.user("alice");
    let (locked, room) = (alice.creates_locked("Vault", "right"), alice.creates_public("Open"));
    let guest = server.guest();
    guest.joins(&room);
    let stop = AtomicBool::new(false);
    let (checked, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for attacker in 0..100 {
            let (server, locked, stop, checked, refused) = (&server, &locked, &stop, &checked, &refused);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let from = format!("10.{attacker}.{}.{}", n / 250, n % 250);
                    match asks_from(&server.stranger(), locked, "wrong", &from) {
                        403 => checked.fetch_add(1, Ordering::Relaxed),
                        503 => refused.fetch_add(1, Ordering::Relaxed),
                        status => panic!("status {status}"),
                    };
                }
            });
        }
        let _end = End(&stop);
        eventually("the flood has begun", || checked.load(Ordering::Relaxed) > 20);
        // Known callers, guests and strangers, and logins that nobody has judged yet.
        for n in 0..50 {
            alice.lists();
            alice.says(&room, &format!("message {n}"));
            guest.sees(&room);
            server.stranger().get(room.at("")).expect(200);
        }
        for id in ["bob", "carol", "dave", "erin", "frank"] {
            server.user(id).lists();
        }
    });
    println!("205 requests of others were answered beside {checked:?} wrong passwords, {refused:?} came too many");
}

/// Tells the others to stop, however the test ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
