//! Who is calling, asked of a Nextcloud that behaves, misbehaves and says nothing.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use support::Message::{Null, Text};
use support::nextcloud::{Behaviour, FakeNextcloud, Version};
use support::tls::TlsFront;
use support::{Answer, PATIENCE, Person, Request, Server, eventually};

const WHOAMI: &str = "/ocs/v2.php/cloud/user";
const CIRCLE: &str = "86d9e02a719180";
/// Long enough for every test: what was asked once is not asked again.
const PATIENT: &str = "login_cache = 600\nrefusal_cache = 600\n";
const SERVICE: &str = "service_user = \"admin\"\nservice_password = \"admin\"\n";

/// A server that asks this Nextcloud, with more keys of its section and more sections.
fn beside(nextcloud: &FakeNextcloud, keys: &str, sections: &str) -> Server {
    Server::with_only(&format!("{}{keys}\n{sections}\n", nextcloud.section()))
}

/// The same with a server that soon gives up.
fn impatient(nextcloud: &FakeNextcloud, keys: &str) -> Server {
    Server::with_only(&format!("{}{keys}\n", nextcloud.impatient_section()))
}

/// Somebody with the right password.
fn login(server: &Server, id: &str) -> Person {
    server.login(id, &format!("{id}123456"))
}

/// Somebody with the right password, whom the server knows by now.
fn known(server: &Server, id: &str) -> Person {
    let person = login(server, id);
    eventually("a login", || person.get("/room").status == 200);
    person
}

/// A request of somebody whom a cookie of Nextcloud's logs in.
fn by_cookie(method: &str, path: &str, id: &str) -> Request {
    Request::new(method, path).header("Cookie", &format!("nc_session={id}"))
}

fn by_token(method: &str, path: &str, id: &str) -> Request {
    Request::new(method, path).header("Authorization", &format!("Bearer token-{id}"))
}

fn cookies(answer: &Answer) -> Vec<&str> {
    let all = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    all.map(|(_, value)| value.as_str()).collect()
}

/// It cannot be decided now, and the caller is told when to come back.
#[track_caller]
fn is_unavailable(answer: &Answer) {
    answer.has_status(503);
    answer.has_header("Retry-After", "5");
    let meta = answer.meta();
    answer.check(meta["status"] == "failure" && meta["statuscode"] == 503, "an OCS failure 503");
    answer.check(meta["message"].as_str().is_some_and(|m| !m.is_empty()), "a message");
    answer.check(answer.json()["ocs"]["data"] == json!([]), "data []");
}

// How often Nextcloud is asked

#[test]
fn a_hundred_requests_with_one_new_login_are_one_question() {
    let nextcloud = FakeNextcloud::start();
    nextcloud.set(Behaviour::Held);
    let server = beside(&nextcloud, PATIENT, "");
    let alice = login(&server, "alice");
    std::thread::scope(|scope| {
        let asked = || alice.get("/room").expect(200);
        let all: Vec<_> = (0..100).map(|_| scope.spawn(asked)).collect();
        let joined = "roomd_logins_total{outcome=\"joined\"} 99\n";
        eventually("all wait for it", || server.operator_asks("/metrics").1.contains(joined));
        nextcloud.set(Behaviour::Ok);
        all.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), json!([])));
    });
    assert_eq!(nextcloud.requests(WHOAMI), 1);
}

#[test]
fn a_busy_login_is_one_question_in_each_lifetime() {
    const LIFETIME: Duration = Duration::from_secs(1);
    const CALLERS: usize = 4;
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, "login_cache = 1\n", "");
    let alice = login(&server, "alice");
    alice.get("/room").expect(200);
    let begun = Instant::now();
    let asks_on = || {
        let mut asked = 0;
        while nextcloud.requests(WHOAMI) < 4 && begun.elapsed() < PATIENCE {
            alice.lists();
            asked += 1;
        }
        asked
    };
    let asked: usize = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(asks_on)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    let lifetimes = begun.elapsed().as_millis().div_ceil(LIFETIME.as_millis()) as usize;
    let questions = nextcloud.requests(WHOAMI);
    println!("{asked} requests in {:.1?} were {questions} questions", begun.elapsed());
    // The first one, and one more whenever it has grown too old.
    assert!((4..=lifetimes + 1).contains(&questions), "{questions} questions in {lifetimes} lifetimes");
}

#[test]
fn a_login_and_a_refusal_are_remembered() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, PATIENT, "");
    let (alice, wrong) = (login(&server, "alice"), server.wrong_password("alice"));
    for _ in 0..3 {
        alice.get("/room").expect(200);
        wrong.get("/room").not_logged_in();
    }
    assert_eq!(nextcloud.requests(WHOAMI), 2);
    // Another password and another way are other credentials.
    server.login("alice", "also wrong").get("/room").not_logged_in();
    server.stranger().send(by_cookie("GET", "/room", "alice")).expect(200);
    server.stranger().send(by_token("GET", "/room", "alice")).expect(200);
    assert_eq!(nextcloud.requests(WHOAMI), 5);
    // Somebody without credentials is nobody's business.
    server.guest().get("/room").not_logged_in();
    assert_eq!(nextcloud.requests(WHOAMI), 5);
}

#[test]
fn a_login_is_asked_about_again_and_ends_with_the_account() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, "login_cache = 1\nrefusal_cache = 600", "");
    let alice = login(&server, "alice");
    eventually("a second question", || {
        alice.get("/room").expect(200);
        nextcloud.requests(WHOAMI) > 1
    });
    nextcloud.remove("alice");
    eventually("a refusal", || alice.get("/room").status == 401);
}

#[test]
fn a_refusal_is_asked_about_again() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, "login_cache = 600\nrefusal_cache = 1", "");
    let wrong = server.wrong_password("alice");
    eventually("a second question", || {
        wrong.get("/room").not_logged_in();
        nextcloud.requests(WHOAMI) > 1
    });
}

#[test]
fn wrong_credentials_make_a_guest_on_both_versions() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, PATIENT, "");
    let alice = login(&server, "alice");
    let room = alice.creates_public("Square");
    for (version, wrong) in [(Version::V18, "wrong on 18"), (Version::V30, "wrong on 30")] {
        nextcloud.set_version(version);
        let mallory = server.login("alice", wrong);
        mallory.get("/room").not_logged_in();
        assert_eq!(mallory.sees(&room)["participantType"], 4, "{version:?}");
        mallory.put(room.at(""), &[("roomName", "Mine")]).has_status(404);
    }
    assert_eq!(alice.sees(&room)["name"], "Square");
}

// When Nextcloud does not answer as it should

/// Whoever is known, and whoever needs not be, is served; everybody else is told to come back, without fail.
fn only_strangers_to_the_cache_notice(bad: &[Behaviour]) {
    let nextcloud = FakeNextcloud::start();
    let server = impatient(&nextcloud, PATIENT);
    let (alice, guest) = (known(&server, "alice"), server.guest());
    let room = alice.creates_public("Square");
    guest.joins(&room);
    for (number, behaviour) in bad.iter().enumerate() {
        nextcloud.set(behaviour.clone());
        let asked_before = nextcloud.all_requests();
        let bob = login(&server, "bob");
        let mallory = server.login("alice", &format!("wrong {number}"));
        // After failures in a row Nextcloud is left alone for a moment: this one is to be asked all the same.
        eventually("Nextcloud is asked", || {
            is_unavailable(&bob.get("/room"));
            nextcloud.all_requests() > asked_before
        });
        is_unavailable(&bob.get(room.at("")));
        is_unavailable(&mallory.get(room.at("")));
        is_unavailable(&server.stranger().send(by_cookie("GET", "/room", "bob")));
        is_unavailable(&bob.get("/ocs/v1.php/apps/spreed/api/v1/room"));
        assert_eq!(alice.lists().len(), 1, "{behaviour:?}");
        alice.renames(&room, &format!("Square {number}"));
        assert_eq!(guest.sees(&room)["name"], format!("Square {number}"), "{behaviour:?}");
    }
    nextcloud.set(Behaviour::Ok);
    let bob = login(&server, "bob");
    eventually("bob can log in again", || bob.get("/room").status == 200);
}

#[test]
fn a_nextcloud_that_hangs_stops_nobody_who_is_known() {
    only_strangers_to_the_cache_notice(&[Behaviour::Hang, Behaviour::Stall, Behaviour::Closed]);
}

#[test]
fn a_nextcloud_that_refuses_stops_nobody_who_is_known() {
    let statuses = [500, 502, 503, 429, 404, 403, 204];
    only_strangers_to_the_cache_notice(&statuses.map(Behaviour::Status));
}

#[test]
fn whatever_else_answers_is_not_taken_for_nextcloud() {
    use Behaviour::{BrokenJson, Garbage, Html, Huge};
    only_strangers_to_the_cache_notice(&[Html, Huge, Garbage, BrokenJson]);
}

#[test]
fn a_nextcloud_that_is_down_stops_nobody_who_is_known() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, PATIENT, "");
    let alice = login(&server, "alice");
    let room = alice.creates_public("Square");
    drop(nextcloud);
    for n in 0..5 {
        is_unavailable(&server.login("bob", &n.to_string()).get("/room"));
    }
    assert_eq!(alice.lists().len(), 1);
    assert_eq!(server.guest().sees(&room)["type"], 3);
    is_unavailable(&alice.post("/room", &[("roomType", "1"), ("invite", "bob")]));
    assert_eq!(alice.lists().len(), 1);
}

#[test]
fn credentials_go_to_nobody_with_a_wrong_certificate() {
    let nextcloud = FakeNextcloud::start();
    let Some(front) = TlsFront::start("localhost", &nextcloud.url()) else { return };
    let Some(elsewhere) = TlsFront::start("other.test", &nextcloud.url()) else { return };
    let at = |front: &TlsFront, keys: &str| {
        let url = format!("https://localhost:{}", front.port);
        Server::with_only(&nextcloud.section().replace(&nextcloud.url(), &url).replacen(
            '\n',
            &format!("\n{keys}\n"),
            1,
        ))
    };
    let believing = |front: &TlsFront| format!("ca_file = {:?}", front.authority());

    let server = at(&front, &believing(&front));
    assert!(login(&server, "alice").lists().is_empty(), "the right name, and an authority that is believed");
    let before = nextcloud.all_requests();
    for server in [at(&elsewhere, &believing(&elsewhere)), at(&front, ""), at(&front, &believing(&elsewhere))] {
        is_unavailable(&login(&server, "alice").get("/room"));
    }
    assert_eq!(nextcloud.all_requests(), before);
}

#[test]
fn a_redirect_takes_no_credentials_along() {
    let (nextcloud, elsewhere) = (FakeNextcloud::start(), FakeNextcloud::start());
    nextcloud.set(Behaviour::Redirect(elsewhere.url()));
    let server = beside(&nextcloud, PATIENT, "");
    is_unavailable(&login(&server, "alice").get("/room"));
    is_unavailable(&server.stranger().send(by_cookie("GET", "/room", "alice")));
    assert_eq!((nextcloud.requests(WHOAMI), elsewhere.all_requests()), (2, 0));
}

#[test]
fn a_hundred_logins_during_a_hang_are_all_answered() {
    let nextcloud = FakeNextcloud::start();
    let server = impatient(&nextcloud, PATIENT);
    let alice = known(&server, "alice");
    nextcloud.set(Behaviour::Hang);
    std::thread::scope(|scope| {
        for n in 0..100 {
            let server = &server;
            let somebody = move || {
                is_unavailable(&server.login("bob", &n.to_string()).get("/room"));
            };
            scope.spawn(somebody);
        }
        for _ in 0..20 {
            alice.get("/room").expect(200);
        }
    });
}

// What Nextcloud is told

#[test]
fn nextcloud_is_told_where_a_caller_is() {
    let nextcloud = FakeNextcloud::start();
    let untrusting = beside(&nextcloud, PATIENT, "");
    let trusting = beside(&nextcloud, PATIENT, "[server]\ntrusted_proxies = [\"127.0.0.1\"]");
    let told = |server: &Server, header: &str, value: &str| {
        login(server, "alice").send(Request::new("GET", "/room").header(header, value)).expect(200);
        nextcloud.last().header("x-forwarded-for").map(str::to_owned)
    };
    assert_eq!(told(&untrusting, "X-Forwarded-For", "192.0.2.7"), Some("127.0.0.1".to_owned()));
    assert_eq!(told(&trusting, "X-Forwarded-For", "198.51.100.1, 192.0.2.7"), Some("192.0.2.7".to_owned()));
    for (header, value, wanted) in [
        ("X-Real-IP", "192.0.2.8", "192.0.2.8"),
        ("X-Forwarded-For", "2001:db8::1", "2001:db8::1"),
        ("X-Forwarded-For", "nonsense", "127.0.0.1"),
        ("X-Forwarded-For", "", "127.0.0.1"),
    ] {
        let server = beside(&nextcloud, PATIENT, "[server]\ntrusted_proxies = [\"127.0.0.1\"]");
        assert_eq!(told(&server, header, value), Some(wanted.to_owned()), "{header}: {value}");
    }
}

#[test]
fn the_own_cookie_stays_at_home() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, PATIENT, "");
    let room = login(&server, "alice").creates_public("Square");
    let asked_before = nextcloud.all_requests();
    let guest = server.guest();
    guest.joins(&room);
    guest.sees(&room);
    assert_eq!(nextcloud.all_requests(), asked_before, "a guest is not asked about");
    let own = guest.cookie();
    assert!(own.contains("roomd_guest="), "{own}");
    let both = Request::new("GET", "/room").header("Cookie", &format!("nc_session=bob; {own}; x=y"));
    server.stranger().send(both).expect(200);
    assert_eq!(nextcloud.last().header("cookie"), Some("nc_session=bob; x=y"));
}

// Cookies and tokens

#[test]
fn a_new_cookie_is_passed_on_once_and_only_to_whoever_came_with_one() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, PATIENT, "");
    let stranger = server.stranger();
    let first = stranger.send(by_cookie("GET", "/room", "alice"));
    first.expect(200);
    assert!(cookies(&first).iter().any(|cookie| cookie.starts_with("nc_token=new-token-of-alice;")), "{first:?}");
    let second = stranger.send(by_cookie("GET", "/room", "alice"));
    second.expect(200);
    assert_eq!(cookies(&second), [""; 0], "cookies are not remembered");
    let with_both = by_cookie("GET", "/room", "alice").header("Authorization", "Basic eDp5");
    for answer in [
        login(&server, "bob").get("/room"),
        stranger.send(by_token("GET", "/room", "bob")),
        stranger.send(with_both),
        server.wrong_password("bob").get("/room"),
        stranger.send(by_cookie("GET", "/room", "nobody")),
    ] {
        assert_eq!(cookies(&answer), [""; 0], "{answer:?}");
    }
}

#[test]
fn a_cookie_logs_in_and_a_refused_request_passes_its_cookies_on_too() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, PATIENT, "");
    let stranger = server.stranger();
    // Nextcloud has replaced the token by now, whatever becomes of this request.
    let forged = stranger.send(by_cookie("POST", "/room", "alice").without("OCS-APIRequest"));
    forged.has_status(412);
    assert!(cookies(&forged).iter().any(|cookie| cookie.starts_with("nc_token=")), "{forged:?}");
    let created = by_cookie("POST", "/room", "alice").header("requesttoken", "t");
    let room = stranger.send(created.form(&[("roomType", "2"), ("roomName", "Plans")])).expect(201);
    assert_eq!(room["name"], "Plans");
    assert_eq!(login(&server, "alice").lists().len(), 1);
}

#[test]
fn a_token_logs_in_and_needs_no_further_proof() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, PATIENT, "");
    let form = [("roomType", "2"), ("roomName", "Plans")];
    let request = by_token("POST", "/room", "alice").without("OCS-APIRequest").form(&form);
    server.stranger().send(request).expect(201);
    assert_eq!(login(&server, "alice").lists().len(), 1);
    server.stranger().send(by_token("GET", "/room", "nobody")).not_logged_in();
}

#[test]
fn only_allowed_groups_use_talk() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, PATIENT, "[talk]\nallowed_groups = [\"team\"]");
    let room = login(&server, "alice").creates_public("Square");
    login(&server, "dave").get("/room").refused(403, Text("Can not use Talk"));
    server.guest().joins(&room);
}

// Names, people, groups, circles

#[test]
fn a_login_brings_the_newest_name() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, "login_cache = 1\nrefusal_cache = 1", "");
    let (alice, bob) = (login(&server, "alice"), login(&server, "bob"));
    let room = alice.talks_to("bob");
    assert_eq!(alice.sees(&room)["displayName"], "Bob B.");
    nextcloud.rename("bob", "Robert B.");
    eventually("the new name", || {
        bob.get("/room").expect(200);
        alice.sees(&room)["displayName"] == "Robert B."
    });
    assert_eq!(bob.sees(&room)["displayName"], "Alice A.");
}

#[test]
fn somebody_is_found_who_has_never_been_here() {
    let nextcloud = FakeNextcloud::start();
    for version in [Version::V18, Version::V30] {
        nextcloud.set_version(version);
        let server = beside(&nextcloud, PATIENT, "");
        let alice = login(&server, "alice");
        let room = alice.talks_to("frank");
        assert_eq!(alice.sees(&room)["displayName"], "Frank F.");
        assert_eq!(alice.talks_to("FRANK"), room);
        alice.post("/room", &[("roomType", "1"), ("invite", "nobody")]).refused(404, Null);
        // Found by the search, but not by this id.
        alice.post("/room", &[("roomType", "1"), ("invite", "fran")]).refused(404, Null);
        assert_eq!(login(&server, "frank").sees(&room)["displayName"], "Alice A.");
        let group = alice.creates_group("Plans");
        alice.adds(&group, "erin");
        alice.post(group.at("/participants"), &[("newParticipant", "nobody")]).refused(404, Null);
        let names: Vec<_> = alice.participants(&group).iter().map(|p| p["displayName"].clone()).collect();
        assert_eq!(names, ["Alice A.", "Erin E."]);
    }
}

#[test]
fn a_group_needs_the_service_account() {
    let nextcloud = FakeNextcloud::start();
    let of_team = [("roomType", "2"), ("invite", "team")];
    let team = [("newParticipant", "team"), ("source", "groups")];
    for version in [Version::V18, Version::V30] {
        nextcloud.set_version(version);
        let server = beside(&nextcloud, &format!("{PATIENT}{SERVICE}"), "");
        let dave = login(&server, "dave");
        let room = support::Room::of(&dave.post("/room", &of_team).expect(201));
        assert_eq!(dave.participants(&room).len(), 4, "{version:?}");
        let other = dave.creates_group("Plans");
        dave.post(other.at("/participants"), &team).done();
        assert_eq!(dave.participants(&other).len(), 4, "{version:?}");
        dave.post("/room", &[("roomType", "2"), ("invite", "tea")]).refused(404, Null);
        let names: Vec<_> = dave.participants(&other).iter().map(|p| p["displayName"].clone()).collect();
        assert_eq!(names, ["Dave D.", "Alice A.", "Bob B.", "Carol C."], "{version:?}");

        let server = beside(&nextcloud, PATIENT, "");
        let dave = login(&server, "dave");
        let other = dave.creates_group("Plans");
        for answer in [dave.post("/room", &of_team), dave.post(other.at("/participants"), &team)] {
            answer.has_status(501);
            let message = answer.meta()["message"].as_str().unwrap_or("").to_owned();
            answer.check(message.contains("nextcloud.service_user"), "the key to set");
        }
        assert_eq!((dave.lists().len(), dave.participants(&other).len()), (1, 1), "{version:?}");
    }
}

#[test]
fn circles_are_there_from_version_22_on() {
    let nextcloud = FakeNextcloud::start();
    let server = beside(&nextcloud, PATIENT, "");
    let (alice, dave) = (login(&server, "alice"), login(&server, "dave"));
    let of_circle = [("roomType", "2"), ("invite", CIRCLE), ("source", "circles")];
    let fans = [("newParticipant", CIRCLE), ("source", "circles")];
    let other = alice.creates_group("Plans");
    nextcloud.set_version(Version::V18);
    alice.post("/room", &of_circle).refused(400, Null);
    alice.post(other.at("/participants"), &fans).refused(400, Null);
    assert_eq!((alice.lists().len(), alice.participants(&other).len()), (1, 1));
    nextcloud.set_version(Version::V30);
    let room = alice.post("/room", &of_circle).expect(201);
    assert_eq!(room["name"], "Fans");
    assert_eq!(alice.participants(&support::Room::of(&room)).len(), 3);
    alice.post(other.at("/participants"), &fans).done();
    assert_eq!(alice.participants(&other).len(), 3);
    dave.post("/room", &of_circle).refused(404, Null);
}

#[test]
fn nothing_is_half_made_when_nextcloud_stops_answering() {
    let nextcloud = FakeNextcloud::start();
    let server = impatient(&nextcloud, &format!("{PATIENT}{SERVICE}"));
    let alice = known(&server, "alice");
    let room = alice.creates_group("Plans");
    for behaviour in [Behaviour::Status(500), Behaviour::Hang, Behaviour::Html, Behaviour::BrokenJson] {
        nextcloud.set(behaviour);
        for (kind, who, source) in [("1", "frank", "users"), ("2", "team", "groups"), ("2", CIRCLE, "circles")] {
            is_unavailable(&alice.post("/room", &[("roomType", kind), ("invite", who), ("source", source)]));
            let added = [("newParticipant", who), ("source", source)];
            is_unavailable(&alice.post(room.at("/participants"), &added));
        }
    }
    assert_eq!((alice.lists().len(), alice.participants(&room).len()), (1, 1));
}

// Secrets

#[test]
fn no_secret_is_logged_or_stored() {
    let nextcloud = FakeNextcloud::start();
    let service = "service_user = \"admin\"\nservice_password = \"admin\"\n";
    let mut server = beside(&nextcloud, service, "[log]\nlevel = \"trace\"\nrequests = true");
    let (alice, guest, stranger) = (login(&server, "alice"), server.guest(), server.stranger());
    let room = alice.creates_public("Square");
    alice.send(Request::new("PUT", room.at("/password")).query(&[("password", "Sesame-open-7")])).done();
    guest
        .send(Request::new("POST", room.at("/participants/active")).query(&[("password", "Sesame-open-7")]))
        .expect(200);
    let wrong = Request::new("POST", room.at("/participants/active")).query(&[("password", "Sesame-shut-8")]);
    server.guest().send(wrong).has_status(403);
    stranger.send(by_cookie("GET", "/room", "bob").header("requesttoken", "proof-of-page")).expect(200);
    stranger.send(by_token("GET", "/room", "carol")).expect(200);
    server.login("alice", "hunter2-wrong").get("/room").not_logged_in();
    alice.post("/room", &[("roomType", "2"), ("invite", "team")]).expect(201);
    for behaviour in [Behaviour::Status(500), Behaviour::BrokenJson, Behaviour::Garbage, Behaviour::Closed] {
        nextcloud.set(behaviour.clone());
        let asked_before = nextcloud.all_requests();
        let dave = login(&server, "dave");
        eventually("Nextcloud is asked", || {
            is_unavailable(&dave.get("/room"));
            nextcloud.all_requests() > asked_before
        });
    }
    let guest_cookie = guest.cookie().split_once('=').unwrap().1.to_owned();
    server.stop();
    let mut secrets = vec!["nc_session=bob", "proof-of-page", "token-carol", "hunter2-wrong", &guest_cookie]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    secrets.extend(["Sesame-open-7", "Sesame-shut-8", "alice123456", "dave123456"].map(str::to_owned));
    let logins = ["alice:alice123456", "dave:dave123456", "alice:hunter2-wrong", "admin:admin"];
    secrets.extend(logins.map(|login| BASE64.encode(login)));
    secrets.push("new-token-of-bob".to_owned());
    let log = server.log();
    assert!(log.contains("/participants/active"), "requests are logged:\n{log}");
    let stored = everything_in(&server.data());
    assert!(contains(&stored, b"Square"), "the database was looked through");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
        assert!(!contains(&stored, secret.as_bytes()), "{secret} is in the database");
    }
}

/// The bytes of every file in a folder.
fn everything_in(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
