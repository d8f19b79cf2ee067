//! The configuration: a TOML file, `ROOMD_*` environment variables and systemd credentials, checked as a whole.
//!
//! This is the only place that reads the environment. Every key stands in `config/roomd.toml` with its default.

pub mod keys;

use crate::secret::Secret;
use serde::Deserialize;
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use toml::Table;

/// Where the configuration is looked for when the command line names no file.
pub const DEFAULT_FILE: &str = "/etc/roomd/roomd.toml";

/// The service account's password: the name of systemd's credential, and of the file beside the configuration that the
/// unit makes the credential of.
const PASSWORD_FILE: &str = "service_password";

/// The words of the command line.
pub fn arguments() -> Vec<String> {
    std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Everything that an administrator can set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Listening, workers and who may say where a caller comes from.
    pub server: Server,
    /// The database.
    pub store: Store,
    /// The Nextcloud that says who a caller is. Without a URL the users below are asked; without both nobody can log in.
    pub nextcloud: Nextcloud,
    /// The settings that Talk keeps in Nextcloud's app configuration.
    pub talk: Talk,
    /// What is logged.
    pub log: Log,
    /// Local accounts, for use without a Nextcloud and for tests.
    pub users: Vec<User>,
    /// Ids of groups that exist even without members.
    pub groups: Vec<String>,
    /// Local circles.
    pub circles: Vec<Circle>,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where the API is served: `unix:PATH`, `127.0.0.1:PORT` or `[::1]:PORT`.
    pub listen: Listen,
    /// Lets `listen` name an address that is not loopback.
    pub allow_public_address: bool,
    /// Permissions of the unix socket, octal digits.
    pub socket_mode: String,
    /// Group of the unix socket, empty for the process's own.
    pub socket_group: String,
    /// Peers whose `X-Forwarded-For` is believed; the unix socket always is.
    pub trusted_proxies: Vec<IpAddr>,
    /// Threads that answer from the store, 1 to 64. Beside many changes, more of them give readers a larger share of the CPU.
    pub workers: usize,
    /// Threads that ask Nextcloud, 1 to 64. Passwords are hashed by others.
    pub slow_workers: usize,
    /// Requests that may wait for Nextcloud, and as many for a password to be hashed, before the next gets 503, 1 to 10000.
    pub slow_queue: usize,
    /// Where operators are served: health, metrics, and the commands that change things. `None` for nowhere.
    #[serde(deserialize_with = "address_or_nothing")]
    pub admin_listen: Option<Listen>,
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The folder of the database; it is made when it is missing.
    pub data: PathBuf,
    /// Memory for the database's pages, MiB, 1 to 65536.
    pub cache_mib: usize,
}

/// `[nextcloud]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nextcloud {
    /// Base URL, `https://cloud.example.com`, with the path where Nextcloud has one.
    pub url: String,
    /// PEM file with the certificate authorities to believe instead of the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// HTTP proxy to reach Nextcloud through, empty for none. The environment's proxies are not used.
    pub proxy: String,
    /// Longest wait for a connection, seconds.
    pub connect_timeout: u64,
    /// Longest wait for Nextcloud's answer, seconds.
    pub answer_timeout: u64,
    /// How long a good login is believed, seconds: the longest time that a revoked one still works.
    pub login_cache: u64,
    /// How long a refused login is remembered, seconds.
    pub refusal_cache: u64,
    /// Account that may list the members of groups, empty for none.
    pub service_user: String,
    /// Its app password; better given as the systemd credential `service_password`.
    pub service_password: Secret,
}

/// `[talk]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Talk {
    /// Who may start calls: 0 everyone, 1 users, 2 moderators.
    pub start_calls: u8,
    /// Notification level of group conversations whose member chose none: 0 or 2 mention, 1 always, 3 never.
    pub default_group_notification: u8,
    /// Groups that may use Talk; empty for everyone.
    pub allowed_groups: Vec<String>,
    /// STUN servers announced to clients, `host:port`.
    pub stun_servers: Vec<String>,
    /// TURN servers announced to clients.
    pub turn_servers: Vec<TurnServer>,
}

/// `[[talk.turn_servers]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnServer {
    /// `host:port`
    pub server: String,
    /// The secret shared with the TURN server.
    pub secret: Secret,
    /// `udp`, `tcp` or `udp,tcp`.
    #[serde(default = "both_protocols")]
    pub protocols: String,
}

fn both_protocols() -> String {
    "udp,tcp".to_owned()
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: log::LevelFilter,
    /// One line for each request at `info`.
    pub requests: bool,
}

/// `[[users]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user id that the API shows.
    pub id: String,
    /// The name that people see; the id when it is missing.
    #[serde(default)]
    pub display_name: String,
    /// The password, or a bcrypt hash of it (`$2b$…`).
    pub password: Secret,
    /// Ids of the groups that the user is in.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// `[[circles]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circle {
    /// The circle's id.
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// User ids of its members.
    pub members: Vec<String>,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket at this path.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("unix: needs a path, as in unix:/run/roomd/roomd.sock".to_owned());
            }
            return Ok(Listen::Unix(PathBuf::from(path)));
        }
        text.parse()
            .map(Listen::Tcp)
            .map_err(|_| format!("`{text}` is none of 127.0.0.1:PORT, [::1]:PORT and unix:PATH"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
            Listen::Tcp(address) => write!(f, "{address}"),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Listen, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads an address; an empty text is none.
fn address_or_nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Listen>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Listen::parse_optional(&text).map_err(serde::de::Error::custom)
}

impl Listen {
    /// Reads an address; an empty text is none.
    pub fn parse_optional(text: &str) -> Result<Option<Listen>, String> {
        if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
    }
}

/// Where operators are served when nothing else is said.
pub const DEFAULT_ADMIN_SOCKET: &str = "/run/roomd/admin.sock";

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: Listen::Unix(PathBuf::from("/run/roomd/roomd.sock")),
            allow_public_address: false,
            socket_mode: "0660".to_owned(),
            socket_group: String::new(),
            trusted_proxies: Vec::new(),
            workers: 4,
            slow_workers: 8,
            slow_queue: 64,
            admin_listen: Some(Listen::Unix(PathBuf::from(DEFAULT_ADMIN_SOCKET))),
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        Store { data: PathBuf::from("/var/lib/roomd"), cache_mib: 64 }
    }
}

impl Default for Nextcloud {
    fn default() -> Nextcloud {
        Nextcloud {
            url: String::new(),
            ca_file: None,
            proxy: String::new(),
            connect_timeout: 2,
            answer_timeout: 4,
            login_cache: 60,
            refusal_cache: 5,
            service_user: String::new(),
            service_password: Secret::default(),
        }
    }
}

impl Default for Talk {
    fn default() -> Talk {
        Talk {
            start_calls: 0,
            default_group_notification: 0,
            allowed_groups: Vec::new(),
            stun_servers: vec!["stun.nextcloud.com:443".to_owned()],
            turn_servers: Vec::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: log::LevelFilter::Info, requests: false }
    }
}

impl Config {
    /// The configuration file: the one that the command line named, else `ROOMD_CONFIG`'s, else [`DEFAULT_FILE`] where
    /// that exists.
    pub fn file(named: Option<PathBuf>) -> Option<PathBuf> {
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists());
        named.or_else(|| std::env::var_os("ROOMD_CONFIG").map(PathBuf::from)).or_else(default)
    }

    /// Reads `file`, where there is one, then lets the environment override it. A password that neither of them gives
    /// is looked for in [`PASSWORD_FILE`] beside the file: systemd hands that to the server, but not to root's commands.
    ///
    /// The error is a sentence for the administrator that names the file, the line and the key.
    pub fn load(file: Option<&Path>) -> Result<Config, String> {
        let mut config = file.map_or_else(|| Ok(Config::default()), Config::read)?;
        config.override_from(|name| std::env::var(name).ok())?;
        if let Some(file) = file.filter(|_| config.nextcloud.service_password.is_empty()) {
            config.take_password_from(&file.with_file_name(PASSWORD_FILE));
        }
        Ok(config)
    }

    /// An unreadable or empty file is none: the unit gives an empty one where the administrator made none.
    fn take_password_from(&mut self, file: &Path) {
        match std::fs::read_to_string(file).unwrap_or_default().trim_end_matches('\n') {
            "" => {}
            password => self.nextcloud.service_password = Secret::new(password),
        }
    }

    fn read(path: &Path) -> Result<Config, String> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            let remedy = if e.kind() == ErrorKind::PermissionDenied { "; use sudo" } else { "" };
            format!("cannot read {}: {e}{remedy}", path.display())
        })?;
        Config::parse(&text).map_err(|e| format!("{}, {e}", path.display()))
    }

    /// Reads the text of a configuration file. The error starts with `line N`.
    pub fn parse(text: &str) -> Result<Config, String> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..at].matches('\n').count() + 1;
            // toml's own rendering prints the whole line, which may hold a password: the key is enough.
            let key = text.lines().nth(line - 1).and_then(|l| l.split('=').next()).unwrap_or("").trim();
            format!("line {line}, `{key}`: {}", error.message())
        })
    }

    /// Applies `ROOMD_*` variables and systemd's credentials.
    fn override_from(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        if let Some(listen) = variable("ROOMD_LISTEN") {
            self.server.listen = listen.parse().map_err(|e| format!("ROOMD_LISTEN: {e}"))?;
        }
        if let Some(listen) = variable("ROOMD_ADMIN_LISTEN") {
            self.server.admin_listen =
                Listen::parse_optional(&listen).map_err(|e| format!("ROOMD_ADMIN_LISTEN: {e}"))?;
        }
        if let Some(data) = variable("ROOMD_DATA") {
            self.store.data = PathBuf::from(data);
        }
        if let Some(url) = variable("ROOMD_NEXTCLOUD_URL") {
            self.nextcloud.url = url;
        }
        if let Some(level) = variable("ROOMD_LOG") {
            self.log.level = level.parse().map_err(|_| format!("ROOMD_LOG: `{level}` is no log level"))?;
        }
        if let Some(password) = variable("ROOMD_SERVICE_PASSWORD") {
            self.nextcloud.service_password = Secret::new(password);
        }
        if let Some(folder) = variable("CREDENTIALS_DIRECTORY") {
            self.take_password_from(&Path::new(&folder).join(PASSWORD_FILE));
        }
        Ok(())
    }

    /// Checks what a single key's type cannot. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let range = |key: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{key} is {value}; it goes from {low} to {high}"))
            }
        };
        range("server.workers", self.server.workers, 1, 64)?;
        range("server.slow_workers", self.server.slow_workers, 1, 64)?;
        range("server.slow_queue", self.server.slow_queue, 1, 10_000)?;
        range("store.cache_mib", self.store.cache_mib, 1, 65_536)?;
        range("nextcloud.connect_timeout", self.nextcloud.connect_timeout as usize, 1, 300)?;
        range("nextcloud.answer_timeout", self.nextcloud.answer_timeout as usize, 1, 300)?;
        range("nextcloud.login_cache", self.nextcloud.login_cache as usize, 1, 3600)?;
        range("nextcloud.refusal_cache", self.nextcloud.refusal_cache as usize, 1, 3600)?;
        range("talk.start_calls", self.talk.start_calls.into(), 0, 2)?;
        range("talk.default_group_notification", self.talk.default_group_notification.into(), 0, 3)?;
        self.server.mode()?;
        if let Listen::Tcp(address) = self.server.listen
            && !address.ip().is_loopback()
            && !self.server.allow_public_address
        {
            return Err(format!(
                "server.listen is {address}, which others than this machine can reach. roomd's HTTP reader is made to \
                 stand behind nginx; listen on unix:PATH or 127.0.0.1, or set server.allow_public_address = true"
            ));
        }
        if let Some(Listen::Tcp(address)) = self.server.admin_listen
            && !address.ip().is_loopback()
        {
            return Err(format!(
                "server.admin_listen is {address}, which others than this machine can reach: use unix:PATH or 127.0.0.1"
            ));
        }
        let url = &self.nextcloud.url;
        if !url.is_empty() && !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(format!("nextcloud.url is `{url}`; it starts with https:// or http://"));
        }
        if !url.is_empty() && !self.users.is_empty() {
            return Err("nextcloud.url and [[users]] exclude each other: who decides about a login?".to_owned());
        }
        if self.nextcloud.service_user.is_empty() != self.nextcloud.service_password.is_empty() {
            return Err(
                "nextcloud.service_user and service_password (or /etc/roomd/service_password, which only root \
                        can read) are given together or not at all"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl Server {
    /// The unix socket's permission bits.
    pub fn mode(&self) -> Result<u32, String> {
        u32::from_str_radix(&self.socket_mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| format!("server.socket_mode is `{}`; it is octal, as in 0660", self.socket_mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = Config::parse("[server]\nlissten = \"127.0.0.1:1\"\n").unwrap_err();
        assert!(error.starts_with("line 2, `lissten`: unknown field"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_named_without_showing_it() {
        let error = Config::parse("[nextcloud]\nservice_password = 12345\n").unwrap_err();
        assert!(error.starts_with("line 2, `service_password`"), "{error}");
    }

    #[test]
    fn an_open_address_is_refused_with_the_key_that_allows_it() {
        let mut config = Config::parse("[server]\nlisten = \"0.0.0.0:80\"\n[nextcloud]\nurl = \"https://c\"").unwrap();
        assert!(config.check().unwrap_err().contains("server.allow_public_address"));
        config.server.allow_public_address = true;
        config.check().unwrap();
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let mut config = Config::parse("[store]\ndata = \"/a\"").unwrap();
        config.override_from(|name| (name == "ROOMD_DATA").then(|| "/b".to_owned())).unwrap();
        assert_eq!(config.store.data, PathBuf::from("/b"));
    }

    #[test]
    fn every_key_of_the_shipped_file_has_the_default_that_it_says() {
        let shipped = Config::parse(include_str!("../config/roomd.toml")).unwrap();
        let (mut shipped, mut default) = (shipped, Config::default());
        shipped.nextcloud.url.clear();
        default.nextcloud.url.clear();
        assert_eq!(format!("{shipped:?}"), format!("{default:?}"));
    }
}
