//! Conversations of two: made once, found again, left and filled up again.

mod support;

use serde_json::json;
use support::Message::{Empty, Null};
use support::{Person, Request, Room, Server, now};

#[track_caller]
fn ids(who: &Person, room: &Room) -> Vec<String> {
    let mut ids: Vec<String> =
        who.participants(room).iter().map(|entry| entry["userId"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn both_own_it_and_each_sees_the_other() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let made = alice.post("/room", &[("roomType", "1"), ("invite", "bob"), ("roomName", "Ignored")]).expect(201);
    assert_eq!((&made["type"], &made["name"], &made["displayName"]), (&json!(1), &json!("bob"), &json!("Bob Baker")));
    let room = Room::of(&made);
    let seen = bob.sees(&room);
    assert_eq!((&seen["name"], &seen["displayName"]), (&json!("alice"), &json!("Alice Archer")));
    for who in [&alice, &bob] {
        assert_eq!(who.sees(&room)["participantType"], 1);
        assert_eq!(who.last_message(&room)["systemMessage"], "conversation_created");
    }
    server.user("carol").cannot_find(&room);
}

#[test]
fn somebody_without_a_display_name_goes_by_their_id() {
    let server = Server::start();
    let room = server.user("alice").talks_to("hans");
    assert_eq!(server.user("alice").sees(&room)["displayName"], "hans");
}

#[test]
fn a_second_time_finds_the_first() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.talks_to("bob");
    for (who, other) in [(&alice, "bob"), (&bob, "alice")] {
        let found = who.post("/room", &[("roomType", "1"), ("invite", other)]).expect(200);
        assert_eq!(Room::of(&found), room);
        assert_eq!(found["lastMessage"]["systemMessage"], "conversation_created");
    }
    assert_ne!(alice.talks_to("carol"), room);
    assert_eq!(alice.lists().len(), 2);
}

#[test]
fn the_id_is_the_one_that_the_accounts_have() {
    let server = Server::start();
    let room = server.user("alice").talks_to("bob");
    assert_eq!(server.user("alice").talks_to("BOB"), room, "as Nextcloud does, whatever the spelling");
    server.user("alice").post("/room", &[("roomType", "1"), ("invite", "ALICE")]).refused(403, Null);
}

#[test]
fn who_stays_behind_still_sees_who_left() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.talks_to("bob");
    let before = alice.last_message(&room)["id"].clone();
    bob.removes_themselves(&room);
    bob.cannot_find(&room);
    assert_eq!(bob.lists().len(), 0);
    let seen = alice.sees(&room);
    assert_eq!((&seen["name"], &seen["displayName"]), (&json!("bob"), &json!("Bob Baker")));
    assert_eq!(ids(&alice, &room), ["alice"]);
    assert_eq!(alice.last_message(&room)["id"], before, "nothing is announced");
}

#[test]
fn either_of_them_fills_it_up_again_by_asking_for_it() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.talks_to("bob");
    for (asker, other) in [(&alice, "bob"), (&bob, "alice")] {
        bob.removes_themselves(&room);
        let found = asker.post("/room", &[("roomType", "1"), ("invite", other)]).expect(200);
        assert_eq!(Room::of(&found), room);
        assert_eq!(ids(&alice, &room), ["alice", "bob"]);
        assert_eq!(bob.sees(&room)["participantType"], 1);
        assert_eq!(bob.sees(&room)["name"], "alice");
    }
    assert_eq!(alice.last_message(&room)["systemMessage"], "conversation_created");
}

#[test]
fn joining_the_conversation_alone_brings_nobody_back() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.talks_to("bob");
    bob.removes_themselves(&room);
    alice.joins(&room);
    assert_eq!(ids(&alice, &room), ["alice"]);
    bob.post(room.at("/participants/active"), &[]).refused(404, Null);
}

#[test]
fn the_second_to_leave_ends_it() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.talks_to("bob");
    bob.removes_themselves(&room);
    alice.removes(&room, "alice");
    alice.cannot_find(&room);
    let next = bob.post("/room", &[("roomType", "1"), ("invite", "alice")]).expect(201);
    assert_ne!(Room::of(&next), room);
}

#[test]
fn it_cannot_become_anything_else() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.talks_to("bob");
    alice.put(room.at(""), &[("roomName", "Us")]).refused(400, Null);
    alice.post(room.at("/public"), &[]).refused(400, Null);
    alice.put(room.at("/password"), &[("password", "x")]).refused(403, Null);
    alice.put(room.at("/webinar/lobby"), &[("state", "1")]).refused(400, Null);
    alice.put(room.at("/read-only"), &[("state", "1")]).refused(400, Null);
    alice.post(room.at("/participants"), &[("newParticipant", "carol")]).refused(400, Null);
    alice.delete(room.at(""), &[]).refused(400, Null);
    let seen = alice.sees(&room);
    assert_eq!((&seen["type"], &seen["readOnly"], &seen["lobbyState"]), (&json!(1), &json!(0), &json!(0)));
}

#[test]
fn others_do_not_learn_that_it_exists() {
    let server = Server::start();
    let room = server.user("alice").talks_to("bob");
    for who in [server.user("carol"), server.guest()] {
        who.cannot_find(&room);
        who.get(room.at("/participants")).refused(404, Empty);
        who.delete(room.at(""), &[]).refused(404, Empty);
        who.post(room.at("/participants/active"), &[]).refused(404, Null);
    }
}

#[test]
fn two_who_ask_at_once_find_the_same_one() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let rooms: Vec<Room> = std::thread::scope(|scope| {
        let asking: Vec<_> = [(&alice, "bob"), (&bob, "alice")]
            .repeat(4)
            .into_iter()
            .map(|(who, other)| scope.spawn(move || who.talks_to(other)))
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(rooms.iter().all(|room| room == &rooms[0]), "{rooms:?}");
    assert_eq!(alice.lists().len(), 1);
}

#[test]
fn a_favourite_pair_and_its_times() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.talks_to("bob");
    alice.post(room.at("/favorite"), &[]).done();
    assert_eq!((&alice.sees(&room)["isFavorite"], &bob.sees(&room)["isFavorite"]), (&json!(true), &json!(false)));
    let activity = alice.sees(&room)["lastActivity"].as_i64().unwrap();
    assert!((activity - now()).abs() < 60);
    alice.send(Request::new("POST", "/room").query(&[("roomType", "1"), ("invite", "bob")])).expect(200);
    assert_eq!(alice.sees(&room)["lastActivity"], activity, "finding it again is no activity");
}
