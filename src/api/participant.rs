//! Participants: list, add, remove, promote, join, leave (SPEC D.1, D.2).

use super::conversation::{disconnect, one, tidy};
use super::{Context, Reply, Waited, changes, end_call_if_empty, post, remember, take_out};
use crate::auth::{cookie_digest, random_text};
use crate::error::{Error, Result};
use crate::http::GUEST_COOKIE;
use crate::nextcloud::directory::Account;
use crate::password;
use crate::polls::Topic;
use crate::store::attempts::{self, Guess};
use crate::store::commit::Writer;
use crate::store::rooms::Access;
use crate::store::{Snapshot, participants};
use crate::talk::message::System;
use crate::talk::participant::{Actor, GuestId, ParticipantNo, ParticipantType, UserId};
use crate::talk::permission::Identity;
use crate::talk::room::{Room, RoomType};
use crate::talk::view;
use std::time::Instant;

/// `GET /room/{token}/participants`
pub fn list(ctx: &Context) -> Result<Reply> {
    ctx.read(|t| {
        let access = ctx.enter(t)?;
        if access.participant().is_some_and(|me| me.kind == ParticipantType::Guest) {
            return Err(Error::FORBIDDEN);
        }
        let sessions = participants::sessions(t, &access.room)?;
        Ok(Reply::Now(ctx.ok(&view::participant_lines(&access.room, &sessions, t)?)))
    })
}

/// Who is to be added, once every look-up has been made.
enum Addition {
    People(Vec<Account>),
    /// An e-mail address: the conversation opens for whoever gets the link.
    Email,
}

/// `POST /room/{token}/participants`
pub fn add(ctx: &Context) -> Result<Reply> {
    let (who, source) = ctx.read(|t| {
        let access = ctx.enter(t)?;
        let who = ctx.request.text("newParticipant")?;
        let source = ctx.request.text_or("source", "users")?;
        if access.room.kind == RoomType::OneToOne {
            return Err(Error::BadRequest);
        }
        Ok((who, source))
    })?;
    let asker = &ctx.caller.asker;
    let addition = match source {
        "users" => Addition::People(vec![ctx.account(who)?.ok_or(Error::NOT_FOUND)?]),
        "groups" => Addition::People(ctx.directory()?.group(asker, who)?.ok_or(Error::NOT_FOUND)?),
        "circles" => Addition::People(ctx.directory()?.circle(asker, who)?.ok_or(Error::NOT_FOUND)?.members),
        "emails" if is_email(who) => Addition::Email,
        _ => return Err(Error::BadRequest),
    };
    ctx.change_room(move |ctx, t, mut access| {
        let room = &mut access.room;
        let actor = Actor::User(ctx.user()?.clone());
        match &addition {
            Addition::People(people) => {
                remember(t, people, ctx.now)?;
                let last_read = room.last_message_id;
                changes::add_people(t, room, &actor, people, last_read, ctx.now)?;
                t.save(room)?;
                ctx.done()
            }
            Addition::Email => {
                if room.kind == RoomType::Group {
                    changes::allow_guests(t, room, &actor, ctx.now)?;
                }
                let kind = RoomType::Public.number();
                Ok(Reply::Now(ctx.ok(&serde_json::json!({ "type": kind }))))
            }
        }
    })
}

/// Whether a text has the shape of an e-mail address: something, `@`, a host with no odd characters.
fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let odd = |c: char| c.is_whitespace() || c.is_control() || "()<>[],;:\\\"".contains(c);
    let label = |l: &str| {
        !l.is_empty() && !l.starts_with('-') && !l.ends_with('-') && l.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    !local.is_empty() && !local.contains('@') && !local.contains(odd) && host.split('.').all(label)
}

/// `DELETE /room/{token}/participants`
pub fn remove(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        let who = ctx.request.text("participant")?;
        if ctx.identity().user().is_some_and(|me| me.as_str() == who) {
            return remove_oneself(ctx, t, access);
        }
        if !access.participant().is_some_and(|me| me.kind.is_moderator()) {
            return Err(Error::FORBIDDEN);
        }
        let actor = ctx.actor(access.participant());
        changes::remove_user(t, &mut access.room, &actor, &UserId::new(who), ctx.now)?;
        ctx.done()
    })
}

/// `DELETE /room/{token}/participants/self`
pub fn remove_self(ctx: &Context) -> Result<Reply> {
    ctx.change_room(remove_oneself)
}

/// Leaving for good (SPEC D.2).
fn remove_oneself(ctx: &Context, t: &mut Writer<'_>, mut access: Access) -> Result<Reply> {
    let me = access.participant().ok_or(Error::NOT_FOUND)?;
    let (kind, user) = (me.kind, ctx.user()?.clone());
    let room = &mut access.room;
    let last_moderator = kind.is_user_moderator() && room.user_moderators() == 1;
    if room.kind != RoomType::OneToOne && last_moderator && room.holders() > 1 {
        return Err(Error::BadRequest);
    }
    let holds = matches!(kind, ParticipantType::Owner | ParticipantType::Moderator | ParticipantType::User);
    if holds && room.holders() == 1 {
        t.delete_room(room)?;
    } else {
        leave_for_good(t, room, &user, ctx.now)?;
    }
    ctx.done()
}

/// Takes a user out of a conversation that goes on without them. A one-to-one keeps their id as its name (SPEC C.9).
pub fn leave_for_good(t: &mut Writer<'_>, room: &mut Room, user: &UserId, now: i64) -> Result<()> {
    let no = room.user(user).ok_or(Error::NOT_FOUND)?.no;
    take_out(t, room, no, now)?;
    if room.kind == RoomType::OneToOne {
        room.name = user.as_name();
    } else {
        post(t, room, &Actor::User(user.clone()), System::UserRemoved(user.clone()), now)?;
    }
    t.save(room)
}

/// `DELETE /room/{token}/participants/guests`
pub fn remove_guest(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        let session = ctx.request.text("participant")?;
        let no = holder(t, &access.room, session)?.ok_or(Error::NOT_FOUND)?;
        let target = access.room.participant(no).ok_or(Error::NOT_FOUND)?;
        if !target.kind.is_guest() {
            return Err(Error::BadRequest);
        }
        if access.me == Some(no) {
            return Err(Error::FORBIDDEN);
        }
        take_out(t, &mut access.room, no, ctx.now)?;
        t.save(&mut access.room)?;
        ctx.done()
    })
}

/// The participant who holds a session.
fn holder(t: &impl Snapshot, room: &Room, session: &str) -> Result<Option<ParticipantNo>> {
    let sessions = participants::sessions(t, room)?;
    Ok(sessions.iter().find(|(_, held)| held.id.as_str() == session).map(|(no, _)| *no))
}

/// The participant that a promotion or demotion is about.
enum Target {
    User(ParticipantNo, UserId),
    Guest(ParticipantNo, GuestId),
    /// Named by the session of an account: a session stands for guests only.
    WrongSession(ParticipantNo),
}

/// `participant` wins over `sessionId`; without either the request makes no sense.
fn target(ctx: &Context, t: &impl Snapshot, room: &Room) -> Result<Target> {
    let (user, session) = (ctx.request.optional_text("participant")?, ctx.request.optional_text("sessionId")?);
    match (user, session) {
        (Some(user), _) => {
            let user = UserId::new(user);
            let no = room.user(&user).ok_or(Error::NOT_FOUND)?.no;
            Ok(Target::User(no, user))
        }
        (None, Some(session)) => {
            let no = holder(t, room, session)?.ok_or(Error::NOT_FOUND)?;
            match room.participant(no).map(|p| &p.actor) {
                Some(Actor::Guest(guest)) => Ok(Target::Guest(no, *guest)),
                Some(Actor::User(_)) => Ok(Target::WrongSession(no)),
                _ => Err(Error::NOT_FOUND),
            }
        }
        (None, None) => Err(Error::InvalidQuery),
    }
}

/// `POST /room/{token}/moderators`
pub fn promote(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        let target = target(ctx, t, &access.room)?;
        let actor = ctx.actor(access.participant());
        match target {
            Target::User(_, user) => changes::promote(t, &mut access.room, &actor, user, ctx.now)?,
            Target::Guest(no, guest) => {
                let (from, to) = (ParticipantType::Guest, ParticipantType::GuestModerator);
                let event = System::GuestModeratorPromoted(guest);
                changes::set_type(t, &mut access.room, &actor, no, (from, to), event, ctx.now)?;
            }
            Target::WrongSession(_) => return Err(Error::BadRequest),
        }
        ctx.done()
    })
}

/// `DELETE /room/{token}/moderators`
pub fn demote(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        let named = ctx.request.optional_text("participant")?;
        if named.is_some() && named == ctx.identity().user().map(UserId::as_str) {
            return Err(Error::FORBIDDEN);
        }
        let target = target(ctx, t, &access.room)?;
        let (Target::User(no, _) | Target::Guest(no, _) | Target::WrongSession(no)) = &target;
        if access.me == Some(*no) {
            return Err(Error::FORBIDDEN);
        }
        let actor = ctx.actor(access.participant());
        match target {
            Target::User(_, user) => changes::demote(t, &mut access.room, &actor, user, ctx.now)?,
            Target::Guest(no, guest) => {
                let (from, to) = (ParticipantType::GuestModerator, ParticipantType::Guest);
                let event = System::GuestModeratorDemoted(guest);
                changes::set_type(t, &mut access.room, &actor, no, (from, to), event, ctx.now)?;
            }
            Target::WrongSession(_) => return Err(Error::BadRequest),
        }
        ctx.done()
    })
}

/// `POST /room/{token}/participants/active`
pub fn join(ctx: &Context) -> Result<Reply> {
    let asked = ctx.request.text_or("password", "")?;
    // Members are never asked for the password; whoever is gets it checked outside any transaction.
    let (room, checked, inside) = ctx.read(|t| {
        let access = ctx.find(t)?;
        let inside = access.me.is_some();
        let member = ctx.identity().user().is_some() && inside;
        Ok((access.room.id, access.room.password.filter(|_| !member), inside))
    })?;
    // A guest who is in the conversation comes back, although somebody else at the same address guesses.
    let guesser = ctx.request.guesser().filter(|_| checked.is_some() && !inside);
    let guess = guesser.map(|from| attempts::key(Guess::Password(room), from));
    if let (Some(key), Waited::No) = (guess, ctx.waited) {
        return count_guess(ctx, key);
    }
    if let Some(hash) = &checked {
        ctx.hashing_lane()?;
        if !password::verify(asked, hash)? {
            return Err(Error::FORBIDDEN);
        }
    }
    let cookie = match ctx.identity() {
        Identity::User(_) => None,
        Identity::Guest(_) => Some(match ctx.request.guest_cookie() {
            Some(cookie) if is_own_cookie(cookie) => (cookie.to_owned(), false),
            _ => (random_text()?, true),
        }),
    };
    ctx.change(move |ctx, t| {
        let mut access = ctx.find(t)?;
        let room = &mut access.room;
        let me = match (ctx.identity(), access.me) {
            (Identity::User(_), Some(no)) => {
                t.start_session(room, no, None, ctx.now)?;
                no
            }
            // The password was changed since it was checked: whoever joins must know the new one.
            _ if room.password != checked => return Err(Error::FORBIDDEN),
            (Identity::User(user), None) => {
                let no = t.add_user(room, user, ParticipantType::SelfJoined)?;
                t.start_session(room, no, None, ctx.now)?;
                no
            }
            (Identity::Guest(_), _) => {
                let (cookie, _) = cookie.as_ref().ok_or(Error::FORBIDDEN)?;
                t.add_guest(room, cookie_digest(cookie), ctx.now)?
            }
        };
        access.me = Some(me);
        t.save(&mut access.room)?;
        if let Some(key) = &guess {
            t.clear_attempts(key)?;
        }
        let mut answer = one(ctx, t, access.clone())?;
        let actor = ctx.actor(access.participant());
        tidy(t, &mut access.room, &actor, ctx.now)?;
        if let Some((cookie, true)) = &cookie {
            answer = answer.with("Set-Cookie", set_cookie(ctx, cookie));
        }
        Ok(Reply::Now(answer))
    })
}

/// Counts an attempt at a password before it is looked at; it is looked at after a while that grows with each attempt.
fn count_guess(ctx: &Context, key: [u8; 32]) -> Result<Reply> {
    ctx.change(move |ctx, t| {
        let attempts = t.count_attempt(&key, ctx.now, 0)?;
        if attempts.are_too_many(ctx.now) {
            return ctx.refuse(&Error::TooManyAttempts);
        }
        Ok(Reply::Later(Topic::Nothing, Instant::now() + attempts.delay(ctx.now)))
    })
}

/// Whether a cookie looks like one that roomd gave: a client cannot choose a guessable one for itself.
fn is_own_cookie(cookie: &str) -> bool {
    cookie.len() == 64 && cookie.bytes().all(|b| b.is_ascii_hexdigit())
}

fn set_cookie(ctx: &Context, cookie: &str) -> String {
    let secure = ctx.request.headers.forwarded_proto.as_deref() == Some("https");
    let secure = if secure { "; Secure" } else { "" };
    format!("{GUEST_COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax{secure}")
}

/// `DELETE /room/{token}/participants/active`: always 200, also for a conversation that does not exist.
pub fn leave(ctx: &Context) -> Result<Reply> {
    ctx.change(|ctx, t| {
        if let Ok(mut access) = ctx.find(t)
            && let Some(no) = access.me
            && access.participant().is_some_and(|me| me.connected)
        {
            disconnect(t, &mut access.room, no)?;
            end_call_if_empty(t, &mut access.room, ctx.now)?;
            t.save(&mut access.room)?;
        }
        ctx.done()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_something_on_both_sides() {
        for good in ["a@b.org", "a.b+c@sub.example.com", "x@localhost", "ü@müller.de"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "@b.org", "a@", "a@b..org", "a b@c.org", "a@b@c.org", "a@-b.org", "<a@b.org>"] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
