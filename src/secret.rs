//! Text that must never be shown: passwords, tokens, cookies.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use std::fmt;

/// A password, token or cookie. Prints as `***`; equality is compared in constant time.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(SmolStr);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<SmolStr>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` is the same text. Both sides are hashed first, so neither the length nor the first
    /// difference shows in the time that it takes.
    pub fn matches(&self, other: &str) -> bool {
        same_digest(&Sha256::digest(self.0.as_bytes()).into(), &Sha256::digest(other.as_bytes()).into())
    }
}

/// Compares two digests in constant time.
pub fn same_digest(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |seen, (x, y)| seen | (x ^ y)) == 0
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_stars() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }

    #[test]
    fn a_secret_matches_only_itself() {
        let secret = Secret::new("hunter2");
        assert!(secret.matches("hunter2"));
        assert!(!secret.matches("hunter"));
        assert!(!secret.matches(""));
    }
}
