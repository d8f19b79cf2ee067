//! What guests may set about themselves (SPEC D.1).

use super::{Context, Reply};
use crate::error::{Error, Result};
use crate::talk::participant::Actor;

/// Longest name of a guest, Unicode scalar values (SPEC, decided points).
const NAME_LIMIT: usize = 64;

/// `POST /guest/{token}/name`
pub fn set_name(ctx: &Context) -> Result<Reply> {
    ctx.change_room(|ctx, t, access| {
        let name = ctx.request.text("displayName")?;
        let Some(Actor::Guest(guest)) = access.participant().map(|p| &p.actor) else { return Err(Error::FORBIDDEN) };
        check_name(name)?;
        t.put_guest_name(access.room.id, *guest, name)?;
        ctx.done()
    })
}

/// A guest's name may be empty, but not endless.
pub fn check_name(name: &str) -> Result<()> {
    if name.chars().count() > NAME_LIMIT { Err(Error::BadRequest) } else { Ok(()) }
}
