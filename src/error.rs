//! What can go wrong, by its meaning. Status codes and texts for callers are made in `ocs.rs` alone.

use std::fmt;

/// The result of everything that a request may ask for.
pub type Result<T> = std::result::Result<T, Error>;

/// Who decided that a request is refused. Talk's answers differ: an endpoint's refusal carries the
/// message `null`, the participant gate's an empty one (SPEC A.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The endpoint itself, after the gate let the caller through.
    Endpoint,
    /// The gate in front of the endpoint: conversation, participant, moderator, read-only, lobby (SPEC A.8).
    Gate,
}

/// Why a request was not carried out. Nothing was written when one of these is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A parameter's value is not acceptable, or the conversation's type does not allow this.
    BadRequest,
    /// The caller may not do this.
    Forbidden(By),
    /// The conversation, participant, account or message does not exist for this caller.
    NotFound(By),
    /// The lobby is closed for everybody but moderators.
    Lobby,
    /// The route needs a login and the caller has none.
    NotLoggedIn,
    /// The administrator allows Talk for certain groups only, and the caller is in none of them.
    TalkNotAllowed,
    /// The administrator does not let this caller start calls.
    CannotStartCall,
    /// Neither `OCS-APIRequest: true` nor a Bearer token came with the request (SPEC A.4).
    Csrf,
    /// Unknown route, missing parameter, wrong JSON type or unsupported format: Talk's generic "Invalid query".
    InvalidQuery,
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// The body, or the chat message, is longer than the limit.
    TooLarge,
    /// Nothing new came within the time that a poll waits.
    NotModified,
    /// An old signaling session: the answer lists nobody (SPEC D.8).
    NoSignalingSession,
    /// Nextcloud does not answer, or roomd has more to ask it than it can: try again later.
    Unavailable(&'static str),
    /// The administrator must set this configuration key first.
    NotConfigured(&'static str),
    /// The disk is full.
    StorageFull,
    /// Too many wrong passwords or tokens from this address.
    TooManyAttempts,
    /// The handler must ask Nextcloud and runs in the fast lane: run it again in the slow one. Never reaches a caller.
    NeedsSlowLane,
    /// The handler must hash a password: run it again where that is done. Never reaches a caller.
    NeedsHashing,
    /// The lobby's time is over and it must be opened before this request goes on. Never reaches a caller.
    LobbyTimerExpired,
    /// A fault of roomd's own, with words for the log, never for the caller.
    Internal(String),
}

impl Error {
    /// The endpoint refuses: the caller may not do this.
    pub const FORBIDDEN: Error = Error::Forbidden(By::Endpoint);
    /// The endpoint does not find what was asked for.
    pub const NOT_FOUND: Error = Error::NotFound(By::Endpoint);

    /// A fault of roomd's own; `what` goes to the log only.
    pub fn internal(what: impl fmt::Display) -> Error {
        Error::Internal(what.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BadRequest => f.write_str("bad request"),
            Error::Forbidden(_) => f.write_str("not allowed"),
            Error::NotFound(_) => f.write_str("not found"),
            Error::Lobby => f.write_str("the lobby is closed"),
            Error::NotLoggedIn => f.write_str("not logged in"),
            Error::TalkNotAllowed => f.write_str("Talk is not allowed for this account's groups"),
            Error::CannotStartCall => f.write_str("this participant may not start a call"),
            Error::Csrf => f.write_str("the OCS-APIRequest header is missing"),
            Error::InvalidQuery => f.write_str("invalid query"),
            Error::MethodNotAllowed => f.write_str("method not allowed"),
            Error::TooLarge => f.write_str("too large"),
            Error::NotModified => f.write_str("nothing new"),
            Error::NoSignalingSession => f.write_str("no signaling session"),
            Error::Unavailable(what) => write!(f, "unavailable: {what}"),
            Error::NotConfigured(key) => write!(f, "the configuration lacks {key}"),
            Error::StorageFull => f.write_str("the disk is full"),
            Error::TooManyAttempts => f.write_str("too many wrong attempts"),
            Error::NeedsHashing => f.write_str("needs the hashing lane"),
            Error::NeedsSlowLane => f.write_str("needs the slow lane"),
            Error::LobbyTimerExpired => f.write_str("the lobby's timer has expired"),
            Error::Internal(what) => write!(f, "internal error: {what}"),
        }
    }
}

impl std::error::Error for Error {}
