//! The database. Only this folder names redb.
//!
//! Reading is a snapshot ([`Store::read`]); every change is one closure that the committing thread runs
//! ([`Store::write`], [`Store::submit`]) and answers after the commit is on disk.

pub mod attempts;
pub mod backup;
pub mod check;
pub mod commit;
mod damage;
pub mod messages;
pub mod participants;
pub mod people;
pub mod read_only;
mod reader;
pub mod rooms;
pub mod tables;
pub mod transfer;

use crate::error::{Error, Result};
use crate::presence::Presence;
use crate::talk::room::RoomId;
use commit::{Committer, Writer};
use people::Names;
pub use reader::Reader;
use reader::State;
use redb::{Database, DatabaseError, ReadableTable};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The database's file inside the data folder.
pub const FILE_NAME: &str = "roomd.redb";

/// What a reader gets while the database is opened again after a failed write: it is better to look a little later.
const REOPENING: Error = Error::Unavailable("the database is being opened again");
/// How long a reader waits for that before it tells its caller to come again.
const READERS_PATIENCE: Duration = Duration::from_secs(1);
/// How long it sleeps between two looks.
const READERS_PAUSE: Duration = Duration::from_millis(5);

/// What the rest of the server does after a commit: wake whoever waits for what it changed.
pub type OnCommit = Arc<dyn Fn(&Changed) + Send + Sync>;

/// The conversations that a commit changed in a way that somebody may be waiting for.
#[derive(Debug, Default)]
pub struct Changed {
    /// They have new messages, or are gone.
    pub messages: Vec<RoomId>,
    /// Sessions came, went or changed their call flags.
    pub sessions: Vec<RoomId>,
}

/// The open database.
pub struct Store {
    shared: Arc<Shared>,
    committer: Committer,
}

/// What readers and the committing thread share.
pub struct Shared {
    /// Replaced after a failed write; `None` only while that happens.
    database: RwLock<Option<Database>>,
    path: PathBuf,
    cache_bytes: usize,
    /// The state after the latest commit, for all readers: beginning a transaction takes system calls, and opening a
    /// table a microsecond. `None` until somebody reads or writes.
    latest: RwLock<Option<Arc<State>>>,
    names: Names,
    presence: Arc<Presence>,
}

impl Store {
    /// Opens or makes the database in `folder` and starts the committing thread.
    ///
    /// The error is a sentence for the administrator.
    pub fn open(
        folder: &Path,
        cache_mib: usize,
        presence: Arc<Presence>,
        on_commit: OnCommit,
    ) -> std::result::Result<Store, String> {
        make_folder(folder)?;
        let path = folder.join(FILE_NAME);
        let cache_bytes = cache_mib << 20;
        let database = open_verified(&path, cache_bytes)?;
        let shared = Arc::new(Shared {
            database: RwLock::new(Some(database)),
            path,
            cache_bytes,
            latest: RwLock::default(),
            names: Names::default(),
            presence,
        });
        let committer = Committer::start(shared.clone(), on_commit).map_err(|e| e.to_string())?;
        Ok(Store { shared, committer })
    }

    /// Runs `look` on one consistent state of the database. It may be run more than once: a look into a database that is
    /// about to be opened again is made in the new one.
    pub fn read<T>(&self, look: impl Fn(&Reader) -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + READERS_PATIENCE;
        loop {
            match self.read_once(&look) {
                Err(error) if error == REOPENING && Instant::now() < deadline => {
                    std::thread::sleep(READERS_PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    fn read_once<T>(&self, look: impl Fn(&Reader) -> Result<T>) -> Result<T> {
        let guard = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or(REOPENING)?;
        let state = self.shared.latest_state(database)?;
        look(&Reader::new(&state, &self.shared.names, &self.shared.presence))
    }

    /// Runs `change` in the committing thread and waits until it is on disk. When `change` fails, nothing of it is
    /// kept. It may be run more than once, so it must not consume what it captured.
    pub fn write<T: Send + 'static>(
        &self,
        change: impl FnMut(&mut Writer<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, result) = std::sync::mpsc::sync_channel(1);
        self.submit(change, move |outcome| {
            // The receiver is gone only when its thread died; there is nobody left to tell.
            let _ = reply.send(outcome);
        })?;
        result.recv().map_err(|_| Error::internal("the committing thread is gone"))?
    }

    /// The same without waiting: `done` gets the outcome, in the committing thread, after the commit.
    pub fn submit<T: Send + 'static>(
        &self,
        change: impl FnMut(&mut Writer<'_>) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<()> {
        self.committer.submit(change, done)
    }

    /// Writes something small, to find out whether the database takes changes. Nobody waits longer than `patience`.
    pub fn probe(&self, now: i64, patience: Duration) -> Result<()> {
        self.write_within(patience, move |t| t.note_probe(now))
    }

    /// Whether the committing thread answers, whatever it says.
    pub fn commits(&self, patience: Duration) -> bool {
        !matches!(self.write_within(patience, |_| Ok(())), Err(Error::Unavailable(_) | Error::Internal(_)))
    }

    fn write_within(
        &self,
        patience: Duration,
        change: impl FnMut(&mut Writer<'_>) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (reply, result) = std::sync::mpsc::sync_channel(1);
        self.submit(change, move |outcome| {
            // Nobody waits any more.
            let _ = reply.send(outcome);
        })?;
        result.recv_timeout(patience).unwrap_or(Err(Error::Unavailable("the database does not take changes")))
    }

    /// Commits what waits and closes the file in good order. Whoever asks later is refused.
    pub fn close(&self) {
        self.committer.close();
        if let Ok(mut database) = self.shared.database.write()
            && self.shared.forget_state().is_ok()
            && database.take().is_some_and(|database| database.close().is_ok())
        {
            damage::note_good_end(&self.shared.path);
        }
    }

    /// Last pings, which are newer in memory than on disk.
    pub fn presence(&self) -> &Presence {
        &self.shared.presence
    }
}

/// Makes the data folder where it is missing. What people wrote lies in it: it is for its user alone.
fn make_folder(folder: &Path) -> std::result::Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|e| format!("cannot make the data folder {}: {e}", folder.display()))
}

/// Opens the file. Unless it is as the last good end left it, the checksum of every page is verified first: what is damaged
/// is refused, never served. The error is a sentence that says what to do.
fn open_verified(path: &Path, cache_bytes: usize) -> std::result::Result<Database, String> {
    let damaged = |what: String| format!("cannot open {}: {what}. {}", path.display(), damage::advice(path));
    // redb makes a new database of an empty file: what was there before would be gone without a word.
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        return Err(damaged("it is empty (in a new installation, remove it)".to_owned()));
    }
    make_new(path, cache_bytes)?;
    let verify = !damage::ended_well(path);
    let opened = damage::caught(|| {
        let mut builder = builder(cache_bytes);
        builder.set_check_integrity_on_open(verify);
        Ok(match builder.create(path) {
            Ok(database) => prepare(&database).map(|()| database).map_err(|e| format!("{}: {e}", path.display())),
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                Err(format!("{} is in use: another roomd serves this data folder", path.display()))
            }
            Err(DatabaseError::Storage(redb::StorageError::Io(e))) if e.raw_os_error().is_some() => {
                Err(format!("cannot open {}: {e}", path.display()))
            }
            Err(e) => Err(damaged(e.to_string())),
        })
    });
    opened.map_err(damaged)?
}

/// Makes the database of a new installation, under another name until it is whole: what a full disk or a power cut leaves
/// of it must not look like a damaged database.
fn make_new(path: &Path, cache_bytes: usize) -> std::result::Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let draft = path.with_extension("new");
    let made = (|| -> Result<()> {
        // Left over from an earlier attempt.
        let _ = std::fs::remove_file(&draft);
        prepare(&open_file(&draft, cache_bytes).map_err(failed)?)
    })();
    let named = made.map_err(|e| e.to_string()).and_then(|()| {
        let folder = path.parent().unwrap_or(Path::new("."));
        let renamed = std::fs::rename(&draft, path).and_then(|()| std::fs::File::open(folder)?.sync_all());
        renamed.map_err(|e| e.to_string())
    });
    named.map_err(|error| {
        // There was nothing in it.
        let _ = std::fs::remove_file(&draft);
        format!("cannot make {}: {error}", path.display())
    })
}

fn builder(cache_bytes: usize) -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(cache_bytes).set_concurrency_mode(redb::ConcurrencyMode::SingleWriter);
    builder
}

/// Opens the file. Other processes may read it while this one serves.
fn open_file(path: &Path, cache_bytes: usize) -> std::result::Result<Database, DatabaseError> {
    builder(cache_bytes).create(path)
}

/// Makes the tables of a new database, refuses one that is newer than this program.
fn prepare(database: &Database) -> Result<()> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut meta = transaction.open_table(tables::META)?;
        let schema = meta.get("schema")?.map(|v| v.value());
        match schema {
            Some(tables::SCHEMA) => return Ok(()),
            Some(newer) if newer > tables::SCHEMA => {
                return Err(Error::Internal(format!(
                    "the database has schema {newer}, this roomd knows up to {}: install the newer roomd again, or \
                     restore a backup made with this one",
                    tables::SCHEMA
                )));
            }
            _ => meta.insert("schema", tables::SCHEMA)?,
        };
        // Opening makes them, so that readers always find every table.
        transaction.open_table(tables::ROOMS)?;
        transaction.open_table(tables::TOKENS)?;
        transaction.open_table(tables::PAIRS)?;
        transaction.open_table(tables::MEMBERS)?;
        transaction.open_table(tables::SESSIONS)?;
        transaction.open_table(tables::GUESTS)?;
        transaction.open_table(tables::MESSAGES)?;
        transaction.open_table(tables::PEOPLE)?;
        transaction.open_table(tables::GUEST_NAMES)?;
        transaction.open_table(tables::ATTEMPTS)?;
    }
    transaction.commit()?;
    Ok(())
}

/// One consistent state of the database: a reader's, or a writer's own.
pub trait Snapshot {
    /// [`tables::ROOMS`]
    fn rooms(&self) -> Result<&impl ReadableTable<u64, &'static [u8]>>;
    /// [`tables::TOKENS`]
    fn tokens(&self) -> Result<&impl ReadableTable<&'static str, u64>>;
    /// [`tables::PAIRS`]
    fn pairs(&self) -> Result<&impl ReadableTable<(&'static str, &'static str), u64>>;
    /// [`tables::MEMBERS`]
    fn members(&self) -> Result<&impl ReadableTable<(&'static str, u64), &'static [u8]>>;
    /// [`tables::SESSIONS`]
    fn sessions(&self) -> Result<&impl ReadableTable<(u64, u32), &'static [u8]>>;
    /// [`tables::GUESTS`]
    fn guests(&self) -> Result<&impl ReadableTable<(&'static [u8; 32], u64), u32>>;
    /// [`tables::MESSAGES`]
    fn messages(&self) -> Result<&impl ReadableTable<(u64, i64), &'static [u8]>>;
    /// [`tables::PEOPLE`]
    fn people(&self) -> Result<&impl ReadableTable<&'static str, &'static [u8]>>;
    /// [`tables::GUEST_NAMES`]
    fn guest_names(&self) -> Result<&impl ReadableTable<(u64, &'static [u8; 20]), &'static str>>;
    /// [`tables::ATTEMPTS`]
    fn attempts(&self) -> Result<&impl ReadableTable<&'static [u8; 32], &'static [u8]>>;
    /// Profiles kept in memory.
    fn names(&self) -> &Names;
    /// Last pings, newer in memory than on disk.
    fn presence(&self) -> &Presence;
}

/// Linux's "No space left on device" and "Disk quota exceeded".
const DISK_FULL: [i32; 2] = [28, 122];

fn failed(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::PreviousIo => REOPENING,
        redb::Error::Io(e) if e.raw_os_error().is_some_and(|code| DISK_FULL.contains(&code)) => Error::StorageFull,
        error => Error::internal(format!("database: {error}")),
    }
}

impl From<redb::StorageError> for Error {
    fn from(error: redb::StorageError) -> Error {
        failed(error)
    }
}

impl From<redb::TableError> for Error {
    fn from(error: redb::TableError) -> Error {
        failed(error)
    }
}

impl From<redb::TransactionError> for Error {
    fn from(error: redb::TransactionError) -> Error {
        failed(error)
    }
}

impl From<redb::CommitError> for Error {
    fn from(error: redb::CommitError) -> Error {
        failed(error)
    }
}
