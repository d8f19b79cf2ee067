//! `POST` and `DELETE /room/{token}/public`: letting guests in, and sending them away.

mod support;

use support::Message::{Empty, Null};
use support::{Cast, Server};

#[test]
fn a_moderator_opens_and_closes_a_group() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.promotes(&room, "bob");
    bob.post(room.at("/public"), &[]).done();
    assert_eq!(alice.sees(&room)["type"], 3);
    assert_eq!(alice.last_message(&room)["systemMessage"], "guests_allowed");
    assert_eq!(server.stranger().sees(&room)["type"], 3);
    bob.delete(room.at("/public"), &[]).done();
    assert_eq!(alice.sees(&room)["type"], 2);
    assert_eq!(alice.last_message(&room)["systemMessage"], "guests_disallowed");
    server.stranger().cannot_find(&room);
}

#[test]
fn what_is_so_already_is_a_bad_request() {
    let server = Server::start();
    let alice = server.user("alice");
    let (group, public) = (alice.creates_group("Plans"), alice.creates_public("Square"));
    alice.post(public.at("/public"), &[]).refused(400, Null);
    alice.delete(group.at("/public"), &[]).refused(400, Null);
    for room in [&group, &public] {
        assert_eq!(alice.last_message(room)["systemMessage"], "conversation_created");
    }
}

#[test]
fn a_one_to_one_conversation_stays_between_the_two() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.talks_to("bob");
    alice.post(room.at("/public"), &[]).refused(400, Null);
    alice.delete(room.at("/public"), &[]).refused(400, Null);
    assert_eq!(alice.sees(&room)["type"], 1);
}

#[test]
fn only_moderators_with_an_account_decide() {
    let cast = Cast::in_public();
    for who in cast.without_login() {
        who.delete(cast.room.at("/public"), &[]).not_logged_in();
        who.post(cast.room.at("/public"), &[]).not_logged_in();
    }
    for who in [&cast.member, &cast.self_joined] {
        who.delete(cast.room.at("/public"), &[]).refused(403, Empty);
        who.post(cast.room.at("/public"), &[]).refused(403, Empty);
    }
    cast.outsider.delete(cast.room.at("/public"), &[]).refused(404, Empty);
    cast.outsider.post("/room/nosuchroom/public", &[]).refused(404, Empty);
    assert_eq!(cast.owner.sees(&cast.room)["type"], 3);
}

#[test]
fn closing_sends_away_everybody_who_came_by_the_link() {
    let cast = Cast::in_public();
    cast.owner.delete(cast.room.at("/public"), &[]).done();
    for who in [&cast.guest, &cast.guest_moderator, &cast.self_joined] {
        who.cannot_find(&cast.room);
    }
    assert_eq!(cast.self_joined.lists().len(), 0);
    assert_eq!(cast.member.sees(&cast.room)["participantType"], 3);
    // The guest moderator's row stays, and finds the conversation again when it is opened.
    let mut types: Vec<i64> =
        cast.owner.participants(&cast.room).iter().map(|entry| entry["participantType"].as_i64().unwrap()).collect();
    types.sort_unstable();
    assert_eq!(types, [1, 2, 3, 6]);
    assert_eq!(cast.owner.last_message(&cast.room)["systemMessage"], "guests_disallowed");
    cast.owner.post(cast.room.at("/public"), &[]).done();
    assert_eq!(cast.guest_moderator.sees(&cast.room)["participantType"], 6);
    for who in [&cast.guest, &cast.self_joined] {
        assert_eq!(who.sees(&cast.room)["sessionId"], "0");
    }
}

#[test]
fn the_password_outlives_a_closed_time() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_locked("Square", "sesame");
    alice.delete(room.at("/public"), &[]).done();
    assert_eq!(alice.sees(&room)["hasPassword"], true);
    alice.post(room.at("/public"), &[]).done();
    let guest = server.guest();
    guest.post(room.at("/participants/active"), &[]).refused(403, Null);
    guest.joins_with_password(&room, "sesame");
}
