//! The API in this process, with a clock that a test turns: handlers get the time as an argument.

use super::Answer;
use super::http::Response;
use roomd::api::{App, Context, Lane, Parts, Reply, Waited};
use roomd::auth::{Caller, Verdict};
use roomd::config::Config;
use roomd::http::{Headers, Method, Request};
use roomd::ocs::{Format, Version};
use roomd::presence::Presence;
use roomd::store::{OnCommit, Store};
use roomd::talk::participant::UserId;
use roomd::talk::view::Policy;
use roomd::{nextcloud, routes};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// roomd's API on a database of its own, without a server around it.
pub struct Clock {
    pub app: Arc<App>,
    folder: PathBuf,
    /// What a clock says that nobody sets.
    steady: Arc<AtomicI64>,
    /// How far the clock is ahead of that one, seconds.
    ahead: AtomicI64,
}

/// Who asks: an account, or a guest with a cookie.
#[derive(Debug, Clone)]
pub enum Who {
    User(&'static str),
    Guest(String),
}

impl Who {
    /// A guest; the number makes the cookie.
    pub fn guest(number: u32) -> Who {
        Who::Guest(format!("{number:064x}"))
    }
}

impl Clock {
    /// With the people of this configuration.
    pub fn with_config(config: &str) -> Clock {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("roomd-clock-{}-{number}", std::process::id()));
        let config = Config::parse(config).unwrap();
        let steady = Arc::new(AtomicI64::new(0));
        let read = steady.clone();
        let presence = Presence::with_clock(Box::new(move || read.load(Ordering::Relaxed)));
        let store = Store::open(&folder, 8, Arc::new(presence), Arc::new(|_: &_| ()) as OnCommit).unwrap();
        let app = App {
            policy: Policy {
                start_calls: config.talk.start_calls,
                default_group_notification: config.talk.default_group_notification,
            },
            directory: nextcloud::open(&config).unwrap(),
            store,
            signals: Arc::default(),
            wake: Box::new(|_| ()),
            talk_hash: Default::default(),
            config,
        };
        Clock { app: Arc::new(app), folder, steady, ahead: AtomicI64::new(0) }
    }

    /// With alice, bob and carol.
    pub fn start() -> Clock {
        let users = ["alice", "bob", "carol"].map(|id| format!("[[users]]\nid = \"{id}\"\npassword = \"secret\"\n"));
        Clock::with_config(&users.concat())
    }

    /// Somebody sets the clock by so many seconds, and no time passes: what `now` was is `now + by`.
    pub fn is_set_by(&self, by: i64) {
        self.ahead.fetch_add(by, Ordering::Relaxed);
    }

    fn shows(&self, now: i64) {
        self.steady.store(now - self.ahead.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// What `who` is answered at the time `now`. A request that would wait is answered as if its time were over.
    #[track_caller]
    pub fn ask(&self, now: i64, who: &Who, method: &str, path: &str) -> Answer {
        self.ask_as(now, who, method, path, "curl/8")
    }

    /// The same from a client with this `User-Agent`.
    #[track_caller]
    pub fn ask_as(&self, now: i64, who: &Who, method: &str, path: &str, agent: &str) -> Answer {
        self.shows(now);
        let path = format!("/apps/spreed/api/v1{path}");
        let mut headers = Headers::default();
        headers.keep("Accept", "application/json");
        headers.keep("User-Agent", agent);
        if let Who::Guest(cookie) = who {
            headers.keep("Cookie", &format!("roomd_guest={cookie}"));
        }
        let request = Arc::new(Request::new(method, &path, headers, None, &[]));
        let method_of_route = match method {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            _ => Method::Delete,
        };
        let found = routes::find(method_of_route, &request.path).unwrap();
        let verdict = Verdict {
            user: match who {
                Who::User(id) => Some(UserId::new(*id)),
                Who::Guest(_) => None,
            },
            talk_allowed: true,
        };
        let caller: Arc<Caller> = Arc::new(verdict.caller(request.asker(), request.guest_cookie(), Vec::new()));
        let context = |waited| {
            Context::new(Parts {
                app: self.app.clone(),
                request: request.clone(),
                caller: caller.clone(),
                route: found.route,
                path_token: found.token.clone(),
                version: Version::V2,
                format: Format::Json,
                now,
                lane: Lane::Hashing,
                waited,
            })
        };
        let mut reply = self.handle(found.route.handler, &context(Waited::No));
        if let Ok(Reply::Later(..)) = reply {
            reply = self.handle(found.route.handler, &context(Waited::TimedOut));
        }
        let answer = match reply {
            Ok(Reply::Now(answer)) => answer,
            Ok(Reply::Change(_) | Reply::Later(..)) => panic!("{who:?}: {method} {path}: no answer"),
            Err(error) => roomd::ocs::failure(Version::V2, &request, &error),
        };
        let headers = answer.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        let response = Response { status: answer.status, headers, body: answer.body };
        Answer::new(format!("{who:?} at {now}: {method} {path}"), response)
    }

    fn handle(&self, handler: routes::Handler, context: &Context) -> roomd::error::Result<Reply> {
        match handler(context)? {
            Reply::Change(mut change) => self.app.store.write(move |t| change(t)),
            reply => Ok(reply),
        }
    }

    /// The conversation as `who` sees it at the time `now`. That reading may change it (SPEC B.9).
    #[track_caller]
    pub fn sees(&self, now: i64, who: &Who, token: &str) -> Value {
        self.ask(now, who, "GET", &format!("/room/{token}")).expect(200)
    }

    /// What the background does at the time `now`.
    pub fn sweep(&self, now: i64) {
        self.shows(now);
        roomd::sweep::once(&self.app, now);
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
