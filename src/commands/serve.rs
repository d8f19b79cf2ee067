//! `roomd serve`

use crate::config::{Config, Listen};
use crate::server;
use argh::FromArgs;
use std::path::PathBuf;

/// Serve the API until SIGTERM. SIGHUP reads the configuration again.
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
pub struct Serve {
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

impl Serve {
    /// Runs the command.
    pub fn run(self) -> Result<(), String> {
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
