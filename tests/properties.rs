//! What holds for anything that anybody may send or a disk may return: made up by proptest, and the pieces in
//! `tests/corpus/`, each of which once looked like trouble.

use proptest::prelude::*;
use quick_xml::events::Event;
use roomd::http::{Headers, Method, Request};
use roomd::ocs::{self, Format, Version};
use roomd::routes;
use roomd::store::tables::{decode, encode};
use roomd::talk::attempts::Attempts;
use roomd::talk::mention::{self, Mention};
use roomd::talk::message::{Body, Message, Profile};
use roomd::talk::participant::{Actor, Member, ParticipantType, Session, SessionId, UserId};
use roomd::talk::room::{Room, RoomType};
use roomd::talk::token::Token;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::Path;

const NAMES: [&str; 8] = ["a", "level", "format", "roomName", "0", "", "x[y]", "\u{fc}"];
const TYPES: [&str; 7] = [
    "",
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=\"",
    "text/plain",
    "application/json; charset=utf-8",
];
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", ""];

fn quick(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Takes a request apart in every way that handlers do. Each parameter has a number and either a text or none.
fn take_apart(method: &str, target: &str, content_type: &str, header: &str, body: &[u8]) {
    let mut headers = Headers::default();
    for name in ["Authorization", "Cookie", "Accept", "X-Forwarded-For", "X-Real-IP", "OCS-APIRequest"] {
        headers.keep(name, header);
    }
    headers.keep("Content-Type", content_type);
    let request = Request::new(method, target, headers, None, body);
    for name in NAMES {
        let text = request.optional_text(name);
        assert_eq!(request.number(name).is_ok(), !matches!(text, Ok(None)), "{name}");
        assert_eq!(request.number_or(name, 7), request.optional_number(name).unwrap_or(7));
        let _ = (request.text(name), request.text_or(name, "x"));
    }
    let _ = (request.headers.forwarded_address(), request.headers.pass_csrf(), request.guest_cookie());
    let _ = (request.asker(), Format::of(&request), request.is_unreadable());
    let path = routes::collapse_slashes(&request.path);
    let (version, path) = routes::entry(&path);
    let _ = path.map(|path| routes::find(request.method, path).is_ok());
    for error in [roomd::error::Error::InvalidQuery, roomd::error::Error::Lobby, roomd::error::Error::NotLoggedIn] {
        let answer = ocs::failure(version, &request, &error);
        let breaks = answer.headers.iter().any(|(_, value)| value.contains(['\r', '\n', '\0']));
        assert!(!breaks, "a header breaks off: {:?}", answer.headers);
    }
}

/// Reads bytes as each kind of record. What can be read is written and read again as the same.
fn read_records(bytes: &[u8]) {
    fn one<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
        if let Ok(record) = decode::<T>(bytes) {
            let written = encode(&record).unwrap();
            let again: T = decode(&written).unwrap();
            assert_eq!(encode(&again).unwrap(), written);
        }
    }
    one::<Room>(bytes);
    one::<Member>(bytes);
    one::<Session>(bytes);
    one::<Message>(bytes);
    one::<Profile>(bytes);
    one::<Attempts>(bytes);
}

/// What XML can hold at all: its text without the characters that no XML 1.0 document has.
fn is_well_formed(xml: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(xml).map_err(|e| e.to_string())?;
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!("{c:?} is no character of XML"));
    }
    let mut reader = quick_xml::Reader::from_str(text);
    let mut open = 0;
    loop {
        match reader.read_event().map_err(|e| e.to_string())? {
            Event::Start(_) => open += 1,
            Event::End(_) => open -= 1,
            Event::Eof if open == 0 => return Ok(()),
            Event::Eof => return Err(format!("{open} elements are open at the end")),
            _ => {}
        }
    }
}

/// Renders a value in every way.
fn render(data: &Value) {
    for version in [Version::V1, Version::V2] {
        let answer = ocs::success(version, Format::Json, 200, data);
        let parsed: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(&parsed["ocs"]["data"], data);
        let answer = ocs::success(version, Format::Xml, 200, data);
        let judged = is_well_formed(&answer.body);
        assert_eq!(judged, Ok(()), "{data}\n{}", String::from_utf8_lossy(&answer.body));
    }
}

/// Mentions become placeholders: as many kinds as there are mentions, each of them in the text or quoted wrongly there.
fn find_mentions(text: &str) {
    for name in mention::named_users(text) {
        assert!(text.contains(name) && !name.is_empty());
    }
    let (unchanged, nobody) = mention::resolve(text, |_| None);
    if nobody.is_empty() {
        assert_eq!(unchanged, text);
    }
    let (resolved, mentions) = mention::resolve(text, |name| Some(UserId::new(name)));
    for (at, mention) in mentions.iter().enumerate() {
        assert!(!mentions[..at].contains(mention), "twice: {mention:?}");
    }
    let names: Vec<String> = Mention::numbered(&mentions).map(|(name, _)| name).collect();
    assert_eq!(names.len(), mentions.len());
    // What was typed as a placeholder stays; every other one stands for a mention.
    let placeholders = |text: &str| text.matches("{mention-").count();
    assert!(placeholders(&resolved) >= placeholders(text), "{text:?} became {resolved:?}");
    if placeholders(text) == 0 {
        let known: usize = names.iter().map(|name| resolved.matches(&format!("{{{name}}}")).count()).sum();
        assert_eq!(known, placeholders(&resolved), "{text:?} became {resolved:?}");
    }
}

/// A token is what its shape says, and a path finds a route or none.
fn find_route(path: &str) {
    let fits = (4..=30).contains(&path.len()) && path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    assert_eq!(Token::parse(path).is_ok(), fits);
    for method in [Method::Get, Method::Post, Method::Put, Method::Delete, Method::Other] {
        for path in [
            path.to_owned(),
            format!("/apps/spreed/api/v1/room/{path}"),
            format!("/apps/spreed/api/v1/chat/{path}/read"),
        ] {
            if let Ok(found) = routes::find(method, &path) {
                assert!(found.route.method == method && path.split('/').count() == found.route.path.split('/').count());
            }
        }
    }
    let _ = routes::entry(path);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "\\PC*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        // Keys are the program's own, never a caller's.
        let fields = prop::collection::vec(("[a-zA-Z][a-zA-Z0-9_-]{0,9}", inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[@\"'a-c {}/.\u{fc}-]{0,30}",
        "(@|@\"|guest/|all|mention-user1|[ab ]|\"|\\{|\\}){0,12}"
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let body = prop_oneof![
        (any::<String>(), any::<Option<i64>>(), any::<String>()).prop_map(|(text, parent, user)| Body::Comment {
            text,
            parent,
            mentions: vec![Mention::All, Mention::Guest(user.clone()), Mention::User(UserId::new(user))],
        }),
        any::<String>().prop_map(|text| Body::Command { asked_by: Some(UserId::new(text.clone())), text }),
    ];
    (any::<(i64, i64, u64)>(), any::<String>(), body).prop_map(|((id, timestamp, comments), user, body)| Message {
        id,
        actor: Actor::User(UserId::new(user)),
        timestamp,
        comments,
        body,
    })
}

proptest! {
    #![proptest_config(quick(400))]

    #[test]
    fn any_request_can_be_taken_apart(
        method in prop::sample::select(&METHODS[..]),
        target in prop_oneof![any::<String>(), "/ocs/v[12].php/[a-z/]{0,20}\\?([a-z0-9%=&\\[\\]+.-]{0,40})", "[a?=&%\\[\\]0-9.e+-]{0,40}"],
        content_type in prop_oneof![prop::sample::select(&TYPES[..]).prop_map(str::to_owned), any::<String>()],
        header in any::<String>(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        take_apart(method, &target, &content_type, &header, &body);
    }

    #[test]
    fn any_json_in_a_body_is_cast(
        fields in prop::collection::vec((prop::sample::select(&NAMES[..]), any_json()), 0..6),
        deep in 0..200usize,
    ) {
        let body = Value::Object(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect());
        take_apart("PUT", "/x?level=1", "application/json", "x", body.to_string().as_bytes());
        let nested = format!("{{\"a\":{}{}}}", "[".repeat(deep), "]".repeat(deep));
        take_apart("POST", "/x", "application/json", "x", nested.as_bytes());
    }

    #[test]
    fn the_body_wins_over_the_query(name in "[a-z]{1,8}", first in any::<String>(), second in any::<String>()) {
        let pair = |value: &str| form_urlencoded::Serializer::new(String::new()).append_pair(&name, value).finish();
        let mut headers = Headers::default();
        headers.keep("content-type", "application/x-www-form-urlencoded");
        let request = Request::new("POST", &format!("/x?{}", pair(&first)), headers, None, pair(&second).as_bytes());
        prop_assert_eq!(request.text(&name).unwrap(), second.as_str());
    }

    #[test]
    fn a_number_survives_being_sent(number in any::<i64>(), rest in "[^0-9.eE]?") {
        let mut headers = Headers::default();
        headers.keep("content-type", "application/json");
        let body = json!({ "a": number, "b": format!(" {number}{rest}") }).to_string();
        let request = Request::new("PUT", "/x", headers, None, body.as_bytes());
        prop_assert_eq!((request.number("a").unwrap(), request.number("b").unwrap()), (number, number));
    }

    #[test]
    fn any_answer_is_json_and_xml(data in any_json()) {
        render(&data);
    }

    #[test]
    fn any_bytes_are_a_record_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_records(&bytes);
        read_records(&[&[1], bytes.as_slice()].concat());
    }

    #[test]
    fn a_message_survives_and_a_changed_one_does_no_harm(message in any_message(), at in any::<usize>(), bit in 0..8u8) {
        let mut bytes = encode(&message).unwrap();
        prop_assert_eq!(&decode::<Message>(&bytes).unwrap(), &message);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        read_records(&bytes);
        read_records(&bytes[..at]);
    }

    #[test]
    fn a_conversation_survives(message in any_message(), name in any::<String>(), people in prop::collection::vec(any::<String>(), 0..5)) {
        let mut room = Room::new(1, Token::parse("abcd").unwrap(), RoomType::Public, name.into());
        for person in people {
            room.add(Actor::User(UserId::new(person)), ParticipantType::User);
        }
        room.last_message = Some(message);
        prop_assert_eq!(&decode::<Room>(&encode(&room).unwrap()).unwrap(), &room);
    }

    #[test]
    fn the_smaller_records_survive(
        numbers in any::<(i64, i64, i32, bool)>(), name in any::<String>(), cookie in any::<Option<[u8; 32]>>(),
        counts in prop::collection::vec(any::<(u32, u64)>(), 0..20),
    ) {
        let member = Member { favorite: numbers.3, last_read: numbers.0, last_mention: numbers.1, ..Member::default() };
        prop_assert_eq!(&decode::<Member>(&encode(&member).unwrap()).unwrap(), &member);
        let session = Session { id: SessionId::from_random(&[7; 384]), flags: numbers.2, cookie };
        prop_assert_eq!(&decode::<Session>(&encode(&session).unwrap()).unwrap(), &session);
        let profile = Profile { display_name: name.into(), exists: numbers.3, seen: numbers.0, deleted_at: Some(numbers.1) };
        prop_assert_eq!(&decode::<Profile>(&encode(&profile).unwrap()).unwrap(), &profile);
        let mut attempts = Attempts::default();
        counts.into_iter().for_each(|(when, what)| attempts.count(i64::from(when), what));
        prop_assert_eq!(&decode::<Attempts>(&encode(&attempts).unwrap()).unwrap(), &attempts);
    }

    #[test]
    fn any_text_may_mention_somebody(text in any_text()) {
        find_mentions(&text);
    }

    #[test]
    fn any_path_finds_a_route_or_none(path in prop_oneof![any::<String>(), "[a-zA-Z0-9/{}]{0,40}"]) {
        find_route(&path);
    }

    #[test]
    fn a_new_token_is_one_that_parses(random in any::<[u64; 8]>()) {
        if let Some(token) = Token::from_random(random) {
            prop_assert_eq!(&Token::parse(token.as_str()).unwrap(), &token);
        }
    }
}

/// Every piece, as whatever it could be taken for.
#[test]
fn the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut pieces = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for content_type in TYPES {
            take_apart("POST", "/x?a=b", content_type, &text, &bytes);
            take_apart("PUT", &format!("/ocs/v2.php{text}"), content_type, "x", &bytes);
        }
        read_records(&bytes);
        read_records(&[&[1], bytes.as_slice()].concat());
        render(&json!({ "text": text, "list": [text] }));
        find_mentions(&text);
        find_route(&text);
        pieces += 1;
    }
    assert!(pieces >= 10, "{pieces} pieces");
}
