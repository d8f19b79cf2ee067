//! `roomd user`

use super::change::carry_out;
use super::{load, say, say_json};
use crate::operations::Operation;
use argh::FromArgs;
use std::path::PathBuf;

/// Accounts.
#[derive(FromArgs)]
#[argh(subcommand, name = "user")]
pub struct UserCommand {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Purge(Purge),
}

/// Do what Talk does when an account is deleted: remove it from all its conversations (those where nobody else is left
/// are deleted) and show what it wrote as a deleted user's. roomd does this by itself when nextcloud.service_user is set.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "purge",
    error_code(0, "done"),
    error_code(1, "failed; nothing has changed"),
    error_code(2, "the command line makes no sense")
)]
struct Purge {
    /// configuration file (default: /etc/roomd/roomd.toml, where it exists)
    #[argh(option)]
    config: Option<PathBuf>,
    /// print the outcome as JSON
    #[argh(switch)]
    json: bool,
    /// the account's id
    #[argh(positional)]
    id: String,
}

impl UserCommand {
    /// Runs the command.
    pub fn run(self) -> Result<(), String> {
        let Action::Purge(purge) = self.action;
        let config = load(purge.config)?;
        let outcome = carry_out(&config, &Operation::PurgeUser { user: purge.id.clone() })?;
        if purge.json {
            return say_json(&outcome);
        }
        say(format_args!("`{}` has left {} conversations", purge.id, outcome["conversations"]));
        Ok(())
    }
}
