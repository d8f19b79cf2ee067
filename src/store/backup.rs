//! Copies of the whole database, and putting one in place of it.

use super::commit::Writer;
use super::damage::caught;
use super::people::Names;
use super::read_only::ReadOnly;
use super::{FILE_NAME, Reader, Shared, Snapshot, make_folder, tables};
use crate::error::{Error, Result};
use crate::presence::Presence;
use redb::{Database, DatabaseError, Key, ReadableTable, ReadableTableMetadata, TableDefinition, Value};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

/// Memory for the pages of a database that is being written, bytes.
const CACHE: usize = 64 << 20;
/// Steps between two calls of the progress function.
const STEP: u64 = 1000;

/// Told how much of how much is done.
pub type Progress<'p> = dyn FnMut(u64, u64) + 'p;

/// How a copy went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Records of all tables.
    pub records: u64,
    /// The length of the file.
    pub bytes: u64,
}

/// Copies one consistent state of the database in `folder` into `file`, also while it is being served. `file` appears
/// when it is complete and on disk, readable for its owner alone. The error is a sentence.
pub fn backup(
    folder: &Path,
    file: &Path,
    overwrite: bool,
    progress: &mut Progress<'_>,
) -> std::result::Result<Copied, String> {
    if !overwrite && file.exists() {
        return Err(format!("{} exists already; --force overwrites it", file.display()));
    }
    let from = ReadOnly::open(folder)?;
    let part = beside(file, "part");
    let copied = from.read(|t| Ok(copy_all(t, &part, progress))).and_then(|copied| copied);
    let records = copied.inspect_err(|_| discard(&part))?;
    let bytes = put_in_place(&part, file).inspect_err(|_| discard(&part))?;
    Ok(Copied { records, bytes })
}

fn copy_all(t: &Reader<'_>, part: &Path, progress: &mut Progress<'_>) -> std::result::Result<u64, String> {
    let target = new_database(part)?;
    let copied = copy_tables(t, &target, progress).map_err(|e| format!("cannot write {}: {e}", part.display()));
    target.close().map_err(|e| format!("cannot close {}: {e}", part.display()))?;
    copied
}

/// A new database in a file of its own that only its owner may read.
fn new_database(path: &Path) -> std::result::Result<Database, String> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.map_err(|e| format!("cannot make {}: {e}", path.display()))?;
    let backend = redb::backends::FileBackend::new(file).map_err(|e| format!("cannot use {}: {e}", path.display()))?;
    let made = redb::Builder::new().set_cache_size(CACHE).create_with_backend(backend);
    made.map_err(|e| format!("cannot make {}: {e}", path.display()))
}

fn copy_tables(t: &Reader<'_>, target: &Database, progress: &mut Progress<'_>) -> Result<u64> {
    let mut transaction = target.begin_write()?;
    transaction.set_quick_repair(true);
    let mut copy = Copy { from: t, to: &transaction, done: 0, total: 0, progress };
    copy.total = t.rooms()?.len()? + t.messages()?.len()? + t.members()?.len()? + t.people()?.len()?;
    copy.table(tables::META)?;
    copy.table(tables::ROOMS)?;
    copy.table(tables::TOKENS)?;
    copy.table(tables::PAIRS)?;
    copy.table(tables::MEMBERS)?;
    copy.table(tables::SESSIONS)?;
    copy.table(tables::GUESTS)?;
    copy.table(tables::MESSAGES)?;
    copy.table(tables::PEOPLE)?;
    copy.table(tables::GUEST_NAMES)?;
    copy.table(tables::ATTEMPTS)?;
    let done = copy.done;
    (copy.progress)(done, done);
    transaction.commit()?;
    Ok(done)
}

struct Copy<'c, 'p> {
    from: &'c Reader<'c>,
    to: &'c redb::WriteTransaction,
    done: u64,
    total: u64,
    progress: &'c mut Progress<'p>,
}

impl Copy<'_, '_> {
    fn table<K: Key + 'static, V: Value + 'static>(&mut self, table: TableDefinition<'_, K, V>) -> Result<()> {
        let mut target = self.to.open_table(table)?;
        for entry in self.from.state.transaction.open_table(table)?.iter()? {
            let (key, value) = entry?;
            target.insert(key.value(), value.value())?;
            self.done += 1;
            if self.done.is_multiple_of(STEP) {
                (self.progress)(self.done, self.total.max(self.done));
            }
        }
        Ok(())
    }
}

/// Puts a backup in place of the database in `folder`, which is kept beside it. The copy is verified as a whole first.
/// Returns where the old one is, if there was one.
pub fn restore(
    folder: &Path,
    file: &Path,
    progress: &mut Progress<'_>,
) -> std::result::Result<Option<PathBuf>, String> {
    make_folder(folder)?;
    let new = folder.join(FILE_NAME).with_extension("new");
    copy_bytes(file, &new, progress).inspect_err(|_| discard(&new))?;
    verify_pages(&new)
        .map_err(|e| format!("{} is no backup that can be used: {e}", file.display()))
        .inspect_err(|_| discard(&new))?;
    let report = ReadOnly::open_file(&new).and_then(|copy| super::check::check(&copy, &mut |_, _| {}));
    match report {
        Ok(report) if report.problems.is_empty() => replace(folder, &new),
        Ok(report) => {
            discard(&new);
            let problems = report.problems.join("; ");
            Err(format!("{} holds contradictions and was not restored: {problems}", file.display()))
        }
        Err(error) => {
            discard(&new);
            Err(error)
        }
    }
}

/// Makes a whole new database in place of the one in `folder`, which is kept beside it. All or nothing: `fill` writes
/// into a file of its own, which is verified before it takes the place. Returns where the old one is.
pub fn rebuild(
    folder: &Path,
    fill: impl FnOnce(&mut Writer<'_>) -> std::result::Result<(), String>,
) -> std::result::Result<Option<PathBuf>, String> {
    make_folder(folder)?;
    let new = folder.join(FILE_NAME).with_extension("new");
    let built = build(&new, fill).and_then(|()| {
        let report = super::check::check(&ReadOnly::open_file(&new)?, &mut |_, _| {})?;
        let problems = report.problems;
        if problems.is_empty() {
            Ok(())
        } else {
            Err(format!("what was read contradicts itself: {}", problems.join("; ")))
        }
    });
    built.inspect_err(|_| discard(&new))?;
    replace(folder, &new)
}

fn build(
    path: &Path,
    fill: impl FnOnce(&mut Writer<'_>) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    let failed = |e: Error| format!("cannot write {}: {e}", path.display());
    let database = new_database(path)?;
    super::prepare(&database).map_err(failed)?;
    let (names, presence) = (Names::default(), Arc::new(Presence::default()));
    let shared = Shared {
        database: RwLock::new(None),
        path: path.to_owned(),
        cache_bytes: CACHE,
        latest: RwLock::default(),
        names,
        presence,
    };
    let mut transaction = database.begin_write().map_err(|e| failed(e.into()))?;
    transaction.set_quick_repair(true);
    {
        let mut writer = Writer::new(&transaction, &shared).map_err(failed)?;
        fill(&mut writer)?;
    }
    transaction.commit().map_err(|e| failed(e.into()))?;
    database.close().map_err(|e| format!("cannot close {}: {e}", path.display()))
}

/// Fails when a server has the database open. A database that cannot be opened for another reason is no obstacle: it
/// is about to be replaced.
fn refuse_if_served(folder: &Path) -> std::result::Result<(), String> {
    let path = folder.join(FILE_NAME);
    if !path.exists() {
        return Ok(());
    }
    caught(|| match redb::Builder::new().set_concurrency_mode(redb::ConcurrencyMode::SingleWriter).open(&path) {
        Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) => {
            Ok(Err(format!("{} is in use: stop roomd first", path.display())))
        }
        _ => Ok(Ok(())),
    })
    .unwrap_or(Ok(()))
}

/// Verifies the checksum of every page of a file that may be changed by that.
fn verify_pages(path: &Path) -> std::result::Result<(), String> {
    caught(|| {
        let opened = redb::Builder::new().set_cache_size(CACHE).set_check_integrity_on_open(true).open(path);
        opened.map_err(|e| e.to_string())?.close().map_err(|e| e.to_string())
    })
}

fn copy_bytes(from: &Path, to: &Path, progress: &mut Progress<'_>) -> std::result::Result<(), String> {
    let reading = |e: std::io::Error| format!("cannot read {}: {e}", from.display());
    let writing = |e: std::io::Error| format!("cannot write {}: {e}", to.display());
    let mut source = File::open(from).map_err(reading)?;
    let total = source.metadata().map_err(reading)?.len();
    let mut target =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to).map_err(writing)?;
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let count = source.read(&mut buffer).map_err(reading)?;
        if count == 0 {
            return target.sync_all().map_err(writing);
        }
        target.write_all(&buffer[..count]).map_err(writing)?;
        done += count as u64;
        progress(done, total.max(done));
    }
}

/// Makes `new` the database of `folder`, unless a server has the old one open, which gets a name with the time.
fn replace(folder: &Path, new: &Path) -> std::result::Result<Option<PathBuf>, String> {
    let path = folder.join(FILE_NAME);
    refuse_if_served(folder).inspect_err(|_| discard(new))?;
    let kept = path.exists().then(|| free_name(&path));
    if let Some(kept) = &kept {
        // A second name, so that there is no moment without a database.
        std::fs::hard_link(&path, kept)
            .map_err(|e| format!("cannot keep the old database as {}: {e}", kept.display()))?;
    }
    put_in_place(new, &path)?;
    Ok(kept)
}

/// `roomd.redb.before-20260131-235959`, or with a number when that exists.
fn free_name(path: &Path) -> PathBuf {
    let first = beside(path, &format!("before-{}", now_as_digits()));
    let others = (2..).map(|number: u32| beside(&first, &number.to_string()));
    std::iter::once(first.clone()).chain(others).find(|name| !name.exists()).unwrap_or(first)
}

/// Flushes a file and gives it its final name. Returns its length.
fn put_in_place(part: &Path, file: &Path) -> std::result::Result<u64, String> {
    let failed = |e: std::io::Error| format!("cannot write {}: {e}", file.display());
    let written = File::open(part).map_err(failed)?;
    written.sync_all().map_err(failed)?;
    let bytes = written.metadata().map_err(failed)?.len();
    std::fs::rename(part, file).map_err(failed)?;
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(bytes)
}

/// Takes an unfinished file away. Whatever is left of it is overwritten the next time.
fn discard(part: &Path) {
    let _ = std::fs::remove_file(part);
}

/// The file's name with something appended.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// The time in UTC as `20260131-235959`.
fn now_as_digits() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    digits(seconds)
}

fn digits(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Years that begin in March, so that the leap day is the last; eras of 400 years (Howard Hinnant's days_from_civil).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_becomes_digits() {
        assert_eq!(digits(0), "19700101-000000");
        assert_eq!(digits(951_782_399), "20000228-235959");
        assert_eq!(digits(951_782_400), "20000229-000000");
        assert_eq!(digits(1_798_761_599), "20261231-235959");
    }
}
