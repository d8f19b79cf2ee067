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
    letters: Vec<Letter>,
    bytes: usize,
    refresh: bool,
    emptied: Instant,
}

struct Letter {
    /// The session that it is for: one that its participant gave up does not concern the next.
    to: String,
    text: String,
}

/// What a client finds in its mailbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Messages from other clients, oldest first.
    pub messages: Vec<String>,
    /// Somebody came, went or changed what they send.
    pub refresh: bool,
}

impl Mailbox {
    /// The first look into it tells who is there already.
    fn new(now: Instant) -> Mailbox {
        Mailbox { letters: Vec::new(), bytes: 0, refresh: true, emptied: now }
    }
}

impl Signals {
    /// Empties the mailbox of a participant whose session is `session`.
    pub fn take(&self, room: RoomId, participant: ParticipantNo, session: &str, now: Instant) -> Mail {
        let mut rooms = self.lock();
        let mailbox = rooms.entry(room).or_default().entry(participant).or_insert_with(|| Mailbox::new(now));
        mailbox.emptied = now;
        mailbox.bytes = 0;
        let letters = std::mem::take(&mut mailbox.letters).into_iter();
        let messages = letters.filter(|letter| letter.to == session).map(|letter| letter.text).collect();
        Mail { messages, refresh: std::mem::take(&mut mailbox.refresh) }
    }

    /// Puts a message for the session `to` into its participant's mailbox, whether they have asked for it yet or not.
    pub fn put(&self, room: RoomId, participant: ParticipantNo, to: &str, message: String, now: Instant) {
        let mut rooms = self.lock();
        let mailbox = rooms.entry(room).or_default().entry(participant).or_insert_with(|| Mailbox::new(now));
        let bytes = mailbox.bytes + to.len() + message.len();
        if bytes <= MAILBOX_LIMIT {
            mailbox.bytes = bytes;
            mailbox.letters.push(Letter { to: to.to_owned(), text: message });
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
        signals.put(1, 7, "s", "a".into(), now);
        signals.put(1, 7, "s", "b".into(), now);
        assert_eq!(signals.take(1, 7, "s", now).messages, ["a", "b"]);
        assert_eq!(signals.take(1, 7, "s", now), Mail::default());
    }

    #[test]
    fn mail_for_an_earlier_session_is_thrown_away() {
        let (signals, now) = (Signals::default(), Instant::now());
        signals.put(1, 7, "old", "a".into(), now);
        signals.put(1, 7, "new", "b".into(), now);
        assert_eq!(signals.take(1, 7, "new", now).messages, ["b"]);
        assert_eq!(signals.take(1, 7, "old", now), Mail::default());
    }

    #[test]
    fn a_full_mailbox_takes_no_more() {
        let (signals, now) = (Signals::default(), Instant::now());
        let long = "x".repeat(MAILBOX_LIMIT - 1);
        signals.put(1, 7, "s", long.clone(), now);
        signals.put(1, 7, "s", "more".into(), now);
        assert_eq!(signals.take(1, 7, "s", now).messages, [long]);
        signals.put(1, 7, "s", "more".into(), now);
        assert_eq!(signals.take(1, 7, "s", now).messages, ["more"]);
    }

    #[test]
    fn everybody_in_the_conversation_looks_again() {
        let (signals, now) = (Signals::default(), Instant::now());
        assert!(signals.take(1, 7, "s", now).refresh, "the first time");
        assert!(signals.take(2, 8, "s", now).refresh);
        assert_eq!(signals.refresh(1), [7]);
        assert!(signals.take(1, 7, "s", now).refresh);
        assert!(!signals.take(2, 8, "s", now).refresh);
    }

    #[test]
    fn idle_mailboxes_are_forgotten() {
        let (signals, now) = (Signals::default(), Instant::now());
        signals.put(1, 7, "s", "a".into(), now);
        signals.forget_idle(now + IDLE_TIME);
        assert_eq!(signals.take(1, 7, "s", now), Mail { messages: Vec::new(), refresh: true });
    }
}
