//! Attempts at guessing, counted before they are looked at and kept across restarts.

use super::Snapshot;
use super::commit::Writer;
use super::tables::{decode, encode};
use crate::error::Result;
use crate::talk::attempts::Attempts;
use crate::talk::room::RoomId;
use redb::ReadableTable;
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// What somebody tries to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// The password of a conversation.
    Password(RoomId),
    /// A token.
    Token,
}

/// Under what the attempts of one address are counted. Whoever has an IPv6 address has its /64.
pub fn key(guess: Guess, address: IpAddr) -> [u8; 32] {
    let mut digest = Sha256::new();
    match address.to_canonical() {
        IpAddr::V4(v4) => digest.update(v4.octets()),
        IpAddr::V6(v6) => digest.update(&v6.octets()[..8]),
    }
    match guess {
        Guess::Password(room) => digest.update(room.to_le_bytes()),
        Guess::Token => digest.update(b"token"),
    }
    digest.finalize().into()
}

/// The attempts under a key.
pub fn attempts(t: &impl Snapshot, key: &[u8; 32]) -> Result<Attempts> {
    match t.attempts()?.get(key)? {
        Some(bytes) => decode(bytes.value()),
        None => Ok(Attempts::default()),
    }
}

impl Writer<'_> {
    /// Counts an attempt and returns all of them.
    pub fn count_attempt(&mut self, key: &[u8; 32], now: i64, what: u64) -> Result<Attempts> {
        let mut attempts = attempts(self, key)?;
        let before = attempts.clone();
        attempts.count(now, what);
        if attempts != before {
            self.wrote = true;
            self.attempts.insert(key, encode(&attempts)?.as_slice())?;
        }
        Ok(attempts)
    }

    /// Forgets the attempts under a key: the guess was right.
    pub fn clear_attempts(&mut self, key: &[u8; 32]) -> Result<()> {
        self.wrote = true;
        self.attempts.remove(key)?;
        Ok(())
    }

    /// Throws away attempts that no longer count.
    pub fn forget_attempts(&mut self, now: i64) -> Result<()> {
        let mut over = Vec::new();
        for entry in self.attempts.iter()? {
            let (key, bytes) = entry?;
            if decode::<Attempts>(bytes.value())?.are_over(now) {
                over.push(*key.value());
            }
        }
        for key in over {
            self.clear_attempts(&key)?;
        }
        Ok(())
    }
}
