//! Mailboxes of the clients in a call: what they send each other to connect, in memory only (SPEC D.8).

use crate::talk::participant::ParticipantNo;
use crate::talk::room::RoomId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a mailbox that nobody empties is kept. A client asks at least every 30 s.
const IDLE_TIME: Duration = Duration::from_secs(90);
/// Most bytes that wait in one mailbox; what comes after that is dropped, and the clients connect anew.
const MAILBOX_LIMIT: usize = 512 << 10;

/// All mailboxes.
#[derive(Default)]
pub struct Signals(Mutex<HashMap<RoomId, HashMap<ParticipantNo, Mailbox>>>);

struct Mailbox {
    messages: Vec<String>,
    bytes: usize,
    refresh: bool,
    emptied: Instant,
}

/// What a client finds in its mailbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Messages from other clients, oldest first.
    pub messages: Vec<String>,
    /// Somebody came, went or changed what they send.
    pub refresh: bool,
}

impl Signals {
    /// Empties a participant's mailbox. It exists from the first time on; the first time asks for a look around.
    pub fn take(&self, room: RoomId, participant: ParticipantNo, now: Instant) -> Mail {
        let mut rooms = self.lock();
        let mailbox = rooms.entry(room).or_default().entry(participant).or_insert(Mailbox {
            messages: Vec::new(),
            bytes: 0,
            refresh: true,
            emptied: now,
        });
        mailbox.emptied = now;
        mailbox.bytes = 0;
        Mail { messages: std::mem::take(&mut mailbox.messages), refresh: std::mem::take(&mut mailbox.refresh) }
    }

    /// Puts a message into a participant's mailbox, whether they have asked for it yet or not.
    pub fn put(&self, room: RoomId, participant: ParticipantNo, message: String, now: Instant) {
        let mut rooms = self.lock();
        let mailbox = rooms.entry(room).or_default().entry(participant).or_insert(Mailbox {
            messages: Vec::new(),
            bytes: 0,
            refresh: false,
            emptied: now,
        });
        if mailbox.bytes + message.len() <= MAILBOX_LIMIT {
            mailbox.bytes += message.len();
            mailbox.messages.push(message);
        }
    }

    /// Notes that the clients of a conversation must look again at who is there, and tells which have a mailbox.
    pub fn refresh(&self, room: RoomId) -> Vec<ParticipantNo> {
        let mut rooms = self.lock();
        let Some(mailboxes) = rooms.get_mut(&room) else { return Vec::new() };
        mailboxes.values_mut().for_each(|mailbox| mailbox.refresh = true);
        mailboxes.keys().copied().collect()
    }

    /// Throws away the mailboxes that nobody empties any more.
    pub fn forget_idle(&self, now: Instant) {
        self.lock().retain(|_, mailboxes| {
            mailboxes.retain(|_, mailbox| now.duration_since(mailbox.emptied) < IDLE_TIME);
            !mailboxes.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, HashMap<ParticipantNo, Mailbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_waits_until_it_is_taken() {
        let (signals, now) = (Signals::default(), Instant::now());
        signals.put(1, 7, "a".into(), now);
        signals.put(1, 7, "b".into(), now);
        assert_eq!(signals.take(1, 7, now).messages, ["a", "b"]);
        assert_eq!(signals.take(1, 7, now), Mail::default());
    }

    #[test]
    fn a_full_mailbox_takes_no_more() {
        let (signals, now) = (Signals::default(), Instant::now());
        let long = "x".repeat(MAILBOX_LIMIT);
        signals.put(1, 7, long.clone(), now);
        signals.put(1, 7, "more".into(), now);
        assert_eq!(signals.take(1, 7, now).messages, [long]);
    }

    #[test]
    fn everybody_in_the_conversation_looks_again() {
        let (signals, now) = (Signals::default(), Instant::now());
        assert!(signals.take(1, 7, now).refresh, "the first time");
        assert!(signals.take(2, 8, now).refresh);
        assert_eq!(signals.refresh(1), [7]);
        assert!(signals.take(1, 7, now).refresh);
        assert!(!signals.take(2, 8, now).refresh);
    }

    #[test]
    fn idle_mailboxes_are_forgotten() {
        let (signals, now) = (Signals::default(), Instant::now());
        signals.put(1, 7, "a".into(), now);
        signals.forget_idle(now + IDLE_TIME);
        assert_eq!(signals.take(1, 7, now), Mail { messages: Vec::new(), refresh: true });
    }
}
