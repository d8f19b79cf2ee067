//! What is the same for every route: the OCS envelope and its two entry points, JSON and XML, parameters, credentials,
//! unknown routes, limits and headers.

mod support;

use serde_json::{Value, json};
use support::Message::{Empty, Null};
use support::{Cast, Person, Request, Room, Server};

const V1: &str = "/ocs/v1.php/apps/spreed/api/v1";
const GENERIC: &str = "Invalid query, please check the syntax. API specifications are here: \
                       http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n";

fn alice_and_room() -> (Server, Person, Room) {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_public("Square");
    (server, alice, room)
}

#[track_caller]
fn is_xml(answer: &support::Answer, status: u16, meta: &str, data: &str) {
    answer.has_status(status);
    answer.has_header("Content-Type", "application/xml; charset=utf-8");
    let wanted = format!("<?xml version=\"1.0\"?>\n<ocs>\n <meta>\n{meta} </meta>\n{data}</ocs>\n");
    answer.check(answer.text() == wanted, &wanted);
}

// The two entry points

#[test]
fn v2_tells_the_status_in_http_too() {
    let (server, alice, room) = alice_and_room();
    let plain = |answer: support::Answer| answer.json()["ocs"]["meta"].clone();
    let ok = plain(alice.get(room.at("")));
    assert_eq!(ok, json!({"status": "ok", "statuscode": 200, "message": "OK"}));
    let created = alice.post("/room", &[("roomType", "2"), ("roomName", "x")]);
    created.has_status(201);
    assert_eq!(plain(created), json!({"status": "ok", "statuscode": 201, "message": "OK"}));
    let refused = alice.put(room.at(""), &[("roomName", "")]);
    refused.has_status(400);
    assert_eq!(plain(refused), json!({"status": "failure", "statuscode": 400, "message": null}));
    let at_the_gate = server.user("bob").put(room.at(""), &[("roomName", "x")]);
    at_the_gate.has_status(404);
    assert_eq!(plain(at_the_gate), json!({"status": "failure", "statuscode": 404, "message": ""}));
}

#[test]
fn v1_answers_200_and_tells_the_status_inside() {
    let (server, alice, room) = alice_and_room();
    let v1 = |who: &Person, method: &str, path: &str, form: &[(&str, &str)]| {
        let answer = who.send(Request::new(method, format!("{V1}{path}")).form(form));
        (answer.status, answer.json()["ocs"]["meta"].clone(), answer.json()["ocs"]["data"].clone())
    };
    let meta = |status: &str, code: i32, message: Value| json!({"status": status, "statuscode": code, "message": message, "totalitems": "", "itemsperpage": ""});
    let (status, ok, data) = v1(&alice, "POST", &room.at("/favorite"), &[]);
    assert_eq!((status, ok, data), (200, meta("ok", 100, json!("OK")), json!([])));
    let (status, created, data) = v1(&alice, "POST", "/room", &[("roomType", "2"), ("roomName", "Plans")]);
    assert_eq!((status, created), (200, meta("failure", 201, json!(null))), "201 is a failure for v1");
    assert_eq!(data["name"], "Plans");
    let (status, refused, _) = v1(&alice, "PUT", &room.at(""), &[("roomName", "")]);
    assert_eq!((status, refused), (200, meta("failure", 400, json!(null))));
    let (status, missing, _) = v1(&alice, "PUT", "/room/nosuchroom", &[("roomName", "x")]);
    assert_eq!((status, missing), (200, meta("failure", 404, json!(""))));
    let (status, forbidden, _) = v1(&alice, "POST", "/room", &[("roomType", "1"), ("invite", "alice")]);
    assert_eq!((status, forbidden), (401, meta("failure", 403, json!(null))), "403 becomes 401");
    let (status, nobody, _) = v1(&server.stranger(), "GET", "/room", &[]);
    assert_eq!((status, nobody["statuscode"].clone()), (401, json!(997)));
}

// JSON and XML

#[test]
fn the_format_follows_the_accept_header() {
    let (_server, alice, room) = alice_and_room();
    let kinds = [
        ("application/json", "json"),
        ("json", "json"),
        ("application/JSON", "json"),
        ("application/json;q=0.9", "json"),
        ("text/html,application/json", "json"),
        ("text/html , application/json", "json"),
        ("application/json,application/xml", "json"),
        ("application/xml,application/json", "xml"),
        ("application/xml", "xml"),
        ("*/*", "xml"),
        ("text/xml", "xml"),
        ("text/plain", "xml"),
    ];
    for (accept, kind) in kinds {
        let answer = alice.send(Request::new("GET", room.at("")).header("Accept", accept));
        answer.has_status(200);
        answer.has_header("Content-Type", &format!("application/{kind}; charset=utf-8"));
    }
    let answer = alice.send(Request::new("GET", room.at("")).without("Accept"));
    answer.has_header("Content-Type", "application/xml; charset=utf-8");
}

#[test]
fn the_format_parameter_beats_the_accept_header() {
    let (_server, alice, room) = alice_and_room();
    let json = Request::new("GET", room.at("")).header("Accept", "application/xml").query(&[("format", "json")]);
    assert_eq!(alice.send(json).expect(200)["name"], "Square");
    let xml = alice.send(Request::new("GET", room.at("")).query(&[("format", "xml")]));
    xml.has_header("Content-Type", "application/xml; charset=utf-8");
    for request in [
        Request::new("POST", room.at("/favorite")).form(&[("format", "json")]),
        Request::new("POST", room.at("/favorite")).json(&json!({"format": "json"})),
    ] {
        alice.send(request.without("Accept")).done();
    }
}

#[test]
fn the_envelope_in_xml() {
    let (server, alice, room) = alice_and_room();
    let xml = |method: &str, path: &str| Request::new(method, path).without("Accept");
    let ok = "  <status>ok</status>\n  <statuscode>200</statuscode>\n  <message>OK</message>\n";
    let failure = |code: u16, message: &str| {
        format!("  <status>failure</status>\n  <statuscode>{code}</statuscode>\n  {message}\n")
    };
    is_xml(&alice.send(xml("POST", &room.at("/favorite"))), 200, ok, " <data/>\n");
    let not_found = alice.send(xml("GET", "/room/nosuchroom"));
    is_xml(&not_found, 404, &failure(404, "<message/>"), " <data/>\n");
    let at_the_gate = alice.send(xml("DELETE", "/room/nosuchroom"));
    is_xml(&at_the_gate, 404, &failure(404, "<message></message>"), " <data/>\n");
    let nobody = server.stranger().send(xml("GET", "/room"));
    is_xml(&nobody, 401, &failure(997, "<message>Current user is not logged in</message>"), " <data/>\n");
    let created = alice.send(xml("POST", "/room").form(&[("roomType", "1"), ("invite", "gina rossi")]));
    created.has_status(201);
    let list = server.user("bob").send(xml("GET", "/room"));
    is_xml(&list, 200, ok, " <data/>\n");
    alice.adds(&room, "bob");
    let participants = alice.send(xml("GET", &room.at("/participants")));
    let entry = |id: &str, name: &str, kind: i32| {
        format!(
            "  <element>\n   <inCall>0</inCall>\n   <lastPing>0</lastPing>\n   <sessionId>0</sessionId>\n   \
             <participantType>{kind}</participantType>\n   <userId>{id}</userId>\n   <displayName>{name}</displayName>\n  \
             </element>\n"
        )
    };
    let data = format!(" <data>\n{}{} </data>\n", entry("alice", "Alice Archer", 1), entry("bob", "Bob Baker", 3));
    is_xml(&participants, 200, ok, &data);
}

#[test]
fn a_conversation_in_xml() {
    let (_server, alice, room) = alice_and_room();
    alice.renames(&room, "a <b> & \"c\"");
    let answer = alice.send(Request::new("GET", room.at("")).without("Accept"));
    let text = answer.text();
    for part in [
        &format!(" <data>\n  <id>{}</id>\n  <token>{room}</token>\n  <type>3</type>\n", alice.sees(&room)["id"]),
        "  <name>a &lt;b&gt; &amp; &quot;c&quot;</name>\n",
        "  <objectType></objectType>\n",
        "  <hasCall></hasCall>\n  <canStartCall>1</canStartCall>\n",
        "  <participants>\n   <alice>\n    <name>Alice Archer</name>\n    <type>1</type>\n    <call>0</call>\n    \
         <sessionId>0</sessionId>\n   </alice>\n  </participants>\n  <numGuests>0</numGuests>\n",
        "   <messageParameters>\n    <actor>\n     <type>user</type>\n     <id>alice</id>\n",
        "   <isReplyable></isReplyable>\n  </lastMessage>\n </data>\n</ocs>\n",
    ] {
        answer.check(text.contains(part), part);
    }
    let list = alice.send(Request::new("GET", "/room").without("Accept"));
    list.check(
        list.text().contains(&format!(" <data>\n  <element>\n   <id>{}</id>\n", alice.sees(&room)["id"])),
        "an element",
    );
}

#[test]
fn an_unknown_format_is_an_invalid_query_after_the_deed() {
    let (server, alice, room) = alice_and_room();
    let yaml = |who: &Person, method: &str, path: &str| {
        let answer = who.send(Request::new(method, path).query(&[("format", "yaml"), ("roomName", "Renamed")]));
        answer.has_status(404);
        answer
    };
    for path in [room.at(""), "/room/nosuchroom".to_owned()] {
        let answer = yaml(&alice, "GET", &path);
        answer.has_header("Content-Type", "application/octet-stream; charset=utf-8");
        answer.check(answer.text().contains(GENERIC.trim_end()), "the generic answer in XML");
    }
    yaml(&alice, "PUT", &room.at(""));
    assert_eq!(alice.sees(&room)["name"], "Renamed");
    let at_the_gate = yaml(&server.user("bob"), "PUT", &room.at(""));
    at_the_gate.has_header("Content-Type", "application/xml; charset=utf-8");
    at_the_gate.check(at_the_gate.text().contains("<message></message>"), "the gate's own message");
    let upper = alice.send(Request::new("GET", room.at("")).query(&[("format", "JSON")]));
    upper.has_status(404);
}

// Routes

#[test]
fn a_token_of_another_shape_is_an_unknown_route() {
    let (server, alice, room) = alice_and_room();
    let odd = [
        "a",
        "abc",
        &"a".repeat(31),
        "UPPER234",
        "a%20bc",
        "a%27bc",
        "%ff%ff%ff%ff",
        "%C3%BCn%C3%AFt",
        "abc-",
        "..%2f..%2f",
    ];
    for token in odd {
        for who in [&alice, &server.stranger()] {
            who.get(format!("/room/{token}")).invalid_query();
        }
    }
    for token in ["abcd", &"a".repeat(30), "0l10"] {
        alice.get(format!("/room/{token}")).refused(404, Null);
    }
    alice.get(format!("/room/{}", room.token.to_uppercase())).invalid_query();
}

#[test]
fn unknown_routes_get_the_generic_answer_whatever_is_accepted() {
    let (server, alice, room) = alice_and_room();
    let paths = [
        "/".to_owned(),
        "/room/".to_owned(),
        "/rooms".to_owned(),
        room.at("/"),
        room.at("/nothing"),
        room.at("/favorite/"),
        "/ocs/v2.php/apps/spreed/api/v2/room".to_owned(),
        "/ocs/v2.php/apps/spreed/api/room".to_owned(),
        "/ocs/v2.php/apps/other".to_owned(),
    ];
    for path in &paths {
        for who in [&alice, &server.stranger()] {
            who.get(path).invalid_query();
        }
    }
    let in_json = alice.get("/nothing?format=json");
    in_json.has_status(404);
    in_json.has_header("Content-Type", "application/json; charset=utf-8");
    let meta = json!({"status": "failure", "statuscode": 404, "message": GENERIC});
    assert_eq!(in_json.json(), json!({"ocs": {"meta": meta, "data": []}}));
    let v1 = alice.get(format!("{V1}/nothing?format=json"));
    v1.has_status(200);
    assert_eq!((&v1.meta()["statuscode"], &v1.meta()["status"]), (&json!(998), &json!("failure")));
}

#[test]
fn repeated_slashes_are_one() {
    let (_server, alice, room) = alice_and_room();
    for path in [
        format!("/ocs/v2.php//apps///spreed/api/v1/room/{room}"),
        format!("/ocs//v2.php/apps/spreed/api/v1//room//{room}"),
    ] {
        assert_eq!(alice.get(path).expect(200)["token"], room.token);
    }
}

#[test]
fn a_known_path_with_another_verb_is_not_allowed() {
    let (server, alice, room) = alice_and_room();
    let wrong =
        [("PUT", "/room".to_owned()), ("POST", room.at("")), ("GET", room.at("/favorite")), ("PATCH", room.at(""))];
    for (method, path) in &wrong {
        for path in [path.clone(), format!("{V1}{path}")] {
            for who in [&alice, &server.stranger()] {
                let answer = who.send(Request::new(method, &path));
                answer.has_status(405);
                answer.check(answer.text().is_empty(), "no body");
            }
        }
    }
}

#[test]
fn head_is_get_without_the_body() {
    let (_server, alice, room) = alice_and_room();
    let get = alice.get(room.at(""));
    let head = alice.send(Request::new("HEAD", room.at("")));
    head.has_status(200);
    for name in ["Content-Length", "Content-Type", "X-Nextcloud-Talk-Hash"] {
        head.has_header(name, get.header(name));
    }
    alice.send(Request::new("HEAD", "/room/nosuchroom")).has_status(404);
    alice.send(Request::new("HEAD", room.at("/favorite"))).has_status(405);
}

// Parameters

/// A way to send parameters.
type Source = fn(Request, &[(&str, &str)]) -> Request;

#[test]
fn parameters_come_from_the_url_a_form_or_json_on_every_verb() {
    let (_server, alice, room) = alice_and_room();
    let sources: [Source; 3] = [Request::query, Request::form, |request, parameters| {
        let object = parameters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        request.json(&Value::Object(object))
    }];
    for (number, source) in sources.into_iter().enumerate() {
        let name = format!("By source {number} +&%ü");
        let send = |method: &str, path: String, parameters: &[(&str, &str)]| {
            alice.send(source(Request::new(method, path), parameters)).done();
        };
        send("PUT", room.at(""), &[("roomName", &name)]);
        send("POST", room.at("/notify"), &[("level", "3")]);
        alice.adds(&room, "bob");
        send("DELETE", room.at("/participants"), &[("participant", "bob")]);
        let seen = alice.sees(&room);
        assert_eq!((&seen["name"], &seen["notificationLevel"]), (&json!(name), &json!(3)));
        assert_eq!(alice.participants(&room).len(), 1);
        alice.post(room.at("/notify"), &[("level", "1")]).done();
    }
}

#[test]
fn a_multipart_form_is_a_form() {
    let (_server, alice, _) = alice_and_room();
    let part = |name: &str, value: &str| {
        format!("--frame\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = format!("{}{}--frame--\r\n", part("roomType", "2"), part("roomName", "Plans ü"));
    let request = Request::new("POST", "/room").raw("multipart/form-data; boundary=frame", body);
    assert_eq!(alice.send(request).expect(201)["name"], "Plans ü");
}

#[test]
fn the_path_names_the_conversation_whatever_the_body_says() {
    let (server, alice, square) = alice_and_room();
    let circus = alice.creates_public("Circus");
    let both = [("roomName", "Renamed"), ("token", circus.token.as_str())];
    for request in [
        Request::new("PUT", square.at("")).form(&both),
        Request::new("PUT", square.at("")).query(&both),
        Request::new("PUT", square.at("")).json(&json!({"roomName": "Renamed", "token": circus.token})),
    ] {
        alice.send(request).done();
    }
    assert_eq!((&alice.sees(&square)["name"], &alice.sees(&circus)["name"]), (&json!("Renamed"), &json!("Circus")));
    let bobs = server.user("bob").creates_public("Bob's");
    alice.send(Request::new("DELETE", bobs.at("")).json(&json!({"token": square.token}))).refused(404, Empty);
    assert_eq!(alice.sees(&square)["name"], "Renamed");
}

#[test]
fn a_broken_body_counts_as_none() {
    let (_server, alice, room) = alice_and_room();
    for body in ["{\"roomName\":", "[1,2]", "5", "\"roomName\"", "null", "", "{\"roomName\": \"x\"} trailing"] {
        alice.send(Request::new("PUT", room.at("")).raw("application/json", body)).invalid_query();
        let named = Request::new("PUT", room.at("")).query(&[("roomName", "By URL")]);
        alice.send(named.raw("application/json", body)).done();
    }
    assert_eq!(alice.sees(&room)["name"], "By URL");
}

#[test]
fn a_put_of_an_unknown_kind_is_answered_with_nothing() {
    let (_server, alice, room) = alice_and_room();
    let answer = alice.send(Request::new("PUT", room.at("")).raw("text/plain", "roomName=x"));
    answer.has_status(200);
    answer.check(answer.text().is_empty(), "no body");
    assert_eq!(alice.sees(&room)["name"], "Square");
}

#[test]
fn strange_bytes_break_nothing() {
    let (server, alice, room) = alice_and_room();
    let deep = "[".repeat(60_000);
    alice.send(Request::new("PUT", room.at("")).raw("application/json", deep)).invalid_query();
    let escaped =
        Request::new("PUT", room.at("")).raw("application/json", "{\"roomName\": \"\\ud83e\\udd80 \\u0041\"}");
    alice.send(escaped).done();
    assert_eq!(alice.sees(&room)["name"], "🦀 A");
    for body in ["roomName=%ff%fe", "roomName=%", "roomName=%zz", "&&==&", "roomName[]=x", "roomName[a][b]=x"] {
        let answer = alice.send(Request::new("PUT", room.at("")).raw("application/x-www-form-urlencoded", body));
        answer.check(answer.status < 500, "no fault of the server's");
    }
    for query in ["?%ff=%fe", "?roomName=%", "?====", "?&", "?"] {
        server.stranger().get(format!("{}{query}", room.at(""))).has_status(200);
    }
    assert_eq!(alice.sees(&room)["type"], 3, "it still answers");
}

#[test]
fn a_body_above_64_kib_is_refused() {
    let (_server, alice, room) = alice_and_room();
    let padded = |length: usize| {
        let padding = length - "roomName=Padded&x=".len();
        let body = format!("roomName=Padded&x={}", "a".repeat(padding));
        alice.send(Request::new("PUT", room.at("")).raw("application/x-www-form-urlencoded", body))
    };
    padded(64 * 1024).done();
    assert_eq!(alice.sees(&room)["name"], "Padded");
    alice.renames(&room, "Square");
    padded(64 * 1024 + 1).has_status(413);
    assert_eq!(alice.sees(&room)["name"], "Square");
}

#[test]
fn the_mere_announcement_of_a_huge_body_is_refused() {
    let (server, alice, room) = alice_and_room();
    for length in ["65537", "10000000000000", "18446744073709551615"] {
        let request = Request::new("POST", room.at("/favorite")).header("Content-Length", length);
        server.stranger().send(request.clone()).has_status(413);
        alice.send(request).has_status(413);
    }
    assert_eq!(alice.sees(&room)["isFavorite"], false);
}

// Who is calling

#[test]
fn wrong_credentials_make_a_guest() {
    let (server, alice, room) = alice_and_room();
    let garbage = ["Basic", "Basic !!!", "Basic YWxpY2U=", "Basic Og==", "Digest x", "Bearer made-up", ""];
    for authorization in garbage {
        let with = |path: String| Request::new("GET", path).header("Authorization", authorization);
        assert_eq!(server.stranger().send(with(room.at(""))).expect(200)["participantType"], 4);
        server.stranger().send(with("/room".to_owned())).not_logged_in();
    }
    for who in [server.wrong_password("alice"), server.login("nobody", "nothing"), server.login("alice", "")] {
        assert_eq!(who.sees(&room)["participantType"], 4);
        who.get("/room").not_logged_in();
        who.post(room.at("/participants/active"), &[]).expect(200);
    }
    assert_eq!(alice.sees(&room)["numGuests"], 3);
}

#[test]
fn a_browser_is_sent_to_the_login_page() {
    let server = Server::start();
    let answer = server.stranger().send(Request::new("GET", "/room").header("Accept", "text/html"));
    answer.has_status(303);
    answer.check(!answer.header("Location").is_empty(), "a Location");
}

#[test]
fn every_request_says_that_it_is_meant_for_the_api() {
    let cast = Cast::in_public();
    let path = cast.room.at("");
    for who in [&cast.owner, &cast.guest, &cast.stranger] {
        for request in [
            Request::new("GET", &path).without("OCS-APIRequest"),
            Request::new("GET", &path).header("OCS-APIRequest", "yes"),
            Request::new("PUT", &path).form(&[("roomName", "Forged")]).without("OCS-APIRequest"),
        ] {
            let answer = who.send(request);
            answer.has_status(412);
            answer.has_header("Content-Type", "application/json; charset=utf-8");
            assert_eq!(answer.json(), json!({"message": "CSRF check failed"}));
        }
    }
    let bearer = Request::new("GET", &path).without("OCS-APIRequest").header("Authorization", "Bearer made-up");
    cast.stranger.send(bearer).expect(200);
    // A login is asked for first.
    cast.stranger.send(Request::new("GET", "/room").without("OCS-APIRequest")).not_logged_in();
    assert_eq!(cast.owner.sees(&cast.room)["name"], "Square");
}

#[test]
fn checks_come_in_this_order() {
    let cast = Cast::in_public();
    let path = cast.room.at("/notify");
    cast.guest.send(Request::new("GET", &path)).has_status(405);
    cast.guest.send(Request::new("POST", &path)).not_logged_in();
    cast.outsider.post(&path, &[]).refused(404, Empty);
    cast.member.post(&path, &[]).invalid_query();
    cast.member.post(&path, &[("level", "9")]).refused(400, Null);
}

// Headers

#[test]
fn every_answer_carries_the_safety_headers() {
    let (server, alice, room) = alice_and_room();
    let answers = [
        alice.get(room.at("")),
        alice.get("/room/nosuchroom"),
        server.stranger().get("/room"),
        alice.post("/room", &[("roomType", "2"), ("roomName", "x")]),
    ];
    for answer in &answers {
        for (name, value) in [
            ("Cache-Control", "no-cache, no-store, must-revalidate"),
            ("Content-Security-Policy", "default-src 'none';base-uri 'none';manifest-src 'self'"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "SAMEORIGIN"),
            ("X-Robots-Tag", "none"),
            ("X-Download-Options", "noopen"),
            ("X-Permitted-Cross-Domain-Policies", "none"),
            ("Referrer-Policy", "no-referrer"),
            ("X-XSS-Protection", "1; mode=block"),
        ] {
            answer.has_header(name, value);
        }
        answer.check(answer.header("Feature-Policy").contains("camera 'none'"), "a Feature-Policy");
    }
}

#[test]
fn every_answer_has_a_length_and_ends_the_connection() {
    let (server, alice, room) = alice_and_room();
    let answers = [
        alice.get(room.at("")),
        alice.send(Request::new("HEAD", room.at(""))),
        alice.send(Request::new("PATCH", room.at(""))),
        alice.get("/nothing"),
        alice.send(Request::new("GET", room.at("")).without("OCS-APIRequest")),
        alice.send(Request::new("POST", room.at("/favorite")).header("Content-Length", "999999999")),
        server.stranger().get("/health"),
    ];
    for answer in &answers {
        let ends = |(name, value): &(String, String)| name.eq_ignore_ascii_case("Connection") && value == "close";
        answer.check(answer.headers.iter().any(ends), "Connection: close");
        answer.check(answer.header("Content-Length").parse::<u64>().is_ok(), "a Content-Length");
        for secret in ["X-Powered-By", "WWW-Authenticate", "Access-Control-Allow-Origin"] {
            answer.has_header(secret, "");
        }
    }
}

#[test]
fn health_needs_no_credentials() {
    let server = Server::start();
    server.stranger().send(Request::new("GET", "/health").without("OCS-APIRequest").without("Accept")).has_status(200);
}

#[test]
fn a_guest_who_breaks_the_rules_of_a_login_route_keeps_the_session() {
    let cast = Cast::in_public();
    cast.guest.get("/room").not_logged_in();
    cast.guest.post(cast.room.at("/public"), &[]).not_logged_in();
    assert_eq!(cast.guest.sees(&cast.room)["sessionId"], cast.guest_session);
}
