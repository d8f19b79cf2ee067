//! A conversation: what everybody in it sees, and the rules for changing it.

use crate::error::{Error, Result};
use crate::talk::message::Message;
use crate::talk::participant::{Actor, GuestId, NEVER_HEARD, Participant, ParticipantNo, ParticipantType, UserId};
use crate::talk::token::Token;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Longest name on renaming, Unicode scalar values after trimming (the contract, "Rename a conversation").
const RENAME_LIMIT: usize = 200;
/// Longest name on creating, Unicode scalar values (Talk's column; SPEC, decided points).
const CREATE_LIMIT: usize = 255;
/// Longest generated name before it is cut, and what is left of it (SPEC B.1).
const GENERATED_LIMIT: (usize, usize) = (64, 60);

/// A conversation's number inside roomd.
pub type RoomId = u64;

/// The conversation's type; the numbers are the API's (SPEC E).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomType {
    /// 1
    OneToOne,
    /// 2
    Group,
    /// 3
    Public,
}

impl RoomType {
    /// The API's number.
    pub fn number(self) -> u8 {
        match self {
            RoomType::OneToOne => 1,
            RoomType::Group => 2,
            RoomType::Public => 3,
        }
    }

    /// Reads the API's number.
    pub fn parse(number: i64) -> Result<RoomType> {
        match number {
            1 => Ok(RoomType::OneToOne),
            2 => Ok(RoomType::Group),
            3 => Ok(RoomType::Public),
            _ => Err(Error::BadRequest),
        }
    }
}

/// Everything about a conversation that its participants share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Room {
    /// Its number, the API's `id`.
    pub id: RoomId,
    /// Its name in URLs.
    pub token: Token,
    /// One-to-one, group or public.
    pub kind: RoomType,
    /// The stored name. Of a one-to-one that somebody left for good: that user's id (SPEC C.9).
    pub name: SmolStr,
    /// bcrypt hash of the password.
    pub password: Option<String>,
    /// Nobody may write or call.
    pub read_only: bool,
    /// Only moderators get in.
    pub lobby: bool,
    /// When the lobby opens by itself, Unix seconds.
    pub lobby_timer: Option<i64>,
    /// When the running call began, Unix seconds.
    pub active_since: Option<i64>,
    /// Guests who joined the running call, counted on every join.
    pub active_guests: u32,
    /// When the last message was stored, Unix seconds; 0 for never.
    pub last_activity: i64,
    /// How many comments (messages that people wrote) there have been.
    pub comments: u64,
    /// Id of the newest message of any kind; 0 for none.
    pub last_message_id: i64,
    /// That message itself, unless it is long.
    pub last_message: Option<Message>,
    /// The number that the next participant gets.
    pub next_participant: ParticipantNo,
    /// Raised by every change, so that "what changed since" is a comparison.
    pub changes: u64,
    /// Who takes part.
    pub participants: Vec<Participant>,
}

impl Room {
    /// A conversation nobody is in yet.
    pub fn new(id: RoomId, token: Token, kind: RoomType, name: SmolStr) -> Room {
        Room {
            id,
            token,
            kind,
            name,
            password: None,
            read_only: false,
            lobby: false,
            lobby_timer: None,
            active_since: None,
            active_guests: 0,
            last_activity: 0,
            comments: 0,
            last_message_id: 0,
            last_message: None,
            next_participant: 1,
            changes: 0,
            participants: Vec::new(),
        }
    }

    /// Adds a participant and returns its number.
    pub fn add(&mut self, actor: Actor, kind: ParticipantType) -> ParticipantNo {
        let no = self.next_participant;
        self.next_participant += 1;
        self.participants.push(Participant {
            no,
            actor,
            kind,
            last_ping: 0,
            silent: NEVER_HEARD,
            last_joined_call: 0,
            connected: false,
        });
        no
    }

    /// Takes a participant out.
    pub fn remove(&mut self, no: ParticipantNo) {
        self.participants.retain(|p| p.no != no);
    }

    /// The participant with this number.
    pub fn participant(&self, no: ParticipantNo) -> Option<&Participant> {
        self.participants.iter().find(|p| p.no == no)
    }

    /// The same, to change it.
    pub fn participant_mut(&mut self, no: ParticipantNo) -> Option<&mut Participant> {
        self.participants.iter_mut().find(|p| p.no == no)
    }

    /// The participant who is this user.
    pub fn user(&self, id: &UserId) -> Option<&Participant> {
        self.participants.iter().find(|p| p.actor.user() == Some(id))
    }

    /// The participant who is this guest.
    pub fn guest(&self, id: GuestId) -> Option<&Participant> {
        self.participants.iter().find(|p| p.actor == Actor::Guest(id))
    }

    /// The users who take part.
    pub fn users(&self) -> impl Iterator<Item = (&Participant, &UserId)> {
        self.participants.iter().filter_map(|p| p.actor.user().map(|id| (p, id)))
    }

    /// Whether anybody has a session here.
    pub fn anyone_connected(&self) -> bool {
        self.participants.iter().any(|p| p.connected)
    }

    /// The user of a one-to-one who is not `me`: the other participant, else the one who left.
    pub fn other(&self, me: &UserId) -> Option<UserId> {
        let present = self.users().map(|(_, id)| id).find(|id| *id != me).cloned();
        present.or_else(|| (!self.name.is_empty()).then(|| UserId::new(self.name.clone())))
    }

    /// Participants who hold the conversation up: everybody but guests and self-joined users (SPEC D.2).
    pub fn holders(&self) -> usize {
        let passing = |p: &&Participant| matches!(p.kind, ParticipantType::Guest | ParticipantType::SelfJoined);
        self.participants.len() - self.participants.iter().filter(passing).count()
    }

    /// Owners and moderators with a login.
    pub fn user_moderators(&self) -> usize {
        self.participants.iter().filter(|p| p.kind.is_user_moderator()).count()
    }

    /// Notes that a call is running and returns since when: since `now`, if it was not.
    pub fn call_since(&mut self, now: i64) -> i64 {
        if let Some(since) = self.active_since {
            return since;
        }
        // An earlier call's time from a clock that was ahead would pass for one of this call.
        for participant in self.participants.iter_mut().filter(|p| p.last_joined_call > now) {
            participant.last_joined_call = 0;
        }
        self.active_since = Some(now);
        now
    }

    /// The timer of a lobby that should have opened by now (SPEC B.7).
    pub fn expired_timer(&self, now: i64) -> Option<i64> {
        self.lobby_timer.filter(|timer| *timer <= now)
    }

    /// Whether the lobby keeps this participant out.
    pub fn lobby_stops(&self, kind: ParticipantType) -> bool {
        self.lobby && !kind.is_moderator()
    }
}

/// What PHP's `trim` takes off: blanks, tabs, newlines, NUL and vertical tabs (SPEC C.2).
pub fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\0', '\x0b'])
}

/// Checks the name of a new conversation: not empty, at most 255 characters.
pub fn new_name(text: &str) -> Result<SmolStr> {
    checked_name(text, CREATE_LIMIT)
}

/// Checks a conversation's next name: not empty, at most 200 characters.
pub fn next_name(text: &str) -> Result<SmolStr> {
    checked_name(text, RENAME_LIMIT)
}

fn checked_name(text: &str, limit: usize) -> Result<SmolStr> {
    let name = trim(text);
    if name.is_empty() || name.chars().count() > limit { Err(Error::BadRequest) } else { Ok(name.into()) }
}

/// The name of a conversation that has none, from the people in it (SPEC B.1).
pub fn generated_name<'a>(people: impl Iterator<Item = &'a str>) -> String {
    let name = people.collect::<Vec<_>>().join(", ");
    if name.chars().count() <= GENERATED_LIMIT.0 {
        return name;
    }
    name.chars().take(GENERATED_LIMIT.1).chain(['…']).collect()
}

/// Reads the API's 0 or 1.
pub fn switch(number: i64) -> Result<bool> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::BadRequest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_counted_in_characters_after_trimming() {
        assert_eq!(next_name("  Plans\n").unwrap(), "Plans");
        assert!(next_name(&"ü".repeat(200)).is_ok());
        assert!(next_name(&"x".repeat(201)).is_err());
        assert!(next_name(" \t\0").is_err());
        assert!(new_name(&"x".repeat(255)).is_ok());
        assert!(new_name(&"x".repeat(256)).is_err());
    }

    #[test]
    fn a_running_call_began_when_it_began() {
        let mut room = Room::new(1, Token::parse("abcd").unwrap(), RoomType::Public, "x".into());
        assert_eq!((room.call_since(100), room.call_since(50), room.call_since(150)), (100, 100, 100));
    }

    #[test]
    fn a_long_generated_name_is_cut() {
        assert_eq!(generated_name(["Alice", "Bob"].into_iter()), "Alice, Bob");
        let long = generated_name(["x".repeat(40), "y".repeat(40)].iter().map(String::as_str));
        assert_eq!(long.chars().count(), 61);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn passing_participants_do_not_hold_a_conversation() {
        let mut room = Room::new(1, Token::parse("abcd").unwrap(), RoomType::Public, "x".into());
        room.add(Actor::User(UserId::new("a")), ParticipantType::Owner);
        room.add(Actor::User(UserId::new("b")), ParticipantType::SelfJoined);
        assert_eq!(room.holders(), 1);
        room.add(Actor::User(UserId::new("c")), ParticipantType::GuestModerator);
        assert_eq!(room.holders(), 2);
    }
}
