//! The rules of Talk: pure arithmetic on conversations. No I/O, no clock (time is an argument), no HTTP, no database.

pub mod participant;
pub mod token;
