//! Group commit: one thread runs every change and makes whatever waits durable in one commit.
//!
//! redb's own lock is unfair: with a transaction for each of 64 callers 746 changes a second were measured, with a p99
//! of one second; batched, tens of thousands.

use super::people::Names;
use super::{REOPENING, Shared, Snapshot, tables};
use crate::error::{Error, Result};
use crate::metrics::METRICS;
use crate::presence::Presence;
use crate::store::{Changed, OnCommit};
use crate::talk::message::Profile;
use crate::talk::participant::UserId;
use crate::talk::room::RoomId;
use redb::{ReadableTable, Table, WriteTransaction};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most changes that one commit takes.
const BATCH: usize = 512;
/// How often is looked whether a disk that was full has room again.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Free bytes that a probe must be able to write before changes are taken again.
const PROBE_BYTES: usize = 1 << 20;

/// A change that waits, and whoever waits for it.
trait Job: Send {
    /// Runs the change and keeps its outcome; false when it failed.
    fn run(&mut self, writer: &mut Writer<'_>) -> bool;
    /// Tells the outcome, or why the commit failed.
    fn finish(self: Box<Self>, committed: Result<()>);
}

struct Change<T, C, D> {
    change: C,
    done: D,
    outcome: Option<Result<T>>,
}

impl<T, C, D> Job for Change<T, C, D>
where
    T: Send,
    C: FnMut(&mut Writer<'_>) -> Result<T> + Send,
    D: FnOnce(Result<T>) + Send,
{
    fn run(&mut self, writer: &mut Writer<'_>) -> bool {
        // A panic must not take the committing thread, and with it every later change, along.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.change)(writer)))
            .unwrap_or_else(|_| Err(Error::internal("a change panicked")));
        self.outcome.insert(outcome).is_ok()
    }

    fn finish(self: Box<Self>, committed: Result<()>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(refused)), _) if refused != REOPENING => Err(refused),
            (_, Err(failed)) => Err(failed),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Ok(())) => Err(Error::internal("a change was not run")),
        };
        (self.done)(outcome);
    }
}

/// The committing thread's end that everybody else holds.
pub struct Committer {
    running: Mutex<Option<Running>>,
}

struct Running {
    jobs: Sender<Box<dyn Job>>,
    thread: JoinHandle<()>,
}

impl Committer {
    pub(super) fn start(shared: Arc<Shared>, on_commit: OnCommit) -> std::io::Result<Committer> {
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || commit_all(&shared, &queue, &on_commit))?;
        Ok(Committer { running: Mutex::new(Some(Running { jobs, thread })) })
    }

    pub(super) fn submit<T: Send + 'static>(
        &self,
        change: impl FnMut(&mut Writer<'_>) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<()> {
        let gone = || Error::internal("the committing thread is gone");
        let running = self.lock();
        let running = running.as_ref().ok_or_else(gone)?;
        running.jobs.send(Box::new(Change { change, done, outcome: None })).map_err(|_| gone())
    }

    /// Commits what waits, then ends the thread. Later changes are refused.
    pub(super) fn close(&self) {
        let running = self.lock().take();
        if let Some(Running { jobs, thread }) = running {
            drop(jobs);
            // A panicked thread has printed why; there is nothing left to save.
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

fn commit_all(shared: &Shared, queue: &Receiver<Box<dyn Job>>, on_commit: &OnCommit) {
    let mut trouble: Option<Trouble> = None;
    loop {
        if trouble.as_mut().is_some_and(|trouble| trouble.is_over(shared)) {
            log::warn!("the database takes changes again");
            trouble = None;
        }
        let next = match &trouble {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(trouble) => queue.recv_timeout(trouble.next_look.saturating_duration_since(Instant::now())),
        };
        let first = match next {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut batch = vec![first];
        batch.extend(queue.try_iter().take(BATCH - 1));
        if trouble.is_some() {
            batch.into_iter().for_each(|job| job.finish(Err(Error::StorageFull)));
            continue;
        }
        // redb may panic on a page that was damaged since it was verified; the thread must go on telling so.
        let ran = catch_unwind(AssertUnwindSafe(|| run_batch(shared, &mut batch)))
            .unwrap_or_else(|_| Err(Error::internal("writing to the database panicked: is its file damaged?")));
        let committed = match ran {
            Ok(effects) => {
                effects.profiles.into_iter().for_each(|(id, profile)| shared.names.put(id, profile));
                if effects.committed {
                    METRICS.commits.add(1);
                    METRICS.changes.add(batch.len() as u64);
                }
                on_commit(&effects.changed);
                Ok(())
            }
            Err(error) => {
                // What redb says of every page after the first failed write, which was a full disk or worse.
                let error = if error == REOPENING { Error::StorageFull } else { error };
                log::error!("{} changes could not be stored: {error}", batch.len());
                METRICS.store_errors.add(1);
                trouble = Some(Trouble::begin(shared));
                Err(error)
            }
        };
        batch.into_iter().for_each(|job| job.finish(committed.clone()));
    }
}

/// The time from a failed write until changes are taken again.
///
/// After a failed write redb refuses not only every later one but also to read what is not in its memory, until the file
/// is opened anew. That takes no space, so it is done at once: readers wait for it and go on. Changes are refused until
/// the disk takes data again. Where opening fails, reads are refused as well while it is tried again and again: the file
/// must be given up before it can be opened, because redb locks it.
struct Trouble {
    reopened: bool,
    next_look: Instant,
}

impl Trouble {
    fn begin(shared: &Shared) -> Trouble {
        Trouble { reopened: reopen(shared), next_look: Instant::now() }
    }

    /// Looks whether it is over, unless it has looked just now.
    fn is_over(&mut self, shared: &Shared) -> bool {
        if Instant::now() < self.next_look {
            return false;
        }
        self.reopened = self.reopened || reopen(shared);
        self.next_look = Instant::now() + LOOK_PAUSE;
        self.reopened && has_room(shared)
    }
}

/// Whether the disk takes data.
fn has_room(shared: &Shared) -> bool {
    let probe = shared.path.with_extension("probe");
    let room = std::fs::write(&probe, vec![1; PROBE_BYTES]).is_ok();
    // Whatever the probe left behind is taken away; a failure shows at the next probe.
    let _ = std::fs::remove_file(&probe);
    room
}

/// Opens the database anew. Readers wait meanwhile.
fn reopen(shared: &Shared) -> bool {
    let mut database = shared.database.write().unwrap_or_else(PoisonError::into_inner);
    // redb may panic on what a half-written page tells it; the next look tries again.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        // The transaction that readers share belongs to the old one.
        let _ = shared.forget_state();
        *database = None;
        super::open_file(&shared.path, shared.cache_bytes)
    }));
    match opened {
        Ok(Ok(opened)) => {
            *database = Some(opened);
            return true;
        }
        Ok(Err(error)) => log::error!("cannot open the database again: {error}"),
        Err(_) => log::error!("cannot open the database again: redb panicked"),
    }
    false
}

/// What is done once a batch is on disk.
#[derive(Default)]
struct Effects {
    committed: bool,
    changed: Changed,
    profiles: Vec<(UserId, Profile)>,
}

/// Runs every job in one transaction. A job that fails after it wrote something is left out, and the others are run
/// again without it: a failing change leaves no trace and does not hurt its batch-mates.
fn run_batch(shared: &Shared, batch: &mut [Box<dyn Job>]) -> Result<Effects> {
    let mut left_out = vec![false; batch.len()];
    'again: loop {
        let guard = shared.database.read().map_err(|_| Error::internal("the database's lock is poisoned"))?;
        let database = guard.as_ref().ok_or(Error::StorageFull)?;
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        let mut writer = Writer::new(&transaction, shared)?;
        let mut anything = false;
        for (job, out) in batch.iter_mut().zip(&mut left_out).filter(|(_, out)| !**out) {
            writer.wrote = false;
            let succeeded = job.run(&mut writer);
            if !succeeded && writer.wrote {
                *out = true;
                continue 'again;
            }
            anything |= writer.wrote;
        }
        let mut effects = writer.finish();
        effects.committed = anything;
        if anything {
            transaction.commit()?;
            shared.renew_state(database)?;
        }
        return Ok(effects);
    }
}

/// The write transaction, as one change sees it. Everything it does becomes durable together, or not at all.
pub struct Writer<'t> {
    pub(super) meta: Table<'t, &'static str, u64>,
    pub(super) rooms: Table<'t, u64, &'static [u8]>,
    pub(super) tokens: Table<'t, &'static str, u64>,
    pub(super) pairs: Table<'t, (&'static str, &'static str), u64>,
    pub(super) members: Table<'t, (&'static str, u64), &'static [u8]>,
    pub(super) sessions: Table<'t, (u64, u32), &'static [u8]>,
    pub(super) guests: Table<'t, (&'static [u8; 32], u64), u32>,
    pub(super) messages: Table<'t, (u64, i64), &'static [u8]>,
    pub(super) people: Table<'t, &'static str, &'static [u8]>,
    pub(super) guest_names: Table<'t, (u64, &'static [u8; 20]), &'static str>,
    pub(super) attempts: Table<'t, &'static [u8; 32], &'static [u8]>,
    /// Whether the running change has written anything.
    pub(super) wrote: bool,
    effects: Effects,
    shared: &'t Shared,
}

impl<'t> Writer<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction, shared: &'t Shared) -> Result<Writer<'t>> {
        Ok(Writer {
            meta: transaction.open_table(tables::META)?,
            rooms: transaction.open_table(tables::ROOMS)?,
            tokens: transaction.open_table(tables::TOKENS)?,
            pairs: transaction.open_table(tables::PAIRS)?,
            members: transaction.open_table(tables::MEMBERS)?,
            sessions: transaction.open_table(tables::SESSIONS)?,
            guests: transaction.open_table(tables::GUESTS)?,
            messages: transaction.open_table(tables::MESSAGES)?,
            people: transaction.open_table(tables::PEOPLE)?,
            guest_names: transaction.open_table(tables::GUEST_NAMES)?,
            attempts: transaction.open_table(tables::ATTEMPTS)?,
            wrote: false,
            effects: Effects::default(),
            shared,
        })
    }

    /// The next number of a series: 1, 2, 3 …
    pub(super) fn next_number(&mut self, series: &'static str) -> Result<u64> {
        self.wrote = true;
        let next = self.meta.get(series)?.map_or(1, |v| v.value());
        self.meta.insert(series, next + 1)?;
        Ok(next)
    }

    /// Writes when the database was last tried.
    pub(super) fn note_probe(&mut self, now: i64) -> Result<()> {
        self.wrote = true;
        self.meta.insert("probed", now.max(0) as u64)?;
        Ok(())
    }

    /// Remembers that whoever waits for messages of this conversation is to be woken after the commit.
    pub(super) fn has_new_message(&mut self, room: RoomId) {
        note(&mut self.effects.changed.messages, room);
    }

    /// Remembers that the clients in this conversation are to look again at who is connected.
    pub(super) fn has_new_sessions(&mut self, room: RoomId) {
        note(&mut self.effects.changed.sessions, room);
    }

    /// Remembers a profile that is to replace the one in memory after the commit.
    pub(super) fn has_new_profile(&mut self, id: &UserId, profile: Profile) {
        self.effects.profiles.push((id.clone(), profile));
    }

    fn finish(self) -> Effects {
        self.effects
    }
}

fn note(rooms: &mut Vec<RoomId>, room: RoomId) {
    if rooms.last() != Some(&room) {
        rooms.push(room);
    }
}

impl Snapshot for Writer<'_> {
    fn rooms(&self) -> Result<&impl ReadableTable<u64, &'static [u8]>> {
        Ok(&self.rooms)
    }
    fn tokens(&self) -> Result<&impl ReadableTable<&'static str, u64>> {
        Ok(&self.tokens)
    }
    fn pairs(&self) -> Result<&impl ReadableTable<(&'static str, &'static str), u64>> {
        Ok(&self.pairs)
    }
    fn members(&self) -> Result<&impl ReadableTable<(&'static str, u64), &'static [u8]>> {
        Ok(&self.members)
    }
    fn sessions(&self) -> Result<&impl ReadableTable<(u64, u32), &'static [u8]>> {
        Ok(&self.sessions)
    }
    fn guests(&self) -> Result<&impl ReadableTable<(&'static [u8; 32], u64), u32>> {
        Ok(&self.guests)
    }
    fn messages(&self) -> Result<&impl ReadableTable<(u64, i64), &'static [u8]>> {
        Ok(&self.messages)
    }
    fn people(&self) -> Result<&impl ReadableTable<&'static str, &'static [u8]>> {
        Ok(&self.people)
    }
    fn guest_names(&self) -> Result<&impl ReadableTable<(u64, &'static [u8; 20]), &'static str>> {
        Ok(&self.guest_names)
    }
    fn attempts(&self) -> Result<&impl ReadableTable<&'static [u8; 32], &'static [u8]>> {
        Ok(&self.attempts)
    }
    fn names(&self) -> &Names {
        &self.shared.names
    }
    fn presence(&self) -> &Presence {
        &self.shared.presence
    }
}
