//! The life of the process: logging, signals, and what systemd is told.

use super::{Running, start};
use crate::ask;
use crate::config::keys::Keys;
use crate::config::{Config, Listen};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the server may take to answer for the first time.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// How long it may take to answer its own question whether it lives.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a reload takes over; any other key needs a restart.
const LIVE_KEYS: [&str; 4] = ["log.level", "log.requests", "nextcloud.login_cache", "nextcloud.refusal_cache"];

/// Serves until SIGTERM or SIGINT, then stops in an orderly way. `file` is read again on SIGHUP.
pub fn run(config: Config, file: Option<PathBuf>) -> Result<(), String> {
    start_logging(&config);
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|e| format!("cannot wait for signals: {e}"))?;
    let mut keys = Keys::read(file.as_deref())?;
    let running = start(config)?;
    let address = running.address().ok_or("the socket has no address")?;
    wait_for_first_answer(&address)?;
    log::info!("roomd {} listening on {}", env!("CARGO_PKG_VERSION"), running.name());
    tell_systemd(&[NotifyState::Ready]);
    start_watchdog(&running, address)?;
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        tell_systemd(&reloading());
        if let Err(error) = reload(&running, file.as_deref(), &mut keys) {
            log::error!("the configuration was not read again: {error}");
        }
        tell_systemd(&[NotifyState::Ready]);
    }
    log::info!("stopping");
    tell_systemd(&[NotifyState::Stopping]);
    if running.stop() { Ok(()) } else { Err("some requests took too long and were cut off".to_owned()) }
}

fn start_logging(config: &Config) {
    env_logger::Builder::new()
        // Everything; the level in force is the `log` crate's, which can change while the process runs.
        .filter_level(log::LevelFilter::Trace)
        // They log what is none of a log's business, and far too much of it.
        .filter_module("ureq", log::LevelFilter::Warn)
        .filter_module("rustls", log::LevelFilter::Warn)
        // Accepting fails when the server stops; any other time the workers say so.
        .filter_module("tiny_http", log::LevelFilter::Off)
        .init();
    log::set_max_level(config.log.level);
}

fn wait_for_first_answer(address: &Listen) -> Result<(), String> {
    let deadline = Instant::now() + FIRST_ANSWER;
    while !ask::answers(address, PATIENCE) {
        if Instant::now() > deadline {
            return Err(format!("nothing answers on {address}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Takes over what can change while the server runs, and says what cannot.
fn reload(running: &Running, file: Option<&Path>, keys: &mut Keys) -> Result<(), String> {
    let config = Config::load(file)?;
    config.check()?;
    let new_keys = Keys::read(file)?;
    let changed = keys.changed(&new_keys);
    log::set_max_level(config.log.level);
    running.shared.live.log_requests.store(config.log.requests, Ordering::Relaxed);
    let seconds = Duration::from_secs;
    let dispatcher = &running.shared.dispatcher;
    dispatcher.set_login_lifetimes(seconds(config.nextcloud.login_cache), seconds(config.nextcloud.refusal_cache));
    let (live, later): (Vec<String>, Vec<String>) =
        changed.into_iter().partition(|key| LIVE_KEYS.contains(&key.as_str()));
    if live.is_empty() && later.is_empty() {
        log::info!("the configuration was read again; nothing has changed");
    }
    if !live.is_empty() {
        log::info!("the configuration was read again; in force now: {}", live.join(", "));
    }
    if !later.is_empty() {
        log::warn!("the configuration was read again; this needs a restart: {}", later.join(", "));
    }
    // The others stay on the list until the restart.
    for key in LIVE_KEYS {
        keys.take_over(&new_keys, key);
    }
    Ok(())
}

/// Without systemd there is nobody to tell.
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("systemd could not be told: {error}");
    }
}

fn reloading() -> Vec<NotifyState<'static>> {
    let mut state = vec![NotifyState::Reloading];
    state.extend(NotifyState::monotonic_usec_now().ok());
    state
}

/// Tells systemd twice in each of its intervals that the workers and the committing thread answer, while they do.
fn start_watchdog(running: &Running, address: Listen) -> Result<(), String> {
    let Some(interval) = sd_notify::watchdog_enabled() else { return Ok(()) };
    let pause = interval / 2;
    let patience = PATIENCE.min(pause / 2);
    let app = Arc::downgrade(&running.shared.app);
    let watch = move || {
        while let Some(app) = app.upgrade() {
            if !ask::answers(&address, patience) {
                log::error!("the workers do not answer");
            } else if !app.store.commits(patience) {
                log::error!("the committing thread does not answer");
            } else {
                tell_systemd(&[NotifyState::Watchdog]);
            }
            drop(app);
            std::thread::sleep(pause);
        }
    };
    let thread = std::thread::Builder::new().name("watchdog".to_owned());
    thread.spawn(watch).map(|_| ()).map_err(|e| format!("cannot start a thread: {e}"))
}
