//! The API, a file for each chapter of Talk's documentation, and what every handler gets to work with.
//!
//! A handler reads: who, may they, do it, answer.

pub mod account;
pub mod call;
pub mod capabilities;
pub mod changes;
pub mod chat;
pub mod conversation;
pub mod guest;
pub mod participant;
pub mod signaling;
pub mod webinar;

use crate::auth::Caller;
use crate::config::Config;
use crate::error::{By, Error, Result};
use crate::http::Request;
use crate::nextcloud::directory::{Account, Directory};
use crate::ocs::{self, Answer, Format, Nothing, Version};
use crate::polls::Topic;
use crate::routes::Route;
use crate::signals::Signals;
use crate::store::commit::Writer;
use crate::store::rooms::{self, Access};
use crate::store::{Reader, Snapshot, Store};
use crate::talk::message::{Body, People, System};
use crate::talk::participant::{Actor, Participant, ParticipantNo, UserId};
use crate::talk::permission::Identity;
use crate::talk::room::Room;
use crate::talk::token::Token;
use crate::talk::view::Policy;
use serde::Serialize;
use smol_str::SmolStr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

/// What all requests share.
pub struct App {
    /// The configuration.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// Accounts, groups and circles.
    pub directory: Box<dyn Directory>,
    /// The administrator's settings that show in conversations.
    pub policy: Policy,
    /// Messages between the clients of a call.
    pub signals: Arc<Signals>,
    /// Wakes the requests that wait for something.
    pub wake: Box<dyn Fn(Topic) + Send + Sync>,
    /// Changes when the version or a setting that clients care about does (SPEC C.1).
    pub talk_hash: SmolStr,
}

/// Where a request is being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// By a worker that waits for nothing but the store.
    Fast,
    /// By a worker that may ask Nextcloud.
    Slow,
    /// By a worker that may hash passwords as well. They have a queue of their own: whoever sends one password after
    /// another must not keep others from logging in.
    Hashing,
}

/// How long a request has waited already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// Not at all: it has just come.
    No,
    /// What it waits for may have happened; it may wait on until then.
    Woken(Instant),
    /// Long enough.
    TimedOut,
}

/// What a handler came to.
pub enum Reply {
    /// This is the answer.
    Now(Answer),
    /// This change is to be committed and says what the answer is.
    Change(Change),
    /// Ask again when something happens on this topic, at the latest then.
    Later(Topic, Instant),
}

/// A change with its answer. It may be run more than once.
pub type Change = Box<dyn FnMut(&mut Writer<'_>) -> Result<Reply> + Send>;

/// One request on its way, with everything that its handler may need. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

/// What a [`Context`] holds.
pub struct Parts {
    /// What all requests share.
    pub app: Arc<App>,
    /// The request.
    pub request: Arc<Request>,
    /// Who sent it.
    pub caller: Arc<Caller>,
    /// Its route.
    pub route: &'static Route,
    /// The token in its path, if the route has one.
    pub path_token: Option<Token>,
    /// The entry script.
    pub version: Version,
    /// How the answer is to be written.
    pub format: Format,
    /// The time, Unix seconds.
    pub now: i64,
    /// Where it is being served.
    pub lane: Lane,
    /// How long it has waited.
    pub waited: Waited,
}

impl Deref for Context {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Context {
    /// Puts a context together.
    pub fn new(parts: Parts) -> Context {
        Context(Arc::new(parts))
    }

    /// Who calls.
    pub fn identity(&self) -> &Identity {
        &self.caller.identity
    }

    /// The logged-in caller. Routes that need one have been refused to guests before.
    pub fn user(&self) -> Result<&UserId> {
        self.identity().user().ok_or(Error::NotLoggedIn)
    }

    /// The token in the path.
    pub fn token(&self) -> Result<&Token> {
        self.path_token.as_ref().ok_or(Error::InvalidQuery)
    }

    /// Looks at one consistent state of the database.
    pub fn read<T>(&self, look: impl Fn(&Reader<'_>) -> Result<T>) -> Result<T> {
        self.app.store.read(look)
    }

    /// Commits a change; what it returns is answered once it is on disk.
    pub fn change(
        &self,
        mut change: impl FnMut(&Context, &mut Writer<'_>) -> Result<Reply> + Send + 'static,
    ) -> Result<Reply> {
        let context = self.clone();
        Ok(Reply::Change(Box::new(move |t| change(&context, t))))
    }

    /// Commits a change of the conversation in the path, after the route's gate has let the caller through.
    pub fn change_room(
        &self,
        mut change: impl FnMut(&Context, &mut Writer<'_>, Access) -> Result<Reply> + Send + 'static,
    ) -> Result<Reply> {
        self.change(move |ctx, t| {
            let access = ctx.enter_to_change(t)?;
            change(ctx, t, access)
        })
    }

    /// The conversation in the path as this caller has it, or the endpoint's own 404.
    pub fn find(&self, t: &impl Snapshot) -> Result<Access> {
        rooms::find(t, self.token()?, self.identity())?.ok_or(Error::NOT_FOUND)
    }

    /// The conversation in the path, if the route's gate lets this caller in.
    ///
    /// A lobby that should have opened by now must be opened first, which takes a change: [`Error::LobbyTimerExpired`].
    pub fn enter(&self, t: &impl Snapshot) -> Result<Access> {
        let access = rooms::find(t, self.token()?, self.identity())?.ok_or(Error::NotFound(By::Gate))?;
        if self.route.gate.no_lobby && access.me.is_some() && access.room.expired_timer(self.now).is_some() {
            return Err(Error::LobbyTimerExpired);
        }
        self.route.gate.admit(&access.room, access.participant())?;
        Ok(access)
    }

    /// The same inside a change.
    fn enter_to_change(&self, t: &mut Writer<'_>) -> Result<Access> {
        match self.enter(t) {
            Err(Error::LobbyTimerExpired) => {
                self.open_expired_lobby(t)?;
                self.enter(t)
            }
            entered => entered,
        }
    }

    /// Opens the lobby of the conversation in the path if its time has come (SPEC B.7).
    pub fn open_expired_lobby(&self, t: &mut Writer<'_>) -> Result<()> {
        let Some(mut access) = rooms::find(t, self.token()?, self.identity())? else { return Ok(()) };
        let actor = self.actor(access.participant());
        webinar::expire_lobby(t, &mut access.room, actor, self.now)
    }

    /// The caller as an author. A user is one also from outside the conversation; an unknown guest is the bot.
    pub fn actor(&self, participant: Option<&Participant>) -> Actor {
        match (self.identity(), participant) {
            (Identity::User(id), _) => Actor::User(id.clone()),
            (Identity::Guest(_), Some(guest)) => guest.actor.clone(),
            (Identity::Guest(_), None) => Actor::Bot,
        }
    }

    /// Accounts, groups and circles: only in the slow lane, where the request is moved to when it is not there yet.
    pub fn directory(&self) -> Result<&dyn Directory> {
        self.slow_lane()?;
        Ok(&*self.app.directory)
    }

    /// Makes sure that this request may block.
    pub fn slow_lane(&self) -> Result<()> {
        if self.lane == Lane::Fast { Err(Error::NeedsSlowLane) } else { Ok(()) }
    }

    /// Makes sure that this request may hash a password.
    pub fn hashing_lane(&self) -> Result<()> {
        if self.lane == Lane::Hashing { Ok(()) } else { Err(Error::NeedsHashing) }
    }

    /// The account called `id`, if there is one that the caller may see. Asks Nextcloud.
    pub fn account(&self, id: &str) -> Result<Option<Account>> {
        let me = self.user()?;
        if me.as_str() == id {
            // Nextcloud leaves the asker out of its suggestions; that the caller exists is known.
            let name = self.read(|t| t.profile(me))?.display_name;
            return Ok(Some(Account { id: me.clone(), display_name: name }));
        }
        let found = self.directory()?.account(&self.caller.asker, id)?;
        if found.is_none() {
            account::purge_if_gone(&self.app, &UserId::new(id), self.now)?;
        }
        Ok(found)
    }

    /// 200 with data.
    pub fn ok(&self, data: &impl Serialize) -> Answer {
        ocs::success(self.version, self.format, 200, data)
    }

    /// 201 with data.
    pub fn created(&self, data: &impl Serialize) -> Answer {
        ocs::success(self.version, self.format, 201, data)
    }

    /// The answer to a request that was refused although it changed something on its way.
    pub fn refuse(&self, error: &Error) -> Result<Reply> {
        Ok(Reply::Now(ocs::failure(self.version, &self.request, error)))
    }

    /// 200 with an empty list: done.
    pub fn done(&self) -> Result<Reply> {
        Ok(Reply::Now(self.ok(&Nothing)))
    }
}

/// Stores the names of accounts that a look-up brought up.
pub fn remember(t: &mut Writer<'_>, accounts: &[Account], now: i64) -> Result<()> {
    for account in accounts {
        let known = crate::store::people::stored_profile(t, &account.id)?;
        if known.is_none_or(|p| p.display_name != account.display_name || !p.exists) {
            t.put_profile(&account.id, account.display_name.clone(), now)?;
        }
    }
    Ok(())
}

/// Posts a system message.
pub fn post(t: &mut Writer<'_>, room: &mut Room, actor: &Actor, event: System, now: i64) -> Result<()> {
    t.post(room, actor.clone(), Body::System(event), now).map(|_| ())
}

/// Takes a participant out of the conversation and ends the call if that was its last (SPEC B.4).
pub fn take_out(t: &mut Writer<'_>, room: &mut Room, no: ParticipantNo, now: i64) -> Result<()> {
    t.remove_participant(room, no)?;
    end_call_if_empty(t, room, now)
}

/// Ends the running call when nobody is in it any more; silently when only one person was (SPEC B.5).
pub fn end_call_if_empty(t: &mut Writer<'_>, room: &mut Room, now: i64) -> Result<()> {
    let Some(since) = room.active_since else { return Ok(()) };
    let sessions = crate::store::participants::sessions(t, room)?;
    if sessions.iter().any(|(_, session)| session.flags != 0) {
        return Ok(());
    }
    let joined = |p: &Participant| p.last_joined_call >= since;
    let users: Vec<UserId> = room.users().filter(|(p, _)| joined(p)).map(|(_, id)| id.clone()).collect();
    let guests = std::mem::take(&mut room.active_guests);
    room.active_since = None;
    if users.len() + guests as usize == 1 {
        return Ok(());
    }
    let actor = users.first().map_or(Actor::Guests, |user| Actor::User(user.clone()));
    // The clock may have been set back since the call began.
    let duration = (now - since).max(0);
    post(t, room, &actor, System::CallEnded { users, guests, duration }, now)
}
