//! Internal signaling: how the clients of a call find each other (SPEC D.8).

use super::{Context, Reply, Waited};
use crate::auth::random_text;
use crate::config::TurnServer;
use crate::error::{Error, Result};
use crate::polls::Topic;
use crate::store::participants::{self, HeldSession};
use crate::store::{Snapshot, rooms};
use crate::talk::participant::{ParticipantNo, UserId};
use crate::talk::room::Room;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;
use std::time::{Duration, Instant};

/// How long a pull waits for messages.
const PULL_WAIT: Duration = Duration::from_secs(30);
/// Participants whose last ping is newer are listed, seconds.
const LISTED_WINDOW: i64 = 40;
/// How long the credentials for a TURN server are good for, seconds: a day.
const TURN_LIFETIME: i64 = 86_400;

/// `GET /signaling/settings`
pub fn settings(ctx: &Context) -> Result<Reply> {
    let talk = &ctx.app.config.talk;
    let stun: Vec<Value> = talk.stun_servers.iter().map(|server| json!({"url": format!("stun:{server}")})).collect();
    let turn: Vec<Value> =
        talk.turn_servers.iter().map(|server| turn_server(server, ctx.now)).collect::<Result<_>>()?;
    Ok(Reply::Now(ctx.ok(&json!({
        "userId": ctx.identity().user(),
        "hideWarning": false,
        "server": [],
        // Only an external signaling server would check it; clients want it not to be empty.
        "ticket": random_text()?,
        "stunservers": stun,
        "turnservers": turn,
    }))))
}

/// Credentials for a TURN server that end by themselves: the user name is when, the password proves it.
fn turn_server(server: &TurnServer, now: i64) -> Result<Value> {
    let username = format!("{}:roomd", now + TURN_LIFETIME);
    let mut mac = Hmac::<Sha1>::new_from_slice(server.secret.reveal().as_bytes()).map_err(Error::internal)?;
    mac.update(username.as_bytes());
    let urls: Vec<String> = server
        .protocols
        .split(',')
        .map(|protocol| format!("turn:{}?transport={}", server.server, protocol.trim()))
        .collect();
    Ok(json!({
        "url": urls,
        "urls": urls,
        "username": username,
        "credential": STANDARD.encode(mac.finalize().into_bytes()),
    }))
}

/// The conversation in the path and the caller's session in it.
fn connected(ctx: &Context, t: &impl Snapshot) -> Result<Option<(Room, HeldSession)>> {
    let Some(access) = rooms::find(t, ctx.token()?, ctx.identity())? else { return Ok(None) };
    let Some(no) = access.me else { return Ok(None) };
    let session = participants::session(t, access.room.id, no)?;
    Ok(session.map(|session| (access.room, (no, session))))
}

/// `GET /signaling/{token}`: waits for messages and changes; ends with who is connected.
pub fn pull(ctx: &Context) -> Result<Reply> {
    ctx.read(|t| {
        let (room, (me, own)) = connected(ctx, t)?.ok_or(Error::NoSignalingSession)?;
        ctx.app.store.presence().ping(room.id, me, ctx.now);
        let mail = ctx.app.signals.take(room.id, me, own.id.as_str(), Instant::now());
        let deadline = match ctx.waited {
            Waited::No => Instant::now() + PULL_WAIT,
            Waited::Woken(deadline) => deadline,
            Waited::TimedOut => Instant::now(),
        };
        if mail.messages.is_empty() && !mail.refresh && ctx.waited != Waited::TimedOut {
            return Ok(Reply::Later(Topic::Signals(room.id, me), deadline));
        }
        let mut list: Vec<Value> =
            mail.messages.into_iter().map(|message| json!({"type": "message", "data": message})).collect();
        list.push(json!({"type": "usersInRoom", "data": users_in_room(ctx, t, &room, me)?}));
        Ok(Reply::Now(ctx.ok(&list)))
    })
}

fn users_in_room(ctx: &Context, t: &impl Snapshot, room: &Room, me: ParticipantNo) -> Result<Vec<Value>> {
    let sessions = participants::sessions(t, room)?;
    let mut users = Vec::with_capacity(sessions.len());
    for (no, session) in &sessions {
        let Some(participant) = room.participant(*no) else { continue };
        // The caller's own ping is newer than what was read.
        let mine = *no == me;
        let last_ping = if mine { participant.last_ping.max(ctx.now) } else { participant.last_ping };
        if mine || participant.silent < LISTED_WINDOW {
            users.push(json!({
                "userId": participant.actor.user().map_or("", UserId::as_str),
                "roomId": room.id,
                "lastPing": last_ping,
                "sessionId": session.id.as_str(),
                "inCall": session.flags,
            }));
        }
    }
    Ok(users)
}

/// `POST /signaling/{token}`: messages to other clients. What names a foreign session as sender is dropped.
pub fn post(ctx: &Context) -> Result<Reply> {
    let messages = ctx.request.text("messages")?;
    let letters: Vec<Value> = serde_json::from_str(messages).unwrap_or_default();
    ctx.read(|t| {
        let Some((room, (_, own))) = connected(ctx, t)? else { return ctx.done() };
        let sessions = participants::sessions(t, &room)?;
        for letter in &letters {
            let from = letter["sessionId"].as_str();
            if letter["ev"] != "message" || from != Some(own.id.as_str()) {
                continue;
            }
            let Some(Ok(Value::Object(mut content))) = letter["fn"].as_str().map(serde_json::from_str) else {
                continue;
            };
            let to = content.get("to").and_then(Value::as_str);
            let addressed = sessions.iter().find(|(_, session)| Some(session.id.as_str()) == to);
            let Some((to, session)) = addressed else { continue };
            content.insert("from".to_owned(), json!(own.id.as_str()));
            ctx.app.signals.put(room.id, *to, session.id.as_str(), Value::Object(content).to_string(), Instant::now());
            (ctx.app.wake)(Topic::Signals(room.id, *to));
        }
        ctx.done()
    })
}
