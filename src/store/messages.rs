//! Messages: written at the end of a conversation, read in pages from either side.

use super::Snapshot;
use super::commit::Writer;
use super::tables::{decode, encode};
use crate::error::Result;
use crate::talk::message::{Body, Message, MessageId};
use crate::talk::participant::{Actor, Member};
use crate::talk::room::{Room, RoomId};
use redb::ReadableTable;

/// Longest record of a newest message that is kept inside the conversation's own record, bytes. Lists then need no
/// second look-up for it, and a long message does not make every other change of the conversation long.
const INLINE_LIMIT: usize = 512;

/// The message with this id, if it is in this conversation.
pub fn get(t: &impl Snapshot, room: RoomId, id: MessageId) -> Result<Option<Message>> {
    t.messages()?.get((room, id))?.map(|bytes| decode(bytes.value())).transpose()
}

/// The newest message of a conversation, unless it is short and stands in the conversation's own record.
pub fn newest_if_long(t: &impl Snapshot, room: &Room) -> Result<Option<Message>> {
    match room.last_message {
        Some(_) => Ok(None),
        None => get(t, room.id, room.last_message_id),
    }
}

/// Messages after `known`, oldest first, at most `limit`.
pub fn after(t: &impl Snapshot, room: RoomId, known: MessageId, limit: usize) -> Result<Vec<Message>> {
    let from = known.saturating_add(1);
    let range = t.messages()?.range((room, from)..=(room, MessageId::MAX))?;
    range.take(limit).map(|entry| decode(entry?.1.value())).collect()
}

/// Messages up to `newest`, newest first, at most `limit`.
pub fn up_to(t: &impl Snapshot, room: RoomId, newest: MessageId, limit: usize) -> Result<Vec<Message>> {
    let range = t.messages()?.range((room, MessageId::MIN)..=(room, newest))?;
    range.rev().take(limit).map(|entry| decode(entry?.1.value())).collect()
}

/// How many comments come after a member's read marker. The same small work for ten messages and for a million.
pub fn unread(t: &impl Snapshot, room: &Room, member: &Member) -> Result<u64> {
    if member.last_read >= room.last_message_id {
        return Ok(0);
    }
    if member.last_read <= 0 {
        return Ok(room.comments);
    }
    let read = up_to(t, room.id, member.last_read, 1)?.first().map_or(0, |message| message.comments);
    Ok(room.comments - read)
}

/// The id of the newest message in the whole database; 0 for none.
pub fn newest_id(t: &Writer<'_>) -> Result<MessageId> {
    Ok(t.meta.get("next_message")?.map_or(0, |next| next.value() as MessageId - 1))
}

/// The message as it is kept inside its conversation's record: not when it is long.
pub(super) fn inlined(message: Message) -> Result<Option<Message>> {
    let short = encode(&message)?.len() <= INLINE_LIMIT;
    Ok(short.then_some(message))
}

impl Writer<'_> {
    /// Writes a message at the end of a conversation and notes it in `room`, which the caller stores.
    pub fn post(&mut self, room: &mut Room, actor: Actor, body: Body, now: i64) -> Result<Message> {
        let id = self.next_number("next_message")? as MessageId;
        room.comments += u64::from(matches!(body, Body::Comment { .. }));
        // A clock that was set back must not make a conversation older than it is.
        room.last_activity = room.last_activity.max(now);
        let message = Message { id, actor, timestamp: room.last_activity, comments: room.comments, body };
        let bytes = encode(&message)?;
        self.messages.insert((room.id, id), bytes.as_slice())?;
        room.last_message_id = id;
        room.last_message = (bytes.len() <= INLINE_LIMIT).then(|| message.clone());
        self.has_new_message(room.id);
        Ok(message)
    }
}
