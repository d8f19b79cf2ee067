//! Who is there: last pings, the time after which somebody is gone, and what goes with them.

mod support;

use serde_json::{Value, json};
use support::clock::{Clock, Who};
use support::{Person, Request, Room, Server, eventually, soon};

const ALICE: Who = Who::User("alice");
const BOB: Who = Who::User("bob");
const CAROL: Who = Who::User("carol");
/// When the stories begin, Unix seconds.
const T: i64 = 1_600_000_000;
const APP: &str = "Mozilla/5.0 (Android) Nextcloud-Talk v8.0.10";

/// A conversation of type 2 or 3 that alice has with bob.
fn conversation(clock: &Clock, kind: u8) -> String {
    let data = clock.ask(T, &ALICE, "POST", &format!("/room?roomType={kind}&roomName=Plans")).expect(201);
    let token = data["token"].as_str().unwrap().to_owned();
    clock.ask(T, &ALICE, "POST", &format!("/room/{token}/participants?newParticipant=bob")).done();
    token
}

#[track_caller]
fn joins(clock: &Clock, now: i64, who: &Who, token: &str) -> String {
    let data = clock.ask(now, who, "POST", &format!("/room/{token}/participants/active")).expect(200);
    data["sessionId"].as_str().unwrap().to_owned()
}

#[track_caller]
fn calls(clock: &Clock, now: i64, who: &Who, token: &str) {
    clock.ask(now, who, "POST", &format!("/call/{token}")).done();
}

/// A chat poll that need not wait.
fn polls(clock: &Clock, now: i64, who: &Who, token: &str, agent: &str) {
    let path = format!("/chat/{token}?lookIntoFuture=1&lastKnownMessageId=1000000&timeout=0");
    clock.ask_as(now, who, "GET", &path, agent).has_status(200);
}

/// The people whom the list of participants names, with their session, guests as empty.
fn listed(clock: &Clock, now: i64, token: &str) -> Vec<(String, String)> {
    let data = clock.ask(now, &ALICE, "GET", &format!("/room/{token}/participants")).expect(200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    data.as_array().unwrap().iter().map(|entry| (text(&entry["userId"]), text(&entry["sessionId"]))).collect()
}

/// The keys of the newest system messages, newest first.
fn newest(clock: &Clock, now: i64, token: &str, count: usize) -> Vec<String> {
    let data = clock.ask(now, &ALICE, "GET", &format!("/chat/{token}?lookIntoFuture=0&limit={count}")).expect(200);
    data.as_array().unwrap().iter().map(|m| m["systemMessage"].as_str().unwrap().to_owned()).collect()
}

// Silence

#[test]
fn a_hundred_seconds_of_silence_end_a_session_at_the_next_look() {
    let clock = Clock::start();
    let token = conversation(&clock, 2);
    let session = joins(&clock, T, &BOB, &token);
    let seen = clock.sees(T + 99, &BOB, &token);
    assert_eq!((&seen["sessionId"], &seen["lastPing"]), (&json!(session), &json!(T)));
    let seen = clock.sees(T + 100, &ALICE, &token);
    assert_eq!(seen["participants"]["bob"]["sessionId"], session, "whoever tidies up still sees it");
    let seen = clock.sees(T + 100, &BOB, &token);
    assert_eq!((&seen["sessionId"], &seen["participantType"]), (&json!("0"), &json!(3)));
    assert_eq!(seen["lastPing"], T, "the last ping stays");
    assert_eq!(clock.sees(T + 100, &ALICE, &token)["participants"]["bob"]["sessionId"], "0");
}

#[test]
fn ones_own_old_session_goes_too() {
    let clock = Clock::start();
    let token = conversation(&clock, 2);
    let session = joins(&clock, T, &BOB, &token);
    assert_eq!(clock.sees(T + 100, &BOB, &token)["sessionId"], session);
    assert_eq!(clock.sees(T + 100, &BOB, &token)["sessionId"], "0");
    let again = joins(&clock, T + 200, &BOB, &token);
    assert_ne!(again, session);
    let listed = clock.ask(T + 299, &BOB, "GET", "/room").expect(200);
    assert_eq!(listed[0]["sessionId"], again);
    clock.ask(T + 300, &BOB, "GET", "/room").expect(200);
    assert_eq!(clock.ask(T + 300, &BOB, "GET", "/room").expect(200)[0]["sessionId"], "0", "the list tidies up as well");
}

#[test]
fn the_background_ends_sessions_that_nobody_looks_at() {
    let clock = Clock::start();
    let token = conversation(&clock, 2);
    let session = joins(&clock, T, &BOB, &token);
    clock.sweep(T + 99);
    assert!(listed(&clock, T + 99, &token).contains(&("bob".into(), session)));
    clock.sweep(T + 100);
    assert!(listed(&clock, T + 100, &token).contains(&("bob".into(), "0".into())));
}

#[test]
fn whoever_joined_themselves_is_gone_with_their_session() {
    for by_background in [true, false] {
        let clock = Clock::start();
        let token = conversation(&clock, 3);
        joins(&clock, T, &CAROL, &token);
        joins(&clock, T, &Who::guest(1), &token);
        assert_eq!(listed(&clock, T + 99, &token).len(), 4);
        if by_background {
            clock.sweep(T + 100);
        } else {
            let seen = clock.sees(T + 100, &ALICE, &token);
            assert!(seen["participants"].get("carol").is_some(), "whoever tidies up still sees them: {seen}");
        }
        let names: Vec<String> = listed(&clock, T + 100, &token).into_iter().map(|(id, _)| id).collect();
        assert_eq!(names, ["alice", "bob"]);
        let seen = clock.sees(T + 100, &CAROL, &token);
        assert_eq!((&seen["participantType"], &seen["displayName"]), (&json!(4), &json!("")), "outside again");
        clock.ask(T + 100, &Who::guest(1), "GET", &format!("/chat/{token}?lookIntoFuture=0")).has_status(404);
    }
}

#[test]
fn nobody_is_told_of_silence() {
    let clock = Clock::start();
    let token = conversation(&clock, 3);
    for who in [&BOB, &CAROL, &Who::guest(1)] {
        joins(&clock, T, who, &token);
    }
    let before = clock.sees(T, &ALICE, &token);
    clock.sweep(T + 100);
    let after = clock.sees(T + 100, &ALICE, &token);
    assert_eq!((&before["lastMessage"], &before["lastActivity"]), (&after["lastMessage"], &after["lastActivity"]));
}

// Calls

#[test]
fn a_call_ends_with_the_last_user_who_falls_silent() {
    let clock = Clock::start();
    let token = conversation(&clock, 2);
    joins(&clock, T, &ALICE, &token);
    joins(&clock, T, &BOB, &token);
    calls(&clock, T, &ALICE, &token);
    calls(&clock, T + 5, &BOB, &token);
    clock.ask(T + 50, &BOB, "GET", &format!("/signaling/{token}")).expect(200);
    clock.sweep(T + 100);
    let seen = clock.sees(T + 100, &ALICE, &token);
    assert_eq!((&seen["hasCall"], &seen["participants"]["bob"]["call"]), (&json!(true), &json!(7)), "bob is left");
    assert_eq!(seen["participants"]["alice"]["call"], 0);
    clock.sweep(T + 150);
    assert_eq!(clock.sees(T + 150, &ALICE, &token)["hasCall"], false);
    assert_eq!(newest(&clock, T + 150, &token, 3), ["call_ended", "call_joined", "call_started"], "no call_left");
    let ended = clock.sees(T + 150, &ALICE, &token)["lastMessage"].clone();
    let text = ended["message"].as_str().unwrap();
    assert!(text.starts_with("Call with {user1} and {user2} (Duration 2:30)"), "{text}");
    assert_eq!((&ended["actorType"], &ended["timestamp"]), (&json!("users"), &json!(T + 150)));
}

#[test]
fn a_call_of_one_ends_without_a_word() {
    let clock = Clock::start();
    let token = conversation(&clock, 2);
    joins(&clock, T, &BOB, &token);
    calls(&clock, T, &BOB, &token);
    clock.sees(T + 100, &ALICE, &token);
    assert_eq!(clock.sees(T + 100, &ALICE, &token)["hasCall"], false);
    assert_eq!(newest(&clock, T + 100, &token, 1), ["call_started"]);
}

#[test]
fn guests_who_fall_silent_leave_the_call_running_until_something_happens() {
    let clock = Clock::start();
    let token = conversation(&clock, 3);
    joins(&clock, T, &Who::guest(1), &token);
    joins(&clock, T, &Who::guest(2), &token);
    calls(&clock, T, &Who::guest(1), &token);
    calls(&clock, T, &Who::guest(2), &token);
    clock.sweep(T + 100);
    let seen = clock.sees(T + 100, &ALICE, &token);
    assert_eq!((&seen["hasCall"], &seen["numGuests"]), (&json!(true), &json!(0)));
    assert_eq!(newest(&clock, T + 100, &token, 1), ["call_joined"]);
    joins(&clock, T + 110, &BOB, &token);
    clock.ask(T + 120, &BOB, "DELETE", &format!("/room/{token}/participants/active")).done();
    let seen = clock.sees(T + 120, &ALICE, &token);
    assert_eq!(seen["hasCall"], false, "leaving the room looks again");
    let ended = &seen["lastMessage"];
    assert_eq!(
        (&ended["systemMessage"], &ended["message"]),
        (&json!("call_ended"), &json!("Call with 2 guests (Duration 2:00)"))
    );
    assert_eq!((&ended["actorType"], &ended["actorId"]), (&json!("guests"), &json!("guests-only")));
}

#[test]
fn a_call_that_guests_left_behind_is_started_anew() {
    let clock = Clock::start();
    let token = conversation(&clock, 3);
    joins(&clock, T, &Who::guest(1), &token);
    calls(&clock, T, &Who::guest(1), &token);
    clock.sweep(T + 100);
    joins(&clock, T + 200, &BOB, &token);
    calls(&clock, T + 200, &BOB, &token);
    assert_eq!(newest(&clock, T + 200, &token, 2), ["call_started", "call_started"], "nobody was in it");
}

// Pings

#[test]
fn only_the_apps_polls_are_pings_and_only_outside_calls() {
    let clock = Clock::start();
    let token = conversation(&clock, 2);
    joins(&clock, T, &BOB, &token);
    let ping = |now| clock.sees(now, &BOB, &token)["lastPing"].as_i64().unwrap() - T;
    for agent in ["curl/8", "Mozilla/5.0 (X11; Linux) Firefox/99", "Mozilla/5.0 (Android) Nextcloud-android/3.9"] {
        polls(&clock, T + 10, &BOB, &token, agent);
        assert_eq!(ping(T + 10), 0, "{agent}");
    }
    polls(&clock, T + 20, &BOB, &token, APP);
    assert_eq!(ping(T + 20), 20);
    polls(&clock, T + 30, &BOB, &token, "Mozilla/5.0 (iOS) Nextcloud-Talk v8.0.1");
    assert_eq!(ping(T + 30), 30);
    let history = format!("/chat/{token}?lookIntoFuture=0");
    clock.ask_as(T + 35, &BOB, "GET", &history, APP).expect(200);
    assert_eq!(ping(T + 35), 35, "reading history as well");
    calls(&clock, T + 40, &BOB, &token);
    polls(&clock, T + 50, &BOB, &token, APP);
    assert_eq!(ping(T + 50), 35, "in a call the signaling says who is there");
    clock.ask(T + 60, &BOB, "GET", &format!("/signaling/{token}")).expect(200);
    assert_eq!(ping(T + 60), 60);
    polls(&clock, T + 70, &ALICE, &token, APP);
    assert_eq!(clock.sees(T + 70, &ALICE, &token)["lastPing"], 0, "who is not connected does not ping");
}

#[test]
fn pings_keep_a_session_alive() {
    let clock = Clock::start();
    let token = conversation(&clock, 3);
    let guest = Who::guest(1);
    let (his, theirs) = (joins(&clock, T, &BOB, &token), joins(&clock, T, &guest, &token));
    for now in (T + 30..=T + 300).step_by(30) {
        polls(&clock, now, &BOB, &token, APP);
        clock.ask(now, &guest, "GET", &format!("/signaling/{token}")).expect(200);
        clock.sweep(now);
    }
    assert_eq!(clock.sees(T + 330, &BOB, &token)["sessionId"], his);
    assert_eq!(clock.sees(T + 330, &guest, &token)["sessionId"], theirs);
    clock.sweep(T + 400);
    assert_eq!(clock.sees(T + 400, &BOB, &token)["sessionId"], "0");
    assert_eq!(clock.sees(T + 400, &guest, &token)["sessionId"], "0");
}

#[test]
fn a_ping_that_came_after_it_was_stored_is_stored_next_time() {
    let clock = Clock::start();
    let token = conversation(&clock, 2);
    joins(&clock, T, &BOB, &token);
    polls(&clock, T + 10, &BOB, &token, APP);
    clock.sweep(T + 10);
    assert!(clock.app.store.presence().pending().is_empty());
    polls(&clock, T + 10, &BOB, &token, APP);
    polls(&clock, T + 11, &BOB, &token, APP);
    assert_eq!(clock.app.store.presence().pending().len(), 1);
    clock.sweep(T + 10);
    assert!(clock.app.store.presence().pending().is_empty(), "also one from a clock that is ahead");
    assert_eq!(clock.sees(T + 12, &BOB, &token)["lastPing"], T + 11);
    polls(&clock, T + 12, &BOB, &token, APP);
    clock.ask(T + 12, &ALICE, "DELETE", &format!("/room/{token}")).done();
    clock.sweep(T + 20);
    assert!(clock.app.store.presence().pending().is_empty(), "nothing is kept of a conversation that is gone");
}

#[test]
fn leaving_keeps_the_last_ping() {
    let clock = Clock::start();
    let token = conversation(&clock, 2);
    joins(&clock, T, &BOB, &token);
    polls(&clock, T + 20, &BOB, &token, APP);
    clock.ask(T + 25, &BOB, "DELETE", &format!("/room/{token}/participants/active")).done();
    let seen = clock.sees(T + 500, &BOB, &token);
    assert_eq!((&seen["lastPing"], &seen["sessionId"]), (&json!(T + 20), &json!("0")));
}

// Windows

#[test]
fn who_counts_as_active_and_how_many_guests_there_are() {
    let clock = Clock::start();
    let token = conversation(&clock, 3);
    joins(&clock, T, &BOB, &token);
    joins(&clock, T + 20, &CAROL, &token);
    joins(&clock, T + 20, &Who::guest(1), &token);
    let at = |now| {
        let seen = clock.sees(now, &ALICE, &token);
        (seen["count"].as_i64().unwrap(), seen["numGuests"].as_i64().unwrap())
    };
    assert_eq!(at(T + 20), (3, 1));
    assert_eq!(at(T + 29), (3, 1));
    assert_eq!(at(T + 30), (2, 1), "newer than thirty seconds ago");
    assert_eq!(at(T + 50), (0, 1));
    assert_eq!(at(T + 119), (0, 1));
    assert_eq!(at(T + 120), (0, 0), "newer than a hundred seconds ago");
}

#[test]
fn who_left_counts_as_active_for_a_while() {
    let clock = Clock::start();
    let token = conversation(&clock, 2);
    joins(&clock, T, &BOB, &token);
    clock.ask(T + 1, &BOB, "DELETE", &format!("/room/{token}/participants/active")).done();
    assert_eq!(clock.sees(T + 29, &ALICE, &token)["count"], 1);
    assert_eq!(clock.sees(T + 30, &ALICE, &token)["count"], 0);
}

#[test]
fn a_call_shows_those_of_the_last_thirty_seconds_and_signaling_of_forty() {
    let clock = Clock::start();
    let token = conversation(&clock, 2);
    joins(&clock, T, &ALICE, &token);
    joins(&clock, T, &BOB, &token);
    calls(&clock, T, &BOB, &token);
    let peers = |now| clock.ask(now, &ALICE, "GET", &format!("/call/{token}")).expect(200).as_array().unwrap().len();
    assert_eq!((peers(T + 30), peers(T + 31)), (1, 0));
    let in_room = |now| {
        let data = clock.ask(now, &ALICE, "GET", &format!("/signaling/{token}")).expect(200);
        let users = data.as_array().unwrap().last().unwrap()["data"].clone();
        users.as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(in_room(T + 39), ["alice", "bob"]);
    assert_eq!(in_room(T + 40), ["alice"]);
}

// Over restarts, with the real server and the real time

fn app_polls(who: &Person, room: &Room) {
    let query = [("lookIntoFuture", "0"), ("limit", "1")];
    who.send(Request::new("GET", room.chat()).query(&query).header("User-Agent", APP)).expect(200);
}

/// bob is connected and has pinged a second later than he joined: the room and the ping.
fn pinged(server: &Server) -> (Person, Room, Value) {
    let bob = server.user("bob");
    let room = bob.creates_group("Plans");
    bob.joins(&room);
    let joined = bob.sees(&room)["lastPing"].clone();
    assert!(soon(|| {
        app_polls(&bob, &room);
        bob.sees(&room)["lastPing"] != joined
    }));
    let ping = bob.sees(&room)["lastPing"].clone();
    (bob, room, ping)
}

#[test]
fn a_last_ping_outlives_an_orderly_stop() {
    let mut server = Server::start();
    let (bob, room, ping) = pinged(&server);
    server.restart();
    assert_eq!(bob.sees(&room)["lastPing"], ping);
    assert_ne!(bob.sees(&room)["sessionId"], "0", "so does the session");
}

#[test]
fn a_last_ping_outlives_a_kill_after_ten_seconds() {
    let mut server = Server::start();
    let (bob, room, ping) = pinged(&server);
    // Another process sees only what is in the file.
    let stored = format!("\"last_ping\":{ping}");
    eventually("the ping is stored", || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let export = server.command(&["export"]).output().unwrap();
        String::from_utf8_lossy(&export.stdout).contains(&stored)
    });
    server.kill();
    server.restart();
    assert_eq!(bob.sees(&room)["lastPing"], ping);
}
