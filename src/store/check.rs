//! Whether everything in the database can be read and agrees with everything else.

use super::backup::Progress;
use super::read_only::ReadOnly;
use super::tables::{self, decode};
use super::{Reader, Snapshot, participants};
use crate::error::Result;
use crate::talk::attempts::Attempts;
use crate::talk::message::{Message, MessageId, Profile};
use crate::talk::participant::{Actor, Member, ParticipantNo, Session, UserId};
use crate::talk::room::{Room, RoomId, RoomType};
use redb::{ReadableTable, ReadableTableMetadata};
use serde::Serialize;
use std::collections::HashSet;

/// Most contradictions that are spelled out.
const SHOWN: usize = 50;
/// Records between two calls of the progress function.
const STEP: u64 = 500;

/// What the database holds.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Conversations.
    pub rooms: u64,
    /// People in conversations, guests included; somebody who is in two counts twice.
    pub participants: u64,
    /// Those of them who have an account.
    pub users: u64,
    /// Those who are connected.
    pub sessions: u64,
    /// Messages of every kind.
    pub messages: u64,
    /// Messages that people wrote.
    pub comments: u64,
    /// Accounts whose name is known.
    pub people: u64,
    /// What is wrong, in words; at most 50 of it.
    pub problems: Vec<String>,
}

impl Report {
    fn problem(&mut self, what: impl FnOnce() -> String) {
        if self.problems.len() < SHOWN {
            self.problems.push(what());
        }
    }

    fn claim(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.problem(what);
        }
    }
}

/// Reads every record. What cannot be read is an error; what contradicts something else is in the report.
pub fn check(store: &ReadOnly, progress: &mut Progress<'_>) -> std::result::Result<Report, String> {
    store.read(|t| {
        let mut report = Report::default();
        let total = t.rooms()?.len()? + t.members()?.len()? + t.messages()?.len()?;
        let mut done = 0;
        let mut step = |more: u64| {
            done += more;
            if more >= STEP || done % STEP < more {
                progress(done.min(total), total);
            }
        };
        let newest_room = check_rooms(t, &mut report, &mut step)?;
        check_indexes(t, &mut report, &mut step)?;
        check_people(t, &mut report)?;
        check_numbers(t, newest_room, &mut report)?;
        progress(total, total);
        Ok(report)
    })
}

fn check_rooms(t: &Reader<'_>, report: &mut Report, step: &mut dyn FnMut(u64)) -> Result<RoomId> {
    let mut newest = 0;
    for entry in t.rooms()?.iter()? {
        let (key, bytes) = entry?;
        let (id, room) = (key.value(), decode::<Room>(bytes.value())?);
        newest = id;
        report.rooms += 1;
        report.claim(room.id == id, || format!("conversation {id} says that it is number {}", room.id));
        let led = t.tokens()?.get(room.token.as_str())?.map(|led| led.value());
        report.claim(led == Some(id), || format!("conversation {id}: its token leads to {led:?}"));
        check_participants(t, &room, report)?;
        check_pair(t, &room, report)?;
        let messages = check_messages(t, &room, report)?;
        step(1 + messages);
    }
    Ok(newest)
}

fn check_participants(t: &Reader<'_>, room: &Room, report: &mut Report) -> Result<()> {
    let id = room.id;
    let sessions = sessions_of(t, id)?;
    let mut numbers = HashSet::new();
    let mut users = HashSet::new();
    for participant in &room.participants {
        let no = participant.no;
        report.participants += 1;
        report.claim(numbers.insert(no), || format!("conversation {id}: participant {no} is there twice"));
        report.claim(no < room.next_participant, || format!("conversation {id}: participant {no} has no number yet"));
        let has_session = sessions.iter().any(|(holder, _)| *holder == no);
        report.claim(participant.connected == has_session, || {
            format!(
                "conversation {id}: participant {no} is connected: {}, has a session: {has_session}",
                participant.connected
            )
        });
        match &participant.actor {
            Actor::User(user) => {
                report.users += 1;
                report.claim(users.insert(user), || format!("conversation {id}: a user is in it twice"));
                let row = t.members()?.get((user.as_str(), id))?.is_some();
                report.claim(row, || format!("conversation {id}: participant {no} lacks a row of their own"));
            }
            Actor::Guest(_) => {}
            Actor::Bot | Actor::Guests => report.problem(|| format!("conversation {id}: participant {no} is nobody")),
        }
    }
    for (no, _) in &sessions {
        report.sessions += 1;
        report.claim(numbers.contains(no), || format!("conversation {id}: a session of participant {no}, who is gone"));
    }
    Ok(())
}

fn sessions_of(t: &Reader<'_>, room: RoomId) -> Result<Vec<(ParticipantNo, Session)>> {
    let range = t.sessions()?.range((room, 0)..=(room, ParticipantNo::MAX))?;
    range
        .map(|entry| {
            let (key, bytes) = entry?;
            Ok((key.value().1, decode(bytes.value())?))
        })
        .collect()
}

fn check_pair(t: &Reader<'_>, room: &Room, report: &mut Report) -> Result<()> {
    if room.kind != RoomType::OneToOne {
        return Ok(());
    }
    let users: Vec<UserId> = room.users().map(|(_, id)| id.clone()).collect();
    let pair = users.first().and_then(|one| Some((one.clone(), room.other(one)?)));
    let led = match &pair {
        Some((one, other)) => super::rooms::between(t, one, other)?.map(|room| room.id),
        None => None,
    };
    report.claim(led == Some(room.id), || format!("one-to-one {}: its two users lead to {led:?}", room.id));
    Ok(())
}

fn check_messages(t: &Reader<'_>, room: &Room, report: &mut Report) -> Result<u64> {
    let id = room.id;
    let (mut count, mut comments, mut last): (u64, u64, Option<Message>) = (0, 0, None);
    for entry in t.messages()?.range((id, MessageId::MIN)..=(id, MessageId::MAX))? {
        let (key, bytes) = entry?;
        let message: Message = decode(bytes.value())?;
        let number = key.value().1;
        count += 1;
        comments += u64::from(message.is_comment());
        report.claim(message.id == number, || format!("message {number} says that it is number {}", message.id));
        report.claim(message.comments == comments, || {
            format!("message {number}: it counts {} comments, there are {comments}", message.comments)
        });
        last = Some(message);
    }
    report.messages += count;
    report.comments += comments;
    report.claim(room.comments == comments, || {
        format!("conversation {id}: it counts {} comments, there are {comments}", room.comments)
    });
    let last_id = last.as_ref().map_or(0, |message| message.id);
    report.claim(room.last_message_id == last_id, || {
        format!("conversation {id}: its last message is {}, there is {last_id}", room.last_message_id)
    });
    report.claim(room.last_message.is_none() || room.last_message == last, || {
        format!("conversation {id}: the copy of its last message differs")
    });
    Ok(count)
}

/// Every row that leads to a conversation leads to one that knows of it.
fn check_indexes(t: &Reader<'_>, report: &mut Report, step: &mut dyn FnMut(u64)) -> Result<()> {
    let (tokens, rooms) = (t.tokens()?.len()?, report.rooms);
    report.claim(tokens == rooms, || format!("there are {tokens} tokens of {rooms} conversations"));
    for entry in t.pairs()?.iter()? {
        let id = entry?.1.value();
        let room = super::rooms::get(t, id)?;
        let fits = room.is_some_and(|room| room.kind == RoomType::OneToOne);
        report.claim(fits, || format!("two users lead to conversation {id}, which is no one-to-one"));
    }
    for entry in t.members()?.iter()? {
        let (_, bytes) = entry?;
        decode::<Member>(bytes.value())?;
        step(1);
    }
    // Each of those users has a row, as was seen above: with as many rows there is none that leads astray.
    let (rows, users) = (t.members()?.len()?, report.users);
    report.claim(rows == users, || format!("{users} users are in conversations, {rows} have a row of their own there"));
    for entry in t.sessions()?.iter()? {
        let (room, no) = entry?.0.value();
        let knows = super::rooms::get(t, room)?.is_some_and(|room| room.participant(no).is_some());
        report.claim(knows, || format!("a session of nobody in conversation {room}"));
    }
    for entry in t.guests()?.iter()? {
        let (key, no) = entry?;
        let ((cookie, room), no) = (key.value(), no.value());
        let session = participants::session(t, room, no)?;
        let fits = session.is_some_and(|session| session.cookie.as_ref() == Some(cookie));
        report.claim(fits, || {
            format!("a guest's cookie leads to participant {no} of conversation {room}, who has another")
        });
    }
    for entry in t.guest_names()?.iter()? {
        let room = entry?.0.value().0;
        let exists = t.rooms()?.get(room)?.is_some();
        report.claim(exists, || format!("a guest's name in conversation {room}, which is gone"));
    }
    let (all, found) = (t.messages()?.len()?, report.messages);
    report.claim(all == found, || format!("there are {all} messages, {found} of them in a conversation"));
    Ok(())
}

fn check_people(t: &Reader<'_>, report: &mut Report) -> Result<()> {
    for entry in t.people()?.iter()? {
        decode::<Profile>(entry?.1.value())?;
        report.people += 1;
    }
    for entry in t.attempts()?.iter()? {
        decode::<Attempts>(entry?.1.value())?;
    }
    Ok(())
}

/// The numbers that are given out next are larger than any that were.
fn check_numbers(t: &Reader<'_>, newest_room: RoomId, report: &mut Report) -> Result<()> {
    let meta = t.state.transaction.open_table(tables::META)?;
    let number = |name: &str| -> Result<u64> { Ok(meta.get(name)?.map_or(0, |value| value.value())) };
    let schema = number("schema")?;
    report.claim(schema == tables::SCHEMA, || format!("the schema is {schema}, this roomd knows {}", tables::SCHEMA));
    let next = number("next_room")?;
    report.claim(newest_room == 0 || next > newest_room, || {
        format!("conversation {newest_room} exists, the next one gets number {next}")
    });
    let mut newest: MessageId = 0;
    for entry in t.rooms()?.iter()? {
        newest = newest.max(decode::<Room>(entry?.1.value())?.last_message_id);
    }
    let next = number("next_message")?;
    report.claim(newest == 0 || next > newest as u64, || {
        format!("message {newest} exists, the next one gets number {next}")
    });
    Ok(())
}
