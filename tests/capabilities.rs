//! `/cloud/capabilities`: Nextcloud's own answer with Talk's part in it.

mod support;

use serde_json::{Value, json};
use support::nextcloud::{Behaviour, FakeNextcloud, Version};
use support::{Answer, Person, Request, Server, eventually};

const V1: &str = "/ocs/v1.php/cloud/capabilities";
const V2: &str = "/ocs/v2.php/cloud/capabilities";

/// What clients look for, in Talk's order.
fn spreed() -> Value {
    json!({
        "features": [
            "audio", "video", "chat-v2", "guest-signaling", "empty-group-room", "guest-display-names",
            "multi-room-users", "favorites", "last-room-activity", "no-ping", "system-messages", "mention-flag",
            "in-call-flags", "notification-levels", "invite-groups-and-mails", "locked-one-to-one-rooms",
            "read-only-rooms", "chat-read-marker", "webinary-lobby", "start-call-flag", "chat-replies",
            "circles-support"
        ],
        "config": {"chat": {"max-length": 32000}}
    })
}

/// What a Nextcloud with everything that is hard to pass on might say. `talk` is its own Talk's part.
fn nextclouds(talk: Option<Value>) -> Value {
    let mut data = json!({
        "version": {
            "major": 30, "minor": 0, "micro": 5, "string": "30.0.5", "edition": "", "extendedSupport": false
        },
        "capabilities": {
            "zebra": {"z": 1, "a": [], "m": {"empty": {}, "none": null}},
            "core": {"pollinterval": 60, "webdav-root": "remote.php/webdav", "mod-rewrite-working": true},
            "spreed": null,
            "numbers": {"half": 0.5, "one": 1.0, "minus": -3, "large": 18446744073709551615_u64, "list": [3, 1, 2]},
            "theming": {"name": "Ünïcode & <b>", "url": "https://example.com/", "logo": "\u{1f980}"},
            "alpha": false
        }
    });
    match talk {
        Some(talk) => data["capabilities"]["spreed"] = talk,
        None => drop(data["capabilities"].as_object_mut().unwrap().shift_remove("spreed")),
    }
    data
}

fn start(nextcloud: &FakeNextcloud, more: &str) -> Server {
    Server::with_only(&format!("{}{more}", nextcloud.section()))
}

fn user(server: &Server, id: &str) -> Person {
    server.login(id, &format!("{id}123456"))
}

/// The whole body is this data in its envelope, byte by byte.
#[track_caller]
fn is_exactly(answer: &Answer, data: &Value) {
    answer.has_status(200);
    let wanted =
        format!("{{\"ocs\":{{\"meta\":{{\"status\":\"ok\",\"statuscode\":200,\"message\":\"OK\"}},\"data\":{data}}}}}");
    answer.check(answer.text() == wanted, &wanted);
}

#[test]
fn talks_part_is_put_where_nextcloud_has_its_own() {
    let nextcloud = FakeNextcloud::start();
    let own =
        json!({"features": ["audio", "conversation-v4"], "config": {"call": {"enabled": true}}, "version": "20.1.4"});
    nextcloud.set_capabilities(nextclouds(Some(own)));
    let server = start(&nextcloud, "");
    let wanted = nextclouds(Some(spreed()));
    for who in [user(&server, "alice"), server.guest(), server.stranger()] {
        is_exactly(&who.get(V2), &wanted);
    }
}

#[test]
fn talks_part_is_added_where_nextcloud_has_none() {
    let nextcloud = FakeNextcloud::start();
    nextcloud.set_capabilities(nextclouds(None));
    let server = start(&nextcloud, "");
    let mut wanted = nextclouds(None);
    wanted["capabilities"]["spreed"] = spreed();
    is_exactly(&user(&server, "alice").get(V2), &wanted);
    is_exactly(&server.stranger().get(V2), &wanted);
}

#[test]
fn each_gets_what_nextcloud_tells_them() {
    for version in [Version::V18, Version::V30] {
        let nextcloud = FakeNextcloud::start();
        nextcloud.set_version(version);
        let server = start(&nextcloud, "");
        let (alice, guest) = (user(&server, "alice"), server.guest());
        let seen = alice.get(V2).expect(200);
        assert_eq!(seen["version"]["major"], if version == Version::V18 { 18 } else { 30 });
        assert_eq!(
            (&seen["capabilities"]["core"]["pollinterval"], &seen["capabilities"]["spreed"]),
            (&json!(60), &spreed())
        );
        let login = nextcloud.last();
        assert!(login.header("authorization").is_some_and(|value| value.starts_with("Basic ")), "in alice's name");
        let answer = guest.get(V2);
        let seen = answer.expect(200);
        assert_eq!((&seen["capabilities"]["core"], &seen["capabilities"]["spreed"]), (&Value::Null, &spreed()));
        assert_eq!(nextcloud.last().header("authorization"), None);
        answer.check(answer.header("Set-Cookie").is_empty(), "none of Nextcloud's cookies");
    }
}

#[test]
fn v1_and_xml_say_the_same() {
    let nextcloud = FakeNextcloud::start();
    let server = start(&nextcloud, "");
    let alice = user(&server, "alice");
    let answer = alice.get(V1);
    let meta = json!({"status": "ok", "statuscode": 100, "message": "OK", "totalitems": "", "itemsperpage": ""});
    assert_eq!((answer.status, answer.meta()), (200, meta));
    assert_eq!(answer.json()["ocs"]["data"], alice.get(V2).json()["ocs"]["data"]);
    let features: String = spreed()["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feature| format!("     <element>{}</element>\n", feature.as_str().unwrap()))
        .collect();
    let block = format!(
        "   <spreed>\n    <features>\n{features}    </features>\n    <config>\n     <chat>\n      \
         <max-length>32000</max-length>\n     </chat>\n    </config>\n   </spreed>\n"
    );
    for path in [V1, V2] {
        for request in [
            Request::new("GET", path).without("Accept"),
            Request::new("GET", path).header("Accept", "application/xml"),
            Request::new("GET", path).query(&[("format", "xml")]),
        ] {
            let answer = alice.send(request);
            answer.has_header("Content-Type", "application/xml; charset=utf-8");
            answer.check(answer.text().contains(&block), &block);
            answer.check(answer.text().contains("<pollinterval>60</pollinterval>"), "Nextcloud's part as well");
        }
    }
}

#[test]
fn who_may_not_use_talk_sees_none_of_it() {
    let nextcloud = FakeNextcloud::start();
    let server = start(&nextcloud, "[talk]\nallowed_groups = [\"team\"]\n");
    for own in [None, Some(json!({"features": ["audio"]}))] {
        nextcloud.set_capabilities(nextclouds(own.clone()));
        is_exactly(&user(&server, "dave").get(V2), &nextclouds(None));
        let seen = user(&server, "alice").get(V2).expect(200);
        assert_eq!(seen["capabilities"]["spreed"], spreed());
        let seen = server.guest().get(V2).expect(200);
        assert_eq!(seen["capabilities"]["spreed"], spreed(), "guests have no groups");
    }
}

#[test]
fn without_nextcloud_there_is_no_answer() {
    let nextcloud = FakeNextcloud::start();
    let server = Server::with_only(&nextcloud.impatient_section());
    let (alice, guest) = (user(&server, "alice"), server.guest());
    eventually("there is one with Nextcloud", || alice.get(V2).status == 200);
    let elsewhere = FakeNextcloud::start();
    for behaviour in [
        Behaviour::Html,
        Behaviour::Status(500),
        Behaviour::Status(503),
        Behaviour::Status(200),
        Behaviour::BrokenJson,
        Behaviour::Garbage,
        Behaviour::Closed,
        Behaviour::Hang,
        Behaviour::Redirect(elsewhere.url()),
    ] {
        nextcloud.set(behaviour.clone());
        for who in [&alice, &guest] {
            for path in [V1, V2] {
                let answer = who.get(path);
                answer.check(answer.status == 503, &format!("503 while Nextcloud does {behaviour:?}"));
                answer.check(!answer.header("Retry-After").is_empty(), "when to try again");
            }
        }
    }
    assert_eq!(elsewhere.all_requests(), 0);
    nextcloud.set(Behaviour::Ok);
    eventually("there is one again", || alice.get(V2).status == 200);
    drop(nextcloud);
}

#[test]
fn an_answer_without_capabilities_is_no_answer() {
    let nextcloud = FakeNextcloud::start();
    let server = start(&nextcloud, "");
    for data in [json!([]), json!({}), json!({"capabilities": []}), json!("x")] {
        nextcloud.set_capabilities(data);
        server.guest().get(V2).has_status(503);
    }
}

#[test]
fn the_header_against_forged_requests_is_needed() {
    let nextcloud = FakeNextcloud::start();
    let server = start(&nextcloud, "");
    for who in [user(&server, "alice"), server.guest()] {
        let answer = who.send(Request::new("GET", V2).without("OCS-APIRequest"));
        assert_eq!((answer.status, answer.json()), (412, json!({"message": "CSRF check failed"})));
    }
    assert_eq!(nextcloud.requests(V2), 0);
}

#[test]
fn local_users_have_capabilities_too() {
    let server = Server::start();
    for who in [server.user("alice"), server.guest()] {
        let seen = who.get(V2).expect(200);
        assert_eq!(seen["capabilities"]["spreed"], spreed());
        assert!(seen["version"]["major"].is_number(), "{seen}");
    }
}
