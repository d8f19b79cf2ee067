//! What roomd does by itself: it stores pings and drops sessions gone silent (SPEC B.9), and looks for deleted accounts.

use crate::api::{App, account, conversation};
use crate::dispatch::unix_time;
use crate::store::{participants, rooms};
use crate::talk::participant::Actor;
use crate::talk::room::RoomId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::time::{Duration, Instant};

/// How often.
const PAUSE: Duration = Duration::from_secs(10);

/// Sweeps for as long as the server lives.
pub fn run(app: &Weak<App>) {
    every(PAUSE, app, |app| {
        once(app, unix_time());
        app.signals.forget_idle(Instant::now());
        forget_attempts(app, unix_time());
    });
}

/// Looks for deleted accounts for as long as the server lives: not in the same thread, since Nextcloud may be slow.
pub fn look_for_gone_accounts(app: &Weak<App>) {
    every(account::ROUND_PAUSE, app, |app| account::look_for_gone(app, unix_time()));
}

fn every(pause: Duration, app: &Weak<App>, work: impl Fn(&App)) {
    let mut next = Instant::now() + pause;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let Some(app) = app.upgrade() else { return };
        if Instant::now() >= next {
            // The next round comes also after one that panicked, on a damaged page for instance.
            if catch_unwind(AssertUnwindSafe(|| work(&app))).is_err() {
                log::error!("looking after the conversations panicked");
            }
            next = Instant::now() + pause;
        }
    }
}

/// One sweep: every conversation with pings in memory, or with somebody connected whose time is over.
pub fn once(app: &App, now: i64) {
    let pinged = app.store.presence().pending();
    let mut all = match untidy(app, now) {
        Ok(untidy) => untidy,
        Err(error) => return log::error!("sessions could not be looked through: {error}"),
    };
    all.extend(&pinged);
    all.sort_unstable();
    all.dedup();
    for id in all {
        let has_pings = pinged.contains(&id);
        let stored = app.store.write(move |t| {
            let Some(mut room) = rooms::get(t, id)? else { return Ok(None) };
            if conversation::needs_tidying(&room, now) {
                conversation::tidy(t, &mut room, &Actor::Bot, now)?;
            } else if has_pings {
                t.save(&mut room)?;
            }
            Ok(Some(room))
        });
        match stored {
            Ok(Some(room)) => app.store.presence().stored(&room),
            Ok(None) => app.store.presence().forget(id),
            Err(error) => log::error!("a conversation could not be swept: {error}"),
        }
    }
    app.store.presence().forget_silent();
}

/// Throws away attempts at guessing that no longer count.
fn forget_attempts(app: &App, now: i64) {
    if let Err(error) = app.store.write(move |t| t.forget_attempts(now)) {
        log::error!("old attempts could not be thrown away: {error}");
    }
}

/// The conversations where somebody is connected and something is to be tidied up. Looking takes no write transaction.
fn untidy(app: &App, now: i64) -> crate::error::Result<Vec<RoomId>> {
    app.store.read(|t| {
        let mut untidy = Vec::new();
        for id in participants::connected_rooms(t)? {
            if rooms::get(t, id)?.is_some_and(|room| conversation::needs_tidying(&room, now)) {
                untidy.push(id);
            }
        }
        Ok(untidy)
    })
}
