//! Answers that need not wait for one another's writers.
//!
//! tiny_http lets an answer be written when the writer of the one before on the same connection has been dropped. But the
//! moment in which an answer is written is the moment in which the system gives the CPU to the client that waits for it:
//! the writing thread stands still with its writer in its hand, the client's next request is read and answered by another
//! thread, and that one waits, too. Among the slowest hundredth of reads beside 64 writers it was two fifths of the time.
//! So the other worker leaves its answer to the one that has the turn, and goes on with something else. The one that got
//! it may have to wait for its turn then, as the other would have.

use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts with a lock of their own.
const SHELVES: usize = 16;

/// Connections, by the caller's end of them, on which somebody writes just now, and what was left to them. Two may share
/// one, where the server listens on several addresses; then an answer may wait for one on the other.
pub struct Turns<A>([Mutex<Shelf<A>>; SHELVES]);

type Shelf<A> = HashMap<SocketAddr, Option<A>, RandomState>;

impl<A> Default for Turns<A> {
    fn default() -> Turns<A> {
        Turns(std::array::from_fn(|_| Mutex::default()))
    }
}

impl<A> Turns<A> {
    fn shelf(&self, connection: SocketAddr) -> MutexGuard<'_, Shelf<A>> {
        self.0[usize::from(connection.port()) % SHELVES].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves an answer to whoever has the turn on its connection. It comes back when nobody has; and when one was left
    /// there before, because that may be one which cannot be written before this.
    pub fn leave(&self, connection: SocketAddr, answer: A) -> Option<A> {
        match self.shelf(connection).get_mut(&connection) {
            Some(left @ None) => {
                *left = Some(answer);
                None
            }
            Some(Some(_)) | None => Some(answer),
        }
    }

    /// Begins a turn: all answers before the caller's have been written. Until then nothing may be left to the caller,
    /// who might be waiting for just that.
    pub fn begin(&self, connection: SocketAddr) -> Turn<'_, A> {
        // Whoever had the turn before may have passed it on and not ended it yet: what was left to them stays.
        self.shelf(connection).entry(connection).or_insert(None);
        Turn { turns: self, connection, ended: false }
    }
}

/// The time in which an answer is being written. Ends when it is dropped, also by a panic; what was left is dropped, too.
pub struct Turn<'t, A> {
    turns: &'t Turns<A>,
    connection: SocketAddr,
    ended: bool,
}

impl<A> Turn<'_, A> {
    /// Ends it and gives what was left meanwhile, which is to be written like any other: it may have to wait.
    pub fn end(mut self) -> Option<A> {
        self.take()
    }

    fn take(&mut self) -> Option<A> {
        self.ended = true;
        self.turns.shelf(self.connection).remove(&self.connection).flatten()
    }
}

impl<A> Drop for Turn<'_, A> {
    fn drop(&mut self) {
        if !self.ended {
            self.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1000);

    #[test]
    fn an_answer_is_left_to_whoever_writes_on_the_same_connection() {
        let turns = Turns::default();
        assert_eq!(turns.leave(HERE, 1), Some(1), "nobody writes");
        let turn = turns.begin(HERE);
        let there = SocketAddr::new(HERE.ip(), HERE.port() + SHELVES as u16);
        assert_eq!(turns.leave(there, 1), Some(1), "another connection");
        assert_eq!(turns.leave(HERE, 1), None);
        assert_eq!(turns.leave(HERE, 2), Some(2), "one was left already");
        assert_eq!(turn.end(), Some(1));
        assert_eq!(turns.leave(HERE, 3), Some(3), "the turn has ended");
    }

    #[test]
    fn what_is_left_outlives_a_turn_that_was_passed_on() {
        let turns = Turns::default();
        let before = turns.begin(HERE);
        assert_eq!(turns.leave(HERE, 1), None);
        let after = turns.begin(HERE);
        assert_eq!(after.end(), Some(1));
        assert_eq!(before.end(), None);
    }

    #[test]
    fn a_panic_ends_a_turn() {
        let turns = Turns::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _turn = turns.begin(HERE);
            assert_eq!(turns.leave(HERE, 1), None);
            panic!("as writing might");
        }));
        assert!(panicked.is_err());
        assert_eq!(turns.leave(HERE, 2), Some(2));
    }
}
