//! Who belongs to a conversation.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A user's id, spelled as Nextcloud spells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(String);

impl UserId {
    /// Takes the id that Nextcloud, the configuration or the store gave.
    pub fn new(id: impl Into<String>) -> UserId {
        UserId(id.into())
    }

    /// The id's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
