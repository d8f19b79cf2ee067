//! Who people are: names of users and guests, so that listing conversations never asks Nextcloud.

use super::commit::Writer;
use super::tables::{decode, encode};
use super::{Snapshot, messages};
use crate::error::Result;
use crate::talk::message::{People, Profile};
use crate::talk::participant::{GuestId, UserId};
use crate::talk::room::RoomId;
use foldhash::fast::RandomState;
use redb::ReadableTable;
use smol_str::SmolStr;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::sync::{PoisonError, RwLock};

/// Most profiles that are kept in memory, over all shelves: a few MiB. Beyond it a shelf starts anew.
const NAMES_IN_MEMORY: usize = 50_000;
/// Parts with a lock of their own. A list looks up a hundred names, and with one lock the workers waited for each other.
const SHELVES: usize = 64;

/// Profiles in memory, filled as they are needed. The standard library's hashing was a fifteenth of a list.
pub struct Names {
    hasher: RandomState,
    shelves: [Shelf; SHELVES],
}

type Shelf = RwLock<HashMap<UserId, Profile, RandomState>>;

impl Default for Names {
    fn default() -> Names {
        Names { hasher: RandomState::default(), shelves: std::array::from_fn(|_| Shelf::default()) }
    }
}

impl Names {
    fn shelf(&self, id: &UserId) -> &Shelf {
        &self.shelves[self.hasher.hash_one(id) as usize % SHELVES]
    }

    fn get(&self, id: &UserId) -> Option<Profile> {
        self.shelf(id).read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Keeps what a reader found, unless a writer has put something newer there meanwhile.
    fn remember(&self, id: &UserId, profile: Profile) -> Profile {
        let mut names = self.shelf(id).write().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= NAMES_IN_MEMORY / SHELVES {
            names.clear();
        }
        names.entry(id.clone()).or_insert(profile).clone()
    }

    /// Replaces a profile after it was committed.
    pub(super) fn put(&self, id: UserId, profile: Profile) {
        let mut names = self.shelf(&id).write().unwrap_or_else(PoisonError::into_inner);
        names.insert(id, profile);
    }
}

/// What is stored about an account; `None` when nothing is.
pub fn stored_profile(t: &impl Snapshot, id: &UserId) -> Result<Option<Profile>> {
    t.people()?.get(id.as_str())?.map(|bytes| decode(bytes.value())).transpose()
}

impl<S: Snapshot> People for S {
    fn profile(&self, id: &UserId) -> Result<Profile> {
        if let Some(profile) = self.names().get(id) {
            return Ok(profile);
        }
        match stored_profile(self, id)? {
            Some(profile) => Ok(self.names().remember(id, profile)),
            None => Ok(Profile::unknown(id)),
        }
    }

    fn guest_name(&self, room: RoomId, id: GuestId) -> Result<SmolStr> {
        let name = self.guest_names()?.get((room, id.bytes()))?;
        Ok(name.map_or_else(SmolStr::default, |name| name.value().into()))
    }
}

/// Accounts that exist as far as is known, but of which nothing was heard `lately`; at most `limit`. What a clock that was
/// ahead noted says nothing.
pub fn unheard_of(t: &impl Snapshot, lately: RangeInclusive<i64>, limit: usize) -> Result<Vec<UserId>> {
    let mut found = Vec::new();
    for entry in t.people()?.iter()? {
        let (id, bytes) = entry?;
        let profile: Profile = decode(bytes.value())?;
        if profile.exists && !lately.contains(&profile.seen) {
            found.push(UserId::new(id.value()));
            if found.len() == limit {
                break;
            }
        }
    }
    Ok(found)
}

impl Writer<'_> {
    /// Stores what Nextcloud said of an account that exists.
    pub fn put_profile(&mut self, id: &UserId, display_name: SmolStr, now: i64) -> Result<()> {
        let deleted_at = stored_profile(self, id)?.and_then(|old| old.deleted_at);
        let profile = Profile { display_name, seen: now, deleted_at, exists: true };
        self.store_profile(id, profile)
    }

    /// Stores that an account is gone: what it wrote up to now is a deleted user's from now on (SPEC D.2).
    pub fn put_deleted(&mut self, id: &UserId, now: i64) -> Result<()> {
        let deleted_at = Some(messages::newest_id(self)?);
        let profile = Profile { display_name: id.as_name(), seen: now, deleted_at, exists: false };
        self.store_profile(id, profile)
    }

    fn store_profile(&mut self, id: &UserId, profile: Profile) -> Result<()> {
        self.wrote = true;
        self.people.insert(id.as_str(), encode(&profile)?.as_slice())?;
        self.has_new_profile(id, profile);
        Ok(())
    }

    /// Stores the name that a guest gave; an empty one is a name too.
    pub fn put_guest_name(&mut self, room: RoomId, id: GuestId, name: &str) -> Result<()> {
        self.wrote = true;
        self.guest_names.insert((room, id.bytes()), name)?;
        self.has_new_sessions(room);
        Ok(())
    }
}
