//! The disk runs full while people write, and has room again later. Takes a file system of its own, which only root may
//! mount; without that these tests say so and pass.

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Answer, Request, Room, Server, eventually};

/// A small file system in a folder of its own, for as long as the test runs.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// None, with the reason on the output, where nothing can be mounted.
    fn mount(name: &str) -> Option<Disk> {
        let folder = std::env::temp_dir().join(format!("roomd-disk-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&folder).output();
        let why = match mounted {
            Ok(output) if output.status.success() => return Some(Disk { folder }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        println!("skipped: no file system of its own can be mounted: {why}");
        std::fs::remove_dir(&folder).unwrap();
        None
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("something-else")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        let page = [1_u8; 4096];
        while file.write_all(&page).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that the test has not ended yet may still hold a file.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        let _ = std::fs::remove_dir(&self.folder);
    }
}

#[track_caller]
fn is_refused_for_lack_of_space(answer: &Answer) {
    answer.has_status(507);
    answer.check(!answer.header("Retry-After").is_empty(), "Retry-After");
    let meta = answer.meta();
    answer.check(meta["status"] == "failure" && meta["statuscode"] == 507, "an OCS failure");
}

fn rename(room: &Room, name: &str) -> Request {
    Request::new("PUT", room.at("")).form(&[("roomName", name)])
}

/// Somebody with one conversation that they rename, and in which they say things.
#[derive(Default)]
struct Told {
    /// What was said and acknowledged, by its id.
    said: BTreeMap<i64, String>,
    refused: usize,
}

#[test]
fn a_disk_that_runs_full_costs_nothing_that_was_acknowledged() {
    let Some(disk) = Disk::mount("runs-full") else { return };
    let mut server = Server::with_data_in(&disk.folder);
    let people = ["alice", "bob", "carol", "dave"];
    let rooms: Vec<Room> = people.iter().map(|id| server.user(id).creates_group(id)).collect();
    for round in 0..3 {
        let stop = AtomicBool::new(false);
        let (refused, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let written_by = [const { AtomicUsize::new(0) }; 4];
        let written = || written_by.iter().map(|count| count.load(Ordering::Relaxed));
        let told: Vec<Told> = std::thread::scope(|scope| {
            let writers: Vec<_> = people
                .iter()
                .zip(&rooms)
                .zip(&written_by)
                .map(|((id, room), written)| {
                    let (who, stop, refused) = (server.user(id), &stop, &refused);
                    scope.spawn(move || {
                        let mut told = Told::default();
                        let mut n = 0;
                        while !stop.load(Ordering::Relaxed) {
                            n += 1;
                            let text = format!("round {round}, number {n}: {}", "x".repeat(n % 5 * 400));
                            let answer = who.post(room.chat(), &[("message", &text)]);
                            if answer.status == 201 {
                                told.said.insert(answer.json()["ocs"]["data"]["id"].as_i64().unwrap(), text);
                                written.fetch_add(1, Ordering::Relaxed);
                            } else {
                                is_refused_for_lack_of_space(&answer);
                                told.refused += 1;
                                refused.fetch_add(1, Ordering::Relaxed);
                                std::thread::sleep(Duration::from_millis(2));
                            }
                        }
                        told
                    })
                })
                .collect();
            for (id, room) in people.iter().zip(&rooms).take(2) {
                let (who, stop, seen) = (server.user(id), &stop, &seen);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        who.sees(room);
                        who.reads_history(room);
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // So that a failing assertion below ends the others, too.
            let _end = End(&stop);
            eventually("changes are written", || written().sum::<usize>() > 40);
            disk.fill();
            eventually("changes are refused", || refused.load(Ordering::Relaxed) > 40);
            disk.fill();
            let (before, refusals) = (seen.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
            eventually("reads go on", || seen.load(Ordering::Relaxed) > before + 100);
            eventually("and changes are refused", || refused.load(Ordering::Relaxed) > refusals + 100);
            disk.free();
            let freed = Instant::now();
            let before: Vec<usize> = written().collect();
            let all_wrote = |more: usize| written().zip(&before).all(|(now, before)| now > before + more);
            eventually("changes are written again", || written().sum::<usize>() > before.iter().sum());
            println!("round {round}: changes are taken {} ms after there was space", freed.elapsed().as_millis());
            // Each of them: one may still hold a refusal from before in their hands.
            eventually("and they go on", || all_wrote(0));
            let refusals = refused.load(Ordering::Relaxed);
            eventually("and on", || all_wrote(20));
            assert_eq!(refused.load(Ordering::Relaxed), refusals, "refused although there is space");
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let holds = |server: &Server| {
            for ((id, room), told) in people.iter().zip(&rooms).zip(&told) {
                let who = server.user(id);
                for (message, text) in &told.said {
                    let known = message.to_string();
                    let query = [
                        ("lookIntoFuture", "0"),
                        ("limit", "1"),
                        ("lastKnownMessageId", known.as_str()),
                        ("includeLastKnown", "1"),
                    ];
                    let found = who.send(Request::new("GET", room.chat()).query(&query)).expect(200);
                    assert_eq!(found[0]["id"], *message, "{id} lost a message");
                    assert_eq!(found[0]["message"], text.trim(), "{id}");
                }
            }
        };
        let (said, refused): (Vec<usize>, Vec<usize>) = told.iter().map(|t| (t.said.len(), t.refused)).unzip();
        println!("round {round}: {said:?} changes acknowledged, {refused:?} refused, {seen:?} reads answered");
        holds(&server);
        let check = server.command(&["check"]).output().unwrap();
        assert!(check.status.success(), "{check:?}");
        if round == 1 {
            server.kill();
        }
        server.restart();
        holds(&server);
        let check = server.command(&["check"]).output().unwrap();
        assert!(check.status.success(), "{check:?}");
    }
}

/// Tells the others to stop, however the test ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn it_recovers_although_nobody_writes() {
    let Some(disk) = Disk::mount("nobody-writes") else { return };
    let server = Server::with_data_in(&disk.folder);
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    disk.fill();
    let text = "x".repeat(30_000);
    eventually("a change is refused", || alice.post(room.chat(), &[("message", &text)]).status == 507);
    alice.sees(&room);
    disk.free();
    eventually("it says that it recovered", || server.log().contains("takes changes again"));
    alice.send(rename(&room, "Better plans")).done();
}

#[test]
fn a_server_that_was_killed_on_a_full_disk_comes_back() {
    let Some(disk) = Disk::mount("killed") else { return };
    let mut server = Server::with_data_in(&disk.folder);
    let alice = server.user("alice");
    let room = alice.creates_group("Plans");
    disk.fill();
    let text = "x".repeat(30_000);
    eventually("a change is refused", || alice.post(room.chat(), &[("message", &text)]).status == 507);
    server.kill();
    // What is there can be looked at although nothing can be added.
    server.restart();
    assert_eq!(alice.sees(&room)["name"], "Plans");
    disk.fill();
    eventually("a change is refused", || alice.post(room.chat(), &[("message", &text)]).status == 507);
    disk.free();
    eventually("a change is taken", || alice.send(rename(&room, "Better plans")).status == 200);
    assert_eq!(alice.sees(&room)["name"], "Better plans");
    let check = server.command(&["check"]).output().unwrap();
    assert!(check.status.success(), "{check:?}");
}

/// Starts a server that may not come up: what it says when it does not, and None when it serves.
fn fails_to_start(data: &Path) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomd"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "", "--data"]).arg(data).stdin(Stdio::null());
    command.env("ROOMD_CONFIG", "/dev/null").env("ROOMD_NEXTCLOUD_URL", "http://127.0.0.1:9");
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("listening on") {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        said.push_str(&line);
        said.push('\n');
    }
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    Some(said)
}

#[test]
fn a_disk_that_is_full_at_the_start_is_named() {
    let Some(disk) = Disk::mount("full-at-start") else { return };
    // With nothing left, and with a little that may or may not be enough for a database.
    for spare in [0, 1, 3, 8, 40] {
        disk.fill();
        let filled = std::fs::metadata(disk.filler()).unwrap().len();
        File::options().write(true).open(disk.filler()).unwrap().set_len(filled - spare * 4096).unwrap();
        let said = fails_to_start(&disk.folder);
        assert!(said.is_some() || spare > 0, "it serves although nothing can be written");
        println!("with {spare} pages: {said:?}");
        if let Some(said) = said {
            let wanted = said.contains("No space left on device") || said.contains("disk is full");
            assert!(wanted && said.contains("roomd.redb"), "with {spare} pages: {said}");
            assert!(!said.contains("damaged") && !said.contains("panicked"), "with {spare} pages: {said}");
        }
        disk.free();
        // What the attempt has left does not stand in the way of the next one.
        let server = Server::with_data_in(&disk.folder);
        server.user("alice").creates_group("Plans");
        drop(server);
        std::fs::remove_file(disk.folder.join("roomd.redb")).unwrap();
    }
}
