//! How far a long command is, on one line of the terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is written.
const PAUSE: Duration = Duration::from_millis(100);
const WIDTH: usize = 30;

/// A bar on standard error, when a person watches there.
pub struct Bar {
    what: &'static str,
    watched: bool,
    shown: Option<Instant>,
}

impl Bar {
    /// A bar with this word before it.
    pub fn new(what: &'static str) -> Bar {
        Bar { what, watched: std::io::stderr().is_terminal(), shown: None }
    }

    /// Shows that `done` of `total` is done.
    pub fn show(&mut self, done: u64, total: u64) {
        if !self.watched || self.shown.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        self.shown = Some(Instant::now());
        let share = if total == 0 { 1.0 } else { done as f64 / total as f64 };
        let full = (share * WIDTH as f64) as usize;
        let bar = format!("{}{}", "#".repeat(full.min(WIDTH)), ".".repeat(WIDTH - full.min(WIDTH)));
        // Nobody watches any more.
        let _ = write!(std::io::stderr(), "\r{} [{bar}] {:3.0} %", self.what, share * 100.0);
    }
}

impl Drop for Bar {
    /// Takes the line away: what the command says stands in its place.
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r{}\r", " ".repeat(self.what.len() + WIDTH + 10));
        }
    }
}
