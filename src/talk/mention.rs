//! Mentions in chat messages: `@bob`, `@"bob b"`, `@"guest/…"`, `@all` (SPEC D.4).

use crate::talk::participant::{GuestId, UserId};
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

/// Somebody mentioned in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mention {
    /// An account.
    User(UserId),
    /// A guest, by the hexadecimal digits that were typed.
    Guest(String),
    /// Everybody in the conversation.
    All,
}

impl Mention {
    fn kind(&self) -> &'static str {
        match self {
            Mention::User(_) => "user",
            Mention::Guest(_) => "guest",
            Mention::All => "call",
        }
    }

    /// Each mention with its placeholder's name: `mention-user1`, `mention-call1`, … numbered within its kind.
    pub fn numbered(mentions: &[Mention]) -> impl Iterator<Item = (String, &Mention)> {
        mentions.iter().enumerate().map(|(at, mention)| {
            let number = mentions[..=at].iter().filter(|m| m.kind() == mention.kind()).count();
            (format!("mention-{}{number}", mention.kind()), mention)
        })
    }
}

/// A place in a text that may mention somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate<'a> {
    /// Byte offset of the `@` and of the end.
    range: std::ops::Range<usize>,
    /// What is mentioned, without `@` and quotes.
    name: &'a str,
    /// Written with quotes.
    quoted: bool,
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-@.'".contains(&byte)
}

/// Finds the places that look like mentions, from left to right.
fn candidates(text: &str) -> Vec<Candidate<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(|b| *b == b'@') {
        let start = at + offset;
        at = start + 1;
        let opens = start == 0 || bytes[start - 1].is_ascii_whitespace() || b"-@.'".contains(&bytes[start - 1]);
        if !opens {
            continue;
        }
        let rest = &text[start + 1..];
        if let Some(inner) = rest.strip_prefix('"')
            && let Some(length) = inner.find('"')
            && length > 0
        {
            let name = &inner[..length];
            let fits = match name.get(..6) {
                Some(prefix) if prefix.eq_ignore_ascii_case("guest/") => {
                    length > 6 && name[6..].bytes().all(|b| b.is_ascii_hexdigit())
                }
                _ => name.bytes().all(|b| is_name_byte(b) || b == b' '),
            };
            if fits {
                at = start + length + 3;
                found.push(Candidate { range: start..at, name, quoted: true });
                continue;
            }
        }
        let length = rest.bytes().take_while(|b| is_name_byte(*b)).count();
        if length > 0 {
            at = start + 1 + length;
            found.push(Candidate { range: start..at, name: &rest[..length], quoted: false });
        }
    }
    found
}

/// The user ids that a text may mention: each once, in order. They may or may not exist.
pub fn named_users(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for candidate in candidates(text) {
        let is_user = candidate.name != "all" && guest_digits(candidate.name).is_none();
        if is_user && !names.contains(&candidate.name) {
            names.push(candidate.name);
        }
    }
    names
}

fn guest_digits(name: &str) -> Option<&str> {
    name.strip_prefix("guest/")
}

/// Replaces the mentions in a text by placeholders. `exists` gives the account that a name stands for; names of
/// nobody stay text.
pub fn resolve(text: &str, exists: impl Fn(&str) -> Option<UserId>) -> (String, Vec<Mention>) {
    let mut mentions: Vec<Mention> = Vec::new();
    let mut places = Vec::new();
    for candidate in candidates(text) {
        let mention = match (guest_digits(candidate.name), candidate.name) {
            (Some(digits), _) => Mention::Guest(digits.to_owned()),
            (None, "all") => Mention::All,
            (None, name) => match exists(name) {
                Some(id) => Mention::User(id),
                None => continue,
            },
        };
        let index = mentions.iter().position(|m| *m == mention).unwrap_or_else(|| {
            mentions.push(mention);
            mentions.len() - 1
        });
        // Talk looks for the name with quotes only where it has a blank or is a guest's: `@"bob"` stays as typed.
        let needs_quotes = candidate.name.contains(' ') || guest_digits(candidate.name).is_some();
        if candidate.quoted == needs_quotes {
            places.push((candidate.range, index));
        }
    }
    let placeholders: Vec<String> = Mention::numbered(&mentions).map(|(name, _)| name).collect();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (range, index) in places {
        out.push_str(&text[copied..range.start]);
        out.push_str(&format!("{{{}}}", placeholders[index]));
        copied = range.end;
    }
    out.push_str(&text[copied..]);
    (out, mentions)
}

/// Somebody who may be mentioned, as the API suggests them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// What to write after the `@`.
    pub id: SmolStr,
    /// The name that people see.
    pub label: SmolStr,
    /// `users`, `guests` or `calls`.
    pub source: &'static str,
}

/// Suggests whom a beginning mention may mean. `spoke` are the authors of the latest comments, newest first;
/// `room_name` is the conversation's name where everybody at once can be mentioned.
pub fn suggestions(
    search: &str,
    users: &[(UserId, SmolStr)],
    guests: &[(GuestId, SmolStr)],
    spoke: &[UserId],
    room_name: Option<&str>,
) -> Vec<Suggestion> {
    let wanted = search.to_lowercase();
    let starts = |text: &str| text.to_lowercase().starts_with(&wanted);
    let contains = |text: &str| text.to_lowercase().contains(&wanted);
    let equals = |text: &str| !wanted.is_empty() && text.to_lowercase() == wanted;

    let mut found: Vec<&(UserId, SmolStr)> =
        users.iter().filter(|(id, name)| contains(id.as_str()) || contains(name)).collect();
    // Stable: whoever has not spoken stays in the order of joining.
    found.sort_by_key(|(id, name)| {
        let exact = equals(id.as_str()) || equals(name);
        let silence = spoke.iter().position(|author| author == id).unwrap_or(usize::MAX);
        (!exact, !starts(name), silence)
    });
    let mut list: Vec<Suggestion> = found
        .into_iter()
        .map(|(id, name)| Suggestion { id: id.as_name(), label: name.clone(), source: "users" })
        .collect();

    let shown = |name: &SmolStr| if name.is_empty() { "Guest".into() } else { name.clone() };
    let named = guests.iter().map(|(id, name)| (id, shown(name)));
    let (exact, partly): (Vec<_>, Vec<_>) =
        named.filter(|(_, label)| contains(label)).partition(|(_, label)| equals(label));
    list.extend(exact.into_iter().chain(partly).map(|(id, label)| Suggestion {
        id: format_smolstr!("guest/{id}"),
        label,
        source: "guests",
    }));

    if let Some(name) = room_name {
        let everybody = Suggestion { id: "all".into(), label: name.into(), source: "calls" };
        if "all".starts_with(search) || starts(name) {
            list.insert(0, everybody);
        } else if contains(name) {
            list.push(everybody);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> (String, Vec<Mention>) {
        resolve(text, |name| ["bob", "carol", "al l"].contains(&name).then(|| UserId::new(name)))
    }

    #[test]
    fn accounts_become_placeholders_in_order() {
        let (text, mentions) = resolved("@carol and @bob, @carol again");
        assert_eq!(text, "{mention-user1} and {mention-user2}, {mention-user1} again");
        assert_eq!(mentions, [Mention::User(UserId::new("carol")), Mention::User(UserId::new("bob"))]);
    }

    #[test]
    fn unknown_names_stay_text() {
        assert_eq!(resolved("@nobody @bob.").0, "@nobody @bob.");
    }

    #[test]
    fn a_mention_starts_at_a_word() {
        for text in ["x@bob", "(@bob", "ü@bob"] {
            assert_eq!(resolved(text).0, text);
        }
        assert_eq!(resolved("-@bob\n@bob").0, "-{mention-user1}\n{mention-user1}");
    }

    #[test]
    fn quotes_are_for_blanks_and_guests() {
        assert_eq!(resolved("@\"al l\"").0, "{mention-user1}");
        let (text, mentions) = resolved("@\"bob\"");
        assert_eq!((text.as_str(), mentions.len()), ("@\"bob\"", 1));
        assert_eq!(resolved("@\"guest/abcdef\"").0, "{mention-guest1}");
        assert_eq!(resolved("@\"guest/xyz\"").1, []);
    }

    #[test]
    fn all_is_the_call() {
        assert_eq!(resolved("@all @bob").0, "{mention-call1} {mention-user1}");
    }

    #[test]
    fn the_names_to_look_up_are_told_once() {
        assert_eq!(named_users("@bob @all @x @bob @\"guest/ab\""), ["bob", "x"]);
    }

    #[test]
    fn suggestions_put_the_likely_first() {
        let people = [("ann", "Madani"), ("dan", "Daniel"), ("bob", "Bob")].map(|(id, n)| (UserId::new(id), n.into()));
        let ids = |search: &str, spoke: &[&str]| {
            let spoke: Vec<UserId> = spoke.iter().map(|id| UserId::new(*id)).collect();
            let list = suggestions(search, &people, &[], &spoke, Some("Plans"));
            list.into_iter().map(|s| s.id).collect::<Vec<_>>()
        };
        assert_eq!(ids("", &["bob"]), ["all", "bob", "ann", "dan"]);
        assert_eq!(ids("dan", &["ann"]), ["dan", "ann"]);
        assert_eq!(ids("DANI", &[]), ["dan", "ann"]);
        assert_eq!(ids("lan", &[]), ["all"]);
        assert_eq!(ids("Al", &[]), [] as [&str; 0]);
    }
}
