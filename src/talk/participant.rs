//! Who belongs to a conversation, and where they are connected now.

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest, Sha1};
use smol_str::SmolStr;
use std::fmt;

/// Participants whose last ping is older are dropped from the conversation, seconds (SPEC B.9).
pub const SESSION_TIMEOUT: i64 = 100;
/// Participants whose last ping is newer count as active, seconds (SPEC B, `count`).
pub const ACTIVE_WINDOW: i64 = 30;
/// How long a participant has been silent whose client was never heard of.
pub const NEVER_HEARD: i64 = i64::MAX;

/// A user's id, spelled as Nextcloud spells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(SmolStr);

impl UserId {
    /// Takes the id that Nextcloud, the configuration or the store gave.
    pub fn new(id: impl Into<SmolStr>) -> UserId {
        UserId(id.into())
    }

    /// The id's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a name, for where no other is known.
    pub fn as_name(&self) -> SmolStr {
        self.0.clone()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A guest as an author: the SHA-1 of the guest's session id (SPEC D.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestId([u8; 20]);

/// As digits for people, as bytes in the database.
impl Serialize for GuestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for GuestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<GuestId, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 20]>::deserialize(deserializer).map(GuestId);
        }
        let text = String::deserialize(deserializer)?;
        GuestId::parse(&text).ok_or_else(|| serde::de::Error::custom("a guest's id has 40 hexadecimal digits"))
    }
}

impl GuestId {
    /// The guest who holds this session.
    pub fn of(session: &SessionId) -> GuestId {
        GuestId(Sha1::digest(session.as_str()).into())
    }

    /// Reads 40 hexadecimal digits.
    pub fn parse(text: &str) -> Option<GuestId> {
        if text.len() != 40 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 20];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(GuestId(bytes))
    }

    /// The bytes, as a table's key.
    pub fn bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The guest with these bytes.
    pub fn from_bytes(bytes: [u8; 20]) -> GuestId {
        GuestId(bytes)
    }
}

impl fmt::Display for GuestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Who takes part or wrote something. Groups, circles, e-mails and federated users will join this list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Actor {
    /// A Nextcloud account.
    User(UserId),
    /// Somebody without a login.
    Guest(GuestId),
    /// The answerer of commands (SPEC D.4).
    Bot,
    /// Guests of whom none is meant in particular: who ended a call that only guests were in (SPEC B.5).
    Guests,
}

impl Actor {
    /// The user, if it is one.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Actor::User(id) => Some(id),
            Actor::Guest(_) | Actor::Bot | Actor::Guests => None,
        }
    }
}

/// What a participant is in a conversation; the numbers are the API's (SPEC E).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParticipantType {
    /// 1: made the conversation, or one of the two of a one-to-one.
    Owner,
    /// 2: a user who may change things.
    Moderator,
    /// 3: a user.
    User,
    /// 4: somebody without a login.
    Guest,
    /// 5: a user who followed a public link.
    SelfJoined,
    /// 6: a guest who may change things.
    GuestModerator,
}

impl ParticipantType {
    /// The API's number.
    pub fn number(self) -> u8 {
        match self {
            ParticipantType::Owner => 1,
            ParticipantType::Moderator => 2,
            ParticipantType::User => 3,
            ParticipantType::Guest => 4,
            ParticipantType::SelfJoined => 5,
            ParticipantType::GuestModerator => 6,
        }
    }

    /// Owner, moderator or guest moderator.
    pub fn is_moderator(self) -> bool {
        self.is_user_moderator() || self == ParticipantType::GuestModerator
    }

    /// Owner or moderator.
    pub fn is_user_moderator(self) -> bool {
        matches!(self, ParticipantType::Owner | ParticipantType::Moderator)
    }

    /// Guest or guest moderator.
    pub fn is_guest(self) -> bool {
        matches!(self, ParticipantType::Guest | ParticipantType::GuestModerator)
    }
}

/// A participant's number within its conversation; never given twice.
pub type ParticipantNo = u32;

/// What everybody in a conversation may see of a participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Its number.
    pub no: ParticipantNo,
    /// Who it is.
    pub actor: Actor,
    /// What it is here.
    pub kind: ParticipantType,
    /// When its client was last heard of, Unix seconds; 0 for never. Not reset on leaving. Only for people to see: the
    /// clock may have been set since.
    pub last_ping: i64,
    /// How long ago that is, seconds, however the clock was set meanwhile. Not stored: it is found out on reading.
    #[serde(skip, default = "never_heard")]
    pub silent: i64,
    /// When it last joined a call, Unix seconds; 0 for never.
    pub last_joined_call: i64,
    /// Whether it has a session now.
    pub connected: bool,
}

fn never_heard() -> i64 {
    NEVER_HEARD
}

/// The notification level that a member chose (SPEC B.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Level {
    /// 0: nothing chosen; never shown.
    #[default]
    Default,
    /// 1
    Always,
    /// 2
    Mention,
    /// 3
    Never,
}

impl Level {
    /// Reads a level that a client may set: 1 to 3.
    pub fn parse(number: i64) -> Result<Level> {
        match number {
            1 => Ok(Level::Always),
            2 => Ok(Level::Mention),
            3 => Ok(Level::Never),
            _ => Err(Error::BadRequest),
        }
    }

    /// The API's number.
    pub fn number(self) -> u8 {
        match self {
            Level::Default => 0,
            Level::Always => 1,
            Level::Mention => 2,
            Level::Never => 3,
        }
    }
}

/// What a member alone sees and sets in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// Marked as favourite.
    pub favorite: bool,
    /// Notification level.
    pub level: Level,
    /// Read marker: the id of the last message read. Clients may set any number.
    pub last_read: i64,
    /// Id of the newest message that mentioned the member; 0 for none.
    pub last_mention: i64,
}

/// Characters of a session id (the contract, `sessionId`).
pub const SESSION_ID_LENGTH: usize = 512;

/// A session id: 512 characters of `A-Za-z0-9+/`. It lets its holder act as a guest, so it is not logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// Writes 384 random bytes as 512 characters.
    pub fn from_random(random: &[u8; SESSION_ID_LENGTH / 4 * 3]) -> SessionId {
        use base64::Engine;
        SessionId(base64::engine::general_purpose::STANDARD.encode(random))
    }

    /// The id's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a participant is connected now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What the client calls it.
    pub id: SessionId,
    /// Call flags, a bit field: 1 in call, 2 audio, 4 video; 0 not in the call.
    pub flags: i32,
    /// For guests, the digest of the cookie that leads back to this session.
    pub cookie: Option<[u8; 32]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_has_512_characters_of_base64() {
        let id = SessionId::from_random(&[0xff; 384]);
        assert_eq!(id.as_str().len(), SESSION_ID_LENGTH);
        assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/'));
    }

    #[test]
    fn a_guest_id_is_40_hexadecimal_digits() {
        let id = GuestId::of(&SessionId::from_random(&[7; 384]));
        assert_eq!(GuestId::parse(&id.to_string()), Some(id));
        assert_eq!(GuestId::parse("xyz"), None);
        assert_eq!(GuestId::parse(&"é".repeat(20)), None);
    }
}
