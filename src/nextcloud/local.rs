//! The users, groups and circles of the configuration, for use without a Nextcloud and for tests.

use super::directory::{Account, Asker, Circle, Directory, Login};
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::password;
use crate::secret::Secret;
use crate::talk::participant::UserId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The accounts of `[[users]]`, who log in with HTTP Basic authentication only. Ids are compared without regard to
/// ASCII case, as Nextcloud does.
pub struct LocalUsers {
    /// Sorted by id.
    users: Vec<config::User>,
    /// Groups that exist even without members.
    groups: Vec<String>,
    circles: Vec<config::Circle>,
    /// Some user's bcrypt hash, which is verified in place of a missing one; `None` where all passwords are plain.
    dummy_hash: Option<Secret>,
}

impl LocalUsers {
    /// Takes the accounts of `config`. The error is a sentence that names the key: an id twice, a broken hash, a
    /// circle with an unknown member.
    pub fn new(config: &Config) -> std::result::Result<LocalUsers, String> {
        let mut users = config.users.clone();
        users.sort_by(|a, b| a.id.cmp(&b.id));
        let mut seen: Vec<String> = Vec::new();
        for user in &users {
            let id = user.id.to_ascii_lowercase();
            if id.is_empty() || id.contains(':') {
                return Err(format!("users.id is `{}`: it is not empty and has no colon", user.id));
            }
            if seen.contains(&id) {
                return Err(format!("users.id: `{}` is there twice", user.id));
            }
            if user.password.is_empty() {
                return Err(format!("users.password of `{}` is empty", user.id));
            }
            if is_hashed(user) && !password::is_hash(user.password.reveal()) {
                return Err(format!("users.password of `{}` starts like a bcrypt hash and is none", user.id));
            }
            seen.push(id);
        }
        for circle in &config.circles {
            if let Some(stranger) = circle.members.iter().find(|id| !seen.contains(&id.to_ascii_lowercase())) {
                return Err(format!("circles.members of `{}`: there is no user `{stranger}`", circle.id));
            }
        }
        let dummy_hash = users.iter().find(|user| is_hashed(user)).map(|user| user.password.clone());
        Ok(LocalUsers { users, groups: config.groups.clone(), circles: config.circles.clone(), dummy_hash })
    }

    fn user(&self, id: &str) -> Option<&config::User> {
        self.users.iter().find(|user| user.id.eq_ignore_ascii_case(id))
    }

    /// Does the same work whether the user exists or not, and whether the password is stored plain or hashed.
    fn password_matches(&self, user: Option<&config::User>, password: &str) -> Result<bool> {
        let nothing = Secret::default();
        let stored = user.map_or(&nothing, |user| &user.password);
        let same_text = stored.matches(password);
        let hashed = user.is_some_and(is_hashed);
        let hash = if hashed { Some(stored) } else { self.dummy_hash.as_ref() };
        let same_hash = match hash {
            Some(hash) => password::verify_plain(password, hash.reveal())?,
            None => false,
        };
        Ok(user.is_some() && if hashed { same_hash } else { same_text })
    }
}

impl Directory for LocalUsers {
    fn whoami(&self, asker: &Asker) -> Result<Option<Login>> {
        let Some((id, password)) = asker.credentials.authorization.as_ref().and_then(basic) else {
            return Ok(None);
        };
        if self.users.is_empty() {
            // A fresh installation: a login is not wrong when there is nobody to ask about it.
            return Err(Error::Unavailable("The administrator of roomd must set nextcloud.url"));
        }
        let user = self.user(&id);
        let matches = self.password_matches(user, password.reveal())?;
        Ok(user.filter(|_| matches).map(|user| Login {
            account: account(user),
            groups: user.groups.clone(),
            set_cookies: Vec::new(),
        }))
    }

    fn account(&self, _asker: &Asker, id: &str) -> Result<Option<Account>> {
        Ok(self.user(id).map(account))
    }

    fn group(&self, _asker: &Asker, id: &str) -> Result<Option<Vec<Account>>> {
        let is_in = |user: &&config::User| user.groups.iter().any(|group| group == id);
        let members: Vec<Account> = self.users.iter().filter(is_in).map(account).collect();
        let exists = !members.is_empty() || self.groups.iter().any(|group| group == id);
        Ok(exists.then_some(members))
    }

    fn circle(&self, _asker: &Asker, id: &str) -> Result<Option<Circle>> {
        if self.circles.is_empty() {
            return Err(Error::BadRequest);
        }
        let Some(circle) = self.circles.iter().find(|circle| circle.id == id) else { return Ok(None) };
        let is_in = |user: &&config::User| circle.members.iter().any(|member| member.eq_ignore_ascii_case(&user.id));
        let members = self.users.iter().filter(is_in).map(account).collect();
        Ok(Some(Circle { name: circle.name.clone(), members }))
    }

    fn still_exists(&self, id: &UserId) -> Result<Option<bool>> {
        Ok(Some(self.user(id.as_str()).is_some()))
    }

    fn capabilities(&self, _asker: &Asker) -> Result<Value> {
        Ok(json!({
            "version": {
                "major": 18, "minor": 0, "micro": 2, "string": "18.0.2", "edition": "", "extendedSupport": false
            },
            "capabilities": { "core": { "pollinterval": 60, "webdav-root": "remote.php/webdav" } }
        }))
    }

    fn is_failing(&self) -> bool {
        false
    }
}

fn account(user: &config::User) -> Account {
    super::account(user.id.clone(), Some(user.display_name.clone()))
}

fn is_hashed(user: &config::User) -> bool {
    user.password.reveal().starts_with(password::HASH_PREFIX)
}

/// User and password of a Basic `Authorization` header; `None` for any other and for a broken one.
fn basic(header: &Secret) -> Option<(String, Secret)> {
    let (scheme, login) = header.reveal().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let login = String::from_utf8(STANDARD.decode(login.trim()).ok()?).ok()?;
    let (id, password) = login.split_once(':')?;
    Some((id.to_owned(), Secret::new(password)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nextcloud::directory::Credentials;

    /// `erin`'s password is `U*U`.
    const PEOPLE: &str = r#"
        groups = ["empty"]
        [[users]]
        id = "Bob"
        display_name = "Bob B."
        password = "bob:123"
        groups = ["team"]
        [[users]]
        id = "alice"
        password = "alice123"
        groups = ["team", "big"]
        [[users]]
        id = "erin"
        password = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
        [[circles]]
        id = "c1"
        name = "Fans"
        members = ["alice", "bob"]
    "#;

    fn people() -> LocalUsers {
        LocalUsers::new(&Config::parse(PEOPLE).unwrap()).unwrap()
    }

    fn asker(login: &str) -> Asker {
        let authorization = Some(Secret::new(format!("Basic {}", STANDARD.encode(login))));
        Asker { credentials: Credentials { authorization, ..Credentials::default() }, address: None }
    }

    fn who(login: &str) -> Option<String> {
        people().whoami(&asker(login)).unwrap().map(|login| login.account.id.to_string())
    }

    #[test]
    fn plain_and_hashed_passwords_let_in_under_any_capitalisation_of_the_id() {
        assert_eq!(who("BOB:bob:123").as_deref(), Some("Bob"));
        assert_eq!(who("erin:U*U").as_deref(), Some("erin"));
    }

    #[test]
    fn wrong_passwords_and_strangers_are_nobody() {
        for login in ["bob:bob", "bob:", "bob", "erin:U*V", "erin:$2a$05$CC", "nobody:", "nobody:U*U", ":", ""] {
            assert_eq!(who(login), None, "{login}");
        }
    }

    #[test]
    fn other_credentials_are_nobody() {
        for header in ["Bearer YWxpY2U6YWxpY2UxMjM=", "Basic", "Basic ???", "Basic /w=="] {
            let mut asker = asker("");
            asker.credentials.authorization = Some(Secret::new(header));
            assert!(people().whoami(&asker).unwrap().is_none(), "{header}");
        }
    }

    #[test]
    fn groups_list_their_members_by_id_and_may_be_empty() {
        let group = |id: &str| -> Option<Vec<String>> {
            let members = people().group(&asker(""), id).unwrap();
            members.map(|members| members.iter().map(|account| account.display_name.to_string()).collect())
        };
        assert_eq!(group("team").unwrap(), ["Bob B.", "alice"]);
        assert_eq!(group("empty").unwrap(), Vec::<String>::new());
        assert_eq!(group("Team"), None);
        assert_eq!(group(""), None);
    }

    #[test]
    fn a_circle_is_found_by_its_id_and_circles_may_not_exist_at_all() {
        let circle = people().circle(&asker(""), "c1").unwrap().unwrap();
        assert_eq!((circle.name.as_str(), circle.members.len()), ("Fans", 2));
        assert_eq!(people().circle(&asker(""), "c2"), Ok(None));
        let without = PEOPLE.split("[[circles]]").next().unwrap();
        let without = LocalUsers::new(&Config::parse(without).unwrap()).unwrap();
        assert_eq!(without.circle(&asker(""), "c1"), Err(Error::BadRequest));
    }

    #[test]
    fn mistakes_in_the_configuration_are_named() {
        let error = |change: (&str, &str)| {
            let config = Config::parse(&PEOPLE.replace(change.0, change.1)).unwrap();
            LocalUsers::new(&config).err().unwrap()
        };
        assert_eq!(error(("\"alice\"\n", "\"BOB\"\n")), "users.id: `Bob` is there twice");
        assert_eq!(error(("$2a$05$CC", "$2a$05$")), "users.password of `erin` starts like a bcrypt hash and is none");
        assert_eq!(error(("\"bob\"]", "\"rob\"]")), "circles.members of `c1`: there is no user `rob`");
    }
}
