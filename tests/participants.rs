//! `/room/{token}/participants`, `…/participants/self`, `…/participants/guests` and `/room/{token}/moderators`: who
//! takes part, and as what.

mod support;

use serde_json::{Value, json};
use support::Message::{Empty, Null};
use support::{Cast, Person, Request, Room, Server};

/// The type under which somebody is listed, or none.
#[track_caller]
fn type_of(cast: &Cast, id: &str) -> Option<i64> {
    let list = cast.owner.participants(&cast.room);
    list.iter().find(|entry| entry["userId"] == id || entry["sessionId"] == id)?["participantType"].as_i64()
}

// The list

#[test]
fn users_are_listed_before_guests_with_these_fields() {
    let cast = Cast::in_public();
    cast.guest.post(format!("/guest/{}/name", cast.room), &[("displayName", "Ana")]).done();
    let list = cast.member.participants(&cast.room);
    let (users, guests) = list.split_at(4);
    let erin = users.iter().find(|entry| entry["userId"] == "erin").unwrap();
    assert_eq!(erin["participantType"], 5);
    assert!((erin["lastPing"].as_i64().unwrap() - support::now()).abs() < 60);
    let alice = users.iter().find(|entry| entry["userId"] == "alice").unwrap();
    assert_eq!(
        alice,
        &json!({
            "inCall": 0, "lastPing": 0, "sessionId": "0", "participantType": 1, "userId": "alice",
            "displayName": "Alice Archer"
        })
    );
    let keys = |entry: &Value| entry.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(alice), ["inCall", "lastPing", "sessionId", "participantType", "userId", "displayName"]);
    assert_eq!(keys(&guests[0]), ["inCall", "lastPing", "participantType", "sessionId", "userId", "displayName"]);
    let ana = guests.iter().find(|entry| entry["participantType"] == 4).unwrap();
    assert_eq!((&ana["userId"], &ana["displayName"]), (&json!(""), &json!("Ana")));
    assert_eq!(ana["sessionId"], cast.guest_session);
    let other = guests.iter().find(|entry| entry["participantType"] == 6).unwrap();
    assert_eq!(other["displayName"], "");
}

#[test]
fn plain_guests_and_outsiders_do_not_get_the_list() {
    let cast = Cast::in_public();
    let path = cast.room.at("/participants");
    for who in [&cast.owner, &cast.moderator, &cast.member, &cast.self_joined, &cast.guest_moderator] {
        assert_eq!(who.participants(&cast.room).len(), 6);
    }
    cast.guest.get(&path).refused(403, Null);
    for who in cast.outside() {
        who.get(&path).refused(404, Empty);
    }
    cast.owner.sets_lobby(&cast.room, "1");
    for who in cast.others() {
        who.get(&path).refused(412, Empty);
    }
    for who in cast.moderators() {
        assert_eq!(who.participants(&cast.room).len(), 6);
    }
}

// Adding

#[test]
fn moderators_with_an_account_add_people() {
    let cast = Cast::in_public();
    let path = cast.room.at("/participants");
    cast.owner.adds(&cast.room, "dave");
    cast.moderator.adds(&cast.room, "frank");
    for id in ["dave", "frank"] {
        assert_eq!(type_of(&cast, id), Some(3));
        assert_eq!(cast.server.user(id).lists().len(), 1);
    }
    for who in cast.without_login() {
        who.post(&path, &[("newParticipant", "hans")]).not_logged_in();
    }
    for who in [&cast.member, &cast.self_joined] {
        who.post(&path, &[("newParticipant", "hans")]).refused(403, Empty);
        who.post(&path, &[]).refused(403, Empty);
    }
    cast.server.user("gina rossi").post(&path, &[("newParticipant", "hans")]).refused(404, Empty);
    assert_eq!(type_of(&cast, "hans"), None);
}

#[test]
fn nobody_is_added_who_does_not_exist() {
    let cast = Cast::in_public();
    let path = cast.room.at("/participants");
    cast.owner.post(&path, &[("newParticipant", "nobody")]).refused(404, Null);
    cast.owner.post(&path, &[("newParticipant", "")]).refused(404, Null);
    cast.owner.post(&path, &[("newParticipant", "nobodies"), ("source", "groups")]).refused(404, Null);
    cast.owner.post(&path, &[("newParticipant", "nothing"), ("source", "circles")]).refused(404, Null);
    cast.owner.post(&path, &[("newParticipant", "dave"), ("source", "remotes")]).refused(400, Null);
    cast.owner.post(&path, &[("newParticipant", "dave"), ("source", "Users")]).refused(400, Null);
    cast.owner.post(&path, &[("newParticipant", "dave"), ("source", "")]).refused(400, Null);
    cast.owner.post(&path, &[("source", "users")]).invalid_query();
    cast.owner.send(Request::new("POST", &path).json(&json!({"newParticipant": 5}))).invalid_query();
    assert_eq!(cast.owner.participants(&cast.room).len(), 6);
}

#[test]
fn who_takes_part_already_stays_what_they_are() {
    let cast = Cast::in_public();
    for (id, kind) in [("alice", 1), ("bob", 2), ("carol", 3), ("erin", 5)] {
        let before = cast.owner.last_message(&cast.room)["id"].clone();
        cast.owner.adds(&cast.room, id);
        assert_eq!(type_of(&cast, id), Some(kind));
        assert_eq!(cast.owner.last_message(&cast.room)["id"], before);
    }
}

#[test]
fn groups_and_circles_add_those_who_are_missing() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let add = |id: &str, source: &str| {
        alice.post(room.at("/participants"), &[("newParticipant", id), ("source", source)]).done();
        alice.participants(&room).len()
    };
    assert_eq!(add("empty", "groups"), 1);
    assert_eq!(add("team", "groups"), 3);
    assert_eq!(add("team", "groups"), 3);
    assert_eq!(add("circle2", "circles"), 3);
    assert_eq!(add("circle1", "circles"), 3);
    assert_eq!(add("all", "groups"), 6);
    assert_eq!(alice.sees(&room)["participants"]["frank"]["type"], 3);
    let added = alice.reads_history(&room).iter().filter(|m| m["systemMessage"] == "user_added").count();
    assert_eq!(added, 5, "one message for each");
}

#[test]
fn inviting_by_mail_opens_the_conversation() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let by_mail = [("newParticipant", "ana@example.org"), ("source", "emails")];
    for _ in 0..2 {
        let data = alice.post(room.at("/participants"), &by_mail).expect(200);
        assert_eq!(data, json!({"type": 3}));
        assert_eq!(alice.sees(&room)["type"], 3);
        assert_eq!(alice.participants(&room).len(), 1);
    }
    assert_eq!(alice.last_message(&room)["systemMessage"], "guests_allowed");
}

#[test]
fn a_mail_address_without_shape_is_refused_before_anything_is_opened() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    for address in ["ana", "", "@example.org", "ana@"] {
        let form = [("newParticipant", address), ("source", "emails")];
        alice.post(room.at("/participants"), &form).refused(400, Null);
    }
    assert_eq!(alice.sees(&room)["type"], 2);
}

#[test]
fn nobody_joins_a_pair() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.talks_to("bob");
    for (id, source) in [("carol", "users"), ("team", "groups"), ("ana@example.org", "emails"), ("nobody", "users")] {
        alice.post(room.at("/participants"), &[("newParticipant", id), ("source", source)]).refused(400, Null);
    }
    assert_eq!(alice.participants(&room).len(), 2);
}

#[test]
fn who_is_added_starts_with_everything_read() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    let last = alice.last_message(&room)["id"].clone();
    alice.adds(&room, "bob");
    let seen = bob.sees(&room);
    assert_eq!((&seen["lastReadMessage"], &seen["unreadMessages"]), (&last, &json!(0)));
}

// Removing

#[test]
fn moderators_remove_members_and_moderators_but_no_owner() {
    let cast = Cast::in_public();
    cast.owner.adds(&cast.room, "dave");
    cast.owner.promotes(&cast.room, "dave");
    for who in [&cast.moderator, &cast.guest_moderator] {
        who.delete(cast.room.at("/participants"), &[("participant", "alice")]).refused(403, Null);
    }
    cast.moderator.removes(&cast.room, "dave");
    cast.guest_moderator.removes(&cast.room, "carol");
    cast.owner.removes(&cast.room, "erin");
    cast.owner.removes(&cast.room, "bob");
    for id in ["bob", "carol", "dave", "erin"] {
        assert_eq!(type_of(&cast, id), None);
        assert_eq!(cast.server.user(id).lists().len(), 0);
    }
    assert_eq!(type_of(&cast, "alice"), Some(1));
    assert_eq!(cast.owner.last_message(&cast.room)["systemMessage"], "user_removed");
}

#[test]
fn others_remove_nobody() {
    let cast = Cast::in_public();
    let path = cast.room.at("/participants");
    for who in cast.others() {
        for target in ["bob", "alice", "nobody"] {
            who.delete(&path, &[("participant", target)]).refused(403, Null);
        }
        who.delete(&path, &[]).invalid_query();
    }
    for who in cast.outside() {
        who.delete(&path, &[("participant", "bob")]).refused(404, Empty);
        who.delete(&path, &[]).refused(404, Empty);
    }
    assert_eq!(cast.owner.participants(&cast.room).len(), 6);
}

#[test]
fn only_those_who_take_part_can_be_removed() {
    let cast = Cast::in_public();
    for target in ["dave", "nobody", "", &cast.guest_session] {
        cast.owner.delete(cast.room.at("/participants"), &[("participant", target)]).refused(404, Null);
    }
    let room = cast.owner.talks_to("bob");
    cast.owner.delete(room.at("/participants"), &[("participant", "bob")]).refused(400, Null);
    cast.owner.delete(room.at("/participants"), &[("participant", "nobody")]).refused(400, Null);
}

#[test]
fn who_was_removed_can_be_added_again() {
    let cast = Cast::in_public();
    cast.member.post(cast.room.at("/favorite"), &[]).done();
    cast.owner.removes(&cast.room, "carol");
    cast.owner.adds(&cast.room, "carol");
    let seen = cast.member.sees(&cast.room);
    assert_eq!((&seen["participantType"], &seen["isFavorite"]), (&json!(3), &json!(false)), "with nothing of before");
}

#[test]
fn the_removed_may_come_back_by_the_link() {
    let cast = Cast::in_public();
    cast.owner.removes(&cast.room, "carol");
    assert_eq!(cast.member.sees(&cast.room)["sessionId"], "0");
    cast.member.joins(&cast.room);
    assert_eq!(type_of(&cast, "carol"), Some(5));
}

#[test]
fn naming_oneself_is_leaving_for_good() {
    let cast = Cast::in_public();
    cast.member.removes(&cast.room, "carol");
    assert_eq!(cast.member.lists().len(), 0);
    let history = cast.owner.reads_history(&cast.room);
    assert_eq!(history[0]["message"], "{actor} left the conversation");
    // The owner is not the only moderator while bob is there.
    cast.owner.removes(&cast.room, "alice");
    assert_eq!(cast.owner.lists().len(), 0);
}

// Leaving for good

#[test]
fn members_leave_for_good() {
    let cast = Cast::in_public();
    for who in [&cast.member, &cast.moderator, &cast.self_joined] {
        who.removes_themselves(&cast.room);
        assert_eq!(who.lists().len(), 0);
        who.delete(cast.room.at("/participants/self"), &[]).refused(404, Empty);
    }
    for who in cast.without_login() {
        who.delete(cast.room.at("/participants/self"), &[]).not_logged_in();
    }
    cast.outsider.delete(cast.room.at("/participants/self"), &[]).refused(404, Empty);
}

#[test]
fn the_last_moderator_stays_while_others_do() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.delete(room.at("/participants/self"), &[]).refused(400, Null);
    alice.delete(room.at("/participants"), &[("participant", "alice")]).refused(400, Null);
    assert_eq!(alice.sees(&room)["participantType"], 1);
    alice.promotes(&room, "bob");
    alice.removes_themselves(&room);
    assert_eq!(bob.sees(&room)["participantType"], 2);
}

#[test]
fn the_last_one_takes_the_conversation_along() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    bob.removes_themselves(&room);
    alice.removes_themselves(&room);
    alice.cannot_find(&room);
    // Who came by the link does not count, and stands before a closed door.
    let room = alice.creates_public("Square");
    let guest = server.guest();
    bob.joins(&room);
    guest.joins(&room);
    alice.removes_themselves(&room);
    for who in [&alice, &bob, &guest, &server.stranger()] {
        who.cannot_find(&room);
    }
}

#[test]
fn a_guest_moderator_keeps_the_owner_from_leaving() {
    let server = Server::start();
    let (alice, guest) = (server.user("alice"), server.guest());
    let room = alice.creates_public("Square");
    let session = guest.joins(&room);
    alice.promotes_guest(&room, &session);
    alice.delete(room.at("/participants/self"), &[]).refused(400, Null);
}

#[test]
fn who_joined_by_the_link_never_takes_it_along() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_public("Square");
    bob.joins(&room);
    bob.removes_themselves(&room);
    assert_eq!(alice.sees(&room)["name"], "Square");
    assert_eq!(alice.last_message(&room)["message"], "{actor} left the conversation");
}

// Guests

#[test]
fn moderators_show_guests_the_door() {
    let cast = Cast::in_public();
    let path = cast.room.at("/participants/guests");
    let second = cast.server.guest();
    let second_session = second.joins(&cast.room);
    for who in cast.others() {
        who.delete(&path, &[("participant", &second_session)]).refused(403, Empty);
    }
    for who in cast.outside() {
        who.delete(&path, &[("participant", &second_session)]).refused(404, Empty);
    }
    cast.guest_moderator.delete(&path, &[("participant", &second_session)]).done();
    assert_eq!(second.sees(&cast.room)["sessionId"], "0");
    cast.moderator.delete(&path, &[("participant", &cast.guest_session)]).done();
    cast.owner.delete(&path, &[("participant", &cast.guest_moderator_session)]).done();
    assert_eq!(cast.owner.sees(&cast.room)["numGuests"], 0);
}

#[test]
fn only_a_guest_can_be_shown_the_door_and_nobody_does_it_to_themselves() {
    let cast = Cast::in_public();
    let path = cast.room.at("/participants/guests");
    cast.owner.delete(&path, &[]).invalid_query();
    for unknown in ["no such session", "carol"] {
        cast.owner.delete(&path, &[("participant", unknown)]).refused(404, Null);
    }
    let session = cast.member.joins(&cast.room);
    cast.owner.delete(&path, &[("participant", &session)]).refused(400, Null);
    cast.guest_moderator.delete(&path, &[("participant", &cast.guest_moderator_session)]).refused(403, Null);
    // A guest of another conversation is not one of this.
    let (other, guest) = (cast.owner.creates_public("Circus"), cast.server.guest());
    let elsewhere = guest.joins(&other);
    cast.owner.delete(&path, &[("participant", &elsewhere)]).refused(404, Null);
    assert_eq!(guest.sees(&other)["sessionId"], elsewhere);
}

// Moderators

#[test]
fn moderators_promote_and_demote_people() {
    let cast = Cast::in_public();
    let path = cast.room.at("/moderators");
    for who in cast.moderators() {
        who.promotes(&cast.room, "carol");
        assert_eq!(type_of(&cast, "carol"), Some(2));
        assert_eq!(cast.owner.last_message(&cast.room)["systemMessage"], "moderator_promoted");
        who.delete(&path, &[("participant", "carol")]).done();
        assert_eq!(type_of(&cast, "carol"), Some(3));
        assert_eq!(cast.owner.last_message(&cast.room)["systemMessage"], "moderator_demoted");
    }
    for who in cast.others() {
        who.post(&path, &[("participant", "carol")]).refused(403, Empty);
        who.delete(&path, &[("participant", "bob")]).refused(403, Empty);
        who.post(&path, &[]).refused(403, Empty);
    }
    for who in cast.outside() {
        who.post(&path, &[("participant", "carol")]).refused(404, Empty);
        who.delete(&path, &[("participant", "bob")]).refused(404, Empty);
    }
}

#[test]
fn only_plain_members_are_promoted_and_only_moderators_demoted() {
    let cast = Cast::in_public();
    let path = cast.room.at("/moderators");
    for id in ["alice", "bob", "erin"] {
        cast.owner.post(&path, &[("participant", id)]).refused(400, Null);
    }
    for id in ["carol", "erin"] {
        cast.owner.delete(&path, &[("participant", id)]).refused(400, Null);
    }
    cast.moderator.delete(&path, &[("participant", "alice")]).refused(400, Null);
    for id in ["dave", "nobody", ""] {
        cast.owner.post(&path, &[("participant", id)]).refused(404, Null);
        cast.owner.delete(&path, &[("participant", id)]).refused(404, Null);
    }
    cast.owner.post(&path, &[]).invalid_query();
    cast.owner.delete(&path, &[]).invalid_query();
}

#[test]
fn nobody_demotes_themselves() {
    let cast = Cast::in_public();
    let path = cast.room.at("/moderators");
    cast.owner.delete(&path, &[("participant", "alice")]).refused(403, Null);
    cast.moderator.delete(&path, &[("participant", "bob")]).refused(403, Null);
    cast.guest_moderator.delete(&path, &[("sessionId", &cast.guest_moderator_session)]).refused(403, Null);
    assert_eq!((type_of(&cast, "alice"), type_of(&cast, "bob")), (Some(1), Some(2)));
}

#[test]
fn guests_are_promoted_and_demoted_by_their_session() {
    let cast = Cast::in_public();
    let path = cast.room.at("/moderators");
    let guest = [("sessionId", cast.guest_session.as_str())];
    for who in cast.moderators() {
        who.post(&path, &guest).done();
        assert_eq!(cast.guest.sees(&cast.room)["participantType"], 6);
        who.post(&path, &guest).refused(400, Null);
        who.delete(&path, &guest).done();
        assert_eq!(cast.guest.sees(&cast.room)["participantType"], 4);
        who.delete(&path, &guest).refused(400, Null);
    }
    for unknown in ["no such session", ""] {
        cast.owner.post(&path, &[("sessionId", unknown)]).refused(404, Null);
    }
    let session = cast.member.joins(&cast.room);
    cast.owner.post(&path, &[("sessionId", &session)]).refused(400, Null);
    let session = cast.moderator.joins(&cast.room);
    cast.owner.delete(&path, &[("sessionId", &session)]).refused(400, Null);
    cast.moderator.delete(&path, &[("sessionId", &session)]).refused(403, Null);
    // A user's id goes before a session.
    cast.owner.post(&path, &[("participant", "carol"), guest[0]]).done();
    assert_eq!((type_of(&cast, "carol"), type_of(&cast, &cast.guest_session)), (Some(2), Some(4)));
}

#[test]
fn a_pair_has_no_ranks() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.talks_to("bob");
    for id in ["alice", "bob"] {
        alice.post(room.at("/moderators"), &[("participant", id)]).refused(400, Null);
    }
    alice.delete(room.at("/moderators"), &[("participant", "bob")]).refused(400, Null);
    alice.delete(room.at("/moderators"), &[("participant", "alice")]).refused(403, Null);
    alice.post(room.at("/moderators"), &[("participant", "carol")]).refused(404, Null);
}

#[test]
fn who_is_promoted_can_moderate_and_who_is_demoted_cannot() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room: Room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    let renames = |who: &Person| who.put(room.at(""), &[("roomName", "Bob's")]);
    renames(&bob).refused(403, Empty);
    alice.promotes(&room, "bob");
    renames(&bob).done();
    alice.delete(room.at("/moderators"), &[("participant", "bob")]).done();
    renames(&bob).refused(403, Empty);
}
