//! Changes of a conversation that its moderators make through the API, and operators with commands: the rules that hold
//! for both, the message that tells of it, and storing it. Who may ask for it is decided before.

use super::{post, take_out};
use crate::error::{Error, Result};
use crate::nextcloud::directory::Account;
use crate::store::commit::Writer;
use crate::talk::message::{MessageId, People, System};
use crate::talk::participant::{Actor, Member, ParticipantNo, ParticipantType, UserId};
use crate::talk::room::{Room, RoomType, next_name};
use smol_str::SmolStr;

/// Makes a conversation with a checked name. Without an owner nobody is in it yet.
pub fn create(
    t: &mut Writer<'_>,
    kind: RoomType,
    name: SmolStr,
    owner: Option<&UserId>,
    actor: &Actor,
    now: i64,
) -> Result<(Room, Option<ParticipantNo>)> {
    let mut room = t.new_room(kind, name)?;
    let owner = owner.map(|owner| t.add_user(&mut room, owner, ParticipantType::Owner)).transpose()?;
    post(t, &mut room, actor, System::ConversationCreated, now)?;
    t.save(&mut room)?;
    Ok((room, owner))
}

/// Gives a conversation another name. Nothing happens when it is the same.
pub fn rename(t: &mut Writer<'_>, room: &mut Room, actor: &Actor, name: &str, now: i64) -> Result<()> {
    not_one_to_one(room)?;
    let new = next_name(name)?;
    if room.name == new {
        return Ok(());
    }
    let old = std::mem::replace(&mut room.name, new.clone());
    if !old.is_empty() {
        post(t, room, actor, System::ConversationRenamed { old, new }, now)?;
    }
    t.save(room)
}

/// Deletes a conversation with everything in it.
pub fn delete(t: &mut Writer<'_>, room: &mut Room) -> Result<()> {
    not_one_to_one(room)?;
    t.delete_room(room)
}

/// Turns a group conversation public. A password from earlier public times counts again (SPEC C.6).
pub fn allow_guests(t: &mut Writer<'_>, room: &mut Room, actor: &Actor, now: i64) -> Result<()> {
    if room.kind != RoomType::Group {
        return Err(Error::BadRequest);
    }
    room.kind = RoomType::Public;
    post(t, room, actor, System::GuestsAllowed, now)?;
    t.save(room)
}

/// Turns a public conversation into a group; guests and self-joined users are gone.
pub fn disallow_guests(t: &mut Writer<'_>, room: &mut Room, actor: &Actor, now: i64) -> Result<()> {
    if room.kind != RoomType::Public {
        return Err(Error::BadRequest);
    }
    room.kind = RoomType::Group;
    let passing: Vec<ParticipantNo> = room
        .participants
        .iter()
        .filter(|p| matches!(p.kind, ParticipantType::Guest | ParticipantType::SelfJoined))
        .map(|p| p.no)
        .collect();
    for no in passing {
        t.remove_participant(room, no)?;
    }
    post(t, room, actor, System::GuestsDisallowed, now)?;
    t.save(room)
}

/// Locks or unlocks a conversation. Nothing happens when it is so already.
pub fn set_read_only(t: &mut Writer<'_>, room: &mut Room, actor: &Actor, read_only: bool, now: i64) -> Result<()> {
    if room.read_only == read_only {
        return Ok(());
    }
    not_one_to_one(room)?;
    room.read_only = read_only;
    post(t, room, actor, if read_only { System::ReadOnly } else { System::ReadOnlyOff }, now)?;
    t.save(room)
}

/// Sets the password of a public conversation, given as its hash, or takes it away.
pub fn set_password(t: &mut Writer<'_>, room: &mut Room, actor: &Actor, hash: Option<String>, now: i64) -> Result<()> {
    if room.kind != RoomType::Public {
        return Err(Error::FORBIDDEN);
    }
    let event = if hash.is_some() { System::PasswordSet } else { System::PasswordRemoved };
    room.password = hash;
    post(t, room, actor, event, now)?;
    t.save(room)
}

/// Adds those who are not there yet, each with a message; what came up to `last_read` counts as read for them. The
/// caller stores the conversation.
pub fn add_people(
    t: &mut Writer<'_>,
    room: &mut Room,
    actor: &Actor,
    people: &[Account],
    last_read: MessageId,
    now: i64,
) -> Result<()> {
    let new: Vec<&Account> = people.iter().filter(|account| room.user(&account.id).is_none()).collect();
    for account in &new {
        t.put_member(&account.id, room.id, &Member { last_read, ..Member::default() })?;
        room.add(Actor::User(account.id.clone()), ParticipantType::User);
    }
    for account in &new {
        if actor.user() != Some(&account.id) {
            post(t, room, actor, System::UserAdded(account.id.clone()), now)?;
        }
    }
    Ok(())
}

/// Takes a user out of a conversation. Owners stay.
pub fn remove_user(t: &mut Writer<'_>, room: &mut Room, actor: &Actor, user: &UserId, now: i64) -> Result<()> {
    not_one_to_one(room)?;
    let target = room.user(user).ok_or(Error::NOT_FOUND)?;
    let no = target.no;
    if target.kind == ParticipantType::Owner {
        return Err(Error::FORBIDDEN);
    }
    if !t.profile(user)?.exists {
        return Err(Error::NOT_FOUND);
    }
    take_out(t, room, no, now)?;
    post(t, room, actor, System::UserRemoved(user.clone()), now)?;
    t.save(room)
}

/// Makes a user a moderator.
pub fn promote(t: &mut Writer<'_>, room: &mut Room, actor: &Actor, user: UserId, now: i64) -> Result<()> {
    let no = room.user(&user).ok_or(Error::NOT_FOUND)?.no;
    let event = System::ModeratorPromoted(user);
    set_type(t, room, actor, no, (ParticipantType::User, ParticipantType::Moderator), event, now)
}

/// Makes a moderator a user.
pub fn demote(t: &mut Writer<'_>, room: &mut Room, actor: &Actor, user: UserId, now: i64) -> Result<()> {
    let no = room.user(&user).ok_or(Error::NOT_FOUND)?.no;
    let event = System::ModeratorDemoted(user);
    set_type(t, room, actor, no, (ParticipantType::Moderator, ParticipantType::User), event, now)
}

/// Changes what a participant is, if it is what it is changed from.
pub fn set_type(
    t: &mut Writer<'_>,
    room: &mut Room,
    actor: &Actor,
    no: ParticipantNo,
    (from, to): (ParticipantType, ParticipantType),
    event: System,
    now: i64,
) -> Result<()> {
    let target = room.participant_mut(no).ok_or(Error::NOT_FOUND)?;
    if target.kind != from {
        return Err(Error::BadRequest);
    }
    target.kind = to;
    post(t, room, actor, event, now)?;
    t.save(room)
}

fn not_one_to_one(room: &Room) -> Result<()> {
    if room.kind == RoomType::OneToOne { Err(Error::BadRequest) } else { Ok(()) }
}
