//! People, and what they do in the stories.

use super::answer::Answer;
use super::http::{Request, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock};

/// A conversation that somebody made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub token: String,
}

impl Room {
    /// The conversation in an answer.
    #[track_caller]
    pub fn of(data: &Value) -> Room {
        Room { token: data["token"].as_str().expect("a conversation has a token").to_owned() }
    }

    /// A path below the conversation, as in `room.at("/favorite")`; `room.at("")` is the conversation itself.
    pub fn at(&self, path: &str) -> String {
        format!("/room/{self}{path}")
    }

    /// The path of its chat.
    pub fn chat(&self) -> String {
        format!("/chat/{self}")
    }

    /// The path of its call.
    pub fn call(&self) -> String {
        format!("/call/{self}")
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.token)
    }
}

/// Names and values of cookies.
type Jar = Vec<(String, String)>;

/// Somebody who sends requests. Clones are the same person: they share the cookies.
#[derive(Clone)]
pub struct Person {
    /// How a failing test calls them; for accounts their id.
    pub name: String,
    server: Arc<RwLock<SocketAddr>>,
    login: Option<String>,
    cookies: Option<Arc<Mutex<Jar>>>,
}

impl Person {
    pub fn new(name: &str, server: &Arc<RwLock<SocketAddr>>) -> Person {
        Person { name: name.to_owned(), server: server.clone(), login: None, cookies: None }
    }

    pub fn with_login(mut self, name: &str, password: &str) -> Person {
        self.login = Some(format!("Basic {}", BASE64.encode(format!("{name}:{password}"))));
        self.with_cookies()
    }

    pub fn with_cookies(mut self) -> Person {
        self.cookies = Some(Arc::default());
        self
    }

    /// The `Cookie` header that this person would send now.
    pub fn cookie(&self) -> String {
        let jar = self.cookies.iter().flat_map(|jar| jar.lock().unwrap().clone());
        jar.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Sends a request. An error means that the connection broke, as it does when the server dies.
    pub fn try_send(&self, request: &Request) -> io::Result<Answer> {
        let mut usual = vec![("OCS-APIRequest", "true".to_owned()), ("Accept", "application/json".to_owned())];
        usual.extend(self.login.iter().map(|login| ("Authorization", login.clone())));
        usual.extend(Some(("Cookie", self.cookie())).filter(|(_, jar)| !jar.is_empty()));
        let address = *self.server.read().unwrap();
        let response = request.exchange(address, &usual)?;
        self.keep_cookies(&response);
        Ok(Answer::new(format!("{}: {}", self.name, request.summary()), response))
    }

    fn keep_cookies(&self, response: &Response) {
        let Some(jar) = &self.cookies else { return };
        let mut jar = jar.lock().unwrap();
        for (_, header) in response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let pair = header.split(';').next().unwrap_or("");
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            jar.retain(|(known, _)| known != name.trim());
            if !value.is_empty() {
                jar.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }

    /// Sends a request and gets an answer.
    #[track_caller]
    pub fn send(&self, request: Request) -> Answer {
        self.try_send(&request).unwrap_or_else(|error| panic!("{}: {}: {error}", self.name, request.summary()))
    }

    #[track_caller]
    pub fn get(&self, path: impl AsRef<str>) -> Answer {
        self.send(Request::new("GET", path))
    }

    #[track_caller]
    pub fn post(&self, path: impl AsRef<str>, form: &[(&str, &str)]) -> Answer {
        self.send(Request::new("POST", path).form(form))
    }

    #[track_caller]
    pub fn put(&self, path: impl AsRef<str>, form: &[(&str, &str)]) -> Answer {
        self.send(Request::new("PUT", path).form(form))
    }

    #[track_caller]
    pub fn delete(&self, path: impl AsRef<str>, form: &[(&str, &str)]) -> Answer {
        self.send(Request::new("DELETE", path).form(form))
    }
}

/// The stories' verbs: each expects to succeed.
impl Person {
    #[track_caller]
    pub fn creates_group(&self, name: &str) -> Room {
        Room::of(&self.post("/room", &[("roomType", "2"), ("roomName", name)]).expect(201))
    }

    #[track_caller]
    pub fn creates_public(&self, name: &str) -> Room {
        Room::of(&self.post("/room", &[("roomType", "3"), ("roomName", name)]).expect(201))
    }

    /// A public conversation with a password.
    #[track_caller]
    pub fn creates_locked(&self, name: &str, password: &str) -> Room {
        let room = self.creates_public(name);
        self.put(room.at("/password"), &[("password", password)]).done();
        room
    }

    /// The one-to-one conversation with somebody, new or old.
    #[track_caller]
    pub fn talks_to(&self, id: &str) -> Room {
        let answer = self.post("/room", &[("roomType", "1"), ("invite", id)]);
        Room::of(&answer.expect(if answer.status == 200 { 200 } else { 201 }))
    }

    #[track_caller]
    pub fn adds(&self, room: &Room, id: &str) {
        self.post(room.at("/participants"), &[("newParticipant", id)]).done();
    }

    #[track_caller]
    pub fn removes(&self, room: &Room, id: &str) {
        self.delete(room.at("/participants"), &[("participant", id)]).done();
    }

    #[track_caller]
    pub fn promotes(&self, room: &Room, id: &str) {
        self.post(room.at("/moderators"), &[("participant", id)]).done();
    }

    #[track_caller]
    pub fn promotes_guest(&self, room: &Room, session: &str) {
        self.post(room.at("/moderators"), &[("sessionId", session)]).done();
    }

    #[track_caller]
    pub fn renames(&self, room: &Room, name: &str) {
        self.put(room.at(""), &[("roomName", name)]).done();
    }

    /// Closes (1) or opens (0) the lobby.
    #[track_caller]
    pub fn sets_lobby(&self, room: &Room, state: &str) {
        self.put(room.at("/webinar/lobby"), &[("state", state)]).done();
    }

    #[track_caller]
    pub fn sets_read_only(&self, room: &Room, state: &str) {
        self.put(room.at("/read-only"), &[("state", state)]).done();
    }

    /// Joins and returns the new session's id.
    #[track_caller]
    pub fn joins(&self, room: &Room) -> String {
        session_of(&self.post(room.at("/participants/active"), &[]).expect(200))
    }

    #[track_caller]
    pub fn joins_with_password(&self, room: &Room, password: &str) -> String {
        session_of(&self.post(room.at("/participants/active"), &[("password", password)]).expect(200))
    }

    #[track_caller]
    pub fn leaves(&self, room: &Room) {
        self.delete(room.at("/participants/active"), &[]).done();
    }

    /// Leaves for good.
    #[track_caller]
    pub fn removes_themselves(&self, room: &Room) {
        self.delete(room.at("/participants/self"), &[]).done();
    }

    /// The conversation as this person sees it.
    #[track_caller]
    pub fn sees(&self, room: &Room) -> Value {
        self.get(room.at("")).expect(200)
    }

    /// The conversation cannot be found by this person.
    #[track_caller]
    pub fn cannot_find(&self, room: &Room) {
        self.get(room.at("")).refused(404, super::Message::Null);
    }

    /// Every conversation in the person's list.
    #[track_caller]
    pub fn lists(&self) -> Vec<Value> {
        list(self.get("/room").expect(200))
    }

    /// The list of participants.
    #[track_caller]
    pub fn participants(&self, room: &Room) -> Vec<Value> {
        list(self.get(room.at("/participants")).expect(200))
    }

    /// The conversation's last message as this person sees it.
    #[track_caller]
    pub fn last_message(&self, room: &Room) -> Value {
        self.sees(room)["lastMessage"].clone()
    }

    /// Writes into the chat: the message as it was stored.
    #[track_caller]
    pub fn says(&self, room: &Room, text: &str) -> Value {
        self.post(room.chat(), &[("message", text)]).expect(201)
    }

    /// Newest first, at most a hundred.
    #[track_caller]
    pub fn reads_history(&self, room: &Room) -> Vec<Value> {
        list(self.get(format!("{}?lookIntoFuture=0", room.chat())).expect(200))
    }
}

#[track_caller]
fn session_of(room: &Value) -> String {
    let session = room["sessionId"].as_str().expect("a conversation has a session id");
    assert_ne!(session, "0", "who joined has a session");
    session.to_owned()
}

#[track_caller]
fn list(data: Value) -> Vec<Value> {
    match data {
        Value::Array(items) => items,
        other => panic!("no list: {other}"),
    }
}
