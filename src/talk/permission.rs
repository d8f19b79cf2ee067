//! Who may do what: the gate in front of every endpoint with a token (SPEC A.8).

use crate::error::{By, Error, Result};
use crate::talk::participant::{GuestId, Participant, UserId};
use crate::talk::room::{Room, RoomType};

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A logged-in user.
    User(UserId),
    /// Anybody else. With a digest of roomd's cookie when the client sent one.
    Guest(Option<[u8; 32]>),
}

impl Identity {
    /// The user, when logged in.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Identity::User(id) => Some(id),
            Identity::Guest(_) => None,
        }
    }
}

/// What the caller must be in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing: the endpoint decides.
    Anyone,
    /// A participant, guests included.
    Participant,
    /// A moderator, guest moderators included.
    Moderator,
    /// A moderator with a login.
    UserModerator,
}

/// What must hold before an endpoint is reached. The route table says it for each route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// Guests get 401.
    pub login: bool,
    /// The caller's role in the conversation.
    pub role: Role,
    /// Refused while the conversation is read-only.
    pub read_write: bool,
    /// Refused to everybody but moderators while the lobby is closed.
    pub no_lobby: bool,
    /// Also for users whose groups may not use Talk.
    pub beyond_talk: bool,
}

impl Gate {
    /// Open to guests.
    pub const fn public(role: Role) -> Gate {
        Gate { login: false, role, read_write: false, no_lobby: false, beyond_talk: false }
    }

    /// Needs a login.
    pub const fn login(role: Role) -> Gate {
        Gate { login: true, role, read_write: false, no_lobby: false, beyond_talk: false }
    }

    /// The same gate for a route that is not Talk's own.
    pub const fn beyond_talk(mut self) -> Gate {
        self.beyond_talk = true;
        self
    }

    /// The same gate, shut while the lobby is closed.
    pub const fn no_lobby(mut self) -> Gate {
        self.no_lobby = true;
        self
    }

    /// The same gate, shut while the conversation is read-only.
    pub const fn read_write(mut self) -> Gate {
        self.read_write = true;
        self
    }

    /// Checks everything but the login, in Talk's order: participant, moderator, read-only, lobby.
    pub fn admit(&self, room: &Room, participant: Option<&Participant>) -> Result<()> {
        let kind = match (self.role, participant) {
            (Role::Anyone, _) => return Ok(()),
            (_, None) => return Err(Error::NotFound(By::Gate)),
            (_, Some(participant)) => participant.kind,
        };
        let allowed = match self.role {
            Role::Moderator => kind.is_moderator(),
            Role::UserModerator => kind.is_user_moderator(),
            Role::Anyone | Role::Participant => true,
        };
        if !allowed || (self.read_write && room.read_only) {
            return Err(Error::Forbidden(By::Gate));
        }
        if self.no_lobby && room.lobby_stops(kind) {
            return Err(Error::Lobby);
        }
        Ok(())
    }
}

/// Whether the conversation exists for this caller: public ones do for everybody, others for users in them.
pub fn can_find(room: &Room, caller: &Identity) -> bool {
    room.kind == RoomType::Public || caller.user().is_some_and(|id| room.user(id).is_some())
}

/// The caller as a participant. A user is never resolved by a guest session, nor the other way round.
pub fn participant_of<'a>(room: &'a Room, caller: &Identity, guest: Option<GuestId>) -> Option<&'a Participant> {
    match caller {
        Identity::User(id) => room.user(id),
        Identity::Guest(_) => guest.and_then(|id| room.guest(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::participant::{Actor, ParticipantType};
    use crate::talk::token::Token;

    const EVERY_KIND: [ParticipantType; 6] = [
        ParticipantType::Owner,
        ParticipantType::Moderator,
        ParticipantType::User,
        ParticipantType::Guest,
        ParticipantType::SelfJoined,
        ParticipantType::GuestModerator,
    ];

    fn room() -> Room {
        Room::new(1, Token::parse("abcd").unwrap(), RoomType::Public, "x".into())
    }

    fn admitted(gate: Gate, room: &Room) -> Vec<u8> {
        let participant = |kind| {
            let mut room = room.clone();
            let no = room.add(Actor::User(UserId::new("a")), kind);
            room.participant(no).unwrap().clone()
        };
        EVERY_KIND.iter().filter(|k| gate.admit(room, Some(&participant(**k))).is_ok()).map(|k| k.number()).collect()
    }

    #[test]
    fn roles_admit_the_types_that_they_name() {
        let room = room();
        assert_eq!(admitted(Gate::public(Role::Participant), &room), [1, 2, 3, 4, 5, 6]);
        assert_eq!(admitted(Gate::public(Role::Moderator), &room), [1, 2, 6]);
        assert_eq!(admitted(Gate::login(Role::UserModerator), &room), [1, 2]);
        assert_eq!(Gate::public(Role::Participant).admit(&room, None), Err(Error::NotFound(By::Gate)));
    }

    #[test]
    fn read_only_stops_everybody_and_comes_before_the_lobby() {
        let mut room = room();
        room.read_only = true;
        room.lobby = true;
        let gate = Gate::public(Role::Participant).read_write().no_lobby();
        assert_eq!(admitted(gate, &room), [] as [u8; 0]);
        room.read_only = false;
        assert_eq!(admitted(gate, &room), [1, 2, 6]);
    }

    #[test]
    fn private_conversations_are_found_by_their_users_only() {
        let mut room = room();
        room.kind = RoomType::Group;
        room.add(Actor::User(UserId::new("a")), ParticipantType::User);
        assert!(can_find(&room, &Identity::User(UserId::new("a"))));
        assert!(!can_find(&room, &Identity::User(UserId::new("b"))));
        assert!(!can_find(&room, &Identity::Guest(None)));
    }
}
