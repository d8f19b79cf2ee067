//! Chat: send, receive, the read marker, mentions (SPEC D.4).

use super::conversation::{change_own_row, refill_one_to_one};
use super::guest::check_name;
use super::{Context, Reply, Waited, remember};
use crate::error::{Error, Result};
use crate::nextcloud::directory::Account;
use crate::polls::Topic;
use crate::store::commit::Writer;
use crate::store::rooms::Access;
use crate::store::{Snapshot, messages, participants};
use crate::talk::mention::{Mention, Suggestion, named_users, resolve, suggestions};
use crate::talk::message::{Body, MESSAGE_LIMIT, Message, MessageId, MessageView, Parent, People, Reading};
use crate::talk::participant::{Actor, Level, UserId};
use crate::talk::room::{Room, RoomType, trim};
use crate::talk::view::display_name;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Header with the id of the last message that was looked at.
const LAST_GIVEN: &str = "X-Chat-Last-Given";
/// Longest wait for a message, seconds.
const LONGEST_WAIT: i64 = 30;
/// Most messages of one page when a limit is asked for.
const PAGE_LIMIT: i64 = 200;
/// Most messages of one page without a limit: Talk has none here, memory has.
const UNLIMITED: usize = 10_000;
/// Most names in one message that Nextcloud is asked about; further unknown ones stay text.
const NAMES_LOOKED_UP: usize = 10;
/// How many messages back suggestions look for who spoke lately.
const RECENT_MESSAGES: usize = 200;
/// User agents of the mobile apps: their polls count as pings (SPEC B.9).
const MOBILE_APPS: [&str; 2] = ["Mozilla/5.0 (Android) Nextcloud-Talk v", "Mozilla/5.0 (iOS) Nextcloud-Talk v"];

/// `POST /chat/{token}`
pub fn send(ctx: &Context) -> Result<Reply> {
    let text = ctx.read(|t| {
        ctx.enter(t)?;
        Ok(trim(ctx.request.text("message")?))
    })?;
    let people = people_named_in(ctx, text)?;
    ctx.change_room(move |ctx, t, mut access| {
        let guest_name = ctx.request.text_or("actorDisplayName", "")?;
        let parent = parent_of(t, &access.room, ctx.request.number_or("replyTo", 0))?;
        let text = trim(ctx.request.text("message")?);
        let refilled = refill_one_to_one(t, &mut access.room)?;
        if text.chars().count() > MESSAGE_LIMIT {
            if refilled {
                t.save(&mut access.room)?;
            }
            return ctx.refuse(&Error::TooLarge);
        }
        let me = access.participant().ok_or(Error::NOT_FOUND)?.actor.clone();
        if let (Actor::Guest(guest), false) = (&me, guest_name.is_empty()) {
            check_name(guest_name)?;
            t.put_guest_name(access.room.id, *guest, guest_name)?;
        }
        remember(t, &people, ctx.now)?;
        store_message(ctx, t, access, me, text, parent)
    })
}

/// The accounts that a text names and that are not known here yet. Only users can ask Nextcloud.
fn people_named_in(ctx: &Context, text: &str) -> Result<Vec<Account>> {
    if ctx.identity().user().is_none() {
        return Ok(Vec::new());
    }
    let unknown = ctx.read(|t| {
        let is_known =
            |name: &&str| Ok::<_, Error>(crate::store::people::stored_profile(t, &UserId::new(*name))?.is_some());
        let mut unknown = Vec::new();
        for name in named_users(text) {
            if unknown.len() < NAMES_LOOKED_UP && !is_known(&name)? {
                unknown.push(name);
            }
        }
        Ok(unknown)
    })?;
    let mut people = Vec::new();
    for name in unknown {
        match ctx.account(name) {
            Ok(found) => people.extend(found),
            // What somebody has to say counts for more than who is named in it: the name stays text.
            Err(Error::Unavailable(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(people)
}

/// The message that is replied to; 0 is none.
fn parent_of(t: &impl Snapshot, room: &Room, id: MessageId) -> Result<Option<Message>> {
    if id == 0 {
        return Ok(None);
    }
    let parent = messages::get(t, room.id, id)?.ok_or(Error::BadRequest)?;
    if parent.is_replyable(t)? { Ok(Some(parent)) } else { Err(Error::BadRequest) }
}

fn store_message(
    ctx: &Context,
    t: &mut Writer<'_>,
    mut access: Access,
    me: Actor,
    text: &str,
    parent: Option<Message>,
) -> Result<Reply> {
    let room = &mut access.room;
    let user = me.user().cloned();
    let message = match command_answer(text) {
        Some(answer) => {
            let body = Body::Command { text: answer.to_owned(), asked_by: user.clone() };
            t.post(room, Actor::Bot, body, ctx.now)?
        }
        None => {
            let text = text.strip_prefix('/').filter(|rest| rest.starts_with('/')).unwrap_or(text);
            let (text, mentions) = resolve(text, |name| known_account(t, name));
            let body = Body::Comment { text, parent: parent.as_ref().map(|p| p.id), mentions: mentions.clone() };
            let message = t.post(room, me.clone(), body, ctx.now)?;
            flag_mentions(ctx, t, room, &message, &mentions, parent.as_ref())?;
            message
        }
    };
    if let Some(user) = &user {
        let mut member = participants::member(t, user, room.id)?;
        member.last_read = message.id;
        t.put_member(user, room.id, &member)?;
    }
    t.save(room)?;
    let name = display_name(room, user.as_ref(), true, t)?;
    let reading = Reading { room, room_name: &name, reader: user.as_ref(), people: t };
    let mut view = reading.view(&message)?;
    if let (Some(view), Some(parent)) = (&mut view, &parent) {
        view.parent = reading.view(parent)?.map(|parent| Parent::Message(Box::new(parent)));
    }
    Ok(Reply::Now(ctx.created(&view)))
}

/// What the bot says to a command; `None` for a text that is none. There is only `/help`.
fn command_answer(text: &str) -> Option<&'static str> {
    let command = text.strip_prefix('/').filter(|rest| !rest.starts_with('/'))?;
    Some(match command.trim() {
        "help" => "There are currently no commands available.",
        _ => "The command does not exist",
    })
}

/// The account that a mention stands for, if one is known by that name.
fn known_account(t: &impl Snapshot, name: &str) -> Option<UserId> {
    let id = UserId::new(name);
    let profile = crate::store::people::stored_profile(t, &id).ok()??;
    profile.exists.then_some(id)
}

/// Sets the mention flag of everybody whom a message concerns (SPEC B.6).
fn flag_mentions(
    ctx: &Context,
    t: &mut Writer<'_>,
    room: &Room,
    message: &Message,
    mentions: &[Mention],
    parent: Option<&Message>,
) -> Result<()> {
    let mut candidates: Vec<&UserId> = parent.and_then(|p| p.actor.user()).into_iter().collect();
    for mention in mentions {
        match mention {
            Mention::User(id) => candidates.push(id),
            Mention::All => candidates.extend(room.users().map(|(_, id)| id)),
            Mention::Guest(_) => {}
        }
    }
    candidates.sort_unstable();
    candidates.dedup();
    for id in candidates {
        if message.actor.user() == Some(id) || room.user(id).is_none() || !t.profile(id)?.exists {
            continue;
        }
        let mut member = participants::member(t, id, room.id)?;
        let level = match member.level {
            Level::Default => ctx.app.policy.default_level(room),
            chosen => chosen.number(),
        };
        if level != Level::Never.number() {
            member.last_mention = message.id;
            t.put_member(id, room.id, &member)?;
        }
    }
    Ok(())
}

/// What a client asks to read.
struct Wanted {
    future: bool,
    limit: usize,
    known: MessageId,
    include_known: bool,
    wait: Duration,
    set_marker: bool,
}

impl Wanted {
    fn of(ctx: &Context) -> Result<Wanted> {
        let request = &ctx.request;
        let limit = request.number_or("limit", 100);
        Ok(Wanted {
            future: request.number("lookIntoFuture")? == 1,
            limit: if limit <= 0 { UNLIMITED } else { limit.min(PAGE_LIMIT) as usize },
            known: request.number_or("lastKnownMessageId", 0),
            include_known: request.number_or("includeLastKnown", 0) != 0,
            wait: wait(request.number_or("timeout", LONGEST_WAIT)),
            set_marker: request.number_or("setReadMarker", 1) == 1,
        })
    }

    /// The messages, oldest first when looking into the future, newest first otherwise.
    fn fetch(&self, t: &impl Snapshot, room: &Room) -> Result<Vec<Message>> {
        let known = self.known != 0 && messages::get(t, room.id, self.known)?.is_some();
        match (self.future, known, self.include_known) {
            (true, true, false) => messages::after(t, room.id, self.known, self.limit),
            (true, true, true) => messages::after(t, room.id, self.known - 1, self.limit),
            (true, false, _) => messages::after(t, room.id, 0, self.limit),
            (false, true, false) => messages::up_to(t, room.id, self.known - 1, self.limit),
            (false, true, true) => messages::up_to(t, room.id, self.known, self.limit),
            (false, false, _) => messages::up_to(t, room.id, MessageId::MAX, self.limit),
        }
    }
}

/// How long a client waits that asked for so many seconds.
fn wait(asked: i64) -> Duration {
    Duration::from_secs(asked.clamp(0, LONGEST_WAIT) as u64)
}

/// `GET /chat/{token}`
pub fn receive(ctx: &Context) -> Result<Reply> {
    let looked = ctx.read(|t| {
        let access = ctx.enter(t)?;
        let wanted = Wanted::of(ctx)?;
        ping(ctx, t, &access)?;
        if moves_marker(ctx, t, &access, &wanted)? { Ok(None) } else { page(ctx, t, &access, &wanted).map(Some) }
    })?;
    match looked {
        Some(reply) => Ok(reply),
        None => ctx.change_room(|ctx, t, access| {
            let (user, wanted) = (ctx.user()?, Wanted::of(ctx)?);
            let mut member = participants::member(t, user, access.room.id)?;
            member.last_read = member.last_read.max(wanted.known);
            t.put_member(user, access.room.id, &member)?;
            match page(ctx, t, &access, &wanted) {
                // Nothing new is no failure: the marker has moved all the same.
                Err(Error::NotModified) => ctx.refuse(&Error::NotModified),
                paged => paged,
            }
        }),
    }
}

/// A poll of a mobile app outside calls shows that its user is there, when it comes: not when it is answered.
fn ping(ctx: &Context, t: &impl Snapshot, access: &Access) -> Result<()> {
    if ctx.waited != Waited::No {
        return Ok(());
    }
    let agent = ctx.request.headers.user_agent.as_deref().unwrap_or("");
    let Some(me) = access.participant().filter(|me| me.connected) else { return Ok(()) };
    if MOBILE_APPS.iter().any(|app| agent.starts_with(app)) {
        let session = participants::session(t, access.room.id, me.no)?;
        if session.is_some_and(|session| session.flags == 0) {
            t.presence().ping(access.room.id, me.no, ctx.now);
        }
    }
    Ok(())
}

/// Asking for what comes after a message says that this one has been read. Having waited says nothing new: the marker
/// may have been put back meanwhile.
fn moves_marker(ctx: &Context, t: &impl Snapshot, access: &Access, wanted: &Wanted) -> Result<bool> {
    match ctx.identity().user() {
        Some(user) if wanted.future && wanted.set_marker && ctx.waited == Waited::No => {
            Ok(wanted.known > participants::member(t, user, access.room.id)?.last_read)
        }
        _ => Ok(false),
    }
}

/// A page of messages, or the wait for one.
fn page<S: Snapshot>(ctx: &Context, t: &S, access: &Access, wanted: &Wanted) -> Result<Reply> {
    let room = &access.room;
    let found = wanted.fetch(t, room)?;
    let Some(last) = found.last() else {
        let deadline = match ctx.waited {
            Waited::No if wanted.future && !wanted.wait.is_zero() => Instant::now() + wanted.wait,
            Waited::Woken(deadline) if deadline > Instant::now() => deadline,
            Waited::No | Waited::Woken(_) | Waited::TimedOut => return Err(Error::NotModified),
        };
        return Ok(Reply::Later(Topic::Messages(room.id), deadline));
    };
    let user = ctx.identity().user();
    let name = display_name(room, user, true, t)?;
    let reading = Reading { room, room_name: &name, reader: user, people: t };
    let parents = parents_of(t, room, &found)?;
    let mut views: Vec<MessageView<'_>> = Vec::with_capacity(found.len());
    for message in &found {
        let Some(mut view) = reading.view(message)? else { continue };
        if let Body::Comment { parent: Some(id), .. } = message.body {
            view.parent = Some(match parents.get(&id).map(|parent| reading.view(parent)).transpose()?.flatten() {
                Some(parent) => Parent::Message(Box::new(parent)),
                None => Parent::gone(id),
            });
        }
        views.push(view);
    }
    Ok(Reply::Now(ctx.ok(&views).with(LAST_GIVEN, last.id.to_string())))
}

fn parents_of(t: &impl Snapshot, room: &Room, page: &[Message]) -> Result<HashMap<MessageId, Message>> {
    let mut parents = HashMap::new();
    for message in page {
        if let Body::Comment { parent: Some(id), .. } = message.body
            && let Some(parent) = messages::get(t, room.id, id)?
        {
            parents.insert(id, parent);
        }
    }
    Ok(parents)
}

/// `POST /chat/{token}/read`
pub fn set_read_marker(ctx: &Context) -> Result<Reply> {
    change_own_row(ctx, |ctx, member| {
        member.last_read = ctx.request.number("lastReadMessage")?;
        Ok(())
    })
}

/// `GET /chat/{token}/mentions`
pub fn suggest_mentions(ctx: &Context) -> Result<Reply> {
    ctx.read(|t| {
        let access = ctx.enter(t)?;
        let search = ctx.request.text("search")?;
        let room = &access.room;
        let user = ctx.identity().user();
        let (mut users, mut guests) = (Vec::new(), Vec::new());
        for participant in room.participants.iter().filter(|p| Some(p.no) != access.me) {
            match &participant.actor {
                Actor::User(id) => users.push(id.clone()),
                Actor::Guest(id) => guests.push((*id, t.guest_name(room.id, *id)?)),
                Actor::Bot | Actor::Guests => {}
            }
        }
        // Whoever left a conversation of two can still be mentioned: a message brings them back.
        if let (RoomType::OneToOne, Some(me)) = (room.kind, user) {
            users.extend(room.other(me).filter(|other| room.user(other).is_none()));
        }
        let mut people = Vec::with_capacity(users.len());
        for id in users {
            let profile = t.profile(&id)?;
            if profile.exists {
                people.push((id, profile.display_name));
            }
        }
        let recent = messages::up_to(t, room.id, MessageId::MAX, RECENT_MESSAGES)?;
        let spoke: Vec<UserId> =
            recent.iter().filter(|m| m.is_comment()).filter_map(|m| m.actor.user().cloned()).collect();
        let name = display_name(room, user, true, t)?;
        let room_name = (room.kind != RoomType::OneToOne).then_some(name.as_str());
        let list: Vec<Suggestion> = suggestions(search, &people, &guests, &spoke, room_name);
        Ok(Reply::Now(ctx.ok(&list)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_longer_than_half_a_minute() {
        for (asked, seconds) in [(-1, 0), (0, 0), (7, 7), (30, 30), (31, 30), (60, 30), (i64::MAX, 30), (i64::MIN, 0)] {
            assert_eq!(wait(asked), Duration::from_secs(seconds), "{asked}");
        }
    }
}
