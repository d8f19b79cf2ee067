//! What a stranger must not learn from an answer: whether an account or a conversation exists.

mod support;

use std::time::{Duration, Instant};
use support::{Answer, Person, Request, Server};

/// The people of this file: known ones with a hashed password, as an administrator would have them.
fn server() -> Server {
    let hash = roomd::password::hash("not for bcrypt's own cut").unwrap();
    // The hash of another password serves as well: nobody here knows the right one of alice.
    Server::with_only(&format!(
        "[[users]]\nid = \"alice\"\npassword = {hash:?}\n[[users]]\nid = \"bob\"\npassword = \"bob's own\"\n\
         [[users]]\nid = \"carol\"\npassword = \"carol's own\"\n[server]\ntrusted_proxies = [\"127.0.0.1\"]"
    ))
}

/// Everything of an answer but what names the question.
fn visible(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date")).cloned().collect();
    (answer.status, headers, answer.text())
}

#[track_caller]
fn same(one: &Answer, other: &Answer) {
    assert_eq!(visible(one), visible(other), "{}\n{}", one.asked, other.asked);
}

/// A route with a token: method, what comes before the token, what comes after it, and a form.
type TokenRoute = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const ROUTES: [TokenRoute; 12] = [
    ("GET", "/room/", "", &[]),
    ("PUT", "/room/", "", &[("roomName", "Mine")]),
    ("DELETE", "/room/", "", &[]),
    ("GET", "/room/", "/participants", &[]),
    ("POST", "/room/", "/participants/active", &[("password", "x")]),
    ("DELETE", "/room/", "/participants/active", &[]),
    ("POST", "/room/", "/favorite", &[]),
    ("PUT", "/room/", "/password", &[("password", "x")]),
    ("GET", "/chat/", "?lookIntoFuture=0", &[]),
    ("POST", "/chat/", "", &[("message", "hello")]),
    ("GET", "/call/", "", &[]),
    ("POST", "/call/", "", &[]),
];

fn ask(who: &Person, route: &TokenRoute, token: &str) -> Answer {
    let (method, base, rest, form) = route;
    let request = Request::new(method, format!("{base}{token}{rest}"));
    who.send(if *method == "GET" { request } else { request.form(form) })
}

#[test]
fn a_private_conversation_looks_like_none() {
    let server = server();
    let bob = server.login("bob", "bob's own");
    let (private, pair) = (bob.creates_group("Private"), bob.talks_to("carol"));
    let deleted = bob.creates_public("Gone");
    bob.delete(deleted.at(""), &[]).done();
    let away = bob.creates_group("Away");
    bob.adds(&away, "carol");
    bob.removes(&away, "carol");
    let outsider = server.login("carol", "carol's own");
    for route in &ROUTES {
        for who in [&server.stranger(), &server.guest(), &outsider, &server.login("bob", "wrong")] {
            let missing = ask(who, route, "missing1");
            same(&missing, &ask(who, route, &private.token));
            same(&missing, &ask(who, route, &deleted.token));
            same(&missing, &ask(who, route, &away.token));
            if who.name != "carol" {
                same(&missing, &ask(who, route, &pair.token));
            }
        }
    }
}

#[test]
fn a_wrong_password_looks_like_an_unknown_name() {
    let server = server();
    let room = server.login("bob", "bob's own").creates_public("Open");
    for (method, path) in [("GET", "/room".to_owned()), ("GET", room.at("")), ("POST", "/room".to_owned())] {
        for kind in ["application/json", "text/xml", "text/html"] {
            let ask = |who: Person| who.send(Request::new(method, &path).header("Accept", kind));
            let unknown = ask(server.login("nobody", "wrong"));
            same(&unknown, &ask(server.login("alice", "wrong")));
            same(&unknown, &ask(server.login("bob", "wrong")));
            same(&unknown, &ask(server.login("bob", "")));
        }
    }
}

/// The middle of the answering times of two kinds of request, asked in turns.
fn medians(count: usize, mut one: impl FnMut(usize), mut other: impl FnMut(usize)) -> (Duration, Duration) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for n in 0..count {
        let start = Instant::now();
        one(n);
        first.push(start.elapsed());
        let start = Instant::now();
        other(n);
        second.push(start.elapsed());
    }
    first.sort();
    second.sort();
    let spread = |times: &[Duration]| (times[times.len() / 4], times[times.len() * 3 / 4]);
    println!("  quartiles {:?} and {:?}", spread(&first), spread(&second));
    (first[count / 2], second[count / 2])
}

/// A private and a missing conversation, and a wrong password of a known and of an unknown account.
fn timings(count: usize) -> [(&'static str, Duration, Duration); 3] {
    let server = server();
    let private = server.login("bob", "bob's own").creates_group("Private");
    let stranger = server.stranger();
    println!("a private and a missing conversation, {count} times");
    let rooms = medians(
        count,
        |_| drop(stranger.get(private.at(""))),
        |n| drop(stranger.get(format!("/room/missing{}", n % 10))),
    );
    println!("a wrong password of a known and of an unknown account, {count} times");
    let wrong = |name: &str, n: usize| drop(server.login(name, &format!("wrong {n}")).get("/room"));
    let hashed = medians(count, |n| wrong("alice", n), |n| wrong("nobody", n));
    println!("a wrong password of an account with a plain one and of an unknown account, {count} times");
    let plain = medians(count, |n| wrong("bob", n), |n| wrong("nobody", n + count));
    let all = [("rooms", rooms.0, rooms.1), ("hashed", hashed.0, hashed.1), ("plain", plain.0, plain.1)];
    for (what, one, other) in &all {
        println!("{what}: medians {one:?} and {other:?}");
    }
    all
}

#[test]
#[ignore = "slow: hundreds of samples, and it wants a quiet machine"]
fn the_times_are_the_same_within_noise() {
    for (what, one, other) in timings(300) {
        let (short, long) = (one.min(other), one.max(other));
        assert!(long < short * 3 / 2 + Duration::from_micros(300), "{what}: {one:?} and {other:?}");
    }
}
