//! `PUT /room/{token}/webinar/lobby`: letting everybody but moderators wait.

mod support;

use serde_json::json;
use support::Message::{Empty, Null};
use support::{Cast, Person, Request, Room, Server};

const LATER: &str = "4102444800";

/// State and timer as somebody sees them.
#[track_caller]
fn lobby(who: &Person, room: &Room) -> (i64, i64) {
    let seen = who.sees(room);
    (seen["lobbyState"].as_i64().unwrap(), seen["lobbyTimer"].as_i64().unwrap())
}

#[test]
fn moderators_with_an_account_close_and_open_it_under_both_spellings() {
    let cast = Cast::in_public();
    for (who, spelling) in [(&cast.owner, "/webinar/lobby"), (&cast.moderator, "/webinary/lobby")] {
        who.put(cast.room.at(spelling), &[("state", "1")]).done();
        assert_eq!(lobby(&cast.guest, &cast.room), (1, 0));
        assert_eq!(cast.owner.last_message(&cast.room)["systemMessage"], "lobby_non_moderators");
        who.put(cast.room.at(spelling), &[("state", "0")]).done();
        assert_eq!(lobby(&cast.guest, &cast.room), (0, 0));
        assert_eq!(cast.owner.last_message(&cast.room)["systemMessage"], "lobby_none");
    }
    cast.owner.put(cast.room.at("/webinarys/lobby"), &[("state", "1")]).invalid_query();
}

#[test]
fn nobody_else_may() {
    let cast = Cast::in_public();
    let path = cast.room.at("/webinar/lobby");
    for who in cast.without_login() {
        who.put(&path, &[("state", "1")]).not_logged_in();
    }
    for who in [&cast.member, &cast.self_joined] {
        who.put(&path, &[("state", "1")]).refused(403, Empty);
        who.put(&path, &[]).refused(403, Empty);
    }
    cast.outsider.put(&path, &[("state", "1")]).refused(404, Empty);
    cast.owner.put("/room/nosuchroom/webinar/lobby", &[("state", "1")]).refused(404, Empty);
    assert_eq!(lobby(&cast.owner, &cast.room), (0, 0));
}

#[test]
fn a_pair_has_no_lobby() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.talks_to("bob");
    for state in ["0", "1", "2"] {
        alice.put(room.at("/webinar/lobby"), &[("state", state)]).refused(400, Null);
    }
    alice.put(room.at("/webinar/lobby"), &[]).invalid_query();
}

#[test]
fn there_are_two_states() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    for state in ["2", "-1", "3", "256"] {
        alice.put(room.at("/webinar/lobby"), &[("state", state), ("timer", LATER)]).refused(400, Null);
    }
    alice.put(room.at("/webinar/lobby"), &[("timer", LATER)]).invalid_query();
    assert_eq!(lobby(&alice, &room), (0, 0));
}

#[test]
fn the_same_state_again_is_not_announced_but_sets_the_timer() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    alice.sets_lobby(&room, "1");
    let closed = alice.last_message(&room)["id"].clone();
    alice.put(room.at("/webinar/lobby"), &[("state", "1"), ("timer", LATER)]).done();
    assert_eq!(lobby(&alice, &room), (1, 4_102_444_800));
    alice.put(room.at("/webinar/lobby"), &[("state", "1")]).done();
    assert_eq!(lobby(&alice, &room), (1, 0), "a timer that is not sent is cleared");
    assert_eq!(alice.last_message(&room)["id"], closed);
}

#[test]
fn no_timer_can_be_said_in_several_ways() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    for none in [json!(null), json!(0), json!(""), json!(-5), json!("soon")] {
        alice.put(room.at("/webinar/lobby"), &[("state", "1"), ("timer", LATER)]).done();
        let request = Request::new("PUT", room.at("/webinar/lobby")).json(&json!({"state": 1, "timer": none}));
        alice.send(request).done();
        assert_eq!(lobby(&alice, &room), (1, 0), "for {none}");
    }
}

#[test]
fn a_time_beyond_the_year_9999_is_no_time() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    alice.put(room.at("/webinar/lobby"), &[("state", "1"), ("timer", "99999999999999")]).invalid_query();
    assert_eq!(lobby(&alice, &room), (0, 0));
}

#[test]
fn a_timer_in_the_past_opens_the_lobby_on_the_next_look() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.put(room.at("/webinar/lobby"), &[("state", "1"), ("timer", "1")]).done();
    // The look that opens it still shows the timer.
    assert_eq!(lobby(&bob, &room), (0, 1));
    assert_eq!(lobby(&bob, &room), (0, 0));
    let message = alice.last_message(&room);
    assert_eq!(message["systemMessage"], "lobby_timer_reached");
    assert_eq!(message["actorId"], "bob", "whoever looked first");
    assert_eq!(message["message"], "The conversation is now open to everyone");
}

#[test]
fn an_expired_timer_lets_everybody_in_at_once() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.put(room.at("/webinar/lobby"), &[("state", "1"), ("timer", "1")]).done();
    assert_eq!(bob.participants(&room).len(), 2, "the gate looks at the timer too");
    assert_eq!(lobby(&alice, &room), (0, 0));
}

#[test]
fn a_timer_on_an_open_lobby_runs_out_silently() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    alice.put(room.at("/webinar/lobby"), &[("state", "0"), ("timer", "1")]).done();
    assert_eq!(lobby(&alice, &room), (0, 1));
    assert_eq!(lobby(&alice, &room), (0, 0));
    assert_eq!(alice.last_message(&room)["systemMessage"], "conversation_created");
}

#[test]
fn a_promotion_ends_the_waiting() {
    let cast = Cast::in_public();
    cast.owner.sets_lobby(&cast.room, "1");
    cast.member.get(cast.room.at("/participants")).refused(412, Empty);
    cast.owner.promotes(&cast.room, "carol");
    assert_eq!(cast.member.participants(&cast.room).len(), 6);
    cast.owner.promotes_guest(&cast.room, &cast.guest_session);
    assert_eq!(cast.guest.participants(&cast.room).len(), 6);
}

#[test]
fn who_waits_may_still_leave() {
    let cast = Cast::in_public();
    cast.owner.sets_lobby(&cast.room, "1");
    cast.member.post(cast.room.at("/notify"), &[("level", "3")]).done();
    cast.member.removes_themselves(&cast.room);
    cast.self_joined.leaves(&cast.room);
    cast.guest.leaves(&cast.room);
    assert_eq!(cast.owner.participants(&cast.room).len(), 3);
}
