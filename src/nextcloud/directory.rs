//! Who people are: the questions that roomd asks of Nextcloud, or of the users in the configuration.

use crate::error::Result;
use crate::secret::Secret;
use crate::talk::participant::UserId;
use smol_str::SmolStr;
use std::net::IpAddr;

/// What a caller sent to prove who they are. roomd passes it on and forgets it.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The `Authorization` header as it came.
    pub authorization: Option<Secret>,
    /// The `Cookie` header without roomd's own cookie.
    pub cookie: Option<Secret>,
    /// The `requesttoken` header of Nextcloud's web pages.
    pub request_token: Option<Secret>,
}

/// Somebody on whose behalf a question is asked.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Their own credentials: Nextcloud answers what they may see.
    pub credentials: Credentials,
    /// Where they call from, so that Nextcloud counts wrong passwords against them and not against roomd.
    pub address: Option<IpAddr>,
}

/// An account that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The id as Nextcloud spells it.
    pub id: UserId,
    /// The name that people see; the id where there is no other.
    pub display_name: SmolStr,
}

/// A login that was accepted.
#[derive(Debug, Clone)]
pub struct Login {
    /// Whose it is.
    pub account: Account,
    /// Ids of the groups that the account is in.
    pub groups: Vec<String>,
    /// `Set-Cookie` values to pass on: only ever from a login by cookie alone.
    pub set_cookies: Vec<Secret>,
}

/// A circle and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// The name that people see.
    pub name: String,
    /// Its members that are local accounts.
    pub members: Vec<Account>,
}

/// The source of accounts. Every call may take as long as its timeouts allow: slow lane only.
///
/// All of them answer [`crate::error::Error::Unavailable`] when the source does not answer as it should, and all but
/// [`Directory::whoami`] answer [`crate::error::Error::NotLoggedIn`] when the asker's credentials are no longer accepted.
pub trait Directory: Send + Sync {
    /// Who is this? `None` when the credentials are wrong or of nobody.
    fn whoami(&self, asker: &Asker) -> Result<Option<Login>>;

    /// The account called `id`, however it is capitalised, if there is one that the asker may see.
    ///
    /// Nextcloud never proposes the asker to the asker: whoever may mean themself compares with their own id first.
    fn account(&self, asker: &Asker, id: &str) -> Result<Option<Account>>;

    /// The members of a group, if there is one that the asker may see.
    ///
    /// [`crate::error::Error::NotConfigured`] when members cannot be listed without a service account.
    fn group(&self, asker: &Asker, id: &str) -> Result<Option<Vec<Account>>>;

    /// A circle, if there is one that the asker may see.
    ///
    /// [`crate::error::Error::BadRequest`] when circles are not available (SPEC C.2).
    fn circle(&self, asker: &Asker, id: &str) -> Result<Option<Circle>>;

    /// Whether an account still exists, on roomd's own behalf; `None` when that cannot be known.
    fn still_exists(&self, id: &UserId) -> Result<Option<bool>>;

    /// The `data` of `/cloud/capabilities` as the asker sees it.
    fn capabilities(&self, asker: &Asker) -> Result<serde_json::Value>;

    /// Whether the latest question got no usable answer.
    fn is_failing(&self) -> bool;
}
