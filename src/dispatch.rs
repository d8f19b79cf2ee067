//! The path of one request: route, caller, lane, handler, and then an answer, a commit, or a wait.

use crate::api::{App, Context, Lane, Parts, Reply, Waited};
use crate::auth::{Caller, LoginKey, Logins, Lookup, Verdict};
use crate::error::{Error, Result};
use crate::http::Request;
use crate::metrics::{self, LoginOutcome, METRICS};
use crate::nextcloud::directory::Login;
use crate::ocs::{self, Answer, Format, Version};
use crate::polls::{Polls, Topic};
use crate::routes::{self, Route};
use crate::server::Responder;
use crate::store::attempts::{self, Guess};
use crate::store::commit::Writer;
use crate::store::people::stored_profile;
use crate::store::rooms;
use crate::talk::token::Token;
use sha2::{Digest, Sha256};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How old a stored name may be before a login refreshes it although it is the same, seconds: 12 hours.
const NAME_LIFETIME: i64 = 12 * 3600;
/// Who has waited for so long does not go on to wait for a Nextcloud that left the latest question unanswered.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request and where its answer goes.
pub struct Job {
    request: Arc<Request>,
    responder: Responder,
    version: Version,
    route: &'static Route,
    token: Option<Token>,
    caller: Option<Arc<Caller>>,
    waited: Waited,
}

/// What the slow lane does.
pub enum SlowWork {
    /// Ask Nextcloud whose credentials these are, then go on with the request and with those that wait.
    Ask(LoginKey, Box<Job>),
    /// Run the handler of a request whose caller is known.
    Run(Box<Job>),
}

/// Work that several threads take from.
pub struct Queue<T>(Mutex<Receiver<T>>);

impl<T> Queue<T> {
    fn of(work: Receiver<T>) -> Queue<T> {
        Queue(Mutex::new(work))
    }

    /// Waits for the next piece; none when there will never be another.
    fn next(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
    }
}

/// What the dispatcher leaves to others.
pub struct Work {
    /// For the threads that call [`Dispatcher::serve_slow_lane`].
    pub slow: Queue<SlowWork>,
    /// For the threads that call [`Dispatcher::serve_hashing_lane`].
    pub hashing: Queue<Box<Job>>,
    /// For the threads that call [`Dispatcher::write_answer`].
    pub answers: Queue<(Responder, Answer)>,
}

/// Brings requests to their answers. Shared by all threads.
pub struct Dispatcher {
    app: Arc<App>,
    logins: Logins<Box<Job>>,
    polls: Arc<Polls<Box<Job>>>,
    slow: SyncSender<SlowWork>,
    hashing: SyncSender<Box<Job>>,
    answers: Sender<(Responder, Answer)>,
}

/// Seconds since 1970.
pub fn unix_time() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}

impl Dispatcher {
    /// Puts the parts together. At most `longest` requests wait in each of the lanes that block.
    pub fn new(
        app: Arc<App>,
        logins: Logins<Box<Job>>,
        polls: Arc<Polls<Box<Job>>>,
        longest: usize,
    ) -> (Arc<Dispatcher>, Work) {
        let (slow, slow_work) = sync_channel(longest);
        let (hashing, hashing_work) = sync_channel(longest);
        let (answers, answer_work) = channel();
        let work =
            Work { slow: Queue::of(slow_work), hashing: Queue::of(hashing_work), answers: Queue::of(answer_work) };
        (Arc::new(Dispatcher { app, logins, polls, slow, hashing, answers }), work)
    }

    /// Logins are believed and refusals remembered for these times from now on.
    pub fn set_login_lifetimes(&self, good: Duration, bad: Duration) {
        self.logins.set_lifetimes(good, bad);
    }

    /// Takes a request that has just been read. Never blocks on anything but the store.
    pub fn begin(self: &Arc<Self>, request: Request, mut responder: Responder) {
        let path = routes::collapse_slashes(&request.path);
        let (version, path) = routes::entry(&path);
        let Some(path) = path else { return self.begin_outside_the_api(&request, responder) };
        let found = match routes::find(request.method, path) {
            Ok(found) => found,
            Err(error) => return responder.send(ocs::failure(version, &request, &error)),
        };
        responder.count_as(routes::number(found.route));
        if request.is_unreadable() {
            return responder.send(ocs::unreadable_body());
        }
        let request = Arc::new(request);
        let asker = request.asker();
        let key = self.logins.key(&asker.credentials);
        let mut job = Box::new(Job {
            request,
            responder,
            version,
            route: found.route,
            token: found.token,
            caller: None,
            waited: Waited::No,
        });
        let Some(key) = key else {
            let nobody = Verdict { user: None, talk_allowed: true };
            job.caller = Some(Arc::new(nobody.caller(asker, job.request.guest_cookie(), Vec::new())));
            return self.run(job, Lane::Fast);
        };
        match self.logins.look_up(key, job, Instant::now()) {
            Lookup::Known(mut job, verdict) => {
                METRICS.judged_login(LoginOutcome::Known);
                job.caller = Some(Arc::new(verdict.caller(asker, job.request.guest_cookie(), Vec::new())));
                self.run(job, Lane::Fast);
            }
            Lookup::Ask(job) => {
                METRICS.judged_login(LoginOutcome::Asked);
                self.to_slow_lane(SlowWork::Ask(key, job));
            }
            Lookup::Waits => METRICS.judged_login(LoginOutcome::Joined),
            Lookup::Refused(job, error) => {
                METRICS.judged_login(LoginOutcome::Refused);
                job.fail(&error);
            }
        }
    }

    fn begin_outside_the_api(&self, request: &Request, responder: Responder) {
        responder.send(match request.path.as_str() {
            "/health" => Answer {
                status: 200,
                content_type: Some("text/plain; charset=utf-8"),
                headers: Vec::new(),
                body: b"ok\n".to_vec(),
            },
            _ => ocs::failure(Version::V2, request, &Error::InvalidQuery),
        });
    }

    /// Serves the next request in the slow lane; false when there will be none.
    pub fn serve_slow_lane(self: &Arc<Self>, work: &Queue<SlowWork>) -> bool {
        match work.next() {
            Some(work) if self.is_hopeless(&work) => self.turn_away(work, "Nextcloud does not answer"),
            Some(SlowWork::Ask(key, job)) => self.ask(key, job),
            Some(SlowWork::Run(job)) => self.run(job, Lane::Slow),
            None => return false,
        }
        true
    }

    /// Serves the next request that needs a password hashed; false when there will be none.
    pub fn serve_hashing_lane(self: &Arc<Self>, work: &Queue<Box<Job>>) -> bool {
        work.next().map(|job| self.run(job, Lane::Hashing)).is_some()
    }

    /// Writes the next answer that others made; false when there will be none.
    pub fn write_answer(work: &Queue<(Responder, Answer)>) -> bool {
        work.next().map(|(responder, answer)| responder.send(answer)).is_some()
    }

    /// Serves the next request that was parked. There will always be another.
    pub fn serve_polls(self: &Arc<Self>) -> bool {
        let (mut job, timed_out) = self.polls.next();
        if timed_out {
            job.waited = Waited::TimedOut;
        }
        self.run(job, Lane::Fast);
        true
    }

    fn to_slow_lane(self: &Arc<Self>, work: SlowWork) {
        if let Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) = self.slow.try_send(work) {
            METRICS.slow_lane_refusals.add(1);
            self.turn_away(work, "Too many requests wait for Nextcloud");
        }
    }

    /// Whether asking is pointless at the moment, or would make somebody wait for long who has waited already.
    fn is_hopeless(&self, work: &SlowWork) -> bool {
        match work {
            SlowWork::Ask(..) if self.logins.is_down(Instant::now()) => true,
            SlowWork::Ask(_, job) | SlowWork::Run(job) => {
                job.responder.age() > PATIENCE && self.app.directory.is_failing()
            }
        }
    }

    /// Answers that Nextcloud cannot be asked now, also to those who wait for the same answer.
    fn turn_away(&self, work: SlowWork, why: &'static str) {
        let (job, waiting) = match work {
            SlowWork::Run(job) => (job, Vec::new()),
            SlowWork::Ask(key, job) => (job, self.logins.give_up(key)),
        };
        // Later, because they may have to be written in another order.
        let fail = |job| self.send_later(job, Err(Error::Unavailable(why)));
        std::iter::once(job).chain(waiting).for_each(fail);
    }

    fn to_hashing_lane(&self, job: Box<Job>) {
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = self.hashing.try_send(job) {
            METRICS.slow_lane_refusals.add(1);
            job.fail(&Error::Unavailable("Too many passwords are being checked"));
        }
    }

    /// Asks Nextcloud who sent a request; everybody who waits for the same answer goes on with it.
    fn ask(self: &Arc<Self>, key: LoginKey, job: Box<Job>) {
        let asker = job.request.asker();
        // A panic here would leave everybody with these credentials waiting for ever.
        let login = catch_unwind(AssertUnwindSafe(|| self.app.directory.whoami(&asker)))
            .unwrap_or_else(|_| Err(Error::internal("asking who a caller is panicked")));
        if let Ok(Some(login)) = &login {
            self.keep_name(login);
        }
        let allowed = &self.app.config.talk.allowed_groups;
        let verdict = login.as_ref().map(|login| Verdict::of(login.as_ref(), allowed)).map_err(Clone::clone);
        let waiting = self.logins.settle(key, &verdict, Instant::now());
        let cookies = login.ok().flatten().map(|login| login.set_cookies).unwrap_or_default();
        for mut job in std::iter::once(job).chain(waiting) {
            match &verdict {
                Ok(verdict) => {
                    let (asker, guest) = (job.request.asker(), job.request.guest_cookie());
                    job.caller = Some(Arc::new(verdict.clone().caller(asker, guest, cookies.clone())));
                    self.run(job, Lane::Slow);
                }
                Err(error) => job.fail(error),
            }
        }
    }

    /// Stores the name that came with a login, when it is new or the stored one has grown old.
    fn keep_name(&self, login: &Login) {
        let (account, now) = (login.account.clone(), unix_time());
        let known = self.app.store.read(|t| stored_profile(t, &account.id));
        let current = matches!(&known, Ok(Some(p)) if p.exists && p.display_name == account.display_name
            && now - p.seen < NAME_LIFETIME);
        if current {
            return;
        }
        let kept = self.app.store.write(move |t| t.put_profile(&account.id, account.display_name.clone(), now));
        if let Err(error) = kept {
            log::warn!("a display name could not be stored: {error}");
        }
    }

    /// Runs the handler of a request whose caller is known.
    fn run(self: &Arc<Self>, mut job: Box<Job>, lane: Lane) {
        job.responder.served_in(match (job.waited, lane) {
            (Waited::Woken(_) | Waited::TimedOut, _) => metrics::Lane::Poll,
            (Waited::No, Lane::Slow | Lane::Hashing) => metrics::Lane::Slow,
            (Waited::No, Lane::Fast) => metrics::Lane::Fast,
        });
        if job.route.lane == Lane::Slow && lane == Lane::Fast {
            return self.to_slow_lane(SlowWork::Run(job));
        }
        let Some(caller) = job.caller.clone() else { return job.fail(&Error::internal("a request without a caller")) };
        if let Err(error) = may_call(&job, &caller) {
            return job.fail(&error);
        }
        let guesser = guesser(&job, &caller);
        if let Some(key) = &guesser
            && self.app.store.read(|t| attempts::attempts(t, key)).is_ok_and(|a| a.are_too_many(unix_time()))
            && !self.has_session(&job, &caller)
        {
            return job.fail(&Error::TooManyAttempts);
        }
        let context = Context::new(Parts {
            app: self.app.clone(),
            request: job.request.clone(),
            caller,
            route: job.route,
            path_token: job.token.clone(),
            version: job.version,
            format: Format::of(&job.request),
            now: unix_time(),
            lane,
            waited: job.waited,
        });
        // Taken before the handler looks, so that nothing that happens meanwhile is missed.
        let moment = self.polls.moment();
        let handled = catch_unwind(AssertUnwindSafe(|| (job.route.handler)(&context)))
            .unwrap_or_else(|_| Err(Error::internal("a handler panicked")));
        match handled {
            Ok(Reply::Now(answer)) => job.answer(answer),
            Ok(Reply::Later(topic, deadline)) => self.park(job, topic, deadline, moment),
            Ok(Reply::Change(change)) => self.commit(job, change, moment),
            Err(Error::NeedsSlowLane) if lane == Lane::Fast => self.to_slow_lane(SlowWork::Run(job)),
            Err(Error::NeedsHashing) if lane != Lane::Hashing => self.to_hashing_lane(job),
            Err(Error::LobbyTimerExpired) => {
                let open = move |t: &mut Writer<'_>| context.open_expired_lobby(t);
                let this = self.clone();
                self.submit(job, open, move |job, opened| match opened {
                    Ok(()) => this.polls.again(job),
                    Err(error) => this.send_later(job, Err(error)),
                });
            }
            Err(error @ Error::NotFound(_)) => match guesser {
                Some(key) => self.count_guess(job, key, error),
                None => job.fail(&error),
            },
            Err(error) => job.fail(&error),
        }
    }

    /// Whether a guest is in the conversation that the path names: then the token was not guessed.
    fn has_session(&self, job: &Job, caller: &Caller) -> bool {
        let Some(token) = &job.token else { return false };
        let found = self.app.store.read(|t| rooms::find(t, token, &caller.identity));
        found.is_ok_and(|access| access.is_some_and(|access| access.me.is_some()))
    }

    /// Counts that somebody without a login named a conversation that does not exist for them.
    fn count_guess(self: &Arc<Self>, job: Box<Job>, key: [u8; 32], error: Error) {
        let token = job.token.as_ref().map_or("", |token| token.as_str());
        let digest = Sha256::digest(token.as_bytes());
        // One bit is always set: 0 would mean that it does not matter what was guessed.
        let what = u64::from_le_bytes(std::array::from_fn(|n| digest[n])) | 1;
        let this = self.clone();
        let count = move |t: &mut Writer<'_>| t.count_attempt(&key, unix_time(), what).map(|_| ());
        self.submit(job, count, move |job, _| this.send_later(job, Err(error)));
    }

    fn park(&self, mut job: Box<Job>, topic: Topic, deadline: Instant, moment: u64) {
        job.waited = Waited::Woken(deadline);
        self.polls.park(topic, deadline, moment, job);
    }

    /// Hands a change to the committing thread; the answer is written by another one, once the change is on disk.
    fn commit(self: &Arc<Self>, job: Box<Job>, change: crate::api::Change, moment: u64) {
        let this = self.clone();
        self.submit(job, change, move |job, committed| match committed {
            Ok(Reply::Now(answer)) => this.send_later(job, Ok(answer)),
            Ok(Reply::Later(topic, deadline)) => this.park(job, topic, deadline, moment),
            Ok(Reply::Change(_)) => this.send_later(job, Err(Error::internal("a change asked for another change"))),
            Err(error) => this.send_later(job, Err(error)),
        });
    }

    fn submit<T: Send + 'static>(
        self: &Arc<Self>,
        job: Box<Job>,
        change: impl FnMut(&mut Writer<'_>) -> Result<T> + Send + 'static,
        done: impl FnOnce(Box<Job>, Result<T>) + Send + 'static,
    ) {
        // When the thread is gone the request goes with the refused closure; its responder then answers 500.
        if let Err(error) = self.app.store.submit(change, move |outcome| done(job, outcome)) {
            log::error!("a change could not be handed over: {error}");
        }
    }

    /// Gives an answer to the threads that write answers: the committing thread has better things to do.
    fn send_later(&self, job: Box<Job>, outcome: Result<Answer>) {
        let (responder, answer) = job.finished(outcome);
        // The receiving threads end after this one; a failure drops the responder, which answers 500.
        let _ = self.answers.send((responder, answer));
    }
}

/// Under what a request counts if the conversation that it names does not exist: guests' do, with their address.
fn guesser(job: &Job, caller: &Caller) -> Option<[u8; 32]> {
    let address = job.request.guesser()?;
    let guest = caller.identity.user().is_none() && job.token.is_some();
    guest.then(|| attempts::key(Guess::Token, address))
}

/// What must hold on every route before its handler is asked: login, CSRF, groups (SPEC A.6).
fn may_call(job: &Job, caller: &Caller) -> Result<()> {
    if job.route.gate.login && caller.identity.user().is_none() {
        return Err(Error::NotLoggedIn);
    }
    if !job.request.headers.pass_csrf() {
        return Err(Error::Csrf);
    }
    if !caller.talk_allowed && !job.route.gate.beyond_talk {
        return Err(Error::TalkNotAllowed);
    }
    Ok(())
}

impl Job {
    fn answer(self, answer: Answer) {
        let (responder, answer) = self.finished(Ok(answer));
        responder.send(answer);
    }

    fn fail(self, error: &Error) {
        let (responder, answer) = self.finished(Err(error.clone()));
        responder.send(answer);
    }

    fn finished(self, outcome: Result<Answer>) -> (Responder, Answer) {
        let mut responder = self.responder;
        let mut answer = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                responder.note(&error);
                ocs::failure(self.version, &self.request, &error)
            }
        };
        if let Some(caller) = &self.caller {
            let cookies = caller.set_cookies.iter().map(|cookie| ("Set-Cookie", cookie.reveal().into()));
            answer.headers.extend(cookies);
        }
        (responder, answer)
    }
}
