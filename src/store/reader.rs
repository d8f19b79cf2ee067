//! Reading: one transaction that all readers share until the next commit.

use super::people::Names;
use super::{Shared, Snapshot, tables};
use crate::error::{Error, Result};
use crate::presence::Presence;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};
use std::sync::{Arc, OnceLock};

/// A read transaction. Each table is opened once, when it is first needed.
pub struct Reader<'s> {
    pub(super) state: &'s State,
    names: &'s Names,
    presence: &'s Presence,
}

/// A read transaction, and the tables that have been opened in it.
pub struct State {
    pub(super) transaction: redb::ReadTransaction,
    tables: OpenTables,
}

#[derive(Default)]
struct OpenTables {
    rooms: OnceLock<ReadOnlyTable<u64, &'static [u8]>>,
    tokens: OnceLock<ReadOnlyTable<&'static str, u64>>,
    pairs: OnceLock<ReadOnlyTable<(&'static str, &'static str), u64>>,
    members: OnceLock<ReadOnlyTable<(&'static str, u64), &'static [u8]>>,
    sessions: OnceLock<ReadOnlyTable<(u64, u32), &'static [u8]>>,
    guests: OnceLock<ReadOnlyTable<(&'static [u8; 32], u64), u32>>,
    messages: OnceLock<ReadOnlyTable<(u64, i64), &'static [u8]>>,
    people: OnceLock<ReadOnlyTable<&'static str, &'static [u8]>>,
    guest_names: OnceLock<ReadOnlyTable<(u64, &'static [u8; 20]), &'static str>>,
    attempts: OnceLock<ReadOnlyTable<&'static [u8; 32], &'static [u8]>>,
}

impl State {
    pub(super) fn new(transaction: redb::ReadTransaction) -> State {
        State { transaction, tables: OpenTables::default() }
    }

    fn table<'t, K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        cell: &'t OnceLock<ReadOnlyTable<K, V>>,
        definition: redb::TableDefinition<'_, K, V>,
    ) -> Result<&'t ReadOnlyTable<K, V>> {
        match cell.get() {
            Some(table) => Ok(table),
            None => {
                let table = self.transaction.open_table(definition)?;
                Ok(cell.get_or_init(|| table))
            }
        }
    }
}

impl<'s> Reader<'s> {
    pub(super) fn new(state: &'s State, names: &'s Names, presence: &'s Presence) -> Reader<'s> {
        Reader { state, names, presence }
    }
}

impl Shared {
    /// The state after the latest commit.
    pub(super) fn latest_state(&self, database: &Database) -> Result<Arc<State>> {
        if let Some(state) = &*self.latest.read().map_err(|_| poisoned())? {
            return Ok(state.clone());
        }
        // Begun under the lock: a state from before a commit cannot be put there after it.
        let mut latest = self.latest.write().map_err(|_| poisoned())?;
        match &*latest {
            Some(state) => Ok(state.clone()),
            None => Ok(latest.insert(Arc::new(State::new(database.begin_read()?))).clone()),
        }
    }

    /// Shows readers what has just been committed. The committing thread begins their transaction, outside the lock:
    /// while a reader did, one that lost its CPU there kept all others waiting.
    pub(super) fn renew_state(&self, database: &Database) -> Result<()> {
        // Where it cannot be begun, the next reader tries, and is told why not.
        let state = database.begin_read().ok().map(|transaction| Arc::new(State::new(transaction)));
        self.replace_state(state)
    }

    /// Gives up the readers' transaction, so that the database can be closed.
    pub(super) fn forget_state(&self) -> Result<()> {
        self.replace_state(None)
    }

    fn replace_state(&self, state: Option<Arc<State>>) -> Result<()> {
        // The old one ends after the lock is released.
        let _old = std::mem::replace(&mut *self.latest.write().map_err(|_| poisoned())?, state);
        Ok(())
    }
}

fn poisoned() -> Error {
    Error::internal("the lock of the latest state is poisoned")
}

impl Snapshot for Reader<'_> {
    fn rooms(&self) -> Result<&impl ReadableTable<u64, &'static [u8]>> {
        self.state.table(&self.state.tables.rooms, tables::ROOMS)
    }
    fn tokens(&self) -> Result<&impl ReadableTable<&'static str, u64>> {
        self.state.table(&self.state.tables.tokens, tables::TOKENS)
    }
    fn pairs(&self) -> Result<&impl ReadableTable<(&'static str, &'static str), u64>> {
        self.state.table(&self.state.tables.pairs, tables::PAIRS)
    }
    fn members(&self) -> Result<&impl ReadableTable<(&'static str, u64), &'static [u8]>> {
        self.state.table(&self.state.tables.members, tables::MEMBERS)
    }
    fn sessions(&self) -> Result<&impl ReadableTable<(u64, u32), &'static [u8]>> {
        self.state.table(&self.state.tables.sessions, tables::SESSIONS)
    }
    fn guests(&self) -> Result<&impl ReadableTable<(&'static [u8; 32], u64), u32>> {
        self.state.table(&self.state.tables.guests, tables::GUESTS)
    }
    fn messages(&self) -> Result<&impl ReadableTable<(u64, i64), &'static [u8]>> {
        self.state.table(&self.state.tables.messages, tables::MESSAGES)
    }
    fn people(&self) -> Result<&impl ReadableTable<&'static str, &'static [u8]>> {
        self.state.table(&self.state.tables.people, tables::PEOPLE)
    }
    fn guest_names(&self) -> Result<&impl ReadableTable<(u64, &'static [u8; 20]), &'static str>> {
        self.state.table(&self.state.tables.guest_names, tables::GUEST_NAMES)
    }
    fn attempts(&self) -> Result<&impl ReadableTable<&'static [u8; 32], &'static [u8]>> {
        self.state.table(&self.state.tables.attempts, tables::ATTEMPTS)
    }
    fn names(&self) -> &Names {
        self.names
    }
    fn presence(&self) -> &Presence {
        self.presence
    }
}
