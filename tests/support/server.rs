//! The server as a child process with a folder of its own.

use super::Person;
use roomd::ask::ask;
use roomd::config::Listen;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, RwLock};

/// Everybody who has an account: id, display name (empty: they are shown by their id), groups.
const PEOPLE: [(&str, &str, &[&str]); 8] = [
    ("alice", "Alice Archer", &["team", "all"]),
    ("bob", "Bob Baker", &["team", "all"]),
    ("carol", "Carol Cook", &["team", "all"]),
    ("dave", "Dave Dyer", &["all"]),
    ("erin", "Erin Eads", &["all"]),
    ("frank", "Frank Ford", &["all"]),
    ("gina rossi", "Gina Rossi", &["lonely"]),
    ("hans", "", &[]),
];

/// The name under which an account is shown.
pub fn display_name(id: &str) -> &str {
    let (id, name, _) = PEOPLE.iter().find(|(known, ..)| *known == id).expect("one of PEOPLE");
    if name.is_empty() { id } else { name }
}

fn password(id: &str) -> String {
    format!("{id} keeps this secret")
}

/// The configuration of [`Server::start`]: the people above, a group without members and two circles.
fn people() -> String {
    let users = PEOPLE.iter().map(|(id, name, groups)| {
        let password = password(id);
        let name = if name.is_empty() { String::new() } else { format!("display_name = {name:?}\n") };
        format!("[[users]]\nid = {id:?}\n{name}password = {password:?}\ngroups = {groups:?}\n")
    });
    let circles = "[[circles]]\nid = \"circle1\"\nname = \"Fans\"\nmembers = [\"alice\", \"bob\", \"carol\"]\n\
                   [[circles]]\nid = \"circle2\"\nname = \"Nobody\"\nmembers = []\n";
    format!("groups = [\"empty\"]\n{}{circles}", users.collect::<String>())
}

/// A running server. It ends, and its folder goes away, when this is dropped.
pub struct Server {
    folder: PathBuf,
    child: Child,
    address: Arc<RwLock<SocketAddr>>,
    log: Arc<Mutex<String>>,
    guests: AtomicUsize,
}

impl Server {
    /// A server with local accounts and the default settings.
    pub fn start() -> Server {
        Server::with_config("")
    }

    /// The same with more tables in the configuration, as in `"[talk]\nstart_calls = 2"`.
    pub fn with_config(extra: &str) -> Server {
        Server::with_only(&format!("{}{extra}\n", people()))
    }

    /// A server with exactly this configuration, for one that asks a Nextcloud who people are.
    pub fn with_only(config: &str) -> Server {
        let folder = new_folder();
        std::fs::create_dir_all(folder.join("data")).unwrap();
        Server::in_folder(folder, config)
    }

    /// A server whose data is elsewhere: on a disk of its own, for one that is to be full.
    pub fn with_data_in(data: &Path) -> Server {
        let folder = new_folder();
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(data, folder.join("data")).unwrap();
        Server::in_folder(folder, &people())
    }

    fn in_folder(folder: PathBuf, config: &str) -> Server {
        std::fs::write(folder.join("roomd.toml"), config).unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (child, address) = launch(&folder, &log);
        Server { folder, child, address: Arc::new(RwLock::new(address)), log, guests: AtomicUsize::new(0) }
    }

    /// One of the people with an account, as they are logged in.
    pub fn user(&self, id: &str) -> Person {
        self.login(id, &password(id))
    }

    /// Somebody who sends this name and password.
    pub fn login(&self, name: &str, password: &str) -> Person {
        Person::new(name, &self.address).with_login(name, password)
    }

    /// Somebody without an account, with a browser that keeps cookies.
    pub fn guest(&self) -> Person {
        let number = self.guests.fetch_add(1, Ordering::Relaxed) + 1;
        Person::new(&format!("guest {number}"), &self.address).with_cookies()
    }

    /// Somebody who sends neither a login nor cookies, whatever they are given.
    pub fn stranger(&self) -> Person {
        Person::new("a stranger", &self.address)
    }

    /// Somebody who knows an account's name but not its password.
    pub fn wrong_password(&self, id: &str) -> Person {
        Person::new(&format!("{id} with a wrong password"), &self.address).with_login(id, "wrong")
    }

    /// Where the server listens now.
    pub fn address(&self) -> SocketAddr {
        *self.address.read().unwrap()
    }

    /// The number of the process that runs now.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder of the database.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The operators' socket.
    pub fn admin(&self) -> Listen {
        Listen::Unix(self.folder.join("admin.sock"))
    }

    /// Asks the operators' socket: status and body.
    #[track_caller]
    pub fn operator_asks(&self, path: &str) -> (u16, String) {
        let (status, body) = ask(&self.admin(), "GET", path, b"", super::PATIENCE).unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    /// Waits until this many requests wait for news or for their turn.
    #[track_caller]
    pub fn parks(&self, count: usize) {
        let line = format!("\nroomd_polls_parked {count}\n");
        super::eventually(&format!("{count} requests wait"), || self.operator_asks("/metrics").1.contains(&line));
    }

    /// Whether the process has not ended yet.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("roomd.toml")
    }

    /// A command of the same program, for this server's data and socket.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomd"));
        command.args(arguments).env("ROOMD_CONFIG", self.config()).env("ROOMD_DATA", self.data());
        command.env("ROOMD_ADMIN_LISTEN", self.admin().to_string());
        command.env("ROOMD_LISTEN", self.address().to_string()).stdin(Stdio::null());
        command
    }

    /// Everything that it has written to its log, over restarts too.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends it without a warning (SIGKILL).
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        super::eventually("the server ends after SIGTERM", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(sent.success(), "cannot send SIG{name}");
    }

    /// Its exit code once it has ended.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        super::eventually("the server ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }

    /// Starts it again on the same data; ends it first if it runs. People find it although its port is another.
    pub fn restart(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.stop();
        }
        let (child, address) = launch(&self.folder, &self.log);
        self.child = child;
        *self.address.write().unwrap() = address;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

fn new_folder() -> PathBuf {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("roomd-test-{}-{number}", std::process::id()))
}

fn launch(folder: &Path, log: &Arc<Mutex<String>>) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_roomd"))
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(folder.join("roomd.toml"))
        .arg("--admin")
        .arg(format!("unix:{}", folder.join("admin.sock").display()))
        .arg("--data")
        .arg(folder.join("data"))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let (ready, address) = channel();
    let text = log.clone();
    std::thread::spawn(move || collect(stderr, &text, &ready));
    match address.recv_timeout(super::PATIENCE) {
        Ok(address) => (child, address),
        Err(_) => {
            let _ = child.kill();
            panic!("the server did not say where it listens:\n{}", log.lock().unwrap());
        }
    }
}

/// Copies the log, and tells the address when it comes by. Ends with the process.
fn collect(stderr: ChildStderr, log: &Mutex<String>, ready: &Sender<SocketAddr>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some((_, address)) = line.split_once("listening on ") {
            let address = address.split_whitespace().next().and_then(|word| word.parse().ok());
            let _ = ready.send(address.unwrap_or_else(|| panic!("no address in the line: {line}")));
        }
        let mut log = log.lock().unwrap();
        log.push_str(&line);
        log.push('\n');
    }
}
