//! `PUT /room/{token}/read-only`: closing a conversation for new messages and calls.

mod support;

use serde_json::json;
use support::Message::{Empty, Null};
use support::{Cast, Request, Server};

#[test]
fn moderators_with_an_account_lock_and_unlock() {
    let cast = Cast::in_public();
    for who in [&cast.owner, &cast.moderator] {
        who.sets_read_only(&cast.room, "1");
        for reader in cast.moderators().into_iter().chain(cast.others()) {
            assert_eq!(reader.sees(&cast.room)["readOnly"], 1, "nobody is exempt");
        }
        assert_eq!(cast.owner.last_message(&cast.room)["systemMessage"], "read_only");
        who.sets_read_only(&cast.room, "0");
        assert_eq!(cast.owner.sees(&cast.room)["readOnly"], 0);
        assert_eq!(cast.owner.last_message(&cast.room)["systemMessage"], "read_only_off");
    }
}

#[test]
fn nobody_else_may() {
    let cast = Cast::in_public();
    for who in cast.without_login() {
        who.put(cast.room.at("/read-only"), &[("state", "1")]).not_logged_in();
    }
    for who in [&cast.member, &cast.self_joined] {
        who.put(cast.room.at("/read-only"), &[("state", "1")]).refused(403, Empty);
        who.put(cast.room.at("/read-only"), &[]).refused(403, Empty);
    }
    cast.outsider.put(cast.room.at("/read-only"), &[("state", "1")]).refused(404, Empty);
    cast.owner.put("/room/nosuchroom/read-only", &[("state", "1")]).refused(404, Empty);
    assert_eq!(cast.owner.sees(&cast.room)["readOnly"], 0);
}

#[test]
fn the_state_it_is_in_already_is_always_fine() {
    let server = Server::start();
    let alice = server.user("alice");
    for room in [alice.creates_group("Plans"), alice.talks_to("bob")] {
        alice.sets_read_only(&room, "0");
        alice.sets_read_only(&room, "off");
        assert_eq!(alice.last_message(&room)["systemMessage"], "conversation_created");
    }
}

#[test]
fn a_one_to_one_conversation_cannot_be_locked() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.talks_to("bob");
    alice.put(room.at("/read-only"), &[("state", "1")]).refused(400, Null);
    alice.put(room.at("/read-only"), &[("state", "7")]).refused(400, Null);
    alice.put(room.at("/read-only"), &[]).invalid_query();
    assert_eq!(alice.sees(&room)["readOnly"], 0);
}

#[test]
fn there_are_two_states() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    for state in ["2", "-1", "256", "1000000"] {
        alice.put(room.at("/read-only"), &[("state", state)]).refused(400, Null);
    }
    alice.put(room.at("/read-only"), &[]).invalid_query();
    assert_eq!(alice.sees(&room)["readOnly"], 0);
    alice.send(Request::new("PUT", room.at("/read-only")).json(&json!({"state": true}))).done();
    assert_eq!(alice.sees(&room)["readOnly"], 1);
}

#[test]
fn settings_and_people_can_still_change() {
    let cast = Cast::in_public();
    let (alice, room) = (&cast.owner, &cast.room);
    alice.sets_read_only(room, "1");
    alice.renames(room, "Archive");
    alice.put(room.at("/password"), &[("password", "sesame")]).done();
    alice.adds(room, "frank");
    alice.promotes(room, "carol");
    alice.sets_lobby(room, "1");
    alice.sets_lobby(room, "0");
    cast.guest.post(format!("/guest/{room}/name"), &[("displayName", "Ana")]).done();
    cast.member.joins(room);
    cast.member.leaves(room);
    cast.outsider.joins_with_password(room, "sesame");
    alice.delete(room.at("/public"), &[]).done();
    assert_eq!(alice.sees(room)["readOnly"], 1);
}
