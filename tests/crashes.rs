//! The process is killed again and again in the middle of its work: what it has acknowledged is there afterwards.

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Person, Request, Room, Server, soon};

const PEOPLE: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "gina rossi", "hans"];

/// What a writer knows of one of their conversations.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    name: String,
    favourite: bool,
    password: Option<String>,
    said: Vec<String>,
    session: Option<String>,
    /// Since it was last compared.
    changed: bool,
}

/// One change of a conversation; the first makes it.
#[derive(Debug, Clone)]
enum Change {
    Create(String),
    Rename(String),
    Favourite(bool),
    Say(String),
    Join,
    Password(Option<String>),
}

impl Change {
    fn request(&self, room: Option<&Room>) -> Request {
        let at = |path: &str| room.expect("only creating needs no conversation").at(path);
        match self {
            Change::Create(name) => Request::new("POST", "/room").form(&[("roomType", "3"), ("roomName", name)]),
            Change::Rename(name) => Request::new("PUT", at("")).form(&[("roomName", name)]),
            Change::Favourite(mark) => Request::new(if *mark { "POST" } else { "DELETE" }, at("/favorite")),
            Change::Say(text) => {
                let room = room.expect("only creating needs no conversation");
                Request::new("POST", room.chat()).form(&[("message", text)])
            }
            Change::Join => Request::new("POST", at("/participants/active")),
            Change::Password(password) => {
                Request::new("PUT", at("/password")).form(&[("password", password.as_deref().unwrap_or(""))])
            }
        }
    }

    /// Notes that it has happened.
    fn apply(&self, known: &mut Known, session: Option<String>) {
        known.changed = true;
        match self.clone() {
            Change::Create(name) | Change::Rename(name) => known.name = name,
            Change::Favourite(mark) => known.favourite = mark,
            Change::Say(text) => known.said.push(text),
            Change::Join => known.session = session,
            Change::Password(password) => known.password = password,
        }
    }
}

/// Somebody who changes their own conversations until the server dies, and remembers what was acknowledged.
struct Writer {
    who: Person,
    number: usize,
    rooms: BTreeMap<String, Known>,
    newest: Option<Room>,
    /// What was asked for last and never answered: it may have happened or not.
    in_doubt: Option<(Option<Room>, Change)>,
    step: usize,
}

impl Writer {
    fn next(&self) -> Change {
        let (writer, step) = (self.number, self.step);
        let newest = self.newest.as_ref().map(|room| &self.rooms[&room.token]);
        match (step % 8, newest) {
            (1, _) | (_, None) => Change::Create(format!("{writer}: number {step}")),
            (2 | 6, _) => Change::Rename(format!("{writer}: renamed {step}")),
            (3, Some(known)) => Change::Favourite(!known.favourite),
            (4 | 7, _) => Change::Say(format!("message {step} of {writer}")),
            (5, _) => Change::Join,
            // Hashing takes long: most rounds would see nothing else.
            (_, Some(known)) if known.password.is_none() && step.is_multiple_of(24) => {
                Change::Password(Some(format!("secret {step}")))
            }
            _ => Change::Password(None),
        }
    }

    /// One change. False when the server is gone.
    fn change(&mut self) -> bool {
        self.step += 1;
        let change = self.next();
        let room = self.newest.clone().filter(|_| !matches!(change, Change::Create(_)));
        self.in_doubt = Some((room.clone(), change.clone()));
        let Ok(answer) = self.who.try_send(&change.request(room.as_ref())) else { return false };
        let created = matches!(change, Change::Create(_) | Change::Say(_));
        let data = answer.expect(if created { 201 } else { 200 });
        let room = room.unwrap_or_else(|| Room::of(&data));
        let session = data["sessionId"].as_str().map(str::to_owned);
        change.apply(self.rooms.entry(room.token.clone()).or_default(), session);
        self.newest = Some(room);
        self.in_doubt = None;
        true
    }

    /// Compares with what was acknowledged: the list, and the chats that have changed or `everything`. What was in doubt may be either way, and is certain afterwards.
    fn checks(&mut self, server: &Server, everything: bool) {
        let found: BTreeMap<String, Value> =
            self.who.lists().into_iter().map(|room| (Room::of(&room).token, room)).collect();
        let in_doubt = self.in_doubt.take();
        for (token, known) in &mut self.rooms {
            let Some(seen) = found.get(token) else { panic!("{} lost {token}: {known:?}", self.number) };
            let doubtful = match &in_doubt {
                Some((Some(room), change)) if room.token == *token => Some(change),
                _ => None,
            };
            let mut either = known.clone();
            if let Some(change) = doubtful {
                change.apply(&mut either, seen["sessionId"].as_str().map(str::to_owned));
            }
            let holds = [&*known, &either].into_iter().any(|wanted| agrees(wanted, seen));
            assert!(holds, "{}: acknowledged {known:?}, in doubt {doubtful:?}, found {seen}", self.number);
            if !known.changed && !everything {
                continue;
            }
            known.changed = false;
            let said: Vec<String> = self.who.reads_history(&Room::of(seen)).iter().map(text).collect();
            for text in &known.said {
                let count = said.iter().filter(|other| *other == text).count();
                assert_eq!(count, 1, "{}: {text:?} in {token}: {said:?}", self.number);
            }
            if let Some(Change::Password(password)) = doubtful {
                let happened = seen["hasPassword"].as_bool().unwrap() == password.is_some();
                known.password = if happened { password.clone() } else { known.password.clone() };
            } else if let Some(change) = doubtful.filter(|_| !agrees(known, seen)) {
                change.apply(known, seen["sessionId"].as_str().map(str::to_owned));
            }
        }
        let own = format!("{}: ", self.number);
        let unknown: Vec<&Value> = found
            .values()
            .filter(|room| room["name"].as_str().unwrap().starts_with(&own))
            .filter(|room| !self.rooms.contains_key(&Room::of(room).token))
            .collect();
        match (&unknown[..], &in_doubt) {
            ([], _) => {}
            ([room], Some((None, Change::Create(name)))) if room["name"] == **name => {
                self.rooms.insert(Room::of(room).token, Known { name: name.clone(), ..Known::default() });
            }
            _ => panic!("{} never asked for {unknown:?}", self.number),
        }
        // Only the newest is changed from now on. A password of it must be the one that was set.
        if let Some(room) = &self.newest {
            let known = &self.rooms[&room.token];
            if let Some(password) = &known.password {
                server.guest().joins_with_password(room, password);
            }
        }
    }
}

fn text(message: &Value) -> String {
    message["message"].as_str().unwrap().to_owned()
}

/// Whether a conversation is as a writer knows it.
fn agrees(known: &Known, seen: &Value) -> bool {
    seen["name"] == *known.name
        && seen["isFavorite"] == known.favourite
        && seen["hasPassword"] == known.password.is_some()
        && seen["sessionId"] == *known.session.as_deref().unwrap_or("0")
}

/// Kills the server that often while sixteen people write.
fn rounds(count: usize) {
    let mut server = Server::start();
    let mut writers: Vec<Writer> = (0..16)
        .map(|number| Writer {
            who: server.user(PEOPLE[number % PEOPLE.len()]),
            number,
            rooms: BTreeMap::new(),
            newest: None,
            in_doubt: None,
            step: 0,
        })
        .collect();
    let mut ready = Vec::new();
    let mut acknowledged = 0;
    for round in 0..count {
        let done = AtomicUsize::new(0);
        // A different moment each time: in the middle of the first changes, or of the hundredth.
        let enough = 16 + round * 61 % 400;
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| {
                    while writer.change() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let reached = soon(|| done.load(Ordering::Relaxed) >= enough);
            server.kill();
            assert!(reached, "too few changes in round {round}");
        });
        acknowledged += done.load(Ordering::Relaxed);
        let killed = Instant::now();
        server.restart();
        server.user("alice").get("/room").expect(200);
        ready.push(killed.elapsed());
        writers.iter_mut().for_each(|writer| writer.checks(&server, round + 1 == count));
        let check = server.command(&["check"]).output().unwrap();
        assert!(check.status.success(), "check after round {round}: {check:?}");
    }
    ready.sort();
    println!(
        "{count} rounds, {acknowledged} changes acknowledged, 0 lost; the first good answer came {} ms after the start \
         (median, {} ms at most)",
        ready[ready.len() / 2].as_millis(),
        ready.last().unwrap_or(&Duration::ZERO).as_millis()
    );
}

#[test]
fn nothing_is_lost_when_the_server_is_killed() {
    rounds(3);
}

#[test]
#[ignore = "slow: 50 rounds, a minute or two"]
fn nothing_is_lost_when_the_server_is_killed_fifty_times() {
    rounds(50);
}
