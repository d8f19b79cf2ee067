//! Members' own rows, sessions, and the cookies that lead guests back to theirs.

use super::Snapshot;
use super::commit::Writer;
use super::tables::{decode, encode};
use crate::error::{Error, Result};
use crate::talk::participant::{Actor, GuestId, Member, ParticipantNo, ParticipantType, Session, SessionId, UserId};
use crate::talk::room::{Room, RoomId};
use redb::ReadableTable;

/// A session with the participant who holds it.
pub type HeldSession = (ParticipantNo, Session);

/// What a user alone sees in a conversation; the defaults when there is no row.
pub fn member(t: &impl Snapshot, user: &UserId, room: RoomId) -> Result<Member> {
    match t.members()?.get((user.as_str(), room))? {
        Some(bytes) => decode(bytes.value()),
        None => Ok(Member::default()),
    }
}

/// The sessions of a conversation.
pub fn sessions(t: &impl Snapshot, room: &Room) -> Result<Vec<HeldSession>> {
    if !room.anyone_connected() {
        return Ok(Vec::new());
    }
    let mut sessions = Vec::new();
    for entry in t.sessions()?.range((room.id, 0)..=(room.id, ParticipantNo::MAX))? {
        let (key, bytes) = entry?;
        sessions.push((key.value().1, decode(bytes.value())?));
    }
    Ok(sessions)
}

/// The session of one participant.
pub fn session(t: &impl Snapshot, room: RoomId, participant: ParticipantNo) -> Result<Option<Session>> {
    t.sessions()?.get((room, participant))?.map(|bytes| decode(bytes.value())).transpose()
}

/// The participant of a conversation that a guest's cookie leads to.
pub fn guest(t: &impl Snapshot, cookie: &[u8; 32], room: RoomId) -> Result<Option<ParticipantNo>> {
    Ok(t.guests()?.get((cookie, room))?.map(|no| no.value()))
}

/// The conversations where anybody has a session.
pub fn connected_rooms(t: &impl Snapshot) -> Result<Vec<RoomId>> {
    let mut rooms: Vec<RoomId> = Vec::new();
    for entry in t.sessions()?.iter()? {
        let room = entry?.0.value().0;
        if rooms.last() != Some(&room) {
            rooms.push(room);
        }
    }
    Ok(rooms)
}

impl Writer<'_> {
    /// Stores what a member alone sees.
    pub fn put_member(&mut self, user: &UserId, room: RoomId, member: &Member) -> Result<()> {
        self.wrote = true;
        self.members.insert((user.as_str(), room), encode(member)?.as_slice())?;
        Ok(())
    }

    /// Lets a user into a conversation. What was said before counts as read (SPEC B.11).
    pub fn add_user(&mut self, room: &mut Room, user: &UserId, kind: ParticipantType) -> Result<ParticipantNo> {
        let member = Member { last_read: room.last_message_id, ..Member::default() };
        self.put_member(user, room.id, &member)?;
        Ok(room.add(Actor::User(user.clone()), kind))
    }

    /// Takes a participant out of a conversation, with everything that was theirs.
    pub fn remove_participant(&mut self, room: &mut Room, no: ParticipantNo) -> Result<()> {
        self.end_session(room, no)?;
        if let Some(user) = room.participant(no).and_then(|p| p.actor.user()).cloned() {
            self.wrote = true;
            self.members.remove((user.as_str(), room.id))?;
        }
        room.remove(no);
        // Whoever polls the conversation learns at once that they are out.
        self.has_new_message(room.id);
        Ok(())
    }

    /// Connects a participant, in place of an earlier session. Call flags stay (SPEC D.2).
    pub fn start_session(
        &mut self,
        room: &mut Room,
        no: ParticipantNo,
        cookie: Option<[u8; 32]>,
        now: i64,
    ) -> Result<SessionId> {
        let id = new_session_id()?;
        let flags = session(self, room.id, no)?.map_or(0, |old| old.flags);
        self.put_session(room.id, no, &Session { id: id.clone(), flags, cookie })?;
        if let Some(cookie) = &cookie {
            self.guests.insert((cookie, room.id), no)?;
        }
        let participant = room.participant_mut(no).ok_or(Error::NOT_FOUND)?;
        participant.connected = true;
        participant.last_ping = participant.last_ping.max(now);
        participant.silent = 0;
        let last_ping = participant.last_ping;
        self.presence().connect(room.id, no, last_ping);
        Ok(id)
    }

    /// Lets a guest in: always as somebody new (SPEC D.2).
    pub fn add_guest(&mut self, room: &mut Room, cookie: [u8; 32], now: i64) -> Result<ParticipantNo> {
        let no = room.add(Actor::Bot, ParticipantType::Guest);
        let id = self.start_session(room, no, Some(cookie), now)?;
        if let Some(participant) = room.participant_mut(no) {
            participant.actor = Actor::Guest(GuestId::of(&id));
        }
        Ok(no)
    }

    /// Stores a session, for instance with other call flags.
    pub fn put_session(&mut self, room: RoomId, no: ParticipantNo, session: &Session) -> Result<()> {
        self.wrote = true;
        self.sessions.insert((room, no), encode(session)?.as_slice())?;
        self.has_new_sessions(room);
        Ok(())
    }

    /// Disconnects a participant; the last ping stays. Does nothing without a session.
    pub fn end_session(&mut self, room: &mut Room, no: ParticipantNo) -> Result<Option<Session>> {
        let Some(session) = session(self, room.id, no)? else { return Ok(None) };
        self.wrote = true;
        self.sessions.remove((room.id, no))?;
        self.has_new_sessions(room.id);
        if let Some(cookie) = &session.cookie
            && guest(self, cookie, room.id)? == Some(no)
        {
            self.guests.remove((cookie, room.id))?;
        }
        if let Some(participant) = room.participant_mut(no) {
            participant.connected = false;
        }
        Ok(Some(session))
    }
}

fn new_session_id() -> Result<SessionId> {
    let mut random = [0; 384];
    getrandom::fill(&mut random).map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
    Ok(SessionId::from_random(&random))
}
