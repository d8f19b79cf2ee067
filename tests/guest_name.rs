//! `POST /guest/{token}/name`: the name that a guest goes by.

mod support;

use serde_json::json;
use support::Message::{Empty, Null};
use support::{Cast, Person, Request, guest_id};

fn name(cast: &Cast, who: &Person, name: &str) -> support::Answer {
    who.post(format!("/guest/{}/name", cast.room), &[("displayName", name)])
}

#[track_caller]
fn listed_name(cast: &Cast, session: &str) -> String {
    let list = cast.owner.participants(&cast.room);
    let entry = list.iter().find(|entry| entry["sessionId"] == session).expect("the guest is listed");
    entry["displayName"].as_str().unwrap().to_owned()
}

#[test]
fn guests_choose_and_change_their_name() {
    let cast = Cast::in_public();
    for chosen in ["Ana", "<b>Ana & Zoë</b> 🦀", "", "Ana again"] {
        name(&cast, &cast.guest, chosen).done();
        assert_eq!(listed_name(&cast, &cast.guest_session), chosen);
    }
    name(&cast, &cast.guest_moderator, "Chief").done();
    assert_eq!(listed_name(&cast, &cast.guest_moderator_session), "Chief");
    assert_eq!(listed_name(&cast, &cast.guest_session), "Ana again");
}

#[test]
fn people_with_an_account_have_a_name_already() {
    let cast = Cast::in_public();
    for who in [&cast.owner, &cast.moderator, &cast.member, &cast.self_joined] {
        name(&cast, who, "Somebody else").refused(403, Null);
    }
    for who in cast.outside() {
        name(&cast, who, "Nobody").refused(404, Empty);
    }
    assert_eq!(cast.owner.sees(&cast.room)["participants"]["carol"]["name"], "Carol Cook");
}

#[test]
fn the_name_must_be_sent_as_text_of_at_most_64_characters() {
    let cast = Cast::in_public();
    let path = format!("/guest/{}/name", cast.room);
    cast.guest.post(&path, &[]).invalid_query();
    cast.owner.post(&path, &[]).invalid_query();
    cast.guest.send(Request::new("POST", &path).json(&json!({"displayName": 7}))).invalid_query();
    let longest = "é".repeat(64);
    name(&cast, &cast.guest, &longest).done();
    name(&cast, &cast.guest, &"é".repeat(65)).refused(400, Null);
    assert_eq!(listed_name(&cast, &cast.guest_session), longest);
}

#[test]
fn lobby_and_read_only_do_not_matter() {
    let cast = Cast::in_public();
    cast.owner.sets_lobby(&cast.room, "1");
    cast.owner.sets_read_only(&cast.room, "1");
    name(&cast, &cast.guest, "Ana").done();
    assert_eq!(listed_name(&cast, &cast.guest_session), "Ana");
}

#[test]
fn messages_show_the_name_that_the_guest_has_now() {
    let cast = Cast::in_public();
    let id = format!("guest/{}", guest_id(&cast.guest_session));
    cast.owner.promotes_guest(&cast.room, &cast.guest_session);
    let user = |who: &Person| who.last_message(&cast.room)["messageParameters"]["user"].clone();
    assert_eq!(user(&cast.owner), json!({"type": "guest", "id": id, "name": "Guest"}));
    name(&cast, &cast.guest, "Ana").done();
    assert_eq!(user(&cast.owner)["name"], "Ana (guest)");
    cast.guest.put(cast.room.at(""), &[("roomName", "Ana's")]).done();
    let message = cast.owner.last_message(&cast.room);
    assert_eq!(message["actorDisplayName"], "Ana");
    assert_eq!(message["messageParameters"]["actor"], json!({"type": "guest", "id": id, "name": "Ana (guest)"}));
}

#[test]
fn a_name_belongs_to_one_session() {
    let cast = Cast::in_public();
    name(&cast, &cast.guest, "Ana").done();
    let again = cast.guest.joins(&cast.room);
    assert_eq!(listed_name(&cast, &again), "");
    assert_eq!(listed_name(&cast, &cast.guest_session), "Ana");
}
