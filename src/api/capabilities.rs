//! What the server can do: Nextcloud's own answer, with Talk's part in it (SPEC D.7).

use super::{Context, Reply};
use crate::error::{Error, Result};
use crate::talk::message::MESSAGE_LIMIT;
use serde_json::{Value, json};

/// The features of Talk 8.0.15, in its order.
const FEATURES: [&str; 22] = [
    "audio",
    "video",
    "chat-v2",
    "guest-signaling",
    "empty-group-room",
    "guest-display-names",
    "multi-room-users",
    "favorites",
    "last-room-activity",
    "no-ping",
    "system-messages",
    "mention-flag",
    "in-call-flags",
    "notification-levels",
    "invite-groups-and-mails",
    "locked-one-to-one-rooms",
    "read-only-rooms",
    "chat-read-marker",
    "webinary-lobby",
    "start-call-flag",
    "chat-replies",
    "circles-support",
];

/// `GET /cloud/capabilities`
pub fn show(ctx: &Context) -> Result<Reply> {
    let mut data = ctx.directory()?.capabilities(&ctx.caller.asker)?;
    let Some(Value::Object(capabilities)) = data.get_mut("capabilities") else {
        return Err(Error::Unavailable("Nextcloud did not tell its capabilities"));
    };
    if ctx.caller.talk_allowed {
        let talk = json!({"features": FEATURES, "config": {"chat": {"max-length": MESSAGE_LIMIT}}});
        capabilities.insert("spreed".to_owned(), talk);
    } else {
        capabilities.shift_remove("spreed");
    }
    Ok(Reply::Now(ctx.ok(&data)))
}
