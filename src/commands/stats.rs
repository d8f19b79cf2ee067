//! `roomd stats`

use super::{load, say, say_json};
use crate::store::FILE_NAME;
use crate::store::read_only::ReadOnly;
use crate::store::transfer::{counts, each_room};
use crate::talk::room::RoomType;
use argh::FromArgs;
use serde::Serialize;
use std::path::PathBuf;

/// Count what is in the database, also while roomd serves it.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "stats",
    error_code(0, "done"),
    error_code(1, "the database cannot be read"),
    error_code(2, "the command line makes no sense")
)]
pub struct Stats {
    /// configuration file (default: /etc/roomd/roomd.toml, where it exists)
    #[argh(option)]
    config: Option<PathBuf>,
    /// print them as JSON
    #[argh(switch)]
    json: bool,
}

#[derive(Default, Serialize)]
struct Numbers {
    conversations: u64,
    one_to_one: u64,
    group: u64,
    public: u64,
    running_calls: u64,
    participants: u64,
    guests: u64,
    connected: u64,
    messages: u64,
    comments: u64,
    known_accounts: u64,
    database_bytes: u64,
}

impl Stats {
    /// Runs the command.
    pub fn run(self) -> Result<(), String> {
        let config = load(self.config)?;
        let store = ReadOnly::open(&config.store.data)?;
        let mut numbers = store.read(|t| {
            let mut numbers = Numbers::default();
            (numbers.messages, numbers.known_accounts) = counts(t)?;
            each_room(t, |room| {
                numbers.conversations += 1;
                *match room.kind {
                    RoomType::OneToOne => &mut numbers.one_to_one,
                    RoomType::Group => &mut numbers.group,
                    RoomType::Public => &mut numbers.public,
                } += 1;
                numbers.running_calls += u64::from(room.active_since.is_some());
                numbers.participants += room.participants.len() as u64;
                numbers.guests += room.participants.iter().filter(|p| p.kind.is_guest()).count() as u64;
                numbers.connected += room.participants.iter().filter(|p| p.connected).count() as u64;
                numbers.comments += room.comments;
                Ok(())
            })?;
            Ok(numbers)
        })?;
        numbers.database_bytes = std::fs::metadata(config.store.data.join(FILE_NAME)).map_or(0, |file| file.len());
        if self.json {
            return say_json(&numbers);
        }
        let (n, mib) = (&numbers, numbers.database_bytes as f64 / f64::from(1 << 20));
        say(format_args!(
            "conversations   {} ({} one-to-one, {} group, {} public)",
            n.conversations, n.one_to_one, n.group, n.public
        ));
        say(format_args!("running calls   {}", n.running_calls));
        say(format_args!("participants    {} ({} guests, {} connected)", n.participants, n.guests, n.connected));
        say(format_args!("messages        {} ({} written by people)", n.messages, n.comments));
        say(format_args!("known accounts  {}", n.known_accounts));
        say(format_args!("database        {mib:.1} MiB"));
        Ok(())
    }
}
