//! What was acknowledged stays: over a restart, and over the sudden death of the process.

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Cast, Person, Request, Room, Server, soon};

#[test]
fn a_restart_keeps_everything() {
    let mut cast = Cast::in_public();
    let (owner, member, guest) = (cast.owner.clone(), cast.member.clone(), cast.guest.clone());
    owner.put(cast.room.at("/password"), &[("password", "sesame")]).done();
    owner.put(cast.room.at("/webinar/lobby"), &[("state", "0"), ("timer", "4102444800")]).done();
    owner.sets_read_only(&cast.room, "1");
    member.post(cast.room.at("/favorite"), &[]).done();
    member.post(cast.room.at("/notify"), &[("level", "3")]).done();
    member.joins(&cast.room);
    guest.post(format!("/guest/{}/name", cast.room), &[("displayName", "Ana")]).done();
    let pair = owner.talks_to("bob");
    member.creates_group("Plans");
    let everything = |cast: &Cast| -> Vec<Value> {
        let mut all =
            vec![guest.sees(&cast.room), cast.guest_moderator.sees(&cast.room), cast.stranger.sees(&cast.room)];
        all.extend([&owner, &cast.moderator, &member, &cast.self_joined].iter().flat_map(|who| who.lists()));
        all.extend(owner.participants(&cast.room));
        all.extend(owner.participants(&pair));
        all
    };
    let before = everything(&cast);
    cast.server.restart();
    assert_eq!(everything(&cast), before);
    cast.server.guest().post(cast.room.at("/participants/active"), &[]).refused(403, support::Message::Null);
    cast.server.guest().joins_with_password(&cast.room, "sesame");
}

#[test]
fn it_ends_in_good_order_when_asked() {
    let mut server = Server::start();
    server.user("alice").creates_group("Plans");
    assert!(server.stop().success(), "{}", server.log());
}

#[test]
fn a_session_survives_the_death_of_the_server() {
    let mut server = Server::start();
    let (alice, guest) = (server.user("alice"), server.guest());
    let room = alice.creates_public("Square");
    let (hers, theirs) = (alice.joins(&room), guest.joins(&room));
    server.kill();
    server.restart();
    assert_eq!(alice.sees(&room)["sessionId"], hers);
    assert_eq!(guest.sees(&room)["sessionId"], theirs);
    guest.leaves(&room);
    server.kill();
    server.restart();
    assert_eq!(guest.sees(&room)["sessionId"], "0");
}

/// Name and favourite mark of a conversation.
type State = (String, bool);

/// Somebody who changes their own conversations until the server dies, and remembers what was acknowledged.
struct Writer {
    who: Person,
    acknowledged: BTreeMap<String, State>,
    /// What was asked for last and never answered: it may have happened or not.
    in_doubt: Option<(Option<String>, State)>,
    step: usize,
}

impl Writer {
    /// One change: a new conversation, another name, a favourite mark. `false` when the server is gone.
    fn change(&mut self) -> bool {
        self.step += 1;
        let name = format!("Number {}", self.step);
        let one = self.acknowledged.last_key_value().map(|(token, state)| (token.clone(), state.clone()));
        let (request, target, state) = match (self.step % 3, one) {
            (1, _) | (_, None) => {
                let form = [("roomType", "2"), ("roomName", name.as_str())];
                (Request::new("POST", "/room").form(&form), None, (name.clone(), false))
            }
            (2, Some((token, (_, mark)))) => {
                let request = Request::new("PUT", format!("/room/{token}")).form(&[("roomName", &name)]);
                (request, Some(token), (name.clone(), mark))
            }
            (_, Some((token, (old, mark)))) => {
                let method = if mark { "DELETE" } else { "POST" };
                (Request::new(method, format!("/room/{token}/favorite")), Some(token), (old, !mark))
            }
        };
        self.in_doubt = Some((target.clone(), state.clone()));
        let Ok(answer) = self.who.try_send(&request) else { return false };
        let data = answer.expect(if target.is_some() { 200 } else { 201 });
        let token = target.unwrap_or_else(|| Room::of(&data).token);
        self.acknowledged.insert(token, state);
        self.in_doubt = None;
        true
    }

    /// Compares the list with what was acknowledged; what was in doubt may be either way, and is certain from now on.
    fn checks(&mut self) {
        let found: BTreeMap<String, State> = self.who.lists().iter().map(described).collect();
        let in_doubt = self.in_doubt.take();
        for (token, state) in &self.acknowledged {
            let seen = found.get(token).unwrap_or_else(|| panic!("{} lost {token}: {state:?}", self.who.name));
            let doubtful = in_doubt.as_ref().is_some_and(|(target, new)| target.as_ref() == Some(token) && seen == new);
            assert!(seen == state || doubtful, "{}: {token} is {seen:?}, acknowledged {state:?}", self.who.name);
        }
        let unknown: Vec<&State> =
            found.iter().filter(|(token, _)| !self.acknowledged.contains_key(*token)).map(|(_, state)| state).collect();
        let allowed: Vec<&State> =
            in_doubt.iter().filter(|(target, _)| target.is_none()).map(|(_, state)| state).collect();
        assert!(unknown.is_empty() || unknown == allowed, "{} never asked for {unknown:?}", self.who.name);
        self.acknowledged = found;
    }
}

fn described(room: &Value) -> (String, State) {
    let text = |field: &str| room[field].as_str().unwrap().to_owned();
    (text("token"), (text("name"), room["isFavorite"].as_bool().unwrap()))
}

#[test]
fn no_acknowledged_change_is_lost_when_the_server_is_killed() {
    let mut server = Server::start();
    let people = ["alice", "bob", "carol", "dave", "erin", "frank", "gina rossi", "hans"];
    let writer = |id: &&str| Writer { who: server.user(id), acknowledged: BTreeMap::new(), in_doubt: None, step: 0 };
    let mut writers: Vec<Writer> = people.iter().map(writer).collect();
    for round in 0..20 {
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| {
                    while writer.change() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // A different moment each time: in the middle of the first changes, or of the hundredth.
            let reached = soon(|| done.load(Ordering::Relaxed) > round * 5);
            server.kill();
            assert!(reached, "too few changes in round {round}");
        });
        server.restart();
        writers.iter_mut().for_each(Writer::checks);
    }
    assert!(writers.iter().all(|writer| !writer.acknowledged.is_empty()));
}
