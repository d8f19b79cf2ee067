//! The sockets that are listened on: made here, or handed over by systemd.

use crate::config::Listen;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest time that writing an answer may block.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time that connecting to itself may take.
const KNOCK_TIMEOUT: Duration = Duration::from_millis(100);
/// A socket unit with this in its `FileDescriptorName=` is the operators' one.
const ADMIN_NAME: &str = "admin";

/// How often a thread of tiny_http's panicked while it accepted a connection.
static ACCEPTING_PANICS: AtomicUsize = AtomicUsize::new(0);
/// How long a server that seems to accept no more may take to answer its own question.
const ACCEPT_PATIENCE: Duration = Duration::from_millis(300);

/// Counts panics of tiny_http's accepting threads from now on. They happen where it copies a connection's descriptor.
pub fn count_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_some_and(|at| at.file().ends_with("refined_tcp_stream.rs")) {
            ACCEPTING_PANICS.fetch_add(1, Ordering::SeqCst);
        }
        usual(panic);
    }));
}

/// A socket that is listened on.
pub struct Socket {
    listener: Listener,
    /// systemd made it, keeps it, and removes its file.
    inherited: bool,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// A socket that somebody else made, of whichever kind it is.
    fn of(socket: OwnedFd) -> std::io::Result<Listener> {
        let unix = UnixListener::from(socket);
        // Asking for its address tells whether it is a unix socket.
        if unix.local_addr().is_ok() {
            unix.set_nonblocking(false)?;
            return Ok(Listener::Unix(unix));
        }
        let tcp = TcpListener::from(OwnedFd::from(unix));
        tcp.local_addr()?;
        tcp.set_nonblocking(false)?;
        Ok(Listener::Tcp(tcp))
    }
}

/// The sockets that systemd handed over, when it started the process on a connection to them.
#[derive(Default)]
pub struct Inherited {
    /// The API's.
    pub api: Option<Socket>,
    /// The operators'.
    pub admin: Option<Socket>,
}

impl Inherited {
    /// Takes them. Once: a second call would own the same descriptors.
    pub fn take() -> Result<Inherited, String> {
        let mut taken = Inherited::default();
        let failed = |e: &dyn std::fmt::Display| format!("cannot take the sockets from systemd: {e}");
        for (index, (name, socket)) in sd_listen_fds::get().map_err(|e| failed(&e))?.into_iter().enumerate() {
            let listener = Listener::of(socket.into_std()).map_err(|e| failed(&e))?;
            let is_admin = name.is_some_and(|name| name.contains(ADMIN_NAME));
            let place = if is_admin { &mut taken.admin } else { &mut taken.api };
            if place.is_some() {
                return Err(format!(
                    "systemd's socket number {index} is one too many: one for the API and one named `{ADMIN_NAME}`"
                ));
            }
            *place = Some(Socket { listener, inherited: true });
        }
        Ok(taken)
    }
}

impl Socket {
    /// Makes the socket; a unix socket gets these permission bits and this group, unless it is empty.
    pub fn bind(listen: &Listen, mode: u32, group: &str) -> Result<Socket, String> {
        let failed = |e: std::io::Error| format!("cannot listen on {listen}: {e}");
        let listener = match listen {
            Listen::Tcp(address) => Listener::Tcp(TcpListener::bind(address).map_err(failed)?),
            Listen::Unix(path) => {
                if UnixStream::connect(path).is_ok() {
                    return Err(format!("cannot listen on {listen}: another server answers there"));
                }
                // Whatever is left of an earlier run; a failure shows in bind.
                let _ = std::fs::remove_file(path);
                Listener::Unix(bind_unix(path, mode, group).map_err(|e| format!("cannot listen on {listen}: {e}"))?)
            }
        };
        Ok(Socket { listener, inherited: false })
    }

    /// Accepted connections inherit these from the listener.
    pub fn set_options(&self) -> std::io::Result<()> {
        match &self.listener {
            Listener::Unix(listener) => socket2::SockRef::from(listener).set_write_timeout(Some(WRITE_TIMEOUT)),
            Listener::Tcp(listener) => {
                let socket = socket2::SockRef::from(listener);
                socket.set_tcp_nodelay(true)?;
                socket.set_write_timeout(Some(WRITE_TIMEOUT))
            }
        }
    }

    /// Where it listens; the port is the real one where any was asked for.
    pub fn address(&self) -> Option<Listen> {
        match &self.listener {
            Listener::Unix(listener) => Some(Listen::Unix(listener.local_addr().ok()?.as_pathname()?.to_owned())),
            Listener::Tcp(listener) => listener.local_addr().ok().map(Listen::Tcp),
        }
    }

    /// The unix socket's file, unless it is systemd's.
    pub fn own_file(&self) -> Option<PathBuf> {
        match self.address()? {
            Listen::Unix(path) if !self.inherited => Some(path),
            _ => None,
        }
    }

    /// The address for people.
    pub fn name(&self) -> String {
        self.address().map_or_else(|| "?".to_owned(), |address| address.to_string())
    }

    /// Whether only this machine's root and roomd's own user can connect.
    pub fn is_private(&self) -> bool {
        matches!(self.listener, Listener::Unix(_))
    }

    /// Whether systemd owns it.
    pub fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// A server on a copy of the socket.
    pub fn serve(&self) -> std::io::Result<tiny_http::Server> {
        let server = match &self.listener {
            Listener::Unix(listener) => tiny_http::Server::from_listener(listener.try_clone()?, None),
            Listener::Tcp(listener) => tiny_http::Server::from_listener(listener.try_clone()?, None),
        };
        server.map_err(|e| std::io::Error::other(e.to_string()))
    }

    /// Connects to itself and ends the connection. False when that fails, as when descriptors are short or too many wait
    /// to be accepted; it never waits.
    pub fn knock(&self) -> bool {
        let (domain, address) = match self.address() {
            Some(Listen::Unix(path)) => (socket2::Domain::UNIX, socket2::SockAddr::unix(path)),
            Some(Listen::Tcp(address)) => (socket2::Domain::for_address(address), Ok(address.into())),
            None => return false,
        };
        let Ok(address) = address else { return false };
        let Ok(socket) = socket2::Socket::new(domain, socket2::Type::STREAM, None) else { return false };
        let connected = match domain {
            // A full queue would make it wait for as long as it is full.
            socket2::Domain::UNIX => socket.set_nonblocking(true).and_then(|()| socket.connect(&address)),
            // Without lingering set to nothing the system would remember each for a minute.
            _ => socket.connect_timeout(&address, KNOCK_TIMEOUT).and_then(|()| socket.set_linger(Some(Duration::ZERO))),
        };
        connected.is_ok()
    }

    /// Whether nobody accepts connections any more. tiny_http's thread panics when it has got the last descriptor, and
    /// nothing else tells of it: where there was such a panic since `seen`, this asks and waits for an answer.
    pub fn is_deaf(&self, seen: &mut usize) -> bool {
        let panics = ACCEPTING_PANICS.load(Ordering::SeqCst);
        if std::mem::replace(seen, panics) == panics {
            return false;
        }
        let Some(address) = self.address() else { return false };
        !self.knock() || !(0..2).any(|_| crate::ask::answers(&address, ACCEPT_PATIENCE))
    }

    /// How many connections to it have been accepted and are open; `None` where the system does not tell. Descriptors do
    /// not tell either: some of them are connections to Nextcloud.
    pub fn connections(&self) -> Option<usize> {
        let table = |name: &str| {
            let bytes = std::fs::read(format!("/proc/self/net/{name}")).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        // Who has not been accepted yet has no inode.
        Some(match self.address()? {
            Listen::Unix(path) => {
                let end = format!(" {}", path.display());
                let is_open = |line: &str| {
                    let mut fields = line.strip_suffix(&end)?.split_whitespace().skip(5);
                    Some(fields.next()? == "03" && fields.next()? != "0")
                };
                table("unix")?.lines().filter(|line| is_open(line) == Some(true)).count()
            }
            Listen::Tcp(address) => {
                let end = format!(":{:04X}", address.port());
                let is_open = |line: &str| {
                    let mut fields = line.split_whitespace().skip(1);
                    let ours = fields.next()?.ends_with(&end);
                    // Established, or ended by the caller alone.
                    Some(ours && matches!(fields.nth(1)?, "01" | "08") && fields.nth(5)? != "0")
                };
                let name = if address.is_ipv4() { "tcp" } else { "tcp6" };
                table(name)?.lines().filter(|line| is_open(line) == Some(true)).count()
            }
        })
    }

    /// Accepts no further connections, on no copy of the socket. systemd's goes on: it keeps callers for the next start.
    pub fn close(&self) {
        let closed = match &self.listener {
            _ if self.inherited => self.leave(),
            Listener::Unix(listener) => socket2::SockRef::from(listener).shutdown(std::net::Shutdown::Both),
            Listener::Tcp(listener) => socket2::SockRef::from(listener).shutdown(std::net::Shutdown::Both),
        };
        if let Err(error) = closed {
            log::warn!("a listening socket could not be closed: {error}");
        }
    }

    /// Shutting systemd's socket down would shut it down for the next server as well. With nobody waiting, accepting
    /// fails instead, which ends tiny_http's thread; a last connection wakes it from the wait that it is in.
    fn leave(&self) -> std::io::Result<()> {
        match &self.listener {
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixStream::connect_addr(&listener.local_addr()?).map(drop)
            }
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpStream::connect(listener.local_addr()?).map(drop)
            }
        }
    }
}

fn bind_unix(path: &Path, mode: u32, group: &str) -> Result<UnixListener, String> {
    let listener = UnixListener::bind(path).map_err(|e| e.to_string())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(|e| e.to_string())?;
    if !group.is_empty() {
        let group = group_id(group)?;
        std::os::unix::fs::chown(path, None, Some(group)).map_err(|e| e.to_string())?;
    }
    Ok(listener)
}

/// The number of a group, from `/etc/group`.
fn group_id(name: &str) -> Result<u32, String> {
    let groups = std::fs::read_to_string("/etc/group").map_err(|e| format!("cannot read /etc/group: {e}"))?;
    let id = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    id.ok_or_else(|| format!("server.socket_group is `{name}`, and there is no such group"))
}
