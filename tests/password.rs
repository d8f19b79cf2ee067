//! `PUT /room/{token}/password`: the password of a public conversation.

mod support;

use serde_json::json;
use support::Message::{Empty, Null};
use support::{Cast, Person, Request, Room, Server};

#[track_caller]
fn cannot_join(who: &Person, room: &Room, password: &str) {
    who.post(room.at("/participants/active"), &[("password", password)]).refused(403, Null);
}

#[test]
fn moderators_set_it_and_everybody_sees_that_there_is_one() {
    let cast = Cast::in_public();
    for who in cast.moderators() {
        who.put(cast.room.at("/password"), &[("password", "sesame")]).done();
        assert_eq!(cast.member.sees(&cast.room)["hasPassword"], true);
        assert_eq!(cast.stranger.sees(&cast.room)["hasPassword"], true);
        who.put(cast.room.at("/password"), &[("password", "")]).done();
        assert_eq!(cast.member.sees(&cast.room)["hasPassword"], false);
    }
}

#[test]
fn nobody_else_may() {
    let cast = Cast::in_public();
    for who in cast.others() {
        who.put(cast.room.at("/password"), &[("password", "sesame")]).refused(403, Empty);
    }
    for who in cast.outside() {
        who.put(cast.room.at("/password"), &[("password", "sesame")]).refused(404, Empty);
    }
    cast.owner.put(cast.room.at("/password"), &[]).invalid_query();
    cast.owner.send(Request::new("PUT", cast.room.at("/password")).json(&json!({"password": 1234}))).invalid_query();
    assert_eq!(cast.owner.sees(&cast.room)["hasPassword"], false);
}

#[test]
fn only_public_conversations_have_one() {
    let server = Server::start();
    let alice = server.user("alice");
    for room in [alice.creates_group("Plans"), alice.talks_to("bob")] {
        alice.put(room.at("/password"), &[("password", "sesame")]).refused(403, Null);
        alice.put(room.at("/password"), &[]).invalid_query();
        assert_eq!(alice.sees(&room)["hasPassword"], false);
    }
}

#[test]
fn who_comes_by_the_link_needs_it() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_locked("Square", "sesame");
    for who in [server.guest(), server.user("dave")] {
        cannot_join(&who, &room, "");
        cannot_join(&who, &room, "Sesame");
        assert_eq!(who.sees(&room)["sessionId"], "0");
        who.joins_with_password(&room, "sesame");
        assert_eq!(who.sees(&room)["hasPassword"], true);
    }
}

#[test]
fn who_was_added_is_never_asked() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_locked("Square", "sesame");
    alice.adds(&room, "bob");
    alice.joins(&room);
    bob.joins_with_password(&room, "wrong");
}

#[test]
fn who_is_there_already_stays_and_is_not_asked_again_while_they_stay() {
    let cast = Cast::in_public();
    cast.owner.put(cast.room.at("/password"), &[("password", "sesame")]).done();
    assert_eq!(cast.guest.sees(&cast.room)["sessionId"], cast.guest_session);
    cast.self_joined.joins(&cast.room);
    cast.self_joined.leaves(&cast.room);
    cannot_join(&cast.self_joined, &cast.room, "");
    cannot_join(&cast.guest, &cast.room, "");
}

#[test]
fn the_newest_password_counts() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_locked("Square", "first");
    alice.put(room.at("/password"), &[("password", "second")]).done();
    cannot_join(&server.guest(), &room, "first");
    server.guest().joins_with_password(&room, "second");
    alice.put(room.at("/password"), &[("password", "")]).done();
    server.guest().joins(&room);
    server.guest().joins_with_password(&room, "anything");
}

#[test]
fn every_byte_of_a_long_password_counts() {
    let server = Server::start();
    let long = "пароль ".repeat(40);
    let room = server.user("alice").creates_locked("Square", &format!("{long}1"));
    cannot_join(&server.guest(), &room, &format!("{long}2"));
    server.guest().joins_with_password(&room, &format!("{long}1"));
    let room = server.user("alice").creates_locked("Circus", "with a\0zero 1");
    cannot_join(&server.guest(), &room, "with a\0zero 2");
    cannot_join(&server.guest(), &room, "with a");
}

#[test]
fn it_is_announced_each_time() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_locked("Square", "sesame");
    let first = alice.last_message(&room);
    assert_eq!((&first["systemMessage"], &first["message"]), (&json!("password_set"), &json!("You set a password")));
    alice.put(room.at("/password"), &[("password", "sesame")]).done();
    let again = alice.last_message(&room);
    assert_eq!(again["systemMessage"], "password_set");
    assert_ne!(again["id"], first["id"]);
    for _ in 0..2 {
        alice.put(room.at("/password"), &[("password", "")]).done();
        assert_eq!(alice.last_message(&room)["systemMessage"], "password_removed");
    }
}

#[test]
fn it_is_neither_stored_nor_logged_as_it_was_typed() {
    let mut server = Server::start();
    let room = server.user("alice").creates_locked("Square", "open-sesame-4711");
    let guest = server.guest();
    guest
        .send(Request::new("POST", room.at("/participants/active")).query(&[("password", "open-sesame-4711")]))
        .expect(200);
    server.stop();
    assert!(!server.log().contains("sesame-4711"), "{}", server.log());
    let files = std::fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.is_file()) {
        let bytes = std::fs::read(file).unwrap();
        assert!(!bytes.windows(11).any(|part| part == b"sesame-4711"));
    }
}
