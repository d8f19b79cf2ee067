//! roomd
#![allow(missing_docs)]

pub mod config;
pub mod error;
pub mod nextcloud;
pub mod password;
pub mod presence;
pub mod secret;
pub mod store;
pub mod talk;
