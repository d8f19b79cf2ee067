//! The tables and their keys, on one page, and how a record becomes bytes.
//!
//! What everybody in a conversation sees is one record in [`ROOMS`], so that showing a conversation is one `get`; what a
//! member alone sees is a row in [`MEMBERS`], in the order in which lists need it. Nothing grows with the number of all
//! conversations.

use crate::error::{Error, Result};
use redb::TableDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Numbers of the database itself: `schema`, `next_room`, `next_message`; `probed`, when writing was last tried.
pub const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Room id -> [`crate::talk::room::Room`].
pub const ROOMS: TableDefinition<u64, &[u8]> = TableDefinition::new("rooms");
/// Token -> room id.
pub const TOKENS: TableDefinition<&str, u64> = TableDefinition::new("tokens");
/// The two user ids of a one-to-one, smaller first -> room id.
pub const PAIRS: TableDefinition<(&str, &str), u64> = TableDefinition::new("pairs");
/// (User id, room id) -> [`crate::talk::participant::Member`].
pub const MEMBERS: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("members");
/// (Room id, participant number) -> [`crate::talk::participant::Session`].
pub const SESSIONS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("sessions");
/// (Digest of a guest's cookie, room id) -> participant number.
pub const GUESTS: TableDefinition<(&[u8; 32], u64), u32> = TableDefinition::new("guests");
/// (Room id, message id) -> [`crate::talk::message::Message`].
pub const MESSAGES: TableDefinition<(u64, i64), &[u8]> = TableDefinition::new("messages");
/// User id -> [`crate::talk::message::Profile`].
pub const PEOPLE: TableDefinition<&str, &[u8]> = TableDefinition::new("people");
/// (Room id, guest id) -> the name that the guest gave.
pub const GUEST_NAMES: TableDefinition<(u64, &[u8; 20]), &str> = TableDefinition::new("guest_names");

/// Digest of an address and of what it guesses -> [`crate::talk::attempts::Attempts`].
pub const ATTEMPTS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("attempts");

/// The layout above. A database with a larger number was written by a newer roomd and is refused.
pub const SCHEMA: u64 = 1;

/// First byte of every record. postcard does not describe itself: a changed struct gets the next number here and its
/// old form in `migrate.rs`.
const RECORD_VERSION: u8 = 1;

/// Turns a record into bytes.
pub fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    postcard::to_extend(record, vec![RECORD_VERSION]).map_err(|e| Error::internal(format!("encoding a record: {e}")))
}

/// Reads a record back; anything that is not whole is an error, never a guess.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match bytes.split_first() {
        Some((&RECORD_VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((record, [])) => Ok(record),
            Ok(_) => Err(Error::internal("a record in the database is too long")),
            Err(e) => Err(Error::internal(format!("a record in the database cannot be read: {e}"))),
        },
        Some((version, _)) => Err(Error::internal(format!("a record in the database has version {version}"))),
        None => Err(Error::internal("a record in the database is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::message::{Body, Message, Profile, System};
    use crate::talk::participant::{Actor, GuestId, Member, ParticipantType, UserId};
    use crate::talk::room::{Room, RoomType};
    use crate::talk::token::Token;

    #[test]
    fn a_record_survives_and_a_broken_one_is_refused() {
        let member = Member { favorite: true, last_read: -5, ..Member::default() };
        let bytes = encode(&member).unwrap();
        assert_eq!(decode::<Member>(&bytes).unwrap(), member);
        assert!(decode::<Member>(&bytes[..bytes.len() - 1]).is_err());
        assert!(decode::<Member>(&[bytes.clone(), vec![0]].concat()).is_err());
        assert!(decode::<Member>(&[]).is_err());
        assert!(decode::<Member>(&[9, 0, 0]).is_err());
    }
    fn hex(record: &impl Serialize) -> String {
        encode(record).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The types may change; databases that people have do not.
    #[test]
    fn records_are_stored_as_the_first_version_stored_them() {
        let alice = || Actor::User(UserId::new("alice"));
        let mut room = Room::new(7, Token::parse("abcd").unwrap(), RoomType::Public, "Plans".into());
        room.password = Some("hash".to_owned());
        room.lobby_timer = Some(1_600_000_000);
        room.add(alice(), ParticipantType::Owner);
        room.add(Actor::Guest(GuestId::from_bytes([9; 20])), ParticipantType::Guest);
        let body = Body::System(System::ConversationRenamed { old: "Old".into(), new: "Plans".into() });
        room.last_message = Some(Message { id: 3, actor: alice(), timestamp: 1_600_000_001, comments: 1, body });
        assert_eq!(
            hex(&room),
            "010704616263640205506c616e7301046861736800000180c0f0f50b000000000001060005616c69636582c0f0f50b010201034f6c6405506c616e73030002010005616c696365000000000201090909090909090909090909090909090909090903000000"
        );
        let profile = Profile { display_name: "Alice A.".into(), seen: -2, deleted_at: Some(5), exists: true };
        assert_eq!(hex(&profile), "0108416c69636520412e03010a01");
    }
}
