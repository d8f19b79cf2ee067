//! The command line: one function for each command, an exit code from each.

use argh::FromArgs;
use roomd::config::{Config, Listen};
use roomd::server;
use std::path::PathBuf;
use std::process::ExitCode;

/// Nextcloud Talk's conversation server, beside Nextcloud.
#[derive(FromArgs)]
struct Arguments {
    /// print the version
    #[argh(switch)]
    version: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Serve(Serve),
}

/// Serve the API.
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
struct Serve {
    /// configuration file (default: /etc/roomd/roomd.toml, where it exists)
    #[argh(option)]
    config: Option<PathBuf>,
    /// where to listen: 127.0.0.1:PORT, [::1]:PORT or unix:PATH
    #[argh(option)]
    listen: Option<Listen>,
    /// where to serve operators: unix:PATH or 127.0.0.1:PORT; empty for nowhere
    #[argh(option)]
    admin: Option<String>,
    /// folder of the database
    #[argh(option)]
    data: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    if arguments.version {
        println!("roomd {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    match arguments.command {
        Some(Command::Serve(serve)) => finish(serve.run()),
        None => finish(Err("no command given; `roomd --help` lists them".to_owned())),
    }
}

fn finish(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roomd: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Serve {
    fn run(self) -> Result<(), String> {
        let file = Config::file(self.config);
        let mut config = Config::load(file.as_deref())?;
        if let Some(listen) = self.listen {
            config.server.listen = listen;
        }
        if let Some(admin) = &self.admin {
            config.server.admin_listen = Listen::parse_optional(admin).map_err(|e| format!("--admin: {e}"))?;
        }
        if let Some(data) = self.data {
            config.store.data = data;
        }
        server::run(config, file)
    }
}
