//! Marked secrets on every way in: none of them stays anywhere.

mod support;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;
use std::path::Path;
use support::nextcloud::{Behaviour, FakeNextcloud};
use support::{Person, Request, Room, Server};

/// What `name` is called when the search finds it, and the secret.
type Mark = (&'static str, String);

/// All that a tour of the API may have to do with secrets.
fn tour(server: &Server, nextcloud: &FakeNextcloud) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let mut mark = |name: &'static str, secret: &str| {
        marks.push((name, secret.to_owned()));
        secret.to_owned()
    };
    let password = mark("the account's password", "alice123456");
    let alice = server.login("alice", &password);
    let room = alice.creates_public("a name that is no secret");
    let wrong = mark("a wrong password", "Wrong-Mark-8f31");
    server.login("alice", &wrong).get("/room").not_logged_in();
    let app = mark("an app password", "token-bob");
    let bearer = format!("Bearer {app}");
    let by_token = |request: Request| server.stranger().send(request.header("Authorization", &bearer));
    by_token(Request::new("GET", "/room")).expect(200);
    let wrong_token = format!("Bearer {}", mark("a wrong app password", "Bearer-Mark-77c2"));
    server.stranger().send(Request::new("GET", "/room").header("Authorization", &wrong_token)).not_logged_in();
    let cookie = format!("nc_session=carol; nc_token={}", mark("a cookie", "Cookie-Mark-51aa"));
    let token = mark("a requesttoken", "Request-Token-Mark-9d/0+=");
    let by_cookie =
        Request::new("POST", room.at("/participants/active")).header("Cookie", &cookie).header("requesttoken", &token);
    server.stranger().send(by_cookie).expect(200);
    let broken = mark("what is no login at all", "Nonsense-Mark-0b6e");
    server.stranger().send(Request::new("GET", "/room").header("Authorization", &broken)).has_status(401);
    passwords_of(&alice, &room, server, &mut mark);
    let guest = server.guest();
    guest.joins(&alice.creates_public("open"));
    let cookie = guest.cookie();
    mark("a guest's cookie", cookie.split('=').next_back().unwrap());
    broken_requests(&alice, &room, &mut mark);
    // What goes wrong with Nextcloud is logged as well.
    for (number, behaviour) in
        [Behaviour::Status(500), Behaviour::Html, Behaviour::Closed, Behaviour::Garbage].into_iter().enumerate()
    {
        nextcloud.set(behaviour);
        let unlucky = mark("a password that could not be checked", &format!("Unlucky-Mark-{number}"));
        server.login("dave", &unlucky).get("/room").has_status(503);
        nextcloud.set(Behaviour::Ok);
    }
    mark("the service account's password", SERVICE_PASSWORD);
    alice.post(room.at("/participants"), &[("newParticipant", "team"), ("source", "groups")]);
    marks
}

const SERVICE_PASSWORD: &str = "Service-Mark-c4e9";

/// A conversation's password, set and given in query, form and JSON, right and wrong.
fn passwords_of(alice: &Person, room: &Room, server: &Server, mark: &mut impl FnMut(&'static str, &str) -> String) {
    let query = mark("a conversation's password in the URL", "Room-Query-Mark-1");
    let form = mark("a conversation's password in a form", "Room-Form-Mark-2");
    let in_json = mark("a conversation's password in JSON", "Room-Json-Mark-3");
    let wrong = mark("a conversation's wrong password", "Room-Wrong-Mark-4");
    let requests = |method: &str, path: String, [first, second, third]: [&str; 3]| {
        [
            Request::new(method, &path).query(&[("password", first)]),
            Request::new(method, &path).form(&[("password", second)]),
            Request::new(method, &path).json(&json!({ "password": third })),
        ]
    };
    for request in requests("PUT", room.at("/password"), [&query, &form, &in_json]) {
        alice.send(request).done();
    }
    for request in requests("POST", room.at("/participants/active"), [&wrong, &wrong, &wrong]) {
        server.guest().send(request).has_status(403);
    }
    for request in requests("POST", room.at("/participants/active"), [&in_json, &in_json, &in_json]) {
        server.guest().send(request).expect(200);
    }
}

/// Secrets in requests that are refused before anybody looks at them.
fn broken_requests(alice: &Person, room: &Room, mark: &mut impl FnMut(&'static str, &str) -> String) {
    let lost = mark("a password in a request that is refused", "Lost-Mark-e07d");
    let pair = [("password", lost.as_str())];
    alice.send(Request::new("PUT", room.at("/password")).raw("text/plain", format!("password={lost}")));
    alice.send(Request::new("PUT", room.at("/password")).raw("application/json", format!("{{\"password\": \"{lost}")));
    alice.send(Request::new("PATCH", room.at("/password")).query(&pair));
    alice.send(Request::new("PUT", "/no/such/route").query(&pair));
    alice.send(Request::new("PUT", room.at("/password")).query(&pair).without("OCS-APIRequest")).has_status(412);
    let long = format!("password={lost}&x={}", "x".repeat(70_000));
    alice
        .send(Request::new("PUT", room.at("/password")).raw("application/x-www-form-urlencoded", long))
        .has_status(413);
}

/// The secret as it is, and the part of its base64 that does not depend on what stands before and after it.
fn forms_of(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec(), secret.replace('/', "%2F").replace('+', "%2B").into_bytes()];
    for before in 0..3 {
        for engine in [STANDARD, URL_SAFE] {
            let text = engine.encode(format!("{}{secret}", &"::"[..before.min(2)]));
            let (from, to) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
            forms.push(text.as_bytes()[from..to].to_vec());
        }
    }
    forms
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
}

#[test]
fn no_secret_stays_anywhere() {
    let nextcloud = FakeNextcloud::start();
    let mut server = Server::with_only(&format!(
        "[log]\nlevel = \"trace\"\nrequests = true\n{}login_cache = 600\n\
         service_user = \"admin\"\nservice_password = \"{SERVICE_PASSWORD}\"\n",
        nextcloud.section()
    ));
    let marks = tour(&server, &nextcloud);
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for page in ["/metrics", "/ready"] {
        places.push((page.to_owned(), server.operator_asks(page).1.into_bytes()));
    }
    for file in ["cmdline", "environ", "comm", "status"] {
        places.push((file.to_owned(), std::fs::read(format!("/proc/{}/{file}", server.pid())).unwrap()));
    }
    let backup = server.data().join("a.backup");
    let made = server.command(&["backup", backup.to_str().unwrap()]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    places.push(("what the backup says".to_owned(), [made.stdout, made.stderr].concat()));
    let exported = server.command(&["export"]).output().unwrap();
    assert!(contains(&exported.stdout, b"a name that is no secret"), "{}", String::from_utf8_lossy(&exported.stderr));
    places.push(("the export".to_owned(), [exported.stdout, exported.stderr].concat()));
    files(&server.data(), &mut places);
    server.stop();
    files(&server.data(), &mut places);
    places.push(("the log".to_owned(), server.log().into_bytes()));
    // The search is in the right places.
    let of = |part: &str, text: &str| {
        places.iter().any(|(place, bytes)| place.contains(part) && contains(bytes, text.as_bytes()))
    };
    assert!(of("a.backup", "a name that is no secret") && of("roomd.redb", "a name that is no secret"));
    assert!(of("the log", "PUT /ocs/v2.php/apps/spreed/api/v1/room/") && of("/metrics", "roomd_"));
    let mut found = Vec::new();
    for (name, secret) in &marks {
        for form in forms_of(secret) {
            let form_shown = String::from_utf8_lossy(&form).into_owned();
            let places = places.iter().filter(|(_, bytes)| contains(bytes, &form));
            found.extend(places.map(|(place, _)| format!("{name} ({form_shown}) is in {place}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    println!("{} secrets in {} places: none found", marks.len(), places.len());
}

#[test]
fn the_search_knows_base64() {
    for before in ["", "a", "ab", "alice:"] {
        let encoded = STANDARD.encode(format!("{before}Mark-123 and more"));
        assert!(forms_of("Mark-123").iter().any(|form| contains(encoded.as_bytes(), form)), "{before}");
    }
}
