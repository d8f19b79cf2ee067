//! The conversation object of API v1, in the degree of detail that a caller may see (SPEC B).

use crate::error::Result;
use crate::talk::message::{MessageView, People, Profile, Reading};
use crate::talk::participant::{
    ACTIVE_WINDOW, Actor, Level, Member, Participant, ParticipantNo, ParticipantType, SESSION_TIMEOUT, Session, UserId,
};
use crate::talk::room::{Room, RoomType, generated_name};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use smol_str::{SmolStr, format_smolstr};

/// The name that strangers see.
const PRIVATE: SmolStr = SmolStr::new_static("Private conversation");
/// What `sessionId` says of somebody who is not connected.
pub const NO_SESSION: &str = "0";

/// The administrator's settings that show in a conversation.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Who may start calls: 0 everyone, 1 users, 2 moderators.
    pub start_calls: u8,
    /// Level of group conversations whose member chose none; 0 means mention.
    pub default_group_notification: u8,
}

impl Policy {
    /// Whether a participant of this type may start a call (SPEC B.3).
    pub fn may_start_call(&self, kind: ParticipantType) -> bool {
        match self.start_calls {
            0 => true,
            1 => kind != ParticipantType::Guest,
            _ => kind.is_moderator(),
        }
    }

    /// The level that counts when a member chose none (SPEC B.2).
    pub fn default_level(&self, room: &Room) -> u8 {
        match (room.kind, self.default_group_notification) {
            (RoomType::OneToOne, _) => Level::Always.number(),
            (_, 0) => Level::Mention.number(),
            (_, level) => level,
        }
    }
}

/// The sessions of one conversation, by participant.
pub type Sessions = [(ParticipantNo, Session)];

/// The session of one participant.
pub fn session_of(sessions: &Sessions, no: ParticipantNo) -> Option<&Session> {
    sessions.iter().find(|(of, _)| *of == no).map(|(_, session)| session)
}

/// Who looks at a conversation.
pub struct Viewer<'a> {
    /// The logged-in user; `None` is a guest.
    pub user: Option<&'a UserId>,
    /// The caller in the conversation; `None` gets the minimal form.
    pub participant: Option<&'a Participant>,
    /// What the caller alone sees and sets.
    pub member: &'a Member,
    /// Comments after the read marker.
    pub unread: u64,
    /// A lobby timer that ran out just now: shown this once (SPEC B.7).
    pub expired_timer: Option<i64>,
    /// The conversation was made just now: its first message is not shown (SPEC B.8).
    pub just_created: bool,
}

/// The API's conversation object; the fields stand in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conversation<'a> {
    id: u64,
    token: &'a str,
    r#type: u8,
    name: SmolStr,
    display_name: SmolStr,
    object_type: &'static str,
    object_id: &'static str,
    participant_type: u8,
    participant_in_call: bool,
    participant_flags: i32,
    read_only: u8,
    count: usize,
    has_password: bool,
    has_call: bool,
    can_start_call: bool,
    last_activity: i64,
    last_read_message: i64,
    unread_messages: u64,
    unread_mention: bool,
    is_favorite: bool,
    notification_level: u8,
    lobby_state: u8,
    lobby_timer: i64,
    last_ping: i64,
    session_id: &'a str,
    participants: Participants<'a>,
    num_guests: usize,
    guest_list: &'static str,
    last_message: LastMessage<'a>,
}

/// Renders `room` for `viewer`. `last_message` is the newest stored message.
pub fn conversation<'a, P: People>(
    room: &'a Room,
    last_message: Option<&'a crate::talk::message::Message>,
    sessions: &'a Sessions,
    viewer: &Viewer<'a>,
    policy: &Policy,
    people: &P,
) -> Result<Conversation<'a>> {
    let mut view = minimal(room);
    let Some(me) = viewer.participant else { return Ok(view) };

    let session = session_of(sessions, me.no);
    let flags = session.map_or(0, |s| s.flags);
    view.name = room.name.clone();
    view.display_name = display_name(room, viewer.user, true, people)?;
    view.participant_type = me.kind.number();
    view.participant_in_call = flags & 1 != 0;
    view.participant_flags = flags;
    view.read_only = room.read_only.into();
    view.count = room.participants.iter().filter(|p| p.silent < ACTIVE_WINDOW).count();
    view.has_call = room.active_since.is_some();
    view.last_activity = room.last_activity;
    view.is_favorite = viewer.member.favorite;
    view.notification_level = level(room, me, viewer.member, policy);
    view.lobby_state = room.lobby.into();
    view.lobby_timer = viewer.expired_timer.or(room.lobby_timer).unwrap_or(0);
    view.last_ping = me.last_ping;
    view.session_id = session.map_or(NO_SESSION, |s| s.id.as_str());
    if room.lobby_stops(me.kind) {
        return Ok(view);
    }

    if let (RoomType::OneToOne, Some(user)) = (room.kind, viewer.user)
        && let Some(other) = room.other(user)
        && people.profile(&other)?.exists
    {
        view.name = other.as_name();
    }
    view.can_start_call = policy.may_start_call(me.kind);
    if viewer.user.is_some() {
        view.last_read_message = viewer.member.last_read;
        view.unread_messages = viewer.unread;
        view.unread_mention = viewer.member.last_mention != 0 && viewer.member.last_read < viewer.member.last_mention;
    }
    view.participants = participants(room, sessions, people)?;
    view.num_guests = room.participants.iter().filter(|p| p.kind.is_guest() && p.silent < SESSION_TIMEOUT).count();
    if let (false, Some(message)) = (viewer.just_created, last_message) {
        let reading = Reading { room, room_name: &view.display_name, reader: viewer.user, people };
        view.last_message = LastMessage(reading.view(message)?);
    }
    Ok(view)
}

/// What somebody sees who is not in the conversation.
fn minimal(room: &Room) -> Conversation<'_> {
    Conversation {
        id: room.id,
        token: room.token.as_str(),
        r#type: room.kind.number(),
        name: SmolStr::default(),
        display_name: SmolStr::default(),
        object_type: "",
        object_id: "",
        participant_type: ParticipantType::Guest.number(),
        participant_in_call: false,
        participant_flags: 0,
        read_only: 0,
        count: 0,
        has_password: room.password.is_some(),
        has_call: false,
        can_start_call: false,
        last_activity: 0,
        last_read_message: 0,
        unread_messages: 0,
        unread_mention: false,
        is_favorite: false,
        notification_level: Level::Never.number(),
        lobby_state: 0,
        lobby_timer: 0,
        last_ping: 0,
        session_id: NO_SESSION,
        participants: Participants(Vec::new()),
        num_guests: 0,
        guest_list: "",
        last_message: LastMessage(None),
    }
}

/// The name that a caller sees (SPEC B.1).
pub fn display_name<P: People>(room: &Room, user: Option<&UserId>, takes_part: bool, people: &P) -> Result<SmolStr> {
    if room.kind == RoomType::OneToOne {
        let Some(user) = user.filter(|_| takes_part) else { return Ok(PRIVATE) };
        let Some(other) = room.other(user) else { return Ok(SmolStr::default()) };
        let profile = people.profile(&other)?;
        return Ok(match (profile.exists, room.user(&other)) {
            (true, _) => profile.display_name,
            (false, Some(_)) => other.as_name(),
            (false, None) => format_smolstr!("Deleted user ({other})"),
        });
    }
    if user.is_none() && room.kind != RoomType::Public {
        return Ok(PRIVATE);
    }
    if room.name.is_empty() {
        let profiles: Vec<_> = room.users().map(|(_, id)| people.profile(id)).collect::<Result<_>>()?;
        return Ok(generated_name(profiles.iter().map(|p| &*p.display_name)).into());
    }
    Ok(if takes_part { room.name.clone() } else { PRIVATE })
}

fn level(room: &Room, me: &Participant, member: &Member, policy: &Policy) -> u8 {
    match member.level {
        Level::Default if me.kind.is_guest() => Level::Never.number(),
        Level::Default => policy.default_level(room),
        chosen => chosen.number(),
    }
}

/// The users in a conversation, most recent ping first. Guests and deleted accounts are not among them.
fn participants<'a, P: People>(room: &'a Room, sessions: &'a Sessions, people: &P) -> Result<Participants<'a>> {
    let mut list = Vec::with_capacity(room.participants.len());
    for participant in &room.participants {
        let Actor::User(id) = &participant.actor else { continue };
        let profile = people.profile(id)?;
        if !profile.exists {
            continue;
        }
        let session = if participant.connected { session_of(sessions, participant.no) } else { None };
        list.push(ParticipantEntry { id, profile, participant, session });
    }
    // Stable: people who never pinged stay in the order in which they came.
    list.sort_by_key(|entry| std::cmp::Reverse(entry.participant.last_ping));
    Ok(Participants(list))
}

struct ParticipantEntry<'a> {
    id: &'a UserId,
    profile: Profile,
    participant: &'a Participant,
    session: Option<&'a Session>,
}

#[derive(Serialize)]
struct ParticipantFields<'a> {
    name: &'a str,
    r#type: u8,
    call: i32,
    #[serde(rename = "sessionId")]
    session_id: &'a str,
}

/// A map by user id; `[]` when it is empty (SPEC A.3).
struct Participants<'a>(Vec<ParticipantEntry<'a>>);

impl Serialize for Participants<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return serializer.serialize_seq(Some(0))?.end();
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for entry in &self.0 {
            map.serialize_entry(
                entry.id.as_str(),
                &ParticipantFields {
                    name: &entry.profile.display_name,
                    r#type: entry.participant.kind.number(),
                    call: entry.session.map_or(0, |s| s.flags),
                    session_id: entry.session.map_or(NO_SESSION, |s| s.id.as_str()),
                },
            )?;
        }
        map.end()
    }
}

/// A message, or `[]` when there is none to show.
struct LastMessage<'a>(Option<MessageView<'a>>);

impl Serialize for LastMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match &self.0 {
            Some(message) => message.serialize(serializer),
            None => serializer.serialize_seq(Some(0))?.end(),
        }
    }
}

/// One line of `GET …/participants` (SPEC D.1).
#[derive(Serialize)]
#[serde(untagged)]
pub enum ParticipantLine<'a> {
    /// A user.
    #[serde(rename_all = "camelCase")]
    User {
        /// Call flags.
        in_call: i32,
        /// Unix seconds.
        last_ping: i64,
        /// `'0'` when not connected.
        session_id: &'a str,
        /// The API's number.
        participant_type: u8,
        /// The user's id.
        user_id: &'a str,
        /// The name that people see.
        display_name: SmolStr,
    },
    /// A guest.
    #[serde(rename_all = "camelCase")]
    Guest {
        /// Call flags.
        in_call: i32,
        /// Unix seconds.
        last_ping: i64,
        /// The API's number.
        participant_type: u8,
        /// `'0'` when not connected.
        session_id: &'a str,
        /// Always empty.
        user_id: &'static str,
        /// The name that the guest gave, or nothing.
        display_name: SmolStr,
    },
}

/// The participants of a conversation, users first. Users whose account is gone are left out.
pub fn participant_lines<'a, P: People>(
    room: &'a Room,
    sessions: &'a Sessions,
    people: &P,
) -> Result<Vec<ParticipantLine<'a>>> {
    let (mut users, mut guests) = (Vec::new(), Vec::new());
    for participant in &room.participants {
        let session = session_of(sessions, participant.no);
        let (in_call, session_id) = session.map_or((0, NO_SESSION), |s| (s.flags, s.id.as_str()));
        let (last_ping, participant_type) = (participant.last_ping, participant.kind.number());
        match &participant.actor {
            Actor::User(id) => {
                let profile = people.profile(id)?;
                if profile.exists {
                    let display_name = profile.display_name;
                    let user_id = id.as_str();
                    users.push(ParticipantLine::User {
                        in_call,
                        last_ping,
                        session_id,
                        participant_type,
                        user_id,
                        display_name,
                    });
                }
            }
            Actor::Guest(id) => {
                let display_name = people.guest_name(room.id, *id)?;
                guests.push(ParticipantLine::Guest {
                    in_call,
                    last_ping,
                    participant_type,
                    session_id,
                    user_id: "",
                    display_name,
                });
            }
            Actor::Bot | Actor::Guests => {}
        }
    }
    users.append(&mut guests);
    Ok(users)
}
