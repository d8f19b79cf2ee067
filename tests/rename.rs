//! `PUT /room/{token}`: renaming a conversation.

mod support;

use serde_json::json;
use support::Message::{Empty, Null};
use support::{Cast, Request, Server};

#[test]
fn moderators_rename_and_everybody_else_may_not() {
    let cast = Cast::in_public();
    for (who, name) in cast.moderators().into_iter().zip(["By the owner", "By a moderator", "By a guest moderator"]) {
        who.put(cast.room.at(""), &[("roomName", name)]).done();
        assert_eq!(cast.member.sees(&cast.room)["name"], name);
    }
    for who in cast.others() {
        who.put(cast.room.at(""), &[("roomName", "Mine")]).refused(403, Empty);
    }
    for who in cast.outside() {
        who.put(cast.room.at(""), &[("roomName", "Mine")]).refused(404, Empty);
    }
    assert_eq!(cast.owner.sees(&cast.room)["name"], "By a guest moderator");
}

#[test]
fn a_group_is_not_there_for_outsiders() {
    let server = Server::start();
    let room = server.user("alice").creates_group("Plans");
    for who in [server.user("dave"), server.guest(), server.stranger()] {
        who.put(room.at(""), &[("roomName", "Mine")]).refused(404, Empty);
        who.put("/room/nosuchroom", &[("roomName", "Mine")]).refused(404, Empty);
    }
}

#[test]
fn the_new_name_is_trimmed() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    alice.renames(&room, " \t\r\n\u{b}\0Trips and tours\0 \n");
    let seen = alice.sees(&room);
    assert_eq!((&seen["name"], &seen["displayName"]), (&json!("Trips and tours"), &json!("Trips and tours")));
    // Only ASCII blanks count: a no-break space is a character like any other.
    alice.renames(&room, "\u{a0}Trips");
    assert_eq!(alice.sees(&room)["name"], "\u{a0}Trips");
}

#[test]
fn an_empty_name_is_refused() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    for name in ["", " ", "\t\r\n\0\u{b}"] {
        alice.put(room.at(""), &[("roomName", name)]).refused(400, Null);
    }
    assert_eq!(alice.sees(&room)["name"], "Plans");
}

#[test]
fn two_hundred_characters_fit_however_many_bytes_they_are() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    for character in ["x", "é", "日", "🦀"] {
        let longest = character.repeat(200);
        alice.renames(&room, &format!("  {longest}  "));
        assert_eq!(alice.sees(&room)["name"], longest);
        alice.put(room.at(""), &[("roomName", &character.repeat(201))]).refused(400, Null);
        assert_eq!(alice.sees(&room)["name"], longest);
    }
}

#[test]
fn a_one_to_one_conversation_has_no_name_to_change() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.talks_to("bob");
    for who in [&alice, &server.user("bob")] {
        who.put(room.at(""), &[("roomName", "Us")]).refused(400, Null);
    }
    server.user("carol").put(room.at(""), &[("roomName", "Them")]).refused(404, Empty);
}

#[test]
fn the_name_must_be_sent_but_only_moderators_are_told_so() {
    let cast = Cast::in_public();
    cast.owner.put(cast.room.at(""), &[]).invalid_query();
    cast.owner.put(cast.room.at(""), &[("name", "Plans")]).invalid_query();
    cast.member.put(cast.room.at(""), &[]).refused(403, Empty);
    cast.outsider.put(cast.room.at(""), &[]).refused(404, Empty);
    let one_to_one = cast.owner.talks_to("bob");
    cast.owner.put(one_to_one.at(""), &[]).invalid_query();
}

#[test]
fn only_a_string_is_a_name() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    for value in [json!(5), json!(true), json!(null), json!(["x"]), json!({"a": "b"}), json!(1.5)] {
        alice.send(Request::new("PUT", room.at("")).json(&json!({"roomName": value}))).invalid_query();
    }
    alice.send(Request::new("PUT", room.at("")).json(&json!({"roomName": "5"}))).done();
    assert_eq!(alice.sees(&room)["name"], "5");
}

#[test]
fn the_same_name_again_leaves_no_trace() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    alice.renames(&room, " Plans ");
    assert_eq!(alice.last_message(&room)["systemMessage"], "conversation_created");
    alice.renames(&room, "Tours");
    let renamed = alice.last_message(&room);
    assert_eq!(renamed["systemMessage"], "conversation_renamed");
    alice.renames(&room, "Tours");
    assert_eq!(alice.last_message(&room)["id"], renamed["id"]);
}

#[test]
fn lobby_and_read_only_do_not_stop_a_moderator() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    alice.sets_lobby(&room, "1");
    alice.sets_read_only(&room, "1");
    alice.renames(&room, "Closed");
    assert_eq!(alice.sees(&room)["name"], "Closed");
}
