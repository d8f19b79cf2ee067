//! The static binary: it needs nothing of the system that it runs on.
//!
//! `ROOMD_STATIC` names one that was built. Without it these tests say so and check nothing:
//!
//! `cargo build --release --target x86_64-unknown-linux-musl`, then
//! `ROOMD_STATIC=target/x86_64-unknown-linux-musl/release/roomd cargo test --test static_binary`

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, RwLock};
use support::Person;
use support::nextcloud::FakeNextcloud;
use support::tls::TlsFront;

/// The size above which somebody has to ask why.
const LARGEST: u64 = 8_000_000;

/// `None`, with the reason on the test's output, where none was built.
fn binary() -> Option<PathBuf> {
    let Some(binary) = std::env::var_os("ROOMD_STATIC") else {
        eprintln!("SKIPPED: ROOMD_STATIC names no static binary");
        return None;
    };
    Some(std::fs::canonicalize(&binary).unwrap_or_else(|error| panic!("{}: {error}", binary.display())))
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A folder that is the whole world of a server, or that nginx works in.
struct World {
    root: PathBuf,
    children: Vec<Child>,
}

impl World {
    /// `None`, with the reason on the test's output, for people who may not change the root.
    fn new(name: &str) -> Option<World> {
        if run("id", &["-u"]).trim() != "0" {
            eprintln!("SKIPPED: only root may change the root folder");
            return None;
        }
        let root = std::env::temp_dir().join(format!("roomd-static-{name}-{}", std::process::id()));
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir_all(root.join("data")).unwrap();
        Some(World { root, children: Vec::new() })
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.root.join(file), text).unwrap();
    }

    /// Starts the binary with this folder as its root: it has itself, its configuration and its data there.
    fn serve(&mut self, binary: &Path, config: &str) -> SocketAddr {
        std::fs::copy(binary, self.root.join("roomd")).unwrap();
        self.write("etc/roomd.toml", config);
        let mut server = Command::new("chroot")
            .arg(&self.root)
            .args(["/roomd", "serve", "--config", "/etc/roomd.toml", "--data", "/data", "--listen", "127.0.0.1:0"])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("ROOMD_ADMIN_LISTEN", "")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
        self.children.push(server);
        let line = log.find_map(|line| line.ok().filter(|line| line.contains(" listening on "))).expect("it listens");
        std::thread::spawn(move || log.for_each(drop));
        line.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn alice(address: SocketAddr) -> Person {
    Person::new("alice", &Arc::new(RwLock::new(address))).with_login("alice", "alice123456")
}

#[test]
fn it_is_one_small_file_that_loads_no_other() {
    let Some(binary) = binary() else { return };
    let size = std::fs::metadata(&binary).unwrap().len();
    assert!(size < LARGEST, "{size} bytes");
    // The second is what is said about one that can be loaded anywhere, which is safer.
    let said = run("ldd", &[binary.to_str().unwrap()]);
    assert!(said.contains("not a dynamic executable") || said.contains("statically linked"), "{said}");
    assert!(run(binary.to_str().unwrap(), &["--version"]).starts_with("roomd "));
}

#[test]
fn it_serves_in_an_empty_root_folder() {
    let Some((binary, mut world)) = binary().zip(World::new("empty")) else { return };
    let address = world.serve(&binary, "[[users]]\nid = \"alice\"\npassword = \"alice123456\"\n");
    let alice = alice(address);
    // The password needs random numbers, and there is no /dev/urandom.
    let room = alice.creates_locked("Plans", "open sesame");
    assert_eq!(alice.sees(&room)["displayName"], "Plans");
    assert!(!world.root.join("dev").exists());
}

#[test]
fn it_finds_a_nextcloud_by_name_and_believes_its_private_authority() {
    let Some((binary, mut world)) = binary().zip(World::new("tls")) else { return };
    let nextcloud = FakeNextcloud::start();
    let Some(front) = TlsFront::start("cloud.test", &nextcloud.url()) else { return };
    let port = front.port;
    std::fs::copy(front.authority(), world.root.join("etc/ca.pem")).unwrap();
    world.write("etc/hosts", "127.0.0.1 cloud.test other.test\n");
    let config = |host: &str, rest: &str| {
        format!("{}{rest}", nextcloud.section().replace(&nextcloud.url(), &format!("https://{host}:{port}")))
    };

    let address = world.serve(&binary, &config("cloud.test", "ca_file = \"/etc/ca.pem\""));
    alice(address).creates_group("Plans");
    assert!(nextcloud.requests("/ocs/v2.php/cloud/user") > 0);

    // Neither another name's certificate nor an unknown authority's.
    let before = nextcloud.all_requests();
    for (host, rest) in [("other.test", "ca_file = \"/etc/ca.pem\""), ("cloud.test", "")] {
        let mut other = World::new(host).expect("root");
        other.write("etc/hosts", "127.0.0.1 cloud.test other.test\n");
        std::fs::copy(world.root.join("etc/ca.pem"), other.root.join("etc/ca.pem")).unwrap();
        let address = other.serve(&binary, &config(host, rest));
        alice(address).get("/room").has_status(503);
    }
    assert_eq!(nextcloud.all_requests(), before);
}
