//! Every route on one page: method, path, who may call it, where it is served, and the handler.

use crate::api::{
    Context, Lane, Reply, call, capabilities, chat, conversation, guest, participant, signaling, webinar,
};
use crate::error::{Error, Result};
use crate::http::Method;
use crate::ocs::Version;
use crate::talk::permission::{Gate, Role};
use crate::talk::token::Token;
use std::borrow::Cow;

/// What answers a request.
pub type Handler = fn(&Context) -> Result<Reply>;

/// One line of the table.
pub struct Route {
    /// The method; HEAD is matched like GET.
    pub method: Method,
    /// The path below the entry script. `{token}` stands for a whole segment.
    pub path: &'static str,
    /// Who may call it (SPEC A.9).
    pub gate: Gate,
    /// Where it starts. A handler that finds it must ask Nextcloud or hash moves to another lane.
    pub lane: Lane,
    /// What answers.
    pub handler: Handler,
}

const fn route(method: Method, path: &'static str, gate: Gate, lane: Lane, handler: Handler) -> Route {
    Route { method, path, gate, lane, handler }
}

use Lane::{Fast, Slow};
use Method::{Delete, Get, Post, Put};
use Role::{Anyone, Moderator, Participant, UserModerator};

const fn login(role: Role) -> Gate {
    Gate::login(role)
}

const fn public(role: Role) -> Gate {
    Gate::public(role)
}

/// For participants, while neither read-only nor the lobby stops them.
const fn writing() -> Gate {
    public(Participant).read_write().no_lobby()
}

/// The API.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    route(Get,    "/apps/spreed/api/v1/room",                             login(Anyone),                   Fast, conversation::list),
    route(Post,   "/apps/spreed/api/v1/room",                             login(Anyone),                   Fast, conversation::create),
    route(Get,    "/apps/spreed/api/v1/room/{token}",                     public(Anyone),                  Fast, conversation::show),
    route(Put,    "/apps/spreed/api/v1/room/{token}",                     public(Moderator),               Fast, conversation::rename),
    route(Delete, "/apps/spreed/api/v1/room/{token}",                     public(Moderator),               Fast, conversation::delete),
    route(Post,   "/apps/spreed/api/v1/room/{token}/public",              login(UserModerator),            Fast, conversation::allow_guests),
    route(Delete, "/apps/spreed/api/v1/room/{token}/public",              login(UserModerator),            Fast, conversation::disallow_guests),
    route(Put,    "/apps/spreed/api/v1/room/{token}/read-only",           login(Moderator),                Fast, conversation::set_read_only),
    route(Put,    "/apps/spreed/api/v1/room/{token}/password",            public(Moderator),               Slow, conversation::set_password),
    route(Post,   "/apps/spreed/api/v1/room/{token}/favorite",            login(Participant),              Fast, conversation::add_favorite),
    route(Delete, "/apps/spreed/api/v1/room/{token}/favorite",            login(Participant),              Fast, conversation::remove_favorite),
    route(Post,   "/apps/spreed/api/v1/room/{token}/notify",              login(Participant),              Fast, conversation::set_notification_level),

    route(Get,    "/apps/spreed/api/v1/room/{token}/participants",        public(Participant).no_lobby(),  Fast, participant::list),
    route(Post,   "/apps/spreed/api/v1/room/{token}/participants",        login(UserModerator),            Slow, participant::add),
    route(Delete, "/apps/spreed/api/v1/room/{token}/participants",        public(Participant),             Fast, participant::remove),
    route(Delete, "/apps/spreed/api/v1/room/{token}/participants/self",   login(Participant),              Fast, participant::remove_self),
    route(Delete, "/apps/spreed/api/v1/room/{token}/participants/guests", public(Moderator),               Fast, participant::remove_guest),
    route(Post,   "/apps/spreed/api/v1/room/{token}/participants/active", public(Anyone),                  Fast, participant::join),
    route(Delete, "/apps/spreed/api/v1/room/{token}/participants/active", public(Anyone),                  Fast, participant::leave),
    route(Post,   "/apps/spreed/api/v1/room/{token}/moderators",          public(Moderator),               Fast, participant::promote),
    route(Delete, "/apps/spreed/api/v1/room/{token}/moderators",          public(Moderator),               Fast, participant::demote),
    route(Post,   "/apps/spreed/api/v1/guest/{token}/name",               public(Participant),             Fast, guest::set_name),

    route(Put,    "/apps/spreed/api/v1/room/{token}/webinar/lobby",       login(Moderator),                Fast, webinar::set_lobby),
    route(Put,    "/apps/spreed/api/v1/room/{token}/webinary/lobby",      login(Moderator),                Fast, webinar::set_lobby),

    route(Get,    "/apps/spreed/api/v1/chat/{token}",                     public(Participant).no_lobby(),  Fast, chat::receive),
    route(Post,   "/apps/spreed/api/v1/chat/{token}",                     writing(),                       Fast, chat::send),
    route(Post,   "/apps/spreed/api/v1/chat/{token}/read",                login(Participant),              Fast, chat::set_read_marker),
    route(Get,    "/apps/spreed/api/v1/chat/{token}/mentions",            writing(),                       Fast, chat::suggest_mentions),

    route(Get,    "/apps/spreed/api/v1/call/{token}",                     writing(),                       Fast, call::peers),
    route(Post,   "/apps/spreed/api/v1/call/{token}",                     writing(),                       Fast, call::join),
    route(Delete, "/apps/spreed/api/v1/call/{token}",                     public(Participant),             Fast, call::leave),

    route(Get,    "/apps/spreed/api/v1/signaling/settings",               public(Anyone),                  Fast, signaling::settings),
    route(Get,    "/apps/spreed/api/v1/signaling/{token}",                public(Anyone),                  Fast, signaling::pull),
    route(Post,   "/apps/spreed/api/v1/signaling/{token}",                public(Anyone),                  Fast, signaling::post),

    route(Get,    "/cloud/capabilities",                                  public(Anyone).beyond_talk(),    Slow, capabilities::show),
];

/// A request's path taken apart.
pub struct Found {
    /// The route.
    pub route: &'static Route,
    /// The token in the path.
    pub token: Option<Token>,
}

/// Which entry script a path names, and the rest of it. `v2.php` is assumed where there is none.
pub fn entry(path: &str) -> (Version, Option<&str>) {
    for (script, version) in [("/ocs/v2.php", Version::V2), ("/ocs/v1.php", Version::V1)] {
        if let Some(rest) = path.strip_prefix(script) {
            return (version, Some(rest));
        }
    }
    (Version::V2, None)
}

/// Repeated slashes count as one (SPEC A.1).
pub fn collapse_slashes(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Finds the route of a method and a path below the entry script. A known path with another method is
/// [`Error::MethodNotAllowed`], everything else [`Error::InvalidQuery`].
pub fn find(method: Method, path: &str) -> Result<Found> {
    let mut known_path = false;
    for route in ROUTES {
        let Some(token) = match_path(route.path, path) else { continue };
        if route.method == method {
            return Ok(Found { route, token });
        }
        known_path = true;
    }
    Err(if known_path { Error::MethodNotAllowed } else { Error::InvalidQuery })
}

/// A route's number in the table, under which it is counted.
pub fn number(route: &'static Route) -> usize {
    ROUTES.iter().position(|other| std::ptr::eq(other, route)).unwrap_or(ROUTES.len())
}

/// Method and path of every route, by number.
pub fn names() -> Vec<(&'static str, &'static str)> {
    let method = |route: &Route| match route.method {
        Get => "GET",
        Post => "POST",
        Put => "PUT",
        Delete => "DELETE",
        Method::Other => "",
    };
    ROUTES.iter().map(|route| (method(route), route.path)).collect()
}

/// Compares a path with a route's; `Some(None)` is a match without a token.
fn match_path(pattern: &str, path: &str) -> Option<Option<Token>> {
    let Some((before, placeholder)) = pattern.split_once('{') else { return (path == pattern).then_some(None) };
    let (_, after) = placeholder.split_once('}')?;
    let rest = path.strip_prefix(before)?;
    let (segment, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if rest == after { Token::parse(segment).ok().map(Some) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Result<&'static str> {
        find(method, path).map(|found| found.route.path)
    }

    #[test]
    fn paths_match_as_a_whole() {
        assert_eq!(found(Get, "/apps/spreed/api/v1/room"), Ok("/apps/spreed/api/v1/room"));
        assert_eq!(found(Get, "/apps/spreed/api/v1/room/abcd"), Ok("/apps/spreed/api/v1/room/{token}"));
        for unknown in [
            "/apps/spreed/api/v1/room/",
            "/apps/spreed/api/v2/room",
            "/apps/spreed/api/v1/room/ABCD",
            "/apps/spreed/api/v1/room/abc",
            "/apps/spreed/api/v1/room/abcd/nothing",
            "",
        ] {
            assert_eq!(found(Get, unknown), Err(Error::InvalidQuery), "{unknown}");
        }
    }

    #[test]
    fn every_route_has_a_counter() {
        assert!(ROUTES.len() <= crate::metrics::MAX_ROUTES);
        assert_eq!(number(&ROUTES[3]), 3);
    }

    #[test]
    fn another_method_is_told_apart() {
        assert_eq!(found(Put, "/apps/spreed/api/v1/room"), Err(Error::MethodNotAllowed));
        assert_eq!(found(Method::Other, "/apps/spreed/api/v1/room/abcd"), Err(Error::MethodNotAllowed));
    }

    #[test]
    fn both_entry_scripts_are_known() {
        assert_eq!(entry(&collapse_slashes("//ocs///v1.php/x//y")), (Version::V1, Some("/x/y")));
        assert_eq!(entry("/ocs/v2.php/x"), (Version::V2, Some("/x")));
        assert_eq!(entry("/x"), (Version::V2, None));
    }
}
