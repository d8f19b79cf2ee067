//! How often somebody may guess: a password or a token (Nextcloud's own numbers).

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long an attempt counts, seconds: 30 minutes.
pub const WINDOW: i64 = 30 * 60;
/// Attempts within [`WINDOW`] after which no more are taken.
const LIMIT: usize = 10;
/// The delay before the second attempt is looked at; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// The longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(25);

/// The attempts from one address on one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// When, Unix seconds, and at what (a digest, 0 where that does not matter); the oldest first.
    made: Vec<(i64, u64)>,
}

impl Attempts {
    /// Counts one more. The same thing again within the window is one attempt only, unless `what` is 0.
    pub fn count(&mut self, now: i64, what: u64) {
        self.forget_old(now);
        let again = what != 0 && self.made.iter().any(|(_, before)| *before == what);
        if !again && self.made.len() <= LIMIT {
            self.made.push((now, what));
        }
    }

    /// Whether there have been too many.
    pub fn are_too_many(&self, now: i64) -> bool {
        self.recent(now) > LIMIT
    }

    /// How long the latest attempt has to wait: nothing for the first, then 0.2 s, 0.4 s … 25 s.
    pub fn delay(&self, now: i64) -> Duration {
        match self.recent(now) {
            0 | 1 => Duration::ZERO,
            n => (FIRST_DELAY * 2_u32.saturating_pow(n as u32 - 2)).min(LONGEST_DELAY),
        }
    }

    /// Whether nothing of it counts any more.
    pub fn are_over(&self, now: i64) -> bool {
        self.recent(now) == 0
    }

    fn recent(&self, now: i64) -> usize {
        self.made.iter().filter(|(at, _)| counts(*at, now)).count()
    }

    fn forget_old(&mut self, now: i64) {
        self.made.retain(|(at, _)| counts(*at, now));
    }
}

/// A clock that was set back must not make an attempt count for longer: one from the future is over.
fn counts(at: i64, now: i64) -> bool {
    (now - WINDOW..=now + 1).contains(&at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(attempts: usize) -> Attempts {
        let mut all = Attempts::default();
        (0..attempts).for_each(|_| all.count(1000, 0));
        all
    }

    #[test]
    fn each_attempt_waits_twice_as_long_as_the_one_before() {
        let delays: Vec<u128> = (0..=10).map(|n| after(n).delay(1000).as_millis()).collect();
        assert_eq!(delays, [0, 0, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_000, 25_000]);
    }

    #[test]
    fn the_eleventh_is_one_too_many() {
        assert!(!after(10).are_too_many(1000));
        assert!(after(11).are_too_many(1000));
        assert!(!after(11).are_too_many(1000 + WINDOW + 1));
    }

    #[test]
    fn the_same_token_again_is_no_new_guess() {
        let mut attempts = Attempts::default();
        (0..50).for_each(|_| attempts.count(1000, 7));
        assert_eq!(attempts.delay(1000), Duration::ZERO);
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        assert!(!after(11).are_too_many(10));
    }
}
