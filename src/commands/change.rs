//! How a command changes something: through the running server, or in the database itself when none runs.

use super::backup::own_it_like_the_folder;
use crate::ask::ask;
use crate::config::Config;
use crate::nextcloud;
use crate::operations::Operation;
use crate::presence::Presence;
use crate::store::Store;
use crate::store::people::stored_profile;
use crate::store::read_only::ReadOnly;
use crate::talk::participant::UserId;
use serde_json::Value;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the server may take for a change.
const PATIENCE: Duration = Duration::from_secs(30);
/// Memory for the database's pages when no server runs, MiB.
const CACHE_MIB: usize = 32;

/// Carries an operation out. What came of it, or why not, in words.
pub fn carry_out(config: &Config, operation: &Operation) -> Result<Value, String> {
    let body = serde_json::to_vec(operation).map_err(|e| e.to_string())?;
    let Some(admin) = &config.server.admin_listen else { return without_server(config, operation) };
    match ask(admin, "POST", "/admin/changes", &body, PATIENCE) {
        Ok((200, answer)) => serde_json::from_slice(&answer).map_err(|e| e.to_string()),
        Ok((status, answer)) => {
            let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
            let words = answer["error"].as_str().map(str::to_owned);
            Err(words.unwrap_or_else(|| format!("{admin} answered with status {status}")))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            without_server(config, operation)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(format!("only root and the user that roomd runs as may change things on {admin}: use sudo"))
        }
        Err(error) => Err(format!("cannot reach roomd on {admin}: {error}")),
    }
}

fn without_server(config: &Config, operation: &Operation) -> Result<Value, String> {
    let store = Store::open(&config.store.data, CACHE_MIB, Arc::new(Presence::default()), Arc::new(|_| {}))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
    let outcome = operation.carry_out(&store, now);
    store.close();
    // A database that root has just made would be of no use to the service.
    own_it_like_the_folder(config);
    outcome
}

/// Makes sure that accounts exist: a conversation with somebody who does not would never be seen by anybody.
pub fn check_users<'u>(config: &Config, users: impl IntoIterator<Item = &'u String>) -> Result<(), String> {
    let directory = nextcloud::open(config)?;
    for id in users {
        let user = UserId::new(id.as_str());
        match directory.still_exists(&user) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => return Err(format!("there is no account `{id}`")),
            Ok(None) => {
                let known =
                    ReadOnly::open(&config.store.data).and_then(|store| store.read(|t| stored_profile(t, &user)));
                if !known?.is_some_and(|profile| profile.exists) {
                    return Err(format!(
                        "whether there is an account `{id}` cannot be found out without nextcloud.service_user, and it \
                         was never seen here; --unchecked goes on all the same"
                    ));
                }
            }
            Err(error) => return Err(format!("whether there is an account `{id}` cannot be found out: {error}")),
        }
    }
    Ok(())
}
