//! What a conversation tells about itself: `lastMessage`, worded for whoever reads it.

mod support;

use roomd::talk::message::{Body, Message, People, Profile, Reading, System};
use roomd::talk::participant::{Actor, GuestId, UserId};
use roomd::talk::room::{Room as Stored, RoomId, RoomType};
use roomd::talk::token::Token;
use serde_json::{Value, json};
use smol_str::SmolStr;
use support::{Cast, Person, Room, Server, display_name, guest_id};

fn user(id: &str) -> Value {
    json!({"type": "user", "id": id, "name": display_name(id)})
}

fn guest(session: &str, name: &str) -> Value {
    json!({"type": "guest", "id": format!("guest/{}", guest_id(session)), "name": name})
}

/// The last message has this key, and this text for the one who did it and for somebody else.
#[track_caller]
fn announced(room: &Room, key: &str, doer: (&Person, &str), witness: (&Person, &str)) {
    for (reader, text) in [doer, witness] {
        let message = reader.last_message(room);
        assert_eq!((&message["systemMessage"], &message["message"]), (&json!(key), &json!(text)), "{message}");
    }
}

#[test]
fn a_system_message_has_these_fields() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let message = alice.last_message(&room);
    let keys: Vec<&String> = message.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "id",
            "token",
            "actorType",
            "actorId",
            "actorDisplayName",
            "timestamp",
            "message",
            "messageParameters",
            "systemMessage",
            "messageType",
            "isReplyable"
        ]
    );
    let mut rest = message.as_object().unwrap().clone();
    assert!(rest.remove("id").unwrap().as_i64().unwrap() > 0);
    let timestamp = rest.remove("timestamp").unwrap();
    assert_eq!(timestamp, alice.sees(&room)["lastActivity"]);
    assert_eq!(
        Value::from(rest),
        json!({
            "token": room.token, "actorType": "users", "actorId": "alice", "actorDisplayName": "Alice Archer",
            "message": "You created the conversation", "messageParameters": {"actor": user("alice")},
            "systemMessage": "conversation_created", "messageType": "system", "isReplyable": false
        })
    );
}

#[test]
fn settings_are_told_from_both_sides() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.promotes(&room, "bob");
    let announced = |key: &str, you: &str, they: &str| {
        announced(&room, key, (&alice, &format!("You {you}")), (&bob, &format!("{{actor}} {they}")));
    };
    let renamed = "renamed the conversation from \"Plans\" to \"a <b> & \"c\"\"";
    alice.renames(&room, "a <b> & \"c\"");
    announced("conversation_renamed", renamed, renamed);
    alice.post(room.at("/public"), &[]).done();
    announced("guests_allowed", "allowed guests", "allowed guests");
    alice.put(room.at("/password"), &[("password", "x")]).done();
    announced("password_set", "set a password", "set a password");
    alice.put(room.at("/password"), &[("password", "")]).done();
    announced("password_removed", "removed the password", "removed the password");
    alice.delete(room.at("/public"), &[]).done();
    announced("guests_disallowed", "disallowed guests", "disallowed guests");
    alice.sets_read_only(&room, "1");
    announced("read_only", "locked the conversation", "locked the conversation");
    alice.sets_read_only(&room, "0");
    announced("read_only_off", "unlocked the conversation", "unlocked the conversation");
    alice.sets_lobby(&room, "1");
    let restricted = "restricted the conversation to moderators";
    announced("lobby_non_moderators", restricted, restricted);
    alice.sets_lobby(&room, "0");
    announced("lobby_none", "opened the conversation to everyone", "opened the conversation to everyone");
    assert_eq!(bob.last_message(&room)["messageParameters"], json!({"actor": user("alice")}));
}

#[test]
fn people_read_about_themselves_as_you() {
    let server = Server::start();
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "carol");
    alice.adds(&room, "bob");
    let told = |key: &str, [to_alice, to_bob, to_carol]: [&str; 3]| {
        announced(&room, key, (&alice, to_alice), (&carol, to_carol));
        assert_eq!(bob.last_message(&room)["message"], to_bob);
        assert_eq!(
            carol.last_message(&room)["messageParameters"],
            json!({"actor": user("alice"), "user": user("bob")})
        );
    };
    told("user_added", ["You added {user}", "{actor} added you", "{actor} added {user}"]);
    alice.promotes(&room, "bob");
    let promoted = ["You promoted {user} to moderator", "{actor} promoted you to moderator"];
    told("moderator_promoted", [promoted[0], promoted[1], "{actor} promoted {user} to moderator"]);
    alice.delete(room.at("/moderators"), &[("participant", "bob")]).done();
    let demoted = ["You demoted {user} from moderator", "{actor} demoted you from moderator"];
    told("moderator_demoted", [demoted[0], demoted[1], "{actor} demoted {user} from moderator"]);
    alice.removes(&room, "bob");
    announced(&room, "user_removed", (&alice, "You removed {user}"), (&carol, "{actor} removed {user}"));
}

#[test]
fn who_leaves_for_good_is_said_to_have_left() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    bob.removes_themselves(&room);
    let message = alice.last_message(&room);
    assert_eq!(
        (&message["systemMessage"], &message["message"]),
        (&json!("user_removed"), &json!("{actor} left the conversation"))
    );
    assert_eq!(message["messageParameters"], json!({"actor": user("bob"), "user": user("bob")}));
}

#[test]
fn guests_have_an_id_made_of_their_session_and_never_read_you() {
    let cast = Cast::in_public();
    let actor = guest_id(&cast.guest_moderator_session);
    cast.guest_moderator.renames(&cast.room, "Circus");
    let text = "{actor} renamed the conversation from \"Square\" to \"Circus\"";
    for reader in [&cast.guest_moderator, &cast.owner] {
        let message = reader.last_message(&cast.room);
        assert_eq!(message["message"], text);
        assert_eq!((&message["actorType"], &message["actorId"]), (&json!("guests"), &json!(actor)));
        assert_eq!(message["actorDisplayName"], "");
        assert_eq!(message["messageParameters"], json!({"actor": guest(&cast.guest_moderator_session, "Guest")}));
    }
}

#[test]
fn a_guests_promotion_is_announced_to_all() {
    let cast = Cast::in_public();
    cast.owner.promotes_guest(&cast.room, &cast.guest_session);
    let told = |key: &str, you: &str, they: &str| {
        announced(&cast.room, key, (&cast.owner, you), (&cast.member, they));
        let parameters = cast.member.last_message(&cast.room)["messageParameters"].clone();
        assert_eq!(parameters, json!({"actor": user("alice"), "user": guest(&cast.guest_session, "Guest")}));
    };
    told("guest_moderator_promoted", "You promoted {user} to moderator", "{actor} promoted {user} to moderator");
    cast.owner.delete(cast.room.at("/moderators"), &[("sessionId", &cast.guest_session)]).done();
    told("guest_moderator_demoted", "You demoted {user} from moderator", "{actor} demoted {user} from moderator");
}

#[test]
fn what_changes_nothing_or_concerns_one_person_is_not_activity() {
    let cast = Cast::in_public();
    let before = cast.owner.sees(&cast.room);
    cast.member.joins(&cast.room);
    cast.member.leaves(&cast.room);
    cast.outsider.joins(&cast.room);
    cast.server.guest().joins(&cast.room);
    cast.guest.leaves(&cast.room);
    cast.member.post(cast.room.at("/favorite"), &[]).done();
    cast.member.post(cast.room.at("/notify"), &[("level", "3")]).done();
    cast.owner.renames(&cast.room, "Square");
    cast.owner.sets_read_only(&cast.room, "0");
    cast.owner.sets_lobby(&cast.room, "0");
    cast.owner.delete(cast.room.at("/participants/guests"), &[("participant", &cast.guest_moderator_session)]).done();
    let after = cast.owner.sees(&cast.room);
    assert_eq!(after["lastMessage"], before["lastMessage"]);
    assert_eq!(after["lastActivity"], before["lastActivity"]);
}

#[test]
fn system_messages_are_never_unread() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.renames(&room, "Tours");
    for who in [&alice, &bob] {
        assert_eq!(who.sees(&room)["unreadMessages"], 0);
    }
}

#[test]
fn ids_rise_from_message_to_message() {
    let server = Server::start();
    let alice = server.user("alice");
    let (plans, tours) = (alice.creates_group("Plans"), alice.creates_group("Tours"));
    let mut last = 0;
    for (room, name) in [(&plans, "A"), (&tours, "B"), (&plans, "C")] {
        alice.renames(room, name);
        let id = alice.last_message(room)["id"].as_i64().unwrap();
        assert!(id > last);
        last = id;
    }
}

/// People of whom only the id is known.
struct Ids;

impl People for Ids {
    fn profile(&self, id: &UserId) -> roomd::error::Result<Profile> {
        Ok(Profile::unknown(id))
    }
    fn guest_name(&self, _: RoomId, _: GuestId) -> roomd::error::Result<SmolStr> {
        Ok(SmolStr::default())
    }
}

#[test]
fn the_end_of_a_call_names_five_at_most() {
    let room = Stored::new(1, Token::parse("abcd").unwrap(), RoomType::Public, "Square".into());
    let seconds = [(0, "0:00"), (7, "0:07"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00"), (36_061, "10:01:01")];
    let texts = [
        (0, 0, "0 guests"),
        (0, 2, "2 guests"),
        (1, 1, "{user1} and 1 guest"),
        (1, 3, "{user1} and 3 guests"),
        (2, 0, "{user1} and {user2}"),
        (2, 1, "{user1}, {user2} and 1 guest"),
        (3, 0, "{user1}, {user2} and {user3}"),
        (4, 0, "{user1}, {user2}, {user3} and {user4}"),
        (4, 2, "{user1}, {user2}, {user3}, {user4} and 2 guests"),
        (5, 0, "{user1}, {user2}, {user3}, {user4} and {user5}"),
        (5, 1, "{user1}, {user2}, {user3}, {user4} and 2 others"),
        (6, 0, "{user1}, {user2}, {user3}, {user4} and 2 others"),
        (9, 3, "{user1}, {user2}, {user3}, {user4} and 8 others"),
    ];
    let durations = seconds.iter().map(|(seconds, shown)| (2, 0, "{user1} and {user2}", *seconds, *shown));
    for (users, guests, people, duration, shown) in
        texts.iter().map(|(u, g, p)| (*u, *g, *p, 61, "1:01")).chain(durations)
    {
        let users: Vec<UserId> = (1..=users).map(|n| UserId::new(format!("u{n}"))).collect();
        let body = Body::System(System::CallEnded { users, guests, duration });
        let message = Message { id: 1, actor: Actor::Guests, timestamp: 0, comments: 0, body };
        let reading = Reading { room: &room, room_name: "Square", reader: None, people: &Ids };
        let view = serde_json::to_value(reading.view(&message).unwrap()).unwrap();
        assert_eq!(view["message"], format!("Call with {people} (Duration {shown})"));
        let named = people.matches('{').count();
        assert_eq!(view["messageParameters"].as_object().map_or(0, |named| named.len()), named);
        if named > 0 {
            assert_eq!(view["messageParameters"]["user1"], json!({"type": "user", "id": "u1", "name": "u1"}));
        }
    }
}
