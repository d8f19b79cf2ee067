//! `roomd room`: conversations, in the manner of Talk's `occ talk:room:*`.

use super::change::{carry_out, check_users};
use super::{load, say, say_json};
use crate::error::Error;
use crate::operations::Operation;
use crate::password;
use crate::store::read_only::ReadOnly;
use crate::store::rooms;
use crate::store::transfer::each_room;
use crate::talk::participant::{Actor, UserId};
use crate::talk::room::{Room, RoomType};
use crate::talk::token::Token;
use argh::FromArgs;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Look at conversations and change them, also while roomd serves them.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "room",
    error_code(0, "done"),
    error_code(1, "failed; nothing has changed"),
    error_code(2, "the command line makes no sense")
)]
pub struct RoomCommand {
    /// configuration file (default: /etc/roomd/roomd.toml, where it exists)
    #[argh(option)]
    config: Option<PathBuf>,
    /// print the outcome as JSON
    #[argh(switch)]
    json: bool,
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    List(List),
    Show(Show),
    Create(Create),
    Rename(Rename),
    Update(Update),
    Delete(Delete),
    Add(Add),
    Remove(Remove),
    Promote(Promote),
    Demote(Demote),
}

/// List conversations.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// only those that this user is in
    #[argh(option)]
    user: Option<String>,
}

/// Show one conversation and who is in it.
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct Show {
    /// the conversation's token
    #[argh(positional)]
    token: String,
}

/// Make a conversation.
#[derive(FromArgs)]
#[argh(subcommand, name = "create", example = "roomd room create --owner alice --user bob --user carol 'The team'")]
struct Create {
    /// who owns it; needed unless it is public
    #[argh(option)]
    owner: Option<String>,
    /// somebody who moderates it; may be repeated
    #[argh(option)]
    moderator: Vec<String>,
    /// somebody who is in it; may be repeated
    #[argh(option)]
    user: Vec<String>,
    /// open it to guests
    #[argh(switch)]
    public: bool,
    /// let nobody write or call
    #[argh(switch)]
    readonly: bool,
    /// read the password for guests from standard input
    #[argh(switch)]
    password_stdin: bool,
    /// do not ask whether the accounts exist
    #[argh(switch)]
    unchecked: bool,
    /// its name
    #[argh(positional)]
    name: String,
}

/// Give a conversation another name.
#[derive(FromArgs)]
#[argh(subcommand, name = "rename")]
struct Rename {
    /// the conversation's token
    #[argh(positional)]
    token: String,
    /// its next name
    #[argh(positional)]
    name: String,
}

/// Change a conversation's settings.
#[derive(FromArgs)]
#[argh(subcommand, name = "update")]
struct Update {
    /// yes opens it to guests, no removes them and closes it
    #[argh(option, from_str_fn(yes_or_no))]
    public: Option<bool>,
    /// yes lets nobody write or call
    #[argh(option, from_str_fn(yes_or_no))]
    readonly: Option<bool>,
    /// read the password for guests from standard input; an empty one removes it
    #[argh(switch)]
    password_stdin: bool,
    /// the conversation's token
    #[argh(positional)]
    token: String,
}

/// Delete a conversation with everything in it.
#[derive(FromArgs)]
#[argh(subcommand, name = "delete")]
struct Delete {
    /// the conversation's token
    #[argh(positional)]
    token: String,
}

/// Add users to a conversation.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// do not ask whether the accounts exist
    #[argh(switch)]
    unchecked: bool,
    /// the conversation's token
    #[argh(positional)]
    token: String,
    /// ids of the users
    #[argh(positional)]
    user: Vec<String>,
}

/// Remove users from a conversation.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// the conversation's token
    #[argh(positional)]
    token: String,
    /// ids of the users
    #[argh(positional)]
    user: Vec<String>,
}

/// Make users moderators.
#[derive(FromArgs)]
#[argh(subcommand, name = "promote")]
struct Promote {
    /// the conversation's token
    #[argh(positional)]
    token: String,
    /// ids of the users
    #[argh(positional)]
    user: Vec<String>,
}

/// Make moderators ordinary users.
#[derive(FromArgs)]
#[argh(subcommand, name = "demote")]
struct Demote {
    /// the conversation's token
    #[argh(positional)]
    token: String,
    /// ids of the users
    #[argh(positional)]
    user: Vec<String>,
}

/// argh takes an empty list of people, too.
fn somebody(users: Vec<String>) -> Result<Vec<String>, String> {
    if users.is_empty() { Err("nothing to do: name at least one user".to_owned()) } else { Ok(users) }
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "1" => Ok(true),
        "no" | "0" => Ok(false),
        _ => Err("yes or no".to_owned()),
    }
}

impl RoomCommand {
    /// Runs the command.
    pub fn run(self) -> Result<(), String> {
        let config = load(self.config)?;
        let operation = match self.action {
            Action::List(list) => return list.run(&ReadOnly::open(&config.store.data)?, self.json),
            Action::Show(show) => return show.run(&ReadOnly::open(&config.store.data)?, self.json),
            Action::Create(create) => {
                if create.owner.is_none() && !create.public {
                    return Err("nobody could ever see it: name an --owner, or make it --public".to_owned());
                }
                if !create.unchecked {
                    let people = create.owner.iter().chain(&create.moderator).chain(&create.user);
                    check_users(&config, people)?;
                }
                create.operation()?
            }
            Action::Rename(Rename { token, name }) => Operation::RenameRoom { token, name },
            Action::Update(update) => update.operation()?,
            Action::Delete(Delete { token }) => Operation::DeleteRoom { token },
            Action::Add(Add { token, user, unchecked }) => {
                let users = somebody(user)?;
                if !unchecked {
                    check_users(&config, &users)?;
                }
                Operation::Add { token, users }
            }
            Action::Remove(Remove { token, user }) => Operation::Remove { token, users: somebody(user)? },
            Action::Promote(Promote { token, user }) => Operation::Promote { token, users: somebody(user)? },
            Action::Demote(Demote { token, user }) => Operation::Demote { token, users: somebody(user)? },
        };
        let outcome = carry_out(&config, &operation)?;
        if self.json {
            return say_json(&outcome);
        }
        say(outcome["token"].as_str().unwrap_or_default());
        Ok(())
    }
}

impl Create {
    fn operation(self) -> Result<Operation, String> {
        let password = if self.password_stdin { password_from_input()? } else { None };
        if password.is_some() && !self.public {
            return Err("only public conversations have a password: add --public".to_owned());
        }
        Ok(Operation::CreateRoom {
            name: self.name,
            public: self.public,
            read_only: self.readonly,
            password,
            owner: self.owner,
            moderators: self.moderator,
            users: self.user,
        })
    }
}

impl Update {
    fn operation(self) -> Result<Operation, String> {
        let Update { public, readonly: read_only, password_stdin, token } = self;
        if public.is_none() && read_only.is_none() && !password_stdin {
            return Err("nothing to update: --public, --readonly or --password-stdin".to_owned());
        }
        // An empty text takes the password away.
        let password = if password_stdin { Some(password_from_input()?.unwrap_or_default()) } else { None };
        Ok(Operation::UpdateRoom { token, public, read_only, password })
    }
}

/// The hash of the first line of standard input; none of an empty line. A password in the arguments would be seen by
/// everybody who lists processes.
fn password_from_input() -> Result<Option<String>, String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|e| format!("cannot read the password: {e}"))?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Ok(None);
    }
    password::hash(password).map(Some).map_err(|e| e.to_string())
}

impl List {
    fn run(self, store: &ReadOnly, as_json: bool) -> Result<(), String> {
        let mut rooms = Vec::new();
        store.read(|t| match &self.user {
            Some(user) => {
                rooms.extend(
                    rooms::of_user(t, &UserId::new(user.as_str()))?.into_iter().map(|(room, _)| summary(&room)),
                );
                Ok(())
            }
            None => each_room(t, |room| {
                rooms.push(summary(&room));
                Ok(())
            }),
        })?;
        if as_json {
            return say_json(&rooms);
        }
        for room in rooms {
            let text = |field: &str| room[field].as_str().unwrap_or_default().to_owned();
            say(format_args!(
                "{:<10} {:<10} {:>4}  {}",
                text("token"),
                text("type"),
                room["participants"],
                text("name")
            ));
        }
        Ok(())
    }
}

impl Show {
    fn run(self, store: &ReadOnly, as_json: bool) -> Result<(), String> {
        let missing = || format!("there is no conversation `{}`", self.token);
        let token = Token::parse(&self.token).map_err(|_: Error| missing())?;
        let room = store.read(|t| rooms::by_token(t, &token))?.ok_or_else(missing)?;
        let shown = details(&room);
        if as_json {
            return say_json(&shown);
        }
        if let Value::Object(fields) = &shown {
            for (name, value) in fields.iter().filter(|(name, value)| *name != "participants" && !value.is_null()) {
                say(format_args!(
                    "{:<16} {}",
                    name.replace('_', " "),
                    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                ));
            }
        }
        say("participants");
        for participant in shown["participants"].as_array().into_iter().flatten() {
            let text = |field: &str| participant[field].as_str().unwrap_or_default();
            let connected = if participant["connected"] == true { ", connected" } else { "" };
            say(format_args!("  {:<40} {}{connected}", text("who"), text("type")));
        }
        Ok(())
    }
}

fn kind(room: &Room) -> &'static str {
    match room.kind {
        RoomType::OneToOne => "one-to-one",
        RoomType::Group => "group",
        RoomType::Public => "public",
    }
}

fn summary(room: &Room) -> Value {
    json!({
        "token": room.token,
        "type": kind(room),
        "name": room.name,
        "participants": room.participants.len(),
        "comments": room.comments,
        "last_activity": room.last_activity,
    })
}

fn details(room: &Room) -> Value {
    let participants: Vec<Value> = room
        .participants
        .iter()
        .map(|participant| {
            let who = match &participant.actor {
                Actor::User(user) => user.to_string(),
                Actor::Guest(guest) => format!("guest/{guest}"),
                Actor::Bot | Actor::Guests => String::new(),
            };
            json!({
                "who": who,
                "type": serde_json::to_value(participant.kind).unwrap_or_default(),
                "connected": participant.connected,
                "last_ping": participant.last_ping,
            })
        })
        .collect();
    json!({
        "token": room.token,
        "id": room.id,
        "type": kind(room),
        "name": room.name,
        "has_password": room.password.is_some(),
        "read_only": room.read_only,
        "lobby": room.lobby,
        "lobby_timer": room.lobby_timer,
        "call_since": room.active_since,
        "comments": room.comments,
        "last_activity": room.last_activity,
        "participants": participants,
    })
}
