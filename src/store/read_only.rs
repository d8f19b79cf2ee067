//! Reading the database from another process than the one that serves it, also while that runs.

use super::damage::{advice, caught};
use super::people::Names;
use super::reader::State;
use super::{FILE_NAME, Reader};
use crate::error::{Error, Result};
use crate::presence::Presence;
use redb::{DatabaseError, ReadOnlyDatabase, ReadableDatabase};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Memory for the pages that a command reads, bytes.
const CACHE: usize = 32 << 20;

/// A database that is only looked at.
pub struct ReadOnly {
    database: ReadOnlyDatabase,
    path: PathBuf,
    names: Names,
    presence: Presence,
}

impl ReadOnly {
    /// Opens the database in a data folder. The error is a sentence for the administrator.
    pub fn open(folder: &Path) -> std::result::Result<ReadOnly, String> {
        let path = folder.join(FILE_NAME);
        match std::fs::metadata(&path).map_err(|error| error.kind()) {
            Err(ErrorKind::NotFound) => Err(format!(
                "there is no database in {} yet: roomd makes it when it starts, in the folder of store.data",
                folder.display()
            )),
            Err(ErrorKind::PermissionDenied) => Err(format!("{} may not be read by you: use sudo", path.display())),
            _ => ReadOnly::open_file(&path),
        }
    }

    /// Opens a file: the database of a data folder, or a backup.
    pub fn open_file(path: &Path) -> std::result::Result<ReadOnly, String> {
        let database = caught(|| {
            let mut builder = redb::Builder::new();
            builder.set_cache_size(CACHE).set_concurrency_mode(redb::ConcurrencyMode::SingleWriter);
            builder.open_read_only(path).map_err(|error| match error {
                DatabaseError::RepairAborted => format!(
                    "{} was not closed in good order. Start roomd once: it puts that right by itself",
                    path.display()
                ),
                DatabaseError::Storage(redb::StorageError::Io(error)) => {
                    format!("cannot open {}: {error}", path.display())
                }
                error => format!("cannot open {}: {error}. {}", path.display(), advice(path)),
            })
        });
        let database = database.map_err(|error| {
            if error.starts_with("the file is damaged") { format!("{error}. {}", advice(path)) } else { error }
        })?;
        let (names, presence) = (Names::default(), Presence::default());
        Ok(ReadOnly { database, path: path.to_owned(), names, presence })
    }

    /// Runs `look` on one consistent state of the database. A damaged file makes an error with advice.
    pub fn read<T>(&self, look: impl FnOnce(&Reader<'_>) -> Result<T>) -> std::result::Result<T, String> {
        let outcome = caught(|| {
            let begun = self.database.begin_read().map_err(Error::from);
            let state = begun.map(State::new);
            let outcome = state.and_then(|state| look(&Reader::new(&state, &self.names, &self.presence)));
            outcome.map_err(|error| error.to_string())
        });
        outcome.map_err(|error| format!("cannot read {}: {error}", self.path.display()))
    }
}
