//! roomd: the conversation server of Nextcloud Talk's v1 API, as one small synchronous program beside Nextcloud.
//!
//! # The house
//!
//! Five floors on a common ground. Imports go down only, each library has one door, and `tests/house.rs` sees to both.
//!
//! ```text
//! main.rs              starts `commands`
//!
//! -- commands --       the command line; the door of argh. The changing ones go through a running server
//! commands/mod.rs      commands/serve.rs  commands/check.rs  commands/backup.rs  commands/export.rs
//! commands/room.rs  commands/user.rs  commands/stats.rs
//! commands/change.rs   how a command changes something    commands/progress.rs  what a person sees meanwhile
//! ask.rs               a question to roomd's own sockets
//! operations.rs        the changes that operators may ask for
//!
//! -- edge --           from the socket to a handler and back
//! server.rs            listening, threads, limits, shutdown; with its folder the door of tiny_http
//! server/run.rs        the process: log, signals, systemd     server/socket.rs   the sockets
//! server/bodies.rs     requests' bodies                      server/responder.rs   where an answer goes
//! server/writers.rs    the threads, and callers who do not take their answers
//! server/turns.rs      answers left to whoever writes on the same connection
//! server/admin.rs      the operators' socket: health, readiness, metrics, changes
//! sweep.rs             what is done every few seconds
//! dispatch.rs          the path of one request, in three lanes
//! routes.rs            every route on one page: method, path, who may call it, handler
//!
//! -- api --            what requests mean; a file for each chapter of Talk's documentation
//! api/mod.rs           what every handler gets to work with
//! api/conversation.rs  api/participant.rs  api/guest.rs  api/webinar.rs
//! api/chat.rs  api/call.rs  api/signaling.rs  api/capabilities.rs
//! api/account.rs       accounts that Nextcloud no longer has
//! api/changes.rs       changes that requests and operators share
//! http.rs              our own request; parameters from query, form and JSON, with PHP's casts
//! ocs.rs               the OCS envelope in JSON and XML; every error as callers see it; the door of quick_xml
//! json.rs              answers as JSON, written faster than by serde_json alone
//! auth.rs              who is calling: logins known lately, one question to Nextcloud for all who wait for it
//! polls.rs             requests that wait for something to happen
//!
//! -- outside --        what is not in this process, or outlives a request
//! store/mod.rs         the database: read(|t| ..), write(|t| ..); the folder is the door of redb
//! store/tables.rs      the tables and their keys              store/commit.rs   many changes, one commit
//! store/rooms.rs  store/participants.rs  store/messages.rs  store/people.rs  store/attempts.rs
//! store/reader.rs      the transaction that all readers share
//! store/read_only.rs   the database beside a running server     store/check.rs   whether everything agrees
//! store/backup.rs      copies, and back                         store/transfer.rs   out of the database and in, line by line
//! store/damage.rs      a database that cannot be read
//! nextcloud/mod.rs     logins, people, groups and circles, asked of Nextcloud; the folder is the door of ureq
//! nextcloud/client.rs  one question over HTTP                 nextcloud/directory.rs   the questions there are
//! nextcloud/local.rs   the same answered from the configuration   nextcloud/diagnosis.rs   what `check` asks
//! presence.rs          sessions' last pings, and who has been silent for how long, in memory
//! signals.rs           what the clients in a call send each other, in memory
//! password.rs          room passwords; the door of bcrypt
//!
//! -- rules --          talk/: Talk's rules, pure. No I/O and no clock: the time is an argument
//! talk/mod.rs  talk/room.rs  talk/participant.rs  talk/permission.rs  talk/message.rs  talk/mention.rs  talk/token.rs
//! talk/attempts.rs     how often may be guessed
//! talk/view.rs         what a caller gets to see of a conversation
//!
//! -- ground --         what every floor stands on
//! error.rs             what can go wrong, by its meaning
//! secret.rs            texts that never reach a log
//! metrics.rs           counters, and their Prometheus text
//! buffers.rs           memory for answers, used again
//! config/keys.rs       what changed between two readings of the file
//! config.rs            file, environment and credentials -> a checked Config; the only reader of the environment
//! ```
//!
//! # The path of one request
//!
//! 1. A worker of [`server`] takes it from tiny_http and makes an [`http::Request`] of it. Bodies of more than 1 KiB are
//!    read in threads of their own, those of more than 64 KiB are refused.
//! 2. [`dispatch`] finds its row in [`routes`]: an unknown path is 404, another method 405.
//! 3. [`auth`] says who sent it: a login that is known goes on at once, a new one goes to the slow lane, where Nextcloud
//!    is asked once for all requests that came with it. No credentials, or wrong ones, make a guest.
//! 4. The row of the table says whether it takes a login; CSRF and allowed groups are checked for all routes alike.
//! 5. The handler in [`api`] reads one state of the [`store`], decides by the rules of [`talk`], and comes to an answer, to
//!    a change, or to waiting. Who finds that it must ask Nextcloud starts again in the slow lane, who
//!    must hash a password in the hashing lane.
//! 6. A change is handed to the one thread that commits. It carries the answer, which leaves once the change is on disk.
//!    A request that waits lies in [`polls`], without a thread, until something happens or its time is over.
//! 7. [`talk::view`] renders what this caller may see, [`ocs`] wraps it, and [`server`] writes one buffer and, where the
//!    configuration asks for it, one line of log.

pub mod api;
pub mod ask;
pub mod auth;
pub mod buffers;
pub mod commands;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod http;
pub mod json;
pub mod metrics;
pub mod nextcloud;
pub mod ocs;
pub mod operations;
pub mod password;
pub mod polls;
pub mod presence;
pub mod routes;
pub mod secret;
pub mod server;
pub mod signals;
pub mod store;
pub mod sweep;
pub mod talk;
