//! Calls: who is in one, joining, leaving (SPEC B.4, D.5). Sound and picture go from client to client.

use super::conversation::refill_one_to_one;
use super::{Context, Reply, end_call_if_empty, post};
use crate::error::{Error, Result};
use crate::store::commit::Writer;
use crate::store::participants;
use crate::store::rooms::Access;
use crate::talk::message::System;
use crate::talk::participant::{ACTIVE_WINDOW, Actor, Session, UserId};
use crate::talk::permission::Identity;
use crate::talk::room::RoomType;
use serde::Serialize;

/// Call flags of a client that says none: in the call, with sound and picture.
const ALL_FLAGS: i64 = 7;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Peer<'a> {
    user_id: &'a str,
    token: &'a str,
    last_ping: i64,
    session_id: &'a str,
}

/// `GET /call/{token}`
pub fn peers(ctx: &Context) -> Result<Reply> {
    ctx.read(|t| {
        let room = ctx.enter(t)?.room;
        let sessions = participants::sessions(t, &room)?;
        let in_call = sessions.iter().filter(|(_, session)| session.flags != 0);
        let peers: Vec<Peer<'_>> = in_call
            .filter_map(|(no, session)| room.participant(*no).map(|participant| (participant, session)))
            .filter(|(participant, _)| participant.silent <= ACTIVE_WINDOW)
            .map(|(participant, session)| Peer {
                user_id: participant.actor.user().map_or("", UserId::as_str),
                token: room.token.as_str(),
                last_ping: participant.last_ping,
                session_id: session.id.as_str(),
            })
            .collect();
        Ok(Reply::Now(ctx.ok(&peers)))
    })
}

/// `POST /call/{token}`
pub fn join(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        let flags = ctx.request.number_or("flags", ALL_FLAGS) as i32;
        // Whoever left the conversation for good comes back even when the caller has no session (SPEC C.9).
        if refill_one_to_one(t, &mut access.room)? {
            t.save(&mut access.room)?;
        }
        let Some((session, actor)) = own_session(t, &access)? else { return ctx.refuse(&Error::NOT_FOUND) };
        if flags == 0 {
            return leave_call(ctx, t, access, session, actor);
        }
        let room = &mut access.room;
        let me = access.me.ok_or(Error::NOT_FOUND)?;
        let running = participants::sessions(t, room)?.iter().any(|(_, session)| session.flags != 0);
        let kind = room.participant(me).ok_or(Error::NOT_FOUND)?.kind;
        if !running && !ctx.app.policy.may_start_call(kind) {
            return ctx.refuse(&Error::CannotStartCall);
        }
        let event = if running { System::CallJoined } else { System::CallStarted };
        post(t, room, &actor, event, ctx.now)?;
        let since = room.call_since(ctx.now);
        match ctx.identity() {
            Identity::Guest(_) if room.kind == RoomType::Public => room.active_guests += 1,
            Identity::Guest(_) => {}
            Identity::User(_) => {
                if let Some(participant) = room.participant_mut(me) {
                    // Also when the clock was set back since the call began.
                    participant.last_joined_call = since.max(ctx.now);
                }
            }
        }
        t.put_session(room.id, me, &Session { flags, ..session })?;
        t.save(room)?;
        ctx.done()
    })
}

/// `DELETE /call/{token}`
pub fn leave(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, access| {
        let (session, actor) = own_session(t, &access)?.ok_or(Error::NOT_FOUND)?;
        leave_call(ctx, t, access, session, actor)
    })
}

/// The caller's session in the conversation, and the caller as an author.
fn own_session(t: &Writer<'_>, access: &Access) -> Result<Option<(Session, Actor)>> {
    let Some(me) = access.participant() else { return Ok(None) };
    let session = participants::session(t, access.room.id, me.no)?;
    Ok(session.map(|session| (session, me.actor.clone())))
}

fn leave_call(ctx: &Context, t: &mut Writer<'_>, mut access: Access, session: Session, actor: Actor) -> Result<Reply> {
    if session.flags != 0 {
        let room = &mut access.room;
        let me = access.me.ok_or(Error::NOT_FOUND)?;
        t.put_session(room.id, me, &Session { flags: 0, ..session })?;
        post(t, room, &actor, System::CallLeft, ctx.now)?;
        end_call_if_empty(t, room, ctx.now)?;
        t.save(room)?;
    }
    ctx.done()
}
