//! The rules of Talk: pure arithmetic on conversations. No I/O, no clock (time is an argument), no HTTP, no database.

pub mod attempts;
pub mod mention;
pub mod message;
pub mod participant;
pub mod permission;
pub mod room;
pub mod token;
pub mod view;
