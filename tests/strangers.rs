//! Five hundred strangers at once while Nextcloud says nothing: whoever is known is served throughout.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::nextcloud::{Behaviour, FakeNextcloud};
use support::{Person, Request, Server, eventually};

const STRANGERS: usize = 500;

/// The slowest hundredth of these begins here.
fn p99(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

/// Asks for the list until told to stop, and at least a hundred times; how long each took.
fn asks_on(person: &Person, stop: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.load(Ordering::SeqCst) || times.len() < 100 {
        let started = Instant::now();
        person.get("/room").expect(200);
        times.push(started.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    times
}

#[test]
fn nobody_waits_for_a_second_question_when_the_first_stays_unanswered() {
    const WORKERS: usize = 8;
    let nextcloud = FakeNextcloud::start();
    let server =
        Server::with_only(&format!("[nextcloud]\nurl = \"{}\"\n[server]\nslow_workers = {WORKERS}\n", nextcloud.url()));
    nextcloud.set(Behaviour::Hang);
    let before = nextcloud.all_requests();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |number: usize| server.login("bob", &format!("guess {number}")).get("/room").status;
        let strangers: Vec<_> = (0..40).map(|number| scope.spawn(move || ask(number))).collect();
        strangers.into_iter().map(|stranger| stranger.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    assert_eq!(nextcloud.all_requests() - before, WORKERS, "those who queued behind the first are not asked about");
}

#[test]
#[ignore = "slow: seconds for each way in which Nextcloud fails; the times are worth something on a quiet machine"]
fn a_nextcloud_that_fails_keeps_nobody_waiting_who_is_known() {
    use Behaviour::{Closed, Hang, Html, Huge, Ok, Redirect, Status};
    let nextcloud = FakeNextcloud::start();
    let server = Server::with_only(&format!("[nextcloud]\nurl = \"{}\"\nlogin_cache = 600\n", nextcloud.url()));
    let alice = server.login("alice", "alice123456");
    alice.creates_group("Plans");
    let elsewhere = Redirect("http://127.0.0.1:9".to_owned());
    for mood in [Ok, Hang, Status(500), Status(429), Html, Huge, elsewhere, Closed] {
        nextcloud.set(mood.clone());
        let stop = AtomicBool::new(false);
        let (mut known, slowest) = std::thread::scope(|scope| {
            let known = scope.spawn(|| asks_on(&alice, &stop));
            // Twenty strangers a second, each of whom would have to be asked about.
            let strangers: Vec<_> = (0..60)
                .map(|number| {
                    std::thread::sleep(Duration::from_millis(50));
                    let stranger = server.login("bob", &format!("{mood:?} {number}"));
                    let asks = move || {
                        let started = Instant::now();
                        let status = stranger.get("/room").status;
                        (status, started.elapsed())
                    };
                    scope.spawn(asks)
                })
                .collect();
            let answers: Vec<_> = strangers.into_iter().map(|stranger| stranger.join().unwrap()).collect();
            stop.store(true, Ordering::SeqCst);
            let wanted = if mood == Ok { 401 } else { 503 };
            assert!(answers.iter().all(|(status, _)| *status == wanted), "{mood:?}: {answers:?}");
            (known.join().unwrap(), answers.into_iter().map(|(_, took)| took).max().unwrap_or_default())
        });
        println!("{mood:?}: {} lists, p99 {:.2?}; the slowest stranger {slowest:.1?}", known.len(), p99(&mut known));
    }
}

#[test]
fn strangers_keep_nobody_waiting_who_is_known() {
    let nextcloud = FakeNextcloud::start();
    let server = Server::with_only(&format!("{}login_cache = 600\n", nextcloud.section()));
    let alice = server.login("alice", "alice123456");
    alice.creates_group("Plans");
    let a_hundred = AtomicBool::new(true);
    let mut alone = asks_on(&alice, &a_hundred);
    nextcloud.set(Behaviour::Held);
    let (mut beside, statuses) = std::thread::scope(|scope| {
        let ask = |number: usize| {
            let stranger = server.login("alice", &format!("guess {number}"));
            let answer = stranger.try_send(&Request::new("GET", "/room"));
            let answer = answer.unwrap_or_else(|error| panic!("stranger {number} got no answer: {error}"));
            match answer.status {
                503 => answer.has_header("Retry-After", "5"),
                _ => answer.not_logged_in(),
            }
            answer.status
        };
        let strangers: Vec<_> = (0..STRANGERS).map(|number| scope.spawn(move || ask(number))).collect();
        // The queue for Nextcloud is bounded: once it is full, whoever is new is told to come back.
        let refused = || !server.operator_asks("/metrics").1.contains("\nroomd_slow_lane_refusals_total 0\n");
        eventually("the queue for Nextcloud is full", refused);
        // Nobody in it gets on before she has been answered a hundred times.
        let beside = asks_on(&alice, &a_hundred);
        nextcloud.set(Behaviour::Ok);
        let statuses: Vec<u16> = strangers.into_iter().map(|stranger| stranger.join().unwrap()).collect();
        (beside, statuses)
    });
    let turned_away = statuses.iter().filter(|status| **status == 503).count();
    println!(
        "alone p99 {:.1?}; beside {STRANGERS} strangers p99 {:.1?}; {} strangers were judged, {turned_away} told to \
         come back",
        p99(&mut alone),
        p99(&mut beside),
        STRANGERS - turned_away
    );
    // Both happen, and whoever is in the queue is not forgotten.
    assert!(turned_away > 0 && turned_away < STRANGERS, "{turned_away} of {STRANGERS}");
}
