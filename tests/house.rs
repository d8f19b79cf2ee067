//! The rules of the house, as far as a text search can tell: doors, floors, purity, panics, length.

use std::path::{Path, PathBuf};

/// Each library and the only place, below `src/`, that may name it.
const DOORS: [(&str, &str); 8] = [
    ("tiny_http", "server"),
    ("redb", "store"),
    ("ureq", "nextcloud"),
    ("bcrypt", "password"),
    ("quick_xml", "ocs"),
    ("toml", "config"),
    ("argh", "commands"),
    ("std::env", "config"),
];

/// The floors from the ground up; a module uses its own floor and those below.
const FLOORS: [&[&str]; 5] = [
    &["error", "secret", "config", "metrics", "buffers"],
    &["talk"],
    &["store", "nextcloud", "presence", "signals", "password", "ask"],
    &["api", "http", "ocs", "json", "auth", "polls", "operations"],
    &["commands", "server", "sweep", "dispatch", "routes"],
];

/// What goes up all the same: user, used, and why.
const UP: [(&str, &str, &str); 2] = [
    ("api/mod.rs", "routes", "a handler's gate is a column of its row in the table"),
    ("nextcloud/client.rs", "http", "the header by which roomd knows that it is asking itself"),
];

/// Most lines of a file without its tests.
const LONGEST: usize = 450;
/// Files that are longer, for now.
const LONG: [&str; 1] = ["talk/message.rs"];

/// A source file.
struct Source {
    /// Below `src/`.
    name: String,
    /// Without the tests at its end.
    text: String,
}

impl Source {
    /// The first part of its path: `store` of `store/rooms.rs`, `auth` of `auth.rs`.
    fn module(&self) -> &str {
        self.name.split(['/', '.']).next().unwrap()
    }

    /// Its lines without comments, numbered.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(n, line)| (n + 1, line));
        lines.map(|(n, line)| {
            let code = line.split(" //").next().unwrap_or("");
            (n, if line.trim_start().starts_with("//") { "" } else { code })
        })
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("").to_owned();
        Source { name: path.strip_prefix(root().join("src")).unwrap().display().to_string(), text }
    };
    paths.iter().map(read).collect()
}

/// Whether `code` names the path that begins with `start`, as in `redb::Database` or `use redb;`.
fn names(code: &str, start: &str) -> bool {
    code.match_indices(start).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + start.len()..];
        let begins = !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '"' | '.'));
        begins
            && (after.starts_with([':', '(', '_'])
                || code.trim_start().starts_with("use ") && after.starts_with([';', ' ']))
    })
}

/// The modules of this program that a line names: `store` and `talk` of `use crate::{store, talk::room::Room};`.
fn used(code: &str) -> Vec<&str> {
    let word = |text: &'static str| move |c: char| !(c.is_alphanumeric() || text.contains(c));
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.split(',').filter_map(|item| item.trim().split(word("_")).next())),
            None => found.extend(rest.split(word("_")).next()),
        }
    }
    found.into_iter().filter(|name| name.starts_with(char::is_lowercase)).collect()
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn each_library_has_one_door() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (n, code) in source.code() {
            for (library, door) in DOORS {
                if source.module() != door && names(code, library) {
                    wrong.push(format!("{}:{n} names {library}, which only {door} may", source.name));
                }
            }
        }
    }
    none("through the wall", &wrong);
}

#[test]
fn imports_go_down_only() {
    let floor = |module: &str| FLOORS.iter().position(|floor| floor.contains(&module));
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !matches!(source.name.as_str(), "main.rs" | "lib.rs")) {
        let Some(own) = floor(source.module()) else {
            wrong.push(format!(
                "{} is on no floor: give it one in tests/house.rs and a line in src/lib.rs",
                source.name
            ));
            continue;
        };
        for (n, code) in source.code() {
            for other in used(code) {
                let allowed = UP.iter().any(|(user, used, _)| source.name == *user && other == *used);
                if !allowed && floor(other).is_some_and(|other| other > own) {
                    wrong.push(format!("{}:{n} uses {other}, which is above it", source.name));
                }
            }
        }
    }
    none("upstairs", &wrong);
}

#[test]
fn the_rules_are_pure() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module() == "talk") {
        for (n, code) in source.code() {
            let foreign = used(code).into_iter().find(|module| !matches!(*module, "error" | "secret" | "talk"));
            let impure = ["SystemTime", "Instant", "std::net", "std::fs", "std::io", "std::thread", "log::"];
            if let Some(what) = foreign.or(impure.into_iter().find(|path| code.contains(path))) {
                wrong.push(format!("{}:{n} uses {what}", source.name));
            }
        }
    }
    none("talk/ is arithmetic", &wrong);
}

#[test]
fn what_might_panic_says_why_it_does_not() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (n, code) in source.code() {
            let explained = lines[n - 1].contains(" //") || n > 1 && lines[n - 2].trim_start().starts_with("//");
            if [".unwrap()", ".expect("].iter().any(|call| code.contains(call)) && !explained {
                wrong.push(format!("{}:{n} {}", source.name, code.trim()));
            }
        }
    }
    none("may panic, without a reason why it does not", &wrong);
}

#[test]
fn files_are_short() {
    let long = |source: &&Source| source.text.lines().count() > LONGEST && !LONG.contains(&source.name.as_str());
    let found: Vec<String> = sources().iter().filter(long).map(|source| source.name.clone()).collect();
    none(&format!("more than {LONGEST} lines without their tests"), &found);
}

#[test]
fn the_map_in_lib_rs_shows_every_file() {
    let map = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let missing = |source: &&Source| source.name != "lib.rs" && !map.contains(&format!(" {}", source.name));
    let found: Vec<String> = sources().iter().filter(missing).map(|source| source.name.clone()).collect();
    none("not on the map", &found);
    for line in map.lines().filter_map(|line| line.strip_prefix("//! ")) {
        for word in line.split_whitespace().filter(|word| word.ends_with(".rs")) {
            assert!(root().join("src").join(word).exists(), "the map shows {word}, which is not there");
        }
    }
}

#[test]
fn every_route_is_tested() {
    let mut paths = Vec::new();
    files(&root().join("tests"), &mut paths);
    let tests: String = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let untested = |path: &&str| {
        let below_token = path.split_once("{token}").map(|(_, rest)| rest);
        !tests.contains(&format!("{}\"", below_token.unwrap_or(path.trim_start_matches("/apps/spreed/api/v1"))))
    };
    let found: Vec<String> =
        roomd::routes::ROUTES.iter().map(|route| route.path).filter(untested).map(str::to_owned).collect();
    none("routes that no test names", &found);
}

#[test]
fn the_search_finds_what_it_looks_for() {
    assert!(names("use redb::Database;", "redb") && names("let x = redb::open();", "redb"));
    assert!(!names("let my_redb::x", "redb") && !names("crate::redb::x", "redb") && !names("let redb = 1;", "redb"));
    assert_eq!(used("use crate::{nextcloud, store::Store};"), ["nextcloud", "store"]);
    assert_eq!(used("use crate::api::{self, App}; crate::talk::room::Room"), ["api", "talk"]);
}
