//! roomd
#![allow(missing_docs)]

pub mod api;
pub mod ask;
pub mod auth;
pub mod commands;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod http;
pub mod metrics;
pub mod nextcloud;
pub mod ocs;
pub mod operations;
pub mod password;
pub mod polls;
pub mod presence;
pub mod routes;
pub mod secret;
pub mod server;
pub mod signals;
pub mod store;
pub mod talk;
