//! Accounts that Nextcloud deleted: they leave their conversations, and what they wrote is deleted users'.

mod support;

use roomd::api::account;
use roomd::store::people::unheard_of;
use serde_json::{Value, json};
use support::Message::Null;
use support::clock::{Clock, Who};
use support::nextcloud::{FakeNextcloud, Version};
use support::{Person, Request, Room, Server};

fn config(nextcloud: &FakeNextcloud, service: Option<(&str, &str)>) -> String {
    let service =
        service.map(|(user, password)| format!("service_user = \"{user}\"\nservice_password = \"{password}\"\n"));
    format!("{}login_cache = 1\n{}", nextcloud.section(), service.unwrap_or_default())
}

const ADMIN: Option<(&str, &str)> = Some(("admin", "admin"));

fn user(server: &Server, id: &str) -> Person {
    server.login(id, &format!("{id}123456"))
}

/// Somebody invites an account, which makes roomd look it up.
fn looks_up(who: &Person, id: &str) {
    who.post("/room", &[("roomType", "1"), ("invite", id)]).refused(404, Null);
}

/// The newest message in the history whose key or text this is.
#[track_caller]
fn message(who: &Person, room: &Room, key: &str) -> Value {
    let history = who.reads_history(room);
    let found = history.iter().find(|m| m["systemMessage"] == key || m["message"] == key);
    found.unwrap_or_else(|| panic!("no {key} in {history:?}")).clone()
}

#[test]
fn an_account_that_is_gone_leaves_its_conversations() {
    let nextcloud = FakeNextcloud::start();
    let server = Server::with_only(&config(&nextcloud, ADMIN));
    let (alice, bob, carol) = (user(&server, "alice"), user(&server, "bob"), user(&server, "carol"));
    carol.lists();
    let group = alice.creates_group("Plans");
    alice.adds(&group, "bob");
    alice.adds(&group, "carol");
    alice.promotes(&group, "bob");
    bob.joins(&group);
    let said = bob.says(&group, "I was here");
    alice.says(&group, "so was @bob");
    bob.renames(&group, "Tours");
    let (pair, alone) = (bob.talks_to("alice"), bob.creates_public("Mine"));
    bob.says(&pair, "hello");
    let owned = bob.creates_public("Ours");
    bob.adds(&owned, "alice");
    let only_passing = bob.creates_public("Bob and passers-by");
    carol.joins(&only_passing);

    nextcloud.remove("bob");
    looks_up(&alice, "bob");

    // In the group: the message that says so, and who it was.
    let left = alice.last_message(&group);
    assert_eq!(
        (&left["systemMessage"], &left["message"]),
        (&json!("user_removed"), &json!("{actor} left the conversation"))
    );
    assert_eq!(left["messageParameters"]["user"], json!({"type": "user", "id": "bob", "name": "bob"}));
    let ids: Vec<Value> = alice.participants(&group).into_iter().map(|p| p["userId"].clone()).collect();
    assert_eq!(ids, ["alice", "carol"]);
    assert!(alice.sees(&group)["participants"].get("bob").is_none());
    // What he wrote before.
    let old = message(&carol, &group, "I was here");
    assert_eq!(old["id"], said["id"]);
    assert_eq!(
        (&old["actorType"], &old["actorId"], &old["actorDisplayName"], &old["isReplyable"]),
        (&json!("deleted_users"), &json!("deleted_users"), &json!(""), &json!(false))
    );
    let reply = [("message", "really?"), ("replyTo", &*said["id"].to_string())];
    carol.post(group.chat(), &reply).refused(400, Null);
    // What he did, what was done to him, and where he is named.
    let gone = json!({"type": "user", "id": "deleted_users", "name": "deleted_users"});
    assert_eq!(message(&alice, &group, "conversation_renamed")["messageParameters"]["actor"], gone);
    let former = json!({"type": "user", "id": "bob", "name": "bob"});
    assert_eq!(message(&alice, &group, "user_added")["messageParameters"]["actor"]["id"], "alice");
    assert_eq!(message(&alice, &group, "moderator_promoted")["messageParameters"]["user"], former);
    let mention = message(&alice, &group, "so was {mention-user1}");
    assert_eq!(mention["messageParameters"]["mention-user1"], former);
    // The conversation of two.
    let seen = alice.sees(&pair);
    assert_eq!((&seen["name"], &seen["displayName"]), (&json!("bob"), &json!("Deleted user (bob)")));
    assert_eq!(seen["participants"].as_object().unwrap().len(), 1);
    alice.says(&pair, "are you there?");
    assert_eq!(alice.sees(&pair)["displayName"], "Deleted user (bob)", "he is not brought back");
    // Conversations that nobody holds any more are gone, others go on.
    for room in [&alone, &only_passing] {
        carol.cannot_find(room);
    }
    assert_eq!(alice.sees(&owned)["displayName"], "Ours");
    assert_eq!(alice.last_message(&owned)["systemMessage"], "user_removed");
    // He is nobody here.
    alice.post(group.at("/participants"), &[("newParticipant", "bob")]).refused(404, Null);
    assert_eq!(alice.says(&group, "bye @bob")["messageParameters"], json!([]));
    let suggested = alice.send(Request::new("GET", format!("{}/mentions", group.chat())).query(&[("search", "bo")]));
    assert_eq!(suggested.expect(200), json!([]));
}

#[test]
fn an_account_that_is_gone_ends_its_call() {
    let nextcloud = FakeNextcloud::start();
    let server = Server::with_only(&config(&nextcloud, ADMIN));
    let (alice, bob) = (user(&server, "alice"), user(&server, "bob"));
    bob.lists();
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    bob.joins(&room);
    bob.post(room.call(), &[]).done();
    nextcloud.remove("bob");
    looks_up(&alice, "bob");
    assert_eq!(alice.sees(&room)["hasCall"], false);
}

#[test]
fn nobody_is_deleted_on_the_word_of_who_cannot_know() {
    for service in [None, Some(("admin", "wrong"))] {
        let nextcloud = FakeNextcloud::start();
        let server = Server::with_only(&config(&nextcloud, service));
        let (alice, bob) = (user(&server, "alice"), user(&server, "bob"));
        bob.lists();
        let room = alice.creates_group("Plans");
        alice.adds(&room, "bob");
        bob.says(&room, "hello");
        nextcloud.remove("bob");
        looks_up(&alice, "bob");
        assert_eq!(alice.sees(&room)["participants"]["bob"]["name"], "Bob B.", "{service:?}");
        assert_eq!(message(&alice, &room, "hello")["actorId"], "bob", "{service:?}");
    }
}

#[test]
fn an_account_that_only_hides_stays() {
    let nextcloud = FakeNextcloud::start();
    let clock = Clock::with_config(&config(&nextcloud, Some(("dave", "dave123456"))));
    let now = 1_600_000_000;
    knows(&clock, &["bob"], now);
    // bob exists, and dave is not told so.
    for version in [Version::V18, Version::V30] {
        nextcloud.set_version(version);
        account::purge_if_gone(&clock.app, &id("bob"), now + 5).unwrap();
        assert!(exists(&clock, "bob"), "{version:?}");
    }
}

// The slow look in the background

fn id(text: &str) -> roomd::talk::participant::UserId {
    roomd::talk::participant::UserId::new(text)
}

fn knows(clock: &Clock, ids: &[&'static str], now: i64) {
    for account in ids.iter().copied() {
        clock.app.store.write(move |t| t.put_profile(&id(account), account.into(), now)).unwrap();
    }
}

fn exists(clock: &Clock, account: &str) -> bool {
    let stored = clock.app.store.read(|t| roomd::store::people::stored_profile(t, &id(account))).unwrap();
    stored.is_some_and(|profile| profile.exists)
}

const DAY: i64 = 24 * 3600;

#[test]
fn the_background_asks_about_those_not_heard_of_for_a_day() {
    let nextcloud = FakeNextcloud::start();
    let clock = Clock::with_config(&config(&nextcloud, ADMIN));
    let now = 1_600_000_000;
    knows(&clock, &["alice", "bob", "carol", "dave"], now);
    knows(&clock, &["erin"], now + 10);
    let (alice, token) = (Who::User("alice"), "token");
    let room = clock.ask(now, &alice, "POST", "/room?roomType=2&roomName=Plans").expect(201)[token].clone();
    let path = format!("/room/{}", room.as_str().unwrap());
    clock
        .app
        .store
        .read(|t| {
            assert_eq!(unheard_of(t, now..=now + DAY, 10)?, []);
            assert_eq!(unheard_of(t, now + 1..=now + DAY, 2)?, [id("alice"), id("bob")]);
            Ok(())
        })
        .unwrap();
    nextcloud.remove("alice");
    nextcloud.remove("erin");
    account::look_for_gone(&clock.app, now + DAY);
    assert_eq!(nextcloud.all_requests(), 0, "a day is not over");
    account::look_for_gone(&clock.app, now + DAY + 1);
    assert_eq!((exists(&clock, "alice"), exists(&clock, "bob"), exists(&clock, "erin")), (false, true, true));
    clock.ask(now + DAY + 1, &Who::User("bob"), "GET", &path).refused(404, Null);
    let asked = nextcloud.all_requests();
    account::look_for_gone(&clock.app, now + DAY + 2);
    assert_eq!(nextcloud.all_requests(), asked, "each once a day");
    account::look_for_gone(&clock.app, now + DAY + 11);
    assert!(!exists(&clock, "erin"));
}

#[test]
fn accounts_that_nobody_can_tell_of_do_not_stand_in_the_way_of_others() {
    let nextcloud = FakeNextcloud::start();
    let clock = Clock::with_config(&config(&nextcloud, Some(("dave", "dave123456"))));
    let now = 1_600_000_000;
    knows(&clock, &["a", "admin", "alice", "b", "bob", "c", "carol", "dave", "erin", "frank"], now);
    for round in 0..3 {
        account::look_for_gone(&clock.app, now + DAY + 60 + round);
    }
    let asked = |user: &str| nextcloud.requests(&format!("/ocs/v2.php/cloud/users/{user}"));
    assert_eq!((asked("alice"), asked("bob"), asked("frank")), (1, 1, 1));
}

#[test]
fn without_a_service_account_nobody_is_asked() {
    let nextcloud = FakeNextcloud::start();
    let clock = Clock::with_config(&config(&nextcloud, None));
    knows(&clock, &["bob"], 0);
    nextcloud.remove("bob");
    account::look_for_gone(&clock.app, 10 * DAY);
    account::purge_if_gone(&clock.app, &id("bob"), 10 * DAY).unwrap();
    assert!(exists(&clock, "bob"));
    assert_eq!(nextcloud.all_requests(), 0);
}

#[test]
fn a_nextcloud_that_fails_deletes_nobody() {
    use support::nextcloud::Behaviour;
    let nextcloud = FakeNextcloud::start();
    let clock = Clock::with_config(&config(&nextcloud, ADMIN));
    knows(&clock, &["bob"], 0);
    for behaviour in [Behaviour::Html, Behaviour::Status(404), Behaviour::Status(500), Behaviour::Closed] {
        nextcloud.set(behaviour.clone());
        account::look_for_gone(&clock.app, 10 * DAY);
        assert!(exists(&clock, "bob"), "{behaviour:?}");
    }
}
