//! The lobby (SPEC B.7, D.3).

use super::{Context, Reply, end_call_if_empty, post};
use crate::error::{Error, Result};
use crate::store::commit::Writer;
use crate::store::participants;
use crate::talk::message::System;
use crate::talk::participant::Actor;
use crate::talk::room::{Room, RoomType, switch};

/// The latest timer that is accepted, Unix seconds: the end of the year 9999. Talk's own date fails beyond it.
const LATEST_TIMER: i64 = 253_402_300_799;

/// `PUT /room/{token}/webinar/lobby`
pub fn set_lobby(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, mut access| {
        let state = ctx.request.number("state")?;
        let timer = ctx.request.optional_number("timer").filter(|timer| *timer > 0);
        if timer.is_some_and(|timer| timer > LATEST_TIMER) {
            return Err(Error::InvalidQuery);
        }
        let actor = ctx.actor(access.participant());
        let room = &mut access.room;
        if room.kind == RoomType::OneToOne {
            return Err(Error::BadRequest);
        }
        let closed = switch(state)?;
        expire_lobby(t, room, actor.clone(), ctx.now)?;
        let changed = room.lobby != closed;
        room.lobby = closed;
        room.lobby_timer = timer;
        if changed {
            let event = if closed { System::LobbyNonModerators } else { System::LobbyNone };
            post(t, room, &actor, event, ctx.now)?;
        }
        if closed {
            throw_out_of_call(t, room, ctx.now)?;
        }
        t.save(room)?;
        ctx.done()
    })
}

/// Takes everybody out of the call who has to wait in the lobby now, each with a message of their own.
fn throw_out_of_call(t: &mut Writer<'_>, room: &mut Room, now: i64) -> Result<()> {
    for (no, mut session) in participants::sessions(t, room)? {
        let Some(participant) = room.participant(no).filter(|p| room.lobby_stops(p.kind)) else { continue };
        if session.flags == 0 {
            continue;
        }
        let actor = participant.actor.clone();
        session.flags = 0;
        t.put_session(room.id, no, &session)?;
        post(t, room, &actor, System::CallLeft, now)?;
    }
    end_call_if_empty(t, room, now)
}

/// Opens a lobby whose timer has run out, in the name of whoever noticed. Stores the conversation if so.
pub fn expire_lobby(t: &mut Writer<'_>, room: &mut Room, actor: Actor, now: i64) -> Result<()> {
    if room.expired_timer(now).is_none() {
        return Ok(());
    }
    room.lobby_timer = None;
    if std::mem::take(&mut room.lobby) {
        post(t, room, &actor, System::LobbyTimerReached, now)?;
    }
    t.save(room)
}
