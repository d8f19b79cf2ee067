//! `roomd export` and `roomd import`: the whole content as JSON lines.
//!
//! Each line is an object with a `type`. The first is `meta`; the accounts follow, then the conversations, each followed
//! at once by what belongs to it. Fields are those of the records in `talk/`, spelled the same way.
//!
//! | `type` | fields |
//! |---|---|
//! | `meta` | `format` (1), `next_room`, `next_message` |
//! | `person` | `user`, `display_name`, `seen`, `deleted_at`, `exists` |
//! | `room` | `id`, `token`, `kind` (`OneToOne`, `Group`, `Public`), `name`, `password` (bcrypt hash), `read_only`, `lobby`, `lobby_timer`, `active_since`, `active_guests`, `last_activity`, `comments`, `last_message_id`, `next_participant`, `changes`, `participants` |
//! | `member` | `room`, `user`, `favorite`, `level`, `last_read`, `last_mention` |
//! | `session` | `room`, `participant`, `session` (the session id: a secret), `flags`, `cookie` (SHA-256, hexadecimal), `current` (whether that cookie leads here) |
//! | `guest_name` | `room`, `guest`, `name` |
//! | `message` | `room`, `id`, `actor`, `timestamp`, `comments`, `body` |
//!
//! Attempts at guessing passwords are not part of it.

use super::backup::{own_it_like_the_folder, refuse_while_serving};
use super::progress::Bar;
use super::{load, say};
use crate::error::Error;
use crate::store::read_only::ReadOnly;
use crate::store::transfer::{Importer, Record, export, is_empty};
use crate::store::{FILE_NAME, backup};
use crate::talk::participant::{GuestId, Session, SessionId, UserId};
use crate::talk::room::RoomId;
use argh::FromArgs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The format that this program writes and reads.
const FORMAT: u64 = 1;

/// Write the whole content as JSON lines, also while roomd serves it: one consistent state. Password hashes and session
/// ids are in it, so a file is readable for its owner alone.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "export",
    example = "roomd export - | gzip > roomd.jsonl.gz",
    error_code(0, "everything is written"),
    error_code(1, "it is not"),
    error_code(2, "the command line makes no sense")
)]
pub struct Export {
    /// configuration file (default: /etc/roomd/roomd.toml, where it exists)
    #[argh(option)]
    config: Option<PathBuf>,
    /// overwrite FILE
    #[argh(switch)]
    force: bool,
    /// where the lines go; - is standard output, the default
    #[argh(positional, default = "String::from(\"-\")")]
    file: String,
}

/// Read what `roomd export` wrote into an empty database. roomd must be stopped. All of it or nothing.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "import",
    error_code(0, "everything is read"),
    error_code(1, "nothing is; the database is as it was"),
    error_code(2, "the command line makes no sense")
)]
pub struct Import {
    /// configuration file (default: /etc/roomd/roomd.toml, where it exists)
    #[argh(option)]
    config: Option<PathBuf>,
    /// replace what is in the database; it is kept beside the new one, as roomd.redb.before-DATE
    #[argh(switch)]
    force: bool,
    /// where the lines come from; - is standard input
    #[argh(positional)]
    file: String,
}

impl Export {
    /// Runs the command.
    pub fn run(self) -> Result<(), String> {
        let config = load(self.config)?;
        let store = ReadOnly::open(&config.store.data)?;
        if self.file == "-" {
            return write_all(&store, &mut std::io::stdout().lock());
        }
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        if self.force {
            options.create(true).truncate(true)
        } else {
            options.create_new(true)
        };
        let failed = |e: std::io::Error| match e.kind() {
            ErrorKind::AlreadyExists => format!("{} exists already; --force overwrites it", self.file),
            _ => format!("cannot write {}: {e}", self.file),
        };
        let file = options.open(&self.file).map_err(failed)?;
        write_all(&store, &mut &file)?;
        file.sync_all().map_err(failed)
    }
}

fn write_all(store: &ReadOnly, out: &mut dyn Write) -> Result<(), String> {
    let mut out = BufWriter::with_capacity(1 << 18, out);
    let mut bar = Bar::new("export");
    store.read(|t| {
        let mut take = |record| -> crate::error::Result<()> {
            let line = to_line(&record).map_err(Error::internal)?;
            writeln!(out, "{line}").map_err(|e| Error::internal(format!("cannot write: {e}")))
        };
        export(t, &mut take, &mut |done, all| bar.show(done, all))
    })?;
    out.flush().map_err(|e| format!("cannot write: {e}"))
}

impl Import {
    /// Runs the command.
    pub fn run(self) -> Result<(), String> {
        let config = load(self.config)?;
        refuse_while_serving(&config)?;
        let folder = &config.store.data;
        if !self.force && folder.join(FILE_NAME).exists() && !ReadOnly::open(folder)?.read(is_empty)? {
            return Err("the database is not empty; --force replaces what is in it".to_owned());
        }
        let input: Box<dyn BufRead> = match self.file.as_str() {
            "-" => Box::new(std::io::stdin().lock()),
            file => {
                Box::new(BufReader::new(File::open(Path::new(file)).map_err(|e| format!("cannot read {file}: {e}"))?))
            }
        };
        let total = std::fs::metadata(&self.file).map_or(0, |file| file.len());
        let mut bar = Bar::new("import");
        let mut lines = 0;
        let kept = backup::rebuild(folder, |t| {
            let mut importer = Importer::new(t);
            let mut done = 0;
            for line in input.lines() {
                let line = line.map_err(|e| format!("cannot read {}: {e}", self.file))?;
                lines += 1;
                let at = |error: String| format!("{}, line {lines}: {error}", self.file);
                let record = from_line(&line).map_err(at)?;
                if (lines == 1) != matches!(record, Record::Numbers { .. }) {
                    return Err(at("the line of type meta comes first, and once".to_owned()));
                }
                importer.put(record).map_err(|error| at(error.to_string()))?;
                done += line.len() as u64 + 1;
                bar.show(done, total.max(done));
            }
            if lines == 0 { Err(format!("{} is empty", self.file)) } else { Ok(()) }
        })?;
        drop(bar);
        own_it_like_the_folder(&config);
        say(format_args!("{lines} lines are read into {}", folder.display()));
        if let Some(kept) = kept {
            say(format_args!("the old database is kept as {}", kept.display()));
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct SessionLine {
    room: RoomId,
    participant: u32,
    session: SessionId,
    flags: i32,
    cookie: Option<String>,
    current: bool,
}

fn to_line(record: &Record) -> serde_json::Result<Value> {
    Ok(match record {
        Record::Numbers { next_room, next_message } => {
            json!({ "type": "meta", "format": FORMAT, "next_room": next_room, "next_message": next_message })
        }
        Record::Person(user, profile) => merged(json!({ "type": "person", "user": user }), profile)?,
        Record::Room(room) => {
            let mut line = merged(json!({ "type": "room" }), room)?;
            // A copy of what stands among the messages.
            line.as_object_mut().map(|fields| fields.shift_remove("last_message"));
            line
        }
        Record::Member(room, user, member) => merged(json!({ "type": "member", "room": room, "user": user }), member)?,
        Record::Session(room, participant, session, current) => {
            let (room, participant, current) = (*room, *participant, *current);
            let cookie = session.cookie.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect());
            let (session, flags) = (session.id.clone(), session.flags);
            merged(json!({ "type": "session" }), &SessionLine { room, participant, session, flags, cookie, current })?
        }
        Record::GuestName(room, guest, name) => {
            json!({ "type": "guest_name", "room": room, "guest": guest, "name": name })
        }
        Record::Message(room, message) => merged(json!({ "type": "message", "room": room }), message)?,
    })
}

/// Both objects' fields in one.
fn merged(mut line: Value, record: &impl Serialize) -> serde_json::Result<Value> {
    if let (Value::Object(fields), Value::Object(more)) = (&mut line, serde_json::to_value(record)?) {
        fields.extend(more);
    }
    Ok(line)
}

fn from_line(line: &str) -> Result<Record, String> {
    let fields: Map<String, Value> = serde_json::from_str(line).map_err(|e| format!("no JSON object: {e}"))?;
    let room = || field::<RoomId>(&fields, "room");
    let user = || field::<String>(&fields, "user").map(UserId::new);
    match fields.get("type").and_then(Value::as_str) {
        Some("meta") => match field::<u64>(&fields, "format")? {
            FORMAT => {
                let (next_room, next_message) = (field(&fields, "next_room")?, field(&fields, "next_message")?);
                Ok(Record::Numbers { next_room, next_message })
            }
            other => Err(format!("this is format {other}; this roomd reads {FORMAT}")),
        },
        Some("person") => Ok(Record::Person(user()?, whole(&fields)?)),
        Some("room") => Ok(Record::Room(whole(&fields)?)),
        Some("member") => Ok(Record::Member(room()?, user()?, whole(&fields)?)),
        Some("session") => {
            let line: SessionLine = whole(&fields)?;
            let cookie = line.cookie.as_deref().map(digest).transpose()?;
            let session = Session { id: line.session, flags: line.flags, cookie };
            Ok(Record::Session(line.room, line.participant, session, line.current))
        }
        Some("guest_name") => {
            Ok(Record::GuestName(room()?, field::<GuestId>(&fields, "guest")?, field(&fields, "name")?))
        }
        Some("message") => Ok(Record::Message(room()?, whole(&fields)?)),
        Some(other) => Err(format!("there is no type `{other}`")),
        None => Err("the field `type` is missing".to_owned()),
    }
}

fn field<T: DeserializeOwned>(fields: &Map<String, Value>, name: &str) -> Result<T, String> {
    let value = fields.get(name).ok_or_else(|| format!("the field `{name}` is missing"))?;
    serde_json::from_value(value.clone()).map_err(|e| format!("the field `{name}`: {e}"))
}

fn whole<T: DeserializeOwned>(fields: &Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(fields.clone())).map_err(|e| e.to_string())
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "a cookie's digest has 64 hexadecimal digits".to_owned();
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}
