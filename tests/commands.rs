//! The commands of operators, while the server runs and while it does not.

mod support;

use roomd::config::Listen;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use support::nextcloud::{Behaviour, FakeNextcloud};
use support::{Cast, Server};

fn run(server: &Server, arguments: &[&str]) -> Output {
    server.command(arguments).output().unwrap()
}

/// What a command that succeeds prints.
#[track_caller]
fn done(server: &Server, arguments: &[&str]) -> String {
    let output = run(server, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn told(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(server, arguments)).unwrap()
}

/// What a command that fails says.
#[track_caller]
fn refused(server: &Server, code: i32, arguments: &[&str]) -> String {
    let output = run(server, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn conversations_are_made_and_changed_while_the_server_runs() {
    let server = Server::start();
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let token =
        done(&server, &["room", "create", "--owner", "alice", "--moderator", "bob", "--user", "carol", "Plans"]);
    let room = support::Room { token: token.trim().to_owned() };
    assert_eq!(alice.sees(&room)["participantType"], 1);
    assert_eq!(bob.sees(&room)["participantType"], 2);
    assert_eq!(carol.sees(&room)["participantType"], 3);
    done(&server, &["room", "rename", &room.token, "Better plans"]);
    assert_eq!(carol.sees(&room)["name"], "Better plans");
    done(&server, &["room", "update", "--public", "yes", "--readonly", "yes", &room.token]);
    let seen = server.guest().sees(&room);
    assert_eq!((&seen["type"], &carol.sees(&room)["readOnly"]), (&json!(3), &json!(1)));
    done(&server, &["room", "demote", &room.token, "bob"]);
    done(&server, &["room", "promote", &room.token, "carol"]);
    done(&server, &["room", "remove", &room.token, "bob"]);
    assert_eq!(carol.sees(&room)["participantType"], 2);
    assert!(bob.lists().is_empty());
    done(&server, &["room", "add", &room.token, "dave", "erin"]);
    let shown = told(&server, &["room", "--json", "show", &room.token]);
    let who: Vec<&str> = shown["participants"].as_array().unwrap().iter().map(|p| p["who"].as_str().unwrap()).collect();
    assert_eq!(who, ["alice", "carol", "dave", "erin"]);
    done(&server, &["room", "delete", &room.token]);
    alice.cannot_find(&room);
}

#[test]
fn a_password_comes_from_standard_input_and_is_stored_as_a_hash() {
    let server = Server::start();
    let arguments = ["room", "create", "--owner", "alice", "--public", "--password-stdin", "Square"];
    let output = with_input(&server, &arguments, "sesame\n");
    let room = support::Room { token: String::from_utf8(output.stdout).unwrap().trim().to_owned() };
    server.guest().joins_with_password(&room, "sesame");
    server.guest().post(room.at("/participants/active"), &[]).refused(403, support::Message::Null);
}

/// A command that reads a line.
fn with_input(server: &Server, arguments: &[&str], line: &str) -> Output {
    let mut command = server.command(arguments);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn settings_are_changed_together_or_not_at_all() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let before = alice.lists();
    let output = with_input(&server, &["room", "update", "--readonly", "yes", "--password-stdin", &room.token], "x\n");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("only public conversations have a password"),
        "{output:?}"
    );
    assert_eq!(alice.lists(), before, "a refused password leaves the rest as it was");
    let all = ["room", "update", "--public", "yes", "--readonly", "yes", "--password-stdin", &room.token];
    assert!(with_input(&server, &all, "sesame\n").status.success());
    let seen = alice.sees(&room);
    assert_eq!((&seen["type"], &seen["readOnly"], &seen["hasPassword"]), (&json!(3), &json!(1), &json!(true)));
    server.guest().joins_with_password(&room, "sesame");
    assert!(with_input(&server, &["room", "update", "--password-stdin", &room.token], "\n").status.success());
    assert_eq!(alice.sees(&room)["hasPassword"], false);
}

#[test]
fn refusals_say_why_and_change_nothing() {
    let server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    let pair = alice.talks_to("bob");
    let before = alice.lists();
    for (words, arguments) in [
        ("there is no conversation", &["room", "rename", "nothing4", "x"][..]),
        ("there is no account `nobody`", &["room", "add", &room.token, "nobody"]),
        ("one of these users is not in", &["room", "remove", &room.token, "dave"]),
        ("owner of a conversation cannot be removed", &["room", "remove", &room.token, "alice"]),
        ("belongs to its two users", &["room", "delete", &pair.token]),
        ("name is empty or too long", &["room", "rename", &room.token, " "]),
        ("only ordinary users", &["room", "promote", &room.token, "alice"]),
        ("name an --owner", &["room", "create", "Nobody's"]),
        ("name at least one user", &["room", "add", &room.token]),
        ("name at least one user", &["room", "remove", &room.token]),
        ("there is no conversation `nothing4`", &["room", "show", "nothing4"]),
    ] {
        let said = refused(&server, 1, arguments);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(alice.lists(), before);
    for (help, arguments) in [
        ("`roomd room --help`", &["room", "paint", &room.token][..]),
        ("`roomd room create --help`", &["room", "create"]),
        ("`roomd backup --help`", &["backup"]),
        ("`roomd --help`", &["paint"]),
        ("`roomd --help`", &[]),
    ] {
        let said = refused(&server, 2, arguments);
        assert!(said.contains(help), "{arguments:?}: {said}");
    }
    let file = server.data().join("all.jsonl");
    done(&server, &["export", file.to_str().unwrap()]);
    assert!(refused(&server, 1, &["export", file.to_str().unwrap()]).contains("--force overwrites it"));
}

#[test]
fn options_of_all_room_commands_may_stand_behind_the_command() {
    let server = Server::start();
    let room = server.user("alice").creates_group("Plans");
    let config = server.config();
    for arguments in [
        &["room", "--json", "show", &room.token][..],
        &["room", "show", "--json", &room.token],
        &["room", "show", &room.token, "--json"],
        &["room", "show", &room.token, "--config", config.to_str().unwrap(), "--json"],
    ] {
        assert_eq!(told(&server, arguments)["name"], "Plans", "{arguments:?}");
    }
    done(&server, &["room", "rename", "--", &room.token, "--json"]);
    assert_eq!(told(&server, &["room", "list", "--json"])[0]["name"], "--json");
}

#[test]
fn a_reader_who_has_gone_away_is_no_reason_to_fail() {
    let server = Server::start();
    for arguments in [&["--help"][..], &["--version"], &["stats"]] {
        // Nothing can be written there, as to `head` that has seen enough.
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = server.command(arguments).stdout(full).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn commands_work_without_a_server() {
    let mut server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    server.stop();
    done(&server, &["room", "rename", &room.token, "Changed at night"]);
    assert_eq!(told(&server, &["room", "--json", "list", "--user", "alice"])[0]["name"], "Changed at night");
    server.restart();
    assert_eq!(alice.sees(&room)["name"], "Changed at night");
}

#[test]
fn a_data_folder_that_is_made_is_for_its_user_alone() {
    let server = Server::start();
    let folder = server.data().join("new/folder");
    let stats = server.command(&["stats"]).env("ROOMD_DATA", &folder).output().unwrap();
    assert!(String::from_utf8_lossy(&stats.stderr).contains("there is no database in "), "{stats:?}");
    assert!(!folder.exists(), "looking makes nothing");
    let mut command = server.command(&["room", "create", "--owner", "alice", "Plans"]);
    command.env("ROOMD_DATA", &folder).env("ROOMD_ADMIN_LISTEN", "");
    assert!(command.status().unwrap().success());
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_purged_user_is_gone_everywhere() {
    let cast = Cast::in_public();
    cast.moderator.says(&cast.room, "hello");
    let own = cast.moderator.creates_group("Bob's");
    let outcome = told(&cast.server, &["user", "purge", "--json", "bob"]);
    assert_eq!(outcome, json!({"user": "bob", "conversations": 2}));
    assert!(!cast.owner.participants(&cast.room).iter().any(|p| p["userId"] == "bob"));
    let said = cast.owner.reads_history(&cast.room);
    let hello = said.iter().find(|message| message["message"] == "hello").unwrap();
    assert_eq!(hello["actorType"], "deleted_users");
    cast.moderator.cannot_find(&own);
}

#[test]
fn numbers_are_told() {
    let cast = Cast::in_public();
    cast.owner.says(&cast.room, "hello");
    let numbers = told(&cast.server, &["stats", "--json"]);
    assert_eq!(
        (&numbers["conversations"], &numbers["public"], &numbers["comments"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!((&numbers["participants"], &numbers["guests"]), (&json!(6), &json!(2)));
}

#[test]
fn what_is_exported_is_what_is_imported() {
    let mut cast = Cast::in_public();
    cast.owner.says(&cast.room, "hello");
    cast.owner.says(&cast.room, &"long ".repeat(200));
    cast.owner.put(cast.room.at("/password"), &[("password", "sesame")]).done();
    cast.guest.post(format!("/guest/{}/name", cast.room), &[("displayName", "Ana")]).done();
    cast.member.post(cast.room.at("/favorite"), &[]).done();
    cast.owner.talks_to("bob");
    cast.owner.creates_group("Empty one");
    let (owner, guest, room) = (cast.owner.clone(), cast.guest.clone(), cast.room.clone());
    let before = (owner.lists(), owner.reads_history(&room), guest.sees(&room));
    let exported = done(&cast.server, &["export"]);
    assert!(refused(&cast.server, 1, &["import", "-"]).contains("roomd is running"));
    cast.server.stop();
    let exported_later = done(&cast.server, &["export", "-"]);
    let without_pings = |lines: &str| lines.lines().filter(|line| !line.contains("last_ping")).count();
    assert_eq!(without_pings(&exported), without_pings(&exported_later));
    let file = cast.server.data().join("all.jsonl");
    std::fs::write(&file, &exported_later).unwrap();
    let file = file.to_str().unwrap();
    assert!(refused(&cast.server, 1, &["import", file]).contains("not empty"));
    done(&cast.server, &["import", "--force", file]);
    assert_eq!(done(&cast.server, &["export"]), exported_later);
    cast.server.restart();
    assert_eq!((owner.lists(), owner.reads_history(&room), guest.sees(&room)), before);
    let types: std::collections::BTreeSet<String> = exported_later
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    let types: Vec<&str> = types.iter().map(String::as_str).collect();
    assert_eq!(types, ["guest_name", "member", "message", "meta", "person", "room", "session"]);
}

#[test]
fn a_broken_line_is_named_and_nothing_is_imported() {
    let mut server = Server::start();
    server.user("alice").creates_group("Plans");
    server.stop();
    let before = done(&server, &["export"]);
    let file = server.data().join("broken.jsonl");
    for (words, lines) in [
        ("line 3: no JSON object", before.lines().take(2).chain(["{"]).collect::<Vec<_>>()),
        ("line 1: the line of type meta comes first", before.lines().skip(1).collect()),
        ("contradicts itself", before.lines().filter(|line| !line.contains("\"type\":\"member\"")).collect()),
        ("is empty", vec![]),
    ] {
        std::fs::write(&file, lines.join("\n")).unwrap();
        let said = refused(&server, 1, &["import", "--force", file.to_str().unwrap()]);
        assert!(said.contains(words), "{words}: {said}");
        assert_eq!(done(&server, &["export"]), before);
    }
}

#[test]
fn a_healthy_installation_passes_the_check() {
    let server = Server::start();
    server.user("alice").creates_group("Plans");
    let said = done(&server, &["check"]);
    assert!(said.lines().all(|line| line.starts_with("ok  ")), "{said}");
    assert!(said.contains("1 conversations, 1 messages; everything agrees"), "{said}");
}

#[test]
fn the_check_finds_what_is_wrong_and_says_what_to_do() {
    let nextcloud = FakeNextcloud::start();
    let mut server = Server::with_only(&nextcloud.section());
    let line = |server: &Server, what: &str| {
        let output = run(server, &["check"]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let line = said.lines().find(|line| line[6..].starts_with(what));
        line.unwrap_or_else(|| panic!("nothing of {what} in\n{said}")).to_owned()
    };
    assert!(line(&server, "nginx").contains("does not lead to roomd"), "the fake Nextcloud answers itself");
    nextcloud.set(Behaviour::Html);
    assert!(line(&server, "Nextcloud").starts_with("FAIL"));
    server.stop();
    assert!(line(&server, "API socket").contains("systemctl start roomd"));
    assert!(line(&server, "operators' socket").starts_with("FAIL"));
    let Listen::Unix(_) = server.admin() else { panic!("a unix socket") };
    std::fs::write(server.config(), "[server]\nworkers = 0\n").unwrap();
    assert!(line(&server, "configuration").contains("server.workers is 0"));
}
