//! `POST` and `DELETE /room/{token}/participants/active`: being there, and not being there any more.

mod support;

use serde_json::json;
use support::Message::Null;
use support::{Cast, Request, Server};

#[test]
fn joining_answers_with_the_conversation_and_a_new_session() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let joined = alice.post(room.at("/participants/active"), &[]).expect(200);
    assert_eq!(joined, alice.sees(&room));
    assert_eq!(joined["participants"]["alice"]["sessionId"], joined["sessionId"]);
    assert_eq!(joined["lastMessage"]["systemMessage"], "conversation_created");
    assert!((joined["lastPing"].as_i64().unwrap() - support::now()).abs() < 60);
    assert_ne!(alice.joins(&room), joined["sessionId"], "a new session each time");
}

#[test]
fn each_role_keeps_its_rank_on_joining() {
    let cast = Cast::in_public();
    for (who, kind) in [(&cast.owner, 1), (&cast.moderator, 2), (&cast.member, 3), (&cast.self_joined, 5)] {
        let joined = who.post(cast.room.at("/participants/active"), &[]).expect(200);
        assert_eq!(joined["participantType"], kind);
    }
    assert_eq!(cast.owner.sees(&cast.room)["participants"].as_object().unwrap().len(), 4);
}

#[test]
fn outsiders_become_self_joined_users_and_nothing_is_announced() {
    let server = Server::start();
    let (alice, dave) = (server.user("alice"), server.user("dave"));
    let room = alice.creates_public("Square");
    dave.joins(&room);
    let seen = dave.sees(&room);
    assert_eq!((&seen["participantType"], &seen["notificationLevel"]), (&json!(5), &json!(2)));
    assert_eq!(alice.last_message(&room)["systemMessage"], "conversation_created");
}

#[test]
fn a_guest_who_joins_again_is_somebody_new() {
    let server = Server::start();
    let (alice, guest) = (server.user("alice"), server.guest());
    let room = alice.creates_public("Square");
    let first = guest.joins(&room);
    let second = guest.joins(&room);
    assert_ne!(first, second);
    assert_eq!(guest.sees(&room)["sessionId"], second);
    assert_eq!(alice.sees(&room)["numGuests"], 2, "the first one stays until it is swept");
}

#[test]
fn a_guest_is_in_several_conversations_at_once() {
    let server = Server::start();
    let (alice, guest) = (server.user("alice"), server.guest());
    let (square, circus) = (alice.creates_public("Square"), alice.creates_public("Circus"));
    let (in_square, in_circus) = (guest.joins(&square), guest.joins(&circus));
    assert_eq!(guest.sees(&square)["sessionId"], in_square);
    guest.leaves(&square);
    assert_eq!(guest.sees(&square)["sessionId"], "0");
    assert_eq!(guest.sees(&circus)["sessionId"], in_circus);
}

#[test]
fn who_sends_no_cookie_is_a_stranger_every_time() {
    let server = Server::start();
    let room = server.user("alice").creates_public("Square");
    let stranger = server.stranger();
    stranger.joins(&room);
    assert_eq!(stranger.sees(&room)["sessionId"], "0");
}

#[test]
fn only_participants_join_what_is_not_public() {
    let server = Server::start();
    let alice = server.user("alice");
    for room in [alice.creates_group("Plans"), alice.talks_to("bob")] {
        for who in [server.user("dave"), server.guest(), server.stranger(), server.wrong_password("alice")] {
            who.post(room.at("/participants/active"), &[]).refused(404, Null);
        }
    }
    alice.post("/room/nosuchroom/participants/active", &[]).refused(404, Null);
}

#[test]
fn neither_lobby_nor_read_only_keeps_anybody_from_joining() {
    let cast = Cast::in_public();
    cast.owner.sets_read_only(&cast.room, "1");
    cast.owner.sets_lobby(&cast.room, "1");
    for who in [&cast.member, &cast.self_joined, &cast.guest, &cast.outsider] {
        who.joins(&cast.room);
        who.leaves(&cast.room);
    }
}

#[test]
fn a_password_that_is_no_string_is_no_parameter() {
    let server = Server::start();
    let room = server.user("alice").creates_locked("Square", "1234");
    let guest = server.guest();
    let path = room.at("/participants/active");
    guest.send(Request::new("POST", &path).json(&json!({"password": 1234}))).invalid_query();
    guest.send(Request::new("POST", &path).json(&json!({"password": null}))).refused(403, Null);
    guest.send(Request::new("POST", &path).json(&json!({"password": "1234"}))).expect(200);
}

#[test]
fn members_leave_and_stay_members() {
    let cast = Cast::in_public();
    for who in [&cast.owner, &cast.moderator, &cast.member] {
        who.joins(&cast.room);
        let ping = who.sees(&cast.room)["lastPing"].clone();
        who.leaves(&cast.room);
        let seen = who.sees(&cast.room);
        assert_eq!((&seen["sessionId"], &seen["lastPing"]), (&json!("0"), &ping), "the ping stays");
        assert_eq!(who.lists().len(), 1);
    }
}

#[test]
fn who_came_by_the_link_is_gone_after_leaving() {
    let cast = Cast::in_public();
    for who in [&cast.self_joined, &cast.guest, &cast.guest_moderator] {
        who.leaves(&cast.room);
        assert_eq!(who.sees(&cast.room)["participantType"], 4);
        assert_eq!(who.sees(&cast.room)["name"], "");
    }
    assert_eq!(cast.owner.participants(&cast.room).len(), 3);
    assert_eq!(cast.self_joined.lists().len(), 0);
    assert_eq!(cast.owner.last_message(&cast.room)["systemMessage"], "guest_moderator_promoted", "nobody is told");
}

#[test]
fn leaving_always_works() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    for who in [&alice, &server.user("dave"), &server.guest(), &server.stranger()] {
        who.delete(room.at("/participants/active"), &[]).done();
        who.delete("/room/nosuchroom/participants/active", &[]).done();
    }
    assert_eq!(alice.sees(&room)["participantType"], 1);
}

#[test]
fn one_guest_leaving_does_not_take_another_along() {
    let cast = Cast::in_public();
    cast.guest.leaves(&cast.room);
    assert_eq!(cast.guest_moderator.sees(&cast.room)["sessionId"], cast.guest_moderator_session);
}

#[test]
fn a_user_who_joined_before_logging_in_is_not_that_guest_any_more() {
    let server = Server::start();
    let (alice, guest) = (server.user("alice"), server.guest());
    let room = alice.creates_public("Square");
    guest.joins(&room);
    let cookie = guest.cookie();
    let dave = server.user("dave");
    let answer =
        dave.send(Request::new("PUT", room.at("/password")).form(&[("password", "x")]).header("Cookie", &cookie));
    answer.refused(404, support::Message::Empty);
}
