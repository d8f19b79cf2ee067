//! When clients were last heard of. Pings are not worth an fsync: they live here and reach the disk every few seconds.
//!
//! People are shown Unix seconds. How long somebody has been silent is measured by a clock that nobody sets, because the
//! other one jumps, when a small computer learns the time after booting or a virtual machine wakes up, and that must
//! neither end the sessions of those who are there nor keep those who are not.

use crate::talk::participant::{NEVER_HEARD, ParticipantNo, SESSION_TIMEOUT};
use crate::talk::room::{Room, RoomId};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds that pass evenly, whatever the time is set to. They begin with the Unix time, so that stored pings compare.
type SteadyClock = Box<dyn Fn() -> i64 + Send + Sync>;

/// Who was heard of lately, and last pings that are newer than what the store has.
pub struct Presence {
    pings: RwLock<HashMap<RoomId, HashMap<ParticipantNo, Ping>>>,
    clock: SteadyClock,
    /// When this began, by `clock`.
    began: i64,
}

struct Ping {
    /// By [`Presence::clock`].
    heard: i64,
    /// As people are shown it, Unix seconds.
    shown: i64,
    /// Whether the store has it.
    stored: bool,
}

impl Default for Presence {
    fn default() -> Presence {
        let (unix, began) = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), Instant::now());
        Presence::with_clock(Box::new(move || (unix + began.elapsed()).as_secs() as i64))
    }
}

impl Presence {
    /// With a clock of the caller's, for tests.
    pub fn with_clock(clock: SteadyClock) -> Presence {
        Presence { pings: RwLock::default(), began: clock(), clock }
    }

    /// Notes that a participant's client was heard of.
    pub fn ping(&self, room: RoomId, participant: ParticipantNo, now: i64) {
        self.hear(room, participant, now, false);
    }

    /// The same of one who connects, which is about to be stored.
    pub fn connect(&self, room: RoomId, participant: ParticipantNo, now: i64) {
        self.hear(room, participant, now, true);
    }

    fn hear(&self, room: RoomId, participant: ParticipantNo, now: i64, stored: bool) {
        let heard = (self.clock)();
        let mut pings = self.pings.write().unwrap_or_else(PoisonError::into_inner);
        let ping = pings.entry(room).or_default().entry(participant).or_insert(Ping { heard, shown: now, stored });
        *ping = Ping { heard, shown: ping.shown.max(now), stored };
    }

    /// Brings a stored conversation's last pings up to date, and says of everybody how long they have been silent.
    pub fn apply(&self, room: &mut Room) {
        // Where nobody ever was, the lock need not be waited for.
        if !room.participants.iter().any(|p| p.connected || p.last_ping != 0) {
            return;
        }
        let now = (self.clock)();
        let pings = self.pings.read().unwrap_or_else(PoisonError::into_inner);
        let of_room = pings.get(&room.id);
        for participant in &mut room.participants {
            participant.silent = match of_room.and_then(|of_room| of_room.get(&participant.no)) {
                Some(ping) => {
                    participant.last_ping = participant.last_ping.max(ping.shown);
                    now - ping.heard
                }
                None if participant.last_ping == 0 => NEVER_HEARD,
                // What is not remembered was before all this began, also when it says that it is yet to come, or so long
                // ago that it does not matter.
                None => now - participant.last_ping.min(self.began),
            };
        }
    }

    /// The conversations that have pings to be stored.
    pub fn pending(&self) -> Vec<RoomId> {
        let pings = self.pings.read().unwrap_or_else(PoisonError::into_inner);
        let pending = pings.iter().filter(|(_, of_room)| of_room.values().any(|ping| !ping.stored));
        pending.map(|(room, _)| *room).collect()
    }

    /// Notes with which pings a conversation was stored; newer ones came meanwhile.
    pub fn stored(&self, room: &Room) {
        let mut pings = self.pings.write().unwrap_or_else(PoisonError::into_inner);
        for (no, ping) in pings.get_mut(&room.id).into_iter().flatten() {
            let newest = room.participant(*no).filter(|participant| participant.connected).map(|p| p.last_ping);
            ping.stored |= newest.is_none_or(|newest| newest >= ping.shown);
        }
    }

    /// Forgets the pings of a conversation that is gone.
    pub fn forget(&self, room: RoomId) {
        self.pings.write().unwrap_or_else(PoisonError::into_inner).remove(&room);
    }

    /// Forgets stored pings of so long ago that they make no difference any more.
    pub fn forget_silent(&self) {
        let now = (self.clock)();
        let mut pings = self.pings.write().unwrap_or_else(PoisonError::into_inner);
        pings.retain(|_, of_room| {
            of_room.retain(|_, ping| !ping.stored || now - ping.heard < SESSION_TIMEOUT);
            !of_room.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::participant::{Actor, ParticipantType, UserId};
    use crate::talk::room::RoomType;
    use crate::talk::token::Token;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    const T: i64 = 1_800_000_000;

    /// A conversation as it is stored, with bob connected whose last ping was at this time.
    fn room(last_ping: i64) -> Room {
        let mut room = Room::new(1, Token::parse("abcd").unwrap(), RoomType::Group, "Plans".into());
        let bob = room.add(Actor::User(UserId::new("bob")), ParticipantType::User);
        let bob = room.participant_mut(bob).unwrap();
        (bob.last_ping, bob.connected) = (last_ping, true);
        room
    }

    fn silent(presence: &Presence, last_ping: i64) -> i64 {
        let mut room = room(last_ping);
        presence.apply(&mut room);
        room.participants[0].silent
    }

    /// One that begins at this time, and its clock.
    fn begun_at(time: i64) -> (Presence, Arc<AtomicI64>) {
        let clock = Arc::new(AtomicI64::new(time));
        let read = clock.clone();
        (Presence::with_clock(Box::new(move || read.load(Ordering::Relaxed))), clock)
    }

    #[test]
    fn after_a_restart_silence_goes_on() {
        let (presence, clock) = begun_at(T);
        assert_eq!(silent(&presence, T - 30), 30);
        clock.store(T + 20, Ordering::Relaxed);
        assert_eq!(silent(&presence, T - 30), 50);
        assert_eq!(silent(&presence, 0), NEVER_HEARD);
    }

    #[test]
    fn a_computer_that_boots_in_1970_lets_everybody_ping_once() {
        let (presence, clock) = begun_at(5);
        assert_eq!(silent(&presence, T), 0);
        clock.store(105, Ordering::Relaxed);
        assert_eq!(silent(&presence, T), 100);
        // By now it knows the time.
        presence.ping(1, 1, T + 500);
        clock.store(115, Ordering::Relaxed);
        assert_eq!(silent(&presence, T), 10);
    }

    #[test]
    fn what_is_forgotten_was_silent_for_too_long_and_stays_so() {
        let (presence, clock) = begun_at(T);
        presence.ping(1, 1, T + 3600);
        presence.ping(1, 1, T);
        presence.forget_silent();
        assert_eq!(presence.pending(), [1], "not while it is not stored");
        let mut room = room(T);
        presence.apply(&mut room);
        assert_eq!(room.participants[0].last_ping, T + 3600, "what people see never runs backwards");
        presence.stored(&room);
        assert!(presence.pending().is_empty());
        for (passed, kept) in [(99, 1), (100, 0), (101, 0)] {
            clock.store(T + passed, Ordering::Relaxed);
            presence.forget_silent();
            assert_eq!(presence.pings.read().unwrap().len(), kept);
            assert_eq!(silent(&presence, T + 3600), passed);
        }
    }
}
