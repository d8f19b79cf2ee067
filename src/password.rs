//! Hashing of passwords. The only file that names bcrypt.
//!
//! Every call takes 50 ms and more of a core: slow or hashing lane only, and never inside a write transaction.

use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// bcrypt's cost: 2^10 rounds, 50 to 65 ms.
const COST: u32 = 10;
/// How many hashes are computed at once, so that requests without one find a core.
pub const MAX_AT_ONCE: usize = 2;

/// What the hash of a password starts with, and where it begins in a configuration file.
pub const HASH_PREFIX: &str = "$2";

/// The hash to store of `password`. [`Error::Internal`] when there is no randomness.
pub fn hash(password: &str) -> Result<String> {
    let _turn = Turn::take();
    bcrypt::hash(digest(password), COST).map_err(Error::internal)
}

/// Whether `hash`, which [`hash`] made, is that of `password`. [`Error::Internal`] when it is no hash at all.
pub fn verify(password: &str, hash: &str) -> Result<bool> {
    let _turn = Turn::take();
    bcrypt::verify(digest(password), hash).map_err(Error::internal)
}

/// Whether `hash`, which another program made (`htpasswd -B`, PHP, …), is that of `password`. Like those programs,
/// this does not look beyond the password's first 72 bytes. [`Error::Internal`] when it is no hash at all.
pub fn verify_plain(password: &str, hash: &str) -> Result<bool> {
    let _turn = Turn::take();
    bcrypt::verify(password, hash).map_err(Error::internal)
}

/// Whether `text` could be a hash: the right prefix, cost, length and characters.
pub fn is_hash(text: &str) -> bool {
    text.parse::<bcrypt::HashParts>().is_ok_and(|parts| (4..=31).contains(&parts.get_cost()))
}

/// bcrypt ignores what comes after 72 bytes, and after a NUL in other implementations; the digest is shorter than
/// that and depends on every byte.
fn digest(password: &str) -> String {
    STANDARD.encode(Sha256::digest(password.as_bytes()))
}

/// The right to compute a hash; given back when dropped.
struct Turn;

static RUNNING: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();

impl Turn {
    fn take() -> Turn {
        let full = |running: &mut usize| *running >= MAX_AT_ONCE;
        let mut running = GIVEN_BACK.wait_while(running(), full).unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *running() -= 1;
        GIVEN_BACK.notify_one();
    }
}

/// The count is right also after a panic elsewhere, since `drop` runs then as well.
fn running() -> MutexGuard<'static, usize> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_byte_counts_also_after_the_72nd() {
        let start = "x".repeat(72);
        let hash = hash(&format!("{start}a")).unwrap();
        assert!(verify(&format!("{start}a"), &hash).unwrap());
        assert!(!verify(&format!("{start}b"), &hash).unwrap());
        assert!(!verify(&start, &hash).unwrap());
    }

    #[test]
    fn a_wrong_password_is_wrong_and_two_hashes_differ() {
        let (one, two) = (hash("secret").unwrap(), hash("secret").unwrap());
        assert_ne!(one, two);
        assert!(is_hash(&one));
        assert!(verify("secret", &two).unwrap());
        assert!(!verify("Secret", &two).unwrap());
        assert!(!verify("", &two).unwrap());
    }

    #[test]
    fn a_broken_hash_is_an_error_and_no_panic() {
        let good = hash("secret").unwrap();
        for broken in ["", "$2b$", "secret", &good[..59], &good.replace("$10$", "$99$"), &"é".repeat(30)] {
            assert!(!is_hash(broken), "{broken}");
            assert!(matches!(verify("secret", broken), Err(Error::Internal(_))), "{broken}");
            assert!(matches!(verify_plain("secret", broken), Err(Error::Internal(_))), "{broken}");
        }
    }

    #[test]
    fn hashes_of_other_programs_are_understood() {
        // The hash that Openwall publishes as a test of crypt_blowfish.
        let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert!(verify_plain("U*U", hash).unwrap());
        assert!(!verify_plain("U*V", hash).unwrap());
    }

    #[test]
    fn no_more_than_two_hash_at_once() {
        let (first, _second) = (Turn::take(), Turn::take());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _third = Turn::take();
            tell.send(())
        });
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "the third waits");
        drop(first);
        assert!(told.recv_timeout(Duration::from_secs(60)).is_ok(), "until the first is done");
    }
}
