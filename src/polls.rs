//! Requests that wait for something to happen: parked with a deadline, woken by the event itself. No thread waits with them.

use crate::talk::participant::ParticipantNo;
use crate::talk::room::RoomId;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a request can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// New messages in a conversation.
    Messages(RoomId),
    /// Signaling messages for a participant, or a change of who is connected.
    Signals(RoomId, ParticipantNo),
    /// Nothing: only time passes.
    Nothing,
}

/// Slots in which the latest event of each topic is noted; topics that share one wake each other needlessly.
const SLOTS: usize = 1024;

/// The requests that wait. `J` is such a request.
pub struct Polls<J> {
    events: AtomicU64,
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    latest: Vec<u64>,
    parked: BTreeMap<(Instant, u64), (Topic, J)>,
    by_topic: HashMap<Topic, Vec<(Instant, u64)>>,
    next: u64,
    ready: VecDeque<(J, bool)>,
    closed: bool,
}

impl<J> Default for Polls<J> {
    fn default() -> Polls<J> {
        let state = State {
            latest: vec![0; SLOTS],
            parked: BTreeMap::new(),
            by_topic: HashMap::new(),
            next: 0,
            ready: VecDeque::new(),
            closed: false,
        };
        Polls { events: AtomicU64::new(0), state: Mutex::new(state), changed: Condvar::new() }
    }
}

fn slot(topic: &Topic) -> usize {
    let mut hasher = DefaultHasher::new();
    topic.hash(&mut hasher);
    hasher.finish() as usize % SLOTS
}

impl<J> Polls<J> {
    /// A point in time to give to [`Polls::park`]: taken before looking, it tells whether something came meanwhile.
    pub fn moment(&self) -> u64 {
        self.events.load(Ordering::SeqCst)
    }

    /// Parks a request until the topic's next event after `moment`, or until `deadline`.
    pub fn park(&self, topic: Topic, deadline: Instant, moment: u64, request: J) {
        let mut state = self.lock();
        if state.latest[slot(&topic)] > moment || state.closed {
            // Nobody waits any more once closed: without an end to it the request would come back for ever.
            let timed_out = state.closed;
            state.ready.push_back((request, timed_out));
            self.changed.notify_one();
            return;
        }
        let key = (deadline, state.next);
        state.next += 1;
        let first = state.parked.keys().next().is_none_or(|earliest| key < *earliest);
        state.parked.insert(key, (topic, request));
        state.by_topic.entry(topic).or_default().push(key);
        if first {
            // The thread that serves the polls must now wake up earlier than it planned.
            self.changed.notify_one();
        }
    }

    /// Wakes everybody who waits for `topic`.
    pub fn wake(&self, topic: Topic) {
        let mut state = self.lock();
        let event = self.events.fetch_add(1, Ordering::SeqCst) + 1;
        state.latest[slot(&topic)] = event;
        for key in state.by_topic.remove(&topic).unwrap_or_default() {
            if let Some((_, request)) = state.parked.remove(&key) {
                state.ready.push_back((request, false));
            }
        }
        self.changed.notify_one();
    }

    /// Puts a request where it is served next, without waiting for anything.
    pub fn again(&self, request: J) {
        self.lock().ready.push_back((request, false));
        self.changed.notify_one();
    }

    /// The next request to be served, and whether its time ran out. Blocks.
    pub fn next(&self) -> (J, bool) {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.ready.pop_front() {
                if !state.ready.is_empty() {
                    // Another thread, if there is one: this one may be held up by its request.
                    self.changed.notify_one();
                }
                return next;
            }
            let now = Instant::now();
            match state.parked.keys().next().copied() {
                Some(key) if key.0 <= now || state.closed => {
                    if let Some((topic, request)) = state.parked.remove(&key) {
                        state.forget(topic, key);
                        return (request, true);
                    }
                }
                Some((deadline, _)) => {
                    let waited = self.changed.wait_timeout(state, deadline - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// How many requests are parked.
    pub fn parked(&self) -> usize {
        self.lock().parked.len()
    }

    /// Ends all waiting: whoever is parked, or is from now on, is served as if the time had run out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> State<J> {
    fn forget(&mut self, topic: Topic, key: (Instant, u64)) {
        if let Some(keys) = self.by_topic.get_mut(&topic) {
            keys.retain(|k| *k != key);
            if keys.is_empty() {
                self.by_topic.remove(&topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HERE: Topic = Topic::Messages(1);

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[test]
    fn an_event_wakes_its_own_topic_only() {
        let polls = Polls::default();
        polls.park(HERE, later(), polls.moment(), "here");
        polls.park(Topic::Messages(2), later(), polls.moment(), "there");
        polls.wake(HERE);
        assert_eq!(polls.next(), ("here", false));
        assert_eq!(polls.parked(), 1);
    }

    #[test]
    fn an_event_between_looking_and_parking_is_not_lost() {
        let polls = Polls::default();
        let moment = polls.moment();
        polls.wake(HERE);
        polls.park(HERE, later(), moment, "here");
        assert_eq!(polls.next(), ("here", false));
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let polls = Polls::default();
        polls.park(HERE, Instant::now(), polls.moment(), "here");
        assert_eq!(polls.next(), ("here", true));
    }

    #[test]
    fn closing_serves_everybody() {
        let polls = Polls::default();
        polls.park(HERE, later(), polls.moment(), "here");
        polls.close();
        assert_eq!(polls.next(), ("here", true));
        polls.park(HERE, later(), polls.moment(), "late");
        assert_eq!(polls.next(), ("late", true));
    }
}
