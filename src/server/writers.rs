//! The server's threads, and what is done about callers who do not take their answers.
//!
//! Writing an answer lasts for as long as the caller pleases, up to the socket's timeout, and for as long as an earlier
//! request of the same connection waits for something to happen: tiny_http writes a connection's answers in their order.
//! Neither may hold up anybody else. So a thread that has been writing for long is replaced by another, and ends once it
//! is done. And while there is such a thread, those who have not said `Connection: close`, as nginx does, and may have
//! sent thousands of requests on the same connection, get their answers from threads of their own. When so many of those
//! wait for one another that no more can be started, neither such callers are answered any more, nor those whose login has
//! to be asked about.

use super::turns::Turns;
use crate::buffers;
use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Who has been writing for this long is held up, milliseconds.
const HELD_UP: u64 = 100;
/// How often it is looked whether somebody is held up.
const LOOK: Duration = Duration::from_millis(50);
/// Most threads of a kind that are replaced at the same time.
pub const MOST_REPLACED: usize = 64;
/// Threads that write to those who may have sent many requests on one connection, and what [`ASKERS`] leave to them.
const PATIENT: usize = 8;

/// The threads that have nothing in their hands but the request that they serve.
pub const WORKERS: &str = "worker";
/// The threads that ask who callers are. They go on with all requests that waited for the answer, one after another, in
/// any order: writing to one may mean waiting for the next. So they leave writing to the patient.
pub const ASKERS: &str = "slow";

/// One piece of a thread's work; false when there will never be another.
type Piece = Arc<dyn Fn() -> bool + Send + Sync>;

/// An answer on its way.
pub struct Outgoing {
    /// The request that is answered.
    pub raw: tiny_http::Request,
    /// The whole answer, or its head alone.
    pub bytes: Vec<u8>,
    /// A body that is too long to be copied behind its head; else nothing.
    pub long_body: Vec<u8>,
    /// The request's number.
    pub id: u64,
    /// The request counts as under way until this goes.
    pub _under_way: super::responder::UnderWay,
}

impl Outgoing {
    /// Writes it, and calls `in_turn` when those before it on the same connection are done with. A caller who is gone by
    /// now is nobody's fault.
    fn write<T>(self, in_turn: impl FnOnce() -> T) -> T {
        // Dropped after the writer, should there be a panic: what was left in a turn may be waiting for this writer.
        let turn;
        let mut writer = self.raw.into_writer();
        // This is how to wait for one's turn.
        let ready = writer.flush();
        turn = in_turn();
        let written =
            ready.and_then(|()| writer.write_all(&self.bytes)).and_then(|()| writer.write_all(&self.long_body));
        if let Err(error) = written.and_then(|()| writer.flush()) {
            log::debug!("request {}: the caller did not take the answer: {}", self.id, error.kind());
        }
        drop(writer);
        buffers::give_back(self.bytes);
        turn
    }

    /// Whether the caller said that no other request comes on the connection.
    fn is_last(&self) -> bool {
        let connection = self.raw.headers().iter().find(|h| h.field.equiv("Connection"));
        connection.is_some_and(|h| h.value.as_str().to_ascii_lowercase().contains("close"))
    }
}

/// Threads that do the same.
struct Crew {
    name: &'static str,
    piece: Piece,
}

/// A thread, as the others see it.
struct Slot {
    crew: Arc<Crew>,
    /// When it began to write, in milliseconds of the server's; 0 while it does not.
    writing_since: AtomicU64,
    /// Another has taken its place.
    replaced: AtomicBool,
}

impl Slot {
    /// Does a piece of work. A panic ends that, and not the thread.
    fn do_a_piece(&self) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.crew.piece)())).unwrap_or_else(|_| {
            self.writing_since.store(0, Ordering::Relaxed);
            log::error!("a thread ({}) panicked and goes on", self.crew.name);
            true
        })
    }
}

thread_local! {
    static SLOT: RefCell<Option<Arc<Slot>>> = const { RefCell::new(None) };
}

/// All threads that may write answers.
pub struct Writers {
    started: Instant,
    slots: Mutex<Vec<Arc<Slot>>>,
    held_up: AtomicBool,
    turns: Turns<Outgoing>,
    aside: Sender<Outgoing>,
    aside_work: Arc<Mutex<Receiver<Outgoing>>>,
}

impl Writers {
    /// Without any threads yet.
    pub fn new() -> Arc<Writers> {
        let (aside, aside_work) = channel();
        Arc::new(Writers {
            started: Instant::now(),
            slots: Mutex::default(),
            held_up: AtomicBool::new(false),
            turns: Turns::default(),
            aside,
            aside_work: Arc::new(Mutex::new(aside_work)),
        })
    }

    /// Starts this many threads that do one piece of work after another.
    pub fn start(
        self: &Arc<Self>,
        name: &'static str,
        count: usize,
        piece: impl Fn() -> bool + Send + Sync + 'static,
    ) -> std::io::Result<Vec<JoinHandle<()>>> {
        let crew = Arc::new(Crew { name, piece: Arc::new(piece) });
        (0..count).map(|_| self.start_one(&crew)).collect()
    }

    fn start_one(self: &Arc<Self>, crew: &Arc<Crew>) -> std::io::Result<JoinHandle<()>> {
        let slot =
            Arc::new(Slot { crew: crew.clone(), writing_since: AtomicU64::new(0), replaced: AtomicBool::new(false) });
        let (this, own) = (self.clone(), slot.clone());
        let thread = std::thread::Builder::new().name(crew.name.to_owned()).spawn(move || {
            SLOT.set(Some(own.clone()));
            while own.do_a_piece() {
                if own.replaced.load(Ordering::Relaxed) {
                    break;
                }
            }
            this.slots().retain(|slot| !Arc::ptr_eq(slot, &own));
        })?;
        self.slots().push(slot);
        Ok(thread)
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the start, and never 0.
    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }

    /// Writes an answer, or has it written.
    pub fn send(&self, answer: Outgoing) {
        let crew = SLOT.with_borrow(|slot| slot.as_ref().map_or("", |slot| slot.crew.name));
        if crew == ASKERS || self.held_up.load(Ordering::Relaxed) && !answer.is_last() {
            // The other end is in `self`.
            let _ = self.aside.send(answer);
        } else if let (WORKERS, Some(connection)) = (crew, answer.raw.remote_addr().copied()) {
            self.write_and_take_over(connection, answer);
        } else {
            self.watched(|| answer.write(|| ()));
        }
    }

    /// Writes an answer, unless another worker does that for this one; and what was left to this one meanwhile. Only
    /// workers do so: others may hold, or have before them, the very answer that one which was left must wait for.
    fn write_and_take_over(&self, connection: SocketAddr, answer: Outgoing) {
        let mut next = self.turns.leave(connection, answer);
        while let Some(answer) = next {
            next = self.watched(|| answer.write(|| self.turns.begin(connection))).end();
        }
    }

    /// Writes, and is replaced if that lasts.
    pub fn watched<T>(&self, write: impl FnOnce() -> T) -> T {
        SLOT.with_borrow(|slot| {
            slot.iter().for_each(|slot| slot.writing_since.store(self.now(), Ordering::Relaxed));
            let written = write();
            slot.iter().for_each(|slot| slot.writing_since.store(0, Ordering::Relaxed));
            written
        })
    }

    /// Starts the threads that wait for patient callers, and the one that looks after all the others.
    pub fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let (work, this) = (self.aside_work.clone(), Arc::downgrade(self));
        self.start("aside", PATIENT, move || {
            let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let (Ok(answer), Some(this)) = (next, this.upgrade()) else { return false };
            this.watched(|| answer.write(|| ()));
            true
        })?;
        let this = self.clone();
        let look = move || {
            loop {
                std::thread::sleep(LOOK);
                this.look();
            }
        };
        std::thread::Builder::new().name("writers".to_owned()).spawn(look).map(drop)
    }

    fn look(self: &Arc<Self>) {
        let now = self.now();
        let slots = self.slots().clone();
        let held_up = |slot: &&Arc<Slot>| {
            let since = slot.writing_since.load(Ordering::Relaxed);
            since != 0 && now.saturating_sub(since) > HELD_UP
        };
        let is_replaced = |slot: &Slot| slot.replaced.load(Ordering::Relaxed);
        let stuck: Vec<_> = slots.iter().filter(held_up).collect();
        self.held_up.store(!stuck.is_empty(), Ordering::Relaxed);
        for slot in stuck.into_iter().filter(|slot| !is_replaced(slot)) {
            let of_crew = |other: &&Arc<Slot>| Arc::ptr_eq(&other.crew, &slot.crew);
            if slots.iter().filter(of_crew).filter(|other| is_replaced(other)).count() >= MOST_REPLACED {
                continue;
            }
            match self.start_one(&slot.crew) {
                Ok(_) => {
                    slot.replaced.store(true, Ordering::Relaxed);
                    log::debug!("a caller does not take an answer: another thread works as {}", slot.crew.name);
                }
                Err(error) => log::error!("no thread in place of one that is held up: {error}"),
            }
        }
    }
}
