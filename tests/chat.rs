//! `/chat/{token}`: writing, reading, waiting for what comes, mentions, read markers and commands.

mod support;

use serde_json::{Value, json};
use std::thread;
use support::Message::{Empty, Null};
use support::nextcloud::{Behaviour, FakeNextcloud};
use support::{Answer, Cast, Person, Request, Room, Server, eventually, guest_id};

/// alice and bob in a group conversation.
fn two() -> (Server, Person, Person, Room) {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    (server, alice, bob, room)
}

#[track_caller]
fn id(message: &Value) -> i64 {
    message["id"].as_i64().unwrap_or_else(|| panic!("no id in {message}"))
}

fn fetch(who: &Person, room: &Room, future: bool, parameters: &[(&str, &str)]) -> Answer {
    let look = [("lookIntoFuture", if future { "1" } else { "0" }), ("timeout", "0")];
    who.send(Request::new("GET", room.chat()).query(&look).query(parameters))
}

/// The texts of the messages in an answer.
#[track_caller]
fn texts(answer: &Answer) -> Vec<String> {
    let data = answer.expect(200);
    data.as_array().unwrap().iter().map(|message| message["message"].as_str().unwrap().to_owned()).collect()
}

fn reply(who: &Person, room: &Room, text: &str, to: &Value) -> Answer {
    who.post(room.chat(), &[("message", text), ("replyTo", &to["id"].to_string())])
}

// Writing

#[test]
fn a_message_is_answered_as_it_was_stored() {
    let (_server, alice, bob, room) = two();
    let sent = alice.says(&room, " \nHello <b>Bob</b> & \"co\" 🦀\n ");
    let mut rest = sent.as_object().unwrap().clone();
    assert!(rest.remove("id").unwrap().as_i64().unwrap() > 0);
    let timestamp = rest.remove("timestamp").unwrap();
    assert!((timestamp.as_i64().unwrap() - support::now()).abs() < 60);
    assert_eq!(
        Value::from(rest),
        json!({
            "token": room.token, "actorType": "users", "actorId": "alice", "actorDisplayName": "Alice Archer",
            "message": "Hello <b>Bob</b> & \"co\" 🦀", "messageParameters": [], "systemMessage": "",
            "messageType": "comment", "isReplyable": true
        })
    );
    assert_eq!(bob.reads_history(&room)[0], sent);
    let seen = bob.sees(&room);
    assert_eq!((&seen["lastMessage"], &seen["lastActivity"]), (&sent, &timestamp));
}

#[test]
fn everybody_inside_writes_and_nobody_else() {
    let cast = Cast::in_public();
    let path = cast.room.chat();
    for who in cast.moderators().into_iter().chain(cast.others()) {
        assert_eq!(who.says(&cast.room, "hello")["message"], "hello");
    }
    for who in cast.outside() {
        who.post(&path, &[("message", "hello")]).refused(404, Empty);
        who.post(&path, &[]).refused(404, Empty);
    }
    cast.member.post(&path, &[]).invalid_query();
    cast.member.send(Request::new("POST", &path).json(&json!({"message": 5}))).invalid_query();
    cast.member.post("/chat/nosuchroom", &[("message", "hello")]).refused(404, Empty);
}

#[test]
fn guests_write_under_the_name_that_they_give() {
    let cast = Cast::in_public();
    let sent = cast.guest.says(&cast.room, "hello");
    assert_eq!((&sent["actorType"], &sent["actorDisplayName"]), (&json!("guests"), &json!("")));
    assert_eq!(sent["actorId"], guest_id(&cast.guest_session));
    let named = [("message", "it is me"), ("actorDisplayName", "Ana")];
    assert_eq!(cast.guest.post(cast.room.chat(), &named).expect(201)["actorDisplayName"], "Ana");
    assert_eq!(cast.guest.says(&cast.room, "again")["actorDisplayName"], "Ana");
    let history = cast.owner.reads_history(&cast.room);
    assert!(history[..3].iter().all(|message| message["actorDisplayName"] == "Ana"), "old ones too: {history:?}");
    // An account keeps its own name.
    assert_eq!(cast.member.post(cast.room.chat(), &named).expect(201)["actorDisplayName"], "Carol Cook");
}

#[test]
fn a_message_that_is_longer_than_a_body_may_be_is_too_long_as_well() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let send = |request: Request| alice.send(request);
    let (letters, in_json) = ("é".repeat(20_000), |text: &str| json!({ "message": text }));
    // A form writes each of them as six characters, JSON as two bytes.
    send(Request::new("POST", room.chat()).form(&[("message", &letters)])).refused(413, Null);
    send(Request::new("POST", room.chat()).json(&in_json(&letters))).expect(201);
    send(Request::new("POST", room.chat()).json(&in_json(&"😀".repeat(20_000)))).refused(413, Null);
}

#[test]
fn a_message_has_at_most_32000_characters() {
    let (_server, alice, _, room) = two();
    let send = |text: String| alice.send(Request::new("POST", room.chat()).json(&json!({"message": text})));
    for character in ["x", "é"] {
        send(character.repeat(32_000)).expect(201);
        send(format!("  {}\n", character.repeat(32_000))).expect(201);
    }
    send("x".repeat(32_001)).refused(413, Null);
    send("é".repeat(70_000)).has_status(413);
    assert_eq!(alice.last_message(&room)["message"].as_str().unwrap().chars().count(), 32_000);
}

#[test]
fn an_empty_message_is_a_message() {
    let (_server, alice, bob, room) = two();
    assert_eq!(alice.says(&room, " \n")["message"], "");
    assert_eq!(bob.sees(&room)["unreadMessages"], 1);
}

#[test]
fn read_only_and_lobby_silence() {
    let cast = Cast::in_public();
    let send = |who: &Person| who.post(cast.room.chat(), &[("message", "hello")]);
    cast.owner.says(&cast.room, "before");
    cast.owner.sets_lobby(&cast.room, "1");
    for who in cast.others() {
        send(who).refused(412, Empty);
        fetch(who, &cast.room, false, &[]).refused(412, Empty);
    }
    for who in cast.moderators() {
        send(who).expect(201);
    }
    cast.owner.sets_read_only(&cast.room, "1");
    for who in cast.moderators().into_iter().chain(cast.others()) {
        send(who).refused(403, Empty);
    }
    cast.owner.sets_lobby(&cast.room, "0");
    for who in cast.others() {
        fetch(who, &cast.room, false, &[]).expect(200);
    }
}

#[test]
fn a_message_fills_up_a_conversation_of_two() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.talks_to("bob");
    bob.removes_themselves(&room);
    alice.says(&room, "are you there?");
    let seen = bob.sees(&room);
    assert_eq!((&seen["participantType"], &seen["unreadMessages"]), (&json!(1), &json!(1)));
    // Also one that is refused for its length.
    bob.removes_themselves(&room);
    alice.send(Request::new("POST", room.chat()).json(&json!({"message": "x".repeat(32_001)}))).refused(413, Null);
    assert_eq!(bob.sees(&room)["unreadMessages"], 0);
}

// Replies

#[test]
fn a_reply_carries_what_it_answers() {
    let (_server, alice, bob, room) = two();
    let question = alice.says(&room, "Friday?");
    let answer = reply(&bob, &room, "Yes", &question).expect(201);
    assert_eq!(answer["parent"], question);
    assert_eq!(alice.reads_history(&room)[0], answer);
    let thanks = reply(&alice, &room, "Fine", &answer).expect(201);
    assert_eq!((&thanks["parent"]["id"], &thanks["parent"]["parent"]), (&answer["id"], &Value::Null));
    assert_eq!(bob.last_message(&room)["parent"], Value::Null, "the conversation shows the message alone");
    assert!(question.get("parent").is_none());
}

#[test]
fn not_everything_can_be_answered() {
    let (_server, alice, bob, room) = two();
    let system = alice.last_message(&room);
    reply(&alice, &room, "Yes", &system).refused(400, Null);
    let elsewhere = alice.says(&alice.creates_group("Tours"), "hello");
    reply(&alice, &room, "Yes", &elsewhere).refused(400, Null);
    for unknown in [999_999, -1] {
        reply(&bob, &room, "Yes", &json!({"id": unknown})).refused(400, Null);
    }
    assert!(reply(&bob, &room, "Yes", &json!({"id": 0})).expect(201).get("parent").is_none());
}

// Reading

#[test]
fn history_goes_from_the_newest_back() {
    let (_server, alice, bob, room) = two();
    let sent: Vec<i64> = (1..=5).map(|number| id(&alice.says(&room, &number.to_string()))).collect();
    let page = fetch(&bob, &room, false, &[("limit", "2")]);
    assert_eq!(texts(&page), ["5", "4"]);
    page.has_header("X-Chat-Last-Given", &sent[3].to_string());
    let known = sent[3].to_string();
    let next = fetch(&bob, &room, false, &[("limit", "2"), ("lastKnownMessageId", &known)]);
    assert_eq!(texts(&next), ["3", "2"]);
    let with = [("limit", "2"), ("lastKnownMessageId", known.as_str()), ("includeLastKnown", "1")];
    assert_eq!(texts(&fetch(&bob, &room, false, &with)), ["4", "3"]);
    let rest = fetch(&bob, &room, false, &[("lastKnownMessageId", &sent[0].to_string())]);
    assert_eq!(texts(&rest), ["{actor} added you", "{actor} created the conversation"]);
    fetch(&bob, &room, false, &[("lastKnownMessageId", rest.header("X-Chat-Last-Given"))]).not_modified();
}

#[test]
fn the_future_goes_from_the_oldest_on() {
    let (_server, alice, bob, room) = two();
    let sent: Vec<i64> = (1..=4).map(|number| id(&alice.says(&room, &number.to_string()))).collect();
    let page = fetch(&bob, &room, true, &[("lastKnownMessageId", &sent[0].to_string()), ("limit", "2")]);
    assert_eq!(texts(&page), ["2", "3"]);
    page.has_header("X-Chat-Last-Given", &sent[2].to_string());
    assert_eq!(texts(&fetch(&bob, &room, true, &[("lastKnownMessageId", &sent[2].to_string())])), ["4"]);
    let with = [("lastKnownMessageId", &*sent[2].to_string()), ("includeLastKnown", "1")];
    assert_eq!(texts(&fetch(&bob, &room, true, &with)), ["3", "4"]);
    let all = ["{actor} created the conversation", "{actor} added you", "1", "2", "3", "4"];
    assert_eq!(texts(&fetch(&bob, &room, true, &[])), all);
    fetch(&bob, &room, true, &[("lastKnownMessageId", &sent[3].to_string())]).not_modified();
}

#[test]
fn a_message_of_another_conversation_is_no_place_to_start() {
    let (_server, alice, _, room) = two();
    alice.says(&room, "1");
    let elsewhere = id(&alice.says(&alice.creates_group("Tours"), "elsewhere"));
    alice.says(&room, "2");
    for known in [elsewhere.to_string(), "999999".to_owned(), "0".to_owned(), "-5".to_owned()] {
        let page = fetch(&alice, &room, false, &[("lastKnownMessageId", &known), ("limit", "2")]);
        assert_eq!(texts(&page), ["2", "1"]);
        let page = fetch(&alice, &room, true, &[("lastKnownMessageId", &known), ("limit", "1")]);
        assert_eq!(texts(&page), ["You created the conversation"]);
    }
}

#[test]
fn a_page_holds_a_hundred_or_as_many_as_asked_up_to_two_hundred() {
    let (_server, alice, _, room) = two();
    (0..210).for_each(|number| drop(alice.says(&room, &number.to_string())));
    let count = |parameters: &[(&str, &str)]| texts(&fetch(&alice, &room, false, parameters)).len();
    assert_eq!(count(&[]), 100);
    assert_eq!(count(&[("limit", "150")]), 150);
    assert_eq!(count(&[("limit", "1000")]), 200);
    assert_eq!(count(&[("limit", "0")]), 212);
    assert_eq!(count(&[("limit", "-1")]), 212);
}

#[test]
fn one_must_say_in_which_direction_to_look() {
    let cast = Cast::in_public();
    let path = cast.room.chat();
    cast.member.get(&path).invalid_query();
    cast.member.get(format!("{path}?lookIntoFuture=true")).expect(200);
    for who in cast.outside() {
        who.get(format!("{path}?lookIntoFuture=0")).refused(404, Empty);
        who.get(&path).refused(404, Empty);
    }
}

#[test]
fn nothing_new_is_told_inside_the_envelope_of_v1() {
    let (_server, alice, _, room) = two();
    let last = id(&alice.says(&room, "hello"));
    let path =
        format!("/ocs/v1.php/apps/spreed/api/v1/chat/{room}?lookIntoFuture=1&timeout=0&lastKnownMessageId={last}");
    let answer = alice.get(path);
    answer.has_status(200);
    assert_eq!(answer.meta()["statuscode"], 304);
}

#[test]
fn a_waiting_reader_is_woken_by_a_message() {
    let (server, alice, bob, room) = two();
    let carol = server.user("carol");
    alice.adds(&room, "carol");
    let known = id(&alice.last_message(&room));
    let path = format!("{}?lookIntoFuture=1&timeout=30&lastKnownMessageId={known}", room.chat());
    let waits = |who: &Person| {
        let (who, path) = (who.clone(), path.clone());
        thread::spawn(move || who.get(path))
    };
    let waiting = [waits(&bob), waits(&carol)];
    // A reader's marker moves just before they wait.
    for who in [&bob, &carol] {
        eventually("the reader waits", || who.sees(&room)["lastReadMessage"] == known);
    }
    alice.renames(&room, "Tours");
    for thread in waiting {
        let answer = thread.join().unwrap();
        assert_eq!(texts(&answer), ["{actor} renamed the conversation from \"Plans\" to \"Tours\""]);
    }
}

#[test]
fn many_may_wait_and_others_are_still_served() {
    let (_server, alice, bob, room) = two();
    let known = id(&alice.last_message(&room));
    let path = format!("{}?lookIntoFuture=1&timeout=30&lastKnownMessageId={known}", room.chat());
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            let (bob, path) = (bob.clone(), path.clone());
            thread::spawn(move || bob.get(path))
        })
        .collect();
    eventually("somebody waits", || bob.sees(&room)["lastReadMessage"] == known);
    assert_eq!(alice.lists().len(), 1);
    alice.says(&room, "hello");
    for thread in waiting {
        assert_eq!(texts(&thread.join().unwrap()), ["hello"]);
    }
}

// What is read

#[test]
fn only_the_messages_of_others_are_unread() {
    let (_server, alice, bob, room) = two();
    let unread = |who: &Person| who.sees(&room)["unreadMessages"].as_i64().unwrap();
    let first = alice.says(&room, "1");
    alice.says(&room, "2");
    alice.renames(&room, "Tours");
    assert_eq!((unread(&alice), unread(&bob)), (0, 2));
    let read = |value: &str| bob.post(format!("{}/read", room.chat()), &[("lastReadMessage", value)]);
    read(&first["id"].to_string()).done();
    assert_eq!((unread(&bob), bob.sees(&room)["lastReadMessage"].clone()), (1, first["id"].clone()));
    read("0").done();
    assert_eq!(unread(&bob), 2, "back to the beginning");
    let own = bob.says(&room, "3");
    assert_eq!((unread(&bob), bob.sees(&room)["lastReadMessage"].clone()), (0, own["id"].clone()));
    assert_eq!(unread(&alice), 1);
}

#[test]
fn only_members_with_an_account_have_a_read_marker() {
    let cast = Cast::in_public();
    let path = format!("{}/read", cast.room.chat());
    for who in cast.without_login() {
        who.post(&path, &[("lastReadMessage", "5")]).not_logged_in();
    }
    cast.outsider.post(&path, &[("lastReadMessage", "5")]).refused(404, Empty);
    cast.member.post(&path, &[]).invalid_query();
    cast.owner.sets_lobby(&cast.room, "1");
    cast.owner.sets_read_only(&cast.room, "1");
    cast.member.post(&path, &[("lastReadMessage", "123456")]).done();
    cast.owner.sets_lobby(&cast.room, "0");
    assert_eq!(cast.member.sees(&cast.room)["lastReadMessage"], 123_456, "unchecked");
    assert_eq!(cast.guest.sees(&cast.room)["lastReadMessage"], 0);
}

#[test]
fn looking_into_the_future_reads_what_one_knows() {
    let (_server, alice, bob, room) = two();
    let (first, second) = (id(&alice.says(&room, "1")), id(&alice.says(&room, "2")));
    let marker = || bob.sees(&room)["lastReadMessage"].clone();
    let before = marker();
    let known = first.to_string();
    fetch(&bob, &room, true, &[("lastKnownMessageId", &known), ("setReadMarker", "0")]).expect(200);
    fetch(&bob, &room, false, &[("lastKnownMessageId", &second.to_string())]).expect(200);
    assert_eq!(marker(), before, "neither when told not to nor for history");
    fetch(&bob, &room, true, &[("lastKnownMessageId", &known)]).expect(200);
    assert_eq!(marker(), first, "what was given, not what was answered");
    fetch(&bob, &room, true, &[("lastKnownMessageId", &second.to_string())]).not_modified();
    fetch(&bob, &room, true, &[("lastKnownMessageId", &known)]).expect(200);
    assert_eq!(marker(), second, "never back");
}

// Mentions

#[test]
fn mentions_become_parameters() {
    let (server, alice, _, room) = two();
    let cases = [
        ("Hello @bob!", "Hello {mention-user1}!", json!({"mention-user1": ["user", "bob", "Bob Baker"]})),
        (
            "@bob, @carol and @bob",
            "{mention-user1}, {mention-user2} and {mention-user1}",
            json!({"mention-user1": ["user", "bob", "Bob Baker"], "mention-user2": ["user", "carol", "Carol Cook"]}),
        ),
        (
            "to @\"gina rossi\" too",
            "to {mention-user1} too",
            json!({"mention-user1": ["user", "gina rossi", "Gina Rossi"]}),
        ),
        ("-@bob", "-{mention-user1}", json!({"mention-user1": ["user", "bob", "Bob Baker"]})),
        ("@\"guest/0123abc\"", "{mention-guest1}", json!({"mention-guest1": ["guest", "guest/0123abc", "Guest"]})),
        ("see @\"bob\"", "see @\"bob\"", json!({"mention-user1": ["user", "bob", "Bob Baker"]})),
    ];
    for (text, shown, parameters) in cases {
        let sent = alice.says(&room, text);
        assert_eq!(sent["message"], shown, "{text}");
        let wanted: serde_json::Map<String, Value> = parameters
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.clone(), json!({"type": value[0], "id": value[1], "name": value[2]})))
            .collect();
        assert_eq!(sent["messageParameters"], Value::Object(wanted), "{text}");
    }
    for text in ["@bob.", "x@bob", "(@bob)", "@nobody", "@", "@ bob", "mail bob@example.org"] {
        let sent = alice.says(&room, text);
        assert_eq!((&sent["message"], &sent["messageParameters"]), (&json!(text), &json!([])));
    }
    assert_eq!(server.user("bob").last_message(&room)["message"], "mail bob@example.org");
}

#[test]
fn a_message_is_stored_also_when_nextcloud_cannot_say_whom_it_names() {
    let nextcloud = FakeNextcloud::start();
    let server = Server::with_only(&format!("{}login_cache = 600\n", nextcloud.impatient_section()));
    let alice = server.login("alice", "alice123456");
    eventually("she is known", || alice.get("/room").status == 200);
    let room = alice.creates_group("Plans");
    eventually("he is known", || alice.says(&room, "@bob?")["message"] == "{mention-user1}?");
    for behaviour in [Behaviour::Closed, Behaviour::Status(500), Behaviour::Hang] {
        nextcloud.set(behaviour);
        assert_eq!(alice.says(&room, "@carol and @bob")["message"], "@carol and {mention-user1}");
    }
    nextcloud.set(Behaviour::Ok);
    eventually("she is found", || alice.says(&room, "@carol")["message"] == "{mention-user1}");
}

#[test]
fn everybody_at_once_is_a_mention_of_the_conversation() {
    let server = Server::start();
    let alice = server.user("alice");
    let rooms = [
        (alice.creates_group("Plans"), "Plans", "group"),
        (alice.creates_public("Square"), "Square", "public"),
        (alice.talks_to("bob"), "Bob Baker", "one2one"),
    ];
    for (room, name, kind) in rooms {
        let sent = alice.says(&room, "look, @all");
        assert_eq!(sent["message"], "look, {mention-call1}");
        let parameter = json!({"type": "call", "id": room.token, "name": name, "call-type": kind});
        assert_eq!(sent["messageParameters"], json!({"mention-call1": parameter}));
    }
}

#[test]
fn who_is_mentioned_sees_a_flag_until_they_have_read() {
    let (server, alice, bob, room) = two();
    let carol = server.user("carol");
    alice.adds(&room, "carol");
    let flags = || [&alice, &bob, &carol].map(|who| who.sees(&room)["unreadMention"] == true);
    alice.says(&room, "nobody in particular");
    assert_eq!(flags(), [false, false, false]);
    let message = alice.says(&room, "@bob and @alice and @dave");
    assert_eq!(flags(), [false, true, false], "not the sender, not the outsider");
    alice.says(&room, "something else");
    assert_eq!(flags(), [false, true, false]);
    let path = format!("{}/read", room.chat());
    bob.post(&path, &[("lastReadMessage", &message["id"].to_string())]).done();
    assert_eq!(flags(), [false, false, false]);
    alice.says(&room, "@all");
    assert_eq!(flags(), [false, true, true]);
    server.user("dave").cannot_find(&room);
}

#[test]
fn a_reply_is_a_mention_of_the_one_who_is_answered() {
    let (_server, alice, bob, room) = two();
    let question = bob.says(&room, "Friday?");
    reply(&alice, &room, "Yes", &question).expect(201);
    assert_eq!(bob.sees(&room)["unreadMention"], true);
}

#[test]
fn who_wants_no_notifications_gets_no_flag() {
    let (_server, alice, bob, room) = two();
    bob.post(room.at("/notify"), &[("level", "3")]).done();
    alice.says(&room, "@bob @all");
    assert_eq!(bob.sees(&room)["unreadMention"], false);
    bob.post(room.at("/notify"), &[("level", "1")]).done();
    alice.says(&room, "@bob");
    assert_eq!(bob.sees(&room)["unreadMention"], true);
    let server = Server::with_config("[talk]\ndefault_group_notification = 3");
    let alice = server.user("alice");
    let room = alice.creates_group("Quiet");
    alice.adds(&room, "bob");
    alice.says(&room, "@bob");
    assert_eq!(server.user("bob").sees(&room)["unreadMention"], false);
}

// Suggestions

#[track_caller]
fn suggestions(who: &Person, room: &Room, search: &str) -> Vec<String> {
    let data =
        who.send(Request::new("GET", format!("{}/mentions", room.chat())).query(&[("search", search)])).expect(200);
    data.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn suggestions_name_everybody_else_inside() {
    let cast = Cast::in_public();
    let guests =
        [&cast.guest_session, &cast.guest_moderator_session].map(|session| format!("guest/{}", guest_id(session)));
    cast.guest.post(format!("/guest/{}/name", cast.room), &[("displayName", "Ana")]).done();
    let path = format!("{}/mentions", cast.room.chat());
    let data = cast.owner.get(format!("{path}?search=")).expect(200);
    let entries = data.as_array().unwrap();
    assert_eq!(entries[0], json!({"id": "all", "label": "Square", "source": "calls"}));
    assert!(entries.contains(&json!({"id": "erin", "label": "Erin Eads", "source": "users"})));
    assert!(entries.contains(&json!({"id": guests[0], "label": "Ana", "source": "guests"})));
    assert!(entries.contains(&json!({"id": guests[1], "label": "Guest", "source": "guests"})));
    assert_eq!(entries.len(), 6, "all, three users, two guests: {data}");
    assert!(!suggestions(&cast.guest, &cast.room, "").contains(&guests[0]), "not oneself");
    assert!(suggestions(&cast.guest, &cast.room, "").contains(&"alice".to_owned()));
    let pair = cast.owner.talks_to("bob");
    assert_eq!(suggestions(&cast.owner, &pair, ""), ["bob"]);
}

#[test]
fn suggestions_match_ids_and_names() {
    let cast = Cast::in_public();
    for (search, found) in [("BOB", vec!["bob"]), ("ook", vec!["carol"]), ("zzz", vec![]), ("al", vec!["all"])] {
        assert_eq!(suggestions(&cast.owner, &cast.room, search), found, "{search}");
    }
    assert_eq!(suggestions(&cast.owner, &cast.room, "Squ"), ["all"]);
    assert_eq!(suggestions(&cast.owner, &cast.room, "ar"), ["carol", "all"], "inside the conversation's name: last");
    cast.guest.post(format!("/guest/{}/name", cast.room), &[("displayName", "Bobette")]).done();
    let guest = format!("guest/{}", guest_id(&cast.guest_session));
    assert_eq!(suggestions(&cast.owner, &cast.room, "bob"), ["bob", &guest]);
}

#[test]
fn who_spoke_last_is_suggested_first() {
    let (server, alice, _, room) = two();
    alice.adds(&room, "carol");
    server.user("carol").says(&room, "hello");
    assert_eq!(suggestions(&alice, &room, ""), ["all", "carol", "bob"]);
    assert_eq!(suggestions(&alice, &room, "b"), ["bob"]);
}

#[test]
fn suggestions_are_for_those_who_may_write() {
    let cast = Cast::in_public();
    let path = format!("{}/mentions", cast.room.chat());
    cast.member.get(&path).invalid_query();
    for who in cast.outside() {
        who.get(format!("{path}?search=")).refused(404, Empty);
    }
    cast.owner.sets_lobby(&cast.room, "1");
    cast.member.get(format!("{path}?search=")).refused(412, Empty);
    cast.owner.sets_lobby(&cast.room, "0");
    cast.owner.sets_read_only(&cast.room, "1");
    cast.owner.get(format!("{path}?search=")).refused(403, Empty);
}

// Commands

#[test]
fn help_answers_only_the_one_who_asked() {
    let (_server, alice, bob, room) = two();
    let before = bob.last_message(&room);
    let help = alice.says(&room, "/help");
    assert_eq!(help["message"], "There are currently no commands available.");
    assert_eq!((&help["actorType"], &help["actorId"]), (&json!("bots"), &json!("talk")));
    assert_eq!((&help["messageType"], &help["isReplyable"]), (&json!("command"), &json!(false)));
    assert_eq!(help["actorDisplayName"], "talk-bot");
    assert_eq!(alice.last_message(&room), help);
    assert_eq!(bob.last_message(&room), json!([]), "and nothing older in its place");
    assert_eq!(bob.sees(&room)["unreadMessages"], 0);
    assert_eq!(bob.reads_history(&room)[0], before);
    reply(&alice, &room, "thanks", &help).refused(400, Null);
}

#[test]
fn a_page_of_nothing_but_hidden_messages_is_an_empty_page() {
    let (_server, alice, bob, room) = two();
    let known = id(&bob.last_message(&room));
    let help = alice.says(&room, "/help");
    let page = fetch(&bob, &room, true, &[("lastKnownMessageId", &known.to_string())]);
    assert_eq!(texts(&page), [""; 0]);
    page.has_header("X-Chat-Last-Given", &help["id"].to_string());
}

#[test]
fn an_unknown_command_is_said_to_be_unknown() {
    let (_server, alice, bob, room) = two();
    for text in ["/x", "/dance with me"] {
        assert_eq!(alice.says(&room, text)["message"], "The command does not exist", "{text}");
    }
    let shown = alice.says(&room, "//x");
    assert_eq!((&shown["message"], &shown["messageType"]), (&json!("/x"), &json!("comment")));
    assert_eq!(bob.last_message(&room)["message"], "/x");
    assert_eq!(bob.sees(&room)["unreadMessages"], 1);
}

#[test]
fn guests_share_what_the_bot_tells_one_of_them() {
    let cast = Cast::in_public();
    let help = cast.guest.says(&cast.room, "/help");
    assert_eq!(cast.guest_moderator.last_message(&cast.room), help);
    assert_eq!(cast.member.last_message(&cast.room), json!([]));
}
