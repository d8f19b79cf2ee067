//! `POST /room`: creating a conversation.

mod support;

use serde_json::{Value, json};
use support::Message::Null;
use support::{Person, Request, Room, Server};

fn members(room: &Value) -> Vec<&String> {
    room["participants"].as_object().expect("the participants by their id").keys().collect()
}

#[track_caller]
fn types_of(who: &Person, room: &Room) -> Vec<(String, i64)> {
    let entry =
        |entry: &Value| (entry["userId"].as_str().unwrap().to_owned(), entry["participantType"].as_i64().unwrap());
    who.participants(room).iter().map(entry).collect()
}

#[test]
fn a_group_conversation_belongs_to_its_maker() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.post("/room", &[("roomType", "2"), ("roomName", "  Plans\n")]).expect(201);
    assert_eq!((&room["type"], &room["name"], &room["displayName"]), (&json!(2), &json!("Plans"), &json!("Plans")));
    assert_eq!(room["participantType"], 1);
    assert_eq!(
        room["participants"],
        json!({"alice": {"name": "Alice Archer", "type": 1, "call": 0, "sessionId": "0"}})
    );
    server.user("bob").cannot_find(&Room::of(&room));
}

#[test]
fn a_public_conversation_is_open_and_ignores_invitations() {
    let server = Server::start();
    let parameters = [("roomType", "3"), ("roomName", "Square"), ("invite", "team"), ("source", "groups")];
    let room = server.user("alice").post("/room", &parameters).expect(201);
    assert_eq!((&room["type"], &room["name"]), (&json!(3), &json!("Square")));
    assert_eq!(members(&room), ["alice"]);
    assert_eq!(server.stranger().sees(&Room::of(&room))["type"], 3);
}

#[test]
fn the_answer_to_making_one_has_no_last_message_yet() {
    let server = Server::start();
    let before = support::now();
    for form in [[("roomType", "1"), ("invite", "bob")], [("roomType", "2"), ("roomName", "Plans")]] {
        let room = server.user("alice").post("/room", &form).expect(201);
        assert_eq!(room["lastMessage"], json!([]));
        assert_eq!((&room["lastReadMessage"], &room["unreadMessages"]), (&json!(0), &json!(0)));
        assert!(room["lastActivity"].as_i64().unwrap() >= before);
        assert_eq!(server.user("alice").last_message(&Room::of(&room))["systemMessage"], "conversation_created");
    }
}

#[test]
fn tokens_are_eight_letters_and_digits_that_nobody_confuses() {
    let server = Server::start();
    let alice = server.user("alice");
    let tokens: Vec<String> = (0..20).map(|_| alice.creates_group("Plans").token).collect();
    for token in &tokens {
        assert!(token.len() == 8 && token.chars().all(|c| "abcdefghijkmnopqrstuvwxyz23456789".contains(c)), "{token}");
    }
    let distinct: std::collections::HashSet<&String> = tokens.iter().collect();
    assert_eq!(distinct.len(), tokens.len());
}

#[test]
fn a_name_is_needed_unless_a_group_gives_it() {
    let server = Server::start();
    let alice = server.user("alice");
    for kind in ["2", "3"] {
        alice.post("/room", &[("roomType", kind)]).refused(400, Null);
        alice.post("/room", &[("roomType", kind), ("roomName", " \t\r\n\0\u{b}")]).refused(400, Null);
    }
    assert_eq!(alice.lists().len(), 0);
}

#[test]
fn names_may_be_255_characters_long() {
    let server = Server::start();
    let alice = server.user("alice");
    for kind in ["2", "3"] {
        let longest = "ß".repeat(255);
        let room = alice.post("/room", &[("roomType", kind), ("roomName", &longest)]).expect(201);
        assert_eq!(room["name"], longest);
        alice.post("/room", &[("roomType", kind), ("roomName", &"ß".repeat(256))]).refused(400, Null);
    }
    assert_eq!(alice.lists().len(), 2);
}

#[test]
fn only_three_kinds_can_be_made() {
    let server = Server::start();
    let alice = server.user("alice");
    for kind in ["0", "4", "-1", "5", "abc", "", "99999999999999999999"] {
        alice.post("/room", &[("roomType", kind), ("roomName", "Plans")]).refused(400, Null);
    }
    alice.post("/room", &[("roomName", "Plans")]).invalid_query();
    alice.send(Request::new("POST", "/room").json(&json!({"roomType": null, "roomName": "Plans"}))).invalid_query();
    assert_eq!(alice.lists().len(), 0);
}

#[test]
fn a_kind_is_read_as_loosely_as_php_reads_it() {
    let server = Server::start();
    let alice = server.user("alice");
    for (kind, made) in [(json!("2"), 2), (json!(3), 3), (json!(2.9), 2), (json!("3rd"), 3), (json!(" 2"), 2)] {
        let request = Request::new("POST", "/room").json(&json!({"roomType": kind, "roomName": "Plans"}));
        assert_eq!(alice.send(request).expect(201)["type"], made);
    }
    let request = Request::new("POST", "/room").json(&json!({"roomType": true, "invite": "bob"}));
    assert_eq!(alice.send(request).expect(201)["type"], 1);
}

#[test]
fn a_name_that_is_not_a_string_is_no_parameter() {
    let server = Server::start();
    let alice = server.user("alice");
    for name in [json!(5), json!(true), json!(["Plans"]), json!({"a": 1})] {
        let request = Request::new("POST", "/room").json(&json!({"roomType": 2, "roomName": name}));
        alice.send(request).invalid_query();
    }
    assert_eq!(alice.lists().len(), 0);
}

#[test]
fn a_user_group_brings_its_members_and_its_id_as_the_name() {
    let server = Server::start();
    let alice = server.user("alice");
    for source in ["", "groups", "anything else"] {
        let form = [("roomType", "2"), ("invite", "team"), ("source", source), ("roomName", "Ignored")];
        let room = alice.post("/room", &form).expect(201);
        assert_eq!((&room["name"], &room["displayName"]), (&json!("team"), &json!("team")));
        let mut types = types_of(&alice, &Room::of(&room));
        types.sort();
        assert_eq!(types, [("alice".to_owned(), 1), ("bob".to_owned(), 3), ("carol".to_owned(), 3)]);
    }
    assert_eq!(server.user("bob").lists().len(), 3);
    assert_eq!(server.user("dave").lists().len(), 0);
}

#[test]
fn a_group_that_the_maker_is_not_in_or_that_is_empty_will_do() {
    let server = Server::start();
    let dave = server.user("dave");
    let room = dave.post("/room", &[("roomType", "2"), ("invite", "team")]).expect(201);
    assert_eq!(members(&room).len(), 4);
    assert_eq!(room["participants"]["dave"]["type"], 1);
    let room = dave.post("/room", &[("roomType", "2"), ("invite", "empty")]).expect(201);
    assert_eq!((members(&room), &room["name"]), (vec![&"dave".to_owned()], &json!("empty")));
}

#[test]
fn every_member_of_a_group_is_announced() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = Room::of(&alice.post("/room", &[("roomType", "2"), ("invite", "team")]).expect(201));
    let history = alice.reads_history(&room);
    let mut announced: Vec<&str> = history
        .iter()
        .filter(|message| message["systemMessage"] == "user_added")
        .map(|message| message["messageParameters"]["user"]["id"].as_str().unwrap())
        .collect();
    announced.sort_unstable();
    assert_eq!(announced, ["bob", "carol"]);
    assert_eq!(history.last().unwrap()["systemMessage"], "conversation_created");
}

#[test]
fn a_circle_brings_its_members_and_its_name() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.post("/room", &[("roomType", "2"), ("invite", "circle1"), ("source", "circles")]).expect(201);
    assert_eq!(room["name"], "Fans");
    let mut types = types_of(&alice, &Room::of(&room));
    types.sort();
    assert_eq!(types, [("alice".to_owned(), 1), ("bob".to_owned(), 3), ("carol".to_owned(), 3)]);
}

#[test]
fn who_does_not_exist_cannot_be_invited() {
    let server = Server::start();
    let alice = server.user("alice");
    alice.post("/room", &[("roomType", "1"), ("invite", "nobody")]).refused(404, Null);
    alice.post("/room", &[("roomType", "1"), ("invite", "")]).refused(404, Null);
    alice.post("/room", &[("roomType", "1")]).refused(404, Null);
    alice.post("/room", &[("roomType", "2"), ("invite", "nobodies")]).refused(404, Null);
    alice.post("/room", &[("roomType", "2"), ("invite", "nothing"), ("source", "circles")]).refused(404, Null);
    assert_eq!(alice.lists().len(), 0);
}

#[test]
fn nobody_talks_to_themselves() {
    let server = Server::start();
    let alice = server.user("alice");
    alice.post("/room", &[("roomType", "1"), ("invite", "alice")]).refused(403, Null);
    assert_eq!(alice.lists().len(), 0);
}

#[test]
fn only_people_with_an_account_create() {
    let server = Server::start();
    for who in [server.guest(), server.stranger(), server.wrong_password("alice"), server.login("nobody", "x")] {
        who.post("/room", &[("roomType", "3"), ("roomName", "Square")]).not_logged_in();
        who.post("/room", &[]).not_logged_in();
    }
    // A guest who has a session somewhere is a guest all the same.
    let room = server.user("alice").creates_public("Square");
    let guest = server.guest();
    guest.joins(&room);
    guest.post("/room", &[("roomType", "3"), ("roomName", "Mine")]).not_logged_in();
}

#[test]
fn parameters_in_the_url_create_too() {
    let server = Server::start();
    let request = Request::new("POST", "/room").query(&[("roomType", "2"), ("roomName", "Plans & tours")]);
    assert_eq!(server.user("alice").send(request).expect(201)["name"], "Plans & tours");
}
