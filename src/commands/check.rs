//! `roomd check`: whether everything around roomd is as it must be, with the remedy in words where it is not.

use super::progress::Bar;
use super::{load, say, say_json};
use crate::ask;
use crate::config::{Config, Listen};
use crate::nextcloud::Nextcloud;
use crate::nextcloud::diagnosis::{Believed, Diagnosis};
use crate::store::check::check;
use crate::store::read_only::ReadOnly;
use argh::FromArgs;
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long roomd may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How far Nextcloud's clock may be off without a word, and without it being wrong; seconds.
const CLOCK: (i64, i64) = (5, 60);

/// Check configuration, sockets, database, Nextcloud, the proxy header, nginx's route and the clock. Each line begins with
/// ok, warn or FAIL, and says what to do. Run it as root, or as the user that roomd runs as.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "check",
    error_code(0, "nothing is wrong; there may be warnings"),
    error_code(1, "something is wrong"),
    error_code(2, "the command line makes no sense")
)]
pub struct Check {
    /// configuration file (default: /etc/roomd/roomd.toml, where it exists)
    #[argh(option)]
    config: Option<PathBuf>,
    /// address under which clients reach Nextcloud through nginx (default: nextcloud.url)
    #[argh(option)]
    url: Option<String>,
    /// print the findings as JSON
    #[argh(switch)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

#[derive(Serialize)]
struct Finding {
    state: State,
    what: &'static str,
    words: String,
}

#[derive(Default)]
struct Findings {
    list: Vec<Finding>,
    silent: bool,
}

impl Findings {
    fn add(&mut self, state: State, what: &'static str, words: impl Into<String>) {
        let words = words.into();
        if !self.silent {
            let word = match state {
                State::Ok => "ok  ",
                State::Warn => "warn",
                State::Fail => "FAIL",
            };
            say(format_args!("{word}  {what}: {words}"));
        }
        self.list.push(Finding { state, what, words });
    }
}

impl Check {
    /// Runs the command.
    pub fn run(self) -> Result<(), String> {
        let mut findings = Findings { silent: self.json, ..Findings::default() };
        findings.add(State::Ok, "version", format!("roomd {VERSION}"));
        match load(self.config).and_then(|config| config.check().map(|()| config)) {
            Ok(config) => {
                findings.add(State::Ok, "configuration", "it makes sense");
                check_sockets(&config, &mut findings);
                check_store(&config, &mut findings);
                check_nextcloud(&config, &mut findings);
                check_route(&config, self.url.as_deref(), &mut findings);
            }
            Err(error) => findings.add(State::Fail, "configuration", error),
        }
        if self.json {
            say_json(&findings.list)?;
        }
        let wrong = findings.list.iter().filter(|finding| finding.state == State::Fail).count();
        match wrong {
            0 => Ok(()),
            // The lines have said it.
            _ => Err(String::new()),
        }
    }
}

fn check_sockets(config: &Config, findings: &mut Findings) {
    let listen = &config.server.listen;
    match ask::ask(listen, "GET", "/health", b"", PATIENCE) {
        Ok((200, _)) => findings.add(State::Ok, "API socket", format!("roomd answers on {listen}")),
        Ok((status, _)) => {
            let words = format!("something else answers on {listen}, with status {status}: change server.listen");
            findings.add(State::Fail, "API socket", words);
        }
        Err(error) => {
            let words =
                format!("nothing answers on {listen} ({error}): systemctl start roomd, then journalctl -u roomd");
            findings.add(State::Fail, "API socket", words);
        }
    }
    let Some(admin) = &config.server.admin_listen else {
        return findings.add(
            State::Warn,
            "operators' socket",
            "switched off: no metrics, and `roomd room` needs roomd stopped",
        );
    };
    match ask::ask(admin, "GET", "/ready", b"", PATIENCE) {
        Ok((200, body)) => {
            findings.add(State::Ok, "operators' socket", format!("roomd is ready, says {admin}"));
            let state: Value = serde_json::from_slice(&body).unwrap_or_default();
            let running = state["version"].as_str().unwrap_or("an older one");
            if running != VERSION {
                let words = format!("this is {VERSION}, but {running} is running: systemctl restart roomd");
                findings.add(State::Warn, "running version", words);
            }
        }
        Ok((_, body)) => {
            let state: Value = serde_json::from_slice(&body).unwrap_or_default();
            let words = format!("roomd is not ready: database: {}, Nextcloud: {}", state["store"], state["nextcloud"]);
            findings.add(State::Fail, "operators' socket", words);
        }
        Err(error) => {
            let remedy = match admin {
                Listen::Unix(_) => "start roomd, or run this as root",
                Listen::Tcp(_) => "start roomd",
            };
            findings.add(State::Fail, "operators' socket", format!("nothing answers on {admin} ({error}): {remedy}"));
        }
    }
}

fn check_store(config: &Config, findings: &mut Findings) {
    let mut bar = Bar::new("database");
    let report =
        ReadOnly::open(&config.store.data).and_then(|store| check(&store, &mut |done, all| bar.show(done, all)));
    drop(bar);
    match report {
        Ok(report) if report.problems.is_empty() => findings.add(
            State::Ok,
            "database",
            format!("{} conversations, {} messages; everything agrees", report.rooms, report.messages),
        ),
        Ok(report) => {
            let words =
                format!("{}. Bring back the newest backup with `roomd restore FILE`", report.problems.join("; "));
            findings.add(State::Fail, "database", words);
        }
        Err(error) => findings.add(State::Fail, "database", error),
    }
}

fn check_nextcloud(config: &Config, findings: &mut Findings) {
    if config.nextcloud.url.is_empty() {
        return match config.users.is_empty() {
            true => findings.add(State::Fail, "Nextcloud", "nobody can log in: set nextcloud.url"),
            false => findings.add(State::Ok, "Nextcloud", "not used: the users of the configuration log in"),
        };
    }
    let diagnosis = match Diagnosis::new(&config.nextcloud) {
        Ok(diagnosis) => diagnosis,
        Err(error) => return findings.add(State::Fail, "Nextcloud", error),
    };
    let base = &config.nextcloud.url;
    match diagnosis.status() {
        Ok(status) if !status.installed => {
            return findings.add(State::Fail, "Nextcloud", format!("{base} is not installed yet"));
        }
        Ok(status) if status.maintenance => {
            let words = "it is in maintenance mode: nobody can log in (occ maintenance:mode --off)";
            return findings.add(State::Warn, "Nextcloud", words);
        }
        Ok(status) => {
            findings.add(State::Ok, "Nextcloud", format!("version {} answers at {base}", status.versionstring));
            check_clock(status.clock, findings);
        }
        Err(error) => {
            let words = format!("{base}: {error}. Try `curl -v {base}/status.php` on this machine");
            return findings.add(State::Fail, "Nextcloud", words);
        }
    }
    check_proxy_header(&diagnosis, findings);
    check_service_account(config, findings);
}

fn check_clock(theirs: Option<i64>, findings: &mut Findings) {
    let Some(theirs) = theirs else {
        return findings.add(State::Warn, "clock", "Nextcloud does not tell the time");
    };
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
    let off = (ours - theirs).abs();
    let remedy = "switch NTP on, on both machines (timedatectl set-ntp true)";
    match off {
        off if off <= CLOCK.0 => findings.add(State::Ok, "clock", "as Nextcloud's"),
        off if off <= CLOCK.1 => findings.add(State::Warn, "clock", format!("{off} s off from Nextcloud's: {remedy}")),
        off => findings.add(State::Fail, "clock", format!("{off} s off from Nextcloud's: {remedy}")),
    }
}

fn check_proxy_header(diagnosis: &Diagnosis, findings: &mut Findings) {
    let remedy = "add the address that roomd reaches Nextcloud from (127.0.0.1 and ::1 on the same machine) to \
                  'trusted_proxies' in Nextcloud's config.php, and let a web server between the two pass \
                  X-Forwarded-For on; otherwise wrong passwords of one person lock everybody out";
    match diagnosis.believes_forwarded_address() {
        Ok(Believed::Yes) => findings.add(State::Ok, "trusted proxy", "Nextcloud believes roomd where callers are"),
        Ok(Believed::No) => {
            findings.add(State::Fail, "trusted proxy", format!("Nextcloud takes roomd for the caller: {remedy}"));
        }
        Ok(Believed::Unknown) => {
            let words = format!(
                "cannot be measured without Nextcloud's notify_push app. `occ config:system:get trusted_proxies` must \
                 print roomd's address. To be sure, log in to Talk with a wrong password once and look in Nextcloud's \
                 log for the address of the failed login: it must be your own. If it is this machine's, {remedy}"
            );
            findings.add(State::Warn, "trusted proxy", words);
        }
        Err(error) => findings.add(State::Warn, "trusted proxy", format!("could not be measured: {error}")),
    }
}

fn check_service_account(config: &Config, findings: &mut Findings) {
    let user = &config.nextcloud.service_user;
    if user.is_empty() {
        return;
    }
    let asked = Nextcloud::new(&config.nextcloud).and_then(|it| it.service_works().map_err(|e| e.to_string()));
    match asked {
        Ok(true) => findings.add(State::Ok, "service account", format!("Nextcloud lets `{user}` in")),
        Ok(false) => {
            let words = format!(
                "Nextcloud does not let `{user}` in: make an app password for it (its settings, Security) and put it \
                 into /etc/roomd/service_password, then systemctl restart roomd"
            );
            findings.add(State::Fail, "service account", words);
        }
        Err(error) => findings.add(State::Fail, "service account", error),
    }
}

/// Where clients' requests end up.
fn check_route(config: &Config, url: Option<&str>, findings: &mut Findings) {
    let url = url.unwrap_or(&config.nextcloud.url);
    if url.is_empty() {
        return;
    }
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return findings.add(State::Fail, "nginx", format!("--url is `{url}`; it starts with https:// or http://"));
    }
    let listen = &config.server.listen;
    let public = crate::config::Nextcloud { url: url.to_owned(), ..config.nextcloud.clone() };
    let answered = Diagnosis::new(&public).and_then(|public| public.is_answered_by_roomd().map_err(|e| e.to_string()));
    match answered {
        Ok((true, _)) => findings.add(State::Ok, "nginx", format!("{url} leads to roomd")),
        Ok((false, status @ 502..=504)) => {
            let words = format!(
                "{url} answers with status {status}: nginx does not reach {listen}. The path in nginx's snippet must be \
                 the same, and nginx's user in the socket's group (SocketGroup= of roomd.socket, www-data by default)"
            );
            findings.add(State::Fail, "nginx", words);
        }
        Ok((false, status)) => {
            let words = format!(
                "{url} does not lead to roomd: something else answered, with status {status}. Write \
                 `include snippets/roomd.conf;` into the server block of this host, above `location ~ \\.php`, and \
                 reload nginx; --url names another address"
            );
            findings.add(State::Fail, "nginx", words);
        }
        Err(error) => findings.add(State::Fail, "nginx", format!("{url}: {error}; --url names another address")),
    }
}
