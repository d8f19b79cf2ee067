//! Who may do what: every route, asked by everybody there is, with a request that is valid.

mod support;

use support::nextcloud::FakeNextcloud;
use support::{Person, Request, Room, Server};

/// The columns of the table. Two accounts stay without a part: one never had any, one was removed.
const ROLES: [&str; 10] = [
    "guest who is not in it",
    "guest",
    "guest moderator",
    "account outside",
    "removed member",
    "self-joined",
    "member",
    "moderator",
    "owner",
    "disabled account",
];

/// Method, path below Talk's own, and the status for each of [`ROLES`]. The conversation is public and has no password; who
/// makes it public once more is told 400.
#[rustfmt::skip]
const TABLE: &[(&str, &str, [u16; 10])] = &[
    ("GET",    "/room",                                   [401, 401, 401, 200, 200, 200, 200, 200, 200, 401]),
    ("POST",   "/room",                                   [401, 401, 401, 201, 201, 201, 201, 201, 201, 401]),
    ("GET",    "/room/{token}",                           [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("PUT",    "/room/{token}",                           [404, 403, 200, 404, 404, 403, 403, 200, 200, 404]),
    ("DELETE", "/room/{token}",                           [404, 403, 200, 404, 404, 403, 403, 200, 200, 404]),
    ("POST",   "/room/{token}/public",                    [401, 401, 401, 404, 404, 403, 403, 400, 400, 401]),
    ("DELETE", "/room/{token}/public",                    [401, 401, 401, 404, 404, 403, 403, 200, 200, 401]),
    ("PUT",    "/room/{token}/read-only",                 [401, 401, 401, 404, 404, 403, 403, 200, 200, 401]),
    ("PUT",    "/room/{token}/password",                  [404, 403, 200, 404, 404, 403, 403, 200, 200, 404]),
    ("POST",   "/room/{token}/favorite",                  [401, 401, 401, 404, 404, 200, 200, 200, 200, 401]),
    ("DELETE", "/room/{token}/favorite",                  [401, 401, 401, 404, 404, 200, 200, 200, 200, 401]),
    ("POST",   "/room/{token}/notify",                    [401, 401, 401, 404, 404, 200, 200, 200, 200, 401]),
    ("GET",    "/room/{token}/participants",              [404, 403, 200, 404, 404, 200, 200, 200, 200, 404]),
    ("POST",   "/room/{token}/participants",              [401, 401, 401, 404, 404, 403, 403, 200, 200, 401]),
    ("DELETE", "/room/{token}/participants",              [404, 403, 200, 404, 404, 403, 200, 200, 200, 404]),
    ("DELETE", "/room/{token}/participants/self",         [401, 401, 401, 404, 404, 200, 200, 200, 200, 401]),
    ("DELETE", "/room/{token}/participants/guests",       [404, 403, 200, 404, 404, 403, 403, 200, 200, 404]),
    ("POST",   "/room/{token}/participants/active",       [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("DELETE", "/room/{token}/participants/active",       [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("POST",   "/room/{token}/moderators",                [404, 403, 200, 404, 404, 403, 403, 200, 200, 404]),
    ("DELETE", "/room/{token}/moderators",                [404, 403, 403, 404, 404, 403, 403, 200, 200, 404]),
    ("POST",   "/guest/{token}/name",                     [404, 200, 200, 404, 404, 403, 403, 403, 403, 404]),
    ("PUT",    "/room/{token}/webinar/lobby",             [401, 401, 401, 404, 404, 403, 403, 200, 200, 401]),
    ("PUT",    "/room/{token}/webinary/lobby",            [401, 401, 401, 404, 404, 403, 403, 200, 200, 401]),
    ("GET",    "/chat/{token}",                           [404, 200, 200, 404, 404, 200, 200, 200, 200, 404]),
    ("POST",   "/chat/{token}",                           [404, 201, 201, 404, 404, 201, 201, 201, 201, 404]),
    ("POST",   "/chat/{token}/read",                      [401, 401, 401, 404, 404, 200, 200, 200, 200, 401]),
    ("GET",    "/chat/{token}/mentions",                  [404, 200, 200, 404, 404, 200, 200, 200, 200, 404]),
    ("GET",    "/call/{token}",                           [404, 200, 200, 404, 404, 200, 200, 200, 200, 404]),
    ("POST",   "/call/{token}",                           [404, 200, 200, 404, 404, 200, 200, 200, 200, 404]),
    ("DELETE", "/call/{token}",                           [404, 200, 200, 404, 404, 200, 200, 200, 200, 404]),
    ("GET",    "/signaling/settings",                     [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/signaling/{token}",                      [404, 200, 200, 404, 404, 200, 200, 200, 200, 404]),
    ("POST",   "/signaling/{token}",                      [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET",    "/cloud/capabilities",                     [200, 200, 200, 200, 200, 200, 200, 200, 200, 401]),
];

/// The parameters that make a request valid. Carol, who is the member, is the one who is to be removed: everybody may
/// do that to themselves. The guest is promoted, and the guest who moderates demoted: nobody may do that to themselves.
fn parameters<'a>(
    method: &str,
    path: &str,
    session: &'a str,
    moderators_session: &'a str,
) -> Vec<(&'static str, &'a str)> {
    match (method, path) {
        ("POST", "/room") => vec![("roomType", "2"), ("roomName", "New")],
        ("PUT", "/room/{token}") => vec![("roomName", "Renamed")],
        ("PUT", "/room/{token}/read-only") => vec![("state", "1")],
        ("PUT", "/room/{token}/password") => vec![("password", "")],
        ("POST", "/room/{token}/notify") => vec![("level", "1")],
        ("POST", "/room/{token}/participants") => vec![("newParticipant", "admin")],
        ("DELETE", "/room/{token}/participants") => vec![("participant", "carol")],
        ("DELETE", "/room/{token}/participants/guests") => vec![("participant", session)],
        ("POST", "/room/{token}/moderators") => vec![("sessionId", session)],
        ("DELETE", "/room/{token}/moderators") => vec![("sessionId", moderators_session)],
        ("POST", "/guest/{token}/name") => vec![("displayName", "Somebody")],
        ("PUT", "/room/{token}/webinar/lobby" | "/room/{token}/webinary/lobby") => vec![("state", "0")],
        ("GET", "/chat/{token}") => vec![("lookIntoFuture", "0")],
        ("POST", "/chat/{token}") => vec![("message", "Hello")],
        ("POST", "/chat/{token}/read") => vec![("lastReadMessage", "1")],
        ("GET", "/chat/{token}/mentions") => vec![("search", "")],
        ("POST", "/call/{token}") => vec![("flags", "1")],
        ("POST", "/signaling/{token}") => vec![("messages", "[]")],
        _ => Vec::new(),
    }
}

/// A public conversation and everybody around it.
struct Scene {
    room: Room,
    people: Vec<Person>,
    /// The guest's, and that of the guest who moderates.
    sessions: [String; 2],
}

impl Scene {
    /// The people in the order of [`ROLES`]. All who take part have joined, but for the account that is disabled.
    fn new(server: &Server) -> Scene {
        let login = |id: &str| server.login(id, &format!("{id}123456"));
        let (owner, erin, guest, moderating) = (login("alice"), login("erin"), server.guest(), server.guest());
        let room = owner.creates_public("Square");
        for id in ["bob", "carol", "dave", "frank"] {
            owner.adds(&room, id);
        }
        owner.promotes(&room, "bob");
        owner.removes(&room, "dave");
        erin.joins(&room);
        let sessions = [guest.joins(&room), moderating.joins(&room)];
        owner.promotes_guest(&room, &sessions[1]);
        let outside = server.login("admin", "admin");
        [&owner, &login("bob"), &login("carol")].into_iter().for_each(|person| drop(person.joins(&room)));
        let people = vec![
            server.guest(),
            guest,
            moderating,
            outside,
            login("dave"),
            erin,
            login("carol"),
            login("bob"),
            owner,
            login("frank"),
        ];
        Scene { room, people, sessions }
    }

    /// The status that the person in this column gets.
    fn asks(&self, column: usize, method: &str, path: &str) -> u16 {
        let parameters = parameters(method, path, &self.sessions[0], &self.sessions[1]);
        let whole = path.replace("{token}", &self.room.token);
        let whole = if path.starts_with("/cloud") { format!("/ocs/v2.php{path}") } else { whole };
        let request = Request::new(method, whole).query(&parameters);
        self.people[column].send(request).status
    }
}

fn below_talk(path: &'static str) -> &'static str {
    path.strip_prefix("/apps/spreed/api/v1").unwrap_or(path)
}

#[test]
fn every_route_for_everybody() {
    let nextcloud = FakeNextcloud::start();
    let server = Server::with_only(&format!("{}login_cache = 600\n", nextcloud.section()));
    let routes: Vec<(&str, &str)> = roomd::routes::names().into_iter().map(|(m, p)| (m, below_talk(p))).collect();
    for (method, path, _) in TABLE {
        assert!(routes.contains(&(method, path)), "no such route: {method} {path}");
    }
    let mut wrong = Vec::new();
    let disabled = ROLES.len() - 1;
    let mut got: Vec<[u16; 10]> = routes
        .iter()
        .map(|(method, path)| {
            let mut row = [0; 10];
            std::thread::scope(|scope| {
                let ask = |column| Scene::new(&server).asks(column, method, path);
                let all: Vec<_> = (0..disabled).map(|column| scope.spawn(move || ask(column))).collect();
                for (column, one) in all.into_iter().enumerate() {
                    row[column] = one.join().unwrap();
                }
            });
            row
        })
        .collect();
    let scenes: Vec<Scene> = routes.iter().map(|_| Scene::new(&server)).collect();
    nextcloud.remove("frank");
    for ((row, scene), (method, path)) in got.iter_mut().zip(&scenes).zip(&routes) {
        row[disabled] = scene.asks(disabled, method, path);
    }
    for ((method, path), row) in routes.iter().zip(&got) {
        match TABLE.iter().find(|(m, p, _)| (m, p) == (method, path)) {
            None => wrong.push(format!("missing in the table: (\"{method}\", \"{path}\", {row:?}),")),
            Some((_, _, wanted)) => {
                for ((role, got), wanted) in
                    ROLES.iter().zip(row).zip(wanted).filter(|((_, got), wanted)| got != wanted)
                {
                    wrong.push(format!("{method} {path} by {role}: {got}, and should be {wanted}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
