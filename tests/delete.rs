//! `DELETE /room/{token}`: deleting a conversation.

mod support;

use support::Message::{Empty, Null};
use support::{Cast, Server};

#[test]
fn each_kind_of_moderator_may_delete() {
    for pick in 0..3 {
        let cast = Cast::in_public();
        cast.moderators()[pick].delete(cast.room.at(""), &[]).done();
        for who in cast.moderators().into_iter().chain(cast.others()).chain(cast.outside()) {
            who.cannot_find(&cast.room);
            who.delete(cast.room.at(""), &[]).refused(404, Empty);
        }
        assert_eq!(cast.member.lists().len(), 0);
    }
}

#[test]
fn nobody_else_may() {
    let cast = Cast::in_public();
    for who in cast.others() {
        who.delete(cast.room.at(""), &[]).refused(403, Empty);
    }
    for who in cast.outside() {
        who.delete(cast.room.at(""), &[]).refused(404, Empty);
    }
    assert_eq!(cast.owner.sees(&cast.room)["name"], "Square");
}

#[test]
fn a_one_to_one_conversation_can_only_be_left() {
    let server = Server::start();
    let room = server.user("alice").talks_to("bob");
    for who in [server.user("alice"), server.user("bob")] {
        who.delete(room.at(""), &[]).refused(400, Null);
        assert_eq!(who.lists().len(), 1);
    }
    server.user("carol").delete(room.at(""), &[]).refused(404, Empty);
}

#[test]
fn other_conversations_and_their_messages_stay() {
    let server = Server::start();
    let alice = server.user("alice");
    let (plans, tours) = (alice.creates_group("Plans"), alice.creates_group("Tours"));
    alice.renames(&tours, "Trips");
    alice.delete(plans.at(""), &[]).done();
    assert_eq!(alice.lists().len(), 1);
    assert_eq!(alice.last_message(&tours)["systemMessage"], "conversation_renamed");
    let next = alice.creates_group("Next");
    assert_ne!(alice.sees(&next)["id"], alice.sees(&tours)["id"]);
    assert_eq!(alice.reads_history(&next).len(), 1, "nothing of a deleted conversation comes back");
}
