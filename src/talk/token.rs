//! The token that names a conversation in every URL.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::fmt;

/// Letters and digits of a new token: no `l`, `0` or `1`, which people confuse (SPEC B).
const ALPHABET: &[u8; 33] = b"abcdefghijkmnopqrstuvwxyz23456789";
/// Characters of a new token: about 40 bits, redrawn when it is taken.
const LENGTH: usize = 8;
/// Tokens that are route names of their own.
const RESERVED: [&str; 2] = ["settings", "backend"];

/// A conversation's token: 4 to 30 of `a-z0-9` (SPEC A.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(SmolStr);

impl Token {
    /// Reads a token from a path. Anything of another shape is an unknown route, not an unknown conversation.
    pub fn parse(text: &str) -> Result<Token> {
        let fits = (4..=30).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if fits { Ok(Token(text.into())) } else { Err(Error::InvalidQuery) }
    }

    /// Makes a token of random numbers; `None` when it came out as a reserved word.
    pub fn from_random(random: [u64; LENGTH]) -> Option<Token> {
        let text: SmolStr = random.iter().map(|n| ALPHABET[(n % ALPHABET.len() as u64) as usize] as char).collect();
        (!RESERVED.contains(&text.as_str())).then_some(Token(text))
    }

    /// The token's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_letters_and_digits_make_a_token() {
        for good in ["abcd", "0000", "a2c4e6g8", &"a".repeat(30)] {
            assert!(Token::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "abc", "ABCD", "ab d", "abc\u{fc}", "a'bc", &"a".repeat(31)] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_new_token_is_one_that_parses() {
        let token = Token::from_random([0, 1, 31, 32, 33, 64, 99, u64::MAX]).unwrap();
        assert_eq!(Token::parse(token.as_str()).unwrap(), token);
    }
}
