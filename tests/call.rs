//! `/call/{token}`: starting, joining and leaving calls, and who is in one.

mod support;

use serde_json::{Value, json};
use support::Message::{Empty, Null, Text};
use support::{Cast, Person, Room, Server};

/// alice and bob in a group conversation, both there.
fn two() -> (Server, Person, Person, Room) {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.joins(&room);
    bob.joins(&room);
    (server, alice, bob, room)
}

#[track_caller]
fn calls(who: &Person, room: &Room) {
    who.post(room.call(), &[]).done();
}

#[track_caller]
fn hangs_up(who: &Person, room: &Room) {
    who.delete(room.call(), &[]).done();
}

/// The keys of the newest system messages, newest first.
#[track_caller]
fn newest(who: &Person, room: &Room, count: usize) -> Vec<String> {
    let history = who.reads_history(room);
    history[..count].iter().map(|message| message["systemMessage"].as_str().unwrap().to_owned()).collect()
}

/// The user ids in the call, guests as empty.
#[track_caller]
fn peers(who: &Person, room: &Room) -> Vec<String> {
    let data = who.get(room.call()).expect(200);
    let mut ids: Vec<String> =
        data.as_array().unwrap().iter().map(|peer| peer["userId"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn a_call_of_two_from_beginning_to_end() {
    let (_server, alice, bob, room) = two();
    assert_eq!(alice.sees(&room)["hasCall"], false);
    calls(&alice, &room);
    let seen = bob.sees(&room);
    assert_eq!(
        (&seen["hasCall"], &seen["participantInCall"], &seen["participantFlags"]),
        (&json!(true), &json!(false), &json!(0))
    );
    assert_eq!(seen["participants"]["alice"]["call"], 7);
    assert_eq!(seen["lastMessage"]["message"], "{actor} started a call");
    calls(&bob, &room);
    assert_eq!(
        (&bob.sees(&room)["participantInCall"], &bob.sees(&room)["participantFlags"]),
        (&json!(true), &json!(7))
    );
    assert_eq!(bob.last_message(&room)["message"], "You joined the call");
    hangs_up(&alice, &room);
    assert_eq!(alice.last_message(&room)["message"], "You left the call");
    assert_eq!(bob.sees(&room)["hasCall"], true);
    hangs_up(&bob, &room);
    assert_eq!(alice.sees(&room)["hasCall"], false);
    let keys = ["call_ended", "call_left", "call_left", "call_joined", "call_started"];
    assert_eq!(newest(&alice, &room, 5), keys);
    let ended = alice.last_message(&room);
    let text = ended["message"].as_str().unwrap();
    assert!(text.starts_with("Call with {user1} and {user2} (Duration 0:"), "{text}");
    let mut ids: Vec<&Value> =
        ended["messageParameters"].as_object().unwrap().values().map(|user| &user["id"]).collect();
    ids.sort_by_key(|id| id.to_string());
    assert_eq!(ids, ["alice", "bob"]);
}

#[test]
fn a_call_that_nobody_joined_ends_silently() {
    let (_server, alice, _, room) = two();
    calls(&alice, &room);
    hangs_up(&alice, &room);
    assert_eq!(newest(&alice, &room, 2), ["call_left", "call_started"]);
    assert_eq!(alice.sees(&room)["hasCall"], false);
}

#[test]
fn the_flags_say_what_one_sends() {
    let (_server, alice, bob, room) = two();
    for (sent, kept) in [("1", 1), ("3", 3), ("5", 5), ("7", 7)] {
        alice.post(room.call(), &[("flags", sent)]).done();
        let seen = alice.sees(&room);
        assert_eq!((&seen["participantFlags"], &seen["participantInCall"]), (&json!(kept), &json!(true)));
        let entry = bob.participants(&room).into_iter().find(|entry| entry["userId"] == "alice").unwrap();
        assert_eq!(entry["inCall"], kept);
    }
    assert_eq!(newest(&alice, &room, 4), ["call_joined", "call_joined", "call_joined", "call_started"]);
    alice.post(room.call(), &[("flags", "0")]).done();
    assert_eq!((&alice.sees(&room)["participantFlags"], &alice.sees(&room)["hasCall"]), (&json!(0), &json!(false)));
}

#[test]
fn one_must_be_there_to_call() {
    let (server, alice, bob, room) = two();
    bob.leaves(&room);
    bob.post(room.call(), &[]).refused(404, Null);
    bob.delete(room.call(), &[]).refused(404, Null);
    calls(&alice, &room);
    hangs_up(&alice, &room);
    hangs_up(&alice, &room);
    assert_eq!(newest(&alice, &room, 2), ["call_left", "call_started"], "who was not in it did not leave it");
    for who in [server.user("dave"), server.guest(), server.stranger()] {
        who.get(room.call()).refused(404, Empty);
        who.post(room.call(), &[]).refused(404, Empty);
        who.delete(room.call(), &[]).refused(404, Empty);
    }
}

#[test]
fn everybody_inside_calls_and_sees_who_else_does() {
    let cast = Cast::in_public();
    for who in [&cast.owner, &cast.moderator, &cast.member] {
        who.joins(&cast.room);
    }
    let session = cast.owner.sees(&cast.room)["sessionId"].clone();
    calls(&cast.owner, &cast.room);
    let seen = cast.member.get(cast.room.call()).expect(200);
    let ping = &seen[0]["lastPing"];
    assert_eq!(seen, json!([{"userId": "alice", "token": cast.room.token, "lastPing": ping, "sessionId": session}]));
    for who in [&cast.moderator, &cast.guest, &cast.guest_moderator, &cast.self_joined] {
        calls(who, &cast.room);
    }
    for who in cast.moderators().into_iter().chain(cast.others()) {
        assert_eq!(peers(who, &cast.room), ["", "", "alice", "bob", "erin"]);
    }
    let owner = &cast.owner;
    owner.sees(&cast.room)["participants"].as_object().unwrap().iter().for_each(|(id, entry)| {
        assert_eq!(entry["call"], if id == "carol" { 0 } else { 7 }, "{id}");
    });
    assert_eq!(cast.owner.last_message(&cast.room)["systemMessage"], "call_joined");
}

#[test]
fn read_only_stops_calls_from_being_joined_but_not_from_being_left() {
    let (_server, alice, bob, room) = two();
    calls(&alice, &room);
    alice.sets_read_only(&room, "1");
    assert_eq!(alice.sees(&room)["participantInCall"], true, "it is not ended");
    for who in [&alice, &bob] {
        who.post(room.call(), &[]).refused(403, Empty);
        who.get(room.call()).refused(403, Empty);
    }
    hangs_up(&alice, &room);
    assert_eq!(alice.sees(&room)["hasCall"], false);
}

#[test]
fn closing_the_lobby_throws_out_those_who_must_wait() {
    let cast = Cast::in_public();
    for who in [&cast.owner, &cast.moderator, &cast.member] {
        who.joins(&cast.room);
        calls(who, &cast.room);
    }
    cast.owner.sets_lobby(&cast.room, "1");
    assert_eq!(peers(&cast.owner, &cast.room), ["alice", "bob"]);
    assert_eq!(newest(&cast.owner, &cast.room, 2), ["call_left", "lobby_non_moderators"]);
    assert_eq!(cast.owner.last_message(&cast.room)["actorId"], "carol");
    cast.member.post(cast.room.call(), &[]).refused(412, Empty);
    cast.member.get(cast.room.call()).refused(412, Empty);
    hangs_up(&cast.member, &cast.room);
    calls(&cast.guest_moderator, &cast.room);
}

#[test]
fn leaving_the_conversation_ends_ones_call() {
    let (_server, alice, bob, room) = two();
    calls(&alice, &room);
    calls(&bob, &room);
    bob.leaves(&room);
    assert_eq!(peers(&alice, &room), ["alice"]);
    assert_eq!(newest(&alice, &room, 1), ["call_joined"], "without a word");
    alice.leaves(&room);
    let seen = alice.sees(&room);
    assert_eq!((&seen["hasCall"], &seen["participantFlags"]), (&json!(false), &json!(0)));
    assert_eq!(newest(&alice, &room, 1), ["call_ended"]);
}

#[test]
fn removing_the_last_one_ends_the_call() {
    let cast = Cast::in_public();
    cast.member.joins(&cast.room);
    calls(&cast.member, &cast.room);
    cast.owner.removes(&cast.room, "carol");
    assert_eq!(cast.owner.sees(&cast.room)["hasCall"], false);
    calls(&cast.guest, &cast.room);
    assert_eq!(cast.owner.sees(&cast.room)["hasCall"], true);
    cast.owner.delete(cast.room.at("/participants/guests"), &[("participant", &cast.guest_session)]).done();
    assert_eq!(cast.owner.sees(&cast.room)["hasCall"], false);
}

#[test]
fn rejoining_the_conversation_does_not_end_the_call() {
    let (_server, alice, _, room) = two();
    calls(&alice, &room);
    alice.joins(&room);
    assert_eq!((&alice.sees(&room)["participantFlags"], &alice.sees(&room)["hasCall"]), (&json!(7), &json!(true)));
}

#[test]
fn the_administrator_decides_who_starts_calls_and_everybody_joins() {
    for (setting, refused) in [("1", vec!["guest"]), ("2", vec!["guest", "member"])] {
        let cast = Cast::on(Server::with_config(&format!("[talk]\nstart_calls = {setting}")));
        cast.owner.joins(&cast.room);
        cast.member.joins(&cast.room);
        for (role, who) in [("guest", &cast.guest), ("member", &cast.member), ("owner", &cast.owner)] {
            let answer = who.post(cast.room.call(), &[]);
            if refused.contains(&role) {
                answer.refused(403, Text("Can not start a call"));
            } else {
                answer.done();
                hangs_up(who, &cast.room);
            }
        }
        calls(&cast.owner, &cast.room);
        calls(&cast.guest, &cast.room);
        calls(&cast.member, &cast.room);
    }
}

#[test]
fn calling_brings_back_who_left_a_conversation_of_two() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.talks_to("bob");
    bob.removes_themselves(&room);
    alice.post(room.call(), &[]).refused(404, Null);
    assert_eq!(bob.sees(&room)["participantType"], 1, "even though the call was refused");
    bob.removes_themselves(&room);
    alice.joins(&room);
    calls(&alice, &room);
    assert_eq!(bob.sees(&room)["hasCall"], true);
}
