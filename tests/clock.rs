//! Somebody sets the clock a day forward or back: nobody loses a session, nobody stays for ever, and no time that people
//! see runs backwards.

mod support;

use roomd::store::attempts::{Guess, key};
use roomd::store::people::unheard_of;
use roomd::talk::attempts::WINDOW;
use roomd::talk::participant::UserId;
use serde_json::Value;
use support::clock::{Clock, Who};

const DAY: i64 = 24 * 3600;
/// When the stories begin, Unix seconds.
const T: i64 = 1_800_000_000;

const ALICE: Who = Who::User("alice");
const BOB: Who = Who::User("bob");
const APP: &str = "Mozilla/5.0 (Android) Nextcloud-Talk v8.0.10";

/// A public conversation that alice has with bob.
fn square(clock: &Clock) -> String {
    let made = clock.ask(T, &ALICE, "POST", "/room?roomType=3&roomName=Square").expect(201);
    let token = made["token"].as_str().unwrap().to_owned();
    clock.ask(T, &ALICE, "POST", &format!("/room/{token}/participants?newParticipant=bob")).done();
    token
}

#[track_caller]
fn joins(clock: &Clock, now: i64, who: &Who, token: &str) {
    clock.ask(now, who, "POST", &format!("/room/{token}/participants/active")).expect(200);
}

/// What a client in a call asks for all the time: who is in the conversation.
#[track_caller]
fn pings(clock: &Clock, now: i64, who: &Who, token: &str) -> Value {
    let news = clock.ask(now, who, "GET", &format!("/signaling/{token}")).expect(200);
    news.as_array().unwrap().last().unwrap()["data"].clone()
}

/// Whether bob has a session, as alice sees it. Whoever tidies up still sees what was there, so she looks twice.
#[track_caller]
fn bob_is_there(clock: &Clock, now: i64, token: &str) -> bool {
    clock.sees(now, &ALICE, token);
    clock.sees(now, &ALICE, token)["participants"]["bob"]["sessionId"] != "0"
}

#[track_caller]
fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap()
}

// Sessions

#[test]
fn whoever_keeps_pinging_stays() {
    for by in [DAY, -DAY, 365 * DAY, -T] {
        let clock = Clock::start();
        let token = square(&clock);
        let guest = Who::guest(1);
        joins(&clock, T, &BOB, &token);
        joins(&clock, T, &guest, &token);
        clock.ask(T, &BOB, "POST", &format!("/call/{token}")).done();
        clock.sweep(T + 10);
        pings(&clock, T + 20, &BOB, &token);
        clock.is_set_by(by);
        let now = T + by;
        assert!(bob_is_there(&clock, now + 30, &token), "{by}: at the first look");
        clock.sweep(now + 40);
        for passed in (50..500).step_by(30) {
            pings(&clock, now + passed, &BOB, &token);
            pings(&clock, now + passed, &guest, &token);
            clock.sweep(now + passed);
        }
        let seen = clock.sees(now + 499, &ALICE, &token);
        assert_eq!((number(&seen, "numGuests"), number(&seen, "count")), (1, 2), "{by}");
        assert_eq!((&seen["hasCall"], bob_is_there(&clock, now + 499, &token)), (&true.into(), true), "{by}");
    }
}

#[test]
fn whoever_is_silent_goes_after_a_hundred_seconds() {
    for by in [DAY, -DAY, 60, -60, -T] {
        for in_background in [true, false] {
            let clock = Clock::start();
            let token = square(&clock);
            joins(&clock, T, &BOB, &token);
            pings(&clock, T + 10, &BOB, &token);
            clock.sweep(T + 10);
            clock.is_set_by(by);
            let now = T + 10 + by;
            assert!(bob_is_there(&clock, now + 99, &token), "{by}");
            if in_background {
                clock.sweep(now + 100);
            }
            assert!(!bob_is_there(&clock, now + 100, &token), "{by}");
        }
    }
}

#[test]
fn a_ping_by_a_clock_that_was_ahead_keeps_nobody_for_ever() {
    let clock = Clock::start();
    let token = square(&clock);
    let guest = Who::guest(1);
    joins(&clock, T, &ALICE, &token);
    clock.is_set_by(DAY);
    for who in [&BOB, &guest] {
        joins(&clock, T + DAY, who, &token);
        clock.ask(T + DAY, who, "POST", &format!("/call/{token}")).done();
        pings(&clock, T + DAY, who, &token);
    }
    clock.sweep(T + DAY);
    clock.is_set_by(-DAY);
    let active = |now| number(&clock.sees(now, &ALICE, &token), "count");
    let in_call = |now| clock.ask(now, &ALICE, "GET", &format!("/call/{token}")).expect(200).as_array().unwrap().len();
    let in_room = |now| pings(&clock, now, &ALICE, &token).as_array().unwrap().len();
    assert_eq!((in_call(T + 30), in_room(T + 30), active(T + 29)), (2, 3, 3));
    assert_eq!((in_call(T + 31), in_room(T + 40), active(T + 40)), (0, 1, 1));
    clock.sweep(T + 100);
    assert_eq!(number(&clock.sees(T + 100, &ALICE, &token), "numGuests"), 0);
    assert!(!bob_is_there(&clock, T + 100, &token));
    // Nor do they come back when the clock gets there again.
    assert!(!bob_is_there(&clock, T + DAY, &token));
    assert_eq!(active(T + DAY), 0);
}

#[test]
fn whoever_comes_back_after_the_clock_was_set_is_let_in() {
    for by in [DAY, -DAY] {
        let clock = Clock::start();
        let token = square(&clock);
        joins(&clock, T, &BOB, &token);
        clock.is_set_by(by);
        clock.sweep(T + by + 200);
        joins(&clock, T + by + 200, &BOB, &token);
        assert!(bob_is_there(&clock, T + by + 299, &token), "{by}");
        assert!(!bob_is_there(&clock, T + by + 300, &token), "{by}");
    }
}

// What people see

#[test]
fn times_in_answers_never_run_backwards() {
    let clock = Clock::start();
    let token = square(&clock);
    let (mut message, mut activity, mut ping) = (0, 0, 0);
    for (n, by) in [0, DAY, -DAY, -DAY, 10, DAY, -T, T + 20].into_iter().enumerate() {
        clock.is_set_by(by);
        let now = T + [0, DAY, 0, -DAY, 10 - DAY, 10, 10 - T, 30][n];
        joins(&clock, now, &ALICE, &token);
        pings(&clock, now, &ALICE, &token);
        clock.sweep(now);
        let said = clock.ask(now, &ALICE, "POST", &format!("/chat/{token}?message=number+{n}")).expect(201);
        let seen = clock.sees(now, &ALICE, &token);
        for (field, answer, newest) in
            [("timestamp", &said, &mut message), ("lastActivity", &seen, &mut activity), ("lastPing", &seen, &mut ping)]
        {
            assert!(number(answer, field) >= *newest, "{field} after {newest}: {answer}");
            *newest = number(answer, field);
        }
        let listed = clock.ask(now, &ALICE, "GET", &format!("/room/{token}/participants")).expect(200);
        assert_eq!(number(&listed[0], "lastPing"), ping);
        assert_eq!(number(&pings(&clock, now, &ALICE, &token)[0], "lastPing"), ping);
    }
    let history = clock.ask(T, &ALICE, "GET", &format!("/chat/{token}?lookIntoFuture=0")).expect(200);
    let times: Vec<i64> = history.as_array().unwrap().iter().map(|message| number(message, "timestamp")).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
}

#[test]
fn a_poll_goes_by_ids_whatever_the_clock_says() {
    let clock = Clock::start();
    let token = square(&clock);
    let mut known = 0;
    for by in [0, DAY, -2 * DAY, DAY] {
        clock.is_set_by(by);
        let said = clock.ask(T + by, &BOB, "POST", &format!("/chat/{token}?message=hello")).expect(201);
        let path = format!("/chat/{token}?lookIntoFuture=1&lastKnownMessageId={known}&timeout=0");
        let news = clock.ask_as(T + by, &ALICE, "GET", &path, APP).expect(200);
        known = number(&said, "id");
        assert_eq!(number(news.as_array().unwrap().last().unwrap(), "id"), known);
    }
}

// Calls and lobbies

/// A call of alice's and bob's that begins at `began` and ends at `ended`: what is said of it.
fn call(clock: &Clock, token: &str, began: i64, set_by: i64) -> String {
    joins(clock, began, &ALICE, token);
    clock.ask(began, &ALICE, "POST", &format!("/call/{token}")).done();
    clock.is_set_by(set_by);
    let ended = began + set_by + 90;
    joins(clock, ended, &BOB, token);
    clock.ask(ended, &BOB, "POST", &format!("/call/{token}")).done();
    for who in [&ALICE, &BOB] {
        clock.ask(ended, who, "DELETE", &format!("/call/{token}")).done();
    }
    clock.sees(ended, &ALICE, token)["lastMessage"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_call_never_lasts_less_than_nothing() {
    let clock = Clock::start();
    let token = square(&clock);
    let with_both = |said: &str, lasted: &str| {
        assert!(said.starts_with(&format!("Call with {{user1}} and {{user2}} (Duration {lasted})")), "{said}");
    };
    with_both(&call(&clock, &token, T, 0), "1:30");
    with_both(&call(&clock, &token, T + 100, -DAY), "0:00");
    with_both(&call(&clock, &token, T - DAY + 200, DAY), "24:01:30");
}

#[test]
fn who_joined_a_call_by_a_clock_that_was_ahead_did_not_join_the_next_one() {
    let clock = Clock::start();
    let token = square(&clock);
    clock.is_set_by(DAY);
    call(&clock, &token, T + DAY, 0);
    clock.is_set_by(-DAY);
    clock.ask(T + 100, &ALICE, "POST", &format!("/call/{token}")).done();
    clock.ask(T + 110, &ALICE, "DELETE", &format!("/call/{token}")).done();
    let last = clock.sees(T + 110, &ALICE, &token)["lastMessage"]["systemMessage"].clone();
    assert_eq!(last, "call_left", "alice alone makes no call that anybody would be told of");
}

#[test]
fn a_lobby_that_opened_stays_open() {
    let clock = Clock::start();
    let token = square(&clock);
    clock.ask(T, &ALICE, "PUT", &format!("/room/{token}/webinar/lobby?state=1&timer={}", T + 3600)).done();
    let lobby = |now| number(&clock.sees(now, &BOB, &token), "lobbyState");
    clock.is_set_by(-DAY);
    clock.sweep(T - DAY);
    assert_eq!(lobby(T - DAY), 1);
    clock.is_set_by(2 * DAY);
    clock.sweep(T + DAY);
    assert_eq!(lobby(T + DAY), 0);
    clock.is_set_by(-DAY);
    clock.sweep(T);
    assert_eq!(lobby(T), 0);
}

// What is remembered for a time

/// What an address has guessed at by `now`, this time included: whether it is locked out.
fn guesses(clock: &Clock, now: i64, times: usize) -> bool {
    let key = key(Guess::Password(1), [203, 0, 113, 5].into());
    let count = move |t: &mut roomd::store::commit::Writer<'_>| t.count_attempt(&key, now, 0);
    let attempts: Vec<_> = (0..times).map(|_| clock.app.store.write(count).unwrap()).collect();
    attempts.last().unwrap().are_too_many(now)
}

#[test]
fn nobody_is_locked_out_for_longer_than_the_window() {
    let clock = Clock::start();
    assert!(guesses(&clock, T + DAY, 11));
    // Set back: what was guessed a day from now counts neither now nor when that day has come.
    assert!(!guesses(&clock, T, 1));
    assert!(!guesses(&clock, T + DAY, 1));
    assert!(guesses(&clock, T + DAY, 10), "and the count goes on by the new clock");
    assert!(!guesses(&clock, T + DAY + WINDOW + 1, 1));
}

#[test]
fn an_account_heard_of_by_a_clock_that_was_ahead_is_asked_about() {
    let clock = Clock::start();
    let bob = UserId::new("bob");
    let unheard = |now| clock.app.store.read(|t| unheard_of(t, now - DAY..=now, 10)).unwrap();
    clock
        .app
        .store
        .write({
            let bob = bob.clone();
            move |t| t.put_profile(&bob, "Bob".into(), T + DAY)
        })
        .unwrap();
    assert_eq!(unheard(T), [bob]);
    assert_eq!(unheard(T + DAY), []);
}

#[test]
fn no_time_makes_it_panic() {
    let clock = Clock::start();
    let token = square(&clock);
    let guest = Who::guest(1);
    let century = T + 100 * 365 * DAY;
    for now in [0, 1, -1, -DAY, i32::MAX.into(), i64::from(i32::MAX) + 1, u32::MAX.into(), century, i32::MIN.into(), T]
    {
        for who in [&ALICE, &guest] {
            joins(&clock, now, who, &token);
            clock.ask(now, who, "POST", &format!("/call/{token}?flags=1")).done();
            pings(&clock, now, who, &token);
            clock.ask(now, who, "POST", &format!("/chat/{token}?message=hello")).expect(201);
            clock.sees(now, who, &token);
            clock.ask(now, who, "GET", &format!("/chat/{token}?lookIntoFuture=0")).expect(200);
            clock.ask(now, who, "DELETE", &format!("/call/{token}")).done();
        }
        clock.ask(now, &ALICE, "GET", "/room").expect(200);
        clock.ask(now, &ALICE, "GET", &format!("/call/{token}")).expect(200);
        clock.ask(now, &ALICE, "GET", "/signaling/settings").expect(200);
        clock.ask(now, &ALICE, "PUT", &format!("/room/{token}/webinar/lobby?state=1&timer=1900000000")).done();
        clock.ask(now, &ALICE, "PUT", &format!("/room/{token}/webinar/lobby?state=0")).done();
        guesses(&clock, now, 12);
        clock.sweep(now);
        clock.app.store.write(move |t| t.forget_attempts(now)).unwrap();
        roomd::api::account::look_for_gone(&clock.app, now);
    }
}
