//! Conversations: finding them for a caller, making, storing and deleting them.

use super::commit::Writer;
use super::tables::{decode, encode};
use super::{Snapshot, participants};
use crate::error::{Error, Result};
use crate::talk::participant::{Actor, Member, Participant, ParticipantNo, UserId};
use crate::talk::permission::{Identity, can_find};
use crate::talk::room::{Room, RoomId, RoomType};
use crate::talk::token::Token;
use redb::ReadableTable;
use smol_str::SmolStr;

/// A conversation as one caller has it: found, and with the caller's place in it.
#[derive(Debug, Clone)]
pub struct Access {
    /// The conversation.
    pub room: Room,
    /// The caller's participant number; `None` for somebody outside.
    pub me: Option<ParticipantNo>,
}

impl Access {
    /// The caller as a participant.
    pub fn participant(&self) -> Option<&Participant> {
        self.me.and_then(|no| self.room.participant(no))
    }
}

/// Finds a conversation for a caller by SPEC A.8; `None` when it does not exist for them.
pub fn find(t: &impl Snapshot, token: &Token, caller: &Identity) -> Result<Option<Access>> {
    let Some(id) = t.tokens()?.get(token.as_str())?.map(|id| id.value()) else { return Ok(None) };
    let Some(room) = get(t, id)? else { return Ok(None) };
    if !can_find(&room, caller) {
        return Ok(None);
    }
    let me = match caller {
        Identity::User(user) => room.user(user).map(|p| p.no),
        Identity::Guest(None) => None,
        Identity::Guest(Some(cookie)) => {
            let no = participants::guest(t, cookie, id)?;
            no.filter(|no| room.participant(*no).is_some_and(|p| matches!(p.actor, Actor::Guest(_))))
        }
    };
    Ok(Some(Access { room, me }))
}

/// The conversation with this token, whoever asks: for operators.
pub fn by_token(t: &impl Snapshot, token: &Token) -> Result<Option<Room>> {
    match t.tokens()?.get(token.as_str())?.map(|id| id.value()) {
        Some(id) => get(t, id),
        None => Ok(None),
    }
}

/// The conversation with this number, whoever asks: for roomd's own work.
pub fn get(t: &impl Snapshot, id: RoomId) -> Result<Option<Room>> {
    let Some(bytes) = t.rooms()?.get(id)? else { return Ok(None) };
    let mut room: Room = decode(bytes.value())?;
    t.presence().apply(&mut room);
    Ok(Some(room))
}

/// Every conversation that a user is in, by ascending number, with the user's own row.
pub fn of_user(t: &impl Snapshot, user: &UserId) -> Result<Vec<(Room, Member)>> {
    each_of_user(t, user)?.collect()
}

/// The same, each read when it is asked for.
pub fn each_of_user(t: &impl Snapshot, user: &UserId) -> Result<impl Iterator<Item = Result<(Room, Member)>>> {
    let rows = t.members()?.range((user.as_str(), 0)..=(user.as_str(), RoomId::MAX))?;
    let read = |row: std::result::Result<_, redb::StorageError>| {
        let (key, bytes): (redb::AccessGuard<'_, (&str, RoomId)>, redb::AccessGuard<'_, &[u8]>) = row?;
        let Some(room) = get(t, key.value().1)? else { return Ok(None) };
        Ok(Some((room, decode(bytes.value())?)))
    };
    Ok(rows.filter_map(move |row| read(row).transpose()))
}

/// The one-to-one of two users, also when one of them has left it (SPEC C.2).
pub fn between(t: &impl Snapshot, one: &UserId, other: &UserId) -> Result<Option<Room>> {
    match t.pairs()?.get(pair(one, other))?.map(|id| id.value()) {
        Some(id) => get(t, id),
        None => Ok(None),
    }
}

fn pair<'a>(one: &'a UserId, other: &'a UserId) -> (&'a str, &'a str) {
    let (one, other) = (one.as_str(), other.as_str());
    if one <= other { (one, other) } else { (other, one) }
}

impl Writer<'_> {
    /// Makes an empty conversation with a number and a token of its own. The caller stores it.
    pub fn new_room(&mut self, kind: RoomType, name: SmolStr) -> Result<Room> {
        let id = self.next_number("next_room")?;
        loop {
            let Some(token) = Token::from_random(random_numbers()?) else { continue };
            if self.tokens.get(token.as_str())?.is_none() {
                self.tokens.insert(token.as_str(), id)?;
                return Ok(Room::new(id, token, kind, name));
            }
        }
    }

    /// Notes which two users a one-to-one belongs to.
    pub fn pair_up(&mut self, room: &Room, one: &UserId, other: &UserId) -> Result<()> {
        self.wrote = true;
        self.pairs.insert(pair(one, other), room.id)?;
        Ok(())
    }

    /// Stores a conversation and raises its counter.
    pub fn save(&mut self, room: &mut Room) -> Result<()> {
        self.wrote = true;
        room.changes += 1;
        self.rooms.insert(room.id, encode(room)?.as_slice())?;
        Ok(())
    }

    /// Deletes a conversation with everything in it.
    pub fn delete_room(&mut self, room: &mut Room) -> Result<()> {
        let users: Vec<UserId> = room.users().map(|(_, id)| id.clone()).collect();
        if room.kind == RoomType::OneToOne
            && let Some(one) = users.first()
            && let Some(other) = room.other(one)
        {
            self.pairs.remove(pair(one, &other))?;
        }
        let everybody: Vec<ParticipantNo> = room.participants.iter().map(|p| p.no).collect();
        for no in everybody {
            self.remove_participant(room, no)?;
        }
        self.wrote = true;
        self.messages.retain_in((room.id, i64::MIN)..=(room.id, i64::MAX), |_, _| false)?;
        self.guest_names.retain_in((room.id, &[0; 20])..=(room.id, &[0xff; 20]), |_, _| false)?;
        self.tokens.remove(room.token.as_str())?;
        self.rooms.remove(room.id)?;
        // Whoever polls the conversation learns at once that it is gone.
        self.has_new_message(room.id);
        Ok(())
    }
}

fn random_numbers() -> Result<[u64; 8]> {
    let mut numbers = [0; 8];
    for number in &mut numbers {
        *number = getrandom::u64().map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
    }
    Ok(numbers)
}
