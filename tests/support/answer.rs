//! What a person was answered, and what a test expects of it.

use super::http::Response;
use serde_json::{Value, json};

/// `meta.message` of a refusal: it tells clients who refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The endpoint itself.
    Null,
    /// The gate before it: conversation, participant, moderator, read-only, lobby.
    Empty,
    /// A reason in words.
    Text(&'static str),
}

/// The sentence of the generic answer, without the line's end.
pub const INVALID_QUERY: &str = "Invalid query, please check the syntax. API specifications are here: \
                                 http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.";

/// An answer together with who asked what, so that a failing test can say it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub asked: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub fn new(asked: String, response: Response) -> Answer {
        Answer { asked, status: response.status, headers: response.headers, body: response.body }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| self.fail("a JSON body"))
    }

    /// The `meta` of an answer in JSON.
    #[track_caller]
    pub fn meta(&self) -> Value {
        self.json()["ocs"]["meta"].clone()
    }

    /// A header's value, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// It went well, with this status: the answer's `data`.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        self.has_status(status);
        let meta = json!({"status": "ok", "statuscode": status, "message": "OK"});
        self.check(self.meta() == meta, &format!("meta {meta}"));
        self.json()["ocs"]["data"].clone()
    }

    /// It went well and had nothing to tell.
    #[track_caller]
    pub fn done(&self) {
        let data = self.expect(200);
        self.check(data == json!([]), "data []");
    }

    /// It was refused with this status and this kind of message.
    #[track_caller]
    pub fn refused(&self, status: u16, message: Message) {
        self.refused_as(status, status, message);
    }

    /// The route is for people who are logged in.
    #[track_caller]
    pub fn not_logged_in(&self) {
        self.refused_as(401, 997, Message::Text("Current user is not logged in"));
    }

    #[track_caller]
    fn refused_as(&self, status: u16, code: u16, message: Message) {
        self.has_status(status);
        let message = match message {
            Message::Null => Value::Null,
            Message::Empty => json!(""),
            Message::Text(text) => json!(text),
        };
        let wanted =
            json!({"ocs": {"meta": {"status": "failure", "statuscode": code, "message": message}, "data": []}});
        self.check(self.json() == wanted, &wanted.to_string());
    }

    /// The generic answer to an unknown route, a missing parameter or one of a wrong type: XML whatever was accepted.
    #[track_caller]
    pub fn invalid_query(&self) {
        self.has_status(404);
        self.has_header("Content-Type", "text/xml; charset=UTF-8");
        let body = format!(
            "<?xml version=\"1.0\"?>\n<ocs>\n <meta>\n  <status>failure</status>\n  <statuscode>404</statuscode>\n  \
             <message>{INVALID_QUERY}\n</message>\n </meta>\n <data/>\n</ocs>\n"
        );
        self.check(self.text() == body, &body);
    }

    /// Nothing new: no body, and no length of one.
    #[track_caller]
    pub fn not_modified(&self) {
        self.has_status(304);
        self.check(self.body.is_empty() && self.header("Content-Length").is_empty(), "neither body nor Content-Length");
    }

    #[track_caller]
    pub fn has_status(&self, status: u16) {
        self.check(self.status == status, &format!("status {status}"));
    }

    #[track_caller]
    pub fn has_header(&self, name: &str, value: &str) {
        self.check(self.header(name) == value, &format!("{name}: {value}"));
    }

    /// Any other condition, in words.
    #[track_caller]
    pub fn check(&self, holds: bool, wanted: &str) {
        if !holds {
            self.fail(wanted);
        }
    }

    #[track_caller]
    fn fail(&self, wanted: &str) -> ! {
        let head: String = self.headers.iter().map(|(name, value)| format!("\n       {name}: {value}")).collect();
        panic!("asked  {}\nwanted {wanted}\ngot    {}{head}\n{}", self.asked, self.status, self.text());
    }
}
