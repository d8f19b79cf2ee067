//! One person for each role in a conversation, for the questions of who may do what.

use super::{Person, Room, Server};

/// A conversation with somebody of every kind around it.
pub struct Cast {
    pub server: Server,
    pub room: Room,
    pub owner: Person,
    pub moderator: Person,
    pub member: Person,
    /// Has an account and joined by the public link.
    pub self_joined: Person,
    pub guest: Person,
    pub guest_session: String,
    pub guest_moderator: Person,
    pub guest_moderator_session: String,
    /// Has an account and nothing to do with the conversation.
    pub outsider: Person,
    /// Has a cookie jar and never joined.
    pub stranger: Person,
    pub wrong_password: Person,
}

impl Cast {
    /// In a public conversation "Square": alice owns, bob moderates, carol was added, erin joined herself, two guests
    /// joined of whom one moderates, dave stayed out.
    pub fn in_public() -> Cast {
        Cast::on(Server::start())
    }

    /// The same on a server that was started in another way.
    pub fn on(server: Server) -> Cast {
        let owner = server.user("alice");
        let room = owner.creates_public("Square");
        owner.adds(&room, "bob");
        owner.promotes(&room, "bob");
        owner.adds(&room, "carol");
        let (self_joined, guest, guest_moderator) = (server.user("erin"), server.guest(), server.guest());
        self_joined.joins(&room);
        let guest_session = guest.joins(&room);
        let guest_moderator_session = guest_moderator.joins(&room);
        owner.promotes_guest(&room, &guest_moderator_session);
        Cast {
            room,
            owner,
            moderator: server.user("bob"),
            member: server.user("carol"),
            self_joined,
            guest,
            guest_session,
            guest_moderator,
            guest_moderator_session,
            outsider: server.user("dave"),
            stranger: server.stranger(),
            wrong_password: server.wrong_password("alice"),
            server,
        }
    }

    /// Those who may moderate by a route that is open to guests.
    pub fn moderators(&self) -> [&Person; 3] {
        [&self.owner, &self.moderator, &self.guest_moderator]
    }

    /// Those who take part and may not moderate.
    pub fn others(&self) -> [&Person; 3] {
        [&self.member, &self.self_joined, &self.guest]
    }

    /// Those who have no part in it.
    pub fn outside(&self) -> [&Person; 3] {
        [&self.outsider, &self.stranger, &self.wrong_password]
    }

    /// Those who are not logged in.
    pub fn without_login(&self) -> [&Person; 4] {
        [&self.guest, &self.guest_moderator, &self.stranger, &self.wrong_password]
    }
}
