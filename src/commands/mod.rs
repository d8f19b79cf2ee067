//! The command line: a file for each command, and what they share.
//!
//! Exit codes: 0 done, 1 failed (for `check`: something is wrong), 2 the command line makes no sense.

mod backup;
mod change;
mod check;
mod export;
mod progress;
mod room;
mod serve;
mod stats;
mod user;

use crate::config::{Config, arguments};
use argh::FromArgs;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The command line makes no sense.
const USAGE: u8 = 2;

/// Nextcloud Talk's conversation server, beside Nextcloud.
#[derive(FromArgs)]
#[argh(
    error_code(0, "done"),
    error_code(1, "failed, or `check` found something wrong"),
    error_code(2, "the command line makes no sense")
)]
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
    Serve(serve::Serve),
    Check(check::Check),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Export(export::Export),
    Import(export::Import),
    Room(room::RoomCommand),
    User(user::UserCommand),
    Stats(stats::Stats),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let words = arguments();
    let mut words: Vec<&str> = common_options_first(words.iter().map(String::as_str).collect());
    // argh takes a lone dash for an option, unless it is told that none will come.
    if words.last() == Some(&"-") && !words.contains(&"--") {
        words.insert(words.len() - 1, "--");
    }
    let arguments = match Arguments::from_args(&["roomd"], &words) {
        Ok(arguments) => arguments,
        Err(early) if early.status.is_ok() => {
            say(early.output.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(early) => {
            eprintln!("{}\n`{} --help` tells more.", early.output.trim_end(), deepest_command(&words));
            return ExitCode::from(USAGE);
        }
    };
    if arguments.version {
        say(concat!("roomd ", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    let outcome = match arguments.command {
        Some(Command::Serve(command)) => command.run(),
        Some(Command::Check(command)) => command.run(),
        Some(Command::Backup(command)) => command.run(),
        Some(Command::Restore(command)) => command.run(),
        Some(Command::Export(command)) => command.run(),
        Some(Command::Import(command)) => command.run(),
        Some(Command::Room(command)) => command.run(),
        Some(Command::User(command)) => command.run(),
        Some(Command::Stats(command)) => command.run(),
        None => {
            eprintln!("roomd: no command given; `roomd --help` lists them");
            return ExitCode::from(USAGE);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_empty() {
                eprintln!("roomd: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// `roomd room list --json` means `roomd room --json list`: argh takes an option only at the command that declares it.
fn common_options_first(words: Vec<&str>) -> Vec<&str> {
    if words.first() != Some(&"room") {
        return words;
    }
    let (mut common, mut rest) = (vec!["room"], Vec::new());
    let mut left = words.into_iter().skip(1);
    while let Some(word) = left.next() {
        match word {
            "--" => {
                rest.push(word);
                rest.extend(left.by_ref());
            }
            "--json" => common.push(word),
            "--config" => common.extend([word].into_iter().chain(left.next())),
            _ => rest.push(word),
        }
    }
    common.extend(rest);
    common
}

/// The longest beginning of a command line whose help can be shown: `roomd room create`.
fn deepest_command(words: &[&str]) -> String {
    let helps = |count: &usize| {
        let command = [&words[..*count], &["--help"]].concat();
        words[..*count].iter().all(|word| !word.starts_with('-'))
            && Arguments::from_args(&["roomd"], &command).is_err_and(|early| early.status.is_ok())
    };
    let count = (0..=words.len().min(2)).rev().find(helps).unwrap_or(0);
    [&["roomd"], &words[..count]].concat().join(" ")
}

/// The configuration that a command works with.
fn load(file: Option<PathBuf>) -> Result<Config, String> {
    Config::load(Config::file(file).as_deref())
}

/// Prints a line; a reader who has gone away is no reason to fail loudly.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints something as JSON, for programs.
fn say_json(value: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(|e| e.to_string())?;
    say(text);
    Ok(())
}
