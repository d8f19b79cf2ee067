//! Chat and system messages, and how a reader sees them (SPEC B.5, D.4).

use crate::error::Result;
use crate::talk::mention::Mention;
use crate::talk::participant::{Actor, GuestId, UserId};
use crate::talk::room::{Room, RoomId, RoomType};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};
use smol_str::{SmolStr, format_smolstr};
use std::borrow::Cow;

/// Longest chat message, Unicode scalar values (SPEC D.4).
pub const MESSAGE_LIMIT: usize = 32_000;
/// Most people that the end of a call names, and how many are named when there are more (SPEC D.4).
const NAMED_CALLERS: (usize, usize) = (5, 4);

/// A message's number: unique in the whole database and rising with time.
pub type MessageId = i64;

/// A stored message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its number.
    pub id: MessageId,
    /// Who wrote it or caused it.
    pub actor: Actor,
    /// When it was stored, Unix seconds.
    pub timestamp: i64,
    /// How many comments the conversation had with this message: what makes unread counters cheap.
    pub comments: u64,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Somebody wrote this.
    Comment {
        /// The text, its mentions replaced by `{mention-user1}` and the like.
        text: String,
        /// The message that this one replies to.
        parent: Option<MessageId>,
        /// Who is mentioned, in order of first appearance.
        mentions: Vec<Mention>,
    },
    /// The answer to a command; nobody else sees it.
    Command {
        /// The answer.
        text: String,
        /// Who gave the command; `None` for guests, who all see it (SPEC D.4).
        asked_by: Option<UserId>,
    },
    /// Something happened.
    System(System),
}

/// What happened (SPEC B.5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum System {
    /// `conversation_created`
    ConversationCreated,
    /// `conversation_renamed`
    ConversationRenamed {
        /// The name before.
        old: SmolStr,
        /// The name since.
        new: SmolStr,
    },
    /// `guests_allowed`
    GuestsAllowed,
    /// `guests_disallowed`
    GuestsDisallowed,
    /// `password_set`
    PasswordSet,
    /// `password_removed`
    PasswordRemoved,
    /// `read_only`
    ReadOnly,
    /// `read_only_off`
    ReadOnlyOff,
    /// `lobby_non_moderators`
    LobbyNonModerators,
    /// `lobby_none`
    LobbyNone,
    /// `lobby_timer_reached`
    LobbyTimerReached,
    /// `user_added`
    UserAdded(UserId),
    /// `user_removed`
    UserRemoved(UserId),
    /// `moderator_promoted`
    ModeratorPromoted(UserId),
    /// `moderator_demoted`
    ModeratorDemoted(UserId),
    /// `guest_moderator_promoted`
    GuestModeratorPromoted(GuestId),
    /// `guest_moderator_demoted`
    GuestModeratorDemoted(GuestId),
    /// `call_started`
    CallStarted,
    /// `call_joined`
    CallJoined,
    /// `call_left`
    CallLeft,
    /// `call_ended`
    CallEnded {
        /// Users who joined since the start.
        users: Vec<UserId>,
        /// How often guests joined.
        guests: u32,
        /// Seconds.
        duration: i64,
    },
}

impl Message {
    /// Whether the message counts as unread.
    pub fn is_comment(&self) -> bool {
        matches!(self.body, Body::Comment { .. })
    }

    /// Whether people may reply to it: not to what "deleted users" wrote (SPEC D.4).
    pub fn is_replyable(&self, people: &impl People) -> Result<bool> {
        Ok(match &self.actor {
            Actor::User(id) => self.is_comment() && !people.profile(id)?.was_deleted_after(self.id),
            Actor::Guest(_) => self.is_comment(),
            Actor::Bot | Actor::Guests => false,
        })
    }

    /// Whether this reader may see it (`None` is a guest).
    pub fn is_visible_to(&self, reader: Option<&UserId>) -> bool {
        match &self.body {
            Body::Command { asked_by, .. } => asked_by.as_ref() == reader,
            Body::Comment { .. } | Body::System(_) => true,
        }
    }
}

/// What is known of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name that people see.
    pub display_name: SmolStr,
    /// When the name was last heard from Nextcloud, Unix seconds.
    pub seen: i64,
    /// Set when the account was deleted: the newest message id at that time.
    pub deleted_at: Option<MessageId>,
    /// Whether the account exists now.
    pub exists: bool,
}

impl Profile {
    /// Somebody of whom only the id is known.
    pub fn unknown(id: &UserId) -> Profile {
        Profile { display_name: id.as_name(), seen: 0, deleted_at: None, exists: true }
    }

    /// Whether the account was deleted after this message: then it is the message of "deleted users".
    fn was_deleted_after(&self, message: MessageId) -> bool {
        self.deleted_at.is_some_and(|at| message <= at)
    }
}

/// Who people are: the store, or a test's list.
pub trait People {
    /// A user's profile; [`Profile::unknown`] when nothing is stored.
    fn profile(&self, id: &UserId) -> Result<Profile>;
    /// The name that a guest gave in this conversation; empty when none.
    fn guest_name(&self, room: RoomId, id: GuestId) -> Result<SmolStr>;
}

/// A message as the API shows it to one reader.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageView<'a> {
    id: MessageId,
    token: &'a str,
    actor_type: &'static str,
    actor_id: Cow<'a, str>,
    actor_display_name: SmolStr,
    timestamp: i64,
    message: Cow<'a, str>,
    message_parameters: Parameters,
    system_message: &'static str,
    message_type: &'static str,
    is_replyable: bool,
    /// Only where the answer carries it: the message replied to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent<'a>>,
}

/// The message that a reply belongs to.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Parent<'a> {
    /// It is there and the reader may see it.
    Message(Box<MessageView<'a>>),
    /// It is not (SPEC D.4: the id is a string here).
    Gone {
        /// Its id.
        id: String,
        /// Always true.
        deleted: bool,
    },
}

impl Parent<'_> {
    /// The stand-in for a message that the reader cannot see.
    pub fn gone(id: MessageId) -> Parent<'static> {
        Parent::Gone { id: id.to_string(), deleted: true }
    }
}

/// What stands behind a `{placeholder}` in a message's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Parameter {
    r#type: &'static str,
    id: SmolStr,
    name: SmolStr,
    #[serde(rename = "call-type", skip_serializing_if = "Option::is_none")]
    call_type: Option<&'static str>,
}

impl Parameter {
    fn new(r#type: &'static str, id: impl Into<SmolStr>, name: impl Into<SmolStr>) -> Parameter {
        Parameter { r#type, id: id.into(), name: name.into(), call_type: None }
    }
}

/// Parameters by their placeholder. An empty map is `[]` in the API (SPEC A.3).
#[derive(Debug, Default)]
struct Parameters(Vec<(Cow<'static, str>, Parameter)>);

impl Parameters {
    fn of(name: &'static str, parameter: Parameter) -> Parameters {
        Parameters(vec![(Cow::Borrowed(name), parameter)])
    }

    fn and(mut self, name: &'static str, parameter: Parameter) -> Parameters {
        self.0.push((Cow::Borrowed(name), parameter));
        self
    }
}

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return serializer.serialize_seq(Some(0))?.end();
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, parameter) in &self.0 {
            map.serialize_entry(name, parameter)?;
        }
        map.end()
    }
}

/// Who reads a message in which conversation.
pub struct Reading<'a, 'r, P: People> {
    /// The conversation.
    pub room: &'a Room,
    /// The conversation's display name for the reader, for `@all`.
    pub room_name: &'r str,
    /// The reader; `None` is a guest.
    pub reader: Option<&'r UserId>,
    /// Who people are.
    pub people: &'r P,
}

impl<'a, P: People> Reading<'a, '_, P> {
    /// Renders `message`; `None` when the reader may not see it. Parents are left to the caller.
    pub fn view(&self, message: &'a Message) -> Result<Option<MessageView<'a>>> {
        if !message.is_visible_to(self.reader) {
            return Ok(None);
        }
        let (actor_type, actor_id, actor_display_name) = self.author(message)?;
        let (text, message_parameters, system_message, message_type) = match &message.body {
            Body::Comment { text, mentions, .. } => (Cow::Borrowed(&**text), self.mentions(mentions)?, "", "comment"),
            Body::Command { text, .. } => (Cow::Borrowed(&**text), Parameters::default(), "", "command"),
            Body::System(event) => {
                let (key, text, parameters) = self.event(message, event)?;
                (text, parameters, key, "system")
            }
        };
        Ok(Some(MessageView {
            id: message.id,
            token: self.room.token.as_str(),
            actor_type,
            actor_id,
            actor_display_name,
            timestamp: message.timestamp,
            message: text,
            message_parameters,
            system_message,
            message_type,
            is_replyable: message.is_replyable(self.people)?,
            parent: None,
        }))
    }

    fn author(&self, message: &'a Message) -> Result<(&'static str, Cow<'a, str>, SmolStr)> {
        Ok(match &message.actor {
            Actor::User(id) => {
                let profile = self.people.profile(id)?;
                if profile.was_deleted_after(message.id) {
                    ("deleted_users", Cow::Borrowed("deleted_users"), SmolStr::default())
                } else {
                    ("users", Cow::Borrowed(id.as_str()), profile.display_name)
                }
            }
            Actor::Guest(id) => ("guests", Cow::Owned(id.to_string()), self.people.guest_name(self.room.id, *id)?),
            Actor::Bot => ("bots", Cow::Borrowed("talk"), "talk-bot".into()),
            Actor::Guests => ("guests", Cow::Borrowed("guests-only"), SmolStr::default()),
        })
    }

    fn actor(&self, message: &Message) -> Result<Parameter> {
        Ok(match &message.actor {
            Actor::User(id) => {
                let profile = self.people.profile(id)?;
                if profile.was_deleted_after(message.id) {
                    Parameter::new("user", "deleted_users", "deleted_users")
                } else {
                    Parameter::new("user", id.as_name(), profile.display_name)
                }
            }
            Actor::Guest(id) => self.guest(*id)?,
            Actor::Bot => Parameter::new("user", "talk", "talk-bot"),
            Actor::Guests => Parameter::new("guest", "guest/guests-only", "Guest"),
        })
    }

    fn user(&self, id: &UserId) -> Result<Parameter> {
        let profile = self.people.profile(id)?;
        let name = if profile.exists { profile.display_name } else { id.as_name() };
        Ok(Parameter::new("user", id.as_name(), name))
    }

    fn guest(&self, id: GuestId) -> Result<Parameter> {
        let name = self.people.guest_name(self.room.id, id)?;
        let shown = if name.is_empty() { "Guest".into() } else { format_smolstr!("{name} (guest)") };
        Ok(Parameter::new("guest", format!("guest/{id}"), shown))
    }

    fn mentions(&self, mentions: &[Mention]) -> Result<Parameters> {
        let mut parameters = Vec::with_capacity(mentions.len());
        for (placeholder, mention) in Mention::numbered(mentions) {
            let parameter = match mention {
                Mention::User(id) => self.user(id)?,
                Mention::Guest(hex) => {
                    let name = match GuestId::parse(hex) {
                        Some(id) => self.people.guest_name(self.room.id, id)?,
                        None => SmolStr::default(),
                    };
                    let name = if name.is_empty() { "Guest".into() } else { name };
                    Parameter::new("guest", format!("guest/{hex}"), name)
                }
                Mention::All => Parameter {
                    call_type: Some(match self.room.kind {
                        RoomType::OneToOne => "one2one",
                        RoomType::Group => "group",
                        RoomType::Public => "public",
                    }),
                    ..Parameter::new("call", self.room.token.as_str(), self.room_name)
                },
            };
            parameters.push((Cow::Owned(placeholder), parameter));
        }
        Ok(Parameters(parameters))
    }

    /// The key, text and parameters of a system message. A guest never gets the "You" variant (SPEC D.4).
    fn event(&self, message: &Message, event: &System) -> Result<(&'static str, Cow<'a, str>, Parameters)> {
        if let System::CallEnded { users, guests, duration } = event {
            let (text, parameters) = self.call_ended(users, *guests, *duration)?;
            return Ok(("call_ended", Cow::Owned(text), parameters));
        }
        let by_reader = self.reader.is_some() && message.actor.user() == self.reader;
        let you = |plain: &'static str, own: &'static str| Cow::Borrowed(if by_reader { own } else { plain });
        let parameters = Parameters::of("actor", self.actor(message)?);
        let (key, text) = match event {
            System::ConversationCreated => {
                ("conversation_created", you("{actor} created the conversation", "You created the conversation"))
            }
            System::ConversationRenamed { old, new } => {
                let who = if by_reader { "You" } else { "{actor}" };
                let text = format!("{who} renamed the conversation from \"{old}\" to \"{new}\"");
                ("conversation_renamed", Cow::Owned(text))
            }
            System::GuestsAllowed => ("guests_allowed", you("{actor} allowed guests", "You allowed guests")),
            System::GuestsDisallowed => {
                ("guests_disallowed", you("{actor} disallowed guests", "You disallowed guests"))
            }
            System::PasswordSet => ("password_set", you("{actor} set a password", "You set a password")),
            System::PasswordRemoved => {
                ("password_removed", you("{actor} removed the password", "You removed the password"))
            }
            System::ReadOnly => ("read_only", you("{actor} locked the conversation", "You locked the conversation")),
            System::ReadOnlyOff => {
                ("read_only_off", you("{actor} unlocked the conversation", "You unlocked the conversation"))
            }
            System::LobbyNonModerators => (
                "lobby_non_moderators",
                you(
                    "{actor} restricted the conversation to moderators",
                    "You restricted the conversation to moderators",
                ),
            ),
            System::LobbyNone => (
                "lobby_none",
                you("{actor} opened the conversation to everyone", "You opened the conversation to everyone"),
            ),
            System::LobbyTimerReached => {
                ("lobby_timer_reached", Cow::Borrowed("The conversation is now open to everyone"))
            }
            System::CallStarted => ("call_started", you("{actor} started a call", "You started a call")),
            System::CallJoined => ("call_joined", you("{actor} joined the call", "You joined the call")),
            System::CallLeft => ("call_left", you("{actor} left the call", "You left the call")),
            System::UserAdded(user) => {
                let text = if message.actor.user() == Some(user) {
                    you("{actor} joined the conversation", "You joined the conversation")
                } else {
                    self.towards(user, by_reader, ["{actor} added {user}", "You added {user}", "{actor} added you"])
                };
                return Ok(("user_added", text, parameters.and("user", self.user(user)?)));
            }
            System::UserRemoved(user) => {
                let text = if message.actor.user() == Some(user) {
                    you("{actor} left the conversation", "You left the conversation")
                } else {
                    let texts = ["{actor} removed {user}", "You removed {user}", "{actor} removed you"];
                    self.towards(user, by_reader, texts)
                };
                return Ok(("user_removed", text, parameters.and("user", self.user(user)?)));
            }
            System::ModeratorPromoted(user) => {
                let texts = [PROMOTED, YOU_PROMOTED, "{actor} promoted you to moderator"];
                let text = self.towards(user, by_reader, texts);
                return Ok(("moderator_promoted", text, parameters.and("user", self.user(user)?)));
            }
            System::ModeratorDemoted(user) => {
                let texts = [DEMOTED, YOU_DEMOTED, "{actor} demoted you from moderator"];
                let text = self.towards(user, by_reader, texts);
                return Ok(("moderator_demoted", text, parameters.and("user", self.user(user)?)));
            }
            System::GuestModeratorPromoted(guest) => {
                let text = you(PROMOTED, YOU_PROMOTED);
                return Ok(("guest_moderator_promoted", text, parameters.and("user", self.guest(*guest)?)));
            }
            System::GuestModeratorDemoted(guest) => {
                let text = you(DEMOTED, YOU_DEMOTED);
                return Ok(("guest_moderator_demoted", text, parameters.and("user", self.guest(*guest)?)));
            }
            System::CallEnded { .. } => unreachable!("answered above"),
        };
        Ok((key, text, parameters))
    }

    /// Picks the text for bystanders, for whoever did it, or for whom it was done to.
    fn towards(&self, user: &UserId, by_reader: bool, [plain, own, to_you]: [&'static str; 3]) -> Cow<'a, str> {
        Cow::Borrowed(match () {
            () if by_reader => own,
            () if self.reader == Some(user) => to_you,
            () => plain,
        })
    }

    /// "Call with {user1}, {user2} and 3 guests (Duration 3:04)"
    fn call_ended(&self, users: &[UserId], guests: u32, duration: i64) -> Result<(String, Parameters)> {
        let guests = guests as usize;
        let everybody_fits = users.len() + usize::from(guests > 0) <= NAMED_CALLERS.0;
        let named = if everybody_fits { users } else { &users[..users.len().min(NAMED_CALLERS.1)] };
        let mut parameters = Parameters::default();
        let mut people = Vec::new();
        for (user, number) in named.iter().zip(1..) {
            let placeholder = format!("user{number}");
            people.push(format!("{{{placeholder}}}"));
            parameters.0.push((Cow::Owned(placeholder), self.user(user)?));
        }
        match (everybody_fits, guests) {
            (true, 0) if !users.is_empty() => {}
            (true, 1) => people.push("1 guest".to_owned()),
            (true, n) => people.push(format!("{n} guests")),
            (false, n) => people.push(format!("{} others", users.len() - named.len() + n)),
        }
        let people = match people.split_last() {
            Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
            _ => people.concat(),
        };
        Ok((format!("Call with {people} (Duration {})", clock(duration)), parameters))
    }
}

const PROMOTED: &str = "{actor} promoted {user} to moderator";
const YOU_PROMOTED: &str = "You promoted {user} to moderator";
const DEMOTED: &str = "{actor} demoted {user} from moderator";
const YOU_DEMOTED: &str = "You demoted {user} from moderator";

/// Seconds as `m:ss` or `h:mm:ss`.
fn clock(seconds: i64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}
