//! `GET /room` and `GET /room/{token}`: the conversation as each reader sees it.

mod support;

use serde_json::{Value, json};
use support::{Cast, Person, Room, Server};

/// Every field of a conversation, in the order in which it is sent.
const FIELDS: [&str; 29] = [
    "id",
    "token",
    "type",
    "name",
    "displayName",
    "objectType",
    "objectId",
    "participantType",
    "participantInCall",
    "participantFlags",
    "readOnly",
    "count",
    "hasPassword",
    "hasCall",
    "canStartCall",
    "lastActivity",
    "lastReadMessage",
    "unreadMessages",
    "unreadMention",
    "isFavorite",
    "notificationLevel",
    "lobbyState",
    "lobbyTimer",
    "lastPing",
    "sessionId",
    "participants",
    "numGuests",
    "guestList",
    "lastMessage",
];

#[track_caller]
fn has_all_fields(room: &Value) {
    let fields: Vec<&String> = room.as_object().expect("a conversation").keys().collect();
    assert_eq!(fields, FIELDS);
}

/// The fields named in `wanted` have these values.
#[track_caller]
fn holds(room: &Value, wanted: Value) {
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&room[field], value, "{field} of {room}");
    }
}

#[test]
fn a_new_conversation_has_these_values() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let seen = alice.sees(&room);
    has_all_fields(&seen);
    assert!(seen["id"].as_i64().unwrap() > 0);
    assert!((seen["lastActivity"].as_i64().unwrap() - support::now()).abs() < 60);
    let mut rest = seen.as_object().unwrap().clone();
    for field in ["id", "lastActivity", "lastMessage"] {
        rest.remove(field);
    }
    assert_eq!(
        Value::from(rest),
        json!({
            "token": room.token, "type": 2, "name": "Plans", "displayName": "Plans", "objectType": "", "objectId": "",
            "participantType": 1, "participantInCall": false, "participantFlags": 0, "readOnly": 0, "count": 0,
            "hasPassword": false, "hasCall": false, "canStartCall": true, "lastReadMessage": 0, "unreadMessages": 0,
            "unreadMention": false, "isFavorite": false, "notificationLevel": 2, "lobbyState": 0, "lobbyTimer": 0,
            "lastPing": 0, "sessionId": "0",
            "participants": {"alice": {"name": "Alice Archer", "type": 1, "call": 0, "sessionId": "0"}},
            "numGuests": 0, "guestList": ""
        })
    );
}

#[test]
fn every_role_sees_its_own_type() {
    let cast = Cast::in_public();
    let types = [
        (&cast.owner, 1),
        (&cast.moderator, 2),
        (&cast.member, 3),
        (&cast.guest, 4),
        (&cast.self_joined, 5),
        (&cast.guest_moderator, 6),
    ];
    for (who, kind) in types {
        let seen = who.sees(&cast.room);
        has_all_fields(&seen);
        holds(&seen, json!({"participantType": kind, "name": "Square", "displayName": "Square", "canStartCall": true}));
        let ids: Vec<&String> = seen["participants"].as_object().unwrap().keys().collect();
        assert_eq!(ids.first().unwrap(), &"erin", "who pinged last comes first");
        assert_eq!(ids.len(), 4, "guests are counted, not listed: {ids:?}");
        holds(&seen, json!({"numGuests": 2, "guestList": ""}));
    }
}

#[test]
fn who_takes_no_part_sees_the_least_of_a_public_conversation() {
    let cast = Cast::in_public();
    cast.owner.put(cast.room.at("/password"), &[("password", "sesame")]).done();
    cast.owner.sets_read_only(&cast.room, "1");
    let id = cast.owner.sees(&cast.room)["id"].clone();
    for who in cast.outside() {
        let seen = who.sees(&cast.room);
        has_all_fields(&seen);
        assert_eq!(
            seen,
            json!({
                "id": id, "token": cast.room.token, "type": 3, "name": "", "displayName": "", "objectType": "",
                "objectId": "", "participantType": 4, "participantInCall": false, "participantFlags": 0, "readOnly": 0,
                "count": 0, "hasPassword": true, "hasCall": false, "canStartCall": false, "lastActivity": 0,
                "lastReadMessage": 0, "unreadMessages": 0, "unreadMention": false, "isFavorite": false,
                "notificationLevel": 3, "lobbyState": 0, "lobbyTimer": 0, "lastPing": 0, "sessionId": "0",
                "participants": [], "numGuests": 0, "guestList": "", "lastMessage": []
            })
        );
    }
}

#[test]
fn who_waits_in_the_lobby_sees_less() {
    let cast = Cast::in_public();
    cast.owner.says(&cast.room, "before the lobby closed");
    cast.owner.sets_lobby(&cast.room, "1");
    for who in cast.others() {
        let seen = who.sees(&cast.room);
        has_all_fields(&seen);
        holds(&seen, json!({"name": "Square", "displayName": "Square", "lobbyState": 1}));
        holds(&seen, json!({"canStartCall": false, "unreadMessages": 0, "lastReadMessage": 0, "unreadMention": false}));
        holds(&seen, json!({"participants": [], "numGuests": 0, "lastMessage": []}));
        assert_ne!(seen["lastActivity"], 0);
    }
    for who in cast.moderators() {
        let seen = who.sees(&cast.room);
        holds(&seen, json!({"lobbyState": 1, "canStartCall": true, "numGuests": 2}));
        assert_eq!(seen["participants"].as_object().unwrap().len(), 4);
        assert_ne!(seen["lastMessage"], json!([]));
    }
    assert_eq!(cast.outsider.sees(&cast.room)["lobbyState"], 0);
}

#[test]
fn a_session_is_512_characters_long_and_everybody_sees_it() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    let session = bob.joins(&room);
    assert_eq!(session.len(), 512);
    assert!(session.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '/'), "{session}");
    assert_eq!(bob.sees(&room)["sessionId"], session);
    let seen = alice.sees(&room);
    assert_eq!(seen["sessionId"], "0");
    assert_eq!(seen["participants"]["bob"]["sessionId"], session);
}

#[test]
fn count_is_the_number_of_people_who_are_there_now() {
    let server = Server::start();
    let (alice, bob, guest) = (server.user("alice"), server.user("bob"), server.guest());
    let room = alice.creates_public("Square");
    alice.adds(&room, "bob");
    let counts = || (alice.sees(&room)["count"].clone(), alice.sees(&room)["numGuests"].clone());
    assert_eq!(counts(), (json!(0), json!(0)));
    bob.joins(&room);
    assert_eq!(counts(), (json!(1), json!(0)));
    guest.joins(&room);
    assert_eq!(counts(), (json!(2), json!(1)));
    alice.joins(&room);
    assert_eq!(counts(), (json!(3), json!(1)));
    guest.leaves(&room);
    assert_eq!(counts(), (json!(2), json!(0)));
}

#[test]
fn only_participants_find_a_group() {
    let server = Server::start();
    let alice = server.user("alice");
    for room in [alice.creates_group("Plans"), alice.talks_to("bob"), Room { token: "nosuchroom".to_owned() }] {
        for who in [server.user("dave"), server.guest(), server.stranger(), server.wrong_password("alice")] {
            who.cannot_find(&room);
        }
    }
}

#[test]
fn the_list_holds_every_conversation_that_one_takes_part_in() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let plans = alice.creates_group("Plans");
    let square = alice.creates_public("Square");
    alice.creates_public("Elsewhere");
    alice.adds(&plans, "bob");
    bob.joins(&square);
    let pair = bob.talks_to("alice");
    let tokens = |who: &Person| who.lists().iter().map(Room::of).collect::<Vec<_>>();
    assert_eq!(tokens(&bob), [plans.clone(), square.clone(), pair.clone()], "oldest first");
    assert_eq!(tokens(&alice).len(), 4);
    assert_eq!(tokens(&server.user("dave")), []);
    bob.leaves(&square);
    assert_eq!(tokens(&bob), [plans, pair], "who joined themselves are gone when they leave");
}

#[test]
fn the_list_shows_what_a_single_conversation_shows() {
    let cast = Cast::in_public();
    cast.owner.says(&cast.room, "hello @carol");
    for who in [&cast.owner, &cast.member, &cast.self_joined] {
        let list = who.lists();
        list.iter().for_each(has_all_fields);
        assert_eq!(list, [who.sees(&cast.room)]);
    }
    cast.owner.sets_lobby(&cast.room, "1");
    assert_eq!(cast.member.lists(), [cast.member.sees(&cast.room)]);
}

#[test]
fn only_people_with_an_account_have_a_list() {
    for who in Cast::in_public().without_login() {
        who.get("/room").not_logged_in();
    }
}

#[test]
fn a_guest_is_known_by_the_cookie_alone() {
    let cast = Cast::in_public();
    assert!(cast.guest.cookie().starts_with("roomd_guest="), "{}", cast.guest.cookie());
    assert_eq!(cast.guest.sees(&cast.room)["sessionId"], cast.guest_session);
    let request = support::Request::new("GET", cast.room.at("")).header("Cookie", "roomd_guest=made-up");
    assert_eq!(cast.stranger.send(request).expect(200)["sessionId"], "0");
}

#[test]
fn the_guest_cookie_is_kept_from_scripts() {
    let server = Server::start();
    let room = server.user("alice").creates_public("Square");
    let answer = server.guest().post(room.at("/participants/active"), &[]);
    let cookie = answer.header("Set-Cookie").to_ascii_lowercase();
    answer.check(cookie.starts_with("roomd_guest=") && cookie.contains("httponly"), "an HttpOnly roomd_guest cookie");
}

#[test]
fn reading_says_which_settings_it_was_rendered_with() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_public("Square");
    let hash = alice.get("/room").header("X-Nextcloud-Talk-Hash").to_owned();
    assert!(!hash.is_empty());
    for who in [&alice, &server.stranger()] {
        who.get(room.at("")).has_header("X-Nextcloud-Talk-Hash", &hash);
    }
    server.guest().get("/room/nosuchroom").has_header("X-Nextcloud-Talk-Hash", "");
    alice.post("/room", &[("roomType", "2"), ("roomName", "x")]).has_header("X-Nextcloud-Talk-Hash", "");
    alice.post(room.at("/participants/active"), &[]).has_header("X-Nextcloud-Talk-Hash", "");
}

#[test]
fn the_hash_changes_with_the_settings() {
    let hash = |server: Server| server.user("alice").get("/room").header("X-Nextcloud-Talk-Hash").to_owned();
    let usual = hash(Server::start());
    assert_eq!(usual, hash(Server::start()));
    assert_ne!(usual, hash(Server::with_config("[talk]\nstun_servers = [\"stun.example.org:443\"]")));
}

#[test]
fn start_calls_decides_who_is_shown_the_button() {
    let shown = |value: &str| {
        let cast = Cast::on(Server::with_config(&format!("[talk]\nstart_calls = {value}")));
        let everyone = cast.moderators().into_iter().chain(cast.others());
        everyone.map(|who| who.sees(&cast.room)["canStartCall"] == true).collect::<Vec<_>>()
    };
    // Owner, moderator, guest moderator; member, self-joined, guest.
    assert_eq!(shown("0"), [true; 6]);
    assert_eq!(shown("1"), [true, true, true, true, true, false]);
    assert_eq!(shown("2"), [true, true, true, false, false, false]);
}

#[test]
fn nobody_outside_the_allowed_groups_may_use_talk_but_guests_may() {
    let server = Server::with_config("[talk]\nallowed_groups = [\"team\"]");
    let room = server.user("alice").creates_public("Square");
    let dave = server.user("dave");
    let refusal = support::Message::Text("Can not use Talk");
    dave.get("/room").refused(403, refusal);
    dave.get(room.at("")).refused(403, refusal);
    dave.post("/room", &[("roomType", "3"), ("roomName", "Mine")]).refused(403, refusal);
    server.guest().joins(&room);
    assert_eq!(server.user("bob").sees(&room)["type"], 3);
}
