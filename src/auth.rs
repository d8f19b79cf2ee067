//! Who is calling: logins that Nextcloud confirmed lately, and one question to it for however many wait for the answer.

use crate::error::{Error, Result};
use crate::nextcloud::directory::{Asker, Credentials, Login};
use crate::secret::Secret;
use crate::talk::participant::UserId;
use crate::talk::permission::Identity;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most credentials that are remembered at once; strangers' wrong ones make room first.
const REMEMBERED: usize = 20_000;
/// Most requests that may wait for answers about who they are from.
const WAITING: usize = 2_000;
/// Failures in a row after which Nextcloud counts as down.
const DOWN_AFTER: u32 = 3;
/// How long it then is not asked.
const DOWN_PAUSE: Duration = Duration::from_secs(1);

/// A caller whose credentials were judged.
#[derive(Debug, Clone)]
pub struct Caller {
    /// A user, or a guest.
    pub identity: Identity,
    /// Whether the administrator lets this user's groups use Talk; always true for guests.
    pub talk_allowed: bool,
    /// `Set-Cookie` values that Nextcloud sent along with its answer.
    pub set_cookies: Vec<Secret>,
    /// The caller's own credentials, for further questions on their behalf.
    pub asker: Asker,
}

/// What Nextcloud said about credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whose they are; `None` for nobody's.
    pub user: Option<UserId>,
    /// See [`Caller::talk_allowed`].
    pub talk_allowed: bool,
}

impl Verdict {
    /// Judges a login by the groups that may use Talk; an empty list means everyone.
    pub fn of(login: Option<&Login>, allowed_groups: &[String]) -> Verdict {
        let in_group = |login: &Login| login.groups.iter().any(|group| allowed_groups.contains(group));
        Verdict {
            user: login.map(|l| l.account.id.clone()),
            talk_allowed: allowed_groups.is_empty() || login.is_none_or(in_group),
        }
    }

    /// The caller that this makes of a request. `guest_cookie` identifies guests.
    pub fn caller(self, asker: Asker, guest_cookie: Option<&str>, set_cookies: Vec<Secret>) -> Caller {
        let identity = match self.user {
            Some(user) => Identity::User(user),
            None => Identity::Guest(guest_cookie.map(cookie_digest)),
        };
        Caller { identity, talk_allowed: self.talk_allowed, set_cookies, asker }
    }
}

/// Under what a guest's cookie is stored: the cookie itself is not.
pub fn cookie_digest(cookie: &str) -> [u8; 32] {
    Sha256::digest(cookie.as_bytes()).into()
}

/// The name of credentials in memory: a digest with a key that lives as long as the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoginKey([u8; 32]);

enum Entry<W> {
    /// Judged, until then.
    Judged(Verdict, Instant),
    /// Being asked about; these wait.
    Asked(Vec<W>),
}

/// What is to be done with a request that came with credentials.
pub enum Lookup<W> {
    /// Go on: this is who it is.
    Known(W, Verdict),
    /// Ask Nextcloud, then tell [`Logins::settle`].
    Ask(W),
    /// Somebody asks already; the request is kept and comes back from [`Logins::settle`].
    Waits,
    /// Answer that it cannot be decided now.
    Refused(W, Error),
}

/// The logins known now. `W` is a request that can wait.
pub struct Logins<W> {
    key: [u8; 32],
    state: Mutex<State<W>>,
}

struct State<W> {
    good_for: Duration,
    bad_for: Duration,
    entries: HashMap<LoginKey, Entry<W>>,
    waiting: usize,
    failures: u32,
    down_until: Option<Instant>,
}

impl<W> Logins<W> {
    /// Remembers good logins for `good_for`, refused ones for `bad_for`.
    pub fn new(good_for: Duration, bad_for: Duration) -> Result<Logins<W>> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
        let state = State { good_for, bad_for, entries: HashMap::new(), waiting: 0, failures: 0, down_until: None };
        Ok(Logins { key, state: Mutex::new(state) })
    }

    /// From now on remembers good logins for `good_for`, refused ones for `bad_for`. Those that are remembered already
    /// keep their time, unless that is longer.
    pub fn set_lifetimes(&self, good_for: Duration, bad_for: Duration) {
        let mut state = self.lock();
        (state.good_for, state.bad_for) = (good_for, bad_for);
        let now = Instant::now();
        for entry in state.entries.values_mut() {
            if let Entry::Judged(verdict, until) = entry {
                *until = (*until).min(now + if verdict.user.is_some() { good_for } else { bad_for });
            }
        }
    }

    /// The key of a caller's credentials; `None` when there are none, which makes a guest.
    pub fn key(&self, credentials: &Credentials) -> Option<LoginKey> {
        if credentials.authorization.is_none() && credentials.cookie.is_none() {
            return None;
        }
        let mut digest = Sha256::new();
        digest.update(self.key);
        for part in [&credentials.authorization, &credentials.cookie] {
            // With the length, so that no two pairs run together into the same bytes.
            let text = part.as_ref().map_or("", |secret| secret.reveal());
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        }
        Some(LoginKey(digest.finalize().into()))
    }

    /// Looks credentials up for a request.
    pub fn look_up(&self, key: LoginKey, request: W, now: Instant) -> Lookup<W> {
        let mut state = self.lock();
        let waiting = state.waiting;
        match state.entries.get_mut(&key) {
            Some(Entry::Judged(verdict, until)) if *until > now => return Lookup::Known(request, verdict.clone()),
            Some(Entry::Asked(_)) if waiting >= WAITING => {
                return Lookup::Refused(request, Error::Unavailable("Too many requests wait for Nextcloud"));
            }
            Some(Entry::Asked(requests)) => {
                requests.push(request);
                state.waiting += 1;
                return Lookup::Waits;
            }
            Some(Entry::Judged(..)) | None => {}
        }
        if state.down_until.is_some_and(|until| until > now) {
            return Lookup::Refused(request, Error::Unavailable("Nextcloud does not answer"));
        }
        state.make_room(now);
        state.entries.insert(key, Entry::Asked(Vec::new()));
        Lookup::Ask(request)
    }

    /// Gives back the requests that waited for an answer, since Nextcloud was not asked after all. That says nothing
    /// about Nextcloud.
    pub fn give_up(&self, key: LoginKey) -> Vec<W> {
        self.lock().no_longer_asked(key)
    }

    /// Notes Nextcloud's answer, or that there was none, and gives back the requests that waited for it.
    pub fn settle(&self, key: LoginKey, answer: &Result<Verdict>, now: Instant) -> Vec<W> {
        let mut state = self.lock();
        let waiting = state.no_longer_asked(key);
        match answer {
            Ok(verdict) => {
                let keep = if verdict.user.is_some() { state.good_for } else { state.bad_for };
                state.entries.insert(key, Entry::Judged(verdict.clone(), now + keep));
                state.failures = 0;
                state.down_until = None;
            }
            Err(_) => {
                state.failures += 1;
                if state.failures >= DOWN_AFTER {
                    state.down_until = Some(now + DOWN_PAUSE);
                }
            }
        }
        waiting
    }

    /// Whether asking is pointless at the moment.
    pub fn is_down(&self, now: Instant) -> bool {
        self.lock().down_until.is_some_and(|until| until > now)
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> State<W> {
    fn no_longer_asked(&mut self, key: LoginKey) -> Vec<W> {
        let waiting = match self.entries.remove(&key) {
            Some(Entry::Asked(requests)) => requests,
            Some(Entry::Judged(..)) | None => Vec::new(),
        };
        self.waiting -= waiting.len();
        waiting
    }

    /// Forgets what is old when there is too much; then refusals, then everything that was judged.
    fn make_room(&mut self, now: Instant) {
        let rules: [fn(&Entry<W>, Instant) -> bool; 3] = [
            |entry, now| !matches!(entry, Entry::Judged(_, until) if *until <= now),
            |entry, _| !matches!(entry, Entry::Judged(verdict, _) if verdict.user.is_none()),
            |entry, _| matches!(entry, Entry::Asked(_)),
        ];
        for keep in rules {
            if self.entries.len() < REMEMBERED {
                return;
            }
            self.entries.retain(|_, entry| keep(entry, now));
        }
    }
}

/// 32 random bytes as hexadecimal digits: a guest's new cookie, for instance.
pub fn random_text() -> Result<String> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins() -> Logins<u32> {
        Logins::new(Duration::from_secs(60), Duration::from_secs(5)).unwrap()
    }

    fn key(logins: &Logins<u32>, authorization: &str, cookie: &str) -> LoginKey {
        let secret = |text: &str| (!text.is_empty()).then(|| Secret::new(text));
        let credentials =
            Credentials { authorization: secret(authorization), cookie: secret(cookie), request_token: None };
        logins.key(&credentials).unwrap()
    }

    fn alice() -> Result<Verdict> {
        Ok(Verdict { user: Some(UserId::new("alice")), talk_allowed: true })
    }

    #[test]
    fn many_wait_for_one_question() {
        let logins = logins();
        let (key, now) = (key(&logins, "Basic x", ""), Instant::now());
        assert!(matches!(logins.look_up(key, 1, now), Lookup::Ask(1)));
        assert!(matches!(logins.look_up(key, 2, now), Lookup::Waits));
        assert!(matches!(logins.look_up(key, 3, now), Lookup::Waits));
        assert_eq!(logins.settle(key, &alice(), now), [2, 3]);
        assert!(matches!(logins.look_up(key, 4, now), Lookup::Known(4, _)));
    }

    #[test]
    fn a_login_is_asked_about_again_when_its_time_is_over() {
        let logins = logins();
        let (key, now) = (key(&logins, "Basic x", ""), Instant::now());
        logins.look_up(key, 1, now);
        logins.settle(key, &alice(), now);
        assert!(matches!(logins.look_up(key, 2, now + Duration::from_secs(59)), Lookup::Known(..)));
        assert!(matches!(logins.look_up(key, 3, now + Duration::from_secs(60)), Lookup::Ask(3)));
    }

    #[test]
    fn a_refusal_is_remembered_for_less() {
        let logins = logins();
        let (key, now) = (key(&logins, "Basic x", ""), Instant::now());
        logins.look_up(key, 1, now);
        logins.settle(key, &Ok(Verdict { user: None, talk_allowed: true }), now);
        assert!(matches!(logins.look_up(key, 2, now + Duration::from_secs(4)), Lookup::Known(..)));
        assert!(matches!(logins.look_up(key, 3, now + Duration::from_secs(5)), Lookup::Ask(3)));
    }

    #[test]
    fn nextcloud_is_left_alone_after_failures_in_a_row() {
        let logins = logins();
        let now = Instant::now();
        for n in 0..DOWN_AFTER {
            let key = key(&logins, &format!("Basic {n}"), "");
            assert!(matches!(logins.look_up(key, n, now), Lookup::Ask(_)));
            logins.settle(key, &Err(Error::Unavailable("x")), now);
        }
        let key = key(&logins, "Basic y", "");
        assert!(matches!(logins.look_up(key, 9, now), Lookup::Refused(9, Error::Unavailable(_))));
        assert!(matches!(logins.look_up(key, 9, now + DOWN_PAUSE), Lookup::Ask(9)));
    }

    #[test]
    fn a_full_queue_is_not_nextclouds_fault() {
        let logins = logins();
        let now = Instant::now();
        for n in 0..=DOWN_AFTER {
            let key = key(&logins, &format!("Basic {n}"), "");
            assert!(matches!(logins.look_up(key, n, now), Lookup::Ask(_)));
            assert!(logins.give_up(key).is_empty());
        }
        assert!(!logins.is_down(now));
    }

    #[test]
    fn header_and_cookie_do_not_run_together() {
        let logins = logins();
        assert_ne!(key(&logins, "ab", "c"), key(&logins, "a", "bc"));
        assert_ne!(key(&logins, "ab", ""), key(&logins, "", "ab"));
    }
}
