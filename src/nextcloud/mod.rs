//! Nextcloud, as roomd sees it. The only folder that names ureq.

mod client;
pub mod diagnosis;
pub mod directory;
pub mod local;

use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::talk::participant::UserId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Answer, Client, NOT_OCS, TOO_LONG};
use directory::{Account, Asker, Circle, Credentials, Directory, Login};
use serde::Deserialize;
use serde_json::Value;

/// The configuration key without which the members of groups cannot be listed.
const SERVICE_USER: &str = "nextcloud.service_user";

/// A kind of circle member: an account. Others are groups, e-mail addresses, contacts, circles.
const MEMBER_IS_ACCOUNT: i64 = 1;

/// The directory that the configuration asks for: Nextcloud where there is a URL, else its own users.
///
/// The error is a sentence for the administrator that names the key.
pub fn open(config: &Config) -> std::result::Result<Box<dyn Directory>, String> {
    if config.nextcloud.url.is_empty() {
        if config.users.is_empty() {
            log::warn!("nobody can log in: the configuration has neither nextcloud.url nor [[users]]");
        }
        return Ok(Box::new(local::LocalUsers::new(config)?));
    }
    Ok(Box::new(Nextcloud::new(&config.nextcloud)?))
}

/// A Nextcloud server that is asked over HTTP.
pub struct Nextcloud {
    client: Client,
    /// roomd itself, with the service account; `None` where none is configured.
    service: Option<Asker>,
}

/// What `core/autocomplete` looks for; the numbers are Nextcloud's share types.
#[derive(Clone, Copy)]
enum Find {
    Accounts = 0,
    Groups = 1,
}

/// One proposal of `core/autocomplete`.
#[derive(Deserialize)]
struct Proposal {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    label: Value,
}

/// A member of a circle, as the circles app sends it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Member {
    user_id: String,
    user_type: i64,
    local: bool,
    status: String,
    display_name: Option<String>,
}

impl Nextcloud {
    /// Prepares to ask the server of the configuration; nothing is asked yet. The error is a sentence that names the
    /// key.
    pub fn new(config: &config::Nextcloud) -> std::result::Result<Nextcloud, String> {
        let service = (!config.service_user.is_empty()).then(|| {
            let login = STANDARD.encode(format!("{}:{}", config.service_user, config.service_password.reveal()));
            let authorization = Some(Secret::new(format!("Basic {login}")));
            Asker { credentials: Credentials { authorization, ..Credentials::default() }, address: None }
        });
        Ok(Nextcloud { client: Client::new(config)?, service })
    }
}

impl Directory for Nextcloud {
    fn whoami(&self, asker: &Asker) -> Result<Option<Login>> {
        let credentials = &asker.credentials;
        if credentials.authorization.is_none() && credentials.cookie.is_none() {
            return Ok(None);
        }
        let answer = match self.client.get("login", "/ocs/v2.php/cloud/user?format=json", asker) {
            // Such credentials are nobody's.
            Err(Error::BadRequest) => return Ok(None),
            answer => answer?,
        };
        match answer.status {
            200 => {}
            401 => return Ok(None),
            _ => return Err(answer.unexpected()),
        }
        let (account, groups) = person(&answer.data()?).ok_or(NOT_OCS)?;
        // Cookies that came in answer to a password would log the next person on this connection in as this one.
        let by_cookie_alone = credentials.cookie.is_some() && credentials.authorization.is_none();
        let set_cookies = if by_cookie_alone { answer.set_cookies } else { Vec::new() };
        Ok(Some(Login { account, groups, set_cookies }))
    }

    fn account(&self, asker: &Asker, id: &str) -> Result<Option<Account>> {
        let found = self.find(asker, id, Find::Accounts)?;
        let exact = found.iter().find(|account| account.id.as_str() == id);
        let close = || found.iter().find(|account| account.id.as_str().eq_ignore_ascii_case(id));
        Ok(exact.or_else(close).cloned())
    }

    fn group(&self, asker: &Asker, id: &str) -> Result<Option<Vec<Account>>> {
        let groups = self.find(asker, id, Find::Groups)?;
        let Some(segment) = segment(id).filter(|_| groups.iter().any(|group| group.id.as_str() == id)) else {
            return Ok(None);
        };
        let service = self.service.as_ref().ok_or(Error::NotConfigured(SERVICE_USER))?;
        let path = format!("/ocs/v2.php/cloud/groups/{segment}/users/details?format=json");
        match self.client.get("group members with names", &path, service) {
            Ok(answer) if answer.status == 200 => return Ok(Some(members_with_names(&answer.data()?)?)),
            Ok(answer) if matches!(answer.status, 401 | 403) => return Err(service_refused(&answer)),
            // Nextcloud before 14 does not have this route; a missing group is found out below.
            Ok(answer) if answer.status == 404 => {}
            Ok(answer) => return Err(answer.unexpected()),
            // The list of ids is a hundred times shorter.
            Err(TOO_LONG) => {}
            Err(error) => return Err(error),
        }
        let path = format!("/ocs/v2.php/cloud/groups/{segment}/users?format=json");
        let answer = self.client.get("group members", &path, service)?;
        match answer.status {
            200 => {
                let data: Value = answer.data()?;
                let users = data.get("users").ok_or(NOT_OCS)?;
                Ok(Some(texts(users).into_iter().map(|id| account(id, None)).collect()))
            }
            401 | 403 => Err(service_refused(&answer)),
            404 => Ok(None),
            _ => Err(answer.unexpected()),
        }
    }

    fn circle(&self, asker: &Asker, id: &str) -> Result<Option<Circle>> {
        let Some(segment) = segment(id) else { return Ok(None) };
        let path = format!("/ocs/v2.php/apps/circles/circles/{segment}/members?format=json");
        let answer = self.client.get("circle members", &path, asker)?;
        match answer.status {
            200 => {}
            401 => return Err(Error::NotLoggedIn),
            // Before Nextcloud 22 the app has other routes; without the app there is none.
            404 if answer.meta().is_some_and(|meta| meta.is_unknown_route()) => return Err(Error::BadRequest),
            400 | 403 | 404 if answer.meta().is_some() => return Ok(None),
            _ => return Err(answer.unexpected()),
        }
        let members: Vec<Member> = answer.data()?;
        if members.is_empty() {
            // There is no such circle, or it is none of the asker's business: Nextcloud does not tell.
            return Ok(None);
        }
        let path = format!("/ocs/v2.php/apps/circles/circles/{segment}?format=json");
        let answer = self.client.get("circle", &path, asker)?;
        match answer.status {
            200 => {}
            401 => return Err(Error::NotLoggedIn),
            400 | 403 | 404 if answer.meta().is_some() => return Ok(None),
            _ => return Err(answer.unexpected()),
        }
        let details: Value = answer.data()?;
        let name = ["displayName", "name"].iter().filter_map(|key| text(&details[*key])).find(|name| !name.is_empty());
        Ok(Some(Circle { name: name.unwrap_or_else(|| id.to_owned()), members: circle_accounts(members) }))
    }

    fn still_exists(&self, id: &UserId) -> Result<Option<bool>> {
        let Some(service) = &self.service else { return Ok(None) };
        let Some(segment) = segment(id.as_str()) else { return Ok(Some(false)) };
        let path = format!("/ocs/v2.php/cloud/users/{segment}?format=json");
        let answer = self.client.get("account", &path, service)?;
        match answer.status {
            // Read all the same: a web page with this status is no account.
            200 => answer.data::<Value>().map(|_| Some(true)),
            401 | 403 => Ok(None),
            404 => match answer.meta() {
                // The provisioning API is switched off.
                Some(meta) if meta.is_unknown_route() => Ok(None),
                // Nextcloud 30 says 404 with 998 of accounts that exist when the service account may not see them.
                Some(meta) => Ok((meta.statuscode == 404).then_some(false)),
                None => Err(answer.unexpected()),
            },
            _ => Err(answer.unexpected()),
        }
    }

    fn capabilities(&self, asker: &Asker) -> Result<Value> {
        let answer = self.client.get("capabilities", "/ocs/v2.php/cloud/capabilities?format=json", asker)?;
        match answer.status {
            200 => answer.data(),
            401 => Err(Error::NotLoggedIn),
            _ => Err(answer.unexpected()),
        }
    }

    fn is_failing(&self) -> bool {
        self.client.is_failing()
    }
}

impl Nextcloud {
    /// Whether Nextcloud takes the login of the service account; true where there is none.
    pub fn service_works(&self) -> Result<bool> {
        self.service.as_ref().map_or(Ok(true), |service| self.whoami(service).map(|login| login.is_some()))
    }

    /// What Nextcloud proposes to the asker for `search`: everything that contains it, and never the asker.
    fn find(&self, asker: &Asker, search: &str, what: Find) -> Result<Vec<Account>> {
        if search.is_empty() {
            // Nextcloud would propose everybody.
            return Ok(Vec::new());
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("format", "json")
            .append_pair("search", search)
            .append_pair("itemType", "call")
            .append_pair("itemId", "new")
            .append_pair("shareTypes[]", &(what as u8).to_string())
            .finish();
        let call = match what {
            Find::Accounts => "account look-up",
            Find::Groups => "group look-up",
        };
        let answer = self.client.get(call, &format!("/ocs/v2.php/core/autocomplete/get?{query}"), asker)?;
        match answer.status {
            200 => {}
            401 => return Err(Error::NotLoggedIn),
            _ => return Err(answer.unexpected()),
        }
        let proposals: Vec<Proposal> = answer.data()?;
        Ok(proposals.iter().filter_map(|found| Some(account(text(&found.id)?, text(&found.label)))).collect())
    }
}

fn service_refused(answer: &Answer) -> Error {
    log::warn!("Nextcloud refused the account of {SERVICE_USER} with status {}", answer.status);
    Error::NotConfigured(SERVICE_USER)
}

/// An account; a missing or empty name becomes the id.
fn account(id: String, name: Option<String>) -> Account {
    let display_name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| id.clone());
    Account { id: UserId::new(id), display_name: display_name.into() }
}

/// The account and groups of `/cloud/user`; `None` when there is no id in it.
fn person(data: &Value) -> Option<(Account, Vec<String>)> {
    let id = text(&data["id"]).filter(|id| !id.is_empty())?;
    // Nextcloud 18 has only the first key here, some versions only the second, 30 has both.
    let name = ["display-name", "displayname"].iter().filter_map(|key| text(&data[*key])).find(|name| !name.is_empty());
    Some((account(id, name), texts(&data["groups"])))
}

/// The accounts of `/cloud/groups/{id}/users/details`: a map from id to account. An account that the asker may not
/// see has an id only. PHP makes a list of an empty map, and of one whose keys count from 0.
fn members_with_names(data: &Value) -> Result<Vec<Account>> {
    match data.get("users") {
        Some(Value::Object(users)) => {
            Ok(users.iter().map(|(id, user)| account(id.clone(), text(&user["displayname"]))).collect())
        }
        Some(Value::Array(users)) => Ok(users.iter().filter_map(person).map(|(account, _)| account).collect()),
        _ => Err(NOT_OCS),
    }
}

/// The local accounts among a circle's members: those who belong to it and those who were invited.
fn circle_accounts(members: Vec<Member>) -> Vec<Account> {
    let belongs = |status: &str| status.eq_ignore_ascii_case("member") || status.eq_ignore_ascii_case("invited");
    members
        .into_iter()
        .filter(|m| m.user_type == MEMBER_IS_ACCOUNT && m.local && !m.user_id.is_empty() && belongs(&m.status))
        .map(|member| account(member.user_id, member.display_name))
        .collect()
}

/// A text. PHP makes numbers of array keys that look like numbers, and so of ids like `1234`.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The texts of a list. PHP makes a map of a list with gaps.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().filter_map(text).collect(),
        Value::Object(map) => map.values().filter_map(text).collect(),
        _ => Vec::new(),
    }
}

/// `id` as one segment of a path; `None` for what cannot be one: web servers resolve the dots.
fn segment(id: &str) -> Option<String> {
    if matches!(id, "" | "." | "..") {
        return None;
    }
    // Forms write a space as a plus sign, paths do not; a plus sign of the id itself is %2B by now.
    Some(form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>().replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn name(data: Value) -> String {
        person(&data).unwrap().0.display_name.to_string()
    }

    #[test]
    fn the_name_is_under_either_key_or_else_the_id() {
        assert_eq!(name(json!({"id": "a", "display-name": "Alice"})), "Alice");
        assert_eq!(name(json!({"id": "a", "displayname": "Alice"})), "Alice");
        assert_eq!(name(json!({"id": "a", "display-name": "", "displayname": "Alice"})), "Alice");
        assert_eq!(name(json!({"id": "a", "display-name": "", "displayname": null})), "a");
        assert_eq!(name(json!({"id": 12})), "12");
        assert_eq!(person(&json!([])), None);
        assert_eq!(person(&json!({"id": ""})), None);
    }

    #[test]
    fn groups_may_be_missing_a_list_or_a_map() {
        let groups = |data: Value| person(&data).unwrap().1;
        assert_eq!(groups(json!({"id": "a"})), Vec::<String>::new());
        assert_eq!(groups(json!({"id": "a", "groups": ["x", 7]})), ["x", "7"]);
        assert_eq!(groups(json!({"id": "a", "groups": {"0": "x", "2": "y"}})), ["x", "y"]);
    }

    #[test]
    fn group_members_come_as_a_map_or_a_list() {
        let ids = |data: Value| -> Vec<String> {
            members_with_names(&data).unwrap().iter().map(|a| format!("{}={}", a.id, a.display_name)).collect()
        };
        assert_eq!(ids(json!({"users": []})), Vec::<String>::new());
        assert_eq!(ids(json!({"users": {"b": {"displayname": "Bob"}, "c": {"id": "c"}}})), ["b=Bob", "c=c"]);
        assert_eq!(ids(json!({"users": [{"id": "0", "displayname": "Zero"}]})), ["0=Zero"]);
        assert_eq!(members_with_names(&json!([])), Err(NOT_OCS));
    }

    #[test]
    fn only_local_accounts_that_belong_to_a_circle_count() {
        let member = |id: &str, kind: i64, local: bool, status: &str| Member {
            user_id: id.to_owned(),
            user_type: kind,
            local,
            status: status.to_owned(),
            display_name: None,
        };
        let members = vec![
            member("member", 1, true, "Member"),
            member("invited", 1, true, "INVITED"),
            member("asks", 1, true, "Requesting"),
            member("group", 2, true, "Member"),
            member("elsewhere", 1, false, "Member"),
            member("", 1, true, "Member"),
        ];
        let ids: Vec<String> = circle_accounts(members).iter().map(|a| a.id.to_string()).collect();
        assert_eq!(ids, ["member", "invited"]);
    }

    #[test]
    fn an_id_is_one_segment_of_a_path() {
        assert_eq!(segment("a b+c/é?"), Some("a%20b%2Bc%2F%C3%A9%3F".to_owned()));
        assert_eq!(segment(".."), None);
        assert_eq!(segment(""), None);
    }
}
