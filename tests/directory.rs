//! Who people are: every question to Nextcloud, answered well, badly and not at all.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roomd::config::{self, Config};
use roomd::error::{Error, Result};
use roomd::nextcloud::directory::{Account, Asker, Credentials, Directory};
use roomd::nextcloud::{self, Nextcloud};
use roomd::secret::Secret;
use roomd::talk::participant::UserId;
use support::nextcloud::{Behaviour, FakeNextcloud, Version};

const WHOAMI: &str = "/ocs/v2.php/cloud/user";
const CIRCLE: &str = "86d9e02a719180";

/// The settings for a server, with much patience and admin as the service account.
fn settings(server: &FakeNextcloud) -> config::Nextcloud {
    config::Nextcloud {
        url: server.url(),
        connect_timeout: 60,
        answer_timeout: 60,
        service_user: "admin".to_owned(),
        service_password: Secret::new("admin"),
        ..config::Nextcloud::default()
    }
}

fn client(server: &FakeNextcloud) -> Nextcloud {
    Nextcloud::new(&settings(server)).unwrap()
}

fn without_service(server: &FakeNextcloud) -> Nextcloud {
    let settings = settings(server);
    Nextcloud::new(&config::Nextcloud { service_user: String::new(), ..settings }).unwrap()
}

fn basic(user: &str, password: &str) -> Asker {
    let authorization = Some(Secret::new(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))));
    Asker { credentials: Credentials { authorization, ..Credentials::default() }, address: None }
}

/// A person with the right password.
fn person(user: &str) -> Asker {
    basic(user, &format!("{user}123456"))
}

fn browser(user: &str) -> Asker {
    let credentials = Credentials {
        cookie: Some(Secret::new(format!("a=b; nc_session={user}"))),
        request_token: Some(Secret::new("the-token")),
        authorization: None,
    };
    Asker { credentials, address: None }
}

fn account(id: &str, name: &str) -> Account {
    Account { id: UserId::new(id), display_name: name.into() }
}

fn ids(accounts: &[Account]) -> Vec<&str> {
    accounts.iter().map(|account| account.id.as_str()).collect()
}

#[test]
fn a_login_has_an_id_a_name_and_groups_on_both_versions() {
    let server = FakeNextcloud::start();
    for version in [Version::V18, Version::V30] {
        server.set_version(version);
        let login = client(&server).whoami(&person("alice")).unwrap().unwrap();
        assert_eq!(login.account, account("alice", "Alice A."), "{version:?}");
        assert_eq!(login.groups, ["big", "team"], "{version:?}");
    }
}

#[test]
fn wrong_credentials_are_nobody_whatever_the_401_looks_like() {
    let server = FakeNextcloud::start();
    let mut bearer = person("alice");
    bearer.credentials.authorization = Some(Secret::new("Bearer invalid"));
    for version in [Version::V18, Version::V30] {
        server.set_version(version);
        for asker in [basic("alice", "wrong"), basic("nobody", "nobody123456"), bearer.clone(), browser("nobody")] {
            assert!(client(&server).whoami(&asker).unwrap().is_none(), "{version:?}");
        }
    }
    assert_eq!(server.requests(WHOAMI), 8);
}

#[test]
fn nobody_is_not_asked_about() {
    let server = FakeNextcloud::start();
    let mut asker = Asker { credentials: Credentials::default(), address: None };
    assert!(client(&server).whoami(&asker).unwrap().is_none());
    asker.credentials.authorization = Some(Secret::new("Basic \r\nX-Injected: 1"));
    assert!(client(&server).whoami(&asker).unwrap().is_none());
    assert_eq!(server.all_requests(), 0);
}

#[test]
fn the_request_says_who_asks_and_from_where() {
    let server = FakeNextcloud::start();
    let mut asker = browser("bob");
    asker.address = Some("::ffff:192.0.2.7".parse().unwrap());
    client(&server).whoami(&asker).unwrap().unwrap();
    let request = server.last();
    assert_eq!(request.header("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(request.header("cookie"), Some("a=b; nc_session=bob"));
    assert_eq!(request.header("requesttoken"), Some("the-token"));
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.header("ocs-apirequest"), Some("true"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("user-agent"), Some(concat!("roomd/", env!("CARGO_PKG_VERSION"))));
    client(&server).whoami(&person("bob")).unwrap().unwrap();
    assert_eq!(server.last().header("x-forwarded-for"), None);
}

#[test]
fn cookies_are_passed_on_to_a_login_by_cookie_alone() {
    let server = FakeNextcloud::start();
    let by_cookie = client(&server).whoami(&browser("alice")).unwrap().unwrap();
    let cookies: Vec<&str> = by_cookie.set_cookies.iter().map(Secret::reveal).collect();
    assert!(cookies.contains(&"nc_token=new-token-of-alice; path=/; HttpOnly; SameSite=Lax"), "{cookies:?}");
    assert_eq!(cookies.len(), 4);

    let by_password = client(&server).whoami(&person("alice")).unwrap().unwrap();
    assert!(by_password.set_cookies.is_empty());
    let mut both = browser("alice");
    both.credentials.authorization = person("alice").credentials.authorization;
    assert!(client(&server).whoami(&both).unwrap().unwrap().set_cookies.is_empty());
}

#[test]
fn a_misbehaving_server_is_unavailable_in_time_and_is_never_followed_elsewhere() {
    let (server, elsewhere) = (FakeNextcloud::start(), FakeNextcloud::start());
    let client = client(&server);
    let impatient = Nextcloud::new(&config::Nextcloud { answer_timeout: 1, ..settings(&server) }).unwrap();
    let asker = person("alice");
    type Question = (&'static str, fn(&Nextcloud, &Asker) -> Result<()>);
    let questions: [Question; 6] = [
        ("whoami", |client, asker| client.whoami(asker).map(drop)),
        ("account", |client, asker| client.account(asker, "bob").map(drop)),
        ("group", |client, asker| client.group(asker, "team").map(drop)),
        ("circle", |client, asker| client.circle(asker, CIRCLE).map(drop)),
        ("still_exists", |client, _| client.still_exists(&UserId::new("bob")).map(drop)),
        ("capabilities", |client, asker| client.capabilities(asker).map(drop)),
    ];
    let quick = [
        Behaviour::Status(204),
        Behaviour::Status(412),
        Behaviour::Status(429),
        Behaviour::Status(500),
        Behaviour::Status(503),
        Behaviour::Html,
        Behaviour::Huge,
        Behaviour::Redirect(elsewhere.url()),
        Behaviour::BrokenJson,
        Behaviour::Garbage,
        Behaviour::Closed,
    ];
    let slow = [Behaviour::Held, Behaviour::Hang, Behaviour::Stall];
    for (name, ask) in questions {
        for behaviour in &quick {
            server.set(behaviour.clone());
            let answer = ask(&client, &asker);
            assert!(matches!(answer, Err(Error::Unavailable(_))), "{name}, {behaviour:?}: {answer:?}");
        }
    }
    for behaviour in slow {
        server.set(behaviour.clone());
        // It comes back at all: none of these ends by itself.
        let answer = impatient.whoami(&asker).map(drop);
        assert_eq!(answer, Err(Error::Unavailable("Nextcloud did not answer in time")), "{behaviour:?}");
    }
    assert_eq!(elsewhere.connections(), 0);

    server.set(Behaviour::Ok);
    assert!(client.whoami(&asker).unwrap().is_some(), "it recovers");
}

#[test]
fn a_login_that_is_forbidden_is_not_a_wrong_password() {
    let server = FakeNextcloud::start();
    server.set(Behaviour::Status(403));
    assert!(matches!(client(&server).whoami(&person("alice")), Err(Error::Unavailable(_))));
    server.set(Behaviour::Status(429));
    let throttled = Error::Unavailable("Nextcloud answered that there were too many requests");
    assert_eq!(client(&server).whoami(&person("alice")).map(drop), Err(throttled));
}

#[test]
fn a_server_that_is_not_there_is_unavailable() {
    // A port that is taken and not listened on: nobody else comes to listen there.
    let taken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    taken.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = taken.local_addr().unwrap().as_socket().unwrap();
    let settings = config::Nextcloud { url: format!("http://{address}"), ..config::Nextcloud::default() };
    let answer = Nextcloud::new(&settings).unwrap().whoami(&person("alice")).map(drop);
    assert_eq!(answer, Err(Error::Unavailable("Nextcloud cannot be reached")));
}

#[test]
fn connections_are_used_again() {
    let server = FakeNextcloud::start();
    let client = client(&server);
    for _ in 0..10 {
        client.whoami(&person("alice")).unwrap().unwrap();
        client.whoami(&basic("alice", "wrong")).unwrap();
    }
    assert_eq!((server.requests(WHOAMI), server.connections()), (20, 1));
}

#[test]
fn an_account_is_found_by_its_whole_id_in_any_case() {
    let server = FakeNextcloud::start();
    let client = client(&server);
    let alice = person("alice");
    assert_eq!(client.account(&alice, "bob"), Ok(Some(account("bob", "Bob B."))));
    assert_eq!(client.account(&alice, "BOB"), Ok(Some(account("bob", "Bob B."))));
    for other in ["bo", "Bob B.", "no-such-user", "b&shareTypes[]=1", "é b+c"] {
        assert_eq!(client.account(&alice, other), Ok(None), "{other}");
    }
    assert_eq!(client.account(&alice, "alice"), Ok(None), "Nextcloud leaves the asker out");
    let asked = server.all_requests();
    assert_eq!(client.account(&alice, ""), Ok(None));
    assert_eq!(server.all_requests(), asked, "an empty id asks nothing");
    assert_eq!(client.account(&basic("alice", "wrong"), "bob"), Err(Error::NotLoggedIn));
    server.remove("bob");
    assert_eq!(client.account(&alice, "bob"), Ok(None));
}

#[test]
fn a_group_lists_its_members_by_the_service_account() {
    let server = FakeNextcloud::start();
    for version in [Version::V18, Version::V30] {
        server.set_version(version);
        let client = client(&server);
        let team = client.group(&person("dave"), "team").unwrap().unwrap();
        assert_eq!(ids(&team), ["alice", "bob", "carol"], "{version:?}");
        assert_eq!(team[0].display_name, "Alice A.", "{version:?}");
        assert_eq!(client.group(&person("dave"), "empty"), Ok(Some(Vec::new())), "{version:?}");
        for none in ["no-such-group", "tea", "TEAM", "", ".."] {
            assert_eq!(client.group(&person("dave"), none), Ok(None), "{version:?}, {none}");
        }
    }
}

#[test]
fn a_group_needs_a_service_account_that_may_list_it() {
    let server = FakeNextcloud::start();
    let needs_one = Err(Error::NotConfigured("nextcloud.service_user"));
    let without = without_service(&server);
    assert_eq!(without.group(&person("alice"), "team"), needs_one);
    assert_eq!(without.group(&person("alice"), "no-such-group"), Ok(None), "a missing group comes first");
    for version in [Version::V18, Version::V30] {
        server.set_version(version);
        let service_user = "frank".to_owned();
        let service_password = Secret::new("frank123456");
        let settings = config::Nextcloud { service_user, service_password, ..settings(&server) };
        let client = Nextcloud::new(&settings).unwrap();
        assert_eq!(client.group(&person("alice"), "team"), needs_one, "{version:?}");
    }
}

#[test]
fn a_circle_is_for_its_members_and_not_on_18() {
    let server = FakeNextcloud::start();
    let client = client(&server);
    let circle = client.circle(&person("alice"), CIRCLE).unwrap().unwrap();
    assert_eq!(circle.name, "Fans");
    assert_eq!(ids(&circle.members), ["alice", "bob", "carol"]);
    assert_eq!(client.circle(&person("dave"), CIRCLE), Ok(None));
    assert_eq!(client.circle(&person("alice"), "no-such-circle"), Ok(None));
    assert_eq!(client.circle(&person("alice"), ""), Ok(None));
    server.set_version(Version::V18);
    assert_eq!(client.circle(&person("alice"), CIRCLE), Err(Error::BadRequest));
}

#[test]
fn only_the_service_account_can_say_that_an_account_is_gone() {
    let server = FakeNextcloud::start();
    let bob = UserId::new("bob");
    assert_eq!(without_service(&server).still_exists(&bob), Ok(None));
    for version in [Version::V18, Version::V30] {
        server.set_version(version);
        assert_eq!(client(&server).still_exists(&bob), Ok(Some(true)), "{version:?}");
        assert_eq!(client(&server).still_exists(&UserId::new("no such user")), Ok(Some(false)), "{version:?}");
        // Nextcloud 30 answers 404 for accounts that exist, too, when the service account may not see them.
        let service_user = "frank".to_owned();
        let service_password = Secret::new("frank123456");
        let settings = config::Nextcloud { service_user, service_password, ..settings(&server) };
        assert_eq!(Nextcloud::new(&settings).unwrap().still_exists(&bob), Ok(None), "{version:?}");
    }
}

#[test]
fn capabilities_are_those_that_the_asker_sees() {
    let server = FakeNextcloud::start();
    let seen = client(&server).capabilities(&person("alice")).unwrap();
    assert_eq!(seen["version"]["major"], 30);
    assert_eq!(seen["capabilities"]["core"]["pollinterval"], 60);
    let guest = Asker { credentials: Credentials::default(), address: None };
    let seen = client(&server).capabilities(&guest).unwrap();
    assert!(seen["capabilities"]["core"].is_null());
}

#[test]
fn a_url_may_have_a_path_and_a_slash_at_its_end() {
    let server = FakeNextcloud::start();
    let settings = config::Nextcloud { url: format!("{}/cloud/", server.url()), ..settings(&server) };
    let answer = Nextcloud::new(&settings).unwrap().whoami(&person("alice"));
    assert!(matches!(answer, Err(Error::Unavailable(_))), "the fake Nextcloud has no such path");
    assert_eq!(server.requests("/cloud/ocs/v2.php/cloud/user"), 1);
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let error = |settings: config::Nextcloud| Nextcloud::new(&settings).err().unwrap_or_default();
    let url = |url: &str| config::Nextcloud { url: url.to_owned(), ..config::Nextcloud::default() };
    for bad in ["https://", "https://a b", "cloud.example.com", "ftp://c", "https://c/?a=b", "https://user:pw@c"] {
        assert!(error(url(bad)).starts_with("nextcloud.url"), "{bad}: {}", error(url(bad)));
    }
    let proxy = config::Nextcloud { proxy: "gopher://x".to_owned(), ..url("https://c") };
    assert!(error(proxy).starts_with("nextcloud.proxy"));
    for (file, what) in [("no/such/file.pem", "nextcloud.ca_file, no/such"), ("Cargo.toml", "nextcloud.ca_file, Cargo")]
    {
        let settings = config::Nextcloud { ca_file: Some(file.into()), ..url("https://c") };
        assert!(error(settings.clone()).starts_with(what), "{}", error(settings));
    }
}

#[test]
fn the_configuration_chooses_the_directory() {
    let server = FakeNextcloud::start();
    let config = Config { nextcloud: settings(&server), ..Config::default() };
    let directory = nextcloud::open(&config).unwrap();
    assert!(directory.whoami(&person("dave")).unwrap().is_some());
    assert_eq!(server.requests(WHOAMI), 1);

    let local = Config::parse(include_str!("../config/local.toml")).unwrap();
    local.check().unwrap();
    let directory = nextcloud::open(&local).unwrap();
    let login = directory.whoami(&person("alice")).unwrap().unwrap();
    assert_eq!(login.account, account("alice", "Alice A."));
    assert!(directory.whoami(&person("dave")).unwrap().is_none());
}

#[test]
fn the_people_of_the_conformance_cases_are_as_on_the_fake_nextcloud() {
    let server = FakeNextcloud::start();
    let config = Config::parse(include_str!("conformance.toml")).unwrap();
    config.check().unwrap();
    let local = nextcloud::open(&config).unwrap();
    let real = client(&server);
    let alice = person("alice");
    for id in ["bob", "carol", "dave", "erin", "frank", "admin", "no-such-user"] {
        assert_eq!(local.account(&alice, id), real.account(&alice, id), "{id}");
    }
    for id in ["team", "big", "admin", "empty", "no-such-group"] {
        assert_eq!(local.group(&alice, id), real.group(&alice, id), "{id}");
    }
    for id in [CIRCLE, "no-such-circle"] {
        assert_eq!(local.circle(&alice, id), real.circle(&alice, id), "{id}");
    }
    assert!(local.whoami(&basic("admin", "admin")).unwrap().is_some());
}
