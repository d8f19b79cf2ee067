//! The whole content, record by record in a fixed order: what `roomd export` writes and `roomd import` reads.

use super::commit::Writer;
use super::tables::{decode, encode};
use super::{Reader, Snapshot, backup::Progress, messages, participants, rooms};
use crate::error::{Error, Result};
use crate::talk::message::{Message, MessageId, Profile};
use crate::talk::participant::{GuestId, Member, ParticipantNo, Session, UserId};
use crate::talk::room::{Room, RoomId, RoomType};
use redb::{ReadableTable, ReadableTableMetadata};

/// One piece of the content.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The numbers that the next conversation and the next message get. Comes first.
    Numbers {
        /// The next conversation's.
        next_room: u64,
        /// The next message's.
        next_message: u64,
    },
    /// What is known of an account.
    Person(UserId, Profile),
    /// A conversation, without the copy of its last message. What belongs to it follows at once.
    Room(Room),
    /// What a user alone sees in the conversation.
    Member(RoomId, UserId, Member),
    /// Where a participant is connected, and whether the guest's cookie leads there.
    Session(RoomId, ParticipantNo, Session, bool),
    /// The name that a guest gave.
    GuestName(RoomId, GuestId, String),
    /// A message.
    Message(RoomId, Message),
}

/// Hands every record to `take`, in the same order for the same content.
pub fn export(t: &Reader<'_>, take: &mut dyn FnMut(Record) -> Result<()>, progress: &mut Progress<'_>) -> Result<()> {
    let total = t.rooms()?.len()? + t.messages()?.len()? + t.people()?.len()?;
    let mut done = 0;
    let mut step = || {
        done += 1;
        if done % 1000 == 0 {
            progress(done, total);
        }
    };
    let meta = t.state.transaction.open_table(super::tables::META)?;
    let number = |name: &str| -> Result<u64> { Ok(meta.get(name)?.map_or(1, |value| value.value())) };
    take(Record::Numbers { next_room: number("next_room")?, next_message: number("next_message")? })?;
    for entry in t.people()?.iter()? {
        let (id, bytes) = entry?;
        take(Record::Person(UserId::new(id.value()), decode(bytes.value())?))?;
        step();
    }
    for entry in t.rooms()?.iter()? {
        let mut room: Room = decode(entry?.1.value())?;
        room.last_message = None;
        take(Record::Room(room.clone()))?;
        export_room(t, &room, take, &mut step)?;
        step();
    }
    progress(total, total);
    Ok(())
}

fn export_room(
    t: &Reader<'_>,
    room: &Room,
    take: &mut dyn FnMut(Record) -> Result<()>,
    step: &mut dyn FnMut(),
) -> Result<()> {
    for (_, user) in room.users() {
        take(Record::Member(room.id, user.clone(), participants::member(t, user, room.id)?))?;
    }
    for (no, session) in participants::sessions(t, room)? {
        let led = match &session.cookie {
            Some(cookie) => participants::guest(t, cookie, room.id)? == Some(no),
            None => false,
        };
        take(Record::Session(room.id, no, session, led))?;
    }
    for entry in t.guest_names()?.range((room.id, &[0; 20])..=(room.id, &[0xff; 20]))? {
        let (key, name) = entry?;
        take(Record::GuestName(room.id, GuestId::from_bytes(*key.value().1), name.value().to_owned()))?;
    }
    for entry in t.messages()?.range((room.id, MessageId::MIN)..=(room.id, MessageId::MAX))? {
        take(Record::Message(room.id, decode(entry?.1.value())?))?;
        step();
    }
    Ok(())
}

/// Writes records as they were exported, into an empty database.
pub struct Importer<'w, 't> {
    t: &'w mut Writer<'t>,
    /// The conversation whose records come now.
    current: Option<Room>,
}

impl<'w, 't> Importer<'w, 't> {
    /// Writes with `t`.
    pub fn new(t: &'w mut Writer<'t>) -> Importer<'w, 't> {
        Importer { t, current: None }
    }

    /// Writes one record. The error of a record that cannot be has words for whoever wrote the file.
    pub fn put(&mut self, record: Record) -> Result<()> {
        let t = &mut *self.t;
        match record {
            Record::Numbers { next_room, next_message } => {
                t.meta.insert("next_room", next_room)?;
                t.meta.insert("next_message", next_message)?;
            }
            Record::Person(id, profile) => {
                t.people.insert(id.as_str(), encode(&profile)?.as_slice())?;
            }
            Record::Room(room) => {
                if t.tokens.insert(room.token.as_str(), room.id)?.is_some() {
                    return Err(Error::internal(format!("the token {} is there twice", room.token)));
                }
                let one = room.users().next().map(|(_, one)| one.clone());
                if let (RoomType::OneToOne, Some(one)) = (room.kind, one)
                    && let Some(other) = room.other(&one)
                {
                    t.pair_up(&room, &one, &other)?;
                }
                t.rooms.insert(room.id, encode(&room)?.as_slice())?;
                self.current = Some(room);
            }
            Record::Member(room, user, member) => t.put_member(&user, room, &member)?,
            Record::Session(room, no, session, led) => {
                if let (Some(cookie), true) = (&session.cookie, led) {
                    t.guests.insert((cookie, room), no)?;
                }
                t.put_session(room, no, &session)?;
            }
            Record::GuestName(room, guest, name) => t.put_guest_name(room, guest, &name)?,
            Record::Message(room, message) => {
                t.messages.insert((room, message.id), encode(&message)?.as_slice())?;
                let mut current =
                    self.current.take_if(|current| current.id == room && current.last_message_id == message.id);
                if let Some(room) = &mut current {
                    room.last_message = messages::inlined(message)?;
                    t.rooms.insert(room.id, encode(room)?.as_slice())?;
                }
            }
        }
        Ok(())
    }
}

/// Whether there is nothing in the database yet.
pub fn is_empty(t: &Reader<'_>) -> Result<bool> {
    Ok(t.rooms()?.is_empty()? && t.people()?.is_empty()?)
}

/// Every conversation by ascending number, one at a time.
pub fn each_room(t: &Reader<'_>, mut look: impl FnMut(Room) -> Result<()>) -> Result<()> {
    for entry in t.rooms()?.iter()? {
        let id = entry?.0.value();
        if let Some(room) = rooms::get(t, id)? {
            look(room)?;
        }
    }
    Ok(())
}

/// How many messages and how many known accounts there are.
pub fn counts(t: &Reader<'_>) -> Result<(u64, u64)> {
    Ok((t.messages()?.len()?, t.people()?.len()?))
}
