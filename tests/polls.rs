//! Requests that wait: many at once, woken by what they wait for and by nothing else, in anybody's way never.

mod support;

use serde_json::{Value, json};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};
use support::Message::Empty;
use support::{Answer, Cast, Person, Request, Room, Server};

/// No answer of a server that works takes this long, on however slow a machine, and no poll's time is over by then.
const HANG: Duration = Duration::from_secs(20);

#[track_caller]
fn id(message: &Value) -> i64 {
    message["id"].as_i64().unwrap_or_else(|| panic!("no id in {message}"))
}

/// A poll as nginx passes it on: without keeping the connection.
fn poll(room: &Room, known: i64, more: &[(&str, &str)]) -> Request {
    let known = known.to_string();
    Request::new("GET", room.chat())
        .query(&[("lookIntoFuture", "1"), ("lastKnownMessageId", &known)])
        .query(more)
        .header("Connection", "close")
}

/// A poll that waits as long as it may and moves no read marker.
fn quiet_poll(room: &Room, known: i64) -> Request {
    poll(room, known, &[("setReadMarker", "0")])
}

/// Sends a request from a thread of its own; the answer comes with `mark` and when it came. Nothing comes when the
/// server goes away.
fn in_background<M: Send + 'static>(who: &Person, request: Request, mark: M, answers: &Sender<(M, Instant, Answer)>) {
    let (who, answers) = (who.clone(), answers.clone());
    thread::spawn(move || {
        if let Ok(answer) = who.try_send(&request) {
            // The test may be over.
            let _ = answers.send((mark, Instant::now(), answer));
        }
    });
}

#[track_caller]
fn next<M>(answers: &Receiver<(M, Instant, Answer)>) -> (M, Instant, Answer) {
    answers.recv_timeout(HANG).expect("an answer comes")
}

#[track_caller]
fn texts(answer: &Answer) -> Vec<String> {
    let data = answer.expect(200);
    data.as_array().unwrap().iter().map(|message| message["message"].as_str().unwrap().to_owned()).collect()
}

/// Milliseconds below which this share of the times is.
fn percentile(times: &[Duration], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[at].as_secs_f64() * 1000.0
}

/// The processor time that a process has used, in hundredths of a second.
fn processor_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

// Many

#[test]
fn two_hundred_polls_cost_nothing_and_hear_of_their_own_conversation_only() {
    let server = Server::start();
    let alice = server.user("alice");
    let rooms: Vec<(Room, i64)> = (0..20)
        .map(|number| {
            let room = alice.creates_group(&format!("Room {number}"));
            let known = id(&alice.last_message(&room));
            (room, known)
        })
        .collect();
    let (sender, answers) = channel();
    for (number, (room, known)) in rooms.iter().enumerate() {
        for _ in 0..10 {
            in_background(&alice, quiet_poll(room, *known), number, &sender);
        }
    }
    server.parks(200);
    assert!(answers.try_recv().is_err(), "nobody has anything to hear yet");

    let (before, began) = (processor_time(server.pid()), Instant::now());
    thread::sleep(Duration::from_secs(2));
    let used = processor_time(server.pid()) - before;
    let share = used as f64 / began.elapsed().as_secs_f64();
    println!("200 parked polls: {share:.2} % of one core");
    assert!(share < 5.0, "200 parked polls take {share} % of one core");
    assert!(answers.try_recv().is_err(), "still nothing");

    let (mut after_sending, mut after_answer) = (Vec::new(), Vec::new());
    for (number, (room, _)) in rooms.iter().enumerate() {
        let sent = Instant::now();
        alice.says(room, &format!("message {number}"));
        let stored = Instant::now();
        for _ in 0..10 {
            let (of_room, came, answer) = next(&answers);
            assert_eq!(of_room, number, "only those who wait in the conversation hear of it");
            assert_eq!(texts(&answer), [format!("message {number}")]);
            after_sending.push(came - sent);
            after_answer.push(came.saturating_duration_since(stored));
        }
        assert!(answers.try_recv().is_err(), "each of them once, and nobody else");
    }
    println!(
        "from sending a message to 10 polls' answers: p50 {:.1} ms, p99 {:.1} ms; after the sender's own answer: p50 \
         {:.1} ms, p99 {:.1} ms",
        percentile(&after_sending, 0.5),
        percentile(&after_sending, 0.99),
        percentile(&after_answer, 0.5),
        percentile(&after_answer, 0.99)
    );
}

#[test]
fn short_requests_are_answered_while_polls_pour_in() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let known = id(&alice.last_message(&room));
    let together = Arc::new(Barrier::new(164));
    let (polled, polls) = channel();
    let (asked, shorts) = channel();
    for number in 0..164 {
        let (together, alice) = (together.clone(), alice.clone());
        let (request, answers) = if number < 100 {
            (quiet_poll(&room, known), polled.clone())
        } else {
            (Request::new("GET", room.at("")).header("Connection", "close"), asked.clone())
        };
        thread::spawn(move || {
            together.wait();
            let began = Instant::now();
            if let Ok(answer) = alice.try_send(&request) {
                let _ = answers.send((began, Instant::now(), answer));
            }
        });
    }
    let mut times = Vec::new();
    for _ in 0..64 {
        let (began, came, answer) = next(&shorts);
        assert_eq!(answer.expect(200)["displayName"], "Plans");
        times.push(came - began);
    }
    let slowest = percentile(&times, 1.0);
    println!("64 short requests beside 100 new polls: p50 {:.1} ms, slowest {slowest:.1} ms", percentile(&times, 0.5));
    assert!(polls.try_recv().is_err(), "the polls wait on");
    alice.says(&room, "hello");
    for _ in 0..100 {
        assert_eq!(texts(&next(&polls).2), ["hello"]);
    }
}

// How long

#[test]
fn a_poll_waits_as_long_as_it_says() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let known = id(&alice.last_message(&room));
    for (timeout, least) in [("0", 0), ("-5", 0), ("1", 1)] {
        let began = Instant::now();
        alice.send(poll(&room, known, &[("timeout", timeout)])).not_modified();
        let waited = began.elapsed();
        assert!(waited >= Duration::from_secs(least) && waited < HANG, "timeout={timeout}: {waited:?}");
    }
}

#[test]
fn history_is_never_waited_for() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let known = id(&alice.last_message(&room)).to_string();
    let query = [("lookIntoFuture", "0"), ("lastKnownMessageId", &*known), ("timeout", "30")];
    let began = Instant::now();
    alice.send(Request::new("GET", room.chat()).query(&query)).not_modified();
    assert!(began.elapsed() < HANG);
}

// What ends a poll

/// Somebody waits for messages, something happens, and the answer comes at once.
#[track_caller]
fn answer_after(server: &Server, who: &Person, room: &Room, what_happens: impl FnOnce()) -> Answer {
    let known = id(&who.last_message(room));
    let (sender, answers) = channel();
    in_background(who, poll(room, known, &[]), (), &sender);
    server.parks(1);
    assert!(answers.try_recv().is_err(), "{} waits", who.name);
    what_happens();
    next(&answers).2
}

#[test]
fn a_poll_ends_with_its_conversation() {
    let cast = Cast::in_public();
    answer_after(&cast.server, &cast.member, &cast.room, || cast.owner.delete(cast.room.at(""), &[]).done())
        .refused(404, Empty);
    let room = cast.owner.creates_public("Again");
    cast.guest.joins(&room);
    answer_after(&cast.server, &cast.guest, &room, || cast.owner.delete(room.at(""), &[]).done()).refused(404, Empty);
}

#[test]
fn a_poll_ends_when_its_reader_is_removed() {
    let cast = Cast::in_public();
    let room = &cast.room;
    answer_after(&cast.server, &cast.member, room, || cast.owner.removes(room, "carol")).refused(404, Empty);
    let guest = [("participant", &*cast.guest_session)];
    answer_after(&cast.server, &cast.guest, room, || cast.owner.delete(room.at("/participants/guests"), &guest).done())
        .refused(404, Empty);
    answer_after(&cast.server, &cast.guest_moderator, room, || cast.guest_moderator.leaves(room)).refused(404, Empty);
    answer_after(&cast.server, &cast.self_joined, room, || cast.self_joined.leaves(room)).refused(404, Empty);
    let pair = cast.owner.talks_to("bob");
    answer_after(&cast.server, &cast.moderator, &pair, || cast.moderator.removes_themselves(&pair)).refused(404, Empty);
}

#[test]
fn a_poll_ends_when_the_conversation_closes_to_its_reader() {
    let cast = Cast::in_public();
    let room = &cast.room;
    for who in [&cast.member, &cast.guest, &cast.self_joined] {
        answer_after(&cast.server, who, room, || cast.owner.sets_lobby(room, "1")).refused(412, Empty);
        cast.owner.sets_lobby(room, "0");
    }
    let moderators = answer_after(&cast.server, &cast.guest_moderator, room, || cast.owner.sets_lobby(room, "1"));
    assert_eq!(texts(&moderators), ["{actor} restricted the conversation to moderators"]);
    cast.owner.sets_lobby(room, "0");
    answer_after(&cast.server, &cast.guest, room, || cast.owner.delete(room.at("/public"), &[]).done())
        .refused(404, Empty);
}

#[test]
fn read_only_ends_no_poll_but_says_so() {
    let cast = Cast::in_public();
    let answer = answer_after(&cast.server, &cast.member, &cast.room, || cast.owner.sets_read_only(&cast.room, "1"));
    assert_eq!(texts(&answer), ["{actor} locked the conversation"]);
}

#[test]
fn a_marker_that_was_put_back_meanwhile_stays_there() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    let first = id(&alice.says(&room, "1"));
    alice.says(&room, "2");
    let answer = answer_after(&server, &bob, &room, || {
        bob.post(format!("{}/read", room.chat()), &[("lastReadMessage", &first.to_string())]).done();
        alice.says(&room, "3");
    });
    assert_eq!(texts(&answer), ["3"]);
    assert_eq!(bob.sees(&room)["lastReadMessage"], first, "it moved when the poll came, not when it was answered");
}

#[test]
fn stopping_the_server_answers_who_waits() {
    let mut server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let known = id(&alice.last_message(&room));
    let (sender, answers) = channel();
    in_background(&alice, poll(&room, known, &[("setReadMarker", "0")]), (), &sender);
    server.parks(1);
    assert!(server.stop().success());
    next(&answers).2.not_modified();
}

// Nothing is missed

/// Reads on from `known`, message by message, until `last` has been read; the texts, in the order in which they came.
fn reads_until(who: &Person, room: &Room, mut known: i64, last: &str, more: &[(&str, &str)]) -> Vec<String> {
    let mut read = Vec::new();
    while !read.iter().any(|text| text == last) {
        let answer = who.send(poll(room, known, more));
        read.extend(texts(&answer));
        known = answer.header("X-Chat-Last-Given").parse().unwrap();
    }
    read
}

#[test]
fn every_reader_gets_every_message_once_and_in_order() {
    let cast = Cast::in_public();
    let room = &cast.room;
    let known = id(&cast.owner.last_message(room));
    let readers = [&cast.owner, &cast.moderator, &cast.member, &cast.self_joined, &cast.guest, &cast.guest_moderator];
    let read: Vec<Vec<String>> = thread::scope(|scope| {
        let reading: Vec<_> = readers
            .iter()
            .enumerate()
            .map(|(number, who)| {
                let limit = ["100", "1", "3"][number % 3];
                let marker = if number < 3 { "1" } else { "0" };
                scope.spawn(move || {
                    reads_until(who, room, known, "the end", &[("limit", limit), ("setReadMarker", marker)])
                })
            })
            .collect();
        let writing: Vec<_> = [&cast.owner, &cast.moderator, &cast.member, &cast.guest]
            .into_iter()
            .map(|who| scope.spawn(move || (0..40).for_each(|n| drop(who.says(room, &format!("{}:{n}", who.name))))))
            .collect();
        writing.into_iter().for_each(|thread| thread.join().unwrap());
        cast.owner.says(room, "the end");
        reading.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let query = [("lookIntoFuture", "1"), ("lastKnownMessageId", &*known.to_string()), ("limit", "200")];
    let stored = texts(&cast.owner.send(Request::new("GET", room.chat()).query(&query)));
    assert_eq!(stored.len(), 161);
    for who in ["alice", "bob", "carol"] {
        let own: Vec<&String> = stored.iter().filter(|text| text.starts_with(who)).collect();
        let wanted: Vec<String> = (0..40).map(|n| format!("{who}:{n}")).collect();
        assert_eq!(own, wanted.iter().collect::<Vec<_>>(), "what one says one after the other stays so");
    }
    for (who, read) in readers.iter().zip(read) {
        assert_eq!(read, stored, "{}", who.name);
    }
}

#[test]
fn a_message_between_looking_and_waiting_is_not_missed() {
    let cast = Cast::in_public();
    let room = &cast.room;
    let known = id(&cast.owner.last_message(room));
    let readers = [&cast.moderator, &cast.member, &cast.guest, &cast.guest_moderator];
    const ROUNDS: usize = 60;
    // Every message is sent the moment that all have the one before, while they are coming back to wait: whoever
    // misses one waits until the poll's time is over.
    let (sender, got) = channel();
    thread::scope(|scope| {
        for who in readers {
            let got = sender.clone();
            scope.spawn(move || {
                let mut known = known;
                for round in 0..ROUNDS {
                    let answer = who.send(poll(room, known, &[]));
                    assert_eq!(texts(&answer), [round.to_string()], "{}", who.name);
                    known = answer.header("X-Chat-Last-Given").parse().unwrap();
                    got.send(()).unwrap();
                }
            });
        }
        for round in 0..ROUNDS {
            cast.owner.says(room, &round.to_string());
            readers.iter().for_each(|_| got.recv_timeout(HANG).expect("everybody gets the message"));
        }
    });
    let data = cast.member.sees(room);
    assert_eq!((&data["unreadMessages"], &data["lastMessage"]["message"]), (&json!(1), &json!("59")));
}
