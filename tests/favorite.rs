//! `POST` and `DELETE /room/{token}/favorite`: a mark of one's own.

mod support;

use support::Message::Empty;
use support::{Cast, Server};

#[test]
fn every_member_marks_for_themselves() {
    let cast = Cast::in_public();
    for who in [&cast.owner, &cast.moderator, &cast.member, &cast.self_joined] {
        assert_eq!(who.sees(&cast.room)["isFavorite"], false);
        for _ in 0..2 {
            who.post(cast.room.at("/favorite"), &[]).done();
            assert_eq!(who.lists()[0]["isFavorite"], true);
        }
    }
    cast.member.delete(cast.room.at("/favorite"), &[]).done();
    cast.member.delete(cast.room.at("/favorite"), &[]).done();
    assert_eq!(cast.member.sees(&cast.room)["isFavorite"], false);
    assert_eq!(cast.owner.sees(&cast.room)["isFavorite"], true, "the others keep theirs");
}

#[test]
fn guests_have_no_favourites() {
    let cast = Cast::in_public();
    for who in cast.without_login() {
        who.post(cast.room.at("/favorite"), &[]).not_logged_in();
        who.delete(cast.room.at("/favorite"), &[]).not_logged_in();
    }
}

#[test]
fn one_must_take_part() {
    let cast = Cast::in_public();
    cast.outsider.post(cast.room.at("/favorite"), &[]).refused(404, Empty);
    cast.outsider.delete(cast.room.at("/favorite"), &[]).refused(404, Empty);
    cast.owner.post("/room/nosuchroom/favorite", &[]).refused(404, Empty);
    cast.owner.delete("/room/nosuchroom/favorite", &[]).refused(404, Empty);
}

#[test]
fn neither_lobby_nor_read_only_matters_and_nothing_is_announced() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.sets_read_only(&room, "1");
    alice.sets_lobby(&room, "1");
    let before = alice.last_message(&room)["id"].clone();
    bob.post(room.at("/favorite"), &[]).done();
    assert_eq!(bob.sees(&room)["isFavorite"], true);
    assert_eq!(alice.last_message(&room)["id"], before);
}
