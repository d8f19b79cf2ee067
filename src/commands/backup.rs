//! `roomd backup` and `roomd restore`

use super::progress::Bar;
use super::{load, say, say_json};
use crate::ask;
use crate::config::Config;
use crate::store::backup;
use argh::FromArgs;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Copy the whole database into FILE, also while roomd serves it. The copy is one consistent state; it appears under its
/// name when it is complete and on disk, and only its owner may read it: password hashes are in it.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "backup",
    example = "roomd backup /var/backups/roomd-$(date +%F).redb",
    error_code(0, "the backup is complete"),
    error_code(1, "it could not be made; FILE is as it was"),
    error_code(2, "the command line makes no sense")
)]
pub struct Backup {
    /// configuration file (default: /etc/roomd/roomd.toml, where it exists)
    #[argh(option)]
    config: Option<PathBuf>,
    /// overwrite FILE
    #[argh(switch)]
    force: bool,
    /// print the outcome as JSON
    #[argh(switch)]
    json: bool,
    /// where the copy goes
    #[argh(positional)]
    file: PathBuf,
}

impl Backup {
    /// Runs the command.
    pub fn run(self) -> Result<(), String> {
        let config = load(self.config)?;
        let mut bar = Bar::new("backup");
        let copied = backup::backup(&config.store.data, &self.file, self.force, &mut |done, all| bar.show(done, all))?;
        drop(bar);
        let (file, records, bytes) = (self.file.display(), copied.records, copied.bytes);
        if self.json {
            return say_json(&json!({ "file": self.file, "records": records, "bytes": bytes }));
        }
        say(format_args!("{file}: {records} records, {bytes} bytes"));
        Ok(())
    }
}

/// Put a backup in place of the database. roomd must be stopped. The backup is verified as a whole first; the old
/// database is kept beside the new one, as roomd.redb.before-DATE.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "restore",
    example = "systemctl stop roomd.socket roomd.service\nroomd restore /var/backups/roomd-2026-01-31.redb\nsystemctl start roomd.socket roomd.service",
    error_code(0, "the backup is in place"),
    error_code(1, "it is not; the database is as it was"),
    error_code(2, "the command line makes no sense")
)]
pub struct Restore {
    /// configuration file (default: /etc/roomd/roomd.toml, where it exists)
    #[argh(option)]
    config: Option<PathBuf>,
    /// a file that `roomd backup` made
    #[argh(positional)]
    file: PathBuf,
}

impl Restore {
    /// Runs the command.
    pub fn run(self) -> Result<(), String> {
        let config = load(self.config)?;
        refuse_while_serving(&config)?;
        let mut bar = Bar::new("restore");
        let kept = backup::restore(&config.store.data, &self.file, &mut |done, all| bar.show(done, all))?;
        drop(bar);
        say(format_args!("{} is restored into {}", self.file.display(), config.store.data.display()));
        match kept {
            Some(kept) => say(format_args!("the old database is kept as {}", kept.display())),
            None => say("there was no database before"),
        }
        own_it_like_the_folder(&config);
        Ok(())
    }
}

/// Fails when a server answers: it would go on with the database that is about to be replaced.
pub fn refuse_while_serving(config: &Config) -> Result<(), String> {
    let runs = config.server.admin_listen.as_ref().is_some_and(|admin| ask::answers(admin, Duration::from_secs(5)));
    if runs {
        Err("roomd is running: stop it first (systemctl stop roomd.socket roomd.service)".to_owned())
    } else {
        Ok(())
    }
}

/// Run as root, the new file belongs to root; the service runs as the folder's owner.
pub fn own_it_like_the_folder(config: &Config) {
    use std::os::unix::fs::{MetadataExt, chown};
    let folder = &config.store.data;
    let file = folder.join(crate::store::FILE_NAME);
    if let (Ok(folder), Ok(now)) = (std::fs::metadata(folder), std::fs::metadata(&file))
        && (folder.uid(), folder.gid()) != (now.uid(), now.gid())
        && let Err(error) = chown(&file, Some(folder.uid()), Some(folder.gid()))
    {
        say(format_args!(
            "{} must belong to the user that roomd runs as; it could not be given away: {error}",
            file.display()
        ));
    }
}
