//! Questions about Nextcloud itself, for `roomd check`.

use super::client::{Answer, Client};
use super::directory::{Asker, Credentials};
use crate::config;
use crate::error::{Error, Result};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};

/// An address that nobody has (RFC 5737), to see whether Nextcloud believes it.
const NOBODYS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

/// A header of every answer that roomd gives, so that it can be told from Nextcloud's own. Without the version: that is
/// nobody's business.
pub const OWN_HEADER: &str = "X-Roomd";

/// What `status.php` says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Whether it is installed.
    pub installed: bool,
    /// Whether it is being maintained: it answers nobody then.
    pub maintenance: bool,
    /// Its version for people.
    pub versionstring: String,
    /// What its clock said, Unix seconds.
    #[serde(skip)]
    pub clock: Option<i64>,
}

/// Whether Nextcloud believes roomd's word about where a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Believed {
    /// Yes.
    Yes,
    /// No: it took roomd for the caller, or saw this instead.
    No,
    /// It has no way to tell.
    Unknown,
}

/// Asks a Nextcloud about itself.
pub struct Diagnosis {
    client: Client,
}

impl Diagnosis {
    /// Prepares to ask. The error is a sentence that names the key.
    pub fn new(config: &config::Nextcloud) -> std::result::Result<Diagnosis, String> {
        Ok(Diagnosis { client: Client::new(config)? })
    }

    /// What `status.php` says.
    pub fn status(&self) -> Result<Status> {
        let answer = self.ask("/status.php", None)?;
        if answer.status != 200 {
            return Err(answer.unexpected());
        }
        let mut status: Status = serde_json::from_slice(&answer.body).map_err(|_| super::NOT_OCS)?;
        status.clock = answer.date.as_deref().and_then(unix_seconds);
        Ok(status)
    }

    /// Whether a forwarded address is believed. Only Nextcloud's push app (notify_push) tells which address it saw.
    pub fn believes_forwarded_address(&self) -> Result<Believed> {
        let answer = self.ask("/index.php/apps/notify_push/test/remote", Some(NOBODYS))?;
        let seen: Option<IpAddr> = std::str::from_utf8(&answer.body).ok().and_then(|text| text.trim().parse().ok());
        Ok(match (answer.status, seen) {
            (200, Some(NOBODYS)) => Believed::Yes,
            (200, Some(_)) => Believed::No,
            _ => Believed::Unknown,
        })
    }

    /// Whether the API at this address is answered by roomd; with the status.
    pub fn is_answered_by_roomd(&self) -> Result<(bool, u16)> {
        let answer = self.ask("/ocs/v2.php/apps/spreed/api/v1/signaling/settings?format=json", None)?;
        Ok((answer.is_roomd, answer.status))
    }

    fn ask(&self, path: &str, address: Option<IpAddr>) -> Result<Answer> {
        match self.client.get("check", path, &Asker { credentials: Credentials::default(), address }) {
            Err(Error::BadRequest) => Err(super::NOT_OCS),
            answer => answer,
        }
    }
}

/// Reads a `Date` header: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn unix_seconds(date: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = date.split_once(", ")?.1.split(' ');
    let day: i64 = words.next()?.parse().ok()?;
    let month = MONTHS.find(words.next()?)? as i64 / 3 + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // Years that begin in March; then days since 1970 (Howard Hinnant's days_from_civil).
    let year = year - i64::from(month <= 2);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_header_is_read() {
        assert_eq!(unix_seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(unix_seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(unix_seconds("Tue, 29 Feb 2000 23:59:59 GMT"), Some(951_868_799));
        assert_eq!(unix_seconds("yesterday"), None);
    }
}
