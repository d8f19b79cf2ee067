//! What operators change, by a command: carried out by the running server, or by the command itself when none runs.

use crate::api::{account, changes};
use crate::error::{By, Error, Result};
use crate::nextcloud::directory::Account;
use crate::password;
use crate::store::commit::Writer;
use crate::store::{Store, rooms};
use crate::talk::message::People;
use crate::talk::participant::{Actor, ParticipantType, UserId};
use crate::talk::room::{Room, RoomType, new_name};
use crate::talk::token::Token;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A change. The commands have made sure that the users in it exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Makes a group conversation, or a public one.
    CreateRoom {
        /// Its name.
        name: String,
        /// Open to guests.
        public: bool,
        /// Nobody may write or call.
        read_only: bool,
        /// bcrypt hash of its password.
        password: Option<String>,
        /// Its owner.
        owner: Option<String>,
        /// Who moderates it besides.
        moderators: Vec<String>,
        /// Who is in it besides.
        users: Vec<String>,
    },
    /// Gives a conversation another name.
    RenameRoom {
        /// Its token.
        token: String,
        /// Its next name.
        name: String,
    },
    /// Deletes a conversation.
    DeleteRoom {
        /// Its token.
        token: String,
    },
    /// Changes a conversation's settings; what is not given stays.
    UpdateRoom {
        /// Its token.
        token: String,
        /// Whether it is open to guests.
        public: Option<bool>,
        /// Whether it is locked.
        read_only: Option<bool>,
        /// bcrypt hash of the password that it has from now on; an empty text for none.
        password: Option<String>,
    },
    /// Adds users to a conversation; those who are in it already stay as they are.
    Add {
        /// Its token.
        token: String,
        /// Their ids.
        users: Vec<String>,
    },
    /// Takes users out of a conversation.
    Remove {
        /// Its token.
        token: String,
        /// Their ids.
        users: Vec<String>,
    },
    /// Makes users moderators of a conversation.
    Promote {
        /// Its token.
        token: String,
        /// Their ids.
        users: Vec<String>,
    },
    /// Makes moderators of a conversation users.
    Demote {
        /// Its token.
        token: String,
        /// Their ids.
        users: Vec<String>,
    },
    /// Removes an account that is gone from all its conversations, and its name from what it wrote.
    PurgeUser {
        /// Its id.
        user: String,
    },
}

impl Operation {
    /// Carries it out: all of it or nothing. What came of it, or why not, in words for the operator.
    pub fn carry_out(&self, store: &Store, now: i64) -> std::result::Result<Value, String> {
        let operation = self.clone();
        store.write(move |t| operation.apply(t, now)).map_err(|error| self.explain(&error))
    }

    fn apply(&self, t: &mut Writer<'_>, now: i64) -> Result<Value> {
        let actor = &Actor::Bot;
        match self {
            Operation::CreateRoom { .. } => self.create(t, now),
            Operation::RenameRoom { token, name } => {
                let mut room = find(t, token)?;
                changes::rename(t, &mut room, actor, name, now)?;
                Ok(outcome(&room))
            }
            Operation::DeleteRoom { token } => {
                let mut room = find(t, token)?;
                changes::delete(t, &mut room)?;
                Ok(outcome(&room))
            }
            Operation::UpdateRoom { token, public, read_only, password } => {
                let mut room = find(t, token)?;
                match (public, room.kind) {
                    (None, _) | (Some(true), RoomType::Public) | (Some(false), RoomType::Group) => {}
                    (Some(true), _) => changes::allow_guests(t, &mut room, actor, now)?,
                    (Some(false), _) => changes::disallow_guests(t, &mut room, actor, now)?,
                }
                if let Some(read_only) = read_only {
                    changes::set_read_only(t, &mut room, actor, *read_only, now)?;
                }
                if let Some(hash) = password {
                    let hash = Some(hash.clone()).filter(|hash| !hash.is_empty());
                    changes::set_password(t, &mut room, actor, checked_hash(&hash)?, now)?;
                }
                Ok(outcome(&room))
            }
            Operation::Add { token, users } => {
                let mut room = find(t, token)?;
                if room.kind == RoomType::OneToOne {
                    return Err(Error::BadRequest);
                }
                add(t, &mut room, users, now)?;
                t.save(&mut room)?;
                Ok(outcome(&room))
            }
            Operation::Remove { token, users } => {
                self.each(t, token, users, |t, room, user| changes::remove_user(t, room, actor, &user, now))
            }
            Operation::Promote { token, users } => {
                self.each(t, token, users, |t, room, user| changes::promote(t, room, actor, user, now))
            }
            Operation::Demote { token, users } => {
                self.each(t, token, users, |t, room, user| changes::demote(t, room, actor, user, now))
            }
            Operation::PurgeUser { user } => {
                let user = UserId::new(user.as_str());
                let rooms = rooms::of_user(t, &user)?.len();
                account::purge(t, &user, now)?;
                Ok(json!({ "user": user, "conversations": rooms }))
            }
        }
    }

    fn create(&self, t: &mut Writer<'_>, now: i64) -> Result<Value> {
        let Operation::CreateRoom { name, public, read_only, password, owner, moderators, users } = self else {
            return Err(Error::BadRequest);
        };
        let actor = &Actor::Bot;
        let kind = if *public { RoomType::Public } else { RoomType::Group };
        let owner = owner.as_deref().map(UserId::new);
        let (mut room, _) = changes::create(t, kind, new_name(name)?, owner.as_ref(), actor, now)?;
        add(t, &mut room, moderators, now)?;
        add(t, &mut room, users, now)?;
        t.save(&mut room)?;
        for user in moderators {
            let user = UserId::new(user.as_str());
            if room.user(&user).is_some_and(|participant| participant.kind == ParticipantType::User) {
                changes::promote(t, &mut room, actor, user, now)?;
            }
        }
        if let Some(hash) = checked_hash(password)? {
            changes::set_password(t, &mut room, actor, Some(hash), now)?;
        }
        changes::set_read_only(t, &mut room, actor, *read_only, now)?;
        Ok(outcome(&room))
    }

    fn each(
        &self,
        t: &mut Writer<'_>,
        token: &str,
        users: &[String],
        change: impl Fn(&mut Writer<'_>, &mut Room, UserId) -> Result<()>,
    ) -> Result<Value> {
        let mut room = find(t, token)?;
        for user in users {
            change(t, &mut room, UserId::new(user.as_str()))?;
        }
        Ok(outcome(&room))
    }

    /// Why it was refused.
    fn explain(&self, error: &Error) -> String {
        let one_to_one = "a one-to-one conversation belongs to its two users: this cannot be changed in it";
        let words = match (error, self) {
            (Error::NotFound(By::Gate), _) => "there is no conversation with this token",
            (Error::NotFound(_), _) => "one of these users is not in the conversation",
            (Error::BadRequest, Operation::CreateRoom { .. } | Operation::RenameRoom { .. }) => {
                "the name is empty or too long, or the conversation is a one-to-one"
            }
            (Error::BadRequest, Operation::Promote { .. }) => "only ordinary users can become moderators",
            (Error::BadRequest, Operation::Demote { .. }) => "only moderators can become ordinary users; owners stay",
            (Error::BadRequest, _) => one_to_one,
            (Error::Forbidden(_), Operation::Remove { .. }) => "the owner of a conversation cannot be removed from it",
            (Error::Forbidden(_), _) => "only public conversations have a password",
            (error, _) => return error.to_string(),
        };
        words.to_owned()
    }
}

fn find(t: &Writer<'_>, token: &str) -> Result<Room> {
    let missing = Error::NotFound(By::Gate);
    let token = Token::parse(token).map_err(|_| missing.clone())?;
    rooms::by_token(t, &token)?.ok_or(missing)
}

fn add(t: &mut Writer<'_>, room: &mut Room, users: &[String], now: i64) -> Result<()> {
    let mut accounts: Vec<Account> = Vec::new();
    for id in users {
        let id = UserId::new(id.as_str());
        if !accounts.iter().any(|account| account.id == id) {
            let display_name = t.profile(&id)?.display_name;
            accounts.push(Account { id, display_name });
        }
    }
    let last_read = room.last_message_id;
    changes::add_people(t, room, &Actor::Bot, &accounts, last_read, now)
}

/// A hash from elsewhere could otherwise lock everybody out.
fn checked_hash(hash: &Option<String>) -> Result<Option<String>> {
    match hash {
        Some(hash) if !password::is_hash(hash) => Err(Error::internal("the password came without being hashed")),
        hash => Ok(hash.clone()),
    }
}

fn outcome(room: &Room) -> Value {
    json!({ "token": room.token, "name": room.name, "id": room.id })
}
