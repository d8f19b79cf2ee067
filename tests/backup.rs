//! Backups, restoring them, and what happens to a damaged database.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::{Cast, Server, eventually};

/// redb's pages.
const PAGE: usize = 4096;

#[track_caller]
fn done(server: &Server, arguments: &[&str]) -> String {
    let output = server.command(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(server: &Server, arguments: &[&str]) -> String {
    let output = server.command(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn database(server: &Server) -> PathBuf {
    server.data().join("roomd.redb")
}

#[test]
fn a_backup_brings_everything_back() {
    let mut cast = Cast::in_public();
    cast.owner.says(&cast.room, "hello");
    let file = cast.server.data().join("copy.redb");
    let name = file.to_str().unwrap();
    done(&cast.server, &["backup", name]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(refused(&cast.server, &["backup", name]).contains("--force"));
    done(&cast.server, &["backup", "--force", name]);
    let before = (cast.owner.lists(), cast.owner.reads_history(&cast.room));
    cast.owner.says(&cast.room, "too late");
    assert!(refused(&cast.server, &["restore", name]).contains("stop it first"));
    cast.server.stop();
    let said = done(&cast.server, &["restore", name]);
    let kept = said.lines().find_map(|line| line.strip_prefix("the old database is kept as ")).unwrap().to_owned();
    cast.server.restart();
    assert_eq!((cast.owner.lists(), cast.owner.reads_history(&cast.room)), before);
    // The old one is whole, too.
    cast.server.stop();
    done(&cast.server, &["restore", &kept]);
    cast.server.restart();
    assert_eq!(cast.owner.last_message(&cast.room)["message"], "too late");
}

#[test]
fn what_is_no_backup_is_not_restored() {
    let mut server = Server::start();
    server.user("alice").creates_group("Plans");
    let copy = server.data().join("copy.redb");
    done(&server, &["backup", copy.to_str().unwrap()]);
    server.stop();
    let before = std::fs::read(database(&server)).unwrap();
    let whole = std::fs::read(&copy).unwrap();
    let mut flipped = whole.clone();
    let inhabited = flipped.windows(5).position(|bytes| bytes == b"Plans").unwrap();
    flipped[inhabited] ^= 1;
    let half = whole[..whole.len() / 2].to_vec();
    for bytes in [flipped, half, b"no database at all".to_vec(), Vec::new()] {
        std::fs::write(&copy, bytes).unwrap();
        let said = refused(&server, &["restore", copy.to_str().unwrap()]);
        assert!(said.contains("copy.redb"), "{said}");
        assert!(std::fs::read(database(&server)).unwrap() == before, "the database has changed");
    }
}

#[test]
fn a_backup_under_load_is_one_consistent_state() {
    let mut server = Server::start();
    let stop = AtomicBool::new(false);
    let changes = AtomicUsize::new(0);
    let copies: Vec<PathBuf> = (0..5).map(|n| server.data().join(format!("copy{n}.redb"))).collect();
    std::thread::scope(|scope| {
        for id in ["alice", "bob", "carol", "dave"] {
            let (who, stop, changes) = (server.user(id), &stop, &changes);
            scope.spawn(move || {
                let room = who.creates_public("Busy");
                while !stop.load(Ordering::Relaxed) {
                    who.says(&room, "hello");
                    who.put(room.at(""), &[("roomName", &format!("Busy {}", changes.load(Ordering::Relaxed)))]).done();
                    who.leaves(&room);
                    who.joins(&room);
                    changes.fetch_add(4, Ordering::Relaxed);
                }
            });
        }
        for (n, copy) in copies.iter().enumerate() {
            eventually("changes go on", || changes.load(Ordering::Relaxed) > n * 200);
            done(&server, &["backup", copy.to_str().unwrap()]);
        }
        let before = changes.load(Ordering::Relaxed);
        eventually("the writers were not stopped", || changes.load(Ordering::Relaxed) > before + 100);
        stop.store(true, Ordering::Relaxed);
    });
    server.stop();
    for copy in &copies {
        // Restoring verifies pages and contents.
        done(&server, &["restore", copy.to_str().unwrap()]);
    }
    server.restart();
    done(&server, &["check"]);
}

/// Starts the server on a data folder and tells whether it came to serve; and what it said.
fn serves(server: &Server, data: &Path) -> (Option<Output>, String) {
    let mut command = server.command(&["serve", "--listen", "127.0.0.1:0", "--admin", "", "--data"]);
    let mut child = command.arg(data).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    while std::io::BufRead::read_line(&mut stderr, &mut said).unwrap() > 0 {
        if said.contains("listening on") {
            let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap();
            assert!(kill.success());
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "it does not end well: {said}");
            return (None, said);
        }
    }
    (Some(child.wait_with_output().unwrap()), said)
}

/// Flips one byte after another in copies of a database; `choose` says which, given its length.
fn flip(choose: impl FnOnce(usize) -> Vec<(usize, u8)>) {
    // Nobody joins: a session that grows old meanwhile would change the data by itself.
    let mut server = Server::start();
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    alice.adds(&room, "bob");
    alice.talks_to("bob");
    for n in 0..40 {
        alice.says(&room, &format!("message {n} {}", "x".repeat(n * 20)));
        alice.creates_group(&format!("Group {n}"));
    }
    server.stop();
    let whole = std::fs::read(database(&server)).unwrap();
    let content = done(&server, &["export"]);
    let folder = server.data().join("damaged");
    std::fs::create_dir_all(&folder).unwrap();
    let (mut harmless, mut noticed) = (0, 0);
    for (at, bits) in choose(whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= bits;
        std::fs::write(folder.join("roomd.redb"), &bytes).unwrap();
        let (failed, said) = serves(&server, &folder);
        match failed {
            Some(output) => {
                noticed += 1;
                assert_eq!(output.status.code(), Some(1), "byte {at} ^ {bits:x}: {output:?} {said}");
                assert!(
                    said.contains("roomd restore FILE") && !said.contains("panicked"),
                    "byte {at} ^ {bits:x}: {said}"
                );
            }
            None => {
                harmless += 1;
                let exported = server.command(&["export"]).env("ROOMD_DATA", &folder).output().unwrap();
                assert!(exported.status.success(), "byte {at} ^ {bits:x}: {exported:?}");
                assert!(
                    String::from_utf8_lossy(&exported.stdout) == content,
                    "byte {at} ^ {bits:x}: other data than before"
                );
            }
        }
    }
    println!("{harmless} flips were harmless, {noticed} were noticed");
    assert!(noticed > 0 && harmless > 0);
}

#[test]
fn a_flipped_byte_is_noticed_or_harmless() {
    // The place within the page moves on from page to page.
    flip(|length| (0..length / PAGE).step_by(7).map(|page| (page * PAGE + page * 1_237 % PAGE, 0x55)).collect());
}

#[test]
#[ignore = "slow: every page, and every byte of the file's head"]
fn a_flipped_byte_anywhere_is_noticed_or_harmless() {
    flip(|length| {
        // The byte that says which half of the head counts, and whether the file was closed.
        let state = (0..8).map(|bit| (9, 1 << bit));
        let head = (0..512).flat_map(|at| [(at, 0x01), (at, 0xff)]);
        let places = |page: usize| [0, 1, 9, 100, 2_000, PAGE - 1].map(|place| (page * PAGE + place, 0x55));
        state.chain(head).chain((1..length / PAGE).flat_map(places)).collect()
    });
}

#[test]
fn a_file_that_is_cut_short_is_refused_with_advice() {
    let mut server = Server::start();
    let alice = server.user("alice");
    (0..20).for_each(|n| drop(alice.creates_group(&format!("Group {n}"))));
    server.stop();
    let whole = std::fs::read(database(&server)).unwrap();
    let content = done(&server, &["export"]);
    for length in [0, 1, 100, PAGE, whole.len() / 2, whole.len() - PAGE] {
        std::fs::write(database(&server), &whole[..length]).unwrap();
        let (failed, said) = serves(&server, &server.data());
        assert!(failed.is_some_and(|output| output.status.code() == Some(1)), "{length} bytes: {said}");
        assert!(said.contains("roomd restore FILE") && !said.contains("panicked"), "{length} bytes: {said}");
        // Only looking at it may succeed, when what is missing was free.
        let export = server.command(&["export"]).output().unwrap();
        let said = String::from_utf8_lossy(&export.stderr).into_owned();
        if export.status.success() {
            assert_eq!(String::from_utf8_lossy(&export.stdout), content);
        } else {
            assert!(export.status.code() == Some(1) && !said.contains("panicked"), "{said}");
        }
    }
}
