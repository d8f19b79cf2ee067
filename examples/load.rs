//! A load program: seeds a database, starts the server on it, asks it for a while and tells how it did.
//!
//! ```text
//! cargo build --release
//! cargo run --release --example load -- --conversations 1000 --scenario list --clients 8
//! cargo run --release --example load -- --conversations 1000000 --members 3 --messages 0 --data /tmp/big --scenario list
//! ```
//!
//! Every user is in `--per-user` conversations of `--members` people. Scenarios: `health` (the bare server), `show`
//! (`GET /room/{token}`), `list` (`GET /room`), `favorite`, `chat` (posts), `mixed` (nine lists, one favourite).

use argh::FromArgs;
use base64::Engine;
use roomd::api::remember;
use roomd::nextcloud::directory::Account;
use roomd::presence::Presence;
use roomd::store::Store;
use roomd::talk::message::{Body, System};
use roomd::talk::participant::{Actor, ParticipantType, UserId};
use roomd::talk::room::RoomType;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Conversations that one commit seeds.
const SEED_BATCH: u64 = 2_000;
/// The password of every seeded user.
const PASSWORD: &str = "load";

/// Load a roomd server and measure it.
#[derive(FromArgs)]
struct Arguments {
    /// conversations in the database (default 20)
    #[argh(option, default = "20")]
    conversations: u64,
    /// people in each conversation (default 4)
    #[argh(option, default = "4")]
    members: u64,
    /// comments in each conversation (default 10)
    #[argh(option, default = "10")]
    messages: u64,
    /// conversations of each person (default 20)
    #[argh(option, default = "20")]
    per_user: u64,
    /// what to ask: health, show, list, favorite, chat, mixed (default list); several with commas
    #[argh(option, default = "String::from(\"list\")")]
    scenario: String,
    /// clients at once (default 8)
    #[argh(option, default = "8")]
    clients: usize,
    /// seconds for each scenario (default 5)
    #[argh(option, default = "5.0")]
    seconds: f64,
    /// a new connection for each request
    #[argh(switch)]
    close: bool,
    /// people who log in, spread over all (default 64)
    #[argh(option, default = "64")]
    logins: u64,
    /// also run this scenario at the same time, with this many clients: `favorite:64`
    #[argh(option)]
    beside: Option<String>,
    /// folder of the database; kept, and not seeded again when it holds one (default: a temporary one)
    #[argh(option)]
    data: Option<PathBuf>,
    /// the server's program (default: beside this one)
    #[argh(option)]
    server: Option<PathBuf>,
    /// print JSON
    #[argh(switch)]
    json: bool,
}

fn main() {
    let arguments: Arguments = argh::from_env();
    let temporary = std::env::temp_dir().join(format!("roomd-load-{}", std::process::id()));
    let data = arguments.data.clone().unwrap_or_else(|| temporary.clone());
    std::fs::create_dir_all(&data).expect("the data folder can be made");
    if !data.join(roomd::store::FILE_NAME).exists() {
        let seeding = Instant::now();
        seed(&arguments, &data);
        eprintln!("seeded {} conversations in {:.1?}", arguments.conversations, seeding.elapsed());
    }
    let tokens = own_tokens(&arguments, &data);
    let server = Server::start(&arguments, &data);
    if !arguments.json {
        println!("started in {:.0?}, idle RSS {:.1} MiB", server.started_in, server.rss_mib());
        println!(
            "{:<10} {:>7} {:>10} {:>9} {:>9} {:>9} {:>7} {:>12} {:>8}",
            "scenario", "clients", "requests/s", "p50 ms", "p90 ms", "p99 ms", "errors", "CPU µs/req", "RSS MiB"
        );
    }
    for scenario in arguments.scenario.split(',') {
        for result in run(&arguments, &server, scenario, &tokens) {
            if arguments.json {
                println!("{}", result.json(&server));
            } else {
                println!("{}", result.line(&server));
            }
        }
    }
    drop(server);
    if arguments.data.is_none() {
        std::fs::remove_dir_all(&temporary).expect("the temporary folder can be removed");
    }
}

/// People share their conversations with the others of their group: group `g` has `members` people.
fn user_name(arguments: &Arguments, group: u64, member: u64) -> String {
    format!("user{}", group * arguments.members + member)
}

fn groups(arguments: &Arguments) -> u64 {
    arguments.conversations.div_ceil(arguments.per_user)
}

/// The groups of the people who log in, spread evenly over all.
fn login_groups(arguments: &Arguments) -> Vec<u64> {
    let (groups, logins) = (groups(arguments), arguments.logins.min(groups(arguments)));
    (0..logins).map(|n| n * groups / logins).collect()
}

fn open(data: &Path) -> Store {
    Store::open(data, 256, Arc::new(Presence::default()), Arc::new(|_| {})).expect("the database opens")
}

fn seed(arguments: &Arguments, data: &Path) {
    let store = open(data);
    let (members, messages, per_user) = (arguments.members, arguments.messages, arguments.per_user);
    let mut next = 0;
    while next < arguments.conversations {
        let last = (next + SEED_BATCH).min(arguments.conversations);
        store
            .write(move |t| {
                for n in next..last {
                    let people: Vec<Account> = (0..members)
                        .map(|m| format!("user{}", n / per_user * members + m))
                        .map(|id| Account { display_name: format!("Person {id}").into(), id: UserId::new(id) })
                        .collect();
                    remember(t, &people, 1)?;
                    let mut room = t.new_room(RoomType::Group, format!("Conversation {n}").into())?;
                    for (m, person) in people.iter().enumerate() {
                        let kind = if m == 0 { ParticipantType::Owner } else { ParticipantType::User };
                        t.add_user(&mut room, &person.id, kind)?;
                    }
                    let author = Actor::User(people[0].id.clone());
                    t.post(&mut room, author.clone(), Body::System(System::ConversationCreated), 1)?;
                    for m in 0..messages {
                        let text = format!("Message {m} of a conversation that is neither short nor long");
                        let body = Body::Comment { text, parent: None, mentions: Vec::new() };
                        t.post(&mut room, author.clone(), body, 2 + m as i64)?;
                    }
                    t.save(&mut room)?;
                }
                Ok(())
            })
            .expect("the database takes what is seeded");
        next = last;
    }
}

/// For each login, one of its tokens.
fn own_tokens(arguments: &Arguments, data: &Path) -> Vec<(String, String)> {
    let store = open(data);
    let logins = login_groups(arguments).into_iter().map(|group| user_name(arguments, group, 0));
    logins
        .map(|user| {
            let rooms = store.read(|t| roomd::store::rooms::of_user(t, &UserId::new(&user))).expect("it reads");
            (user, rooms[0].0.token.to_string())
        })
        .collect()
}

/// The server under load, ended when dropped.
struct Server {
    child: Child,
    address: String,
    started_in: Duration,
}

impl Server {
    fn start(arguments: &Arguments, data: &Path) -> Server {
        let mut config = String::from("[log]\nlevel = \"info\"\n");
        for group in login_groups(arguments) {
            let user = user_name(arguments, group, 0);
            config +=
                &format!("[[users]]\nid = \"{user}\"\ndisplay_name = \"Person {user}\"\npassword = \"{PASSWORD}\"\n");
        }
        let file = data.join("load.toml");
        std::fs::write(&file, config).expect("the configuration can be written");
        let beside = || {
            let own = std::env::current_exe().expect("this program has a path");
            own.parent().and_then(Path::parent).expect("it lies in target/release/examples").join("roomd")
        };
        let program = arguments.server.clone().unwrap_or_else(beside);
        let started = Instant::now();
        let mut child = Command::new(&program)
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| {
                panic!("{} cannot be started: {e}; run cargo build --release first", program.display())
            });
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr is piped")).lines();
        let address = loop {
            let line = lines.next().expect("the server says where it listens").expect("its log is text");
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.to_owned();
            }
        };
        let started_in = started.elapsed();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Server { child, address, started_in }
    }

    /// CPU seconds that the server has used.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the server runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("a number")).sum();
        // Linux counts these in hundredths of a second.
        ticks / 100.0
    }

    fn rss_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says so");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("a number") / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came out of a scenario.
struct Outcome {
    scenario: String,
    clients: usize,
    seconds: f64,
    /// Milliseconds, ascending.
    times: Vec<f64>,
    errors: usize,
    /// Microseconds of the server's CPU a request, over everything that was asked at the time.
    cpu_per_request: f64,
}

impl Outcome {
    fn rate(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }

    fn percentile(&self, percent: usize) -> f64 {
        self.times.get(self.times.len() * percent / 100).copied().unwrap_or(f64::NAN)
    }

    fn line(&self, server: &Server) -> String {
        format!(
            "{:<10} {:>7} {:>10.0} {:>9.3} {:>9.3} {:>9.3} {:>7} {:>12.1} {:>8.1}",
            self.scenario,
            self.clients,
            self.rate(),
            self.percentile(50),
            self.percentile(90),
            self.percentile(99),
            self.errors,
            self.cpu_per_request,
            server.rss_mib()
        )
    }

    fn json(&self, server: &Server) -> String {
        json!({
            "scenario": self.scenario, "clients": self.clients, "requests_per_second": self.rate(),
            "p50_ms": self.percentile(50), "p90_ms": self.percentile(90), "p99_ms": self.percentile(99),
            "errors": self.errors, "server_cpu_us_per_request": self.cpu_per_request,
            "server_rss_mib": server.rss_mib(), "started_in_ms": server.started_in.as_secs_f64() * 1e3,
        })
        .to_string()
    }
}

/// Runs a scenario, and the one beside it.
fn run(arguments: &Arguments, server: &Server, scenario: &str, logins: &[(String, String)]) -> Vec<Outcome> {
    // Everybody logs in before the clock runs.
    let mut client = Client::new(server, arguments.close);
    for (user, token) in logins {
        client.ask(&request("show", user, token, 0, arguments.close));
    }
    let mut scenarios = vec![(scenario, arguments.clients)];
    if let Some(beside) = &arguments.beside {
        let parts = beside.split_once(':').and_then(|(beside, clients)| Some((beside, clients.parse().ok()?)));
        scenarios.push(parts.expect("--beside takes scenario:clients"));
    }
    let (cpu, started) = (server.cpu(), Instant::now());
    let until = started + Duration::from_secs_f64(arguments.seconds);
    let driven: Vec<_> = std::thread::scope(|scope| {
        let drive = |(name, clients)| scope.spawn(move || drive(server, name, clients, until, arguments, logins));
        let threads: Vec<_> = scenarios.iter().copied().map(drive).collect();
        threads.into_iter().map(|thread| thread.join().expect("a scenario does not panic")).collect()
    });
    let seconds = started.elapsed().as_secs_f64();
    let requests: usize = driven.iter().map(|(times, _)| times.len()).sum();
    let cpu_per_request = (server.cpu() - cpu) * 1e6 / requests as f64;
    let outcome = |((name, clients), (mut times, errors)): ((&str, usize), (Vec<f64>, usize))| {
        times.sort_by(f64::total_cmp);
        Outcome { scenario: name.to_owned(), clients, seconds, times, errors, cpu_per_request }
    };
    scenarios.into_iter().zip(driven).map(outcome).collect()
}

/// Lets clients ask until then, each at least once; their times in milliseconds and the number of errors.
fn drive(
    server: &Server,
    scenario: &str,
    clients: usize,
    until: Instant,
    arguments: &Arguments,
    logins: &[(String, String)],
) -> (Vec<f64>, usize) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|n| {
                scope.spawn(move || {
                    let mut client = Client::new(server, arguments.close);
                    let (mut times, mut errors) = (Vec::new(), 0);
                    for round in 0.. {
                        let (user, token) = &logins[(n + round * clients) % logins.len()];
                        let request = request(scenario, user, token, round, arguments.close);
                        let started = Instant::now();
                        match client.ask(&request) {
                            Some(200 | 201) => times.push(started.elapsed().as_secs_f64() * 1e3),
                            _ => errors += 1,
                        }
                        if Instant::now() >= until {
                            break;
                        }
                    }
                    (times, errors)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).fold(
            (Vec::new(), 0),
            |(mut all, sum), (times, errors)| {
                all.extend(times);
                (all, sum + errors)
            },
        )
    })
}

/// The bytes of one request.
fn request(scenario: &str, user: &str, token: &str, round: usize, close: bool) -> String {
    let api = "/ocs/v2.php/apps/spreed/api/v1";
    let line = match scenario {
        "health" => "GET /health".to_owned(),
        "show" => format!("GET {api}/room/{token}"),
        "list" => format!("GET {api}/room"),
        "favorite" => format!("POST {api}/room/{token}/favorite"),
        "chat" => format!("POST {api}/chat/{token}?message=hello"),
        "mixed" if round.is_multiple_of(10) => format!("POST {api}/room/{token}/favorite"),
        "mixed" => format!("GET {api}/room"),
        other => panic!("unknown scenario {other}"),
    };
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{PASSWORD}"));
    let connection = if close { "close" } else { "keep-alive" };
    format!(
        "{line} HTTP/1.1\r\nHost: load\r\nAuthorization: Basic {login}\r\nOCS-APIRequest: true\r\n\
         Accept: application/json\r\nConnection: {connection}\r\n\r\n"
    )
}

/// One connection, opened anew when it was closed.
struct Client<'s> {
    server: &'s Server,
    close: bool,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl<'s> Client<'s> {
    fn new(server: &'s Server, close: bool) -> Client<'s> {
        Client { server, close, stream: None, buffer: vec![0; 1 << 20] }
    }

    /// The status of the answer; `None` when there was none.
    fn ask(&mut self, request: &str) -> Option<u16> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.server.address).ok()?;
                stream.set_nodelay(true).ok()?;
                stream
            }
        };
        stream.write_all(request.as_bytes()).ok()?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            let read = stream.read(&mut self.buffer[filled..]).ok()?;
            if read == 0 {
                return None;
            }
            filled += read;
            let Some(end) = self.buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end]).ok()?;
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?.parse::<usize>().ok()?;
            if filled >= end + 4 + length {
                let status = head.split(' ').nth(1)?.parse().ok();
                if !self.close {
                    self.stream = Some(stream);
                }
                return status;
            }
        }
    }
}
