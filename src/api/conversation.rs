//! Conversations: list, create, show, rename, delete, open to guests, lock, protect, and the member's own settings (SPEC C).

use super::{Context, Reply, changes, end_call_if_empty, post, remember, webinar};
use crate::error::{By, Error, Result};
use crate::nextcloud::directory::Account;
use crate::ocs::{Answer, Format};
use crate::password;
use crate::store::commit::Writer;
use crate::store::participants::HeldSession;
use crate::store::rooms::Access;
use crate::store::{Snapshot, messages, participants, rooms};
use crate::talk::message::{Message, People, System};
use crate::talk::participant::{Actor, Level, Member, ParticipantNo, ParticipantType, SESSION_TIMEOUT, UserId};
use crate::talk::room::{Room, RoomType, new_name, switch};
use crate::talk::view::{self, Conversation, Viewer};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use smol_str::SmolStr;
use std::cell::{Cell, RefCell};

/// The header that tells clients when the server's settings changed (SPEC C.1).
const TALK_HASH: &str = "X-Nextcloud-Talk-Hash";

/// `GET /room`
pub fn list(ctx: &Context) -> Result<Reply> {
    let looked = ctx.read(|t| {
        let untidy = Cell::new(false);
        let is_tidy = |found: &Result<(Room, Member)>| {
            untidy.set(found.as_ref().is_ok_and(|(room, _)| needs_tidying(room, ctx.now)));
            !untidy.get()
        };
        let answer = list_of(ctx, t, rooms::each_of_user(t, ctx.user()?)?.take_while(is_tidy))?;
        Ok((!untidy.get()).then_some(answer))
    })?;
    match looked {
        Some(answer) => Ok(Reply::Now(answer)),
        None => ctx.change(|ctx, t| {
            let rooms = rooms::of_user(t, ctx.user()?)?;
            let untidy: Vec<Room> =
                rooms.iter().filter(|(room, _)| needs_tidying(room, ctx.now)).map(|(room, _)| room.clone()).collect();
            let answer = list_of(ctx, t, rooms.into_iter().map(Ok))?;
            for mut room in untidy {
                tidy(t, &mut room, &ctx.actor(None), ctx.now)?;
            }
            Ok(Reply::Now(answer))
        }),
    }
}

fn list_of<S: Snapshot>(ctx: &Context, t: &S, rooms: impl Iterator<Item = Result<(Room, Member)>>) -> Result<Answer> {
    let list = OneByOne { ctx, t, rooms: RefCell::new(rooms), failed: Cell::new(None) };
    let answer = ctx.ok(&list);
    match list.failed.take() {
        Some(error) => Err(error),
        None => Ok(hashed(ctx, answer)),
    }
}

/// The caller's conversations, each read while the answer is being written: the next one takes the memory of the one
/// before. With all of them in memory at once, allocating was a sixth of a list's instructions.
struct OneByOne<'a, S, I> {
    ctx: &'a Context,
    t: &'a S,
    rooms: RefCell<I>,
    /// Why there is no list: the serializer has no place for it.
    failed: Cell<Option<Error>>,
}

impl<S: Snapshot, I: Iterator<Item = Result<(Room, Member)>>> Serialize for OneByOne<'_, S, I> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> std::result::Result<Z::Ok, Z::Error> {
        let stopped = |error| {
            self.failed.set(Some(error));
            serde::ser::Error::custom("a conversation could not be read")
        };
        let mut list = serializer.serialize_seq(None)?;
        for found in &mut *self.rooms.borrow_mut() {
            let loaded = found.and_then(|(room, member)| self.load(room, member)).map_err(stopped)?;
            list.serialize_element(&loaded.view(self.ctx, self.t, false).map_err(stopped)?)?;
        }
        list.end()
    }
}

impl<S: Snapshot, I> OneByOne<'_, S, I> {
    fn load(&self, room: Room, member: Member) -> Result<Loaded> {
        let me = room.user(self.ctx.user()?).map(|p| p.no);
        Loaded::of(self.ctx, self.t, Access { room, me }, Some(member))
    }
}

/// Adds the header that tells clients when the server's settings changed; not to an answer that says nothing.
fn hashed(ctx: &Context, answer: Answer) -> Answer {
    if ctx.format == Format::Unsupported { answer } else { answer.with(TALK_HASH, ctx.app.talk_hash.clone()) }
}

/// `GET /room/{token}`
pub fn show(ctx: &Context) -> Result<Reply> {
    let looked = ctx.read(|t| {
        let access = ctx.find(t)?;
        if access.me.is_some() && needs_tidying(&access.room, ctx.now) {
            return Ok(None);
        }
        one(ctx, t, access).map(Some)
    })?;
    match looked {
        Some(answer) => Ok(Reply::Now(hashed(ctx, answer))),
        None => ctx.change(move |ctx, t| {
            let access = ctx.find(t)?;
            let answer = one(ctx, t, access.clone())?;
            let actor = ctx.actor(access.participant());
            let mut room = access.room;
            tidy(t, &mut room, &actor, ctx.now)?;
            Ok(Reply::Now(hashed(ctx, answer)))
        }),
    }
}

/// 200 with the conversation as the caller sees it.
pub fn one<S: Snapshot>(ctx: &Context, t: &S, access: Access) -> Result<Answer> {
    Ok(ctx.ok(&Loaded::of(ctx, t, access, None)?.view(ctx, t, false)?))
}

/// Everything that is read to show a conversation to the caller.
struct Loaded {
    access: Access,
    member: Member,
    unread: u64,
    sessions: Vec<HeldSession>,
    /// The newest message, where it is too long to stand in the conversation's own record.
    long_message: Option<Message>,
    expired_timer: Option<i64>,
}

impl Loaded {
    /// Reads it. What a change is about to tidy up stays as it is, but a lobby whose time is over is open already,
    /// with its old timer (SPEC B.7).
    fn of<S: Snapshot>(ctx: &Context, t: &S, mut access: Access, member: Option<Member>) -> Result<Loaded> {
        let expired_timer = access.room.expired_timer(ctx.now);
        if expired_timer.is_some() {
            access.room.lobby = false;
        }
        let room = &access.room;
        let member = match (member, ctx.identity().user(), access.me) {
            (Some(member), ..) => member,
            (None, Some(user), Some(_)) => participants::member(t, user, room.id)?,
            (None, ..) => Member::default(),
        };
        let takes_part = ctx.identity().user().is_some() && access.me.is_some();
        let unread = if takes_part { messages::unread(t, room, &member)? } else { 0 };
        let (sessions, long_message) = (participants::sessions(t, room)?, messages::newest_if_long(t, room)?);
        Ok(Loaded { member, unread, sessions, long_message, expired_timer, access })
    }

    fn view<S: Snapshot>(&self, ctx: &Context, t: &S, just_created: bool) -> Result<Conversation<'_>> {
        let room = &self.access.room;
        let viewer = Viewer {
            user: self.access.participant().and_then(|me| me.actor.user()),
            participant: self.access.participant(),
            member: &self.member,
            unread: self.unread,
            expired_timer: self.expired_timer,
            just_created,
        };
        let last_message = room.last_message.as_ref().or(self.long_message.as_ref());
        view::conversation(room, last_message, &self.sessions, &viewer, &ctx.app.policy, t)
    }
}

/// Whether a conversation holds something whose time is over: a lobby's timer, or sessions gone silent (SPEC B.9).
pub fn needs_tidying(room: &Room, now: i64) -> bool {
    room.expired_timer(now).is_some() || stale(room).next().is_some()
}

fn stale(room: &Room) -> impl Iterator<Item = ParticipantNo> {
    room.participants.iter().filter(|p| p.connected && p.silent >= SESSION_TIMEOUT).map(|p| p.no)
}

/// Opens an expired lobby and drops sessions gone silent, as leaving would.
pub fn tidy(t: &mut Writer<'_>, room: &mut Room, actor: &Actor, now: i64) -> Result<()> {
    webinar::expire_lobby(t, room, actor.clone(), now)?;
    let silent: Vec<ParticipantNo> = stale(room).collect();
    if silent.is_empty() {
        return Ok(());
    }
    let users_left = silent.iter().any(|no| room.participant(*no).is_some_and(|p| !p.kind.is_guest()));
    for no in silent {
        disconnect(t, room, no)?;
    }
    // Guests that time out do not end a call, users do (SPEC B.4).
    if users_left {
        end_call_if_empty(t, room, now)?;
    }
    t.save(room)
}

/// What leaving does to a participant: guests and self-joined users are gone, others stay without a session (SPEC D.2).
pub fn disconnect(t: &mut Writer<'_>, room: &mut Room, no: ParticipantNo) -> Result<()> {
    let Some(participant) = room.participant(no) else { return Ok(()) };
    if participant.kind.is_guest() || participant.kind == ParticipantType::SelfJoined {
        t.remove_participant(room, no)
    } else {
        t.end_session(room, no).map(|_| ())
    }
}

/// `POST /room`
pub fn create(ctx: &Context) -> Result<Reply> {
    let kind = RoomType::parse(ctx.request.number("roomType")?)?;
    let invite = ctx.request.text_or("invite", "")?.to_owned();
    let name = ctx.request.text_or("roomName", "")?.to_owned();
    let source = ctx.request.text_or("source", "")?;
    match kind {
        RoomType::OneToOne => create_one_to_one(ctx, &invite),
        RoomType::Group if invite.is_empty() => create_empty(ctx, RoomType::Group, &name),
        RoomType::Group if source == "circles" => {
            let circle = ctx.directory()?.circle(&ctx.caller.asker, &invite)?.ok_or(Error::NOT_FOUND)?;
            create_with_people(ctx, circle.name.into(), circle.members)
        }
        RoomType::Group => {
            let members = ctx.directory()?.group(&ctx.caller.asker, &invite)?.ok_or(Error::NOT_FOUND)?;
            create_with_people(ctx, invite.into(), members)
        }
        RoomType::Public => create_empty(ctx, RoomType::Public, &name),
    }
}

fn create_one_to_one(ctx: &Context, invite: &str) -> Result<Reply> {
    let other = ctx.account(invite)?.ok_or(Error::NOT_FOUND)?;
    if other.id == *ctx.user()? {
        return Err(Error::FORBIDDEN);
    }
    ctx.change(move |ctx, t| {
        let me = ctx.user()?;
        remember(t, std::slice::from_ref(&other), ctx.now)?;
        if let Some(mut room) = rooms::between(t, me, &other.id)? {
            if refill_one_to_one(t, &mut room)? {
                t.save(&mut room)?;
            }
            let me = room.user(me).map(|p| p.no);
            return Ok(Reply::Now(one(ctx, t, Access { room, me })?));
        }
        let mut room = t.new_room(RoomType::OneToOne, SmolStr::default())?;
        t.pair_up(&room, me, &other.id)?;
        let owner = t.add_user(&mut room, me, ParticipantType::Owner)?;
        t.add_user(&mut room, &other.id, ParticipantType::Owner)?;
        finish_creation(ctx, t, room, owner)
    })
}

/// Brings whoever left a one-to-one back as its owner, without a message (SPEC C.9). True when somebody was.
pub fn refill_one_to_one(t: &mut Writer<'_>, room: &mut Room) -> Result<bool> {
    if room.kind != RoomType::OneToOne || room.name.is_empty() {
        return Ok(false);
    }
    let absent = UserId::new(room.name.clone());
    if !t.profile(&absent)?.exists {
        return Ok(false);
    }
    if room.user(&absent).is_none() {
        t.add_user(room, &absent, ParticipantType::Owner)?;
    }
    room.name = SmolStr::default();
    Ok(true)
}

fn create_empty(ctx: &Context, kind: RoomType, name: &str) -> Result<Reply> {
    let name = new_name(name)?;
    ctx.change(move |ctx, t| {
        let user = ctx.user()?;
        let (room, owner) = changes::create(t, kind, name.clone(), Some(user), &Actor::User(user.clone()), ctx.now)?;
        created(ctx, t, room, owner.ok_or(Error::NOT_FOUND)?)
    })
}

fn create_with_people(ctx: &Context, name: SmolStr, people: Vec<Account>) -> Result<Reply> {
    ctx.change(move |ctx, t| {
        let me = ctx.user()?;
        remember(t, &people, ctx.now)?;
        let mut room = t.new_room(RoomType::Group, name.clone())?;
        let owner = t.add_user(&mut room, me, ParticipantType::Owner)?;
        let actor = Actor::User(me.clone());
        post(t, &mut room, &actor, System::ConversationCreated, ctx.now)?;
        // Talk adds them to a conversation that has not noticed its first message yet (SPEC B.11).
        changes::add_people(t, &mut room, &actor, &people, 0, ctx.now)?;
        created(ctx, t, room, owner)
    })
}

fn finish_creation(ctx: &Context, t: &mut Writer<'_>, mut room: Room, owner: ParticipantNo) -> Result<Reply> {
    post(t, &mut room, &Actor::User(ctx.user()?.clone()), System::ConversationCreated, ctx.now)?;
    created(ctx, t, room, owner)
}

fn created(ctx: &Context, t: &mut Writer<'_>, mut room: Room, owner: ParticipantNo) -> Result<Reply> {
    t.save(&mut room)?;
    let access = Access { room, me: Some(owner) };
    Ok(Reply::Now(ctx.created(&Loaded::of(ctx, t, access, None)?.view(ctx, t, true)?)))
}

/// `PUT /room/{token}`
pub fn rename(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        let asked = ctx.request.text("roomName")?;
        let actor = ctx.actor(access.participant());
        changes::rename(t, &mut access.room, &actor, asked, ctx.now)?;
        ctx.done()
    })
}

/// `DELETE /room/{token}`
pub fn delete(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        changes::delete(t, &mut access.room)?;
        ctx.done()
    })
}

/// `POST /room/{token}/public`
pub fn allow_guests(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        let actor = ctx.actor(access.participant());
        changes::allow_guests(t, &mut access.room, &actor, ctx.now)?;
        ctx.done()
    })
}

/// `DELETE /room/{token}/public`
pub fn disallow_guests(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        let actor = Actor::User(ctx.user()?.clone());
        changes::disallow_guests(t, &mut access.room, &actor, ctx.now)?;
        ctx.done()
    })
}

/// `PUT /room/{token}/read-only`
pub fn set_read_only(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        let asked = ctx.request.number("state")?;
        if asked == i64::from(access.room.read_only) {
            return ctx.done();
        }
        if access.room.kind == RoomType::OneToOne {
            return Err(Error::BadRequest);
        }
        let actor = Actor::User(ctx.user()?.clone());
        changes::set_read_only(t, &mut access.room, &actor, switch(asked)?, ctx.now)?;
        ctx.done()
    })
}

/// `PUT /room/{token}/password`
pub fn set_password(ctx: &Context) -> Result<Reply> {
    // Refuse before hashing: that costs 60 ms of one of two hash slots.
    let hash = ctx.read(|t| {
        let access = ctx.enter(t)?;
        let asked = ctx.request.text("password")?;
        if access.room.kind != RoomType::Public {
            return Err(Error::FORBIDDEN);
        }
        ctx.hashing_lane()?;
        Ok((!asked.is_empty()).then_some(asked))
    })?;
    let hash = hash.map(password::hash).transpose()?;
    ctx.change_room(move |ctx, t, mut access| {
        let actor = ctx.actor(access.participant());
        changes::set_password(t, &mut access.room, &actor, hash.clone(), ctx.now)?;
        ctx.done()
    })
}

/// `POST /room/{token}/favorite`
pub fn add_favorite(ctx: &Context) -> Result<Reply> {
    change_own_row(ctx, |_, member| {
        member.favorite = true;
        Ok(())
    })
}

/// `DELETE /room/{token}/favorite`
pub fn remove_favorite(ctx: &Context) -> Result<Reply> {
    change_own_row(ctx, |_, member| {
        member.favorite = false;
        Ok(())
    })
}

/// `POST /room/{token}/notify`
pub fn set_notification_level(ctx: &Context) -> Result<Reply> {
    change_own_row(ctx, |ctx, member| {
        member.level = Level::parse(ctx.request.number("level")?)?;
        Ok(())
    })
}

/// Changes what the caller alone sees of the conversation.
pub fn change_own_row(ctx: &Context, set: fn(&Context, &mut Member) -> Result<()>) -> Result<Reply> {
    ctx.change_room(move |ctx, t, access| {
        let user = ctx.user().map_err(|_| Error::NotFound(By::Gate))?;
        let mut member = participants::member(t, user, access.room.id)?;
        set(ctx, &mut member)?;
        t.put_member(user, access.room.id, &member)?;
        ctx.done()
    })
}
