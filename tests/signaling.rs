//! `/signaling`: the servers that calls go through, and the messages between those who call.

mod support;

use serde_json::{Value, json};
use support::{Answer, Person, Room, Server};

fn pull(who: &Person, room: &Room) -> Answer {
    who.get(format!("/signaling/{room}"))
}

/// Sends something from one session to another.
fn send(who: &Person, room: &Room, from: &str, to: &str, text: &str) -> Answer {
    let content = json!({"to": to, "type": "offer", "payload": text}).to_string();
    let messages = json!([{"ev": "message", "fn": content, "sessionId": from}]).to_string();
    who.post(format!("/signaling/{room}"), &[("messages", &messages)])
}

/// The messages in an answer, decoded.
fn received(answer: &Answer) -> Vec<Value> {
    let data = answer.expect(200);
    let messages = data.as_array().unwrap().iter().filter(|entry| entry["type"] == "message");
    messages.map(|entry| serde_json::from_str(entry["data"].as_str().unwrap()).unwrap()).collect()
}

#[test]
fn the_settings_name_the_servers() {
    let server = Server::start();
    let settings = server.user("alice").get("/signaling/settings").expect(200);
    assert_eq!((&settings["userId"], &settings["server"]), (&json!("alice"), &json!([])));
    assert!(settings["ticket"].as_str().is_some_and(|ticket| !ticket.is_empty()), "{settings}");
    assert!(settings["stunservers"][0]["url"].as_str().unwrap().contains("stun.nextcloud.com:443"), "{settings}");
    assert_eq!(settings["turnservers"], json!([]));
    assert!(settings["hideWarning"].is_boolean());
    server.guest().get("/signaling/settings").expect(200);
}

#[test]
fn a_turn_server_comes_with_credentials_for_a_while() {
    let turn = "[[talk.turn_servers]]\nserver = \"turn.example.org:3478\"\nsecret = \"known to both\"\n";
    let server = Server::with_config(turn);
    let settings = server.user("alice").get("/signaling/settings").expect(200);
    let offered = &settings["turnservers"][0];
    let urls = json!(["turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:3478?transport=tcp"]);
    assert_eq!((&offered["url"], &offered["urls"]), (&urls, &urls));
    let until = offered["username"].as_str().unwrap().split(':').next().unwrap().parse::<i64>().unwrap();
    assert!(until > support::now(), "{offered}");
    assert!(offered["credential"].as_str().is_some_and(|credential| !credential.is_empty()), "{offered}");
    assert!(!settings.to_string().contains("known to both"));
}

#[test]
fn who_is_not_there_hears_of_nobody() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_public("Square");
    for who in [&alice, &server.user("dave"), &server.guest(), &server.stranger()] {
        let answer = pull(who, &room);
        answer.has_status(404);
        assert_eq!(answer.json()["ocs"]["data"], json!([{"type": "usersInRoom", "data": []}]));
    }
}

#[test]
fn what_one_sends_the_other_gets_together_with_who_is_there() {
    let server = Server::start();
    let (alice, guest) = (server.user("alice"), server.guest());
    let room = alice.creates_public("Square");
    let (hers, theirs) = (alice.joins(&room), guest.joins(&room));
    alice.post(room.call(), &[]).done();
    // In somebody else's name nothing is passed on.
    send(&guest, &room, &hers, &hers, "forged").done();
    send(&guest, &room, &theirs, &hers, "hello").done();
    let answer = pull(&alice, &room);
    let messages = received(&answer);
    let wanted = json!({"to": hers, "type": "offer", "payload": "hello", "from": theirs});
    assert_eq!(messages, [wanted]);
    let data = answer.expect(200);
    let last = data.as_array().unwrap().last().unwrap();
    assert_eq!(last["type"], "usersInRoom");
    let users = last["data"].as_array().unwrap();
    assert_eq!(users.len(), 2);
    let alices = users.iter().find(|user| user["userId"] == "alice").unwrap();
    assert_eq!((&alices["sessionId"], &alices["inCall"]), (&json!(hers), &json!(7)));
    assert_eq!(alices["roomId"], alice.sees(&room)["id"]);
    assert!(users.iter().any(|user| user["userId"] == "" && user["sessionId"] == theirs));
}

#[test]
fn a_message_reaches_only_the_one_it_is_for_and_only_once() {
    let server = Server::start();
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.adds(&room, "carol");
    let [hers, his, carols] = [&alice, &bob, &carol].map(|who| who.joins(&room));
    send(&alice, &room, &hers, &his, "for bob").done();
    send(&alice, &room, &hers, &carols, "for carol").done();
    let payloads = |who: &Person| received(&pull(who, &room)).iter().map(|m| m["payload"].clone()).collect::<Vec<_>>();
    assert_eq!(payloads(&carol), ["for carol"]);
    assert_eq!(payloads(&bob), ["for bob"]);
    send(&alice, &room, &hers, &his, "again").done();
    assert_eq!(payloads(&bob), ["again"]);
}

#[test]
fn the_messages_must_be_sent() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    alice.joins(&room);
    alice.post(format!("/signaling/{room}"), &[]).invalid_query();
    for nonsense in ["", "[]", "not json", "{}", "[5]", "[{\"ev\": \"message\"}]"] {
        let answer = alice.post(format!("/signaling/{room}"), &[("messages", nonsense)]);
        answer.check(answer.status < 500, "no fault of the server's");
    }
}
