//! `/signaling`: the servers that calls go through, and the messages between those who call.

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{Answer, Person, Room, Server};

/// Who waits for nothing waits for 30 seconds. Whatever comes before this has elapsed has not waited for that.
const PULL_TIME: Duration = Duration::from_secs(25);

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

/// The users in an answer's last part.
#[track_caller]
fn present(answer: &Answer) -> Vec<String> {
    let data = answer.expect(200);
    let users = data.as_array().unwrap().last().unwrap()["data"].as_array().unwrap().clone();
    users.iter().map(|user| user["userId"].as_str().unwrap().to_owned()).collect()
}

/// Somebody waits until something happens, and the answer comes at once.
#[track_caller]
fn hears(server: &Server, who: &Person, room: &Room, what_happens: impl FnOnce()) -> Answer {
    let (waiter, place) = (who.clone(), room.clone());
    let waiting = std::thread::spawn(move || pull(&waiter, &place));
    server.parks(1);
    assert!(!waiting.is_finished(), "nothing has happened yet");
    let began = Instant::now();
    what_happens();
    let answer = waiting.join().unwrap();
    assert!(began.elapsed() < PULL_TIME, "at once, not when the time is over");
    answer
}

#[test]
fn the_first_pull_after_coming_tells_who_is_there() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.joins(&room);
    alice.post(room.call(), &[]).done();
    bob.joins(&room);
    bob.post(room.call(), &[]).done();
    let began = Instant::now();
    assert_eq!(present(&pull(&bob, &room)), ["alice", "bob"]);
    assert!(began.elapsed() < PULL_TIME);
}

#[test]
fn whoever_waits_hears_of_people_coming_and_going() {
    let server = Server::start();
    let (alice, bob, guest) = (server.user("alice"), server.user("bob"), server.guest());
    let room = alice.creates_public("Square");
    alice.adds(&room, "bob");
    alice.joins(&room);
    assert_eq!(present(&pull(&alice, &room)), ["alice"]);
    assert_eq!(present(&hears(&server, &alice, &room, || drop(bob.joins(&room)))), ["alice", "bob"]);
    let flags = |answer: &Answer| {
        let data = answer.expect(200);
        data.as_array().unwrap().last().unwrap()["data"][1]["inCall"].clone()
    };
    assert_eq!(flags(&hears(&server, &alice, &room, || bob.post(room.call(), &[("flags", "3")]).done())), 3);
    assert_eq!(flags(&hears(&server, &alice, &room, || bob.delete(room.call(), &[]).done())), 0);
    assert_eq!(present(&hears(&server, &alice, &room, || bob.leaves(&room))), ["alice"]);
    assert_eq!(present(&hears(&server, &alice, &room, || drop(guest.joins(&room)))), ["alice", ""]);
    let name = [("displayName", "Ana")];
    hears(&server, &alice, &room, || guest.post(format!("/guest/{room}/name"), &name).done()).expect(200);
    assert_eq!(present(&hears(&server, &alice, &room, || guest.leaves(&room))), ["alice"]);
}

#[test]
fn a_pull_ends_with_its_session() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let gone = |answer: Answer| {
        answer.has_status(404);
        assert_eq!(answer.json()["ocs"]["data"], json!([{"type": "usersInRoom", "data": []}]));
    };
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    bob.joins(&room);
    pull(&bob, &room).expect(200);
    gone(hears(&server, &bob, &room, || bob.leaves(&room)));
    bob.joins(&room);
    pull(&bob, &room).expect(200);
    gone(hears(&server, &bob, &room, || alice.removes(&room, "bob")));
    alice.adds(&room, "bob");
    bob.joins(&room);
    pull(&bob, &room).expect(200);
    gone(hears(&server, &bob, &room, || alice.delete(room.at(""), &[]).done()));
}

#[test]
fn neither_the_lobby_nor_read_only_stop_signals() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    let (hers, his) = (alice.joins(&room), bob.joins(&room));
    alice.sets_lobby(&room, "1");
    alice.sets_read_only(&room, "1");
    send(&bob, &room, &his, &hers, "hello").done();
    assert_eq!(received(&pull(&alice, &room)).len(), 1);
    pull(&bob, &room).expect(200);
}

#[test]
fn what_was_sent_to_an_earlier_session_is_not_for_the_next() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    let (hers, old) = (alice.joins(&room), bob.joins(&room));
    send(&alice, &room, &hers, &old, "to the app that crashed").done();
    let new = bob.joins(&room);
    send(&alice, &room, &hers, &old, "still to it").done();
    send(&alice, &room, &hers, &new, "to the next").done();
    let payloads: Vec<Value> = received(&pull(&bob, &room)).iter().map(|m| m["payload"].clone()).collect();
    assert_eq!(payloads, ["to the next"]);
}

#[test]
fn signals_stay_inside_their_conversation() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (here, there) = (alice.creates_group("Here"), alice.creates_group("There"));
    alice.adds(&there, "bob");
    let (hers, his) = (alice.joins(&here), bob.joins(&there));
    send(&alice, &here, &hers, &his, "from elsewhere").done();
    assert_eq!(received(&pull(&bob, &there)), [] as [Value; 0]);
}
