//! What Nextcloud 18.0.2 and 30.0.5 answer, as it was recorded from real ones.

use super::{Received, Reply, State, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Id, display name, groups.
type Person = (&'static str, &'static str, &'static [&'static str]);

const PEOPLE: [Person; 7] = [
    ("admin", "admin", &["admin", "big"]),
    ("alice", "Alice A.", &["big", "team"]),
    ("bob", "Bob B.", &["big", "team"]),
    ("carol", "Carol C.", &["big", "team"]),
    ("dave", "Dave D.", &["big"]),
    ("erin", "Erin E.", &["big"]),
    ("frank", "Frank F.", &["big"]),
];
const GROUPS: [&str; 4] = ["admin", "big", "empty", "team"];
const CIRCLE: (&str, &str, [&str; 3]) = ("86d9e02a719180", "Fans", ["alice", "bob", "carol"]);

const CIRCLES_API: &str = "/ocs/v2.php/apps/circles/circles/";
const UNKNOWN_ROUTE: &str = "Invalid query, please check the syntax. API specifications are here: \
     http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n";
const UNAUTHORISED_XML: &str = "<?xml version=\"1.0\"?>\n<ocs>\n <meta>\n  <status>failure</status>\n  \
     <statuscode>997</statuscode>\n  <message>Unauthorised</message>\n </meta>\n <data/>\n</ocs>\n";

/// Who asks.
enum Caller {
    /// No credentials, or a Bearer token or cookie of nobody's.
    Nobody,
    /// A wrong password.
    Wrong,
    /// This person.
    Person(&'static Person),
}

/// The answer to one request, cookies included.
pub(super) fn answer(state: &State, received: &Received) -> Reply {
    let mut reply = match received.path.as_str() {
        "/status.php" => status(state),
        "/index.php/apps/notify_push/test/remote" => remote(state, received),
        _ => ocs(state, received),
    };
    let mut cookies = vec![
        "oc_sessionPassphrase=p; path=/; HttpOnly; SameSite=Lax".to_owned(),
        "nc_sameSiteCookielax=true; path=/; httponly;expires=Fri, 31-Dec-2100 23:59:59 GMT; SameSite=lax".to_owned(),
        "ocrr8ix8dqwu=s; path=/; HttpOnly; SameSite=Lax".to_owned(),
    ];
    if let Some(user) = session(received) {
        // A remember-me token that was used up and replaced.
        cookies.push(format!("nc_token=new-token-of-{user}; path=/; HttpOnly; SameSite=Lax"));
    }
    reply.headers.extend(cookies.into_iter().map(|cookie| ("Set-Cookie", cookie)));
    reply
}

fn status(state: &State) -> Reply {
    let (version, string) = match state.version {
        Version::V18 => ("18.0.2.2", "18.0.2"),
        Version::V30 => ("30.0.5.1", "30.0.5"),
    };
    let body = json!({
        "installed": true, "maintenance": false, "needsDbUpgrade": false, "version": version,
        "versionstring": string, "edition": "", "productname": "Nextcloud", "extendedSupport": false
    });
    Reply::new(200, "application/json", body.to_string())
}

/// The address from which the push app was asked, as far as Nextcloud knows.
fn remote(state: &State, received: &Received) -> Reply {
    let Some(trusts) = state.trusts_proxies else {
        return Reply::new(404, "text/html; charset=UTF-8", "<!DOCTYPE html><p>Page not found".to_owned());
    };
    let forwarded = received.header("x-forwarded-for").filter(|_| trusts);
    Reply::new(200, "text/html; charset=UTF-8", forwarded.unwrap_or("127.0.0.1").to_owned())
}

fn ocs(state: &State, received: &Received) -> Reply {
    let v30 = state.version == Version::V30;
    let path = received.path.as_str();
    let caller = match caller(state, received) {
        Caller::Wrong if v30 => {
            let mut reply = Reply::new(401, "text/xml; charset=UTF-8", UNAUTHORISED_XML.to_owned());
            reply.headers.push(("WWW-Authenticate", "Basic realm=\"Authorisation Required\"".to_owned()));
            return reply;
        }
        Caller::Wrong | Caller::Nobody if path == "/ocs/v2.php/cloud/capabilities" => {
            return success(capabilities(state, false));
        }
        Caller::Wrong | Caller::Nobody => return failure(401, 997, "Current user is not logged in"),
        Caller::Person(person) => person,
    };
    if received.header("ocs-apirequest") != Some("true") {
        return Reply::json(412, r#"{"message":"CSRF check failed"}"#.to_owned());
    }
    if path == "/ocs/v2.php/cloud/user" {
        return success(details(state, caller, !v30));
    }
    if path == "/ocs/v2.php/cloud/capabilities" {
        return success(capabilities(state, true));
    }
    if path == "/ocs/v2.php/core/autocomplete/get" {
        return success(proposals(state, received, caller));
    }
    if let Some(user) = path.strip_prefix("/ocs/v2.php/cloud/users/") {
        return match (person(state, &decoded(user)), caller.0) {
            (None, _) => failure(404, 404, "User does not exist"),
            (Some(user), asker) if asker == "admin" || asker == user.0 => success(details(state, user, false)),
            _ if v30 => failure(404, 998, ""),
            _ => failure(401, 997, ""),
        };
    }
    if let Some(rest) = path.strip_prefix("/ocs/v2.php/cloud/groups/") {
        return group(state, rest, caller, v30);
    }
    if let Some(rest) = path.strip_prefix(CIRCLES_API).filter(|_| v30) {
        return circle(state, rest, caller);
    }
    failure(404, 404, UNKNOWN_ROUTE)
}

fn caller(state: &State, received: &Received) -> Caller {
    // A browser's session wins over a password.
    if let Some(person) = session(received).and_then(|user| person(state, user)) {
        return Caller::Person(person);
    }
    let Some((scheme, value)) = received.header("authorization").and_then(|header| header.split_once(' ')) else {
        return Caller::Nobody;
    };
    if scheme == "Bearer" {
        let user = value.strip_prefix("token-").and_then(|user| person(state, user));
        return user.map_or(Caller::Nobody, Caller::Person);
    }
    let login = STANDARD.decode(value).ok().and_then(|login| String::from_utf8(login).ok()).unwrap_or_default();
    let (user, password) = login.split_once(':').unwrap_or_default();
    let user = user.to_ascii_lowercase();
    let right = if user == "admin" { "admin".to_owned() } else { format!("{user}123456") };
    person(state, &user).filter(|_| password == right).map_or(Caller::Wrong, Caller::Person)
}

/// The user of the cookie `nc_session`.
fn session(received: &Received) -> Option<&str> {
    received.header("cookie")?.split(';').find_map(|cookie| cookie.trim().strip_prefix("nc_session="))
}

fn person(state: &State, id: &str) -> Option<&'static Person> {
    PEOPLE.iter().find(|person| person.0 == id && !state.gone.contains(id))
}

fn people<'a>(state: &'a State) -> impl Iterator<Item = &'static Person> + 'a {
    PEOPLE.iter().filter(|person| !state.gone.contains(person.0))
}

fn name(state: &State, person: &Person) -> String {
    state.names.get(person.0).cloned().unwrap_or_else(|| person.1.to_owned())
}

fn decoded(segment: &str) -> String {
    // Forms and paths differ in the plus sign only.
    let form = segment.replace('+', "%2B");
    form_urlencoded::parse(form.as_bytes()).map(|(key, _)| key.into_owned()).next().unwrap_or_default()
}

/// One's own account on 18 has another key for the name than everything else.
fn details(state: &State, person: &Person, old_own: bool) -> Value {
    let mut details = json!({
        "id": person.0, "lastLogin": 1795396933000_u64, "backend": "Database", "subadmin": [],
        "quota": {"free": 70000000000_u64, "used": 0, "total": 70000000000_u64, "relative": 0, "quota": -3},
        "email": null, "groups": person.2, "language": "", "locale": ""
    });
    if !old_own {
        details["enabled"] = json!(true);
        details["displayname"] = json!(name(state, person));
    }
    if old_own || state.version == Version::V30 {
        details["display-name"] = json!(name(state, person));
    }
    details
}

fn capabilities(state: &State, logged_in: bool) -> Value {
    if let Some(data) = &state.capabilities {
        return data.clone();
    }
    let (major, micro, string) = match state.version {
        Version::V18 => (18, 2, "18.0.2"),
        Version::V30 => (30, 5, "30.0.5"),
    };
    let mut capabilities = json!({"bruteforce": {"delay": 0}, "theming": {"name": "Nextcloud"}});
    if logged_in {
        capabilities["core"] = json!({"pollinterval": 60, "webdav-root": "remote.php/webdav"});
    }
    let version = json!({
        "major": major, "minor": 0, "micro": micro, "string": string, "edition": "", "extendedSupport": false
    });
    json!({"version": version, "capabilities": capabilities})
}

/// Everything whose id or name contains the search, but never the caller; circles by name only.
fn proposals(state: &State, received: &Received, caller: &Person) -> Value {
    let search = received.parameter("search").unwrap_or_default().to_lowercase();
    let contains = |text: &str| text.to_lowercase().contains(&search);
    let found: Vec<(String, String)> = match received.parameter("shareTypes[]").as_deref() {
        Some("0") => people(state)
            .filter(|person| person.0 != caller.0)
            .map(|person| (person.0.to_owned(), name(state, person)))
            .filter(|(id, name)| contains(id) || contains(name))
            .collect(),
        Some("1") => GROUPS.iter().filter(|group| contains(group)).map(|g| (g.to_string(), g.to_string())).collect(),
        Some("7") if contains(CIRCLE.1) && CIRCLE.2.contains(&caller.0) => vec![(CIRCLE.0.into(), CIRCLE.1.into())],
        _ => Vec::new(),
    };
    let source = match received.parameter("shareTypes[]").as_deref() {
        Some("0") => "users",
        Some("1") => "groups",
        _ => "circles",
    };
    let proposal = |(id, label): (String, String)| match state.version {
        Version::V18 => json!({"id": id, "label": label, "source": source}),
        Version::V30 => json!({
            "id": id, "label": label, "icon": "", "source": source, "status": "", "subline": "",
            "shareWithDisplayNameUnique": ""
        }),
    };
    found.into_iter().map(proposal).collect()
}

/// `{id}/users` and `{id}/users/details`.
fn group(state: &State, rest: &str, caller: &Person, v30: bool) -> Reply {
    let (id, with_details) = match rest.strip_suffix("/users/details") {
        Some(id) => (decoded(id), true),
        None => (decoded(rest.strip_suffix("/users").unwrap_or("")), false),
    };
    if caller.0 != "admin" {
        return if v30 {
            failure(403, 403, "Logged in account must be at least a sub admin")
        } else {
            failure(401, 997, "Logged in user must be at least a sub admin")
        };
    }
    if !GROUPS.contains(&id.as_str()) {
        return failure(404, 404, "The requested group could not be found");
    }
    let members: Vec<&Person> = people(state).filter(|person| person.2.contains(&id.as_str())).collect();
    if !with_details {
        return success(json!({"users": members.iter().map(|person| person.0).collect::<Vec<_>>()}));
    }
    if members.is_empty() {
        // PHP does not know an empty map from an empty list.
        return success(json!({"users": []}));
    }
    let users: Map<String, Value> =
        members.iter().map(|person| (person.0.to_owned(), details(state, person, false))).collect();
    success(json!({"users": users}))
}

/// `{id}` and `{id}/members`.
fn circle(state: &State, rest: &str, caller: &Person) -> Reply {
    let (id, members) = match rest.strip_suffix("/members") {
        Some(id) => (id, true),
        None => (rest, false),
    };
    let known = id == CIRCLE.0 && CIRCLE.2.contains(&caller.0);
    match (known, members) {
        (false, true) => success(json!([])),
        (false, false) => failure(404, 404, "Circle not found"),
        (true, false) => success(json!({
            "id": id, "name": CIRCLE.1, "displayName": CIRCLE.1, "sanitizedName": CIRCLE.1, "source": 16,
            "population": 3, "config": 0, "description": "", "url": "", "creation": 1795393771
        })),
        (true, true) => success(
            CIRCLE
                .2
                .iter()
                .filter_map(|member| person(state, member))
                .map(|member| {
                    json!({
                        "id": format!("member-{}", member.0), "circleId": id, "singleId": "x", "userId": member.0,
                        "userType": 1, "instance": "cloud.example.com", "local": true,
                        "level": if member.0 == "alice" { 9 } else { 1 }, "status": "Member",
                        "displayName": name(state, member), "displayUpdate": 1795393771, "notes": []
                    })
                })
                .collect(),
        ),
    }
}

fn success(data: Value) -> Reply {
    let meta = json!({"status": "ok", "statuscode": 200, "message": "OK"});
    Reply::json(200, json!({"ocs": {"meta": meta, "data": data}}).to_string())
}

fn failure(status: u16, code: u16, message: &str) -> Reply {
    let meta = json!({"status": "failure", "statuscode": code, "message": message});
    Reply::json(status, json!({"ocs": {"meta": meta, "data": []}}).to_string())
}
