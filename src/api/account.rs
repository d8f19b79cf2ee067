//! Accounts that Nextcloud has deleted (SPEC D.2).

use super::App;
use super::participant::leave_for_good;
use crate::error::Result;
use crate::store::commit::Writer;
use crate::store::people::{stored_profile, unheard_of};
use crate::store::rooms;
use crate::talk::participant::UserId;
use std::time::Duration;

/// How long an account may be silent before Nextcloud is asked whether it still exists, seconds: a day.
const SILENCE: i64 = 24 * 3600;
/// Accounts that are asked about in one round.
const ROUND: usize = 5;
/// The pause between rounds: slow enough for nobody to notice.
pub const ROUND_PAUSE: Duration = Duration::from_secs(60);

/// Removes a deleted account from all its conversations and hands what it wrote to "deleted users".
pub fn purge(t: &mut Writer<'_>, user: &UserId, now: i64) -> Result<()> {
    for (mut room, _) in rooms::of_user(t, user)? {
        if room.holders() == 1 {
            t.delete_room(&mut room)?;
        } else {
            leave_for_good(t, &mut room, user, now)?;
        }
    }
    t.put_deleted(user, now)
}

/// Purges an account that was known here if Nextcloud says that it is gone. Without a service account nobody can say.
pub fn purge_if_gone(app: &App, user: &UserId, now: i64) -> Result<()> {
    if app.config.nextcloud.service_user.is_empty() {
        return Ok(());
    }
    let known = app.store.read(|t| stored_profile(t, user))?.is_some_and(|profile| profile.exists);
    if !known {
        return Ok(());
    }
    let user = user.clone();
    match app.directory.still_exists(&user)? {
        Some(false) => {
            log::info!("an account that Nextcloud no longer knows leaves its conversations");
            app.store.write(move |t| purge(t, &user, now))
        }
        // Also one that the service account may not see: it is asked about again in a day, after the others.
        Some(true) | None => app.store.write(move |t| {
            let profile = stored_profile(t, &user)?;
            profile.map_or(Ok(()), |profile| t.put_profile(&user, profile.display_name, now))
        }),
    }
}

/// One round of the slow look for accounts that are gone: a few of those not heard of for a day.
pub fn look_for_gone(app: &App, now: i64) {
    if app.config.nextcloud.service_user.is_empty() {
        return;
    }
    let checked = app
        .store
        .read(|t| unheard_of(t, now - SILENCE..=now, ROUND))
        .and_then(|users| users.iter().try_for_each(|user| purge_if_gone(app, user, now)));
    if let Err(error) = checked {
        log::warn!("could not look for deleted accounts: {error}");
    }
}
