//! `POST /room/{token}/notify`: when one wants to be notified.

mod support;

use serde_json::json;
use support::Message::{Empty, Null};
use support::{Cast, Request, Server};

#[test]
fn every_member_chooses_for_themselves() {
    let cast = Cast::in_public();
    for who in [&cast.owner, &cast.moderator, &cast.member, &cast.self_joined] {
        for level in ["1", "3", "2"] {
            who.post(cast.room.at("/notify"), &[("level", level)]).done();
            assert_eq!(who.sees(&cast.room)["notificationLevel"].to_string(), level);
        }
    }
    cast.member.post(cast.room.at("/notify"), &[("level", "3")]).done();
    assert_eq!(cast.owner.sees(&cast.room)["notificationLevel"], 2);
}

#[test]
fn there_are_three_levels() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    alice.post(room.at("/notify"), &[("level", "1")]).done();
    for level in ["0", "4", "-1", "abc", "", "257"] {
        alice.post(room.at("/notify"), &[("level", level)]).refused(400, Null);
    }
    alice.post(room.at("/notify"), &[]).invalid_query();
    alice.send(Request::new("POST", room.at("/notify")).json(&json!({"level": null}))).invalid_query();
    assert_eq!(alice.sees(&room)["notificationLevel"], 1);
}

#[test]
fn a_level_is_read_as_loosely_as_php_reads_it() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let levels = [
        (json!(3), 3),
        (json!("2"), 2),
        (json!(true), 1),
        (json!(3.9), 3),
        (json!("2x"), 2),
        (json!([3]), 1),
        (json!({"a": 3}), 1),
    ];
    for (sent, taken) in levels {
        alice.send(Request::new("POST", room.at("/notify")).json(&json!({"level": sent}))).done();
        assert_eq!(alice.sees(&room)["notificationLevel"], taken, "for {sent}");
    }
    for refused in [json!(false), json!([]), json!("x3"), json!(0.9)] {
        alice.send(Request::new("POST", room.at("/notify")).json(&json!({"level": refused}))).refused(400, Null);
    }
}

#[test]
fn guests_are_not_asked() {
    let cast = Cast::in_public();
    for who in cast.without_login() {
        who.post(cast.room.at("/notify"), &[("level", "1")]).not_logged_in();
    }
    assert_eq!(cast.guest.sees(&cast.room)["notificationLevel"], 3);
    assert_eq!(cast.guest_moderator.sees(&cast.room)["notificationLevel"], 3);
}

#[test]
fn one_must_take_part() {
    let cast = Cast::in_public();
    cast.outsider.post(cast.room.at("/notify"), &[("level", "1")]).refused(404, Empty);
    cast.outsider.post(cast.room.at("/notify"), &[]).refused(404, Empty);
    cast.owner.post("/room/nosuchroom/notify", &[("level", "1")]).refused(404, Empty);
}

#[test]
fn who_never_chose_sees_the_usual_level() {
    let server = Server::start();
    let alice = server.user("alice");
    assert_eq!(alice.sees(&alice.creates_group("Plans"))["notificationLevel"], 2);
    assert_eq!(alice.sees(&alice.creates_public("Square"))["notificationLevel"], 2);
    assert_eq!(alice.sees(&alice.talks_to("bob"))["notificationLevel"], 1);
}

#[test]
fn the_administrator_sets_the_usual_level_of_groups() {
    for level in [1, 2, 3] {
        let server = Server::with_config(&format!("[talk]\ndefault_group_notification = {level}"));
        let alice = server.user("alice");
        let room = alice.creates_group("Plans");
        assert_eq!(alice.sees(&room)["notificationLevel"], level);
        assert_eq!(alice.sees(&alice.talks_to("bob"))["notificationLevel"], 1);
        alice.post(room.at("/notify"), &[("level", "2")]).done();
        assert_eq!(alice.sees(&room)["notificationLevel"], 2, "one's own choice wins");
    }
}
