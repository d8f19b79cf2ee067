//! What the integration tests share: the real server as a child process, people who talk to it, and their answers.
//!
//! A test reads as a story: `let alice = server.user("alice"); let room = alice.creates_group("Plans");`
//! `alice.adds(&room, "bob"); bob.put(room.at(""), &[("roomName", "Mine")]).refused(403, Empty);`
#![allow(dead_code, unused_imports, reason = "every test file uses its own part of this module")]

mod answer;
mod cast;
pub mod clock;
mod http;
pub mod nextcloud;
pub mod nginx;
mod people;
mod server;
pub mod tls;

pub use answer::{Answer, Message};
pub use cast::Cast;
pub use http::Request;
pub use people::{Person, Room};
pub use server::{Server, display_name};

use sha1::{Digest, Sha1};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What must happen has happened after this time, on however slow and busy a machine. Nothing waits for it in vain but a
/// test that fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds, for as long as [`PATIENCE`] lasts. Whether it came to hold.
pub fn soon(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Waits until `condition` holds, and fails with `what` when it does not.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(soon(condition), "waited in vain: {what}");
}

/// The actor id of the guest with this session.
pub fn guest_id(session: &str) -> String {
    Sha1::digest(session.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Unix seconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}
