//! The Android client of Talk 8's time, request by request as it sends them, and each field that it fails without.

mod support;

use serde_json::{Value, json};
use std::thread;
use support::nextcloud::FakeNextcloud;
use support::{Answer, Person, Request, Room, Server, eventually};

const AGENT: &str = "Mozilla/5.0 (Android) Nextcloud-Talk v8.0.10";

/// Somebody with the app. `Accept`, `OCS-APIRequest` and Basic authorization are what every person sends.
struct Phone(Person);

impl Phone {
    #[track_caller]
    fn send(&self, request: Request) -> Answer {
        self.0.send(request.header("User-Agent", AGENT).header("Accept", "application/json"))
    }

    #[track_caller]
    fn get(&self, path: impl AsRef<str>, query: &[(&str, &str)]) -> Answer {
        let request = Request::new("GET", path);
        self.send(if query.is_empty() { request } else { request.query(query) })
    }

    /// Parameters in the URL, and an empty body.
    #[track_caller]
    fn by_query(&self, method: &str, path: impl AsRef<str>, query: &[(&str, &str)]) -> Answer {
        let request = Request::new(method, path).header("Content-Length", "0");
        self.send(if query.is_empty() { request } else { request.query(query) })
    }

    /// Parameters as a form in the body.
    #[track_caller]
    fn by_form(&self, method: &str, path: impl AsRef<str>, form: &[(&str, &str)]) -> Answer {
        self.send(Request::new(method, path).form(form))
    }

    /// What the list of conversations is read for: every field that the app looks at.
    #[track_caller]
    fn lists(&self) -> Vec<Value> {
        let data = self.get("/room", &[]).expect(200);
        let list = data.as_array().expect("the app reads the list's size").clone();
        list.iter().for_each(is_a_conversation);
        list
    }

    /// What an open chat asks every five seconds.
    #[track_caller]
    fn looks(&self, room: &Room) -> Value {
        let seen = self.get(room.at(""), &[]).expect(200);
        is_a_conversation(&seen);
        seen
    }

    #[track_caller]
    fn creates(&self, query: &[(&str, &str)]) -> Room {
        let answer = self.by_query("POST", "/room", query);
        answer.check(matches!(answer.status, 200 | 201), "a conversation");
        let room = Room::of(&answer.json()["ocs"]["data"]);
        self.looks(&room);
        room
    }

    /// Joins: the session's id.
    #[track_caller]
    fn joins(&self, room: &Room) -> String {
        let data = self.by_form("POST", room.at("/participants/active"), &[]).expect(200);
        let session = data["sessionId"].as_str().expect("never null").to_owned();
        assert_ne!(session, "0");
        session
    }

    /// The app's way to read: every number is in the URL.
    #[track_caller]
    fn fetches(&self, room: &Room, future: bool, known: i64, include: bool, timeout: u32) -> Answer {
        let (known, timeout) = (known.to_string(), timeout.to_string());
        let flag = |set: bool| if set { "1" } else { "0" };
        let query = [
            ("lookIntoFuture", flag(future)),
            ("limit", "100"),
            ("timeout", &timeout),
            ("setReadMarker", "1"),
            ("lastKnownMessageId", &known),
            ("includeLastKnown", flag(include)),
        ];
        self.get(room.chat(), &query)
    }
}

/// What the app reads of a conversation is there and of the type that it expects.
#[track_caller]
fn is_a_conversation(room: &Value) {
    let texts = ["token", "name", "displayName", "objectType", "sessionId", "guestList"];
    let numbers = [
        "id",
        "type",
        "count",
        "lastPing",
        "numGuests",
        "participantType",
        "lastActivity",
        "unreadMessages",
        "notificationLevel",
        "readOnly",
        "lobbyState",
        "lobbyTimer",
        "lastReadMessage",
    ];
    texts.iter().for_each(|key| assert!(room[*key].is_string(), "{key} in {room}"));
    numbers.iter().for_each(|key| assert!(room[*key].is_i64(), "{key} in {room}"));
    let flags = ["hasPassword", "isFavorite", "unreadMention"];
    flags.iter().for_each(|key| assert!(room[*key].is_boolean(), "{key} in {room}"));
    assert!(!room["displayName"].as_str().unwrap().is_empty(), "the bubble of the fast scroller: {room}");
    let participants = &room["participants"];
    if matches!(room["participantType"].as_i64(), Some(1 | 2)) {
        let people =
            participants.as_object().unwrap_or_else(|| panic!("its size decides what a moderator may do: {room}"));
        assert!(!people.is_empty());
        for entry in people.values() {
            assert!(entry["name"].is_string() && entry["type"].is_i64() && entry["sessionId"].is_string(), "{entry}");
            assert!(entry["call"].is_i64(), "{entry}");
        }
    } else {
        assert!(participants.is_object() || *participants == json!([]), "{room}");
    }
    match &room["lastMessage"] {
        Value::Array(none) => assert!(none.is_empty()),
        message => is_a_message(message),
    }
}

/// What the app reads of a message, and dereferences.
#[track_caller]
fn is_a_message(message: &Value) {
    for key in ["actorType", "actorId", "actorDisplayName", "message", "systemMessage", "token"] {
        assert!(message[key].is_string(), "{key} in {message}");
    }
    assert!(message["id"].is_i64() && message["timestamp"].is_i64(), "{message}");
    match &message["messageParameters"] {
        Value::Array(none) => assert!(none.is_empty(), "{message}"),
        parameters => {
            for parameter in parameters.as_object().unwrap().values() {
                for key in ["type", "id", "name"] {
                    assert!(parameter[key].is_string(), "{key} in {message}");
                }
                assert!(parameter.as_object().unwrap().values().all(Value::is_string), "{message}");
            }
        }
    }
}

/// The messages of a page, each complete, and the id that the next page starts from.
#[track_caller]
fn page(answer: &Answer) -> (Vec<Value>, i64) {
    let data = answer.expect(200);
    let messages = data.as_array().unwrap().clone();
    messages.iter().for_each(is_a_message);
    (messages, answer.header("X-Chat-Last-Given").parse().expect("the app keeps this header"))
}

fn phones() -> (Server, Phone, Phone) {
    let server = Server::start();
    let (alice, bob) = (Phone(server.user("alice")), Phone(server.user("bob")));
    (server, alice, bob)
}

#[test]
fn setting_up_an_account() {
    let nextcloud = FakeNextcloud::start();
    let server = Server::with_only(&nextcloud.section());
    let alice = Phone(server.login("alice", "alice123456"));
    let data = alice.get("/ocs/v2.php/cloud/capabilities", &[]).expect(200);
    let talk = &data["capabilities"]["spreed"];
    let features = talk["features"].as_array().expect("a list");
    for feature in [
        "chat-v2",
        "empty-group-room",
        "favorites",
        "invite-groups-and-mails",
        "last-room-activity",
        "locked-one-to-one-rooms",
        "mention-flag",
        "no-ping",
        "notification-levels",
        "read-only-rooms",
        "webinary-lobby",
        "multi-room-users",
        "guest-signaling",
    ] {
        assert!(features.contains(&json!(feature)), "{feature}");
    }
    assert_eq!(talk["config"]["chat"]["max-length"], 32_000);
    assert!(data["capabilities"]["theming"].is_object(), "Nextcloud's own are kept");
    assert_eq!(alice.lists(), [] as [Value; 0], "an empty list is a list");
    // A token that was revoked: the app asks for a new login.
    Phone(server.login("alice", "revoked")).get("/room", &[]).not_logged_in();
    // Chat partners come from Nextcloud itself; roomd takes what was picked there.
    let room = alice.creates(&[("roomType", "1"), ("invite", "bob")]);
    let seen = alice.looks(&room);
    assert_eq!(
        (&seen["name"], &seen["displayName"]),
        (&json!("bob"), &json!("Bob B.")),
        "the name is the avatar's user"
    );
}

#[test]
fn making_conversations() {
    let (_server, alice, bob) = phones();
    let group = alice.creates(&[("roomType", "2"), ("invite", "team")]);
    assert_eq!(alice.looks(&group)["displayName"], "team");
    assert_eq!(alice.looks(&group)["participants"].as_object().unwrap().len(), 3);
    let named = alice.creates(&[("roomType", "2"), ("roomName", "Plans & <more>")]);
    assert_eq!(alice.looks(&named)["displayName"], "Plans & <more>");
    let public = alice.creates(&[("roomType", "3"), ("roomName", "Square")]);
    let pair = alice.creates(&[("roomType", "1"), ("invite", "bob")]);
    assert_eq!(alice.creates(&[("roomType", "1"), ("invite", "bob")]), pair);
    assert_eq!(alice.lists().len(), 4);
    assert_eq!(bob.lists().len(), 2);

    alice.by_form("PUT", named.at(""), &[("roomName", "Tours")]).done();
    alice.by_query("POST", named.at("/public"), &[]).done();
    assert_eq!(alice.looks(&named)["type"], 3);
    alice.by_form("PUT", named.at("/password"), &[("password", "open sesame")]).done();
    assert_eq!(alice.looks(&named)["hasPassword"], true);
    alice.by_form("PUT", named.at("/password"), &[("password", "")]).done();
    assert_eq!(alice.looks(&named)["hasPassword"], false);
    alice.by_query("DELETE", named.at("/public"), &[]).done();
    assert_eq!((&alice.looks(&named)["type"], &alice.looks(&named)["displayName"]), (&json!(2), &json!("Tours")));
    alice.by_query("DELETE", public.at(""), &[]).done();
    alice.get(public.at(""), &[]).has_status(404);
    assert_eq!(alice.lists().len(), 3);
}

#[test]
fn a_password_is_asked_for_before_joining() {
    let (server, alice, _) = phones();
    let room = alice.creates(&[("roomType", "3"), ("roomName", "Square")]);
    alice.by_form("PUT", room.at("/password"), &[("password", "open sesame")]).done();
    for stranger in [Phone(server.user("dave")), Phone(server.guest())] {
        // The link was opened: type and password decide whether the app asks.
        let seen = stranger.get(room.at(""), &[]).expect(200);
        assert_eq!((&seen["hasPassword"], &seen["participantType"]), (&json!(true), &json!(4)));
        let path = room.at("/participants/active");
        stranger.by_form("POST", &path, &[]).has_status(403);
        stranger.by_form("POST", &path, &[("password", "wrong")]).has_status(403);
        let joined = stranger.by_form("POST", &path, &[("password", "open sesame")]).expect(200);
        assert_ne!(joined["sessionId"], "0");
    }
}

#[test]
fn an_evening_in_a_chat() {
    let (_server, alice, bob) = phones();
    let room = alice.creates(&[("roomType", "2"), ("roomName", "Plans")]);
    alice.by_query("POST", room.at("/participants"), &[("newParticipant", "bob")]).done();
    alice.joins(&room);
    let form = [("message", "Who comes on Friday?"), ("actorDisplayName", "Alice Archer")];
    let question = alice.by_form("POST", room.chat(), &form);
    question.check((200..300).contains(&question.status), "any 2xx");
    is_a_message(&question.json()["ocs"]["data"]);

    // bob opens the app: the list, then the conversation, from where he has read up to.
    let listed = bob.lists().into_iter().find(|entry| entry["token"] == room.token).unwrap();
    assert_eq!((&listed["unreadMessages"], &listed["unreadMention"]), (&json!(1), &json!(false)));
    assert_eq!((&listed["sessionId"], &listed["hasPassword"]), (&json!("0"), &json!(false)), "so the app joins");
    bob.joins(&room);
    assert_eq!(bob.looks(&room)["lobbyState"], 0);
    let marker = listed["lastReadMessage"].as_i64().unwrap();
    let (first, oldest) = page(&bob.fetches(&room, false, marker, true, 0));
    assert_eq!(first.first().unwrap()["id"], marker, "the page starts with what he has read last");
    let done = bob.fetches(&room, false, oldest, false, 0);
    done.not_modified();
    let (news, known) = page(&bob.fetches(&room, true, marker, false, 30));
    let texts: Vec<&Value> = news.iter().map(|message| &message["message"]).collect();
    assert_eq!(texts, ["{actor} added you", "Who comes on Friday?"]);
    let asked = &news[1];
    assert_eq!((&asked["actorId"], &asked["actorDisplayName"]), (&json!("alice"), &json!("Alice Archer")));

    // He waits, and answers meanwhile; his own message ends the wait.
    let waiting = {
        let (phone, room) = (Phone(bob.0.clone()), room.clone());
        thread::spawn(move || phone.fetches(&room, true, known, false, 30))
    };
    eventually("bob waits", || bob.looks(&room)["lastReadMessage"] == known);
    assert_eq!(bob.looks(&room)["unreadMessages"], 0);
    bob.by_form("POST", room.chat(), &[("message", "I do"), ("replyTo", &known.to_string())]).expect(201);
    let (own, known) = page(&waiting.join().unwrap());
    assert_eq!((&own[0]["message"], &own[0]["parent"]["id"]), (&json!("I do"), &asked["id"]));
    is_a_message(&own[0]["parent"]);

    // alice types @, picks, sends; bob sees the flag.
    let list = alice.get(format!("{}/mentions", room.chat()), &[("search", ""), ("limit", "5")]).expect(200);
    assert_eq!(list[0], json!({"id": "all", "label": "Plans", "source": "calls"}));
    let list = alice.get(format!("{}/mentions", room.chat()), &[("search", "bo"), ("limit", "5")]).expect(200);
    assert_eq!(list, json!([{"id": "bob", "label": "Bob Baker", "source": "users"}]));
    alice
        .by_form("POST", room.chat(), &[("message", "@bob great, tell @all"), ("actorDisplayName", "Alice Archer")])
        .expect(201);
    let listed = bob.lists().into_iter().find(|entry| entry["token"] == room.token).unwrap();
    assert_eq!((&listed["unreadMention"], &listed["unreadMessages"]), (&json!(true), &json!(1)));
    let (mention, known) = page(&bob.fetches(&room, true, known, false, 30));
    assert_eq!(mention[0]["message"], "{mention-user1} great, tell {mention-call1}");
    assert_eq!(
        mention[0]["messageParameters"]["mention-user1"],
        json!({"type": "user", "id": "bob", "name": "Bob Baker"})
    );
    bob.fetches(&room, true, known, false, 0).not_modified();
    assert_eq!(bob.looks(&room)["unreadMention"], false);

    // Closing the chat leaves the session; the list shows that it is gone.
    bob.by_query("DELETE", room.at("/participants/active"), &[]).done();
    assert_eq!(bob.looks(&room)["sessionId"], "0", "else the app would skip joining next time");
}

#[test]
fn settings_of_a_conversation() {
    let (_server, alice, bob) = phones();
    let room = alice.creates(&[("roomType", "2"), ("invite", "team")]);
    alice.by_query("POST", room.at("/favorite"), &[]).done();
    assert_eq!(alice.looks(&room)["isFavorite"], true);
    alice.by_query("DELETE", room.at("/favorite"), &[]).done();
    assert_eq!(alice.looks(&room)["isFavorite"], false);
    assert_eq!(alice.looks(&room)["notificationLevel"], 2);
    for level in ["1", "2", "3"] {
        alice.by_form("POST", room.at("/notify"), &[("level", level)]).done();
        assert_eq!(alice.looks(&room)["notificationLevel"].to_string(), level);
    }
    alice.by_form("POST", room.at("/notify"), &[("level", "0")]).has_status(400);
    assert_eq!(alice.looks(&room)["notificationLevel"], 3);

    // The lobby, in the old spelling.
    bob.joins(&room);
    let lobby = room.at("/webinary/lobby");
    alice.by_form("PUT", &lobby, &[("state", "1")]).done();
    assert_eq!((&alice.looks(&room)["lobbyState"], &alice.looks(&room)["lobbyTimer"]), (&json!(1), &json!(0)));
    let waiting = bob.looks(&room);
    assert_eq!((&waiting["lobbyState"], &waiting["participants"]), (&json!(1), &json!([])));
    bob.fetches(&room, true, 0, false, 30).has_status(412);
    let timer = (support::now() + 3600).to_string();
    alice.by_form("PUT", &lobby, &[("state", "1"), ("timer", &timer)]).done();
    assert_eq!(bob.looks(&room)["lobbyTimer"].to_string(), timer);
    alice.by_form("PUT", &lobby, &[("state", "0")]).done();
    bob.fetches(&room, true, 0, false, 30).has_status(200);
}

#[test]
fn people_in_a_conversation() {
    let (server, alice, bob) = phones();
    let room = alice.creates(&[("roomType", "2"), ("roomName", "Plans")]);
    let (adding, moderators) = (room.at("/participants"), room.at("/moderators"));
    alice.by_query("POST", &adding, &[("newParticipant", "bob")]).done();
    alice.by_query("POST", &adding, &[("newParticipant", "lonely"), ("source", "groups")]).done();
    let by_mail = alice.by_query("POST", &adding, &[("newParticipant", "someone@example.org"), ("source", "emails")]);
    assert_eq!(by_mail.expect(200), json!({"type": 3}), "it is public now");
    let guest = Phone(server.guest());
    let session = guest.joins(&room);
    let list = alice.get(room.at("/participants"), &[]).expect(200);
    let list = list.as_array().unwrap();
    for entry in list {
        for key in ["userId", "displayName", "sessionId"] {
            assert!(entry[key].is_string(), "{key} in {entry}");
        }
        for key in ["participantType", "lastPing", "inCall"] {
            assert!(entry[key].is_i64(), "{key} in {entry}");
        }
    }
    assert_eq!(list.iter().filter(|entry| entry["userId"] == "").count(), 1);
    assert_eq!(list.len(), 4);

    alice.by_query("POST", &moderators, &[("participant", "bob")]).done();
    assert_eq!(bob.looks(&room)["participantType"], 2);
    alice.by_query("DELETE", &moderators, &[("participant", "bob")]).done();
    assert_eq!(bob.looks(&room)["participantType"], 3);
    // The session's id has characters that the URL must carry encoded.
    alice.by_query("DELETE", room.at("/participants/guests"), &[("participant", &session)]).done();
    alice.by_query("DELETE", &adding, &[("participant", "gina rossi")]).done();
    assert_eq!(alice.looks(&room)["participants"].as_object().unwrap().len(), 2);
    bob.by_query("DELETE", room.at("/participants/self"), &[]).done();
    assert_eq!(bob.lists().len(), 0);
    alice.by_query("DELETE", room.at("/participants/self"), &[]).done();
    assert_eq!(alice.lists().len(), 0);
}

#[test]
fn a_call() {
    let (server, alice, bob) = phones();
    let room = alice.creates(&[("roomType", "1"), ("invite", "bob")]);
    let settings = alice.get("/signaling/settings", &[]).expect(200);
    assert!(settings["stunservers"][0]["url"].is_string(), "{settings}");
    assert!(settings["turnservers"].is_array() && settings["ticket"].is_string(), "{settings}");
    assert!(settings["server"] == json!([]) || settings["server"].is_string(), "{settings}");
    let (hers, his) = (alice.joins(&room), bob.joins(&room));
    let pull = |phone: &Phone| {
        let data = phone.get(format!("/signaling/{room}"), &[]).expect(200);
        let entries = data.as_array().unwrap().clone();
        for entry in &entries {
            match entry["type"].as_str().unwrap() {
                "message" => assert!(entry["data"].is_string(), "{entry}"),
                "usersInRoom" => assert!(entry["data"].is_array(), "{entry}"),
                other => panic!("the app does not know {other}"),
            }
        }
        entries
    };
    alice.by_query("POST", room.call(), &[]).done();
    let peers = bob.get(room.call(), &[]).expect(200);
    assert_eq!((&peers[0]["userId"], &peers[0]["sessionId"]), (&json!("alice"), &json!(hers)));
    bob.by_query("POST", room.call(), &[]).done();

    // Whoever comes second learns at once who is there, or nobody makes an offer.
    let entries = pull(&bob);
    let users = entries.last().unwrap()["data"].as_array().unwrap().clone();
    assert_eq!(users.len(), 2);
    for user in &users {
        assert!(user["userId"].is_string() && user["sessionId"].is_string() && user["inCall"] == 7, "{user}");
    }
    pull(&alice);
    let offer = json!({
        "to": hers, "roomType": "video", "type": "offer", "payload": {"type": "offer", "sdp": "v=0 …", "nick": "Bob"}
    });
    let messages = json!([{"ev": "message", "fn": offer.to_string(), "sessionId": his}]).to_string();
    bob.by_form("POST", format!("/signaling/{room}"), &[("messages", &messages)]).done();
    let entries = pull(&alice);
    let received: Value = serde_json::from_str(entries[0]["data"].as_str().unwrap()).unwrap();
    assert_eq!((&received["from"], &received["payload"]), (&json!(his), &offer["payload"]));

    // While alice waits, bob hangs up: she hears of it at once.
    let waiting = {
        let (phone, path) = (Phone(alice.0.clone()), format!("/signaling/{room}"));
        thread::spawn(move || phone.get(path, &[]))
    };
    server.parks(1);
    bob.by_query("DELETE", room.call(), &[]).done();
    let data = waiting.join().unwrap().expect(200);
    let in_call = |user: &Value| user["inCall"] != 0;
    assert_eq!(
        data.as_array().unwrap().last().unwrap()["data"].as_array().unwrap().iter().filter(|u| in_call(u)).count(),
        1
    );
    alice.by_query("DELETE", room.call(), &[]).done();
    bob.by_query("DELETE", room.at("/participants/active"), &[]).done();
    let ended = bob.looks(&room)["lastMessage"].clone();
    assert_eq!(ended["systemMessage"], "call_ended");
    assert_eq!(ended["messageParameters"].as_object().unwrap().len(), 2);
}

#[test]
fn a_guest_with_the_app() {
    let (server, alice, _) = phones();
    let room = alice.creates(&[("roomType", "3"), ("roomName", "Square")]);
    let guest = Phone(server.guest());
    guest.get("/room", &[]).not_logged_in();
    guest.joins(&room);
    let seen = guest.looks(&room);
    assert_eq!((&seen["participantType"], &seen["displayName"]), (&json!(4), &json!("Square")));
    guest.by_form("POST", room.chat(), &[("message", "hello"), ("actorDisplayName", "Ana")]).expect(201);
    let (messages, _) = page(&alice.fetches(&room, false, 0, false, 0));
    assert_eq!((&messages[0]["actorType"], &messages[0]["actorDisplayName"]), (&json!("guests"), &json!("Ana")));
    guest.by_query("DELETE", room.at("/participants/active"), &[]).done();
}
