//! A whole installation: a real nginx with the shipped configuration in front of the real server and of a stand-in
//! Nextcloud, which the server asks through the same nginx.

use super::nextcloud::FakeNextcloud;
use super::{Person, eventually};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// What an administrator includes in the `http` block and in the `server` block.
const HTTP_PART: &str = include_str!("../../config/nginx-http.conf");
const SERVER_PART: &str = include_str!("../../config/nginx.conf");

/// A folder, a Nextcloud, and nginx in front of it and of whatever listens on the folder's `roomd.sock`.
pub struct Front {
    folder: PathBuf,
    pub nextcloud: FakeNextcloud,
    nginx: Child,
    pub roomd: Option<Child>,
    pub address: SocketAddr,
}

impl Front {
    /// The installation. `None`, with the reason on the test's output, where nginx is not installed.
    pub fn start() -> Option<Front> {
        let mut front = Front::without_server()?;
        front.start_roomd();
        Some(front)
    }

    /// The same before roomd runs.
    pub fn without_server() -> Option<Front> {
        Front::with(SERVER_PART)
    }

    /// The same where nobody has told nginx about roomd.
    pub fn without_snippet() -> Option<Front> {
        let mut front = Front::with("")?;
        front.start_roomd();
        Some(front)
    }

    fn with(server_part: &str) -> Option<Front> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let program = program()?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("roomd-nginx-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let nextcloud = FakeNextcloud::start();
        let (nginx, address) = start_behind(program, &folder, server_part, &nextcloud.url());
        Some(Front { folder, nextcloud, nginx, roomd: None, address })
    }

    fn start_roomd(&mut self) {
        let place = self.folder.display();
        let config = format!(
            "[server]\nlisten = \"unix:{place}/roomd.sock\"\nsocket_mode = \"0666\"\nadmin_listen = \"unix:{place}/admin.sock\"\n\
             [store]\ndata = \"{place}/data\"\n{}",
            self.nextcloud.section().replace(&self.nextcloud.url(), &self.url())
        );
        std::fs::write(self.config(), config).unwrap();
        let log = std::fs::File::create(self.folder.join("roomd.log")).unwrap();
        let server = self.command(&["serve"]).stderr(log).spawn();
        self.roomd = Some(server.unwrap());
        // The operators' socket is made last.
        let sockets = [self.socket(), self.socket().with_file_name("admin.sock")];
        eventually("roomd listens", || sockets.iter().all(|socket| UnixStream::connect(socket).is_ok()));
    }

    /// Ends roomd without a warning.
    pub fn kill_roomd(&mut self) {
        let mut roomd = self.roomd.take().unwrap();
        roomd.kill().unwrap();
        roomd.wait().unwrap();
    }

    pub fn roomd_lives(&mut self) -> bool {
        self.roomd.as_mut().is_some_and(|roomd| roomd.try_wait().unwrap().is_none())
    }

    /// The address under which clients reach all of it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A command of roomd's with this configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomd"));
        command.args(arguments).env("ROOMD_CONFIG", self.config()).stdin(Stdio::null());
        command
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("roomd.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("roomd.sock")
    }

    pub fn text_of(&self, file: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join(file)).unwrap_or_default()).into_owned()
    }

    pub fn alice(&self) -> Person {
        Person::new("alice", &Arc::new(RwLock::new(self.address))).with_login("alice", "alice123456")
    }

    /// Sends bytes and reads what comes within the time.
    pub fn raw(&self, bytes: &[u8], wait: Duration) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        // nginx may refuse and close before everything is sent.
        let _ = stream.write_all(bytes);
        read_for(&mut stream, wait)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        for child in self.roomd.iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // SIGTERM, so that its workers end as well.
        let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.nginx.id())]).status();
        let _ = self.nginx.wait();
        if thread::panicking() {
            eprintln!("roomd: {}\nnginx: {}", self.text_of("roomd.log"), self.text_of("error.log"));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Starts nginx on a free port. Only the places of socket and logs differ from what is shipped.
fn start_behind(program: &str, folder: &Path, server_part: &str, nextcloud: &str) -> (Child, SocketAddr) {
    let place = folder.display().to_string();
    let shipped =
        server_part.replace("/run/roomd/", &format!("{place}/")).replace("/var/log/nginx/", &format!("{place}/"));
    let names_the_socket = shipped.contains(&format!("unix:{place}/roomd.sock"));
    assert!(names_the_socket || shipped.is_empty(), "the snippet names the socket");
    // The rest of Nextcloud's own configuration, as far as it matters: one location for PHP, one for the rest.
    serve(program, folder, |address| {
        format!(
            "{HTTP_PART}\n server {{\n    listen {address};\n{shipped}\n    \
             location ~ \\.php(?:$|/) {{ proxy_pass {nextcloud}$request_uri; }}\n    \
             location / {{ proxy_pass {nextcloud}; }}\n}}"
        )
    })
}

/// Where nginx is. `None`, with the reason on the test's output, where it is not installed.
pub fn program() -> Option<&'static str> {
    let known = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
    let found = known.into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        eprintln!("SKIPPED: nginx is not installed");
    }
    found
}

/// Starts nginx on a free port, with all its files in `folder` and with `http` in its block of that name.
pub fn serve(program: &str, folder: &Path, http: impl Fn(SocketAddr) -> String) -> (Child, SocketAddr) {
    let place = folder.display().to_string();
    for _ in 0..5 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {place}/{name};\n"))
            .concat();
        let config = format!(
            "daemon off;\nuser root root;\npid {place}/nginx.pid;\nerror_log {place}/error.log;\nworker_processes 2;\n\
             events {{ worker_connections 2048; }}\nhttp {{\n{temporary}    access_log {place}/access.log;\n{http}\n}}\n",
            http = http(address)
        );
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut nginx = Command::new(program)
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .arg("-e")
            .arg(folder.join("error.log"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It writes this once it listens; the port alone may be somebody else's by now.
        let listens = || folder.join("nginx.pid").exists() && TcpStream::connect(address).is_ok();
        while nginx.try_wait().unwrap().is_none() {
            if listens() {
                return (nginx, address);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    panic!("nginx does not start: {}", std::fs::read_to_string(folder.join("error.log")).unwrap_or_default());
}

/// Everything that comes within the time, or until the other side closes.
fn read_for(stream: &mut TcpStream, wait: Duration) -> Vec<u8> {
    let deadline = Instant::now() + wait;
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 * 1024];
    loop {
        let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
            return bytes;
        };
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return bytes,
        }
    }
}
